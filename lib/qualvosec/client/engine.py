# SPDX-License-Identifier: BSD-2-Clause
"""The engine: fetch, decide, save, act; one tick after every wake-up.

Level-triggered: each tick looks at the clock and all facts afresh, because no
portable event tells of a clock step or a suspend. The engine owns two children,
a fetch and a call of the root helper, and every file in the state directory.
The decision itself is step(); here stands only what it takes to carry it out.
"""

import os
import selectors
import time
from typing import Callable
from typing import Optional
from typing import Tuple

from qualvosec import log
from qualvosec import paths
from qualvosec.client import config as configuration
from qualvosec.client import host
from qualvosec.client.config import Config
from qualvosec.client.decide import ahead
from qualvosec.client.decide import state as states
from qualvosec.client.decide.ahead import Facts
from qualvosec.client.decide.ahead import View
from qualvosec.client.decide.state import State
from qualvosec.client.decide.statedir import StateError
from qualvosec.client.decide.step import Action
from qualvosec.client.decide.step import step
from qualvosec.client.fetch.inforce import Acceptance
from qualvosec.client.root import call
from qualvosec.client.root.record import Record
from qualvosec.client.tell import findings
from qualvosec.client.tell import packages
from qualvosec.client.tell.status import Snapshot
from qualvosec.command import Child
from qualvosec.command import CommandError
from qualvosec.command import Result
from qualvosec.contract import words
from qualvosec.contract.call import MAX_ANSWER
from qualvosec.contract.call import MAX_REQUEST
from qualvosec.manifest import window
from qualvosec.useragent import Token

DISRUPTIVE = ("upgrade", "repair", "reboot")
FRESH_S = 600
ASK_AGAIN_S = 300
NAME_AGAIN_S = 300
SILENT_S = 60
CLOCK_STEP_S = 300
MAX_STEPS = 16
LONGEST_WAIT_S = 60.0


