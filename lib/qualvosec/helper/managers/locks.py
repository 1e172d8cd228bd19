# SPDX-License-Identifier: BSD-2-Clause
"""Who holds a package manager: record locks and files that name a process.

Record locks are asked for with F_GETLK, which disturbs nobody. A file that names a
process counts only while that process lives: package managers ignore the
others, too. Facts: fcntl(2), proc(5).
"""

import fcntl
import os
import struct
from typing import Iterable

# struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid.
_FLOCK = "hhqqi4x"


def holder(root: str, records: Iterable[str] = (), pids: Iterable[str] = ()) -> str:
    """Return "PATH is held by process N" of the first that is held, else an empty text.

    `records` are files with record locks, `pids` files that hold the number of a process.
    """
    for probe, names in ((_record_lock, records), (_pid_file, pids)):
        for name in names:
            pid = probe(os.path.join(root, name.lstrip("/")))
            if pid:
                return "%s is held by process %d" % (name, pid)
    return ""


def flocked(path: str) -> bool:
    """Say whether another process holds a flock(2) on the file or directory."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _record_lock(path: str) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        wanted = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, wanted))
    finally:
        os.close(fd)
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def _pid_file(path: str) -> int:
    try:
        with open(path, "rb") as file:
            pid = int(file.read(32).split()[0])
        if pid <= 0:
            return 0
        os.kill(pid, 0)
    except PermissionError:
        return pid
    except (FileNotFoundError, ValueError, IndexError, OverflowError, ProcessLookupError):
        return 0
    return pid
