# SPDX-License-Identifier: BSD-2-Clause
"""Made-up fleets for tests and benchmarks: a manifest and the access log that belongs to it.

The same seed gives the same fleet. Reports change once a week, a tenth of the answers is a new
manifest, and some hosts fail, fall silent or are not listed.
"""

import random
import time
from typing import Iterator
from typing import List

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WEEK_S = 604800


def host_name(number: int) -> str:
    return "%s%05d.example.org" % (("web", "db", "mail", "bsd")[number % 4], number)


def manifest(hosts: int) -> bytes:
    """Return a manifest for so many hosts; each thirtieth that is seen is not listed."""
    out: List[str] = [".defaults:\n  duration: 120\n"]
    for number in range(hosts):
        if number % 30 == 29:
            continue
        out.append("%s:\n  patch: %s\n  reboot: %s\n  weekday: %s\n  hour: %d\n  minute: %d\n"
                   "  group_membership: [%s, ring%d]\n" % (
                       host_name(number), "false" if number % 25 == 24 else "true",
                       ("true", "required", "false")[number % 3], DAYS[number % 7],
                       number % 5, number % 4 * 15, ("prod", "test")[number % 10 == 0],
                       number % 3))
    return "".join(out).encode("ascii")


def stamp(instant: int) -> str:
    """Return an instant as access logs have it, in UTC, without depending on the locale."""
    at = time.gmtime(instant)
    return "%02d/%s/%d:%02d:%02d:%02d +0000" % (
        at.tm_mday, MONTHS[at.tm_mon - 1], at.tm_year, at.tm_hour, at.tm_min, at.tm_sec)


def report(number: int, instant: int) -> str:
    """Return what host `number` says about itself at that time."""
    monday = (instant - 4 * 86400) // WEEK_S * WEEK_S + 4 * 86400
    opens = monday + number % 7 * 86400 + number % 5 * 3600 + number % 4 * 900
    if opens > instant:
        opens -= WEEK_S
    trouble = (number * 7919 + opens // WEEK_S * 31) % 97
    outcome = {0: "failed", 1: "partial", 2: "locked"}.get(
        trouble, "ok" if trouble % 3 else "nothing")
    text = "s1 w=%s r=%s u=%d k=%d p=%d b=%s" % (
        time.strftime("%Y%m%dT%H%MZ", time.gmtime(opens)), outcome, trouble % 17,
        trouble == 1, 3 * (trouble < 3), "due" if trouble == 5 else "verified")
    if outcome in ("failed", "locked"):
        text += " l=" + time.strftime("%Y%m%dT%H%MZ", time.gmtime(opens - WEEK_S))
    return text + (" h=veto" if trouble == 7 else "")


def lines(hosts: int, count: int, ends: int, days: int = 30, seed: int = 5) -> Iterator[str]:
    """Yield the lines of a combined log, in order, the last at `ends` (epoch seconds)."""
    rng = random.Random(seed)
    for number in range(count):
        instant = ends - days * 86400 + (number + 1) * days * 86400 // count
        host = rng.randrange(hosts)
        if host % 40 == 39 and instant > ends - 10 * 86400:
            host -= 1       # this one has fallen silent
        yield ('10.%d.%d.%d - - [%s] "GET /patch.yaml HTTP/1.1" %s "-" '
               '"QualvoSec 1.0.0 %s (%s)"\n') % (
            host >> 16, host >> 8 & 255, host & 255, stamp(instant),
            "200 81200" if rng.random() < .1 else "304 0", host_name(host),
            report(host, instant))


def write_log(path: str, hosts: int, count: int, ends: int, days: int = 30) -> None:
    """Write such a log."""
    with open(path, "w", encoding="ascii") as file:
        file.writelines(lines(hosts, count, ends, days))
