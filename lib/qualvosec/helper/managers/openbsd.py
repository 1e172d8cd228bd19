# SPDX-License-Identifier: BSD-2-Clause
"""OpenBSD: syspatch for the base system (`base`), pkg_add for packages.

The base system comes first; its patches are cumulative, there is no choice among them, and
all of them are security or reliability fixes. Of packages nothing says which updates are
security updates: with security_only they stay, which makes the run `partial`. What is
chosen is named by its stem. pkg_add waits for its lock without end, so the lock is
looked at before. Facts: syspatch(8), pkg_add(1), pkg_info(1), packages(7).
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

from qualvosec.helper.managers import base
from qualvosec.helper.managers import locks
from qualvosec.helper.managers import settle
from qualvosec.helper.managers import system

BASE = "base"
QUERY_S = 1800
BOOT_S = 3600  # the kernel is linked anew after every boot: that is no patch
RUNS = 5
DATABASE = "/var/db/pkg"
_SPLIT = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._+-]*?)-([0-9][A-Za-z0-9._+-]*)")
_PATCH = re.compile(r"[0-9]{3}_[A-Za-z0-9_]+")
_CHANGE = re.compile(r"(?:Adding )?(\S+?)(?: \(pretending\)|: ok)")
_AGAIN = "updated itself, run it again"
_RELINK = "Relinking to create unique kernel"
# What syspatch says where it cannot answer, and what that means.
_UNKNOWN = (("Unsupported release",
             "base: syspatch serves releases only: the base system is not patched"),
            ("need root privileges",
             "base: which patches are missing syspatch tells only root"))
_PKG_ADD = ("-u", "-I", "-x")


class OpenBsd(base.Manager):
    """syspatch, pkg_add and pkg_info."""

    name = "openbsd"

    def __init__(self, world: base.World) -> None:
        super().__init__(world)
        self.relinked = False

    def busy(self) -> str:
        """See base.Manager; pkg_add locks the directory of its database."""
        held = locks.flocked(self.path(DATABASE))
        return "%s is locked by another process" % DATABASE if held else ""

    def _packages(self) -> List[str]:
        return self._query(["pkg_info", "-q"]).split()

    def broken(self) -> str:
        """See base.Manager; what an interrupted pkg_add has left is called partial-."""
        left = [name for name in self._packages() if name.startswith("partial-")]
        return "not completely installed: %s" % settle.some(left) if left else ""

    def recover(self, until: float) -> None:
        """See base.Manager; what is partial may hold files in use: that is for a person."""
        left = self.broken()
        if left:
            raise base.ManagerError("%s: see pkg_check(8) and pkg_delete(1)" % left)

    def refresh(self, until: float) -> None:
        """See base.Manager; there are no lists: every question asks the server."""
        self._patches()

    def installed(self) -> Dict[str, str]:
        """See base.Manager; versions of one stem side by side are one entry."""
        found: Dict[str, List[str]] = {}
        for name in self._packages():
            if not name.startswith("partial-"):
                stem, version = _parts(name)
                found.setdefault(stem, []).append(version)
        versions = {stem: " ".join(sorted(several)) for stem, several in found.items()}
        done = _PATCH.findall(self._query(["syspatch", "-l"], (0, 1)))
        versions[BASE] = sorted(done)[-1] if done else "release"
        return versions

    def _patches(self) -> Tuple[List[str], Tuple[str, ...]]:
        """Return the patches that are missing, and why that cannot be known, if so."""
        answer = self._call(["syspatch", "-c"])
        unknown = tuple(why for sign, why in _UNKNOWN if answer.code != 0 and sign in answer.text)
        if unknown:
            return [], unknown
        lines = self._checked(answer, "syspatch -c").out.split()
        if any(not _PATCH.fullmatch(line) for line in lines):
            raise base.ManagerError("syspatch -c: answers in an unknown form")
        return lines, ()

    def plan(self, selection: base.Selection, detail: bool = False) -> base.Plan:
        """See base.Manager."""
        installed = self.installed()
        patches, warnings = self._patches()
        everything = self._changes(installed, [])
        updates = {package.name: package for package in everything.install if package.old}
        if patches:
            updates[BASE] = base.Package(BASE, installed[BASE], sorted(patches)[-1], True)
        found = settle.Pending(updates, installed, True, (), warnings)
        plan = settle.plan(self.name, selection, found, lambda excluded: self._simulate(
            updates, installed, everything, excluded))
        if selection.security_only:
            why = settle.NO_METADATA % "pkg_add"
            plan = plan._replace(left=tuple(
                base.Left(left.name, why) if left.why == settle.NOT_SECURITY else left
                for left in plan.left))
        return plan

    def _simulate(self, updates: Dict[str, base.Package], installed: Dict[str, str],
                  everything: settle.Simulation, excluded: Set[str]) -> settle.Simulation:
        wanted = set(updates) - excluded - {BASE}
        asked = everything
        if excluded - {BASE} or everything.removed:
            asked = settle.by_names(wanted, excluded,
                                    lambda names: self._changes(installed, names))
        first = (updates[BASE],) if BASE in updates and BASE not in excluded else ()
        return asked._replace(install=first + (asked.install if wanted else ()))

    def _changes(self, installed: Dict[str, str], names: Sequence[str]) -> settle.Simulation:
        answer = self._call(["pkg_add", "-u", "-n", "-v", "-I", "-x"] + sorted(names))
        text = self._checked(answer, "pkg_add -n").text
        return parse_changes(text, installed)

    def download(self, plan: base.Plan, until: float) -> None:
        """See base.Manager; both programs fetch while they install."""

    def commit(self, plan: base.Plan, until: float) -> None:
        """See base.Manager; syspatch may update itself and wants to be started again then."""
        self.unlocked(until)
        wanted = [package.name for package in plan.install if package.old]
        if BASE in wanted:
            for _ in range(RUNS):
                answer = self._call(["syspatch"], logged=True)
                self.relinked = self.relinked or _RELINK in answer.text
                again = answer.code == 2 and _AGAIN in answer.text
                if not again:
                    break
            if answer.code != 2 or again:
                self._checked(answer, "base: syspatch")
            wanted.remove(BASE)
        if wanted:
            names = sorted(wanted) if set(plan.excluded) - {BASE} else []
            argv = ["pkg_add"] + list(_PKG_ADD) + names
            self._checked(self._call(argv, logged=True), "pkg_add -u")

    def leftovers(self) -> Dict[str, int]:
        """See base.Manager; pkg_add leaves changed samples where they are, and no copy."""
        return {}

    def reboot_reasons(self) -> Optional[List[str]]:
        """See base.Manager: a kernel that was linked by a patch."""
        if self.relinked:
            return ["syspatch has linked a new kernel"]
        answer = self._call(["sysctl", "-n", "kern.boottime"])
        try:
            boot, linked = int(answer.out.split()[0]), os.stat(self.path("/bsd")).st_mtime
        except (ValueError, IndexError, OSError):
            # Newer systems answer with a date instead of a number.
            return None
        return ["/bsd is newer than the boot"] if linked > boot + BOOT_S else []

    def _call(self, argv: List[str], logged: bool = False) -> base.Answer:
        words = [self.program(argv[0])] + argv[1:]
        until = 0 if logged else self.world.now() + QUERY_S
        return self.call(words, system.ENVIRONMENT, until, logged)

    def _query(self, argv: List[str], good: Collection[int] = (0,)) -> str:
        return self._checked(self._call(argv), " ".join(argv), good).out

    def _checked(self, answer: base.Answer, what: str,
                 good: Collection[int] = (0,)) -> base.Answer:
        if answer.timed_out:
            raise base.ManagerError("%s: was not finished in time and ended" % what)
        if answer.code not in good:
            lines = [line.strip() for line in answer.text.splitlines() if line.strip()]
            kind = base.Locked if "already locked" in answer.text else base.ManagerError
            raise kind("%s: %s (exit code %d)" % (what, (lines or ["no output"])[-1][:300],
                                                  answer.code))
        return answer


def parse_changes(text: str, installed: Dict[str, str]) -> settle.Simulation:
    """Read what `pkg_add -u -n` would do: OLD->NEW, several olds joined by +, or only NEW."""
    install: Dict[str, base.Package] = {}
    removed: List[str] = []
    for line in text.splitlines():
        found = _CHANGE.fullmatch(line.strip())
        if not found:
            continue
        old, arrow, new = found.group(1).rpartition(":")[2].rpartition("->")
        olds = _known(old, installed) if arrow else []
        stem = olds[0][0] if olds and new[:1].isdigit() else _parts(new)[0]
        version = new if new[:1].isdigit() else _parts(new)[1]
        removed += [name for name, _ in olds if name != stem]
        before = installed.get(stem, "")
        kept = before.split()
        for name, outgoing in olds:
            if name == stem and outgoing in kept:
                kept.remove(outgoing)
        after = " ".join(sorted(set(kept + [version]))) if olds or before else version
        if after != before:
            install[stem] = base.Package(stem, before, after)
    return settle.Simulation(tuple(sorted(install.values())), tuple(sorted(set(removed))))


def _known(text: str, installed: Dict[str, str]) -> List[Tuple[str, str]]:
    """Return the installed packages that `text` names; a name may itself hold a +."""
    names = {"%s-%s" % (stem, version): (stem, version)
             for stem, versions in installed.items() for version in versions.split()}
    if text in names:
        return [names[text]]
    for place in (at for at, letter in enumerate(text) if letter == "+"):
        rest = _known(text[place + 1:], installed) if text[:place] in names else []
        if rest:
            return [names[text[:place]]] + rest
    return []


def _parts(name: str) -> Tuple[str, str]:
    """Return stem and version, with flavours, of a package; raises ManagerError."""
    found = _SPLIT.fullmatch(name)
    if not found or len(name) > 250:
        raise base.ManagerError("a package %r is listed that cannot exist" % name[:80])
    return found.group(1), found.group(2)
