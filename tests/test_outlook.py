# SPDX-License-Identifier: BSD-2-Clause
"""What lies ahead of a host and behind it, and when its clock may be believed."""

import unittest
from typing import Any

from qualvosec.client.decide import ahead
from qualvosec.client.decide.ahead import View
from qualvosec.client.decide.state import State
from qualvosec.manifest import window
from qualvosec.manifest.policy import Policy
from qualvosec.manifest.policy import schedule_key

OPENS = window.opens_of("20261124T0215Z")
CLOSES = OPENS + 3600
WEEK = 7 * 86400
POLICY = Policy(patch=True, reboot="always", weekdays=(1,), hour=2, minute=15)


def view(policy: Any = POLICY, why: str = "") -> View:
    return View(policy, why, "", "web01.example.org", lambda instant: 0)


def settled(**fields: Any) -> State:
    return State(schedule=schedule_key(POLICY), since=OPENS - WEEK, seen=OPENS)._replace(**fields)


class OutlookTest(unittest.TestCase):
    def test_the_next_start_is_one_that_was_not_used(self) -> None:
        state = settled(consumed=((OPENS + WEEK, CLOSES + WEEK),))
        found = ahead.next_start(view(), state, OPENS)
        assert found is not None
        self.assertEqual(found.opens, OPENS + 2 * WEEK)
        self.assertIsNone(ahead.next_start(view(None, "unlisted"), state, OPENS))

    def test_a_window_is_open_until_it_closes_or_catch_up_ends_or_it_was_used(self) -> None:
        late = POLICY._replace(catch_up=2)
        for policy, now, found in ((POLICY, OPENS - 1, False), (POLICY, OPENS, True),
                                   (POLICY, CLOSES - 1, True), (POLICY, CLOSES, False),
                                   (late, CLOSES + 7199, True), (late, CLOSES + 7200, False)):
            opening = ahead.open_window(view(policy), settled(), now)
            self.assertEqual(opening is not None, found, now - OPENS)
        used = settled(consumed=((OPENS, CLOSES),))
        self.assertIsNone(ahead.open_window(view(), used, OPENS + 60))
        self.assertIsNone(ahead.open_window(view(None, "unlisted"), settled(), OPENS))

    def test_a_window_that_was_waited_for_ends_when_the_next_one_opens(self) -> None:
        late = view(POLICY._replace(catch_up=168))
        older, opening = [window.latest(POLICY, OPENS + weeks * WEEK, "web01.example.org",
                                        late.zone) for weeks in (0, 1)]
        assert older is not None and opening is not None
        waited = settled(awaited=(older.id, older.closes))
        for state, done, name in (
                (waited, (), older.id), (settled(), (), ""), (waited, (older.id,), ""),
                (waited._replace(concluded=older.id), (), ""),
                (waited._replace(concluded=opening.id), (), ""),
                (waited._replace(concluded="20300101T0000Z"), (), older.id),
                (waited._replace(consumed=((older.opens, older.closes),)), (), ""),
                (waited._replace(since=OPENS + 1), (), ""),
                (waited._replace(awaited=(opening.id, opening.closes)), (), ""),
                # Of another schedule, or of rules of the zone that have changed.
                (waited._replace(awaited=("20261123T0215Z", OPENS - 82800)), (), "")):
            self.assertEqual(ahead.superseded(late, state, opening, done), name, state)
        self.assertEqual(ahead.superseded(view(None, "unlisted"), waited, opening), "")

    def test_overdue_after_two_windows_without_success(self) -> None:
        state = settled(success=OPENS, since=OPENS - WEEK)
        self.assertFalse(ahead.overdue(view(), state, CLOSES + 2 * WEEK - 1))
        self.assertTrue(ahead.overdue(view(), state, CLOSES + 2 * WEEK))
        self.assertTrue(ahead.overdue(view(), state._replace(failures=2), OPENS))
        self.assertFalse(ahead.overdue(view(), State(), OPENS))
        self.assertFalse(ahead.overdue(view(POLICY._replace(patch=False)), state, OPENS * 2))

    def test_when_a_clock_is_plausible(self) -> None:
        for uptime, seen, dated, secure, plausible in (
                (10, 0, None, True, False), (10, 0, True, False, True),
                (901, OPENS, None, True, True), (901, OPENS + 1, None, True, False),
                # Over plain http anybody on the way may repeat an answer with any Date.
                (901, OPENS + 1, True, True, True), (901, OPENS + 1, True, False, False),
                (901, OPENS, False, True, True), (900, 0, None, True, False)):
            self.assertEqual(ahead.clock_plausible(OPENS, uptime, seen, dated, secure), plausible)


if __name__ == "__main__":
    unittest.main()
