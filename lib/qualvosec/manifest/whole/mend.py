# SPDX-License-Identifier: BSD-2-Clause
"""A text with faults -> one without, so that what stands around a fault is judged, too.

A line that only stands askew is moved; one that cannot be read is blanked, with what is indented
below it. What it said is unknown then: nobody may be blamed for what it left out. Pure.
"""

import re
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Set
from typing import Tuple

from qualvosec import yamlsubset
from qualvosec.manifest.schema import GROUPS
from qualvosec.yamlsubset import YamlError

# Each is found by reading its entry once more.
MAX_FAULTS = 100
_COLON = re.compile(r":(?:[ \t]|$)")


class Mended(NamedTuple):
    """A text that can be read, with as many lines as the old one."""

    data: bytes
    hidden: List[YamlError]                 # what stood behind the first fault of an entry
    unknown: Set[Tuple[str, ...]]           # entry, field, ...: what the blanked lines spoke of
    moved: Dict[int, int]                   # line -> how many columns further right it stood


def key_of(line: str) -> str:
    """Return the key of a line; of one that cannot be read, what stands before the colon."""
    try:
        return yamlsubset.read_line(line).key
    except YamlError:
        return _COLON.split(line.strip(" \t\r"), 1)[0].strip(" \"'")


def entry_of(lines: List[str], number: int) -> int:
    """Return the index of the line that opens the entry of a line."""
    while number > 0 and not yamlsubset.starts_entry(lines[number]):
        number -= 1
    return number


def lines_of(data: bytes) -> List[str]:
    """Return the lines of a text, whatever is in it."""
    return data.decode("utf-8", "replace").lstrip("\ufeff").replace("\r\n", "\n").split("\n")


def mend(data: bytes, faults: List[YamlError]) -> Mended:
    """Mend a text that has these faults, one an entry, as yamlsubset.load() tells them."""
    lines = lines_of(data)
    found = Mended(b"", [], set(), {})
    # A page of HTML has no entries whose rest one might want to read.
    if not next((line for line in lines if line.strip()), "").lstrip().startswith("<"):
        for fault in faults:
            _entry(lines, fault, found)
    return found._replace(data="\n".join(lines).encode("utf-8"))


def _entry(lines: List[str], fault: YamlError, found: Mended) -> None:
    """Mend the entry of a fault, and tell the others in it."""
    place = min(fault.line, len(lines)) - 1
    start = entry_of(lines, place)
    end = next((number for number in range(start + 1, len(lines))
                if yamlsubset.starts_entry(lines[number])), len(lines))
    for _ in range(MAX_FAULTS):
        if place == start or not yamlsubset.starts_entry(lines[start]):
            if not _open_entry(lines, start, end, found):
                return
        elif not _align(lines, start, place, found):
            _blank(lines, start, place, end, found)
        left: List[YamlError] = []
        # The marks are of no use here; without them a key that comes twice is read for again.
        yamlsubset.load("\n".join(lines[start:end]).encode("utf-8"), {}, left, start + 1)
        if not left:
            return
        found.hidden.append(left[0])
        place = left[0].line - 1
    lines[start:end] = [""] * (end - start)


def _open_entry(lines: List[str], start: int, end: int, found: Mended) -> bool:
    """Make a key of the line that opens an entry, or give the whole entry up."""
    name = key_of(lines[start]) if yamlsubset.starts_entry(lines[start]) else ""
    line = "'%s':" % name.replace("'", "''")
    try:
        is_key = name not in ("", "---", "...") and yamlsubset.read_line(line).key == name
    except YamlError:
        is_key = False
    has_fields = any(text.strip(" \t") for text in lines[start + 1:end])
    if not is_key or not has_fields or line == lines[start]:
        lines[start:end] = [""] * (end - start)
        return False
    lines[start] = line
    return True


def _align(lines: List[str], start: int, place: int, found: Mended) -> bool:
    """Move a line that can be read to where the one above it stands; False if it is not that."""
    lead, body = lines[place][:_indent(lines[place])], lines[place].lstrip(" \t")
    try:
        is_item = yamlsubset.read_line(body).kind == yamlsubset.ITEM
    except YamlError:
        return False
    # Where lines of its kind stand above, the innermost first.
    levels: List[int] = []
    for number in range(place - 1, start, -1):
        text = lines[number].lstrip(" \t")
        if text and text[0] != "#" and (text[0] == "-") == is_item and (
                not levels or _indent(lines[number]) < levels[-1]):
            levels.append(_indent(lines[number]))
    wide = next((level for level in levels if level <= len(lead)), levels[-1] if levels else 2)
    if lead and not lead.strip("\t"):
        wide = 2 * len(lead)
    if place + 1 in found.moved or lead == " " * wide or not body:
        return False
    found.moved[place + 1] = len(lead) - wide
    lines[place] = " " * wide + body
    return True


def _blank(lines: List[str], start: int, place: int, end: int, found: Mended) -> None:
    """Blank a line and what is indented below it; note what they would have told."""
    path = [key_of(lines[place])]
    wide = _indent(lines[place])
    for number in range(place - 1, start - 1, -1):
        if lines[number].strip(" \t") and _indent(lines[number]) < wide:
            wide = _indent(lines[number])
            path.insert(0, key_of(lines[number]))
    found.unknown.add(tuple(path))
    wide = _indent(lines[place])
    # Of a group that is lost the fields are, too; elsewhere a field is not the rest of a value.
    is_group = len(path) == 2 and path[0] == GROUPS and not _COLON.search(lines[place])
    lines[place] = ""
    for number in range(place + 1, end):
        text = lines[number].strip(" \t")
        if text and (_indent(lines[number]) <= wide or not is_group and _COLON.search(text)):
            return
        lines[number] = ""


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))
