# SPDX-License-Identifier: BSD-2-Clause
"""Whatever the clock, the power and the network do: never twice, never outside, never silent."""

import contextlib
import io
import os
import random
import time
import unittest
from typing import List
from unittest import mock

from qualvosec.manifest.policy import from_json
from qualvosec.manifest.policy import to_json

from tests import bench_time
from tests import seeded_bugs
from tests import simulate


class SimulationTest(unittest.TestCase):
    def test_random_histories_keep_every_promise(self) -> None:
        long = bool(os.environ.get("QUALVOSEC_LONG"))
        first = int(os.environ.get("QUALVOSEC_SEED", 0)) or random.Random(
            time.time()).randrange(1 << 40)
        for seed in range(first, first + (3000 if long else 30)):
            self.assertEqual(simulate.History(seed).run(), [],
                             "repeat with: python3 -m tests.simulate %d" % seed)

    def test_a_crash_at_every_single_point_of_a_run_breaks_nothing(self) -> None:
        for seed in (5,):
            for plan, problems in simulate.planned(seed, singles=True):
                self.assertEqual(problems, [], "seed %d, crashes %s" % (seed, plan))

    def test_every_history_has_a_policy_that_a_manifest_may_hold(self) -> None:
        # Seed 1795000004 drew a splay that its shortened window had no room for.
        for seed in list(range(200)) + [1795000004]:
            for crashes in (None, {}):
                policy = simulate.History(seed, crash_at=crashes).policy
                self.assertEqual(from_json(to_json(policy)), policy, "seed %d" % seed)

    @unittest.skipUnless(os.environ.get("QUALVOSEC_LONG"), "pairs of crashes: QUALVOSEC_LONG=1")
    def test_crashes_at_every_pair_of_points_break_nothing(self) -> None:
        for plan, problems in simulate.planned(5, singles=False):
            self.assertEqual(problems, [], "crashes %s" % plan)

    def test_planted_bugs_are_noticed(self) -> None:
        names = list(seeded_bugs.BUGS)
        self.assertGreaterEqual(len(names), 10)
        if not os.environ.get("QUALVOSEC_LONG"):
            names = list(seeded_bugs.QUICK)
        for name in names:
            self.assertGreater(seeded_bugs.caught(name, 600), 0, name)


if __name__ == "__main__":
    unittest.main()


class Faulty:
    """A history in which something goes wrong, or everything."""

    class Root:
        commits: List[int] = []

    root, downs, crashes = Root(), Root.commits, 0

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def run(self) -> List[str]:
        if self.seed == 71:
            raise ValueError("no such phase")
        return ["two reboots of window %d" % self.seed] if self.seed > 70 else []


class BenchTest(unittest.TestCase):
    def last_lines(self) -> List[str]:
        out = io.StringIO()
        with mock.patch.object(bench_time, "SEED", 70), mock.patch.object(
                bench_time, "HISTORIES", 40), mock.patch.object(
                simulate, "planned", lambda seed, singles: []), contextlib.redirect_stdout(out):
            self.code = bench_time.main(["histories"])
        return out.getvalue().splitlines()[-5:]

    def test_the_first_faults_stand_with_their_seeds_just_above_the_verdict(self) -> None:
        with mock.patch.object(simulate, "History", Faulty):
            lines = self.last_lines()
        self.assertEqual(self.code, 1)
        self.assertIn("SEED=70", lines[0])
        self.assertEqual([line.strip() for line in lines[1:4]], [
            "crashed: ValueError: no such phase; repeat: python3 -m tests.simulate 71",
            "two reboots of window 72; repeat: python3 -m tests.simulate 72",
            "two reboots of window 73; repeat: python3 -m tests.simulate 73"])
        self.assertEqual(lines[4], "verdict: FAIL: 39 faults in 40 histories")

    def test_without_a_fault_only_the_verdict_is_said(self) -> None:
        with mock.patch.object(Faulty, "run", lambda history: []), mock.patch.object(
                simulate, "History", Faulty):
            lines = self.last_lines()
        self.assertEqual((self.code, lines[-1]), (0, "verdict: pass: 0 faults in 40 histories"))
        self.assertNotIn("the first faults", "".join(lines))
