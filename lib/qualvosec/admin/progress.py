# SPDX-License-Identifier: BSD-2-Clause
"""A line on a terminal that says how far work of more than a second has come.

Nothing is written to a file or pipe, nothing in the first second, and the line is wiped
away at the end.
"""

import time
from typing import Callable
from typing import TextIO

FIRST_S = 1.0
EVERY_S = 0.2
_WIPE = "\r\x1b[K"


class Progress:
    """Called with bytes done and their total."""

    def __init__(self, stream: TextIO, label: str,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._label = label
        self._clock = clock
        self._next = clock() + FIRST_S
        self._is_terminal = stream.isatty()
        self._is_shown = False

    def __call__(self, done: int, total: int) -> None:
        """Show how much is done, not more than a few times a second."""
        if not self._is_terminal or self._clock() < self._next:
            return
        self._next = self._clock() + EVERY_S
        self._is_shown = True
        self._stream.write("%s%s: %d %%" % (_WIPE, self._label, 100 * done // max(total, 1)))
        self._stream.flush()

    def end(self) -> None:
        """Wipe the line away."""
        if self._is_shown:
            self._stream.write(_WIPE)
            self._stream.flush()
