# SPDX-License-Identifier: BSD-2-Clause
"""Rows -> the text that an administrator reads; pure.

The table is that of the presentation with one more column. Host names are the
only thing in it that came from outside, and they are host names. Where the
terminal is too narrow, names of days are cut, then two columns are left out,
then host names are cut in the middle; never in a file or a pipe.
"""

import time
from typing import Iterator
from typing import List
from typing import Optional
from typing import Sequence
from typing import Tuple
from typing import TypeVar

from qualvosec.admin.fleet.overview import Row
from qualvosec.manifest import wording
from qualvosec.safetext import safe

HEADINGS = ("System", "Last Seen", "Active", "Patch Window", "Reboot", "Status")
# The widths of the presentation: a small fleet looks as it does there.
_WIDTHS = (23, 10, 6, 16, 6, 13)
_MIN_NAME = 16
_GOOD_NAME = 24
# Names of days cut, and columns left out, where the terminal is too narrow.
_NARROWER: Tuple[Tuple[bool, Tuple[int, ...]], ...] = (
    (False, ()), (True, ()), (True, (4,)), (True, (2, 4)))
T = TypeVar("T")


def _cells(row: Row, is_short: bool) -> List[str]:
    seen = "-"
    if row.seen is not None:
        seen = time.strftime("%Y-%m-%d", time.localtime(row.seen.time))
    policy = row.policy
    if policy is None:
        return [row.name, seen, "-", "-", "-", row.status]
    return [row.name, seen, str(policy.patch), wording.patch_window(policy, is_short),
            wording.REBOOT[policy.reboot], row.status]


def table(rows: Sequence[Row], width: Optional[int] = None) -> str:
    """Return the table, each line ended; `width` is that of the terminal, None: no limit."""
    return "".join(table_lines(rows, width))


def table_lines(rows: Sequence[Row], width: Optional[int] = None) -> Iterator[str]:
    """Yield the lines of the table, each ended: the cells of a large fleet fill the memory."""
    for is_short, left_out in _NARROWER if width is not None else _NARROWER[:1]:
        widths = [len(heading) for heading in HEADINGS] if is_short else list(_WIDTHS)
        for row in rows:
            cells = _safe_cells(row, is_short)
            widths = [max(wide, len(cell)) for wide, cell in zip(widths, cells)]
        widths = _kept(widths, left_out)
        others = sum(widths[1:]) + 3 * len(widths) + 1
        if width is None or others + min(widths[0], _GOOD_NAME) <= width:
            break
    if width is not None:
        widths[0] = max(_MIN_NAME, min(widths[0], width - others))
    yield line(_kept(HEADINGS, left_out), widths) + "\n"
    yield rule(widths) + "\n"
    for row in rows:
        cells = _kept(_safe_cells(row, is_short), left_out)
        yield line([shorten(cells[0], widths[0])] + cells[1:], widths) + "\n"


def _kept(cells: Sequence[T], left_out: Sequence[int]) -> List[T]:
    return [cell for place, cell in enumerate(cells) if place not in left_out]


def _safe_cells(row: Row, is_short: bool) -> List[str]:
    return [safe(cell, 300) for cell in _cells(row, is_short)]


def rule(widths: Sequence[int]) -> str:
    """Return the line below the headings."""
    return "|%s|" % "|".join("-" * (wide + 2) for wide in widths)


def line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return one line of a table, not ended."""
    return "| %s |" % " | ".join(cell.ljust(wide) for cell, wide in zip(cells, widths))


def shorten(text: str, width: int) -> str:
    """Cut the middle out of a text that is too wide: both ends of a host name tell it."""
    if len(text) <= width:
        return text
    tail = (width - 3) // 2
    return text[:width - 3 - tail] + "..." + text[len(text) - tail:]
