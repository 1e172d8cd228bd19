# SPDX-License-Identifier: BSD-2-Clause
"""qualvosec-admin next: when which hosts will be patched, by the functions that clients use.

Without a zone, times are those of each host's own clock: 03:15 is 03:15 wherever it stands. With
one they are instants: clock changes count, UTC is shown, and so is when the host starts within
its splay. Windows crowd where more hosts than --crowd may start within CROWD_MINUTES.
"""

import argparse
import os
import time
from typing import Dict
from typing import Iterator
from typing import List
from typing import Mapping
from typing import NamedTuple
from typing import Optional
from typing import Sequence

from qualvosec.admin import source
from qualvosec.admin.check import obstacle
from qualvosec.admin.check import problem_lines
from qualvosec.admin.terminal import DONE
from qualvosec.admin.terminal import FAILED
from qualvosec.admin.terminal import Add
from qualvosec.admin.terminal import AdminError
from qualvosec.admin.terminal import Terminal
from qualvosec.admin.terminal import UsageError
from qualvosec.admin.terminal import count
from qualvosec.manifest import document
from qualvosec.manifest import window
from qualvosec.manifest.fields import did_you_mean
from qualvosec.manifest.policy import Policy
from qualvosec.manifest.schema import fold
from qualvosec.manifest.window import Zone
from qualvosec.manifest.wording import DAYS
from qualvosec.manifest.wording import date
from qualvosec.safetext import safe

CROWD = 25
CROWD_MINUTES = 10
MAX_DAYS = 366
_MAX_WARNINGS = 10
_REBOOT = {"always": "reboot", "never": "no reboot", "required": "reboot if due"}


class Slot(NamedTuple):
    """One window of one host; epoch seconds, of nominal local time where no zone is given."""

    opens: int
    start: int
    closes: int
    name: str
    reboot: str


class Crowd(NamedTuple):
    """More starts than there should be within CROWD_MINUTES from the first."""

    first: int
    hosts: int


def nominal(instant: int) -> int:
    """Take instants for local time: the zone of a timetable that has none."""
    return 0


def rows(hosts: Mapping[str, Policy], begin: int, end: int, zone: Zone) -> List[Slot]:
    """Return the windows that open in [begin, end), by time, then by name."""
    found: List[Slot] = []
    seen: Dict[Policy, List[window.Opening]] = {}
    for name, policy in hosts.items():
        if not policy.patch:
            continue
        key = policy._replace(groups=(), only=(), exclude=())
        # Without a zone the shares of the splay are not those to come, but spread as evenly.
        if key not in seen or policy.splay:
            seen[key] = list(_openings(policy, begin, end, name, zone))
        found.extend(Slot(opening.opens, opening.start, opening.closes, name,
                         _REBOOT[policy.reboot]) for opening in seen[key])
    return sorted(found, key=lambda row: (row.opens, row.name))


def _openings(policy: Policy, begin: int, end: int, name: str,
              zone: Zone) -> Iterator[window.Opening]:
    place = begin - 1
    while True:
        found = window.openings(policy, place, 1, name, zone)
        if not found or found[0].opens >= end:
            return
        place = found[0].opens
        yield found[0]


def crowds(table: Sequence[Slot], limit: int) -> List[Crowd]:
    """Return where more than `limit` hosts start within CROWD_MINUTES, the densest of each."""
    starts = sorted(row.start for row in table)
    found: List[Crowd] = []
    last = 0
    for first, start in enumerate(starts):
        last = max(last, first)
        while last < len(starts) and starts[last] < start + CROWD_MINUTES * window.MINUTE_S:
            last += 1
        if last - first <= limit:
            continue
        crowd = Crowd(start, last - first)
        if found and start < found[-1].first + CROWD_MINUTES * window.MINUTE_S:
            found[-1] = max(found[-1], crowd, key=lambda each: each.hosts)
        else:
            found.append(crowd)
    return found


def text(table: Sequence[Slot], zone: Zone) -> str:
    """Return the timetable, one line a window."""
    return "".join("%s-%s%s  %-13s  %s\n" % (
        _moment(row.opens, zone), _clock(row.closes, zone),
        "" if zone is nominal else "  %s  starts %s" % (
            window.window_id(row.opens), _clock(row.start, zone)),
        row.reboot, safe(row.name, 253)) for row in table)


def _moment(instant: int, zone: Zone) -> str:
    day = window.local_day(instant, zone)
    return "%s %s %s" % (date(day), DAYS[(day - 1) % 7][:3], _clock(instant, zone))


def _clock(instant: int, zone: Zone) -> str:
    minutes = (instant + zone(instant)) % window.DAY_S // window.MINUTE_S
    return "%02d:%02d" % divmod(minutes, 60)


def register(add: Add) -> None:
    """Tell the parser of this command."""
    command = add("next", show_next, "show when hosts will be patched")
    command.add_argument("fqdn", metavar="FQDN", nargs="?", default="",
                         help="this host alone (default: all)")
    command.add_argument("--group", metavar="GROUP", default="", help="all hosts of a group")
    command.add_argument("--days", metavar="N", type=int, default=7,
                         help="how many days from now (default: 7)")
    command.add_argument("--timezone", metavar="ZONE", default="",
                         help="the hosts' time zone: shows UTC and starts, too")
    command.add_argument("--crowd", metavar="N", type=int, default=CROWD,
                         help="warn where more hosts start within %d minutes (default: %d)"
                         % (CROWD_MINUTES, CROWD))


