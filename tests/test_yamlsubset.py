# SPDX-License-Identifier: BSD-2-Clause
"""The YAML subset: what is read, what is refused, and where and how it is said."""

import glob
import json
import os
import time
import unittest
from typing import Dict
from typing import List
from typing import Tuple

from qualvosec import yamlsubset
from qualvosec.yamlsubset import Mark
from qualvosec.yamlsubset import YamlError

from tests import DATA
from tests import hostile_manifests
from tests import manifest_mutations
from tests import manifest_samples

CORPUS = os.path.join(DATA, "yamlsubset")

# One row for each value of the specification's table: as a field, an item, an item of a one-line
# list. REFUSED stands for a refusal in all three places.
READ: Tuple[Tuple[str, object], ...] = (
    ("true", True), ("True", True), ("TRUE", True), ("false", False), ("False", False),
    ("FALSE", False), ("null", None), ("Null", None), ("NULL", None), ("~", None),
    ("0", 0), ("3", 3), ("-1", -1), ("123456789012345678", 123456789012345678),
    ("00", 0), ("03", 3), ("07", 7), ("Tuesday", "Tuesday"), ("23h", "23h"), ("a#b", "a#b"),
    ("libc6:amd64", "libc6:amd64"), ("192.0.2.1", "192.0.2.1"), ("0ad", "0ad"), ("-a", "-a"),
    ("a b", "a b"), ("2026-12-20/2027-01-05", "2026-12-20/2027-01-05"), ("1.2.3", "1.2.3"),
    ("a\u00a0b", "a\u00a0b"), ("\u00a0", "\u00a0"), ("b\u00fcro", "b\u00fcro"), ("...", "..."),
    ('"yes"', "yes"), ("'010'", "010"), ('"2026-12-20"', "2026-12-20"), ("'it''s'", "it's"),
    ('"a\\"b\\\\c"', 'a"b\\c'), ("''", ""), ('"a: b # c, [d]"', "a: b # c, [d]"),
)  # fmt: skip
REFUSED = """yes no on off Yes NO oN y n Y N tRUE nULL 08 09 010 0_7 0o10 0x1F 0b11 1_000 +5 -0 -07
3:15 12:30:45 1:75 1.20 1.5 .5 5. 1e3 1.e+3 .inf -.INF .nan 1234567890123456789 2026-12-20
2026-13-45 2026-1-2 2026-12-20T01:02:03Z | > |- & &a *a ! !!str %a @a ` <<  = {a} {a:b} {} "a 'a
"a\\x41" "a\\n" "a"b
'a'b 'a"#b [a [a]] ?a :a ,a a: -""".split()  # noqa: SIM905
FLOW_ONLY_REFUSED = ("lib?", "a?b", "it's", 'a"b', "[a]", "a:", "a: b", "- a")


def fault(text: str) -> YamlError:
    try:
        value = yamlsubset.load(text.encode("utf-8"))
    except YamlError as error:
        return error
    raise AssertionError("%r was read as %r" % (text, value))


def load(text: str) -> object:
    return yamlsubset.load(text.encode("utf-8"))


