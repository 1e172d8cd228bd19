# SPDX-License-Identifier: BSD-2-Clause
"""Requests to root: what is served, what is refused, how long a caller may take."""

import json
import os
import random
import unittest
from typing import Any
from typing import Dict
from typing import List

from qualvosec.contract import call
from qualvosec.helper import request

UPGRADE: Dict[str, Any] = {
    "v": 1, "op": "upgrade", "window": "20261124T0215Z", "not_after": 1795400000,
    "security_only": False, "only": [], "exclude": []}
GOOD: List[Dict[str, Any]] = [
    UPGRADE,
    dict(UPGRADE, only=["vim", "lib*", "python3.?", "g++", "libc6:i386"], exclude=["*-dbg"]),
    {"v": 1, "op": "check", "refresh": True, "security_only": True, "only": [], "exclude": []},
    {"v": 1, "op": "repair", "window": "20261124T0215Z", "not_after": 1},
    {"v": 1, "op": "reboot", "window": "20261124T0215Z", "not_after": 1},
    {"v": 1, "op": "status", "wait": False},
]


def parse(fields: object) -> request.Request:
    return request.parse(json.dumps(fields).encode("utf-8"))


class Accepted(unittest.TestCase):
    def test_every_operation_of_the_protocol_is_accepted(self) -> None:
        for fields in GOOD:
            self.assertEqual(parse(fields).op, fields["op"])

    def test_fields_arrive_as_values(self) -> None:
        got = parse(GOOD[1])
        self.assertEqual((got.window, got.not_after, got.security_only),
                         ("20261124T0215Z", 1795400000, False))
        self.assertEqual(got.only, ("vim", "lib*", "python3.?", "g++", "libc6:i386"))
        self.assertEqual(got.exclude, ("*-dbg",))


class Refused(unittest.TestCase):
    def refuse(self, data: bytes, part: str = "") -> None:
        with self.assertRaises(request.RequestError) as caught:
            request.parse(data)
        message = str(caught.exception)
        self.assertNotIn("\n", message)
        self.assertTrue(message.isprintable())
        self.assertIn(part, message)

    def refuse_fields(self, fields: object, part: str = "") -> None:
        self.refuse(json.dumps(fields).encode("utf-8"), part)

    def test_what_is_not_one_json_object_in_ascii_is_refused(self) -> None:
        for data in (b"", b" ", b"null", b"[]", b"1", b'"check"', b"{", b"{}{}", b"\xff{}", b"\x00",
                     '{"v": "\u00e9"}'.encode("utf-8"), b"[" * 16000, b'{"v":' * 3000,
                     b"{" + b'"a":1,' * 2000 + b'"b":1}', b"9" * 16000):
            self.refuse(data)

    def test_a_key_that_stands_twice_is_refused(self) -> None:
        self.refuse(b'{"v":1,"op":"status","wait":false,"wait":true}', "unique")

    def test_nan_and_fractions_are_refused(self) -> None:
        for number in ("NaN", "Infinity", "-Infinity", "1.5", "1e3", "1795400000.0"):
            data = json.dumps(dict(UPGRADE, not_after=0)).replace(": 0", ": " + number)
            self.refuse(data.encode("ascii"), "not_after")

    def test_a_missing_or_additional_key_is_refused(self) -> None:
        for fields in GOOD:
            self.refuse_fields(dict(fields, shell="sh"), "exactly the keys")
            for key in fields:
                less = {name: value for name, value in fields.items() if name != key}
                self.refuse_fields(less)

    def test_a_value_of_another_type_is_refused(self) -> None:
        values: List[object] = [None, True, 0, "x", [], {}, [[]], [None], [1], {"a": 1}]
        for fields in GOOD:
            for key, value in fields.items():
                for other in values:
                    if type(other) is not type(value):
                        self.refuse_fields(dict(fields, **{key: other}))

    def test_an_operation_or_version_of_another_world_is_refused(self) -> None:
        for op in ("", "Upgrade", "refresh", "exec", "upgrade ", "__class__"):
            self.refuse_fields(dict(UPGRADE, op=op), "op: not one of")
        for version in (0, 2, -1, 10 ** 30):
            self.refuse_fields(dict(UPGRADE, v=version), "version")

    def test_a_window_of_another_form_is_refused(self) -> None:
        for window in ("", "20261124", "20261124T0215Z\n", " 20261124T0215Z", "2026-11-24T02:15Z",
                       "../../etc/passwd", "20261124T0215z", "\u0662\u0660261124T0215Z",
                       "20261124T0215Z20261124T0215Z"):
            self.refuse_fields(dict(UPGRADE, window=window), "window")

    def test_a_time_out_of_range_is_refused(self) -> None:
        for not_after in (0, -1, 1 << 40, 10 ** 400):
            self.refuse_fields(dict(UPGRADE, not_after=not_after), "not_after")

    def test_too_many_patterns_are_refused(self) -> None:
        self.refuse_fields(dict(UPGRADE, only=["a"] * 501), "more than 500")
        self.assertEqual(len(parse(dict(UPGRADE, only=["a"] * 500)).only), 500)

    def test_a_pattern_that_is_none_is_refused_with_its_place(self) -> None:
        for bad in ("", "-y", "a b", "a/b", "a=b", "a;b", "$(a)", "a\n", "a" * 129, "a[b]",
                    "\u00e9"):
            self.refuse_fields(dict(UPGRADE, exclude=["vim", bad]), "exclude: entry 2")

    def test_random_damage_is_refused_or_means_something_valid(self) -> None:
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        original = bytearray(json.dumps(GOOD[1]).encode("ascii"))
        for _ in range(3000):
            data = bytearray(original)
            for _ in range(rng.randint(1, 3)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            try:
                got = request.parse(bytes(data))
            except request.RequestError:
                continue
            self.assertIn(got.op, call.KEYS, "seed %d" % seed)


class Reading(unittest.TestCase):
    def setUp(self) -> None:
        self.source, self.sink = os.pipe()
        self.addCleanup(os.close, self.source)

    def test_a_request_is_what_comes_before_the_end_of_file(self) -> None:
        os.write(self.sink, b'{"v":')
        os.write(self.sink, b"1}")
        os.close(self.sink)
        self.assertEqual(request.read(self.source), b'{"v":1}')

    def test_nothing_at_all_is_read_as_nothing(self) -> None:
        os.close(self.sink)
        self.assertEqual(request.read(self.source), b"")

    def test_a_caller_that_never_ends_is_refused_at_the_deadline(self) -> None:
        os.write(self.sink, b"{")
        self.addCleanup(os.close, self.sink)
        ticks = iter([100.0, 100.0, 104.99, 105.0])
        with self.assertRaisesRegex(request.RequestError, "within 5 seconds"):
            request.read(self.source, lambda: next(ticks))

    def test_a_silent_caller_is_refused_at_the_deadline(self) -> None:
        self.addCleanup(os.close, self.sink)
        ticks = iter([100.0, 104.99])
        with self.assertRaisesRegex(request.RequestError, "within 5 seconds"):
            request.read(self.source, lambda: next(ticks))

    def test_more_than_the_limit_is_refused(self) -> None:
        os.write(self.sink, b"x" * (call.MAX_REQUEST + 1))
        os.close(self.sink)
        with self.assertRaisesRegex(request.RequestError, "larger than 16384"):
            request.read(self.source)
