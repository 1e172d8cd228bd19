# SPDX-License-Identifier: BSD-2-Clause
"""The web server's access logs -> who asked for the manifest last, and what it said.

Any number of files in any order, plain or compressed (.gz, .xz, .bz2): the newest
time wins, not the last line. Only answers 2xx and 304 are sightings; what no clock could
have shown at the time is none. A line longer than 8 KiB is skipped. Memory is bounded by
the number of hosts, and that by the manifest plus MAX_STRANGERS.

Nearly every line repeats an earlier one but for its time. Such lines are taken in by the
piece, without a loop: of each kind only the newest time is kept, and read at the end.
What is new, damaged, out of order or not ours is read line by line.
"""

import os
from typing import Callable
from typing import Container
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Sequence
from typing import Set
from typing import Tuple

from qualvosec.admin.fleet import logcolumns
from qualvosec.admin.fleet import logfile
from qualvosec.admin.fleet import logline
from qualvosec.admin.fleet.logcolumns import Columns
from qualvosec.admin.fleet.logfile import MAX_LINE
from qualvosec.admin.fleet.logline import MARK
from qualvosec.admin.fleet.logline import MAX_REMEMBERED
from qualvosec.admin.fleet.logline import Hit
from qualvosec.admin.fleet.logline import LineError
from qualvosec.admin.fleet.logline import LineParser
from qualvosec.useragent import Sighting

MAX_STRANGERS = 100000
# Kinds of lines that are known at a time, about 800 bytes each: more for a large fleet, whose
# hosts would be forgotten before they ask again.
MIN_KINDS = 16384
MAX_KINDS = 65536
# 2015: clocks without a battery begin in 1970, 1980 or 2000.
EARLIEST = 1420070400
_EDGE = 65536
# Fewer lines of one day, or older than others, are not worth a call for many.
_FEW = 32
# Told the bytes of a file that were read, and its size; for a progress line.
Progress = Callable[[int, int], None]
Kind = bytes                    # head and tail of a line, its time left out


class Seen(NamedTuple):
    """What is known of one host; times in epoch seconds."""

    time: int
    first: int
    source: str                 # address of the newest request
    sighting: Sighting
    nearby: Tuple[Tuple[str, int], ...]     # other sources, newest time of each


class Log(NamedTuple):
    """All logs together; begins and ends are epoch seconds, 0 when no line has a time."""

    hosts: Dict[str, Seen]
    begins: int
    ends: int
    sightings: int
    broken: int                 # lines that claim to be of a client and cannot be read
    overlong: int
    mistimed: int               # lines before EARLIEST or after the latest time possible
    strangers: int              # sightings of unlisted hosts beyond MAX_STRANGERS
    anonymous: Tuple[str, ...]  # files without user agents
    faults: Tuple[str, ...]     # files that could not be read (to the end)


def read(paths: Sequence[str], listed: Container[str] = (),
         progress: Progress = lambda done, size: None, latest: Optional[int] = None) -> Log:
    """Read log files; `listed` are the manifest's hosts, which are always kept.

    A line after `latest` (epoch seconds) is none. A file that cannot be read is a fault in
    the result: what the others say is still true.
    """
    reading = _LogReading(listed, progress, latest)
    for path in paths:
        try:
            reading.file(path)
        except logfile.faults() as error:
            reason = getattr(error, "strerror", None) or str(error) or "damaged"
            reading.faults += ("%s: %s" % (path, reason[:1].lower() + reason[1:]),)
    return reading.result()


class _Note(NamedTuple):
    """What becomes a Seen."""

    time: int
    first: int
    source: str
    agent: bytes
    nearby: Tuple[Tuple[str, int], ...]


