# SPDX-License-Identifier: BSD-2-Clause
"""pkg of FreeBSD and DragonFly, with FreeBSD's base system as the pseudo-package `base`.

What is left out is not named: with exclusions the run gets an explicit list of installed
names, never a lock, because pkg updates the dependents of a locked package all the
same. A name that would pull in something excluded is found by simulating it alone and is left
out as well. What is pending is what pkg would upgrade, not what some repository has. The base
system comes first: by freebsd-update, or, where it is made of packages itself, from its
repository. pkg asks whether to use a catalogue that is meant for a newer system: that is
never answered with yes. Facts: pkg-upgrade(8), pkg-audit(8), freebsd-version(1), pkg.conf(5).
"""

import os
import re
from typing import Collection
from typing import Dict
from typing import List
from typing import Optional
from typing import Sequence
from typing import Set
from typing import Tuple

from qualvosec.contract.names import matches
from qualvosec.helper.managers import base
from qualvosec.helper.managers import freebsd_base
from qualvosec.helper.managers import names
from qualvosec.helper.managers import pkg_text as text
from qualvosec.helper.managers import settle
from qualvosec.helper.managers import system

BASE = freebsd_base.BASE
BASE_PACKAGES = "FreeBSD-*"
KERNELS = "FreeBSD-kernel-*"
PKG = "/usr/local/sbin/pkg"  # /usr/sbin/pkg would offer to install it
ASKED = dict(system.ENVIRONMENT, PAGER="cat")
ENVIRONMENT = dict(ASKED, ASSUME_ALWAYS_YES="yes")
LOCKED = "locked by the administrator (pkg lock)"
IDLE = "pkg upgrade leaves what pkg version lists: %s"
REFRESH_S = 1800
QUERY_S = 300
MAX_ALONE = 300
_LOCKED = re.compile(r"[Cc]annot get an? (?:advisory|exclusive|read) lock|locked by another")
_SCRIPT = re.compile(r"(?m)^pkg: .*script failed.*$")
_NO_DATA = re.compile(r"vuln\.xml.*(?:does not exist|not found)")


