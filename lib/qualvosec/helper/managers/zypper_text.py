# SPDX-License-Identifier: BSD-2-Clause
"""What zypper prints with --xmlout, as values, and the files that one run of it reads.

Pure functions. The summary of a transaction sorts packages into elements to-upgrade,
to-install, to-remove and others; every element that is not known counts as a removal, so that
a plan which holds one is refused; all of them are counted. A patch does not list its packages
in XML; as text it conflicts with their older versions. Facts: zypper(8), zypp.conf(5), zypper's
Summary.cc, output in tests/data.
"""

import re
import xml.etree.ElementTree as ElementTree
from typing import Dict
from typing import Iterable
from typing import List
from typing import NamedTuple
from typing import Pattern
from typing import Tuple

from qualvosec.helper.managers import base
from qualvosec.helper.managers import rpm

SOME = "Some of the repositories have not been refreshed"
_INCOMING = ("to-upgrade", "to-install")
# What other groups have already, once more.
_AGAIN = ("to-change-vendor", "to-change-arch")
_SKIPPING = re.compile(r"Skipping repository '([^']*)' because")
_URL = re.compile(r"\[([^|\]]+)\|([^\]]+)\] (.*)")
_CAUSES = (re.compile(r"Error message: (.*)"), re.compile(r"(Specified path .*)"),
           re.compile(r"(File .* not found on medium .*)"), re.compile(r" - (.*)"))
_PATCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
_FIELD = re.compile(r"[A-Z][A-Za-z ]* *:")
_BELOW = re.compile(r"(\S+) < (\S+)")


class Solvable(NamedTuple):
    """One package: name, architecture, new and old version as zypper says them."""

    name: str
    arch: str
    evr: str
    old: str = ""


class Summary(NamedTuple):
    """What a run would do."""

    incoming: Tuple[Solvable, ...]
    outgoing: Tuple[Solvable, ...]
    vendor: Tuple[Solvable, ...] = ()


class Patch(NamedTuple):
    """One patch that this system needs."""

    name: str
    category: str


def parse_updates(text: str) -> List[Solvable]:
    """Read `list-updates`; raises ManagerError."""
    return [_item(node) for node in _tree(text).iter("update")
            if node.get("kind") == "package"]


def parse_patches(text: str) -> List[Patch]:
    """Read `list-patches`, needed ones or all."""
    found = []
    for node in _tree(text).iter("update"):
        name = node.get("name", "")
        if node.get("kind") == "patch" and not _PATCH.fullmatch(name):
            raise base.ManagerError("a patch %r is listed that cannot exist" % name[:80])
        if node.get("kind") == "patch":
            found.append(Patch(name, node.get("category", "")))
    return found


def parse_locks(text: str) -> List[str]:
    """Read `locks`: names and patterns of the administrator."""
    return [node.text or "" for lock in _tree(text).iter("lock") for node in lock.iter("name")]


def parse_summary(text: str) -> Summary:
    """Read a dry run; raises ManagerError unless it holds as much as it announces."""
    groups: Dict[str, List[Solvable]] = {}
    summary = _tree(text).find("install-summary")
    if summary is None:
        raise base.ManagerError("zypper update --dry-run: answers without a summary")
    for group in summary:
        groups[group.tag] = [_item(node) for node in group.iter("solvable")
                             if node.get("type") in ("package", "srcpackage")]
    read = sum(len(items) for tag, items in groups.items() if tag not in _AGAIN)
    # Old versions do not count; what is in no group that is known goes.
    said = summary.get("packages-to-change", str(read))
    if said != str(read):
        raise base.ManagerError("zypper update --dry-run: %s packages announced, %d could be read"
                                % (said[:20], read))
    return Summary(tuple(item for tag in _INCOMING for item in groups.get(tag, ())),
                   tuple(item for tag, items in groups.items()
                         if tag not in _INCOMING + _AGAIN for item in items),
                   tuple(groups.get("to-change-vendor", ())))


def parse_unavailable(text: str) -> str:
    """Say which repositories a refresh could not read, where they are and why; "" if none."""
    told, block = [], []  # type: List[str], List[str]
    for line in text.splitlines():
        found = _SKIPPING.match(line)
        if found:
            told.append(_unavailable(found.group(1), block))
            block = []
        block.append(line)
    return "; ".join(told)


def _unavailable(name: str, block: List[str]) -> str:
    url = next((found for found in map(_URL.match, block) if found), None)
    why = cause("\n".join(block)) or (url.group(3) if url else "cannot be read")
    where = " (%s)" % url.group(2) if url and url.group(2) not in why else ""
    return "repository %s: %s%s" % (name, why, where)


def cause(text: str, patterns: Iterable[Pattern[str]] = _CAUSES) -> str:
    """Return the last line that says what went wrong at a source, "" if none does."""
    for pattern in patterns:
        found = [match.group(1) for match in map(pattern.fullmatch, text.splitlines()) if match]
        if found:
            return found[-1].strip()
    return ""


def failure(text: str) -> str:
    """Return the one line that says best why a command failed."""
    said = messages(text)
    # The last says too often only that zypper has answered its own question.
    return cause(said, _CAUSES[:-1])[:300] or rpm.failure(said)


def parse_conflicts(text: str) -> Dict[str, str]:
    """Read `info -t patch`: {package: version below which the patch is needed}."""
    found: Dict[str, str] = {}
    inside = False
    for line in text.splitlines():
        if _FIELD.match(line):
            inside = line.startswith("Conflicts")
        if inside:
            for name, evr in _BELOW.findall(line):
                if ":" not in name and (name not in found or rpm.compare(evr, found[name]) > 0):
                    found[name] = rpm.plain(evr)
    return found


def messages(text: str) -> str:
    """Return the errors that zypper tells in XML, or the text."""
    said = re.findall(r'<message type="error">([^<]*)</message>', text)
    return "\n".join(said).replace("&apos;", "'").strip() or text


def locks_file(excluded: Iterable[str], admin: bytes) -> bytes:
    """Return the locks of one run: what is left out and what the administrator has locked."""
    records = ["\ntype: package\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: %s\n"
               % name for name in sorted({name.partition(":")[0] for name in excluded})]
    return "".join(records).encode("ascii") + admin


def settings(parts: Iterable[bytes], locks: str) -> bytes:
    """Return zypp.conf for one run: the administrator's settings and another file of locks."""
    return b"\n".join(parts) + b"\n[main]\nlocksfile.path = " + locks.encode("ascii") + b"\n"


def _item(node: ElementTree.Element) -> Solvable:
    return Solvable(rpm.checked_name(node.get("name", "")), node.get("arch", ""),
                rpm.plain(node.get("edition", "")), rpm.plain(node.get("edition-old", "")))


def _tree(text: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise base.ManagerError("zypper: answers in an unknown form: %s" % error) from error
