# SPDX-License-Identifier: BSD-2-Clause
"""Package names and patterns: which are allowed, and which installed names they mean.

A pattern has `*` (any run of characters) and `?` (exactly one); nothing else is
special. Matching is by search from left to right without a way back, so its time
grows with the lengths and never explodes: fnmatch turns patterns into
regular expressions that can take hours. What leaves this module is always an
element of the installed set that the caller passed in.
"""

import re
from typing import Collection
from typing import Dict
from typing import List
from typing import Sequence
from typing import Set
from typing import Tuple

MAX_PATTERNS = 500
MAX_LENGTH = 128
_PATTERN = re.compile(r"[A-Za-z0-9_*?][A-Za-z0-9_+.@*?-]*(:[a-z0-9_*?-]{1,16})?")


def is_pattern(text: str) -> bool:
    """Say whether `text` may stand in a list of names and patterns."""
    return len(text) <= MAX_LENGTH and _PATTERN.fullmatch(text) is not None


def expand(patterns: Sequence[str], installed: Collection[str],
           own: str = "") -> Tuple[Set[str], List[str]]:
    """Return the installed names that any pattern matches, and the patterns that match none.

    An installed name may carry its architecture, `libc6:i386`; what carries none is of the
    architecture `own`. A pattern without one means every copy.
    """
    found: Set[str] = set()
    idle = []
    bare = {name: name.partition(":")[0] for name in installed}
    for pattern in patterns:
        if ":" in pattern:
            hits = {name for name in bare if matches(
                pattern, name if ":" in name or not own else name + ":" + own)}
        else:
            hits = {name for name, stem in bare.items() if matches(pattern, stem)}
        found |= hits
        if not hits:
            idle.append(pattern)
    return found, idle


def unwanted(only: Sequence[str], exclude: Sequence[str], pending: Collection[str],
             installed: Collection[str], own: str = "") -> Tuple[Dict[str, str], List[str]]:
    """Return {pending name: why it is not wanted}, and a warning for each pattern without effect.

    An empty `only` means every package; an `only` that matches nothing means none.
    """
    listed, idle_only = expand(only, installed, own)
    barred, idle_exclude = expand(exclude, installed, own)
    why = {}
    for name in pending:
        if name in barred:
            why[name] = "in packages_blacklist"
        elif only and name not in listed:
            why[name] = "not in packages_whitelist"
    warnings = ["%s: %s matches no installed package" % (key, pattern)
                for key, idle in (("packages_whitelist", idle_only),
                                  ("packages_blacklist", idle_exclude)) for pattern in idle]
    return why, warnings


def matches(pattern: str, name: str) -> bool:
    """Say whether the whole of `name` fits the pattern."""
    if "*" not in pattern:
        return pattern == name or (len(pattern) == len(name) and _fits(pattern, name, 0))
    pieces = pattern.split("*")
    first, last = pieces[0], pieces[-1]
    end = len(name) - len(last)
    if end < len(first) or not _fits(first, name, 0) or not _fits(last, name, end):
        return False
    place = len(first)
    for piece in pieces[1:-1]:
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
