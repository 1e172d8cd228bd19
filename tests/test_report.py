# SPDX-License-Identifier: BSD-2-Clause
"""The page: whole, small, and nothing in it that a host put there."""

import base64
import hashlib
import html.parser
import re
import unittest

from qualvosec.admin.fleet import facts
from qualvosec.admin.fleet.accesslog import Seen
from qualvosec.admin.fleet.overview import Row
from qualvosec.admin.show import formats
from qualvosec.admin.show import report
from qualvosec.manifest.policy import Policy
from qualvosec.useragent import Sighting
from qualvosec.useragent import Token

NOW = 1795435200        # 2026-11-23 12:00 UTC, a Monday
WEEKLY = Policy(patch=True, weekdays=(1,), hour=2, minute=15, groups=("prod",))
HOSTILE = ("<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "=cmd|' /C calc'!A0",
           "a\x1b[2J\x9b\u202e\r\n", "</td></table><iframe src=//evil.example>", "{{7*7}}",
           "+1", "-1", "@x", "\tx", "&lt;b&gt;", "'; drop", "x" * 5000)


def row(name="web01.example.org", status="ok", policy=WEEKLY, token=None, source="192.0.2.1"):
    token = token or Token("20261117T0215Z", "ok", 3, 0, 0, "verified", "20261117T0215Z")
    seen = Seen(NOW - 60, NOW - 600000, source, Sighting("1.0.0", name, token), ())
    return Row(name, True, policy, seen, status)


def page(rows, notes=()):
    return report.page(rows, notes, facts.Weeks(NOW, lambda instant: 0))


class Parsed(html.parser.HTMLParser):
    """Elements, attributes and the rows of the table."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.rows = [], [], []
        self._in_body = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.extend((tag, key, value) for key, value in attributes)
        self._in_body = self._in_body or tag == "tbody"
        if self._in_body and tag == "tr":
            self.rows.append([])
        elif self._in_body and tag == "td":
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._in_body = self._in_body and tag != "tbody"

    def handle_data(self, data):
        if self._in_body and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


class PageTest(unittest.TestCase):

    def test_every_host_is_a_row_with_the_worst_first(self):
        found = Parsed(page([row("a.b"), row("c.d", "failed"), row("e.f", "partial")])).rows
        self.assertEqual([cells[:2] for cells in found],
                         [["c.d", "failed"], ["e.f", "partial"], ["a.b", "ok"]])
        self.assertEqual({len(cells) for cells in found}, {15})
        self.assertEqual(found[0][3], "192.0.2.1")

    def test_hostile_texts_make_no_elements_attributes_or_rows(self):
        clean = Parsed(page([row("x%d.example.org" % number) for number in range(len(HOSTILE))],
                            ["note"]))
        rows = [row(text, status="ok", policy=WEEKLY._replace(groups=(text,)), source=text)
                for text in HOSTILE]
        found = page(rows, [HOSTILE[0] + HOSTILE[1]])
        parsed = Parsed(found)
        self.assertEqual(sorted(parsed.tags), sorted(clean.tags))
        self.assertEqual(parsed.attributes, clean.attributes)
        self.assertTrue(found.replace("\n", "").isprintable())
        bad = page([row("a.b", status=text) for text in HOSTILE])
        self.assertNotIn("<img", bad)
        self.assertEqual(bad.count("<script"), 1)

    def test_the_policy_allows_its_own_style_and_script_and_nothing_else(self):
        text = page([row()])
        policy, = [value for tag, key, value in Parsed(text).attributes
                   if key == "content" and "default-src" in value]
        self.assertIn("default-src 'none'", policy)
        for tag in ("style", "script"):
            inner = re.search("<%s>(.*?)</%s>" % (tag, tag), text, re.DOTALL).group(1)
            digest = hashlib.sha256(inner.encode("utf-8")).digest()
            self.assertIn("'sha256-%s'" % base64.b64encode(digest).decode("ascii"), policy)
        self.assertNotIn("style", {key for _, key, _ in Parsed(text).attributes})
        self.assertNotRegex(text, r"https?:|//[a-z]|url\(|@import")

    def test_the_page_is_small(self):
        rows = [row("host%06d.datacentre.example.org" % number, "ok") for number in range(3000)]
        self.assertLess(len(page(rows).encode("utf-8")), 100000 + 300 * 3000)
        self.assertLess(len(page([]).encode("utf-8")), 100000)

    def test_windows_stand_in_the_map_at_their_day_and_hour(self):
        self.assertIn("<title>Tue 24 Nov 02:00: 2</title>", page([row("a.b"), row("c.d")]))
        east = row(token=Token("20261117T0015Z", "ok", success="20261117T0015Z"))
        self.assertIn("<title>Tue 24 Nov 00:00: 1</title>", page([east]))
        self.assertNotIn(": 1</title></rect></svg></div>", page([row(policy=None)]))

    def test_doubts_and_an_empty_fleet_are_said(self):
        self.assertIn("<p class=note>the logs end", page([], ["the logs end 8 days ago"]))
        self.assertIn("No hosts", page([]))
        self.assertIn("Nothing needs a person", page([row()]))

    def test_a_fleet_of_which_nobody_can_tell_is_not_said_to_need_nobody(self):
        text = page([row(), row("b.example.org", status="unknown")])
        self.assertNotIn("Nothing needs", text)
        self.assertIn("<h2>Unknown: 1 host; nothing else needs a person</h2>", text)


class FormatsTest(unittest.TestCase):

    def test_a_spreadsheet_sees_no_formula_and_a_terminal_no_control_characters(self):
        weeks = facts.Weeks(NOW, lambda instant: 0)
        values = [facts.of(row(text, source=text, status=text), weeks) for text in HOSTILE]
        text = "".join(formats.as_csv(values))
        self.assertTrue(re.sub("[\r\n]", "", text).isprintable())
        for line in text.split("\r\n"):
            self.assertNotRegex(line, r'(^|,)"?[=+@\t-][^,]')
        lines = list(formats.wide(values))
        self.assertTrue("".join(lines).replace("\n", "").isprintable())
        self.assertEqual([line.count("\n") for line in lines], [1] * (len(values) + 2))

    def test_levels_sort_statuses_by_what_they_ask_of_a_person(self):
        for status, expected in (
                ("ok", "good"), ("nothing", "good"), ("no run yet", "good"), ("partial", "warn"),
                ("ok, reboot due", "warn"), ("ok, reboot failed", "bad"), ("failed", "bad"),
                ("partial, reboot deferred", "warn"), ("failed, reboot due", "bad"),
                ("orphaned", "bad"), ("never seen", "bad"), ("overdue", "bad"),
                ("conflict", "bad"), ("invalid entry", "bad"), ("unhealthy: veto", "bad"),
                ("unknown", "warn"), ("unlisted", "warn"), ("missed", "bad")):
            self.assertEqual(facts.level(status), expected, status)


if __name__ == "__main__":
    unittest.main()
