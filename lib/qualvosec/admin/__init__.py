# SPDX-License-Identifier: BSD-2-Clause
"""For the administrator: the fleet as the manifest and the access log show it."""
