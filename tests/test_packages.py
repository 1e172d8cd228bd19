# SPDX-License-Identifier: BSD-2-Clause
"""The file behind /packages: what it says, how large it becomes, what is done without it."""

import json
import os
import tempfile
import unittest
from typing import Any

from qualvosec import files
from qualvosec.client.decide.statedir import StateError
from qualvosec.client.root.record import Told
from qualvosec.client.root.record import told_from_json
from qualvosec.client.tell import packages

from tests.fakes import RECORD


def run(**fields: Any) -> Told:
    """Return a run as root tells it."""
    return told_from_json(dict(dict(
        RECORD, window="20261124T0215Z", outcome="partial", finished=1795486500, pending=3,
        upgraded=[["curl", "1", "2"], ["vim", "8", "9"]], kept=[["libc6", "held"]]), **fields), [])


RUN = run()


class Text(unittest.TestCase):
    def test_a_run_is_told_package_by_package(self) -> None:
        self.assertEqual(json.loads(packages.text(RUN)), {
            "v": 1, "window": "20261124T0215Z", "outcome": "partial",
            "finished": "2026-11-24T02:15:00Z", "pending": 3, "left_out": 0,
            "upgraded_count": 2, "kept_count": 1,
            "upgraded": [{"name": "curl", "old": "1", "new": "2"},
                         {"name": "vim", "old": "8", "new": "9"}],
            "kept": [{"name": "libc6", "why": "held"}]})

    def test_before_the_first_run_there_are_no_packages(self) -> None:
        value = json.loads(packages.text())
        self.assertEqual((value["window"], value["upgraded"], value["kept"], value["pending"]),
                         (None, [], [], None))

    def test_it_is_bounded_and_counts_what_it_leaves_out(self) -> None:
        for length in (1, 60, 128, 2000):
            row = ["\u00e4" * length] * 3
            found = packages.text(run(upgraded=[row] * 500, kept=[row[:2]] * 500,
                                      upgraded_count=900, kept_count=500))
            self.assertLessEqual(len(found), packages.MAX_BYTES)
            value = json.loads(found)
            shown = len(value["upgraded"]) + len(value["kept"])
            self.assertEqual(shown + value["left_out"], 1400)
            self.assertGreater(shown, 0)


class File(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name
        self.path = os.path.join(self.folder, packages.NAME)

    def test_what_was_kept_is_told_and_written_once(self) -> None:
        packages.keep(self.folder, RUN)
        self.assertEqual(packages.load(self.folder), packages.text(RUN))
        before = os.stat(self.path)
        packages.keep(self.folder, RUN)
        self.assertEqual(os.stat(self.path), before)
        packages.keep(self.folder, run(pending=0))
        self.assertEqual(packages.load(self.folder), packages.text(run(pending=0)))

    def test_a_run_that_goes_on_leaves_the_last_one_standing(self) -> None:
        packages.keep(self.folder, RUN)
        packages.keep(self.folder, run(window="20261201T0215Z", finished=0, outcome="",
                                       upgraded=[]))
        self.assertEqual(packages.load(self.folder), packages.text(RUN))

    def test_only_its_user_reads_the_file(self) -> None:
        packages.keep(self.folder, RUN)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)

    def test_planted_files_are_refused(self) -> None:
        with open(self.path, "w", encoding="ascii") as stream:
            stream.write("x" * (packages.MAX_BYTES + 1))
        with self.assertRaises(files.FileError):
            packages.load(self.folder)
        os.unlink(self.path)
        os.symlink("/etc/passwd", self.path)
        with self.assertRaises(files.FileError):
            packages.load(self.folder)

    def test_a_disk_that_takes_nothing_is_one_line(self) -> None:
        with self.assertRaises(StateError) as caught:
            packages.keep(os.path.join(self.folder, "nowhere"), RUN)
        self.assertIn("/packages does not tell of the last run", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
