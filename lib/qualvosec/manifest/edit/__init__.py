# SPDX-License-Identifier: BSD-2-Clause
"""Edits of the text that leave every other byte as it is."""
