# SPDX-License-Identifier: BSD-2-Clause
"""One decision: step(view, state, facts) -> (state', action). Pure.

The caller makes state' durable before it acts, and decides afresh after every
wake-up, so that a crash between any two instructions loses nothing: what was
announced is found again, what was done is in root's record, and that record is
the truth about what was committed. The table that this module carries out is
in docs/state-machine.md; each function below is one of its phases.
"""

from typing import Callable
from typing import Dict
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec.client.decide import ahead as outlook
from qualvosec.client.decide import gates
from qualvosec.client.decide import outcome
from qualvosec.client.decide.ahead import Facts
from qualvosec.client.decide.ahead import View
from qualvosec.client.decide.gates import WAKE_S
from qualvosec.client.decide.outcome import REASON_LENGTH
from qualvosec.client.decide.outcome import RETRY_S
from qualvosec.client.decide.state import NO_OBSTACLE
from qualvosec.client.decide.state import RunResult
from qualvosec.client.decide.state import State
from qualvosec.contract import words
from qualvosec.manifest import window
from qualvosec.manifest.policy import Policy
from qualvosec.manifest.policy import schedule_key
from qualvosec.manifest.window import Opening

REBOOT_PATIENCE_S = 900
REBOOT_DELAY_S = 60
LOST_REQUEST_S = 60
MAX_TRIES = 3
SEEN_EVERY_S = 3600


class Action(NamedTuple):
    """What the caller does next, after it has saved the state."""

    kind: str           # wait | watch | ask | upgrade | repair | reboot | again
    why: str = ""       # one line for people
    until: int = 0      # wait: nothing changes before, as far as time alone is concerned
    window: str = ""
    not_after: int = 0  # upgrade, repair, reboot: root starts nothing later than this


Step = Tuple[State, Action]
AGAIN = Action("again")


def step(view: View, state: State, facts: Facts) -> Step:
    """Decide once. The same arguments give the same answer."""
    if facts.alive is None and not facts.unanswered:
        return state, Action("ask", "asking the helper what it knows")
    if not facts.writable:
        why = "the state cannot be written"
        return state, Action("watch" if facts.alive else "wait", why, facts.now + WAKE_S)
    state = _notice_restart(_remember_time(state, facts), facts)
    return _PHASES[state.phase](view, state, facts)


def _notice_restart(state: State, facts: Facts) -> State:
    """Settle a reboot that was still wanted, or came late, when the host has booted."""
    if state.phase == "rebooting" or facts.unanswered or not _restarted(state, facts):
        return state
    return outcome.booted(state, facts.record, facts.kernel)


def _remember_time(state: State, facts: Facts) -> State:
    """Move `seen` once an hour: often enough for a clock without a battery, and kind to disks."""
    if not facts.clock_plausible:
        return state
    if not 0 <= facts.now - state.seen < SEEN_EVERY_S:
        state = state._replace(seen=facts.now)
    # What a clock that ran ahead has left behind would otherwise hold until it comes true.
    return state._replace(since=min(state.since, facts.now), hold=min(state.hold, facts.now))


def _restarted(state: State, facts: Facts) -> bool:
    return outlook.restarted(state.boot_id, state.noted, facts.boot_id, facts.uptime, facts.now)


# --- patching: a run or a repair was announced ---------------------------------------------------

def _patching(view: View, state: State, facts: Facts) -> Step:
    if facts.alive:
        return state, Action("watch", "running", window=state.window)
    if facts.unanswered:
        return state, Action("wait", facts.unanswered, facts.now + RETRY_S)
    record = facts.record
    if record is not None and record.window == state.window and not outcome.is_known(state, record):
        state = state._replace(known=outcome.key(record), boot_id=record.boot_id,
                               noted=record.accepted, asked=0)
        if record.finished:
            return outcome.conclude(state, record), AGAIN
        return outcome.interrupted(state, record, facts.now), AGAIN
    if state.op == "repair":
        return _repair(view, state, facts)
    why = facts.refused or "the request did not reach the helper"
    last = RunResult(window=state.window, outcome=words.REFUSED if facts.refused else words.FAILED,
                  reason=why[:REASON_LENGTH], finished=facts.now, upgraded=0, due=state.last.due,
                  clean=state.last.clean)
    return _idle_again(state._replace(last=last, retry=facts.now + RETRY_S))


def _repair(view: View, state: State, facts: Facts) -> Step:
    """Put the package database in order, in the time that belongs to the window."""
    if facts.refused or state.tries >= MAX_TRIES:
        why = "not repaired: %s" % (facts.refused or "the helper left no record")
        last = state.last._replace(clean=False, reason=(
            "%s; %s" % (state.last.reason, why))[:REASON_LENGTH])
        return state._replace(phase="patched", last=last), AGAIN
    if state.tries and 0 <= facts.now - state.begun < LOST_REQUEST_S:
        return state, Action("wait", "the repair was requested",
                             state.begun + LOST_REQUEST_S, state.window)
    hindered = gates.hindrance("repair", view, state, facts)
    if hindered and hindered.unsettled:
        return state, Action("wait", hindered.why, hindered.until)
    if hindered:
        return state._replace(phase="patched", last=state.last._replace(reason=(
            "%s; not repaired: %s" % (state.last.reason, hindered.why))[:REASON_LENGTH])), AGAIN
    asked = state._replace(tries=state.tries + 1, begun=facts.now)
    return asked, Action("repair", "the run was interrupted", 0, state.window, state.deadline)


