# SPDX-License-Identifier: BSD-2-Clause
"""Policies that arrive are taken exactly or refused with the key that is wrong."""

import contextlib
import io
import json
import os
import tempfile
import time
import unittest
from typing import Callable
from typing import Dict
from typing import List

from qualvosec import paths
from qualvosec.admin import commands as admin
from qualvosec.client import commands as client
from qualvosec.client.tell import status
from qualvosec.contract.shape import ShapeError
from qualvosec.manifest import policy as policies
from qualvosec.manifest import schema
from qualvosec.manifest.fields import FIELDS
from qualvosec.manifest.policy import Policy

import tests  # noqa: F401

FULL = Policy(
    patch=True, reboot="required", weekdays=(0, 6), hour=23, minute=59, duration=90,
    reboot_grace=0, splay=90, weeks=(-1, 1), freeze=((739000, 739001), (739005, 739005)),
    catch_up=168, security_only=True, only=("base", "lib*"), exclude=("vim",), groups=("prod",))

WRONG: Dict[str, List[object]] = {
    "patch": [1, "true", None],
    "reboot": ["sometimes", True, None, ["always"]],
    "weekdays": [[7], [-1], [True], [1, 1], [2, 1], "1", 1, [1.0], ["1"]],
    "hour": [24, -1, True, 1.0, "1"],
    "minute": [60, -1, False],
    "duration": [0, 1441, True],
    "reboot_grace": [-1, 1441],
    "splay": [-1, 91, 1441],
    "weeks": [[0], [6], [-2], [1, 1], [5, -1], [True]],
    "freeze": [[[2, 1]], [[1]], [[1, 2, 3]], [[0, 1]], [[1, 3652060]], [1], [["a", "b"]],
               [[True, 2]]],
    "catch_up": [169, -1],
    "security_only": [0, "no"],
    "only": [["x" * 129], [""], [1], "vim", ["a"] * 501],
    "exclude": [[None], {"a": 1}],
    "groups": [[["a"]]],
}