class Values(unittest.TestCase):
    def test_each_value_of_the_table_is_read_alike_as_field_item_and_listed_item(self) -> None:
        for text, expected in READ:
            for template, path in (
                ("k: %s\n", ("k",)),
                ("k:\n  - %s\n", ("k", 0)),
                ("k: [ %s ]\n", ("k", 0)),
                ("k: %s # c\n", ("k",)),
                ("k: %s\t# c\n", ("k",)),
                ("k: %s", ("k",)),
            ):
                with self.subTest(text=text, template=template):
                    value: object = load(template % text)
                    for step in path:
                        value = value[step]  # type: ignore
                    self.assertEqual(value, expected)
                    self.assertIs(type(value), type(expected))

    def test_each_doubtful_value_is_refused_at_its_place(self) -> None:
        for text in REFUSED:
            for template, line, column in (
                ("k: %s\n", 1, 4),
                ("k:\n  - %s\n", 2, 5),
                ("k: [%s]\n", 1, 5),
            ):
                with self.subTest(text=text, template=template):
                    error = fault(template % text)
                    self.assertEqual(error.line, line)
                    self.assertGreaterEqual(error.column, column)
                    self.assertTrue(error.fix)

    def test_what_only_a_list_on_one_line_takes_for_something_else_is_refused_there(self) -> None:
        for text in FLOW_ONLY_REFUSED:
            with self.subTest(text=text):
                fault("k: [%s]\n" % text)

    def test_a_one_line_list_may_be_empty_and_may_end_in_a_comma(self) -> None:
        self.assertEqual(
            load("a: []\nb: [a,]\nc: [ 'a', \"b\" ,3 ]\n"),
            {"a": [], "b": ["a"], "c": ["a", "b", 3]},
        )

    def test_lists_that_do_not_close_or_nest_are_refused(self) -> None:
        for text in ("[a", "[a,", "[,]", "[a,,b]", "[a b", "[a]b", "[a] b", "[[a]]", "[{a: b}]",
                     "[a:]", "[-]", "[#]", "[a #b]", "[a,\tb]", '["a]', "[a:,b]"):  # fmt: skip
            with self.subTest(text=text):
                fault("k: %s\n" % text)

    def test_fixes_name_what_to_write(self) -> None:
        self.assertIn("write 8", fault("hour: 08\n").fix)
        self.assertIn("quote", fault("time: 3:15\n").fix)
        self.assertIn("true or false", fault("patch: yes\n").fix)
        self.assertIn("'key: value'", fault("hour:3\n").fix)


class Structure(unittest.TestCase):
    def test_nothing_but_comments_is_none(self) -> None:
        for text in (
            "",
            "\n",
            "# c",
            " \t\n  # c\n\n",
            "---",
            "--- # c\n",
            "\ufeff",
            "\ufeff# c\n",
        ):
            self.assertIsNone(load(text))

    def test_an_empty_value_is_none_whatever_follows(self) -> None:
        self.assertEqual(
            load("a:\nb: # c\nc:\n  d:\n  e:\n- "[:-2]),
            {"a": None, "b": None, "c": {"d": None, "e": None}},
        )

    def test_lists_may_stand_in_the_column_of_their_key_or_deeper(self) -> None:
        self.assertEqual(
            load("a:\n- b\n-   c\nd:\n    - e\n  \nf:\n  g:\n  - h\n  i: 1\n"),
            {"a": ["b", "c"], "d": ["e"], "f": {"g": ["h"], "i": 1}},
        )

    def test_a_list_may_be_the_whole_text(self) -> None:
        self.assertEqual(load("- a\n# c\n- [b]\n-\n"), ["a", ["b"], None])

    def test_keys_are_plain_or_quoted_text(self) -> None:
        self.assertEqual(
            load("a b: 1\n\"c\": 2\n'd' : 3\ne.f-g_h: 4\n.i: 5\nj#k: 6\n'': 7\n-l: 8\n"),
            {"a b": 1, "c": 2, "d": 3, "e.f-g_h": 4, ".i": 5, "j#k": 6, "": 7, "-l": 8},
        )

    def test_keys_that_are_no_text_to_some_reader_are_refused(self) -> None:
        for key in (
            "1",
            "no",
            "~",
            "true",
            "1.5",
            "3:15",
            "2026-12-20",
            "? a",
            "&a b",
            "*a",
            "!!str a",
            "<<",
            "=",
            "[a]",
            "{a}",
            "- a",
            "'a' b",
            "x" * 256,
            "'" + "x" * 254 + "'",
        ):
            with self.subTest(key=key):
                fault(key + ": 1\n")

    def test_one_leading_document_mark_is_read_and_no_other(self) -> None:
        self.assertEqual(load("# c\n--- # d\na: 1\n"), {"a": 1})
        for text in (
            "---\n---\n",
            "a: 1\n---\n",
            "a: 1\n...\n",
            "--- a: 1\n",
            "... a: 1\n",
            "--- |\n",
            "%YAML 1.1\n---\n",
            "---\t'a'\n",
        ):
            with self.subTest(text=text):
                fault(text)
        self.assertEqual(
            load("a:\n  ---: 1\n  ... b: 2\n---a: 3\n"), {"a": {"---": 1, "... b": 2}, "---a": 3}
        )

    def test_what_spans_lines_is_refused_at_its_line(self) -> None:
        for text, line in (
            ("a: b\n  c\n", 2),
            ("a:\n  b\n", 2),
            ("a: 'b\n  c'\n", 1),
            ("a: [b,\n  c]\n", 1),
            ("a: |\n  b\n", 1),
            ("a: >-\n  b\n", 1),
            ("a:\n  - b\n    c\n", 3),
            ("a: b\n  c: d\n", 2),
            ("a:\n- b\n  - c\n", 3),
            ("a:\n  -b\n  -c\n", 2),
        ):
            with self.subTest(text=text):
                self.assertEqual(fault(text).line, line)

    def test_lines_that_line_up_with_nothing_are_refused(self) -> None:
        for text, line in (
            ("a:\n    b: 1\n  c: 2\n", 3),
            (" a: 1\n", 1),
            ("a:\n  - b\n - c\n", 3),
            ("a:\n  - b\n  c: 1\n", 3),
            ("- a\nb: 1\n", 2),
            ("a: 1\n- b\n", 2),
            ("a:\n  b: 1\n  - c\n", 3),
            ("a:\n  k:\n    - x\n  - y\n", 4),
        ):
            with self.subTest(text=text):
                self.assertEqual(fault(text).line, line)

    def test_blocks_nest_sixteen_deep_and_no_deeper(self) -> None:
        text = "".join("%sa:\n" % ("  " * level) for level in range(16))
        value: object = load(text)
        for _ in range(16):
            value = value["a"]  # type: ignore
        self.assertIsNone(value)
        error = fault(text + "  " * 16 + "a:\n")
        self.assertEqual((error.line, error.column), (17, 33))

    def test_duplicate_keys_name_both_lines_at_every_level(self) -> None:
        for text, line, first in (
            ("a: 1\nb: 2\na: 3\n", 3, 1),
            ("a:\n  b: 1\n  b: 1\n", 3, 2),
            ("a:\n  b: 1\n'a':\n  c: 1\n", 3, 1),
            ("a:\n  b: []\n  c:\n  b: x\n", 4, 2),
        ):
            for marks in ({}, None):  # type: ignore
                with self.subTest(text=text), self.assertRaises(YamlError) as caught:
                    yamlsubset.load(text.encode("utf-8"), marks)
                self.assertEqual(
                    (caught.exception.line, "line %d" % first in caught.exception.what),
                    (line, True),
                )

    def test_keys_that_differ_in_case_are_two(self) -> None:
        self.assertEqual(load("a: 1\nA: 2\n"), {"a": 1, "A": 2})

    def test_values_on_equal_lines_are_not_shared(self) -> None:
        value = load("a:\n  l: [x]\nb:\n  l: [x]\n")
        value["a"]["l"].append("y")  # type: ignore
        self.assertEqual(value, {"a": {"l": ["x", "y"]}, "b": {"l": ["x"]}})


