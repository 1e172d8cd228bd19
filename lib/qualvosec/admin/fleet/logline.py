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
from typing import TypeVar

from qualvosec import useragent
from qualvosec.manifest.window import EPOCH_ORDINAL
from qualvosec.manifest.window import civil
from qualvosec.manifest.window import ordinal
from qualvosec.useragent import Sighting
from qualvosec.useragent import Token

MARK = b"QualvoSec "
DAY_S = 86400
_CACHE = 8192
# Clients write no longer ones; who fills every line anew with 8 KiB shall not fill the memory.
MAX_REMEMBERED = 1024
_MONTHS = {name: number for number, name in enumerate(
    (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun",
     b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1)}
# A leap second is written as 60.
_CLOCK = re.compile(rb"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)")
_DAY = re.compile(rb"\d\d/[A-Z][a-z][a-z]/\d{4}")
_TIME = _DAY.pattern + rb":" + _CLOCK.pattern + rb" [+-]\d{4}\]"
_STAMP = re.compile(rb" \[(" + _TIME + rb") (?=\")")
_TIMES = re.compile(_TIME + rb"\n?")
_QUOTED = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
# Behind the time: request, status, bytes, referer; then the user agent.
_FRONT = re.compile(rb" " + _QUOTED + rb" (\d{3}) (?:\d+|-) " + _QUOTED)
_TAIL = re.compile(rb"(" + _FRONT.pattern + rb") (" + _QUOTED + rb")")
_COMMON = re.compile(_QUOTED + rb" \d{3} (?:\d+|-)\s*$")
_AGENT = b' "' + MARK
T = TypeVar("T")
_SOURCE = re.compile(r"[0-9A-Za-z.:_%-]{1,100}")


class LineError(ValueError):
    """A line claims to be of a client and cannot be read."""


class Hit(NamedTuple):
    """What a client's line says besides its time."""

    fqdn: str           # that the agent names
    source: str
    agent: bytes        # a user agent that useragent.read() accepts, in its quotes
    answered: bool      # with a manifest, or with "you have it already"
    end: int            # of the user agent in the tail


def split(line: bytes) -> Optional[Tuple[bytes, bytes, bytes]]:
    """Cut a line around its time: head, time with its closing bracket, tail; None: no time."""
    # No client can put an unescaped quote, which the pattern needs, before the time.
    stamp = _STAMP.search(line)
    if stamp is None:
        return None
    begin, end = stamp.span(1)
    return line[:begin - 1], line[begin:end], line[end:]


def is_common(line: bytes) -> bool:
    """Say whether a line is of the common format, which tells no user agent."""
    return _COMMON.search(line) is not None


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


class LineParser:
    """Reads lines; remembers days, zones and user agents, which are the same in most."""

    def __init__(self) -> None:
        self._names: Dict[bytes, str] = {}
        self._sources: Dict[bytes, str] = {}
        self._fronts: Dict[bytes, bool] = {}
        self._versions: Dict[str, str] = {}
        self._tokens: Dict[Optional[Token], Optional[Token]] = {}
        self._midnights: Dict[Tuple[bytes, bytes], Optional[int]] = {}

    def request(self, head: bytes, tail: bytes) -> Optional[Hit]:
        """Return what stands before and behind a time; raises LineError.

        None: our client's words are not in the user agent but in what another client sent.
        """
        begin = tail.rfind(_AGENT) + 1
        end = tail.find(b'"', begin + 1) + 1
        agent = tail[begin:end]
        answered = self._fronts.get(tail[:begin - 1]) if begin else None
        if answered is None or not end or b"\\" in agent:
            found = _TAIL.match(tail)
            if found is None:
                raise LineError("no line of a known format")
            front, status, agent = found.groups()
            if not agent.startswith(MARK, 1):
                return None
            answered, end = status[:1] == b"2" or status == b"304", found.end()
            _remember(self._fronts, front, answered)
        fqdn = self._name(agent)
        source = self._source(head)
        if not fqdn or not source:
            raise LineError("no user agent of a client, or no address")
        return Hit(fqdn, source, agent, answered, end)

    def time(self, line: bytes) -> Optional[int]:
        """Return a line's time in epoch seconds, None if it has none."""
        stamp = _STAMP.search(line)
        return self.instant(stamp.group(1)) if stamp else None

    def instant(self, stamp: bytes) -> Optional[int]:
        """Return "23/Nov/2026:05:00:00 +0100]" in epoch seconds, None: there is no such time."""
        return self.moment(stamp) if _TIMES.fullmatch(stamp) else None

    def moment(self, stamp: bytes) -> Optional[int]:
        """As instant() of what has its form."""
        midnight = self.midnight(stamp[:11], stamp[21:26])
        return None if midnight is None else midnight + _seconds(stamp[12:20])

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
            # The blank before the bracket is not of the head.
            source = read_source(head[:-1]) if head[-1:] == b" " else ""
            _remember(self._sources, head, source)
        return source

    def _name(self, agent: bytes) -> str:
        fqdn = self._names.get(agent)
        if fqdn is None:
            fqdn = useragent.name(agent[1:-1].decode("latin-1"))
            _remember(self._names, agent, fqdn)
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


def _remember(cache: Dict[bytes, T], key: bytes, value: T) -> None:
    """Keep what was found, if its key is not too long."""
    if len(key) <= MAX_REMEMBERED:
        _make_room(cache)
        cache[key] = value


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
    # A user name may hold blanks: four words alone do not make a virtual host. Of two addresses
    # the first is one that is called by its address, but for lighttpd's, which tells no identity.
    has_host = len(words) > 3 and (
        _is_address(words[1]) and (not _is_address(words[0]) or words[2] == "-")
        or words[0].count(":") == 1)
    source = words[1] if has_host else words[0]
    return source if _SOURCE.fullmatch(source) else ""


def _is_address(word: str) -> bool:
    if ":" in word:
        return word.count(":") > 1 and not word.startswith("[")
    return word.replace(".", "").isdigit()
