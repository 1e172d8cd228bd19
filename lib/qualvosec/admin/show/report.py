# SPDX-License-Identifier: BSD-2-Clause
"""The fleet as one static HTML page that needs nothing else; pure.

What needs a person comes first, then the week's windows, the outcomes and a table of all
hosts. Every text is escaped, and the page's own policy lets a browser run the one script
that is in it and load nothing. What hosts report is shown as their claim.
"""

import base64
import hashlib
import html
import time
from typing import Any
from typing import Dict
from typing import Iterable
from typing import List
from typing import Mapping
from typing import Sequence
from typing import Tuple

from qualvosec import paths
from qualvosec.admin.fleet import facts
from qualvosec.admin.fleet.overview import Row
from qualvosec.admin.show.pageparts import SCRIPT
from qualvosec.admin.show.pageparts import STYLE
from qualvosec.admin.terminal import count
from qualvosec.safetext import safe

DAY_S = 86400
HOUR_S = 3600
# Hosts that are named above the table for each status; all are in the table.
MAX_NAMED = 24
MAX_STATUSES = 40
CHUNK = 200
_LEVELS = (facts.BAD, facts.WARN, facts.GOOD)
_COLUMNS = (("system", "System"), ("status", "Status"), ("last_seen", "Last seen"),
            ("source", "From"), ("patch_window", "Patch window"), ("next_window", "Next window"),
            ("reboot", "Reboot"), ("outcome", "Outcome"), ("success_days", "Days since success"),
            ("upgraded", "Upgraded"), ("kept", "Kept back"), ("pending", "Pending"),
            ("reboot_state", "Reboot state"), ("version", "Version"), ("groups", "Groups"))


def page(rows: Sequence[Row], notes: Sequence[str], weeks: facts.Weeks) -> str:
    """Return the page; `notes` are what one must know before believing it."""
    found = sorted((facts.of(row, weeks) for row in rows), key=facts.order("status"))
    parts = [_head(), _headline(found, weeks.now),
             "".join("<p class=note>%s</p>\n" % _text(note) for note in notes),
             _persons(found), "<h2>Outcomes</h2>\n", _bar([fact["status"] for fact in found]),
             "<h2>Windows of the next seven days</h2>\n", _heat(rows, weeks), _table(found),
             "<footer><p>QualvoSec %s. Made from the manifest and the access log of its web server."
             " What a host reports is a claim: whoever can fetch the manifest can make any.</p>"
             "</footer>\n<script>%s</script>\n</body>\n</html>\n" % (paths.VERSION, SCRIPT)]
    return "".join(parts)


def _text(value: Any) -> str:
    return html.escape(safe(str(value), 300), quote=True)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _head() -> str:
    return (
        "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; "
        "style-src 'sha256-%s'; script-src 'sha256-%s'; base-uri 'none'; form-action 'none'\">\n"
        "<meta name=viewport content=\"width=device-width, initial-scale=1\">\n"
        "<meta name=referrer content=no-referrer>\n<meta name=robots content=noindex>\n"
        "<title>QualvoSec: the fleet</title>\n<style>%s</style>\n</head>\n<body>\n"
        % (_digest(STYLE), _digest(SCRIPT), STYLE))


def _headline(found: Sequence[Mapping[str, Any]], now: int) -> str:
    counts = dict.fromkeys(_LEVELS, 0)
    for fact in found:
        counts[facts.level(fact["status"])] += 1
    today = sum(now - (fact["last_seen"] or 0) <= DAY_S for fact in found)
    week = sum(fact["success_days"] is not None and fact["success_days"] <= 7 for fact in found)
    cards = (("", len(found), "hosts"), ("bad", counts[facts.BAD], "need a person"),
             ("warn", counts[facts.WARN], "worth a look"), ("good", counts[facts.GOOD], "good"),
             ("", today, "seen in the last day"), ("", week, "patched in the last week"))
    return "<header><h1>QualvoSec: the fleet</h1>\n<p class=soft>As of %s</p></header>\n" \
        "<ul class=cards>\n%s</ul>\n" % (
            time.strftime("%A, %Y-%m-%d %H:%M %z", time.localtime(now)),
            "".join("<li><b class=\"%s\">%d</b>%s</li>\n" % card for card in cards))


def _by_status(statuses: Iterable[str]) -> List[Tuple[str, int]]:
    """Return statuses and their numbers, the worst first."""
    counts: Dict[str, int] = {}
    for status in statuses:
        counts[status] = counts.get(status, 0) + 1
    return sorted(counts.items(), key=lambda item: (
        _LEVELS.index(facts.level(item[0])), -item[1], item[0]))


