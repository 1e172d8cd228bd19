# SPDX-License-Identifier: BSD-2-Clause
"""OpenBSD: syspatch for the base system (`base`), pkg_add for packages.

The base system comes first; its patches are cumulative, there is no choice among them, and
all of them are security or reliability fixes. Of packages nothing says which updates are
security updates: with security_only they stay, which makes the run `partial`. What is
chosen is named by its stem, or by its whole name where a stem is installed twice. pkg_add and
pkg_info wait for the lock of the database without end, so it is looked at before each of
them. Facts: syspatch(8), pkg_add(1), pkg_info(1), packages(7).
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
from qualvosec.helper.managers import names
from qualvosec.helper.managers import openbsd_text as text
from qualvosec.helper.managers import settle
from qualvosec.helper.managers import system

BASE = "base"
QUIRKS = "quirks"  # pkg_add updates it before all else, and stumbles where it is named
QUERY_S = 1800
BOOT_S = 3600  # the kernel is linked anew after every boot: that is no patch
RUNS = 5
DATABASE = "/var/db/pkg"
APPLIED = "/var/syspatch"
NOT_ROOT = "base: which patches are missing syspatch tells only root"
NO_RELEASE = "base: %s: syspatch serves releases only: the base system is not patched"
ALONG = "pkg_add updates it along with the next other package"
_UNSUPPORTED = re.compile(r"Unsupported release: *(\S+)")
_AGAIN = "updated itself, run it again"
_RELINKED = re.compile(r"Relinking to create unique kernel\.\.\. *done")
_LOCKED = re.compile(r"already locked|while reorder_kernel is running")
_TELLING = re.compile(r"(?:ftp|signify|syspatch|pkg_add|tar): "
                      r"|.*(?:[Ee]rror|[Ff]ailed|Can't|Couldn't)")
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
        packages = self._query(["pkg_info", "-q"]).split()
        for name in packages:
            text.parts(name)
        return packages

    def broken(self) -> str:
        """See base.Manager; what an interrupted pkg_add has left is called partial-."""
        return _unfinished(self._packages())

    def recover(self, until: float) -> None:
        """See base.Manager; what is partial may hold files in use: that is for a person."""
        left = self.broken()
        if left:
            raise base.ManagerError(left)

    def refresh(self, until: float) -> None:
        """See base.Manager; there are no lists: every question asks the server."""
        if NOT_ROOT in self._patches()[1]:
            raise base.ManagerError(NOT_ROOT)

    def installed(self) -> Dict[str, str]:
        """See base.Manager; versions of one stem side by side are one entry."""
        return self._with_base(self._packages())

    def _with_base(self, packages: Sequence[str]) -> Dict[str, str]:
        versions = text.versions(packages)
        done = text.patches(self._query(["syspatch", "-l"], (0, 1)))
        versions[BASE] = sorted(done)[-1] if done else "release"
        return versions

    def _patches(self) -> Tuple[List[str], Tuple[str, ...]]:
        """Return the patches that are missing, and what keeps that from being all of them."""
        answer = self._call(["syspatch", "-c"])
        unsupported = _UNSUPPORTED.search(answer.text)
        if answer.code and unsupported:
            return [], (NO_RELEASE % unsupported.group(1),)
        if answer.code and "need root privileges" in answer.text:
            return [], (NOT_ROOT,)
        missing = text.patches(answer.out)
        if answer.code and missing and not answer.timed_out:
            return missing, ("base: syspatch -c: %s" % _line(answer.text),)
        self._checked(answer, "base: syspatch -c")
        return missing, ()

    def plan(self, selection: base.Selection, detail: bool = False) -> base.Plan:
        """See base.Manager."""
        packages = self._packages()
        installed = self._with_base(packages)
        patches, warnings = self._patches()
        report = self._ask(packages, [])
        stuck = {package.name: package for package in report.kept + report.replaced}
        updates = dict(stuck, **{row.name: row for row in report.install if row.old})
        if patches:
            newest = max(patches + [installed[BASE]] * (installed[BASE] != "release"))
            updates[BASE] = base.Package(BASE, installed[BASE], newest, True)
        found = settle.Pending(updates, installed, True, (), warnings + _silence(report))
        asked = _with_quirks(selection, updates, set(stuck), installed)
        plan = settle.plan(self.name, asked, found, lambda excluded: self._simulate(
            updates, packages, report, excluded))
        return _named(plan, selection, report, installed)

    def _simulate(self, updates: Dict[str, base.Package], packages: List[str],
                  report: text.Report, excluded: Set[str]) -> settle.Simulation:
        first = (updates[BASE],) if BASE in updates and BASE not in excluded else ()
        wanted = set(updates) - excluded - {BASE}
        unfinished = _unfinished(packages)
        if not wanted or unfinished:
            return settle.Simulation(first, (), dict.fromkeys(wanted, unfinished))
        if not excluded - {BASE}:
            going = {row.name: report.why[row.name] for row in report.replaced}
            return settle.Simulation(first + report.install, (), going, report.why)
        able = wanted - {QUIRKS} - {row.name for row in report.kept}
        asked = settle.by_names(able, excluded, lambda names: self._only(packages, names))
        return asked._replace(install=first + asked.install, why=report.why)

    def _only(self, packages: List[str], stems: Sequence[str]) -> settle.Simulation:
        report = self._ask(packages, _whole(stems, packages))
        return settle.Simulation(report.install, tuple(row.name for row in report.replaced))

    def _ask(self, packages: List[str], words: List[str]) -> text.Report:
        answer = self._call(["pkg_add", "-u", "-n", "-v", "-I", "-x"] + words)
        if answer.timed_out or _LOCKED.search(answer.text):
            self._checked(answer, "pkg_add -n")
        return text.parse_report(answer, packages)

    def download(self, plan: base.Plan, until: float) -> None:
        """See base.Manager; both programs fetch while they install."""

    def commit(self, plan: base.Plan, until: float) -> None:
        """See base.Manager; syspatch may update itself and wants to be started again then."""
        self.unlocked(until)
        wanted = [package for package in plan.install if package.old and package.name != BASE]
        if any(package.name == BASE for package in plan.install):
            self._patch()
        if not wanted:
            return
        stems = [package.name for package in wanted if package.name != QUIRKS]
        words = _whole(stems, self._packages()) if set(plan.excluded) - {BASE} else []
        answer = self._call(["pkg_add"] + list(_PKG_ADD) + words, logged=True)
        after = text.versions(self._packages())
        missing = [row.name for row in plan.install if row.name != BASE
                   and after.get(row.name) != row.new]
        # What the plan has kept back makes pkg_add end with 1, too.
        if missing or answer.code not in (0, 1):
            self._checked(answer, "pkg_add -u: %s" % settle.some(missing))

    def _patch(self) -> None:
        for _ in range(RUNS):
            answer = self._call(["syspatch"], logged=True)
            self.relinked = self.relinked or bool(_RELINKED.search(answer.text))
            again = answer.code == 2 and _AGAIN in answer.text
            if not again:
                break
        # Without a word, 2 says that there was nothing to do.
        if answer.code != 2 or answer.text.strip():
            self._checked(answer, "base: syspatch")

    def leftovers(self) -> Dict[str, int]:
        """See base.Manager; pkg_add leaves changed samples where they are, and no copy."""
        return {}

    def reboot_reasons(self) -> Optional[List[str]]:
        """See base.Manager: a kernel that was linked by a patch.

        After every boot, too, a kernel is linked, and while that goes on no patch is applied.
        """
        if self.relinked:
            return ["syspatch has linked a new kernel"]
        answer = self._call(["sysctl", "-n", "kern.boottime"])
        try:
            boot, linked = int(answer.out.split()[0]), os.stat(self.path("/bsd")).st_mtime
        except (ValueError, IndexError, OSError):
            return None
        folder = self.path(APPLIED)
        applied = [os.stat(os.path.join(folder, name)).st_mtime
                   for name in (os.listdir(folder) if os.path.isdir(folder) else ())]
        late = linked > boot + BOOT_S or any(boot < stamp <= linked for stamp in applied)
        return ["/bsd is newer than the boot"] if late else []

    def _call(self, argv: List[str], logged: bool = False) -> base.Answer:
        if argv[0] in ("pkg_add", "pkg_info") and locks.flocked(self.path(DATABASE)):
            raise base.Locked("%s is locked by another process" % DATABASE)
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
            kind = base.Locked if _LOCKED.search(answer.text) else base.ManagerError
            raise kind("%s: %s (exit code %d)" % (what, _line(answer.text), answer.code))
        return answer


def _line(output: str) -> str:
    """Return the line that says best why a command failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.match(line)]
    return (telling[:1] or lines[-1:] or ["no output"])[0][:300]


