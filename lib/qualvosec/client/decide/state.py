# SPDX-License-Identifier: BSD-2-Clause
"""What the daemon must not forget: state.json, one value, written whole or not at all.

A missing file is a first start. A file that cannot be the daemon's own (another
owner, a link, a FIFO, too large) or that does not read as this version's state
is moved aside, and the state that replaces it carries the reason and starts no
run in the window that is open. When not even that can be told (input/output
error, a directory that others may write to) StateError is raised and nothing
runs. A state that cannot be written stops the run that it announces.
"""

import json
import os
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import files
from qualvosec import log
from qualvosec.client.decide.statedir import StateError
from qualvosec.client.decide.statedir import move_aside
from qualvosec.client.decide.statedir import read_own
from qualvosec.contract import shape
from qualvosec.contract import words
from qualvosec.manifest import window

VERSION = 1
NAME = "state.json"
MAX_BYTES = 1 << 16
MAX_TEXT = 2000
MAX_KEY = 16384
MAX_CONSUMED = 64
NO_OBSTACLE = ("", "", "")


class RunResult(NamedTuple):
    """The outcome of one window; `due` says whether the host should be restarted."""

    window: str = ""
    outcome: str = ""       # one of words.OUTCOMES
    reason: str = ""
    finished: int = 0       # epoch seconds
    upgraded: Optional[int] = None      # None: not known
    kept: Optional[int] = None
    pending: Optional[int] = None
    clean: bool = True      # the package database is consistent
    due: str = "unknown"    # due | no | unknown
    due_reasons: Tuple[str, ...] = ()
    config_files: Optional[int] = None


class State(NamedTuple):
    """Everything that step() remembers between two decisions; instants are epoch seconds."""

    phase: str = "idle"             # idle | patching | patched | rebooting
    window: str = ""                # the run that the phase is about
    op: str = ""                    # upgrade | repair
    begun: int = 0                  # when the run or the reboot was asked for
    opens: int = 0                  # of that window
    closes: int = 0
    cutoff: int = 0                 # closes + catch_up
    deadline: int = 0               # cutoff + reboot_grace
    date: int = 0                   # nominal local day of that window
    tries: int = 0                  # requests for this reboot or repair so far
    known: Tuple[str, int] = ("", 0)   # root's record that was judged last
    boot_id: str = ""               # the boot that the run or the reboot request belongs to
    noted: int = 0                  # when that boot id was noted
    asked: int = 0                  # root's reboot_requested before the request
    reboot: str = "no"              # one of words.REBOOTS
    reboot_reason: str = ""
    kernel: str = ""                # that ran when a reboot was verified
    retry: int = 0                  # no new attempt before this instant
    last: RunResult = RunResult()
    obstacle: Tuple[str, str, str] = NO_OBSTACLE    # window, outcome, reason
    consumed: Tuple[Tuple[int, int], ...] = ()      # (opens, closes), oldest first
    days: Tuple[str, Tuple[int, ...]] = ("", ())    # schedule, nominal days consumed under it
    concluded: str = ""             # the newest window whose outcome is final
    schedule: str = ""              # manifest.policy.schedule_key
    since: int = 0                  # when this schedule was first seen
    awaited: Tuple[str, int] = ("", 0)   # the window that comes next, its end
    seen: int = 0                   # the latest time that was believed
    success: int = 0                # opening of the newest window with a success
    failures: int = 0               # windows concluded since then without one
    hold: int = 0                   # no run in a window that opened until then; -1: until now
    trouble: str = ""               # why the state was lost; kept until a success


def _window(value: object, notes: shape.Notes) -> object:
    if value != "":
        window.opens_of(str(value) if isinstance(value, str) else "?")
    return value


_KEY = shape.text(MAX_KEY)
_OUTCOME = shape.newer_word("", *words.OUTCOMES)
_RESULT = shape.record(RunResult, window=_window, outcome=_OUTCOME,
                       due=shape.newer_word("due", "no", "unknown"))
# Without these nobody could tell whether a run is under way or has been: no default will do.
_STATE = shape.record(
    State, ("phase", "window", "op", "consumed"), VERSION,
    phase=shape.word("idle", "patching", "patched", "rebooting"), window=_window,
    op=shape.word("", "upgrade", "repair"), reboot=shape.newer_word(*words.REBOOTS), last=_RESULT,
    obstacle=shape.row(_window, _OUTCOME, shape.text()), concluded=_window, schedule=_KEY,
    days=shape.row(_KEY, shape.list_of(shape.number())),
    awaited=shape.row(_window, shape.number()))


def to_bytes(state: State) -> bytes:
    """Return the state as the content of state.json."""
    fields = dict(state._asdict(), last=state.last._asdict(), v=VERSION)
    return json.dumps(fields, sort_keys=True).encode("ascii") + b"\n"


def from_bytes(data: bytes) -> State:
    """Return the state that to_bytes() of any version wrote; raises ValueError."""
    return _read(data)[0]


def _read(data: bytes) -> Tuple[State, str]:
    """Return the state, and what in it is newer than this version or ""."""
    notes: shape.Notes = []
    state = _STATE(_of_today(shape.parse(data)), notes)
    if state.phase != "idle" and not (state.window and state.op):
        raise ValueError("phase %s names no window" % state.phase)
    return state, shape.told(notes)


def _of_today(value: object) -> object:
    """Return the object with what versions before 1.0.0 wrote under its present keys."""
    if not isinstance(value, dict):
        return value
    value = dict(value)
    known = value.get("known")
    if isinstance(known, list) and len(known) > 2 and all(
            type(part) in (str, int) for part in known):
        # window, op, accepted and, later, finished: the first words of what stands there now.
        value["known"] = [" ".join(str(part) for part in known) if known[0] else "", known[2]]
    for old in ("consumed_day", "consumed_date"):
        day = value.pop(old, None)
        if day is not None:
            schedule, date = day if isinstance(day, list) and len(day) == 2 else (
                value.get("schedule"), day)
            value.setdefault("days", [schedule, [date] if date else []])
    return value


def load(directory: str, uid: int) -> State:
    """Return the state of the last decision; raises StateError when nothing may be assumed."""
    path = os.path.join(directory, NAME)
    data, trouble = read_own(directory, NAME, MAX_BYTES, uid)
    if data is not None:
        try:
            state, newer = _read(data)
            if newer:
                log.warning("a file is newer than this version", file=path, unknown=newer)
            return state
        except ValueError as error:
            trouble = move_aside(path, "%s: %s" % (path, error))
    return State(hold=-1, trouble=trouble) if trouble else State()


def save(directory: str, state: State) -> None:
    """Make the state durable before the caller acts on it; raises StateError."""
    data = to_bytes(state)
    if len(data) > MAX_BYTES:
        raise StateError("%s: the state is larger than %d bytes" % (directory, MAX_BYTES))
    try:
        files.write_atomic(os.path.join(directory, NAME), data)
    except files.FileError as error:
        raise StateError("%s; no run starts until it can be written" % error) from error


def reset_clock(state: State, now: int) -> State:
    """Believe the present time although the state has seen a later one."""
    return state._replace(seen=now, retry=min(state.retry, now))


def reset_interrupted(state: State) -> State:
    """Believe that the administrator has put the package database in order."""
    last = state.last._replace(clean=True)
    return state._replace(last=last, trouble="", hold=0, failures=0)
