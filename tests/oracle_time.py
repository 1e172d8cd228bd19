# SPDX-License-Identifier: BSD-2-Clause
"""A second opinion on windows, by brute force: what the clock on the wall shows each minute.

Nothing here comes from window.py. A year of a zone is one table, made by asking
the C library for every minute of it; a window is then looked up by scanning
calendar days with the datetime module. Zone files travel with the tests, because
minimal systems have none.
"""

import array
import datetime
import os
import random
import time
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec.manifest import window
from qualvosec.manifest.policy import Policy

from tests import DATA

ZONES = sorted(os.listdir(os.path.join(DATA, "zones")))
DAY_MINUTES = 1440
YEARS = tuple(range(2010, 2038))


class Zone:
    """TZ of this process for the length of a `with` block."""

    def __init__(self, name: str) -> None:
        self.path = os.path.join(DATA, "zones", name)
        self.before: Optional[str] = None

    def __enter__(self) -> None:
        self.before = os.environ.get("TZ")
        window.set_zone(self.path)

    def __exit__(self, *unused: object) -> None:
        if self.before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = self.before
        time.tzset()


class Year(NamedTuple):
    """`first[m - base]`: the minute (UTC) at which clocks first show local minute m or later."""

    year: int
    base: int
    first: "array.array[int]"
    days: Dict[int, int]        # UTC minute divided by 30 -> ordinal of the local day


def table(year: int) -> Year:
    """Ask the C library what every minute of the year shows; TZ is already set."""
    begin = int(datetime.datetime(year, 1, 1, tzinfo=datetime.timezone.utc).timestamp()) // 60
    end = int(datetime.datetime(year + 1, 1, 1, tzinfo=datetime.timezone.utc).timestamp()) // 60
    first = array.array("q")
    days: Dict[int, int] = {}
    start = begin - 4 * DAY_MINUTES
    shown_before = base = start + time.localtime(start * 60).tm_gmtoff // 60
    first.append(start)
    for minute in range(start + 1, end + 4 * DAY_MINUTES):
        clock = time.localtime(minute * 60)
        shown = minute + clock.tm_gmtoff // 60
        if shown > shown_before:
            first.extend([minute] * (shown - shown_before))
            shown_before = shown
        if minute % 30 == 0:
            days[minute // 30] = datetime.date(*clock[:3]).toordinal()
    return Year(year, base, first, days)


def qualifies(policy: Policy, day: datetime.date) -> bool:
    """Say whether the policy opens a window on this calendar day."""
    if day.weekday() not in policy.weekdays:
        return False
    number = day.toordinal()
    for low, high in policy.freeze:
        if number in range(low, high + 1):
            return False
    if not policy.weeks:
        return True
    same = [other for other in (day.replace(day=n) for n in range(1, last_day(day) + 1))
            if other.weekday() == day.weekday()]
    place = same.index(day) + 1
    return place in policy.weeks or (-1 in policy.weeks and place == len(same))


def last_day(day: datetime.date) -> int:
    """Return the number of days in the month of `day`."""
    for number in (31, 30, 29):
        try:
            return day.replace(day=number).day
        except ValueError:
            continue
    return 28


def expected(policy: Policy, year: Year) -> List[Tuple[int, int]]:
    """Return (opening in epoch seconds, nominal ordinal) of every window of the year."""
    found: Dict[int, int] = {}
    day = datetime.date(year.year, 1, 1) - datetime.timedelta(days=2)
    for _ in range(last_of(year.year) + 4):
        if qualifies(policy, day):
            local = ((day.toordinal() - datetime.date(1970, 1, 1).toordinal()) * DAY_MINUTES
                     + policy.hour * 60 + policy.minute)
            opens = year.first[local - year.base] * 60
            found.setdefault(opens, day.toordinal())
        day += datetime.timedelta(days=1)
    return sorted(found.items())


def last_of(year: int) -> int:
    """Return the number of days in a year."""
    return datetime.date(year, 12, 31).timetuple().tm_yday


def random_policy(rng: random.Random, year: int) -> Policy:
    """Return a policy whose windows are worth disagreeing about."""
    start = datetime.date(year, 1, 1).toordinal()
    freeze = tuple((first, first + rng.choice((0, 0, 3, 20))) for first in (
        start + rng.randrange(-5, 365) for _ in range(rng.choice((0, 0, 0, 1, 3)))))
    duration = rng.choice((1, 30, 60, 600, 1440))
    # Clocks change at night.
    hour = rng.choice((rng.randrange(24), rng.randrange(4)))
    return Policy(
        patch=True, weekdays=tuple(sorted(rng.sample(range(7), rng.choice((1, 1, 2, 3, 7))))),
        hour=hour, minute=rng.choice((0, 0, 15, 30, rng.randrange(60))), duration=duration,
        splay=rng.choice((0, 1, duration)),
        weeks=tuple(sorted(rng.sample((-1, 1, 2, 3, 4, 5), rng.choice((1, 2)))))
        if rng.random() < 0.3 else (), freeze=freeze)


def disagreement(policy: Policy, year: Year, rng: random.Random) -> str:
    """Compare window.py with the table; "" or what differs. TZ is already set."""
    name = "web%02d.example.org" % rng.randrange(30)
    want = expected(policy, year)
    low = int(datetime.datetime(year.year, 1, 1, tzinfo=datetime.timezone.utc).timestamp())
    high = low + last_of(year.year) * 86400
    listed = window.openings(policy, low - 1, 400, name)
    got = [(opening.opens, opening.date) for opening in listed if opening.opens < high]
    inside = [pair for pair in want if low <= pair[0] < high]
    if got != inside:
        return "openings: %s" % sorted(set(got) ^ set(inside))[:4]
    for opening in listed:
        if not (opening.opens <= opening.start <= opening.opens + policy.splay * 60
                and opening.start < opening.closes == opening.opens + policy.duration * 60
                and opening.id == time.strftime("%Y%m%dT%H%MZ", time.gmtime(opening.opens))
                and window.opens_of(opening.id) == opening.opens):
            return "opening: %s" % (opening,)
    for _ in range(4):
        now = rng.choice([low + rng.randrange(high - low)] + [
            rng.choice(inside)[0] + rng.choice((-1, 0, 1)) for _ in inside[:1]])
        newest = window.latest(policy, now, name)
        earlier = [pair for pair in want if pair[0] <= now]
        if earlier and (newest is None or (newest.opens, newest.date) != earlier[-1]):
            return "latest at %d: %s is not %s" % (now, newest, earlier[-1])
        if newest is not None and not earlier and newest.opens > now:
            return "latest at %d lies ahead: %s" % (now, newest)
        half = now // 1800
        frozen = any(first <= year.days[half] <= last for first, last in policy.freeze)
        if window.frozen(policy, half * 1800) != frozen:
            return "frozen at %d: not %s" % (half * 1800, frozen)
    return ""


def compare(seed: int, zone: str, years: Tuple[int, ...], policies: int) -> List[str]:
    """Try random policies in one zone; returns every disagreement with what repeats it."""
    rng = random.Random("%d %s" % (seed, zone))
    found = []
    with Zone(zone):
        tables = [table(year) for year in years]
        for number in range(policies):
            year = tables[number % len(tables)]
            policy = random_policy(rng, year.year)
            what = disagreement(policy, year, rng)
            if what:
                found.append("seed %d zone %s year %d: %s: %s" % (
                    seed, zone, year.year, policy, what))
    return found
