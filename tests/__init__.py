# SPDX-License-Identifier: BSD-2-Clause
"""Behaviour of QualvoSec, told in sentences; standard library only.

Importing this package puts lib/ first on the module path, so that every test
runs against this checkout whatever is installed on the machine.
"""

import os
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIB = os.path.join(ROOT, "lib")
DATA = os.path.join(ROOT, "tests", "data")

# For tests that make some hundred small trees: a disk would be waited for. None: where
# temporary files are.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None

if LIB not in sys.path:
    sys.path.insert(0, LIB)

# The programs go by the host's own zone, and so do the tests that start them.
os.environ.pop("TZ", None)
time.tzset()

# Usage is broken into lines of the terminal's width; no test looks at a narrow one.
os.environ["COLUMNS"] = "80"

# Where the directory for temporary files is a link, programs tell the place that it leads to.
tempfile.tempdir = os.path.realpath(tempfile.gettempdir())
