# SPDX-License-Identifier: BSD-2-Clause
"""Counts are counts, what is not known is no number, and words of later versions are kept.

Every reader on the way from root's record to the overview is asked with the same runs.
"""

import csv
import json
import re
import unittest
from typing import Any
from typing import Dict
from typing import List
from typing import Optional
from typing import Tuple

from qualvosec import command
from qualvosec import useragent
from qualvosec.admin.fleet import facts
from qualvosec.admin.fleet import overview
from qualvosec.admin.fleet.accesslog import Seen
from qualvosec.admin.fleet.overview import Row
from qualvosec.admin.show import formats
from qualvosec.admin.show import report
from qualvosec.client.decide import outcome
from qualvosec.client.decide import state as states
from qualvosec.client.decide.ahead import View
from qualvosec.client.decide.state import State
from qualvosec.client.fetch.pace import Pace
from qualvosec.client.root import call
from qualvosec.client.root import plan
from qualvosec.client.root.call import Reply
from qualvosec.client.tell import findings
from qualvosec.client.tell import packages
from qualvosec.client.tell import status as views
from qualvosec.client.tell import statusline
from qualvosec.helper import record as helper
from qualvosec.helper.managers import base
from qualvosec.manifest import window
from qualvosec.manifest.policy import Policy
from qualvosec.useragent import Sighting
from qualvosec.useragent import Token

NOW = 1795435200        # 2026-11-23 12:00 UTC, a Monday
WINDOW = "20261117T0215Z"
SIZES = (0, 1, 499, 500, 501, 900, 5000)
NEWER = ("held", "x", "a" + "-" * 23)
ABOUT = {"log_begins": None, "log_ends": None, "broken": 0}


def fact(token: Optional[Token]) -> Dict[str, Any]:
    """Return what the overview knows of a host with this report, sent over the wire."""
    sighting = useragent.read(useragent.write("1.0.0", "web01", token))
    assert sighting is not None
    seen = Seen(NOW - 60, NOW - 600000, "192.0.2.1", sighting, ())
    status = overview.reported(seen, NOW)
    return facts.of(Row("web01", True, Policy(), seen, status),
                    facts.Weeks(NOW, lambda instant: 0))


def readers(token: Optional[Token]) -> Dict[str, List[object]]:
    """Return what each reader of the overview shows as upgraded, kept and pending."""
    found = fact(token)
    names = ("upgraded", "kept", "pending")
    told = json.loads("".join(formats.as_json([found], {})))["hosts"][0]
    row, = csv.DictReader("".join(formats.as_csv([found])).splitlines())
    heads, _, cells = [[cell.strip() for cell in line.split("|")]
                       for line in formats.wide([found])]
    wide = dict(zip(heads, cells))
    metric = dict(re.findall(r'^qualvosec_fleet_host_(\w+)_packages\{host="web01"\} (\d+)$',
                             formats.metrics([found], ABOUT, NOW), re.M))
    return {
        "json": [told[name] for name in names], "csv": [row[name] for name in names],
        "wide": [wide[head] for head in ("Upgraded", "Kept Back", "Pending")],
        "metrics": [metric.get("kept_back"), metric.get("pending")],
        "report": [report._cell(found, name) for name in names]}


class Overview(unittest.TestCase):

    def test_every_number_of_a_report_is_shown_by_every_format(self) -> None:
        for size in SIZES:
            text = str(size)
            self.assertEqual(readers(Token(WINDOW, "ok", size, size, size)), {
                "json": [size] * 3, "csv": [text] * 3, "wide": [text] * 3,
                "metrics": [text] * 2, "report": [text] * 3})

    def test_what_the_host_does_not_know_is_never_a_number(self) -> None:
        self.assertEqual(readers(Token(WINDOW, "failed", 0)), {
            "json": [0, None, None], "csv": ["0", "", ""], "wide": ["0", "?", "?"],
            "metrics": [None, None], "report": ["0", "?", "?"]})

    def test_a_host_without_a_report_has_no_numbers_at_all(self) -> None:
        self.assertEqual(readers(None), {
            "json": [None] * 3, "csv": [""] * 3, "wide": ["-"] * 3,
            "metrics": [None, None], "report": ["-"] * 3})

    def test_a_word_of_a_later_version_is_shown_and_a_warning_with_its_numbers(self) -> None:
        for word in NEWER:
            for token in (Token(WINDOW, word, 1, 2, 3), Token(WINDOW, "ok", 1, 2, 3, word)):
                found = fact(token)
                self.assertEqual(facts.level(found["status"]), facts.WARN)
                for text in (formats.as_json([found], {}), formats.as_csv([found]),
                             formats.wide([found]), formats.metrics([found], ABOUT, NOW),
                             report.page([Row("web01", True, Policy(), Seen(
                                 NOW, NOW, "192.0.2.1", Sighting("2", "web01", token), ()),
                                 found["status"])], (), facts.Weeks(NOW, lambda instant: 0))):
                    self.assertIn(word, "".join(text))
                self.assertEqual(readers(token)["json"], [1, 2, 3])

    def test_a_key_of_a_later_version_is_shown_beside_the_rest(self) -> None:
        found = fact(Token(WINDOW, "ok", 1, 2, 3))
        newer = dict(found, others="z=+0100 e=x:ok")
        self.assertNotIn("Others", "".join(formats.wide([found])))
        self.assertIn("z=+0100 e=x:ok", "".join(formats.wide([newer])))
        self.assertEqual(json.loads("".join(formats.as_json([newer], {})))["hosts"][0]["others"],
                         "z=+0100 e=x:ok")
        row, = csv.DictReader("".join(formats.as_csv([newer])).splitlines())
        self.assertEqual((row["others"], row["pending"]), ("z=+0100 e=x:ok", "3"))


