# SPDX-License-Identifier: BSD-2-Clause
"""The decision does what docs/state-machine.md says, row by row, and keeps its promises."""

import os
import unittest
from typing import Any
from typing import Dict
from typing import List
from typing import Set
from typing import Tuple
from unittest import mock

from qualvosec.client.decide import outcome as verdict
from qualvosec.client.decide import step as steps
from qualvosec.client.decide.ahead import View
from qualvosec.client.decide.state import RunResult
from qualvosec.client.decide.state import State
from qualvosec.client.decide.step import Action
from qualvosec.client.decide.step import Facts
from qualvosec.client.decide.step import step
from qualvosec.client.root.record import Record
from qualvosec.manifest import window
from qualvosec.manifest.policy import Policy
from qualvosec.manifest.policy import schedule_key

from tests import ROOT
from tests import simulate

W = "20261124T0215Z"
OPENS = window.opens_of(W)
CLOSES = OPENS + 3600
WEEK = 7 * 86400
TODAY = window.local_day(OPENS, lambda instant: 0)
POLICY = Policy(patch=True, reboot="always", weekdays=(1,), hour=2, minute=15)


def view(policy: Any = POLICY, why: str = "") -> View:
    return View(policy, why, "", "web01.example.org", lambda instant: 0)


def facts(**fields: Any) -> Facts:
    base = Facts(now=OPENS + 60, boot_id="b1", uptime=86400, kernel="k1", record=None, alive=False,
                 unanswered="", refused="", veto="", clock_plausible=True, writable=True)
    return base._replace(**fields)


def record(**fields: Any) -> Record:
    base = Record(window=W, op="upgrade", manager="apt", boot_id="b1", accepted=OPENS + 1,
                  started=OPENS + 2, finished=OPENS + 50, phase="done", committed=True,
                  outcome="ok", reason="", upgraded=3, kept=0, pending=0, clean=True, reboot="no",
                  reboot_reasons=(), config_files=0, reboot_requested=0, reboot_delay=60,
                  reboot_refused="", kernel="k1", done=())
    return base._replace(**fields)


def settled(policy: Policy = POLICY, **fields: Any) -> State:
    return State(schedule=schedule_key(policy), since=OPENS - WEEK,
                 seen=OPENS)._replace(**fields)


def at(phase: str, **fields: Any) -> State:
    base = settled(phase=phase, window=W, op="upgrade", begun=OPENS, opens=OPENS, closes=CLOSES,
                   cutoff=CLOSES, deadline=CLOSES + 3600, date=TODAY)
    return base._replace(**fields)


def patched(**fields: Any) -> State:
    last = fields.pop("last", RunResult(window=W, outcome="ok", finished=OPENS + 50, upgraded=3,
                                     due="no"))
    used = ((OPENS, CLOSES),)
    return at("patched", last=last, boot_id="b1", noted=OPENS, consumed=used)._replace(**fields)


def rebooting(**fields: Any) -> State:
    return patched(phase="rebooting", reboot="requested", begun=OPENS + 60,
                   noted=OPENS + 60, tries=1)._replace(**fields)


STOPPED: Dict[str, Any] = {"finished": 0, "outcome": "", "phase": "commit"}
OK = record()
KNOWN = verdict.key(OK)
REPAIRING = at("patching", op="repair", known=KNOWN, tries=0)
DEFERRED = settled(reboot="deferred", boot_id="b1", noted=OPENS, consumed=((OPENS, CLOSES),),
                   known=KNOWN)

