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
from typing import Tuple

from qualvosec.helper.managers import base
from qualvosec.helper.managers import rpm

_INCOMING = ("Installing", "Upgrading")
_OUTGOING = ("Removing", "Downgrading", "Reinstalling")
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


def parse_table(text: str) -> Table:
    """Read what `--assumeno upgrade` printed; raises ManagerError on a name that is none."""
    sections: Dict[str, List[Item]] = {}
    heading, row = "", []  # type: str, List[str]
    for line in text.splitlines():
        if line.startswith("Transaction Summary"):
            break
        found = _HEADING.fullmatch(line.strip()) if line[:1] != " " else None
        if found:
            heading, row = found.group(1), []
            continue
        items = sections.setdefault(heading, [])
        replacing = _REPLACING.match(line)
        if replacing and items:
            old = replacing.group(1)
            if len(line.split()) < _COLUMNS:
                # dnf: NAME.ARCH VERSION; dnf5 has columns here, too.
                old = old.rpartition(".")[0]
            items[-1] = items[-1]._replace(replaces=items[-1].replaces + (old,))
            continue
        if not heading or not line.startswith(" "):
            continue
        row += line.split()
        if len(row) >= _COLUMNS:
            items.append(Item(rpm.checked_name(row[0]), row[1], rpm.plain(row[2])))
            row = []
    return Table(_pick(sections, _INCOMING), _pick(sections, _OUTGOING),
                 {item.name: why for heading, why in _SKIPPED.items()
                  for item in sections.get(heading, [])})


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
