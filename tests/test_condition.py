# SPDX-License-Identifier: BSD-2-Clause
"""One judgement of a host for every reader: health, status line, report token."""

import json
import unittest
from typing import Any

from qualvosec.client import config
from qualvosec.client.decide import ahead
from qualvosec.client.decide.ahead import View
from qualvosec.client.decide.state import RunResult
from qualvosec.client.decide.state import State
from qualvosec.client.fetch import inforce
from qualvosec.client.fetch.pace import Pace
from qualvosec.client.tell import findings
from qualvosec.client.tell import status as views
from qualvosec.client.tell import statusline
from qualvosec.client.tell.findings import Situation
from qualvosec.manifest.policy import Policy

NOW = 1795400000    # 2026-11-23, a Monday
POLICY = Policy(patch=True, weekdays=(2,), hour=3, minute=15)
WINDOW = "20261118T0315Z"
FIRST = State()


def situation(why: str = "", policy: "Policy | None" = POLICY, fqdn: str = "web01.example.org",
              detail: str = "", state: State = FIRST, **fields: Any) -> Situation:
    view = View(policy if not why or why == "expired" else None, why, detail, fqdn, lambda u: 0)
    fields.setdefault("pace", Pace(NOW - 9000, NOW - 60, NOW - 60))
    return Situation(now=NOW, started=NOW - 9000, view=view, state=state, **fields)


def ran(outcome: str, **fields: Any) -> State:
    last = RunResult(window=WINDOW, outcome=outcome, reason="the reason", finished=NOW - 400000)
    return State(last=last, since=NOW - 900000, success=NOW - 460000)._replace(**fields)


class Findings(unittest.TestCase):
    def words(self, s: Situation) -> "list[tuple[str, bool]]":
        return [(finding.word, finding.bad) for finding in findings.findings(s)]

    def test_a_host_without_a_name_is_told_the_line_to_write_and_what_then(self) -> None:
        settings = config.Config("/etc/q.conf", "https://h")
        view = inforce.view_of(None, settings, "", "", NOW)
        found = findings.findings(situation()._replace(view=view))
        self.assertEqual([(finding.word, finding.bad) for finding in found], [("noname", True)])
        self.assertRegex(found[0].text, r'^this host has no name that can be trusted: set fqdn: '
                         r'write the line "fqdn: \S+\.example\.org", with your own domain, into '
                         r'/etc/q\.conf; then reload this service$')

    def test_a_host_that_waits_for_its_window_has_nothing_to_say(self) -> None:
        self.assertEqual(self.words(situation()), [])

    def test_every_reason_why_nothing_is_patched_is_unhealthy(self) -> None:
        table = [(situation("unknown", fqdn=""), "noname"), (situation("unlisted"), "unlisted"),
                 (situation("invalid", detail="line 3"), "invalid"),
                 (situation("expired", detail="too old"), "expired"),
                 (situation("unknown", fetch_reason="refused"), "nopolicy"),
                 (situation(unanswered="sudo refused"), "helper"),
                 (situation(write_fault="no space left"), "state"),
                 (situation(config_fault="line 2"), "config"),
                 (situation(unheard="the port is taken"), "monitoring"),
                 (situation(state=State(trouble="corrupt")), "state"),
                 (situation(state=ran("failed")), "failed"),
                 (situation(state=ran("ok", failures=2)), "overdue"),
                 (situation(state=ran("ok", reboot="failed", reboot_reason="x")), "reboot")]
        for s, word in table:
            with self.subTest(word=word):
                self.assertIn((word, True), self.words(s))
                self.assertFalse(findings.snapshot(s).healthy)
                self.assertNotEqual(findings.token(s).health, "ok")

    def test_every_bad_outcome_stays_unhealthy_until_a_success(self) -> None:
        for outcome in ("failed", "refused", "locked", "interrupted", "missed", "unsupported"):
            with self.subTest(outcome=outcome):
                self.assertIn((outcome, True), self.words(situation(state=ran(outcome))))
        for outcome in ("ok", "nothing"):
            self.assertEqual(self.words(situation(state=ran(outcome))), [])

    def test_what_a_person_should_know_does_not_make_a_host_unhealthy(self) -> None:
        table = [(situation(veto="migration"), "veto"),
                 (situation(state=ran("partial")), "partial"),
                 (situation(state=ran("ok", reboot="deferred", reboot_reason="frozen")), "reboot"),
                 (situation(running_since=NOW - 60), "running"),
                 (situation(fetch_reason="connection refused"), "server"),
                 (situation(state=State(obstacle=("20261125T0315Z", "locked", "dpkg"))), "locked")]
        for s, word in table:
            with self.subTest(word=word):
                self.assertEqual(self.words(s), [(word, False)])
                self.assertTrue(findings.snapshot(s).healthy)
                self.assertEqual(findings.token(s).health, "ok")

    def test_what_lasts_too_long_becomes_unhealthy(self) -> None:
        table = [(situation(running_since=NOW - 4 * 3600), "running"),
                 (situation(fetch_reason="refused", pace=Pace(0, NOW, NOW - 13 * 3600)), "server"),
                 (situation(fetch_reason="bad", distrusted=NOW - 1000), "signature")]
        for s, word in table:
            with self.subTest(word=word):
                self.assertEqual(self.words(s), [(word, True)])

    def test_what_is_wrong_stands_before_what_is_worth_knowing(self) -> None:
        found = self.words(situation("unlisted", veto="x"))
        self.assertEqual([bad for _, bad in found], sorted((bad for _, bad in found), reverse=True))

    def test_a_stuck_safeguard_names_its_way_out(self) -> None:
        state = ran("interrupted")
        state = state._replace(last=state.last._replace(clean=False))
        for s, command in ((situation(state=state), "qualvosec reset interrupted"),
                           (situation(state=State(trouble="torn")), "qualvosec reset interrupted"),
                           (situation(waiting=ahead.clock_doubt(NOW, NOW + 1)),
                            "qualvosec reset clock")):
            with self.subTest(command=command):
                self.assertIn(command, findings.findings(s)[0].text)
                self.assertFalse(findings.snapshot(s).healthy)

    def test_a_clock_that_may_yet_settle_is_told_and_not_unhealthy(self) -> None:
        settles = situation(waiting=ahead.clock_doubt(NOW, NOW - 1))
        behind = situation(waiting=ahead.clock_doubt(NOW, NOW + 1))
        for s in (settles, behind._replace(started=NOW - 60)):
            self.assertEqual(self.words(s), [("clock", False)])
        # It needs no one's hand, and this command would not help.
        self.assertNotIn("qualvosec reset", findings.findings(settles)[0].text)

    def test_an_alive_run_is_not_judged_by_the_one_before_it(self) -> None:
        self.assertEqual(self.words(situation(running_since=NOW, state=ran("failed"))),
                         [("running", False)])


