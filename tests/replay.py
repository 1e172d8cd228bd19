# SPDX-License-Identifier: BSD-2-Clause
"""A whole run of root against what real package managers printed, call by call.

A transcript (tests/data/transcripts, README there) is one situation: every call with its
argv, environment, exit status and output. Here it answers an adapter byte for byte; a command
line or an environment that was not recorded ends the test, except those that unseen.txt names
with the line of a manual. What came out is compared with the transcript's `expect`,
which somebody else has written down, never with what the adapter says of itself.
"""

import fcntl
import json
import os
import shutil
import tempfile
from typing import Any
from typing import Callable
from typing import Dict
from typing import Iterator
from typing import List
from typing import Mapping
from typing import NamedTuple
from typing import Optional
from typing import Sequence
from typing import Set
from typing import Tuple
from unittest import mock

from qualvosec import command
from qualvosec.helper import config
from qualvosec.helper import managers
from qualvosec.helper import record
from qualvosec.helper import request
from qualvosec.helper import transaction
from qualvosec.helper.managers import base

from tests import DATA
from tests import MEMORY
from tests.fakemanager import ENVIRONMENT

FOLDER = os.path.join(DATA, "transcripts")
WINDOW = "20261124T0215Z"
NOW = 1796100000.0
BOOT_S = 300  # where a transcript is not about it: the kernel is linked so long after a boot
FOUND = ("failed", "locked", "refused", "unsupported")


class System(NamedTuple):
    """The adapter of a folder of transcripts and the programs that its system has."""

    manager: str
    programs: Tuple[str, ...]


SYSTEMS = {
    "openbsd": System("openbsd", ("usr/sbin/pkg_add", "usr/sbin/pkg_info", "usr/sbin/syspatch",
                                  "sbin/sysctl")),
    "netbsd": System("pkgin", ("usr/pkg/bin/pkgin", "usr/sbin/pkg_info", "usr/sbin/pkg_admin",
                               "bin/ps")),
    "freebsd": System("pkg", ("usr/local/sbin/pkg", "usr/sbin/freebsd-update",
                              "bin/freebsd-version", "sbin/sysctl", "bin/ps")),
    "alpine": System("apk", ("sbin/apk",)),
}
# What holds a lock while the calls of these were recorded.
HELD = {"openbsd/pkg_add-locked": "var/db/pkg", "alpine/apk-2.14/lock-held": "lib/apk/db/lock",
        "alpine/apk-3.0/lock-held": "lib/apk/db/lock"}


# Of the files in a transcript, those that are so from the start.
AT_FIRST = ("/etc/apk/world", "/etc/apk/repositories")
# How the lists of all packages are written.
LISTS: Dict[Tuple[str, ...], str] = {
    ("pkg", "query", "%n"): "%s", ("pkg", "query", "%n %v %k"): "%s %s 0",
    ("apk", "info", "-v"): "%s-%s", ("pkg_info", "-q"): "%s-%s", ("pkg_info",): "%s-%s some words"}
BASES = {"base", "base (kernel)", "base (userland)", "running"}
RELEASES = {"freebsd-version -k": "base (kernel)", "freebsd-version -u": "base (userland)"}


# The night that is meant begins behind a kill, a loss or an administrator's own calls.
STARTS = {"openbsd/syspatch-rollback": 2, "freebsd/freebsd-update-cut-short": 2,
          "freebsd/freebsd-update-manifest-corrupt": 2, "freebsd/pkg-1.21/killed": 2,
          "freebsd/freebsd-update-upgrade-kernel-done": 3, "freebsd/pkg-2.8/killed": 2,
          "freebsd/freebsd-update-upgrade-prepared": 2}
# What freebsd-update's own directory holds: at the start, where that is recorded, and at the end.
WORK = "ls -R /var/db/freebsd-update "
BEFORE = ("after the cut", "after upgrade", "after the first install")


class Unseen(NamedTuple):
    """A command line that no transcript has, the answer to it, and who documents both."""

    argv: Tuple[str, ...]
    answer: str
    source: str


class Outcome(NamedTuple):
    """What a run came to, in the words of `expect`; `pending` is None where no plan was made."""

    outcome: str
    stage: str
    pending: Optional[List[str]]
    install: List[str]
    kept: List[str]
    missing: List[str]
    told: str
    reboot: str


def names() -> List[str]:
    """Return the names of all transcripts: their paths below FOLDER without the ending."""
    found = []
    for folder, _, entries in os.walk(FOLDER):
        found += [os.path.relpath(os.path.join(folder, entry), FOLDER)[:-5]
                  for entry in entries if entry.endswith(".json")]
    return sorted(found)