SCENES: Dict[Tuple[str, str], Tuple[View, State, Facts]] = {
    ("any", "the helper was not asked yet"): (view(), settled(), facts(alive=None)),
    ("any", "the state cannot be written"): (view(), settled(), facts(writable=False)),
    ("patching", "a run is alive"): (view(), at("patching"), facts(alive=True)),
    ("patching", "the helper cannot be asked"): (
        view(), at("patching"), facts(alive=None, unanswered="no sudo")),
    ("patching", "new record, finished"): (view(), at("patching"), facts(record=OK)),
    ("patching", "new record, finished, with a reboot request in it"): (
        view(), at("patching"), facts(record=record(reboot_requested=OPENS + 60))),
    ("patching", "new record of a run that stopped before the commit"): (
        view(), at("patching"), facts(record=record(committed=False, **STOPPED))),
    ("patching", "new record of a run that stopped in or after the commit"): (
        view(), at("patching"), facts(record=record(**STOPPED))),
    ("patching", "new record of a repair that stopped"): (
        view(), REPAIRING, facts(record=record(op="repair", **STOPPED))),
    ("patching", "upgrade without a new record: refused or lost"): (
        view(), at("patching", known=KNOWN), facts(record=OK)),
    ("patching", "repair refused, or lost three times"): (
        view(), REPAIRING._replace(tries=3), facts(record=OK)),
    ("patching", "repair asked for less than a minute ago"): (
        view(), REPAIRING._replace(tries=1, begun=OPENS + 30), facts(record=OK)),
    ("patching", "repair while the clock is not plausible"): (
        view(), REPAIRING, facts(record=OK, clock_plausible=False)),
    ("patching", "repair while no policy is known yet"): (
        view(None, "unknown"), REPAIRING, facts(record=OK)),
    ("patching", "repair and nothing may start"): (
        view(), REPAIRING, facts(record=OK, now=CLOSES + 3600)),
    ("patching", "repair"): (view(), REPAIRING, facts(record=OK)),
    ("patched", "a run is alive"): (view(), patched(), facts(alive=True)),
    ("patched", "the host was restarted since the run"): (view(), patched(), facts(boot_id="b2")),
    ("patched", "no reboot is wanted, none is due"): (
        view(POLICY._replace(reboot="never")), patched(), facts()),
    ("patched", "no reboot is wanted, one is due"): (
        view(POLICY._replace(reboot="never")),
        patched(last=RunResult(window=W, outcome="ok", due="due")), facts()),
    ("patched", "no policy is known yet"): (view(None, "unknown"), patched(), facts()),
    ("patched", "the clock is not plausible"): (view(), patched(), facts(clock_plausible=False)),
    ("patched", "the helper cannot be asked"): (
        view(), patched(), facts(alive=None, unanswered="no sudo")),
    ("patched", "nothing may start"): (view(), patched(), facts(veto="moving house")),
    ("patched", "the package database is not consistent"): (
        view(), patched(last=RunResult(window=W, outcome="ok", clean=False)), facts()),
    ("patched", "the run did not count and is tried again first"): (
        view(), patched(last=RunResult(window=W, outcome="failed", due="due"), consumed=()),
        facts()),
    ("patched", "a reboot is wanted"): (view(), patched(), facts()),
    ("rebooting", "restarted, and the helper cannot be asked"): (
        view(), rebooting(), facts(boot_id="b2", alive=None, unanswered="no sudo")),
    ("rebooting", "restarted, and the record shows the request"): (
        view(), rebooting(), facts(boot_id="b2", record=record(reboot_requested=OPENS + 61))),
    ("rebooting", "restarted without a request in the record"): (
        view(), rebooting(), facts(boot_id="b2", record=OK)),
    ("rebooting", "the clock was set back behind the request"): (
        view(), rebooting(), facts(now=OPENS - 86400)),
    ("rebooting", "refused by root"): (view(), rebooting(), facts(refused="too soon")),
    ("rebooting", "still up 15 minutes after request and delay"): (
        view(), rebooting(), facts(now=OPENS + 60 + 60 + 900)),
    ("rebooting", "no request in the record after a minute, tried less than three times"): (
        view(), rebooting(), facts(now=OPENS + 120, record=OK)),
    ("rebooting", "the helper is at work"): (
        view(), rebooting(), facts(now=OPENS + 120, alive=True)),
    ("rebooting", "the host is on its way down"): (
        view(), rebooting(), facts(now=OPENS + 120, record=record(reboot_requested=OPENS + 61))),
    ("idle", "root knows a run that the state does not, alive"): (
        view(), settled(), facts(alive=True, record=record(**STOPPED))),
    ("idle", "root knows a run that the state does not, over"): (
        view(), settled(), facts(record=OK)),
    ("idle", "a run is alive that cannot be told"): (view(), settled(), facts(alive=True)),
    ("idle", "no policy, unlisted, invalid or patch: false"): (
        view(None, "unlisted"), settled(), facts()),
    ("idle", "the clock is not plausible"): (view(), settled(), facts(clock_plausible=False)),
    ("idle", "the state was lost, and the time is known now"): (
        view(), settled(hold=-1, trouble="state.json: torn"), facts()),
    ("idle", "the schedule is new"): (view(), State(), facts()),
    ("idle", "the next window has opened before an older one was used"): (
        view(), settled(awaited=("20261117T0215Z", OPENS - WEEK + 3600)), facts()),
    ("idle", "the window is open, the state was lost in it"): (
        view(), settled(hold=OPENS + 5, trouble="state.json: torn"), facts()),
    ("idle", "the window is open, the policy has expired"): (
        view(POLICY, "expired"), settled(), facts()),
    ("idle", "the window is open, the helper cannot be asked"): (
        view(), settled(), facts(alive=None, unanswered="no sudo")),
    ("idle", "the window is open, veto"): (view(), settled(), facts(veto="moving house")),
    ("idle", "the window is open, the day is frozen"): (
        view(POLICY._replace(hour=23, minute=30, freeze=((TODAY + 1, TODAY + 1),))),
        settled(POLICY._replace(hour=23, minute=30, freeze=((TODAY + 1, TODAY + 1),))),
        facts(now=(TODAY + 1 - window.EPOCH_ORDINAL) * 86400 + 60)),
    ("idle", "the window is open, tried less than five minutes ago"): (
        view(), settled(last=RunResult(window=W, outcome="locked"), retry=OPENS + 300), facts()),
    ("idle", "the window is open and was not used"): (view(), settled(), facts()),
    ("idle", "the window has passed without a run that counts"): (
        view(), settled(), facts(now=CLOSES)),
    ("idle", "a deferred reboot fits into the window"): (view(), DEFERRED, facts(record=OK)),
    ("idle", "the window was used, or none is open"): (
        view(), settled(consumed=((OPENS, CLOSES),)), facts()),
}


