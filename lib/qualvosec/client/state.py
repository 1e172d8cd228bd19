# SPDX-License-Identifier: BSD-2-Clause
"""What the daemon must not forget: state.json, one value, written whole or not at all.

A missing file is a first start. A file that cannot be the daemon's own (another
owner, a link, a FIFO, too large) or that does not read as this version's state
is moved aside, and the state that replaces it carries the reason and starts no
run in the window that is open. When not even that can be told (input/output
error, a directory that others may write to) StateError is raised and nothing
runs. A state that cannot be written stops the run that it announces.
"""

import errno
import json
import os
import stat
from typing import Callable
from typing import Dict
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import files
from qualvosec.client.record import MAX_INSTANT
from qualvosec.client.record import OUTCOMES
from qualvosec.manifest import window

VERSION = 1
NAME = "state.json"
ASIDE = ".unusable"
MAX_BYTES = 1 << 16
MAX_TEXT = 2000
MAX_KEY = 16384
MAX_CONSUMED = 64
MAX_REASONS = 8
REBOOTS = ("no", "due", "deferred", "requested", "verified", "failed", "unknown")


class StateError(Exception):
    """The state can be neither trusted nor written; one line: path, what is wrong, what to do."""


class Result(NamedTuple):
    """The outcome of one window; `due` says whether the host should be restarted."""

    window: str = ""
    outcome: str = ""       # "missed", or one of record.OUTCOMES
    reason: str = ""
    finished: int = 0       # epoch seconds
    upgraded: int = 0
    kept: int = 0
    pending: int = 0
    clean: bool = True      # the package database is consistent
    due: str = "unknown"    # due | no | unknown
    due_reasons: Tuple[str, ...] = ()
    config_files: int = 0


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
    reboot: str = "no"              # one of REBOOTS
    reboot_reason: str = ""
    kernel: str = ""                # that ran when a reboot was verified
    retry: int = 0                  # no new attempt before this instant
    last: Result = Result()
    obstacle: Tuple[str, str, str] = ("", "", "")   # window, outcome, reason
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


Check = Callable[[object], object]


def _fail(what: str) -> ValueError:
    return ValueError(what)


def _text(limit: int) -> Check:
    def check(value: object) -> object:
        if not isinstance(value, str) or len(value) > limit:
            raise _fail("is not text of at most %d characters" % limit)
        return value
    return check


def _word(*allowed: str) -> Check:
    def check(value: object) -> object:
        if not isinstance(value, str) or value not in allowed:
            raise _fail("is not a known word")
        return value
    return check


def _number(value: object) -> object:
    # -1 is a value of `hold`; clocks before 1970 belong to hosts without a battery.
    if type(value) is not int or not -MAX_INSTANT < value < MAX_INSTANT:
        raise _fail("is not a number")
    return value


def _boolean(value: object) -> object:
    if type(value) is not bool:
        raise _fail("is not true or false")
    return value


def _window(value: object) -> object:
    if value != "":
        window.opens_of(str(value) if isinstance(value, str) else "?")
    return value


def _tuple(*checks: Check) -> Check:
    def check(value: object) -> object:
        if type(value) is not list or len(value) != len(checks):
            raise _fail("is not a list of %d" % len(checks))
        return tuple(part(entry) for part, entry in zip(checks, value))
    return check


def _list(part: Check, limit: int) -> Check:
    def check(value: object) -> object:
        if type(value) is not list or len(value) > limit:
            raise _fail("is not a list of at most %d" % limit)
        return tuple(part(entry) for entry in value)
    return check


_RESULT: Dict[str, Check] = {
    "window": _window,
    "outcome": _word("", "missed", *OUTCOMES),
    "reason": _text(MAX_TEXT),
    "finished": _number,
    "upgraded": _number,
    "kept": _number,
    "pending": _number,
    "clean": _boolean,
    "due": _word("due", "no", "unknown"),
    "due_reasons": _list(_text(MAX_TEXT), MAX_REASONS),
    "config_files": _number,
}


def _result(value: object) -> object:
    return Result(**_object(value, _RESULT))   # type: ignore[arg-type]


