# SPDX-License-Identifier: BSD-2-Clause
"""A veto is read alike by client and root: when it holds, for what reason, and when it ends."""

import os
import tempfile
import time
import unittest

from qualvosec.client import host
from qualvosec.contract import veto
from qualvosec.helper import config

TODAY = "2026-12-24"
NOON = time.mktime((2026, 12, 24, 12, 0, 0, 0, 0, -1))
# text, the reason on TODAY
FILES = (
    ("migration of the database\nask the team\n", "migration of the database"),
    ("until: 2026-12-24\nlate reason\n", "late reason"),
    ("x\nuntil: 2026-12-25\n", "x"),
    ("x\nuntil: 2026-12-23\n", ""),
    ("until: 2026-12-23\n", ""),
    ("  UNTIL : 2026-12-23  \r\nx\r\n", ""),
    ("x\nuntil: 2026-12-23\nuntil: 2026-12-26\n", "x"),
    ("x\nuntil: 2026-12-23\nuntil: someday\n", "x"),
    ("", "no reason given"),
    ("\n \n", "no reason given"),
    ("until: 2026-12-30\n", "no reason given"),
    ("x\nuntil: tomorrow\n", "x"),
    ("x\nuntil: 2026-12\n", "x"),
    ("x\nuntil:\n", "x"),
    ("x\nuntil: 24.12.2026\n", "x"),
    ("until the weekend\n", "until the weekend"),
    ("y" * 300, "y" * veto.MAX_REASON),
)


class Veto(unittest.TestCase):
    def test_every_file_has_its_reason_or_is_over(self) -> None:
        self.assertEqual([veto.reason(text, TODAY) for text, _ in FILES],
                         [reason for _, reason in FILES])

    def test_client_and_root_agree_about_every_file(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "veto")
            for text, reason in FILES:
                with open(path, "w", encoding="utf-8", newline="") as stream:
                    stream.write(text)
                os.chmod(path, 0o644)
                with self.subTest(text[:40]):
                    self.assertEqual(host.veto(folder, TODAY), reason)
                    self.assertEqual(config.veto(path, NOON), reason and "veto: " + reason)

    def test_both_let_a_file_hold_that_cannot_be_read(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "veto")
            os.mkfifo(path)
            self.assertIn("not a regular file", host.veto(folder, TODAY))
            self.assertIn("not a regular file", config.veto(path, NOON))


if __name__ == "__main__":
    unittest.main()
