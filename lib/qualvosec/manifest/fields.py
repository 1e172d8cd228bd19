# SPDX-License-Identifier: BSD-2-Clause
"""The fields of a manifest entry: what each may hold and what it means.

One reader per field turns the parsed value into what Policy stores, or
complains: what is wrong and what to do, for a list at the item. Nothing is
guessed: text is not a number, a number is not text, a single value is not a
list (weekday and week alone take either), an empty list is a mistake.
A fault never repeats more than 40 characters of what it was given.
"""

import datetime
import difflib
import re
from typing import Any
from typing import Callable
from typing import Collection
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec.safetext import safe

MAX_PATTERN_CHARS = 128
MAX_PATTERNS = 500
MAX_RANGES = 200
MAX_LABELS = 100
MAX_LABEL_CHARS = 64

Complain = Callable[..., None]      # complain(what, fix, index=None)

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Names of packages on the supported systems, an architecture behind a colon,
# and the wildcards. A leading "-" or "." would be an option or a path.
# The helper takes no others: see helper/managers/names.py.
_PATTERN = re.compile(r"[A-Za-z0-9_*?][A-Za-z0-9_+.@*?-]*(:[a-z0-9_*?-]{1,16})?")
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@+/-]{0,%d}" % (MAX_LABEL_CHARS - 1))
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Field(NamedTuple):
    """One field: its name in Policy and the reader of its value."""

    policy: str
    read: Callable[[object, Complain], Any]


def shown(value: object) -> str:
    """Return a value as an administrator wrote it, text in quotes, safe and short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a mapping"
    if isinstance(value, int) and value.bit_length() > 128:
        return "a huge number"      # str() of it is slow, or an error since Python 3.11
    return "'%s'" % safe(value, 40) if isinstance(value, str) else safe(str(value), 40)


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return the nearest known word, or "" when none is near."""
    if not known or len(word) > 64:
        return ""
    word = word.lower()
    near = difflib.get_close_matches(word, list(known), 1, 0.7)
    if not near and len(word) >= 3:
        near = [entry for entry in known if word in entry][:1]
    return near[0] if near else ""


def ordinal(text: str) -> Optional[int]:
    """Return the ordinal of a date YYYY-MM-DD, None if there is no such day."""
    if not _DATE.fullmatch(text):
        return None
    try:
        return datetime.date(int(text[:4]), int(text[5:7]), int(text[8:])).toordinal()
    except ValueError:
        return None


def is_label(value: object) -> bool:
    """Say whether a value may name a group."""
    return isinstance(value, str) and _LABEL.fullmatch(value) is not None


def boolean(value: object, complain: Complain) -> Any:
    """Read true or false."""
    if isinstance(value, bool):
        return value
    return complain("%s is neither true nor false" % shown(value), "write true or false")


def number(low: int, high: int) -> Callable[[object, Complain], Any]:
    """Return a reader of whole numbers from low to high."""
    def read(value: object, complain: Complain) -> Any:
        fix = "write a number from %d to %d" % (low, high)
        if type(value) is not int:
            return complain("%s is not a number" % shown(value), fix)
        if not low <= value <= high:
            return complain("%s is out of range" % shown(value), fix)
        return value
    return read


def _reboot(value: object, complain: Complain) -> Any:
    if isinstance(value, bool):
        return "always" if value else "never"
    if value == "required":
        return value
    return complain("%s is not known" % shown(value), "write true, false or required")


def _weekday(value: object) -> Optional[int]:
    if type(value) is int and 0 <= value <= 6:
        return value
    if isinstance(value, str):
        for index, day in enumerate(_DAYS):
            if value.lower() in (day, day[:3]):
                return index
    return None


def _weekdays(value: object, complain: Complain) -> Any:
    def one(item: object, index: Optional[int]) -> Optional[int]:
        day = _weekday(item)
        if day is None:
            near = did_you_mean(item, _DAYS) if isinstance(item, str) else ""
            hint = "; did you mean %s?" % near.capitalize() if near else ""
            complain("%s is not a day" % shown(item),
                     "use 0 (Monday) to 6 or an English day name" + hint, index)
        return day
    return _one_or_many(value, one, complain)


