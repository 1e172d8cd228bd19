# SPDX-License-Identifier: BSD-2-Clause
"""What apk prints, as values.

Pure functions over text. A plan is rows `(1/5) Upgrading NAME (OLD -> NEW)`, numbered without a
gap, and at its end `OK: 8 MiB in 7 packages`, where the packages that are there afterwards are
counted; both numbers must agree with what was read. A version begins with a digit and may lack
the -rN of Alpine's own packages, as those that vendors and `apk add --virtual` make do. Facts:
apk-tools 2.14 and 3.0 (tests/data/transcripts), apk(8), apk-package(5), apk-world(5).
"""

import re
from typing import Dict
from typing import Iterable
from typing import List
from typing import Tuple

from qualvosec.helper.managers import base
from qualvosec.helper.managers import settle

_FULL = re.compile(r"([A-Za-z0-9_.][A-Za-z0-9._+-]{0,127})-([0-9][^-\s]*(?:-r[0-9]+)?)")
_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9._+-]{0,127}")
_OLDER = re.compile(r"(\S+)\s+<\s+(\S+)(?:\s.*)?")
_TABLE = re.compile(r"Installed:\s+Available:\s*")
# apk 3 pads the number. A name may carry the tag of the repository that it is pinned to.
_STEP = re.compile(r"\( *([0-9]+)/([0-9]+)\) (.*)")
_CHANGE = re.compile(r"(\w+) (\S+?)(?:@\S+)? \(([^\s)]+)(?: -> ([^\s)]+))?\)")
_IDLE = ("Replacing ", "Reinstalling ", "Updating pinning ", "Downloading ",
         "[APK unavailable, skipped] ")
_END = re.compile(r"(?:OK:|[0-9]+ errors?;) .* in ([0-9]+) packages")
_UNKNOWN = "apk upgrade: answers in an unknown form"
UNSELECTABLE = "unable to select packages"


def parse_installed(text: str) -> Dict[str, str]:
    """Read `apk info -v`: {name: version}; raises ManagerError."""
    rows = [_FULL.fullmatch(line.strip()) for line in text.splitlines() if line]
    if None in rows:
        raise base.ManagerError("apk info: answers in an unknown form")
    return {row.group(1): row.group(2) for row in rows if row}


def parse_older(text: str) -> Dict[str, base.Package]:
    """Read `apk version -l <`: what is older than in the repositories; raises ManagerError."""
    found = {}
    if not _TABLE.match(text):
        raise base.ManagerError("apk version: answers in an unknown form: it has no heading")
    for line in text.splitlines():
        row = _OLDER.fullmatch(line.strip())
        full = _FULL.fullmatch(row.group(1)) if row else None
        if row and full:
            found[full.group(1)] = base.Package(full.group(1), full.group(2), row.group(2))
        elif line.strip() and not _TABLE.fullmatch(line.strip()):
            raise base.ManagerError("apk version: answers in an unknown form: %r" % line[:120])
    return found


def parse_changes(text: str, before: int) -> settle.Simulation:
    """Read a dry run on a system of `before` packages; raises ManagerError."""
    install: List[base.Package] = []
    removed: List[str] = []
    gone, read, after = 0, [], -1
    for line in text.splitlines():
        end = _END.fullmatch(line.strip())
        after = int(end.group(1)) if end else after
        if not line.startswith("("):
            continue
        step = _STEP.fullmatch(line.rstrip())
        found = _CHANGE.fullmatch(step.group(3)) if step else None
        if step:
            read.append((int(step.group(1)), int(step.group(2))))
        if step and step.group(3).startswith(_IDLE):
            continue
        if not found:
            raise base.ManagerError(_UNKNOWN)
        verb, name, first, second = found.groups("")
        if not _NAME.fullmatch(name):
            raise base.ManagerError("a package %r is listed that cannot exist" % name[:80])
        if verb == "Upgrading":
            install.append(base.Package(name, first, second))
        elif verb == "Installing":
            install.append(base.Package(name, "", first))
        else:
            removed.append(name)
            gone += verb == "Purging"
    _counted(read, after, before - gone + sum(not row.old for row in install))
    return settle.Simulation(tuple(install), tuple(removed))


def _counted(read: List[Tuple[int, int]], after: int, expected: int) -> None:
    """Raise ManagerError where less or more was read than apk announces."""
    if after < 0:
        raise base.ManagerError(_UNKNOWN + ": it has no end")
    wanted: List[Tuple[int, int]] = []
    while len(wanted) < len(read):
        # A system library or apk-tools itself is a run of its own before the others.
        total = read[len(wanted)][1]
        wanted += [(number + 1, total) for number in range(total)]
    if wanted != read:
        raise base.ManagerError("apk upgrade: announces %d steps, %d of them can be read"
                                % (len(wanted), len(set(read) & set(wanted))))
    if after != expected:
        raise base.ManagerError("apk upgrade: ends with %d packages, %d follow from its steps"
                                % (after, expected))


def parse_conflict(text: str) -> Tuple[List[str], str]:
    """Return the names in what follows `unable to select packages`, and that as one line."""
    lines = text.partition(UNSELECTABLE)[2].splitlines()[1:]
    said = " ".join(" ".join(line.split()) for line in lines if line.startswith(" "))
    words = [word for word in re.split(r"[\s\[\]:!=<>~]+", said) if word]
    full = [_FULL.fullmatch(word) for word in words]
    return sorted({row.group(1) if row else word for row, word in zip(full, words)}), said


def held(world: str) -> List[str]:
    """Return the names that the list of what is wanted holds at some version."""
    return [found.group(1) for found in
            (re.match(r"([A-Za-z0-9_.][A-Za-z0-9._+-]*)(?:@\S+?)?[=<>~]", word)
             for word in world.split()) if found]


def repositories(texts: Iterable[str]) -> List[str]:
    """Return the lines that name a repository."""
    return [line.strip() for text in texts for line in text.splitlines()
            if line.strip() and not line.strip().startswith("#")]


def failure(text: str) -> str:
    """Return the line that says best why a command failed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for start in ("ERROR:", "WARNING:", ""):
        chosen = [line for line in lines if line.startswith(start)]
        if chosen:
            return chosen[0][:300]
    return "no output"
