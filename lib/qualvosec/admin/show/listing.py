# SPDX-License-Identifier: BSD-2-Clause
"""qualvosec-admin list, orphans, status, metrics, report, adopt: the fleet out of the logs.

To stdout or the named file goes what was asked for, to stderr what one must know before
believing it. Exit code 1: manifest or logs could not be read whole, or there are orphans.
Only `status` speaks Nagios: 0 good, 1 worth a look, 2 needs a person, 3 cannot tell.
"""

import argparse
import os
import re
from itertools import islice
from typing import Any
from typing import Dict
from typing import Iterable
from typing import Optional
from typing import Sequence

from qualvosec import files
from qualvosec.admin import source
from qualvosec.admin.fleet import facts
from qualvosec.admin.fleet import gather
from qualvosec.admin.fleet import logfile
from qualvosec.admin.fleet.gather import Fleet
from qualvosec.admin.settings import Settings
from qualvosec.admin.show import table
from qualvosec.admin.terminal import DONE
from qualvosec.admin.terminal import FAILED
from qualvosec.admin.terminal import NAGIOS_UNKNOWN
from qualvosec.admin.terminal import Add
from qualvosec.admin.terminal import AdminError
from qualvosec.admin.terminal import Terminal
from qualvosec.admin.terminal import UsageError
from qualvosec.admin.terminal import count
from qualvosec.manifest import window
from qualvosec.manifest.schema import fold
from qualvosec.safetext import safe
from qualvosec.usage import Parser

NAGIOS_OK, NAGIOS_WARNING, NAGIOS_CRITICAL = 0, 1, 2
FORMATS = ("table", "wide", "json", "csv")
_SPAN = re.compile(r"([0-9]{1,5})([mhdw])")
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_ORPHANS = ("orphaned", "never seen")


def register(add: Add) -> None:
    """Tell the parser of these commands."""
    lister = _logs(add("list", list_hosts, "show all hosts: last seen, window, status"))
    for option, text in (("--status", "with this status, or bad, warn or good"),
                         ("--group", "in this group"), ("--match", "with a name like web*")):
        lister.add_argument(option, metavar=option[2:].upper(), action="append", default=[],
                            help="only hosts %s; may be repeated" % text)
    lister.add_argument("--since", metavar="TIME", default="",
                        help="only hosts seen since then: YYYY-MM-DD, or 36h, 7d, 2w ago")
    lister.add_argument("--sort", metavar="COLUMN", choices=facts.COLUMNS, default="system",
                        help="one of %s" % ", ".join(facts.COLUMNS))
    lister.add_argument("--format", choices=FORMATS, default="table",
                        help="table (default), wide, json or csv")
    _logs(add("orphans", orphans, "show listed hosts that do not ask; exit 1 if there are any"))
    _logs(add("status", status, "say in one line for Nagios how the fleet is"))
    metrics_maker = _logs(add("metrics", metrics, "print Prometheus text for node_exporter"))
    metrics_maker.add_argument("--output", metavar="FILE", default="",
                               help="write this file at once instead, as node_exporter needs it")
    reporter = _logs(add("report", write_report, "write the fleet as one HTML page"))
    # --log takes all words up to the next option: what is not a log stands before it.
    reporter.usage = "qualvosec-admin report [-h] [--manifest FILE|URL] FILE [--log FILE ...]"
    reporter.add_argument("file", metavar="FILE", help="the page; - is stdout")
    adopter = _logs(add("adopt", adopt, "add unlisted hosts that were seen to the manifest"))
    adopter.usage = ("qualvosec-admin adopt [-h] [--manifest FILE] [--dry-run] FQDN ... "
                     "[FIELD=VALUE ...] [--log FILE ...]")
    adopter.add_argument("words", metavar="FQDN|FIELD=VALUE", nargs="+",
                         help="hosts, and fields of their entries; without: patch=false")
    adopter.add_argument("--dry-run", action="store_true",
                         help="print the change as a unified diff and change nothing")
    # What `add` has options for is written as field=value here.
    adopter.set_defaults(patch=False, reboot=None, weekday=[], time="", duration=None, group=[],
                         only=[], exclude=[])


def _logs(command: Parser) -> Parser:
    command.add_argument("--log", metavar="FILE", nargs="+", action="append",
                         help="access logs, plain or compressed, or globs")
    return command


