#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Count how often time is got wrong: windows against the wall clock, histories against promises.

Random policies in twelve zones are compared with a table of every minute of the
year; random histories of a whole host are judged by the promises of the program;
bugs planted in the decision must all be noticed. SCALE=small takes under
50 seconds. The last line is the verdict; exit 1 when a bar is missed: then the first
three faults stand just above it, whatever was printed since. SEED=n repeats a run.
"""

import os
import sys
import time
from typing import Dict
from typing import List

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "lib")]

from tests import oracle_time  # noqa: E402
from tests import seeded_bugs  # noqa: E402
from tests import simulate  # noqa: E402

SMALL = os.environ.get("SCALE") == "small"
SEED = int(os.environ.get("SEED", 0)) or int(time.time())
POLICIES, YEARS_EACH = (600, 1) if SMALL else (20000, 4)
HISTORIES = 700 if SMALL else 20000
SEARCH = 600            # histories in which a planted bug must show
KINDS = (
    ("double runs", ("had 2 runs", "had 3 runs", "second run", "overlap", "final outcome",
                     "two runs on one day")),
    ("double reboots", ("two reboots",)),
    ("starts outside", ("outside", "veto", "frozen", "without a policy", "not plausible",
                        "limit in the past", "from before the schedule", "state was lost",
                        "known to be alive")),
    ("lost outcomes", ("was lost", "was not used")),
    ("false verified", ("did not happen",)),
)


class Faults:
    """Prints each fault as it is found, and the first ones again at the end."""

    AGAIN = 3

    def __init__(self) -> None:
        self.first: List[str] = []

    def tell(self, line: str) -> None:
        """Print a fault."""
        if len(self.first) < self.AGAIN:
            self.first.append(line)
        sys.stdout.write("    %s\n" % line)
        sys.stdout.flush()

    def repeat(self) -> None:
        """Print the first faults and how to find them again; nothing if there are none."""
        if self.first:
            sys.stdout.write("the first faults (all: %sSEED=%d python3 tests/bench_time.py):\n" % (
                "SCALE=small " if SMALL else "", SEED))
        for line in self.first:
            sys.stdout.write("    %s\n" % line)


def windows(faults: Faults) -> int:
    """Compare policies with the table of each zone; returns the number of disagreements."""
    each = -(-POLICIES // len(oracle_time.ZONES))
    total = 0
    for place, zone in enumerate(oracle_time.ZONES):
        years = tuple(oracle_time.YEARS[(SEED + 7 * place + 5 * number) % len(oracle_time.YEARS)]
                      for number in range(YEARS_EACH))
        if zone == "Apia":
            years = (2011,) + years[1:]
        found = oracle_time.compare(SEED, zone, years, each)
        total += len(found)
        sys.stdout.write("  %-12s %5d policies, years %s: %d disagreements\n" % (
            zone, each, " ".join(str(year) for year in years), len(found)))
        sys.stdout.flush()
        for line in found[:3]:
            faults.tell(line)
    return total


def kind_of(fault: str) -> str:
    """Return the promise that a fault of a history breaks."""
    for name, words in KINDS:
        if any(word in fault for word in words):
            return name
    return "other faults"


def histories(faults: Faults) -> Dict[str, int]:
    """Play histories; returns how often each promise was broken."""
    counts = {name: 0 for name, _ in KINDS}
    counts["other faults"] = 0
    runs = reboots = crashes = 0
    for number in range(HISTORIES):
        history = simulate.History(SEED + number)
        try:
            found = history.run()
        except Exception as error:  # a crash is a fault, too, and must not lose its seed
            found = ["crashed: %s: %s" % (type(error).__name__, error)]
        for fault in found:
            counts[kind_of(fault)] += 1
            faults.tell("%s; repeat: python3 -m tests.simulate %d" % (fault, SEED + number))
        runs += len(history.root.commits)
        reboots += len(history.downs)
        crashes += history.crashes
    sys.stdout.write("  %d runs, %d reboots, %d crashes and power cuts\n" % (
        runs, reboots, crashes))
    return counts


def pairs(faults: Faults) -> int:
    """Crash a few histories at every pair of points; returns the number of broken ones."""
    broken = total = 0
    for seed in range(SEED, SEED + (0 if SMALL else 6)) or [SEED]:
        played = simulate.planned(seed, singles=SMALL)
        total += len(played)
        for plan, problems in played:
            broken += bool(problems)
            for problem in problems:
                faults.tell("%s; seed %d, crashes %s" % (problem, seed, plan))
    sys.stdout.write("  %d crashes at every %s of points: %d histories broken\n" % (
        total, "single one" if SMALL else "pair", broken))
    return broken


def bugs(faults: Faults) -> List[str]:
    """Plant each bug; returns those that nothing noticed."""
    silent = []
    for name in seeded_bugs.BUGS:
        after = seeded_bugs.caught(name, SEARCH)
        sys.stdout.write("  %-48s %s\n" % (name, "after %d histories" % after if after
                                           else "NOT NOTICED"))
        sys.stdout.flush()
        if not after:
            faults.tell("%s: not noticed in %d histories" % (name, SEARCH))
            silent.append(name)
    return silent


def main(parts: List[str]) -> int:
    """Print the figures of these parts (windows, histories, bugs; all without any), the verdict."""
    parts = parts or ["windows", "histories", "bugs"]
    sys.stdout.write("seed %d\n" % SEED)
    verdict, good, faults = [], True, Faults()
    if "windows" in parts:
        sys.stdout.write("windows against the clock on the wall:\n")
        wrong = windows(faults)
        good = good and not wrong
        verdict.append("%d disagreements in %d policies" % (wrong, POLICIES))
    if "histories" in parts:
        sys.stdout.write("%d histories:\n" % HISTORIES)
        counts = histories(faults)
        counts["other faults"] += pairs(faults)
        for name, count in sorted(counts.items()):
            sys.stdout.write("%s: %d\n" % (name, count))
        good = good and not any(counts.values())
        verdict.append("%d faults in %d histories" % (sum(counts.values()), HISTORIES))
    if "bugs" in parts:
        sys.stdout.write("planted bugs:\n")
        silent = bugs(faults)
        good = good and not silent
        total = len(seeded_bugs.BUGS)
        verdict.append("%d of %d planted bugs noticed" % (total - len(silent), total))
    faults.repeat()
    sys.stdout.write("verdict: %s: %s\n" % ("pass" if good else "FAIL", ", ".join(verdict)))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
