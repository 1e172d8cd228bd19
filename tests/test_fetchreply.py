# SPDX-License-Identifier: BSD-2-Clause
"""The lines between the daemon and its fetch child: what passes, and what does not."""

import json
import random
import subprocess
import sys
import unittest
from typing import Dict
from typing import List
from typing import Tuple

from qualvosec.client.fetch import line as fetchreply
from qualvosec.client.fetch.line import FetchError
from qualvosec.client.fetch.line import FetchReply
from qualvosec.manifest import policy as policies
from qualvosec.manifest.policy import Policy

from tests import LIB

SHA = "ab" * 32
NEW = FetchReply("new", entry="policy", policy=Policy(patch=True, weekdays=(1,), hour=3,
                                                   only=("a*",),
                                                 freeze=((739000, 739001),), groups=("prod",)),
            etag='W/"6a"', last_modified="Mon, 23 Nov 2026 10:00:00 GMT", signature="good",
            signature_sha256=SHA, serial=2026112301, expires=739999, sha256=SHA, date=1795431600)
GOOD = [NEW, FetchReply("new", entry="unlisted", sha256=SHA),
        FetchReply("new", entry="invalid", faults=("line 3, column 5: hour: 25",), sha256=SHA),
        FetchReply("same", etag='"x"', date=5), FetchReply("failed", "no answer", retry_after=120),
        FetchReply("failed", "does not verify", signature="bad")]


def changed(reply: FetchReply, **fields: object) -> bytes:
    value = fetchreply.to_object(reply)
    value.update(fields)
    return json.dumps(value).encode() + b"\n"


class Replies(unittest.TestCase):
    def refuse(self, line: bytes) -> str:
        with self.assertRaises(FetchError) as caught:
            fetchreply.parse_reply(line)
        text = str(caught.exception)
        self.assertTrue(text.isprintable() and len(text) < 200, text)
        return text

    def test_reply_comes_back_as_it_was_sent(self) -> None:
        for reply in GOOD:
            line = fetchreply.reply_line(reply)
            self.assertEqual(fetchreply.parse_reply(line), reply)
            self.assertEqual(line.count(b"\n"), 1)

    def test_fields_out_of_range_are_refused_by_name(self) -> None:
        cases: List[Tuple[str, List[object]]] = [
            ("result", ["", "old", None, 1, ["new"]]),
            ("reason", ["\x1b[31m", "two\nlines", "x" * 601, 5, None, "\u202eabc"]),
            ("entry", ["all", None, 0]),
            ("policy", ["true", 1, []]),
            ("faults", ["line 3", [1], [""], ["x" * 301], ["a\nb"], ["f"] * 21, None, {}]),
            ("etag", ["\xe4", "x" * 257, "a\r\nb", None]),
            ("last_modified", ["\x00", 5]),
            ("signature", ["yes", True]),
            ("serial", [-1, 10 ** 18, 1.0, "1", True, None]),
            ("expires", [-1, 3652060, True]),
            ("sha256", ["ab", "AB" * 32, "g" * 64, None]),
            ("date", [-1, 1 << 60, False]),
            ("retry_after", [-1, 21601, "60"]),
            ("v", [0, 2, "1", True, None, 1.0])]
        for key, values in cases:
            for value in values:
                with self.subTest(key=key, value=value):
                    text = self.refuse(changed(NEW, **{key: value}))
                    expected = "version" if key == "v" else key
                    self.assertIn(expected, text)

    def test_policy_is_checked_as_strictly_as_on_every_arrival(self) -> None:
        policy = fetchreply.to_object(NEW)["policy"]
        assert isinstance(policy, dict)
        for change in ({"hour": 24}, {"weekdays": [7]}, {"patch": 1}, {"minute": "1"},
                       {"only": ["x"] * 501}, {"freeze": [[5]]}, {"reboot": "now"}):
            with self.subTest(change):
                self.assertIn("policy", self.refuse(changed(NEW, policy=dict(policy, **change))))

    def test_parts_that_do_not_fit_together_are_refused(self) -> None:
        for line in (changed(NEW, entry="unlisted"), changed(NEW, entry="invalid"),
                     changed(NEW, policy=None), changed(NEW, sha256=""), changed(NEW, entry=""),
                     changed(NEW, faults=["x"]), changed(NEW, reason="x"),
                     changed(NEW, result="same"), changed(NEW, signature="bad"),
                     changed(GOOD[3], sha256=SHA), changed(GOOD[3], serial=1),
                     changed(GOOD[4], reason=""), changed(GOOD[4], entry="unlisted"),
                     changed(GOOD[2], faults=[])):
            self.assertIn("do not fit together", self.refuse(line))

    def test_lines_that_are_no_reply_are_refused(self) -> None:
        good = fetchreply.reply_line(NEW)
        missing = fetchreply.to_object(NEW)
        del missing["result"]
        for line in (b"", b"\n", b"{}\n", b"[]\n", b"null\n", b"[" * 60000 + b"\n", good[:-1],
                     good + b"x", good + good, good[:-20] + b"\n", b"\xff" + good,
                     good.replace(b'"v": 1', b'"v": 1, "v": 1'), good.replace(b"0,", b"NaN,", 1),
                     good.replace(b"0,", b"1e3,", 1), changed(NEW, more=1),
                     json.dumps(missing).encode() + b"\n", good[:-1] + b" " * 66000 + b"\n",
                     b'"' + b"1" * 70000 + b'"\n', b"1" * 60000 + b"\n"):
            with self.subTest(line[:40]):
                self.refuse(line)

    def test_what_an_earlier_version_did_not_write_has_its_default(self) -> None:
        value = fetchreply.to_object(NEW)
        del value["date"], value["retry_after"]
        self.assertEqual(fetchreply.parse_reply(json.dumps(value).encode() + b"\n"),
                         NEW._replace(date=0))

    def test_a_line_of_a_later_version_is_refused_and_its_cache_is_read(self) -> None:
        policy = dict(policies.to_json(NEW.policy or Policy()), turn="1/2")
        self.assertEqual(self.refuse(changed(NEW, gate=1, policy=policy)),
                         "reply: newer than this version: gate, policy.turn")
        notes: List[str] = []
        value = dict(fetchreply.to_object(NEW), gate=1, policy=policy)
        self.assertEqual(fetchreply.from_object(value, notes), NEW)
        self.assertEqual(notes, ["gate", "policy.turn"])

    def test_reply_too_long_for_a_line_is_never_written(self) -> None:
        with self.assertRaises(FetchError):
            fetchreply.reply_line(FetchReply("failed", "\u00e4" * 70000))

    def test_largest_policy_fits_into_a_line(self) -> None:
        policy = Policy(patch=True, weekdays=(0,), only=tuple("%0124d" % n for n in range(117)),
                        freeze=tuple((739000 + n, 739000 + n) for n in range(200)),
                        groups=tuple("%064d" % n for n in range(100)))
        line = fetchreply.reply_line(NEW._replace(policy=policy))
        self.assertEqual(fetchreply.parse_reply(line).policy, policy)

    def test_random_damage_is_a_line_error_or_a_reply(self) -> None:
        seed = random.randrange(1 << 30)
        dice = random.Random(seed)
        line = fetchreply.reply_line(NEW)
        for _ in range(2000):
            damaged = bytearray(line)
            for _ in range(dice.randrange(1, 4)):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            try:
                self.assertIsInstance(fetchreply.parse_reply(bytes(damaged)), FetchReply, seed)
            except FetchError:
                pass
            except Exception as error:
                self.fail("seed %d: %r for %r" % (seed, error, damaged))


