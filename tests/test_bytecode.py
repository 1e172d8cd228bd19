# SPDX-License-Identifier: BSD-2-Clause
"""What is compiled for a run of the tests is used, never out of date, and gone afterwards."""

import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest
from typing import List

from tests.bytecode import compiled
from tests.bytecode import remove


class Compiled(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        os.mkdir(os.path.join(self.directory, "inner"))
        self.source = os.path.join(self.directory, "inner", "module.py")
        self.write(self.source, "WORD = 'old'\n")

    def write(self, path: str, text: str) -> None:
        with open(path, "w", encoding="ascii") as stream:
            stream.write(text)

    def files(self) -> List[str]:
        return sorted(os.path.join(place, name) for place, folders, names in os.walk(self.directory)
                      for name in folders + names)

    def word(self) -> str:
        """What a program that is started gets out of the module."""
        code = "import sys; sys.path[:0] = [%r]; import module; print(module.WORD)" \
            % os.path.dirname(self.source)
        return subprocess.run([sys.executable, "-IBS", "-c", code], check=True,
                              stdout=subprocess.PIPE, universal_newlines=True).stdout.strip()

    def test_it_is_there_during_the_run_and_nothing_is_left_afterwards(self) -> None:
        before = self.files()
        with compiled(self.directory):
            self.assertTrue(os.path.isfile(importlib.util.cache_from_source(self.source)))
            self.assertEqual(self.word(), "old")
        self.assertEqual(self.files(), before)

    def test_what_was_there_before_stays(self) -> None:
        with compiled(self.directory):
            before = self.files()
            with compiled(self.directory) as made:
                self.assertEqual(made, [])
            self.assertEqual(self.files(), before)

    def test_of_two_runs_of_different_pythons_the_last_one_leaves_nothing(self) -> None:
        before = self.files()
        with compiled(self.directory) as made:
            other = os.path.join(os.path.dirname(made[0]), "module.other-1.pyc")
            self.write(other, "")
        self.assertTrue(os.path.exists(other))
        remove(other)
        self.assertEqual(self.files(), before)

    @unittest.skipIf(sys.version_info < (3, 7), "Python 3.6 knows only dates")
    def test_a_source_that_changes_within_a_second_is_never_taken_for_the_old_one(self) -> None:
        with compiled(self.directory):
            times = os.stat(self.source)
            self.write(self.source, "WORD = 'new'\n")
            os.utime(self.source, ns=(times.st_atime_ns, times.st_mtime_ns))
            self.assertEqual(self.word(), "new")

    def test_a_source_with_a_fault_is_left_to_whoever_imports_it(self) -> None:
        self.write(self.source, "WORD = \n")
        with compiled(self.directory) as made:
            self.assertEqual(made, [])

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_without_the_right_to_write_nothing_is_compiled_and_nothing_said(self) -> None:
        os.chmod(os.path.dirname(self.source), 0o555)
        self.addCleanup(os.chmod, os.path.dirname(self.source), 0o755)
        with compiled(self.directory) as made:
            self.assertEqual(made, [])


if __name__ == "__main__":
    unittest.main()
