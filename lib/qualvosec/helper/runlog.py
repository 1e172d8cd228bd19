# SPDX-License-Identifier: BSD-2-Clause
"""Root's log of what the package manager printed: rotated by size before a run, one is kept.

Package managers write straight into the file, because a pipe breaks with its
reader and leaves packages half installed. So no reader can cap the output; a
watcher empties the file when a run writes beyond all reason.
"""

import os
import time
from typing import Callable

NAME = "run.log"
ROTATE_BYTES = 4 << 20
EMERGENCY_BYTES = 64 << 20
WATCH_S = 2.0


def open_log(folder: str) -> int:
    """Return a descriptor that appends to run.log, readable too; raises OSError."""
    os.makedirs(folder, 0o750, exist_ok=True)
    path = os.path.join(folder, NAME)
    if os.path.lexists(path) and os.lstat(path).st_size > ROTATE_BYTES:
        os.rename(path, path + ".1")
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o640)


def watch(fd: int, sleep: Callable[[float], None] = time.sleep) -> None:
    """Empty the file whenever it is larger than EMERGENCY_BYTES; for a thread, never returns."""
    while True:
        sleep(WATCH_S)
        if os.fstat(fd).st_size > EMERGENCY_BYTES:
            os.ftruncate(fd, 0)
            os.write(fd, b"-- the log was emptied: it had grown beyond its limit --\n")
