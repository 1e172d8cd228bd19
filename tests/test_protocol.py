# SPDX-License-Identifier: BSD-2-Clause
"""What one side of the root boundary writes, the other side reads: both with their real code."""

import json
import random
import unittest

from qualvosec.client.root import call
from qualvosec.client.root.record import record_from_json
from qualvosec.contract.call import MAX_ANSWER
from qualvosec.helper import front
from qualvosec.helper import record as records
from qualvosec.helper import request as requests
from qualvosec.manifest import schema

WINDOW = "20261124T0215Z"


def accepted(op: str = "upgrade") -> records.State:
    request = requests.Request(op, window=WINDOW, not_after=1795400000)
    return records.accept(records.State(), request, 1795390000, "boot")


def through(state: records.State, alive: bool) -> "dict[str, object]":
    told = front._told(state.record, alive)
    return dict(json.loads(json.dumps(told)))


class Requests(unittest.TestCase):
    def test_every_request_of_the_client_is_one_that_the_helper_accepts(self) -> None:
        when = {"window": WINDOW, "not_after": 1795400000}
        chosen = {"security_only": True, "only": ["lib*"], "exclude": ["vim"]}
        for op, fields in (("status", {"wait": False}), ("status", {"wait": True}),
                           ("check", dict(chosen, refresh=False)),
                           ("upgrade", dict(chosen, **when)),
                           ("repair", when), ("reboot", when)):
            with self.subTest(op=op):
                found = requests.parse(call.request(op, **fields))  # type: ignore[arg-type]
                self.assertEqual(found.op, op)


    def test_what_a_manifest_takes_for_the_name_of_a_package_the_helper_takes_too(self) -> None:
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        words = ["@x", "libc6:amd64", "libc6:*", "glibc:x86_64", "a:b:c", "x:", ":x", "-x",
                 "a" * 128, "a" * 129, "x:I386", "x:" + "a" * 17]
        words += ["".join(rng.choice("aA0_@*?+.:-") for _ in range(rng.randint(1, 6)))
                  for _ in range(3000)]
        for word in words:
            policy, faults, _ = schema.effective(
                {"patch": False, "packages_blacklist": [word]}, schema.ABSENT, schema.ABSENT, "a.b")
            try:
                requests.parse(call.request("check", refresh=False, security_only=False,
                                                only=[], exclude=[word]))
                taken = True
            except requests.RequestError:
                taken = False
            self.assertEqual(not faults, taken, "%r seed %d" % (word, seed))


class Records(unittest.TestCase):
    def digest(self, state: records.State, alive: bool = False) -> "object":
        return record_from_json(through(state, alive)["record"])

    def test_no_run_yet_is_no_record(self) -> None:
        self.assertIsNone(through(records.State(), False)["record"])

    def test_a_record_is_read_in_every_phase_alive_or_not(self) -> None:
        for phase in ("accepted", "waiting", "recover", "refresh", "simulate", "commit",
                      "compare"):
            for alive in (True, False):
                with self.subTest(phase=phase, alive=alive):
                    state = accepted()
                    state = state._replace(record=state.record._replace(
                        phase=phase, committed=phase in ("commit", "compare")))
                    found = self.digest(state, alive)
                    self.assertEqual(found.finished, 0)     # type: ignore[attr-defined]
                    self.assertEqual(found.outcome, "")     # type: ignore[attr-defined]

    def test_a_finished_record_with_full_lists_is_read(self) -> None:
        rows = tuple(("p%d" % i, "1" * 300, "2") for i in range(900))
        state = accepted()
        state = state._replace(record=state.record._replace(
            phase="done", finished=1795391000, outcome="partial", committed=True, upgraded=rows,
            kept=(("x", "held by the administrator"),), reboot="due", manager="apt",
            reboot_reasons=("kernel",), config_files=("/etc/a.dpkg-dist",),
            upgraded_count=900, kept_count=1))
        found = self.digest(state)
        self.assertEqual((found.upgraded, found.kept, found.done),  # type: ignore[attr-defined]
                         (900, 1, (WINDOW,)))
        self.assertLess(len(json.dumps(through(state, False))), MAX_ANSWER)

    def test_older_windows_stay_known_as_done(self) -> None:
        state = accepted()
        state = state._replace(record=state.record._replace(
            phase="done", finished=1795391000, outcome="ok", committed=True))
        later = requests.Request("upgrade", window="20261201T0215Z", not_after=1796000000)
        found = self.digest(records.accept(state, later, 1795990000, "boot"))
        self.assertEqual(found.done, (WINDOW,))     # type: ignore[attr-defined]

    def test_a_reboot_request_shows_in_the_record_of_the_run(self) -> None:
        state = accepted()
        state = state._replace(record=state.record._replace(
            phase="done", finished=1795391000, outcome="ok", committed=True))
        asked = records.accept(state, requests.Request("reboot", window=WINDOW,
                                                       not_after=1795400000), 1795391100, "boot")
        asked = asked._replace(record=asked.record._replace(reboot_requested=1795391100,
                                                            reboot_delay=60))
        found = self.digest(asked)
        self.assertEqual((found.outcome, found.reboot_requested),   # type: ignore[attr-defined]
                         ("ok", 1795391100))
