# SPDX-License-Identifier: BSD-2-Clause
"""The report token in the User-Agent: what is written is read again, garbage is not."""

import random
import subprocess
import sys
import unittest

from qualvosec import useragent
from qualvosec.contract import hosts
from qualvosec.contract import names
from qualvosec.contract import words
from qualvosec.useragent import Sighting
from qualvosec.useragent import Token

from tests import LIB

EXAMPLE = ("QualvoSec 1.0.0 web01.example.org "
           "(s1 w=20261124T0215Z r=ok u=14 k=0 p=0 b=verified)")
DONE = Token("20261124T0215Z", "ok", 14, 0, 0, "verified", "20261124T0215Z")


def random_token(rng):
    window = rng.choice(("", "20261124T0215Z", "20250101T0000Z"))
    def count():
        return rng.choice((None, 0, rng.randrange(100000)))
    return Token(window, rng.choice(tuple(words.OUTCOMES) + ("", "held")), count(), count(),
                 count(), rng.choice(tuple(words.REBOOTS) + ("postponed",)),
                 rng.choice(("", window, "20261117T0215Z")), rng.choice(("ok", "veto", "expired")))


class FormTest(unittest.TestCase):
    """A leaf imports nothing: what the token takes over from the contract stays the same."""

    def test_names_windows_and_words_have_the_form_that_the_contract_gives_them(self) -> None:
        self.assertEqual(useragent._NAME.pattern, hosts.HOST_NAME.pattern)
        self.assertEqual(useragent._WINDOW.pattern, names.WINDOW.pattern)
        self.assertEqual(useragent._WORD.pattern, words.PATTERN)


class WriteTest(unittest.TestCase):

    def test_a_finished_run_is_written_as_documented(self):
        self.assertEqual(useragent.write("1.0.0", "web01.example.org", DONE), EXAMPLE)

    def test_without_a_report_only_the_three_words_of_the_original_are_sent(self):
        self.assertEqual(useragent.write("1.0.0", "WEB01.example.org"),
                         "QualvoSec 1.0.0 web01.example.org")

    def test_a_host_that_never_ran_says_so(self):
        self.assertEqual(useragent.write("1.0.0", "a", Token()),
                         "QualvoSec 1.0.0 a (s1 w=- r=- u=? k=? p=? b=no)")

    def test_a_number_that_is_not_known_is_no_number(self):
        failed = Token("20261124T0215Z", "failed", 0, None, None, health="failed")
        text = useragent.write("1.0.0", "a", failed)
        self.assertIn(" r=failed u=0 k=? p=? b=no ", text)
        self.assertEqual(useragent.read(text).token, failed)

    def test_an_older_success_and_the_reason_of_bad_health_are_added(self):
        token = DONE._replace(outcome="failed", success="20261117T0215Z", health="veto")
        self.assertIn(" l=20261117T0215Z h=veto)", useragent.write("1.0.0", "a", token))
        self.assertIn(" l=-)", useragent.write("1.0.0", "a", DONE._replace(success="")))

    def test_the_name_is_never_cut_for_the_token(self):
        name = ".".join(["a" * 62] * 4)
        for version in ("1.0.0", "1" * 32):
            text = useragent.write(version, name, DONE._replace(success="", health="h" * 24))
            self.assertLessEqual(len(text), useragent.MAX_BYTES)
            self.assertEqual(useragent.read(text).fqdn, name)

    def test_what_does_not_fit_the_format_never_reaches_the_header(self):
        bad = "x\r\nEvil: 1 (s1)\x1b\u202e"
        token = Token(bad, bad, -5, 10 ** 9, 7, bad, bad, bad)
        self.assertEqual(useragent.write(bad, bad, token), "QualvoSec 0 unknown-host "
                         "(s1 w=- r=- u=0 k=99999 p=7 b=unknown h=-)")
        self.assertIn(" unknown-host", useragent.write("1", "a" * 254))


