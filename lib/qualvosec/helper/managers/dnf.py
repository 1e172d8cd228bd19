# SPDX-License-Identifier: BSD-2-Clause
"""dnf and dnf5: Fedora, Red Hat Enterprise Linux and what descends from them.

Packages are left out by `--exclude=NAME` options that live as long as one command; the
run is always `upgrade` without names, so it installs nothing that was not a dependency and
never downgrades. `best=False` keeps one conflict from stopping everything. What would
replace an installed package by another one is left out, too. The oldest kernel may leave for
a new one (installonly_limit), with the modules that akmods has built for it; what else would go
with it keeps it. A repository that is down is disabled for one run. After the download
nothing touches the network (-C). Facts: dnf(8), dnf5(8), dnf.conf(5).
"""

import os
import re
from typing import Collection
from typing import Dict
from typing import List
from typing import Sequence
from typing import Set
from typing import Tuple

from qualvosec import files
from qualvosec.helper.managers import base
from qualvosec.helper.managers import dnf_text as text
from qualvosec.helper.managers import locks
from qualvosec.helper.managers import names
from qualvosec.helper.managers import rpm
from qualvosec.helper.managers import settle
from qualvosec.helper.managers import system

REFRESH_S = 900
QUERY_S = 300
PID_FILES = ("/var/lib/dnf/rpmdb_lock.pid", "/var/cache/dnf/metadata_lock.pid",
             "/var/cache/dnf/download_lock.pid")
TRANSACTION_LOCK = "/run/dnf/rpmtransaction.lock"
# dnf5 5.4 holds it from its start to its end; the second place is that of 5.4.0 to 5.4.2.
SYSTEM_LOCKS = ("/var/lib/dnf/system-repo.lock", "/usr/lib/sysimage/libdnf5/system-repo.lock")
VERSION_LOCKS = "/etc/dnf/plugins/versionlock.list"
EVERY_REPOSITORY = "--setopt=*.skip_if_unavailable=0"
# dnf5 too: `color=always` in dnf.conf colours also what goes into a pipe.
PLAIN = "--setopt=color=never"
KEEP_KERNELS = "--setopt=installonly_limit=0"
_FIELDS = "%{name} %{epoch} %{version} %{release} %{arch} %{repoid}"
_LOCKED = re.compile(r"already locked by|Waiting for process with pid|Waiting for a lock"
                     r"|transaction lock on|Failed to obtain .*lock", re.I)
_ASKED = "Operation aborted"
_NOTHING = "Nothing to do"
_INSTALL_ONLY = re.compile(r"kernel|kmod-|gpg-pubkey")


