# SPDX-License-Identifier: BSD-2-Clause
"""May something start now, and if not: why, and until when? The one answer, for every reader. Pure.

GATES are asked in their order; the first that objects is the reason. What may start is a
`run` of the window that the state aims at, the `repair` of an interrupted one, the
`reboot` right after a run, or one that was `deferred` or whose request was lost. A gate that
something does not pass through says nothing of it.
"""

from typing import Callable
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec.client.decide import ahead
from qualvosec.client.decide.ahead import Facts
from qualvosec.client.decide.ahead import View
from qualvosec.client.decide.outcome import RETRY_S
from qualvosec.client.decide.state import State
from qualvosec.contract import words
from qualvosec.manifest import window

WAKE_S = 60


class Hindrance(NamedTuple):
    """Why something does not start; `until` is when to look again, epoch seconds."""

    why: str
    until: int
    outcome: str = ""           # of a window that passes like this, "": as if nobody had tried
    unsettled: bool = False     # nothing forbids it: something is not known yet


Gate = Callable[[View, State, Facts, str], Optional[Hindrance]]


def unknown_policy(view: View, state: State, facts: Facts, what: str) -> Optional[Hindrance]:
    """Nothing starts before a policy has arrived."""
    if view.why != "unknown":
        return None
    return Hindrance(view.detail or "no policy has arrived yet", facts.now + WAKE_S, unsettled=True)


def doubtful_clock(view: View, state: State, facts: Facts, what: str) -> Optional[Hindrance]:
    """Nothing starts by a clock that is not believed."""
    if facts.clock_plausible:
        return None
    return Hindrance(ahead.clock_doubt(facts.now, state.seen), facts.now + WAKE_S,
                     unsettled=True)


def silent_helper(view: View, state: State, facts: Facts, what: str) -> Optional[Hindrance]:
    """Nothing starts while root cannot tell what is under way."""
    if not facts.unanswered:
        return None
    return Hindrance(facts.unanswered, facts.now + WAKE_S, words.MISSED, unsettled=True)


def lost_state(view: View, state: State, facts: Facts, what: str) -> Optional[Hindrance]:
    """Nothing starts in a window in which the state was lost: it may have had its run."""
    if 0 <= state.hold < state.opens:
        return None
    return Hindrance(state.trouble or "the state was lost", state.cutoff)


def policy(view: View, state: State, facts: Facts, what: str) -> Optional[Hindrance]:
    """A policy is in force, and it patches this host."""
    if ahead.active(view) is not None and not view.why:
        return None
    return Hindrance(view.detail or view.why or "patch is false", facts.now + WAKE_S, words.MISSED)


def veto(view: View, state: State, facts: Facts, what: str) -> Optional[Hindrance]:
    """The administrator of this host has not forbidden it."""
    if not facts.veto:
        return None
    return Hindrance("veto: %s" % facts.veto, facts.now + WAKE_S, words.REFUSED)


def freeze(view: View, state: State, facts: Facts, what: str) -> Optional[Hindrance]:
    """The local day is not frozen."""
    if view.policy is None or not window.frozen(view.policy, facts.now, view.zone):
        return None
    return Hindrance("frozen today", facts.now + WAKE_S, words.MISSED)


def closed_window(view: View, state: State, facts: Facts, what: str) -> Optional[Hindrance]:
    """The window is open; what belongs to a run has its reboot_grace as well."""
    end = state.cutoff if what == "run" else state.deadline
    if state.opens <= facts.now < end:
        return None
    return Hindrance("outside the window" if what == "run" else
                     "outside the window and its reboot_grace", facts.now + WAKE_S, words.MISSED)


def broken_database(view: View, state: State, facts: Facts, what: str) -> Optional[Hindrance]:
    """No host is restarted in the middle of what package management left behind."""
    if what not in ("reboot", "deferred") or state.last.clean:
        return None
    return Hindrance("the package database is broken: mend it, then: qualvosec reset interrupted",
                     facts.now + WAKE_S)


def untried_run(view: View, state: State, facts: Facts, what: str) -> Optional[Hindrance]:
    """A run that did not use its window up is tried again before the reboot."""
    if what != "reboot" or facts.now >= state.cutoff or (
            state.opens, state.closes) in state.consumed:
        return None
    return Hindrance("the run is tried again first", state.cutoff)


def retry_pause(view: View, state: State, facts: Facts, what: str) -> Optional[Hindrance]:
    """Five minutes lie between two attempts."""
    # A retry further away than that was set by a clock that has since been set back.
    if what != "run" or state.last.window != window.window_id(state.opens) or not (
            facts.now < state.retry <= facts.now + RETRY_S):
        return None
    return Hindrance("tried again after: %s" % state.last.reason, min(state.retry, state.cutoff))


GATES: Tuple[Gate, ...] = (
    unknown_policy, doubtful_clock, silent_helper, lost_state, policy, veto, freeze,
    closed_window, broken_database, untried_run, retry_pause)


def hindrance(what: str, view: View, state: State, facts: Facts) -> Optional[Hindrance]:
    """Return what keeps a run, repair, reboot or deferred reboot from starting now, or None."""
    for gate in GATES:
        found = gate(view, state, facts, what)
        if found is not None:
            return found
    return None
