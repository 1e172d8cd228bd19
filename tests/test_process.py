# SPDX-License-Identifier: BSD-2-Clause
"""What root inherits and gets rid of; whose files it trusts; its log."""

import os
import resource
import stat
import subprocess
import sys
import tempfile
import unittest

from qualvosec import files
from qualvosec.helper import process
from qualvosec.helper import runlog
from qualvosec.helper.managers import system

from tests import LIB

SCRIPT = r"""
import os, resource, signal, sys
sys.path.insert(0, %r)
from qualvosec.helper import process
process.clean()
left = [fd for fd in range(3, 200) if os.path.exists("/proc/self/fd/%%d" %% fd)]
masked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
print(sorted(os.environ.items()), os.getcwd(), oct(os.umask(0)), left, len(masked),
      signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
""" % LIB


class Clean(unittest.TestCase):
    def test_nothing_of_the_caller_is_left(self) -> None:
        source, sink = os.pipe()
        os.dup2(source, 99)
        self.addCleanup(os.close, source)
        self.addCleanup(os.close, sink)
        self.addCleanup(os.close, 99)
        done = subprocess.run(
            ["/bin/sh", "-c", "trap '' TERM; umask 0; cd /tmp; exec \"$0\" \"$@\"", sys.executable,
             "-ISB", "-c", SCRIPT], stdout=subprocess.PIPE, check=True, pass_fds=(source, 99),
            env={"PATH": "/evil", "APT_CONFIG": "/evil", "LD_LIBRARY_PATH": "/evil", "TZ": "x",
                 "BASH_ENV": "/evil", "PYTHONPATH": "/evil"})
        self.assertEqual(done.stdout.decode("ascii").strip(),
                         "[('HOME', '/root'), ('LC_ALL', 'C'), ('PATH', "
                         "'/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'), "
                         "('TERM', 'dumb')] / 0o22 [] 0 True")

    @unittest.skipUnless(os.geteuid() == 0, "root's limits")
    def test_limits_and_signals_of_the_caller_do_not_reach_what_is_started(self) -> None:
        script = ("import sys\nsys.path.insert(0, %r)\nfrom qualvosec.helper import process\n"
                  "process.clean(%s)\nimport os, resource, signal\n"
                  "print([resource.getrlimit(getattr(resource, 'RLIMIT_' + name))[0] for name in "
                  "('NOFILE', 'STACK', 'NPROC')], [signal.getsignal(number) == "
                  "signal.SIG_IGN for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)],"
                  " os.getpriority(os.PRIO_PROCESS, 0), __import__('time').tzname)\n")

        def narrow() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (20, resource.getrlimit(
                resource.RLIMIT_NOFILE)[1]))
            resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, resource.getrlimit(
                resource.RLIMIT_STACK)[1]))
            resource.setrlimit(resource.RLIMIT_NPROC, (500, resource.getrlimit(
                resource.RLIMIT_NPROC)[1]))
            os.nice(7)

        # Root of a container may not raise it any further.
        most = (resource.getrlimit(resource.RLIMIT_NPROC)[1], resource.RLIM_INFINITY)
        for ignored, words in (("process.STOPS", "[True, True, True]"),
                               ("", "[False, False, False]")):
            done = subprocess.run([sys.executable, "-ISB", "-c", script % (LIB, ignored)],
                                  check=True, stdout=subprocess.PIPE, preexec_fn=narrow,
                                  env=dict(os.environ, TZ="XXX-5"))
            said = done.stdout.decode("ascii")
            limits = [int(word) for word in said[1:said.index("]")].split(", ")]
            self.assertEqual(limits[:2], [1024, 8 << 20], said)
            self.assertIn(limits[2], most, said)
            self.assertIn(words, said)
            self.assertNotIn("XXX", said)
            self.assertIn("] 0 (", said)

    def test_a_limit_that_cannot_be_lifted_is_one_line_and_no_run(self) -> None:
        script = ("import sys\nsys.path.insert(0, %r)\nfrom unittest import mock\n"
                  "from qualvosec.helper import process\n"
                  "with mock.patch('os.geteuid', return_value=0), "
                  "mock.patch('resource.setrlimit', side_effect=ValueError):\n"
                  "    process.clean()\nprint('goes on')\n" % LIB)
        done = subprocess.run([sys.executable, "-ISB", "-c", script], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (
            1, b"", b"qualvosec-helper: limits: cannot be lifted, see ulimit -Ha: set none\n"))


