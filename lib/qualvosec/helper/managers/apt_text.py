# SPDX-License-Identifier: BSD-2-Clause
"""What apt says, as values: simulations, lists, versions, faults.

Pure functions over text. The origin part of an Inst line shows the Label of an
archive, not its Origin, and a Label may hold blanks; names are checked here
once, so that no line of output can bring in something else. Facts:
apt-get(8), apt-cache(8), Debian Policy 5.6.1.
"""

import fnmatch
import re
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Set
from typing import Tuple

from qualvosec.helper.managers import base
from qualvosec.helper.managers import settle

# Label and suite of the archives that carry security updates only. The label decides: Debian's
# suite has been called "stable", "stable-security" and "bookworm-security".
SECURITY = (("Debian-Security", "*"), ("Devuan-Security", "*"), ("Ubuntu", "*-security"),
            ("UbuntuESM", "*-infra-security"), ("UbuntuESMApps", "*-apps-security"))
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}(:[a-z0-9-]{2,16})?")
_INST = re.compile(r"Inst (\S+) (?:\[([^]]+)\] )?\((\S+) (.*) \[([^]]+)\]\)")
_NEW = "The following NEW packages will be installed:"
_UPGRADED = "The following packages will be upgraded:"
_KEPT = "The following packages have been kept back:"
_PHASED = ("The following upgrades have been deferred due to phasing:",
           "Not upgrading yet due to phasing:")
_LISTED = re.compile(r"   (\S+) \((?:(\S+) => )?(\S+)\)")
_COUNTS = re.compile(r"(?m)^(\d+) upgraded, (\d+) newly installed, (?:(\d+) reinstalled, )?"
                     r"(?:(\d+) downgraded, )?(\d+) to remove and (\d+) not upgraded\.$")
_POLICY = re.compile(r"(?m)^(\S+):\n  Installed: (\S+)\n  Candidate: (\S+)$")
_OF_PHASED = re.compile(r"(?m)^(\S+):\n  Installed: \S+\n  Candidate: (\S+)\n"
                        r"(?: .*\n)*? (?:   |\*\*\*) \2 -?\d+ \(phased ")
_ITEM = re.compile(r"(?m)^(?:Err|Ign|Get|Hit):(\d+) .*$")
_FAULT = re.compile(r"(?m)^(?:W: (?:Failed to fetch|An error occurred|Some index files)|E:).*$")


class Simulation(NamedTuple):
    """What `apt-get -s` says it would do; `unnamed` of what it keeps back it only counts."""

    install: Tuple[base.Package, ...]
    removed: Tuple[str, ...]
    kept: Tuple[str, ...]
    phased: Tuple[str, ...]
    unnamed: int = 0


def parse_simulation(text: str) -> Simulation:
    """Read the output of a simulation; raises ManagerError unless its own counts agree with it."""
    install, removed = [], []
    listed: Dict[str, List[str]] = {}
    header = ""
    for line in text.splitlines():
        if line.startswith("  ") and header:
            listed.setdefault(header, []).extend(line.split())
            continue
        header = line if line == _KEPT or line in _PHASED else ""
        found = _INST.match(line)
        if found:
            name, old, new, origins, _ = found.groups()
            install.append(base.Package(name, old or "", new, is_security(origins)))
        elif line.startswith("Inst "):
            raise base.ManagerError("apt-get: answers in an unknown form: %s" % line[:200])
        elif line.startswith(("Remv ", "Purg ")):
            removed.append(line.split()[1])
    phased = [name for header in _PHASED for name in listed.get(header, [])]
    said = _simulation(install, removed, listed.get(_KEPT, []), phased)
    new = sum(not package.old for package in install)
    counts = _counts(text)
    if len(counts) != 1:
        raise base.ManagerError("apt-get: does not say how many packages it would upgrade")
    upgraded, fresh, again, lower, gone, left = counts[0]
    unnamed = left - len(said.kept + said.phased)
    if (upgraded + again + lower, fresh, gone) != (
            len(install) - new, new, len(removed)) or unnamed < 0:
        raise base.ManagerError("apt-get: its counts do not agree with what it names")
    return said._replace(unnamed=unnamed)


