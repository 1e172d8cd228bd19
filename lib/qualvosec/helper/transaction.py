# SPDX-License-Identifier: BSD-2-Clause
"""One run, detached from everybody who asked for it: the algorithm of all package managers.

Recover, refresh, list, simulate, download, hooks, commit, compare, reboot check,
record. Each phase is durable in run.json before it starts; `committed` is set
just before the package manager changes anything, so a crash at any point leaves a
record that says whether it had begun. Nothing here is ever ended in its commit
phase: a signal only keeps the next step from starting.
"""

import functools
import os
import signal
import sys
from typing import Any
from typing import Callable
from typing import Dict
from typing import List
from typing import Optional
from typing import Tuple

from qualvosec import command
from qualvosec import files
from qualvosec import log
from qualvosec import paths
from qualvosec.contract import words
from qualvosec.helper import config as configs
from qualvosec.helper import hooks
from qualvosec.helper import managers
from qualvosec.helper import process
from qualvosec.helper import record as records
from qualvosec.helper import runlog
from qualvosec.helper.managers import base
from qualvosec.helper.managers import settle
from qualvosec.helper.managers import system

RETRY_S = 5.0
REFRESH_AGAIN_S = 60.0


class Transaction:
    """One accepted request on its way through the phases; perform() is called once."""

    def __init__(self, store: records.Store, state: records.State, config: configs.Config,
                 world: base.World, config_dir: str = paths.CONFIG_DIR,
                 launcher: str = os.path.join(paths.SBIN_DIR, "qualvosec")) -> None:
        self.store, self.state, self.config = store, state, config
        self.request = state.request
        self.world, self.config_dir, self.launcher = world, config_dir, launcher
        self.manager = base.Manager(world)
        self.faults: List[str] = []
        self.before: Optional[Tuple[Dict[str, str], Dict[str, int]]] = None
        self.hooked = False
        self.unrepaired = ""

    def perform(self) -> None:
        """Do what was asked and record how it ended; raises FileError if even that fails."""
        work = {"upgrade": self._upgrade, "repair": self._repair, "reboot": self._reboot}
        try:
            self.manager = managers.of_this_system(self.config.package_manager, self.world)
            work[self.request.op]()
        except (base.ManagerError, command.CommandError, files.FileError, OSError) as error:
            self._finish(getattr(error, "outcome", "failed"), str(error))

    # --- memory and waiting -------------------------------------------------------

    def _save(self, **fields: Any) -> None:
        fields.update({key + "_count": len(value) for key, value in fields.items()
                       if key + "_count" in records.Record._fields})
        self.state = self.state._replace(record=self.state.record._replace(**fields))
        self.store.write(self.state)

    def _phase(self, name: str, **fields: Any) -> None:
        self.world.tell("phase", phase=name, window=self.request.window)
        self._save(phase=name, **fields)

    def _may_start(self) -> None:
        """Raise Refused when the next step must not begin."""
        why = configs.veto(os.path.join(self.config_dir, "veto"), self.world.now())
        if not why and self.world.stopped():
            why = "stopped by a signal before anything was installed"
        if why or self.world.now() > self.request.not_after:
            raise base.Refused(why or "the window closed before anything was installed")

    def _patiently(self, step: Callable[[float], None]) -> None:
        """Call step(until) until nobody else holds the package manager; at last raises Locked."""
        until = min(self.world.now() + self.config.lock_wait, self.request.not_after)
        while True:
            self._may_start()
            try:
                return step(until)
            except base.Locked as error:
                if self.world.now() + RETRY_S > until:
                    raise
                self.world.tell("waiting", reason=error)
                self.world.sleep(RETRY_S)

    def _open(self) -> None:
        """Let the administrator's programs prepare the first change, and see what was before."""
        if not self.hooked:
            self._hooks("pre-patch")
            self.hooked = True
        self._patiently(self.manager.unlocked)
        self.before = self.before or (self.manager.installed(), self.manager.leftovers())

    def _compare(self) -> Dict[str, str]:
        """Record what has changed since the first change; return what is installed now."""
        before, papers = self.before or ({}, {})
        after = self.manager.installed()
        rows = {name: (name, before.get(name, ""), after[name]) for name in after
                if after[name] and before.get(name) != after[name]}
        # An earlier attempt in this window may have begun with a repair.
        rows.update({row[0]: (row[0], row[1], after[row[0]]) for row in self.state.record.upgraded
                     if after.get(row[0])})
        new = tuple(sorted(path for path, stamp in self.manager.leftovers().items()
                           if papers.get(path) != stamp))
        self._save(upgraded=tuple(rows[name] for name in sorted(rows)), config_files=new)
        return after

    def _hooks(self, kind: str, **facts: str) -> None:
        hooks.run_all(self.config_dir, kind, self.config.hook_timeout,
                      dict(facts, window=self.request.window), self.world)

    # --- the run ------------------------------------------------------------------

    def _begin(self) -> str:
        """Wait for the package manager and let it repair what is broken: what that was."""
        asked = self.request
        self.manager.selection = base.Selection(asked.security_only, asked.only, asked.exclude)
        self._phase("waiting", manager=self.manager.name, started=int(self.world.now()))
        self._patiently(self.manager.unlocked)
        self._phase("recover")
        broken = self.manager.broken()
        # Once in a window: what fails may be a script, and further attempts come.
        if broken and (asked.op == "repair" or self.state.recovered != asked.window):
            self._open()
            self.state = self.state._replace(recovered=asked.window)
            self._save()
            try:
                self.unrepaired = base.failure(lambda: self._patiently(self.manager.recover))
            except base.ManagerError:
                self.state = self.state._replace(recovered="")
                raise
            finally:
                self._compare()
            # The update to come may be the cure; the package manager itself decides.
            self.world.tell("recovered", fault=self.unrepaired)
        return broken

    def _refresh(self) -> None:
        """Fetch the lists; go on without some of the sources after refresh_wait."""
        end = min(self.world.now() + self.config.refresh_wait, self.request.not_after)
        while True:
            try:
                return self._patiently(lambda until: self.manager.refresh(self.request.not_after))
            except base.Incomplete as error:
                if self.world.now() + REFRESH_AGAIN_S > end:
                    return self.faults.append(str(error))
                self.world.tell("waiting", reason=error)
                self.world.sleep(REFRESH_AGAIN_S)

    def _fetch(self) -> base.Plan:
        """Plan, and plan anew without what cannot be fetched."""
        plan = self.manager.plan(self.manager.selection)
        kept = tuple((left.name, left.why) for left in plan.left if left.kind != base.POLICY)
        self._save(kept=kept, pending=len(plan.pending))
        try:
            if plan.install:
                self._patiently(lambda until: self.manager.download(plan, self.request.not_after))
        except base.Unfetched as error:
            self.world.tell("left out", reason=error)
            plan = self._fetch()
            # Where nothing else is left, no window is used up: it may be there the next time.
            self.faults += [] if plan.install else [str(error)]
        return plan

    def _upgrade(self) -> None:
        self._begin()
        self._phase("refresh")
        self._refresh()
        self._phase("simulate")
        self.manager.prefetch(self.manager.selection, self.request.not_after)
        plan = self._fetch()
        if plan.install:
            self._open()
            return self._install(plan._replace(faults=tuple(self.faults) + plan.faults))
        if self.faults:
            raise base.ManagerError("; ".join(self.faults))
        outcome, why = base.forecast(plan)
        repaired = outcome == "nothing" and self.state.record.upgraded
        return self._finish("ok" if repaired else outcome, why, committed=True)

    def _install(self, plan: base.Plan) -> None:
        before, fault = self.manager.installed(), ""
        self.state = self.state._replace(planned=tuple(p[:3] for p in plan.install))
        self._may_start()
        self._phase("commit", committed=True, upgraded_count=None, pending=None)
        try:
            self._patiently(lambda until: self.manager.commit(plan, until))
        except base.ManagerError as error:
            fault = str(error)
            if error.outcome != "failed" and self.manager.installed() == before:
                self._compare()
                self._save(committed=False, pending=len(plan.pending))
                raise
        self._phase("compare")
        after = self._compare()
        missing = {p.name for p in plan.install if after.get(p.name) != p.new}
        removed = set(before) - set(after) - self.manager.replaced
        for what, names in (("removed", removed), ("not installed", missing)):
            if names:
                fault = fault or "%s: %s" % (what, settle.some(names))
        rest = {p.name for p in plan.pending} - {row[0] for row in self.state.record.upgraded}
        self._save(pending=len(rest))
        plan = plan._replace(warnings=plan.warnings + tuple(self.manager.notes))
        self._finish(*(("failed", fault) if fault else base.forecast(plan)))

    def _repair(self) -> None:
        broken, reason = self._begin(), "the run was interrupted"
        reason = self.unrepaired or reason + ("; repaired: " + broken if broken else "")
        self._phase("compare")
        after, planned = self.manager.installed(), self.state.planned
        lost = base.lost(planned, after)
        rows = {row[0]: tuple(row) for row in self.state.record.upgraded}
        rows.update({row[0]: row for row in planned if after.get(row[0]) == row[2]})
        self._save(upgraded=tuple(rows.values()))
        self._finish("failed" if self.unrepaired or lost else "interrupted", reason + lost)

    def _finish(self, outcome: str, reason: str, **fields: Any) -> None:
        """Look at the system once more, then write how it ended."""
        self.world.tell("finished", operation=self.request.op, window=self.request.window,
                        outcome=outcome, reason=reason)
        if self.request.op == "reboot":
            return self._save(reboot_refused=reason[:500], reboot_requested=0)
        if self.hooked:
            try:
                self._hooks("post-patch", outcome=outcome)
            except (base.Refused, command.CommandError) as error:
                if outcome != "failed":
                    outcome, reason = "failed", str(error)
        clean, reasons = outcome == words.UNSUPPORTED, None
        if not clean:
            try:
                fault = self.manager.broken()
                clean, reasons = not fault, self.manager.reboot_reasons()
                fault = (fault and self.unrepaired) or fault or self._self_check()
            except (base.ManagerError, command.CommandError, OSError) as error:
                fault = str(error)
            # What could not be repaired is also why nothing could be planned.
            if fault and words.outcome(outcome).ran and (outcome != words.FAILED or (
                    self.unrepaired and not self.state.record.committed)):
                outcome, reason = "failed", fault
        return self._phase("done", finished=int(self.world.now()), outcome=outcome, clean=clean,
                           reason=reason[:500], reboot=base.reboot_word(reasons),
                           reboot_reasons=tuple(reasons or ()), **fields)

    def _self_check(self) -> str:
        """Say whether our program no longer starts: an upgrade may take its interpreter."""
        result = self.world.run([self.launcher, "--version"], system.ENVIRONMENT, deadline_s=30)
        return "" if result.returncode == 0 else (
            "%s: does not start any more (exit code %d)" % (self.launcher, result.returncode))

    # --- the reboot ---------------------------------------------------------------

    def _reboot(self) -> None:
        self._patiently(self.manager.unlocked)
        fault = self.manager.broken() or self._self_check()
        if fault:
            raise base.Refused("reboot: %s" % fault)
        self._hooks("pre-reboot")
        self._may_start()
        now, last = int(self.world.now()), self.state.last_reboot
        argv = system.reboot_argv(self.config.reboot_delay, self.world.root, os.uname().sysname)
        # Durable before the command: a host must not reboot again because it forgot this one.
        self.state = self.state._replace(reboot_window=self.request.window, last_reboot=now)
        self._save(reboot_requested=now, reboot_delay=self.config.reboot_delay)
        self.world.tell("reboot", window=self.request.window, argv=" ".join(argv))
        try:
            system.reboot(argv, self.config.reboot_delay, self.world)
        except base.Refused:
            self.state = self.state._replace(last_reboot=last)
            raise


