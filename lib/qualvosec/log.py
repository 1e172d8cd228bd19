# SPDX-License-Identifier: BSD-2-Clause
"""Log handlers: one line per event, to the journal, syslog, a file or stderr.

The handler is one of a closed list and is never evaluated. The logging module
of the standard library is not used: it would be a fifth of what the resident
daemon may weigh. Every message is made printable here, once, so that nothing
from outside can forge a second line.
"""

import os
import sys
import time
from typing import Callable
from typing import NamedTuple

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
HANDLERS = ("SystemdHandler", "SyslogHandler", "FileHandler(path)", "StreamHandler")
_PRIORITY = (7, 6, 4, 3, 2)
_MAX_MESSAGE = 2000


class LogError(ValueError):
    """The handler or the level does not exist; the text says which do."""


class Handler(NamedTuple):
    """A handler of the closed list; `path` is used by FileHandler only."""

    name: str
    path: str = ""


def parse_handler(text: str) -> Handler:
    """Read "SystemdHandler()", "FileHandler(/var/log/x.log)" and the like; raises LogError."""
    name, paren, rest = text.strip().partition("(")
    argument = rest[:-1].strip().strip("'\"") if rest.endswith(")") else ""
    if (not paren or rest.endswith(")")) and name in ("SystemdHandler", "SyslogHandler",
                                                      "FileHandler", "StreamHandler"):
        if name != "FileHandler" and not argument:
            return Handler(name)
        if name == "FileHandler" and argument.startswith("/"):
            return Handler(name, argument)
        if name == "FileHandler":
            raise LogError("FileHandler needs an absolute path: write FileHandler(/path)")
    raise LogError("%s is not a log handler: use one of %s"
                   % (_printable(text, 60), ", ".join(HANDLERS)))


def parse_level(text: str) -> int:
    """Return the index of a level in LEVELS, any case; raises LogError."""
    if text.upper() in LEVELS:
        return LEVELS.index(text.upper())
    raise LogError("%s is not a log level: use one of %s"
                   % (_printable(text, 60), ", ".join(LEVELS)))


def _printable(text: str, limit: int) -> str:
    shown = "".join(c if c.isprintable() else "\\x%02x" % ord(c) for c in text[:limit])
    return shown + "..." if len(text) > limit else shown


def _to_stream(level: int, message: str) -> None:
    _write("%s %s\n" % (LEVELS[level], message))


def _to_journal(level: int, message: str) -> None:
    _write("<%d>%s\n" % (_PRIORITY[level], message))


def _write(line: str) -> None:
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except (OSError, ValueError):
        # The terminal is gone: a daemon must not die of a log line.
        return


def _file_sink(path: str) -> Callable[[int, str], None]:
    def sink(level: int, message: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        line = "%s %s[%d] %s %s\n" % (stamp, _state.program, os.getpid(), LEVELS[level], message)
        try:
            # Opened for each line: rotation needs no signal, and lines are rare.
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.write(fd, line.encode("utf-8", "backslashreplace"))
            finally:
                os.close(fd)
        except OSError as error:
            reason = (error.strerror or "cannot be written").lower()
            _write("%s: %s: %s" % (path, reason, line))
    return sink


class _State:
    """What configure() has set; one for each process."""

    def __init__(self) -> None:
        self.program = "qualvosec"
        self.level = LEVELS.index("INFO")
        self.sink: Callable[[int, str], None] = _to_stream


_state = _State()


def under_journal() -> bool:
    """Say whether stderr is the journal's own socket (systemd.exec(5), JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        info = os.fstat(2)
    except OSError:
        return False
    return (device, inode) == (str(info.st_dev), str(info.st_ino))


def configure(handler: str, level: str, program: str = "qualvosec") -> None:
    """Choose where messages go and which are kept; raises LogError."""
    chosen = parse_handler(handler)
    _state.level = parse_level(level)
    _state.program = program
    if chosen.name == "SyslogHandler":
        # Only those who use it pay for it.
        import syslog
        syslog.openlog(program, syslog.LOG_PID, syslog.LOG_DAEMON)
        _state.sink = lambda level, message: syslog.syslog(_PRIORITY[level], message)
    elif chosen.name == "FileHandler":
        _state.sink = _file_sink(chosen.path)
    elif chosen.name == "SystemdHandler" and under_journal():
        _state.sink = _to_journal
    else:
        _state.sink = _to_stream


def _emit(level: int, message: str) -> None:
    if level >= _state.level:
        _state.sink(level, _printable(message, _MAX_MESSAGE))


def debug(message: str) -> None:
    """Log what only a developer wants to see."""
    _emit(0, message)


def info(message: str) -> None:
    """Log an event of normal work."""
    _emit(1, message)


def warning(message: str) -> None:
    """Log what is tried again by itself."""
    _emit(2, message)


def error(message: str) -> None:
    """Log what failed."""
    _emit(3, message)


def critical(message: str) -> None:
    """Log what a person must know, whatever log_level hides."""
    _emit(4, message)
