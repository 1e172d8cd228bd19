# SPDX-License-Identifier: BSD-2-Clause
"""apk: Alpine and what descends from it.

What is left out goes behind `--ignore` of one command. The run is `upgrade`, never `add`, which
would change the list of what the administrator wants. Alpine's repositories do not say what
is a security update. A system that runs from memory would lose its updates with the
reboot that follows them, so it is not served. A package whose script fails stays marked: it is
named, and the others go on. Facts: apk(8), apk-upgrade(8), apk-repositories(5), apk-world(5).
"""

import os
import re
from typing import Collection
from typing import Dict
from typing import List
from typing import Optional
from typing import Sequence
from typing import Set

from qualvosec.helper.managers import apk_text as text
from qualvosec.helper.managers import base
from qualvosec.helper.managers import kernel
from qualvosec.helper.managers import locks
from qualvosec.helper.managers import settle
from qualvosec.helper.managers import system

REFRESH_S = 900
QUERY_S = 300
LOCKS = ("/lib/apk/db/lock", "/usr/lib/apk/db/lock")
DATABASES = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
WORLD = "/etc/apk/world"
REPOSITORIES = ("/etc/apk/repositories", "/etc/apk/repositories.d", "/lib/apk/repositories.d")
_LOCKED = re.compile("[Uu]nable to lock database")


class _Unselectable(base.ManagerError):
    """No choice of versions satisfies all dependencies; `names` are said to be in the way."""

    def __init__(self, names: List[str], why: str) -> None:
        super().__init__("apk upgrade: %s: %s" % (text.UNSELECTABLE, why[:300]))
        self.names, self.why = names, why[:300]


