# SPDX-License-Identifier: BSD-2-Clause
"""The access log in combined format: one request is one line, whatever was sent.

This is the log that `qualvosec-admin list` reads. What a client chose (request
line, Referer, User-Agent) is escaped as nginx does, `\\xHH` for a quote, a
backslash and every byte that is not printable ASCII, and cut to a bounded
length. A log that cannot be written never stops the server: the reason is kept
for /health and told to the error log.
"""

import os
import threading
import time
from typing import NamedTuple
from typing import Optional

MAX_FIELD_CHARS = 2048
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun",
          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
STDOUT = "-"


class Entry(NamedTuple):
    """One answered request; the three texts are as the client sent them."""

    address: str
    moment: int
    request: str
    status: int
    sent: int
    referer: str
    user_agent: str


def escape(text: str) -> str:
    """Return `text` as one quoted field of the log may hold it."""
    out = []
    for char in text[:MAX_FIELD_CHARS]:
        code = ord(char)
        if 32 <= code < 127 and char not in "\"\\":
            out.append(char)
        else:
            out.extend("\\x%02X" % byte for byte in _bytes_of(char))
    return "".join(out)


def _bytes_of(char: str) -> bytes:
    # Header fields arrive as Latin-1 (one character for one byte); whatever
    # does not fit came from elsewhere and is shown as its UTF-8 bytes.
    return bytes([ord(char)]) if ord(char) < 256 else char.encode("utf-8", "backslashreplace")


def combined(entry: Entry) -> str:
    """Return the line of an entry, without its end."""
    local = time.localtime(entry.moment)
    minutes = (local.tm_gmtoff or 0) // 60
    sign = "-" if minutes < 0 else "+"
    return '%s - - [%02d/%s/%04d:%02d:%02d:%02d %s%02d%02d] "%s" %d %d "%s" "%s"' % (
        entry.address, local.tm_mday, MONTHS[local.tm_mon - 1], local.tm_year,
        local.tm_hour, local.tm_min, local.tm_sec, sign, abs(minutes) // 60, abs(minutes) % 60,
        escape(entry.request), entry.status, entry.sent,
        escape(entry.referer) or "-", escape(entry.user_agent) or "-")


class AccessLog:
    """The open log file; `-` is standard output. Safe to use from several threads."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._fd: Optional[int] = None
        self._torn = False
        self.error = ""

    def open(self) -> None:
        """Open the file anew, after a rotation for example; raises OSError, the old one stays."""
        if self._path == STDOUT:
            fd = os.dup(1)
        else:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
            fd = os.open(self._path, flags, 0o640)
        with self._lock:
            before, self._fd = self._fd, fd
            self._torn = False
            self.error = ""
        if before is not None:
            os.close(before)

    def write(self, entry: Entry) -> str:
        """Append the line of `entry`; returns "" or why it is lost (kept in `error`, too)."""
        line = (combined(entry) + "\n").encode("ascii", "backslashreplace")
        with self._lock:
            if self._fd is None:
                self.error = "is not open"
                return self.error
            try:
                # A line that was cut by a full disk must not swallow the next one.
                line = b"\n" + line if self._torn else line
                written = os.write(self._fd, line)
                self._torn = written < len(line)
                self.error = "no room for a whole line" if self._torn else ""
            except OSError as error:
                self.error = (error.strerror or str(error)).lower()
            return self.error

    def close(self) -> None:
        """Close the file; later lines are lost."""
        with self._lock:
            fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
