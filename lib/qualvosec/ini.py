# SPDX-License-Identifier: BSD-2-Clause
"""INI files with a line number for every key and closed sets of keys.

`key: value` and `key = value`, `[section]` headers, whole-line comments with
`#` or `;`, and comments behind a value when a blank stands before the mark.
Nothing is interpolated and no line continues another: what a value means must
be visible in its own line. An unknown section or key is an error, because an
option that is silently ignored is worse than a daemon that does not start.
"""

from typing import Collection
from typing import Dict
from typing import Mapping
from typing import NamedTuple
from typing import Optional
from typing import Sequence

MAX_LINE = 4096
_TRUE = ("true", "yes", "on", "enable", "enabled", "1")
_FALSE = ("false", "no", "off", "disable", "disabled", "0")


class IniError(ValueError):
    """A fault in an INI file; the text starts with "line N: "."""


class Setting(NamedTuple):
    """One value and the line (from 1) on which it stands."""

    value: str
    line: int


def parse(text: str, allowed: Mapping[str, Collection[str]]) -> Dict[str, Dict[str, Setting]]:
    """Return {section: {key: Setting}}; raises IniError. Keys are compared in lower case."""
    found: Dict[str, Dict[str, Setting]] = {}
    section: Optional[str] = None
    for number, raw in enumerate(text.lstrip("\ufeff").split("\n"), 1):
        line = raw.strip(" \t\r")
        if not line or line[0] in "#;":
            continue
        _refuse_unprintable(line, number)
        if line[0] == "[":
            section = _section(line, number, allowed)
            if section in found:
                raise IniError("line %d: [%s]: stands twice: keep one section" % (number, section))
            found[section] = {}
            continue
        if section is None:
            raise IniError("line %d: stands before any section: write [%s] above it"
                           % (number, sorted(allowed)[0]))
        key, value = _pair(line, number)
        if key not in allowed[section]:
            raise IniError("line %d: %s: unknown key%s"
                           % (number, key[:40], _hint(key, allowed[section])))
        if key in found[section]:
            raise IniError("line %d: %s: stands twice, first in line %d: keep one"
                           % (number, key, found[section][key].line))
        found[section][key] = Setting(value, number)
    return found


def _refuse_unprintable(line: str, number: int) -> None:
    if len(line) > MAX_LINE:
        raise IniError("line %d: is longer than %d characters: shorten it" % (number, MAX_LINE))
    for char in line:
        if char != "\t" and not char.isprintable():
            raise IniError("line %d: holds the control character %r: remove it" % (number, char))


def _section(line: str, number: int, allowed: Mapping[str, Collection[str]]) -> str:
    name = _without_comment(line)
    if not name.endswith("]"):
        raise IniError("line %d: section without closing bracket: write [name]" % number)
    name = name[1:-1].strip().lower()
    if name not in allowed:
        raise IniError("line %d: [%s]: unknown section%s" % (number, name[:40],
                                                             _hint(name, allowed)))
    return name


def _pair(line: str, number: int) -> Sequence[str]:
    places = [place for place in (line.find(":"), line.find("=")) if place > 0]
    if not places:
        raise IniError("line %d: neither \"key: value\" nor a comment: correct it" % number)
    place = min(places)
    return line[:place].strip().lower(), _without_comment(line[place + 1:])


def _without_comment(text: str) -> str:
    for place, char in enumerate(text):
        if char in "#;" and (place == 0 or text[place - 1] in " \t"):
            return text[:place].strip()
    return text.strip()


def _hint(name: str, known: Collection[str]) -> str:
    near = nearest(name, known)
    if near:
        return ": did you mean \"%s\"?" % near
    return ": known are %s" % ", ".join(sorted(known))


def nearest(name: str, known: Collection[str]) -> Optional[str]:
    """Return the known word at most two edits away, None if there is none (no difflib: size)."""
    best = None
    best_distance = 3
    for word in sorted(known):
        if abs(len(word) - len(name)) < best_distance:
            distance = _distance(name[:64], word)
            if distance < min(best_distance, len(word)):
                best, best_distance = word, distance
    return best


def _distance(left: str, right: str) -> int:
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def boolean(item: Setting, key: str) -> bool:
    """Return the truth value of an item; raises IniError."""
    word = item.value.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise IniError("line %d: %s: %r is neither true nor false" % (item.line, key, item.value[:40]))


def integer(item: Setting, key: str, low: int, high: int) -> int:
    """Return a whole number from low to high; raises IniError."""
    text = item.value
    plain = 0 < len(text) <= 12 and not text.strip("0123456789")
    if not plain or not low <= int(text) <= high:
        raise IniError("line %d: %s: %r is not a whole number from %d to %d"
                       % (item.line, key, text[:40], low, high))
    return int(text)


def choice(item: Setting, key: str, values: Sequence[str]) -> str:
    """Return the item's value if it is one of `values`; raises IniError."""
    if item.value in values:
        return item.value
    raise IniError("line %d: %s: %r is not one of %s"
                   % (item.line, key, item.value[:40], ", ".join(values)))
