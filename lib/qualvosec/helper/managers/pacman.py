# SPDX-License-Identifier: BSD-2-Clause
"""pacman: Arch Linux and what descends from it.

A system that is updated in parts is not supported there: packages_whitelist is refused, and what
packages_blacklist names takes its dependents along. The lists of the plan lie in a directory of
their own, so that a run which installs nothing does not leave the system with newer
lists than packages. What would replace or remove a package is left out. pacman's lock is
the existence of a file; it is removed when it is from before the boot and no pacman lives.
Facts: pacman(8), PKGBUILD(5).
"""

import os
import re
import shutil
from typing import Collection
from typing import Dict
from typing import List
from typing import Mapping
from typing import Optional
from typing import Sequence
from typing import Set

from qualvosec.helper.managers import base
from qualvosec.helper.managers import kernel
from qualvosec.helper.managers import locks
from qualvosec.helper.managers import rpm
from qualvosec.helper.managers import settle
from qualvosec.helper.managers import system

REFRESH_S = 900
QUERY_S = 300
DATABASE = "/var/lib/pacman"
LOCK = DATABASE + "/db.lck"
KEYRING = "archlinux-keyring"
PARTIAL = "packages_whitelist: a system that is updated in parts is not supported on this system"
_NAME = re.compile(r"[a-z0-9@_+][a-z0-9@._+-]{0,127}")
_UPDATE = re.compile(r"(\S+) (\S+) -> (\S+)( \[ignored\])?")
_UNMET = re.compile(r"unable to satisfy dependency '([^']+)' required by (\S+)")
_BREAKS = re.compile(r"installing (\S+) \([^)]*\) breaks dependency '[^']+' required by (\S+)")
_PACKAGES = re.compile(r"(?m)^Packages \(([0-9]+)\) ")
_RELATION = re.compile(r"([^<>=\s]+)(?:(<=|>=|=|<|>)(\S+))?")
# What pacman -Qu says, with the code of "nothing is pending", where it cannot know.
_FAULT = re.compile(r"(?m)^(?:error: |warning: database file for )")
_RUN = ("--noconfirm", "--noprogressbar", "--color", "never")


