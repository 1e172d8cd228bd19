# SPDX-License-Identifier: BSD-2-Clause
"""Facts as tables, formats and a page."""
