# SPDX-License-Identifier: BSD-2-Clause
"""What one host is told to do: the effective policy, after all levels are merged.

A policy is a value. It travels as JSON from the fetch process to the daemon and
into its cache, and is checked again on each arrival: exact types, closed ranges.
The fetch process is the one that reads what the web server sent,
so the daemon believes nothing it says about itself.
"""

from typing import Any
from typing import Dict
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec.contract import shape
from qualvosec.manifest.fields import FIELDS


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


_CHECKS: Dict[str, Any] = {field.policy: field.check for field in FIELDS.values()}
_POLICY = shape.record(Policy, **_CHECKS)


def from_json(value: object, notes: Optional[shape.Notes] = None) -> Policy:
    """Return the policy that to_json() wrote; raises ShapeError for anything else.

    What of it is newer than this version is appended to the notes.
    """
    try:
        policy: Policy = _POLICY(value, [] if notes is None else notes)
    except shape.ShapeError as error:
        raise shape.ShapeError("policy: %s" % error) from None
    if policy.splay > policy.duration:
        raise shape.ShapeError("policy: splay is longer than duration")
    if policy.patch and not policy.weekdays:
        raise shape.ShapeError("policy: patch is true and weekdays is empty")
    return policy


def to_json(policy: Policy) -> Dict[str, object]:
    """Return the policy as values that the json module writes as they are."""
    result: Dict[str, object] = {}
    for key, value in policy._asdict().items():
        if isinstance(value, tuple):
            value = [list(entry) if isinstance(entry, tuple) else entry for entry in value]
        result[key] = value
    return result


def values(policy: Policy) -> Dict[str, object]:
    """Return a policy under the manifest's own names and in its own spellings, for JSON."""
    return {name: field.value(getattr(policy, field.policy)) for name, field in FIELDS.items()}


def texts(policy: Policy) -> Dict[str, str]:
    """Return the same for a person to read."""
    return {name: FIELDS[name].text(value) for name, value in values(policy).items()}


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
