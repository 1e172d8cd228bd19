# SPDX-License-Identifier: BSD-2-Clause
"""A veto file's text -> the reason why nothing may start, or none. Client and root read it alike.

The first line is the reason. A line `until: YYYY-MM-DD` ends the veto after that local
day, the latest where there are several. A line of that kind which cannot be read
ends nothing: somebody wanted this host left alone.
"""

import re

MAX_BYTES = 65536
MAX_REASON = 200
_UNTIL = re.compile(r"until\s*:\s*(.*)", re.IGNORECASE)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def reason(text: str, today: str) -> str:
    """Return why nothing may start on the local day `today` (YYYY-MM-DD), "" if the veto is over.

    An empty text is a veto, too.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ends = [found.group(1) for found in map(_UNTIL.fullmatch, lines) if found]
    if ends and all(_DAY.fullmatch(end) for end in ends) and max(ends) < today:
        return ""
    reasons = [line for line in lines if not _UNTIL.fullmatch(line)]
    return reasons[0][:MAX_REASON] if reasons else "no reason given"
