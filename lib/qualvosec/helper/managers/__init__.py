# SPDX-License-Identifier: BSD-2-Clause
"""One adapter for each package manager; all have the same shape."""