def _counts(text: str) -> List[Tuple[int, ...]]:
    """Return upgraded, new, reinstalled, downgraded, removed, not upgraded; once if all is well."""
    return [tuple(int(count or 0) for count in found) for found in _COUNTS.findall(text)]


def parse_lists(text: str) -> Optional[Simulation]:
    """Read what `apt-get -V` is about to do; None unless its own counts say that this is all."""
    listed: Dict[str, List[base.Package]] = {}
    header = ""
    for line in text.splitlines():
        found = _LISTED.fullmatch(line)
        if found:
            name, old, latest = found.groups("")
            listed.setdefault(header, []).append(base.Package(name, old, latest))
        else:
            header = line
    fresh, new = listed.get(_UPGRADED, []), listed.get(_NEW, [])
    kept = [package.name for package in listed.get(_KEPT, [])]
    phased = [package.name for head in _PHASED for package in listed.get(head, [])]
    if _counts(text) != [(len(fresh), len(new), 0, 0, 0, len(kept + phased))]:
        return None
    return _simulation(fresh + new, [], kept, phased)


def _simulation(install: List[base.Package], removed: List[str], kept: List[str],
                phased: List[str]) -> Simulation:
    for name in [package.name for package in install] + kept + phased:
        if not _NAME.fullmatch(name):
            raise base.ManagerError("apt-get names a package %r that cannot exist" % name[:80])
    return Simulation(tuple(install), tuple(removed), tuple(kept), tuple(phased))


def is_security(origins: str) -> bool:
    """Say whether `Label:version/suite, ...` of an Inst line names a security archive."""
    for origin in origins.split(", "):
        label, _, place = origin.rpartition(":")
        suite = place.rpartition("/")[2]
        if any(label == known and fnmatch.fnmatchcase(suite, glob) for known, glob in SECURITY):
            return True
    return False


def names_all(version: str) -> bool:
    """Say whether this apt names all that it keeps back also where updates may bring new packages.

    Up to 2.2 it is silent on what has dependencies that nobody offers, and counts what a
    pin keeps as not upgraded; from 2.6 on its names and its count agree.
    """
    found = re.match(r"([0-9]+)\.([0-9]+)", version)
    return found is not None and (int(found.group(1)), int(found.group(2))) >= (2, 6)


def is_name(text: str) -> bool:
    """Say whether `text` is a package name, with or without an architecture."""
    return _NAME.fullmatch(text) is not None


def versions(policy: str) -> Dict[str, Tuple[str, str]]:
    """Return {name: (installed, candidate)} from `apt-cache policy NAME...`."""
    return {name: (old, new) for name, old, new in _POLICY.findall(policy)}


def phased(policy: str) -> Set[str]:
    """Return the packages of `apt-cache policy NAME...` whose candidate not every host gets yet."""
    return {name for name, _ in _OF_PHASED.findall(policy)}


def not_fetched(update: str) -> str:
    """Return the line of `apt-get update` that says what could not be fetched, empty if none.

    An item may be told as an error several times before it is got, or found to be
    dispensable, after all: the last word about it counts.
    """
    last = {found.group(1): found.group(0) for found in _ITEM.finditer(update)}
    faults = _FAULT.findall(update) + [line for line in last.values() if line.startswith("Err")]
    return faults[0][:300] if faults else ""


def failure(output: str) -> str:
    """Return the one line that says best why apt or dpkg failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if "Errors were encountered while processing:" in lines:
        return "dpkg failed on %s" % settle.some(
            lines[lines.index("Errors were encountered while processing:") + 1:][:1])
    for mark in ("E: ", "dpkg: error", "W: "):
        for line in lines:
            if line.startswith(mark):
                return line[:300]
    return lines[-1][:300] if lines else "no output"
