# SPDX-License-Identifier: BSD-2-Clause
"""The report token: what a host says about itself in the User-Agent of a fetch.

    QualvoSec 1.0.0 web01.example.org (s1 w=20261124T0215Z r=ok u=14 k=0 p=0 b=verified)

w: the last window; r: its outcome; u, k, p: packages upgraded, kept back,
still pending; b: the reboot; l: the last window with success where that is not
w; h: why the host is not healthy, where it is not. "-" stands for none yet, "?"
for a number that the host does not know. What later versions add, words and whole
keys, is kept as it came beside the rest. The first three words are what the
original client sends. It is a claim, not a proof.
"""

import re
from typing import NamedTuple
from typing import Optional
from typing import Tuple

MAX_BYTES = 400
MAX_COUNT = 99999

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(r"%s(?:\.%s)*" % (_LABEL, _LABEL))
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~-]{0,31}")
_WINDOW = re.compile(r"[0-9]{8}T[0-9]{4}Z")
_WORD = re.compile(r"[a-z][a-z-]{0,23}")
_HEADER = re.compile(r"QualvoSec (%s) (%s(?:\.%s)*)(?: \((.*)\))?"
                     % (_VERSION.pattern, _LABEL, _LABEL), re.DOTALL)
_PAIR = re.compile(r" ([^ =]*)=?([^ ]*)")
_NEEDED = frozenset("wrukpb")
_KNOWN = _NEEDED | frozenset("lh")
_ODD = re.compile(r"[^A-Za-z0-9._:,+/?%@=-]")
# The values of a report in a fixed order; "-" leaves its group out.
_VALUES = re.compile(" ".join((
    "(?:-?|({window}))", "(?:-?|({word}))", "{count}", "{count}", "{count}",
    "({word})", "(?:-?|({window}))", "(?:-?|({word}))")).format(
        window=_WINDOW.pattern, count=r"(?:\?|([0-9]{1,5}))", word=_WORD.pattern))


class Token(NamedTuple):
    """One report. Windows are ids ("20261124T0215Z"), "" for none."""

    window: str = ""
    outcome: str = ""           # "" before the first window
    upgraded: Optional[int] = None      # None: not known
    kept: Optional[int] = None
    pending: Optional[int] = None
    reboot: str = "no"
    success: str = ""           # the last window with success
    health: str = "ok"          # or one word why not: veto, invalid, expired, ...
    others: str = ""            # what later versions say, as they say it: "z=+0100 s=3"


class Sighting(NamedTuple):
    """Who a request says it comes from; token None: says nothing that can be read."""

    version: str
    fqdn: str                   # lower case
    token: Optional[Token]


def write(version: str, fqdn: str, token: Optional[Token] = None) -> str:
    """Return the header's value: printable ASCII, at most 400 bytes, the name whole.

    What does not fit the format is sent as "-", a name that is none as "unknown-host":
    a host with a strange state must still be able to ask.
    """
    if len(fqdn) > 253 or not _NAME.fullmatch(fqdn):
        fqdn = "unknown-host"
    head = "QualvoSec %s %s" % (version if _VERSION.fullmatch(version) else "0", fqdn.lower())
    if token is None:
        return head
    parts = ["s1", "w=" + _window(token.window),
             "r=" + (token.outcome if _WORD.fullmatch(token.outcome) else "-"),
             "u=" + _count(token.upgraded), "k=" + _count(token.kept),
             "p=" + _count(token.pending),
             "b=" + (token.reboot if _WORD.fullmatch(token.reboot) else "unknown")]
    if token.success != token.window:
        parts.append("l=" + _window(token.success))
    if token.health != "ok":
        parts.append("h=" + (token.health if _WORD.fullmatch(token.health) else "-"))
    text = "%s (%s)" % (head, " ".join(parts))
    return text if len(text) <= MAX_BYTES else head


def _window(text: str) -> str:
    return text if _WINDOW.fullmatch(text) else "-"


def _count(number: Optional[int]) -> str:
    return "?" if number is None else str(max(0, min(number, MAX_COUNT)))


def read(text: str) -> Optional[Sighting]:
    """Return who sent a User-Agent, None when it is no client of ours or of the original."""
    found = _header(text)
    if found is None:
        return None
    version, fqdn, report = found
    return Sighting(version, fqdn.lower(), _read_token(report) if report else None)


def name(text: str) -> str:
    """Return the host in a User-Agent, "" where read() returns None; cheaper than it."""
    found = _header(text)
    return found[1].lower() if found else ""


def _header(text: str) -> Optional[Tuple[str, str, Optional[str]]]:
    """Return version, host and what stands in brackets."""
    found = _HEADER.fullmatch(text) if len(text) <= MAX_BYTES else None
    if found is None:
        return None
    version, fqdn, report = found.groups()
    if len(fqdn) > 253 or report is not None and not report.isprintable():
        return None
    return version, fqdn, report


def _read_token(report: str) -> Optional[Token]:
    words = report.split(" ")
    fields = dict(_PAIR.findall(report))
    if words[0] != "s1" or len(fields) != len(words) - 1 or not fields.keys() >= _NEEDED:
        return None
    values = [fields[key] for key in "wrukpb"]
    values += [fields.get("l", values[0]), fields.get("h", "ok")]
    found = _VALUES.fullmatch(" ".join(values))
    if found is None:
        return None
    window, outcome, upgraded, kept, pending, reboot, success, health = found.groups()
    others = "" if len(fields) == len(_NEEDED) else " ".join(
        _ODD.sub("?", word) for word in words[1:] if word.partition("=")[0] not in _KNOWN)
    return Token(window or "", outcome or "", _number(upgraded), _number(kept), _number(pending),
                 reboot, success or "", health or "unknown", others)


def _number(digits: Optional[str]) -> Optional[int]:
    return None if digits is None else int(digits)
