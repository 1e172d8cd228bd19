# SPDX-License-Identifier: BSD-2-Clause
"""What every package manager adapter offers to the transaction, and what it gets.

The transaction knows the order of the steps, the adapter knows its commands.
An adapter raises Locked when somebody else holds the package manager: the
transaction waits and calls again, so no adapter has a waiting loop. It never
signals a package manager that is committing, never leaves a hold or a lock
behind, and passes only names to a command that it has read from the system itself.
"""

import os
import time
from typing import Callable
from typing import Dict
from typing import List
from typing import Mapping
from typing import NamedTuple
from typing import Optional
from typing import Sequence
from typing import Set
from typing import Tuple

from qualvosec import command
from qualvosec import paths
from qualvosec.contract import words

KEPT = "kept"      # wanted, but the package manager cannot: the run is `partial`
PHASED = "phased"  # the vendor does not offer it to this host yet: named, nothing is wrong
POLICY = "policy"  # the request left it out: not even named in the report of a run
REFRESH_S = 1800   # for the lists alone, where no window is the limit
MAX_ROWS = 1500
MAX_TEXT = 128
LOG_TAIL_BYTES = 1 << 18
LOG_ROOM_BYTES = 1 << 20
ANSWER_BYTES = 8 << 20
PROGRAM_DIRS = ("usr/bin", "usr/sbin", "bin", "sbin", "usr/local/sbin", "usr/pkg/bin")


class ManagerError(Exception):
    """A step of the package manager failed; the text is one line."""

    outcome = words.FAILED


class Locked(ManagerError):
    """Somebody else is using the package manager."""

    outcome = words.LOCKED


class Refused(ManagerError):
    """The package manager would do more than it was asked for."""

    outcome = words.REFUSED


class Unsupported(ManagerError):
    """This system cannot do what was asked; the text says what is missing."""

    outcome = words.UNSUPPORTED


class Incomplete(ManagerError):
    """Some repositories could not be read, others could."""


class Unfetched(ManagerError):
    """Some packages could not be fetched: the next plan is without them."""


class Package(NamedTuple):
    """One update; `old` is empty for a package that comes in new."""

    name: str
    old: str
    new: str
    security: bool = False


class Selection(NamedTuple):
    """Which updates the request wants; an empty `only` means all."""

    security_only: bool = False
    only: Tuple[str, ...] = ()
    exclude: Tuple[str, ...] = ()


class Left(NamedTuple):
    """A pending update that the run will not install; `kind` is KEPT, PHASED or POLICY."""

    name: str
    why: str
    kind: str = KEPT


class Plan(NamedTuple):
    """What is pending and what a run with this selection would do.

    With `faults`, what went wrong on the way, the run is `partial` at best.
    """

    pending: Tuple[Package, ...] = ()
    install: Tuple[Package, ...] = ()
    left: Tuple[Left, ...] = ()
    security_known: bool = False
    warnings: Tuple[str, ...] = ()
    excluded: Tuple[str, ...] = ()
    selection: Selection = Selection()
    faults: Tuple[str, ...] = ()


def forecast(plan: Plan) -> Tuple[str, str]:
    """Return the outcome of a run that goes as planned, and what a person should know of it.

    A pattern of the blacklist that matches nothing is no news: it may be meant for other hosts.
    """
    left = [item for item in plan.left if item.kind != POLICY]
    kept = bool(plan.faults) or any(item.kind == KEPT for item in left)
    told = list(plan.faults) + [line for line in plan.warnings
                                if not line.startswith("packages_blacklist:")]
    if kept or (left and not plan.install):
        names = ["%s: %s" % (item.name, item.why) for item in left]
        told = names[:3] + (["%d more" % len(names[3:])] if names[3:] else []) + told
    return (words.PARTIAL if kept else words.OK if plan.install else words.NOTHING), "; ".join(told)


def failure(step: Callable[[], None]) -> str:
    """Take a step; return why it failed, "" if it did not. What is no failure is raised."""
    try:
        step()
    except ManagerError as error:
        if error.outcome != ManagerError.outcome:
            raise
        return str(error)
    return ""


def lost(planned: Sequence[Tuple[str, ...]], after: Mapping[str, str]) -> str:
    """Say which planned updates of installed packages are there neither old nor new."""
    gone = ["%s %s" % row[:2] for row in planned if row[1] and row[0] not in after]
    return "; lost, install it again: %s" % ", ".join(gone[:5]) if gone else ""


def to_json(manager: str, plan: Plan, reasons: Optional[List[str]]) -> Dict[str, object]:
    """Return the plan as it goes over the wire, lists and texts capped."""
    why = {left.name: left.why if left.kind == POLICY else "kept back: " + left.why
           for left in plan.left}
    chosen = {package.name: package for package in plan.install}
    rows = [chosen.get(package.name, package)._replace(security=package.security)
            for package in plan.pending]
    rows += [package for package in plan.install if not package.old]
    return {
        "manager": manager, "security": "known" if plan.security_known else "unknown",
        "pending": [{"name": row.name[:MAX_TEXT], "old": row.old[:MAX_TEXT],
                     "new": row.new[:MAX_TEXT], "security": row.security,
                     "selected": row.name in chosen, "why": why.get(row.name, "")[:MAX_TEXT]}
                    for row in rows[:MAX_ROWS]],
        "pending_count": len(rows), "selected_count": sum(row.name in chosen for row in rows),
        "reboot": reboot_word(reasons), "reboot_reasons": words.capped(reasons or (), 20),
        "warnings": words.capped(plan.faults + plan.warnings, 100)}


def reboot_word(reasons: Optional[List[str]]) -> str:
    """Return "due", "no" or "unknown" for what Manager.reboot_reasons() answers."""
    return "unknown" if reasons is None else "due" if reasons else "no"


