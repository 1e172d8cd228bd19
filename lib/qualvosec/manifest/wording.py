# SPDX-License-Identifier: BSD-2-Clause
"""A schedule in the few words that a column has room for; pure."""

from typing import Optional

from qualvosec.manifest.policy import Policy
from qualvosec.manifest.window import civil

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
REBOOT = {"always": "True", "never": "False", "required": "required"}
_WEEKS = {1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 5: "5th", -1: "last"}


def days(policy: Policy, is_short: bool = False) -> str:
    """Return the days of a schedule: "Wednesday", "Mon+Thu", "daily", "1st+last Sunday"."""
    if not policy.weekdays:
        return "-"
    if len(policy.weekdays) == 7:
        text = "day" if policy.weeks else "daily"
    elif len(policy.weekdays) == 1:
        text = DAYS[policy.weekdays[0]][:3 if is_short else None]
    else:
        text = "+".join(DAYS[day][:3] for day in policy.weekdays)
    if not policy.weeks:
        return text
    ordered = sorted(policy.weeks, key=lambda week: week if week > 0 else 9)
    return "%s %s" % ("+".join(_WEEKS[week] for week in ordered), text)


def patch_window(policy: Optional[Policy], is_short: bool = False) -> str:
    """Return days and local time of a schedule: "Wednesday, 03:15"; "-" without one."""
    if policy is None or not policy.weekdays:
        return "-"
    return "%s, %02d:%02d" % (days(policy, is_short), policy.hour, policy.minute)


def date(day: int) -> str:
    """Return an ordinal as YYYY-MM-DD."""
    return "%04d-%02d-%02d" % civil(day)
