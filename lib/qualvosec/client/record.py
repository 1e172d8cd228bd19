# SPDX-License-Identifier: BSD-2-Clause
"""Root's record of the last run, as the daemon keeps it: a digest.

The helper is the only writer of the record and the truth about what was
committed. Its reply is still checked key by key, so that a truncated or foreign
answer can never be taken for an outcome. Lists become counts: the daemon lives
for months and has no use for a thousand package names.
"""

from typing import Callable
from typing import Dict
from typing import NamedTuple
from typing import Tuple

OUTCOMES = ("ok", "nothing", "partial", "failed", "refused", "locked", "interrupted", "unsupported")
PHASES = ("accepted", "waiting", "recover", "refresh", "simulate", "commit", "compare", "done")
OPERATIONS = ("upgrade", "repair")
MAX_TEXT = 2000
MAX_NAME = 64
MAX_ENTRIES = 500
MAX_HISTORY = 64
KEPT_REASONS = 8
MAX_INSTANT = 1 << 53


class RecordError(ValueError):
    """A value is not a record of the helper; the text names the key."""


class Record(NamedTuple):
    """Instants are epoch seconds, 0 for not yet; `reboot` is due, no or unknown."""

    window: str
    op: str
    manager: str
    boot_id: str
    accepted: int
    started: int
    finished: int
    phase: str
    committed: bool
    outcome: str
    reason: str
    upgraded: int
    kept: int
    pending: int
    clean: bool
    reboot: str
    reboot_reasons: Tuple[str, ...]
    config_files: int
    reboot_requested: int
    reboot_delay: int
    reboot_refused: str
    kernel: str
    done: Tuple[str, ...]   # windows that root knows as committed, this one included


Check = Callable[[str, object], object]


def _text(key: str, value: object) -> object:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise RecordError("record: %s is not text of at most %d characters" % (key, MAX_TEXT))
    return value


def _name(key: str, value: object) -> object:
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise RecordError("record: %s is not text of at most %d characters" % (key, MAX_NAME))
    return value


def _one_of(*allowed: str) -> Check:
    def check(key: str, value: object) -> object:
        if not isinstance(value, str) or value not in allowed:
            raise RecordError("record: %s is not one of the words that a helper writes" % key)
        return value
    return check


def _number(key: str, value: object) -> object:
    if type(value) is not int or not 0 <= value < MAX_INSTANT:
        raise RecordError("record: %s is not a number" % key)
    return value


def _boolean(key: str, value: object) -> object:
    if type(value) is not bool:
        raise RecordError("record: %s is not true or false" % key)
    return value


def _texts(key: str, value: object) -> Tuple[str, ...]:
    if type(value) is not list or len(value) > MAX_ENTRIES:
        raise RecordError("record: %s is not a list of at most %d entries" % (key, MAX_ENTRIES))
    result = []
    for entry in value:
        _text(key, entry)
        result.append(str(entry))
    return tuple(result)


def _reasons(key: str, value: object) -> object:
    return _texts(key, value)[:KEPT_REASONS]


def _count(key: str, value: object) -> object:
    return len(_texts(key, value))


def _rows(width: int) -> Check:
    def count(key: str, value: object) -> object:
        if type(value) is not list or len(value) > MAX_ENTRIES:
            raise RecordError("record: %s is not a list of at most %d entries" % (key, MAX_ENTRIES))
        for row in value:
            if len(_texts(key, row)) != width:
                raise RecordError("record: %s has an entry that is not %d texts" % (key, width))
        return len(value)
    return count


_CHECKS: Dict[str, Check] = {
    "window": _name,
    "op": _one_of(*OPERATIONS),
    "manager": _text,
    "boot_id": _text,
    "accepted": _number,
    "started": _number,
    "finished": _number,
    "phase": _one_of(*PHASES),
    "committed": _boolean,
    "outcome": _one_of("", *OUTCOMES),
    "reason": _text,
    "upgraded": _rows(3),
    "kept": _rows(2),
    "pending": _number,
    "clean": _boolean,
    "reboot": _one_of("due", "no", "unknown"),
    "reboot_reasons": _reasons,
    "config_files": _count,
    "reboot_requested": _number,
    "reboot_delay": _number,
    "reboot_refused": _text,
    "kernel": _text,
}

_HISTORY_CHECKS: Dict[str, Check] = {
    "window": _name,
    "op": _one_of(*OPERATIONS),
    "outcome": _one_of("", *OUTCOMES),
    "committed": _boolean,
    "finished": _number,
}


def _object(where: str, value: object, keys: object) -> Dict[str, object]:
    if type(value) is not dict or set(value) != keys:
        raise RecordError("%s: the keys are not those that a helper writes" % where)
    return value


def _done(history: object) -> Tuple[str, ...]:
    if type(history) is not list or len(history) > MAX_HISTORY:
        raise RecordError("record: history is not a list of at most %d entries" % MAX_HISTORY)
    result = []
    for value in history:
        entry = _object("record: history", value, set(_HISTORY_CHECKS))
        for key, check in _HISTORY_CHECKS.items():
            check("history: " + key, entry[key])
        if entry["committed"] is True:
            result.append(str(entry["window"]))
    return tuple(result)


def record_from_json(value: object) -> Record:
    """Return the digest of a record as the helper prints it; raises RecordError."""
    entry = _object("record", value, set(_CHECKS) | {"v", "history"})
    if type(entry["v"]) is not int or entry["v"] != 1:
        raise RecordError("record: v is not 1; the helper is of another version")
    fields = {key: check(key, entry[key]) for key, check in _CHECKS.items()}
    if bool(fields["finished"]) != bool(fields["outcome"]):
        raise RecordError("record: finished and outcome do not fit together")
    done = _done(entry["history"])
    if fields["committed"] and fields["window"] not in done:
        done += (str(fields["window"]),)
    return Record(done=done, **fields)   # type: ignore[arg-type]
