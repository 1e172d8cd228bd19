# SPDX-License-Identifier: BSD-2-Clause
"""What root refuses, whoever asks: pure decisions over root's own memory.

The daemon decides when to patch; these rules hold even if the daemon is wrong or
taken over. One run for each window, nothing after its end, no reboot while a run
is alive or soon after another, nothing that helper.conf or a veto forbids.
"""

from typing import Tuple

from qualvosec.helper import config as configs
from qualvosec.helper import record as records
from qualvosec.helper import request as requests

DISRUPTIVE = ("upgrade", "repair", "reboot")


def refusal(request: requests.Request, state: records.State, config: configs.Config,
            veto: str, alive: bool, now: float) -> str:
    """Return why this request is not started now, empty if it may start."""
    if request.op not in config.allow:
        return "%s: not allowed by helper.conf" % request.op
    if request.op not in DISRUPTIVE:
        return ""
    if veto:
        return veto
    if alive:
        return "a run is alive (window %s, phase %s)" % (state.record.window, state.record.phase)
    if now > request.not_after:
        return "the window has closed: nothing starts after not_after"
    if request.op == "upgrade" and records.was_committed(state.record, request.window):
        return "window %s: a run has already reached the package manager" % request.window
    if request.op == "repair" and _repaired(state.record, request.window):
        return "window %s: has already been repaired once" % request.window
    if request.op == "reboot":
        return _no_reboot(request, state, config)
    return ""


def _repaired(record: records.Record, window: str) -> bool:
    return (record.window == window and record.op == "repair"
            and record.outcome not in records.NO_OUTCOME)


def _no_reboot(request: requests.Request, state: records.State, config: configs.Config) -> str:
    if not config.allow_reboot:
        return "reboot: not allowed by helper.conf (allow_reboot)"
    if state.record.window and not state.record.finished:
        return "reboot: the last run was interrupted: repair first"
    if not state.record.clean:
        return "reboot: the package database is not clean"
    if state.record.reboot_requested and state.reboot_window == request.window:
        return "reboot: already requested in window %s" % request.window
    return ""


def too_soon(stamp: int, now: float, hours: int) -> Tuple[str, int]:
    """Judge a reboot by the time of the last one (0: none): (why not, stamp to store).

    A stamp in the future says nothing about the past: it counts as now, or
    a host whose clock starts anew at every boot would reboot in a loop.
    """
    if stamp > now:
        return "reboot: the last one lies in the future (clock?): counted as now", int(now)
    left = stamp + hours * 3600 - now
    if stamp and left > 0:
        return "reboot: the last one was less than %d hours ago, %d minutes to wait" % (
            hours, left // 60 + 1), stamp
    return "", int(now)
