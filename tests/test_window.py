# SPDX-License-Identifier: BSD-2-Clause
"""Windows open when the clock on the wall says so, whatever the zone does to the clock."""

import datetime
import os
import random
import shutil
import tempfile
import time
import unittest
from typing import List
from typing import Optional
from unittest import mock

from qualvosec.manifest import window
from qualvosec.manifest.policy import Policy
from qualvosec.manifest.window import WindowError

from tests import DATA
from tests import oracle_time

HOST = "web01.example.org"
MONDAY, TUESDAY, WEDNESDAY, FRIDAY, SATURDAY, SUNDAY = 0, 1, 2, 4, 5, 6


def utc(year: int, month: int, number: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime.datetime(year, month, number, hour, minute,
                                 tzinfo=datetime.timezone.utc).timestamp())


def day(*fields: int) -> int:
    return datetime.date(*fields).toordinal()


def plan(policy: Policy, after: int, count: int, zone: str) -> List[str]:
    with oracle_time.Zone(zone):
        return [opening.id for opening in window.openings(policy, after, count, HOST)]


def east(hours: int) -> window.Zone:
    return lambda instant: hours * 3600


class CalendarTest(unittest.TestCase):
    def test_every_day_of_eight_hundred_years_and_both_ends_of_the_calendar(self) -> None:
        days = list(range(day(1600, 1, 1), day(2400, 1, 1), 7)) + [1, 59, 60, 365, 366, 3652059]
        days += [day(2000, 2, 29), day(2100, 2, 28), day(2100, 3, 1), day(2028, 2, 29)]
        for number in days:
            date = datetime.date.fromordinal(number)
            self.assertEqual(window.civil(number), (date.year, date.month, date.day))
            self.assertEqual(window.ordinal(date.year, date.month, date.day), number)

    def test_a_name_and_its_instant_belong_together(self) -> None:
        self.assertEqual(window.window_id(utc(2026, 11, 24, 2, 15)), "20261124T0215Z")
        self.assertEqual(window.opens_of("20261124T0215Z"), utc(2026, 11, 24, 2, 15))
        self.assertEqual(window.opens_of("19691231T2359Z"), -60)

    def test_what_is_no_name_of_a_window_is_refused(self) -> None:
        for name in ("", "20261124", "20261124T0215", "20261324T0215Z", "20260230T0215Z",
                     "20261124T2415Z", "20261124T0260Z", "20261124 0215Z", "2026112aT0215Z",
                     "00001124T0215Z", "20261124T0215Z ", "２０２６1124T0215Z", "-0261124T0215Z"):
            with self.assertRaises(WindowError, msg=name):
                window.opens_of(name)


