# SPDX-License-Identifier: BSD-2-Clause
"""What root refuses, whoever asks: pure decisions over root's own memory.

The daemon decides when to patch; these rules hold even if the daemon is wrong or
taken over. One run for each window, nothing after its end, no reboot while a run
is alive or soon after another, nothing that helper.conf or a veto forbids.
"""

from qualvosec.helper import config as configs
from qualvosec.helper import record as records
from qualvosec.helper import request as requests

REBOOT_PATIENCE_S = 900


def refusal(request: requests.Request, state: records.State, config: configs.Config,
            veto: str, alive: bool, now: float, boot_id: str) -> str:
    """Return why this run or reboot is not started now, empty if it may start."""
    record, window = state.record, request.window
    if veto:
        return veto
    if alive:
        return "a run is alive (window %s, phase %s)" % (record.window, record.phase)
    coming = record.reboot_requested + record.reboot_delay + REBOOT_PATIENCE_S - now
    if (record.reboot_requested and state.boot_id == boot_id and request.op != "reboot"
            and 0 < coming <= record.reboot_delay + REBOOT_PATIENCE_S):
        return "a reboot was asked for %d seconds ago and is coming" % (
            now - record.reboot_requested)
    if now > request.not_after:
        return "the window has closed: nothing starts after not_after"
    if request.op == "upgrade" and records.was_committed(record, window):
        return "window %s: a run has already reached the package manager" % window
    if request.op == "repair" and (record.window, record.op) == (window, "repair") and (
            record.outcome not in ("locked", "refused")):
        return "window %s: has already been repaired once" % window
    return _no_reboot(state, window, config, now) if request.op == "reboot" else ""


def _no_reboot(state: records.State, window: str, config: configs.Config, now: float) -> str:
    if not config.allow_reboot:
        return "reboot: not allowed by helper.conf (allow_reboot)"
    if state.record.window and not state.record.finished:
        return "reboot: the last run was interrupted: repair first"
    if not state.record.clean:
        return "reboot: the package database is not clean"
    if state.record.reboot_requested and state.reboot_window == window:
        return "reboot: already requested in window %s" % window
    if state.last_reboot > now:
        return "reboot: the last one lies in the future (clock set back?): it counts as now"
    left = state.last_reboot + config.min_hours_between_reboots * 3600 - now
    if state.last_reboot and left > 0:
        return "reboot: the last one was less than %d hours ago, %d minutes to wait" % (
            config.min_hours_between_reboots, left // 60 + 1)
    return ""
