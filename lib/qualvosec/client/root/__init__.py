# SPDX-License-Identifier: BSD-2-Clause
"""How root is asked, and what it answers."""
