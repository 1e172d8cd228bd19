# SPDX-License-Identifier: BSD-2-Clause
"""The timetable of a fleet: the windows that the clients will open, and where they crowd."""

import os
import time
import unittest

from qualvosec.admin import timetable
from qualvosec.manifest import window
from qualvosec.manifest.policy import Policy

from tests.test_admin_commands import EVERYTHING
from tests.test_admin_commands import NOW
from tests.test_admin_commands import Case

DAY = 86400
TUESDAY = Policy(patch=True, weekdays=(1,), hour=3, minute=15)


def has_zone(name):
    try:
        window.zone_file(name)
    except window.WindowError:
        return False
    return True


class RowsTest(unittest.TestCase):

    def rows(self, hosts, days=7, zone=timetable.nominal):
        return timetable.rows(hosts, NOW, NOW + days * DAY, zone)

    def test_rows_are_what_the_clients_compute_by_time_and_name(self):
        hosts = {"c.b": TUESDAY, "a.b": TUESDAY, "d.b": TUESDAY._replace(weekdays=(0, 6), splay=30),
                 "e.b": Policy()}
        found = self.rows(hosts, 14)
        expected = []
        for name, policy in hosts.items():
            if policy.patch:
                expected += [(opening.opens, name) for opening in
                             window.openings(policy, NOW, 9, name, timetable.nominal)
                             if opening.opens < NOW + 14 * DAY]
        self.assertEqual([(row.opens, row.name) for row in found], sorted(expected))
        self.assertGreater(len(found), 6)

    def test_an_hour_of_the_clock_stays_that_hour_without_a_zone(self):
        (row,) = self.rows({"a.b": TUESDAY})
        self.assertEqual(timetable.text([row], timetable.nominal),
                         "2026-11-24 Tue 03:15-04:15  no reboot      a.b\n")

    def test_frozen_days_and_other_weeks_are_left_out(self):
        day = window.ordinal(2026, 11, 24)
        self.assertEqual(self.rows({"a.b": TUESDAY._replace(freeze=((day, day),))}), [])
        self.assertEqual(self.rows({"a.b": TUESDAY._replace(weeks=(1,))}), [])

    def test_hosts_with_one_schedule_have_their_own_shares_of_the_splay(self):
        hosts = {"h%d.b" % number: TUESDAY._replace(splay=60) for number in range(20)}
        self.assertGreater(len({row.start for row in self.rows(hosts)}), 10)


class CrowdTest(unittest.TestCase):

    def crowds(self, starts, limit):
        table = [timetable.Slot(start, start, start, "a.b", "") for start in starts]
        return [(crowd.first, crowd.hosts) for crowd in timetable.crowds(table, limit)]

    def test_more_starts_than_the_limit_within_ten_minutes_are_a_crowd(self):
        self.assertEqual(self.crowds([600, 900, 1199, 1200], 2), [(600, 3)])
        self.assertEqual(self.crowds([600, 900, 1199, 1200], 3), [])
        self.assertEqual(self.crowds([0, 600, 1200], 1), [])

    def test_each_crowd_is_told_once_where_it_is_densest(self):
        self.assertEqual(self.crowds([0, 0, 300, 300, 300, 650] + [9000] * 4, 2),
                         [(0, 5), (9000, 4)])

    def test_splay_thins_a_crowd(self):
        for splay, crowded in ((0, 1), (600, 0)):
            hosts = {"h%d.b" % number: TUESDAY._replace(splay=splay, duration=600)
                     for number in range(60)}
            found = timetable.crowds(timetable.rows(hosts, NOW, NOW + 7 * DAY, timetable.nominal),
                                     25)
            self.assertEqual(len(found), crowded)