class Engine:
    """State, children and decisions of one host; driven by tick() from a selector loop."""

    def __init__(self, config: Config, selector: selectors.BaseSelector,
                 now: Callable[[], float] = time.time,
                 clock: Callable[[], float] = time.monotonic,
                 config_dir: str = paths.CONFIG_DIR) -> None:
        """Load state and cache; raises StateError when nothing may be assumed."""
        self.config = config
        self.config_fault = ""
        self.unheard = ""
        self._selector = selector
        self._now = now
        self._clock = clock
        self._config_dir = config_dir
        self._started = int(now())
        self._state = states.load(config.state_dir, os.geteuid())
        self.fqdn = configuration.host_name(config)
        self._named = self._started
        self._accept = Acceptance(config, self.fqdn, selector, self._started)
        if self._state.hold < 0:
            log.critical("the state was lost", reason=self._state.trouble,
                         effect="nothing starts in a window that is open now")
        if self._state.phase in ("patching", "patched"):
            # What is left to do for a run waits for a fetch that confirms clock and policy.
            self._accept.want_now()
        self._write_fault = ""
        self._call: Optional[Tuple[str, Child]] = None
        self._called = 0.0
        self._tool = ""
        self._record: Optional[Record] = None
        self._alive: Optional[bool] = None
        self._unanswered: Tuple[str, int] = ("", 0)
        self._unserved = self._newer = ""
        self._refused = ""
        self._expired = False
        self._offset = now() - clock()
        self._stepped: Optional[float] = None
        self._action = Action("wait", "starting")

    # --- what the process around it needs --------------------------------------------------------

    def busy(self) -> bool:
        """Say whether a child of ours or a package run is alive."""
        return bool(self._call or self._accept.fetching() or self._alive)

    @property
    def action(self) -> Action:
        """The last decision."""
        return self._action

    @property
    def state(self) -> State:
        """What is remembered, as it was saved last."""
        return self._state

    def leave(self) -> None:
        """Let go of the children: a package run goes on without us, by design."""
        if self._call:
            self._call[1].forget()
        self._accept.leave()

    def reconfigure(self, config: Config) -> None:
        """Take over a checked configuration with the same state_dir."""
        if self._unserved or (config.monitoring_packages and not self.config.monitoring_packages):
            # Of packages only counts are remembered: the names have to be asked for.
            self._alive = None
        self.config, self.config_fault = config, ""
        self._resolve(int(self._now()))
        self._accept.reconfigure(config, self.fqdn)
        self._unanswered = ("", 0)

    def _resolve(self, now: int) -> None:
        self.fqdn, self._named = configuration.host_name(self.config), now

    def fetch_now(self) -> None:
        """Make a fetch due at once, whatever the pace says."""
        self._accept.want_now()

    # --- one tick --------------------------------------------------------------------------------

    def tick(self) -> float:
        """Look at everything once, act, and return how many seconds may pass until the next."""
        now = int(self._now())
        self._watch_clock()
        # Hosts patch their time zone data: look at the rules afresh.
        window.reread_zone()
        if (not self.fqdn or self._accept.renamed()) and not 0 <= now - self._named < NAME_AGAIN_S:
            self._resolve(now)
            self._accept.reconfigure(self.config, self.fqdn)
        self._collect_call(now)
        self._accept.collect(now)
        self._tell_expiry(now)
        self._decide(now)
        return self._next_wait(now)

    def _watch_clock(self) -> None:
        """Let a clock that was set, or a host that slept, prove its time anew, as after a boot."""
        offset = self._now() - self._clock()
        if abs(offset - self._offset) > CLOCK_STEP_S:
            log.warning("clock moved", seconds=int(offset - self._offset))
            self._accept.dated = None
            self._accept.want_now()
            self._offset, self._stepped = offset, self._clock()

    def view(self, now: int) -> View:
        """Return what the host is told, seen from here."""
        return self._accept.view(now)

    def _facts(self, now: int) -> Facts:
        boot_id, uptime = host.boot(now)
        if self._unanswered[0] and not 0 <= now - self._unanswered[1] < ASK_AGAIN_S:
            self._unanswered = ("", 0)
            self._alive = None
        return Facts(
            now=now, boot_id=boot_id, uptime=uptime, kernel=host.kernel(), record=self._record,
            alive=True if self._call and self._call[0] in DISRUPTIVE else self._alive,
            unanswered=self._unanswered[0], refused=self._refused, veto=self._veto(now),
            clock_plausible=ahead.clock_plausible(now, self._settled(uptime), self._state.seen,
                                                  self._accept.dated,
                                                  self.config.server.startswith("https:")),
            writable=not self._write_fault)

    def _settled(self, uptime: int) -> int:
        """Return the seconds since the boot or, if that was later, the last step of the clock."""
        if self._stepped is None:
            return uptime
        return min(uptime, int(self._clock() - self._stepped))

    def _veto(self, now: int) -> str:
        return host.veto(self._config_dir, time.strftime("%Y-%m-%d", time.localtime(now)))

    def _decide(self, now: int) -> None:
        """Step until the decision stands; save each new state before anything is done."""
        if self._write_fault:
            self._save(self._state)
        for _ in range(MAX_STEPS):
            before = self._state
            after, action = step(self.view(now), before, self._facts(now))
            if action.kind in DISRUPTIVE and self._ask_server_first(now):
                self._action = action
                return
            self._refused = ""
            if after != before and not (self._save(after) or action.kind == "wait"):
                continue
            self._announce(before, self._state)
            self._action = action
            if action.kind != "again":
                break
        self._act(self._action, now)
        if self._accept.due(now, self._state):
            self._accept.start(now, self._report(now))

    def _ask_server_first(self, now: int) -> bool:
        """Say whether the answer of a fetch has to be awaited before anything disruptive."""
        if self._accept.fetching():
            return True
        if 0 <= now - self._accept.pace.attempt <= FRESH_S:
            return False
        self._accept.start(now, self._report(now))
        return self._accept.fetching()

    def _save(self, state: State) -> bool:
        try:
            states.save(self.config.state_dir, state)
        except StateError as error:
            if not self._write_fault:
                log.critical("the state cannot be written", reason=error)
            self._write_fault = "%s" % error
            return False
        self._write_fault = ""
        self._state = state
        return True

    # --- the root helper -------------------------------------------------------------------------

    def _act(self, action: Action, now: int) -> None:
        if self._call:
            return
        if action.kind == "ask":
            self._start_call("ask", call.request("status", wait=False), now)
        elif action.kind == "watch":
            self._start_call("watch", call.request("status", wait=True), now)
        elif action.kind == "upgrade":
            policy = self.view(now).policy
            if policy is not None:
                self._start_call("upgrade", call.request(
                    "upgrade", window=action.window, not_after=action.not_after,
                    security_only=policy.security_only, only=list(policy.only),
                    exclude=list(policy.exclude)), now)
        elif action.kind in DISRUPTIVE:
            self._start_call(action.kind, call.request(
                action.kind, window=action.window, not_after=action.not_after), now)

    def _start_call(self, kind: str, request: bytes, now: int) -> None:
        argv = call.argv(self.config.privilege)
        if not argv:
            self._unanswered = (call.missing(self.config.privilege), now)
            return
        if len(request) > MAX_REQUEST:
            self._refused = "the package lists of this host are longer than %d bytes" % MAX_REQUEST
            return
        if kind in DISRUPTIVE:
            log.info("root was asked", operation=kind, window=self._action.window)
        try:
            child = Child(argv, call.ENV, self._selector, request, limit=MAX_ANSWER + 1)
        except CommandError as error:
            self._unanswered = ("%s" % error, now)
            return
        self._tool, self._call, self._called = argv[0], (kind, child), self._clock()

    def _collect_call(self, now: int) -> None:
        if not self._call:
            return
        kind, child = self._call
        ended = child.poll()
        if ended is not None:
            self._call = None
            self._hear(kind, ended, now)
        elif kind == "ask" and self._clock() - self._called >= SILENT_S:
            # It is waited for all the same: a second one would hang as well.
            self._cannot_ask("%s gives no answer" % self._tool, now)

    def _hear(self, kind: str, ended: Result, now: int) -> None:
        """Take over what a call of the helper said."""
        reply = call.read_reply(ended, self._tool)
        if reply.status != "ok" and kind not in DISRUPTIVE:
            self._cannot_ask(reply.reason or reply.status, now)
            return
        if reply.status == "unreachable":
            log.error("the root helper cannot be reached", reason=reply.reason)
            # Whether the request arrived is not known: only the helper can tell.
            self._alive = None
            return
        self._unanswered = ("", 0)
        self._record, self._alive = reply.record, reply.alive
        if reply.newer != self._newer:
            self._newer = reply.newer
            log.warning("the root helper is newer", unknown=reply.newer or "nothing any more")
        if self.config.monitoring_packages and reply.told is not None:
            try:
                packages.keep(self.config.state_dir, reply.told)
            except StateError as error:
                log.error("package names cannot be kept", reason=error)
        if kind in DISRUPTIVE and reply.status != "ok":
            self._refused = reply.reason or reply.status
            log.critical("root refused", operation=kind, reason=self._refused)
        elif kind not in DISRUPTIVE and reply.reason != self._unserved:
            self._unserved = reply.reason
            if reply.reason:
                log.critical("this host cannot be patched", reason=reply.reason)
            else:
                log.critical("this host can be patched from now on")

    def _cannot_ask(self, reason: str, now: int) -> None:
        """Start nothing, and take nothing for ended, until the helper has told what it knows."""
        if reason != self._unanswered[0]:
            log.error("the root helper cannot be asked", reason=reason)
        self._alive, self._unanswered = None, (reason, now)

    # --- words -----------------------------------------------------------------------------------

    def _tell_expiry(self, now: int) -> None:
        """Log once that the policy is no longer in force, if asking the server did not help."""
        view = self.view(now)
        if view.why != "expired":
            self._expired = False
        elif not self._expired and self._accept.pace.attempt and not self._accept.fetching():
            self._expired = True
            log.critical("the policy is no longer in force", reason=view.detail)

    def _announce(self, before: State, after: State) -> None:
        if after.last != before.last and after.last.outcome:
            last = after.last
            tell = {words.BAD: log.critical, words.WARN: log.warning, words.GOOD: log.info}[
                words.outcome(last.outcome).level]
            tell("outcome", window=last.window, outcome=last.outcome,
                 upgraded=words.number(last.upgraded), kept=words.number(last.kept),
                 pending=words.number(last.pending), reason=last.reason)
        if after.reboot != before.reboot:
            tell = log.critical if after.reboot == "failed" else log.info
            tell("reboot", state=after.reboot, reason=after.reboot_reason)

    def situation(self, now: int) -> findings.Situation:
        """Return everything that monitoring and reports speak from."""
        accept = self._accept
        record = self._record
        waiting = findings.waiting_for(self._action.kind, self._action.why, self._action.until,
                                        now)
        alive = self._alive or (self._call is not None and self._call[0] in DISRUPTIVE)
        begun = (record.accepted if record is not None and not record.finished
                 else self._state.begun) or now
        return findings.Situation(
            now=now, started=self._started, view=accept.view(now), state=self._state,
            pace=accept.pace, interval=self.config.fetch_interval, server=self.config.url(),
            entry=accept.entry(), faults=accept.faults(), serial=accept.serial(),
            expires=accept.expires(), fetch_reason=accept.reason,
            distrusted=accept.distrusted, waiting=waiting or "",
            running_since=begun if alive else 0, veto=self._veto(now),
            unanswered=self._unanswered[0], unserved=self._unserved,
            write_fault=self._write_fault,
            config_fault=self.config_fault, unheard=self.unheard, kernel=host.kernel(),
            manager=record.manager if record is not None else "")

    def snapshot(self) -> Snapshot:
        """Return what the health endpoint shows."""
        return findings.snapshot(self.situation(int(self._now())))

    def _report(self, now: int) -> Token:
        return findings.token(self.situation(now))

    def _next_wait(self, now: int) -> float:
        wait = LONGEST_WAIT_S
        if self._action.kind == "again":
            return 0.0
        if self._action.until > now:
            wait = min(wait, self._action.until - self._now())
        wait = min(wait, self._accept.wait(now, self._state))
        return max(0.0, wait)
