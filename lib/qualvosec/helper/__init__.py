# SPDX-License-Identifier: BSD-2-Clause
"""The part that runs as root: front, transaction, package managers, reboot."""
