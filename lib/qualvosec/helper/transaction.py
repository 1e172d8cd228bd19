# SPDX-License-Identifier: BSD-2-Clause
"""One run, detached from everybody who asked for it: the algorithm of all package managers.

Recover, refresh, list, simulate, download, hooks, commit, compare, reboot check,
record. Each phase is durable in run.json before it starts; `committed` is set
just before the package manager changes anything, so a crash at any point leaves a
record that says whether it had begun. Nothing here is ever ended in its commit
phase: a signal only keeps the next step from starting.
"""

import os
import signal
import sys
import threading
from typing import Any
from typing import Callable
from typing import Dict
from typing import NamedTuple
from typing import Sequence
from typing import Tuple

from qualvosec import command
from qualvosec import files
from qualvosec import log
from qualvosec import paths
from qualvosec.helper import config as configs
from qualvosec.helper import hooks
from qualvosec.helper import managers
from qualvosec.helper import process
from qualvosec.helper import reboot
from qualvosec.helper import record as records
from qualvosec.helper import request as requests
from qualvosec.helper import rules
from qualvosec.helper import runlog
from qualvosec.helper.managers import base

RETRY_S = 5.0
SELF_CHECK_S = 30
LAUNCHERS = (os.path.join(paths.SBIN_DIR, "qualvosec"),
             os.path.join(paths.LIBEXEC_DIR, "qualvosec-helper"))


class StopError(Exception):
    """The run does not go on; nothing has been installed. The text is one line."""


class Settings(NamedTuple):
    """Where things are and what the administrator set; `owner`: who besides root may own hooks."""

    config: configs.Config
    config_dir: str = paths.CONFIG_DIR
    launchers: Tuple[str, ...] = LAUNCHERS
    owner: int = 0
    top: str = "/"
    stopped: Callable[[], bool] = lambda: False