class CommandTest(Case):

    def next(self, *argv, manifest=EVERYTHING):
        return self.run_admin("next", "--manifest", manifest, *argv)

    def setUp(self):
        super().setUp()
        before = os.environ.get("TZ")
        os.environ["TZ"] = "UTC"
        time.tzset()
        self.addCleanup(timetable._restore, before)

    def test_one_host_and_the_days_that_were_asked_for(self):
        code, out, err = self.next("WEB01.example.org.", "--days", "2")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out, "2026-11-24 Tue 03:15-05:15  reboot if due  web01.example.org\n")

    def test_a_group_is_all_its_hosts(self):
        self.assertEqual(self.next("--group", "prod")[1], self.next("web01.example.org")[1])
        code, _, err = self.next("--group", "nobody")
        self.assertEqual(code, 1)
        self.assertIn("group nobody: no valid entry", err)

    @unittest.skipUnless(has_zone("Europe/Berlin"), "no time zone data here")
    def test_with_a_zone_utc_and_starts_are_shown_and_the_process_keeps_its_own(self):
        _, out, _ = self.next("web01.example.org", "--days", "2", "--timezone", "Europe/Berlin")
        self.assertRegex(out, "^2026-11-24 Tue 03:15-05:15  20261124T0215Z  starts 0[34]:[0-5]")
        self.assertEqual(os.environ["TZ"], "UTC")
        self.assertEqual(time.localtime(NOW).tm_hour, 12)

    def test_no_window_is_told_with_its_reason(self):
        for lines, words in ((["patch: false"], "patch is false: no window"),
                             (["patch: true", "weekday: 1", "week: 1", "hour: 3"],
                              "no window in these days: the next opens 2026-12-01 Tue 03:00"),
                             (["patch: true", "weekday: 1", "hour: 3",
                               "freeze: [2026-01-01/9999-12-31]"], "none opens at all")):
            path = self.write("p.yaml", "a.b:\n" + "".join("  %s\n" % line for line in lines))
            code, out, err = self.next(manifest=path)
            self.assertEqual((code, out), (0, ""))
            self.assertIn(words, err)

    def test_crowded_windows_are_warned_of_and_the_limit_can_be_moved(self):
        path = self.write("p.yaml", "".join(
            "h%d.b:\n  patch: true\n  weekday: 1\n  hour: 3\n" % number for number in range(30)))
        code, out, err = self.next(manifest=path)
        self.assertEqual((code, len(out.splitlines())), (0, 30))
        self.assertIn("warning: 30 hosts start within 10 minutes from 2026-11-24 Tue 03:00", err)
        self.assertEqual(self.next("--crowd", "30", manifest=path)[2], "")

    def test_an_invalid_entry_fails_and_its_faults_are_shown(self):
        path = self.write("p.yaml", "a.b:\n  patch: maybe\nc.d:\n  patch: false\n")
        code, out, err = self.next("a.b", manifest=path)
        self.assertEqual(code, 1)
        self.assertIn("%s:2:" % path, out)
        code, out, err = self.next(manifest=path)
        self.assertEqual(code, 1)
        self.assertIn("1 entry is not valid", err)

    def test_invalid_entries_are_told_with_a_group_too_since_they_may_be_in_it(self):
        entry = "%s:\n  patch: true\n  weekday: 1\n  hour: %s\n  group_membership: [g]\n"
        path = self.write("p.yaml", entry % ("a.b", 3) + entry % ("c.d", 99))
        code, out, err = self.next("--group", "g", manifest=path)
        self.assertEqual((code, len(out.splitlines())), (0, 1))
        self.assertIn("1 entry is not valid", err)

    def test_windows_that_open_when_the_manifest_has_expired_are_told(self):
        entry = "a.b:\n  patch: true\n  weekday: [1, 2, 3]\n  hour: 3\n"
        for day, words in ((23, ": 3 later windows will not"), (25, ": 1 later window will not"),
                           (26, "")):
            path = self.write("p.yaml", ".manifest:\n  expires: '2026-11-%d'\n" % day + entry)
            code, out, err = self.next(manifest=path)
            self.assertEqual((code, len(out.splitlines())), (0, 3))
            self.assertIn(words, err)
            self.assertEqual(bool(err), bool(words))

    def test_wrong_usage_is_told(self):
        for argv, words in ((["--days", "0"], "--days"), (["--crowd", "0"], "--crowd"),
                            (["a.b", "--group", "g"], "--group"),
                            (["--timezone", "No/Where"], "no such time zone")):
            code, out, err = self.next(*argv)
            self.assertEqual((code, out), (2, ""))
            self.assertIn(words, err)

    def test_a_host_that_is_not_listed_fails(self):
        code, _, err = self.next("web03.example.org")
        self.assertEqual(code, 1)
        self.assertIn("never patched: did you mean web02.example.org?", err)


if __name__ == "__main__":
    unittest.main()
