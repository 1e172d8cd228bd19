# SPDX-License-Identifier: BSD-2-Clause
"""The embedded static server, for small fleets and for the demo."""