class Answer(NamedTuple):
    """What a command said: `out` is its standard output, `text` all that can be known of both."""

    code: int
    out: str
    text: str
    timed_out: bool = False


class World(NamedTuple):
    """What an adapter may touch: commands, clock, file system below `root`, the log."""

    run: Callable[..., command.Result] = command.run
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    root: str = "/"
    run_dir: str = paths.RUN_DIR
    log_fd: Optional[int] = None
    tell: Callable[..., None] = lambda event, **values: None
    stopped: Callable[[], bool] = lambda: False


def _is_full(fd: int) -> bool:
    """Say whether the file system of the file has less than LOG_ROOM_BYTES free for root."""
    space = os.fstatvfs(fd)
    return space.f_blocks > 0 and space.f_bfree * space.f_frsize < LOG_ROOM_BYTES


class Manager:
    """One package manager; `until` is always an epoch second after which nothing may wait."""

    name = ""

    def __init__(self, world: World) -> None:
        self.world = world
        self.notes: List[str] = []  # what commit() saw and no failure tells
        # What the run was asked for, for recover(); what a commit let others replace.
        self.selection = Selection()
        self.replaced: Set[str] = set()

    def fits(self) -> None:
        """Raise Unsupported where this system would not keep what is installed."""

    def busy(self) -> str:
        """Say who holds the package manager, empty when nobody does."""
        raise NotImplementedError

    def unlocked(self, until: float) -> None:
        """Raise Locked when somebody holds the package manager."""
        holder = self.busy()
        if holder:
            raise Locked(holder)

    def broken(self) -> str:
        """Say what is inconsistent in the package database, empty when nothing is."""
        raise NotImplementedError

    def recover(self, until: float) -> None:
        """Finish what an interrupted run left behind, as far as that is possible.

        What it has to install for that keeps to the selection.
        """
        raise NotImplementedError

    def refresh(self, until: float) -> None:
        """Fetch the lists of all repositories; raises if any one failed, Incomplete if not all."""
        raise NotImplementedError

    def installed(self) -> Dict[str, str]:
        """Return {name: version} of every installed package.

        The version is empty where the files are there but the package is not completely installed.
        """
        raise NotImplementedError

    def prefetch(self, selection: Selection, until: float) -> None:
        """Before plan(): download ahead, where that saves a step; what fails here is tried again.

        Ended at `until`. Most managers have nothing to save.
        """

    def plan(self, selection: Selection, detail: bool = False) -> Plan:
        """Simulate with the arguments of commit(); `detail`: mark security updates, too."""
        raise NotImplementedError

    def download(self, plan: Plan, until: float) -> None:
        """Fetch what the plan installs; ended at `until`, which is harmless here.

        Raises Unfetched where a plan that is made anew will be without what cannot be got.
        """
        raise NotImplementedError

    def commit(self, plan: Plan, until: float) -> None:
        """Install the plan; raises if the package manager reports a failure."""
        raise NotImplementedError

    def leftovers(self) -> Dict[str, int]:
        """Return {path: change time} of configuration files that the administrator must merge."""
        raise NotImplementedError

    def beside(self, tops: Sequence[str], endings: Tuple[str, ...]) -> Dict[str, int]:
        """Return {path: change time} of the files below `tops` whose names end so."""
        found = {}
        for top in tops:
            for folder, _, entries in os.walk(self.path(top)):
                for entry in entries:
                    if entry.endswith(endings):
                        path = os.path.join(folder, entry)
                        stamp = os.lstat(path).st_ctime_ns
                        found["/" + os.path.relpath(path, self.world.root)] = stamp
        return found

    def reboot_reasons(self) -> Optional[List[str]]:
        """Say why a reboot is due; empty: it is not; None: this system cannot tell."""
        raise NotImplementedError

    def path(self, name: str) -> str:
        """Return where an absolute path of the system lies."""
        return os.path.join(self.world.root, name.lstrip("/"))

    def program(self, name: str) -> str:
        """Return the absolute path of a program in one of the system's fixed directories."""
        for folder in PROGRAM_DIRS:
            if os.access(self.path(os.path.join(folder, name)), os.X_OK):
                return "/" + os.path.join(folder, name)
        raise Unsupported("%s: is not installed" % name)

    def call(self, argv: Sequence[str], env: Mapping[str, str], until: float = 0,
             logged: bool = False) -> Answer:
        """Run a command; with `until` it is ended then, with `logged` it writes to the log only.

        What commits must be logged: with a pipe it would break when this process dies.
        """
        self.world.tell("run", argv=" ".join(argv))
        deadline = max(1.0, until - self.world.now()) if until else None
        log_fd = self.world.log_fd if logged else None
        start = os.fstat(log_fd).st_size if log_fd is not None else 0
        if log_fd is not None and _is_full(log_fd):
            # What cannot write its output ends in the middle of what it does.
            raise Refused("run.log: no space left for the output: make room")
        try:
            result = self.world.run(argv, env, deadline_s=deadline, limit=ANSWER_BYTES,
                                    log_fd=log_fd)
        except command.CommandError as error:
            raise ManagerError(str(error)) from error
        if result.truncated:
            # Half an answer would be read as less than there is.
            raise ManagerError("%s: answers with more than %d bytes" % (argv[0], ANSWER_BYTES))
        text = result.stdout + result.stderr
        if log_fd is not None:
            size = os.fstat(log_fd).st_size
            # Smaller than before: the watcher of the log has emptied it meanwhile.
            start = max(start if start <= size else 0, size - LOG_TAIL_BYTES)
            text = os.pread(log_fd, LOG_TAIL_BYTES, start)
        return Answer(result.returncode, result.stdout.decode("utf-8", "replace"),
                      text.decode("utf-8", "replace"), result.timed_out)
