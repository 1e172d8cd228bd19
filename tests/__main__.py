# SPDX-License-Identifier: BSD-2-Clause
"""The whole suite: `python3 -m tests`; the same tests as `python3 -m unittest discover`.

Quiet while all is well. At the end every reason for which tests were skipped is
printed once, with the number of tests, so that nothing is left out unseen.
Words on the command line choose tests by part of their name; `-j 1` runs them one
after the other in one process, for a debugger.
"""

import os
import sys

from tests import LIB
from tests import ROOT
from tests import runner
from tests.bytecode import compiled

if __name__ == "__main__":
    os.chdir(ROOT)
    with compiled(LIB):
        status = runner.main(sys.argv[1:], os.path.join(ROOT, "tests"), ROOT)
    sys.exit(status)