# --- patched: the outcome is known, the reboot is not decided ------------------------------------

def _patched(view: View, state: State, facts: Facts) -> Step:
    if facts.alive:
        return state, Action("watch", "running", window=state.window)
    policy = outlook.active(view)
    known = view.why != "unknown"
    if not state.boot_id or (known and not _wanted(policy, state)):
        return _idle_again(_unwanted(policy, state))
    hindered = gates.hindrance("reboot", view, state, facts)
    if hindered and hindered.unsettled:
        return state, Action("wait", hindered.why, hindered.until)
    if hindered:
        return _idle_again(state._replace(reboot="deferred",
                                          reboot_reason=hindered.why[:REASON_LENGTH]))
    return _reboot(state, facts)


def _wanted(policy: Optional[Policy], state: State) -> bool:
    """Say whether this run, or an earlier one whose reboot was deferred, asks for a reboot."""
    last = state.last
    if policy is None or policy.reboot == "never":
        return False
    if not words.outcome(last.outcome).ran:
        return False
    if last.due == "due" or _carried(policy, state):
        return words.outcome(last.outcome).succeeds or last.clean
    installed = last.outcome == words.OK or (last.outcome == words.PARTIAL and last.upgraded != 0)
    return policy.reboot == "always" and installed


def _carried(policy: Policy, state: State) -> bool:
    """Say whether a deferred reboot still stands under the policy and what root knows now."""
    return state.reboot == "deferred" and (
        policy.reboot == "always" or (policy.reboot == "required" and state.last.due != "no"))


def _unwanted(policy: Optional[Policy], state: State) -> State:
    if not state.boot_id or outcome.is_untried(state.last.outcome):
        return state
    if policy is not None and _carried(policy, state):
        return state
    return state._replace(reboot=state.last.due, reboot_reason="")


def _reboot(state: State, facts: Facts) -> Step:
    asked = facts.record.reboot_requested if facts.record is not None else 0
    state = state._replace(phase="rebooting", begun=facts.now, asked=asked, tries=1,
                           reboot="requested", reboot_reason="")
    return _note_boot(state, facts), Action("reboot", "after the run", 0, state.window,
                                            state.deadline)


# --- rebooting: a reboot was announced -----------------------------------------------------------

def _rebooting(view: View, state: State, facts: Facts) -> Step:
    if _restarted(state, facts):
        if facts.unanswered:
            return state, Action("wait", facts.unanswered, facts.now + RETRY_S)
        return _idle_again(outcome.booted(state, facts.record, facts.kernel))
    if facts.now < state.begun - WAKE_S:
        # The clock was set back: count the patience anew from here.
        return _note_boot(state._replace(begun=facts.now), facts), AGAIN
    record = facts.record if facts.alive is False else None
    delay = record.reboot_delay if record is not None else REBOOT_DELAY_S
    end = state.begun + delay + REBOOT_PATIENCE_S
    refused = facts.refused or (record.reboot_refused if record is not None else "")
    if refused:
        return _no_reboot(state, refused)
    if facts.now >= end:
        return _no_reboot(state, "the host is still up %d s after the request" % (
            facts.now - state.begun))
    lost = (record is not None and record.reboot_requested in (0, state.asked)
            and facts.now - state.begun >= LOST_REQUEST_S and state.tries < MAX_TRIES)
    if lost and not gates.hindrance("deferred", view, state, facts):
        again = _note_boot(state._replace(tries=state.tries + 1, begun=facts.now), facts)
        return again, Action("reboot", "the request was lost", 0, state.window, state.deadline)
    if facts.alive:
        # What became of the request is known when the helper has ended, and only then.
        return state, Action("watch", "the helper is at work", end, state.window)
    return state, Action("wait", "waiting for the reboot", end, state.window)


def _note_boot(state: State, facts: Facts) -> State:
    return state._replace(boot_id=facts.boot_id or state.boot_id, noted=facts.now)


def _no_reboot(state: State, why: str) -> Step:
    return _idle_again(state._replace(reboot="failed", reboot_reason=why[:REASON_LENGTH]))


# --- idle: nothing is announced ------------------------------------------------------------------

def _idle_again(state: State) -> Step:
    return state._replace(phase="idle", window="", op="", begun=0, tries=0), AGAIN


