# SPDX-License-Identifier: BSD-2-Clause
"""Root's log of what the package manager printed: rotated by size before a run, one is kept.

Package managers write straight into the file, because a pipe breaks with its
reader and leaves packages half installed. So no reader can cap the output: the file
is emptied when a run writes beyond all reason.
"""

import os
import stat

from qualvosec import files

NAME = "run.log"
ROTATE_BYTES = 4 << 20
EMERGENCY_BYTES = 64 << 20


def open_log(folder: str) -> int:
    """Return a descriptor that appends to run.log, readable too; raises OSError or FileError.

    The directory above it may belong to a group, as /var/log does on Ubuntu: what lies in the
    place of ours is taken only if it is ours, and nothing is looked up by its path again.
    """
    os.makedirs(folder, 0o750, exist_ok=True)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        info = os.fstat(place)
        if info.st_uid != os.geteuid() or info.st_mode & 0o022:
            raise files.FileError("%s: must belong to root, and nobody else may write to it: "
                                  "chown root, chmod 750" % folder)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(NAME, flags, 0o640, dir_fd=place)
        if stat.S_ISREG(os.fstat(fd).st_mode) and os.fstat(fd).st_size > ROTATE_BYTES:
            os.close(fd)
            os.rename(NAME, NAME + ".1", src_dir_fd=place, dst_dir_fd=place)
            fd = os.open(NAME, flags, 0o640, dir_fd=place)
        return fd
    finally:
        os.close(place)


def bound(fd: int) -> None:
    """Empty the file if it is larger than EMERGENCY_BYTES; asked while a program writes to it."""
    if os.fstat(fd).st_size > EMERGENCY_BYTES:
        os.ftruncate(fd, 0)
        os.write(fd, b"-- the log was emptied: it had grown beyond its limit --\n")
