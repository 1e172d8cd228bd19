# SPDX-License-Identifier: BSD-2-Clause
"""What FreeBSD's pkg and freebsd-update print, as values.

Pure functions over text. A line of a plan is `NAME: OLD -> NEW [repository] (reason)` or, for
what is removed or installed anew, `NAME-VERSION` or `NAME: VERSION`; a name is never
followed by a dash and a version with a dash in it. Facts: pkg-upgrade(8), pkg-version(8),
pkg-audit(8), freebsd-update(8), freebsd-version(1).
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
_ROW = re.compile(r"\s+(\S+): (\S+)(?: -> (\S+))?(?: [\[(].*)?")
_BARE = re.compile(r"\s+(\S+)-([^-\s]+)(?: [\[(].*)?")
_BEHIND = re.compile(r"(\S+)-([^-\s]+)\s+<\s+needs updating \(remote has ([^)\s]+)\)")
_PACKAGE = re.compile(r"(\S+)-([^-\s]+)")
_TARGET = re.compile(r"as part of updating to\s+([0-9][A-Za-z0-9.-]*):")
SELF = "New version of pkg detected"


class Changes(NamedTuple):
    """What `pkg upgrade -n` would do; `anew` are packages that stay at their version."""

    install: Tuple[base.Package, ...]
    removed: Tuple[str, ...]
    anew: Tuple[str, ...]
    itself: bool


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
    for name, old, new in _BEHIND.findall(text):
        found[checked_name(name)] = base.Package(name, old, new)
    return found


def parse_changes(text: str) -> Changes:
    """Read a dry run; a heading that is not known counts as a removal."""
    install: List[base.Package] = []
    removed: List[str] = []
    anew: List[str] = []
    heading = ""
    for line in text.splitlines():
        found = _HEADING.fullmatch(line.strip())
        if found:
            heading = found.group(1)
            continue
        if not line.strip():
            heading = ""
        row = _ROW.fullmatch(line) or _BARE.fullmatch(line) if heading else None
        if not row:
            continue
        name = checked_name(row.group(1))
        if heading == "UPGRADED" and row.re is _ROW and row.group(3):
            install.append(base.Package(name, row.group(2), row.group(3)))
        elif heading == "INSTALLED":
            install.append(base.Package(name, "", row.group(2)))
        elif heading == "REINSTALLED":
            anew.append(name)
        else:
            removed.append(name)
    return Changes(tuple(install), tuple(removed), tuple(anew), SELF in text)


def parse_audit(text: str) -> Optional[List[str]]:
    """Read `pkg audit -q`: names of vulnerable packages, None if this is something else."""
    rows = [_PACKAGE.fullmatch(line.strip()) for line in text.splitlines() if line.strip()]
    return None if None in rows else [row.group(1) for row in rows if row]


def parse_target(text: str) -> str:
    """Return the release that `freebsd-update fetch` prepares, empty when it says none."""
    found = _TARGET.findall(text)
    return found[-1] if found else ""


def latest(releases: List[str]) -> str:
    """Return the higher one of releases like 14.1-RELEASE-p7."""
    return max(releases, key=lambda text: [int(part) for part in re.findall(r"[0-9]+", text)])


def checked_name(name: str) -> str:
    """Return a name that a command has listed; raises ManagerError if it cannot be one."""
    if not _NAME.fullmatch(name):
        raise base.ManagerError("a package %r is listed that cannot exist" % name[:80])
    return name


def failure(output: str) -> str:
    """Return the one line that says best why a command failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for line in lines:
        if re.match(r"(?:pkg|pkg-static): |.*\b(?:[Ee]rror|failed|[Cc]annot)\b", line):
            return line[:300]
    return lines[-1][:300] if lines else "no output"
