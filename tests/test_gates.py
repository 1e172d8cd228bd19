# SPDX-License-Identifier: BSD-2-Clause
"""What keeps a run, a repair or a reboot from starting: each gate alone, and their order."""

import itertools
import unittest
from typing import Any
from typing import Dict
from typing import Optional
from typing import Tuple

from qualvosec.client.decide import gates
from qualvosec.client.decide.ahead import Facts
from qualvosec.client.decide.ahead import View
from qualvosec.client.decide.state import RunResult
from qualvosec.client.decide.state import State
from qualvosec.manifest import window
from qualvosec.manifest.policy import Policy

NAME = "20261124T0215Z"
OPENS = window.opens_of(NAME)
CUTOFF = OPENS + 3600
NOW = OPENS + 60
POLICY = Policy(patch=True, weekdays=(1,), hour=2, minute=15)
FROZEN = POLICY._replace(freeze=((window.local_day(OPENS, lambda instant: 0),) * 2,))
VIEW = View(POLICY, "", "", "web01.example.org", lambda instant: 0)
STATE = State(opens=OPENS, closes=CUTOFF, cutoff=CUTOFF, deadline=CUTOFF + 3600,
              last=RunResult(window=NAME, outcome="ok"), consumed=((OPENS, CUTOFF),))
FACTS = Facts(now=NOW, boot_id="b", uptime=86400, kernel="k", record=None, alive=False,
              unanswered="", refused="", veto="", clock_plausible=True, writable=True)
ALL = ("run", "repair", "reboot", "deferred")

# gate: (what it stops, what is changed so that it alone objects, what the reason says)
SCENES: Dict[str, Tuple[Tuple[str, ...], Dict[str, Any], str]] = {
    "unknown_policy": (ALL, {"view.policy": None, "view.why": "unknown"}, "no policy has arrived"),
    "doubtful_clock": (ALL, {"facts.clock_plausible": False}, "not plausible"),
    "silent_helper": (ALL, {"facts.unanswered": "no sudo"}, "no sudo"),
    "lost_state": (ALL, {"state.hold": OPENS, "state.trouble": "was moved"}, "was moved"),
    "policy": (ALL, {"view.why": "expired", "view.detail": "too old"}, "too old"),
    "veto": (ALL, {"facts.veto": "migration"}, "veto: migration"),
    "freeze": (ALL, {"view.policy": FROZEN}, "frozen today"),
    "closed_window": (ALL, {"facts.now": CUTOFF + 3600}, "outside the window"),
    "broken_database": (("reboot", "deferred"), {"state.last": STATE.last._replace(clean=False)},
                        "qualvosec reset interrupted"),
    "untried_run": (("reboot",), {"state.consumed": ()}, "tried again first"),
    "retry_pause": (("run",), {"state.retry": NOW + 200}, "tried again after"),
}


def ask(what: str, changed: Dict[str, Any]) -> Optional[gates.Hindrance]:
    values: Dict[str, Any] = {"view": VIEW, "state": STATE, "facts": FACTS}
    for key, value in changed.items():
        place, _, field = key.partition(".")
        values[place] = values[place]._replace(**{field: value})
    return gates.hindrance(what, values["view"], values["state"], values["facts"])


class Gates(unittest.TestCase):
    def test_nothing_hinders_what_belongs_to_an_open_window(self) -> None:
        for what in ALL:
            self.assertIsNone(ask(what, {}), what)

    def test_every_gate_has_a_scene(self) -> None:
        self.assertEqual([gate.__name__ for gate in gates.GATES], list(SCENES))

    def test_each_gate_alone_stops_what_passes_through_it_and_nothing_else(self) -> None:
        for gate, (stopped, changed, words) in SCENES.items():
            for what in ALL:
                found = ask(what, changed)
                with self.subTest(gate=gate, what=what):
                    if what in stopped:
                        assert found is not None
                        self.assertIn(words, found.why)
                        self.assertGreater(found.until, NOW)
                    else:
                        self.assertIsNone(found)

    def test_of_two_that_object_the_earlier_one_is_the_reason(self) -> None:
        tried = 0
        for (first, one), (second, other) in itertools.combinations(SCENES.items(), 2):
            if set(one[1]) & set(other[1]):
                continue
            for what in set(one[0]) & set(other[0]):
                found = ask(what, dict(other[1], **one[1]))
                assert found is not None
                self.assertIn(one[2], found.why, (first, second, what))
                tried += 1
        self.assertGreater(tried, 50)

    def test_what_is_only_not_known_yet_forbids_nothing(self) -> None:
        unsettled = {gate for gate, (stopped, changed, _) in SCENES.items()
                     if (ask(stopped[0], changed) or gates.Hindrance("", 0)).unsettled}
        self.assertEqual(unsettled, {"unknown_policy", "doubtful_clock", "silent_helper"})

    def test_only_a_veto_is_a_refusal_and_a_pause_is_nobodys_fault(self) -> None:
        outcomes = {gate: (ask(stopped[0], changed) or gates.Hindrance("", 0)).outcome
                    for gate, (stopped, changed, _) in SCENES.items()}
        self.assertEqual([gate for gate, word in outcomes.items() if word == "refused"], ["veto"])
        self.assertEqual(outcomes["retry_pause"], "")

    def test_a_reboot_has_its_grace_and_a_run_has_not(self) -> None:
        late = {"facts.now": CUTOFF + 60}
        self.assertIsNotNone(ask("run", late))
        for what in ("repair", "reboot", "deferred"):
            self.assertIsNone(ask(what, late), what)

    def test_a_pause_that_a_wrong_clock_has_set_far_ahead_does_not_hold(self) -> None:
        self.assertIsNone(ask("run", {"state.retry": NOW + 86400}))


if __name__ == "__main__":
    unittest.main()
