# SPDX-License-Identifier: BSD-2-Clause
"""One row of the overview -> everything that is known of the host, by name; pure.

The names are those of the columns of `list --format wide`, csv and json, and of what
--sort takes. What a host reports is its own claim. Levels sort statuses by what they ask
of a person: "bad" now, "warn" some day, "good" nothing.
"""

import fnmatch
import re
import time
from typing import Any
from typing import Callable
from typing import Dict
from typing import List
from typing import Mapping
from typing import NamedTuple
from typing import Optional
from typing import Sequence
from typing import Tuple

from qualvosec.admin.fleet import overview
from qualvosec.admin.fleet.overview import Row
from qualvosec.contract import words
from qualvosec.manifest import window
from qualvosec.manifest import wording
from qualvosec.manifest.policy import Policy
from qualvosec.manifest.window import Opening
from qualvosec.manifest.window import Zone

DAY_S = 86400
WEEK_S = 7 * DAY_S
BAD, WARN, GOOD = words.LEVELS
# What overview tells besides the outcomes; behind the last two stands a word of the host's.
_LEVELS = {"no run yet": GOOD, "unlisted": WARN, "invalid entry": BAD, "orphaned": BAD,
           "never seen": BAD, "unknown": WARN, "conflict": BAD, "overdue": BAD, "no report": WARN,
           "newer": WARN, "unhealthy": BAD}
STATUSES = tuple(words.OUTCOMES) + tuple(_LEVELS)
# What --sort takes and the other formats print, in this order.
COLUMNS = ("system", "status", "last_seen", "source", "version", "active", "patch_window",
           "next_window", "reboot", "last_window", "outcome", "upgraded", "kept", "pending",
           "reboot_state", "last_success", "success_days", "health", "groups", "others")
_NUMBERS = ("upgraded", "kept", "pending")
_NEWEST_FIRST = ("last_seen", "last_success", "success_days") + _NUMBERS


class Choice(NamedTuple):
    """Which rows are wanted; empty: all."""

    statuses: Tuple[str, ...] = ()
    groups: Tuple[str, ...] = ()
    patterns: Tuple[str, ...] = ()
    since: Optional[int] = None         # epoch seconds: seen at or after that


def level(status: str) -> str:
    """Return what a status asks of a person: BAD, WARN or GOOD."""
    told, _, reboot = status.partition(", reboot ")
    kind = told.partition(":")[0]
    own = _LEVELS.get(kind) or words.outcome(kind).level
    # A reboot that was asked for is named here only where the host has not come back from it.
    after = "" if not reboot else BAD if reboot == "requested" else words.reboot_level(reboot)
    return BAD if BAD in (own, after) else WARN if WARN in (own, after) else GOOD


def selected(rows: Sequence[Row], choice: Choice) -> List[Row]:
    """Return the rows that every given filter lets through."""
    return [row for row in rows if _is_wanted(row, choice)]


def _is_wanted(row: Row, choice: Choice) -> bool:
    if choice.statuses and not any(_has_status(row.status, wanted) for wanted in choice.statuses):
        return False
    if choice.groups and not set(choice.groups) & set(row.policy.groups if row.policy else ()):
        return False
    if choice.patterns and not any(fnmatch.fnmatchcase(row.name, pattern)
                                   for pattern in choice.patterns):
        return False
    return choice.since is None or row.seen is not None and row.seen.time >= choice.since


def _has_status(status: str, wanted: str) -> bool:
    """Say whether a status is meant by a word: its level, itself, or how it begins."""
    return (wanted == level(status) or status == wanted
            or status.startswith((wanted + ",", wanted + ":")))


def is_status(word: str) -> bool:
    """Say whether a host can have a status that this word means."""
    return word in (BAD, WARN, GOOD) or re.split("[,:]", word)[0] in STATUSES


