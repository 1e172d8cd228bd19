#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Run the end-to-end trials: run.py [--list] [--only NAME] [--jobs N] [--keep].

One line per trial with its seconds and PASS or FAIL; a failed one leaves its console,
journal, access log and the product's own files in a directory that is named. The last
line is "N passed, N failed"; exit code 1 if any failed, 2 if the trials cannot run at
all: not root, a missing program, no Debian mirror. Nothing is ever skipped silently: a
trial that starts from an old commit is NOT CHECKED where git does not have that commit,
and the last line counts it.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from typing import Iterator
from typing import List
from typing import Optional

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

from tests.e2e import cases_abuse  # noqa: E402
from tests.e2e import cases_durable  # noqa: E402
from tests.e2e import cases_faults  # noqa: E402
from tests.e2e import cases_hardened  # noqa: E402
from tests.e2e import cases_interrupted  # noqa: E402
from tests.e2e import cases_late  # noqa: E402
from tests.e2e import cases_runs  # noqa: E402
from tests.e2e import cases_trust  # noqa: E402
from tests.e2e import cases_upgrade  # noqa: E402
from tests.e2e import container  # noqa: E402
from tests.e2e import leftovers  # noqa: E402
from tests.e2e import system  # noqa: E402
from tests.e2e import tree  # noqa: E402
from tests.e2e import trial  # noqa: E402

PREFIX = "qve2e"
SCRATCH = "/var/tmp"
PROGRAMS = (
    ["systemd-nspawn", "nginx", "ip", "nsenter", "unshare", "setpriv"]
    + ["dpkg-deb", "apt-ftparchive", "gpg", "git", "make", "cmake"]
)
CASES: List[trial.Case] = (
    cases_runs.CASES + cases_faults.CASES + cases_interrupted.CASES + cases_abuse.CASES
    + cases_hardened.CASES + cases_late.CASES + cases_trust.CASES + cases_upgrade.CASES
    + cases_durable.CASES
)


class Runner:
    """Runs cases in threads and counts."""

    def __init__(self, base: system.System, work: str, jobs: int, keep: bool) -> None:
        self.passed = 0
        self.failed = 0
        self._base = base
        self._work = work
        self._keep = keep
        self._slots = threading.Semaphore(jobs)
        self._lock = threading.Lock()
        self._live: List[trial.Trial] = []
        self._aborted = False
        self._failures = ""

    def run(self, cases: List[trial.Case]) -> None:
        """Patient cases start at once and wait beside the others, which share the slots."""
        patient = [case for case in cases if case.patient]
        busy = [case for case in cases if not case.patient]
        threads = [threading.Thread(target=self._one, args=(case, None)) for case in patient]
        threads += [threading.Thread(target=self._one, args=(case, self._slots)) for case in busy]
        for thread in threads:
            thread.daemon = True
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.5)

    def abort(self) -> None:
        """End everything that runs."""
        self._aborted = True
        with self._lock:
            live = list(self._live)
        for one in live:
            one.close()

    def _one(self, case: trial.Case, slots: Optional[threading.Semaphore]) -> None:
        if slots is None:
            self._timed(case)
            return
        with slots:
            if not self._aborted:
                self._timed(case)

    def _timed(self, case: trial.Case) -> None:
        start = time.monotonic()
        name = "%s-%d-%s" % (PREFIX, os.getpid(), case.name)
        work = os.path.join(self._work, case.name)
        os.makedirs(work)
        one = trial.Trial(self._base, name, work, case.packaged, case.commit)
        with self._lock:
            self._live.append(one)
        error = ""
        short = ""
        try:
            one.create()
            case.body(one)
        except Exception as reason:  # a failing trial is a result, whatever it raised
            error = traceback.format_exc()
            short = " ".join(("%s: %s" % (type(reason).__name__, reason)).split())
        kept = ""
        try:
            if error:
                kept = os.path.join(self._failure_dir(), case.name)
                one.collect(kept, error)
        finally:
            one.close()
            with self._lock:
                self._live.remove(one)
                self._report(case, time.monotonic() - start, short, kept)
            if not self._keep:
                shutil.rmtree(work)

    def _failure_dir(self) -> str:
        """Made when first needed; outside the scratch directory, which the next run sweeps."""
        with self._lock:
            if not self._failures:
                self._failures = tempfile.mkdtemp(prefix="qualvosec-e2e-failed-", dir=SCRATCH)
            return self._failures

    def _report(self, case: trial.Case, seconds: float, error: str, kept: str) -> None:
        if error:
            self.failed += 1
            print("FAIL %6.1f s  %s: %s" % (seconds, case.name, error[:400]))
            print("                see %s" % kept)
        else:
            self.passed += 1
            print("PASS %6.1f s  %s: %s" % (seconds, case.name, case.summary))
        sys.stdout.flush()