class Pacman(base.Manager):
    """pacman 6 or later."""

    name = "pacman"

    def __init__(self, world: base.World) -> None:
        super().__init__(world)
        self.private = ""

    def _user(self) -> int:
        return locks.user_of(self.world.root, "pacman", "libalpm.so")

    def _stale(self) -> bool:
        # The clock alone does not prove it: it may have been wrong while the system booted.
        booted = kernel.boot_time(self.world.root)
        return (booted is not None and os.lstat(self.path(LOCK)).st_mtime < booted
                and self._user() == 0)

    def busy(self) -> str:
        """See base.Manager; a lock of this boot may be stale, too: that a person has to say."""
        if not os.path.lexists(self.path(LOCK)) or self._stale():
            return ""
        user = self._user()
        if user > 0:
            return "%s exists, and process %d may be its owner" % (LOCK, user)
        if user < 0:
            return "%s exists, and no process can be seen: is a pacman running?" % LOCK
        return "%s exists, but no pacman is running: one was killed; remove the file" % LOCK

    def broken(self) -> str:
        """See base.Manager."""
        if os.path.lexists(self.path(LOCK)) and self._stale():
            return "%s is left from before the boot" % LOCK
        local = self.path(DATABASE + "/local")
        bad = [name for name in (os.listdir(local) if os.path.isdir(local) else ())
               if os.path.isdir(os.path.join(local, name))
               and not os.path.exists(os.path.join(local, name, "desc"))]
        return "not completely installed: %s" % settle.some(bad) if bad else ""

    def recover(self, until: float) -> None:
        """See base.Manager: a stale lock goes; a half-written entry is for a person."""
        if os.path.lexists(self.path(LOCK)) and self._stale():
            os.unlink(self.path(LOCK))
        left = self.broken()
        if left:
            raise base.ManagerError("cannot be repaired: %s" % left)

    def refresh(self, until: float) -> None:
        """See base.Manager; into lists that only the next plan reads."""
        self._forget()
        folder = os.path.join(self.world.run_dir, "qualvosec-pacman-" + os.urandom(8).hex())
        os.mkdir(folder, 0o755)
        os.symlink(DATABASE + "/local", os.path.join(folder, "local"))
        self.private = folder
        end = min(until, self.world.now() + REFRESH_S)
        argv = self._argv(["-Sy"] + self._database() + list(_RUN))
        try:
            self._checked(self.call(argv, system.ENVIRONMENT, end), "pacman -Sy")
        except base.ManagerError:
            self._forget()
            raise

    def _database(self) -> List[str]:
        # pacman takes the path as it is, also with another root directory.
        return ["--dbpath", self.private] if self.private else []

    def _forget(self) -> None:
        if self.private:
            shutil.rmtree(self.private)
        self.private = ""

    def installed(self) -> Dict[str, str]:
        """See base.Manager."""
        rows = [line.split(" ") for line in self._query(["-Q"]).splitlines() if line]
        if any(len(row) != 2 or not _NAME.fullmatch(row[0]) for row in rows):
            raise base.ManagerError("pacman -Q: answers in an unknown form")
        return {row[0]: row[1] for row in rows}

    def plan(self, selection: base.Selection, detail: bool = False) -> base.Plan:
        """See base.Manager."""
        try:
            if selection.only:
                raise base.Unsupported(PARTIAL)
            installed = self.installed()
            argv = self._argv(["-Qu"] + self._database())
            answer = self.call(argv, system.ENVIRONMENT, self.world.now() + QUERY_S)
            if answer.code != 1 or answer.out.strip() or _FAULT.search(answer.text):
                # 1 without a word: nothing is pending.
                self._checked(answer, "pacman -Qu")
            rows = [_UPDATE.fullmatch(line) for line in answer.out.splitlines() if line]
            if None in rows:
                raise base.ManagerError("pacman -Qu: answers in an unknown form")
            updates = {row.group(1): base.Package(row.group(1), row.group(2), row.group(3))
                       for row in rows if row}
            held = [row.group(1) for row in rows if row and row.group(4)]
            found = settle.Pending(updates, installed, held=held)
            return settle.plan(self.name, selection, found, lambda excluded: self._compared(
                self._simulate(excluded, installed), set(updates) - set(held) - excluded))
        finally:
            self._forget()

    def _compared(self, found: settle.Simulation, pending: Set[str]) -> settle.Simulation:
        """Return it; raises ManagerError where -Su and -Qu do not name the same updates."""
        coming = {package.name for package in found.install if package.old}
        if not found.needs and coming != pending:
            raise base.ManagerError("pacman: %d updates announced, %d would be installed: %s" % (
                len(pending), len(coming), settle.some(coming ^ pending)))
        return found

    def _simulate(self, excluded: Set[str], installed: Mapping[str, str]) -> settle.Simulation:
        argv = self._argv(["-Su", "--print", "--print-format", "%n %v"] + self._database()
                          + list(_RUN) + _ignore(excluded))
        answer = self.call(argv, system.ENVIRONMENT, self.world.now() + QUERY_S)
        unmet = {name: settle.NEEDS_EXCLUDED if excluded else settle.UNSATISFIED
                 for _, name in _UNMET.findall(answer.text)}
        unmet.update({name: "would break %s" % other
                      for name, other in _BREAKS.findall(answer.text)})
        if answer.code == 1 and unmet:
            return settle.Simulation((), (), unmet)
        self._checked(answer, "pacman -Su --print")
        rows = [line.split(" ") for line in answer.out.splitlines()
                if line and not line.startswith((":", " ", "warning:"))]
        if any(len(row) != 2 or not _NAME.fullmatch(row[0]) for row in rows):
            raise base.ManagerError("pacman -Su: answers in an unknown form")
        after = dict(installed, **{row[0]: row[1] for row in rows})
        needs = self._removals([row[0] for row in rows], after) if rows else {}
        return settle.Simulation(tuple(base.Package(name, installed.get(name, ""), version)
                                       for name, version in rows), (), needs)

    def _removals(self, coming: List[str], after: Mapping[str, str]) -> Dict[str, str]:
        """Say which packages conflict with, or replace, what would be installed afterwards."""
        found: Dict[str, str] = {}
        text = self._query(["-Si"] + self._database() + ["--"] + coming)
        name, inside = "", False
        for line in text.splitlines():
            key, colon, value = line.partition(" : ")
            if colon and not line.startswith(" "):
                key = key.strip()
                name = value.strip() if key == "Name" else name
                inside = key in ("Conflicts With", "Replaces")
            elif not line.startswith(" "):
                inside = False
            for word in (value if colon else line).split() if inside else ():
                other = _RELATION.fullmatch(word)
                if other and other.group(1) != name and other.group(1) in after and (
                        _holds(after[other.group(1)], other.group(2), other.group(3))):
                    found[name] = "needs the removal of %s" % other.group(1)
        return found

    def download(self, plan: base.Plan, until: float) -> None:
        """See base.Manager; new keys must be there before anything that they sign."""
        argv = self._argv(["-Sy"] + list(_RUN))
        self._checked(self.call(argv, system.ENVIRONMENT, until), "pacman -Sy")
        if not any(package.name == KEYRING and package.old for package in plan.install):
            argv = self._argv(["-Suw"] + list(_RUN) + _ignore(plan.excluded))
            answer = self._checked(self.call(argv, system.ENVIRONMENT, until), "pacman -Suw")
            said = _PACKAGES.findall(answer.out)
            if said != [str(len(plan.install))]:
                raise base.ManagerError("pacman -Suw: %s packages announced, %d planned" % (
                    said[0] if said else "no", len(plan.install)))
        again = self._simulate(set(plan.excluded), self.installed())
        if again.needs or sorted(p[:3] for p in again.install) != sorted(
                p[:3] for p in plan.install):
            raise base.ManagerError("pacman: the repositories have changed since the plan")

    def commit(self, plan: base.Plan, until: float) -> None:
        """See base.Manager."""
        self.unlocked(until)
        if any(package.name == KEYRING and package.old for package in plan.install):
            self._commit(["-S", "--needed"] + list(_RUN) + ["--", KEYRING])
        self._commit(["-Su"] + list(_RUN) + _ignore(plan.excluded))

    def _commit(self, words: List[str]) -> None:
        """Run what changes the system: no deadline, never signalled, output to the log."""
        answer = self.call(self._argv(words), system.ENVIRONMENT, logged=True)
        self._checked(answer, "pacman " + words[0])

    def leftovers(self) -> Dict[str, int]:
        """See base.Manager."""
        return self.beside(("/etc",), (".pacnew", ".pacsave"))

    def reboot_reasons(self) -> Optional[List[str]]:
        """See base.Manager."""
        return kernel.modules_gone(self.world.root, os.uname().release)

    def _argv(self, words: Sequence[str]) -> List[str]:
        return [self.program("pacman")] + list(words)

    def _query(self, words: Sequence[str]) -> str:
        answer = self.call(self._argv(words), system.ENVIRONMENT, self.world.now() + QUERY_S)
        return self._checked(answer, "pacman " + words[0]).out

    def _checked(self, answer: base.Answer, what: str) -> base.Answer:
        if answer.timed_out:
            raise base.ManagerError("%s: was not finished in time and ended" % what)
        if answer.code == 0:
            return answer
        lines = [line for line in answer.text.splitlines() if line.startswith("error:")]
        why = (lines or answer.text.splitlines()[-1:] or ["no output"])[0][:300]
        kind = base.Locked if "unable to lock database" in answer.text else base.ManagerError
        raise kind("%s: %s (exit code %d)" % (what, why, answer.code))


def _ignore(excluded: Collection[str]) -> List[str]:
    return ["--ignore=" + name for name in sorted(excluded)]


def _holds(version: str, relation: Optional[str], wanted: Optional[str]) -> bool:
    if not relation or not wanted:
        return True
    order = rpm.compare(version, wanted)
    return (order == 0 and "=" in relation) or (order < 0 and "<" in relation) or (
        order > 0 and ">" in relation)