class Apk(base.Manager):
    """apk 2.12 or later."""

    name = "apk"

    def busy(self) -> str:
        """See base.Manager."""
        held = [name for name in LOCKS if locks.flocked(self.path(name))]
        return "%s is locked by another process" % held[0] if held else ""

    def broken(self) -> str:
        """See base.Manager."""
        bad = self._unfinished()
        return "not completely installed: %s" % settle.some(bad) if bad else ""

    def _unfinished(self) -> List[str]:
        """Return what apk marks in its database as not finished.

        The flags are f, s and x for files, script and attributes; S names only the kind of
        hash that packages in the format of apk 3 have. Seen with apk-tools 3.0.8.
        """
        bad: List[str] = []
        for name in DATABASES:
            if not os.path.exists(self.path(name)):
                continue
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                package = ""
                for line in file:
                    package = line[2:].strip() if line.startswith("P:") else package
                    if line.startswith("f:") and line[2:].strip().strip("S"):
                        bad.append(package)
            break
        return bad

    def recover(self, until: float) -> None:
        """See base.Manager."""
        self._checked(self.call([self.program("apk"), "fix"], system.ENVIRONMENT, logged=True),
                      "apk fix")
        left = self.broken()
        if left:
            raise base.ManagerError("cannot be repaired: %s" % left)

    def refresh(self, until: float) -> None:
        """See base.Manager."""
        end = min(until, self.world.now() + REFRESH_S)
        answer = self.call([self.program("apk"), "update"], system.ENVIRONMENT, end)
        self._checked(answer, "apk update")
        failed = [line for line in answer.text.splitlines()
                  if line.startswith(("WARNING: opening", "WARNING: updating", "ERROR:"))]
        if failed:
            raise base.ManagerError("apk update: %s" % failed[0][:300])
        if not text.repositories(self._read(path) for path in self._lists()):
            raise base.ManagerError("%s: no repository is configured" % REPOSITORIES[0])

    def _lists(self) -> List[str]:
        """Return the files that name repositories; apk 3 knows directories of them, too."""
        folders = [self.path(name) for name in REPOSITORIES[1:]]
        return [self.path(REPOSITORIES[0])] + [
            os.path.join(folder, name) for folder in folders if os.path.isdir(folder)
            for name in sorted(os.listdir(folder)) if name.endswith(".list")]

    def _read(self, path: str) -> str:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def installed(self) -> Dict[str, str]:
        """See base.Manager."""
        bad = self._unfinished()
        return {name: "" if name in bad else version for name, version
                in text.parse_installed(self._query(["info", "-v"])).items()}

    def plan(self, selection: base.Selection, detail: bool = False) -> base.Plan:
        """See base.Manager."""
        installed = self.installed()
        updates = text.parse_older(self._query(["version", "-l", "<"]))
        everything = self._without(len(installed), set())
        for package in everything.install if everything else ():
            if package.old:
                updates.setdefault(package.name, package)
        held = text.held(self._read(self.path(WORLD)))
        found = settle.Pending(updates, installed, False, held)
        return settle.plan(self.name, selection, found, lambda excluded: self._simulate(
            set(updates), len(installed), excluded, everything))

    def fits(self) -> None:
        """See base.Manager."""
        try:
            with open(self.path("/proc/mounts"), encoding="utf-8", errors="replace") as file:
                rows = [line.split() for line in file]
        except OSError:
            return
        kinds = [row[2] for row in rows if len(row) > 2 and row[1] == "/"]
        if kinds and kinds[-1] == "tmpfs":
            raise base.Unsupported("a system that runs from memory: its updates would be lost "
                                   "with the next reboot")

    def _simulate(self, updates: Set[str], before: int, excluded: Set[str],
                  everything: Optional[settle.Simulation]) -> settle.Simulation:
        try:
            whole = everything if everything and not excluded else self._changes(before, excluded)
        except _Unselectable as error:
            stuck = updates.intersection(error.names) - excluded
            if not stuck:
                raise
            return settle.Simulation((), (), dict.fromkeys(stuck, error.why))
        needs = self._drag_in(before, excluded, whole)
        # apk does not say which update makes a package superfluous, or older.
        for name in sorted({package.name for package in whole.install if package.old}
                           | set(whole.removed)) if whole.removed else ():
            rest = self._without(before, excluded | {name})
            saved = set(whole.removed) - set(rest.removed) if rest else set()
            if saved:
                needs[name] = ("would be downgraded" if saved == {name} else
                               "needs the removal of %s" % settle.some(sorted(saved)))
        missing = updates - excluded - {package.name for package in whole.install}
        if excluded and missing and not needs:
            able = {row.name for row in everything.install} if everything else missing
            needs.update(dict.fromkeys(missing & able, "%s: %s" % (
                settle.NEEDS_EXCLUDED, settle.some(sorted(excluded)))))
        return settle.Simulation(whole.install, () if needs else whole.removed, needs)

    def _drag_in(self, before: int, excluded: Set[str], whole: settle.Simulation) -> Dict[str, str]:
        """Return the update that brings in something new which is excluded: --ignore does not help.

        What needs a package comes behind it, so the next one is tried first.
        """
        for place, new in enumerate(whole.install):
            if new.old or new.name not in excluded:
                continue
            for package in whole.install[place + 1:] + whole.install[:place]:
                rest = self._without(before, excluded | {package.name}) if package.old else None
                if rest and new.name not in {each.name for each in rest.install}:
                    return {package.name: "%s: %s" % (settle.NEEDS_EXCLUDED, new.name)}
        return {}

    def _without(self, before: int, excluded: Set[str]) -> Optional[settle.Simulation]:
        """Return what would be done, None where apk cannot do that."""
        try:
            return self._changes(before, excluded)
        except _Unselectable:
            return None

    def _changes(self, before: int, excluded: Set[str]) -> settle.Simulation:
        argv = [self.program("apk"), "upgrade", "--simulate"] + _ignore(excluded)
        answer = self.call(argv, system.ENVIRONMENT, self.world.now() + QUERY_S)
        if answer.code and text.UNSELECTABLE in answer.text:
            raise _Unselectable(*text.parse_conflict(answer.text))
        # What is marked as unfinished is counted as an error of every command.
        if not (answer.code == 1 and "ERROR:" not in answer.text and self.broken()):
            self._checked(answer, "apk upgrade")
        return text.parse_changes(answer.out, before)

    def download(self, plan: base.Plan, until: float) -> None:
        """See base.Manager; apk fetches each package while it installs."""

    def commit(self, plan: base.Plan, until: float) -> None:
        """See base.Manager; apk itself is updated first and starts again by itself."""
        self.unlocked(until)
        argv = [self.program("apk"), "upgrade"] + _ignore(plan.excluded)
        self._checked(self.call(argv, system.ENVIRONMENT, logged=True), "apk upgrade")

    def leftovers(self) -> Dict[str, int]:
        """See base.Manager."""
        return self.beside(("/etc",), (".apk-new",))

    def reboot_reasons(self) -> Optional[List[str]]:
        """See base.Manager."""
        return kernel.modules_gone(self.world.root, os.uname().release)

    def _query(self, words: Sequence[str]) -> str:
        argv = [self.program("apk")] + list(words)
        answer = self.call(argv, system.ENVIRONMENT, self.world.now() + QUERY_S)
        return self._checked(answer, "apk " + words[0]).out

    def _checked(self, answer: base.Answer, what: str) -> base.Answer:
        if answer.timed_out:
            raise base.ManagerError("%s: was not finished in time and ended" % what)
        if answer.code == 0:
            return answer
        # The same exit code, 99, stands for other things, too.
        kind = base.Locked if _LOCKED.search(answer.text) else base.ManagerError
        raise kind("%s: %s (exit code %d)" % (what, text.failure(answer.text), answer.code))


def _ignore(excluded: Collection[str]) -> List[str]:
    return ["--ignore", "--"] + sorted(excluded) if excluded else []