def _idle(view: View, state: State, facts: Facts) -> Step:
    adopted = _adopt(view, state, facts)
    if adopted is not None:
        return adopted
    policy = outlook.active(view)
    if policy is None:
        if view.why != "unknown" and state.schedule:
            state = state._replace(schedule="", awaited=("", 0))
        return state, Action("wait", view.detail or view.why or "patch is false",
                             facts.now + WAKE_S)
    doubt = gates.doubtful_clock(view, state, facts, "run")
    if doubt:
        return state, Action("wait", doubt.why, doubt.until)
    if state.hold < 0:
        return state._replace(hold=facts.now), AGAIN
    if schedule_key(policy) != state.schedule:
        return _new_schedule(state, facts, schedule_key(policy)), AGAIN
    opening = window.latest(policy, facts.now, view.fqdn, view.zone)
    if opening is not None:
        done = facts.record.done if facts.record is not None else ()
        older = outlook.superseded(view, state, opening, done)
        if older:
            state = state._replace(awaited=(opening.id, opening.closes))
            return outcome.close(state, facts.now, older), AGAIN
        decided = _in_window(view, _aim(state, policy, opening), facts, opening, policy)
        if decided is not None:
            return decided
    ahead = outlook.next_start(view, state, facts.now)
    if ahead is None:
        return state._replace(awaited=("", 0)), Action("wait", "no window lies ahead",
                                                       facts.now + WAKE_S)
    state = state._replace(awaited=(ahead.id, ahead.closes))
    return state, Action("wait", "waiting for the next window", ahead.start, ahead.id)


def _adopt(view: View, state: State, facts: Facts) -> Optional[Step]:
    """Take over a run that root knows and this state does not."""
    record = facts.record
    watch = Action("watch", "running", window=record.window if record is not None else "")
    if record is None or (record.finished and facts.alive):
        return (state, watch) if facts.alive else None
    if not facts.alive and (facts.unanswered or outcome.is_known(state, record)
                            or record.accepted < state.known[1]):
        return None
    try:
        opens = window.opens_of(record.window)
    except window.WindowError:
        # Asked for by hand, with a name that no window has: root's affair.
        return (state, watch) if facts.alive else None
    policy = outlook.active(view) or Policy()
    opening = window.latest(policy, opens, view.fqdn, view.zone)
    if opening is None or opening.opens != opens:
        opening = Opening(record.window, opens, opens, opens + policy.duration * window.MINUTE_S,
                          window.local_day(opens, view.zone))
    state = _aim(state, policy, opening)._replace(
        phase="patching", window=record.window, begun=record.accepted, known=("", 0), tries=1,
        op="repair" if record.op == "repair" else "upgrade")
    return state, watch if facts.alive else AGAIN


def _aim(state: State, policy: Policy, opening: Opening) -> State:
    """Note the limits of a window; only one that opened under a known schedule is caught up."""
    late = policy.catch_up * window.HOUR_S if opening.opens >= state.since else 0
    return state._replace(
        opens=opening.opens, closes=opening.closes, cutoff=opening.closes + late, date=opening.date,
        deadline=opening.closes + late + policy.reboot_grace * window.MINUTE_S)


def _new_schedule(state: State, facts: Facts, key: str) -> State:
    name, until = state.awaited
    if name and until <= facts.now and name != state.concluded:
        opens = window.opens_of(name)
        if all(opens != consumed for consumed, _ in state.consumed):
            state = outcome.close(state, facts.now, name)
    return state._replace(schedule=key, since=facts.now, awaited=("", 0))


def _in_window(view: View, state: State, facts: Facts, opening: Opening,
               policy: Policy) -> Optional[Step]:
    """Decide about the newest window; None when it has nothing left to do."""
    done = facts.record.done if facts.record is not None else ()
    if not outlook.is_consumed(state, opening, done):
        if facts.now < opening.start:
            return None
        if facts.now < state.cutoff:
            return _try_run(view, state, facts, opening)
        if opening.opens >= state.since and state.concluded != opening.id:
            return outcome.close(state, facts.now, opening.id), AGAIN
    if (not _carried(policy, state) or facts.now < opening.start
            or gates.hindrance("deferred", view, state, facts)):
        return None
    return _reboot(state._replace(window=opening.id, op="upgrade"), facts)


def _try_run(view: View, state: State, facts: Facts, opening: Opening) -> Step:
    hindered = gates.hindrance("run", view, state, facts)
    if hindered:
        if hindered.outcome:
            state = state._replace(obstacle=(opening.id, hindered.outcome,
                                             hindered.why[:REASON_LENGTH]))
        return state, Action("wait", hindered.why, hindered.until, opening.id)
    state = state._replace(phase="patching", window=opening.id, op="upgrade", begun=facts.now,
                           known=outcome.key(facts.record), tries=1, obstacle=NO_OBSTACLE)
    return state, Action("upgrade", "the window is open", 0, opening.id, state.cutoff)


_PHASES: Dict[str, Callable[[View, State, Facts], Step]] = {
    "idle": _idle,
    "patching": _patching,
    "patched": _patched,
    "rebooting": _rebooting,
}
