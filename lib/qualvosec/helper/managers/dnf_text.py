# SPDX-License-Identifier: BSD-2-Clause
"""What dnf and dnf5 print, as values: the table of a transaction, updates, advisories.

Pure functions over text. The table is the same in both but for details: dnf breaks
a row behind a name that is too long for its column, dnf5 names under each row what it
replaces, also its own former version. Facts: dnf(8), dnf5(8) and the outputs in tests/data.
"""

import json
import re
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Set
from typing import Tuple

from qualvosec.helper.managers import base
from qualvosec.helper.managers import rpm

_INCOMING = ("Installing", "Upgrading")
_OUTGOING = ("Removing", "Downgrading", "Reinstalling")
# What the summary of dnf calls the groups of rows; dnf5 says what the headings say.
_GROUPS = {"Install": "Installing", "Upgrade": "Upgrading", "Remove": "Removing",
           "Downgrade": "Downgrading", "Skip": "Skipping"}
_COUNT = re.compile(r" ?([A-Z][a-z]+):? +([0-9]+) [Pp]ackages?(?: \(\+[0-9]+ .*\))?")
_MODULES = "kmod-"
_EVR = re.compile(r"[^-\s]+-[^-\s]+")
_ARCH = re.compile(r"[a-z][a-z0-9_]{1,15}")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_DOWN = re.compile(r"Failed to download metadata (?:\(\w+: \"(?P<url>[^\"]*)\"\) )?"
                   r"for repo(?:sitory)? [\"'](?P<name>[^\"']+)[\"']: (?P<why>.*)")
_CAUSE = re.compile(r"(?:>>>|  -) ((?:Curl error|Status code).*?)(?: - \w+://\S*)?")
_SKIPPED = {"Skipping packages with conflicts": "conflicts with an installed package",
            "Skipping packages with broken dependencies": "its dependencies cannot be satisfied"}
_HEADING = re.compile(r"([A-Z][A-Za-z ]+):")
_REPLACING = re.compile(r" +replacing +(\S+)")
_COLUMNS = 5  # name, architecture, version, repository, size
_LOCKED = re.compile(r"([^!#\s]\S*?)-[^-\s]+-[^-\s]+")
_NEVRA = re.compile(r"(\S+)-((?:[0-9]+:)?[^-\s]+-[^-\s]+)\.([A-Za-z0-9_]+)")


class Item(NamedTuple):
    """One row of a transaction table."""

    name: str
    arch: str
    evr: str
    replaces: Tuple[str, ...] = ()


class Table(NamedTuple):
    """A transaction as dnf shows it before it asks; `skipped` is {name: why}."""

    incoming: Tuple[Item, ...]
    outgoing: Tuple[Item, ...]
    skipped: Dict[str, str]

    def removed(self) -> List[str]:
        """Return the names of which no version stays."""
        coming = {item.name for item in self.incoming}
        return [item.name for item in self.outgoing if item.name not in coming]


def modules(table: Table) -> List[str]:
    """Return what akmods has built for a kernel that leaves: its release is in the name."""
    removed = table.removed()
    kernels = [item.evr for item in table.outgoing if item.name not in removed]
    return [name for name in removed if name.startswith(_MODULES)
            and any("-%s." % evr in name + "." for evr in kernels)]


def parse_unavailable(text: str) -> Tuple[str, str]:
    """Return the repository whose lists could not be fetched, and the cause; "" if none."""
    found = _DOWN.search(text)
    if not found:
        return "", ""
    causes = [match.group(1) for match in map(_CAUSE.fullmatch, text.splitlines()) if match]
    url = found.group("url") or ""
    why = causes[-1] if causes else found.group("why")
    return found.group("name"), "repository %s: %s%s" % (
        found.group("name"), why, "" if url in why else " (%s)" % url)


def parse_repositories(text: str) -> Set[str]:
    """Read `repolist --enabled`: the first word of each line but the heading."""
    return {name for name in (line.split()[0] for line in text.splitlines()[1:] if line.split())
            if _REPOSITORY.fullmatch(name)}


