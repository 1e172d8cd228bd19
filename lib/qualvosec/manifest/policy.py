# SPDX-License-Identifier: BSD-2-Clause
"""What one host is told to do: the effective policy, after all levels are merged.

A policy is a value. It travels as JSON from the fetch process to the daemon and
into its cache, and is checked again on each arrival: exact keys, exact types,
closed ranges. The fetch process is the one that reads what the web server sent,
so the daemon believes nothing it says about itself.
"""

from typing import Callable
from typing import Dict
from typing import NamedTuple
from typing import Tuple

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


Check = Callable[[str, object], object]


def _boolean(key: str, value: object) -> object:
    if type(value) is not bool:
        raise PolicyError("policy: %s is not true or false" % key)
    return value


def _reboot(key: str, value: object) -> object:
    if not isinstance(value, str) or value not in ("never", "always", "required"):
        raise PolicyError("policy: %s is not never, always or required" % key)
    return value


def _number(low: int, high: int) -> Check:
    def check(key: str, value: object) -> object:
        # bool is an int to Python and never one in a policy.
        if type(value) is not int or not low <= value <= high:
            raise PolicyError("policy: %s is not a number from %d to %d" % (key, low, high))
        return value
    return check


def _list(key: str, value: object) -> Tuple[object, ...]:
    if type(value) is not list or len(value) > MAX_ENTRIES:
        raise PolicyError("policy: %s is not a list of at most %d entries" % (key, MAX_ENTRIES))
    return tuple(value)


def _numbers(allowed: Tuple[int, ...]) -> Check:
    def check(key: str, value: object) -> object:
        entries = _list(key, value)
        numbers = [entry for entry in entries if isinstance(entry, int) and entry in allowed]
        if len(numbers) != len(entries) or any(type(entry) is bool for entry in entries):
            raise PolicyError("policy: %s has an entry that is out of range" % key)
        if numbers != sorted(set(numbers)):
            raise PolicyError("policy: %s is not sorted or has an entry twice" % key)
        return entries
    return check


def _texts(key: str, value: object) -> object:
    entries = _list(key, value)
    for entry in entries:
        if not isinstance(entry, str) or not 0 < len(entry) <= MAX_TEXT:
            raise PolicyError("policy: %s has an entry that is not text of 1 to %d characters"
                              % (key, MAX_TEXT))
    return entries


def _ranges(key: str, value: object) -> object:
    result = []
    for entry in _list(key, value):
        pair = _list(key, entry)
        if len(pair) != 2:
            raise PolicyError("policy: %s has an entry that is not a pair of days" % key)
        first, last = (_number(1, MAX_ORDINAL)(key, day) for day in pair)
        if first > last:   # type: ignore[operator]
            raise PolicyError("policy: %s has a range that ends before it begins" % key)
        result.append((first, last))
    return tuple(result)


_CHECKS: Dict[str, Check] = {
    "patch": _boolean,
    "reboot": _reboot,
    "weekdays": _numbers((0, 1, 2, 3, 4, 5, 6)),
    "hour": _number(0, 23),
    "minute": _number(0, 59),
    "duration": _number(1, 1440),
    "reboot_grace": _number(0, 1440),
    "splay": _number(0, 1440),
    "weeks": _numbers((-1, 1, 2, 3, 4, 5)),
    "freeze": _ranges,
    "catch_up": _number(0, 168),
    "security_only": _boolean,
    "only": _texts,
    "exclude": _texts,
    "groups": _texts,
}


def from_json(value: object) -> Policy:
    """Return the policy that to_json() wrote; raises PolicyError for anything else."""
    if type(value) is not dict:
        raise PolicyError("policy: is not an object")
    if set(value) != set(_CHECKS):
        raise PolicyError("policy: the keys are not those of a policy")
    fields = {key: check(key, value[key]) for key, check in _CHECKS.items()}
    policy = Policy(**fields)   # type: ignore[arg-type]
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