def load(name: str) -> Dict[str, Any]:
    """Return a transcript."""
    with open(os.path.join(FOLDER, name + ".json"), encoding="utf-8") as file:
        value: Dict[str, Any] = json.load(file)
    return value


def said(name: str, words: str, number: int = 0) -> Tuple[int, str, str]:
    """Return (exit status, output, errors) of one recorded command line, for a test of its own."""
    calls = [call for call in load(name)["calls"] if call["argv"] == words.split()]
    return calls[number]["rc"], calls[number]["stdout"], calls[number]["stderr"]


def rows(name: str, columns: int) -> Iterator[List[str]]:
    """Yield the lines of a list beside the transcripts, parted by ` | `; `#` is a remark."""
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                cells = [cell.strip() for cell in line.split("|")]
                if len(cells) != columns or not all(cells):
                    raise ValueError("%s: not %d cells: %s" % (name, columns, line))
                yield cells


def unseen(folder: str, name: str) -> List[Unseen]:
    """Return the command lines beside those of the transcripts that a run here may give.

    A line of unseen.txt is: folder or transcript | command line | answer | source. That of
    a transcript comes before that of its folder.
    """
    found = [(place, Unseen(tuple(words.split()), answer.replace("\\n", "\n"), source))
             for place, words, answer, source in rows("unseen.txt", 4) if place in (folder, name)]
    return [row for place, row in sorted(found, key=lambda item: item[0] != name)]


def cases(expect: Mapping[str, Any]) -> List[Mapping[str, Any]]:
    """Return `expect` and its variants, each with a selection of its own."""
    return [expect] + list(expect.get("variants", ()))


class Unrecorded(Exception):
    """The run goes on where the transcript does not: its plan is all that can be compared."""


class Tape:
    """Answers command lines from one transcript, by the rules of its README.

    `changed` is called behind what changed the system. What a list of all packages says behind the
    last change follows from `installed_after`, where the list itself was not recorded then.
    """

    def __init__(self, value: Mapping[str, Any], allowed: Sequence[Unseen], start: int) -> None:
        self.value = value
        self.calls: List[Dict[str, Any]] = value["calls"]
        self.allowed = allowed
        self.changed: Callable[[], None] = lambda: None
        self.phase = start
        self.last: Optional[Dict[str, Any]] = None
        self.given: Set[int] = set()
        self.used: List[str] = []

    def run(self, argv: Sequence[str], env: Mapping[str, str], deadline_s: Optional[float] = None,
            limit: int = 0, log_fd: Optional[int] = None, stdin: bytes = b"") -> command.Result:
        """Stand in for command.run."""
        words = [os.path.basename(argv[0])] + list(argv[1:])
        if words == ["qualvosec", "--version"]:
            return command.Result(0, b"", b"", False, False)
        if {key: env[key] for key in ENVIRONMENT} != ENVIRONMENT:
            raise AssertionError("another environment: %r" % (env,))
        call = self._answer(words, {key: env[key] for key in env if key not in ENVIRONMENT})
        if call["rc"] == -9 and deadline_s is None:
            raise AssertionError("would wait without end: %s" % " ".join(words))
        if call.get("changes"):
            self.phase, self.last = call["phase"] + 1, call
            self.changed()
        out, err = call["stdout"].encode("utf-8"), call["stderr"].encode("utf-8")
        if log_fd is not None:
            os.write(log_fd, out + err)
            out = err = b""
        return command.Result(call["rc"], out, err, call["rc"] == -9, False)

    def _answer(self, words: List[str], extra: Mapping[str, str]) -> Dict[str, Any]:
        fits = [number for number, call in enumerate(self.calls)
                if call["argv"] == words and call["env"] == extra]
        running = self.value["installed_before"].get("running")
        if not fits and running and words == ["freebsd-version", "-r"]:
            return {"rc": 0, "stdout": running + "\n", "stderr": "", "phase": self.phase}
        if not fits:
            return self._documented(words, extra)
        phases = {self.calls[number]["phase"] for number in fits}
        earlier = [phase for phase in phases if phase <= self.phase]
        phase = max(earlier) if earlier else min(phases)
        if self.last and phase < self.phase:
            base_part = self.value["installed_after"].get(RELEASES.get(" ".join(words), ""))
            if base_part:
                return {"rc": 0, "stdout": base_part + "\n", "stderr": "", "phase": self.phase}
            if tuple(words) in LISTS and set(self.value["installed_before"]) - BASES:
                return self._after(words)
        fits = [number for number in fits if self.calls[number]["phase"] == phase]
        fresh = [number for number in fits if number not in self.given]
        number = fresh[0] if fresh else fits[-1]
        self.given.add(number)
        return self.calls[number]

    def _after(self, words: List[str]) -> Dict[str, Any]:
        if self.last is not [call for call in self.calls if call.get("changes")][-1]:
            raise Unrecorded("what is installed behind %s" % " ".join(self.last or {}))
        rows = sorted((name, version) for name, version in self.value["installed_after"].items()
                      if name not in BASES)
        form = LISTS[tuple(words)]
        text = "".join(form % row[:form.count("%")] + "\n" for row in rows)
        return {"rc": 0, "stdout": text, "stderr": "", "phase": self.phase}

    def _documented(self, words: List[str], extra: Mapping[str, str]) -> Dict[str, Any]:
        for row in self.allowed:
            # A * at the end stands for any words.
            given = words[:len(row.argv) - 1] + ["*"] if row.argv[-1] == "*" else words
            if list(row.argv) != given:
                continue
            self.used.append(" ".join(words))
            if row.answer == "plan":
                raise Unrecorded(" ".join(words))
            code, _, text = row.answer.partition(" ")
            if code == "with":
                return self._answer(words, dict(extra, **dict([text.split("=")])))
            if code == "like":
                return self._answer(text.split(), extra)
            return {"rc": int(code), "stdout": text, "stderr": "", "phase": 0}
        raise AssertionError("was not recorded: %s" % " ".join(words))


