# SPDX-License-Identifier: BSD-2-Clause
"""The table of pending updates, the same for every package manager."""

import json
import unittest
from unittest import mock

from qualvosec import command
from qualvosec.client.root import plan
from qualvosec.manifest.policy import Policy

PLAN = {"manager": "apt", "security": "known", "reboot": "due", "reboot_reasons": ["kernel 6.1"],
        "warnings": ["unattended-upgrades is active"],
        "pending": [{"name": "zlib1g", "old": "1.2", "new": "1.3", "security": True,
                     "selected": True, "why": ""},
                    {"name": "bash", "old": "5.2-1", "new": "5.2-2+b1", "security": False,
                     "selected": False, "why": "held by the administrator"}]}


def answer(**changes: object) -> command.Result:
    reply = {"v": 1, "status": "ok", "reason": "", "alive": False, "record": None, "plan": PLAN}
    return command.Result(0, json.dumps(dict(reply, **changes)).encode("ascii"), b"", False, False)


class Table(unittest.TestCase):
    def test_names_both_versions_and_reasons_stand_in_columns(self) -> None:
        self.assertEqual(plan.table(plan.from_json(PLAN)), (
            "Package  Installed  Available  Security  In this run\n"
            "bash     5.2-1      5.2-2+b1   no        no: held by the administrator\n"
            "zlib1g   1.2        1.3        yes       yes\n"
            "apt: 2 pending, 1 in this run, 1 left out\n"
            "a reboot is due: kernel 6.1\n"
            "warning: unattended-upgrades is active\n"))

    def test_nothing_pending_is_one_line(self) -> None:
        found = plan.from_json(dict(PLAN, pending=[], reboot="no", warnings=[]))
        self.assertEqual(plan.table(found), "apt: 0 pending, 0 in this run, 0 left out\n")

    def test_a_system_without_security_metadata_does_not_claim_any(self) -> None:
        self.assertIn("  ?  ", plan.table(plan.from_json(dict(PLAN, security="unknown"))))

    def test_names_from_outside_cannot_move_the_cursor(self) -> None:
        row = dict(PLAN["pending"][0], name="a\x1b[2J\u202e")  # type: ignore[index,call-overload]
        shown = plan.table(plan.from_json(dict(PLAN, pending=[row])))
        self.assertNotIn("\x1b", shown)
        self.assertNotIn("\u202e", shown)

    def test_json_holds_the_same_rows(self) -> None:
        rows = json.loads(plan.as_json(plan.from_json(PLAN)))["pending"]
        self.assertEqual(rows, PLAN["pending"])


class Asking(unittest.TestCase):
    def ask(self, result: command.Result) -> plan.Plan:
        with mock.patch.object(command, "run", return_value=result) as run:
            found = plan.ask(Policy(only=("lib*",), exclude=("vim",), security_only=True))
        self.sent = json.loads(run.call_args[0][2].decode("ascii"))
        return found

    def test_the_policys_choice_goes_to_the_helper_without_a_refresh(self) -> None:
        self.assertEqual(self.ask(answer()).manager, "apt")
        self.assertEqual(self.sent, {"v": 1, "op": "check", "refresh": False, "only": ["lib*"],
                                     "exclude": ["vim"], "security_only": True})

    def test_a_refusal_a_silence_or_a_broken_list_is_one_clear_line(self) -> None:
        table = [(answer(status="refused", reason="unsupported: no apt"), "unsupported: no apt"),
                 (answer(plan=None), "sent no list"),
                 (answer(plan={"pending": [{}]}), "cannot be read"),
                 (answer(plan={"pending": 1}), "cannot be read"),
                 (command.Result(1, b"", b"Killed\n", False, False), "gave no answer"),
                 (command.Result(-15, b"", b"", True, False), "no list within 120 s")]
        for result, words in table:
            with self.subTest(words=words), self.assertRaisesRegex(plan.RootError, words):
                self.ask(result)
