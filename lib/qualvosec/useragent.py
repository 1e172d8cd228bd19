# SPDX-License-Identifier: BSD-2-Clause
"""The report token: what a host says about itself in the User-Agent of a fetch.

    QualvoSec 1.0.0 web01.example.org (s1 w=20261124T0215Z r=ok u=14 k=0 p=0 b=verified)

w: the last window; r: its outcome; u, k, p: packages upgraded, kept back,
still pending; b: the reboot; l: the last window with success where that is not
w; h: why the host is not healthy, where it is not. "-" stands for none yet.
Readers ignore keys that they do not know. The first three words are what the
original client sends. It is a claim, not a proof.
"""

import re
from typing import List
from typing import NamedTuple
from typing import Optional

MAX_BYTES = 400
MAX_COUNT = 99999
OUTCOMES = ("ok", "nothing", "partial", "failed", "refused", "locked", "interrupted", "missed",
            "unsupported")
REBOOTS = ("no", "due", "deferred", "requested", "verified", "failed", "unknown")

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(r"%s(?:\.%s)*" % (_LABEL, _LABEL))
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~-]{0,31}")
_WINDOW = re.compile(r"[0-9]{8}T[0-9]{4}Z")
_WORD = re.compile(r"[a-z][a-z-]{0,23}")
_COUNT = re.compile(r"[0-9]{1,5}")


class Token(NamedTuple):
    """One report. Windows are ids ("20261124T0215Z"), "" for none."""

    window: str = ""
    outcome: str = ""           # one of OUTCOMES, "" before the first window
    upgraded: int = 0
    kept: int = 0
    pending: int = 0
    reboot: str = "no"          # one of REBOOTS
    success: str = ""           # the last window with success
    health: str = "ok"          # or one word why not: veto, invalid, expired, ...


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
             "r=" + (token.outcome if token.outcome in OUTCOMES else "-"),
             "u=" + _count(token.upgraded), "k=" + _count(token.kept),
             "p=" + _count(token.pending),
             "b=" + (token.reboot if token.reboot in REBOOTS else "unknown")]
    if token.success != token.window:
        parts.append("l=" + _window(token.success))
    if token.health != "ok":
        parts.append("h=" + (token.health if _WORD.fullmatch(token.health) else "-"))
    text = "%s (%s)" % (head, " ".join(parts))
    return text if len(text) <= MAX_BYTES else head


def _window(text: str) -> str:
    return text if _WINDOW.fullmatch(text) else "-"


def _count(number: int) -> str:
    return str(max(0, min(number, MAX_COUNT)))


def read(text: str) -> Optional[Sighting]:
    """Return who sent a User-Agent, None when it is no client of ours or of the original."""
    if len(text) > MAX_BYTES or not text.startswith("QualvoSec "):
        return None
    words = text.split(" ", 3)
    if len(words) < 3:
        return None
    version, fqdn = words[1:3]
    if not _VERSION.fullmatch(version) or len(fqdn) > 253 or not _NAME.fullmatch(fqdn):
        return None
    fqdn = fqdn.lower()
    if len(words) == 3:
        return Sighting(version, fqdn, None)
    rest = words[3]
    if not (rest.startswith("(") and rest.endswith(")") and rest.isprintable()):
        return None
    return Sighting(version, fqdn, _read_token(rest[1:-1].split(" ")))


def _read_token(words: List[str]) -> Optional[Token]:
    if words[0] != "s1":
        return None
    fields = {}
    for word in words[1:]:
        key, _, value = word.partition("=")
        if key in fields:
            return None
        fields[key] = "" if value == "-" else value
    try:
        window, outcome, reboot = fields["w"], fields["r"], fields["b"]
        counts = [fields[key] for key in "ukp"]
    except KeyError:
        return None
    success = fields.get("l", window)
    health = fields.get("h", "ok") or "unknown"
    if not (all(_COUNT.fullmatch(count) for count in counts) and reboot in REBOOTS
            and _WORD.fullmatch(health) and (outcome in OUTCOMES or not outcome)
            and all(_WINDOW.fullmatch(name) or not name for name in (window, success))):
        return None
    upgraded, kept, pending = [int(count) for count in counts]
    return Token(window, outcome, upgraded, kept, pending, reboot, success, health)