class Run:
    """One transaction below a directory of its own, answered by one transcript."""

    def __init__(self, name: str, expect: Mapping[str, Any]) -> None:
        self.name, self.value, self.expect = name, load(name), expect
        self.folder = name.split("/")[0]
        self.tape = Tape(self.value, unseen(self.folder, name), STARTS.get(name, 1))
        self.clock = NOW
        self.phases: List[str] = []
        self.plans: List[base.Plan] = []

    def outcome(self) -> Outcome:
        """Perform the run; raises AssertionError for a command line that nobody has seen."""
        with tempfile.TemporaryDirectory(dir=MEMORY) as root, mock.patch("os.fsync"):
            self._furnish(root)
            log = os.open(os.path.join(root, "log"), os.O_RDWR | os.O_APPEND | os.O_CREAT)
            held = self._hold(root)
            try:
                return self._perform(root, log)
            finally:
                for fd in [log] + held:
                    os.close(fd)

    def _furnish(self, root: str) -> None:
        for program in SYSTEMS[self.folder].programs:
            path = os.path.join(root, program)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8"):
                os.chmod(path, 0o755)
        os.makedirs(os.path.join(root, "run"))
        self._write(root, [name for name in self.value["files"] if name in AT_FIRST])
        # These appear with the change.
        self.tape.changed = lambda: self._later(root)
        self._work(root, BEFORE)
        if self.folder == "openbsd":
            times = self.value["files"].get("times: kern.boottime and the change of /bsd", "")
            boots = [int(call["stdout"]) for call in self.value["calls"]
                     if call["argv"][0] == "sysctl"]
            linked = int(times.split()[1]) if times else min(boots or [int(NOW)]) + BOOT_S
            with open(os.path.join(root, "bsd"), "w", encoding="utf-8"):
                os.utime(os.path.join(root, "bsd"), (linked, linked))

    def _later(self, root: str) -> None:
        self._write(root, [name for name in self.value["files"]
                           if name.startswith("/") and " " not in name])
        self._work(root, ("at the end",))

    def _work(self, root: str, when: Sequence[str]) -> None:
        """Make freebsd-update's directory as it is listed, the files empty."""
        for words in when:
            text = self.value["files"].get(WORK + words, "")
            folder = os.path.join(root, "var/db/freebsd-update")
            if text and os.path.isdir(folder):
                shutil.rmtree(folder)
            entries = [line[2:] for line in text.splitlines()]
            for entry in sorted(entries, key=len):
                name, _, target = entry.partition(" -> ")
                path = os.path.join(folder, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if target:
                    os.symlink(target, path)
                elif any(other.startswith(name + "/") for other in entries):
                    os.makedirs(path, exist_ok=True)
                else:
                    with open(path, "w", encoding="utf-8"):
                        pass

    def _write(self, root: str, names: Sequence[str]) -> None:
        for name in names:
            path = os.path.join(root, name.lstrip("/"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(self.value["files"][name])

    def _hold(self, root: str) -> List[int]:
        if self.name not in HELD:
            return []
        path = os.path.join(root, HELD[self.name])
        os.makedirs(path)
        fd = os.open(path, os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        return [fd]

    def _perform(self, root: str, log: int) -> Outcome:
        world = base.World(run=self.tape.run, now=lambda: self.clock, sleep=self._sleep, root=root,
                           run_dir=os.path.join(root, "run"), log_fd=log, tell=self._tell)
        store = record.Store(os.path.join(root, "state"))
        store.prepare()
        chosen = self.expect.get("selection", {})
        asked = request.Request("upgrade", WINDOW, int(NOW) + 4000, False,
                                chosen.get("security_only", False), tuple(chosen.get("only", ())),
                                tuple(chosen.get("exclude", ())))
        state = record.accept(store.read(), asked, int(NOW), "boot")._replace(taken=True)
        store.write(state)
        settings = config.Config()._replace(package_manager=SYSTEMS[self.folder].manager,
                                            lock_wait=0)
        work = transaction.Transaction(store, state, settings, world, os.path.join(root, "etc"),
                                       "/sbin/qualvosec")
        of_this_system = managers.of_this_system

        def watched(override: str, world: base.World) -> base.Manager:
            manager = of_this_system(override, world)
            make = manager.plan

            def plan(selection: base.Selection, detail: bool = False) -> base.Plan:
                self.plans.append(make(selection, detail))
                return self.plans[-1]

            vars(manager)["plan"] = plan
            return manager

        with mock.patch.object(managers, "of_this_system", watched):
            try:
                work.perform()
            except Unrecorded:
                return self._forecast(store.read().record)
        return self._judge(store.read().record)

    def _forecast(self, so_far: record.Record) -> Outcome:
        plan = self.plans[-1]
        outcome, reason = base.forecast(plan)
        return self._judge(so_far._replace(outcome=outcome, reason=reason, upgraded=tuple(
            package[:3] for package in plan.install)))

    def _sleep(self, seconds: float) -> None:
        self.clock += seconds

    def _tell(self, event: str, **values: str) -> None:
        if event == "phase":
            self.phases.append(values["phase"])

    def _judge(self, got: record.Record) -> Outcome:
        plans = self.plans or [base.Plan()]
        came = {row[0] for row in got.upgraded}
        # Nearly all of OpenBSD's questions are asked anew for each plan.
        early = "plan" if self.folder == "openbsd" or "simulate" in self.phases else "refresh"
        told = [got.reason] + list(got.config_files)
        if got.outcome in ("ok", "nothing"):
            told += plans[0].warnings
        planned = {package.name for plan in plans for package in plan.install}
        return Outcome(got.outcome, "commit" if planned else early,
                       sorted({package.name for plan in plans for package in plan.pending})
                       if self.plans else None,
                       sorted(came), sorted(row[0] for row in got.kept), sorted(planned - came),
                       "; ".join(told), got.reboot)


def faults(got: Outcome, expect: Mapping[str, Any]) -> List[str]:
    """Return what differs from `expect`, one line each."""
    wrong = []

    def compare(what: str, mine: Any, right: Any) -> None:
        if mine != right:
            wrong.append("%s: %s instead of %s" % (what, mine, right))

    compare("outcome", got.outcome, expect["outcome"])
    if "stage" in expect:
        compare("stage", got.stage, expect["stage"])
    if expect["pending"] is not None and (got.pending is not None or got.outcome not in FOUND):
        compare("pending", got.pending, expect["pending"])
    compare("install", got.install, expect["install"])
    if got.outcome in FOUND:
        compare("not named as kept", sorted(set(expect["kept"]) - set(got.kept + got.missing)), [])
    else:
        compare("kept", got.kept, expect["kept"])
    for part in expect["reason_names"]:
        if _plain(part) not in _plain(got.told):
            wrong.append("reason: %r does not say %r" % (got.told, part))
    if "reboot" in expect:
        compare("reboot", got.reboot, expect["reboot"])
    return wrong


def _plain(text: str) -> str:
    return text.lower().replace("-", " ")


def replay(name: str) -> List[str]:
    """Return what is wrong with a run against a transcript, in all of its variants."""
    wrong = []
    for number, expect in enumerate(cases(load(name)["expect"])):
        try:
            found = faults(Run(name, expect).outcome(), expect)
        except AssertionError as error:
            found = [str(error)]
        wrong += ["%s%s" % ("variant %d: " % number if number else "", line) for line in found]
    return wrong


def figures() -> List[str]:
    """Return one line for each folder: how many transcripts there are, how many come out right."""
    counts: Dict[str, List[int]] = {}
    lines = []
    for name in names():
        wrong = replay(name)
        count = counts.setdefault(os.path.dirname(name), [0, 0])
        count[0] += 1
        count[1] += not wrong
        lines += ["%s: %s" % (name, line) for line in wrong]
    return lines + ["%s: %d transcripts, %d right" % (folder, all_of, right)
                    for folder, (all_of, right) in sorted(counts.items())]


if __name__ == "__main__":
    print("\n".join(figures()))
