# SPDX-License-Identifier: BSD-2-Clause
"""Log handlers: a closed list, one line per event, nothing forged."""

import os
import subprocess
import sys
import tempfile
import unittest

from qualvosec import log

from tests import LIB


def emit(handler: str, level: str, calls: str, stderr: int = subprocess.PIPE,
         env: "dict[str, str]" = {}) -> bytes:  # noqa: B006
    code = ("import sys\nsys.path.insert(0, %r)\nfrom qualvosec import log\n"
            "log.configure(%r, %r)\n%s" % (LIB, handler, level, calls))
    done = subprocess.Popen([sys.executable, "-S", "-c", code], stderr=stderr, env=env)
    return done.communicate()[1] or b""


class Handlers(unittest.TestCase):
    def test_the_slides_spelling_and_the_bare_name_are_the_same(self) -> None:
        self.assertEqual(log.parse_handler("SystemdHandler()"), log.parse_handler("SystemdHandler"))

    def test_a_file_handler_takes_an_absolute_path_only(self) -> None:
        self.assertEqual(log.parse_handler("FileHandler('/var/log/a b.log')"),
                         ("FileHandler", "/var/log/a b.log"))
        for text in ("FileHandler", "FileHandler()", "FileHandler(a.log)"):
            with self.subTest(text=text), self.assertRaisesRegex(log.LogError, "absolute path"):
                log.parse_handler(text)

    def test_what_is_not_in_the_list_is_refused_and_never_evaluated(self) -> None:
        for text in ("", "os.system('id')", "SystemdHandler(1)", "systemdhandler",
                     "Systemd\x1b[2J"):
            with self.subTest(text=text), self.assertRaises(log.LogError) as caught:
                log.parse_handler(text)
            self.assertNotIn("\x1b", str(caught.exception))

    def test_an_unknown_level_names_the_known_ones(self) -> None:
        with self.assertRaisesRegex(log.LogError, "LOUD is not a log level: use one of DEBUG"):
            log.parse_level("LOUD")


class Lines(unittest.TestCase):
    def test_the_level_hides_what_is_below_it(self) -> None:
        out = emit("StreamHandler", "error", "log.warning('no')\nlog.error('yes')\n"
                   "log.critical('also')")
        self.assertEqual(out, b"ERROR yes\nCRITICAL also\n")

    def test_a_line_end_or_escape_in_a_message_forges_nothing(self) -> None:
        out = emit("StreamHandler", "info", "log.info('a\\nCRITICAL b\\x1b[2J')")
        self.assertEqual(out, b"INFO a\\x0aCRITICAL b\\x1b[2J\n")

    def test_values_are_quoted_so_that_none_can_pose_as_another_key(self) -> None:
        out = emit("StreamHandler", "info", "log.info('outcome', window='w1', count=3, empty='',\n"
                   "reason='a b\\\\ \\x22 outcome=ok')")
        self.assertEqual(out, b'INFO outcome window=w1 count=3 '
                         b'reason="a b\\\\ \\" outcome=ok"\n')

    def test_an_open_file_gets_the_lines_of_a_file_handler(self) -> None:
        with tempfile.TemporaryFile() as stream:
            code = ("import sys\nsys.path.insert(0, %r)\nfrom qualvosec import log\n"
                    "log.append_to(%d, 'qualvosec-transaction')\nlog.info('x')"
                    % (LIB, stream.fileno()))
            subprocess.run([sys.executable, "-S", "-c", code], pass_fds=(stream.fileno(),),
                           check=True)
            stream.seek(0)
            self.assertRegex(stream.read(), rb"^\d{4}-\S+ qualvosec-transaction\[\d+\] INFO x\n$")

    def test_priorities_are_written_only_to_the_journal(self) -> None:
        self.assertEqual(emit("SystemdHandler", "info", "log.info('x')"), b"INFO x\n")
        with tempfile.TemporaryFile() as stream:
            info = os.fstat(stream.fileno())
            emit("SystemdHandler", "info", "log.critical('x')\nlog.info('y')", stream.fileno(),
                 {"JOURNAL_STREAM": "%d:%d" % (info.st_dev, info.st_ino)})
            stream.seek(0)
            self.assertEqual(stream.read(), b"<2>x\n<6>y\n")

    def test_a_file_gets_time_program_and_level_and_survives_rotation(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "q.log")
            emit("FileHandler(%s)" % path, "info",
                 "log.info('one')\nimport os\nos.rename(%r, %r)\nlog.error('two')"
                 % (path, path + ".1"))
            with open(path, encoding="ascii") as stream:
                self.assertRegex(stream.read(),
                                 r"^\d{4}-\d\d-\d\dT\S+ qualvosec\[\d+\] ERROR two\n$")

    def test_a_log_file_that_cannot_be_written_falls_back_to_stderr(self) -> None:
        out = emit("FileHandler(/nonexistent/q.log)", "info", "log.info('kept')")
        self.assertIn(b"/nonexistent/q.log: no such file or directory: ", out)
        self.assertIn(b"INFO kept\n", out)

    def test_a_closed_stderr_ends_nobody(self) -> None:
        self.assertEqual(emit("StreamHandler", "info",
                              "sys.stderr.close()\nlog.info('x')\nsys.exit(0)"), b"")
