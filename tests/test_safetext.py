# SPDX-License-Identifier: BSD-2-Clause
"""Nothing that came from outside moves a cursor, hides text or breaks a line."""

import unittest

from qualvosec.safetext import safe


class Safe(unittest.TestCase):
    def test_printable_text_stays_as_it_is(self) -> None:
        self.assertEqual(safe("web01.example.org \u00e4\u4e2d"), "web01.example.org \u00e4\u4e2d")

    def test_controls_separators_and_invisible_format_characters_become_escapes(self) -> None:
        for char in "\x00\x07\n\r\x1b\x7f\x9b\u200b\u202e\u2028\u2066\ufeff\ud800\xa0":
            with self.subTest(char=repr(char)):
                shown = safe("a" + char + "b")
                self.assertTrue(shown.isprintable())
                self.assertEqual(shown, "a\\%s%0*xb" % ("x" if ord(char) < 256 else "u",
                                                        2 if ord(char) < 256 else 4, ord(char)))

    def test_an_escape_that_was_typed_cannot_be_taken_for_a_real_one(self) -> None:
        self.assertNotEqual(safe("\\x1b"), safe("\x1b"))

    def test_long_text_is_cut_and_says_so(self) -> None:
        self.assertEqual(safe("x" * 300, 10), "xxxxxxx...")
        self.assertEqual(len(safe("\x1b" * 300, 50)), 50)