def list_hosts(options: argparse.Namespace, terminal: Terminal) -> int:
    """Print all hosts, or some of them."""
    choice = facts.Choice(tuple(options.status), tuple(options.group),
                          tuple(pattern.lower() for pattern in options.match),
                          _since(options.since, terminal.now))
    for word in choice.statuses:
        if not facts.is_status(word):
            raise UsageError("--status: %s: no host can have it: use bad, warn, good or one of %s"
                             % (word, ", ".join(facts.STATUSES)))
    found = gather.read(source.settings(options), terminal)
    rows = facts.selected(found.rows, choice)
    weeks = facts.Weeks(terminal.now)
    if found.rows and not rows:
        terminal.warn("none of %s fits" % count(len(found.rows), "host"))
    if options.format == "table" and options.sort == "system":
        _say_table(terminal, table.table_lines(rows, terminal.width),
                   [row.status for row in rows])
    else:
        # Here and below: loaded where it is needed, because loading takes longer than small fleets.
        from qualvosec.admin.show import formats
        values = sorted((facts.of(row, weeks) for row in rows), key=facts.order(options.sort))
        if options.format == "table":
            by_name = {row.name: row for row in rows}
            ordered = [by_name[fact["system"]] for fact in values]
            _say_table(terminal, table.table_lines(ordered, terminal.width),
                       [row.status for row in ordered])
        elif options.format == "wide":
            _say_table(terminal, formats.wide(values), [fact["status"] for fact in values])
        elif options.format == "json":
            about = {"generated": facts.utc(terminal.now),
                     "log_begins": facts.utc(found.begins()), "log_ends": facts.utc(found.ends()),
                     "doubts": list(found.doubts())}
            _say_parts(terminal, formats.as_json(values, about))
        else:
            for part in formats.as_csv(values):
                terminal.say(part)
    found.tell(terminal)
    return FAILED if found.faults else DONE


