# SPDX-License-Identifier: BSD-2-Clause
"""The lookup of one host: the same answer as reading everything, or a refusal."""

import os
import random
import time
import unittest
from typing import List
from typing import Optional
from typing import Tuple

from qualvosec import yamlsubset
from qualvosec.manifest import lookup
from qualvosec.manifest.lookup import Found
from qualvosec.manifest.lookup import ManifestError
from qualvosec.manifest.schema import ABSENT
from qualvosec.yamlsubset import Mark

from tests import agreement
from tests import hostile_manifests
from tests import manifest_mutations
from tests import manifest_samples

WINDOWS = (1, 7, 40, 97, 300, 65536)
HOST = "web01.example.org"
ENTRY = HOST + ":\n  patch: true\n"
QUICK_CASES = 1000
LONG_CASES = 30000


def find(text: str, fqdn: str = HOST, window: int = lookup.WINDOW_BYTES) -> Found:
    return lookup.find(lookup.chunks_of(text.encode("utf-8"), window), fqdn)


def refusal(text: str, fqdn: str = HOST) -> str:
    try:
        found = find(text, fqdn)
    except ManifestError as error:
        return str(error)
    raise AssertionError("%r was answered with %r" % (text, found))


class Answers(unittest.TestCase):
    def test_every_host_is_found_in_windows_of_every_size(self) -> None:
        data = b"\xef\xbb\xbf" + manifest_samples.manifest(25, seed=5)
        data = data.replace(b"rack", "r\u00e4ck \u65e5".encode("utf-8"))
        for text in (data, data.replace(b"\n", b"\r\n"), data.rstrip(b"\n")):
            marks: dict = {}  # type: ignore
            root = yamlsubset.load(text, marks)
            for window in WINDOWS:
                for number in range(0, 25, 6):
                    name = manifest_samples.host_name(number)
                    found = lookup.find(lookup.chunks_of(text, window), name)
                    self.assertEqual(found.host, root[name])  # type: ignore
                    self.assertEqual(found.host_line, marks[(name,)].line)
                    self.assertEqual(
                        (found.header, found.defaults, found.groups, found.own_fault),
                        (root[".manifest"], root[".defaults"], root[".groups"], ""),  # type: ignore
                    )
                    self.assertEqual(found.marks, {path: marks[path] for path in found.marks})
                    self.assertIn((name, "patch"), found.marks)

    def test_an_absent_host_has_no_line_and_no_entry(self) -> None:
        found = find(ENTRY, "web02.example.org")
        self.assertEqual((found.host, found.host_line, found.own_fault), (None, 0, ""))

    def test_an_entry_without_fields_has_a_line(self) -> None:
        self.assertEqual(find(HOST + ":\n")[:2], (None, 1))

    def test_sections_that_are_absent_are_told_from_empty_ones(self) -> None:
        found = find(".groups:\n" + ENTRY)
        self.assertIs(found.header, ABSENT)
        self.assertIs(found.defaults, ABSENT)
        self.assertIsNone(found.groups)

    def test_names_are_compared_folded_and_without_a_trailing_dot(self) -> None:
        for key in (
            HOST,
            HOST.upper(),
            HOST + ".",
            '"%s"' % HOST,
            "'%s.'" % HOST.title(),
            HOST + " ",
            '"%s" ' % HOST,
        ):
            for fqdn in (HOST, "WEB01.example.ORG."):
                with self.subTest(key=key, fqdn=fqdn):
                    self.assertEqual(
                        find("a:\n%s:\t# c\n  patch: true\nb:\n" % key, fqdn).host, {"patch": True}
                    )

    def test_names_that_begin_or_end_alike_are_others(self) -> None:
        text = "%s-b:\n  k: 1\na.%s:\n  k: 2\n%s.net:\n  k: 3\n" % (HOST, HOST, HOST)
        self.assertEqual(find(text).host_line, 0)
        self.assertEqual(find(text.replace("-b", "")).host, {"k": 1})
        self.assertEqual(find("web01xexample.org:\n").host_line, 0)

    def test_marks_are_places_in_the_whole_file(self) -> None:
        found = find(
            "# c\n---\na:\n  b: 1\n\n'%s':\n  list:\n    - x\n.defaults:\n  duration: 60\n" % HOST
        )
        self.assertEqual(
            found.marks,
            {
                (HOST,): Mark(6, 1),
                (HOST, "list"): Mark(7, 3),
                (HOST, "list", 0): Mark(8, 7),
                (".defaults",): Mark(9, 1),
                (".defaults", "duration"): Mark(10, 3),
            },
        )

    def test_the_slides_sample_is_found_with_its_tabs(self) -> None:
        with open(os.path.join(agreement.CORPUS, "valid", "slides.yaml"), "rb") as stream:
            data = stream.read()
        for window in WINDOWS:
            found = lookup.find(lookup.chunks_of(data, window), "hypervisor02.example.org")
            self.assertEqual(
                found.host, {"patch": True, "reboot": True, "weekday": 2, "hour": 3, "minute": 15}
            )


