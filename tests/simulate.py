# SPDX-License-Identifier: BSD-2-Clause
"""Random histories of one host against the real step() and state codec, and their oracle.

A history has a policy, a clock that may be wrong or stepped, a disk, a model of
the root helper (tests/simulated_root.py) and a list of mishaps: crashes at any
point between decision, save and action, single and in pairs, power loss,
suspend, full disk, lost state, broken sudo, veto, changed policies. It ends in
a calm stretch in which everything works. History.faults() then says which
promise was broken; an empty list is a pass. `python3 -m tests.simulate SEED`
tells one history in full.
"""

import json
import random
import sys
from typing import Any
from typing import Callable
from typing import Dict
from typing import List
from typing import Optional
from typing import Set
from typing import Tuple

from qualvosec.client.decide import ahead as outlook
from qualvosec.client.decide import state as states
from qualvosec.client.decide import step as steps
from qualvosec.client.decide.ahead import View
from qualvosec.client.decide.state import State
from qualvosec.client.decide.step import Facts
from qualvosec.client.root.record import record_from_json
from qualvosec.manifest import window
from qualvosec.manifest.policy import Policy

from tests.simulated_root import Root
from tests.simulated_root import Started

DAY = 86400
MISHAPS = ("kill", "power", "suspend", "clock", "veto", "policy", "why", "lose", "sudo", "disk",
           "fetch", "shift", "halt", "zone", "zone")


class Crash(Exception):
    """The daemon dies here; the argument says whether the power goes with it."""


