# SPDX-License-Identifier: BSD-2-Clause
"""The scheduler of .ci/run and the parts of .ci/long: nothing fails or is left out unseen."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from typing import Tuple

from tests import ROOT
from tests.test_runner import state_of

BASH = shutil.which("bash")
LANES = """
set -u -o pipefail
cd %s
work=%s only=" %s "
. .ci/lanes
lanes=2
%s
conclude
"""


@unittest.skipUnless(BASH, "bash is not installed")
class Scripts(unittest.TestCase):
    def test_every_script_can_be_read_to_its_end(self) -> None:
        for name in sorted(os.listdir(os.path.join(ROOT, ".ci"))):
            done = subprocess.run([str(BASH), "-n", os.path.join(ROOT, ".ci", name)],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual((done.returncode, done.stdout), (0, b""), name)


@unittest.skipUnless(BASH, "bash is not installed")
class Lanes(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.work = os.path.join(folder.name, "work")
        self.folder = folder.name

    def script(self, steps: str, only: str) -> Tuple[str, ...]:
        os.mkdir(self.work)
        return (str(BASH), "-c", LANES % (ROOT, self.work, only, steps))

    def run_steps(self, steps: str, only: str = "") -> Tuple[int, str]:
        done = subprocess.run(self.script(steps, only), stdin=subprocess.DEVNULL, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True)
        return done.returncode, done.stdout

    def test_every_step_is_told_with_its_seconds_and_a_failed_one_with_its_log(self) -> None:
        code, said = self.run_steps("""
            step good 0 echo nothing to see
            step told 1 printf 'not this line\\nbut this\\n'
            step bad 0 sh -c 'echo the reason; exit 3'
            step killed 0 sh -c 'kill -9 $$'
            all_ended""")
        self.assertEqual(code, 1, said)
        self.assertRegex(said, r"(?m)^PASS good: \d+ s$")
        self.assertRegex(said, r"(?m)^     but this\nPASS told: \d+ s$")
        self.assertRegex(said, r"(?m)^     the reason\nFAIL bad: \d+ s$")
        self.assertRegex(said, r"(?m)^FAIL killed: \d+ s$")
        # What some shells say of one that was killed stands in its log alone.
        self.assertNotRegex(said, r"(?m)^\S*lanes: ")
        self.assertNotIn("not this line", said)
        self.assertNotIn("nothing to see", said)
        self.assertIn("failed: ", said)
        self.assertEqual(said.splitlines()[-1], "2 passed, 2 failed")
        self.assertFalse(os.path.exists(self.work), "its directory is left behind")

    def test_two_lanes_run_two_steps_at_a_time_and_one_that_is_alone_runs_alone(self) -> None:
        # Each of a pair waits for the other: one after the other they would never end.
        meet = "timeout 20 sh -c 'touch %s/$0; until [ -e %s/$1 ]; do sleep 0.02; done'" % (
            self.folder, self.folder)
        code, said = self.run_steps("""
            step one 0 %s one two
            step two 0 %s two one
            alone three 0 sh -c 'test -e %s/one && test -e %s/two && touch %s/three'
            step four 0 test -e %s/three
            all_ended""" % ((meet, meet) + (self.folder,) * 4))
        self.assertEqual(code, 0, said)
        self.assertEqual(said.splitlines()[-1], "4 passed, 0 failed")

    def test_ten_slowest_steps_are_named_and_only_those_run_that_were_asked_for(self) -> None:
        steps = "\n".join("step s%d 0 true" % number for number in range(12)) + "\nall_ended"
        code, said = self.run_steps(steps)
        self.assertEqual(code, 0, said)
        slowest = re.findall(r"(?m)^The slowest: (.*)$", said)[0]
        self.assertEqual(len(re.findall(r"s\d+ \d+ s", slowest)), 10)
        code, said = self.run_steps(steps, "s3 s7")
        self.assertEqual((code, said.splitlines()[-1]), (0, "2 passed, 0 failed"))

    def test_what_a_step_has_skipped_is_told(self) -> None:
        said = self.run_steps("""
            step real 0 echo "test_x (tests.real) ... skipped 'no tree here'"
            all_ended""")[1]
        self.assertIn("SKIP real: NOT CHECKED: no tree here\n", said)

    def test_when_it_is_ended_its_steps_end_with_it(self) -> None:
        path = os.path.join(self.folder, "pid")
        process = subprocess.Popen(
            self.script("step waits 0 timeout 300 sh -c 'echo $$ >%s.new; mv %s.new %s; "
                        "sleep 300; true'\nall_ended" % (path, path, path), ""),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        end = time.monotonic() + 30
        while not os.path.exists(path):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        with open(path, encoding="ascii") as stream:
            pid = int(stream.read())
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130)
        while time.monotonic() < end:
            if state_of(pid) in ("", "Z"):
                return
            time.sleep(0.02)
        self.fail("a step lives on")


class Long(unittest.TestCase):
    def long(self, *words: str) -> Tuple[int, str]:
        done = subprocess.run(["sh", os.path.join(ROOT, ".ci", "long")] + list(words),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60,
                              stderr=subprocess.STDOUT, universal_newlines=True)
        return done.returncode, done.stdout

    def test_every_part_has_a_reason_and_a_command(self) -> None:
        code, said = self.long()
        names = re.findall(r"(?m)^([a-z-]+): .+$", said)
        self.assertEqual((code, len(names)), (0, said.count("\n")))
        with open(os.path.join(ROOT, ".ci", "long"), encoding="utf-8") as stream:
            self.assertEqual(re.findall(r"(?m)^    ([a-z-]+)\) ", stream.read()), names)

    def test_a_part_that_there_is_not_runs_nothing(self) -> None:
        code, said = self.long("time", "nonsense")
        self.assertEqual((code, said.count("\n")), (2, 1))
        self.assertIn("there is no part nonsense", said)


if __name__ == "__main__":
    unittest.main()
