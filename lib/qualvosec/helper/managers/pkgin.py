# SPDX-License-Identifier: BSD-2-Clause
"""NetBSD's packages: pkgin, with pkg_info and pkg_admin. The base system has no binary patches.

What is left out is not named: with exclusions the run is `install` with an explicit list of
installed names, which updates them, and what would come along against the selection is found
in a simulation. Such a list makes pkgin forget which of them were installed as dependencies
only, so their marks are set again. While pkgin or pkg_install have updates themselves pkgin tells
of nothing else: they come first, whatever the selection, and the rest in the same run. pkgin has
no lock, so running programs are looked at; it may end with 0 although a package failed: the
transaction compares. Facts: pkgin 26.4 (tests/data/transcripts), pkgin(1), pkg_info(1),
pkg_admin(1), ps(1).
"""

import re
from typing import Dict
from typing import List
from typing import Optional
from typing import Sequence
from typing import Set

from qualvosec.helper.managers import base
from qualvosec.helper.managers import names
from qualvosec.helper.managers import pkgin_text as text
from qualvosec.helper.managers import settle
from qualvosec.helper.managers import system

REFRESH_S = 900
QUERY_S = 600
TOOLS = ("pkg_install", "pkgin")
USERS = ("pkgin", "pkg_add", "pkg_delete")
NO_BASE = "base: NetBSD has no binary patches: the base system is not patched"
TOOLS_FIRST = "pkgin updates its own tools first: what else is pending it tells after that"
_VULNERABLE = re.compile(r"Package (\S+) has an? .* vulnerability")
_NO_DATA = re.compile(r"pkg-vulnerabilities.*(?:not found|No such file|[Cc]annot open)"
                      r"|[Cc]annot open.*pkg-vulnerabilities|fetch-pkg-vulnerabilities")


class Pkgin(base.Manager):
    """pkgin of pkgsrc."""

    name = "pkgin"

    def __init__(self, world: base.World) -> None:
        super().__init__(world)
        self.audit_fault = ""

    def busy(self) -> str:
        """See base.Manager; who starts a second pkgin takes the database from the first."""
        answer = self.call([self.program("ps"), "-A", "-o", "pid=", "-o", "comm="],
                           system.ENVIRONMENT, self.world.now() + QUERY_S)
        for line in _checked(answer, "ps").out.splitlines():
            pid, _, program = line.strip().partition(" ")
            if program.strip().rpartition("/")[2] in USERS:
                return "%s is running as process %s" % (program.strip(), pid)
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
        _checked(self.call([self.program("pkgin"), "-y", "update"], system.ENVIRONMENT, end),
                 "pkgin update")
        answer = self.call([self.program("pkg_admin"), "fetch-pkg-vulnerabilities"],
                           system.ENVIRONMENT, end)
        self.audit_fault = "" if answer.code == 0 else "pkg_admin: %s" % text.line(answer.text)

    def installed(self) -> Dict[str, str]:
        """See base.Manager."""
        return self._listed([])

    def _listed(self, words: List[str]) -> Dict[str, str]:
        answer = self.call([self.program("pkg_info")] + words, system.ENVIRONMENT,
                           self.world.now() + QUERY_S)
        return text.parse_installed(_checked(answer, "pkg_info").out)

    def plan(self, selection: base.Selection, detail: bool = False) -> base.Plan:
        """See base.Manager."""
        installed = self.installed()
        everything = self._changes(["upgrade"], installed)
        updates = {package.name: package for package in everything.install if package.old}
        if set(updates) & set(TOOLS):
            return _tools_first(selection, everything, updates, installed)
        known = False
        if detail or selection.security_only:
            known = self._mark_security(updates, selection.security_only)
        found = settle.Pending(updates, installed, known, (), (NO_BASE,))
        plan = settle.plan(self.name, selection, found, lambda excluded: self._simulate(
            updates, installed, everything, excluded))
        return _removals(plan, everything, installed)

    def _simulate(self, updates: Dict[str, base.Package], installed: Dict[str, str],
                  everything: text.Changes, excluded: Set[str]) -> settle.Simulation:
        older = dict.fromkeys(everything.older, text.OLDER)
        if set(older) - excluded:
            return settle.Simulation((), (), older)
        if not excluded and not everything.removed:
            return settle.Simulation(everything.install)

        def ask(wanted: Sequence[str]) -> settle.Simulation:
            changes = self._changes(["install"] + list(wanted), installed)
            return settle.Simulation(changes.install, changes.removed + changes.older)

        return settle.by_names(set(updates) - excluded, excluded, ask)

    def _changes(self, words: Sequence[str], installed: Dict[str, str]) -> text.Changes:
        answer = self.call([self.program("pkgin"), "-n"] + list(words), system.ENVIRONMENT,
                           self.world.now() + QUERY_S)
        return text.parse_changes(_checked(answer, "pkgin -n").out, installed)

    def _mark_security(self, updates: Dict[str, base.Package], needed: bool) -> bool:
        """Mark vulnerable packages; say whether the data for it are there."""
        answer = self.call([self.program("pkg_admin"), "audit"], system.ENVIRONMENT,
                           self.world.now() + QUERY_S)
        found = _VULNERABLE.findall(answer.out)
        fault = "" if answer.code == 0 or found else answer.text or "no output"
        if needed and (fault or self.audit_fault):
            if _NO_DATA.search(fault):
                raise base.Unsupported(settle.NO_METADATA % "pkg_admin")
            raise base.ManagerError(self.audit_fault or "pkg_admin audit: %s" % text.line(fault))
        for full in found:
            name, _ = text.parts(full)
            if name in updates:
                updates[name] = updates[name]._replace(security=True)
        return not fault and not self.audit_fault

    def download(self, plan: base.Plan, until: float) -> None:
        """See base.Manager; pkgin -d fetches and installs nothing."""
        argv = [self.program("pkgin"), "-y", "-d"] + _words(plan)
        _checked(self.call(argv, system.ENVIRONMENT, until), "pkgin -d")

    def commit(self, plan: base.Plan, until: float) -> None:
        """See base.Manager; after an update of pkgin itself it plans and goes on."""
        self.unlocked(until)
        self._install(plan)
        if not {package.name for package in plan.install} & set(TOOLS):
            return
        rest = self.plan(plan.selection)
        again = [package.name for package in rest.install if package.name in TOOLS]
        kept = [left.name for left in rest.left if left.kind == base.KEPT]
        if again or kept:
            raise base.ManagerError("after the update of pkgin: not installed: %s"
                                    % settle.some(again or kept))
        if rest.install:
            self.download(rest, until)
            self._install(rest)

    def _install(self, plan: base.Plan) -> None:
        words = _words(plan)
        marked = set(self.installed()) - set(self._listed(["-u"])) if plan.excluded else set()
        answer = self.call([self.program("pkgin"), "-y"] + words, system.ENVIRONMENT, logged=True)
        after = self.installed()
        missing = [row.name for row in plan.install if after.get(row.name) != row.new]
        unmarked = ["%s-%s" % (name, after[name]) for name in sorted(marked & set(words))
                    if name in after]
        if unmarked:
            _checked(self.call([self.program("pkg_admin"), "set", "automatic=YES"] + unmarked,
                               system.ENVIRONMENT, logged=True), "pkg_admin set automatic=YES")
        _checked(answer, "pkgin %s: not installed: %s" % (words[0], settle.some(missing) or "none"))
        if missing:
            raise base.ManagerError("pkgin %s: not installed: %s" % (words[0],
                                                                     settle.some(missing)))

    def leftovers(self) -> Dict[str, int]:
        """See base.Manager; pkgsrc keeps what was changed and puts nothing beside it."""
        return {}

    def reboot_reasons(self) -> Optional[List[str]]:
        """See base.Manager: packages never ask for one, the base system is not looked at."""
        return None


