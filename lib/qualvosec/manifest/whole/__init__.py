# SPDX-License-Identifier: BSD-2-Clause
"""All of a manifest at once, for its administrator: every fault, and every doubt."""
