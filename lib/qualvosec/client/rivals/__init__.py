# SPDX-License-Identifier: BSD-2-Clause
"""Other tools that patch this host; never resident."""
