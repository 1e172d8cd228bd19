# SPDX-License-Identifier: BSD-2-Clause
"""Whole runs against the transcripts of real package managers, one test for each of them.

What is not right yet stands in not-right.txt, by name and with the reason; so does, as
`argued`, what is meant to differ where the transcript itself says that it could be seen otherwise.
A test fails as well when one of these has become right and is still in the list.
"""

import os
import unittest
from typing import Callable
from typing import Dict
from typing import Tuple

from tests import ROOT
from tests import replay

LISTED: Dict[str, Tuple[str, str]] = {name: (kind, why)
                                      for name, kind, why in replay.rows("not-right.txt", 3)}


class Transcripts(unittest.TestCase):
    """One test for each transcript; they are added below."""


def _test(name: str) -> Callable[[Transcripts], None]:
    def test(self: Transcripts) -> None:
        wrong = replay.replay(name)
        if name not in LISTED:
            self.assertEqual(wrong, [])
        elif not wrong:
            self.fail("%s: is right: take it out of not-right.txt" % name)

    return test


for _name in replay.names():
    setattr(Transcripts, "test_" + _name.replace("/", "_").replace(".", "_"), _test(_name))


class Lists(unittest.TestCase):
    def test_every_listed_name_is_a_transcript_and_its_kind_is_known(self) -> None:
        self.assertEqual(set(LISTED) - set(replay.names()), set())
        self.assertEqual({kind for kind, _ in LISTED.values()} - {"not yet", "argued"}, set())

    def test_only_what_the_transcript_is_not_sure_of_may_be_argued_about(self) -> None:
        for name, (kind, _) in LISTED.items():
            if kind == "argued":
                self.assertFalse(all(case["sure"] for case in replay.cases(
                    replay.load(name)["expect"])), name)

    def test_the_documentation_counts_what_nobody_has_seen(self) -> None:
        with open(os.path.join(ROOT, "docs/package-managers.md"), encoding="utf-8") as file:
            told = " ".join(file.read().split())
        self.assertIn("For %d command lines that a transcript lacks" % len(
            list(replay.rows("unseen.txt", 4))), told)

    def test_every_command_line_that_nobody_has_seen_names_its_source(self) -> None:
        places = set(replay.names()) | set(replay.SYSTEMS)
        for place, words, _, source in replay.rows("unseen.txt", 4):
            self.assertIn(place, places)
            self.assertRegex(source, r"[a-z_-]+\([1-9]\)", words)


class Replay(unittest.TestCase):
    """The replay itself can fail."""

    def run_of(self, name: str = "openbsd/pkg_add-one-update") -> replay.Run:
        return replay.Run(name, replay.load(name)["expect"])

    def test_a_command_line_that_was_not_recorded_ends_the_run(self) -> None:
        run = self.run_of()
        run.tape.calls = [call for call in run.tape.calls if call["argv"][0] != "pkg_info"]
        with self.assertRaisesRegex(AssertionError, "was not recorded: pkg_info -q"):
            run.outcome()

    def test_another_environment_ends_the_run(self) -> None:
        run = self.run_of()
        for call in run.tape.calls:
            call["env"] = {"PKG_PATH": "x"}
        with self.assertRaisesRegex(AssertionError, "was not recorded"):
            run.outcome()

    def test_a_call_that_would_wait_for_ever_ends_the_run(self) -> None:
        run = self.run_of()
        for call in run.tape.calls:
            call["rc"] = -9 if call.get("changes") else call["rc"]
        with self.assertRaisesRegex(AssertionError, "would wait without end"):
            run.outcome()

    def test_answers_come_phase_by_phase(self) -> None:
        run = self.run_of()
        seen = [run.tape.run(["/usr/sbin/pkg_info", "-q"], replay.ENVIRONMENT).stdout]
        run.tape.run(["/usr/sbin/pkg_add", "-u", "-I", "-x"], replay.ENVIRONMENT)
        seen.append(run.tape.run(["/usr/sbin/pkg_info", "-q"], replay.ENVIRONMENT).stdout)
        self.assertEqual([b"vim-9.1.139" in text for text in seen], [True, False])

    def test_each_difference_is_told(self) -> None:
        right = self.run_of().expect
        got = self.run_of().outcome()
        self.assertEqual(replay.faults(got, right), [])
        for wrong, words in ((got._replace(outcome="nothing"), "outcome"),
                             (got._replace(pending=[]), "pending"),
                             (got._replace(pending=None), "pending"),
                             (got._replace(install=[]), "install"),
                             (got._replace(kept=["vim"]), "kept")):
            self.assertIn(words, replay.faults(wrong, right)[0])
        failed = dict(right, outcome="failed", stage="plan", reason_names=["disk"], kept=["bash"],
                      reboot="due")
        self.assertEqual([line.split(":")[0] for line in replay.faults(got, failed)],
                         ["outcome", "stage", "kept", "reason", "reboot"])
