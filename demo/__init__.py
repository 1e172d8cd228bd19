# SPDX-License-Identifier: BSD-2-Clause
"""What a visitor sees first: `make demo`."""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIB = os.path.join(ROOT, "lib")

if LIB not in sys.path:
    sys.path.insert(0, LIB)
