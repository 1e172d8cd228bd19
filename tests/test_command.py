# SPDX-License-Identifier: BSD-2-Clause
"""Running one argv: environment, input, output caps, deadlines, left-over daemons."""

import os
import sys
import tempfile
import time
import unittest

from qualvosec import command

from tests import LIB

ENV = {"PATH": command.FIXED_PATH}


def python(text: str, **options: object) -> command.Result:
    return command.run([sys.executable, "-ISc", text], ENV, **options)  # type: ignore[arg-type]


class Running(unittest.TestCase):
    def test_the_environment_is_the_given_one_and_nothing_else(self) -> None:
        os.environ["QUALVOSEC_TEST_LEAK"] = "1"
        self.addCleanup(os.environ.pop, "QUALVOSEC_TEST_LEAK", None)
        result = command.run(["/usr/bin/env"], {"A": "b"})
        self.assertEqual(result, command.Result(0, b"A=b\n", b"", False, False))

    def test_without_input_the_child_sees_an_end_of_file_and_no_terminal(self) -> None:
        result = python("import os,sys\nprint(len(sys.stdin.read()), os.getsid(0) == os.getpid())")
        self.assertEqual(result.stdout, b"0 True\n")

    def test_large_input_and_output_pass_without_a_deadlock(self) -> None:
        result = python("import sys\nsys.stdout.write(sys.stdin.read())", stdin=b"x" * 300000)
        self.assertEqual(result.stdout, b"x" * 300000)

    def test_a_child_that_does_not_read_its_input_is_no_error(self) -> None:
        result = python("import os\nos.close(0)\nprint(1)", stdin=b"x" * 300000)
        self.assertEqual((result.returncode, result.stdout), (0, b"1\n"))

    def test_output_beyond_the_cap_is_read_and_dropped(self) -> None:
        result = python("print('y' * 200000)\nimport sys\nprint('e', file=sys.stderr)", limit=100)
        self.assertEqual((len(result.stdout), result.truncated), (100, True))
        self.assertEqual((result.stderr, result.returncode), (b"e\n", 0))

    def test_a_deadline_ends_the_whole_group(self) -> None:
        begin = time.monotonic()
        result = command.run(["/bin/sh", "-c", "sleep 60 & sleep 60"], ENV, deadline_s=0.3)
        self.assertTrue(result.timed_out)
        self.assertEqual(result.returncode, -15)
        self.assertLess(time.monotonic() - begin, 30)

    def test_a_daemon_left_behind_with_the_pipes_does_not_hold_us(self) -> None:
        begin = time.monotonic()
        result = command.run(["/bin/sh", "-c", "echo x; sleep 20 &"], ENV)
        self.assertEqual((result.returncode, result.stdout, result.timed_out), (0, b"x\n", False))
        self.assertLess(time.monotonic() - begin, 15)

    def test_output_to_a_log_descriptor_needs_no_pipe(self) -> None:
        with tempfile.TemporaryFile() as stream:
            result = command.run(["/bin/sh", "-c", "echo out; echo err >&2"], ENV,
                                 log_fd=stream.fileno())
            stream.seek(0)
            self.assertEqual(stream.read(), b"out\nerr\n")
        self.assertEqual(result.stdout, b"")

    def test_a_missing_program_is_one_clear_line(self) -> None:
        with self.assertRaisesRegex(command.CommandError,
                                    "^/none/here: cannot be started: no such file or directory$"):
            command.run(["/none/here"], ENV)

    def test_a_null_byte_in_an_argument_is_one_clear_line(self) -> None:
        with self.assertRaisesRegex(command.CommandError, "cannot be started"):
            command.run(["/bin/echo", "a\0b"], ENV)

    def test_arguments_never_reach_a_shell(self) -> None:
        self.assertEqual(command.run(["/bin/echo", "$(id); `id` *"], ENV).stdout,
                         b"$(id); `id` *\n")

    def test_an_end_is_told_right_where_the_caller_ignores_the_ends_of_children(self) -> None:
        text = ("import sys\nsys.path.insert(0, %r)\nfrom qualvosec import command\n"
                "print(command.run(['/bin/sh', '-c', 'exit 7'], {}).returncode)" % LIB)
        result = command.run(["/bin/sh", "-c", "trap '' CHLD; exec \"$@\"", "sh", sys.executable,
                              "-ISc", text], ENV)
        self.assertEqual(result.stdout, b"7\n")

    def test_a_log_is_watched_while_the_program_writes_to_it(self) -> None:
        with tempfile.TemporaryFile() as stream:
            sizes = []

            def watch() -> None:
                sizes.append(os.fstat(stream.fileno()).st_size)
                if sizes[-1]:
                    os.kill(int(os.pread(stream.fileno(), 20, 0)), 15)

            result = command.run(["/bin/sh", "-c", "echo $$; sleep 60 & wait"], ENV,
                                 log_fd=stream.fileno(), watch=watch)
        self.assertEqual(result.returncode, -15)
        self.assertGreater(sizes[-1], 0)