class ReadTest(unittest.TestCase):

    def test_the_documented_example_is_read(self):
        self.assertEqual(useragent.read(EXAMPLE), Sighting("1.0.0", "web01.example.org", DONE))

    def test_every_token_that_is_written_is_read_again(self):
        seed = random.randrange(2 ** 32)
        rng = random.Random(seed)
        for _ in range(500):
            token = random_token(rng)
            text = useragent.write("1.0.0", "web01.example.org", token)
            self.assertEqual(useragent.read(text).token, token, "seed %d: %s" % (seed, text))

    def test_the_original_client_is_understood(self):
        self.assertEqual(useragent.read("QualvoSec 1.0.2 Giro48.Example.ORG"),
                         Sighting("1.0.2", "giro48.example.org", None))

    def test_keys_of_later_versions_are_kept_beside_the_rest(self):
        self.assertEqual(useragent.read(EXAMPLE[:-1] + " z=+0100,a e=x:ok)").token,
                         DONE._replace(others="z=+0100,a e=x:ok"))
        self.assertEqual(useragent.read(EXAMPLE[:-1] + " l=- z=\"<\\\u00e9>)").token,
                         DONE._replace(success="", others="z=?????"))

    def test_words_of_later_versions_are_kept_beside_the_rest(self):
        for old, new, field in (("r=ok", "r=held", {"outcome": "held"}),
                                ("b=verified", "b=postponed", {"reboot": "postponed"}),
                                ("b=verified", "b=due h=newer",
                                 {"reboot": "due", "health": "newer"})):
            self.assertEqual(useragent.read(EXAMPLE.replace(old, new)).token,
                             DONE._replace(**field))

    def test_a_report_of_another_form_is_still_a_sighting(self):
        later = useragent.read("QualvoSec 9.0 a (s2 whatever)")
        self.assertEqual(later, Sighting("9.0", "a", None))

    def test_a_token_with_impossible_values_is_no_report_but_still_a_sighting(self):
        for old, new in (("r=ok", "r=Fine"), ("r=ok", "r=" + "f" * 25), ("u=14", "u=-1"),
                         ("u=14", "u=??"), ("u=14", "u=999999"),
                         ("u=14", "u=\u0661"), ("b=verified", "b="), ("w=2026", "w=x"),
                         ("k=0", ""), ("p=0", "p=0 p=0"), ("p=0", "p=0 h=A%1b"), ("s1", "s1 s1=")):
            text = EXAMPLE.replace(old, new)
            if new == "s1 s1=":
                continue
            with self.subTest(text=ascii(text)):
                self.assertEqual(useragent.read(text),
                                 Sighting("1.0.0", "web01.example.org", None))

    def test_what_is_no_client_is_not_read(self):
        for text in ("", "QualvoSec", "QualvoSec ", "QualvoSec 1.0.0", "QualvoSec 1.0.0 ",
                     "curl/8.0", "qualvosec 1.0.0 a", "QualvoSec  1.0.0 a", "QualvoSec 1.0.0 -a",
                     "QualvoSec 1.0.0 a_b", "QualvoSec 1.0.0 a b", "QualvoSec 1.0.0 a (",
                     "QualvoSec 1.0.0 a\n", "QualvoSec 1.0.0 a ()x", "QualvoSec 1.0.0 a (\x1b[2J)",
                     "QualvoSec 1.0.0 <script>", "QualvoSec 1.0.0 ../../etc", "QualvoSec \u0661 a",
                     "QualvoSec 1.0.0 " + "a" * 64, "QualvoSec 1.0.0 " + "a." * 127 + "a.a",
                     "QualvoSec 1.0.0 a (" + "x" * 400 + ")", "QualvoSec 1.0.0 \u212a.example.org"):
            with self.subTest(text=ascii(text)[:60]):
                self.assertIsNone(useragent.read(text))

    def test_mutated_headers_never_raise_and_never_give_anything_unprintable(self):
        seed = random.randrange(2 ** 32)
        rng = random.Random(seed)
        for _ in range(5000):
            text = list(EXAMPLE)
            for _ in range(rng.randrange(1, 6)):
                place = rng.randrange(len(text))
                text[place] = rng.choice("\x00\x1b\x9b\u202e\"\\ ()=-.az09\n\u0130\ud800")
            found = useragent.read("".join(text))
            if found is not None:
                shown = "%s %s %s" % (found.version, found.fqdn, found.token)
                self.assertTrue(shown.isprintable() and ascii(shown)[1:-1].replace("\\'", "'")
                                == shown.replace("\\'", "'"), "seed %d: %a" % (seed, shown))


class WeightTest(unittest.TestCase):

    def test_it_needs_nothing_but_re_and_typing(self):
        # Since 3.14 a class of typing.NamedTuple brings modules of its own.
        code = ("import sys, re, typing; typing.NamedTuple('X', [('a', int)])\n"
                "class Y(typing.NamedTuple): a: int\n"
                "before = set(sys.modules); sys.path.insert(0, %r); "
                "import qualvosec.useragent; "
                "print(sorted(set(sys.modules) - before))" % LIB)
        out = subprocess.check_output([sys.executable, "-IBS", "-c", code])
        self.assertEqual(out.decode("ascii").strip(), "['qualvosec', 'qualvosec.useragent']")


if __name__ == "__main__":
    unittest.main()
