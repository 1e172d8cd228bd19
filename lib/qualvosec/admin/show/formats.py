# SPDX-License-Identifier: BSD-2-Clause
"""Rows of the overview -> table, wide table, CSV, JSON or Prometheus text; pure.

Everything that came from outside is made safe for where it goes: a terminal sees no
control characters, a spreadsheet no formula, a label no unescaped quote. Times are local
in tables and UTC elsewhere.
"""

import csv
import io
import json
from typing import Any
from typing import Dict
from typing import Iterable
from typing import Iterator
from typing import List
from typing import Mapping
from typing import Optional
from typing import Sequence

from qualvosec.admin.fleet import facts
from qualvosec.admin.show import table
from qualvosec.safetext import safe

_TIMES = ("last_seen", "next_window", "last_success")
_COLOURS = {facts.BAD: "\x1b[31m", facts.WARN: "\x1b[33m", facts.GOOD: "\x1b[32m"}
_PLAIN = "\x1b[0m"
_WIDE = ("system", "last_seen", "source", "version", "patch_window", "next_window", "reboot",
         "last_window", "outcome", "upgraded", "kept", "pending", "reboot_state", "success_days",
         "groups", "others", "status")
_HEADINGS = {"system": "System", "last_seen": "Last Seen", "source": "From", "version": "Version",
             "patch_window": "Patch Window", "next_window": "Next Window", "reboot": "Reboot",
             "last_window": "Last Window", "outcome": "Outcome", "upgraded": "Upgraded",
             "kept": "Kept Back", "pending": "Pending", "reboot_state": "Reboot State",
             "success_days": "Days Since Success", "groups": "Groups", "others": "Others",
             "status": "Status"}


def wide(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table of everything, each ended."""
    # Who has no host of a later version does not meet the column for what such hosts say.
    columns = [column for column in _WIDE
               if column != "others" or any(fact["others"] for fact in found)]
    lines = [[_cell(fact, column) for column in columns] for fact in found]
    headings = [_HEADINGS[column] for column in columns]
    widths = [max([len(heading)] + [len(line[place]) for line in lines])
              for place, heading in enumerate(headings)]
    yield table.line(headings, widths) + "\n"
    yield table.rule(widths) + "\n"
    for line in lines:
        yield table.line(line, widths) + "\n"


def _cell(fact: Mapping[str, Any], column: str) -> str:
    value = fact[column]
    if column in _TIMES:
        return facts.moment(value)
    if column == "groups":
        return safe(",".join(value), 200) or "-"
    return facts.blank(fact, column) if value is None else safe(str(value), 300)


def coloured(text: str, status: str) -> str:
    """Return a line of a table for a terminal: the status, its last cell, in colour."""
    head, _, cell = text[:-3].rpartition("| ")
    return "%s| %s%s%s |\n" % (head, _COLOURS[facts.level(status)], cell, _PLAIN)


def as_json(found: Iterable[Dict[str, Any]], about: Mapping[str, Any]) -> Iterator[str]:
    """Yield the parts of one JSON object: what is told of the logs, and the hosts."""
    # A large fleet as one object and one text would take many times the memory of the facts.
    yield json.dumps(dict(about, hosts=[]), indent=1)[:-len("]\n}")]
    between = "\n  "
    for fact in found:
        host = dict(fact, level=facts.level(fact["status"]),
                    **{column: facts.utc(fact[column]) for column in _TIMES})
        yield between + json.dumps(host, indent=1).replace("\n", "\n  ")
        between = ",\n  "
    yield "\n ]\n}\n"


def as_csv(found: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a CSV file with a heading, as RFC 4180 has it."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(facts.COLUMNS)
    for fact in found:
        writer.writerow([_field(fact, column) for column in facts.COLUMNS])
        if buffer.tell() > 65536:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _field(fact: Mapping[str, Any], column: str) -> str:
    value = fact[column]
    if column in _TIMES:
        value = facts.utc(value)
    text = " ".join(value) if column == "groups" else "" if value is None else str(value)
    text = safe(text, 2000)
    # A spreadsheet takes what begins like this for a formula.
    return "'" + text if text[:1] in tuple("=+-@\t\r") and text else text


def metrics(found: Sequence[Mapping[str, Any]], about: Mapping[str, Any], now: int) -> str:
    """Return the fleet as Prometheus text, for the textfile collector of node_exporter."""
    counts: Dict[str, int] = {}
    for fact in found:
        counts[fact["status"]] = counts.get(fact["status"], 0) + 1
    out: List[str] = []

    def family(name: str, text: str, samples: Iterable[str]) -> None:
        out.append("# HELP qualvosec_fleet_%s %s\n# TYPE qualvosec_fleet_%s gauge\n"
                   % (name, text, name))
        out.extend("qualvosec_fleet_%s%s\n" % (name, sample) for sample in samples)

    family("hosts", "Hosts by status.", ('{level="%s",status="%s"} %d' % (
        facts.level(status), _label(status), number) for status, number in sorted(counts.items())))
    for column, name, text in (
            ("last_seen", "host_last_seen_timestamp_seconds", "When the host last asked."),
            ("last_success", "host_last_success_timestamp_seconds",
             "When the last window with success opened, as the host reports."),
            ("next_window", "host_next_window_timestamp_seconds", "When the next window opens."),
            ("pending", "host_pending_packages", "Updates not installed, as the host reports."),
            ("kept", "host_kept_back_packages", "Packages kept back, as the host reports.")):
        family(name, text, ('{host="%s"} %d' % (_label(fact["system"]), fact[column])
                            for fact in found if fact[column] is not None))
    family("host_bad", "1 for a host that needs a person.", (
        '{host="%s",status="%s"} %d' % (_label(fact["system"]), _label(fact["status"]),
                                        facts.level(fact["status"]) == facts.BAD)
        for fact in found))
    for name, text in (("log_begins", "The oldest line of the logs."),
                       ("log_ends", "The newest line of the logs.")):
        if about[name] is not None:
            family(name + "_timestamp_seconds", text, [" %d" % about[name]])
    family("log_broken_lines", "Lines skipped as broken, forged or mistimed.",
           [" %d" % about["broken"]])
    family("generated_timestamp_seconds", "When this was written.", [" %d" % now])
    return "".join(out)


def _label(text: str) -> str:
    return safe(text, 300).replace('"', '\\"')


def summary(statuses: Iterable[str], width: Optional[int] = None) -> str:
    """Return how many hosts have which status, the worst first: "2 orphaned, 40 ok"."""
    counts: Dict[str, int] = {}
    for status in statuses:
        counts[status] = counts.get(status, 0) + 1
    levels = (facts.BAD, facts.WARN, facts.GOOD)
    ordered = sorted(counts, key=lambda status: (levels.index(facts.level(status)),
                                                 -counts[status], status))
    return ", ".join("%d %s" % (counts[status], safe(status)) for status in ordered[:width])
