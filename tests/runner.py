# SPDX-License-Identifier: BSD-2-Clause
"""Runs the suite in as many processes as there are processors.

The tests are imported once; the workers are forks of that process and take one
class after the other, so what a class or a module sets up is still shared by its
tests. A worker that dies loses nothing but the tests of its class that were still to
come, and is told with the test that it was in.
"""

import argparse
import collections
import os
import select
import signal
import sys
import time
import unittest
from typing import Any
from typing import Counter
from typing import Dict
from typing import Iterator
from typing import List
from typing import Tuple
from typing import Union

from tests.workers import Unit
from tests.workers import Worker
from tests.workers import describe

# Classes of some seconds, the longest first: whoever starts with them has them behind
# him while others still work. Only the order comes from here; a name that no longer
# exists fails a test.
LONGEST = (
    "tests.test_rcd.Life", "tests.test_install.Installation", "tests.test_lookup.Bounds",
    "tests.test_rules.Project", "tests.test_daemon.Commands",
    "tests.test_simulate.SimulationTest", "tests.test_manuals.Options",
    "tests.test_document.ReadingTest", "tests.test_daemon.Once", "tests.test_manuals.ExitStatus",
    "tests.test_window.OracleTest", "tests.test_yamlsubset.Hostile",
    "tests.test_editing_commands.ParallelTest", "tests.test_download.UnderHostileServers",
    "tests.test_accesslog.FuzzTest", "tests.test_edit.FuzzTest",
)

GRACE = 5.0     # seconds in which an interrupted worker may clean up
DOTS_A_LINE = 100


def every_test(tests: Union[unittest.TestSuite, unittest.TestCase]) -> Iterator[unittest.TestCase]:
    """Yield the tests of a suite, however nested."""
    if isinstance(tests, unittest.TestCase):
        yield tests
        return
    for test in tests:
        yield from every_test(test)


def could_not_be_imported(test: unittest.TestCase) -> bool:
    """Is it what the loader puts in the place of a module that it could not import?"""
    return type(test).__name__ == "_FailedTest"


def class_of(test: unittest.TestCase) -> str:
    """The name by which a unit is known: module and class, or the module that failed."""
    if could_not_be_imported(test):
        return test.id()
    return "%s.%s" % (type(test).__module__, type(test).__qualname__)


def units_of(tests: List[unittest.TestCase]) -> List[Unit]:
    """What one worker does in one go: a class, or a module that sets itself up."""
    units: Dict[str, Unit] = collections.OrderedDict()
    for test in tests:
        module = type(test).__module__
        whole = hasattr(sys.modules.get(module), "setUpModule")
        units.setdefault(module if whole else class_of(test), []).append(test)
    return sorted(units.values(), key=weight)


def weight(unit: Unit) -> Tuple[int, int]:
    """Sorts the longest first: those known to be long, then by the number of tests."""
    names = {class_of(test) for test in unit}
    ranks = [rank for rank, name in enumerate(LONGEST) if name in names]
    return min(ranks, default=len(LONGEST)), -len(unit)