def run(stopped: Callable[[], bool]) -> None:
    """Take the accepted request and perform it; raises Refused when there is none."""
    store = records.Store(paths.HELPER_STATE_DIR)
    store.prepare()
    lock, state = store.lock(), store.read()
    if lock is None or state.taken:
        raise base.Refused("no request is waiting: qualvosec-helper starts this program")
    # First: without a log nothing is taken up, so nothing counts as interrupted.
    log_fd = runlog.open_log(paths.HELPER_LOG_DIR)
    state = state._replace(taken=True)
    store.write(state)
    log.append_to(log_fd, "qualvosec-transaction")
    config = configs.read(os.path.join(paths.CONFIG_DIR, "helper.conf"))
    runner = functools.partial(command.run, watch=lambda: runlog.bound(log_fd))
    world = base.World(run=runner, log_fd=log_fd, tell=log.info, stopped=stopped)
    Transaction(store, state, config, world).perform()


def main(argv: List[str]) -> int:
    """Perform the request that the front has accepted."""
    process.clean()
    if argv[1:]:
        print("qualvosec-transaction %s: is started by qualvosec-helper" % paths.VERSION)
        return 0 if argv[1:] == ["--version"] else 2
    stop: List[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A handler, not SIG_IGN: what is ignored here would be ignored by every child.
        signal.signal(number, lambda number, frame: stop.append(number))
    try:
        run(lambda: bool(stop))
    except (base.ManagerError, files.FileError, OSError) as error:
        sys.stderr.write("qualvosec-transaction: %s\n" % error)
        return 1
    return 0
