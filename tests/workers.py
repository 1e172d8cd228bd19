# SPDX-License-Identifier: BSD-2-Clause
"""The processes in which the tests run: both ends of the pipes between them and the
process that counts, which is in runner.py.

A worker is a fork, so that nothing is imported twice. What it finds it tells at once,
one JSON document a line: one that dies loses nothing that it had found.
"""

import json
import os
import signal
import sys
import tempfile
import time
import unittest
from typing import Any
from typing import Dict
from typing import List
from typing import Optional
from typing import Set
from typing import Tuple

Unit = List[unittest.TestCase]


class Reporter(unittest.TestResult):
    """Tells each test's start and end to the process that counts."""

    def __init__(self, answers: int) -> None:
        super().__init__()
        self.answers = answers
        self.owner = os.getpid()
        self.current: Optional[unittest.TestCase] = None
        self.begin = 0.0

    def tell(self, **document: Any) -> None:
        """Send one document, and with it what was found since the last one."""
        if os.getpid() != self.owner:
            os._exit(70)        # a test's own fork, which forgot to end
        document["found"] = self.found()
        line = json.dumps(document).encode("ascii") + b"\n"
        while line:
            line = line[os.write(self.answers, line):]

    def found(self) -> List[Tuple[str, str, str]]:
        """Take failures, skipped tests and so on as (kind, test, text)."""
        lists = (("ERROR", self.errors), ("FAIL", self.failures), ("skipped", self.skipped),
                 ("expected failure", self.expectedFailures))
        rows = [(kind, str(test), text) for kind, tests in lists for test, text in tests]
        rows += [("UNEXPECTED SUCCESS", str(test), "") for test in self.unexpectedSuccesses]
        for _, tests in lists:
            del tests[:]
        del self.unexpectedSuccesses[:]
        return rows

    def startTest(self, test: unittest.TestCase) -> None:
        """Called by unittest before each test."""
        super().startTest(test)
        self.current, self.begin = test, time.monotonic()
        self.tell(start=test.id())

    def stopTest(self, test: unittest.TestCase) -> None:
        """Called by unittest after each test."""
        super().stopTest(test)
        if isinstance(sys.exc_info()[1], KeyboardInterrupt):
            return              # it did not end: see clean_up
        self.current = None
        self.tell(stop=test.id(), seconds=time.monotonic() - self.begin)


def work(units: List[Unit], orders: int, answers: int) -> None:
    """A worker's life: run the unit whose number comes in a line, until there is no more."""
    with open(orders, "r", encoding="ascii") as lines:
        for line in lines:
            # A new one each time: unittest keeps in it which class it has still to tear down.
            reporter = Reporter(answers)
            try:
                unittest.TestSuite(units[int(line)]).run(reporter)
            except KeyboardInterrupt:
                clean_up(reporter.current)
                return
            sys.stdout.flush()
            sys.stderr.flush()
            reporter.tell(done=int(line))


def clean_up(test: Optional[unittest.TestCase]) -> None:
    """What an interrupted test would have undone: its programs, its directories."""
    if test is None:
        return
    # Classes have cleanups of their own since Python 3.8.
    for undo in (test.tearDown, test.doCleanups, type(test).tearDownClass,
                 getattr(test, "doClassCleanups", bool)):
        try:
            undo()
        except Exception as error:
            print("%s: interrupted, and cleaning up failed: %r" % (test.id(), error),
                  file=sys.stderr, flush=True)


class Worker:
    """One forked process, seen by the process that counts."""

    def __init__(self, units: List[Unit]) -> None:
        self.unit: Optional[int] = None     # what it was given
        self.left: Set[str] = set()         # tests of it that did not end yet
        self.current = ""                   # the test that it is in
        self.rest = b""                     # of a line that is not whole yet
        self.shown = 0                      # bytes of its output that were printed
        self.output = tempfile.TemporaryFile()      # noqa: SIM115 - closed in close()
        sys.stdout.flush()
        sys.stderr.flush()
        taken, self.orders = os.pipe()
        self.answers, given = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self.orders)
                os.close(self.answers)
                self.become(taken, given, units)
                status = 0
            except BaseException as error:
                print("the runner itself: %r" % (error,), file=sys.stderr, flush=True)
            finally:
                os._exit(status)
        os.close(taken)
        os.close(given)
        os.set_blocking(self.answers, False)

    def become(self, orders: int, answers: int, units: List[Unit]) -> None:
        """In the new process: a group of its own, no terminal, output to be asked for."""
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        for number in (1, 2):
            os.dup2(self.output.fileno(), number)
        work(units, orders, answers)

    def give(self, number: Optional[int], units: List[Unit]) -> None:
        """Give it the next unit; None: there is no more."""
        self.unit = number
        if number is None:
            os.close(self.orders)
            self.orders = -1
            return
        self.left = {test.id() for test in units[number]}
        try:
            os.write(self.orders, b"%d\n" % number)
        except BrokenPipeError:
            pass                # it died meanwhile, which its end will tell

    def documents(self) -> Tuple[List[Dict[str, Any]], bool]:
        """What it told since; and whether it can tell more."""
        alive = True
        while True:
            try:
                data = os.read(self.answers, 1 << 16)
            except BlockingIOError:
                break
            if not data:
                alive = False
                break
            self.rest += data
        *lines, self.rest = self.rest.split(b"\n")
        return [json.loads(line.decode("ascii")) for line in lines], alive

    def written(self) -> str:
        """What its tests and their programs wrote to the terminal since, if anything."""
        data = os.pread(self.output.fileno(), 1 << 20, self.shown)
        self.shown += len(data)
        return data.decode("utf-8", "backslashreplace")

    def signal_group(self, number: int) -> None:
        """To it and to every program that its tests started and left in its group."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass                # none is left, or only another user's

    def close(self) -> None:
        """Give back what belongs to it here."""
        if self.orders >= 0:
            os.close(self.orders)
        os.close(self.answers)
        self.output.close()


def describe(status: int) -> str:
    """How a process ended, in words."""
    if os.WIFSIGNALED(status):
        return "by signal %d" % os.WTERMSIG(status)
    return "with status %d" % os.WEXITSTATUS(status)
