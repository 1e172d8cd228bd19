# SPDX-License-Identifier: BSD-2-Clause
"""One line of an access log -> when, from where and with which words a client asked.

Knows the combined and vhost_combined formats as nginx, Apache, lighttpd and
OpenBSD's httpd write them, with any further fields behind. The common format has
no user agent. A line of ours that cannot be read is a LineError: it is damaged
or somebody's attempt to forge one. Quotes inside a field are escaped by all of
these servers, so what a client sends cannot end its field.
"""

import re
from typing import Any
from typing import Dict
from typing import MutableMapping
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import useragent
from qualvosec.manifest.window import EPOCH_ORDINAL
from qualvosec.manifest.window import civil
from qualvosec.manifest.window import ordinal
from qualvosec.useragent import Sighting
from qualvosec.useragent import Token

MARK = b"QualvoSec "
DAY_S = 86400
_CACHE = 8192
_MONTHS = {name: number for number, name in enumerate(
    (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun",
     b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1)}
# A leap second is written as 60.
_CLOCK = re.compile(rb"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)")
_DAY = re.compile(rb"\d\d/[A-Z][a-z][a-z]/\d{4}")
_STAMP = re.compile(rb" \[(" + _DAY.pattern + rb"):(" + _CLOCK.pattern
                    + rb") ([+-]\d{4})\] (?=\")")
_QUOTED = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
# Request, status, bytes, referer, user agent; what follows is not looked at.
_LINE = re.compile(_STAMP.pattern + _QUOTED + rb" (\d{3}) (?:\d+|-) " + _QUOTED + rb" (" + _QUOTED
                   + rb")")
_COMMON = re.compile(_QUOTED + rb" \d{3} (?:\d+|-)\s*$")
_SOURCE = re.compile(r"[0-9A-Za-z.:_%-]{1,100}")


class LineError(ValueError):
    """A line claims to be of a client and cannot be read."""


class Line(NamedTuple):
    """One request of a client; start and end are offsets in the line."""

    time: int           # epoch seconds
    source: str
    fqdn: str           # that the agent names
    agent: bytes        # a user agent that useragent.read() accepts
    answered: bool      # with a manifest, or with "you have it already"
    start: int          # of the time: the blank before its bracket
    end: int            # of the user agent, its quote included


def is_common(line: bytes) -> bool:
    """Say whether a line is of the common format, which tells no user agent."""
    return _COMMON.search(line) is not None


def clock_s(text: bytes) -> Optional[int]:
    """Return the seconds of a day that "hh:mm:ss" names, None if it is none."""
    return _seconds(text) if _CLOCK.fullmatch(text) else None


def _seconds(clock: bytes) -> int:
    return int(clock[:2]) * 3600 + int(clock[3:5]) * 60 + int(clock[6:])


def _day_number(day: bytes) -> int:
    """Return the ordinal of "23/Nov/2026", 0 if there is no such day."""
    if not _DAY.fullmatch(day):
        return 0
    date = int(day[7:]), _MONTHS.get(day[3:6], 0), int(day[:2])
    number = ordinal(*date) if date[0] and date[1] else 0
    return number if number > 0 and civil(number) == date else 0


def east_s(zone: bytes) -> int:
    """Return how many seconds a zone such as "+0100" is east of Greenwich."""
    east = int(zone[1:3]) * 3600 + int(zone[3:5]) * 60
    return -east if zone[:1] == b"-" else east


class Parser:
    """Reads lines; remembers days, zones and user agents, which are the same in most."""

    def __init__(self) -> None:
        self._names: Dict[bytes, str] = {}
        self._sources: Dict[bytes, str] = {}
        self._versions: Dict[str, str] = {}
        self._tokens: Dict[Optional[Token], Optional[Token]] = {}
        self._midnights: Dict[Tuple[bytes, bytes], Optional[int]] = {}

    def parse(self, line: bytes) -> Optional[Line]:
        """Return the request, None if the words are not in the user agent; raises LineError."""
        # No client can put an unescaped quote, which the pattern needs, before the time.
        found = _LINE.search(line)
        if found is None:
            raise LineError("no line of a known format")
        day, clock, zone, status, agent = found.groups()
        midnight = self.midnight(day, zone)
        if midnight is None:
            raise LineError("no such day")
        if not agent.startswith(MARK, 1):
            # They stand in what another client sent: its address or referer.
            return None
        start, end = found.span()
        fqdn = self._name(agent)
        source = self._source(line[:start])
        if not fqdn or not source:
            raise LineError("no user agent of a client, or no address")
        return Line(midnight + _seconds(clock), source, fqdn, agent,
                    status[:1] == b"2" or status == b"304", start, end)

    def time(self, line: bytes) -> Optional[int]:
        """Return a line's time in epoch seconds, None if it has none."""
        stamp = _STAMP.search(line)
        midnight = self.midnight(stamp.group(1), stamp.group(3)) if stamp else None
        return None if stamp is None or midnight is None else midnight + _seconds(stamp.group(2))

    def start(self, line: bytes) -> int:
        """Return the offset of the blank before a line's time, -1 if it has none."""
        stamp = _STAMP.search(line)
        return stamp.start() if stamp else -1

    def midnight(self, day: bytes, zone: bytes) -> Optional[int]:
        """Return when "23/Nov/2026" began in "+0100", in epoch seconds; None: no such day."""
        key = day, zone
        try:
            return self._midnights[key]
        except KeyError:
            _make_room(self._midnights)
            number = _day_number(day)
            self._midnights[key] = ((number - EPOCH_ORDINAL) * DAY_S - east_s(zone) if number
                                    else None)
        return self._midnights[key]

    def _source(self, head: bytes) -> str:
        source = self._sources.get(head)
        if source is None:
            _make_room(self._sources)
            source = self._sources[head] = read_source(head)
        return source

    def _name(self, agent: bytes) -> str:
        fqdn = self._names.get(agent)
        if fqdn is None:
            _make_room(self._names)
            fqdn = self._names[agent] = useragent.name(agent[1:-1].decode("latin-1"))
        return fqdn

    def sighting(self, fqdn: str, agent: bytes) -> Sighting:
        """Return what an accepted user agent says."""
        found = useragent.read(agent[1:-1].decode("latin-1"))
        if found is None:
            raise LineError("no user agent of a client")
        # Most hosts of a fleet say one of a few things: one copy of each will do.
        _make_room(self._tokens)
        token = self._tokens.setdefault(found.token, found.token)
        return Sighting(self._versions.setdefault(found.version, found.version), fqdn, token)


def _make_room(cache: MutableMapping[Any, Any]) -> None:
    """Begin anew with a cache that is full."""
    if len(cache) >= _CACHE:
        cache.clear()


def read_source(head: bytes) -> str:
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
