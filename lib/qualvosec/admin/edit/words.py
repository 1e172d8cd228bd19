# SPDX-License-Identifier: BSD-2-Clause
"""Words of the command line -> the hosts and field values that they name; pure.

A word with `=` sets a field, the others name hosts. A value is read as it would be in the
manifest; for fields that hold lists, `a,b` and a single name do, too. `field=` takes a field
out, `time=03:15` stands for hour and minute. Whether a value makes sense is not judged here.
"""

import re
from typing import Collection
from typing import Dict
from typing import List
from typing import Optional
from typing import Sequence
from typing import Tuple

from qualvosec import yamlsubset
from qualvosec.admin.terminal import UsageError
from qualvosec.manifest.entrytext import Value
from qualvosec.manifest.fields import EITHER
from qualvosec.manifest.fields import FIELDS
from qualvosec.manifest.fields import LIST
from qualvosec.manifest.fields import ONE
from qualvosec.manifest.schema import fold
from qualvosec.safetext import safe
from qualvosec.yamlsubset import YamlError

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def split(words: Sequence[str]) -> Tuple[List[str], Dict[str, Value]]:
    """Return the names of hosts and the fields; raises UsageError."""
    names: List[str] = []
    fields: Dict[str, Value] = {}
    for word in words:
        field, sign, text = word.partition("=")
        if not sign:
            names.append(word)
            continue
        if not field:
            raise UsageError("%s: names no field: write field=value" % safe(word, 60))
        if field == "time":
            found: Dict[str, Value] = clock(text) if text else {"hour": None, "minute": None}
        else:
            found = {field: value(field, text)}
        once_alone(field, found, fields)
        fields.update(found)
    return names, fields


def once_alone(word: str, found: Collection[str], known: Collection[str]) -> None:
    """Refuse to set a field that is set already: of two lists one would be lost unseen."""
    if not set(known).isdisjoint(found):
        raise UsageError("%s: is set twice: give it once, a list as a,b" % safe(word, 60))


def value(field: str, text: str) -> Value:
    """Return what a field's text means, None for no text; raises UsageError."""
    if not text.strip(" "):
        return None
    form = FIELDS[field].form if field in FIELDS else ONE
    is_list = form == LIST or (form == EITHER and "," in text)
    if is_list and not text.lstrip(" ").startswith("["):
        items = [item.strip(" ") for item in text.split(",")]
        if form == LIST:
            return [_unquoted(item) for item in items]
        text = "[%s]" % text
    return _read(field, text)       # type: ignore[return-value]


def _unquoted(item: str) -> str:
    return item[1:-1] if len(item) > 1 and item[0] == item[-1] and item[0] in "'\"" else item


def _read(field: str, text: str) -> object:
    if "\n" in text or "\r" in text:
        raise UsageError("%s: more than one line: write the value on one" % safe(field, 60))
    try:
        found = yamlsubset.read_line("x: %s" % text)
    except YamlError as fault:
        raise UsageError("%s: %s: %s" % (safe(field, 60), fault.what, fault.fix)) from None
    if found.kind != yamlsubset.FIELD:
        raise UsageError("%s: %s is a comment: quote it" % (safe(field, 60), safe(text, 60)))
    if isinstance(found.value, tuple):
        return [item for item, _ in found.value]
    return found.value


def clock(text: str) -> Dict[str, Value]:
    """Return hour and minute of `03:15`; raises UsageError."""
    hour, sign, minute = text.partition(":")
    numbers = [_number(part, limit) for part, limit in ((hour, 23), (minute, 59))]
    if not sign or None in numbers:
        raise UsageError("--time: %s: is not a time of day: write it as 03:15" % safe(text, 60))
    return {"hour": numbers[0], "minute": numbers[1]}


def _number(text: str, limit: int) -> Optional[int]:
    if not 1 <= len(text) <= 2 or not all(char in "0123456789" for char in text):
        return None
    return int(text) if int(text) <= limit else None


def weekdays(texts: Sequence[str]) -> Value:
    """Return the numbers of days, 0 is Monday: every client reads these; raises UsageError."""
    days = []
    for text in ",".join(texts).split(","):
        word = text.strip(" ").lower()
        found = [number for number, day in enumerate(DAYS)
                 if word in (str(number), day, day[:3])]
        if not found:
            raise UsageError("--weekday: %s: is not a day: use 0 (Monday) to 6 or an English day "
                             "name" % safe(text, 60))
        days.extend(found)
    unique: List[int] = sorted(set(days))
    return unique[0] if len(unique) == 1 else unique


def names_of(text: str) -> List[str]:
    """Return the names in a list of hosts, one or more a line; # begins a comment.

    Only what ASCII has of blanks parts them: a name with another one in it is refused, not two.
    """
    return [name for line in text.split("\n")
            for name in re.split("[ \t\r\f\v]+", line.partition("#")[0]) if name]


def once(names: Sequence[str]) -> List[str]:
    """Return the names without those that are there before, in another spelling or the same."""
    first: Dict[str, str] = {}
    for name in names:
        first.setdefault(fold(name), name)
    return list(first.values())
