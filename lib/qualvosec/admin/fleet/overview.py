# SPDX-License-Identifier: BSD-2-Clause
"""Manifest + access log + time -> one row a host with its status; pure.

The status is what the host last reported, unless something matters more, in
this order: not in the manifest (unlisted), an entry that no client can use
(invalid entry), silent for alive_days (orphaned, never seen), two sources of
one kind within a day (conflict), two windows without success (overdue), what
the host says is wrong with it (unhealthy: ...). Where the logs do not cover
alive_days, silence proves nothing: unknown. An outcome that only later versions
know is shown as "newer: ...".
"""

from typing import List
from typing import Mapping
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec.admin.fleet.accesslog import Log
from qualvosec.admin.fleet.accesslog import Seen
from qualvosec.contract import words
from qualvosec.manifest import window
from qualvosec.manifest.policy import Policy
from qualvosec.manifest.window import Zone
from qualvosec.useragent import Token

DAY_S = 86400
HOUR_S = 3600
# Between the end of a window and the report of it, or a reboot and the first request after it;
# also covers a change to or from daylight saving time between two windows.
_SLACK_S = 2 * HOUR_S
# What servers write that listen to IPv4 and IPv6 with one socket: ::ffff:192.0.2.1
_MAPPED = "::ffff:"


class Row(NamedTuple):
    """One host; policy None: unlisted, or an invalid entry; seen None: not in the logs."""

    name: str
    listed: bool
    policy: Optional[Policy]
    seen: Optional[Seen]
    status: str


def rows(hosts: Mapping[str, Optional[Policy]], log: Log, now: int, alive_days: int,
         zone: Zone = window.host_zone) -> List[Row]:
    """Return the rows of all hosts, listed or seen, by name. `now` is in epoch seconds."""
    silence = covers(log, now, alive_days)
    result: List[Row] = []
    for name in sorted(hosts.keys() | log.hosts.keys()):
        policy = hosts.get(name)
        seen = log.hosts.get(name)
        if name not in hosts:
            status = "unlisted"
        elif policy is None:
            status = "invalid entry"
        elif seen is None:
            status = "never seen" if silence else "unknown"
        elif now - seen.time > alive_days * DAY_S:
            status = "orphaned" if silence else "unknown"
        elif conflict(seen):
            status = "conflict"
        elif overdue(policy, name, seen, zone):
            status = "overdue"
        else:
            status = reported(seen, min(now, log.ends))
        result.append(Row(name, name in hosts, policy, seen, status))
    return result


def covers(log: Log, now: int, alive_days: int) -> bool:
    """Say whether silence in these logs proves that a host did not ask for alive_days."""
    limit = now - alive_days * DAY_S
    return bool(log.begins) and log.begins <= limit < log.ends


