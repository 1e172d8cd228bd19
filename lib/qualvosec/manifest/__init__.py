# SPDX-License-Identifier: BSD-2-Clause
"""What a manifest means: policy, window, lookup; pure, no network, no clock of its own."""
