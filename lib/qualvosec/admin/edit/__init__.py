# SPDX-License-Identifier: BSD-2-Clause
"""Changes of the manifest, signed and under a lock."""
