# SPDX-License-Identifier: BSD-2-Clause
"""Which status a host gets from manifest, sightings and time."""

import calendar
import unittest

from qualvosec.admin.fleet import facts
from qualvosec.admin.fleet import overview
from qualvosec.admin.fleet.accesslog import Log
from qualvosec.admin.fleet.accesslog import Seen
from qualvosec.manifest.policy import Policy
from qualvosec.useragent import Sighting
from qualvosec.useragent import Token

DAY = 86400
NOW = calendar.timegm((2026, 11, 25, 12, 0, 0))         # a Wednesday
WEEKLY = Policy(patch=True, weekdays=(1,), hour=2, minute=15)
LAST = "20261124T0215Z"
BEFORE = "20261117T0215Z"
EARLIER = "20261110T0215Z"
DONE = Token(LAST, "ok", 1, 0, 0, "verified", LAST)


def utc(instant):
    return 0


def seen(token=DONE, ago=3600, first=20 * DAY, source="192.0.2.1", nearby=()):
    return Seen(NOW - ago, NOW - first, source, Sighting("1.0.0", "a", token), tuple(nearby))


def log(begins=30 * DAY, ends=60, **hosts):
    return Log(hosts, NOW - begins, NOW - ends, len(hosts), 0, 0, 0, 0, (), ())


def status(sighting, policy=WEEKLY, alive_days=7, zone=utc, **spans):
    hosts = {} if sighting is None else {"a": sighting}
    row, = overview.rows({"a": policy}, log(**dict(hosts, **spans)), NOW, alive_days, zone)
    return row.status


class StatusTest(unittest.TestCase):

    def test_what_the_host_last_reported(self):
        for outcome in ("ok", "nothing", "partial", "failed", "refused", "locked", "interrupted",
                        "missed", "unsupported"):
            self.assertEqual(status(seen(DONE._replace(outcome=outcome))), outcome)

    def test_a_reboot_that_is_still_to_come_or_failed_is_told_too(self):
        self.assertEqual(status(seen(DONE._replace(reboot="due"))), "ok, reboot due")
        self.assertEqual(status(seen(DONE._replace(reboot="failed"))), "ok, reboot failed")
        self.assertEqual(status(seen(DONE._replace(reboot="verified"))), "ok")

    def test_a_host_that_did_not_come_back_from_its_reboot_is_not_ok(self):
        asked = DONE._replace(reboot="requested")
        self.assertEqual(status(seen(asked, ago=3600)), "ok")
        self.assertEqual(status(seen(asked, ago=3 * 3600)), "ok, reboot requested")
        self.assertEqual(facts.level("ok, reboot requested"), facts.BAD)
        # Logs that end before prove nothing.
        self.assertEqual(status(seen(asked, ago=3 * 3600), ends=2 * 3600), "ok")

    def test_words_that_only_later_versions_know_are_shown_and_are_a_warning(self):
        for fields, told in (({"outcome": "held"}, "newer: held"),
                             ({"outcome": "orphaned"}, "newer: orphaned"),
                             ({"reboot": "postponed"}, "ok, reboot postponed"),
                             ({"outcome": "held", "reboot": "postponed"},
                              "newer: held, reboot postponed")):
            self.assertEqual(status(seen(DONE._replace(**fields))), told)
            self.assertEqual(facts.level(told), facts.WARN)
        self.assertEqual(facts.level("newer: held, reboot failed"), facts.BAD)
        self.assertTrue(facts.is_status("newer"))

    def test_what_later_versions_report_is_named_once_for_the_whole_fleet(self):
        tokens = [DONE, DONE._replace(outcome="held"), DONE._replace(others="z=1 e=x:ok"), None,
                  DONE._replace(others="z=2", reboot="postponed")]
        hosts = {"h%d" % place: seen(token) for place, token in enumerate(tokens)}
        told, = overview.notes(log(**hosts), NOW, 7)
        self.assertEqual(told, "hosts that report what this version does not know: 3: upgrade "
                               "qualvosec-admin: b=postponed, e=, r=held, z=")
        hosts = {"h%d" % place: seen(DONE._replace(others="k%03d=1" % place))
                 for place in range(500)}
        self.assertIn(": 500: upgrade qualvosec-admin: k000=, k001=, k002=, k003=, k004=, "
                      "and 495 more", overview.notes(log(**hosts), NOW, 7)[0])
        self.assertEqual(overview.notes(log(a=seen()), NOW, 7), [])

    def test_hosts_without_a_report_or_without_a_run_say_so(self):
        self.assertEqual(status(seen(None)), "no report")
        self.assertEqual(status(seen(Token(), first=DAY)), "no run yet")

    def test_what_the_host_says_is_wrong_with_it_is_more_than_its_last_outcome(self):
        self.assertEqual(status(seen(DONE._replace(health="veto"))), "unhealthy: veto")

    def test_listed_and_silent_for_alive_days_is_orphaned(self):
        self.assertEqual(status(seen(ago=7 * DAY)), "ok")
        self.assertEqual(status(seen(ago=7 * DAY + 1)), "orphaned")
        self.assertEqual(status(seen(ago=8 * DAY), alive_days=9), "ok")

    def test_listed_and_not_in_the_logs_was_never_seen(self):
        self.assertEqual(status(None), "never seen")

    def test_silence_in_logs_that_cover_too_little_proves_nothing(self):
        self.assertEqual(status(None, begins=6 * DAY), "unknown")
        self.assertEqual(status(None, begins=7 * DAY), "never seen")
        self.assertEqual(status(None, ends=8 * DAY), "unknown")
        self.assertEqual(status(seen(ago=8 * DAY), ends=8 * DAY), "unknown")
        self.assertEqual(status(seen(), begins=DAY), "ok")
        empty = Log({}, 0, 0, 0, 0, 0, 0, 0, (), ())
        self.assertEqual(overview.rows({"a": WEEKLY}, empty, NOW, 7, utc)[0].status, "unknown")

    def test_seen_and_not_in_the_manifest_is_unlisted(self):
        row, = overview.rows({}, log(b=seen()), NOW, 7, utc)
        self.assertEqual((row.name, row.listed, row.status), ("b", False, "unlisted"))

    def test_an_entry_that_no_client_can_use_is_called_invalid(self):
        self.assertEqual(status(seen(), policy=None), "invalid entry")

    def test_rows_come_sorted_by_name(self):
        found = overview.rows({"c": WEEKLY, "a": WEEKLY}, log(b=seen()), NOW, 7, utc)
        self.assertEqual([row.name for row in found], ["a", "b", "c"])