_STATE: Dict[str, Check] = {
    "phase": _word("idle", "patching", "patched", "rebooting"),
    "window": _window,
    "op": _word("", "upgrade", "repair"),
    "begun": _number,
    "opens": _number,
    "closes": _number,
    "cutoff": _number,
    "deadline": _number,
    "date": _number,
    "tries": _number,
    "known": _tuple(_text(MAX_TEXT), _number),
    "boot_id": _text(MAX_TEXT),
    "noted": _number,
    "asked": _number,
    "reboot": _word(*REBOOTS),
    "reboot_reason": _text(MAX_TEXT),
    "kernel": _text(MAX_TEXT),
    "retry": _number,
    "last": _result,
    "obstacle": _tuple(_window, _word("", "missed", *OUTCOMES), _text(MAX_TEXT)),
    "consumed": _list(_tuple(_number, _number), MAX_CONSUMED),
    "days": _tuple(_text(MAX_KEY), _list(_number, MAX_CONSUMED)),
    "concluded": _window,
    "schedule": _text(MAX_KEY),
    "since": _number,
    "awaited": _tuple(_window, _number),
    "seen": _number,
    "success": _number,
    "failures": _number,
    "hold": _number,
    "trouble": _text(MAX_TEXT),
}


def _object(value: object, checks: Dict[str, Check]) -> Dict[str, object]:
    if type(value) is not dict or set(value) != set(checks):
        raise _fail("does not have the keys of this version")
    result = {}
    for key, check in checks.items():
        try:
            result[key] = check(value[key])
        except ValueError as error:
            raise _fail("%s: %s" % (key, error)) from None
    return result


def to_bytes(state: State) -> bytes:
    """Return the state as the content of state.json."""
    fields = dict(state._asdict(), last=state.last._asdict(), v=VERSION)
    return json.dumps(fields, sort_keys=True).encode("ascii") + b"\n"


def from_bytes(data: bytes) -> State:
    """Return the state that to_bytes() wrote; raises ValueError with what is wrong."""
    try:
        value = json.loads(data.decode("ascii"), parse_constant=_constant)
    except RecursionError:
        raise _fail("is nested too deeply") from None
    if type(value) is not dict or type(value.get("v")) is not int:
        raise _fail("has no version")
    if value.pop("v") != VERSION:
        raise _fail("was written by another version")
    state = State(**_object(value, _STATE))   # type: ignore[arg-type]
    if state.phase != "idle" and not (state.window and state.op):
        raise _fail("phase %s names no window" % state.phase)
    return state


def _constant(text: str) -> object:
    raise _fail("%s is not a number" % text)


def check_directory(directory: str, uid: int) -> None:
    """Raise StateError unless only this user can write in the directory."""
    try:
        info = os.lstat(directory)
    except OSError as error:
        raise StateError("%s: %s; create it with mode 0700 for the user of the daemon"
                         % (directory, (error.strerror or str(error)).lower())) from error
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != uid or info.st_mode & 0o022:
        raise StateError("%s: is not a directory that only uid %d can write to; "
                         "correct owner and mode (0700)" % (directory, uid))


def _is_foreign(error: files.FileError) -> bool:
    """Say whether the file is the trouble, not the disk or the system."""
    cause = error.__cause__
    return not isinstance(cause, OSError) or cause.errno in (
        errno.ELOOP, errno.EMLINK, errno.EACCES, errno.EPERM, errno.ENXIO, errno.EOPNOTSUPP)


def _is_missing(error: files.FileError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENOENT


def move_aside(path: str, why: str) -> str:
    """Rename the file next to itself and return the reason; raises StateError.

    rename(2) follows nothing and reads nothing, so it is safe for links, FIFOs
    and files of any size; the directory was checked to be ours.
    """
    try:
        os.rename(path, path + ASIDE)
        files.sync_directory(os.path.dirname(path))
    except OSError as error:
        raise StateError("%s: it cannot be moved aside (%s); remove it"
                         % (why, (error.strerror or str(error)).lower())) from error
    return "%s; moved aside as %s" % (why[:MAX_TEXT // 2], os.path.basename(path) + ASIDE)


def read_own(directory: str, name: str, limit: int, uid: int) -> Tuple[Optional[bytes], str]:
    """Read one of the daemon's own files: (content or None, "" or why it was moved aside).

    Raises StateError when neither reading nor moving aside is safe.
    """
    check_directory(directory, uid)
    path = os.path.join(directory, name)
    files.tidy(path)
    try:
        return files.read_bounded(path, limit, {uid}), ""
    except files.FileError as error:
        if _is_missing(error):
            return None, ""
        if not _is_foreign(error):
            raise StateError("%s; nothing is started until it can be read" % error) from error
        return None, move_aside(path, str(error))


def load(directory: str, uid: int) -> State:
    """Return the state of the last decision; raises StateError when nothing may be assumed."""
    data, trouble = read_own(directory, NAME, MAX_BYTES, uid)
    if data is not None:
        try:
            return from_bytes(data)
        except ValueError as error:
            path = os.path.join(directory, NAME)
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
