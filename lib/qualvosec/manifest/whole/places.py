# SPDX-License-Identifier: BSD-2-Clause
"""Where in a manifest keys and items stand: looked up for those that are asked for alone."""

from typing import Dict
from typing import Mapping
from typing import Set

from qualvosec import yamlsubset
from qualvosec.manifest.schema import Path
from qualvosec.yamlsubset import Mark


class _Wanted(Dict[Path, Mark]):
    """Keeps the marks of some paths: all of a large manifest would be most of the memory."""

    def __init__(self, paths: Set[Path]) -> None:
        super().__init__()
        self._paths = paths

    def __setitem__(self, path: Path, mark: Mark) -> None:
        if path in self._paths:
            super().__setitem__(path, mark)

    def __missing__(self, path: Path) -> Mark:
        return Mark(1, 1)


def locate(data: bytes, paths: Set[Path]) -> Mapping[Path, Mark]:
    """Return the places of these paths and of all that is around them."""
    marks = _Wanted(paths | {path[:length] for path in paths for length in range(1, len(path))})
    yamlsubset.load(data, marks, [])
    return marks


def mark(marks: Mapping[Path, Mark], path: Path) -> Mark:
    """Return the place of a path or of the nearest thing around it."""
    for length in range(len(path), 0, -1):
        if path[:length] in marks:
            return marks[path[:length]]
    return Mark(1, 1)
