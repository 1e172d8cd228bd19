# SPDX-License-Identifier: BSD-2-Clause
"""tests/anywhere.py: a test that knows its machine or the day does not get past it."""

import ast
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Tuple

from tests import ROOT
from tests import anywhere

# One fault of each kind. It holds here, or it may; in the run of the user it does not.
PLANT = '''
import os, socket, tempfile, time, unittest

class Faults(unittest.TestCase):
    def test_day(self):
        self.assertLess(time.time() - %d, 7 * 86400)

    def test_day_of_a_file(self):
        with tempfile.NamedTemporaryFile() as file:
            self.assertLess(os.stat(file.name).st_mtime - %d, 7 * 86400)

    def test_zone(self):
        self.assertEqual(time.localtime().tm_gmtoff, 0)

    def test_localhost(self):
        self.assertEqual(socket.getaddrinfo("localhost", 80)[0][4][1], 80)

    def test_host_name(self):
        self.assertEqual(socket.gethostname(), "debian")

    def test_mask(self):
        path = os.path.join(tempfile.mkdtemp(), "file")
        open(path, "w").close()
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o644)

    def test_root(self):
        self.assertEqual(os.geteuid(), 0)

    def test_home(self):
        self.assertIn("HOME", os.environ)

    def test_orphan_goes(self):
        source, target = os.pipe()
        child = os.fork()
        if not child:
            orphan = os.fork()
            if orphan:
                os.write(target, b"%%d" %% orphan)
            os._exit(0)
        os.waitpid(child, 0)
        pid, end = int(os.read(source, 20)), time.monotonic() + 2
        while os.path.exists("/proc/%%d" %% pid) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertFalse(os.path.exists("/proc/%%d" %% pid))

    def test_innocent(self):
        self.assertEqual(os.path.basename(__file__), "test_plant.py")
'''


class Planted(unittest.TestCase):
    """The script in a small checkout of its own, with what it needs to run one module."""

    def setUp(self) -> None:
        try:
            anywhere.demand(list(anywhere.RUNS))
        except anywhere.CannotError as error:
            self.skipTest(str(error))
        self.top = tempfile.mkdtemp(prefix="qualvosec-planted.", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.top)
        os.mkdir(os.path.join(self.top, "tests"))
        # All that the runner may need, but none of the tests.
        for path in glob.glob(os.path.join(ROOT, "tests", "*.*")):
            if not os.path.basename(path).startswith("test_"):
                shutil.copy(path, os.path.join(self.top, "tests"))
        shutil.copytree(os.path.join(ROOT, "lib"), os.path.join(self.top, "lib"),
                        ignore=shutil.ignore_patterns("__pycache__"))

    def write(self, name: str, text: str) -> None:
        with open(os.path.join(self.top, "tests", name), "w", encoding="utf-8") as file:
            file.write(text)

    def go(self, *runs: str) -> Tuple[int, str]:
        words = [word for run in runs for word in ("--run", run)]
        done = subprocess.run([sys.executable, "-B", os.path.join(self.top, "tests", "anywhere.py"),
                               "--jobs", "2"] + words, env={"PATH": anywhere.PATH},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=300)
        return done.returncode, done.stdout.decode("utf-8", "replace")

    @anywhere.unless_shifted
    def test_what_rests_on_the_machine_or_the_day_falls(self) -> None:
        self.write("test_plant.py", PLANT
                   % (int(time.time()), int(time.time())))
        code, said = self.go("root-today", "user-8-days")
        self.assertEqual(code, 1, said)
        first, second = said.split("\nuser-8-days: ")
        self.assertIn("root-today: FAILED", first)
        self.assertEqual(set(re.findall("^    FAIL: (test_[a-z_]+)", first, re.M))
                         | set(re.findall("^    ERROR: (test_[a-z_]+)", first, re.M)),
                         {"test_localhost", "test_home"}, said)
        planted = set(re.findall("def (test_[a-z_]+)", PLANT))
        self.assertGreater(len(planted), 9)
        self.assertEqual(set(re.findall("^    (?:FAIL|ERROR): (test_[a-z_]+)", second, re.M)),
                         planted - {"test_innocent"}, said)
        self.assertRegex(said, r"\nuser-8-days +%d +%d +0 " % (len(planted), len(planted) - 1))

    @anywhere.unless_shifted
    def test_a_clock_that_does_not_reach_every_program_fails_the_run(self) -> None:
        self.write("test_plant.py", "import unittest\nclass Good(unittest.TestCase):\n"
                   "    def test_nothing(self):\n        pass\n")
        with open(os.path.join(ROOT, "tests", "clock.c"), encoding="utf-8") as file:
            shim = file.read()
        self.write("clock.c", shim.replace("int fstatat(", "int unused(").replace(
            "fstatat)", "unused)"))
        code, said = self.go("user-2036")
        self.assertEqual(code, 1, said)
        self.assertRegex(said, "probe: these do not have the clock of the run: .*stat.*: -")
        self.assertNotIn("Ran 1 test", said)


class Exceptions(unittest.TestCase):
    def test_few_tests_are_excepted_and_each_of_them_exists(self) -> None:
        self.assertLessEqual(len(anywhere.NOT_SHIFTED), 10)
        found = set()
        for path in glob.glob(os.path.join(ROOT, "tests", "test_*.py")):
            with open(path, encoding="utf-8") as file:
                tree = ast.parse(file.read())
            module = "tests." + os.path.basename(path)[:-3]
            for group in tree.body:
                if isinstance(group, ast.ClassDef):
                    found.update("%s.%s.%s" % (module, group.name, test.name)
                                 for test in group.body if isinstance(test, ast.FunctionDef)
                                 and "unless_shifted" in map(name_of, test.decorator_list))
        self.assertEqual(found, set(anywhere.NOT_SHIFTED))


def name_of(node: ast.expr) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))
