# SPDX-License-Identifier: BSD-2-Clause
"""The spans of an edit -> a unified diff, as patch(1) takes it; pure.

A general diff of a large manifest takes minutes. Here it is known where the changes are: only
the lines around each span are compared, however long the file is.
"""

import difflib
from typing import List
from typing import NamedTuple
from typing import Sequence
from typing import Tuple

from qualvosec.manifest.edit.spans import Span
from qualvosec.safetext import safe

CONTEXT = 3
# Larger blocks are entries that came or went, not lines of one that changed.
_MAX_COMPARED = 500


class _Change(NamedTuple):
    """Lines `start` to `end` of the old file, from 0, became others; `at` is their new number."""

    start: int
    end: int
    at: int
    new: Tuple[bytes, ...]


def unified(name: str, old: bytes, spans: Sequence[Span]) -> str:
    """Return the diff between `old` and what the spans make of it; "" without any."""
    if not spans:
        return ""
    lines = old.splitlines(True)
    pieces = ["--- %s\n+++ %s\n" % (safe(name, 1000), safe(name, 1000))]
    hunk: List[_Change] = []
    for change in _changes(old, spans):
        if hunk and change.start - hunk[-1].end > 2 * CONTEXT:
            pieces.append(_hunk(lines, hunk))
            hunk = []
        hunk.append(change)
    return "".join(pieces + [_hunk(lines, hunk)])


def _changes(old: bytes, spans: Sequence[Span]) -> List[_Change]:
    """Widen spans to whole lines, and narrow these to the lines that differ."""
    found: List[_Change] = []
    number = place = shift = 0
    for start, end, text in _whole_lines(old, spans):
        number += old.count(b"\n", place, start)
        before, after = old[start:end].splitlines(True), text.splitlines(True)
        equal = [(0, 0, 0), (len(before), len(after), 0)]
        if before and after and len(before) + len(after) <= _MAX_COMPARED:
            equal[1:] = difflib.SequenceMatcher(None, before, after, False).get_matching_blocks()
        for block, following in zip(equal, equal[1:]):
            first, new_first = block[0] + block[2], block[1] + block[2]
            if (first, new_first) != following[:2]:
                found.append(_Change(number + first, number + following[0],
                                     number + shift + new_first,
                                     tuple(after[new_first:following[1]])))
        shift += len(after) - len(before)
        place = start
    return found


def _whole_lines(old: bytes, spans: Sequence[Span]) -> List[Tuple[int, int, bytes]]:
    merged: List[Span] = []
    for span in spans:
        if merged and old.find(b"\n", merged[-1].end, span.start) < 0:
            last = merged.pop()
            span = Span(last.start, span.end, last.new + old[last.end:span.start] + span.new)
        merged.append(span)
    found = []
    for span in merged:
        start, end = old.rfind(b"\n", 0, span.start) + 1, span.end
        text = old[start:span.start] + span.new
        if (end and old[end - 1:end] != b"\n") or (text and not text.endswith(b"\n")):
            end = old.find(b"\n", span.end) + 1 or len(old)
            text += old[span.end:end]
        found.append((start, end, text))
    return found


def _hunk(lines: Sequence[bytes], changes: Sequence[_Change]) -> str:
    first = max(0, changes[0].start - CONTEXT)
    last = min(len(lines), changes[-1].end + CONTEXT)
    body = []
    place = first
    for change in changes:
        body += [(" ", line) for line in lines[place:change.start]]
        body += [("-", line) for line in lines[change.start:change.end]]
        body += [("+", line) for line in change.new]
        place = change.end
    body += [(" ", line) for line in lines[place:last]]
    old = sum(mark != "+" for mark, _ in body)
    new = sum(mark != "-" for mark, _ in body)
    at = changes[0].at - (changes[0].start - first)
    return "@@ -%s +%s @@\n%s" % (_range(first, old), _range(at, new),
                                  "".join(mark + _shown(line) for mark, line in body))


def _range(start: int, count: int) -> str:
    # An empty range is named by the line before it.
    return "%d" % (start + 1) if count == 1 else "%d,%d" % (start + bool(count), count)


def _shown(line: bytes) -> str:
    """Return a line as it is but for what a terminal could take for a command."""
    text = "".join(char if char.isprintable() or char in "\t\r\n\ufeff"
                   else char.encode("unicode_escape").decode("ascii")
                   for char in line.decode("utf-8"))
    return text if text.endswith("\n") else text + "\n\\ No newline at end of file\n"