class _LogReading:
    """What has been read so far."""

    def __init__(self, listed: Container[str], progress: Progress,
                 latest: Optional[int]) -> None:
        self.hosts: Dict[str, _Note] = {}
        self.faults: Tuple[str, ...] = ()
        self._listed = listed
        self._progress = progress
        self._latest = latest
        self._parser = LineParser()
        self._anonymous: Tuple[str, ...] = ()
        self._begins = self._ends = 0
        self._sightings = self._broken = self._overlong = self._mistimed = self._others = 0
        self._known_strangers = self._strangers = 0
        # Of the file that is being read; kinds are known since lines not after _reached.
        self._newest: Dict[Kind, bytes] = {}
        self._requests: Dict[Kind, Hit] = {}
        self._reached = 0
        self._has_more_fields = self._is_mixed = False

    def result(self) -> Log:
        """Return everything as a value; ends the reading."""
        hosts: Dict[str, Seen] = {}
        while self.hosts:
            name, note = self.hosts.popitem()
            hosts[name] = Seen(note.time, note.first, note.source,
                               self._parser.sighting(name, note.agent), note.nearby)
        return Log(hosts, self._begins, self._ends, self._sightings, self._broken, self._overlong,
                   self._mistimed, self._strangers, self._anonymous, self.faults)

    def file(self, path: str) -> None:
        """Read one file; raises what reading raises."""
        self._reached = 0
        self._has_more_fields = self._is_mixed = False
        before = self._sightings + self._broken
        first = last = b""
        with open(path, "rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            try:
                for piece in logfile.pieces(raw):
                    first = first or piece[:_EDGE]
                    last = piece
                    self._piece(piece)
                    if size:
                        self._progress(raw.tell(), size)
            finally:
                self._settle()
        lines = first.split(b"\n")
        self._span(lines)
        self._span(last[-_EDGE:].split(b"\n")[::-1])
        if self._sightings + self._broken == before and any(map(logline.is_common, lines[:20])):
            self._anonymous += (path,)

    def _span(self, lines: List[bytes]) -> None:
        """Widen the time that the logs cover by the first of these lines that has one."""
        for line in lines:
            time = self._parser.time(line)
            if time is not None and self._is_possible(time, time):
                self._begins = min(self._begins or time, time)
                self._ends = max(self._ends, time)
                return

    def _is_possible(self, begin: int, end: int) -> bool:
        return begin >= EARLIEST and (self._latest is None or end <= self._latest)

    def _piece(self, piece: bytes) -> None:
        """Read whole lines, each ended."""
        lines = None if self._is_mixed else logcolumns.cut(piece)
        if lines is None:
            marked = logfile.marked(piece)
            ours = b"".join(marked)
            self._is_mixed = len(ours) * 8 < len(piece) * 7
            lines = logcolumns.cut(ours) or self._odd(marked)
        others = self._others
        ordered = logcolumns.in_order(lines)
        if ((ordered is not lines or self._has_more_fields)
                and not logcolumns.are_whole_lines(lines)):
            lines = self._odd(logfile.marked(logcolumns.text(lines)))
            ordered = logcolumns.in_order(lines)
        for run in logcolumns.by_day(lines) if ordered is None else (ordered,):
            if ordered is None and len(run.times) >= _FEW:
                self._day(logcolumns.in_order(run), run)
            else:
                self._day(ordered, run)
        if (self._others - others) * 8 > len(lines.times):
            self._is_mixed = True

    def _odd(self, lines: List[bytes]) -> Columns:
        """Cut lines with further brackets in them."""
        found = Columns([], [], [])
        for line in lines:
            parts = logline.split(line) if len(line) <= MAX_LINE + 1 else None
            if parts is not None:
                head, time, tail = parts
                found.heads.append(head + b"[\n")
                found.times.append(time + b"\n")
                found.tails.append(tail.rstrip(b"\n"))
            elif len(line) > MAX_LINE + 1:
                self._overlong += 1
            else:
                self._broken += 1
        return found

    def _day(self, ordered: Optional[Columns], lines: Columns) -> None:
        """Take in lines of one day in order, or, where they are not, as they are."""
        begin = ordered and self._parser.moment(ordered.times[0])
        end = ordered and self._parser.moment(ordered.times[-1])
        if ordered is None or begin is None or end is None or not self._is_possible(begin, end):
            self._each(lines)
            return
        early = logcolumns.count_before(ordered.times, self._reached - begin)
        if early > max(_FEW, len(ordered.times) // 2):
            # The log begins anew with an earlier time.
            self._settle()
            self._reached = early = 0
        if early and not logcolumns.are_whole_lines(ordered):
            self._each(ordered)
            return
        if early:
            self._each(Columns(*(column[:early] for column in ordered)))
            ordered = Columns(*(column[early:] for column in ordered))
        self._reached = max(self._reached, end)
        if ordered.times:
            self._repeated(ordered)

    def _repeated(self, lines: Columns) -> None:
        """Take in lines that are in order and not before others of the kinds that are known."""
        told = lines
        if self._has_more_fields:
            told = lines._replace(tails=[
                tail if logcolumns.is_longer(head, tail, MAX_LINE) else logfile.cut(tail)
                for head, tail in zip(lines.heads, lines.tails)])
        before = len(self._newest)
        self._newest.update(zip(logcolumns.kinds(told), lines.times))
        self._sightings += len(lines.times)
        fresh = [self._newest.popitem() for _ in range(len(self._newest) - before)]
        unfit = self._meet(fresh[::-1], told) if fresh else ()
        if unfit:
            left = logcolumns.chosen(lines, [kind in unfit for kind in logcolumns.kinds(told)])
            self._sightings -= len(left.times)
            self._each(left)
        if len(self._newest) > min(MAX_KINDS, MIN_KINDS + 2 * len(self.hosts)):
            self._settle()

    def _meet(self, fresh: List[Tuple[Kind, bytes]], lines: Columns) -> Set[Kind]:
        """Know further kinds of lines; returns those that cannot be."""
        begin = self._parser.moment(lines.times[0]) or 0
        firsts: Dict[Kind, bytes] = {}
        unfit = set()
        for kind, time in fresh:
            request = self._request(kind)
            if request is None:
                unfit.add(kind)
                continue
            note = self.hosts.get(request.fqdn)
            if note is None or begin < note.first:
                firsts = firsts or dict(zip(list(logcolumns.kinds(lines))[::-1],
                                            lines.times[::-1]))
                if not self._add(request, self._parser.moment(firsts[kind]) or 0):
                    unfit.add(kind)
                    continue
            self._newest[kind] = time
            self._requests[kind] = request
        return unfit

    def _request(self, kind: Kind) -> Optional[Hit]:
        """Return the request if lines of a kind are sightings, tell nothing more, and are short."""
        head, tail = logcolumns.halves(kind)
        if MARK not in tail or logcolumns.is_longer(head, tail, MAX_LINE - 2):
            return None
        try:
            found = self._parser.request(head, tail)
        except LineError:
            return None
        if found is None or not found.answered:
            return None
        if tail[found.end:] not in (b"", b"\n"):
            self._has_more_fields = True
            return None
        return found if len(kind) <= MAX_REMEMBERED else None

    def _settle(self) -> None:
        """Take in the newest line of each kind, and forget the kinds."""
        for kind, time in self._newest.items():
            self._add(self._requests[kind], self._parser.moment(time) or 0)
        self._newest.clear()
        self._requests.clear()

    def _each(self, lines: Columns) -> None:
        """Take in lines one by one."""
        if not logcolumns.are_whole_lines(lines):
            lines = self._odd(logfile.marked(logcolumns.text(lines)))
        for head, time, tail in zip(*lines):
            self._one(head, time, tail)

    def _one(self, head: bytes, stamp: bytes, tail: bytes) -> None:
        """Take in one line, whatever it is."""
        if not any(MARK in part for part in (head, stamp, tail)):
            self._others += 1
            return
        if logcolumns.is_longer(head, tail, MAX_LINE):
            self._overlong += 1
            return
        time = self._parser.instant(stamp)
        try:
            request = self._parser.request(head[:-2], tail)
        except LineError:
            request = time = None
        if time is None:
            self._broken += 1
        elif request is None:
            self._others += 1
        elif request.answered and not self._is_possible(time, time):
            self._mistimed += 1
        elif request.answered:
            self._sightings += 1
            self._strangers += not self._add(request, time)

    def _add(self, found: Hit, time: int) -> bool:
        """Take a line in as if it were of that time, in any order; False: host not kept."""
        name, source, agent = found.fqdn, found.source, found.agent
        old = self.hosts.get(name)
        if old is None:
            if name not in self._listed:
                if self._known_strangers >= MAX_STRANGERS:
                    return False
                self._known_strangers += 1
            self.hosts[name] = _Note(time, time, source, agent, ())
            return True
        nearby = old.nearby
        # Two at the same second: the result must not depend on which is read first.
        if (time, source, agent) >= (old.time, old.source, old.agent):
            if source != old.source:
                nearby = _keep(nearby, old.source, old.time, source)
            self.hosts[name] = _Note(time, min(old.first, time), source, agent, nearby)
        else:
            if source != old.source:
                nearby = _keep(nearby, source, time, old.source)
            if time < old.first or nearby != old.nearby:
                self.hosts[name] = old._replace(first=min(old.first, time), nearby=nearby)
        return True


def _keep(nearby: Tuple[Tuple[str, int], ...], source: str, time: int,
          newest: str) -> Tuple[Tuple[str, int], ...]:
    """Note the newest time of another source; the three newest are kept."""
    times = dict(nearby)
    times.pop(newest, None)
    times[source] = max(time, times.get(source, 0))
    return tuple(sorted(times.items(), key=lambda item: (-item[1], item[0]))[:3])
