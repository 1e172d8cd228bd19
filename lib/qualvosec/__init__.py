# SPDX-License-Identifier: BSD-2-Clause
"""QualvoSec: patches hosts in the windows that one static manifest names."""
