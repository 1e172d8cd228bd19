# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD's base system by freebsd-update: the pseudo-package `base`.

It only ever moves within its own release: a jail, or a base that is older than its host, is told
to freebsd-update, which would take the host's. What an administrator has prepared with `upgrade` is
never fetched over and never installed. An install that was cut off between kernel and world
shows in the mark `kerneldone` alone (the versions are new already) and is finished before
anything else. Facts: freebsd-update (its script and tests/data/transcripts), freebsd-update(8),
freebsd-version(1).
"""

import glob
import os
import re
from typing import Callable
from typing import Dict
from typing import List
from typing import Optional

from qualvosec.helper.managers import base
from qualvosec.helper.managers import settle

BASE = "base"
WORK = "/var/db/freebsd-update"
CUT = "base: an install was cut off between kernel and world"
FINISHED = CUT + ": it was finished"
PREPARED = ("an upgrade to another release is prepared in %s: it is the administrator's to go on "
            "with freebsd-update install, or to drop" % WORK)
NO_RELEASE = "base: freebsd-update serves releases only, this is %s"
TEST_RELEASE = "base: %s is no release yet"
NOT_ROOT = "base: whether freebsd-update has fetched updates only root can see"
CHANGED = "base: changed locally and not updated: %s"
_SERVED = re.compile(r"[0-9.]+-(?:RELEASE|BETA[0-9]+|RC[0-9]+)(?:-p[0-9]+)?")
_TARGET = re.compile(r"as part of updating to\s+([0-9][A-Za-z0-9.-]*):")
_LOCAL = re.compile(r"been modified\s+locally:\n((?:/.*\n)+)")
_PAST = re.compile(r"HAS PASSED ITS END-OF-LIFE DATE")
_NEAR = re.compile(r"WARNING: (FreeBSD \S+ is approaching its End-of-Life date)")
_TELLING = re.compile(r"(?m)^(?:freebsd-update: .*|.*\.\.\. failed\.|No mirrors remaining.*"
                      r"|Files on mirror .*|we are currently running .*|.*cannot be installed.*"
                      r"|is greater than zero.*|.*incompatible with.*"
                      r"|Update manifest is corrupt.*)$")


class FreeBsdUpdate:
    """What one run knows of the base system; `call` runs freebsd-update with these words."""

    def __init__(self, call: Callable[[List[str], float, bool], base.Answer], root: str) -> None:
        self.call, self.root = call, root
        self.release = self.target = self.stays = ""
        self.notes: List[str] = []

    def served(self, release: str, foreign: bool) -> bool:
        """Say whether freebsd-update serves this userland; `foreign`: the kernel is another's."""
        self.release = release if foreign else ""
        if _SERVED.fullmatch(release) and "-RELEASE" not in release:
            self._note(TEST_RELEASE % release)
        return _SERVED.fullmatch(release) is not None

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _words(self, command: str) -> List[str]:
        running = ["--currently-running", self.release] if self.release else []
        return ["--not-running-from-cron"] + running + [command]

    def _marks(self) -> List[str]:
        """Return what lies below the directory of an install that is waiting or not finished."""
        found: List[str] = []
        for path in glob.glob(os.path.join(self.root, WORK.lstrip("/"), "*-install")):
            inside = os.path.join(os.path.dirname(path), os.path.basename(os.path.realpath(path)))
            found += os.listdir(inside) if os.path.isdir(inside) else []
        return found

    def prepared(self) -> bool:
        """Say whether an administrator's upgrade to another release is under way."""
        return "kernelfirst" in self._marks()

    def cut(self) -> bool:
        """Say whether an install of patches was cut off in the middle."""
        return "kerneldone" in self._marks() and not self.prepared()

    def fetch(self, release: str, until: float) -> None:
        """Fetch patches; raises ManagerError, or Refused where they are of another release."""
        if self.prepared():
            return
        answer = self.call(self._words("fetch"), until, False)
        if answer.timed_out:
            raise base.ManagerError("freebsd-update fetch: was not finished in time and ended")
        near = _NEAR.search(answer.out)
        if near:
            self._note("base: " + near.group(1))
        if answer.code and _PAST.search(answer.out):
            # It has done all that it could, and ends so because of the date alone.
            self.stays = "%s has passed its end of life: there are no more patches" % release
        else:
            checked(answer, "freebsd-update fetch")
        found = _TARGET.findall(answer.out)
        self.target = found[-1] if found else ""
        if self.target and self.target.partition("-p")[0] != release.partition("-p")[0]:
            raise base.Refused("base: freebsd-update would go from %s to %s, another release"
                               % (release, self.target))
        local = _LOCAL.search(answer.out)
        if local:
            self._note(CHANGED % settle.some(local.group(1).split()))

    def pending(self, installed: Dict[str, str], until: float) -> Optional[base.Package]:
        """Return the update that is ready; raises ManagerError."""
        if self.prepared():
            self.stays = PREPARED
            return None
        answer = self.call(["updatesready"], until, False)
        if answer.code == 1 and "Permission denied" in answer.text:
            self._note(NOT_ROOT)
            return None
        if answer.code != 2:
            checked(answer, "freebsd-update updatesready")
        return None if answer.code == 2 else base.Package(
            BASE, installed.get(BASE, ""), self.target or "unknown", True)

    def install(self) -> None:
        """Install what is ready, or finish what was cut off; no deadline, never signalled."""
        checked(self.call(self._words("install"), 0, True), "base: freebsd-update install")

    def finish(self) -> None:
        """Finish an install that was cut off; raises ManagerError."""
        self.install()
        if self.cut():
            raise base.ManagerError(CUT)
        self._note(FINISHED)


def checked(answer: base.Answer, what: str) -> base.Answer:
    """Return the answer of a command that succeeded; raises ManagerError."""
    if answer.code == 0:
        return answer
    lines = [line.strip() for line in answer.text.splitlines() if line.strip()]
    why = " ".join(_TELLING.findall(answer.text)) or (lines or ["no output"])[-1]
    raise base.ManagerError("%s: %s (exit code %d)" % (what, why[:300], answer.code))
