# SPDX-License-Identifier: BSD-2-Clause
"""What a run came to: root's record, or its absence, turned into the window's outcome. Pure.

Only a run that reached the package manager's commit phase, or that found there
was nothing to commit, uses its window up. What root could not finish is
interrupted; a window that passes without an attempt is missed. Each window is
concluded once.
"""

from typing import Optional
from typing import Tuple

from qualvosec.client.decide.state import MAX_CONSUMED
from qualvosec.client.decide.state import NO_OBSTACLE
from qualvosec.client.decide.state import RunResult
from qualvosec.client.decide.state import State
from qualvosec.client.root.record import Record
from qualvosec.contract import words

RETRY_S = 300
REASON_LENGTH = 400
UNTRIED = "the host was off or asleep, its clock not believed, its disk full, or it had no policy"
OTHER_BOOT = "the host was restarted, but not at our request"


def key(record: Optional[Record]) -> Tuple[str, int]:
    """Return what tells one record from the next, and when its request was accepted.

    The time alone does not: a clock that was set back can accept and end two
    attempts in the same seconds, and a run that seemed interrupted may finish.
    """
    if record is None:
        return "", 0
    return "%s %s %d %d %s %s %d" % (
        record.window, record.op, record.accepted, record.finished, record.phase,
        record.outcome or "-", record.committed), record.accepted


def is_known(state: State, record: Optional[Record]) -> bool:
    """Say whether this record was judged already; earlier versions noted fewer words of its key."""
    return (key(record)[0] + " ").startswith(state.known[0] + " ")


def is_untried(word: str) -> bool:
    """Say whether an attempt ended like this before it looked at the system: it may be repeated."""
    meaning = words.outcome(word)
    return not meaning.ran and not meaning.uses_up


def conclude(state: State, record: Record) -> State:
    """Take over the outcome of a finished run or repair."""
    last = RunResult(
        window=record.window, outcome=record.outcome, reason=record.reason[:REASON_LENGTH],
        finished=record.finished, upgraded=record.upgraded, kept=record.kept,
        pending=record.pending, clean=record.clean,
        due=state.last.due if is_untried(record.outcome) else record.reboot,
        due_reasons=tuple(reason[:REASON_LENGTH] for reason in record.reboot_reasons),
        config_files=record.config_files)
    if record.op == "repair":
        what = "repaired" if record.clean else "repair failed"
        last = last._replace(outcome=words.INTERRUPTED, reason=(
            "interrupted; %s: %s" % (what, record.reason))[:REASON_LENGTH])
    state = state._replace(phase="patched", last=last, retry=record.finished + RETRY_S)
    meaning = words.outcome(record.outcome)
    if record.committed or meaning.uses_up or record.op == "repair":
        state = consume(state, meaning.succeeds and record.op == "upgrade")
    if record.reboot_requested:
        # The request of a daemon that has forgotten it: wait for it, ask for no second one.
        return state._replace(phase="rebooting", begun=record.reboot_requested,
                              reboot="requested", reboot_reason="", tries=1)
    return state


def consume(state: State, success: bool) -> State:
    """Use up the window of the run in hand."""
    pair = (state.opens, state.closes)
    if pair not in state.consumed:
        days = state.days[1] if state.days[0] == state.schedule else ()
        state = state._replace(consumed=(state.consumed + (pair,))[-MAX_CONSUMED:],
                               days=(state.schedule, (days + (state.date,))[-MAX_CONSUMED:]))
    if success:
        state = state._replace(success=state.opens, failures=0, concluded=state.window)
        # A run from before the loss says nothing about the time after it.
        return state._replace(trouble="", hold=0) if 0 <= state.hold < state.opens else state
    return without_success(state, state.window)


def without_success(state: State, name: str) -> State:
    """Count a window that brought no success, once."""
    if state.concluded == name:
        return state
    return state._replace(concluded=name, failures=state.failures + 1)


def interrupted(state: State, record: Record, now: int) -> State:
    """Judge a run that is neither finished nor alive."""
    last = RunResult(window=record.window, outcome=words.INTERRUPTED, finished=now,
                  reason="stopped in phase %s" % record.phase, clean=False,
                  upgraded=record.upgraded, kept=record.kept, pending=record.pending)
    if record.op == "repair":
        last = last._replace(reason="the repair was interrupted as well")
        return consume(state._replace(phase="patched", last=last), False)
    if record.committed:
        state = consume(state._replace(last=last), False)
        return state._replace(op="repair", tries=0)
    clean = state.last.clean and record.phase != "recover"
    return state._replace(phase="patched", retry=now + RETRY_S, last=last._replace(clean=clean))


def booted(state: State, record: Optional[Record], kernel: str) -> State:
    """Settle the reboot of a host that has booted since its boot id was noted.

    Only what root was asked for is verified, also when it came late: a power cut
    before the request proves nothing.
    """
    requested = record.reboot_requested if record is not None else 0
    state = state._replace(boot_id="", last=state.last._replace(due="no", due_reasons=()))
    if state.reboot in ("requested", "failed") and requested not in (0, state.asked):
        return state._replace(reboot="verified", reboot_reason="", kernel=kernel[:REASON_LENGTH])
    if state.reboot in ("verified", "no") and state.phase != "patched":
        return state
    return state._replace(reboot="no", reboot_reason=OTHER_BOOT)


def close(state: State, now: int, name: str) -> State:
    """A window has passed without a run that counts: its last outcome stands, or it was missed."""
    if state.last.window != name:
        blocked, outcome, reason = state.obstacle
        if blocked != name:
            outcome, reason = words.MISSED, UNTRIED
        state = state._replace(last=RunResult(
            window=name, outcome=outcome, reason=reason, finished=now, upgraded=0,
            clean=state.last.clean, due=state.last.due, due_reasons=state.last.due_reasons))
    return without_success(state._replace(obstacle=NO_OBSTACLE), name)