class OpeningsTest(unittest.TestCase):
    def test_window_that_crosses_midnight_month_and_year_is_one_window(self) -> None:
        policy = Policy(patch=True, weekdays=(TUESDAY, WEDNESDAY, 3), hour=23, minute=30,
                        duration=120)
        after = utc(2026, 12, 30, 23, 30)
        found = window.openings(policy, after, 2, HOST, east(0))
        self.assertEqual([opening.id for opening in found], ["20261231T2330Z", "20270105T2330Z"])
        self.assertEqual(found[0].closes, utc(2027, 1, 1, 1, 30))
        self.assertEqual(found[0].date, day(2026, 12, 31))

    def test_openings_are_later_than_the_instant_and_latest_is_not(self) -> None:
        policy = Policy(patch=True, weekdays=(TUESDAY,), hour=2, minute=15)
        opens = utc(2026, 11, 24, 2, 15)
        self.assertEqual(window.openings(policy, opens, 1, HOST, east(0))[0].opens,
                         opens + 7 * 86400)
        self.assertEqual(window.openings(policy, opens - 1, 1, HOST, east(0))[0].opens, opens)
        for now, expected in ((opens - 1, opens - 7 * 86400), (opens, opens), (opens + 1, opens)):
            found = window.latest(policy, now, HOST, east(0))
            assert found is not None
            self.assertEqual(found.opens, expected)

    def test_leap_day_has_its_window(self) -> None:
        policy = Policy(patch=True, weekdays=(TUESDAY,), weeks=(5,), hour=12)
        self.assertEqual(window.openings(policy, utc(2028, 2, 1), 1, HOST, east(0))[0].id,
                         "20280229T1200Z")

    def test_week_counts_weekdays_of_the_nominal_local_month(self) -> None:
        # In Chatham (+13:45 in summer) the first Tuesday of December opens in UTC's Monday.
        first = Policy(patch=True, weekdays=(TUESDAY,), weeks=(1,), hour=2, minute=15)
        self.assertEqual(plan(first, utc(2026, 11, 20), 2, "Chatham"),
                         ["20261130T1230Z", "20270104T1230Z"])
        last = first._replace(weeks=(-1,))
        self.assertEqual(plan(last, utc(2026, 11, 1), 2, "Chatham"),
                         ["20261123T1230Z", "20261228T1230Z"])
        both = first._replace(weeks=(-1, 4))
        self.assertEqual(len(plan(both, utc(2026, 11, 1), 1, "Chatham")), 1)

    def test_a_fifth_weekday_is_found_months_away(self) -> None:
        policy = Policy(patch=True, weekdays=(FRIDAY,), weeks=(5,))
        self.assertEqual(window.openings(policy, utc(2026, 10, 31), 1, HOST, east(0))[0].date,
                         day(2027, 1, 29))
        newest = window.latest(policy, utc(2027, 1, 28), HOST, east(0))
        assert newest is not None
        self.assertEqual(newest.date, day(2026, 10, 30))

    def test_freeze_is_judged_by_the_local_day_on_which_the_window_opens(self) -> None:
        policy = Policy(patch=True, weekdays=(0, 1, 2, 3, 4, 5, 6), hour=0, minute=30,
                        freeze=((day(2026, 12, 20), day(2027, 1, 5)),))
        found = window.openings(policy, utc(2026, 12, 19), 2, HOST, east(2))
        self.assertEqual([opening.date for opening in found],
                         [day(2027, 1, 6), day(2027, 1, 7)])
        self.assertTrue(window.frozen(policy, utc(2026, 12, 19, 22), east(2)))
        self.assertFalse(window.frozen(policy, utc(2026, 12, 19, 21, 59), east(2)))
        self.assertTrue(window.frozen(policy, utc(2027, 1, 5, 21, 59), east(2)))
        self.assertFalse(window.frozen(policy, utc(2027, 1, 5, 22), east(2)))

    def test_a_policy_without_any_window_answers_at_once(self) -> None:
        for policy in (Policy(), Policy(patch=True, weekdays=(MONDAY,), freeze=((1, 3652059),))):
            self.assertEqual(window.openings(policy, utc(2026, 11, 24), 3, HOST, east(0)), [])
            self.assertIsNone(window.latest(policy, utc(2026, 11, 24), HOST, east(0)))