class Dnf(rpm.RpmManager):
    """dnf 4; `Dnf5` differs in the form of some answers and in its lock."""

    name = "dnf"
    bounded: Tuple[str, ...] = ("--setopt=exit_on_lock=True",)
    pid_files: Tuple[str, ...] = PID_FILES
    record_locks: Tuple[str, ...] = rpm.LOCKS

    def __init__(self, world: base.World) -> None:
        super().__init__(world)
        self._down: List[str] = []    # repositories that this run does without
        self._kernels: List[str] = []  # the option that keeps all kernels, if need be

    def _argv(self, *words: str) -> List[str]:
        return ([self.program(self.name), PLAIN] + ["--disablerepo=" + name for name in self._down]
                + list(words))

    def busy(self) -> str:
        """See base.Manager."""
        return locks.holder(self.world.root, self.record_locks, self.pid_files)

    def broken(self) -> str:
        """See base.Manager: an update that was cut short leaves both versions installed."""
        seen: Dict[str, str] = {}
        doubled: List[str] = []
        for row in self.rows():
            if row.key in seen and not _INSTALL_ONLY.match(row.name):
                doubled.append("%s %s and %s" % (row.key, seen[row.key], row.evr))
            seen[row.key] = row.evr
        if not doubled:
            return ""
        # Only what dnf, too, takes for a mistake: some packages may be there several times.
        known = self._query(["--disablerepo=*", "repoquery", "--duplicates"]).split()
        return "installed twice: %s" % settle.some(doubled) if known else ""

    def recover(self, until: float) -> None:
        """See base.Manager; dnf reinstalls the newer version, which must be in a repository."""
        self._commit(self._argv("-y", *self.bounded) + ["remove", "--duplicates"])
        left = self.broken()
        if left:
            raise base.ManagerError("cannot be repaired: %s" % left)

    def refresh(self, until: float) -> None:
        """See base.Manager; repositories may be marked as dispensable, here none is.

        Both give up at the first that is down: the next try is without it.
        """
        self._down, told = [], []
        end = min(until, self.world.now() + REFRESH_S)
        while True:
            argv = self._argv("-y", EVERY_REPOSITORY, "makecache", "--refresh")
            answer = self.call(argv, system.ENVIRONMENT, end)
            name, why = text.parse_unavailable(answer.text)
            if answer.code == 0 or answer.timed_out or not name or name in self._down:
                break
            told.append(why)
            enabled = text.parse_repositories(self._query(["repolist", "--enabled"]))
            if name not in enabled or enabled == {name}:
                raise base.ManagerError("%s makecache: %s" % (self.name, "; ".join(told)))
            self._down.append(name)
        self._checked(answer, "makecache")
        if told:
            raise base.Incomplete("%s makecache: %s" % (self.name, "; ".join(told)))

    def plan(self, selection: base.Selection, detail: bool = False) -> base.Plan:
        """See base.Manager."""
        rows = self.rows()
        own = rpm.own_arch(rows)
        installed = rpm.newest(rows)
        offered = self._upgrades([])
        every = self._upgrades(["--disableexcludes=all"])
        updates = _updates(every + offered, installed, own)
        held = set(updates) - set(_updates(offered, installed, own)) | names.expand(
            self._version_locked(), updates)[0]
        known = False
        if detail or selection.security_only:
            urgent = self._advisories(["--updates", "--security"])
            known = bool(urgent) or bool(self._advisories(["--all"]))
            for name in _updates(urgent, installed, own):
                if name in updates:
                    updates[name] = updates[name]._replace(security=True)
        return self.settled(selection, settle.Pending(updates, installed, known, held, own=own),
                            lambda excluded: self._simulate(excluded, installed, own))

    def _version_locked(self) -> List[str]:
        """Return what the plugin versionlock holds: repoquery shows it all the same."""
        try:
            data = files.read_bounded(os.path.realpath(self.path(VERSION_LOCKS)), 1 << 20)
        except files.FileError:
            # Only a reason is lost: dnf itself obeys the plugin.
            return []
        return text.parse_version_locks(data.decode("utf-8", "replace"))

    def _simulate(self, excluded: Set[str], installed: Dict[str, str],
                  own: str) -> settle.Simulation:
        self._kernels, self.replaced = [], set()
        table = self._table(excluded)
        # Of a kernel the oldest goes when a new one comes: the package stays.
        removed = table.removed()
        if text.modules(table) == removed:
            self.replaced = {rpm.key(item.name, item.arch, own) for item in table.outgoing
                             if item.name in removed}
            removed = []
        elif len(removed) < len(table.outgoing):
            self._kernels = [KEEP_KERNELS]
            table = self._table(excluded)
            removed = table.removed()
        install, needs = [], {}
        coming = {item.name for item in table.incoming}
        for item in table.incoming:
            name = rpm.key(item.name, item.arch, own)
            install.append(base.Package(name, installed.get(name, ""), item.evr))
            gone = sorted(set(item.replaces) - coming)
            if gone:
                needs[name] = "needs the removal of %s" % settle.some(gone)
        if needs:
            removed = []
        why = {name: why for name, why in table.skipped.items() if name in installed}
        return settle.Simulation(tuple(install), tuple(removed), needs, why)

    def _table(self, excluded: Collection[str]) -> text.Table:
        argv = self._argv("-C", "--assumeno") + self._choice(excluded) + ["upgrade"]
        answer = self.call(argv, system.ENVIRONMENT, self.world.now() + QUERY_S)
        aborted = answer.code == 1 and _ASKED in answer.text
        if answer.timed_out or (answer.code != 0 and not aborted):
            self._checked(answer, "upgrade")
        if answer.code == 0 and _NOTHING not in answer.text:
            raise base.ManagerError("%s: a simulation that was not asked about" % self.name)
        return text.parse_table(answer.out, self.name, aborted)

    def _choice(self, excluded: Collection[str]) -> List[str]:
        return ["--setopt=best=False"] + self._kernels + [
            "--exclude=" + rpm.argument(name) for name in sorted(excluded)]

    def download(self, plan: base.Plan, until: float) -> None:
        """See base.Manager; with the lists of the simulation, whatever their age."""
        argv = self._argv("-y", "--setopt=*.metadata_expire=-1", *self.bounded)
        argv += self._choice(plan.excluded) + ["upgrade", "--downloadonly"]
        self._checked(self.call(argv, system.ENVIRONMENT, until), "download")

    def commit(self, plan: base.Plan, until: float) -> None:
        """See base.Manager."""
        self.unlocked(until)
        argv = self._argv("-y", "-C", *self.bounded)
        self._commit(argv + self._choice(plan.excluded) + ["upgrade"])

    def _commit(self, argv: List[str]) -> None:
        """Run what changes the system: no deadline, never signalled, output to the log."""
        self._checked(self.call(argv, system.ENVIRONMENT, logged=True), argv[-1])

    def _query(self, words: Sequence[str]) -> str:
        answer = self.call(self._argv("-q", "-C", *words), system.ENVIRONMENT,
                           self.world.now() + QUERY_S)
        return self._checked(answer, words[0].lstrip("-")).out

    def _upgrades(self, options: List[str]) -> List[text.Item]:
        return text.parse_repoquery(self._query(
            options + ["repoquery", "--upgrades", "--latest-limit=1", "--qf", _FIELDS]))

    def _advisories(self, options: List[str]) -> List[text.Item]:
        return text.parse_updateinfo(self._query(["updateinfo", "list"] + options))

    def _checked(self, answer: base.Answer, what: str) -> base.Answer:
        """Return the answer of a command that succeeded; raises Locked or ManagerError."""
        if answer.code == 200 or (answer.code != 0 and _LOCKED.search(answer.text)):
            raise base.Locked("%s %s: %s" % (self.name, what, rpm.failure(answer.text)))
        if answer.timed_out:
            raise base.ManagerError("%s %s: was not finished in time and ended"
                                    % (self.name, what))
        if answer.code != 0:
            raise base.ManagerError("%s %s: %s (exit code %d)" % (
                self.name, what, rpm.failure(answer.text), answer.code))
        return answer