def _persons(found: Sequence[Mapping[str, Any]]) -> str:
    names: Dict[str, List[str]] = {}
    for fact in found:
        if facts.level(fact["status"]) == facts.BAD:
            names.setdefault(fact["status"], []).append(fact["system"])
    if not names:
        unknown = sum(fact["status"] == "unknown" for fact in found)
        return "<h2>%s</h2>\n" % ("Unknown: %s; nothing else needs a person"
                                  % count(unknown, "host") if unknown
                                  else "Nothing needs a person")
    out = ["<h2>These need a person</h2>\n"]
    ordered = sorted(names, key=lambda status: (-len(names[status]), status))
    for status in ordered[:MAX_STATUSES]:
        hosts = names[status]
        out.append("<h3 class=bad>%s: %d</h3>\n<ul class=person>%s%s</ul>\n" % (
            _text(status), len(hosts),
            "".join("<li>%s" % _text(name) for name in hosts[:MAX_NAMED]),
            "<li class=soft>and %d more in the table" % (len(hosts) - MAX_NAMED)
            if len(hosts) > MAX_NAMED else ""))
    if len(ordered) > MAX_STATUSES:
        out.append("<p class=soft>Further statuses are in the table.</p>\n")
    return "".join(out)


def _bar(statuses: Sequence[str]) -> str:
    if not statuses:
        return "<p class=soft>No hosts.</p>\n"
    counts = _by_status(statuses)
    parts, at = [], 0.0
    for place, (status, number) in enumerate(counts[:MAX_STATUSES]):
        width = 1000.0 * number / len(statuses)
        # Neighbours of one colour are told apart by their shade.
        parts.append("<rect class=%s x=%.2f width=%.2f height=26 fill-opacity=%s>"
                     "<title>%s: %d</title></rect>" % (
                         facts.level(status), at, max(width - 1, .5), ("1", ".72")[place % 2],
                         _text(status), number))
        at += width
    legend = "".join("<li class=%s>%s: %d" % (facts.level(status), _text(status), number)
                     for status, number in counts[:MAX_STATUSES])
    more = sum(number for _, number in counts[MAX_STATUSES:])
    if more:
        legend += "<li class=plain>others: %d" % more
    return ("<svg class=bar viewBox=\"0 0 1000 26\" preserveAspectRatio=none role=img "
            "aria-label=\"Hosts by status\">%s</svg>\n<ul class=legend>%s</ul>\n"
            % ("".join(parts), legend))


def _heat(rows: Sequence[Row], weeks: facts.Weeks) -> str:
    """Return a map of seven days by hours: how many windows open when, in local time here."""
    counts: Dict[Tuple[int, int], int] = {}
    first = (weeks.now + weeks.zone(weeks.now)) // DAY_S
    for row in rows:
        for opening in weeks.of(row):
            day, second = divmod(opening.opens + weeks.zone(opening.opens), DAY_S)
            spot = day - first, second // HOUR_S
            counts[spot] = counts.get(spot, 0) + 1
    most = max(counts.values()) if counts else 1
    out = []
    for hour in range(0, 24, 3):
        out.append("<text x=%d y=11>%02d:00</text>" % (90 + hour * 34, hour))
    # The week that begins now touches eight days.
    for line in range(8):
        label = time.strftime("%a %d %b", time.gmtime((first + line) * DAY_S))
        out.append("<text x=0 y=%d>%s</text>" % (33 + line * 24, label))
        for hour in range(24):
            number = counts.get((line, hour), 0)
            look = "class=cell fill-opacity=%.2f" % (.18 + .82 * number / most) if number \
                else "class=none"
            title = "<title>%s %02d:00: %d</title>" % (label, hour, number) if number else ""
            out.append("<rect x=%d y=%d width=32 height=22 rx=3 %s>%s</rect>" % (
                90 + hour * 34, 18 + line * 24, look, title))
    return ("<div class=wide><svg class=heat viewBox=\"0 0 906 212\" role=img aria-label=\"Windows "
            "by day and hour\">%s</svg></div>\n<p class=soft>Windows that open in each hour, local "
            "time of the machine that made this page; at most %d in one hour.</p>\n"
            % ("".join(out), max(counts.values()) if counts else 0))


def _table(found: Sequence[Mapping[str, Any]]) -> str:
    heads = "".join("<th scope=col>%s" % title for _, title in _COLUMNS)
    kinds = "".join("<option value=%s>%s" % (level[0], title) for level, title in (
        (facts.BAD, "need a person"), (facts.WARN, "worth a look"), (facts.GOOD, "good")))
    lines = ["<tr\nclass=%s><td>%s" % (
        facts.level(fact["status"])[0], "<td>".join(_cell(fact, column) for column, _ in _COLUMNS))
        for fact in found]
    # A browser reckons only those groups of rows that can be seen.
    bodies = "".join("<tbody>%s</tbody>" % "".join(lines[place:place + CHUNK])
                     for place in range(0, len(lines), CHUNK))
    return ("<h2>All hosts</h2>\n<div id=tools class=tools hidden><input id=find type=search "
            "placeholder=\"Filter: name, status, group\" aria-label=Filter><select id=kind "
            "aria-label=Level><option value=\"\">all%s</select><span id=shown class=soft "
            "role=status></span></div>\n<div class=wide><table id=hosts><thead><tr>%s</thead>\n"
            "%s</table></div>\n" % (kinds, heads, bodies))


def _cell(fact: Mapping[str, Any], column: str) -> str:
    value = fact[column]
    if column in ("last_seen", "next_window"):
        return facts.moment(value)
    if column == "groups":
        return _text(" ".join(value)) or "-"
    return facts.blank(fact, column) if value is None else _text(value)