class Transaction:
    """One accepted request on its way through the phases."""

    def __init__(self, store: records.Store, state: records.State, settings: Settings,
                 world: base.World) -> None:
        if state.request is None:
            raise StopError("no request was accepted")
        self.store = store
        self.state = state
        self.request: requests.Request = state.request
        self.settings = settings
        self.config = settings.config
        self.world = world
        self.manager = base.Manager(world)

    # --- memory -------------------------------------------------------------------

    def _save(self, **fields: Any) -> None:
        self.state = self.state._replace(record=self.state.record._replace(**fields))
        self.store.write(self.state)

    def _phase(self, name: str, **fields: Any) -> None:
        self.world.tell("phase %s window=%s" % (name, self.request.window))
        self._save(phase=name, **fields)

    # --- waiting ------------------------------------------------------------------

    def _may_start(self) -> None:
        """Raise StopError when the next step must not begin."""
        veto = configs.veto(os.path.join(self.settings.config_dir, "veto"), self.world.now(),
                            self.settings.owner)
        if veto:
            raise StopError(veto)
        if self.settings.stopped():
            raise StopError("stopped by a signal before anything was installed")
        if self.world.now() > self.request.not_after:
            raise StopError("the window closed before anything was installed")

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
                self.world.tell("waiting: %s" % error)
                self.world.sleep(RETRY_S)

    def _unlocked(self, until: float) -> None:
        holder = self.manager.busy()
        if holder:
            raise base.Locked(holder)

    # --- the run ------------------------------------------------------------------

    def perform(self) -> None:
        """Do what was asked and record how it ended; raises RecordError only."""
        work = {"upgrade": self._upgrade, "repair": self._repair, "reboot": self._reboot}
        try:
            self.manager = managers.of_this_system(self.config.package_manager, self.world)
            work[self.request.op]()
        except (StopError, hooks.HookError) as error:
            self._finish("refused", str(error))
        except base.ManagerError as error:
            self._finish(error.outcome, str(error))
        except (OSError, files.FileError) as error:
            self._finish("failed", str(error))

    def _upgrade(self) -> None:
        self._phase("waiting", manager=self.manager.name, started=int(self.world.now()))
        self._patiently(self._unlocked)
        self._phase("recover")
        if self.manager.broken():
            try:
                self._patiently(self.manager.recover)
            except base.Locked:
                raise
            except base.ManagerError as error:
                # The update to come may be the cure; the package manager itself decides.
                self.world.tell("recover failed: %s" % error)
        self._phase("refresh")
        self._patiently(self.manager.refresh)
        self._phase("simulate")
        asked = self.request
        plan = self.manager.plan(base.Selection(asked.security_only, asked.only, asked.exclude))
        kept = tuple((left.name, left.why) for left in plan.left if left.kind != base.POLICY)
        self._save(kept=kept, pending=len(plan.pending))
        if plan.install:
            self._patiently(lambda until: self.manager.download(plan, asked.not_after))
            self._hooks("pre-patch")
            self._install(plan)
        else:
            why = "%d kept back: %s" % (len(kept), ": ".join(kept[0])) if kept else ""
            self._finish("nothing", why, committed=True)

    def _install(self, plan: base.Plan) -> None:
        before, papers = self.manager.installed(), self.manager.leftovers()
        self._patiently(self._unlocked)
        self._may_start()
        planned = tuple((p.name, p.old, p.new) for p in plan.install)
        self.state = self.state._replace(planned=planned)
        self._phase("commit", committed=True)
        fault = ""
        try:
            self._patiently(lambda until: self.manager.commit(plan, until))
        except (StopError, base.Locked) as error:
            if self.manager.installed() == before:
                self._save(committed=False)
                raise
            fault = str(error)
        except base.ManagerError as error:
            fault = str(error)
        self._phase("compare")
        self._compare(plan, before, papers, fault)

    def _compare(self, plan: base.Plan, before: Dict[str, str], papers: Dict[str, int],
                 fault: str) -> None:
        after = self.manager.installed()
        changed = tuple((name, before.get(name, ""), after[name]) for name in sorted(after)
                        if before.get(name) != after[name])
        removed = sorted(set(before) - set(after))
        missing = [p.name for p in plan.install if after.get(p.name) != p.new]
        if removed:
            fault = fault or "removed: %s" % ", ".join(removed[:5])
        if missing:
            fault = fault or "not installed: %s" % ", ".join(missing[:5])
        new = tuple(sorted(path for path, stamp in self.manager.leftovers().items()
                           if papers.get(path) != stamp))
        done = {row[0] for row in changed}
        outcome = "partial" if any(left.kind == base.KEPT for left in plan.left) else "ok"
        self._save(upgraded=changed, config_files=new,
                   pending=sum(1 for p in plan.pending if p.name not in done))
        try:
            self._hooks("post-patch", outcome="failed" if fault else outcome)
        except hooks.HookError as error:
            fault = fault or str(error)
        self._finish("failed" if fault else outcome, fault)

    def _hooks(self, kind: str, **facts: str) -> None:
        hooks.run_all(self.settings.config_dir, kind, self.config.hook_timeout,
                      dict(facts, window=self.request.window), self.world.log_fd, self.world.run,
                      self.settings.owner, self.settings.top)

    def _repair(self) -> None:
        self._phase("waiting", manager=self.manager.name, started=int(self.world.now()))
        self._patiently(self._unlocked)
        self._phase("recover")
        before, reason = self.manager.broken(), "the run was interrupted"
        if before:
            self._patiently(self.manager.recover)
            reason += "; repaired: " + before
        self._phase("compare")
        after = self.manager.installed()
        self._save(upgraded=tuple(row for row in self.state.planned if after.get(row[0]) == row[2]))
        self._finish("interrupted", reason)

    def _finish(self, outcome: str, reason: str, **fields: Any) -> None:
        """Look at the system once more, then write the end of the story."""
        if self.request.op == "reboot":
            self._save(reboot_refused=reason, reboot_requested=0)
            return
        clean, reasons = False, None
        try:
            broken = self.manager.broken()
            clean, reasons = not broken, self.manager.reboot_reasons()
        except (base.ManagerError, NotImplementedError, OSError) as error:
            broken = str(error)
        if outcome == "unsupported":
            clean, broken = True, ""
        fault = broken or self._self_check()
        if fault and outcome in ("ok", "partial", "nothing", "interrupted"):
            outcome, reason = "failed", fault
        self._phase("done", finished=int(self.world.now()), outcome=outcome, reason=reason[:500],
                    clean=clean, reboot=base.reboot_word(reasons),
                    reboot_reasons=tuple(reasons or ()), **fields)
        self.world.tell("finish run window=%s outcome=%s reason=%s"
                        % (self.request.window, outcome, reason))

    def _self_check(self) -> str:
        """Say which of our programs no longer starts, for an upgrade may take their interpreter."""
        for path in self.settings.launchers:
            try:
                result = self.world.run([path, "--version"], process.ENVIRONMENT,
                                        deadline_s=SELF_CHECK_S)
            except command.CommandError as error:
                return str(error)
            if result.returncode != 0:
                return "%s: does not start any more (exit code %d)" % (path, result.returncode)
        return ""

    # --- the reboot ---------------------------------------------------------------

    def _reboot(self) -> None:
        fault = self.manager.busy() or self.manager.broken() or self._self_check()
        if fault:
            raise StopError("reboot: %s" % fault)
        self._hooks("pre-reboot")
        self._may_start()
        now = self.world.now()
        last = reboot.read_stamp(self.store.folder)
        why, stamp = rules.too_soon(last, now, self.config.min_hours_between_reboots)
        if why:
            reboot.write_stamp(self.store.folder, stamp)
            raise StopError(why)
        try:
            argv = reboot.argv_for(self.config.reboot_delay, "QualvoSec: reboot after patching",
                                   self.world.root, os.uname().sysname)
            reboot.write_stamp(self.store.folder, stamp)
            self.state = self.state._replace(reboot_window=self.request.window)
            self._save(reboot_requested=int(now), reboot_delay=self.config.reboot_delay)
            self.world.tell("reboot window=%s argv=%s" % (self.request.window, " ".join(argv)))
            reboot.start(argv, self.config.reboot_delay, self.world.run, self.world.sleep)
        except reboot.RebootError as error:
            reboot.write_stamp(self.store.folder, last)
            raise StopError(str(error)) from None


