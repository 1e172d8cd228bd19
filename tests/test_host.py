# SPDX-License-Identifier: BSD-2-Clause
"""Boot id, uptime and veto, read from files that a test prepares."""

import os
import tempfile
import unittest

from qualvosec.client import host


class Folder(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name

    def write(self, name: str, text: str) -> None:
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)


class Boot(Folder):
    def test_linux_names_every_boot(self) -> None:
        self.write("proc/sys/kernel/random/boot_id", "2f1e-aa\n")
        self.write("proc/uptime", "1234.56 99.0\n")
        self.assertEqual(host.boot(5000.0, self.folder), ("2f1e-aa", 1234))

    def test_what_root_sees_counts_where_the_unit_tells_it(self) -> None:
        self.write("proc/sys/kernel/random/boot_id", "another\n")
        self.write("proc/uptime", "1234.56 99.0\n")
        self.write("run/qualvosec-boot-id", "2f1e-aa\n")
        self.assertEqual(host.boot(5000.0, self.folder), ("2f1e-aa", 1234))

    def test_the_procfs_of_a_bsd_does_not_pass_for_linux(self) -> None:
        self.write("proc/uptime", "77.00 5.00\n")
        self.assertEqual(host.boot(5000.0, self.folder, lambda: 1000.0), ("4000", 1000))

    def test_elsewhere_the_time_of_the_boot_is_digits_only(self) -> None:
        name, uptime = host.boot(5000.5, self.folder, lambda: 1000.2)
        self.assertEqual((name, uptime), ("4000", 1000))


class Veto(Folder):
    def veto(self, text: str) -> str:
        self.write("veto", text)
        return host.veto(self.folder, "2026-11-24")

    def test_no_file_is_no_veto(self) -> None:
        self.assertEqual(host.veto(self.folder, "2026-11-24"), "")

    def test_the_first_line_is_the_reason(self) -> None:
        self.assertEqual(self.veto("migration under way\nuntil: 2026-11-24\n"),
                         "migration under way")
        self.assertEqual(self.veto("until: 2026-12-24\nlate reason\n"), "late reason")

    def test_a_veto_ends_after_its_day(self) -> None:
        self.assertEqual(self.veto("migration\nuntil: 2026-11-23\n"), "")

    def test_an_empty_or_misspelt_veto_still_holds(self) -> None:
        self.assertEqual(self.veto(""), "no reason given")
        self.assertEqual(self.veto("x\nuntil: tomorrow\n"), "x")

    def test_a_veto_that_cannot_be_read_holds(self) -> None:
        os.mkfifo(os.path.join(self.folder, "veto"))
        self.assertIn("not a regular file", host.veto(self.folder, "2026-11-24"))