def _missing() -> Iterator[str]:
    if os.geteuid() != 0:
        yield "not root: the trials boot containers; run them with sudo"
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for program in PROGRAMS:
        if not shutil.which(program, path=path):
            yield "%s is not installed" % program


def _select(names: Optional[List[str]]) -> List[trial.Case]:
    if not names:
        return CASES
    unknown = [name for name in names if name not in [case.name for case in CASES]]
    if unknown:
        raise SystemExit("run.py: no such case: %s; see --list" % ", ".join(unknown))
    return [case for case in CASES if case.name in names]


def _parse(argv: List[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py", description="end-to-end trials (root)")
    parser.add_argument("--list", action="store_true", help="name the cases and exit")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this case")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="side by side (2)")
    parser.add_argument("--keep", action="store_true", help="leave files until the next run")
    return parser.parse_args(argv)


def _terminate(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(argv: List[str]) -> int:
    """Run what argv asks for; the exit code."""
    arguments = _parse(argv)
    if arguments.list:
        for case in CASES:
            print("%-24s %s%s" % (case.name, case.summary, " (slow)" if case.patient else ""))
        return 0
    cases = _select(arguments.only)
    faults = list(_missing())
    if faults:
        for fault in faults:
            sys.stderr.write("run.py: %s\n" % fault)
        return 2
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    signal.signal(signal.SIGTERM, _terminate)
    leftovers.sweep(PREFIX, SCRATCH)
    start = time.monotonic()
    work = tempfile.mkdtemp(prefix="%s-%d-" % (PREFIX, os.getpid()), dir=SCRATCH)
    os.chmod(work, 0o755)
    runner: Optional[Runner] = None
    absent = [case for case in cases if case.commit and not system.has_commit(ROOT, case.commit)]
    cases = [case for case in cases if case not in absent]
    try:
        base = tree.ensure("host")
        made = system.build(base, work, ROOT, "%s-%d" % (PREFIX, os.getpid()))
        print("ready after %.1f s, %d cases" % (time.monotonic() - start, len(cases)))
        runner = Runner(made, work, arguments.jobs, arguments.keep)
        runner.run(cases)
    except (tree.TreeError, container.ContainerError, OSError) as error:
        sys.stderr.write("run.py: %s\n" % error)
        return 2
    except KeyboardInterrupt:
        if runner is not None:
            runner.abort()
        sys.stderr.write("run.py: interrupted\n")
        return 1
    finally:
        if not arguments.keep:
            shutil.rmtree(work, ignore_errors=True)
    print("%.0f s" % (time.monotonic() - start))
    for case in absent:
        print("NOT CHECKED     %s: %s: this clone does not have commit %s: git fetch --unshallow"
              % (case.name, case.summary, case.commit))
    print("%d passed, %d failed%s" % (runner.passed, runner.failed, ", %d NOT CHECKED" % len(
        absent) if absent else ""))
    return 1 if runner.failed or runner.passed != len(cases) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
