# SPDX-License-Identifier: BSD-2-Clause
"""Bounded reads, durable writes and locks, against what somebody may have put there."""

import os
import tempfile
import time
import unittest
from unittest import mock

from qualvosec import files


class Folder(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def make(self, name: str, data: bytes = b"x", mode: int = 0o600) -> str:
        with open(self.path(name), "wb") as stream:
            stream.write(data)
        os.chmod(self.path(name), mode)
        return self.path(name)


class Reading(Folder):
    def refused(self, path: str, words: str, limit: int = 100) -> None:
        with self.assertRaises(files.FileError) as caught:
            files.read_bounded(path, limit, uid={os.getuid()})
        self.assertIn(words, str(caught.exception))
        self.assertIn(path, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_content_up_to_the_limit_is_returned(self) -> None:
        self.assertEqual(files.read_bounded(self.make("a", b"y" * 100), 100), b"y" * 100)

    def test_one_byte_more_than_the_limit_is_refused(self) -> None:
        self.refused(self.make("a", b"y" * 101), "larger than 100 bytes")

    def test_a_file_that_says_zero_bytes_and_has_more_is_refused_at_the_limit(self) -> None:
        if not os.path.exists("/proc/self/stat"):
            self.skipTest("no /proc on this system")
        with self.assertRaises(files.FileError):
            files.read_bounded("/proc/self/stat", 5)

    def test_a_ten_gigabyte_file_is_refused_without_reading(self) -> None:
        path = self.make("big")
        os.truncate(path, 10 << 30)
        self.refused(path, "larger than")

    def test_a_symbolic_link_is_refused(self) -> None:
        os.symlink(self.make("target"), self.path("link"))
        self.refused(self.path("link"), "symbolic link")

    def test_a_fifo_is_refused_and_does_not_block(self) -> None:
        os.mkfifo(self.path("fifo"))
        self.refused(self.path("fifo"), "not a regular file")

    def test_a_directory_is_refused(self) -> None:
        self.refused(self.folder, "not a regular file")

    def test_a_missing_file_is_one_line_and_keeps_its_cause(self) -> None:
        with self.assertRaises(files.FileError) as caught:
            files.read_bounded(self.path("none"), 10)
        self.assertIsInstance(caught.exception.__cause__, FileNotFoundError)

    def test_a_file_that_others_may_write_is_refused(self) -> None:
        self.refused(self.make("open", mode=0o622), "writable by group or others")

    def test_a_file_of_another_user_is_refused(self) -> None:
        with self.assertRaises(files.FileError) as caught:
            files.read_bounded(self.make("a"), 10, uid={os.getuid() + 1})
        self.assertIn("belongs to uid %d" % os.getuid(), str(caught.exception))


class Writing(Folder):
    def test_a_write_replaces_the_whole_file_with_the_mode_asked_for(self) -> None:
        path = self.make("a", b"old and longer", 0o644)
        files.write_atomic(path, b"new", 0o640)
        self.assertEqual(files.read_bounded(path, 10), b"new")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o640)
        self.assertEqual(os.listdir(self.folder), ["a"])

    def test_a_temporary_file_left_by_a_power_cut_is_overwritten(self) -> None:
        self.make(".a.new", b"half")
        files.write_atomic(self.path("a"), b"whole")
        self.assertEqual(os.listdir(self.folder), ["a"])

    def test_what_a_killed_write_left_behind_can_be_removed(self) -> None:
        path = self.make("a", b"whole")
        self.make(".a.new", b"half")
        files.tidy(path)
        files.tidy(path)
        self.assertEqual(os.listdir(self.folder), ["a"])

    def test_a_full_disk_keeps_the_old_content_and_leaves_nothing(self) -> None:
        path = self.make("a", b"old")
        with mock.patch("os.fsync", side_effect=OSError(28, "No space left on device")), \
                self.assertRaises(files.FileError) as caught:
            files.write_atomic(path, b"new")
        self.assertIn("no space left on device", str(caught.exception))
        self.assertEqual(files.read_bounded(path, 10), b"old")
        self.assertEqual(os.listdir(self.folder), ["a"])

    def test_a_temporary_name_that_is_a_link_does_not_write_through_it(self) -> None:
        victim = self.make("victim", b"safe")
        os.symlink(victim, self.path(".a.new"))
        files.write_atomic(self.path("a"), b"new")
        self.assertEqual(files.read_bounded(victim, 10), b"safe")

    def test_data_is_on_disk_before_the_name_changes(self) -> None:
        calls = []
        real_sync, real_rename = os.fsync, os.rename

        def sync(fd: int) -> None:
            calls.append("fsync")
            real_sync(fd)

        def rename(*names: str, **options: int) -> None:
            calls.append("rename")
            real_rename(*names, **options)

        with mock.patch("os.fsync", sync), mock.patch("os.rename", rename):
            files.write_atomic(self.path("a"), b"new")
        self.assertEqual(calls, ["fsync", "rename", "fsync"])


    def test_what_is_raised_before_the_rename_keeps_the_old_file_and_leaves_nothing(self) -> None:
        path = self.make("a", b"old")

        def refuse() -> None:
            self.assertEqual(files.read_bounded(self.path(".a.new"), 10), b"new")
            raise files.FileError("a: was changed meanwhile")

        with self.assertRaises(files.FileError) as caught:
            files.write_atomic(path, b"new", before_rename=refuse)
        self.assertEqual(str(caught.exception), "a: was changed meanwhile")
        self.assertEqual(files.read_bounded(path, 10), b"old")
        self.assertEqual(os.listdir(self.folder), ["a"])

    def test_an_owner_that_cannot_be_given_fails_and_a_fitting_one_is_not_asked_for(self) -> None:
        path = self.make("a", b"old")
        with mock.patch("os.fchown", side_effect=OSError(1, "Operation not permitted")):
            info = os.stat(path)
            files.write_atomic(path, b"new", owner=(info.st_uid, info.st_gid))
            with self.assertRaises(files.FileError) as caught:
                files.write_atomic(path, b"newer", owner=(info.st_uid + 1, info.st_gid))
        self.assertIn("operation not permitted", str(caught.exception))
        self.assertEqual(files.read_bounded(path, 10), b"new")
        self.assertEqual(os.listdir(self.folder), ["a"])


class Locking(Folder):
    def test_a_second_holder_gets_none_until_the_first_lets_go(self) -> None:
        first = files.lock_file(self.path("lock"))
        assert first is not None
        self.assertTrue(files.is_locked(self.path("lock")))
        self.assertIsNone(files.lock_file(self.path("lock")))
        os.close(first)
        self.assertFalse(files.is_locked(self.path("lock")))

    def test_waiting_for_a_lock_ends(self) -> None:
        first = files.lock_file(self.path("lock"))
        assert first is not None
        self.addCleanup(os.close, first)
        begin = time.monotonic()
        self.assertIsNone(files.lock_file(self.path("lock"), wait_s=0.3))
        self.assertGreaterEqual(time.monotonic() - begin, 0.3)

    def test_a_lock_that_was_never_made_is_free(self) -> None:
        self.assertFalse(files.is_locked(self.path("none")))

    def test_a_lock_that_is_a_link_or_a_fifo_is_refused(self) -> None:
        os.symlink(self.path("elsewhere"), self.path("link"))
        os.mkfifo(self.path("fifo"))
        for name in ("link", "fifo"):
            with self.subTest(name=name), self.assertRaises(files.FileError):
                files.lock_file(self.path(name))
        self.assertFalse(os.path.exists(self.path("elsewhere")))
