# SPDX-License-Identifier: BSD-2-Clause
"""Files that others may have prepared: bounded reads, durable writes, locks.

A read never follows a symbolic link, never blocks on a FIFO and never takes
more than it was told. A write is seen whole or not at all, also after a power
cut: temporary file, fsync, rename, fsync of the directory. Locks are flock(2)
on files that are never deleted.
"""

import errno
import fcntl
import os
import stat
import time
from typing import AbstractSet
from typing import Callable
from typing import Optional
from typing import Tuple


class FileError(Exception):
    """A file could not be used; the text is one line: path, what is wrong."""


def _reason(path: str, error: OSError) -> FileError:
    if error.errno in (errno.ELOOP, errno.EMLINK):
        return FileError("%s: is a symbolic link: refused" % path)
    return FileError("%s: %s" % (path, (error.strerror or str(error)).lower()))


def read_bounded(path: str, limit: int, uid: Optional[AbstractSet[int]] = None,
                 dir_fd: Optional[int] = None) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    With `uid` the owner must be one of these users and nobody else may write to
    the file. Raises FileError; the OSError, if any, is its __cause__.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        fd = os.open(path, flags, dir_fd=dir_fd)
    except OSError as error:
        raise _reason(path, error) from error
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise FileError("%s: is not a regular file: refused" % path)
        if uid is not None and info.st_uid not in uid:
            raise FileError("%s: belongs to uid %d: refused" % (path, info.st_uid))
        if uid is not None and info.st_mode & 0o022:
            raise FileError("%s: is writable by group or others (mode %04o): refused"
                            % (path, info.st_mode & 0o7777))
        if info.st_size > limit:
            raise FileError("%s: is larger than %d bytes: refused" % (path, limit))
        data = bytearray()
        while len(data) <= limit:
            piece = os.read(fd, min(65536, limit + 1 - len(data)))
            if not piece:
                return bytes(data)
            data += piece
        raise FileError("%s: is larger than %d bytes: refused" % (path, limit))
    except OSError as error:
        raise _reason(path, error) from error
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte of `data`; raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


def write_atomic(path: str, data: bytes, mode: int = 0o600, dir_fd: Optional[int] = None,
                 owner: Optional[Tuple[int, int]] = None,
                 before_rename: Optional[Callable[[], None]] = None) -> None:
    """Replace `path` by `data`, durably, or leave it as it was.

    `owner` is the uid and gid to give the file. `before_rename` is the last thing
    that is called before the new file takes the name; the write ends with the
    FileError that it raises. Raises FileError (its __cause__ is the OSError, if
    any). The temporary file does not outlive a failure; one left by a power cut
    goes with the next write or with tidy().
    """
    folder = os.path.dirname(path)
    temporary = _temporary(path)
    try:
        try:
            os.unlink(temporary, dir_fd=dir_fd)
        except FileNotFoundError:
            pass
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600, dir_fd=dir_fd)
        try:
            if owner is not None:
                _give(fd, owner)
            os.fchmod(fd, mode)
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        if before_rename is not None:
            before_rename()
        os.rename(temporary, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        sync_directory(folder or ".", dir_fd)
    except OSError as error:
        _discard(temporary, dir_fd)
        raise _reason(path, error) from error
    except FileError:
        _discard(temporary, dir_fd)
        raise


def _give(fd: int, owner: Tuple[int, int]) -> None:
    """Change owner and group where they differ: who owns the file may not repeat them always."""
    info = os.fstat(fd)
    if (info.st_uid, info.st_gid) != owner:
        os.fchown(fd, *owner)


def _temporary(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, ".%s.new" % name)


def tidy(path: str) -> None:
    """Remove what a killed write of `path` left behind; for the one who writes it, alone."""
    _discard(_temporary(path), None)


def _discard(path: str, dir_fd: Optional[int]) -> None:
    try:
        os.unlink(path, dir_fd=dir_fd)
    except OSError:
        # The write has failed already and is reported; a read-only file system
        # or a file that was never made must not hide that error.
        return


def sync_directory(path: str, dir_fd: Optional[int] = None) -> None:
    """Make renames in a directory durable; raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _open_lock(path: str, mode: int, dir_fd: Optional[int]) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, mode, dir_fd=dir_fd)
    except OSError as error:
        raise _reason(path, error) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileError("%s: is not a regular file: refused" % path)
    return fd


def lock_file(path: str, wait_s: float = 0.0, mode: int = 0o600,
              dir_fd: Optional[int] = None) -> Optional[int]:
    """Take the lock and return its descriptor; None if it stays held for `wait_s` seconds.

    The lock lives as long as the descriptor or a copy of it in a child.
    Raises FileError when the file itself cannot be used.
    """
    fd = _open_lock(path, mode, dir_fd)
    end = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                os.close(fd)
                raise _reason(path, error) from error
        left = end - time.monotonic()
        if left <= 0:
            os.close(fd)
            return None
        time.sleep(min(0.25, left))


def is_locked(path: str) -> bool:
    """Say whether somebody holds the lock; False when the file does not exist. Raises FileError."""
    if not os.path.lexists(path):
        return False
    fd = lock_file(path)
    if fd is None:
        return True
    os.close(fd)
    return False
