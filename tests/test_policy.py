# SPDX-License-Identifier: BSD-2-Clause
"""Policies that arrive are taken exactly or refused with the key that is wrong."""

import json
import unittest
from typing import Dict
from typing import List

from qualvosec.manifest import policy as policies
from qualvosec.manifest.policy import Policy
from qualvosec.manifest.policy import PolicyError

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
                with self.assertRaises(PolicyError, msg="%s: %r" % (key, value)) as caught:
                    policies.from_json(entry)
                self.assertIn(key, str(caught.exception))

    def test_an_absent_key_has_its_default_and_an_unknown_one_is_noted(self) -> None:
        entry = policies.to_json(FULL)
        for key in Policy._fields:
            short = dict(entry)
            del short[key]
            if key in ("weekdays", "duration"):
                self.assertRaises(PolicyError, policies.from_json, short)   # patch, splay
                continue
            self.assertEqual(policies.from_json(short),
                             FULL._replace(**{key: getattr(Policy(), key)}), key)
        notes: List[str] = []
        self.assertEqual(policies.from_json(dict(entry, turn="1/2"), notes), FULL)
        self.assertEqual(notes, ["turn"])
        for value in (None, [], "patch", 1, [entry]):
            self.assertRaises(PolicyError, policies.from_json, value)

    def test_a_host_that_is_patched_needs_a_day(self) -> None:
        entry = dict(policies.to_json(FULL), weekdays=[])
        self.assertRaises(PolicyError, policies.from_json, entry)
        self.assertEqual(policies.from_json(dict(entry, patch=False)).weekdays, ())

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
