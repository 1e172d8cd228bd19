# SPDX-License-Identifier: BSD-2-Clause
"""When a host asks the server: often enough to decide, seldom enough not to stampede."""

import unittest

from qualvosec.client.fetch import pace as pacing
from qualvosec.client.fetch.pace import Pace

NOW = 1795400000
HOUR = 3600


def due(pace: Pace, now: int = NOW, accepted: bool = True, start: "int | None" = None,
        finished: int = 0, fqdn: str = "web01.example.org") -> int:
    return pacing.due(pace, now, 6 * HOUR, fqdn, accepted, start, finished)


class Due(unittest.TestCase):
    def test_a_host_without_a_policy_asks_at_once(self) -> None:
        self.assertEqual(due(Pace(NOW), accepted=False), NOW)

    def test_a_start_with_an_accepted_policy_is_spread_over_twenty_minutes(self) -> None:
        times = {due(Pace(NOW), fqdn="h%d.example.org" % i) - NOW for i in range(2000)}
        self.assertGreater(len(times), 900)
        self.assertTrue(all(0 <= wait < 1200 for wait in times))

    def test_the_interval_has_a_tenth_of_jitter_both_ways(self) -> None:
        waits = [due(Pace(0, NOW, NOW), fqdn="h%d.example.org" % i) - NOW for i in range(2000)]
        self.assertGreaterEqual(min(waits), 5.4 * HOUR)
        self.assertLessEqual(max(waits), 6.6 * HOUR)
        self.assertLess(min(waits), 5.5 * HOUR)
        self.assertGreater(max(waits), 6.5 * HOUR)

    def test_failures_back_off_from_a_minute_to_an_hour(self) -> None:
        pace, waits = Pace(0, NOW), []
        for _ in range(12):
            pace = pacing.failed(pace, 0)
            waits.append(due(pace) - NOW)
        self.assertTrue(60 <= waits[0] < 75)
        self.assertEqual(waits, sorted(waits))
        self.assertTrue(3600 <= waits[-1] <= 4500)

    def test_an_answer_ends_the_back_off(self) -> None:
        pace = pacing.succeeded(pacing.failed(Pace(0, NOW), 100), NOW)
        self.assertEqual((pace.failures, pace.retry_after, pace.success), (0, 0, NOW))

    def test_the_servers_wish_to_wait_is_followed_within_an_hour(self) -> None:
        self.assertGreaterEqual(due(pacing.failed(Pace(0, NOW), 900)), NOW + 900)
        self.assertLessEqual(due(pacing.failed(Pace(0, NOW), 10 ** 9)), NOW + 3600)

    def test_one_fetch_falls_into_the_ten_minutes_before_each_start(self) -> None:
        start = NOW + HOUR
        for i in range(200):
            when = due(Pace(0, NOW, NOW), start=start, fqdn="h%d.example.org" % i)
            self.assertTrue(start - 600 <= when < start - 59, when)

    def test_a_fetch_made_in_those_ten_minutes_is_not_repeated(self) -> None:
        self.assertGreater(due(Pace(0, NOW - 30, NOW - 30), start=NOW + 300), NOW + HOUR)

    def test_a_start_that_is_open_already_is_decided_by_a_fetch_within_a_minute(self) -> None:
        times = {due(Pace(NOW), start=NOW - 120, fqdn="h%d.example.org" % i) for i in range(200)}
        self.assertTrue(all(NOW <= when < NOW + 60 for when in times))
        self.assertLessEqual(due(Pace(0, NOW - 9000, NOW - 9000), start=NOW - 120), NOW)

    def test_the_outcome_of_a_run_is_told_within_five_minutes(self) -> None:
        when = due(Pace(0, NOW - HOUR, NOW - HOUR), finished=NOW)
        self.assertTrue(NOW <= when < NOW + 300)

    def test_never_more_than_once_a_minute(self) -> None:
        self.assertGreaterEqual(due(Pace(0, NOW), start=NOW + 601, finished=NOW + 1), NOW + 60)

    def test_a_clock_that_was_set_back_does_not_silence_a_host(self) -> None:
        self.assertLess(due(Pace(0, NOW + 10 ** 8, NOW + 10 ** 8)), NOW + 7 * HOUR)
