# SPDX-License-Identifier: BSD-2-Clause
"""What a run would do now: the helper's read-only check, shown as a table.

Listing what is pending needs no root: the helper is started directly, refreshes
nothing and changes nothing. The table is the same for every package manager.
"""

import json
from typing import List
from typing import NamedTuple
from typing import Tuple

from qualvosec import command
from qualvosec import paths
from qualvosec.client.root import call
from qualvosec.client.root.record import RootError
from qualvosec.contract import shape
from qualvosec.contract.call import MAX_ANSWER
from qualvosec.manifest.policy import Policy
from qualvosec.safetext import safe

DEADLINE_S = 120.0
_HEADINGS = ("Package", "Installed", "Available", "Security", "In this run")


class PendingUpdate(NamedTuple):
    """One package that has an update; `why` says why it is not part of the run."""

    name: str
    old: str
    new: str
    security: bool
    selected: bool
    why: str


class Plan(NamedTuple):
    """What the package manager offers and what the policy takes of it."""

    manager: str
    security: str                   # known | unknown
    pending: Tuple[PendingUpdate, ...]    # as many as root lists
    reboot: str                     # due | no | unknown
    reboot_reasons: Tuple[str, ...]
    warnings: Tuple[str, ...]
    pending_count: int = -1         # how many there are
    selected_count: int = -1        # of these in this run


_TEXTS = shape.list_of(shape.text(MAX_ANSWER))
_PLAN = shape.record(Plan, reboot_reasons=_TEXTS, warnings=_TEXTS,
                     pending_count=shape.number(0), selected_count=shape.number(0))


def ask(policy: Policy) -> Plan:
    """Ask the helper, unprivileged, what this policy would do; raises RootError."""
    request = call.request("check", refresh=False, security_only=policy.security_only,
                               only=list(policy.only), exclude=list(policy.exclude))
    argv = [paths.PYTHON, "-IBS", call.helper_path()]
    try:
        ended = command.run(argv, call.ENV, request, DEADLINE_S, MAX_ANSWER)
    except command.CommandError as error:
        raise RootError("%s: check the installation" % error)
    if ended.timed_out:
        raise RootError("the package manager gave no list within %d s: try again" % DEADLINE_S)
    reply = call.read_reply(ended, "qualvosec-helper")
    if reply.status != "ok" or reply.plan is None:
        raise RootError(reply.reason or "the helper sent no list")
    return from_json(reply.plan)


def from_json(value: object) -> Plan:
    """Check the helper's plan; raises RootError."""
    try:
        plan: Plan = _PLAN(value, [])
    except shape.ShapeError as error:
        raise RootError("the helper's list cannot be read: %s" % safe(str(error))) from None
    rows = plan.pending
    return plan._replace(
        pending_count=_count(plan, "pending_count", len(rows)),
        selected_count=_count(plan, "selected_count", sum(row.selected for row in rows)))


def _count(plan: Plan, key: str, listed: int) -> int:
    """Return a number beside a list, which may be longer than what is listed but not shorter."""
    number: int = getattr(plan, key)
    if number == -1:
        # The helper of an earlier version, which lists them all.
        return listed
    if number < listed:
        raise RootError("the helper's list cannot be read: %s is no number of its rows" % key)
    return number


def table(plan: Plan) -> str:
    """Return the plan for a terminal: a table, then one line for each note."""
    rows: List[Tuple[str, ...]] = [_HEADINGS]
    for row in sorted(plan.pending):
        security = ("yes" if row.security else "no") if plan.security == "known" else "?"
        rows.append((row.name, row.old, row.new, security,
                     "yes" if row.selected else "no: " + row.why))
    lines = []
    if len(rows) > 1:
        shown = [tuple(safe(cell, 120) for cell in row) for row in rows]
        widths = [max(len(row[column]) for row in shown) for column in range(len(_HEADINGS) - 1)]
        for cells in shown:
            padded = [cell.ljust(width) for cell, width in zip(cells, widths)]
            lines.append("  ".join(padded + [cells[-1]]).rstrip())
    if plan.pending_count > len(plan.pending):
        lines.append("... and %d more" % (plan.pending_count - len(plan.pending)))
    lines.append(summary(plan))
    if plan.reboot == "due":
        lines.append("a reboot is due: " + safe("; ".join(plan.reboot_reasons)))
    elif plan.reboot == "unknown":
        lines.append("whether a reboot is due is unknown on this system")
    lines.extend("warning: " + safe(text, 400) for text in plan.warnings)
    return "\n".join(lines) + "\n"


def summary(plan: Plan) -> str:
    """Return the one line that counts."""
    return "%s: %d pending, %d in this run, %d left out" % (
        safe(plan.manager), plan.pending_count, plan.selected_count,
        plan.pending_count - plan.selected_count)


def as_json(plan: Plan) -> str:
    """Return the plan as one JSON object."""
    fields = dict(plan._asdict(), pending=[row._asdict() for row in plan.pending])
    return json.dumps(fields, sort_keys=True) + "\n"