def rows() -> List[List[str]]:
    """Return the table of docs/state-machine.md."""
    with open(os.path.join(ROOT, "docs", "state-machine.md"), encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[2:]]


class TableTest(unittest.TestCase):
    def test_every_row_of_the_table_has_a_scene_and_every_scene_a_row(self) -> None:
        table = [(row[0], row[1]) for row in rows()]
        self.assertGreater(len(table), 40)
        self.assertEqual(len(table), len(set(table)))
        self.assertEqual(set(table), set(SCENES))

    def test_each_row_is_what_the_code_does(self) -> None:
        for row in rows():
            phase, condition, new, kind, reboot = row
            seen, state, known = SCENES[phase, condition]
            after, action = step(seen, state, known)
            expected = (state.phase if new == "same" else new, kind, reboot or state.reboot)
            self.assertEqual((after.phase, action.kind, after.reboot), expected,
                             "%s: %s" % (phase, condition))
            if phase != "any":
                self.assertEqual(state.phase, phase)

    def test_simulated_histories_take_no_way_that_is_not_in_the_table(self) -> None:
        allowed: Set[Tuple[str, str, str]] = set()
        for phase, _, new, kind, _ in rows():
            for old in ("idle", "patching", "patched", "rebooting") if phase == "any" else (phase,):
                allowed.add((old, old if new == "same" else new, kind))
        taken: Set[Tuple[str, str, str]] = set()
        real = steps.step

        def watched(seen: View, state: State, known: Facts) -> Tuple[State, Action]:
            after, action = real(seen, state, known)
            taken.add((state.phase, after.phase, action.kind))
            return after, action

        with mock.patch.object(steps, "step", watched):
            for seed in range(20):
                simulate.History(seed).run()
        # A state that cannot be written shows a run that is alive as such.
        self.assertLessEqual(taken, allowed | {("idle", "idle", "watch"),
                                               ("rebooting", "rebooting", "watch")})
        self.assertGreater(len(taken), 15)