def parse_table(text: str, manager: str = "dnf", asked: bool = True) -> Table:
    """Read what `--assumeno upgrade` printed; raises ManagerError if that is not all of it."""
    sections: Dict[str, List[Item]] = {}
    replaced = 0
    heading, row = "", []  # type: str, List[str]
    for line in text.splitlines():
        found = _HEADING.fullmatch(line.strip()) if line[:1] != " " else None
        summary = line.startswith("Transaction Summary")
        if row and (found or summary):
            raise base.ManagerError("%s: a row in an unknown form: %s"
                                    % (manager, " ".join(row)[:80]))
        if summary:
            break
        if found:
            heading = found.group(1)
            continue
        items = sections.setdefault(heading, [])
        replacing = _REPLACING.match(line)
        if replacing and items:
            old = replacing.group(1)
            replaced += 1
            if len(line.split()) < _COLUMNS:
                # dnf: NAME.ARCH VERSION; dnf5 has columns here, too.
                old = old.rpartition(".")[0]
            items[-1] = items[-1]._replace(replaces=items[-1].replaces + (old,))
            continue
        if not heading or not line.startswith(" "):
            continue
        row += line.split()
        if len(row) >= _COLUMNS:
            if not (_ARCH.fullmatch(row[1]) and _EVR.fullmatch(row[2])):
                raise base.ManagerError("%s: a row in an unknown form: %s"
                                        % (manager, " ".join(row)[:80]))
            items.append(Item(rpm.checked_name(row[0]), row[1], rpm.plain(row[2])))
            row = []
    if sections or asked:
        _compare(manager, text, sections, replaced)
    return Table(_pick(sections, _INCOMING), _pick(sections, _OUTGOING),
                 {item.name: why for heading, why in _SKIPPED.items()
                  for item in sections.get(heading, [])})


def _compare(manager: str, text: str, sections: Dict[str, List[Item]], replaced: int) -> None:
    """Raise ManagerError where the summary counts otherwise than the rows do."""
    _, summary, rest = text.partition("\nTransaction Summary")
    said: Dict[str, int] = {}
    for line in rest.splitlines()[1:]:
        found = _COUNT.fullmatch(line)
        if found:
            said[_GROUPS.get(found.group(1), found.group(1))] = int(found.group(2))
    read = {name: sum(len(items) for heading, items in sections.items()
                      if heading.startswith(name)) for name in _GROUPS.values()}
    if rest.startswith(":"):
        read.update(Replacing=replaced, Reinstalling=sum(
            len(items) for heading, items in sections.items() if heading == "Reinstalling"))
    for name in sorted(set(said) | {name for name in read if read[name]}):
        if said.get(name, 0) != read.get(name, 0):
            raise base.ManagerError("%s: %s: %d announced, %d could be read" % (
                manager, name.lower(), said.get(name, 0), read.get(name, 0)))
    if not said:
        raise base.ManagerError("%s: asks about a transaction that it does not show" % manager)


def _pick(sections: Dict[str, List[Item]], starts: Tuple[str, ...]) -> Tuple[Item, ...]:
    return tuple(item for heading, items in sections.items() if heading.startswith(starts)
                 for item in items)


def parse_repoquery(text: str) -> List[Item]:
    """Read lines `name epoch version release arch repository`."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    if any(len(row) != 6 for row in rows):
        raise base.ManagerError("dnf repoquery: answers in an unknown form")
    return [Item(rpm.checked_name(row[0]), row[4], rpm.evr(row[1], row[2], row[3]))
            for row in rows]


def parse_upgrades(text: str) -> List[Item]:
    """Read `check-upgrade --json`; `{}` or nothing when there are none."""
    found = _json(text or "{}", "check-upgrade")
    rows = found.get("upgrades", []) if isinstance(found, dict) else None
    if not isinstance(rows, list):
        raise base.ManagerError("dnf5 check-upgrade: answers in an unknown form")
    try:
        return [Item(rpm.checked_name(row["name"]), row["arch"], rpm.plain(row["evr"]))
                for row in rows]
    except (KeyError, TypeError) as error:
        raise base.ManagerError("dnf5 check-upgrade: answers in an unknown form") from error


def parse_updateinfo(text: str) -> List[Item]:
    """Read `updateinfo list`: the last word of a line is the package."""
    return [nevra(line.split()[-1]) for line in text.splitlines() if len(line.split()) >= 3]


def parse_version_locks(text: str) -> List[str]:
    """Read versionlock.list: names and patterns; what bars a version (!) holds no package."""
    rows = [_LOCKED.fullmatch(line.strip()) for line in text.splitlines()]
    return [row.group(1) for row in rows if row]


def parse_advisories(text: str) -> List[Item]:
    """Read `advisory list --json`."""
    rows = _json(text or "[]", "advisory list")
    try:
        if isinstance(rows, list):
            return [nevra(row["nevra"]) for row in rows]
    except (KeyError, TypeError):
        rows = None
    raise base.ManagerError("dnf5 advisory list: answers in an unknown form")


def nevra(text: str) -> Item:
    """Return `name-[epoch:]version-release.arch` in its parts."""
    found = _NEVRA.fullmatch(text)
    if not found:
        raise base.ManagerError("an advisory names %r, which is no package" % text[:80])
    return Item(rpm.checked_name(found.group(1)), found.group(3), rpm.plain(found.group(2)))


def _json(text: str, what: str) -> object:
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise base.ManagerError("dnf5 %s: answers in an unknown form" % what) from error
    return value