def told(**fields: Any) -> Reply:
    """Return what the daemon reads of an answer of root with such a record."""
    record = helper.Record(
        window=WINDOW, op="upgrade", manager="apt", boot_id="b", accepted=1, started=2,
        finished=NOW - 500000, phase="done", committed=True, outcome="ok", pending=0,
        reboot="no", kernel="6.1")._replace(**fields)
    answer = {"v": 1, "status": "ok", "reason": "", "alive": False, "plan": None,
              "record": helper.to_json(record)}
    return call.read_reply(command.Result(0, json.dumps(answer).encode("ascii"), b"", False,
                                              False), "sudo")


def situation(reply: Reply) -> findings.Situation:
    """Return what the daemon knows once it has taken over a finished run, and read it again."""
    assert reply.record is not None, reply
    opens = window.opens_of(WINDOW)
    state = outcome.conclude(State(phase="patching", window=WINDOW, op="upgrade", opens=opens,
                                   closes=opens + 3600, since=opens), reply.record)
    state = outcome.conclude(states.from_bytes(states.to_bytes(state)), reply.record)
    view = View(Policy(patch=True, weekdays=(1,), hour=2, minute=15), "", "", "web01",
                lambda u: 0)
    return findings.Situation(now=NOW, started=NOW - 9000, view=view, state=state._replace(
        phase="idle", reboot=reply.record.reboot), pace=Pace(NOW - 60, NOW - 60, NOW - 60))


def host(reply: Reply) -> Dict[str, object]:
    """Return what each reader on the host shows as upgraded, kept and pending."""
    s = situation(reply)
    shot = findings.snapshot(s)
    status = json.loads(views.status(shot))
    line = statusline.line(statusline.judge(status))
    metric = dict(re.findall(r"^qualvosec_(\w+)_packages (\d+)$", views.metrics(shot), re.M))
    agent = useragent.write("1.0.0", "web01", findings.token(s))
    page = json.loads(packages.text(reply.told))  # type: ignore[arg-type]
    return {
        "status": [status["last_run"][name] for name in ("upgraded", "kept", "pending")],
        "line": re.findall(r"(\w+)=(\d+)", line.partition("|")[2]),
        "metrics": [metric.get(name) for name in ("last_run_upgraded", "kept_back", "pending")],
        "token": re.findall(r" ([ukp]=\S+)", agent),
        "packages": [page["upgraded_count"], page["kept_count"], page["pending"]],
        "left_out": page["left_out"]}


def rows(number: int, width: int) -> Tuple[Tuple[str, ...], ...]:
    return tuple(("p%05d" % place,) + ("1",) * (width - 1) for place in range(number))