def printed(main: Callable[[List[str]], int], words: List[str]) -> str:
    """What a program prints that does what it is asked."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(words)
    time.tzset()
    if code:
        raise AssertionError("%s: ends with %d" % (words, code))
    return out.getvalue()


class PolicyTest(unittest.TestCase):
    def test_what_is_written_is_read_back(self) -> None:
        for policy in (FULL, Policy(), Policy(patch=False, weekdays=())):
            text = json.dumps(policies.to_json(policy))
            self.assertEqual(policies.from_json(json.loads(text)), policy)

    def test_every_key_refuses_what_is_not_its_own_and_says_which_it_is(self) -> None:
        self.assertEqual(set(WRONG), set(Policy._fields))
        for key, values in WRONG.items():
            for value in values:
                entry = dict(policies.to_json(FULL), **{key: value})
                with self.assertRaises(ShapeError, msg="%s: %r" % (key, value)) as caught:
                    policies.from_json(entry)
                self.assertIn(key, str(caught.exception))

    def test_an_absent_key_has_its_default_and_an_unknown_one_is_noted(self) -> None:
        entry = policies.to_json(FULL)
        for key in Policy._fields:
            short = dict(entry)
            del short[key]
            if key in ("weekdays", "duration"):
                self.assertRaises(ShapeError, policies.from_json, short)   # patch, splay
                continue
            self.assertEqual(policies.from_json(short),
                             FULL._replace(**{key: getattr(Policy(), key)}), key)
        notes: List[str] = []
        self.assertEqual(policies.from_json(dict(entry, turn="1/2"), notes), FULL)
        self.assertEqual(notes, ["turn"])
        for value in (None, [], "patch", 1, [entry]):
            self.assertRaises(ShapeError, policies.from_json, value)

    def test_a_host_that_is_patched_needs_a_day(self) -> None:
        entry = dict(policies.to_json(FULL), weekdays=[])
        self.assertRaises(ShapeError, policies.from_json, entry)
        self.assertEqual(policies.from_json(dict(entry, patch=False)).weekdays, ())

    def test_every_field_is_shown_under_its_own_name_as_the_manifest_has_it(self) -> None:
        self.assertEqual({field.policy for field in FIELDS.values()}, set(Policy._fields))
        shown = policies.values(FULL)
        self.assertEqual(list(shown), list(FIELDS))
        self.assertEqual(
            (shown["weekday"], shown["week"], shown["reboot"], shown["freeze"]),
            (["Monday", "Sunday"], [1, "last"], "required",
             ["2024-04-24/2024-04-25", "2024-04-29/2024-04-29"]))
        texts = policies.texts(Policy())
        self.assertNotIn("", texts.values())
        self.assertEqual(
            (texts["patch"], texts["reboot"], texts["duration"], texts["week"], texts["freeze"],
             texts["packages_whitelist"], texts["packages_blacklist"], texts["catch_up"]),
            ("false", "false", "60 minutes", "every", "none", "all installed", "none", "0 hours"))

    def test_what_is_shown_is_read_as_the_same_policy(self) -> None:
        for policy in (FULL, FULL._replace(reboot="always", weeks=(2,)), FULL._replace(
                reboot="never", patch=False)):
            entry = policies.values(policy)
            again, faults, _ = schema.effective(entry, schema.ABSENT, schema.ABSENT, "a.b")
            self.assertEqual((again, faults), (policy, []))

    def test_no_field_is_newer_than_this_version(self) -> None:
        own = [int(part) for part in paths.VERSION.split(".")[:2]]
        for name, field in FIELDS.items():
            self.assertLessEqual([int(part) for part in field.since.split(".")], own, name)

    def test_policy_status_and_show_print_the_same_names_and_values(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            manifest = os.path.join(folder, "patch.yaml")
            entry = dict(policies.values(FULL), week="last", **{"x-mine": 1})
            with open(manifest, "w", encoding="utf-8") as file:
                # JSON's lists and numbers are those of the subset; texts are quoted.
                file.write("a.b:\n" + "".join(
                    "  %s: %s\n" % (name, json.dumps(value)) for name, value in entry.items()))
            config = os.path.join(folder, "x.conf")
            with open(config, "w", encoding="utf-8") as file:
                file.write("[general]\nserver: http://127.0.0.1\n")
            words = ["policy", "-c", config, "--manifest", manifest, "--fqdn", "a.b"]
            text, as_json = printed(client.main, words), printed(client.main, words + ["--json"])
            rows = printed(admin.main, ["show", "--manifest", manifest, "a.b"]).splitlines()[1:]
        policy = FULL._replace(weeks=(-1,))
        told = json.loads(status.status(status.Snapshot(healthy=True, policy=policy)))["policy"]
        self.assertEqual(told, policies.values(policy))
        self.assertEqual(json.loads(as_json), dict(told, host="a.b"))
        lines = text.splitlines()[1:]
        self.assertEqual(lines, ["%s: %s" % pair for pair in policies.texts(policy).items()])
        self.assertEqual([": ".join(row.split("  %s:" % manifest)[0].split(None, 1)).rstrip()
                          for row in rows], lines)

    def test_schedule_key_changes_exactly_when_windows_do(self) -> None:
        same = {"patch", "reboot", "reboot_grace", "catch_up", "security_only", "only", "exclude",
                "groups"}
        other = Policy(
            patch=False, reboot="never", weekdays=(1,), hour=1, minute=1, duration=91,
            reboot_grace=5, splay=5, weeks=(), freeze=(), catch_up=1, security_only=False,
            only=(), exclude=(), groups=())
        for key in Policy._fields:
            changed = FULL._replace(**{key: getattr(other, key)})
            self.assertEqual(policies.schedule_key(changed) == policies.schedule_key(FULL),
                             key in same, key)


if __name__ == "__main__":
    unittest.main()