class Characters(unittest.TestCase):
    def test_crlf_bom_and_a_missing_last_line_end_make_no_difference(self) -> None:
        expected = {"a": {"b": [1, "c"]}, "d": None}
        plain = "a:\n  b:\n    - 1\n    - c\nd:"
        for text in (
            plain,
            plain + "\n",
            plain.replace("\n", "\r\n"),
            "\ufeff" + plain,
            plain.replace("\n", "\r\n", 2),
        ):
            self.assertEqual(load(text), expected)

    def test_tabs_before_a_comment_or_a_line_end_are_white_space(self) -> None:
        self.assertEqual(
            load(
                "a:\t\t# c\n  b: 1\t \t# d\t\te\n  c:\t\n  d: 'x'\t\n"
                "  e: [g]\t# f\n\t\n \t\n---a:\t\n"
            ),
            {"a": {"b": 1, "c": None, "d": "x", "e": ["g"]}, "---a": None},
        )

    def test_tabs_anywhere_else_are_refused(self) -> None:
        for text in (
            "\ta: 1\n",
            "a:\n\tb: 1\n",
            "a:\n  \tb: 1\n",
            "a:\tb\n",
            "a: b\tc\n",
            "a: \tb\n",
            "a:\n  -\tb\n",
            "a: 'b\tc'\n",
            'a: "b\tc"\n',
            "a: [b,\tc]\n",
            "a\tb: 1\n",
            "a\t: 1\n",
            "\t# c\n",
            "a: [\tb]\n",
        ):
            with self.subTest(text=text):
                fault(text)

    def test_the_sample_of_the_slides_is_read_with_its_tabs(self) -> None:
        with open(os.path.join(CORPUS, "valid", "slides.yaml"), "rb") as stream:
            data = stream.read()
        self.assertIn(b"\t\t#", data)
        self.assertEqual(
            yamlsubset.load(data)["hypervisor02.example.org"],  # type: ignore
            {"patch": True, "reboot": True, "weekday": 2, "hour": 3, "minute": 15},
        )

    def test_other_line_breaks_controls_and_direction_marks_are_refused_even_in_comments(
        self,
    ) -> None:
        for char in (
            "\x00\x01\x07\x08\x0b\x0c\x0e\x1b\x1f\x7f\x80\x85\x9b\x9f\u2028\u2029\ufeff\ufffe\uffff"
            "\u061c\u200e\u200f\u202a\u202e\u2066\u2069\r"
        ):
            for text in ("a: b%sc\n", "a%s: b\n", "# c %s d\n", "a: 'b%s'\n", "a:\n  - b\n# %s"):
                with self.subTest(char=hex(ord(char)), text=text):
                    self.assertIn("U+%04X" % ord(char), fault(text % char).what)

    def test_text_that_is_not_utf8_is_refused_at_its_place(self) -> None:
        for data in (b"a: 1\nb: \xff\n", b"a: 1\nb: \xed\xa0\x80\n", b"a: 1\nb: \xc3"):
            with self.assertRaises(YamlError) as caught:
                yamlsubset.load(data)
            self.assertEqual((caught.exception.line, caught.exception.column), (2, 4))
        for data in ("a: 1".encode("utf-16"), "a: 1".encode("utf-32")):
            with self.assertRaises(YamlError):
                yamlsubset.load(data)