def _unfinished(packages: Sequence[str]) -> str:
    left = [name for name in packages if name.startswith(text.PARTIAL)]
    return "not completely installed: %s: see pkg_check(8) and pkg_delete(1)" % (
        settle.some(left)) if left else ""


def _whole(stems: Sequence[str], packages: Sequence[str]) -> List[str]:
    """Return what names the packages: a stem that is installed twice is none for pkg_add."""
    copies: Dict[str, List[str]] = {}
    for name in packages:
        copies.setdefault(text.parts(name)[0], []).append(name)
    return [word for stem in sorted(stems)
            for word in (sorted(copies[stem]) if len(copies.get(stem, ())) > 1 else [stem])]


def _with_quirks(selection: base.Selection, updates: Collection[str], stuck: Set[str],
                 installed: Collection[str]) -> base.Selection:
    """Let quirks come along with whatever else is chosen, and never alone by its name."""
    unwanted, _ = names.unwanted(selection.only, selection.exclude, updates, installed)
    if (QUIRKS not in updates or selection.security_only
            or unwanted.get(QUIRKS) == settle.BLACKLISTED):
        return selection
    if set(updates) - set(unwanted) - stuck - {BASE, QUIRKS}:
        return selection._replace(only=selection.only + (QUIRKS,) if selection.only else ())
    if QUIRKS not in unwanted and set(unwanted) - {BASE}:
        return selection._replace(exclude=selection.exclude + (QUIRKS,))
    return selection


