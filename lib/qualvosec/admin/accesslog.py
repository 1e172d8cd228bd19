# SPDX-License-Identifier: BSD-2-Clause
"""The web server's access log -> who asked for the manifest last, and what it said.

Reads the combined and vhost_combined formats as nginx, Apache, lighttpd and
OpenBSD's httpd write them, with further fields behind; plain or compressed
(.gz, .xz, .bz2), any number of files in any order: the newest time wins, not
the last line. The common format has no user agent: such a file only shows that
nobody can be recognised in it. Only answers 2xx and 304 are sightings. Lines of
other clients cost one search; a line longer than 8 KiB is skipped. Memory is
bounded by the number of hosts, and that by the manifest plus MAX_STRANGERS.
"""

import bz2
import datetime
import glob
import gzip
import lzma
import os
import re
import zlib
from typing import BinaryIO
from typing import Container
from typing import Dict
from typing import Iterator
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Sequence
from typing import Tuple
from typing import cast

from qualvosec import useragent
from qualvosec.useragent import Sighting

MAX_LINE = 8192
MAX_STRANGERS = 100000
DAY_S = 86400
_PIECE = 262144
_EDGE = 65536
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_MARK = b"QualvoSec "
_MONTHS = {name: number for number, name in enumerate(
    (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun",
     b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1)}

_TIME = rb" \[(\d\d)/([A-Z][a-z][a-z])/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\] "
_QUOTED = rb'"([^"\\]*(?:\\.[^"\\]*)*)"'
_STAMP = re.compile(_TIME + rb'"')
# Request, status, bytes, referer, user agent; what follows is not looked at.
_REST = re.compile(_QUOTED + rb" (\d{3}) (?:\d+|-) " + _QUOTED + rb" " + _QUOTED)
_COMMON = re.compile(_QUOTED + rb" \d{3} (?:\d+|-)\s*$")
_SOURCE = re.compile(r"[0-9A-Za-z.:_%-]{1,100}")
_OPENERS = ((b"\x1f\x8b", gzip.open), (b"\xfd7zXZ\x00", lzma.open), (b"BZh", bz2.open))


class LogError(Exception):
    """An access log cannot be read; one line: path, what is wrong, what to do."""


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


def expand(patterns: Sequence[str]) -> List[str]:
    """Return the files that paths and globs name, each once; raises LogError."""
    found: Dict[Tuple[int, int], str] = {}
    for pattern in patterns:
        paths = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern))
        if not paths:
            raise LogError("%s: no such file: see log_file_path" % pattern)
        for path in paths:
            if os.path.isdir(path):
                raise LogError("%s: is a directory: name files, %s"
                               % (path, os.path.join(path, "access.log*")))
            info = os.stat(path)
            found.setdefault((info.st_dev, info.st_ino), path)
    return list(found.values())


def read(paths: Sequence[str], listed: Container[str] = ()) -> Log:
    """Read log files; `listed` are the manifest's hosts, which are always kept.

    A file that cannot be read is a fault in the result: what the others say is still true.
    """
    reading = _Reading(listed)
    for path in paths:
        try:
            with _open(path) as file:
                reading.file(path, file)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "damaged"
            reading.faults.append("%s: %s" % (path, reason[:1].lower() + reason[1:]))
    return reading.result()