class History:
    """One random history; run() plays it, faults() judges it."""

    def __init__(self, seed: int, tell: Optional[Callable[[str], None]] = None,
                 crash_at: Optional[Dict[int, bool]] = None) -> None:
        self.rng = rng = random.Random(seed)
        self.tell = tell
        self.real = 1700000000 + rng.randrange(400 * DAY)
        self.begin = self.real
        self.skew = 0
        change = (self.real + rng.randrange(9 * DAY)) // 1800 * 1800 - 3 * DAY
        before, after = rng.choice(((3600, 7200), (7200, 3600), (0, 0), (-12600, -12600)))
        self.zone: window.Zone = lambda u: before if u < change else after
        self.root = Root(rng, strict=rng.random() < 0.5)
        self.boots = [(self.real - 10 * DAY)]
        self.settled = self.real - 10 * DAY     # when the clock was last set, true time
        self.dated: Optional[bool] = None
        self.policy = self.random_policy()
        self.why = ""
        self.veto = ""
        self.full = False
        self.disk: Optional[bytes] = None
        self.state: Optional[State] = None      # None: the daemon does not run
        self.back = self.real                   # when it is started (again)
        self.alive: Optional[bool] = None
        self.record: Any = None
        self.points = 0
        self.crashes = 0
        self.crash_at = {rng.randrange(1, 60): rng.random() < 0.4
                         for _ in range(rng.choice((0, 1, 1, 2, 2, 3)))}
        self.planned = crash_at is not None     # these crashes, and no other mishap
        if crash_at is not None:
            self.crash_at = crash_at
            self.policy = self.policy._replace(reboot="always", freeze=(), duration=240,
                                               splay=min(self.policy.splay, 120))
        self.problems: List[str] = []
        self.seen_results: Dict[str, Set[str]] = {}
        self.downs: List[Tuple[int, int]] = []   # real time, run number
        self.asks: List[Tuple[int, str, int]] = []      # reboot requests: wall, window, deadline
        self.lost = False
        self.calm_from = 0
        self.changed_at = 0
        self.schedules = 0
        self.days: Dict[str, Tuple[int, int]] = {}      # window: schedule, nominal day
        self.spans: Dict[str, int] = {}     # window: when it closed as its run was started
        self.lost_at = self.lost_real = 0
        self.clock_was_wrong = False

    # --- the world -------------------------------------------------------------------------------

    def wall(self) -> int:
        return self.real + self.skew

    def random_policy(self) -> Policy:
        rng = self.rng
        today = window.local_day(self.real, lambda u: 0)
        duration = rng.choice((1, 10, 60, 60, 60, 240, 1440))
        freeze: Tuple[Tuple[int, int], ...] = ()
        if rng.random() < 0.2:
            first = today + rng.randrange(-2, 6)
            freeze = ((first, first + rng.randrange(3)),)
        days = rng.sample(range(7), rng.choice((1, 2, 3, 7)))
        return Policy(
            patch=True, reboot=rng.choice(("never", "always", "always", "required")),
            weekdays=tuple(sorted(days)), hour=rng.randrange(24), minute=rng.randrange(60),
            duration=duration, reboot_grace=rng.choice((0, 60, 60, 600)),
            splay=rng.choice((0, 0, duration // 2)), freeze=freeze,
            catch_up=rng.choice((0, 0, 0, 2, 24, 100)))

    def view(self) -> View:
        given = self.policy if self.why in ("", "expired") else None
        return View(given, self.why, "", "web01.example.org", self.zone)

    def say(self, text: str) -> None:
        if self.tell is not None:
            wall = self.wall()
            days, seconds = divmod(wall, DAY)
            self.tell("%02d-%02d %02d:%02d:%02d %+d  %s" % (
                window.civil(days + window.EPOCH_ORDINAL)[1:] + (
                    seconds // 3600, seconds % 3600 // 60, seconds % 60, self.skew, text)))

    def point(self) -> None:
        """A place where a crash may happen."""
        self.points += 1
        if self.points in self.crash_at and not self.calm_from:
            raise Crash(self.crash_at[self.points])

    def crash(self, power: bool) -> None:
        self.crashes += 1
        self.state = None
        self.back = self.real + self.rng.choice((1, 1, 60, 1800, 7200))
        self.say("power lost" if power else "daemon killed")
        if power:
            self.power_cycle(self.rng.choice((60, 60, 600, 7200, 2 * DAY)))

    def power_cycle(self, off: int) -> None:
        self.root.die(self.real)
        self.state = None
        self.alive = None
        self.real += off
        self.boots.append(self.real)
        self.settled = self.real
        self.dated = True if self.calm_from else None   # in calm times a fetch follows the boot
        if self.rng.random() < 0.3 and not self.calm_from:
            self.skew = self.rng.choice((-400 * DAY, -7200, 7200, -30 * DAY))
        self.back = self.real + self.rng.choice((5, 60))
        self.say("booted")

    # --- the daemon ------------------------------------------------------------------------------

    def load(self) -> State:
        self.alive, self.record = None, None
        if self.disk is None:
            return State()
        return states.from_bytes(self.disk)

    def facts(self, refused: str, writable: bool) -> Facts:
        self.clock_was_wrong |= abs(self.skew) >= 300
        uptime = self.real - self.boots[-1]
        assert self.state is not None
        plausible = outlook.clock_plausible(self.wall(), self.real - self.settled,
                                            self.state.seen, self.dated, True)
        unanswered = self.root.broken if self.root.broken and self.alive is None else ""
        number = len(self.boots)
        return Facts(self.wall(), "boot-%d" % number, uptime, "kernel-%d" % number, self.record,
                     self.alive, unanswered, refused, self.veto, plausible, writable)

    def ask(self) -> None:
        if self.root.broken:
            self.alive = None
            return
        self.alive = self.root.alive
        record = self.root.record
        self.record = record_from_json(json.loads(json.dumps(record))) if record else None

    def tick(self) -> int:
        """One wake-up of the daemon; returns the wall time until which nothing changes."""
        if self.alive:
            self.ask()
        refused = ""
        writable = not self.full
        for _ in range(20):
            assert self.state is not None
            facts = self.facts(refused, writable)
            refused = ""
            after, action = steps.step(self.view(), self.state, facts)
            telling = after._replace(seen=0) != self.state._replace(seen=0)
            if telling or action.kind not in ("wait", "watch"):
                self.point()
            if after != self.state:
                if not writable:
                    self.problems.append("a state that cannot be written was changed")
                self.disk = states.to_bytes(after)
                self.note(self.state, after)
                self.state = after
                if telling:
                    self.point()
            if action.kind == "again":
                continue
            if action.kind == "ask":
                self.ask()
                continue
            if action.kind in ("wait", "watch"):
                return action.until
            refused = self.act(action, facts)
        self.problems.append("the daemon goes round in circles")
        raise Crash(False)

    def act(self, action: steps.Action, facts: Facts) -> str:
        self.say("%s %s (%s)" % (action.kind, action.window, action.why))
        self.check_start(action, facts)
        refused = self.root.request(action.kind, action.window, action.not_after, self.real,
                                    self.wall(), facts.boot_id)
        if refused:
            self.say("refused: " + refused)
        self.point()
        self.ask()
        return refused

    def note(self, before: State, after: State) -> None:
        if after.last != before.last and after.last.outcome:
            self.say("outcome %s %s %s" % (after.last.window, after.last.outcome,
                                           after.last.reason))
            self.seen_results.setdefault(after.last.window, set()).add(after.last.outcome)
        if after.reboot != before.reboot:
            self.say("reboot %s %s" % (after.reboot, after.reboot_reason))
            if after.reboot == "verified" and not any(
                    boot > start.real for start in self.root.started if start.op == "reboot"
                    and start is self.last_reboot() for boot in self.boots):
                self.problems.append("verified a reboot that did not happen")

    def last_reboot(self) -> Optional[Started]:
        found = [start for start in self.root.started if start.op == "reboot"]
        return found[-1] if found else None

    # --- the oracle ------------------------------------------------------------------------------

    def opening(self, name: str) -> Optional[window.Opening]:
        """Return the window of this name, if the policy in force has it."""
        opens = window.opens_of(name)
        for opening in window.openings(self.policy, opens - 1, 1, "web01.example.org", self.zone):
            if opening.opens == opens:
                return opening
        return None

    def check_start(self, action: steps.Action, facts: Facts) -> None:
        now, what = self.wall(), "%s for %s" % (action.kind, action.window)
        if facts.alive:
            self.problems.append("%s while a run is known to be alive" % what)
        if self.why or not self.policy.patch:
            self.problems.append("%s without a policy in force" % what)
        if self.veto:
            self.problems.append("%s under a veto" % what)
        if not facts.clock_plausible:
            self.problems.append("%s by a clock that is not plausible" % what)
        day = window.local_day(now, self.zone)
        if any(first <= day <= last for first, last in self.policy.freeze):
            self.problems.append("%s on a frozen day" % what)
        if self.lost and not self.clock_was_wrong and \
                window.opens_of(action.window) <= self.lost_at:
            self.problems.append("%s in the window in which the state was lost" % what)
        opening = self.opening(action.window)
        late = 3600 * self.policy.catch_up
        limits = (opening.start, opening.closes + late) if opening is not None else None
        if action.kind == "upgrade":
            known = self.seen_results.get(action.window, set())
            if known & {"ok", "nothing", "partial", "unsupported"} and not self.lost:
                self.problems.append("%s after it had a final outcome" % what)
            self.spans[action.window] = opening.closes if opening is not None else now
            self.days[action.window] = (self.schedules, opening.date if opening is not None else 0)
            if limits is None or not limits[0] <= now < limits[1]:
                self.problems.append("%s outside its window" % what)
            elif now >= limits[1] - late and not self.clock_was_wrong \
                    and max(self.changed_at, self.begin) > window.opens_of(action.window):
                self.problems.append("%s: caught up a window from before the schedule" % what)
        elif limits is not None and not window.opens_of(action.window) <= now < \
                limits[1] + self.grace(action):
            self.problems.append("%s outside its window and grace" % what)
        if action.not_after < now:
            self.problems.append("%s asked for with a limit in the past" % what)

    def grace(self, action: steps.Action) -> int:
        # The policy may have changed since the run; what held at its start counts.
        return max(60 * self.policy.reboot_grace, action.not_after - self.wall())

    def down(self) -> None:
        """The machine goes down for a reboot that root was asked for."""
        number = self.last_reboot().number      # type: ignore[union-attr]
        if any(run == number for _, run in self.downs):
            self.problems.append("run %d was followed by two reboots" % number)
        self.downs.append((self.real, number))
        self.say("goes down")
        self.power_cycle(90)

    def faults(self) -> List[str]:
        """Return every promise that this history broke."""
        problems = list(self.problems)
        root = self.root
        names = [commit.window for commit in root.commits]
        for name in sorted(set(names)):
            if names.count(name) > 1:
                problems.append("window %s had %d runs" % (name, names.count(name)))
        spans = sorted((window.opens_of(name), self.spans[name], name) for name in set(names))
        for (_, closes, one), (opens, _, other) in zip(spans, spans[1:]):
            if opens < closes and not self.lost:
                problems.append("window %s and %s overlap, both had a run" % (one, other))
        days = [self.days[name] for name in set(names)]
        if len(days) != len(set(days)) and not self.lost:
            problems.append("two runs on one day of one schedule")
        for name in root.second_requests:
            problems.append("window %s: asked root for a second run" % name)
        for name, (recorded, when) in root.outcomes.items():
            seen = self.seen_results.get(name, set())
            if recorded not in seen and not (self.lost and when <= self.lost_real):
                problems.append("window %s: outcome %s was lost (seen: %s)" % (
                    name, recorded, ",".join(sorted(seen))))
        return problems

    # --- the play --------------------------------------------------------------------------------

    def script(self) -> List[Tuple[int, str]]:
        rng = self.rng
        ahead = window.openings(self.policy, self.real, 4, "web01.example.org", self.zone)
        events = []
        for _ in range(rng.choice((0, 1, 2, 4, 8))):
            if ahead and rng.random() < 0.8:
                near = rng.choice((-600, -60, 30, 90, 300, 1000, 3000, 9000))
                at = rng.choice(ahead).opens + near + rng.randrange(60)
            else:
                at = self.real + rng.randrange(8 * DAY)
            events.append((at, rng.choice(MISHAPS)))
        return sorted(events)

    def mishap(self, what: str) -> None:
        rng = self.rng
        self.say("mishap: " + what)
        if what == "kill":
            raise Crash(False)
        if what == "power":
            raise Crash(True)
        if what == "halt":
            self.state = None
            self.power_cycle(rng.choice((600, 7200, DAY, 9 * DAY)))
        elif what == "suspend":
            self.real += rng.choice((600, 7200, 2 * DAY))
        elif what == "clock":
            self.skew = rng.choice((0, 120, -120, 3600, -3600, 3 * DAY, -3 * DAY))
            self.settled, self.dated = self.real, None
        elif what == "fetch":
            self.dated = abs(self.skew) < 300
        elif what == "veto":
            self.veto = "" if self.veto else "database moves today"
        elif what == "policy":
            self.change(self.random_policy())
        elif what == "shift":
            minute = (self.policy.hour * 60 + self.policy.minute + rng.choice((-40, 20, 70))) % 1440
            self.change(self.policy._replace(hour=minute // 60, minute=minute % 60))
        elif what == "why":
            self.why = "" if self.why else rng.choice(("unlisted", "invalid", "expired", "unknown"))
        elif what == "sudo":
            self.root.broken = "" if self.root.broken else "sudo: a password is required"
        elif what == "disk":
            self.full = not self.full
        elif what == "zone":
            # New rules for the time zone: the same nominal windows, an hour or two away.
            offset = self.zone(self.real) - rng.choice((3600, 7200, 7200, -3600))
            self.zone = lambda instant: offset
        elif what == "lose":
            self.lost, self.lost_at, self.lost_real = True, self.wall(), self.real
            self.disk = states.to_bytes(State(hold=-1, trouble="state.json: moved aside"))
            self.state = None
            self.back = self.real

    def change(self, policy: Policy) -> None:
        self.policy = policy
        self.schedules += 1
        self.changed_at = self.wall()

    def play(self, events: List[Tuple[int, str]], end: int) -> None:
        """Let time pass until `end` (true time), with the events in between."""
        pending = list(events)
        until = 0
        while self.real < end:
            try:
                while pending and pending[0][0] <= self.real:
                    self.mishap(pending.pop(0)[1])
                if self.state is None and self.real >= self.back:
                    self.state = self.load()
                    self.say("daemon starts: %s %s" % (self.state.phase, self.state.window))
                if self.root.advance(self.real, self.wall()):
                    self.down()
                    continue
                if self.state is not None:
                    until = self.tick()
            except Crash as crash:
                self.crash(bool(crash.args[0]))
                continue
            times = [end, self.real + self.rng.choice((60, 3600, 20000, 20000))]
            if self.state is None:
                times.append(self.back)
            elif until > self.wall() and (self.calm_from or until - self.wall() != steps.WAKE_S):
                times.append(until - self.skew)
            else:
                # What is polled for every minute is looked at less often here, to save time.
                times.append(self.real + self.rng.choice((60, 600, 1800)))
            times += [pending[0][0]] if pending else []
            due = self.root.due()
            times += [due] if due is not None else []
            self.real = max(self.real + 1, min(at for at in times if at > self.real))

    def run(self) -> List[str]:
        """Play the whole history and return what it broke."""
        self.play([] if self.planned else self.script(), self.real + 9 * DAY)
        self.calm()
        return self.faults()

    def calm(self) -> None:
        """Put everything right; from then on windows must be used and outcomes be known."""
        self.say("calm")
        self.calm_from = self.real
        self.root.calm = True
        self.skew, self.settled, self.dated = 0, self.real, True
        self.veto, self.why, self.full, self.root.broken = "", "", False, ""
        self.back = min(self.back, self.real + 1)
        self.play([], self.real + 30 * 60 * 60)
        ahead = window.openings(self.policy, self.real, 1, "web01.example.org", self.zone)
        if not ahead or ahead[0].opens > self.real + 60 * DAY:
            return
        consumed = self.state is not None and outlook.is_consumed(self.state, ahead[0])
        runs = len(self.root.started)
        self.real = max(self.real, ahead[0].opens - 100)
        self.dated = True
        self.play([], ahead[0].closes + 3600)
        if self.state is None:
            self.play([], self.real + 600)      # it is just starting up
        self.check_calm(ahead[0], consumed, runs)

    def check_calm(self, opening: window.Opening, consumed: bool, runs: int) -> None:
        fresh = [start for start in self.root.started[runs:] if start.window == opening.id]
        day = window.local_day(opening.start, self.zone)
        frozen = window.is_frozen(self.policy, day)
        if not consumed and not frozen and not fresh:
            self.problems.append("the window %s was not used" % opening.id)
        if self.state is None or self.state.phase == "patched":
            self.problems.append("the daemon does not come to rest")


def planned(seed: int, singles: bool) -> List[Tuple[Dict[int, bool], List[str]]]:
    """Crash one history at every point alone, or at every pair of points, with and without power.

    Returns (where, what it broke) for each.
    """
    calm = History(seed, crash_at={})
    calm.run()
    points = range(1, min(calm.points, 26) + 1)
    plans: List[Dict[int, bool]] = [{one: power} for one in points for power in (False, True)]
    if not singles:
        plans = [{one: power, other: again} for one in points for other in points if one < other
                 for power in (False, True) for again in (False, True)]
    return [(plan, History(seed, crash_at=plan).run()) for plan in plans]


def main(argv: List[str]) -> int:
    """Tell the history of each seed."""
    for seed in argv:
        history = History(int(seed), print)
        sys.stdout.write("%s\nfaults: %s\n" % (history.policy, history.run()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
