# SPDX-License-Identifier: BSD-2-Clause
"""Root's own memory, run.json: what was accepted, how far it came, how it ended.

Every change is written durably before the step that it announces. The record
lies in a directory that only root can enter. A run is alive while
its process holds the lock; one that was accepted a moment ago and has not taken the
lock yet counts as alive, too, so that no second one starts in between. A
record that cannot be read stops everything until a person has looked at it.
"""

import json
import os
from typing import Any
from typing import Dict
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import files
from qualvosec.helper import request as requests

VERSION = 1
MAX_BYTES = 4 << 20
MAX_ENTRIES = 500
MAX_TEXT = 128
MAX_HISTORY = 64
START_S = 15.0
LOCK_WAIT_S = 5.0
NO_OUTCOME = ("locked", "refused")  # nothing was touched: the same may be asked for again


class RecordError(Exception):
    """run.json cannot be used; the text is one line."""


class Past(NamedTuple):
    """What is remembered of an older window."""

    window: str
    op: str
    outcome: str
    committed: bool
    finished: int


class Record(NamedTuple):
    """One run as the client sees it; times are epoch seconds, 0 means not yet."""

    window: str = ""
    op: str = ""
    manager: str = ""
    boot_id: str = ""
    accepted: int = 0
    started: int = 0
    finished: int = 0
    phase: str = ""
    committed: bool = False
    outcome: str = ""
    reason: str = ""
    upgraded: Tuple[Tuple[str, ...], ...] = ()
    kept: Tuple[Tuple[str, ...], ...] = ()
    pending: int = 0
    clean: bool = True
    reboot: str = "unknown"
    reboot_reasons: Tuple[str, ...] = ()
    config_files: Tuple[str, ...] = ()
    reboot_requested: int = 0
    reboot_delay: int = 0
    reboot_refused: str = ""
    kernel: str = ""
    history: Tuple[Past, ...] = ()


class State(NamedTuple):
    """The whole file: the request in work, whether a process took it, and the record."""

    request: Optional[requests.Request] = None
    accepted: int = 0
    boot_id: str = ""
    taken: bool = True
    planned: Tuple[Tuple[str, ...], ...] = ()
    reboot_window: str = ""
    record: Record = Record()


def accept(state: State, request: requests.Request, now: int, boot_id: str) -> State:
    """Return the state in which `request` waits for its process; the old record is remembered."""
    base = state._replace(request=request, accepted=now, boot_id=boot_id, taken=False)
    if request.op == "reboot":
        return base._replace(reboot_window="", record=state.record._replace(
            reboot_requested=0, reboot_refused=""))
    old = state.record
    same = old.window == request.window
    record = Record(window=request.window, op=request.op, boot_id=boot_id, accepted=now,
                    phase="accepted", committed=same and old.committed,
                    kernel=os.uname().release, history=_remember(old))
    planned = state.planned if request.op == "repair" and same else ()
    return base._replace(record=record, planned=planned)


def _remember(old: Record) -> Tuple[Past, ...]:
    """Return the history with `old` in it: one entry for each window, so none crowds others out."""
    if not old.window:
        return old.history
    outcome = old.outcome if old.finished else "interrupted"
    before = [past for past in old.history if past.window == old.window]
    committed = old.committed or any(past.committed for past in before)
    others = [past for past in old.history if past.window != old.window]
    entry = Past(old.window, old.op, outcome, committed, old.finished)
    return tuple((others + [entry])[-MAX_HISTORY:])


def was_committed(record: Record, window: str) -> bool:
    """Say whether a run of this window has ever reached the package manager's commit."""
    return (record.window == window and record.committed) or any(
        past.window == window and past.committed for past in record.history)