def _open(path: str) -> BinaryIO:
    """Open a log; what it is compressed with is told by its first bytes, not by its name."""
    file = open(path, "rb")     # noqa: SIM115 (the caller closes it)
    start = file.peek(8)[:8]
    for magic, opener in _OPENERS:
        if start.startswith(magic):
            file.close()
            return cast(BinaryIO, opener(path, "rb"))
    return file


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield whole lines in pieces. A line without end stays too long, but not in memory."""
    rest = b""
    while True:
        data = file.read(_PIECE)
        if not data:
            break
        end = data.rfind(b"\n") + 1
        if end:
            yield rest + data[:end]
            rest = data[end:]
            continue
        rest += data
        if len(rest) > _PIECE:
            rest = (_MARK if _MARK in rest else b"") + rest[-MAX_LINE - len(_MARK):]
    if rest:
        yield rest


class _Reading:
    """What has been read so far."""

    def __init__(self, listed: Container[str]) -> None:
        self.faults: List[str] = []
        self._listed = listed
        self._hosts: Dict[str, Seen] = {}
        self._anonymous: List[str] = []
        self._begins = self._ends = 0
        self._sightings = self._broken = self._overlong = 0
        self._known_strangers = self._strangers = 0
        self._agents: Dict[bytes, Optional[Sighting]] = {}
        self._midnights: Dict[Tuple[bytes, bytes, bytes], int] = {}

    def result(self) -> Log:
        """Return everything as a value."""
        return Log(self._hosts, self._begins, self._ends, self._sightings, self._broken,
                   self._overlong, self._strangers, tuple(self._anonymous), tuple(self.faults))

    def file(self, path: str, file: BinaryIO) -> None:
        """Read one open file; raises what reading raises."""
        before = self._sightings + self._broken
        first = last = b""
        for piece in _pieces(file):
            first = first or piece[:_EDGE]
            last = piece[-_EDGE:]
            self._piece(piece)
        lines = first.split(b"\n")
        self._span(lines)
        self._span(last.split(b"\n")[::-1])
        if self._sightings + self._broken == before and any(map(_COMMON.search, lines[:20])):
            self._anonymous.append(path)

    def _span(self, lines: List[bytes]) -> None:
        """Widen the time that the logs cover by the first of these lines that has one."""
        for line in lines:
            stamp = _STAMP.search(line)
            time = self._time(stamp) if stamp else None
            if time is not None:
                self._begins = min(self._begins or time, time)
                self._ends = max(self._ends, time)
                return

    def _piece(self, piece: bytes) -> None:
        place = piece.find(_MARK)
        while place >= 0:
            begin = piece.rfind(b"\n", 0, place) + 1
            end = piece.find(b"\n", place)
            end = len(piece) if end < 0 else end
            if end - begin > MAX_LINE:
                self._overlong += 1
            else:
                self._line(piece[begin:end])
            place = piece.find(_MARK, end)

    def _line(self, line: bytes) -> None:
        stamp = _STAMP.search(line)
        rest = _REST.match(line, stamp.end() - 1) if stamp else None
        time = self._time(stamp) if stamp else None
        if stamp is None or rest is None or time is None:
            self._broken += 1
            return
        request, status, referer, agent = rest.groups()
        if not agent.startswith(_MARK):
            # The words stand in what another client sent: its address or referer.
            return
        sighting = self._sighting(agent)
        source = _source(line[:stamp.start()])
        if sighting is None or not source:
            self._broken += 1
        elif status[:1] == b"2" or status == b"304":
            self._sightings += 1
            self._add(time, source, sighting)

    def _sighting(self, agent: bytes) -> Optional[Sighting]:
        try:
            return self._agents[agent]
        except KeyError:
            found = useragent.read(agent.decode("latin-1"))
        if len(self._agents) >= 4096:
            self._agents.clear()
        self._agents[agent] = found
        return found

    def _add(self, time: int, source: str, sighting: Sighting) -> None:
        name = sighting.fqdn
        old = self._hosts.get(name)
        if old is None:
            if name not in self._listed:
                if self._known_strangers >= MAX_STRANGERS:
                    self._strangers += 1
                    return
                self._known_strangers += 1
            self._hosts[name] = Seen(time, time, source, sighting, ())
        elif time >= old.time:
            nearby = old.nearby
            if source != old.source:
                nearby = _keep(nearby, old.source, old.time, source)
            self._hosts[name] = Seen(time, old.first, source, sighting, nearby)
        else:
            nearby = old.nearby
            if source != old.source:
                nearby = _keep(nearby, source, time, old.source)
            self._hosts[name] = old._replace(first=min(old.first, time), nearby=nearby)

    def _time(self, stamp: "re.Match[bytes]") -> Optional[int]:
        day, month, year, hour, minute, second, sign, east_h, east_m = stamp.groups()
        try:
            midnight = self._midnights[day, month, year]
        except KeyError:
            try:
                date = datetime.date(int(year), _MONTHS[month], int(day))
            except (KeyError, ValueError):
                return None
            if len(self._midnights) >= 4096:
                self._midnights.clear()
            midnight = (date.toordinal() - _EPOCH) * DAY_S
            self._midnights[day, month, year] = midnight
        offset = int(east_h) * 3600 + int(east_m) * 60
        local = midnight + int(hour) * 3600 + int(minute) * 60 + int(second)
        time = local + offset if sign == b"-" else local - offset
        return time if time > 0 else None


def _keep(nearby: Tuple[Tuple[str, int], ...], source: str, time: int,
          newest: str) -> Tuple[Tuple[str, int], ...]:
    """Note the newest time of another source; the three newest are kept."""
    times = dict(nearby)
    times.pop(newest, None)
    times[source] = max(time, times.get(source, 0))
    return tuple(sorted(times.items(), key=lambda item: -item[1])[:3])


def _source(head: bytes) -> str:
    """Return the client's address of what stands before the time, "" if there is none.

    Three words: address, identity, user. Four: the virtual host before them. lighttpd
    writes the virtual host as the second of three words, which changes nothing here.
    """
    words = head.decode("latin-1").split(" ")
    if len(words) < 3:
        return ""
    # A user name may hold blanks: four words alone do not make a virtual host.
    has_host = len(words) > 3 and not _is_address(words[0]) and (
        _is_address(words[1]) or words[0].count(":") == 1)
    source = words[1] if has_host else words[0]
    return source if _SOURCE.fullmatch(source) else ""


def _is_address(word: str) -> bool:
    if ":" in word:
        return word.count(":") > 1 and not word.startswith("[")
    return word.replace(".", "").isdigit()
