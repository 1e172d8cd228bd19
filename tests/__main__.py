# SPDX-License-Identifier: BSD-2-Clause
"""The whole suite: `python3 -m tests`; the same tests as `python3 -m unittest discover`.

Quiet while all is well. At the end every reason for which tests were skipped is
printed once, with the number of tests, so that nothing is left out unseen.
Words on the command line choose tests by part of their name.
"""

import collections
import os
import sys
import unittest
from typing import Counter
from typing import Iterator
from typing import Union

from tests import ROOT


def every_test(tests: Union[unittest.TestSuite, unittest.TestCase]) -> Iterator[unittest.TestCase]:
    """Yield the tests of a suite, however nested."""
    if isinstance(tests, unittest.TestCase):
        yield tests
        return
    for test in tests:
        yield from every_test(test)


def main() -> int:
    """Run the tests; returns 0 if none failed."""
    os.chdir(ROOT)
    found = unittest.defaultTestLoader.discover(os.path.join(ROOT, "tests"), top_level_dir=ROOT)
    words = sys.argv[1:]
    chosen = [test for test in every_test(found)
              if not words or any(word in test.id() for word in words)]
    result = unittest.TextTestRunner(verbosity=1).run(unittest.TestSuite(chosen))
    reasons: Counter[str] = collections.Counter(reason for _, reason in result.skipped)
    for reason, count in sorted(reasons.items()):
        print("skipped %d: %s" % (count, reason), file=sys.stderr)
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
