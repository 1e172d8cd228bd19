# SPDX-License-Identifier: BSD-2-Clause
"""From the access log to the facts about every host."""
