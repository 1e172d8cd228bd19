# SPDX-License-Identifier: BSD-2-Clause
"""helper.conf and the veto file: what the host's administrator allows."""

import os
import tempfile
import time
import unittest

from qualvosec import files
from qualvosec.helper import config
from qualvosec.helper.managers import base


class Case(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "file")

    def write(self, text: str, mode: int = 0o644) -> None:
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path, mode)


class Settings(Case):
    def test_defaults_hold_where_there_is_no_file(self) -> None:
        got = config.read(self.path)
        self.assertEqual(got, config.Config())
        self.assertEqual((got.allow, got.allow_reboot, got.min_hours_between_reboots,
                          got.lock_wait, got.reboot_delay, got.package_manager),
                         (("check", "reboot", "repair", "status", "upgrade"), True, 6, 600, 60,
                          "auto"))

    def test_every_key_is_read(self) -> None:
        self.write("[general]\nallow: check upgrade, status\nallow_reboot: no\nlock_wait: 5\n"
                   "min_hours_between_reboots: 0\nreboot_delay: 3600\npackage_manager: apt\n"
                   "hook_timeout: 7\nrefresh_wait: 8\n")
        self.assertEqual(config.read(self.path), config.Config(
            ("check", "upgrade", "status"), False, 0, 5, 3600, "apt", 7, 8))

    def test_a_mistake_is_an_error_with_file_line_and_key(self) -> None:
        for line, part in (("alow: check", "allow"), ("allow: check sudo", "allow: 'sudo'"),
                           ("lock_wait: -1", "lock_wait"), ("allow_reboot: maybe", "allow_reboot"),
                           ("reboot_delay: 3601", "reboot_delay"), ("hook_timeout: 0", "hook"),
                           ("package_manager: brew", "brew"), ("nonsense", "line 2")):
            self.write("[general]\n%s\n" % line)
            with self.assertRaisesRegex(base.Refused, "file: line 2: .*%s" % part[:20]
                                        if part != "line 2" else "line 2"):
                config.read(self.path)

    def test_a_file_that_others_may_write_is_refused(self) -> None:
        self.write("[general]\n", 0o666)
        with self.assertRaisesRegex(files.FileError, "writable by group or others"):
            config.read(self.path)

    def test_bytes_that_are_no_text_are_refused(self) -> None:
        with open(self.path, "wb") as file:
            file.write(b"[general]\nallow: \xff\n")
        os.chmod(self.path, 0o644)
        with self.assertRaises(base.Refused):
            config.read(self.path)


class Veto(Case):
    noon = time.mktime((2026, 12, 24, 12, 0, 0, 0, 0, -1))

    def veto(self, days: int = 0) -> str:
        return config.veto(self.path, self.noon + days * 86400)

    def test_no_file_no_veto(self) -> None:
        self.assertEqual(self.veto(), "")

    def test_the_first_line_is_the_reason(self) -> None:
        self.write("migration of the database\nask the team\n")
        self.assertEqual(self.veto(), "veto: migration of the database")

    def test_it_ends_after_its_last_day(self) -> None:
        self.write("holidays\nuntil: 2026-12-25\n")
        self.assertEqual([self.veto(days) for days in (0, 1, 2)],
                         ["veto: holidays", "veto: holidays", ""])

    def test_a_file_of_somebody_else_is_a_veto(self) -> None:
        self.write("until: 2020-01-01\n", 0o666)
        self.assertIn("writable by group or others", self.veto())
        os.unlink(self.path)
        os.symlink("/nonexistent", self.path)
        self.assertIn("symbolic link", self.veto())
