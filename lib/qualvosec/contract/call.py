# SPDX-License-Identifier: BSD-2-Clause
"""What the client asks root and what root answers: operations, keys, types and limits.

Both sides take them from here; root accepts a request with exactly these keys, and the
client takes an answer of a later version for what it knows of it.
"""

from typing import Dict
from typing import NamedTuple

VERSION = 1
MAX_REQUEST = 16384
MAX_ANSWER = 1 << 20
STATUSES = OK, REFUSED, INVALID, FAILED = ("ok", "refused", "invalid", "failed")
_SELECTION: Dict[str, type] = {"security_only": bool, "only": list, "exclude": list}
_WHEN: Dict[str, type] = {"window": str, "not_after": int}
KEYS: Dict[str, Dict[str, type]] = {
    "check": dict(_SELECTION, refresh=bool), "upgrade": dict(_SELECTION, **_WHEN),
    "repair": _WHEN, "reboot": _WHEN, "status": {"wait": bool}}


class Answer(NamedTuple):
    """What root says; `record` and `plan` are checked by who knows them."""

    status: str = OK
    reason: str = ""
    alive: bool = False
    record: object = None
    plan: object = None
    experimental: str = ""
