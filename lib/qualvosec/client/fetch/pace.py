# SPDX-License-Identifier: BSD-2-Clause
"""When to fetch: pure arithmetic over what was fetched and when.

Every interval with a tenth of jitter; backing off from one minute to one hour
after failures; once in the ten minutes before each own start, whose answer
decides; once within five minutes after a run, so that its outcome reaches the
access log. Never more than once a minute. The spread is a hash of the host's
name, so that a fleet does not arrive at once and a single host is predictable.
All times are seconds since the epoch.
"""

from typing import NamedTuple
from typing import Optional

from qualvosec.manifest.window import share

BEFORE_START = 600
AFTER_RUN = 300
AFTER_BOOT = 1200
SHORTEST = 60
LONGEST_BACKOFF = 3600


class Pace(NamedTuple):
    """What is known of the fetches so far; 0 means never."""

    began: int
    attempt: int = 0
    success: int = 0
    failures: int = 0
    retry_after: int = 0


def attempted(pace: Pace, now: int) -> Pace:
    """Return the pace after a fetch was started."""
    return pace._replace(attempt=now)


def succeeded(pace: Pace, now: int) -> Pace:
    """Return the pace after an answer 200 or 304."""
    return pace._replace(success=now, failures=0, retry_after=0)


def failed(pace: Pace, retry_after: int) -> Pace:
    """Return the pace after any failure; `retry_after` is the server's wish in seconds or 0."""
    return pace._replace(failures=pace.failures + 1,
                         retry_after=max(0, min(retry_after, LONGEST_BACKOFF)))


def spread(fqdn: str, salt: str, span: int) -> int:
    """Return a number from 0 to span - 1 that belongs to this host and this occasion."""
    return share(fqdn, salt, max(1, span))


def due(pace: Pace, now: int, interval: int, fqdn: str, accepted: bool,
        start: Optional[int], finished: int) -> int:
    """Return when the next fetch is due (a time that may have passed already).

    `accepted`: a policy is in force; `start`: the own start that is not decided yet, of
    a window that is open or the next one; `finished`: end of the newest run, 0 if none.
    """
    attempt = min(pace.attempt, now)
    when = _regular(pace, attempt, interval, fqdn, accepted)
    if start is not None and attempt < start - BEFORE_START:
        ahead = start - BEFORE_START + spread(fqdn, str(start), BEFORE_START - SHORTEST)
        late = pace.began + spread(fqdn, str(start), SHORTEST)
        when = min(when, max(ahead, late))
    if finished and attempt < finished:
        when = min(when, finished + spread(fqdn, str(finished), AFTER_RUN))
    if attempt:
        when = max(when, attempt + max(SHORTEST, pace.retry_after))
    return when


def _regular(pace: Pace, attempt: int, interval: int, fqdn: str, accepted: bool) -> int:
    if not attempt:
        wait = spread(fqdn, "boot", AFTER_BOOT) if accepted else 0
        return pace.began + wait
    if pace.failures:
        backoff = min(LONGEST_BACKOFF, SHORTEST << min(pace.failures - 1, 10))
        return attempt + backoff + spread(fqdn, str(attempt), backoff // 4)
    jitter = interval // 10
    return attempt + interval - jitter + spread(fqdn, str(attempt), 2 * jitter + 1)