class RunTest(unittest.TestCase):
    def test_the_request_names_the_window_and_its_limit(self) -> None:
        after, action = step(view(), settled(), facts())
        self.assertEqual((action.window, action.not_after), (W, CLOSES))
        self.assertEqual((after.window, after.op, after.begun), (W, "upgrade", OPENS + 60))

    def test_nothing_starts_before_the_share_of_the_splay(self) -> None:
        policy = POLICY._replace(splay=60)
        opening = window.latest(policy, OPENS, "web01.example.org", lambda instant: 0)
        assert opening is not None
        early = step(view(policy), settled(policy), facts(now=opening.start - 1))[1]
        self.assertEqual((early.kind, early.until), ("wait", opening.start))
        self.assertEqual(step(view(policy), settled(policy), facts(now=opening.start))[1].kind,
                         "upgrade")

    def test_a_missed_window_is_recorded_once_and_caught_up_when_told(self) -> None:
        after, action = step(view(), settled(), facts(now=CLOSES))
        self.assertEqual((after.last.window, after.last.outcome, action.kind),
                         (W, "missed", "again"))
        self.assertEqual(after.failures, 1)
        again, action = step(view(), after, facts(now=CLOSES + 60))
        self.assertEqual((action.kind, again.failures, again.last), ("wait", 1, after.last))
        late = POLICY._replace(catch_up=2)
        self.assertEqual(step(view(late), settled(late), facts(now=CLOSES + 7199))[1].kind,
                         "upgrade")
        self.assertEqual(step(view(late), settled(late), facts(now=CLOSES + 7200))[0].last.outcome,
                         "missed")

    def test_no_window_is_lost_without_a_word_however_long_it_can_be_caught_up(self) -> None:
        for policy, step_s in ((POLICY._replace(catch_up=168), WEEK),
                               (POLICY._replace(weekdays=tuple(range(7)), catch_up=24), 86400)):
            state, told = settled(policy, since=OPENS - 7200), []
            for now in range(OPENS - 3600, OPENS + 4 * step_s, 1800):
                for _ in range(9):
                    before = state
                    state, action = step(view(policy), state, facts(now=now, veto="moving"))
                    if state.last != before.last:
                        told.append((state.last.window, state.last.outcome, state.failures))
                    if action.kind != "again":
                        break
                self.assertEqual(action.kind, "wait")
            self.assertEqual(told, [(window.window_id(OPENS + number * step_s), "refused",
                                     number + 1) for number in range(3)])
            state, action = step(view(policy), state, facts(now=now))
            self.assertEqual((action.kind, action.window),
                             ("upgrade", window.window_id(OPENS + 3 * step_s)))

    def test_a_window_from_before_the_first_start_is_neither_missed_nor_caught_up(self) -> None:
        late = POLICY._replace(catch_up=2)
        state, _ = step(view(late), State(), facts(now=CLOSES + 60))
        after, action = step(view(late), state, facts(now=CLOSES + 60))
        self.assertEqual((action.kind, after.last), ("wait", RunResult()))

    def test_the_first_start_inside_a_window_uses_it(self) -> None:
        state, _ = step(view(), State(), facts())
        self.assertEqual(step(view(), state, facts())[1].kind, "upgrade")

    def test_a_changed_schedule_makes_no_second_window_of_the_same_hour(self) -> None:
        used = settled(consumed=((OPENS, CLOSES),), days=(schedule_key(POLICY), (TODAY,)))
        for minute, expected in ((25, "wait"), (5, "wait"), (15, "wait")):
            policy = POLICY._replace(minute=minute)
            now = OPENS + 1800
            state, _ = step(view(policy), used, facts(now=now))
            self.assertEqual(step(view(policy), state, facts(now=now))[1].kind, expected, minute)
        policy = POLICY._replace(hour=3, minute=15)
        state, _ = step(view(policy), used, facts(now=CLOSES + 60))
        self.assertEqual(step(view(policy), state, facts(now=CLOSES + 60))[1].kind, "upgrade")

    def test_changed_rules_of_the_zone_make_no_second_window_of_the_same_day(self) -> None:
        used = settled(consumed=((OPENS, CLOSES),), days=(schedule_key(POLICY), (TODAY,)))
        moved = view()._replace(zone=lambda instant: -7200)
        self.assertEqual(step(moved, used, facts(now=OPENS + 7260))[1].kind, "wait")

    def test_a_window_that_was_awaited_and_passed_is_missed_although_the_schedule_changed(
            self) -> None:
        state, _ = step(view(), settled(since=OPENS - 3600), facts(now=OPENS - 600))
        self.assertEqual(state.awaited, (W, CLOSES))
        other = POLICY._replace(weekdays=(4,))
        after, _ = step(view(other), state, facts(now=CLOSES + 60))
        self.assertEqual((after.last.window, after.last.outcome), (W, "missed"))

    def test_a_window_is_missed_when_the_schedule_changes_while_it_could_be_caught_up(self) -> None:
        late = POLICY._replace(catch_up=24)
        state, _ = step(view(late), settled(since=OPENS - 3600), facts(now=OPENS - 600))
        other = late._replace(weekdays=(4,))
        after, _ = step(view(other), state, facts(now=CLOSES + 60))
        self.assertEqual((after.last.window, after.last.outcome), (W, "missed"))

    def test_what_a_clock_that_ran_ahead_left_behind_does_not_hold(self) -> None:
        ahead = settled(since=OPENS + WEEK, hold=OPENS + WEEK, trouble="torn", seen=OPENS + WEEK)
        after, _ = step(view(), ahead, facts())
        self.assertEqual((after.since, after.hold, after.seen), (OPENS + 60,) * 3)
        later = facts(now=OPENS + WEEK + 60)
        self.assertEqual(step(view(), after, later)[1].kind, "upgrade")

    def test_a_veto_during_the_whole_window_is_its_outcome(self) -> None:
        state, _ = step(view(), settled(), facts(veto="moving house"))
        after, _ = step(view(), state, facts(now=CLOSES))
        self.assertEqual((after.last.outcome, after.last.reason),
                         ("refused", "veto: moving house"))

    def test_what_kept_a_window_up_is_forgotten_with_its_run_or_with_its_end(self) -> None:
        hindered, _ = step(view(), settled(), facts(veto="moving house"))
        self.assertTrue(hindered.obstacle[0])
        started, action = step(view(), hindered, facts())
        self.assertEqual((action.kind, started.obstacle), ("upgrade", ("", "", "")))
        closed, _ = step(view(), hindered, facts(now=OPENS + 2 * 86400))
        self.assertEqual((closed.last.outcome, closed.obstacle), ("refused", ("", "", "")))

    def test_windows_of_an_expired_policy_are_missed_and_say_why(self) -> None:
        state, _ = step(view(POLICY, "expired"), settled(), facts())
        after, _ = step(view(POLICY, "expired"), state, facts(now=CLOSES))
        self.assertEqual((after.last.outcome, after.last.reason), ("missed", "expired"))

    def test_patch_false_forgets_the_schedule_so_that_nothing_was_missed_later(self) -> None:
        off, _ = step(view(POLICY._replace(patch=False)), settled(), facts(now=OPENS - 60))
        on, _ = step(view(), off, facts(now=CLOSES + 60))
        after, action = step(view(), on, facts(now=CLOSES + 60))
        self.assertEqual((after.last, action.kind), (RunResult(), "wait"))

    def test_outcomes_before_the_commit_are_tried_again_others_are_not(self) -> None:
        for outcome, committed, kind in (
                ("locked", False, "upgrade"), ("failed", False, "upgrade"),
                ("refused", False, "upgrade"), ("failed", True, "wait"), ("ok", True, "wait"),
                ("nothing", False, "wait"), ("partial", True, "wait"),
                ("unsupported", False, "wait")):
            state = at("patching")
            known = facts(record=record(outcome=outcome, committed=committed))
            never = view(POLICY._replace(reboot="never"))
            while True:
                state, action = step(never, state, known)
                if action.kind != "again":
                    break
            later = step(never, state, known._replace(now=OPENS + 400))[1].kind
            self.assertEqual((action.kind, later), ("wait", kind), outcome)
            self.assertEqual(state.last.outcome, outcome)

    def test_a_retry_time_from_a_clock_that_was_set_back_does_not_block(self) -> None:
        state = settled(last=RunResult(window=W, outcome="locked"), retry=OPENS + 9 * WEEK)
        self.assertEqual(step(view(), state, facts())[1].kind, "upgrade")

    def test_root_knows_more_windows_than_a_lost_state(self) -> None:
        known = facts(record=record(window="20261117T0215Z", accepted=1, finished=5, done=(W,)))
        state = settled(known=verdict.key(known.record))
        self.assertEqual(step(view(), state, known)[1].kind, "wait")

    def test_a_success_ends_the_trouble_only_if_its_window_came_later(self) -> None:
        for hold, trouble in ((OPENS - 60, ""), (OPENS + 1, "torn"), (-1, "torn")):
            state = at("patching", trouble="torn", hold=hold)
            self.assertEqual(step(view(), state, facts(record=OK))[0].trouble, trouble)


