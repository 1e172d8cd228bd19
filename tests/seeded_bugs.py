# SPDX-License-Identifier: BSD-2-Clause
"""Bugs put into the decision on purpose: a simulation that does not notice them is worth nothing.

Each entry replaces one function or constant of the product by a plausible
mistake. caught() plays histories until one is broken.
"""

import contextlib
from typing import Any
from typing import Callable
from typing import Dict
from typing import Iterator
from typing import Tuple
from unittest import mock

from qualvosec.client.decide import ahead
from qualvosec.client.decide import gates
from qualvosec.client.decide import outcome
from qualvosec.client.decide import step
from qualvosec.manifest import window

from tests import simulate

_consume = outcome.consume
_conclude = outcome.conclude
_is_consumed = ahead.is_consumed
_aim = step._aim
_try_run = step._try_run
_patching = step._patching
_rebooting = step._rebooting
_patched = step._patched
_idle = step._idle
_adopt = step._adopt
_latest = window.latest
_in_window = step._in_window


def _never_consumed(state: Any, opening: Any, done: Any = ()) -> bool:
    return False


def _without_overlap(state: Any, opening: Any, done: Any = ()) -> bool:
    return any(opens == opening.opens for opens, _ in state.consumed)


def _without_the_day(state: Any, opening: Any, done: Any = ()) -> bool:
    return _is_consumed(state._replace(days=("", ())), opening, done)


def _half_an_hour_longer(state: Any, policy: Any, opening: Any) -> Any:
    aimed = _aim(state, policy, opening)
    return aimed._replace(cutoff=aimed.cutoff + 1800)


def _catches_up_everything(state: Any, policy: Any, opening: Any) -> Any:
    return _aim(state._replace(since=0), policy, opening)._replace(since=state.since)


def _ignores_life(view: Any, state: Any, facts: Any) -> Any:
    return _patching(view, state, facts._replace(alive=False))


def _blind_to(field: str, value: Any) -> Callable[..., Any]:
    def run(view: Any, state: Any, facts: Any, *rest: Any) -> Any:
        return _try_run(view, state, facts._replace(**{field: value}), *rest)
    return run


def _reboots_again(view: Any, state: Any, facts: Any) -> Any:
    if state.asked == 0 and step._restarted(state, facts):
        return step._reboot(state, facts)
    return _rebooting(view, state, facts)


def _early(policy: Any, now: int, *rest: Any) -> Any:
    found = _latest(policy, now + 60, *rest)
    return found._replace(start=found.start - 60) if found is not None else None


def _forgets_runs(view: Any, state: Any, facts: Any) -> Any:
    return None


def _blames_us(state: Any, record: Any, kernel: str) -> Any:
    return state._replace(reboot="verified", boot_id="")


def _believes_any_clock(view: Any, state: Any, facts: Any) -> Any:
    return _idle(view, state, facts._replace(clock_plausible=True))


def _loses_the_outcome(state: Any, record: Any) -> Any:
    return _conclude(state, record)._replace(last=state.last)


def _takes_the_old_record(record: Any) -> Tuple[str, int]:
    return "", 0


def _runs_after_loss(view: Any, state: Any, facts: Any, *rest: Any) -> Any:
    return _in_window(view, state._replace(hold=0), facts, *rest)


def _lost_at_once(view: Any, state: Any, facts: Any) -> Any:
    if facts.record is not None and state.tries < 3 and facts.now > state.begun:
        return state._replace(tries=state.tries + 1), step.Action(
            "reboot", "again", 0, state.window, state.deadline)
    return _rebooting(view, state, facts)


def _forgets_failures(state: Any, success: bool) -> Any:
    after = _consume(state, success)
    return after if success else after._replace(consumed=state.consumed, days=("", ()))


def _acts_before_it_saves(history: Any) -> int:
    """One tick of a daemon that acts first and saves afterwards."""
    real, history.note = history.note, lambda before, after: None
    try:
        before, disk = history.state, history.disk
        try:
            return int(_tick(history))
        except simulate.Crash:
            # What a daemon with the wrong order would have left behind.
            history.disk = disk
            raise
        finally:
            if history.state is not None:
                real(before, history.state)
    finally:
        history.note = real


_tick = simulate.History.tick

BUGS: Dict[str, Tuple[Any, str, Any]] = {
    "windows are never used up": (ahead, "is_consumed", _never_consumed),
    "a changed schedule opens a second window": (ahead, "is_consumed", _without_overlap),
    "new rules of the zone open a second window": (ahead, "is_consumed", _without_the_day),
    "the cut-off is half an hour late": (step, "_aim", _half_an_hour_longer),
    "windows from before the schedule are caught up": (step, "_aim", _catches_up_everything),
    "a run that is alive is taken for finished": (step, "_patching", _ignores_life),
    "the veto is not looked at": (step, "_try_run", _blind_to("veto", "")),
    "a host that came back is rebooted once more": (step, "_rebooting", _reboots_again),
    "runs start a minute early": (window, "latest", _early),
    "a run is not adopted": (step, "_adopt", _forgets_runs),
    "every restart counts as verified": (outcome, "booted", _blames_us),
    "the clock is believed at once": (step, "_idle", _believes_any_clock),
    "the outcome is not taken over": (outcome, "conclude", _loses_the_outcome),
    "an old record is taken for the new one": (outcome, "key", _takes_the_old_record),
    "a lost state does not stop the run": (step, "_in_window", _runs_after_loss),
    "a reboot that takes long is asked for again": (step, "_rebooting", _lost_at_once),
    "freeze is ignored": (window, "frozen", lambda *rest: False),
    "a run that failed does not use its window up": (outcome, "consume", _forgets_failures),
    "the reboot has no deadline": (
        gates, "GATES", tuple(gate for gate in gates.GATES if gate is not gates.closed_window)),
    "the state is saved after the action": (simulate.History, "tick", _acts_before_it_saves),
}

# Those that show within a few histories: the others take `make long` or the benchmark.
QUICK = (
    "windows are never used up", "the cut-off is half an hour late",
    "windows from before the schedule are caught up", "runs start a minute early",
    "the clock is believed at once", "the outcome is not taken over",
    "an old record is taken for the new one", "a reboot that takes long is asked for again",
    "a host that came back is rebooted once more", "the reboot has no deadline")


@contextlib.contextmanager
def seeded(name: str) -> Iterator[None]:
    """Put the bug in for the length of a `with` block."""
    where, what, wrong = BUGS[name]
    phase = {"_patching": "patching", "_rebooting": "rebooting", "_idle": "idle"}.get(what)
    with mock.patch.object(where, what, wrong):
        if where is step and phase is not None:
            with mock.patch.dict(step._PHASES, {phase: wrong}):
                yield
        else:
            yield


def caught(name: str, histories: int, first: int = 0) -> int:
    """Return after how many histories the bug showed; 0 if it never did."""
    with seeded(name):
        for number in range(histories):
            try:
                if simulate.History(first + number).run():
                    return number + 1
            except (RecursionError, ValueError, AssertionError):
                return number + 1
    return 0
