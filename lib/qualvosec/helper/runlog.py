# SPDX-License-Identifier: BSD-2-Clause
"""Root's log of what the package manager printed: rotated by size before a run.

Package managers write straight into the file, because a pipe breaks with its
reader and leaves packages half installed. So no reader can cap the output; a
watcher empties the file when a run writes beyond all reason.
"""

import os
import threading

NAME = "run.log"
ROTATE_BYTES = 4 << 20
EMERGENCY_BYTES = 256 << 20
GENERATIONS = 4


def open_log(folder: str) -> int:
    """Return a descriptor that appends to run.log, readable too; raises OSError."""
    os.makedirs(folder, 0o750, exist_ok=True)
    path = os.path.join(folder, NAME)
    if os.path.lexists(path) and os.lstat(path).st_size > ROTATE_BYTES:
        for number in range(GENERATIONS - 1, 0, -1):
            if os.path.lexists("%s.%d" % (path, number)):
                os.rename("%s.%d" % (path, number), "%s.%d" % (path, number + 1))
        os.rename(path, path + ".1")
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o640)


def watch(fd: int, done: threading.Event, every_s: float = 10.0) -> None:
    """Empty the file whenever it is larger than EMERGENCY_BYTES, until `done` is set."""
    while not done.wait(every_s):
        if os.fstat(fd).st_size > EMERGENCY_BYTES:
            os.ftruncate(fd, 0)
            os.write(fd, b"-- the log was emptied: it had grown beyond its limit --\n")
