# SPDX-License-Identifier: BSD-2-Clause
"""Root's log of what the package manager printed: rotated by size before a run, one is kept.

Package managers write straight into the file, because a pipe breaks with its
reader and leaves packages half installed. So no reader can cap the output: the file
is emptied when a run writes beyond all reason.
"""

import os

NAME = "run.log"
ROTATE_BYTES = 4 << 20
EMERGENCY_BYTES = 64 << 20


def open_log(folder: str) -> int:
    """Return a descriptor that appends to run.log, readable too; raises OSError."""
    os.makedirs(folder, 0o750, exist_ok=True)
    path = os.path.join(folder, NAME)
    if os.path.lexists(path) and os.lstat(path).st_size > ROTATE_BYTES:
        os.rename(path, path + ".1")
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o640)


def bound(fd: int) -> None:
    """Empty the file if it is larger than EMERGENCY_BYTES; asked while a program writes to it."""
    if os.fstat(fd).st_size > EMERGENCY_BYTES:
        os.ftruncate(fd, 0)
        os.write(fd, b"-- the log was emptied: it had grown beyond its limit --\n")
