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

from qualvosec import useragent
from qualvosec.admin import facts
from qualvosec.admin import formats
from qualvosec.admin import overview
from qualvosec.admin import report
from qualvosec.admin.accesslog import Seen
from qualvosec.admin.overview import Row
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


if __name__ == "__main__":
    unittest.main()