class Requests(unittest.TestCase):
    FIELDS: Dict[str, object] = {"url": "https://h/patch.yaml", "fqdn": "web01.example.org",
                                 "user_agent": "QualvoSec 1.0.0 web01.example.org"}

    def test_request_comes_back_as_it_was_sent(self) -> None:
        line = fetchreply.request_line(url="https://h/p", fqdn="a.b", user_agent="Q", serial=5,
                                       fresh=True, audience="prod", deadline_s=30)
        self.assertEqual(fetchreply.parse_request(line), fetchreply.FetchRequest(
            "https://h/p", "a.b", "Q", serial=5, fresh=True, audience="prod", deadline_s=30))

    def test_fields_that_do_not_exist_are_an_error_at_once(self) -> None:
        with self.assertRaises(TypeError):
            fetchreply.request_line(uri="x", **self.FIELDS)     # type: ignore[arg-type]

    def test_what_is_out_of_range_is_refused_by_the_reader(self) -> None:
        for field, value in (("url", "x" * 2049), ("user_agent", "\x1b"), ("etag", "\u00e4"),
                             ("serial", -1), ("deadline_s", 3601), ("fresh", 1), ("sha256", "x")):
            line = fetchreply.request_line(**dict(self.FIELDS, **{field: value}))   # type: ignore
            with self.assertRaises(FetchError) as caught:
                fetchreply.parse_request(line)
            self.assertIn(field, str(caught.exception))
        long = fetchreply.request_line(**dict(self.FIELDS, ca_file="x" * 20000))    # type: ignore
        with self.assertRaises(FetchError):
            fetchreply.parse_request(long)


class Resident(unittest.TestCase):
    def test_module_brings_neither_network_nor_yaml_into_the_daemon(self) -> None:
        code = ("import sys; sys.path.insert(0, %r); import qualvosec.client.fetch.line,"
                "qualvosec.client.tell.health; print(' '.join(sys.modules))" % LIB)
        done = subprocess.Popen([sys.executable, "-IBS", "-c", code], stdout=subprocess.PIPE)
        modules = set(done.communicate()[0].decode().split())
        self.assertIn("qualvosec.client.fetch.line", modules)
        for name in ("ssl", "urllib", "urllib.request", "http", "http.client", "email", "hashlib",
                     "tempfile", "argparse", "random", "shutil", "pathlib",
                     "qualvosec.yamlsubset", "qualvosec.download"):
            self.assertNotIn(name, modules)


if __name__ == "__main__":
    unittest.main()
