# SPDX-License-Identifier: BSD-2-Clause
"""Compiles lib/ once for the length of a run of the tests, and leaves nothing behind.

The tests start the programs some hundred times, and most of the time of a start is
compiling. What is compiled is bound to the text of its source, not to its date, where
Python can do that: a source that a test changes is never taken for the old one.
"""

import contextlib
import importlib.util
import os
import py_compile
from typing import Any
from typing import Dict
from typing import Iterator
from typing import List

# Python 3.6 knows only dates.
BOUND: Dict[str, Any] = {}
if hasattr(py_compile, "PycInvalidationMode"):
    BOUND["invalidation_mode"] = py_compile.PycInvalidationMode.CHECKED_HASH


@contextlib.contextmanager
def compiled(directory: str) -> Iterator[List[str]]:
    """Compile what is not compiled yet; remove it afterwards. Yields what was made."""
    made: List[str] = []
    try:
        for place, _, names in os.walk(directory):
            for name in sorted(names):
                if name.endswith(".py"):
                    made += compile_one(os.path.join(place, name))
        yield made
    finally:
        for path in made:
            remove(path)


def compile_one(source: str) -> List[str]:
    """The file that had to be made, if one had to. Without the right to, nothing."""
    target = importlib.util.cache_from_source(source)
    place = os.path.dirname(target)
    if os.path.exists(target) or not os.access(place if os.path.isdir(place) else
                                               os.path.dirname(place), os.W_OK):
        return []
    try:
        py_compile.compile(source, target, doraise=True, **BOUND)
    except py_compile.PyCompileError:
        return []       # whoever imports it is told
    return [target]


def remove(path: str) -> None:
    """A file, and its directory if nobody else has something in it."""
    try:
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
    except OSError:
        pass            # another run was faster, or still uses the directory
