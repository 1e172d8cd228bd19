# SPDX-License-Identifier: BSD-2-Clause
"""What lies ahead of a host and behind it, as far as windows tell: pure questions.

Which opening was used up, which comes next, when to ask the server before it,
whether the host is overdue, and whether its clock may be believed at all.
"""

from typing import NamedTuple
from typing import Optional
from typing import Sequence

from qualvosec.client.decide.state import State
from qualvosec.client.root.record import Record
from qualvosec.manifest import window
from qualvosec.manifest.policy import Policy
from qualvosec.manifest.window import Opening
from qualvosec.manifest.window import Zone

BOOT_SETTLES_S = 900
CLOCK_BEFORE = ("the clock is before what it has shown: set it, or, if it is right: "
                "qualvosec reset clock")
CLOCK_UNSETTLED = "the clock is not plausible yet: it settles, or a fetch confirms it"
OVERDUE_WINDOWS = 2
ROUNDING_S = 5


class View(NamedTuple):
    """What the host is told, seen from here."""

    policy: Optional[Policy]
    why: str        # "" (in force) | unlisted | invalid | expired | unknown (none has arrived yet)
    detail: str     # one line for people, "" when `why` says it all
    fqdn: str
    zone: Zone = window.host_zone


class Facts(NamedTuple):
    """What the caller found out since the last decision."""

    now: int                    # wall clock, epoch seconds
    boot_id: str                # digits only: kern.boottime, which moves with the clock
    uptime: int                 # seconds
    kernel: str                 # that runs now
    record: Optional[Record]    # root's record; None: there is none
    alive: Optional[bool]       # is a run of the helper alive; None: not asked yet
    unanswered: str             # why the helper could not be asked; "" asks it again
    refused: str                # why the last action was refused: for one step only
    veto: str                   # the administrator's veto on this host, "" for none
    clock_plausible: bool
    writable: bool              # the state could be saved


def active(view: View) -> Optional[Policy]:
    """Return the policy whose windows count, also while it is expired; None when there is none."""
    if view.policy is None or view.why not in ("", "expired") or not view.policy.patch:
        return None
    return view.policy


def is_consumed(state: State, opening: Opening, done: Sequence[str] = ()) -> bool:
    """Say whether the window has had its run; `done` are the windows that root knows as committed.

    A window that overlaps a consumed one is the same window under a changed
    schedule. The same nominal day of one schedule is the same window under
    changed rules of the time zone.
    """
    schedule, days = state.days
    if schedule and schedule == state.schedule and opening.date in days:
        return True
    length = opening.closes - opening.opens
    pairs = list(state.consumed)
    for name in done:
        try:
            opens = window.opens_of(name)
        except window.WindowError:
            # Root may have been asked by hand, with a name of the administrator's own.
            continue
        pairs.append((opens, opens))
    return any(opens == opening.opens or abs(opens - opening.opens) < length
               or opens <= opening.opens < closes for opens, closes in pairs)


def superseded(view: View, state: State, opening: Opening, done: Sequence[str] = ()) -> str:
    """Return the window that was waited for and not used before this one opened, or "".

    A catch_up that is longer than the time between two windows ends at the next one.
    """
    name, policy = state.awaited[0], active(view)
    if policy is None or not name:
        return ""
    opens = window.opens_of(name)
    # What a clock that ran ahead has concluded lies behind no window of today.
    if state.concluded and opens <= window.opens_of(state.concluded) <= opening.opens:
        return ""
    older = window.latest(policy, opens, view.fqdn, view.zone)
    if not state.since <= opens < opening.opens or older is None or older.opens != opens:
        return ""
    return "" if is_consumed(state, older, done) else name


def open_window(view: View, state: State, now: int) -> Optional[Opening]:
    """Return the window that has opened, may still be used and was not, if there is one."""
    policy = active(view)
    if policy is None:
        return None
    opening = window.latest(policy, now, view.fqdn, view.zone)
    if opening is None or is_consumed(state, opening):
        return None
    return opening if now < opening.closes + policy.catch_up * window.HOUR_S else None


def next_start(view: View, state: State, now: int) -> Optional[Opening]:
    """Return the next window whose start lies ahead and that has not had its run."""
    policy = active(view)
    if policy is None:
        return None
    current = window.latest(policy, now, view.fqdn, view.zone)
    ahead = window.openings(policy, now, 3, view.fqdn, view.zone)
    for opening in ([current] if current is not None else []) + ahead:
        if opening.start > now and not is_consumed(state, opening):
            return opening
    return None


def overdue(view: View, state: State, now: int) -> bool:
    """Say whether two windows in a row have passed without a success."""
    if state.failures >= OVERDUE_WINDOWS:
        return True
    policy = active(view)
    if policy is None or not state.since:
        return False
    base = max(state.success, state.since)
    passed = window.openings(policy, base, OVERDUE_WINDOWS, view.fqdn, view.zone)
    late = policy.catch_up * window.HOUR_S
    return len(passed) == OVERDUE_WINDOWS and passed[-1].closes + late <= now


def clock_plausible(now: int, uptime: int, seen: int, dated: Optional[bool],
                    secure: bool) -> bool:
    """Say whether the wall clock may decide about windows.

    `dated`: did a fetch of this boot (and since the last step of the clock) see
    a Date within five minutes; None when there was none. Without it the clock
    must have had fifteen minutes to settle and not be before what was seen, and
    where it came over a connection that is not `secure`, it may not be either.
    """
    return (dated is True and (secure or now >= seen)) or (
        uptime > BOOT_SETTLES_S and now >= seen)


def clock_doubt(now: int, seen: int) -> str:
    """Say why the clock is not believed, and what a person can do about it."""
    if now < seen:
        return CLOCK_BEFORE
    return CLOCK_UNSETTLED


def restarted(boot_id: str, noted: int, boot_now: str, uptime: int, now: int) -> bool:
    """Say whether the host has booted since `boot_id` was noted, at the wall time `noted`.

    The BSDs know only the time of the boot, which every step of the clock moves;
    but a host that has not booted has been up for at least as long as it had been
    then. Root's record names such a boot in words of sysctl(8): there the time
    since the record decides.
    """
    if not boot_id or not boot_now or boot_now == boot_id:
        return False
    if boot_id.isdigit():
        return uptime + ROUNDING_S < noted - int(boot_id)
    return not boot_now.isdigit() or uptime + ROUNDING_S < now - noted