def show_next(options: argparse.Namespace, terminal: Terminal) -> int:
    """Print the timetable of all hosts, of one, or of a group."""
    if not 1 <= options.days <= MAX_DAYS:
        raise UsageError("--days: %d is not from 1 to %d" % (options.days, MAX_DAYS))
    if options.crowd < 1:
        raise UsageError("--crowd: %d is not a number of hosts: give 1 or more" % options.crowd)
    if options.fqdn and options.group:
        raise UsageError("--group: a host is named, too: give one or the other")
    manifest = source.load(source.settings(options))
    today = window.local_day(terminal.now, window.host_zone)
    found = document.read(manifest.data, today)
    wrong = obstacle(manifest, options.fqdn or "-", today)
    if wrong:
        terminal.warn(wrong)
    chosen = _chosen(options, manifest, found, terminal)
    hosts = {name: policy for name, policy in chosen.items() if policy is not None}
    before = os.environ.get("TZ")
    try:
        if options.timezone:
            window.set_zone(options.timezone)
        zone = window.host_zone if options.timezone else nominal
        now = terminal.now if options.timezone else (
            terminal.now + window.host_zone(terminal.now))
        table = rows(hosts, now, now + options.days * window.DAY_S, zone)
        terminal.say(text(table, zone))
        if found.header.expires is not None and not wrong:
            _tell_of_expiry(found.header.expires, terminal, table, zone)
        _comment(options, terminal, table, hosts, now, zone)
    except window.WindowError as error:
        raise UsageError("--%s" % error if options.timezone else str(error)) from None
    finally:
        _restore(before)
    return DONE if len(hosts) == len(chosen) and not wrong else FAILED


def _tell_of_expiry(last: int, terminal: Terminal, table: Sequence[Slot], zone: Zone) -> None:
    late = sum(window.local_day(row.start, zone) > last for row in table)
    if late:
        terminal.warn("warning: the manifest expires on %s: %s will not be used unless it is "
                      "renewed" % (date(last), count(late, "later window")))


def _restore(zone: Optional[str]) -> None:
    if zone is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = zone
    time.tzset()


def _chosen(options: argparse.Namespace, manifest: source.Manifest, found: document.Document,
            terminal: Terminal) -> Mapping[str, Optional[Policy]]:
    """Return the hosts that were asked for; tells of those without a valid entry."""
    if options.group:
        hosts = {name: policy for name, policy in found.hosts.items()
                 if policy is not None and options.group in policy.groups}
        if not hosts:
            raise AdminError("group %s: no valid entry is in it: see qualvosec-admin check"
                             % options.group)
    if not options.fqdn:
        invalid = sum(policy is None for policy in found.hosts.values())
        if invalid:
            terminal.warn("%s: %s not valid and not patched: see qualvosec-admin check" % (
                manifest.name, "1 entry is" if invalid == 1 else "%d entries are" % invalid))
        return hosts if options.group else found.hosts
    name = fold(options.fqdn)
    if name not in found.hosts:
        near = did_you_mean(name, found.hosts)
        raise AdminError("%s: is not in %s: it is never patched%s" % (
            options.fqdn, manifest.name, ": did you mean %s?" % near if near else ""))
    if found.hosts[name] is None:
        explained = document.explain(manifest.data, name)
        terminal.say("".join(problem_lines(manifest.name, explained.problems if explained else [])))
        terminal.warn("%s: the entry is invalid: it is not patched" % name)
    return {name: found.hosts[name]}


def _comment(options: argparse.Namespace, terminal: Terminal, table: Sequence[Slot],
             hosts: Mapping[str, Policy], now: int, zone: Zone) -> None:
    """Tell where windows crowd, and which hosts have none."""
    found = crowds(table, options.crowd)
    densest = sorted(found, key=lambda crowd: -crowd.hosts)[:_MAX_WARNINGS]
    for crowd in sorted(densest):
        terminal.warn("warning: %s start within %d minutes from %s: spread them by splay or "
                      "other times" % (count(crowd.hosts, "host"), CROWD_MINUTES,
                                       _moment(crowd.first, zone)))
    if len(found) > _MAX_WARNINGS:
        terminal.warn("warning: %d more times at which windows crowd" % (len(found)
                                                                         - _MAX_WARNINGS))
    idle = set(hosts) - {row.name for row in table}
    off = [name for name in idle if not hosts[name].patch]
    if len(hosts) > 1:
        for number, why in ((len(off), "patch is false"),
                            (len(idle) - len(off), "no window in these days")):
            if number:
                terminal.warn("%s: %s" % (count(number, "host"), why))
    elif off:
        terminal.warn("%s: patch is false: no window" % off[0])
    elif idle:
        (name,) = idle
        later = window.openings(hosts[name], now, 1, name, zone)
        terminal.warn("%s: no window in these days: %s" % (
            name, "the next opens %s" % _moment(later[0].opens, zone) if later
            else "none opens at all: see week and freeze"))