class RebootTest(unittest.TestCase):
    def test_which_outcomes_want_a_reboot(self) -> None:
        # For always, then required: due, no, unknown.
        wants = {
            "ok": "yyyynn", "partial": "yyyynn", "nothing": "ynnynn", "failed": "ynnynn",
            "interrupted": "ynnynn", "refused": "nnnnnn", "locked": "nnnnnn",
            "unsupported": "nnnnnn", "missed": "nnnnnn"}
        for outcome, expected in wants.items():
            got = ""
            for reboot in ("always", "required"):
                for due in ("due", "no", "unknown"):
                    last = RunResult(window=W, outcome=outcome, upgraded=1, due=due)
                    action = step(view(POLICY._replace(reboot=reboot)), patched(last=last),
                                  facts())[1]
                    got += "y" if action.kind == "reboot" else "n"
            self.assertEqual(got, expected, outcome)

    def test_never_means_never(self) -> None:
        for due in ("due", "no", "unknown"):
            state = patched(last=RunResult(window=W, outcome="ok", due=due), reboot="deferred")
            after, action = step(view(POLICY._replace(reboot="never")), state, facts())
            self.assertEqual((action.kind, after.reboot), ("again", due))

    def test_the_reboot_may_start_in_the_grace_and_not_later(self) -> None:
        self.assertEqual(step(view(), patched(), facts(now=CLOSES + 3599))[1].kind, "reboot")
        self.assertEqual(step(view(), patched(), facts(now=CLOSES + 3600))[0].reboot, "deferred")

    def test_a_deferred_reboot_comes_with_the_next_run_not_before_it(self) -> None:
        state = settled(reboot="deferred", boot_id="b1", noted=OPENS - WEEK)
        self.assertEqual(step(view(), state, facts())[1].kind, "upgrade")
        nothing = patched(reboot="deferred", last=RunResult(window=W, outcome="nothing", due="no"))
        self.assertEqual(step(view(), nothing, facts())[1].kind, "reboot")

    def test_a_restart_by_somebody_else_settles_a_deferred_reboot(self) -> None:
        after, action = step(view(), DEFERRED, facts(boot_id="b2", record=OK))
        self.assertEqual((after.reboot, action.kind), ("no", "wait"))

    def test_a_step_of_the_clock_is_no_restart_where_the_boot_time_is_the_identity(self) -> None:
        state = rebooting(boot_id=str(OPENS - 86400))
        known = facts(boot_id=str(OPENS - 82800), now=OPENS + 120, uptime=86520,
                      record=record(reboot_requested=OPENS + 61))
        self.assertEqual(step(view(), state, known)[0].phase, "rebooting")
        after, _ = step(view(), state, known._replace(uptime=40))
        self.assertEqual((after.reboot, after.kernel), ("verified", "k1"))

    def test_a_reboot_that_came_late_is_verified_after_all(self) -> None:
        late = rebooting(phase="idle", reboot="failed")
        asked = record(reboot_requested=OPENS + 61)
        known = facts(boot_id="b2", now=CLOSES, record=asked)
        after, _ = step(view(), late._replace(known=verdict.key(asked)), known)
        self.assertEqual(after.reboot, "verified")
        unasked = known._replace(record=OK)
        after, _ = step(view(), late._replace(known=KNOWN), unasked)
        self.assertEqual(after.reboot, "no")

    def test_root_may_name_the_boot_in_other_words_than_the_daemon(self) -> None:
        words = "{ sec = 1795400000, usec = 0 } Mon Nov 23"
        state, known = patched(boot_id=words), facts(boot_id="1795400000")
        self.assertEqual(step(view(), state, known)[1].kind, "reboot")
        self.assertEqual(step(view(), state, known._replace(uptime=20))[0].reboot, "no")

    def test_a_request_that_was_lost_is_repeated_twice_and_then_given_up(self) -> None:
        state, now, kinds = rebooting(), OPENS + 60, []
        for _ in range(40):
            state, action = step(view(), state, facts(now=now, record=OK))
            kinds.append(action.kind)
            now += 60
            if state.phase != "rebooting":
                break
        self.assertEqual(kinds.count("reboot"), 2)
        self.assertEqual(state.reboot, "failed")


if __name__ == "__main__":
    unittest.main()