class FaultsElsewhere(unittest.TestCase):
    def test_a_fault_in_another_entry_stops_nobody_else(self) -> None:
        for other in (
            "a:\n  hour: 08\n",
            "a:\n  hour: yes # don't\n",
            "a:\n    b: 1\n  c: 2\n",
            "a: 08\n",
            "a:\n  b\n",
            "a:\n  b: 1\n  b: 1\n",
            "a:\na:\n",
            "a:\n  x: &b c\n  y: *b\n",
            "a:\n  x: |\n    text: b\n",
            "a:\n  - b: 1\n",
            "a:\n\n  \tb: 1\n",
            "a: >-\n  text\n   more\n",
            "b c: 1\n",
            "a:\n- b\n-\n",
            "\u00e9.example.org:\n",
            "123:\n  x: \u202e\n",
            "no: 1\n",
            "a:\n\tb: 1\n",
            "a:\n  x: it's\n",
        ):
            for text in ((other + ENTRY), (ENTRY + other)):
                with self.subTest(text=text):
                    self.assertEqual(find(text).host, {"patch": True})

    def test_what_may_reach_over_the_own_entry_refuses_the_file(self) -> None:
        for other, line in (
            ("a:\n  x: 'open\n", 2),
            ('a:\n  x: "open\n', 2),
            ("a:\n  x: [b,\n", 2),
            ("a: {b: c,\n", 1),
            ("a:\n  x#'y: 'open\n", 2),
            ('a:\n  it"s: "\n', 2),
            ("a:\n  x: [it's, 'b]\n", 2),
            ('a:\n  - "b\\"\n', 2),
            ('"a:\n', 1),
            ("a:\n  x: 'b' 'c\n", 2),
            ("a:\n  b: [[c]\n", 2),
            ("a:\n  x: !!str 'b\n", 2),
            ("a:\n  x: &b [c\n", 2),
        ):
            for text in (other + ENTRY, other + ENTRY + "  x: ' # \" ]}\n"):
                with self.subTest(text=text):
                    self.assertRegex(refusal(text), r"\Aline %d, column " % line)

    def test_lines_in_column_one_that_are_no_plain_key_refuse_the_file(self) -> None:
        for line in (
            '"web01\\x2eexample.org":',
            "? web01.example.org",
            "&a web01.example.org:",
            "*a :",
            "!!str a:",
            "<<: *a",
            "...",
            "---",
            "--- a",
            "text",
            "%YAML 1.1",
            "{a: b}",
            "]",
            "web02.example.org",
            "web02.example.org:x",
            "'a'b:",
            "[a]:",
            "*.example.org:",
        ):
            with self.subTest(line=line):
                self.assertRegex(refusal(ENTRY + line + "\n"), r"\Aline 3, column 1: ")
                refusal("a:\n" + line + "\n" + ENTRY)

    def test_the_first_entry_has_to_start_in_column_one_and_be_a_key(self) -> None:
        for text in (
            " a:\n" + ENTRY,
            "- a\n" + ENTRY,
            "---\n---\n" + ENTRY,
            "  # c\n\n  a: 1\n",
            "\ta: 1\n",
        ):
            self.assertTrue(refusal(text))
        self.assertEqual(find("# c\n\n--- # d\n\t\n" + ENTRY).host, {"patch": True})

    def test_characters_that_some_readers_take_for_line_breaks_refuse_the_file(self) -> None:
        for char in "\x00\x07\x0b\x0c\x1b\x7f\x85\x9b\u2028\u2029\ufeff\uffff\r":
            for text in ("a: # b%sc\n" + ENTRY, ENTRY + "  x: b%sc\n", "# %s.\n" + ENTRY):
                message = refusal(text % char)
                self.assertIn("U+%04X" % ord(char), message)
        self.assertRegex(refusal("a:\n  b: x\rc\n" + ENTRY), r"\Aline 2, column 7: ")

    def test_a_lone_carriage_return_at_the_very_end_refuses_the_file_in_every_window(self) -> None:
        data = (ENTRY + "a:\r").encode("utf-8")
        for chunks in [list(lookup.chunks_of(data, window)) for window in WINDOWS] + [[data, b""]]:
            with self.assertRaisesRegex(ManifestError, "lone CR"):
                lookup.find(chunks, HOST)

    def test_text_that_is_not_utf8_refuses_the_file_at_its_place(self) -> None:
        for window in WINDOWS:
            with self.assertRaisesRegex(ManifestError, r"\Aline 3, column 6: not UTF-8: "):
                lookup.find(lookup.chunks_of(ENTRY.encode() + b"  a: \xff\n", window), HOST)

    def test_two_entries_for_the_host_refuse_the_file_in_whatever_spelling(self) -> None:
        for key in (
            HOST,
            HOST.upper(),
            HOST + ".",
            '"%s"' % HOST,
            "'%s'" % HOST.title(),
            HOST + " ",
        ):
            self.assertRegex(refusal(ENTRY + "a:\n%s:\n" % key), r"\Aline 4, column 1: .* line 1: ")

    def test_a_reserved_section_twice_refuses_the_file(self) -> None:
        for name in (".manifest", ".defaults", ".groups"):
            text = "%s:\n  x-a: 1\n%s'%s':\n" % (name, ENTRY, name)
            self.assertRegex(refusal(text), r"\Aline 5, column 1: .* line 1: ")

    def test_a_manifest_without_anything_says_so(self) -> None:
        for text in ("", "\n", "# c\n", "---\n", "\ufeff\n# c", " \n\t\n"):
            self.assertEqual(refusal(text), "empty: publish a manifest with at least one host")

    def test_html_in_place_of_a_manifest_is_called_so(self) -> None:
        for text in ("<!DOCTYPE html>\n<html>", "\n  <html>", "<?xml version='1.0'?>"):
            self.assertIn("HTML", refusal(text))


