# SPDX-License-Identifier: BSD-2-Clause
"""INI files: what is read, and that every mistake names its line and the way out."""

import unittest

from qualvosec import ini

ALLOWED = {"general": ("server", "monitoring", "monitoring_port", "log_level"), "other": ("a",)}


class Reading(unittest.TestCase):
    def test_both_separators_comments_and_lines_are_kept_apart(self) -> None:
        found = ini.parse("# first\n[general]\nserver: https://a.example.org/x=1\n"
                          "monitoring = enable ; yes\n\n[other]\na:b#c\n", ALLOWED)
        self.assertEqual(found["general"]["server"], ini.Setting("https://a.example.org/x=1", 3))
        self.assertEqual(found["general"]["monitoring"], ini.Setting("enable", 4))
        self.assertEqual(found["other"]["a"], ini.Setting("b#c", 7))

    def test_windows_line_ends_and_a_byte_order_mark_are_read(self) -> None:
        found = ini.parse("\ufeff[General]\r\nLOG_LEVEL: INFO\r\n", ALLOWED)
        self.assertEqual(found["general"]["log_level"].value, "INFO")

    def test_every_mistake_names_line_and_remedy(self) -> None:
        table = [
            ("server: x\n", "line 1: stands before any section: write [general]"),
            ("[genral]\n", "line 1: [genral]: unknown section: did you mean \"general\"?"),
            ("[general]\nsevrer: x\n", "line 2: sevrer: unknown key: did you mean \"server\"?"),
            ("[general]\nzzzzzzzzz: x\n", "line 2: zzzzzzzzz: unknown key: known are log_level"),
            ("[general]\nserver: x\nserver: y\n", "line 3: server: stands twice, first in line 2"),
            ("[general]\n[general]\n", "line 2: [general]: stands twice"),
            ("[general]\nserver\n", "line 2: neither \"key: value\" nor a comment"),
            ("[general\n", "line 1: section without closing bracket"),
            ("[general]\nserver: a\x1b[2Jb\n", "line 2: holds the control character '\\x1b'"),
            ("[general]\nserver: " + "x" * 5000, "line 2: is longer than 4096 characters"),
        ]
        for text, words in table:
            with self.subTest(text=text[:40]), self.assertRaises(ini.IniError) as caught:
                ini.parse(text, ALLOWED)
            self.assertIn(words, str(caught.exception))


class Values(unittest.TestCase):
    def test_words_for_true_and_false_are_a_closed_set(self) -> None:
        self.assertTrue(ini.boolean(ini.Setting("Enable", 1), "monitoring"))
        self.assertFalse(ini.boolean(ini.Setting("off", 1), "monitoring"))
        with self.assertRaisesRegex(ini.IniError, "line 9: monitoring: 'maybe' is neither"):
            ini.boolean(ini.Setting("maybe", 9), "monitoring")

    def test_numbers_are_whole_plain_and_within_bounds(self) -> None:
        self.assertEqual(ini.integer(ini.Setting("8037", 1), "port", 1, 65535), 8037)
        for value in ("0", "65536", "-1", "1.5", "", "\u0663", "9" * 40):
            with self.subTest(value=value), self.assertRaisesRegex(ini.IniError, "1 to 65535"):
                ini.integer(ini.Setting(value, 1), "port", 1, 65535)

    def test_a_choice_outside_the_list_names_the_list(self) -> None:
        with self.assertRaisesRegex(ini.IniError, "'su' is not one of auto, sudo, doas"):
            ini.choice(ini.Setting("su", 1), "privilege", ("auto", "sudo", "doas"))