class ConflictTest(unittest.TestCase):

    def test_one_name_from_two_addresses_within_a_day(self):
        near, far = NOW - 3600 - DAY + 60, NOW - 3600 - DAY
        self.assertEqual(status(seen(nearby=[("192.0.2.2", near)])), "conflict")
        self.assertEqual(status(seen(nearby=[("192.0.2.2", far)])), "ok")

    def test_one_machine_may_use_both_protocols(self):
        self.assertEqual(status(seen(nearby=[("2001:db8::1", NOW - 4000)])), "ok")

    def test_ipv4_addresses_that_a_socket_for_both_protocols_writes_are_ipv4_addresses(self):
        for source, other, expected in (
                ("::ffff:192.0.2.1", "::ffff:192.0.2.2", "conflict"),
                ("::FFFF:192.0.2.1", "192.0.2.2", "conflict"),
                ("::ffff:192.0.2.1", "192.0.2.1", "ok"),
                ("::ffff:192.0.2.1", "2001:db8::1", "ok")):
            with self.subTest(source=source, other=other):
                self.assertEqual(status(seen(source=source, nearby=[(other, NOW - 4000)])),
                                 expected)

    def test_addresses_of_one_ipv6_network_are_one_source(self):
        for source, other, expected in (
                ("2001:db8:0:1::5", "2001:db8::1:a:b:c:d", "ok"),
                ("2001:db8:0:1::5", "2001:DB8:0:1:ffff::", "ok"),
                ("2001:db8:0:1::5", "2001:db8:0:2::5", "conflict"),
                ("::1", "0:0:0:0:0:0:0:1", "ok")):
            with self.subTest(source=source, other=other):
                self.assertEqual(status(seen(source=source, nearby=[(other, NOW - 4000)])),
                                 expected)


