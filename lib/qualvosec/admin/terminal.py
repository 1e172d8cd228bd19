# SPDX-License-Identifier: BSD-2-Clause
"""What every command of qualvosec-admin shares: where it writes, and how it fails.

Errors are one line: object, what is wrong, what to do. Only commands.main() catches them.
Everything that goes to stderr is made safe for a terminal here; what goes to stdout is made
safe by who knows what may be in it.
"""

import argparse
import contextlib
import os
from typing import Callable
from typing import NamedTuple
from typing import Optional
from typing import TextIO

from qualvosec.safetext import safe
from qualvosec.usage import Parser

DONE, FAILED, USAGE = 0, 1, 2
# To monitoring 1 is a warning and 2 is critical: `status` says this of what cannot be told.
NAGIOS_UNKNOWN = 3


class AdminError(Exception):
    """A command cannot do its work; one line: object, what is wrong, what to do."""


class UsageError(AdminError):
    """The command line is wrong or, not `of_words`, the configuration is not complete."""

    def __init__(self, text: str, of_words: bool = True) -> None:
        super().__init__(text)
        self.of_words = of_words


class OutputError(AdminError):
    """Standard output takes no more, as on a full disk."""


class Terminal(NamedTuple):
    """Where a command writes, and what time it is."""

    out: TextIO
    err: TextIO
    now: int
    width: Optional[int]

    def say(self, text: str) -> None:
        """Print lines to stdout; raises OutputError, and BrokenPipeError where nobody reads on."""
        _whole(lambda: _write(self.out, text))

    def end(self) -> None:
        """See to it that everything is printed; raises as say()."""
        _whole(self.out.flush)

    def warn(self, text: str) -> None:
        """Print one line to stderr, behind what was said before it."""
        # Where stdout takes no more it holds what is left, and the end meets the fault again.
        with contextlib.suppress(OutputError, BrokenPipeError):
            self.end()
        _write(self.err, "qualvosec-admin: %s\n" % safe(text, 1000))


def _write(stream: TextIO, text: str) -> None:
    # A terminal in the C locale takes ASCII only; escapes are better than a traceback.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _whole(act: Callable[[], None]) -> None:
    try:
        act()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError("standard output: %s: what was printed is not whole"
                          % (error.strerror or "").lower()) from None


Action = Callable[[argparse.Namespace, Terminal], int]
# add(name, action, help): a parser that knows -c and --manifest already
Add = Callable[[str, Action, str], Parser]


def width_of(out: TextIO) -> Optional[int]:
    """Return the width of a terminal; None for a file or pipe, and where nobody set one."""
    try:
        return os.get_terminal_size(out.fileno()).columns or None
    except (OSError, ValueError):
        return None


def count(number: int, noun: str) -> str:
    return "%d %s%s" % (number, noun, "" if number == 1 else "s")