def _take(store: records.Store) -> records.State:
    """Mark the accepted request as ours; StopError when there is none."""
    state = store.read()
    if state.taken or state.request is None:
        raise StopError("no request is waiting: qualvosec-helper starts this program")
    state = state._replace(taken=True)
    store.write(state)
    return state


def main(argv: Sequence[str]) -> int:
    """Perform the request that the front has accepted."""
    process.clean()
    if len(argv) == 2 and argv[1] == "--version":
        print("qualvosec-transaction " + paths.VERSION)
        return 0
    if len(argv) != 1 or os.geteuid() != 0:
        sys.stderr.write("qualvosec-transaction: is started by qualvosec-helper only\n")
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A handler, not SIG_IGN: what is ignored here would be ignored by every child.
        signal.signal(number, lambda *_: stop.set())
    done = threading.Event()
    try:
        store = records.Store(paths.HELPER_STATE_DIR)
        store.prepare()
        lock = store.lock()
        if lock is None:
            raise StopError("another run is alive")
        state = _take(store)
        log_fd = runlog.open_log(paths.HELPER_LOG_DIR)
        log.configure("FileHandler(%s)" % os.path.join(paths.HELPER_LOG_DIR, runlog.NAME), "INFO",
                      "qualvosec-transaction")
        threading.Thread(target=runlog.watch, args=(log_fd, done), daemon=True).start()
        config = configs.read(os.path.join(paths.CONFIG_DIR, "helper.conf"))
        Transaction(store, state, Settings(config, stopped=stop.is_set),
                    base.World(log_fd=log_fd, tell=log.info)).perform()
    except (records.RecordError, configs.ConfigError, StopError, OSError) as error:
        sys.stderr.write("qualvosec-transaction: %s\n" % error)
        return 1
    finally:
        done.set()
    return 0