class Dnf5(Dnf):
    """dnf 5: answers in JSON where it can.

    From 5.4 on it waits for its lock as long as it takes and cannot be told not to. What
    commits must not begin after the window: the helper itself takes that lock, and tells
    dnf5 to leave it alone. Older ones fail at once where another transaction runs.
    """

    name = "dnf5"
    bounded = ()
    pid_files = ()
    record_locks = (TRANSACTION_LOCK,) + SYSTEM_LOCKS + rpm.LOCKS

    def _commit(self, argv: List[str]) -> None:
        for name in SYSTEM_LOCKS:
            if os.path.exists(self.path(name)):
                with locks.held(self.path(name)) as ours:
                    if not ours:
                        raise base.Locked("%s is held by another process" % name)
                    return super()._commit([argv[0], "--skip-file-locks"] + argv[1:])
        return super()._commit(argv)

    def _upgrades(self, options: List[str]) -> List[text.Item]:
        words = [word.replace("--disableexcludes=all", "--setopt=disable_excludes=*")
                 for word in options]
        return text.parse_upgrades(self._query(words + ["check-upgrade", "--json"]))

    def _advisories(self, options: List[str]) -> List[text.Item]:
        return text.parse_advisories(self._query(["advisory", "list"] + options + ["--json"]))


def _updates(items: List[text.Item], installed: Dict[str, str],
             own: str) -> Dict[str, base.Package]:
    """Return the items that are later than what is installed, the latest of each package."""
    found: Dict[str, base.Package] = {}
    for item in items:
        name = rpm.key(item.name, item.arch, own)
        if name not in installed or rpm.compare(item.evr, installed[name]) <= 0:
            continue
        if name not in found or rpm.compare(item.evr, found[name].new) > 0:
            found[name] = base.Package(name, installed[name], item.evr)
    return found