class Places(unittest.TestCase):
    TEXT = (
        ".defaults:\n  duration: 60\n'web01':  # c\n  weekday:   1\n"
        "  packages_blacklist:\n    - vim\n\n    -   nano\n"
        '  group_membership: [a,  "b" ]\n'
    )

    def test_marks_are_the_places_of_keys_and_items(self) -> None:
        marks: Dict[yamlsubset.Path, Mark] = {}
        yamlsubset.load(self.TEXT.encode("utf-8"), marks)
        self.assertEqual(
            marks,
            {
                (".defaults",): Mark(1, 1),
                (".defaults", "duration"): Mark(2, 3),
                ("web01",): Mark(3, 1),
                ("web01", "weekday"): Mark(4, 3),
                ("web01", "packages_blacklist"): Mark(5, 3),
                ("web01", "packages_blacklist", 0): Mark(6, 7),
                ("web01", "packages_blacklist", 1): Mark(8, 9),
                ("web01", "group_membership"): Mark(9, 3),
                ("web01", "group_membership", 0): Mark(9, 22),
                ("web01", "group_membership", 1): Mark(9, 26),
            },
        )

    def test_positions_change_nothing_that_is_read(self) -> None:
        data = manifest_samples.manifest(50, seed=3)
        self.assertEqual(yamlsubset.load(data), yamlsubset.load(data, {}))

    def test_a_first_line_moves_all_places(self) -> None:
        marks: Dict[yamlsubset.Path, Mark] = {}
        yamlsubset.load(b"a:\n  b: 1\n", marks, None, 41)
        self.assertEqual(marks[("a", "b")], Mark(42, 3))
        with self.assertRaisesRegex(YamlError, "line 43, column 3: .* line 42"):
            yamlsubset.load(b"a:\n  b: 1\n  b: 1\n", None, None, 41)