class OwnFaults(unittest.TestCase):
    def test_a_fault_in_the_own_entry_or_what_applies_to_it_makes_the_entry_invalid(self) -> None:
        for text, line in (
            (HOST + ":\n  hour: 08\n", 2),
            (HOST + ": yes\n", 1),
            (HOST + ":\n  a: 1\n  a: 2\n", 3),
            (".defaults:\n  duration: 1_0\n" + ENTRY, 2),
            (ENTRY + ".groups:\n  a:\n      b: 1\n    c: 1\n", 6),
            (HOST + ":\n  x: \u202e\n", 2),
            (HOST + ":\n- b\nc: 1\nd:\n  e\n", 0),
        ):
            found = find(text)
            if line:
                self.assertRegex(found.own_fault, r"\Aline %d, column " % line)
                self.assertGreater(found.host_line, 0)
            else:
                self.assertEqual(found.host, ["b"])

    def test_an_unknown_reserved_name_may_be_a_misspelt_one_and_makes_the_entry_invalid(
        self,
    ) -> None:
        for name in (".default", ".Defaults", ".group", ".x"):
            found = find(ENTRY + "%s:\n  freeze: []\n" % name)
            self.assertIn("line 3, column 1: '%s'" % name, found.own_fault)

    def test_a_host_that_is_not_listed_has_no_fault_of_its_own(self) -> None:
        self.assertEqual(find(".defaults:\n  duration: 08\na:\n").own_fault, "")

    def test_a_manifest_section_that_does_not_parse_refuses_the_file(self) -> None:
        self.assertRegex(
            refusal(".manifest:\n  expires: 2026-12-23\n" + ENTRY), r"\Aline 2, column 12: "
        )


