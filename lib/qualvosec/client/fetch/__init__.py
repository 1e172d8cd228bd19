# SPDX-License-Identifier: BSD-2-Clause
"""The manifest pulled: a short-lived child, and what is in force."""
