# SPDX-License-Identifier: BSD-2-Clause
"""The web server's access logs -> who asked for the manifest last, and what it said.

Any number of files in any order, plain or compressed (.gz, .xz, .bz2): the newest
time wins, not the last line. Only answers 2xx and 304 are sightings. Lines of other
clients cost a search; a line longer than 8 KiB is skipped. Memory is bounded by the
number of hosts, and that by the manifest plus MAX_STRANGERS.

Nearly every line repeats an earlier one but for its time. A line whose sender and
words are known, later than the one before on the same day, is noted unread; only the
newest such line of each kind is read, at the end. All others are read at once.
"""

import os
from typing import Callable
from typing import Container
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Sequence
from typing import Tuple

from qualvosec.admin import logfile
from qualvosec.admin.logfile import MAX_LINE
from qualvosec.admin.logline import MARK
from qualvosec.admin.logline import Line
from qualvosec.admin.logline import LineError
from qualvosec.admin.logline import Parser
from qualvosec.admin.logline import clock_s
from qualvosec.admin.logline import is_common
from qualvosec.useragent import Sighting

MAX_STRANGERS = 100000
# Kinds of lines that are known at a time, about 700 bytes each.
MAX_KINDS = 32768
_EDGE = 65536
# Of "23/Nov/2026:05:00:00 +0000] ...", which stands behind the first bracket:
_DAY = len("23/Nov/2026")
_TAIL = len("23/Nov/2026:05:00:00")
_ZONE = slice(_TAIL + 1, _TAIL + 6)
# Told the bytes of a file that were read, and its size; for a progress line.
Progress = Callable[[int, int], None]


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
    strangers: int              # sightings of unlisted hosts beyond MAX_STRANGERS
    anonymous: Tuple[str, ...]  # files without user agents
    faults: Tuple[str, ...]     # files that could not be read (to the end)


def read(paths: Sequence[str], listed: Container[str] = (),
         progress: Progress = lambda done, size: None) -> Log:
    """Read log files; `listed` are the manifest's hosts, which are always kept.

    A file that cannot be read is a fault in the result: what the others say is still true.
    """
    reading = _Reading(listed, progress)
    for path in paths:
        before = reading.copy()
        try:
            try:
                reading.file(path)
            except _DamagedClock:
                # Very rare: a clock's digits are damaged in a line that was not read.
                reading = before
                reading.file(path, max_kinds=0)
        except logfile.faults() as error:
            reason = getattr(error, "strerror", None) or str(error) or "damaged"
            reading.faults += ("%s: %s" % (path, reason[:1].lower() + reason[1:]),)
    return reading.result()


class _DamagedClock(Exception):
    """A line that was noted unread cannot be read."""


class _Kind:
    """Lines that differ in nothing but their time."""

    __slots__ = ("earlier", "found", "head", "newest")

    def __init__(self, head: bytes, newest: bytes, found: Line) -> None:
        self.head = head            # what stands before the time
        self.newest = newest        # the newest of this day, from its time on, or only the day
        self.earlier = b""          # that of an earlier day
        self.found = found


class _Note(NamedTuple):
    """What becomes a Seen."""

    time: int
    first: int
    source: str
    agent: bytes
    nearby: Tuple[Tuple[str, int], ...]


