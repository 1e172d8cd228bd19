# SPDX-License-Identifier: BSD-2-Clause
"""docs/security.md names tests that exist, and every defence that can be switched off is in it."""

import os
import re
import unittest
from typing import Dict
from typing import List

from tests import ROOT
from tests import defences
from tests.e2e import cases_abuse

HEADING = re.compile(r"^### (T[0-9]+): .", re.M)
NAMED = re.compile(r"`((?:test_\w+|real_\w+)\.\w+\.test_\w+|e2e [a-z0-9-]+)`")
# Whoever can fetch the manifest can claim anything: there is nothing to switch off.
WITHOUT_DEFENCE = {"T20"}


def sections() -> Dict[str, List[str]]:
    """Return the tests that docs/security.md names, by threat."""
    pieces = HEADING.split(defences.read(os.path.join(ROOT, "docs", "security.md")))
    return {name: NAMED.findall(text) for name, text in zip(pieces[1::2], pieces[2::2])}


class Document(unittest.TestCase):
    def test_every_threat_has_a_section_with_tests_in_order(self) -> None:
        found = sections()
        self.assertEqual(list(found), ["T%d" % number for number in range(1, 35)])
        self.assertEqual([name for name, tests in found.items() if not tests], [])

    def test_every_test_that_is_named_exists(self) -> None:
        cases = set()
        folder = os.path.join(ROOT, "tests", "e2e")
        for name in os.listdir(folder):
            if name.startswith("cases_") and name.endswith(".py"):
                text = defences.read(os.path.join(folder, name))
                cases.update(re.findall(r'Case\(\s*"([a-z0-9-]+)"', text))
        self.assertIn("power-cut", cases)
        named = set(NAMED.findall(defences.read(os.path.join(ROOT, "docs", "security.md"))))
        self.assertGreater(len(named), sum(len(tests) for tests in sections().values()) // 2)
        for name in sorted(named):
            with self.subTest(name):
                if name.startswith("e2e "):
                    self.assertIn(name[4:], cases)
                    continue
                module, group, method = name.split(".")
                text = defences.read(os.path.join(ROOT, "tests", module + ".py"))
                body = re.split(r"^class %s\b" % group, text, flags=re.M)
                self.assertEqual(len(body), 2, group)
                body = re.split(r"^class ", body[1], flags=re.M)
                self.assertIn("    def %s(self" % method, body[0])

    def test_everything_that_looks_like_a_name_is_one(self) -> None:
        """A misspelt name would not be looked for."""
        text = defences.read(os.path.join(ROOT, "docs", "security.md"))
        quoted = re.findall(r"`((?:test_|real_|e2e )[^`]*)`", text)
        self.assertEqual([name for name in quoted if not NAMED.fullmatch("`%s`" % name)],
                         ["real_apt"])

    def test_every_command_that_is_named_exists(self) -> None:
        text = defences.read(os.path.join(ROOT, "docs", "security.md"))
        made = set(re.findall(r"`make ([a-z-]+)`", text))
        self.assertLessEqual({"bench-trust", "bench-health"}, made)
        targets = re.findall(r"^([a-z-]+):", defences.read(os.path.join(ROOT, "Makefile")), re.M)
        self.assertLessEqual(made, set(targets))

    def test_numbers_of_abuse_calls_are_those_of_the_trials(self) -> None:
        text = defences.read(os.path.join(ROOT, "docs", "security.md"))
        found = re.search("([0-9]+) and ([0-9]+) forbidden calls, and ([0-9]+) hostile", text)
        assert found is not None
        self.assertEqual([int(word) for word in found.groups()], [
            len(cases_abuse.sudo_calls("/x")), len(cases_abuse.doas_calls("/x")),
            len(cases_abuse.hostile_requests())])

    def test_no_line_looks_like_a_test_and_is_none(self) -> None:
        text = defences.read(os.path.join(ROOT, "docs", "security.md"))
        text = text[HEADING.search(text).start():]      # type: ignore[union-attr]
        for line in text.split("\n"):
            if line.startswith("- `"):
                self.assertRegex(line, NAMED)


class Mutations(unittest.TestCase):
    def test_every_threat_but_forged_reports_has_a_defence_to_switch_off(self) -> None:
        tried = {defence.threat for defence in defences.DEFENCES}
        self.assertEqual(set(sections()) - tried, WITHOUT_DEFENCE)

    def test_their_tests_are_those_of_the_document(self) -> None:
        found = sections()
        for defence in defences.DEFENCES:
            with self.subTest(defence.threat, what=defence.what):
                self.assertLessEqual(set(defence.tests), set(found[defence.threat]))

    def test_what_they_replace_is_there_once(self) -> None:
        for defence in defences.DEFENCES:
            with self.subTest(defence.threat, what=defence.what):
                self.assertEqual(defences.misplaced(defence, ROOT), "")


if __name__ == "__main__":
    unittest.main()
