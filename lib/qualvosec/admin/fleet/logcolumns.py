# SPDX-License-Identifier: BSD-2-Clause
"""Many lines of an access log at once, cut into three columns: head, time, tail; pure.

A loop over lines costs more than all that is done here with a whole piece in a few calls.
That is possible because a line of ours has one pair of brackets, around its time. Whatever
does not fit is said to be None, never guessed, and must be read line by line.
"""

import re
from bisect import bisect_left
from io import BytesIO
from itertools import chain
from itertools import compress
from itertools import groupby
from itertools import repeat
from operator import add
from typing import Iterator
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Sequence
from typing import Tuple

_ZEROS = bytes(0x30 if 0x30 <= code <= 0x39 else code for code in range(256))
_FORM = re.compile(rb"\d\d/[A-Z][a-z][a-z]/\d{4}:[0-2]\d:[0-5]\d:[0-5]\d [+-]\d{4}\]\n")
_LENGTH = len("23/Nov/2026:05:00:00 +0000]\n")
_DAY = len("23/Nov/2026:")
_HOUR = slice(_DAY, _DAY + 2)
_NUMBERS = (_DAY, _DAY + 3, _DAY + 6)
_TENS = (_DAY + 3, _DAY + 6)
_SIGN = _LENGTH - len("+0000]\n")
_ZONE = range(_SIGN + 1, _SIGN + 5)


class Columns(NamedTuple):
    """Lines cut around their times; each part is ended by a line feed."""

    heads: List[bytes]          # "192.0.2.1 - - ["
    times: List[bytes]          # "23/Nov/2026:05:00:00 +0000]"
    tails: List[bytes]          # ' "GET /patch.yaml ... "QualvoSec ..."'


def cut(piece: bytes) -> Optional[Columns]:
    """Cut whole lines, each ended; None: some line has not just one pair of brackets.

    A head that ends with a bracket and a tail that does not prove that they belong to one
    line with the time between. It is for the caller to see that they are of this form.
    """
    text = piece.replace(b"[", b"[\n").replace(b"]", b"]\n")
    # split() looks at each byte on its own, which takes twice as long.
    parts = BytesIO(text).readlines()
    if len(parts) * 2 != (len(text) - len(piece)) * 3:
        return None
    return Columns(parts[0::3], parts[1::3], parts[2::3])


def kinds(columns: Columns) -> Iterator[bytes]:
    """Yield what of each line is not its time: one text is quicker than a pair of them."""
    return map(add, columns.heads, columns.tails)


def halves(kind: bytes) -> Tuple[bytes, bytes]:
    """Return head and tail of a kind, the bracket and what ends it not included."""
    head, _, tail = kind.partition(b"[\n")
    return head, tail


def are_whole_lines(columns: Columns) -> bool:
    """Say whether all columns are of the form that proves them to be."""
    return (all(map(bytes.endswith, columns.heads, repeat(b"[\n")))
            and not any(map(bytes.endswith, columns.tails, repeat((b"[\n", b"]\n")))))


def text(columns: Columns) -> bytes:
    """Return the lines that were cut, be they what they may."""
    parts = chain.from_iterable(zip(*columns))
    return b"".join(parts).replace(b"[\n", b"[").replace(b"]\n", b"]")


def chosen(columns: Columns, flags: Sequence[bool]) -> Columns:
    """Return the lines whose flag is set."""
    return Columns(*(list(compress(column, flags)) for column in columns))


def by_day(columns: Columns) -> Iterator[Columns]:
    """Yield runs of lines of one day and zone, in their order."""
    begin = 0
    for _, group in groupby(columns.times, lambda time: (time[:_DAY], time[_SIGN:])):
        end = begin + sum(1 for _ in group)
        yield Columns(*(column[begin:end] for column in columns))
        begin = end


def is_longer(head: bytes, tail: bytes, limit: int) -> bool:
    """Say whether a line of these two columns has more bytes than the limit, its end apart."""
    return len(head) + _LENGTH + len(tail) - 3 > limit


def count_before(times: List[bytes], later_s: int) -> int:
    """Return how many times in order, of one day, are before `later_s` seconds after the first."""
    if later_s <= 0:
        return 0
    hour, minute, second = (int(times[0][place:place + 2]) for place in _NUMBERS)
    clock = hour * 3600 + minute * 60 + second + later_s
    if clock >= 86400:
        return len(times)
    return bisect_left(times, times[0][:_DAY] + b"%02d:%02d:%02d" % (
        clock // 3600, clock // 60 % 60, clock % 60))


def in_order(columns: Columns) -> Optional[Columns]:
    """Return lines by time; None: they are not all of one day and zone, or a time is damaged."""
    times = sorted(columns.times)
    if not times:
        return None
    first = times[0]
    joined = b"".join(times)
    # Between a first and a last that begin alike there are only such that do, too.
    if (first[:_DAY] != times[-1][:_DAY] or times[-1][_HOUR] > b"23"
            or not _FORM.fullmatch(first)
            or joined.translate(_ZEROS) != first.translate(_ZEROS) * len(times)
            or any(joined[place::_LENGTH].strip(b"012345") for place in _TENS)
            or any(joined[place::_LENGTH].strip(first[place:place + 1]) for place in _ZONE)):
        return None
    if times == columns.times:
        return columns
    order = sorted(range(len(times)), key=columns.times.__getitem__)
    return Columns([columns.heads[place] for place in order], times,
                   [columns.tails[place] for place in order])
