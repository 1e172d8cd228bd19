# SPDX-License-Identifier: BSD-2-Clause
"""JSON that another process or another version wrote, checked: the one kit for all of it.

A part is a function from a value, as the json module returns it, to the value
that the program works with. A record is a NamedTuple: each key has the type that
its annotation says, or a narrower part. An absent key has its default, unless the
reader says that it cannot do without; an unknown key is ignored, and so is
a word that is newer than the reader where the reader allows that: both are noted,
for one line of the reader's log. A value of a wrong type is refused, never guessed.
"""

import json
from typing import Any
from typing import Callable
from typing import Dict
from typing import List
from typing import Sequence
from typing import Tuple

from qualvosec.contract import words

MAX_NUMBER = 1 << 53
MAX_TEXT = 2000
MAX_ENTRIES = 100000
SHOWN = 5
SHOWN_TEXT = 64
Notes = List[str]
Part = Callable[[Any, Notes], Any]


class ShapeError(ValueError):
    """A value is not what was agreed; one line: where, what is wrong."""


def check(good: Callable[[Any], bool], wrong: str) -> Part:
    """Return the part for what `good` accepts as it is; `wrong` says what another value is not."""
    def part(value: Any, notes: Notes) -> Any:
        if not good(value):
            raise ShapeError(wrong)
        return value
    return part


def text(most: int = MAX_TEXT, least: int = 0) -> Part:
    """Text of so many characters."""
    return check(lambda value: type(value) is str and least <= len(value) <= most,
                 "is not text of %d to %d characters" % (least, most))


def word(*known: str) -> Part:
    """One of a closed set."""
    return check(lambda value: type(value) is str and value in known, "is not a known word")


def newer_word(*known: str) -> Part:
    """One of a set that grows: a short word that is not in it is kept, and noted."""
    def part(value: Any, notes: Notes) -> Any:
        if type(value) is not str or not (value in known or words.is_word(value)):
            raise ShapeError("is not a word")
        if value not in known:
            notes.append(" is " + value)
        return value
    return part


def number(low: int = -MAX_NUMBER, high: int = MAX_NUMBER) -> Part:
    """A whole number; true and false are none."""
    return check(lambda value: type(value) is int and low <= value <= high,
                 "is not a number from %d to %d" % (low, high))


boolean = check(lambda value: type(value) is bool, "is not true or false")


def list_of(part: Part, most: int = MAX_ENTRIES) -> Part:
    """A list of any length up to `most`, as a tuple."""
    def whole(value: Any, notes: Notes) -> Any:
        if type(value) is not list or len(value) > most:
            raise ShapeError("is not a list of at most %d entries" % most)
        return tuple(part(entry, notes) for entry in value)
    return whole


def row(*parts: Part) -> Part:
    """A list with one entry for each part, as a tuple."""
    def whole(value: Any, notes: Notes) -> Any:
        if type(value) is not list or len(value) != len(parts):
            raise ShapeError("is not a list of %d entries" % len(parts))
        return tuple(part(entry, notes) for part, entry in zip(parts, value))
    return whole


def optional(part: Part) -> Part:
    """What a part accepts, or None, which stands for not known."""
    return lambda value, notes: None if value is None else part(value, notes)


def typed(kind: Any) -> Part:
    """Return the part for an annotation: bool, int, str, Tuple, Optional, NamedTuple."""
    if hasattr(kind, "_fields"):
        return record(kind)
    plain: Dict[Any, Part] = {bool: boolean, int: number(), str: text()}
    if kind in plain:
        return plain[kind]
    inner = kind.__args__
    if inner[-1] is type(None):
        return optional(typed(inner[0]))
    return list_of(typed(inner[0])) if inner[-1] is ... else row(*map(typed, inner))


def record(kind: Any, needed: Sequence[str] = (), version: int = 0, exact: bool = False,
           **narrower: Part) -> Part:
    """An object as a NamedTuple of type `kind`.

    Without its default, or named in `needed`, a key must be there. `version` is
    what its key v has to be. `exact` refuses unknown keys.
    """
    parts: Dict[str, Part] = {key: narrower.get(key) or typed(like)
                              for key, like in kind.__annotations__.items()}
    defaults = {key: value for key, value in kind._field_defaults.items() if key not in needed}

    def whole(value: Any, notes: Notes) -> Any:
        if type(value) is not dict:
            raise ShapeError("is not an object")
        if version and (type(value.get("v")) is not int or value["v"] != version):
            raise ShapeError("v: is not %d: it was written by another version" % version)
        strange = sorted(set(value).difference(parts, ["v"] if version else []))
        if strange and exact:
            raise ShapeError("the key %s is not known" % ascii(strange[0])[:SHOWN_TEXT])
        notes.extend(strange)
        found = dict(defaults)
        for key, part in parts.items():
            if key not in value and key not in defaults:
                raise ShapeError("%s: is missing" % key)
            inner: Notes = []
            try:
                found[key] = part(value[key], inner) if key in value else defaults[key]
            except ValueError as error:
                raise ShapeError("%s: %s" % (key, error)) from None
            notes.extend(key + (note if note[:1] == " " else "." + note) for note in inner)
        return kind(**found)
    return whole


def parse(data: bytes) -> Any:
    """Return what the JSON text holds; raises ShapeError, also where a key stands twice."""
    try:
        return json.loads(data.decode("ascii"), object_pairs_hook=_unique)
    except RecursionError:
        raise ShapeError("is nested too deeply") from None
    except ValueError as error:
        raise ShapeError("is not JSON as agreed (%s)" % ascii(str(error))[1:-1]) from None


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ShapeError("a key stands twice")
    return found


def told(notes: Sequence[str]) -> str:
    """Return what was newer than its reader as one bounded line, "" if nothing was."""
    if not notes:
        return ""
    shown = [ascii(note)[1:-1][:SHOWN_TEXT] for note in notes[:SHOWN]]
    return "%s%s" % (
        ", ".join(shown), " and %d more" % (len(notes) - SHOWN) if len(notes) > SHOWN else "")
