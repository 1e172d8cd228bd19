# SPDX-License-Identifier: BSD-2-Clause
"""What two processes must agree on, each thing once: pure, and nothing else of the project."""
