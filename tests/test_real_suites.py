# SPDX-License-Identifier: BSD-2-Clause
"""Each run of a real package manager tries each topic: told by the names of the tests.

The table that an administrator reads is in docs/package-managers.md.
"""

import os
import unittest
from typing import Dict
from typing import List
from typing import Type

from tests import ROOT
from tests import real_apt
from tests import real_pacman
from tests import real_rpm
from tests import realhost

# What every suite has to try, and what a test that does has in its name.
TOPICS: Dict[str, str] = {
    "all": "everything_pending_is_installed",
    "security only": "security_only",
    "whitelist": "whitelist",
    "blacklist": "blacklist",
    "kept back": "is_kept_back",
    "conflict": "conflict",
    "held by the administrator": "hold_of_the_administrator",
    "interrupted": "is_interrupted",
    "locked": "is_locked_and_consumes_nothing",
    "nothing to do": "nothing_to_do_is_nothing",
    "repository down": "repository_that_is_down",
    "hostile names": "hostile_names_install_and_remove_nothing",
}
SUITES: Dict[str, Type[realhost.RealHost]] = {
    "apt of bullseye": real_apt.RealAptBullseye, "apt of bookworm": real_apt.RealApt,
    "apt of trixie": real_apt.RealAptTrixie, "dnf": real_rpm.RealDnf, "dnf5": real_rpm.RealDnf5,
    "zypper": real_rpm.RealZypper, "pacman": real_pacman.RealPacman,
}


def lacking(names: List[str]) -> List[str]:
    """Return the topics that no test of these names tries."""
    return [topic for topic, words in TOPICS.items()
            if not any(words in name for name in names)]


class RealSuites(unittest.TestCase):
    def test_every_suite_tries_every_topic(self) -> None:
        for name, suite in SUITES.items():
            self.assertEqual(lacking(unittest.defaultTestLoader.getTestCaseNames(suite)), [], name)

    def test_a_suite_without_a_topic_is_found_out(self) -> None:
        names = [name for name in unittest.defaultTestLoader.getTestCaseNames(real_apt.RealApt)
                 if "conflict" not in name]
        self.assertEqual(lacking(names), ["conflict"])

    def test_every_suite_is_run_by_continuous_integration(self) -> None:
        with open(os.path.join(ROOT, ".ci/run"), encoding="utf-8") as file:
            steps = [line.split()[2] for line in file if line.split()[:1] == ["real"]]
        loader = unittest.TestLoader()
        run = {type(case) for step in steps for case in _cases(loader.loadTestsFromName(step))}
        self.assertLessEqual(set(SUITES.values()), run)

    def test_every_topic_and_suite_is_in_the_document(self) -> None:
        with open(os.path.join(ROOT, "docs/package-managers.md"), encoding="utf-8") as file:
            rows = [[cell.strip() for cell in line.strip("|\n").split("|")]
                    for line in file if line.startswith("|")]
        topics = [row[0] for row in rows]
        for topic in TOPICS:
            self.assertIn(topic, topics)


def _cases(suite: unittest.TestSuite) -> List[unittest.TestCase]:
    found: List[unittest.TestCase] = []
    for part in suite:
        found += _cases(part) if isinstance(part, unittest.TestSuite) else [part]
    return found
