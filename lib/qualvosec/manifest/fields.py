# SPDX-License-Identifier: BSD-2-Clause
"""The fields of a manifest entry: what each may hold, and how it is shown. The one table.

A new field is a row of FIELDS, its default in policy.Policy, and who obeys it. One reader per
field turns the parsed value into what Policy stores, or complains: what is wrong and what to do,
for a list at the item. Nothing is guessed: text is not a number, a number is not text, a
single value is not a list (weekday and week alone take either), an empty list is a mistake.
A fault never repeats more than 40 characters of what it was given. The daemon has this module,
too: what only a reader of manifests needs is imported where it is used.
"""

import re
from typing import Any
from typing import Callable
from typing import Collection
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional

from qualvosec.contract import names
from qualvosec.contract import shape
from qualvosec.safetext import safe

MAX_RANGES = 200
MAX_LABELS = 100
MAX_LABEL_CHARS = 64
MAX_ORDINAL = 3652059   # 9999-12-31, the last day that the calendar can name

Complain = Callable[..., None]      # complain(what, fix, index=None)

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@+/-]{0,%d}" % (MAX_LABEL_CHARS - 1))
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


ONE, LIST, EITHER = "one", "list", "either"     # what a field's value is in the manifest


class Field(NamedTuple):
    """One field, under its name in the manifest; its default is that of Policy."""

    policy: str                                 # its name in Policy
    read: Callable[[object, Complain], Any]     # what the manifest has -> what Policy holds
    check: shape.Part                           # what Policy holds, where it arrives as JSON
    value: Callable[[Any], object]              # what Policy holds -> as the manifest has it
    text: Callable[[Any], str]                  # that, for a person
    form: str = ONE
    united: int = 0         # entries at most, united over all levels; 0: the nearest level counts
    is_host_only: bool = False
    since: str = "1.0"      # the first version whose clients know it


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
    import difflib

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
        import datetime

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
    for index, item in enumerate(_list(value, names.MAX_PATTERNS, complain)):
        if not isinstance(item, str):
            complain("%s is not the name of a package" % shown(item), "quote it", index)
        elif len(item) > names.MAX_PATTERN:
            complain("%s has more than %d characters" % (shown(item), names.MAX_PATTERN),
                     "shorten it, with * for the rest", index)
        elif not names.is_pattern(item):
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


def day(ordinal_day: int) -> str:
    """Return an ordinal as the date that ordinal() reads."""
    import datetime

    return datetime.date.fromordinal(ordinal_day).isoformat()


def _as_it_is(value: Any) -> object:
    return value


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _counted(unit: str) -> Callable[[object], str]:
    return lambda value: "%s %s" % (value, unit) if unit else str(value)


def _listed(empty: str = "none") -> Callable[[Any], str]:
    return lambda value: ", ".join(str(item) for item in value) or empty


def _flag(policy: str) -> Field:
    return Field(policy, boolean, shape.boolean, _as_it_is, _plain)


def _whole(policy: str, low: int, high: int, unit: str = "") -> Field:
    return Field(policy, number(low, high), shape.number(low, high), _as_it_is, _counted(unit))


def _texts(policy: str, read: Callable[[object, Complain], Any], empty: str = "none",
           united: int = 0, is_host_only: bool = False) -> Field:
    check = shape.list_of(shape.text(names.MAX_PATTERN, 1), names.MAX_PATTERNS)
    return Field(policy, read, check, list, _listed(empty), LIST, united, is_host_only)


def _sorted(low: int, high: int, but: int = -1) -> shape.Part:
    numbers = shape.list_of(shape.number(low, high))

    def part(value: object, notes: shape.Notes) -> object:
        found = numbers(value, notes)
        if but in found or list(found) != sorted(set(found)):
            raise shape.ShapeError("has an entry that is out of range, unsorted or twice")
        return found
    return part


def _ranges(value: object, notes: shape.Notes) -> object:
    one = shape.number(1, MAX_ORDINAL)
    found = shape.list_of(shape.row(one, one), names.MAX_PATTERNS)(value, notes)
    if any(first > last for first, last in found):
        raise shape.ShapeError("has a range that ends before it begins")
    return found


FIELDS: Dict[str, Field] = {
    "patch": _flag("patch"),
    "reboot": Field("reboot", _reboot, shape.word("never", "always", "required"),
                    lambda word: {"never": False, "always": True}.get(word, word), _plain),
    "weekday": Field("weekdays", _weekdays, _sorted(0, 6),
                     lambda days: [_DAYS[number].capitalize() for number in days],
                     _listed(), EITHER),
    "hour": _whole("hour", 0, 23),
    "minute": _whole("minute", 0, 59),
    "duration": _whole("duration", 1, 1440, "minutes"),
    "reboot_grace": _whole("reboot_grace", 0, 1440, "minutes"),
    "splay": _whole("splay", 0, 1440, "minutes"),
    "week": Field("weeks", _weeks, _sorted(-1, 5, 0),
                  lambda weeks: [week for week in weeks if week > 0] + ["last"] * (-1 in weeks),
                  _listed("every"), EITHER),
    "freeze": Field("freeze", _freeze, _ranges,
                    lambda ranges: ["%s/%s" % (day(first), day(last)) for first, last in ranges],
                    _listed(), LIST, MAX_RANGES),
    "catch_up": _whole("catch_up", 0, 168, "hours"),
    "security_only": _flag("security_only"),
    "packages_whitelist": _texts("only", _patterns, "all installed"),
    "packages_blacklist": _texts("exclude", _patterns, united=names.MAX_PATTERNS),
    "group_membership": _texts("groups", _labels, is_host_only=True),
}