def notes(log: Log, now: int, alive_days: int) -> List[str]:
    """Return what an administrator must know before believing the rows."""
    result = []
    if not log.begins:
        result.append("no log could be read to its end: silent hosts are unknown" if log.faults
                      else "no line with a time in the logs: hosts are unknown")
    elif not covers(log, now, alive_days):
        limit = now - alive_days * DAY_S
        if log.ends <= limit:
            result.append("the logs end %d days ago: nobody asks, or this is not the current log: "
                          "silent hosts are unknown" % ((now - log.ends) // DAY_S))
        else:
            result.append("the logs cover %.1f of %d days: silent hosts are unknown: give "
                          "rotated logs too" % ((now - log.begins) / DAY_S, alive_days))
    for path in log.anonymous:
        result.append("%s: common format, no client can be recognised: log in combined format"
                      % path)
    if log.broken or log.overlong:
        result.append("lines skipped as broken or forged: %d" % (log.broken + log.overlong))
    if log.mistimed:
        result.append("lines with an impossible time skipped: %d: was the clock of the web server "
                      "wrong?" % log.mistimed)
    newer, unread = _newer(log)
    if newer:
        result.append("hosts that report what this version does not know: %d: upgrade "
                      "qualvosec-admin: %s" % (newer, ", ".join(words.capped(unread, 6))))
    if log.strangers:
        result.append("requests of further unlisted names left out: %d" % log.strangers)
    return result


def _newer(log: Log) -> Tuple[int, List[str]]:
    """Return how many hosts say more than this version can read, and what."""
    count, found = 0, set()
    for token in (seen.sighting.token for seen in log.hosts.values()):
        if token is None:
            continue
        unread = ["%s=" % other.partition("=")[0] for other in token.others.split()]
        if token.outcome and token.outcome not in words.OUTCOMES:
            unread.append("r=" + token.outcome)
        if token.reboot not in words.REBOOTS:
            unread.append("b=" + token.reboot)
        count += bool(unread)
        found.update(unread)
    return count, sorted(found)


def reported(seen: Seen, until: int) -> str:
    """Return the status that a report alone gives; `until`: how far the logs reach, epoch seconds.

    A host that asked for its reboot and was not heard of since has not come back.
    """
    token = seen.sighting.token
    if token is None:
        return "no report"
    if token.health != "ok":
        return "unhealthy: " + token.health
    if not token.outcome:
        return "no run yet"
    outcome = token.outcome if token.outcome in words.OUTCOMES else "newer: " + token.outcome
    if words.reboot_level(token.reboot) != words.GOOD or (
            token.reboot == "requested" and until - seen.time > _SLACK_S):
        return "%s, reboot %s" % (outcome, token.reboot)
    return outcome


def conflict(seen: Seen) -> bool:
    """Say whether two machines seem to use the name: two sources within a day.

    A host may have an IPv4 and an IPv6 address, and may change the latter within its
    network every day: IPv6 sources count by their first 64 bits, and only like is
    compared with like.
    """
    newest = _plain(seen.source)
    for source, time in seen.nearby:
        other = _plain(source)
        alike = (":" in other) == (":" in newest)
        if alike and seen.time - time < DAY_S and _network(other) != _network(newest):
            return True
    return False


def _plain(source: str) -> str:
    """Return an address in lower case; an IPv4 address without what a socket for both adds."""
    source = source.lower()
    return source[len(_MAPPED):] if source.startswith(_MAPPED) and "." in source else source


def _network(source: str) -> str:
    if ":" not in source:
        return source
    head, gap, tail = source.partition("::")
    groups = head.split(":") if head else []
    if gap:
        rest = tail.split(":") if tail else []
        groups += ["0"] * (8 - len(groups) - len(rest)) + rest
    return ":".join(group.lstrip("0") for group in groups[:4])


def overdue(policy: Policy, name: str, seen: Seen, zone: Zone) -> bool:
    """Say whether two windows had passed without success when the host was last seen.

    Counted from its last success, or from its first request in the logs if it never
    had one. Without a report nothing is known.
    """
    token = seen.sighting.token
    if token is None or not policy.patch:
        return False
    since = seen.first
    if token.success:
        try:
            since = window.opens_of(token.success)
        except window.WindowError:
            return False
    # The second of two weekly windows cannot be over yet: spare the search.
    if seen.time - since < (7 if len(policy.weekdays) == 1 else 1) * DAY_S:
        return False
    missed = window.openings(policy, since + _SLACK_S, 2, name, _own_zone(policy, token, zone))
    late = policy.catch_up * HOUR_S + _SLACK_S
    return len(missed) == 2 and all(opening.closes + late <= seen.time for opening in missed)


def _own_zone(policy: Policy, token: Token, fallback: Zone) -> Zone:
    """Return the host's offset from UTC, as its last window shows it, or the fallback."""
    east = own_offset(policy, token)
    return fallback if east is None else lambda instant: east or 0


def own_offset(policy: Policy, token: Optional[Token]) -> Optional[int]:
    """Return how many seconds a host is east of Greenwich, as its last window shows it.

    The manifest says the local time, the report the instant: the difference is the
    zone. None where that is impossible, as after a change of the schedule.
    """
    try:
        opens = window.opens_of(token.window if token else "")
    except window.WindowError:
        return None
    offset = (policy.hour * HOUR_S + policy.minute * 60 - opens) % DAY_S
    if offset % 900:
        return None
    for east in (offset, offset - DAY_S):
        day = (opens + east) // DAY_S + window.EPOCH_ORDINAL
        if -12 * HOUR_S <= east <= 14 * HOUR_S and (day - 1) % 7 in policy.weekdays:
            return east
    return None