def _checked(answer: base.Answer, what: str) -> base.Answer:
    if answer.timed_out:
        raise base.ManagerError("%s: was not finished in time and ended" % what)
    if answer.code != 0:
        raise base.ManagerError("%s: %s (exit code %d)" % (what, text.line(answer.text),
                                                           answer.code))
    return answer


def _tools_first(selection: base.Selection, everything: text.Changes,
                 updates: Dict[str, base.Package], installed: Dict[str, str]) -> base.Plan:
    """Return the plan of pkgin's own update; raises Refused where that is not allowed."""
    barred, _ = names.expand(selection.exclude, updates)
    others = sorted(set(updates) - set(TOOLS)) + list(everything.removed + everything.older)
    if barred or others:
        raise base.Refused("pkgin tells of no other update before its own: %s: %s" % (
            settle.some(sorted(updates)), "in packages_blacklist" if barred else
            "would not come alone: %s" % settle.some(others)))
    unknown = names.unwanted(selection.only, selection.exclude, (), installed)[1]
    return base.Plan(tuple(sorted(updates.values())), everything.install, (), False,
                     (NO_BASE, TOOLS_FIRST) + tuple(unknown), (), selection)


def _removals(plan: base.Plan, everything: text.Changes, installed: Dict[str, str]) -> base.Plan:
    """Have the run go by names, and name what `pkgin upgrade` would remove and what would come."""
    going = {package.name for package in plan.install}
    instead = [row.name for row in everything.install if not row.old and row.name not in going]
    why = "would be removed" + (" for %s" % settle.some(instead) if instead else "")
    unwanted, _ = names.unwanted(plan.selection.only, plan.selection.exclude, everything.removed,
                                 installed)
    left = [] if plan.selection.security_only else sorted(set(everything.removed) - set(unwanted))
    return plan._replace(left=plan.left + tuple(base.Left(name, why) for name in left),
                         excluded=tuple(sorted(set(plan.excluded + everything.removed))))


def _words(plan: base.Plan) -> List[str]:
    if not plan.excluded:
        return ["upgrade"]
    return ["install"] + sorted(package.name for package in plan.install if package.old)
