# SPDX-License-Identifier: BSD-2-Clause
"""Who holds a package manager: record locks, files that name a process, living programs.

Record locks are asked for with F_GETLK, which disturbs nobody. A file that names a
process counts only while that process lives: package managers ignore the
others, too. Facts: fcntl(2), proc(5).
"""

import contextlib
import fcntl
import os
import struct
from typing import Iterable
from typing import Iterator

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


@contextlib.contextmanager
def held(path: str) -> Iterator[bool]:
    """Hold the record lock of an existing file; gives False where another process has it.

    holder() must not be asked meanwhile: who closes any descriptor of the file lets go of it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def user_of(root: str, program: str, library: str) -> int:
    """Return a process that runs a program whose name begins so, or has loaded the library.

    0: there is none, -1: no process can be seen. A process with another root directory,
    of a container or where packages are built, has another database.
    """
    folder = os.path.join(root, "proc")
    numbers = [name for name in (os.listdir(folder) if os.path.isdir(folder) else ())
               if name.isdigit()]
    for number in numbers:
        process = os.path.join(folder, number)
        try:
            if not os.path.samefile(process + "/root", root):
                continue
            if os.path.basename(os.readlink(process + "/exe")).startswith(program):
                return int(number)
            with open(process + "/maps", encoding="utf-8", errors="replace") as file:
                if "/" + library in file.read():
                    return int(number)
        except OSError:
            # It has ended, or is a thread of the kernel.
            continue
    return 0 if numbers else -1


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
