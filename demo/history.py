# SPDX-License-Identifier: BSD-2-Clause
"""A made-up fleet for the demonstration: its manifest and eight days of access log. Pure.

Only the hosts and what befell them are made up: windows, reports and lines of the log are
reckoned and written by the code with which real hosts and the real server do it.
"""

import time
from typing import Iterator
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import paths
from qualvosec import useragent
from qualvosec.manifest import document
from qualvosec.manifest import window
from qualvosec.manifest.policy import Policy
from qualvosec.server import accesslog
from qualvosec.useragent import Token

HOUR_S = 3600
DAY_S = 86400
DAYS = 8
ASKS_EVERY_S = 6 * HOUR_S
RUN_S = 20 * 60
GOOD = Token(outcome="ok", upgraded=3, kept=0, pending=0)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Host(NamedTuple):
    """One made-up host; hours count backwards from now."""

    name: str
    opened_h: int               # its newest window opened then
    what: str                   # what befell it, for the reader
    last: Token = GOOD          # how its newest windows ended; those before were ok
    since_h: int = 0            # the first window that ended so is not older
    reboot: str = "required"
    is_daily: bool = False
    is_patched: bool = True
    is_listed: bool = True
    silent_h: int = 0           # it asks no more since then
    has_twin: bool = False      # another machine asks by the same name


FLEET = (
    Host("app01.example", 52, "two machines use its name", has_twin=True),
    Host("db01.example", 27, "its last run failed", since_h=48,
         last=Token(outcome="failed", upgraded=0, kept=0, pending=7, health="failed")),
    Host("db02.example", 6, "no run has ended well for three days", is_daily=True, since_h=72,
         last=Token(outcome="locked", health="locked")),
    Host("lab07.example", 20, "asks, but nobody has listed it", is_listed=False),
    Host("legacy01.example", 0, "is never patched: patch: false", is_patched=False),
    Host("mail01.example", 75, "two packages were kept back", since_h=96,
         last=Token(outcome="partial", upgraded=9, kept=2, pending=2)),
    Host("old01.example", 195, "has not asked for a week", silent_h=177),
    Host("web01.example", 21, "patched, rebooted, back again", since_h=48,
         last=GOOD._replace(upgraded=14, reboot="verified")),
    Host("web02.example", 45, "waits for a person to reboot it", since_h=72, reboot="false",
         last=GOOD._replace(reboot="due")),
)


def entries(now: int, spared: str = "") -> str:
    """Return the fleet's part of a manifest; the host `spared` has an entry of its own."""
    out: List[str] = []
    for host in FLEET:
        if not host.is_listed or host.name == spared:
            continue
        local = time.localtime((now - host.opened_h * HOUR_S) // 900 * 900)
        days = "[%s]" % ", ".join(WEEKDAYS) if host.is_daily else WEEKDAYS[local.tm_wday]
        out.append("%s:\n  patch: %s\n" % (host.name, "true" if host.is_patched else "false"))
        if host.is_patched:
            out.append("  reboot: %s\n  weekday: %s\n  hour: %d\n  minute: %d\n" % (
                host.reboot, days, local.tm_hour, local.tm_min))
    return "".join(out)


def log(now: int, spared: str = "") -> str:
    """Return the access log of the eight days before `now`, in epoch seconds."""
    today = window.local_day(now, window.host_zone)
    policies = document.read(entries(now).encode("ascii"), today).hosts
    lines: List[Tuple[int, str]] = []
    for number, host in enumerate(FLEET, 10):
        if host.name != spared:
            lines.extend(_requests(host, policies.get(host.name), number, now))
    return "".join(line + "\n" for _, line in sorted(lines))


def _requests(host: Host, policy: Optional[Policy], number: int,
              now: int) -> Iterator[Tuple[int, str]]:
    begin = now - DAYS * DAY_S + number * 60
    for count, instant in enumerate(range(begin, now - host.silent_h * HOUR_S - 60,
                                          ASKS_EVERY_S)):
        address = "192.0.2.%d" % (number + (100 if host.has_twin and count % 2 else 0))
        agent = useragent.write(paths.VERSION, host.name, report(host, policy, instant, now))
        yield instant, accesslog.combined(accesslog.Entry(
            address, instant, "GET /patch.yaml HTTP/1.1", 304, 0, "", agent))


def report(host: Host, policy: Optional[Policy], instant: int, now: int) -> Token:
    """Return what a host said about itself at that time."""
    if policy is None or not policy.patch:
        return Token()
    done = window.latest(policy, instant - RUN_S, host.name)
    since = now - host.since_h * HOUR_S
    good = window.latest(policy, min(instant - RUN_S, since), host.name)
    if done is None or good is None:
        return Token()
    if done.opens < since:
        return GOOD._replace(window=done.id, success=done.id)
    is_good = host.last.outcome in ("ok", "partial")
    return host.last._replace(window=done.id, success=done.id if is_good else good.id)
