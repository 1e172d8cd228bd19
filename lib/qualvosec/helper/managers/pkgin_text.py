# SPDX-License-Identifier: BSD-2-Clause
"""What pkgin and pkg_info print, as values.

Pure functions over text. A plan is headings `N packages to upgrade:` with one name and version a
line below (with -y two columns and more, indented), and at its end a summary of all
counts, or `nothing to do.`; what the headings and the summary count must all have been read. pkgin
calls a downgrade an upgrade, so versions are compared here, by the rules of pkgsrc: letters
after numbers, alpha, beta and rc before them, the revision nbN last. Facts: pkgin 26.4
(tests/data/transcripts), pkgin(1), pkgsrc's dewey.c.
"""

import itertools
import re
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Tuple

from qualvosec.helper.managers import base

OLDER = "would be downgraded"
KINDS = ("remove", "refresh", "upgrade", "install")
_FULL = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._+-]{0,127})-([^-\s]+)")
_HEADING = re.compile(r"([0-9]+) packages? to (%s)(?: \([a-z ]+\))?:" % "|".join(KINDS))
_LIKE_HEADING = re.compile(r"[0-9]+ packages? .*:")
_SUMMARY = re.compile(", ".join("([0-9]+) to " + kind for kind in KINDS))
_NOTHING = "nothing to do."
_TELLING = re.compile(r"pkgin: |download error|.*(?:[Ee]rror|not available|[Cc]annot|[Cc]ould not)")
_WORD = re.compile(r"[0-9]+|alpha|beta|pre|rc|pl|[a-z]|[._]")
_LONGEST = 255
_WEIGHTS = {"alpha": (-3,), "beta": (-2,), "pre": (-1,), "rc": (-1,), "pl": (0,), ".": (0,),
            "_": (0,)}


class Changes(NamedTuple):
    """What pkgin would do; `older` are updates that go down."""

    install: Tuple[base.Package, ...] = ()
    removed: Tuple[str, ...] = ()
    older: Tuple[str, ...] = ()


def parse_installed(text: str) -> Dict[str, str]:
    """Read pkg_info: {name: version}; raises ManagerError."""
    return dict(parts(line.split()[0]) for line in text.splitlines() if line.strip())


def parts(full: str) -> Tuple[str, str]:
    """Return name and version of `NAME-VERSION`; raises ManagerError."""
    row = _FULL.fullmatch(full)
    if not row:
        raise base.ManagerError("a package %r is listed that cannot exist" % full[:80])
    return row.group(1), row.group(2)


def parse_changes(text: str, installed: Dict[str, str]) -> Changes:
    """Read a dry run; raises ManagerError where less was read than is announced."""
    found: Dict[str, List[str]] = {kind: [] for kind in KINDS}
    announced = dict.fromkeys(KINDS, 0)
    kind, totals, nothing = "", (), False  # type: str, Tuple[str, ...], bool
    for line in text.splitlines():
        heading, summary = _HEADING.fullmatch(line.strip()), _SUMMARY.fullmatch(line.strip())
        if heading:
            kind = heading.group(2)
            announced[kind] += int(heading.group(1))
        elif _LIKE_HEADING.fullmatch(line.strip()):
            raise base.ManagerError("pkgin -n: answers in an unknown form: %r" % line[:120])
        elif summary or line.strip() in ("", _NOTHING):
            kind, totals = "", summary.groups() if summary else totals
            nothing = nothing or line.strip() == _NOTHING
        elif kind:
            found[kind] += line.split()
    counted = [len(found[kind]) for kind in KINDS]
    if not totals and not (nothing and not any(counted)):
        raise base.ManagerError("pkgin -n: ends without a summary: an unknown form")
    said = [int(number) for number in totals or "0" * len(KINDS)]
    for kind, number, total in zip(KINDS, counted, said):
        if not number == total == announced[kind]:
            raise base.ManagerError("pkgin -n: announces %d packages to %s, %d of them can be read"
                                    % (max(total, announced[kind]), kind, number))
    return _changes(found, installed)


def _changes(found: Dict[str, List[str]], installed: Dict[str, str]) -> Changes:
    install = {name: base.Package(name, installed.get(name, ""), version)
               for name, version in map(parts, found["upgrade"] + found["install"])}
    strange = [name for name, _ in map(parts, found["upgrade"]) if name not in installed]
    if strange:
        raise base.ManagerError("pkgin -n: upgrades %s, which is not installed" % strange[0])
    return Changes(tuple(sorted(install.values())),
                   tuple(sorted(name for name, _ in map(parts, found["remove"]))),
                   tuple(sorted(row.name for row in install.values()
                                if row.old and older(row.new, row.old))))


def older(first: str, second: str) -> bool:
    """Say whether the first version comes before the second; what one lacks counts as 0."""
    (one, one_revision), (two, two_revision) = _numbers(first), _numbers(second)
    for left, right in itertools.zip_longest(one, two, fillvalue=0):
        if left != right:
            return left < right
    return one_revision < two_revision


def _numbers(version: str) -> Tuple[List[int], int]:
    if len(version) > _LONGEST or any(c > "~" for c in version):
        # int() takes other digits than isdigit(), and not thousands of them.
        raise base.ManagerError("pkgin -n: a version that pkgsrc cannot have: %r" % version[:80])
    main, _, revision = version.lower().partition("nb")
    found: List[int] = []
    for word in _WORD.findall(main):
        found += ([int(word)] if word.isdigit() else
                  _WEIGHTS[word] if word in _WEIGHTS else (0, ord(word) - ord("a") + 1))
    return found, int(revision) if revision.isdigit() else 0


def line(output: str) -> str:
    """Return the line that says best why a command failed."""
    lines = [each.strip() for each in output.splitlines() if each.strip()]
    telling = [each for each in lines if _TELLING.match(each)
               and not each.endswith("errors: 0")]
    return (telling[:1] or lines[-1:] or ["no output"])[0][:300]