def _weeks(value: object, complain: Complain) -> Any:
    def one(item: object, index: Optional[int]) -> Optional[int]:
        if type(item) is int and 1 <= item <= 5:
            return item
        if isinstance(item, str) and item.lower() == "last":
            return -1
        complain("%s is not a week of a month" % shown(item), "use 1 to 5 or last", index)
        return None
    return _one_or_many(value, one, complain)


def _one_or_many(value: object, one: Callable[[object, Optional[int]], Optional[int]],
                 complain: Complain) -> Any:
    if not isinstance(value, list):
        item = one(value, None)
        return None if item is None else (item,)
    if not value:
        return complain("the list is empty", "name at least one or remove the field")
    items = [one(item, index) for index, item in enumerate(value)]
    return tuple(sorted({item for item in items if item is not None}))


def _list(value: object, limit: int, complain: Complain) -> List[object]:
    if isinstance(value, str) and value:
        complain("%s is not a list" % shown(value), "write [%s]" % safe(value, 40))
        return []
    if not isinstance(value, list):
        complain("%s is not a list" % shown(value), "write a list: [a, b]")
        return []
    if not value:
        complain("the list is empty", "name at least one or remove the field")
    if len(value) > limit:
        complain("%d entries are too many" % len(value), "keep to %d" % limit)
        return []
    return value


def _freeze(value: object, complain: Complain) -> Any:
    ranges = set()
    for index, item in enumerate(_list(value, MAX_RANGES, complain)):
        fix = 'write "2026-12-20/2027-01-05", both days included'
        parts = item.split("/") if isinstance(item, str) else []
        if len(parts) != 2:
            complain("%s is not a range of days" % shown(item), fix, index)
            continue
        first, last = ordinal(parts[0]), ordinal(parts[1])
        if first is None or last is None:
            wrong = parts[0] if first is None else parts[1]
            complain("%s is not a date" % shown(wrong), fix, index)
        elif first > last:
            complain("%s ends before it begins" % shown(item), "put the earlier day first", index)
        else:
            ranges.add((first, last))
    return tuple(sorted(ranges))


def _patterns(value: object, complain: Complain) -> Any:
    good: Dict[str, None] = {}
    for index, item in enumerate(_list(value, MAX_PATTERNS, complain)):
        if not isinstance(item, str):
            complain("%s is not the name of a package" % shown(item), "quote it", index)
        elif len(item) > MAX_PATTERN_CHARS:
            complain("%s has more than %d characters" % (shown(item), MAX_PATTERN_CHARS),
                     "shorten it, with * for the rest", index)
        elif not _PATTERN.fullmatch(item):
            complain("%s is not the name of a package" % shown(item),
                     "use letters, digits, + . _ @ -, the wildcards * and ?,"
                     " and the architecture, if any, behind a colon", index)
        else:
            good[item] = None
    return tuple(good)


def _labels(value: object, complain: Complain) -> Any:
    good: Dict[str, None] = {}
    for index, item in enumerate(_list(value, MAX_LABELS, complain)):
        if not isinstance(item, str):
            complain("%s is not the name of a group" % shown(item), "quote it", index)
        elif not is_label(item):
            complain("%s is not the name of a group" % shown(item),
                     "use up to %d letters, digits, . _ : @ + / -" % MAX_LABEL_CHARS, index)
        else:
            good[item] = None
    return tuple(good)


FIELDS: Dict[str, Field] = {
    "patch": Field("patch", boolean),
    "reboot": Field("reboot", _reboot),
    "weekday": Field("weekdays", _weekdays),
    "hour": Field("hour", number(0, 23)),
    "minute": Field("minute", number(0, 59)),
    "duration": Field("duration", number(1, 1440)),
    "reboot_grace": Field("reboot_grace", number(0, 1440)),
    "splay": Field("splay", number(0, 1440)),
    "week": Field("weeks", _weeks),
    "freeze": Field("freeze", _freeze),
    "catch_up": Field("catch_up", number(0, 168)),
    "security_only": Field("security_only", boolean),
    "packages_whitelist": Field("only", _patterns),
    "packages_blacklist": Field("exclude", _patterns),
    "group_membership": Field("groups", _labels),
}

# United over all levels instead of replaced, and how many entries may result.
UNITED: Dict[str, int] = {"freeze": MAX_RANGES, "packages_blacklist": MAX_PATTERNS}
HOST_ONLY: Tuple[str, ...] = ("group_membership",)
