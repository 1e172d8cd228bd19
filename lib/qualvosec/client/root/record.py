# SPDX-License-Identifier: BSD-2-Clause
"""Root's record of the last run, as the daemon keeps it: a digest.

The helper is the only writer of the record and the truth about what was
committed. Its reply is still checked key by key, so that a truncated or foreign
answer can never be taken for an outcome; what only later versions write is noted,
and the rest is kept. Lists become counts: the daemon lives for months and
has no use for a thousand package names.
"""

from typing import NamedTuple
from typing import Optional
from typing import Sequence
from typing import Tuple

from qualvosec.contract import shape
from qualvosec.contract import words

OUTCOMES = tuple(word for word in words.OUTCOMES if word != words.MISSED)
PHASES = ("accepted", "waiting", "recover", "refresh", "simulate", "commit", "compare", "done")
OPERATIONS = ("upgrade", "repair")
MAX_NAME = 64
MAX_ENTRIES = 500
MAX_HISTORY = 64
KEPT_REASONS = 8
MAX_INSTANT = 1 << 53


class RootError(ValueError):
    """Root cannot be asked, or what it answers cannot be used; the text is one line."""


class Past(NamedTuple):
    """What root remembers of an older window."""

    window: str
    committed: bool
    op: str = ""
    outcome: str = ""
    finished: int = 0


class Told(NamedTuple):
    """The record as root tells it, its lists capped; without the first keys it is none."""

    window: str
    op: str
    boot_id: str
    accepted: int
    finished: int
    phase: str
    committed: bool
    outcome: str
    history: Tuple[Past, ...]
    manager: str = ""
    started: int = 0
    reason: str = ""
    upgraded: Tuple[Tuple[str, str, str], ...] = ()
    kept: Tuple[Tuple[str, str], ...] = ()
    pending: Optional[int] = None
    clean: bool = True
    reboot: str = "unknown"
    reboot_reasons: Tuple[str, ...] = ()
    config_files: Tuple[str, ...] = ()
    reboot_requested: int = 0
    reboot_delay: int = 0
    reboot_refused: str = ""
    kernel: str = ""
    upgraded_count: Optional[int] = None
    kept_count: Optional[int] = None
    config_files_count: Optional[int] = None


class Record(NamedTuple):
    """Instants are epoch seconds, 0 for not yet; a count is None where root does not know it."""

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
    upgraded: Optional[int]
    kept: Optional[int]
    pending: Optional[int]
    clean: bool
    reboot: str             # due, no or unknown
    reboot_reasons: Tuple[str, ...]
    config_files: Optional[int]
    reboot_requested: int
    reboot_delay: int
    reboot_refused: str
    kernel: str
    done: Tuple[str, ...]   # windows that root knows as committed, this one included


_COUNT = shape.number(0, MAX_INSTANT)
_NAME = shape.text(MAX_NAME)
_OPERATION = shape.newer_word(*OPERATIONS)
_OUTCOME = shape.newer_word("", *OUTCOMES)
_TEXTS = shape.list_of(shape.text(), MAX_ENTRIES)
_PAST = shape.record(Past, window=_NAME, op=_OPERATION, outcome=_OUTCOME, finished=_COUNT)
_TOLD = shape.record(
    Told, version=1, window=_NAME, op=_OPERATION, outcome=_OUTCOME,
    accepted=_COUNT, started=_COUNT, finished=_COUNT, phase=shape.newer_word(*PHASES),
    upgraded=shape.list_of(shape.row(*[shape.text()] * 3), MAX_ENTRIES),
    kept=shape.list_of(shape.row(*[shape.text()] * 2), MAX_ENTRIES),
    pending=shape.optional(_COUNT), reboot=shape.newer_word("due", "no", "unknown"),
    reboot_reasons=_TEXTS, config_files=_TEXTS, reboot_requested=_COUNT, reboot_delay=_COUNT,
    history=shape.list_of(_PAST, MAX_HISTORY), upgraded_count=shape.optional(_COUNT),
    kept_count=shape.optional(_COUNT), config_files_count=shape.optional(_COUNT))


def told_from_json(value: object, notes: shape.Notes) -> Told:
    """Return a record as the helper prints it; raises RootError."""
    try:
        told: Told = _TOLD(value, notes)
    except ValueError as error:
        raise RootError("record: %s" % error) from None
    if bool(told.finished) != bool(told.outcome):
        raise RootError("record: finished and outcome do not fit together")
    if not told.finished or told.pending is None:
        return told
    # Where root knows what is pending it has counted the rest: what is missing was written by a
    # version without numbers. Its lists are whole if they are shorter than the cap.
    return told._replace(
        upgraded_count=_count(told.upgraded_count, told.upgraded),
        kept_count=_count(told.kept_count, told.kept),
        config_files_count=_count(told.config_files_count, told.config_files))


def _count(number: Optional[int], rows: Sequence[object]) -> Optional[int]:
    return len(rows) if number is None and len(rows) < MAX_ENTRIES else number


def digest(told: Told) -> Record:
    """Return what the daemon keeps of a record."""
    done = tuple(past.window for past in told.history if past.committed)
    if told.committed and told.window not in done:
        done += (told.window,)
    same = {key: getattr(told, key) for key in Record._fields if key in Told._fields}
    return Record(**dict(
        same, upgraded=told.upgraded_count, kept=told.kept_count,
        config_files=told.config_files_count, done=done,
        reboot_reasons=tuple(words.capped(told.reboot_reasons, KEPT_REASONS))))


def record_from_json(value: object) -> Record:
    """Return the digest of a record as the helper prints it; raises RootError."""
    return digest(told_from_json(value, []))
