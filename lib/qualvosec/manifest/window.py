# SPDX-License-Identifier: BSD-2-Clause
"""When a policy lets its host be patched: windows, as instants of UTC.

A window belongs to the local day on which it opens and is named by the UTC
instant of its opening. A local time that a clock change skips opens at the
first instant after the gap, one that occurs twice opens the first time only,
and two windows with one opening instant are one. Freeze and week are judged by
the nominal local day. Everything but host_zone() and set_zone() is pure: a zone
is a function from UTC seconds to the offset east of Greenwich in seconds. The
calendar is computed here because the datetime module would cost the resident
process more memory than this whole file.
"""

import os
import time
from typing import Callable
from typing import Iterator
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import files
from qualvosec.contract.names import WINDOW
from qualvosec.manifest.policy import Policy

Zone = Callable[[int], int]

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86400
EPOCH_ORDINAL = 719163   # 1970-01-01
# The fifth Friday of a month that a freeze spares can be years away; what is
# further away than this is not a plan.
HORIZON_DAYS = 4000
ZONE_DIRS = ("/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo",
             "/etc/zoneinfo")
MAX_ZONE_BYTES = 1 << 18
MAX_ZONE_NAME = 255


class WindowError(ValueError):
    """A window id or a time zone cannot be used; one line."""


class Opening(NamedTuple):
    """One window of one host; instants are seconds since the epoch."""

    id: str         # 20261124T0215Z
    opens: int
    start: int      # opens + this host's share of the splay
    closes: int     # nothing disruptive starts at or after this instant
    date: int       # proleptic ordinal of the nominal local day


def ordinal(year: int, month: int, day: int) -> int:
    """Return the proleptic Gregorian ordinal; 0001-01-01 is 1, as in date.toordinal()."""
    if month <= 2:
        year -= 1
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return (era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100
            + day_of_year - 305)


