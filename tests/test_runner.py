# SPDX-License-Identifier: BSD-2-Clause
"""The runner of this suite: nothing that goes wrong in a worker stays unseen."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from typing import Tuple

from tests import ROOT
from tests import runner

GOOD = """
    import unittest

    class Good(unittest.TestCase):
        def test_one(self):
            pass

        def test_two(self):
            pass
"""


class Runner(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def plant(self, name: str, text: str) -> None:
        """A module of tests, of which only the runner knows."""
        with open(os.path.join(self.directory, name + ".py"), "w", encoding="ascii") as stream:
            stream.write(textwrap.dedent(text))

    def command(self, *arguments: str) -> Tuple[str, ...]:
        code = "import sys\nfrom tests import runner\n" \
            "sys.exit(runner.main(sys.argv[2:], sys.argv[1], sys.argv[1]))"
        return (sys.executable, "-S", "-c", code, self.directory) + arguments

    def run_tests(self, *arguments: str, code: int = 0) -> str:
        """What the runner says of the planted tests."""
        done = subprocess.run(self.command(*arguments), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT,
                              universal_newlines=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stdout)
        return done.stdout

    def test_every_test_is_run_once_whatever_the_number_of_processes(self) -> None:
        for name in "abcde":
            self.plant("test_" + name, GOOD)
        for jobs in ("1", "2", "3", "40"):
            output = self.run_tests("-j", jobs)
            self.assertIn("Ran 10 tests in ", output)
            self.assertIn("\nOK", output)
        self.assertIn("in 3 processes", self.run_tests("-j3"))

    def test_words_choose_tests_and_one_that_chooses_none_is_an_error(self) -> None:
        self.plant("test_a", GOOD)
        self.assertIn("Ran 1 tests", self.run_tests("-j2", "test_one"))
        for words in (("nowhere",), ("test_one", "nowhere"), ("-j1", "nowhere")):
            self.assertIn("no test has 'nowhere' in its name", self.run_tests(*words, code=1))

    def test_no_test_at_all_is_an_error(self) -> None:
        for jobs in ("1", "2"):
            self.assertIn("no test in", self.run_tests("-j", jobs, code=1))
        self.assertIn("at least 1", self.run_tests("-j0", code=2))

    def test_failures_and_errors_are_printed_whole_and_counted(self) -> None:
        self.plant("test_good", GOOD)
        self.plant("test_bad", """
            import unittest

            class Bad(unittest.TestCase):
                def test_wrong(self):
                    self.assertEqual("left" * 3, "right")

                def test_raises(self):
                    raise ValueError("the reason")

                def test_parts(self):
                    for number in (1, 2, 3):
                        with self.subTest(number=number):
                            self.assertNotEqual(number, 2)

                def test_that_leaves(self):
                    raise SystemExit(0)

                @unittest.expectedFailure
                def test_that_should_fail(self):
                    pass

                @unittest.expectedFailure
                def test_that_fails_as_expected(self):
                    self.fail()

            class NotSetUp(unittest.TestCase):
                @classmethod
                def setUpClass(cls):
                    raise OSError("no ground")

                def test_nothing(self):
                    pass
            """)
        output = self.run_tests("-j2", code=1)
        for text in ("FAIL: test_wrong (test_bad.Bad", "'leftleftleft' != 'right'",
                     "ERROR: test_raises (test_bad.Bad", "ValueError: the reason",
                     "FAIL: test_parts (test_bad.Bad", "(number=2)", "SystemExit: 0",
                     "UNEXPECTED SUCCESS: test_that_should_fail", "OSError: no ground",
                     "FAILED (error=3, expected failure=1, fail=2, unexpected success=1)",
                     "Ran 8 tests"):
            self.assertIn(text, output)
        self.assertEqual(output.count("ValueError: the reason"), 1)

    def test_a_module_that_cannot_be_imported_is_told_whatever_the_words(self) -> None:
        self.plant("test_good", GOOD)
        self.plant("test_broken", "import no_such_module\n")
        for words in ((), ("test_one",), ("ClassInTheBrokenModule",), ("-j1", "test_one")):
            output = self.run_tests(*words, code=1)
            self.assertIn("ERROR: test_broken", output)
            self.assertIn("no_such_module", output)

    def test_each_reason_for_which_tests_are_skipped_is_printed_once_with_its_number(self) -> None:
        for name in "ab":
            self.plant("test_" + name, """
                import unittest

                class Skipped(unittest.TestCase):
                    @unittest.skip("no moon")
                    def test_one(self):
                        pass

                    def test_two(self):
                        self.skipTest("no moon")

                    def test_three(self):
                        self.skipTest("no sun")

                @unittest.skip("no stars")
                class Whole(unittest.TestCase):
                    def test_one(self):
                        pass
                """)
        for jobs in ("-j1", "-j2"):
            output = self.run_tests(jobs)
            for line in ("skipped 4: no moon\n", "skipped 2: no sun\n", "skipped 2: no stars\n",
                         "OK (skipped=8)\n"):
                self.assertEqual(output.count(line), 1, output)

    def test_a_worker_that_dies_is_told_with_its_test_and_the_others_go_on(self) -> None:
        self.plant("test_good", GOOD)
        for name, deed in (("test_killed", "os.kill(os.getpid(), signal.SIGKILL)"),
                           ("test_left", "os._exit(0)")):
            self.plant(name, """
                import os
                import signal
                import subprocess
                import unittest

                class Dying(unittest.TestCase):
                    def test_a_before(self):
                        self.fail("told before the end")

                    def test_b_dies(self):
                        os.write(2, b"last words")
                        # Holds whatever the worker held, and must not be waited for.
                        if os.fork() == 0:
                            os.execvp("sleep", ["sleep", "600"])
                        %s

                    def test_c_after(self):
                        pass
                """ % deed)
        output = self.run_tests("-j2", code=1)
        for text in ("DIED: test_killed.Dying.test_b_dies", "The process ended by signal 9",
                     "DIED: test_left.Dying.test_b_dies", "The process ended with status 0",
                     "Not run because of that: test_left.Dying.test_c_after", "last words",
                     "FAILED (died=2, fail=2)", "Ran 4 tests"):
            self.assertIn(text, output)

    def test_a_fork_of_a_test_that_forgets_to_end_runs_no_test_twice(self) -> None:
        self.plant("test_fork", """
            import os
            import unittest

            class Forking(unittest.TestCase):
                def test_a_fork(self):
                    child = os.fork()
                    if child:
                        self.assertNotEqual(os.waitpid(child, 0)[1], 0)

                def test_b_after(self):
                    pass
            """)
        self.assertIn("Ran 2 tests", self.run_tests("-j2"))

    def test_what_a_class_or_a_module_sets_up_is_made_and_undone_once(self) -> None:
        done = os.path.join(self.directory, "done")
        names = ("test_a", "test_b", "test_c")      # of which two processes get three
        for name in names:
            self.plant(name, """
                import unittest

                def note(text):
                    with open(%r, "a", encoding="ascii") as stream:
                        stream.write(__name__ + " " + text + "\\n")

                def setUpModule():
                    note("set up")

                def tearDownModule():
                    note("torn down")

                class First(unittest.TestCase):
                    @classmethod
                    def setUpClass(cls):
                        note("class set up")

                    @classmethod
                    def tearDownClass(cls):
                        note("class torn down")

                    def test_one(self):
                        pass

                    def test_two(self):
                        pass

                class Second(unittest.TestCase):
                    def test_one(self):
                        pass
                """ % done)
        self.run_tests("-j2")
        with open(done, encoding="ascii") as stream:
            lines = stream.read().splitlines()
        for name in names:
            self.assertEqual([line[len(name) + 1:] for line in lines if line.startswith(name)],
                             ["set up", "class set up", "class torn down", "torn down"])
        self.assertEqual(len(lines), 12)

    def test_what_a_test_lets_through_to_the_terminal_is_told_with_its_class(self) -> None:
        self.plant("test_loud", """
            import os
            import sys
            import unittest

            class Loud(unittest.TestCase):
                def test_prints(self):
                    self.assertEqual(os.read(0, 10), b"")
                    print("to the output")
                    os.write(2, b"to the errors")
            """)
        output = self.run_tests("-j2")
        self.assertIn("test_loud.Loud wrote:\n", output)
        self.assertIn("to the output", output)
        self.assertIn("to the errors", output)

    def test_when_it_is_interrupted_it_ends_what_its_tests_started(self) -> None:
        for name in ("test_a", "test_b"):
            self.plant(name, """
                import os
                import subprocess
                import time
                import unittest

                class Waiting(unittest.TestCase):
                    def test_waits(self):
                        own = subprocess.Popen(["sleep", "600"], start_new_session=True)
                        self.addCleanup(own.wait)
                        self.addCleanup(own.kill)
                        left = subprocess.Popen(["sleep", "600"])
                        with open(__file__ + ".new", "w", encoding="ascii") as stream:
                            stream.write("%d %d %d" % (os.getpid(), own.pid, left.pid))
                        os.rename(__file__ + ".new", __file__ + ".started")
                        time.sleep(600)
                """)
        for number in (signal.SIGINT, signal.SIGTERM):
            process = subprocess.Popen(self.command("-j2"), stdin=subprocess.DEVNULL, cwd=ROOT,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       universal_newlines=True)
            pids = self.started("test_a") + self.started("test_b")
            process.send_signal(number)
            output, _ = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, output)
            self.assertIn("INTERRUPTED", output)
            self.assertIn("ended: test_a.Waiting.test_waits", output)
            self.assertIn("ended: test_b.Waiting.test_waits", output)
            for pid in pids:
                self.assertTrue(ended(pid), "process %d lives on: %s" % (pid, output))

    def started(self, name: str) -> Tuple[int, ...]:
        """The processes of a planted test, as soon as they are there."""
        path = os.path.join(self.directory, name + ".py.started")
        deadline = time.monotonic() + 60
        while not os.path.exists(path):
            self.assertLess(time.monotonic(), deadline, "%s did not start" % name)
            time.sleep(0.02)
        with open(path, encoding="ascii") as stream:
            pids = tuple(map(int, stream.read().split()))
        os.unlink(path)
        return pids


def ended(pid: int) -> bool:
    """Is it gone, or dead and only not waited for by a PID 1 that does not reap?"""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if state_of(pid) in ("", "Z"):
            return True
        time.sleep(0.02)
    return False


def state_of(pid: int) -> str:
    """The letter that ps(1) has for it, "" where it is gone; small Linuxes have no ps."""
    if os.path.exists("/proc/self/stat"):
        try:
            with open("/proc/%d/stat" % pid, "rb") as stream:
                return stream.read().rpartition(b")")[2].split()[0].decode("ascii")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], stdout=subprocess.PIPE,
                          universal_newlines=True)
    return done.stdout.strip()[:1]


class Order(unittest.TestCase):
    def test_classes_that_are_known_to_take_long_exist(self) -> None:
        found = unittest.TestLoader().discover(os.path.join(ROOT, "tests"), top_level_dir=ROOT)
        names = {runner.class_of(test) for test in runner.every_test(found)}
        self.assertEqual(set(runner.LONGEST) - names, set())


if __name__ == "__main__":
    unittest.main()