class OverdueTest(unittest.TestCase):

    def test_two_windows_without_success_are_overdue(self):
        failed = DONE._replace(outcome="failed")
        self.assertEqual(status(seen(failed._replace(success=BEFORE))), "failed")
        self.assertEqual(status(seen(failed._replace(success=EARLIER))), "overdue")

    def test_a_host_that_never_had_success_counts_from_its_first_request(self):
        failed = DONE._replace(outcome="failed", success="")
        self.assertEqual(status(seen(failed, first=20 * DAY)), "overdue")
        self.assertEqual(status(seen(failed, first=3 * DAY)), "failed")
        self.assertEqual(status(seen(Token(), first=20 * DAY)), "overdue")

    def test_windows_count_until_the_host_was_last_seen_not_until_now(self):
        failed = DONE._replace(outcome="failed", success=EARLIER, window=BEFORE)
        self.assertEqual(status(seen(failed, ago=3 * DAY)), "failed")

    def test_a_window_that_may_still_be_caught_up_is_not_missed_yet(self):
        failed = DONE._replace(outcome="failed", success=EARLIER)
        self.assertEqual(status(seen(failed), policy=WEEKLY._replace(catch_up=48)), "failed")

    def test_frozen_windows_are_not_missed(self):
        failed = DONE._replace(outcome="failed", success=EARLIER)
        first = (NOW - 12 * DAY) // DAY + 719163
        self.assertEqual(status(seen(failed), policy=WEEKLY._replace(freeze=((first, first + 5),))),
                         "failed")

    def test_a_host_that_is_not_to_be_patched_is_never_overdue(self):
        self.assertEqual(status(seen(DONE._replace(success=EARLIER)),
                                policy=WEEKLY._replace(patch=False)), "ok")

    def test_without_a_report_nothing_is_overdue(self):
        self.assertEqual(status(seen(None)), "no report")

    def test_the_zone_of_the_host_is_taken_from_its_report(self):
        # 02:15 at UTC+11 on Tuesday is Monday 15:15 UTC; the administrator sits at UTC-8.
        token = Token("20261123T1515Z", "ok", success="20261116T1515Z")
        for east in (0, -8 * 3600, 11 * 3600):
            self.assertEqual(status(seen(token), zone=lambda instant, east=east: east), "ok")
        daily = WEEKLY._replace(weekdays=tuple(range(7)))
        token = Token("20261124T1515Z", "failed", success="20261122T1515Z")
        self.assertEqual(status(seen(token), policy=daily), "overdue")
        token = token._replace(success="20261123T1515Z")
        self.assertEqual(status(seen(token), policy=daily), "failed")

    def test_an_impossible_window_in_a_report_is_survived(self):
        for window in ("99999999T9999Z", "20261301T0000Z", "00000000T0000Z"):
            token = DONE._replace(window=window, success=window)
            self.assertEqual(status(seen(token)), "ok")
            self.assertIn(status(seen(token._replace(success=EARLIER))), ("ok", "overdue"))


class NotesTest(unittest.TestCase):

    def test_good_logs_need_no_note(self):
        self.assertEqual(overview.notes(log(), NOW, 7), [])

    def test_logs_that_cover_too_little_or_ended_are_told(self):
        self.assertIn("2.0 of 7 days", overview.notes(log(begins=2 * DAY), NOW, 7)[0])
        self.assertIn("end 8 days ago", overview.notes(log(ends=8 * DAY), NOW, 7)[0])
        empty = Log({}, 0, 0, 0, 0, 0, 0, 0, (), ())
        self.assertIn("no line with a time", overview.notes(empty, NOW, 7)[0])
        damaged = empty._replace(faults=("/x: damaged",))
        self.assertIn("could be read to its end", overview.notes(damaged, NOW, 7)[0])

    def test_skipped_lines_and_useless_files_are_told(self):
        notes = overview.notes(log()._replace(broken=2, overlong=1, strangers=5,
                                              mistimed=4, anonymous=("/x",)), NOW, 7)
        self.assertEqual(len(notes), 4)
        self.assertIn("/x: common format", notes[0])
        self.assertIn("broken or forged: 3", notes[1])
        self.assertIn("impossible time skipped: 4", notes[2])


if __name__ == "__main__":
    unittest.main()