def _silence(report: text.Report) -> Tuple[str, ...]:
    """Return a warning for each way in which packages were not answered for."""
    unsaid = [name for name in report.unsaid if text.parts(name)[0] not in report.ended]
    said = "pkg_add ended before it looked at %s" if report.ended else "pkg_add says nothing of %s"
    return tuple(["%s: %s" % ("packages on no mirror", settle.some(report.without))]
                 * bool(report.without) + [said % settle.some(unsaid)] * bool(unsaid))


def _named(plan: base.Plan, selection: base.Selection, report: text.Report,
           installed: Collection[str]) -> base.Plan:
    """Return the plan with what only pkg_add knows of what is left."""
    left = {row.name: row for row in plan.left}
    if selection.security_only:
        why = settle.NO_METADATA % "pkg_add"
        left = {name: base.Left(name, why) if row.why == settle.NOT_SECURITY else row
                for name, row in left.items()}
    elif left.get(QUIRKS, base.Left("", "")).why == settle.BLACKLISTED and not names.expand(
            selection.exclude, [QUIRKS])[0]:
        left[QUIRKS] = base.Left(QUIRKS, ALONG, base.POLICY)
    # A stem may be going in one branch and kept in the other; what ended the run has no row.
    failed = [row.name for row in report.kept] + list(report.ended)
    unwanted, _ = names.unwanted(selection.only, selection.exclude, failed, installed)
    for name in failed:
        if name not in unwanted and not selection.security_only:
            left.setdefault(name, base.Left(name, report.why[name]))
    return plan._replace(left=tuple(sorted(left.values())))
