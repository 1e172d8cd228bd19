# SPDX-License-Identifier: BSD-2-Clause
"""What FreeBSD's pkg prints, as values.

Pure functions over text. A line of a plan is `NAME: OLD -> NEW [repository] (reason)` or, for
what is removed or installed anew, `NAME-VERSION` or `NAME: VERSION`; a name is never
followed by a dash and a version with a dash in it. Each kind of change is counted at the end
(`Number of packages to be upgraded: 7`), and what was read must agree with that. Facts: pkg 1.21
and 2.8 (tests/data/transcripts), pkg-upgrade(8), pkg-version(8), pkg-audit(8), freebsd-version(1).
"""

import re
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec.helper.managers import base

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
_HEADING = re.compile(r"(?:New|Installed) packages to be ([A-Z]+):")
_COUNT = re.compile(r"Number of packages to be ([a-z]+): ([0-9]+)")
_AFFECTED = re.compile(r"The following ([0-9]+) package\(s\) will be affected")
_ROW = re.compile(r"\s+(\S+): (\S+)(?: -> (\S+))?(?: [\[(].*)?")
_BARE = re.compile(r"\s+(\S+)-([^-\s]+)(?: [\[(].*)?")
_BEHIND = re.compile(r"(\S+)-([^-\s]+)\s+<\s+needs updating \(remote has ([^)\s]+)\)")
_OTHER = re.compile(r"\S+-[^-\s]+\s+[>?!=]\s+\S.*")
_PACKAGE = re.compile(r"(\S+)-([^-\s]+)")
_CONFLICT = re.compile(r"(?m)^ +- (\S+ conflicts with \S+.*)$")
_UP_TO_DATE = "Your packages are up to date."
_GAVE_UP = "Cannot solve problem using SAT solver"
_UPDATE = re.compile(r"(?m)^(?:Unable to update repository .*|- package: .*|- running .*|pkg: .*"
                     r"|No active remote repositories.*)$")
# A repository has got another address: its catalogue is made anew at once.
_HARMLESS = re.compile(r"pkg: Repository \S+ has a wrong packagesite, need to re-create database")
_STEP = re.compile(r"(?m)^\[[0-9]+/[0-9]+\] (\w+ \S+?)(?:\.pkg)?:? ")
SELF = "New version of pkg detected"


class DryRun(NamedTuple):
    """What `pkg upgrade -n` would do; `anew` are packages that stay at their version.

    `conflicts` are given where pkg has left something out because of them.
    """

    install: Tuple[base.Package, ...]
    removed: Tuple[str, ...]
    anew: Tuple[str, ...]
    itself: bool
    conflicts: Tuple[str, ...] = ()


def parse_installed(text: str) -> Tuple[Dict[str, str], List[str]]:
    """Read lines `NAME VERSION LOCKED`: {name: version} and what is locked."""
    rows = [line.split(" ") for line in text.splitlines() if line]
    if any(len(row) != 3 or row[2] not in ("0", "1") for row in rows):
        raise base.ManagerError("pkg query: answers in an unknown form")
    return ({checked_name(row[0]): row[1] for row in rows},
            [row[0] for row in rows if row[2] == "1"])


def parse_behind(text: str) -> Dict[str, base.Package]:
    """Read `pkg version -vRUL=`: the packages that are older than in the repository."""
    found = {}
    for line in text.splitlines():
        row = _BEHIND.fullmatch(line.strip())
        if row:
            name, old, new = row.groups()
            found[checked_name(name)] = base.Package(name, old, new)
        elif line.strip() and not _OTHER.fullmatch(line.strip()):
            raise base.ManagerError("pkg version: answers in an unknown form: %r" % line[:120])
    return found


def parse_changes(text: str) -> DryRun:
    """Read a dry run; a heading that is not known counts as a removal. Raises ManagerError."""
    install: List[base.Package] = []
    removed: List[str] = []
    anew: List[str] = []
    read: Dict[str, int] = {}
    heading = ""
    for line in text.splitlines():
        found = _HEADING.fullmatch(line.strip())
        heading = found.group(1) if found else heading if line.strip() else ""
        if found or not heading:
            continue
        row = _ROW.fullmatch(line) or _BARE.fullmatch(line)
        if not row or (heading == "UPGRADED" and not (row.re is _ROW and row.group(3))):
            raise base.ManagerError("pkg upgrade: answers in an unknown form: %r" % line[:120])
        name = checked_name(row.group(1))
        read[heading.lower()] = read.get(heading.lower(), 0) + 1
        if heading == "UPGRADED":
            install.append(base.Package(name, row.group(2), row.group(3)))
        elif heading == "INSTALLED":
            install.append(base.Package(name, "", row.group(2)))
        elif heading == "REINSTALLED":
            anew.append(name)
        else:
            removed.append(name)
    _counted(text, read)
    return DryRun(tuple(install), tuple(removed), tuple(anew), SELF in text,
                   tuple(_CONFLICT.findall(text)) if _GAVE_UP in text else ())


def _counted(text: str, read: Dict[str, int]) -> None:
    """Raise ManagerError where less or more was read than pkg announces."""
    said = {kind: int(number) for kind, number in _COUNT.findall(text)}
    affected = _AFFECTED.findall(text)
    if bool(read) != bool(affected) or (not read and _UP_TO_DATE not in text):
        raise base.ManagerError("pkg upgrade: answers in an unknown form")
    for kind in sorted(set(said) | set(read)):
        if said.get(kind, 0) != read.get(kind, 0):
            raise base.ManagerError("pkg upgrade: announces %d packages to be %s, %d can be read"
                                    % (said.get(kind, 0), kind, read.get(kind, 0)))
    if affected and int(affected[-1]) != sum(read.values()):
        raise base.ManagerError("pkg upgrade: announces %s packages, %d can be read"
                                % (affected[-1], sum(read.values())))


def parse_audit(text: str) -> Optional[List[str]]:
    """Read `pkg audit -q`: names of vulnerable packages, None if this is something else."""
    rows = [_PACKAGE.fullmatch(line.strip()) for line in text.splitlines() if line.strip()]
    return None if None in rows else [row.group(1) for row in rows if row]


def latest(releases: List[str]) -> str:
    """Return the higher one of releases like 14.1-RELEASE-p7."""
    return max(releases, key=lambda text: [int(part) for part in re.findall(r"[0-9]+", text)])


def checked_name(name: str) -> str:
    """Return a name that a command has listed; raises ManagerError if it cannot be one."""
    if not _NAME.fullmatch(name):
        raise base.ManagerError("a package %r is listed that cannot exist" % name[:80])
    return name


def failure(output: str) -> str:
    """Return what says best why a command failed, with the package that it was about."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    steps = _STEP.findall(output)
    at = " (%s)" % steps[-1] if steps else ""
    for line in lines:
        if re.match(r"(?:pkg|pkg-static): |.*\b(?:[Ee]rror|failed|[Cc]annot)\b", line):
            return line[:300] + at
    return lines[-1][:300] + at if lines else "no output"


def update_failure(output: str) -> str:
    """Return what says why the catalogues could not be had: repository, system, address."""
    return "; ".join(_UPDATE.findall(output))[:300] or failure(output)


def complaint(answer: base.Answer) -> str:
    """Return what pkg says on standard error although it ends with 0."""
    return "; ".join(line for line in answer.text[len(answer.out):].splitlines()
                     if line.startswith("pkg: ") and not _HARMLESS.match(line))[:300]
