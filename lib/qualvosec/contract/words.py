# SPDX-License-Identifier: BSD-2-Clause
"""How a run ended and what became of the reboot: each word once, with what it asks of a person.

Levels: "bad" now, "warn" some day, "good" nothing. Root, the daemon and whoever reads its
reports may be of different versions. A word that is not in these tables is newer than its
reader: it is shown as it came and is a warning, and what came with it is kept. Names of
windows and numbers are no words: what is not known of them is None, shown as "?".
"""

import re
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Sequence

BAD, WARN, GOOD = LEVELS = ("bad", "warn", "good")
(OK, NOTHING, PARTIAL, FAILED, REFUSED, LOCKED, INTERRUPTED, MISSED, UNSUPPORTED) = (
    "ok", "nothing", "partial", "failed", "refused", "locked", "interrupted", "missed",
    "unsupported")
PATTERN = "[a-z][a-z-]{0,23}"


class Outcome(NamedTuple):
    """What a word about the end of a run means."""

    level: str
    uses_up: bool = False       # the window, also where nothing was committed
    succeeds: bool = False      # the host has what it should have
    ran: bool = True            # the package manager was set to work


OUTCOMES: Dict[str, Outcome] = {
    OK: Outcome(GOOD, True, True),
    NOTHING: Outcome(GOOD, True, True),
    PARTIAL: Outcome(WARN, True, True),
    FAILED: Outcome(BAD),
    REFUSED: Outcome(BAD, ran=False),
    LOCKED: Outcome(BAD, ran=False),
    INTERRUPTED: Outcome(BAD),
    MISSED: Outcome(BAD, ran=False),
    UNSUPPORTED: Outcome(BAD, True, ran=False),
}
REBOOTS: Dict[str, str] = {
    "no": GOOD,
    "due": WARN,
    "deferred": WARN,
    "requested": GOOD,
    "verified": GOOD,
    "failed": BAD,
    "unknown": GOOD,
}


def is_word(value: object) -> bool:
    """Say whether this can be a word of any version: short, and safe wherever it is shown."""
    return isinstance(value, str) and re.fullmatch(PATTERN, value) is not None


def outcome(word: str) -> Outcome:
    """Return what the end of a run means, also of one that only later versions know."""
    return OUTCOMES.get(word, Outcome(WARN))


def reboot_level(word: str) -> str:
    """Return what the state of a reboot asks of a person."""
    return REBOOTS.get(word, WARN)


def number(count: Optional[int]) -> str:
    """Return a number for people; "?" where it is not known."""
    return "?" if count is None else "%d" % count


def capped(texts: Sequence[str], most: int) -> List[str]:
    """Return at most so many texts, the last one saying how many more there are."""
    more = len(texts) - most + 1
    return list(texts) if more < 2 else list(texts[:most - 1]) + ["and %d more" % more]