def to_json(record: Record) -> Dict[str, object]:
    """Return the record as it goes over the wire, lists and texts capped."""
    fields: Dict[str, object] = {"v": VERSION}
    for key, value in record._asdict().items():
        if key == "history":
            fields[key] = [past._asdict() for past in record.history]
        elif isinstance(value, tuple):
            fields[key] = [_capped(entry) for entry in value[:MAX_ENTRIES]]
        else:
            fields[key] = value[:4 * MAX_TEXT] if isinstance(value, str) else value
    return fields


def _capped(entry: object) -> object:
    if isinstance(entry, tuple):
        return [text[:MAX_TEXT] for text in entry]
    return str(entry)[:2 * MAX_TEXT]


class Store:
    """run.json and its lock in one directory of root's."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._path = os.path.join(folder, "run.json")
        self._lock = os.path.join(folder, "lock")

    def prepare(self) -> None:
        """Make the directory, or check that it is ours alone; raises RecordError."""
        try:
            os.makedirs(self.folder, 0o700, exist_ok=True)
            info = os.lstat(self.folder)
        except OSError as error:
            raise RecordError("%s: %s" % (self.folder, (error.strerror or "").lower())) from None
        if info.st_uid != os.geteuid() or info.st_mode & 0o077:
            raise RecordError("%s: must belong to root alone: chown root, chmod 700" % self.folder)

    def read(self) -> State:
        """Return the state, an empty one before the first run; raises RecordError."""
        try:
            if not os.path.lexists(self._path):
                os.listdir(self.folder)
                return State()
            data = files.read_bounded(self._path, MAX_BYTES, {os.geteuid()})
            return _from_json(json.loads(data.decode("ascii")))
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise RecordError("%s: %s" % (self.folder, (error.strerror or "").lower())) from None
        except files.FileError as error:
            raise RecordError(str(error)) from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise RecordError("%s: is damaged: check the package database, then remove it"
                              % self._path) from None

    def write(self, state: State) -> None:
        """Make the state durable; raises RecordError."""
        fields = dict(state._asdict(), v=VERSION, record=to_json(state.record),
                      request=requests.to_json(state.request) if state.request else None)
        try:
            files.write_atomic(self._path, json.dumps(fields).encode("ascii"))
        except files.FileError as error:
            raise RecordError(str(error)) from None

    def lock(self) -> Optional[int]:
        """Take the lock of a run; None while somebody else has it. Raises RecordError."""
        try:
            return files.lock_file(self._lock, LOCK_WAIT_S)
        except files.FileError as error:
            raise RecordError(str(error)) from None

    @staticmethod
    def starting(state: State, now: float, boot_id: str) -> bool:
        """Say whether a request was accepted so lately that its process may yet come."""
        return (not state.taken and state.boot_id == boot_id
                and 0 <= now - state.accepted < START_S)

    def alive(self, state: State, now: float, boot_id: str) -> bool:
        """Say whether a run is alive or about to start; raises RecordError."""
        try:
            return self.starting(state, now, boot_id) or files.is_locked(self._lock)
        except files.FileError as error:
            raise RecordError(str(error)) from None


def _from_json(fields: Dict[str, Any]) -> State:
    record = fields["record"]
    if fields.pop("v") != VERSION or record.pop("v") != VERSION:
        raise ValueError("another version")
    record["history"] = [Past(**past) for past in record["history"]]
    fields["record"] = _filled(Record(), record)
    if fields["request"] is not None:
        fields["request"] = requests.parse(json.dumps(fields["request"]).encode("ascii"))
    state: State = _filled(State(), fields)
    return state


def _filled(default: Any, fields: Dict[str, Any]) -> Any:
    """Return `default` with every field replaced; ValueError if keys or types differ."""
    if set(fields) != set(default._fields):
        raise ValueError("other keys")
    for key, value in default._asdict().items():
        if isinstance(fields[key], list):
            fields[key] = tuple(tuple(item) if type(item) is list else item for item in fields[key])
        if type(fields[key]) is not type(value) and key != "request":
            raise ValueError("another type")
    return default._replace(**fields)