class Token(unittest.TestCase):
    def test_it_carries_window_outcome_counts_reboot_and_last_success(self) -> None:
        state = ran("partial", reboot="due", success=1795000000)
        state = state._replace(last=state.last._replace(upgraded=4, kept=2, pending=2))
        found = findings.token(situation(state=state))
        self.assertEqual(found, (WINDOW, "partial", 4, 2, 2, "due", "20261118T1106Z", "ok",
                                 ""))


class StatusLine(unittest.TestCase):
    def line(self, s: Situation) -> "tuple[int, str]":
        found = statusline.judge(json.loads(views.status(findings.snapshot(s))))
        return found.code, statusline.line(found)

    def test_all_is_well(self) -> None:
        state = ran("ok")
        state = state._replace(last=state.last._replace(upgraded=4, kept=0, pending=0))
        self.assertEqual(self.line(situation(state=state)), (
            0, "QUALVOSEC OK - last run ok in window 20261118T0315Z, next start "
               "2026-11-25T03:15:00Z | upgraded=4 kept=0 pending=0\n"))

    def test_a_bar_in_a_reason_begins_no_numbers(self) -> None:
        state = ran("failed")
        state = state._replace(last=state.last._replace(
            reason="mta: depends: exim4 | postfix", upgraded=0))
        code, text = self.line(situation(state=state))
        self.assertEqual((code, text.count("|")), (2, 1))
        self.assertIn("exim4 / postfix | upgraded=", text)

    def test_worth_knowing_is_a_warning_and_wrong_is_critical(self) -> None:
        code, text = self.line(situation(veto="a\x1b[2Jb"))
        self.assertEqual((code, text), (1, "QUALVOSEC WARNING - vetoed on this host: a\\x1b[2Jb\n"))
        code, text = self.line(situation("unlisted"))
        self.assertEqual(code, 2)
        self.assertTrue(text.startswith("QUALVOSEC CRITICAL - web01.example.org is not in the"))

    def test_the_line_names_a_few_other_tools_and_the_object_all(self) -> None:
        good = statusline.Status(0, "fine", {"healthy": True})
        self.assertEqual(statusline.beside(good, []).text, "fine")
        lines = ["one", "two", "three", "four", "five"]
        found = statusline.beside(good, lines)
        self.assertEqual((found.code, found.text), (1, "fine; one; two; three; and 2 more"))
        self.assertEqual(found.detail, {"healthy": True, "other_tools": lines})
        self.assertEqual(statusline.beside(good._replace(code=3), lines).code, 3)

    def test_where_nothing_runs_the_line_names_what_is_left_to_do_in_order(self) -> None:
        start = "systemctl enable --now qualvosec"
        fresh = config.Config("/etc/q.conf", config.SAMPLE_SERVER)
        told = statusline.unstarted(fresh, "", start)
        steps = told.split("; then: ")
        self.assertEqual(len(steps), 3, told)
        self.assertEqual(steps[0], "; next: server: is still that of the sample: write yours into "
                                   "/etc/q.conf")
        self.assertRegex(steps[1], '^write the line "fqdn: .*", with your own domain, into /etc/q')
        self.assertEqual(steps[2], start)
        self.assertEqual(statusline.unstarted(fresh._replace(server="https://p.example.net"),
                                              "a.example.net", start), "; next: " + start)

    def test_an_answer_that_is_no_status_is_critical_not_a_traceback(self) -> None:
        for value in ({}, {"healthy": 1}, {"healthy": False, "reasons": 3}):
            with self.subTest(value=value):
                self.assertEqual(statusline.judge(value).code, 2)   # type: ignore[arg-type]