class Bounds(unittest.TestCase):
    def test_an_endless_line_is_refused_early(self) -> None:
        seen = []

        def endless() -> object:
            while True:
                seen.append(1)
                yield b"a" * 4096

        with self.assertRaisesRegex(ManifestError, "line is over 65536 bytes"):
            lookup.find(endless(), HOST)  # type: ignore
        self.assertLess(len(seen), 20)

    def test_an_entry_without_end_is_refused(self) -> None:
        self.assertIn("over 262144 characters", refusal(ENTRY + "  - a\n" * 60000))

    def test_an_entry_that_comes_in_tiny_pieces_is_bounded_alike(self) -> None:
        text = ENTRY + "  l:\n" + "  - a\n" * 30000
        self.assertEqual(len(find(text, window=7).host["l"]), 30000)  # type: ignore
        with self.assertRaisesRegex(ManifestError, "over 262144 characters"):
            find(text + "  - a\n" * 30000, window=7)

    def test_an_entry_that_is_refused_for_its_size_is_known_to_who_sees_it_all(self) -> None:
        lines, rest = divmod(lookup.MAX_BLOCK_CHARS - len(ENTRY), 64)
        for start, end, fill in (("", "\n", "-"), ("---\n", "\n", "-"),
                                 ("\ufeff", "\r\n", "\u00e9")):
            comments = ("#" + fill * 62 + "\n") * lines
            start += comments if start == "---\n" else ""
            for extra in (-1, 0, 1):
                text = start + ENTRY + comments + "#" * (rest + extra - 1)
                for tail in ("", "\n", "\nb.example.org:\n  patch: true\n"):
                    whole = (text + tail).replace("\n", end)
                    told = [str(fault) for fault in lookup.overlong(whole.encode("utf-8"))]
                    self.assertEqual(told, [refusal(whole)] if extra > 0 else [])
                    if extra <= 0:
                        self.assertTrue(find(whole).host_line)

    def test_many_unknown_reserved_names_are_one_fault(self) -> None:
        text = "".join(".x%d:\n  a: 1\n" % number for number in range(5000))
        self.assertIn("line 1, column 1: '.x0'", find(text + ENTRY).own_fault)

    def test_memory_does_not_grow_with_the_file(self) -> None:
        try:
            import tracemalloc
        except ImportError:
            self.skipTest("this Python has no tracemalloc")
        peaks = []
        for hosts in (500, 5000):
            data = manifest_samples.manifest(hosts)
            lookup.find(lookup.chunks_of(data), manifest_samples.host_name(7))
            tracemalloc.start()
            lookup.find(lookup.chunks_of(data), manifest_samples.host_name(7))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        self.assertLess(peaks[1], 4 * 2**20)
        self.assertLess(peaks[1], peaks[0] * 1.5 + 2**18)

    def test_hostile_texts_are_refused_or_answered_as_the_parser_would(self) -> None:
        for name, data in hostile_manifests.cases():
            with self.subTest(case=name):
                whole = agreement.parsed(data)
                found = agreement.answers(data, [HOST, "absent.example.org"], 40)
                agreement.check_answers(found, whole.entries(), "the parser")

    def test_work_grows_with_the_size_and_not_faster(self) -> None:
        for name, make in hostile_manifests.growing():
            with self.subTest(case=name):
                self.assertTrue(hostile_manifests.is_linear(
                    self.cost, make(8000), make(32000)))

    def cost(self, data: bytes) -> float:
        start = time.process_time()
        try:
            lookup.find([data], HOST)
        except ManifestError:
            pass
        return time.process_time() - start


class Agreement(unittest.TestCase):
    """A short deterministic fuzz; the one against another reader is fuzz_manifest.py."""

    def test_parser_and_lookup_agree_on_mutated_manifests(self) -> None:
        long = bool(os.environ.get("QUALVOSEC_LONG"))
        seed = int(os.environ.get("QUALVOSEC_SEED", "20261123"))
        tally = [0, 0]
        for number in range(LONG_CASES if long else QUICK_CASES):
            case = "%d %d" % (seed, number)
            wrong, accepted, answered = self.disagreement(case)
            if wrong:
                self.fail("case %r of manifest_mutations.mutated: %s" % (case, wrong))
            tally[0] += accepted
            tally[1] += answered
        # A fuzz that refuses everything would agree on everything.
        self.assertGreater(tally[0], QUICK_CASES // 20)
        self.assertGreater(tally[1], QUICK_CASES // 3)

    def disagreement(self, case: str) -> Tuple[Optional[str], bool, int]:
        data = manifest_mutations.mutated(random.Random(case))
        names: List[str] = ["web0.example.org", "WEB1.example.org."]
        try:
            whole = agreement.parsed(data)
            found = agreement.answers(data, names, 40)
            agreement.check_answers(found, whole.entries(), "the parser")
            agreement.check_places(found, whole)
        except agreement.Disagreement as error:
            return str(error), False, 0
        return None, whole.accepted, len(found)


if __name__ == "__main__":
    unittest.main()
