# SPDX-License-Identifier: BSD-2-Clause
"""The table of the presentation, and the values that an administrator reads."""

import calendar
import os
import time
import unittest

from qualvosec.admin.fleet.accesslog import Seen
from qualvosec.admin.fleet.overview import Row
from qualvosec.admin.show import table
from qualvosec.manifest import wording
from qualvosec.manifest.policy import Policy
from qualvosec.useragent import Sighting

TABLE = """\
| System                  | Last Seen  | Active | Patch Window     | Reboot | Status        |
|-------------------------|------------|--------|------------------|--------|---------------|
| giro48.example.org      | 2024-02-08 | True   | Wednesday, 03:15 | True   | ok            |
| giro49.example.org      | -          | False  | -                | False  | never seen    |
| giro50.example.org      | -          | -      | -                | -      | invalid entry |
"""
WEDNESDAY = Policy(patch=True, reboot="always", weekdays=(2,), hour=3, minute=15)


def row(name="giro48.example.org", policy=WEDNESDAY, status="ok", instant=None):
    seen = None
    if instant is not None:
        seen = Seen(instant, instant, "192.0.2.1", Sighting("1.0.0", name, None), ())
    return Row(name, True, policy, seen, status)


class TableTest(unittest.TestCase):

    def setUp(self):
        old = os.environ.get("TZ")

        def restore():
            if old is None:
                os.environ.pop("TZ", None)
            else:
                os.environ["TZ"] = old
            time.tzset()
        self.addCleanup(restore)
        os.environ["TZ"] = "UTC0"
        time.tzset()

    def test_a_small_fleet_looks_as_in_the_presentation(self):
        noon = calendar.timegm((2024, 2, 8, 12, 0, 0))
        self.assertEqual(table.table([
            row(instant=noon), row("giro49.example.org", Policy(), "never seen"),
            row("giro50.example.org", None, "invalid entry")]), TABLE)

    def test_an_empty_fleet_has_a_heading(self):
        self.assertEqual(len(table.table([]).splitlines()), 2)

    def test_columns_grow_with_what_is_in_them(self):
        text = table.table([row("a" * 60 + ".example.org", status="unhealthy: clock"), row()])
        self.assertEqual(len({len(line) for line in text.splitlines()}), 1)
        self.assertIn("a" * 60 + ".example.org", text)

    def test_on_a_narrow_terminal_names_are_cut_in_the_middle(self):
        name = "web01." + "a" * 60 + ".example.org"
        text = table.table([row(name), row()], 100)
        self.assertEqual({len(line) for line in text.splitlines()}, {100})
        self.assertRegex(text, r"\| web01\.a+\.\.\.a*\.example\.org \|")
        for width in (0, 1, 20, 89, 90, 91):
            self.assertEqual(len({len(line) for line in table.table([row(name)], width)
                                  .splitlines()}), 1)

    def test_a_terminal_of_any_usual_width_is_not_overrun(self):
        rows = [row("hypervisor-07.datacentre-frankfurt.example.org", status="ok, reboot due"),
                row("b.example.org", status="never seen")]
        for width in (72, 80, 90, 100, 120, 200):
            lines = table.table(rows, width).splitlines()
            self.assertLessEqual(max(map(len, lines)), width)
            self.assertTrue(all("never seen" in line or "due" in line for line in lines[2:]))
        self.assertIn("Wednesday, 03:15", table.table(rows, 120))
        self.assertIn("| Wed, 03:15 ", table.table(rows, 80))
        self.assertIn("hypervisor-07.datacentre-frankfurt.example.org", table.table(rows, 120))

    def test_control_characters_cannot_come_through(self):
        text = table.table([row("a\x1b[2J\nb", status="\x9b31m")])
        self.assertTrue(text.replace("\n", "").isprintable())


class ScheduleTest(unittest.TestCase):

    def test_days_weeks_and_time(self):
        for weekdays, weeks, expected in (
                ((2,), (), "Wednesday, 03:15"), ((0, 3), (), "Mon+Thu, 03:15"),
                (tuple(range(7)), (), "daily, 03:15"), ((6,), (-1,), "last Sunday, 03:15"),
                ((1,), (-1, 2), "2nd+last Tuesday, 03:15"), ((), (), "-"),
                (tuple(range(7)), (1,), "1st day, 03:15")):
            policy = WEDNESDAY._replace(weekdays=weekdays, weeks=weeks)
            self.assertEqual(wording.patch_window(policy), expected)
        self.assertEqual(wording.patch_window(None), "-")


class ShortenTest(unittest.TestCase):

    def test_the_result_has_the_width_and_both_ends(self):
        for width in range(16, 40):
            short = table.shorten("0123456789" * 4, width)
            self.assertEqual(len(short), width)
        self.assertEqual(table.shorten("0123456789" * 4, 16), "0123456...456789")


if __name__ == "__main__":
    unittest.main()