class Weeks:
    """The windows of policies in the seven days from now; equal policies are reckoned once."""

    def __init__(self, now: int, zone: Zone = window.host_zone) -> None:
        self.now = now
        self.zone = zone
        self._week: Dict[Tuple[Policy, Optional[int]], List[Opening]] = {}
        self._next: Dict[Tuple[Policy, Optional[int]], Optional[int]] = {}

    def of(self, row: Row) -> List[Opening]:
        """Return the windows of the coming week, in order; the starts are of no host."""
        policy, east, zone = self._key(row)
        if policy is None:
            return []
        if (policy, east) not in self._week:
            # Eight: at most one opens on each day.
            self._week[policy, east] = [
                opening for opening in window.openings(policy, self.now, 8, "", zone)
                if opening.opens < self.now + WEEK_S]
        return self._week[policy, east]

    def next(self, row: Row) -> Optional[int]:
        """Return when the next window opens, in epoch seconds; None: there is none."""
        policy, east, zone = self._key(row)
        if policy is None:
            return None
        if (policy, east) not in self._next:
            found = window.openings(policy, self.now, 1, "", zone)
            self._next[policy, east] = found[0].opens if found else None
        return self._next[policy, east]

    def _key(self, row: Row) -> Tuple[Optional[Policy], Optional[int], Zone]:
        if row.policy is None or not row.policy.patch or not row.policy.weekdays:
            return None, None, self.zone
        # What does not change the windows would only make keys differ.
        policy = Policy(patch=True, weekdays=row.policy.weekdays, hour=row.policy.hour,
                        minute=row.policy.minute, duration=row.policy.duration,
                        weeks=row.policy.weeks, freeze=row.policy.freeze)
        token = row.seen.sighting.token if row.seen else None
        east = overview.own_offset(policy, token)
        if east is None:
            return policy, None, self.zone
        offset = east
        return policy, east, lambda instant: offset


def success_time(row: Row) -> Optional[int]:
    """Return when the last window with success opened, in epoch seconds."""
    token = row.seen.sighting.token if row.seen else None
    try:
        return window.opens_of(token.success) if token and token.success else None
    except window.WindowError:
        return None


def of(row: Row, weeks: Weeks) -> Dict[str, Any]:
    """Return all columns of a row; None where nothing is known. Times are epoch seconds."""
    seen, policy = row.seen, row.policy
    token = seen.sighting.token if seen else None
    success = success_time(row)
    return {
        "system": row.name,
        "status": row.status,
        "last_seen": seen.time if seen else None,
        "source": seen.source if seen else None,
        "version": seen.sighting.version if seen else None,
        "active": policy.patch if policy else None,
        "patch_window": wording.patch_window(policy) if policy and policy.weekdays else None,
        "next_window": weeks.next(row),
        "reboot": wording.REBOOT[policy.reboot] if policy else None,
        "last_window": token.window or None if token else None,
        "outcome": token.outcome or None if token else None,
        "upgraded": token.upgraded if token else None,
        "kept": token.kept if token else None,
        "pending": token.pending if token else None,
        "reboot_state": token.reboot if token else None,
        "last_success": success,
        "success_days": max(0, weeks.now - success) // DAY_S if success is not None else None,
        "health": token.health if token else None,
        "groups": list(policy.groups) if policy else [],
        "others": token.others or None if token else None,
    }


def order(column: str) -> Callable[[Dict[str, Any]], Any]:
    """Return a key to sort by a column: numbers from the largest, what is not known last."""
    levels = (BAD, WARN, GOOD)

    def key(fact: Dict[str, Any]) -> Any:
        value = fact[column]
        if column == "status":
            return levels.index(level(value)), value, fact["system"]
        if column in _NEWEST_FIRST:
            return value is None, -(value or 0), fact["system"]
        return value is None, value if value is not None else 0, fact["system"]
    return key


def blank(fact: Mapping[str, Any], column: str) -> str:
    """Return what people read where a value is None: "?" for a number that its host does not know.

    Every report has the state of the reboot: where that is missing, so is all else.
    """
    return "?" if column in _NUMBERS and fact["reboot_state"] is not None else "-"


def moment(instant: Optional[int]) -> str:
    """Return an instant in this machine's local time, as an administrator reads it."""
    return "-" if instant is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(instant))


def utc(instant: Optional[int]) -> Optional[str]:
    """Return an instant as RFC 3339 in UTC."""
    return None if instant is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(instant))
