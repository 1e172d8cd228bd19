# SPDX-License-Identifier: BSD-2-Clause
"""The form of a name, the same for who writes it and for who checks it again.

Window ids, and the names and patterns of packages. A pattern has
`*` (any run of characters) and `?` (exactly one); nothing else is special, and no pattern
begins as an option or a path does. Matching is by search from left to right without a way
back, so its time grows with the lengths and never explodes: fnmatch turns patterns into
regular expressions that can take hours.
"""

import re

WINDOW = re.compile(r"[0-9]{8}T[0-9]{4}Z")
MAX_PATTERNS = 500
MAX_PATTERN = 128
_PATTERN = re.compile(r"[A-Za-z0-9_*?][A-Za-z0-9_+.@*?-]*(:[a-z0-9_*?-]{1,16})?")


def is_pattern(text: str) -> bool:
    """Say whether `text` may stand in a list of names and patterns of packages."""
    return len(text) <= MAX_PATTERN and _PATTERN.fullmatch(text) is not None


def matches(pattern: str, name: str) -> bool:
    """Say whether the whole of `name` fits the pattern."""
    first, *middle = pattern.split("*")
    if not middle:
        return len(pattern) == len(name) and _fits(pattern, name, 0)
    last = middle.pop()
    end = len(name) - len(last)
    if end < len(first) or not _fits(first, name, 0) or not _fits(last, name, end):
        return False
    place = len(first)
    for piece in middle:
        place = _search(piece, name, place, end)
        if place < 0:
            return False
        place += len(piece)
    return True


def _fits(piece: str, name: str, place: int) -> bool:
    if "?" not in piece:
        return name.startswith(piece, place)
    part = name[place:place + len(piece)]
    return len(part) == len(piece) and all(p in ("?", c) for p, c in zip(piece, part))


def _search(piece: str, name: str, start: int, end: int) -> int:
    if "?" not in piece:
        return name.find(piece, start, end)
    for place in range(start, end - len(piece) + 1):
        if _fits(piece, name, place):
            return place
    return -1
