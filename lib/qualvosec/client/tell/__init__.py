# SPDX-License-Identifier: BSD-2-Clause
"""One judgement of this host, and its readers."""
