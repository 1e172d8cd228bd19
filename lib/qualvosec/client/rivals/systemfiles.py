# SPDX-License-Identifier: BSD-2-Clause
"""The system's own configuration files below a root directory, read by anybody.

Links are followed as the system itself would follow them: an absolute one starts at
the root that was given, and none leads out of it. What does not exist, may not be read,
is not a file or is too large has no content: whoever asks gets an empty answer,
never an exception. Nothing is written or executed.
"""

import os
from typing import List

from qualvosec import files

MAX_FILE = 256 * 1024
MAX_NAMES = 2000
_MAX_LINKS = 40


class Tree:
    """Paths are relative to the root: "etc/crontab"."""

    def __init__(self, root: str = "/") -> None:
        self.root = root

    def real(self, path: str) -> str:
        """Return the path without links, still relative to the root; "" if they are too many."""
        todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        done: List[str] = []
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                del done[-1:]
                continue
            done.append(part)
            target = self._target("/".join(done))
            if not target:
                continue
            links += 1
            if links > _MAX_LINKS:
                return ""
            done = [] if target.startswith("/") else done[:-1]
            todo += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        return "/".join(done)

    def _target(self, path: str) -> str:
        try:
            return os.readlink(os.path.join(self.root, path))
        except OSError:
            # Not a link, or not there: what is asked of it next tells which.
            return ""

    def _place(self, path: str) -> str:
        return os.path.join(self.root, self.real(path) or "nonexistent/link")

    def exists(self, path: str) -> bool:
        """Say whether there is something at the end of all links."""
        return os.path.exists(self._place(path))

    def executable(self, path: str) -> bool:
        """Say whether there is a file that somebody may execute."""
        place = self._place(path)
        return os.path.isfile(place) and bool(os.stat(place).st_mode & 0o111)

    def folder(self, path: str) -> bool:
        """Say whether there is a directory."""
        return os.path.isdir(self._place(path))

    def read(self, path: str) -> str:
        """Return the text of a file, "" where there is none for us."""
        try:
            return files.read_bounded(self._place(path), MAX_FILE).decode("utf-8", "replace")
        except files.FileError:
            return ""

    def names(self, path: str) -> List[str]:
        """Return the sorted names in a directory."""
        try:
            return sorted(os.listdir(self._place(path)))[:MAX_NAMES]
        except OSError:
            return []
