# SPDX-License-Identifier: BSD-2-Clause
"""What one host is told to do: the effective policy, after all levels are merged.

A policy is a value. It travels as JSON from the fetch process to the daemon and
into its cache, and is checked again on each arrival: exact types, closed ranges.
The fetch process is the one that reads what the web server sent,
so the daemon believes nothing it says about itself.
"""

from typing import Dict
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec.contract import shape

MAX_ENTRIES = 500
MAX_TEXT = 128
MAX_ORDINAL = 3652059   # 9999-12-31, the last day that the calendar can name


class PolicyError(ValueError):
    """A value is not a policy; the text names the key and what is wrong."""


class Policy(NamedTuple):
    """Durations are minutes unless the name says otherwise; days are proleptic ordinals."""

    patch: bool = False
    reboot: str = "never"                       # never | always | required
    weekdays: Tuple[int, ...] = ()              # sorted, 0 is Monday
    hour: int = 0
    minute: int = 0
    duration: int = 60
    reboot_grace: int = 60
    splay: int = 0
    weeks: Tuple[int, ...] = ()                 # 1 to 5, -1 is the last; empty: every week
    freeze: Tuple[Tuple[int, int], ...] = ()    # first and last day, both included
    catch_up: int = 0                           # hours
    security_only: bool = False
    only: Tuple[str, ...] = ()                  # packages_whitelist
    exclude: Tuple[str, ...] = ()               # packages_blacklist
    groups: Tuple[str, ...] = ()                # group_membership


def _ranges(value: object, notes: shape.Notes) -> object:
    day = shape.number(1, MAX_ORDINAL)
    found = shape.list_of(shape.row(day, day), MAX_ENTRIES)(value, notes)
    if any(first > last for first, last in found):
        raise shape.ShapeError("has a range that ends before it begins")
    return found


def _sorted(low: int, high: int, but: int = -1) -> shape.Part:
    numbers = shape.list_of(shape.number(low, high))

    def part(value: object, notes: shape.Notes) -> object:
        found = numbers(value, notes)
        if but in found or list(found) != sorted(set(found)):
            raise shape.ShapeError("has an entry that is out of range, unsorted or twice")
        return found
    return part


_TEXTS = shape.list_of(shape.text(MAX_TEXT, 1), MAX_ENTRIES)
_POLICY = shape.record(
    Policy, reboot=shape.word("never", "always", "required"), weekdays=_sorted(0, 6),
    hour=shape.number(0, 23), minute=shape.number(0, 59), duration=shape.number(1, 1440),
    reboot_grace=shape.number(0, 1440), splay=shape.number(0, 1440),
    weeks=_sorted(-1, 5, 0), freeze=_ranges, catch_up=shape.number(0, 168),
    only=_TEXTS, exclude=_TEXTS, groups=_TEXTS)


def from_json(value: object, notes: Optional[shape.Notes] = None) -> Policy:
    """Return the policy that to_json() wrote; raises PolicyError for anything else.

    What of it is newer than this version is appended to the notes.
    """
    try:
        policy: Policy = _POLICY(value, [] if notes is None else notes)
    except shape.ShapeError as error:
        raise PolicyError("policy: %s" % error) from None
    if policy.splay > policy.duration:
        raise PolicyError("policy: splay is longer than duration")
    if policy.patch and not policy.weekdays:
        raise PolicyError("policy: patch is true and weekdays is empty")
    return policy


def to_json(policy: Policy) -> Dict[str, object]:
    """Return the policy as values that the json module writes as they are."""
    result: Dict[str, object] = {}
    for key, value in policy._asdict().items():
        if isinstance(value, tuple):
            value = [list(entry) if isinstance(entry, tuple) else entry for entry in value]
        result[key] = value
    return result


def schedule_key(policy: Policy) -> str:
    """Return a text that is equal for two policies when they open the same windows.

    A window counts as missed only when it opened after the host first saw its
    schedule, so everything that adds, moves or removes a window belongs here:
    a freeze that is taken back must not turn the frozen days into missed windows.
    """
    def numbers(values: Tuple[int, ...]) -> str:
        return ",".join(str(value) for value in values)

    return "%s@%d:%d+%d~%d week %s freeze %s" % (
        numbers(policy.weekdays), policy.hour, policy.minute, policy.duration, policy.splay,
        numbers(policy.weeks), numbers(tuple(day for days in policy.freeze for day in days)))