def _say_table(terminal: Terminal, lines: Iterable[str], statuses: Sequence[str]) -> None:
    """Print a table of two headings and a line for each status."""
    if (terminal.out.isatty() and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM", "dumb") != "dumb"):
        from qualvosec.admin.show import formats
        every = iter(lines)
        terminal.say(next(every) + next(every))
        lines = map(formats.coloured, every, statuses)
    _say_parts(terminal, lines)


def _say_parts(terminal: Terminal, parts: Iterable[str]) -> None:
    """Print what is too much for one text, many parts at a time."""
    rest = iter(parts)
    for part in iter(lambda: "".join(islice(rest, 500)), ""):
        terminal.say(part)


def _since(text: str, now: int) -> Optional[int]:
    """Return the instant that --since names."""
    if not text:
        return None
    span, date = _SPAN.fullmatch(text), _DATE.fullmatch(text)
    if span:
        return now - int(span.group(1)) * _UNITS[span.group(2)]
    if date:
        year, month, day = (int(number) for number in date.groups())
        ordinal = window.ordinal(year, month, day) if 1 <= month <= 12 and year else 0
        if ordinal and window.civil(ordinal) == (year, month, day):
            return window.instant_of((ordinal - window.EPOCH_ORDINAL) * window.DAY_S,
                                     window.host_zone)
    raise UsageError("--since: %s: is no time: write 2026-11-23, 36h, 7d or 2w" % text)


def orphans(options: argparse.Namespace, terminal: Terminal) -> int:
    """Print listed hosts that are silent; fails if there are any, or if nobody can tell."""
    found = gather.read(source.settings(options), terminal)
    rows = [row for row in found.rows if row.status in _ORPHANS]
    for row in rows:
        seen = facts.moment(row.seen.time) if row.seen else "never"
        terminal.say("%s: %s: last seen %s\n" % (row.name, row.status, seen))
    found.tell(terminal)
    return FAILED if rows or found.faults or not found.is_covered else DONE


def status(options: argparse.Namespace, terminal: Terminal) -> int:
    """Print one line, as monitoring plugins do, and exit with its code."""
    from qualvosec.admin.show import formats
    try:
        found = gather.read(source.settings(options), terminal)
    except AdminError as error:
        terminal.say("QUALVOSEC UNKNOWN - %s\n" % safe(str(error), 1000))
        return NAGIOS_UNKNOWN
    statuses = [row.status for row in found.rows]
    numbers = {level: sum(facts.level(one) == level for one in statuses)
               for level in (facts.BAD, facts.WARN, facts.GOOD)}
    if numbers[facts.BAD]:
        word, code = "CRITICAL", NAGIOS_CRITICAL
    elif found.faults or "unknown" in statuses or not statuses:
        word, code = "UNKNOWN", NAGIOS_UNKNOWN
    elif numbers[facts.WARN] or found.notes:
        word, code = "WARNING", NAGIOS_WARNING
    else:
        word, code = "OK", NAGIOS_OK
    doubts = "".join("; %s" % doubt.replace("|", "/") for doubt in found.doubts())
    # Whatever is in it, this is one line, and the bar stands before the figures alone.
    terminal.say("QUALVOSEC %s - %s: %s%s | hosts=%d bad=%d warn=%d good=%d\n" % (
        word, count(len(statuses), "host"), formats.summary(statuses, 6) or "none",
        safe(doubts, 1000), len(statuses), numbers[facts.BAD], numbers[facts.WARN],
        numbers[facts.GOOD]))
    return code


def metrics(options: argparse.Namespace, terminal: Terminal) -> int:
    """Print the fleet as Prometheus text, or write it to a file."""
    from qualvosec.admin.show import formats
    settings = source.settings(options)
    _spare_inputs(options.output or "-", settings)
    found = gather.read(settings, terminal)
    weeks = facts.Weeks(terminal.now)
    about: Dict[str, Any] = {"log_begins": found.begins(), "log_ends": found.ends(),
                             "broken": (found.log.broken + found.log.overlong
                                        + found.log.mistimed)}
    text = formats.metrics([facts.of(row, weeks) for row in found.rows], about, terminal.now)
    _put(options.output or "-", text, terminal)
    found.tell(terminal)
    return FAILED if found.faults else DONE


def write_report(options: argparse.Namespace, terminal: Terminal) -> int:
    """Write the page."""
    from qualvosec.admin.show import report
    settings = source.settings(options)
    _spare_inputs(options.file, settings)
    found = gather.read(settings, terminal)
    _put(options.file, report.page(found.rows, found.doubts(), facts.Weeks(terminal.now)), terminal)
    found.tell(terminal)
    return FAILED if found.faults else DONE


def _spare_inputs(path: str, settings: Settings) -> None:
    """Refuse to write over the manifest or a log: one forgotten word would do it."""
    logs, _ = logfile.expand(settings.log_file_path)
    for read in logs + [settings.source()]:
        if os.path.exists(path) and os.path.exists(read) and os.path.samefile(path, read):
            raise UsageError("%s: is what is read: name another file to write" % path,
                             of_words=False)


def _put(path: str, text: str, terminal: Terminal) -> None:
    """Write a file that others may read, whole or not at all; - is stdout."""
    if path == "-":
        terminal.say(text)
        return
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            # A device or pipe is written to: a file in the place of /dev/null stops a system.
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        else:
            files.write_atomic(os.path.realpath(path), text.encode("utf-8"), mode=0o644)
    except files.FileError as error:
        raise AdminError(str(error)) from None
    except OSError as error:
        raise AdminError("%s: %s" % (path, (error.strerror or "").lower())) from None


def adopt(options: argparse.Namespace, terminal: Terminal) -> int:
    """Add hosts to the manifest that are in the logs and not in it."""
    from qualvosec.admin.edit import commands
    from qualvosec.admin.edit import words as fieldwords
    words, _ = fieldwords.split(options.words)
    names = commands.hosts(words)
    options.words = names + [word for word in options.words if "=" in word]
    found: Fleet = gather.read(source.settings(options), terminal)
    for fault in found.log.faults:
        terminal.warn(fault)
    known = {row.name: row for row in found.rows}
    for name in names:
        row = known.get(fold(name))
        if row is None or row.seen is None:
            raise AdminError("%s: was not seen in the logs: use qualvosec-admin add" % name)
        if row.listed:
            raise AdminError("%s: is in the manifest already: use qualvosec-admin set" % name)
    return commands.add_hosts(options, terminal) or (FAILED if found.log.faults else DONE)