class Faults(unittest.TestCase):
    def collect(self, text: str) -> Tuple[object, List[int]]:
        faults: List[YamlError] = []
        value = yamlsubset.load(text.encode("utf-8"), None, faults)
        return value, [error.line for error in faults]

    def test_reading_goes_on_at_the_next_entry_without_the_faulty_ones(self) -> None:
        text = "a:\n  b: 1\nc:\n  d: 08\n  e: 09\nf:\n  g: 1\nbad\n  h: 2\n"
        text += "i:\n- j\n- k: l\n# c\n- m\nr: 1\nr: 2\no:\n\tp: 1\nq: 3\n"
        self.assertEqual(
            self.collect(text), ({"a": {"b": 1}, "f": {"g": 1}, "r": 1, "q": 3}, [4, 8, 12, 16, 18])
        )

    def test_a_faulty_line_in_column_one_leaves_the_entry_above_it(self) -> None:
        self.assertEqual(self.collect("a:\n  b: 1\n*c:\n  d: 1\n"), ({"a": {"b": 1}}, [3]))

    def test_a_field_under_a_list_item_takes_its_entry_with_it(self) -> None:
        self.assertEqual(self.collect("a:\n  b: 1\n- c\nd: 1\n"), ({"d": 1}, [3]))

    def test_without_a_list_for_faults_the_first_is_raised(self) -> None:
        self.assertEqual(fault("a: 08\nb: 09\n").line, 1)

    def test_text_that_cannot_be_decoded_is_one_fault_and_no_value(self) -> None:
        faults: List[YamlError] = []
        self.assertIsNone(yamlsubset.load(b"a: 1\nb: \xff\n", None, faults))
        self.assertEqual(len(faults), 1)

    def test_faults_are_appended_to_what_is_in_the_list(self) -> None:
        faults = [YamlError(1, "what", "fix", 7)]
        yamlsubset.load(b"a: 08\nb: 1\nb: 2\n", None, faults)
        self.assertEqual([error.line for error in faults], [7, 1, 3])


class Corpus(unittest.TestCase):
    def files(self, kind: str) -> List[str]:
        found = sorted(glob.glob(os.path.join(CORPUS, kind, "*.yaml")))
        self.assertGreater(len(found), 9, "the corpus is missing")
        return found

    def test_valid_files_are_read_as_their_json_says(self) -> None:
        for path in self.files("valid"):
            with self.subTest(path=path), open(path, "rb") as text, open(
                path[:-5] + ".json", encoding="utf-8"
            ) as expected:
                value = yamlsubset.load(text.read())
                self.assertEqual(value, json.load(expected))
                # 1 == True: the types have to be the same as well.
                expected.seek(0)
                self.assertEqual(repr(value), repr(json.load(expected)))

    def test_invalid_files_are_refused_with_the_line_that_is_kept_beside_them(self) -> None:
        for path in self.files("invalid"):
            with self.subTest(path=path), open(path, "rb") as text, open(
                path[:-5] + ".txt", encoding="utf-8"
            ) as expected:
                with self.assertRaises(YamlError) as caught:
                    yamlsubset.load(text.read())
                self.assertEqual(str(caught.exception) + "\n", expected.read())

    def test_every_file_has_its_partner(self) -> None:
        for kind, suffix in (("valid", ".json"), ("invalid", ".txt")):
            names = {os.path.splitext(name)[0] for name in os.listdir(os.path.join(CORPUS, kind))}
            for name in names:
                for end in (".yaml", suffix):
                    self.assertTrue(
                        os.path.exists(os.path.join(CORPUS, kind, name + end)), name + end
                    )


class Hostile(unittest.TestCase):
    def test_hostile_texts_are_refused_with_one_short_printable_line(self) -> None:
        cases = hostile_manifests.cases()
        self.assertGreaterEqual(len(cases), 50)
        for name, data in cases:
            with self.subTest(case=name):
                with self.assertRaises(YamlError) as caught:
                    yamlsubset.load(data)
                text = str(caught.exception)
                self.assertRegex(text, r"\Aline [0-9]+, column [0-9]+: [ -~]+: [ -~]+\Z")
                self.assertLess(len(text), 200)

    def test_twice_the_hostile_size_takes_no_more_than_twice_the_steps(self) -> None:
        for name, make in hostile_manifests.growing():
            with self.subTest(case=name):
                self.assertTrue(hostile_manifests.is_linear(
                    self.cost, make(8000), make(32000)))

    def cost(self, data: bytes) -> float:
        start = time.process_time()
        yamlsubset.load(data, None, [])
        return time.process_time() - start

    def test_every_trap_of_the_fuzzer_is_read_or_refused(self) -> None:
        for scalar in manifest_mutations.SCALARS:
            for template in (
                "%s",
                "k: %s\n",
                "- %s\n",
                "k: [%s]\n",
                "k:\n  - %s\n  - %s\n",
                "%s: 1\n",
            ):
                text = template.replace("%s", scalar)
                try:
                    yamlsubset.load(text.encode("utf-8"))
                except YamlError:
                    pass


if __name__ == "__main__":
    unittest.main()