def civil(day: int) -> Tuple[int, int, int]:
    """Return (year, month, day) of an ordinal: the inverse of ordinal()."""
    era, day_of_era = divmod(day + 305, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524
                   - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = (shifted + 2) % 12 + 1
    year = era * 400 + year_of_era + (1 if month <= 2 else 0)
    return year, month, day_of_year - (153 * shifted + 2) // 5 + 1


def window_id(opens: int) -> str:
    """Return the name of the window that opens at this instant."""
    days, seconds = divmod(opens, DAY_S)
    return "%04d%02d%02dT%02d%02dZ" % (civil(days + EPOCH_ORDINAL)
                                       + (seconds // HOUR_S, seconds % HOUR_S // MINUTE_S))


def opens_of(name: str) -> int:
    """Return the instant that a window id names; raises WindowError."""
    if not WINDOW.fullmatch(name):
        raise WindowError("window %.40r: is not of the form 20261124T0215Z" % name)
    day = ordinal(int(name[:4]), int(name[4:6]), int(name[6:8]))
    opens = ((day - EPOCH_ORDINAL) * DAY_S + int(name[9:11]) * HOUR_S
             + int(name[11:13]) * MINUTE_S)
    if int(name[:4]) < 1 or window_id(opens) != name:
        raise WindowError("window %s: there is no such instant" % name)
    return opens


def host_zone(instant: int) -> int:
    """Return the offset of the process's time zone; see reread_zone() for rules that change."""
    return time.localtime(instant).tm_gmtoff


def zone_file(name: str) -> str:
    """Return the path of the zone file with this name (or absolute path); raises WindowError.

    The C library takes an unknown TZ for UTC without a word, so the file is
    looked at before the name is used.
    """
    if not name or len(name) > MAX_ZONE_NAME or ".." in name or not all(
            "!" <= character <= "~" and character not in ":,<>" for character in name):
        raise WindowError("timezone %.40r: is not the name of a time zone" % name)
    places = [name] if name.startswith("/") else [os.path.join(folder, name)
                                                  for folder in ZONE_DIRS]
    for place in places:
        if not os.path.isfile(place):
            continue
        path = os.path.realpath(place)
        try:
            data = files.read_bounded(path, MAX_ZONE_BYTES)
        except files.FileError as error:
            raise WindowError("timezone %s: %s" % (name, error)) from None
        if data[:4] == b"TZif":
            return path
        raise WindowError("timezone %s: %s is not a time zone file" % (name, path))
    raise WindowError("timezone %s: there is no such time zone on this host; use a name such as "
                      "Europe/Berlin, and install the time zone data" % name)


def set_zone(name: str) -> None:
    """Make host_zone() answer for the named zone; raises WindowError and changes nothing then."""
    os.environ["TZ"] = ":" + zone_file(name)
    time.tzset()


def reread_zone() -> None:
    """Let host_zone() follow a zone file that has changed.

    The C library looks at it again only when TZ changes; some also where TZ is not set.
    A file that is gone keeps its rules: the C library would take it for UTC.
    """
    name = os.environ.get("TZ")
    if name is not None and name.startswith(":/"):
        try:
            zone_file(name[1:])
        except WindowError:
            return
    os.environ["TZ"] = "UTC0"
    time.tzset()
    if name is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = name
    time.tzset()


def instant_of(local: int, zone: Zone) -> int:
    """Return the instant at which clocks show `local` (seconds of local time) first.

    When they never show it, the first instant after the gap.
    """
    before, after = zone(local - DAY_S), zone(local + DAY_S)
    candidates = sorted((local - before, local - after))
    for candidate in candidates:
        if candidate + zone(candidate) == local:
            return candidate
    low, high = candidates
    while high - low > 1:
        middle = (low + high) // 2
        if middle + zone(middle) > local:
            high = middle
        else:
            low = middle
    return high


def local_day(instant: int, zone: Zone) -> int:
    """Return the ordinal of the local day of an instant."""
    return (instant + zone(instant)) // DAY_S + EPOCH_ORDINAL


def is_frozen(policy: Policy, day: int) -> bool:
    """Say whether the policy freezes this day (an ordinal)."""
    return any(first <= day <= last for first, last in policy.freeze)


def frozen(policy: Policy, now: int, zone: Zone = host_zone) -> bool:
    """Say whether the local day of `now` is frozen."""
    return is_frozen(policy, local_day(now, zone))


def _in_weeks(policy: Policy, day: int) -> bool:
    if not policy.weeks:
        return True
    _, month, day_of_month = civil(day)
    if (day_of_month - 1) // 7 + 1 in policy.weeks:
        return True
    return -1 in policy.weeks and civil(day + 7)[1] != month


def share(fqdn: str, name: str, total: int) -> int:
    """Return a number below `total` that is spread evenly and the same on every host (FNV-1a)."""
    value = 0x811C9DC5
    for byte in ("%s %s" % (fqdn.lower().rstrip("."), name)).encode("utf-8", "replace"):
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    # The lowest bits of FNV mix badly: fold the upper ones in, reduce by a prime.
    return (value ^ value >> 15) * 0x2C1B3C6D % 0xFFFFFFFB % total


def _opening(policy: Policy, day: int, opens: int, fqdn: str) -> Opening:
    name = window_id(opens)
    splay = policy.splay * MINUTE_S
    return Opening(id=name, opens=opens, start=opens + (share(fqdn, name, splay) if splay else 0),
                   closes=opens + policy.duration * MINUTE_S, date=day)


def _between(policy: Policy, first: int, last: int, fqdn: str, zone: Zone) -> Iterator[Opening]:
    """Yield the windows of the nominal days `first` to `last`, in order."""
    time_of_day = policy.hour * HOUR_S + policy.minute * MINUTE_S
    previous = None
    for day in range(first, last + 1):
        # 0001-01-01, ordinal 1, was a Monday.
        if ((day - 1) % 7 not in policy.weekdays or is_frozen(policy, day)
                or not _in_weeks(policy, day)):
            continue
        opens = instant_of((day - EPOCH_ORDINAL) * DAY_S + time_of_day, zone)
        if opens != previous:
            yield _opening(policy, day, opens, fqdn)
        previous = opens


def openings(policy: Policy, after: int, count: int, fqdn: str,
             zone: Zone = host_zone) -> List[Opening]:
    """Return up to `count` windows that open later than `after`, in order."""
    today = local_day(after, zone)
    result: List[Opening] = []
    # A day before today may open now: a gap can be a whole day long.
    for opening in _between(policy, today - 2, today + HORIZON_DAYS, fqdn, zone):
        if len(result) >= count:
            break
        if opening.opens > after:
            result.append(opening)
    return result


def latest(policy: Policy, now: int, fqdn: str, zone: Zone = host_zone) -> Optional[Opening]:
    """Return the newest window that opened at or before `now`, if there is one."""
    today = local_day(now, zone)
    for days in (9, 70, HORIZON_DAYS):
        found = None
        for opening in _between(policy, today - days, today + 2, fqdn, zone):
            if opening.opens <= now:
                found = opening
        if found is not None:
            return found
    return None