class _Reading:
    """What has been read so far."""

    def __init__(self, listed: Container[str], progress: Progress) -> None:
        self.hosts: Dict[str, _Note] = {}
        self.faults: Tuple[str, ...] = ()
        self._listed = listed
        self._progress = progress
        self._parser = Parser()
        self._anonymous: Tuple[str, ...] = ()
        self._begins = self._ends = 0
        self._sightings = self._broken = self._overlong = 0
        self._known_strangers = self._strangers = 0
        # Of the file that is being read:
        self._kinds: Dict[bytes, _Kind] = {}
        self._max_kinds = 0
        self._midnight = 0
        self._day = self._next_day = b""
        self._has_more_fields = False

    def copy(self) -> "_Reading":
        """Return what can go on from here, whatever becomes of this one."""
        other = _Reading(self._listed, self._progress)
        other.__dict__.update(self.__dict__, hosts=dict(self.hosts))
        return other

    def result(self) -> Log:
        """Return everything as a value; ends the reading."""
        hosts: Dict[str, Seen] = {}
        while self.hosts:
            name, note = self.hosts.popitem()
            hosts[name] = Seen(note.time, note.first, note.source,
                               self._parser.sighting(name, note.agent), note.nearby)
        return Log(hosts, self._begins, self._ends, self._sightings, self._broken,
                   self._overlong, self._strangers, self._anonymous, self.faults)

    def file(self, path: str, max_kinds: int = MAX_KINDS) -> None:
        """Read one file; raises what reading raises, and _DamagedClock."""
        self._kinds = {}
        self._max_kinds = max_kinds
        self._midnight = 0
        self._day = self._next_day = b""
        self._has_more_fields = is_sparse = False
        before = self._sightings + self._broken
        first = last = b""
        with open(path, "rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            try:
                for piece in logfile.pieces(logfile.open_any(raw)):
                    first = first or piece[:_EDGE]
                    last = piece
                    is_sparse = self._piece(piece, is_sparse)
                    if size:
                        self._progress(raw.tell(), size)
            finally:
                self._settle()
        lines = first.split(b"\n")
        self._span(lines)
        self._span(last[-_EDGE:].split(b"\n")[::-1])
        if self._sightings + self._broken == before and any(map(is_common, lines[:20])):
            self._anonymous += (path,)

    def _span(self, lines: List[bytes]) -> None:
        """Widen the time that the logs cover by the first of these lines that has one."""
        for line in lines:
            time = self._parser.time(line)
            if time is not None:
                self._begins = min(self._begins or time, time)
                self._ends = max(self._ends, time)
                return

    def _piece(self, piece: bytes, is_sparse: bool) -> bool:
        """Read whole lines; returns whether most of them are of other clients."""
        lines = logfile.marked(piece) if is_sparse else piece.split(b"\n")
        whole: Dict[bytes, bytes] = {}
        if lines:
            start = self._parser.start(lines[0])
            self._turn(lines[0][start + 2:] if start >= 0 else b"")
        if self._has_more_fields:
            short = [logfile.cut(line) if len(line) <= MAX_LINE else line for line in lines]
            whole = dict(zip(short, lines))
            lines = short
        known = self._kinds.get
        limit = self._next_day
        missed = others = 0
        for line in lines:
            head, _, rest = line.partition(b" [")
            kind = known(rest[_TAIL:])
            if kind is not None and kind.newest <= rest < limit and kind.head == head:
                kind.newest = rest
                continue
            missed += 1
            if MARK in line:
                self._line(whole.get(line, line))
                limit = self._next_day
            else:
                others += 1
        self._sightings += len(lines) - missed
        if is_sparse:
            return 2 * sum(map(len, lines)) < len(piece)
        return 2 * others > len(lines)

    def _line(self, line: bytes) -> None:
        if len(line) > MAX_LINE:
            self._overlong += 1
            return
        try:
            found = self._parser.parse(line)
        except LineError:
            self._broken += 1
            return
        if found is None or not found.answered:
            return
        self._sightings += 1
        seen = self.hosts.get(found.fqdn)
        # A line that is noted need not be taken in now, unless it is the first of its host.
        if (seen is None or found.time < seen.first) and not self._add(found, found.time):
            return
        if not self._learn(line, found):
            self._add(found, found.time)

    def _learn(self, line: bytes, found: Line) -> bool:
        """Let lines that differ from this one in nothing but their time be noted unread.

        Returns whether this one is noted, too.
        """
        self._has_more_fields = self._has_more_fields or found.end != len(line)
        head, _, rest = line[:found.end].partition(b" [")
        if len(head) != found.start:
            # There is another bracket in the name of the user.
            return False
        if not self._day <= rest < self._next_day:
            # Back only at the start of a piece: around midnight lines may be mixed.
            if self._midnight_of(rest) < self._midnight:
                return False
            self._turn(rest)
        kind = self._kinds.get(rest[_TAIL:])
        if kind is not None and kind.head == head:
            kind.newest = max(kind.newest, rest)
            return True
        if kind is not None:
            self._note(kind)
        elif len(self._kinds) >= self._max_kinds:
            return False
        self._kinds[rest[_TAIL:]] = _Kind(head, rest, found)
        return True

    def _midnight_of(self, rest: bytes) -> int:
        return self._parser.midnight(rest[:_DAY], b"+0000") or 0

    def _turn(self, rest: bytes) -> None:
        """Go to the day that stands at the front of a text."""
        midnight = self._midnight_of(rest)
        if not midnight or midnight == self._midnight:
            return
        day = rest[:_DAY] + b":"
        if midnight < self._midnight:
            self._settle()
        for tail, kind in list(self._kinds.items()):
            if kind.newest == self._day:
                # Not once in a whole day: make room for others.
                self._note(kind)
                del self._kinds[tail]
            else:
                kind.earlier, kind.newest = kind.newest, day
        self._day, self._next_day, self._midnight = day, rest[:_DAY] + b";", midnight

    def _settle(self) -> None:
        """Read the lines that were noted, and forget their kinds."""
        for kind in self._kinds.values():
            self._note(kind)
        self._kinds.clear()

    def _note(self, kind: _Kind) -> None:
        """Read the newest line of a kind; raises _DamagedClock."""
        rest = kind.earlier if kind.newest == self._day else kind.newest
        midnight = self._parser.midnight(rest[:_DAY], rest[_ZONE])
        clock = clock_s(rest[_DAY + 1:_TAIL])
        if midnight is None or clock is None:
            raise _DamagedClock
        self._add(kind.found, midnight + clock)

    def _add(self, found: Line, time: int) -> bool:
        """Take a line in as if it were of that time, in any order; False: host not kept."""
        name, source, agent = found.fqdn, found.source, found.agent
        old = self.hosts.get(name)
        if old is None:
            if name not in self._listed:
                if self._known_strangers >= MAX_STRANGERS:
                    self._strangers += 1
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
