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
from typing import Iterable
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
# What dpkg takes (its pkg_name_is_illegal): vendors use more than the Policy allows.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,199}(:[a-z0-9-]{2,16})?")
_INST = re.compile(r"Inst (\S+) (?:\[([^]]+)\] )?\((\S+) (.*) \[([^]]+)\]\)")
_NEW = "The following NEW packages will be installed:"
_UPGRADED = "The following packages will be upgraded:"
_KEPT = "The following packages have been kept back:"
_LOWERED = "The following packages will be DOWNGRADED:"
_UNSIGNED = "WARNING: The following packages cannot be authenticated!"
_PHASED = ("The following upgrades have been deferred due to phasing:",
           "Not upgrading yet due to phasing:")
_LISTED = re.compile(r"   (\S+) \((?:(\S+) => )?(\S+)\)")
_COUNTS = re.compile(r"(?m)^(\d+) upgraded, (\d+) newly installed, (?:(\d+) reinstalled, )?"
                     r"(?:(\d+) downgraded, )?(\d+) to remove and (\d+) not upgraded\.$")
_POLICY = re.compile(r"(?m)^(\S+):\n  Installed: (\S+)\n  Candidate: (\S+)$")
_OF_PHASED = re.compile(r"(?m)^(\S+):\n  Installed: \S+\n  Candidate: (\S+)\n"
                        r"(?: .*\n)*? (?:   |\*\*\*) \2 -?\d+ \(phased ")
# An item of a download: what became of it, number, address, release; further words; the cause.
_ITEM = re.compile(r"(?m)^(Err|Ign|Get|Hit):(\d+) (\S+) ([^\s/]+)(.*)\n?((?:  .*)?)")
_FAULT = re.compile(r"(?m)^(?:W: (?:Failed to fetch|An error occurred|GPG error)|E:).*$"
                    r"|^W: Some index files.*$")
_SCRIPT = "E: Problem executing scripts "
_LOCKED = re.compile(r"(?m)^(?:E: Could not get lock|E: Unable to (?:acquire|lock)"
                     r"|dpkg: error: dpkg .* (?:is|was) locked by another process)")
# What stands before the words of a program that apt or dpkg has started.
_BEGUN = re.compile(r"(?m)^(?:Setting up|Preparing to unpack|Unpacking|Removing|Processing triggers"
                    r"|\(Reading database|Errors were encountered|E: Failure running|%s)" % _SCRIPT)
_CAUSES = ("No space left on device", "dpkg: unrecoverable fatal error", "dpkg: error",
           "dpkg-query: error", "EXPKEYSIG", "E: ", "W: ")
_REPLACED = re.compile(r"(?m)^\(Noting disappearance of (\S+), which has been completely replaced")


class Actions(NamedTuple):
    """What `apt-get -s` says it would do; `unnamed` of what it keeps back it only counts."""

    install: Tuple[base.Package, ...] = ()
    removed: Tuple[str, ...] = ()
    kept: Tuple[str, ...] = ()
    phased: Tuple[str, ...] = ()
    unnamed: int = 0
    lowered: Tuple[str, ...] = ()


class Update(NamedTuple):
    """What `apt-get update` says went wrong; with some sources, or only with a script behind it."""

    fault: str
    incomplete: bool
    only_script: bool


def parse_simulation(text: str) -> Actions:
    """Read the output of a simulation; raises ManagerError unless its own counts agree with it."""
    install, removed = [], []
    listed: Dict[str, List[str]] = {}
    header = ""
    for line in text.splitlines():
        if line.startswith("  ") and header:
            listed.setdefault(header, []).extend(line.split())
            continue
        header = line if line in _PHASED + (_KEPT, _LOWERED) else ""
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
    return said._replace(unnamed=unnamed, lowered=tuple(listed.get(_LOWERED, ())))


def _counts(text: str) -> List[Tuple[int, ...]]:
    """Return upgraded, new, reinstalled, downgraded, removed, not upgraded; once if all is well."""
    return [tuple(int(count or 0) for count in found) for found in _COUNTS.findall(text)]


def parse_lists(text: str) -> Optional[Actions]:
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
                phased: List[str]) -> Actions:
    for name in [package.name for package in install] + kept + phased:
        if not _NAME.fullmatch(name):
            raise base.ManagerError("apt-get names a package %r that cannot exist" % name[:80])
    return Actions(tuple(install), tuple(removed), tuple(kept), tuple(phased))


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


def parse_update(said: str) -> Update:
    """Read the output of `apt-get update`.

    An item may be told as an error several times before it is got, or found to be
    dispensable, after all: the last word about it counts.
    """
    last = {found.group(2): found for found in _ITEM.finditer(said)}.values()
    failed = {found.group(3, 4): " ".join(found.group(0).split())
              for found in last if found.group(1) == "Err"}
    got = {found.group(3, 4) for found in last if found.group(1) in ("Hit", "Get")} - set(failed)
    faults = _FAULT.findall(said)
    told = ["; ".join(failed.values())] if failed else faults
    if not last and not told:
        told = ["no source is configured"]
    only_script = bool(got and told) and told[0].startswith(_SCRIPT)
    return Update(told[0][:300] if told else "", bool(got and told) and not only_script,
                  only_script)


def unfetched(said: str, wanted: Iterable[base.Package]) -> Dict[str, str]:
    """Return {name: why} of the packages that a download did not get, or could not trust."""
    errors = [(set(found.group(5).split()), " ".join(found.group(6).split()))
              for found in _ITEM.finditer(said) if found.group(1) == "Err"]
    unsigned = said.partition(_UNSIGNED + "\n")[2].partition("\nE:")[0].split()
    why = {}
    for package in wanted:
        name = package.name.partition(":")[0]
        for words, cause in errors:
            if {name, package.new} <= words:
                why[package.name] = "cannot be fetched: %s" % cause[:200]
        if package.name in unsigned:
            why[package.name] = "cannot be authenticated"
    return why


def is_locked(said: str) -> bool:
    """Say whether apt or dpkg could not begin, which is not so where a script of theirs says it."""
    return _LOCKED.search(said) is not None and _BEGUN.search(said) is None


def replaced(said: str) -> Set[str]:
    """Return what dpkg took for gone, since others own all its files: Debian Policy 7.6.1."""
    return set(_REPLACED.findall(said))


def failure(output: str) -> str:
    """Return what says best why apt or dpkg failed: the cause, and the package that it names."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    cause = next((place for mark in _CAUSES for place, line in enumerate(lines)
                  if line.startswith(mark) or (mark in line and mark[-2:] != ": ")), None)
    why = lines[-1].strip() if lines else "no output"
    if cause is not None:
        more = [line for line in lines[cause + 1:cause + 2] if line.startswith(" ")]
        why = " ".join(" ".join([lines[cause]] + more).split())
    head = "Errors were encountered while processing:"
    if head in lines:
        why = "dpkg failed on %s: %s" % (settle.some(
            [line.strip() for line in lines[lines.index(head) + 1:][:1]]), why)
    return why[:300]