class Trust(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = os.path.realpath(folder.name)
        self.path = os.path.join(self.folder, "a", "b.py")
        os.mkdir(os.path.dirname(self.path), 0o755)
        with open(self.path, "w", encoding="ascii"):
            pass
        os.chmod(self.path, 0o644)

    def test_own_files_in_own_folders_are_trusted(self) -> None:
        self.assertEqual(process.insecure([self.path]), "")

    def test_of_a_directory_that_is_not_there_the_parents_count(self) -> None:
        parent = os.path.dirname(self.path)
        missing = os.path.join(parent, "qualvosec")
        self.assertEqual(process.insecure([missing]), "")
        os.chmod(parent, 0o777)
        self.assertIn(parent, process.insecure([missing]))

    def test_a_file_or_folder_that_others_may_write_is_not(self) -> None:
        for path in (self.path, os.path.dirname(self.path), self.folder):
            before = stat.S_IMODE(os.stat(path).st_mode)
            for bits in (0o020, 0o002):
                os.chmod(path, before | bits)
                self.assertEqual(process.insecure([self.path]),
                                 "%s: others may write to it: chmod go-w it" % path)
            os.chmod(path, before)

    def test_a_sticky_folder_like_tmp_is_no_danger(self) -> None:
        os.chmod(self.folder, 0o1777)
        self.assertEqual(process.insecure([self.path]), "")

    def test_a_file_of_another_user_is_not(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("needs root to give a file away")
        os.chown(self.path, 1234, 0)
        self.assertEqual(process.insecure([self.path]),
                         "%s: belongs to uid 1234: chown it to root" % self.path)

    def test_every_file_of_ours_is_looked_at_also_what_is_loaded_later(self) -> None:
        found = process.own_files()
        for name in ("helper/process.py", "command.py", "helper/transaction.py",
                     "helper/managers/zypper.py"):
            self.assertIn(os.path.join(os.path.realpath(LIB), "qualvosec", name), found)
        self.assertIn(system.TRANSACTION[-1], found)


class Log(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = os.path.join(folder.name, "log")

    def test_runs_append_to_one_file(self) -> None:
        for text in (b"one\n", b"two\n"):
            fd = runlog.open_log(self.folder)
            os.write(fd, text)
            os.close(fd)
        with open(os.path.join(self.folder, "run.log"), "rb") as file:
            self.assertEqual(file.read(), b"one\ntwo\n")

    def test_a_large_file_is_rotated_and_one_is_kept(self) -> None:
        for number in range(3):
            fd = runlog.open_log(self.folder)
            os.write(fd, b"%d" % number)
            os.ftruncate(fd, runlog.ROTATE_BYTES + 1)
            os.close(fd)
        os.close(runlog.open_log(self.folder))
        self.assertEqual(sorted(os.listdir(self.folder)), ["run.log", "run.log.1"])
        with open(os.path.join(self.folder, "run.log.1"), "rb") as file:
            self.assertEqual(file.read(1), b"2")

    def test_a_link_in_its_place_is_refused(self) -> None:
        os.mkdir(self.folder, 0o750)
        os.symlink("/etc/passwd", os.path.join(self.folder, "run.log"))
        with self.assertRaises(OSError):
            runlog.open_log(self.folder)

    def test_a_directory_that_others_can_change_or_that_is_a_link_is_refused(self) -> None:
        os.mkdir(self.folder, 0o770)
        os.chmod(self.folder, 0o770)
        with self.assertRaisesRegex(files.FileError, "must belong to root"):
            runlog.open_log(self.folder)
        os.rename(self.folder, self.folder + ".away")
        os.chmod(self.folder + ".away", 0o750)
        os.symlink(self.folder + ".away", self.folder)
        with self.assertRaises(OSError):
            runlog.open_log(self.folder)
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_flood_is_emptied_and_said(self) -> None:
        fd = runlog.open_log(self.folder)
        self.addCleanup(os.close, fd)
        os.write(fd, b"kept")
        runlog.bound(fd)
        self.assertEqual(os.pread(fd, 100, 0), b"kept")
        os.ftruncate(fd, runlog.EMERGENCY_BYTES + 1)
        runlog.bound(fd)
        self.assertIn(b"was emptied", os.pread(fd, 100, 0))
