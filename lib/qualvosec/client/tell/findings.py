# SPDX-License-Identifier: BSD-2-Clause
"""Is this host being patched as it should? One judgement for every reader.

The health endpoint, `qualvosec status` and the report token all speak from the
same list of findings: what is wrong (unhealthy), and what a person should know
although nothing is wrong. Pure; the caller supplies clock and facts.
"""

from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import paths
from qualvosec.client.decide import ahead
from qualvosec.client.decide.ahead import View
from qualvosec.client.decide.state import State
from qualvosec.client.fetch.pace import Pace
from qualvosec.client.tell.status import Snapshot
from qualvosec.contract import words
from qualvosec.manifest.window import window_id
from qualvosec.useragent import Token

STALLED_S = 3 * 3600
DISTRUST_S = 900
CLOCK_SETTLES_S = 900


class Situation(NamedTuple):
    """Everything that the judgement looks at; times are epoch seconds, 0 for never."""

    now: int
    started: int
    view: View
    state: State
    pace: Pace
    interval: int = 6 * 3600        # fetch_interval, seconds
    server: str = ""                # URL of the manifest
    entry: str = ""                 # policy | unlisted | invalid, "": none received yet
    faults: Tuple[str, ...] = ()
    serial: int = 0
    expires: int = 0
    fetch_reason: str = ""          # why the last fetch failed, "" if it did not
    distrusted: int = 0             # since when the signature does not verify
    waiting: str = ""               # why nothing starts now
    running_since: int = 0
    veto: str = ""
    unanswered: str = ""            # why the helper could not be asked
    unserved: str = ""              # why the helper could install nothing on this system
    write_fault: str = ""           # why the state cannot be written
    config_fault: str = ""
    unheard: str = ""               # why the health check cannot be answered
    manager: str = ""
    kernel: str = ""


class Finding(NamedTuple):
    """One thing to say; `word` goes into the report token, `bad` means unhealthy."""

    word: str
    text: str
    bad: bool = True


def findings(s: Situation) -> List[Finding]:
    """Return what is wrong first, then what is worth knowing."""
    found = _about_policy(s) + _about_runs(s) + _about_host(s)
    return sorted(found, key=lambda finding: not finding.bad)


def _about_policy(s: Situation) -> List[Finding]:
    found = []
    if not s.view.fqdn:
        found.append(Finding("noname", s.view.detail + "; then reload this service"))
    elif s.view.why == "unlisted":
        found.append(Finding("unlisted", "%s is not in the manifest: it is never patched; add it or"
                             " stop this service" % s.view.fqdn))
    elif s.view.why == "invalid":
        found.append(Finding("invalid", "the entry of this host is invalid, nothing is patched: "
                             + (s.view.detail or "correct it")))
    elif s.view.why == "expired":
        found.append(Finding("expired", "the policy is no longer in force: " + s.view.detail))
    elif s.view.why:
        found.append(Finding("nopolicy", "no manifest has been accepted yet%s"
                             % (": " + s.fetch_reason if s.fetch_reason else ""),
                             bad=bool(s.fetch_reason)))
    if s.fetch_reason and s.view.why in ("", "unlisted", "invalid"):
        silent = s.now - s.pace.success > 2 * s.interval
        forged = bool(s.distrusted) and s.now - s.distrusted > DISTRUST_S
        found.append(Finding("signature" if s.distrusted else "server", "no newer manifest was"
                             " accepted, the last one stays in force: " + s.fetch_reason,
                             bad=silent or forged))
    return found


def _about_runs(s: Situation) -> List[Finding]:
    found = []
    last = s.state.last
    if s.running_since:
        stalled = s.now - s.running_since > STALLED_S
        found.append(Finding("running", "a package run is alive since %s"
                             % window_id(s.running_since), bad=stalled))
    elif last.outcome and words.outcome(last.outcome).level == words.BAD:
        way_out = "" if last.clean else "; once the package database is in order: %s" % (
            "qualvosec reset interrupted")
        found.append(Finding(last.outcome, "window %s: %s: %s%s" % (
            last.window, last.outcome, last.reason or "no reason given", way_out)))
    elif last.outcome == words.PARTIAL:
        found.append(Finding(last.outcome, "window %s: %s packages were kept back: %s"
                             % (last.window, words.number(last.kept), last.reason), bad=False))
    elif last.outcome and last.outcome not in words.OUTCOMES:
        found.append(Finding("newer", "window %s: %s, which only later versions know: %s" % (
            last.window, last.outcome, last.reason or "no reason given"), bad=False))
    obstacle = s.state.obstacle
    if obstacle[0] and obstacle[0] != last.window and not s.running_since:
        found.append(Finding(obstacle[1] or "waiting", "window %s: not started: %s"
                             % (obstacle[0], obstacle[2]), bad=False))
    if ahead.overdue(s.view, s.state, s.now):
        found.append(Finding("overdue", "two windows have passed without a success"))
    if s.state.reboot == "failed":
        found.append(Finding("reboot", "the reboot failed: " + s.state.reboot_reason))
    elif words.reboot_level(s.state.reboot) == words.WARN:
        why = s.state.reboot_reason or "; ".join(last.due_reasons)
        found.append(Finding("reboot", "a reboot is %s%s"
                             % (s.state.reboot, ": " + why if why else ""), bad=False))
    return found


