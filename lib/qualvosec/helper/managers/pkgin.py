# SPDX-License-Identifier: BSD-2-Clause
"""NetBSD's packages: pkgin, with pkg_info and pkg_admin. The base system has no binary patches.

What is left out is not named: with exclusions the run is `install` with an explicit list of
installed names, which updates them, and what would come along against the selection is
found in a simulation. pkgin may end with 0 although a package failed: the transaction compares.
Facts: pkgin(1), pkg_info(1), pkg_admin(1).
"""

import re
from typing import Dict
from typing import List
from typing import Optional
from typing import Sequence
from typing import Set

from qualvosec.helper.managers import base
from qualvosec.helper.managers import settle
from qualvosec.helper.managers import system

REFRESH_S = 900
QUERY_S = 600
NO_BASE = "base: NetBSD has no binary patches: the base system is not patched"
_FULL = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._+-]{0,127})-([^-\s]+)")
_HEADING = re.compile(r"([0-9]+) packages? to (?:be )?(upgrad|install|remov|refresh|supersed)\w*:")
_VULNERABLE = re.compile(r"Package (\S+) has an? .* vulnerability")
_LOCKED = re.compile(r"database is locked|[Cc]ould not obtain.*lock|lock.*(?:held|exists)")
_NO_DATA = re.compile(r"pkg-vulnerabilities.*(?:not found|No such file|[Cc]annot open)"
                      r"|[Cc]annot open.*pkg-vulnerabilities|fetch-pkg-vulnerabilities")


class Pkgin(base.Manager):
    """pkgin of pkgsrc."""

    name = "pkgin"

    def __init__(self, world: base.World) -> None:
        super().__init__(world)
        self.audit_fault = ""

    def busy(self) -> str:
        """See base.Manager; nothing shows it from outside: only a change meets a lock."""
        return ""

    def broken(self) -> str:
        """See base.Manager; there is no mark of what was interrupted: the list must be readable."""
        self.installed()
        return ""

    def recover(self, until: float) -> None:
        """See base.Manager."""
        self.broken()

    def refresh(self, until: float) -> None:
        """See base.Manager."""
        end = min(until, self.world.now() + REFRESH_S)
        self._checked(self.call([self.program("pkgin"), "-y", "update"], system.ENVIRONMENT, end),
                      "pkgin update")
        answer = self.call([self.program("pkg_admin"), "fetch-pkg-vulnerabilities"],
                           system.ENVIRONMENT, end)
        self.audit_fault = "" if answer.code == 0 else "pkg_admin: %s" % _last(answer.text)

    def installed(self) -> Dict[str, str]:
        """See base.Manager."""
        answer = self.call([self.program("pkg_info")], system.ENVIRONMENT,
                           self.world.now() + QUERY_S)
        rows = [_FULL.fullmatch(line.split()[0])
                for line in self._checked(answer, "pkg_info").out.splitlines() if line.strip()]
        if None in rows:
            raise base.ManagerError("pkg_info: answers in an unknown form")
        return {row.group(1): row.group(2) for row in rows if row}

    def plan(self, selection: base.Selection, detail: bool = False) -> base.Plan:
        """See base.Manager."""
        installed = self.installed()
        everything = self._changes(["upgrade"], installed)
        updates = {package.name: package for package in everything.install if package.old}
        known = False
        if detail or selection.security_only:
            known = self._mark_security(updates, selection.security_only)
        found = settle.Pending(updates, installed, known, (), (NO_BASE,))
        return settle.plan(self.name, selection, found, lambda excluded: self._simulate(
            updates, installed, everything, excluded))

    def _simulate(self, updates: Dict[str, base.Package], installed: Dict[str, str],
                  everything: settle.Simulation, excluded: Set[str]) -> settle.Simulation:
        if not excluded and not everything.removed:
            return everything
        return settle.by_names(set(updates) - excluded, excluded, lambda names: self._changes(
            ["install"] + list(names), installed))

    def _changes(self, words: Sequence[str], installed: Dict[str, str]) -> settle.Simulation:
        answer = self.call([self.program("pkgin"), "-n"] + list(words), system.ENVIRONMENT,
                           self.world.now() + QUERY_S)
        return parse_changes(self._checked(answer, "pkgin -n").out, installed)

    def _mark_security(self, updates: Dict[str, base.Package], needed: bool) -> bool:
        """Mark vulnerable packages; say whether the data for it are there."""
        answer = self.call([self.program("pkg_admin"), "audit"], system.ENVIRONMENT,
                           self.world.now() + QUERY_S)
        names = _VULNERABLE.findall(answer.out)
        fault = "" if answer.code == 0 or names else answer.text or "no output"
        if needed and (fault or self.audit_fault):
            if _NO_DATA.search(fault):
                raise base.Unsupported(settle.NO_METADATA % "pkg_admin")
            raise base.ManagerError(self.audit_fault or "pkg_admin audit: %s" % _last(fault))
        for full in names:
            row = _FULL.fullmatch(full)
            if row and row.group(1) in updates:
                updates[row.group(1)] = updates[row.group(1)]._replace(security=True)
        return not fault and not self.audit_fault

    def download(self, plan: base.Plan, until: float) -> None:
        """See base.Manager; pkgin -d fetches and installs nothing."""
        argv = [self.program("pkgin"), "-y", "-d"] + _words(plan)
        self._checked(self.call(argv, system.ENVIRONMENT, until), "pkgin -d")

    def commit(self, plan: base.Plan, until: float) -> None:
        """See base.Manager."""
        argv = [self.program("pkgin"), "-y"] + _words(plan)
        self._checked(self.call(argv, system.ENVIRONMENT, logged=True), "pkgin")

    def leftovers(self) -> Dict[str, int]:
        """See base.Manager; pkgsrc keeps what was changed and puts nothing beside it."""
        return {}

    def reboot_reasons(self) -> Optional[List[str]]:
        """See base.Manager: packages never ask for one, the base system is not looked at."""
        return None

    def _checked(self, answer: base.Answer, what: str) -> base.Answer:
        if answer.timed_out:
            raise base.ManagerError("%s: was not finished in time and ended" % what)
        if answer.code != 0:
            kind = base.Locked if _LOCKED.search(answer.text) else base.ManagerError
            raise kind("%s: %s (exit code %d)" % (what, _last(answer.text), answer.code))
        return answer


def parse_changes(text: str, installed: Dict[str, str]) -> settle.Simulation:
    """Read a simulation: headings `N packages to upgrade:` with names and versions below."""
    install: Dict[str, base.Package] = {}
    removed: List[str] = []
    kind = ""
    for line in text.splitlines():
        heading = _HEADING.match(line.strip())
        if heading:
            kind, line = heading.group(2), line.partition(":")[2]
        elif not line.strip() or line[:1] not in " \t":
            kind = ""
        for word in line.split() if kind else ():
            row = _FULL.fullmatch(word)
            if not row:
                raise base.ManagerError("pkgin: a package %r is listed that cannot exist"
                                        % word[:80])
            name, version = row.groups()
            if kind in ("remov", "supersed"):
                removed.append(name)
            elif kind in ("upgrad", "install"):
                install[name] = base.Package(name, installed.get(name, ""), version)
    return settle.Simulation(tuple(sorted(install.values())), tuple(removed))


def _words(plan: base.Plan) -> List[str]:
    if not plan.excluded:
        return ["upgrade"]
    return ["install"] + sorted(package.name for package in plan.install if package.old)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines or ["no output"])[-1][:300]
