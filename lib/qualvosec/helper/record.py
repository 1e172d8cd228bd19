# SPDX-License-Identifier: BSD-2-Clause
"""Root's own memory, run.json: what was accepted, how far it came, how it ended.

Every change is written durably before the step that it announces. The record
lies in a directory that only root can enter. A run is alive while
its process holds the lock; one that was accepted a moment ago and has not taken the
lock yet counts as alive, too, so that no second one starts in between. A
record that cannot be read stops everything until a person has looked at it.
Everything here raises files.FileError.
"""

import json
import os
from typing import Callable
from typing import Dict
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import files
from qualvosec.contract import shape
from qualvosec.helper import request as requests

VERSION = 1
MAX_BYTES = 4 << 20
MAX_ENTRIES = 500
MAX_TEXT = 128
MAX_HISTORY = 64
START_S = 15.0
LOCK_WAIT_S = 5.0


class Past(NamedTuple):
    """What is remembered of an older window."""

    window: str = ""
    op: str = ""
    outcome: str = ""
    committed: bool = False
    finished: int = 0


class Record(NamedTuple):
    """One run as the client sees it; times are epoch seconds, 0 means not yet.

    Lists are capped, the numbers beside them are not; None is for a number that nobody knows.
    """

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
    pending: Optional[int] = None
    clean: bool = True
    reboot: str = "unknown"
    reboot_reasons: Tuple[str, ...] = ()
    config_files: Tuple[str, ...] = ()
    reboot_requested: int = 0
    reboot_delay: int = 0
    reboot_refused: str = ""
    kernel: str = ""
    history: Tuple[Past, ...] = ()
    upgraded_count: Optional[int] = None
    kept_count: Optional[int] = None
    config_files_count: Optional[int] = None


class State(NamedTuple):
    """The whole file: the request in work, whether a process took it, and the record."""

    request: requests.Request = requests.Request()
    accepted: int = 0
    boot_id: str = ""
    taken: bool = True
    planned: Tuple[Tuple[str, ...], ...] = ()
    reboot_window: str = ""
    last_reboot: int = 0
    record: Record = Record()
    recovered: str = ""


def accept(state: State, request: requests.Request, now: int, boot_id: str) -> State:
    """Return the state in which `request` waits for its process; the old record is remembered."""
    old, before = state.record, state.request
    state = state._replace(request=request, accepted=now, boot_id=boot_id, taken=False)
    if request.op == "reboot":
        return state._replace(reboot_window="",
                              record=old._replace(reboot_requested=0, reboot_refused=""))
    same = old.window == request.window
    if request.op == "repair" and same:
        # It keeps to what the run was asked for; its own request does not say that.
        state = state._replace(request=before._replace(op="repair", not_after=request.not_after))
    done = old.upgraded if same and request.op == "upgrade" else ()
    record = Record(window=request.window, op=request.op, boot_id=boot_id, accepted=now,
                    phase="accepted", committed=same and old.committed, kernel=os.uname().release,
                    history=_remember(old), upgraded=done,
                    upgraded_count=len(done) if request.op == "upgrade" else None)
    return state._replace(record=record, planned=state.planned if same else ())


def _remember(old: Record) -> Tuple[Past, ...]:
    """Return the history with `old` in it: one entry for each window, so none crowds others out."""
    if not old.window:
        return old.history
    others = [past for past in old.history if past.window != old.window]
    outcome = old.outcome if old.finished else "interrupted"
    entry = Past(old.window, old.op, outcome, was_committed(old, old.window), old.finished)
    return tuple((others + [entry])[-MAX_HISTORY:])


def was_committed(record: Record, window: str) -> bool:
    """Say whether a run of this window has ever reached the package manager's commit."""
    return (record.window == window and record.committed) or any(
        past.window == window and past.committed for past in record.history)


def starting(state: State, now: float, boot_id: str) -> bool:
    """Say whether a request was accepted so lately that its process may yet come."""
    return not state.taken and state.boot_id == boot_id and 0 <= now - state.accepted < START_S


def to_json(record: Record) -> Dict[str, object]:
    """Return the record as it goes over the wire, lists and their texts capped."""
    fields = dict(record._asdict(), v=VERSION)
    for key in ("upgraded", "kept"):
        fields[key] = [[text[:MAX_TEXT] for text in row] for row in fields[key][:MAX_ENTRIES]]
    for key in ("reboot_reasons", "config_files"):
        fields[key] = [text[:2 * MAX_TEXT] for text in fields[key][:MAX_ENTRIES]]
    return dict(fields, history=[past._asdict() for past in record.history])


# Without these nobody could tell whether a window has had its run: no default will do.
_RECORD = shape.record(Record, ("window", "op", "boot_id", "accepted", "finished", "phase",
                                "committed", "outcome", "history"), VERSION,
                       history=shape.list_of(shape.record(Past, ("window", "committed"))))
_STATE = shape.record(State, ("record", "request"), VERSION, record=_RECORD)


class Store:
    """run.json and its lock in one directory of root's."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._path = os.path.join(folder, "run.json")
        self._lock = os.path.join(folder, "lock")

    def prepare(self) -> None:
        """Make the directory, or check that it is ours alone."""
        os.makedirs(self.folder, 0o700, exist_ok=True)
        info = os.lstat(self.folder)
        if info.st_uid != os.geteuid() or info.st_mode & 0o077:
            raise files.FileError("%s: must belong to root alone: chown root, chmod 700"
                                  % self.folder)

    def read(self, tell: Callable[[str], object] = str) -> State:
        """Return the state, an empty one before the first run; `tell` what in it is newer."""
        if not os.path.lexists(self.folder) or "run.json" not in os.listdir(self.folder):
            return State()
        notes: shape.Notes = []
        try:
            data = files.read_bounded(self._path, MAX_BYTES, {os.geteuid()})
            state: State = _STATE(shape.parse(data), notes)
            state = state._replace(last_reboot=state.last_reboot or self._stamp())
        except ValueError as error:
            raise files.FileError("%s: is damaged: check the package database, then remove it (%s)"
                                  % (self._path, error)) from None
        if notes:
            tell("%s: newer than this version: %s" % (self._path, shape.told(notes)))
        return state

    def _stamp(self) -> int:
        """Return when the last reboot was asked for, from the file of its own before 1.0.0."""
        path = os.path.join(self.folder, "reboot.stamp")
        return int(files.read_bounded(path, 32, {os.geteuid()})) if os.path.lexists(path) else 0

    def write(self, state: State) -> None:
        """Make the state durable."""
        fields = dict(state._asdict(), v=VERSION, request=state.request._asdict(),
                      record=to_json(state.record))
        files.write_atomic(self._path, json.dumps(fields).encode("ascii"))

    def lock(self) -> Optional[int]:
        """Take the lock of a run; None while somebody else has it. Its holder alone writes."""
        lock = files.lock_file(self._lock, LOCK_WAIT_S)
        if lock is not None:
            files.tidy(self._path)
        return lock

    def alive(self, state: State, now: float, boot_id: str) -> bool:
        """Say whether a run is alive or about to start."""
        return starting(state, now, boot_id) or files.is_locked(self._lock)