def _about_host(s: Situation) -> List[Finding]:
    found = []
    if s.state.trouble:
        found.append(Finding("state", "the state was lost: %s; a success in a later window settles"
                             " it, or: qualvosec reset interrupted" % s.state.trouble))
    if s.write_fault:
        found.append(Finding("state", s.write_fault))
    if s.unanswered:
        found.append(Finding("helper", "the root helper cannot be asked: " + s.unanswered))
    if s.unserved and s.state.last.outcome != words.UNSUPPORTED:
        found.append(Finding(words.UNSUPPORTED, "this host cannot be patched: " + s.unserved,
                             bad=s.view.policy is not None and s.view.policy.patch))
    if s.config_fault:
        found.append(Finding("config", "the configuration was not taken over: " + s.config_fault))
    if s.unheard:
        found.append(Finding("monitoring", "monitoring is off: " + s.unheard))
    if ahead.CLOCK_BEFORE in s.waiting:
        # Soon after a start the network may yet set it; where nothing does, nothing is patched.
        settling = 0 <= s.now - s.started < CLOCK_SETTLES_S
        found.append(Finding("clock", ahead.CLOCK_BEFORE, bad=not settling))
    elif ahead.CLOCK_UNSETTLED in s.waiting:
        found.append(Finding("clock", "the clock is not believed until a fetch or fifteen minutes"
                             " after the boot confirm it", bad=False))
    if s.veto:
        found.append(Finding("veto", "vetoed on this host: " + s.veto, bad=False))
    return found


def snapshot(s: Situation) -> Snapshot:
    """Return the view for monitoring."""
    found = findings(s)
    last = s.state.last
    opening = ahead.next_start(s.view, s.state, s.now)
    return Snapshot(
        healthy=not any(finding.bad for finding in found),
        reasons=tuple(finding.text for finding in found), version=paths.VERSION,
        fqdn=s.view.fqdn, now=s.now, started=s.started, phase=s.state.phase,
        running_since=s.running_since, waiting_for=s.waiting, veto=s.veto, entry=s.entry,
        policy=s.view.policy, faults=s.faults,
        next_window=opening.id if opening else "", next_start=opening.start if opening else 0,
        next_close=opening.closes if opening else 0, last_window=last.window,
        outcome=last.outcome, reason=last.reason, finished=last.finished,
        upgraded=last.upgraded, kept=last.kept, pending=last.pending,
        config_files=last.config_files, manager=s.manager, kernel=s.kernel, reboot=s.state.reboot,
        reboot_reasons=last.due_reasons or ((s.state.reboot_reason,) if s.state.reboot_reason
                                            else ()),
        last_success=s.state.success, server=s.server, reachable=not s.fetch_reason,
        fetch_reason=s.fetch_reason, last_fetch=s.pace.attempt, last_contact=s.pace.success,
        serial=s.serial, expires=s.expires)


def token(s: Situation) -> Token:
    """Return the report for the User-Agent of the next fetch."""
    bad = [finding.word for finding in findings(s) if finding.bad]
    last = s.state.last
    return Token(window=last.window, outcome=last.outcome, upgraded=last.upgraded, kept=last.kept,
                 pending=last.pending, reboot=s.state.reboot,
                 success=window_id(s.state.success) if s.state.success else "",
                 health=bad[0] if bad else "ok")


def waiting_for(action_kind: str, why: str, until: int, now: int) -> Optional[str]:
    """Return the line for `waiting_for`, None when something is being done."""
    if action_kind != "wait":
        return None
    return "%s%s" % (why, " (until %s)" % window_id(until) if until > now + 120 else "")