class Pkg(base.Manager):
    """FreeBSD."""

    name = "pkg"
    has_base = True
    has_audit = True

    def __init__(self, world: base.World) -> None:
        super().__init__(world)
        self.system = freebsd_base.FreeBsdUpdate(self._freebsd_update, world.root)
        self.kind: Optional[str] = None
        self.audit_fault = ""
        self.base_done = False
        self.kernels: List[str] = []

    def program(self, name: str) -> str:
        """See base.Manager; of pkg itself never the bootstrap."""
        if name == "pkg" and not os.access(self.path(PKG), os.X_OK):
            raise base.Unsupported("pkg: is not installed: run pkg bootstrap")
        return PKG if name == "pkg" else super().program(name)

    def busy(self) -> str:
        """See base.Manager; pkg's lock is a row in its database: only a change meets it."""
        return ""

    def broken(self) -> str:
        """See base.Manager; pkg changes its database in transactions: it answers or not."""
        self._query(["query", "%n"])
        return freebsd_base.CUT if self.has_base and self.system.cut() else ""

    def recover(self, until: float) -> None:
        """See base.Manager."""
        if self.broken() and self._base_kind() == "freebsd-update":
            self.system.finish()

    def refresh(self, until: float) -> None:
        """See base.Manager."""
        end = min(until, self.world.now() + REFRESH_S)
        answer = self.call([self.program("pkg"), "update"], ASKED, end)
        if answer.code != 0 and not answer.timed_out and not _LOCKED.search(answer.text):
            raise base.ManagerError("pkg update: " + text.update_failure(answer.text))
        # With a catalogue that cannot be read pkg goes on with the old one, and ends with 0.
        fault = text.complaint(self._checked(answer, "pkg update"))
        if fault:
            raise base.ManagerError("pkg update: " + fault)
        if self.has_audit:
            answer = self.call([self.program("pkg"), "audit", "-F", "-q"], ENVIRONMENT, end)
            vulnerable = text.parse_audit(answer.out)
            self.audit_fault = "" if answer.code == 0 or (answer.code == 1 and vulnerable) else (
                "pkg audit -F: %s" % (text.complaint(answer) or text.failure(answer.text)))
        if self._base_kind() == "freebsd-update":
            self.system.fetch(self._release("-u"), end)

    def _base_kind(self) -> str:
        """Say what updates the base system: freebsd-update, pkg, or nothing that we know."""
        if self.kind is None:
            self.kind = self._find_base() if self.has_base else ""
        return self.kind

    def _find_base(self) -> str:
        owner = self.call([self.program("pkg"), "which", "-q", "/usr/bin/uname"], ENVIRONMENT,
                          self.world.now() + QUERY_S)
        if owner.code == 0 and owner.out.strip():
            return "pkg"
        own, running = self._release("-u"), self._release("-r")
        foreign = not self._release("-k") or own.partition("-")[0] != running.partition("-")[0]
        return "freebsd-update" if self.system.served(own, foreign) else ""

    def _freebsd_update(self, words: List[str], until: float, logged: bool) -> base.Answer:
        return self.call([self.program("freebsd-update")] + words, ENVIRONMENT, until, logged)

    def _release(self, which: str) -> str:
        argv = [self.program("freebsd-version"), which]
        answer = self.call(argv, ENVIRONMENT, self.world.now() + QUERY_S)
        return answer.out.strip() if answer.code == 0 else ""

    def installed(self) -> Dict[str, str]:
        """See base.Manager; `base` has the higher release of kernel and userland."""
        found, _ = text.parse_installed(self._query(["query", "%n %v %k"]))
        releases = [release for release in (self._release("-k"), self._release("-u")) if release
                    ] if self.has_base else []
        if releases:
            found[BASE] = text.latest(releases)
        return found

    def plan(self, selection: base.Selection, detail: bool = False) -> base.Plan:
        """See base.Manager."""
        installed = self.installed()
        _, held = text.parse_installed(self._query(["query", "%n %v %k"]))
        everything, updates, idle = self._pending(set(installed) - {BASE}, held)
        kind, warnings = self._base_kind(), [IDLE % settle.some(idle)] * bool(idle)
        if kind == "freebsd-update":
            ready = self.system.pending(installed, self.world.now() + QUERY_S)
            updates.update({BASE: ready} if ready else {})
            warnings += self.system.notes
        elif not kind and self.has_base:
            warnings.append(freebsd_base.NO_RELEASE % installed.get(BASE, "unknown"))
        wanted = _with_base_packages(selection) if kind == "pkg" else selection
        known = False
        if detail or selection.security_only:
            known = self._mark_security(updates, selection.security_only)
        found = settle.Pending(updates, installed, known, held, tuple(warnings), hold=LOCKED)
        plan = settle.plan(self.name, wanted, found, lambda excluded: self._simulate(
            updates, held, excluded, everything))
        return self._base_stays(plan, selection, installed)

    def _pending(self, packages: Set[str], held: Collection[str]
                 ) -> Tuple[text.DryRun, Dict[str, base.Package], List[str]]:
        """Return the dry run of everything, the updates, and what pkg has but does not want."""
        everything = self._changes([])
        behind = text.parse_behind(self._query(["version", "-vRUL="])) if packages else {}
        updates = {package.name: package for package in everything.install if package.old}
        # Nothing but a reason makes an update of it: a repository of lower priority has others.
        reason = everything.itself or everything.removed or everything.conflicts
        stuck = {name for name in behind if reason or name in held}
        idle = sorted(set(behind) - set(updates) - stuck)
        updates.update({name: behind[name] for name in stuck if name not in updates})
        return everything, updates, idle

    def _base_stays(self, plan: base.Plan, selection: base.Selection,
                    installed: Collection[str]) -> base.Plan:
        """Name the base system where it cannot be patched, or for the last time."""
        why = self.system.stays
        if not why or names.unwanted(selection.only, selection.exclude, [BASE], installed)[0]:
            return plan
        if any(package.name == BASE for package in plan.install):
            return plan._replace(warnings=plan.warnings + ("base: " + why,))
        return plan._replace(left=plan.left + (base.Left(BASE, why),))

    def _mark_security(self, updates: Dict[str, base.Package], needed: bool) -> bool:
        """Mark vulnerable packages; say whether the data for it are there."""
        if not self.has_audit:
            return False
        answer = self.call([self.program("pkg"), "audit", "-q"], ENVIRONMENT,
                           self.world.now() + QUERY_S)
        vulnerable = text.parse_audit(answer.out)
        fault = "" if answer.code == 0 or (answer.code == 1 and vulnerable) else answer.text
        if needed and self.audit_fault:
            raise base.ManagerError(self.audit_fault)
        if needed and fault:
            if _NO_DATA.search(fault):
                raise base.Unsupported(settle.NO_METADATA % "pkg audit")
            raise base.ManagerError("pkg audit: %s" % text.failure(fault))
        vulnerable = (vulnerable or []) + [name for name in updates
                                           if self.kind == "pkg" and _of_base(name)]
        for name in vulnerable:
            if not fault and name in updates:
                updates[name] = updates[name]._replace(security=True)
        return not fault and not self.audit_fault

    def _simulate(self, updates: Dict[str, base.Package], held: Collection[str],
                  excluded: Set[str], everything: text.DryRun) -> settle.Simulation:
        wanted = sorted(set(updates) - excluded - {BASE} - set(held))
        first = [updates[BASE]] if BASE in updates and BASE not in excluded else []
        if not wanted:
            return settle.Simulation(tuple(first))
        words = _words(wanted, excluded)
        changes = self._changes(words) if words else everything
        if changes.itself and "pkg" not in excluded:
            # pkg shows nothing but itself until it is updated: commit() looks again.
            return settle.Simulation(tuple(first + [updates[name] for name in wanted]))
        needs = {}
        if _wrong(changes, excluded) and len(wanted) <= MAX_ALONE:
            for name in wanted:
                wrong = _wrong(self._changes(["--", name]), excluded)
                barred = sorted(set(wrong) & excluded)
                if wrong:
                    needs[name] = ("%s: %s" % (settle.NEEDS_EXCLUDED, settle.some(barred))
                                   if barred else "needs the removal of %s" % settle.some(wrong))
        if needs:
            return settle.Simulation(tuple(first), (), needs)
        why = dict.fromkeys(wanted, "; ".join(changes.conflicts)[:300]) if changes.conflicts else {}
        return settle.Simulation(tuple(first) + changes.install, tuple(_wrong(changes, excluded)),
                                 {}, why, changes.anew)

    def _changes(self, words: List[str]) -> text.DryRun:
        return text.parse_changes(self._query(["upgrade", "-n", "-U"] + words))

    def download(self, plan: base.Plan, until: float) -> None:
        """See base.Manager; what freebsd-update installs was fetched by refresh()."""
        wanted = _packages(plan)
        if wanted:
            argv = [self.program("pkg"), "upgrade", "-y", "-U", "-F"]
            self._checked(self.call(argv + _words(wanted, plan.excluded), ENVIRONMENT, until),
                          "pkg upgrade -F")

    def commit(self, plan: base.Plan, until: float) -> None:
        """See base.Manager: the base system, then pkg itself, then the rest.

        After a lock of pkg it is called again: there is no base system to install by then.
        """
        if not self.base_done and any(package.name == BASE for package in plan.install):
            self.system.install()
            self.base_done = True
        wanted = _packages(plan)
        if "pkg" in wanted:
            self._upgrade(["--", "pkg"])
            wanted.remove("pkg")
            wrong = _wrong(self._changes(_words(wanted, plan.excluded)),
                           plan.excluded) if wanted else []
            if wrong:
                raise base.ManagerError("pkg, updated, would not keep to the plan: %s"
                                        % settle.some(wrong))
        first = [name for name in wanted if _of_base(name)]
        rest = [name for name in wanted if name not in first]
        if first:
            self._upgrade(["--"] + sorted(first))
            self.kernels = [name for name in first if matches(KERNELS, name)]
        if rest:
            self._upgrade(_words(rest, plan.excluded))

    def _upgrade(self, words: List[str]) -> None:
        self._commit([self.program("pkg"), "upgrade", "-y", "-U"] + words, "pkg upgrade")

    def _commit(self, argv: List[str], what: str) -> None:
        """Run what changes the system: no deadline, never signalled, output to the log."""
        answer = self._checked(self.call(argv, ENVIRONMENT, logged=True), what)
        self.notes += _SCRIPT.findall(answer.text)

    def leftovers(self) -> Dict[str, int]:
        """See base.Manager."""
        return self.beside(("/etc", "/usr/local/etc"), (".pkgnew", ".pkgsave"))

    def reboot_reasons(self) -> Optional[List[str]]:
        """See base.Manager; a jail has no kernel of its own, DragonFly does not tell."""
        if self.kernels:
            return ["%s was upgraded" % name for name in self.kernels]
        kernel = self._release("-k") if self.has_base else ""
        running = self._release("-r") if kernel else ""
        if not kernel or not running:
            return None
        return [] if kernel == running else ["kernel %s is running, %s is installed"
                                             % (running, kernel)]

    def _query(self, words: Sequence[str]) -> str:
        argv = [self.program("pkg")] + list(words)
        answer = self.call(argv, ENVIRONMENT, self.world.now() + QUERY_S)
        if words[0] == "upgrade" and answer.code == 1 and "packages to be" in answer.out:
            # Older versions exit with 1 when a dry run found something to do.
            return answer.out
        return self._checked(answer, "pkg " + words[0]).out

    def _checked(self, answer: base.Answer, what: str) -> base.Answer:
        """Return the answer of a command that succeeded; raises Locked or ManagerError."""
        if answer.timed_out:
            raise base.ManagerError("%s: was not finished in time and ended" % what)
        if answer.code != 0:
            held = [line.strip() for line in answer.text.splitlines() if _LOCKED.search(line)]
            kind = base.Locked if held else base.ManagerError
            why = held[0][:300] if held else text.failure(answer.text)
            raise kind("%s: %s (exit code %d)" % (what, why, answer.code))
        return answer


class DragonFly(Pkg):
    """DragonFly: no updates of the base system, and the audit data are those of FreeBSD."""

    has_base = False
    has_audit = False


def _of_base(name: str) -> bool:
    return matches(BASE_PACKAGES, name)


def _packages(plan: base.Plan) -> List[str]:
    return [package.name for package in plan.install if package.old and package.name != BASE]


def _words(wanted: Sequence[str], excluded: Collection[str]) -> List[str]:
    """Return what stands behind the options: names only where something is left out."""
    return ["--"] + sorted(wanted) if set(excluded) - {BASE} else []


def _wrong(changes: text.DryRun, excluded: Collection[str]) -> List[str]:
    touched = [package.name for package in changes.install] + list(changes.anew)
    return sorted(set(changes.removed) | (set(touched) & set(excluded)))


def _with_base_packages(selection: base.Selection) -> base.Selection:
    """Let the pattern `base` mean the packages that the base system is made of."""
    only, exclude = selection.only, selection.exclude
    if any(matches(pattern, BASE) for pattern in only):
        only += (BASE_PACKAGES,)
    if any(matches(pattern, BASE) for pattern in exclude):
        exclude += (BASE_PACKAGES,)
    return selection._replace(only=only, exclude=exclude)
