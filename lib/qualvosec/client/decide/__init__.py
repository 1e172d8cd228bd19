# SPDX-License-Identifier: BSD-2-Clause
"""What is decided, and out of which facts: pure."""