class SplayTest(unittest.TestCase):
    def starts(self, splay: int, names: List[str]) -> List[int]:
        policy = Policy(patch=True, weekdays=(TUESDAY,), hour=2, splay=splay)
        return [opening.start - opening.opens for name in names for opening in
                window.openings(policy, utc(2026, 11, 20), 1, name, east(0))]

    def test_a_host_starts_at_the_same_second_whenever_it_is_asked(self) -> None:
        names = [HOST, "WEB01.example.org.", HOST]
        self.assertEqual(len(set(self.starts(60, names))), 1)
        self.assertEqual(self.starts(0, names), [0, 0, 0])

    def test_hosts_are_spread_over_the_whole_splay_and_never_beyond(self) -> None:
        shares = self.starts(30, ["web%d.example.org" % number for number in range(600)])
        self.assertTrue(all(0 <= share < 1800 for share in shares))
        minutes = [share // 60 for share in shares]
        counts = [minutes.count(minute) for minute in range(30)]
        self.assertGreater(min(counts), 5)
        self.assertLess(max(counts), 45)

    def test_the_share_of_a_host_changes_from_window_to_window(self) -> None:
        policy = Policy(patch=True, weekdays=(TUESDAY,), splay=60)
        found = window.openings(policy, utc(2026, 11, 20), 10, HOST, east(0))
        self.assertGreater(len({opening.start - opening.opens for opening in found}), 5)


class ZoneTest(unittest.TestCase):
    def test_a_time_that_the_clocks_skip_opens_after_the_gap(self) -> None:
        # Berlin: 2027-03-28 02:00 becomes 03:00 at 01:00 UTC.
        policy = Policy(patch=True, weekdays=(SUNDAY,), hour=2, minute=30)
        self.assertEqual(plan(policy, utc(2027, 3, 27), 2, "Berlin"),
                         ["20270328T0100Z", "20270404T0030Z"])

    def test_a_time_that_occurs_twice_opens_once_and_the_first_time(self) -> None:
        policy = Policy(patch=True, weekdays=(SUNDAY,), hour=2, minute=30)
        self.assertEqual(plan(policy, utc(2026, 10, 24), 2, "Berlin"),
                         ["20261025T0030Z", "20261101T0130Z"])

    def test_half_an_hour_of_lord_howe(self) -> None:
        policy = Policy(patch=True, weekdays=(SUNDAY,), hour=2, minute=15)
        self.assertEqual(plan(policy, utc(2026, 10, 3), 1, "Lord_Howe"), ["20261003T1530Z"])

    def test_the_day_that_apia_skipped_opens_with_the_next_and_only_once(self) -> None:
        policy = Policy(patch=True, weekdays=(FRIDAY, SATURDAY), hour=0)
        with oracle_time.Zone("Apia"):
            found = window.openings(policy, utc(2011, 12, 29), 3, HOST)
            newest = window.latest(policy, utc(2011, 12, 31), HOST)
        self.assertEqual([opening.id for opening in found],
                         ["20111230T1000Z", "20120105T1000Z", "20120106T1000Z"])
        self.assertEqual(found[0].date, day(2011, 12, 30))
        self.assertEqual(newest, found[0])

    def test_a_midnight_that_does_not_exist(self) -> None:
        # Cairo's summer begins at 00:00, which becomes 01:00.
        policy = Policy(patch=True, weekdays=(FRIDAY,), hour=0)
        self.assertEqual(plan(policy, utc(2026, 4, 23), 1, "Cairo"), ["20260423T2200Z"])

    def test_an_unknown_zone_is_refused_and_changes_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            text = os.path.join(folder, "text")
            with open(text, "w", encoding="ascii") as file:
                file.write("Europe/Berlin\n")
            fifo = os.path.join(folder, "fifo")
            os.mkfifo(fifo)
            before: Optional[str] = os.environ.get("TZ")
            for name in ("", "Europe/Nowhere", "../../etc/passwd", "CET-1CEST", text, fifo, folder,
                         "Europe/\nBerlin", "x" * 300, ":Europe/Berlin"):
                with self.assertRaises(WindowError, msg=name):
                    window.set_zone(name)
            self.assertEqual(os.environ.get("TZ"), before)

    def test_a_zone_may_be_a_link_as_in_many_systems(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            link = os.path.join(folder, "localtime")
            os.symlink(os.path.join(DATA, "zones", "Berlin"), link)
            self.assertTrue(window.zone_file(link).endswith("/zones/Berlin"))

    def test_new_rules_of_a_zone_are_read_and_a_file_that_is_gone_keeps_the_old(self) -> None:
        def zone(name: str) -> int:
            shutil.copy(os.path.join(DATA, "zones", name), path + ".new")
            os.rename(path + ".new", path)
            window.reread_zone()
            return window.host_zone(utc(2026, 12, 1)) // 60

        with tempfile.TemporaryDirectory() as folder, oracle_time.Zone("Chatham"):
            path = os.path.join(folder, "zone")
            shutil.copy(os.path.join(DATA, "zones", "Berlin"), path)
            window.set_zone(path)
            self.assertEqual((zone("Berlin"), zone("Chatham"), zone("St_Johns")), (60, 825, -210))
            os.unlink(path)
            window.reread_zone()
            self.assertEqual(window.host_zone(utc(2026, 12, 1)) // 60, -210)
            self.assertEqual(os.environ["TZ"], ":" + path)

    def test_the_zone_of_the_host_is_what_set_zone_says(self) -> None:
        with oracle_time.Zone("Chatham"):
            self.assertEqual(window.host_zone(utc(2026, 12, 1)), 13 * 3600 + 45 * 60)


class OracleTest(unittest.TestCase):
    def test_random_policies_agree_with_the_clock_on_the_wall(self) -> None:
        self.assertEqual(len(oracle_time.ZONES), 12)
        seed = int(time.time()) if "QUALVOSEC_SEED" not in os.environ \
            else int(os.environ["QUALVOSEC_SEED"])
        rng = random.Random(seed)
        for zone in rng.sample(oracle_time.ZONES, 1):
            found = oracle_time.compare(seed, zone, (rng.choice(oracle_time.YEARS),), 20)
            self.assertEqual(found, [], "repeat with QUALVOSEC_SEED=%d" % seed)

    def test_the_oracle_notices_what_window_gets_wrong(self) -> None:
        with mock.patch.object(window, "instant_of", lambda local, zone: local - zone(local)):
            found = oracle_time.compare(1, "Santiago", (2026,), 20)
        self.assertGreater(len(found), 0)


if __name__ == "__main__":
    unittest.main()
