# SPDX-License-Identifier: BSD-2-Clause
"""The log: one line for each event, `event key=value ...`, to journal, syslog, a file or stderr.

Written with the module logging of the standard library. The handler is one of a
closed list and is never evaluated. Every line is made printable and its values
are quoted here, once, so that nothing from outside can forge a second line or a
second key. What cannot be written goes to stderr; no log line ends a program.
"""

import logging
import os
import sys
from typing import Mapping
from typing import Tuple

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
HANDLERS = ("SystemdHandler", "SyslogHandler", "FileHandler(path)", "StreamHandler")
_PRIORITY = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}   # syslog(3)
_MAX_LINE = 2000
_FILE_FORMAT = "%(asctime)s {}[%(process)d] %(levelname)s %(message)s"
_STAMP = "%Y-%m-%dT%H:%M:%S%z"
_logger = logging.getLogger("qualvosec")
logging.raiseExceptions = False


class LogError(ValueError):
    """The handler or the level does not exist; the text says which do."""


def parse_handler(text: str) -> Tuple[str, str]:
    """Read "SystemdHandler()", "FileHandler(/var/log/x.log)": (name, path); raises LogError."""
    name, paren, rest = text.strip().partition("(")
    argument = rest[:-1].strip().strip("'\"") if rest.endswith(")") else ""
    if (not paren or rest.endswith(")")) and name in ("SystemdHandler", "SyslogHandler",
                                                      "FileHandler", "StreamHandler"):
        if name == "FileHandler" and not argument.startswith("/"):
            raise LogError("FileHandler needs an absolute path: write FileHandler(/path)")
        if name == "FileHandler" or not argument:
            return name, argument
    raise LogError("%s is not a log handler: use one of %s"
                   % (_printable(text, 60), ", ".join(HANDLERS)))


def parse_level(text: str) -> str:
    """Return a level as it is written in LEVELS, any case; raises LogError."""
    if text.upper() in LEVELS:
        return text.upper()
    raise LogError("%s is not a log level: use one of %s"
                   % (_printable(text, 60), ", ".join(LEVELS)))


def _printable(text: str, limit: int) -> str:
    shown = "".join(c if c.isprintable() else "\\x%02x" % ord(c) for c in text[:limit])
    return shown + "..." if len(text) > limit else shown


class _Stderr(logging.Handler):
    """Standard error as it is at that moment; the journal is told the priority, sd-daemon(3)."""

    def emit(self, record: logging.LogRecord) -> None:
        mark = "<%d>" % _PRIORITY[record.levelname] if under_journal() else ""
        self.write("%s%s\n" % (mark or record.levelname + " ", record.getMessage()))

    def write(self, line: str) -> None:
        try:
            sys.stderr.write(line)
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            # The terminal is gone, and nothing is left that could be told of it.
            return


class _Stream(_Stderr):
    """Standard error, and levels in words also where it is the journal."""

    def emit(self, record: logging.LogRecord) -> None:
        self.write("%s %s\n" % (record.levelname, record.getMessage()))


class _Syslog(logging.Handler):
    """syslog(3): it finds the system's socket, also one that comes later or anew."""

    def __init__(self, program: str) -> None:
        super().__init__()
        # Only those who use it pay for it.
        import syslog
        syslog.openlog(program, syslog.LOG_PID, syslog.LOG_DAEMON)
        self._send = syslog.syslog

    def emit(self, record: logging.LogRecord) -> None:
        self._send(_PRIORITY[record.levelname], record.getMessage())


class _File(logging.Handler):
    """Opened for each line: rotation needs no signal, and lines are rare."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record) + "\n"
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            with open(fd, "wb", buffering=0) as stream:
                stream.write(line.encode("utf-8", "backslashreplace"))
        except OSError as error:
            reason = (error.strerror or "cannot be written").lower()
            _Stderr().write("%s: %s: %s" % (self._path, reason, line))


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
    name, path = parse_handler(handler)
    if name == "FileHandler":
        _use(_File(path), parse_level(level), program)
    elif name == "SyslogHandler":
        _use(_Syslog(program), parse_level(level), program)
    else:
        _use(_Stderr() if name == "SystemdHandler" else _Stream(), parse_level(level), program)


def append_to(fd: int, program: str) -> None:
    """Send every message to an open file, as FileHandler would write it."""
    _use(logging.StreamHandler(os.fdopen(fd, "a", encoding="utf-8", errors="backslashreplace",
                                         closefd=False)), "INFO", program)


def _use(handler: logging.Handler, level: str, program: str) -> None:
    handler.setFormatter(logging.Formatter(_FILE_FORMAT.format(program), _STAMP))
    _logger.handlers[:] = [handler]
    _logger.setLevel(level)


_use(_Stderr(), "INFO", "qualvosec")
_logger.propagate = False


def quoted(value: object) -> str:
    """Return a value as it stands behind `key=`: in double quotes where it is not one word."""
    text = "%s" % (value,)
    if text and not any(c in ' "=\\' for c in text):
        return text
    return '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"')


def line(event: str, **words: object) -> str:
    """Return `event key=value ...`; a value of "" or None is left out."""
    return " ".join([event] + ["%s=%s" % (key, quoted(value)) for key, value in words.items()
                               if value not in ("", None)])


def _emit(level: int, event: str, words: Mapping[str, object]) -> None:
    _logger.log(level, _printable(line(event, **words), _MAX_LINE))


def debug(event: str, **words: object) -> None:
    """Log what only a developer wants to see."""
    _emit(logging.DEBUG, event, words)


def info(event: str, **words: object) -> None:
    """Log an event of normal work."""
    _emit(logging.INFO, event, words)


def warning(event: str, **words: object) -> None:
    """Log what is tried again by itself."""
    _emit(logging.WARNING, event, words)


def error(event: str, **words: object) -> None:
    """Log what failed."""
    _emit(logging.ERROR, event, words)


def critical(event: str, **words: object) -> None:
    """Log what a person must know, whatever log_level hides."""
    _emit(logging.CRITICAL, event, words)