class Host(unittest.TestCase):

    def test_every_number_of_a_run_is_shown_by_every_reader(self) -> None:
        for size in SIZES:
            text = str(size)
            found = host(told(
                upgraded=rows(size, 3), kept=rows(size, 2), pending=size, outcome="partial",
                upgraded_count=size, kept_count=size, config_files_count=0))
            left_out = found.pop("left_out")
            self.assertEqual(found, {
                "status": [size] * 3, "metrics": [text] * 3, "packages": [size] * 3,
                "token": ["u=" + text, "k=" + text, "p=" + text],
                "line": [("upgraded", text), ("kept", text), ("pending", text)]})
            self.assertGreaterEqual(left_out, max(0, 2 * size - 1000))

    def test_a_run_that_failed_before_its_plan_shows_no_number_it_does_not_know(self) -> None:
        self.assertEqual(host(told(outcome="failed", committed=False, pending=None,
                                   upgraded_count=0, reason="no route to host")), {
            "status": [0, None, None], "metrics": ["0", None, None], "packages": [0, None, None],
            "token": ["u=0", "k=?", "p=?"], "line": [("upgraded", "0")], "left_out": None})

    def test_before_the_first_run_nothing_is_known(self) -> None:
        view = View(None, "unknown", "", "web01", lambda u: 0)
        s = findings.Situation(now=NOW, started=NOW, view=view, state=State(), pace=Pace(NOW))
        self.assertIn("u=? k=? p=?", useragent.write("1", "a", findings.token(s)))
        self.assertNotIn("_packages ", views.metrics(findings.snapshot(s)))

    def test_a_missed_window_upgraded_nothing_and_knows_no_more(self) -> None:
        last = outcome.close(State(), NOW, WINDOW).last
        self.assertEqual((last.outcome, last.upgraded, last.kept, last.pending),
                         ("missed", 0, None, None))

    def test_an_interrupted_run_knows_what_root_knew(self) -> None:
        for committed, number in ((False, 0), (True, None)):
            record = told(finished=0, outcome="", phase="commit", committed=committed,
                          upgraded_count=number, kept_count=2, pending=number).record
            assert record is not None
            last = outcome.interrupted(State(window=WINDOW), record, NOW).last
            self.assertEqual((last.upgraded, last.kept, last.pending), (number, 2, number))

    def test_an_outcome_of_a_later_root_is_shown_and_a_warning_and_the_rest_is_kept(self) -> None:
        for word in NEWER:
            reply = told(outcome=word, upgraded_count=900, kept_count=1, pending=2)
            self.assertIn(word, reply.newer)
            s = situation(reply)
            shot = findings.snapshot(s)
            found = statusline.judge(json.loads(views.status(shot)))
            self.assertEqual((shot.healthy, found.code), (True, 1))
            self.assertIn('outcome="%s"} 1\n' % word, views.metrics(shot))
            self.assertIn(" r=%s u=900 k=1 p=2 " % word,
                          useragent.write("1", "a", findings.token(s)))
            for text in (statusline.line(found), views.health_text(shot), views.status(shot),
                         packages.text(reply.told)):    # type: ignore[arg-type]
                self.assertIn(word, text)

    def test_an_outcome_of_a_later_root_is_no_success_and_counts_by_its_commit(self) -> None:
        for committed in (False, True):
            state = situation(told(outcome="held", committed=committed, upgraded_count=0)).state
            self.assertEqual((len(state.consumed), state.success, state.last.outcome),
                             (int(committed), 0, "held"))

    def test_a_reboot_word_of_a_later_root_is_shown_and_a_warning(self) -> None:
        for word in NEWER:
            s = situation(told(reboot=word, upgraded_count=1, kept_count=0))
            shot = findings.snapshot(s)
            found = statusline.judge(json.loads(views.status(shot)))
            self.assertEqual((shot.healthy, found.code), (True, 1))
            self.assertIn('state="%s"} 1\n' % word, views.metrics(shot))
            self.assertIn(" b=%s" % word, useragent.write("1", "a", findings.token(s)))
            self.assertIn(word, statusline.line(found))

    def test_a_status_of_a_later_daemon_that_thinks_all_is_well_is_a_warning(self) -> None:
        good = json.loads(views.status(findings.snapshot(situation(told()))))
        self.assertEqual(statusline.judge(good).code, 0)
        for key, name in (("last_run", "outcome"), ("reboot", "state")):
            for word in NEWER + ("\x1b[31m" * 99,):
                newer = dict(good, **{key: dict(good[key], **{name: word})}, gates=[1])
                found = statusline.judge(newer)
                self.assertEqual(found.code, 1)
                self.assertTrue(statusline.line(found)[:-1].isprintable())
                self.assertLess(len(found.text), 200)
                self.assertIn(word[:3].replace("\x1b", "\\x1b"), found.text)

    def test_words_that_are_none_are_no_answer_of_root(self) -> None:
        for word in ("Held", "\x1b[31m", "a b", "a" * 25, "\u00e4"):
            for key in ("outcome", "op", "phase", "reboot"):
                self.assertEqual(told(**{key: word}).status, "unreachable")


class Plans(unittest.TestCase):

    def test_the_plan_tells_whole_numbers_and_how_many_more_there_are(self) -> None:
        for size in SIZES + (1499, 1500, 1501):
            many = tuple(base.Package("p%05d" % place, "1", "2") for place in range(size))
            found = plan.from_json(json.loads(json.dumps(base.to_json(
                "apt", base.Plan(many, many[:size // 2]), []))))
            text = plan.table(found)
            self.assertIn("apt: %d pending, %d in this run, %d left out\n" % (
                size, size // 2, size - size // 2), text)
            self.assertEqual("... and %d more\n" % (size - 1500) in text, size > 1500)
            self.assertEqual(json.loads(plan.as_json(found))["pending_count"], size)

    def test_a_number_below_its_list_is_refused(self) -> None:
        good = base.to_json("apt", base.Plan((base.Package("a", "1", "2"),)), [])
        for number in (0, -1, "1", True, None):
            with self.assertRaises(plan.RootError):
                plan.from_json(json.loads(json.dumps(dict(good, pending_count=number))))


if __name__ == "__main__":
    unittest.main()