class Run:
    """The process that counts: it gives work and hears how it went."""

    def __init__(self, units: List[Unit], jobs: int) -> None:
        self.units = units
        self.waiting = list(range(len(units)))
        self.workers: List[Worker] = []
        self.jobs = min(jobs, len(units))
        self.ran = 0
        self.bad: List[Tuple[str, str, str]] = []
        self.reasons: Counter[str] = collections.Counter()
        self.expected = 0
        self.seconds: List[Tuple[float, str]] = []

    def go(self) -> None:
        """Until the last worker has ended."""
        try:
            while self.workers or self.waiting:
                while self.waiting and len(self.workers) < self.jobs:
                    self.workers.append(Worker(self.units))
                    self.next(self.workers[-1])
                # The second is for a worker that died while a program of its tests,
                # which holds the same pipe, lives on.
                select.select([worker.answers for worker in self.workers], [], [], 1.0)
                for worker in list(self.workers):
                    self.hear(worker)
        finally:
            self.end_all()

    def next(self, worker: Worker) -> None:
        """Give a worker its next unit."""
        worker.give(self.waiting.pop(0) if self.waiting else None, self.units)

    def hear(self, worker: Worker) -> None:
        """Take what a worker told; bury it if it ended."""
        pid, status = os.waitpid(worker.pid, os.WNOHANG)
        documents, alive = worker.documents()
        for document in documents:
            self.take(worker, document)
        if pid == 0 and not alive:
            pid, status = os.waitpid(worker.pid, 0)
        if pid:
            self.bury(worker, status)

    def take(self, worker: Worker, document: Dict[str, Any]) -> None:
        """Count one document."""
        mark = "."
        for kind, test, text in document["found"]:
            if kind == "skipped":
                self.reasons[text] += 1
                mark = "s"
            elif kind == "expected failure":
                self.expected += 1
                mark = "x"
            else:
                self.bad.append((kind, test, text))
                mark = kind[0]
        if "start" in document:
            worker.current = document["start"]
        elif "stop" in document:
            self.ran += 1
            self.seconds.append((document["seconds"], document["stop"]))
            worker.current = ""
            worker.left.discard(document["stop"])
            self.dot(mark)
        else:
            self.show(worker)
            self.next(worker)

    def dot(self, mark: str) -> None:
        """One sign a test, as unittest has it."""
        end = "\n" if self.ran % DOTS_A_LINE == 0 else ""
        print(mark, end=end, file=sys.stderr, flush=True)

    def show(self, worker: Worker) -> None:
        """What the tests of a unit let through to the terminal, which none should."""
        text = worker.written()
        if text and worker.unit is not None:
            print("\n%s wrote:\n%s" % (class_of(self.units[worker.unit][0]), text.rstrip("\n")),
                  file=sys.stderr, flush=True)

    def bury(self, worker: Worker, status: int) -> None:
        """A worker ended: as it should, or in the middle of its work."""
        self.workers.remove(worker)
        if worker.unit is not None or status != 0:
            name = worker.current or "between the tests"
            if worker.unit is not None:
                name = worker.current or "%s, between its tests" % class_of(
                    self.units[worker.unit][0])
            missing = sorted(worker.left - {worker.current})
            text = "The process ended %s in this test.\n%s" % (describe(status), worker.written())
            if missing:
                text += "Not run because of that: %s\n" % ", ".join(missing)
            self.bad.append(("DIED", name, text))
            self.dot("D")
        worker.signal_group(signal.SIGKILL)
        worker.close()

    def end_all(self) -> None:
        """End what still runs: after Ctrl-C, or a fault of this file."""
        for worker in self.workers:
            print("\nended: %s" % (worker.current or "a worker between two tests"),
                  file=sys.stderr, flush=True)
            worker.signal_group(signal.SIGINT)
        deadline = time.monotonic() + GRACE
        for worker in self.workers:
            while os.waitpid(worker.pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > deadline:
                    worker.signal_group(signal.SIGKILL)
                    os.waitpid(worker.pid, 0)
                    break
                time.sleep(0.02)
            worker.signal_group(signal.SIGKILL)
            sys.stderr.write(worker.written())
            worker.close()
        del self.workers[:]


def processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def summary(run: Run, begin: float) -> int:
    """Print what was found; returns the exit status."""
    print(file=sys.stderr)
    for kind, test, text in sorted(run.bad):
        print("%s\n%s: %s\n%s\n%s" % ("=" * 70, kind, test, "-" * 70, text), file=sys.stderr)
    spent = os.times()
    print("%s\nRan %d tests in %.1f s (%.1f s of processor time) in %d processes\n" % (
        "-" * 70, run.ran, time.monotonic() - begin,
        spent.user + spent.system + spent.children_user + spent.children_system,
        run.jobs), file=sys.stderr)
    counts = collections.Counter(kind.lower() for kind, _, _ in run.bad)
    counts.update({"skipped": sum(run.reasons.values()), "expected failure": run.expected})
    words = ", ".join("%s=%d" % pair for pair in sorted(counts.items()) if pair[1])
    good = not run.bad and run.ran > 0
    print("%s%s" % ("OK" if good else "FAILED", " (%s)" % words if words else ""), file=sys.stderr)
    tell_reasons(run.reasons)
    return 0 if good else 1


def tell_reasons(reasons: "Counter[str]") -> None:
    """Each reason for which tests were skipped, with their number."""
    for reason, count in sorted(reasons.items()):
        print("skipped %d: %s" % (count, reason), file=sys.stderr)


def in_this_process(tests: List[unittest.TestCase]) -> int:
    """One after the other, with the terminal, for a debugger."""
    result = unittest.TextTestRunner(verbosity=1).run(unittest.TestSuite(tests))
    tell_reasons(collections.Counter(reason for _, reason in result.skipped))
    return 0 if result.wasSuccessful() and result.testsRun else 1


def interrupt(number: int, frame: object) -> None:
    """Of the signals that ask for the end."""
    raise KeyboardInterrupt


def main(arguments: List[str], directory: str, top: str) -> int:
    """Run the tests of a directory; returns 0 if none failed."""
    parser = argparse.ArgumentParser(prog="python3 -m tests", description="Run the tests.")
    parser.add_argument("-j", dest="jobs", metavar="N", type=int, default=processors(),
                        help="processes, %(default)s unless told; 1: all in this one")
    parser.add_argument("--slowest", metavar="N", type=int, default=0,
                        help="name the N slowest tests at the end")
    parser.add_argument("words", metavar="WORD", nargs="*",
                        help="only the tests that have one of these in their name")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("argument -j: at least 1")
    begin = time.monotonic()
    found = list(every_test(unittest.TestLoader().discover(directory, top_level_dir=top)))
    idle = [word for word in options.words if not any(word in test.id() for test in found)]
    # A test that is missed may be in a module that could not be imported: run on to say so.
    if not found or idle and not any(map(could_not_be_imported, found)):
        print("python3 -m tests: no test has %s in its name" % " or ".join(map(repr, idle))
              if found else "python3 -m tests: no test in %s" % directory, file=sys.stderr)
        return 1
    chosen = [test for test in found if not options.words or could_not_be_imported(test)
              or any(word in test.id() for word in options.words)]
    if options.jobs == 1:
        return in_this_process(chosen)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    run = Run(units_of(chosen), options.jobs)
    try:
        run.go()
    except KeyboardInterrupt:
        run.bad.append(("INTERRUPTED", "before all tests had run", ""))
        summary(run, begin)
        return 130
    status = summary(run, begin)
    for seconds, name in sorted(run.seconds, reverse=True)[:options.slowest]:
        print("%6.2f s  %s" % (seconds, name), file=sys.stderr)
    return status
