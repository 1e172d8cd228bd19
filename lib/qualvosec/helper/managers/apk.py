# SPDX-License-Identifier: BSD-2-Clause
"""apk: Alpine and what descends from it.

What is left out goes behind `--ignore` of one command. The run is `upgrade`, never `add`, which
would change the list of what the administrator wants. Alpine's repositories do not say what
is a security update. A system that runs from memory would lose its updates with the
reboot that follows them, so it is not served. Facts: apk(8), apk-upgrade(8).
"""

import os
import re
from typing import Collection
from typing import Dict
from typing import List
from typing import Optional
from typing import Sequence
from typing import Set

from qualvosec.helper.managers import base
from qualvosec.helper.managers import kernel
from qualvosec.helper.managers import locks
from qualvosec.helper.managers import settle
from qualvosec.helper.managers import system

REFRESH_S = 900
QUERY_S = 300
LOCKED = 99
LOCKS = ("/lib/apk/db/lock", "/usr/lib/apk/db/lock")
DATABASES = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
_FULL = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._+-]{0,127})-([^-\s]+-r[0-9]+)")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
_OLDER = re.compile(r"(\S+)\s+<\s+(\S+)(?:\s.*)?")
# apk 3 pads the number. A name may carry the tag of the repository that it is pinned to.
_STEP = re.compile(r"\( *[0-9]+/[0-9]+\) (.*)")
_CHANGE = re.compile(r"(\w+) (\S+?)(?:@\S+)? \(([^\s)]+)(?: -> ([^\s)]+))?\)")
_IDLE = ("Replacing ", "Reinstalling ", "Updating pinning ", "Downloading ",
         "[APK unavailable, skipped] ")


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

    def installed(self) -> Dict[str, str]:
        """See base.Manager."""
        rows = [_FULL.fullmatch(line) for line in self._query(["info", "-v"]).splitlines() if line]
        if None in rows:
            raise base.ManagerError("apk info: answers in an unknown form")
        bad = self._unfinished()
        return {row.group(1): "" if row.group(1) in bad else row.group(2) for row in rows if row}

    def plan(self, selection: base.Selection, detail: bool = False) -> base.Plan:
        """See base.Manager."""
        self._not_from_memory()
        installed = self.installed()
        updates: Dict[str, base.Package] = {}
        for full, new in _OLDER.findall(self._query(["version", "-l", "<"])):
            row = _FULL.fullmatch(full)
            if row:
                updates[row.group(1)] = base.Package(row.group(1), row.group(2), new)
        found = settle.Pending(updates, installed)
        return settle.plan(self.name, selection, found, self._simulate)

    def _not_from_memory(self) -> None:
        try:
            with open(self.path("/proc/mounts"), encoding="utf-8", errors="replace") as file:
                rows = [line.split() for line in file]
        except OSError:
            return
        kinds = [row[2] for row in rows if len(row) > 2 and row[1] == "/"]
        if kinds and kinds[-1] == "tmpfs":
            raise base.Unsupported("a system that runs from memory: its updates would be lost "
                                   "with the next reboot")

    def _simulate(self, excluded: Set[str]) -> settle.Simulation:
        whole = self._changes(excluded)
        needs = {}
        # apk does not say which update makes a package superfluous, or older.
        for name in sorted({package.name for package in whole.install if package.old}
                           | set(whole.removed)) if whole.removed else ():
            saved = set(whole.removed) - set(self._changes(excluded | {name}).removed)
            if saved:
                needs[name] = ("would be downgraded" if saved == {name} else
                               "needs the removal of %s" % settle.some(sorted(saved)))
        return whole._replace(removed=() if needs else whole.removed, needs=needs)

    def _changes(self, excluded: Set[str]) -> settle.Simulation:
        install, removed = [], []
        for line in self._query(["upgrade", "--simulate"] + _ignore(excluded)).splitlines():
            if not line.startswith("("):
                continue
            step = _STEP.fullmatch(line.rstrip())
            if step and step.group(1).startswith(_IDLE):
                continue
            found = _CHANGE.fullmatch(step.group(1)) if step else None
            if not found:
                raise base.ManagerError("apk upgrade: answers in an unknown form")
            verb, name, first, second = found.groups("")
            if not _NAME.fullmatch(name):
                raise base.ManagerError("a package %r is listed that cannot exist" % name[:80])
            if verb == "Upgrading":
                install.append(base.Package(name, first, second))
            elif verb == "Installing":
                install.append(base.Package(name, "", first))
            else:
                removed.append(name)
        return settle.Simulation(tuple(install), tuple(removed))

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
        errors = [line for line in answer.text.splitlines() if line.startswith("ERROR:")]
        why = (errors or answer.text.split("\n")[:1] or ["no output"])[0][:300]
        if answer.code == LOCKED and "lock" in answer.text:
            raise base.Locked("%s: %s" % (what, why))
        raise base.ManagerError("%s: %s (exit code %d)" % (what, why, answer.code))


def _ignore(excluded: Collection[str]) -> List[str]:
    return ["--ignore", "--"] + sorted(excluded) if excluded else []
