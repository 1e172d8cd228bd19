# SPDX-License-Identifier: BSD-2-Clause
"""The kit for checked JSON: a value that is read has the types that its annotation says."""

import unittest
from typing import Any
from typing import List
from typing import NamedTuple
from typing import Tuple

from qualvosec.contract import shape
from qualvosec.contract.shape import ShapeError

import tests  # noqa: F401


class Inner(NamedTuple):
    name: str
    size: int = 0


class Outer(NamedTuple):
    first: Inner
    flag: bool = False
    names: Tuple[str, ...] = ()
    pair: Tuple[str, int] = ("", 0)
    rows: Tuple[Tuple[int, int], ...] = ()
    more: Tuple[Inner, ...] = ()


GOOD = {"first": {"name": "a", "size": 1}, "flag": True, "names": ["b", "c"], "pair": ["d", 2],
        "rows": [[3, 4], [5, 6]], "more": [{"name": "e", "size": 7}]}


class Typed(unittest.TestCase):
    def read(self, part: shape.Part, value: Any) -> Tuple[Any, List[str]]:
        notes: shape.Notes = []
        return part(value, notes), notes

    def refused(self, part: shape.Part, value: Any, *words: str) -> None:
        with self.assertRaises(ShapeError, msg=repr(value)) as caught:
            part(value, [])
        for word in words:
            self.assertIn(word, str(caught.exception))

    def test_annotations_say_what_a_record_holds(self) -> None:
        self.assertEqual(self.read(shape.record(Outer), GOOD), (Outer(
            Inner("a", 1), True, ("b", "c"), ("d", 2), ((3, 4), (5, 6)), (Inner("e", 7),)), []))

    def test_another_type_is_refused_with_its_place(self) -> None:
        for key, value in (("flag", 1), ("names", "b"), ("names", [1]), ("pair", ["d"]),
                           ("pair", ["d", True]), ("rows", [[3]]), ("rows", {}), ("more", [[]]),
                           ("first", None), ("names", None)):
            self.refused(shape.record(Outer), dict(GOOD, **{key: value}), key)
        self.refused(shape.record(Outer), dict(GOOD, first={"name": 5}), "first: name: is not text")
        for value in (None, [], "x", 1):
            self.refused(shape.record(Outer), value, "is not an object")

    def test_absent_keys_have_their_default_unless_they_are_needed(self) -> None:
        short = {"first": {"name": "a"}}
        self.assertEqual(self.read(shape.record(Outer), short), (Outer(Inner("a")), []))
        self.refused(shape.record(Outer), {}, "first: is missing")
        self.refused(shape.record(Outer, ("flag",)), short, "flag: is missing")

    def test_unknown_keys_are_ignored_and_told_with_their_place(self) -> None:
        value = dict(GOOD, new=1, first={"name": "a", "size": 1, "": None})
        found, notes = self.read(shape.record(Outer), value)
        self.assertEqual((found, notes), (self.read(shape.record(Outer), GOOD)[0],
                                          ["new", "first."]))
        self.refused(shape.record(Outer, exact=True), dict(GOOD, new=1), "new")

    def test_only_the_version_of_the_reader_is_read(self) -> None:
        part = shape.record(Inner, version=1)
        self.assertEqual(self.read(part, {"v": 1, "name": "x"}), (Inner("x"), []))
        for version in (2, 0, True, "1", 1.0, None):
            self.refused(part, {"v": version, "name": "x"}, "another version")
        self.refused(part, {"name": "x"}, "another version")
        self.assertEqual(self.read(shape.record(Inner), {"v": 1, "name": "x"})[1], ["v"])

    def test_narrower_parts_stand_for_an_annotation(self) -> None:
        part = shape.record(Inner, name=shape.word("x", "y"), size=shape.number(0, 9))
        self.assertEqual(self.read(part, {"name": "x", "size": 9}), (Inner("x", 9), []))
        self.refused(part, {"name": "z"}, "name: is not a known word")
        self.refused(part, {"name": ["x"]}, "name: is not a known word")
        self.refused(part, {"name": "x", "size": 10}, "size: is not a number from 0 to 9")

    def test_limits_hold(self) -> None:
        self.refused(shape.text(3), "abcd")
        self.refused(shape.text(3, 1), "")
        self.refused(shape.list_of(shape.text(), 1), ["a", "b"])
        self.refused(shape.number(), shape.MAX_NUMBER + 1)

    def test_a_word_newer_than_the_reader_is_kept_and_told(self) -> None:
        part = shape.record(Inner, name=shape.newer_word("old"))
        self.assertEqual(self.read(part, {"name": "old"}), (Inner("old"), []))
        self.assertEqual(self.read(part, {"name": "brand-new"}),
                         (Inner("brand-new"), ["name is brand-new"]))
        for value in ("", "two words", "x" * 33, "UPPER", "new\n", "\u00e4", 1, None, ["old"]):
            self.refused(part, {"name": value}, "name: is not a word")


class Text(unittest.TestCase):
    def test_what_is_no_json_in_ascii_with_unique_keys_is_refused_in_one_line(self) -> None:
        for data in (b"", b"{", b"\xff", b'{"a": 1, "a": 2}', b"[" * 100000 + b"]" * 100000,
                     "\u00e4".encode(), b'{"\n": }'):
            with self.assertRaises(ShapeError, msg=repr(data[:20])) as caught:
                shape.parse(data)
            self.assertTrue(str(caught.exception).isprintable())
        self.assertEqual(shape.parse(b'{"a": [1, null, 1.5]}'), {"a": [1, None, 1.5]})

    def test_notes_are_one_bounded_printable_line(self) -> None:
        self.assertEqual(shape.told([]), "")
        self.assertEqual(shape.told(["a", "b.c"]), "a, b.c")
        line = shape.told(["\x1b[31m\n\u202e" + "x" * 5000] * 900)
        self.assertTrue(line.isprintable() and all(ord(char) < 128 for char in line))
        self.assertLess(len(line), 500)
        self.assertIn("and 895 more", line)


if __name__ == "__main__":
    unittest.main()
