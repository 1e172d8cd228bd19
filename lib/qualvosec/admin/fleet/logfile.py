# SPDX-License-Identifier: BSD-2-Clause
"""Files of access logs: which there are, what is in them, cut into lines.

Plain or compressed (.gz, .xz, .bz2), told by the content. Whatever is in a file,
no more of it than two pieces is held at a time.
"""

import glob
import importlib
import io
import os
import stat
import sys
import zlib
from typing import Any
from typing import BinaryIO
from typing import Dict
from typing import Iterator
from typing import List
from typing import Optional
from typing import Sequence
from typing import Tuple
from typing import Type
from typing import cast

from qualvosec.admin.fleet.logline import MARK

MAX_LINE = 8192
# What is made of a piece shall stay below 128 KiB, where C libraries begin to give memory back.
PIECE = 65536
_OPENERS = ((b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\x00", "lzma"), (b"BZh", "bz2"))


def expand(patterns: Sequence[str]) -> Tuple[List[str], List[str]]:
    """Return the files that paths and globs name, each once, and what is wrong with others.

    A fault is one line: path, what is wrong, what to do.
    """
    found: Dict[Tuple[int, int], str] = {}
    faults: List[str] = []
    for pattern in patterns:
        paths = [pattern] if os.path.lexists(pattern) else sorted(glob.glob(pattern))
        if not paths:
            faults.append(_absence(pattern))
        for path in paths:
            try:
                info = os.stat(path)
            except OSError as error:
                faults.append("%s: %s: see log_file_path" % (path, (error.strerror or "").lower()))
                continue
            if stat.S_ISDIR(info.st_mode):
                faults.append("%s: is a directory: name files, %s"
                              % (path, os.path.join(path, "access.log*")))
            else:
                found.setdefault((info.st_dev, info.st_ino), path)
    return list(found.values()), faults


def present(patterns: Sequence[str]) -> Tuple[str, ...]:
    """Return those of the paths and globs that lead to a file, or to where one may not look."""
    return tuple(pattern for pattern in patterns
                 if os.path.lexists(pattern) or glob.glob(pattern) or _closed(pattern))


def _closed(pattern: str) -> str:
    """Return the directory that may not be looked into: what is there looks as if it were not."""
    folder = os.path.dirname(pattern)
    while folder and not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    needed = os.R_OK | os.X_OK if glob.has_magic(pattern) else os.X_OK
    return folder if folder and not os.access(folder, needed) else ""


def _absence(pattern: str) -> str:
    """Say why nothing was found."""
    folder = _closed(pattern)
    if folder:
        return "%s: %s: permission denied: run as a user who may read it" % (pattern, folder)
    return "%s: no such file: see log_file_path" % pattern


class _Archive(io.RawIOBase):
    """What can be read of a compressed log; it ends where it is damaged, and `fault` says how."""

    def __init__(self, module: str, raw: BinaryIO) -> None:
        super().__init__()
        try:
            # Most logs that are read are plain, and these take time to load.
            self._file = importlib.import_module(module).open(raw, "rb")
        except ImportError:
            # An optional part of Python, where the library was not there to build it.
            raise OSError("this Python was built without %s: unpack the file" % module) from None
        self.fault: Optional[Exception] = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what there is: a read of more would lose what is before a fault."""
        try:
            data = b"" if self.fault else self._file.read1(len(buffer))
        except faults() as error:
            self.fault, data = error, b""
        buffer[:len(data)] = data
        return len(data)


def _archive(raw: BinaryIO) -> Optional[_Archive]:
    """Open a compressed log; with what is told by its first bytes, not by its name."""
    start = cast(io.BufferedReader, raw).peek(8)[:8]
    for magic, module in _OPENERS:
        if start.startswith(magic):
            return _Archive(module, raw)
    return None


def faults() -> Tuple[Type[Exception], ...]:
    """Return what reading raises; that of lzma only where it was loaded."""
    lzma_error: Type[Exception] = getattr(sys.modules.get("lzma"), "LZMAError", EOFError)
    return OSError, EOFError, zlib.error, lzma_error


def pieces(raw: BinaryIO) -> Iterator[bytes]:
    """Yield whole lines, each ended. One that is too long stays so, but not in memory.

    A damaged archive is read as far as possible before its fault is raised.
    """
    archive = _archive(raw)
    file = cast(BinaryIO, io.BufferedReader(archive, PIECE)) if archive else raw
    while True:
        piece = file.read(PIECE)
        if not piece and archive and archive.fault:
            raise archive.fault
        if not piece:
            return
        if piece[-1:] != b"\n":
            end = file.readline(MAX_LINE)
            piece += end
            if len(end) == MAX_LINE and end[-1:] != b"\n":
                piece += MARK if _skip_line(file, end) else b""
            if piece[-1:] != b"\n":
                piece += b"\n"
        yield piece


def _skip_line(file: BinaryIO, before: bytes) -> bool:
    """Skip the rest of a line; returns whether the client's mark is in it."""
    is_marked = False
    while before and before[-1:] != b"\n":
        more = file.readline(PIECE)
        is_marked = is_marked or MARK in before[-len(MARK):] + more
        before = more
    return is_marked


def marked(piece: bytes) -> List[bytes]:
    """Return the ended lines with the client's mark, for a log that is mostly of others."""
    lines = []
    place = piece.find(MARK)
    while place >= 0:
        begin = piece.rfind(b"\n", 0, place) + 1
        end = piece.index(b"\n", place) + 1
        lines.append(piece[begin:end])
        place = piece.find(MARK, end)
    return lines


def cut(line: bytes) -> bytes:
    """Return a line without the fields behind the user agent, which differ in every line."""
    agent = line.find(b'"', line.rfind(b'"' + MARK) + 1)
    return line[:agent + 1]
