# SPDX-License-Identifier: BSD-2-Clause
"""One run from acceptance to record, with a package manager that does as it is told."""

import os
import tempfile
import unittest
from typing import Any
from typing import Callable
from typing import Dict
from typing import List
from typing import Optional
from typing import Sequence
from unittest import mock

from qualvosec import command
from qualvosec import files
from qualvosec.helper import config
from qualvosec.helper import managers
from qualvosec.helper import record
from qualvosec.helper import request
from qualvosec.helper import transaction
from qualvosec.helper.managers import base

WINDOW = "20261124T0215Z"
ONE = base.Package("one", "1", "2")
TWO = base.Package("two", "1", "2")
HELD = base.Left("two", "held by the administrator")


class FakeManager(base.Manager):
    """Installs what the plan says; each step can be told to fail."""

    name = "fake"

    def __init__(self, world: base.World) -> None:
        super().__init__(world)
        self.steps: List[str] = []
        self.packages = {"one": "1", "two": "1"}
        self.planned = base.Plan((ONE, TWO), (ONE, TWO))
        self.fault: Dict[str, Exception] = {}
        self.times: Dict[str, int] = {}
        self.damage = ""
        self.on_commit: Callable[[], None] = lambda: None

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name in self.fault and self.times.get(name, 1) > 0:
            self.times[name] = self.times.get(name, 1) - 1
            raise self.fault[name]

    def busy(self) -> str:
        return ""

    def broken(self) -> str:
        return self.damage

    def recover(self, until: float) -> None:
        self._step("recover")
        self.damage = ""

    def refresh(self, until: float) -> None:
        self._step("refresh")

    def installed(self) -> Dict[str, str]:
        return dict(self.packages)

    def prefetch(self, selection: base.Selection, until: float) -> None:
        self.ahead = (selection, until)

    def plan(self, selection: base.Selection, detail: bool = False) -> base.Plan:
        self._step("plan")
        self.selection = selection
        return self.planned

    def download(self, plan: base.Plan, until: float) -> None:
        self._step("download")

    def commit(self, plan: base.Plan, until: float) -> None:
        self.on_commit()
        self._step("commit")
        self.packages.update({package.name: package.new for package in plan.install})

    def leftovers(self) -> Dict[str, int]:
        return {"/etc/one.dpkg-dist": self.steps.count("commit"), "/etc/old.dpkg-dist": 7}

    def reboot_reasons(self) -> Optional[List[str]]:
        return ["kernel"] if "commit" in self.steps else []


class Case(unittest.TestCase):
    """A store with an accepted request, a clock, a package manager, recorded commands."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        # No power cut is tried here, and the disk would be most of the time.
        patch = mock.patch("os.fsync")
        patch.start()
        self.addCleanup(patch.stop)
        self.folder = folder.name
        os.makedirs(os.path.join(self.folder, "usr/sbin"))
        os.makedirs(os.path.join(self.folder, "run/systemd/system"))
        self.write("usr/sbin/shutdown", "", 0o755)
        self.store = record.Store(os.path.join(self.folder, "state"))
        self.store.prepare()
        self.clock = 1000.0
        self.commands: List[List[str]] = []
        self.codes: Dict[str, int] = {}
        self.stop = False
        self.world = base.World(run=self.run_command, now=lambda: self.clock, sleep=self.sleep,
                                root=self.folder, stopped=lambda: self.stop)
        self.manager = FakeManager(self.world)
        self.phases: List[str] = []

    def run_command(self, argv: Sequence[str], env: Any, **options: Any) -> command.Result:
        self.commands.append(list(argv))
        code = self.codes.get(os.path.basename(argv[0]), 0)
        if code == 127:
            raise command.CommandError("%s: cannot be started: no such file" % argv[0])
        return command.Result(code, b"", b"no\n" if code else b"", False, False)

    def sleep(self, seconds: float) -> None:
        self.clock += seconds

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        folder = os.path.dirname(path)
        while folder != self.folder:
            os.chmod(folder, 0o755)
            folder = os.path.dirname(folder)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)

    def accepted(self, op: str) -> record.State:
        return record.accept(self.store.read(), request.Request(op, WINDOW, 5000), 1, "boot")

    def perform(self, op: str = "upgrade", window: str = WINDOW, not_after: int = 5000,
                **config_fields: Any) -> record.Record:
        asked = request.Request(op, window, not_after, only=("o*",) if op == "upgrade" else ())
        state = record.accept(self.store.read(), asked, int(self.clock), "boot")
        state = state._replace(taken=True)
        self.store.write(state)
        work = transaction.Transaction(self.store, state, config.Config()._replace(**config_fields),
                                       self.world, self.folder, "/sbin/qualvosec")
        with mock.patch.object(managers, "of_this_system", return_value=self.manager):
            work.perform()
        return self.store.read().record


class Upgrades(Case):
    def test_steps_come_in_order_and_the_record_tells_everything(self) -> None:
        got = self.perform()
        self.assertEqual(self.manager.steps, ["refresh", "plan", "download", "commit"])
        self.assertEqual(self.manager.selection, base.Selection(False, ("o*",), ()))
        self.assertEqual(self.manager.ahead, (self.manager.selection, 5000))
        self.assertEqual((got.outcome, got.reason, got.committed, got.clean, got.phase),
                         ("ok", "", True, True, "done"))
        self.assertEqual([list(row) for row in got.upgraded],
                         [["one", "1", "2"], ["two", "1", "2"]])
        self.assertEqual(list(got.config_files), ["/etc/one.dpkg-dist"])
        self.assertEqual((got.pending, got.reboot, list(got.reboot_reasons)),
                         (0, "due", ["kernel"]))
        self.assertEqual((got.window, got.op, got.manager, got.started, got.finished),
                         (WINDOW, "upgrade", "fake", 1000, 1000))

    def test_commit_is_durable_before_the_package_manager_starts(self) -> None:
        seen: List[record.State] = []
        self.manager.on_commit = lambda: seen.append(self.store.read())
        self.perform()
        self.assertEqual([(state.record.phase, state.record.committed, state.record.finished)
                          for state in seen], [("commit", True, 0)])
        self.assertEqual([list(row) for row in seen[0].planned],
                         [["one", "1", "2"], ["two", "1", "2"]])

    def test_a_disk_that_is_full_before_the_commit_keeps_it_from_starting(self) -> None:
        original = self.store.write

        def full(state: record.State) -> None:
            if state.record.phase == "commit":
                raise files.FileError("run.json: no space left on device")
            original(state)

        with mock.patch.object(self.store, "write", full):
            got = self.perform()
        self.assertNotIn("commit", self.manager.steps)
        self.assertEqual((got.outcome, got.reason),
                         ("failed", "run.json: no space left on device"))

    def test_what_is_kept_back_makes_it_partial_and_is_named(self) -> None:
        self.manager.planned = base.Plan((ONE, TWO), (ONE,), (HELD,))
        got = self.perform()
        self.assertEqual((got.outcome, [list(row) for row in got.kept], got.pending, got.reason),
                         ("partial", [["two", "held by the administrator"]], 1,
                          "two: held by the administrator"))

    def test_what_is_phased_or_left_out_by_policy_does_not_make_it_partial(self) -> None:
        self.manager.planned = base.Plan((ONE, TWO), (ONE,), (
            base.Left("two", "phased", base.PHASED), base.Left("three", "no", base.POLICY)))
        got = self.perform()
        self.assertEqual((got.outcome, [list(row) for row in got.kept]),
                         ("ok", [["two", "phased"]]))

    def test_the_reason_of_a_partial_run_names_three_and_counts_the_others(self) -> None:
        left = tuple(base.Left("qv-%d" % number, "no", base.KEPT) for number in range(5))
        self.manager.planned = base.Plan((ONE, TWO), (ONE,), left)
        self.assertEqual(self.perform().reason, "qv-0: no; qv-1: no; qv-2: no; 2 more")

    def test_nothing_to_install_is_nothing_and_consumes_the_window(self) -> None:
        self.manager.planned = base.Plan(left=(base.Left("two", "phased", base.PHASED),))
        got = self.perform()
        self.assertEqual((got.outcome, got.committed, got.reason),
                         ("nothing", True, "two: phased"))
        self.assertNotIn("download", self.manager.steps)

    def test_a_run_in_which_all_is_kept_back_is_partial_and_not_silently_nothing(self) -> None:
        self.manager.planned = base.Plan((TWO,), (), (HELD,))
        got = self.perform()
        self.assertEqual((got.outcome, got.committed, got.pending, got.reason),
                         ("partial", True, 1, "two: held by the administrator"))
        self.assertNotIn("download", self.manager.steps)

    def test_what_the_plan_warns_of_is_the_reason_but_an_idle_blacklist_is_none(self) -> None:
        idle = "packages_blacklist: vim matches no installed package"
        for install in ((), (ONE,)):
            for warning in ("packages_whitelist: ngin matches no installed package",
                            "base: syspatch serves releases only"):
                self.manager = FakeManager(self.world)
                self.manager.planned = base.Plan((ONE,), install, warnings=(warning, idle))
                got = self.perform(window="20261201T0215Z")
                self.assertEqual((got.outcome, got.reason),
                                 ("ok" if install else "nothing", warning))

    def test_a_failure_before_the_commit_consumes_nothing(self) -> None:
        for step in ("refresh", "plan", "download"):
            for error in (base.ManagerError("no"), base.Refused("no"), base.Unsupported("no")):
                self.manager = FakeManager(self.world)
                self.manager.fault[step] = error
                got = self.perform(window="20261201T0215Z")
                self.assertEqual((got.outcome, got.committed, got.reason, got.finished > 0),
                                 (error.outcome, False, "no", True), step)
                self.assertNotIn("commit", self.manager.steps)

    def test_a_failed_commit_is_failed_and_tells_what_was_installed(self) -> None:
        def half() -> None:
            self.manager.packages["one"] = "2"
            self.manager.damage = "not completely installed: two"

        self.manager.on_commit = half
        self.manager.fault["commit"] = base.ManagerError("dpkg failed on two")
        got = self.perform()
        self.assertEqual((got.outcome, got.reason, got.committed, got.clean),
                         ("failed", "dpkg failed on two", True, False))
        self.assertEqual([list(row) for row in got.upgraded], [["one", "1", "2"]])

    def test_numbers_are_whole_where_lists_are_not(self) -> None:
        many = tuple(base.Package("p%04d" % number, "1", "2") for number in range(901))
        self.manager.packages = {package.name: "1" for package in many}
        self.manager.planned = base.Plan(many, many[:900], (base.Left("p0900", "held"),))
        told = record.to_json(self.perform())
        self.assertEqual((told["upgraded_count"], told["kept_count"], told["pending"],
                          told["config_files_count"]), (900, 1, 1, 1))
        self.assertEqual(len(told["upgraded"]), 500)    # type: ignore[arg-type]

    def test_a_run_that_failed_before_its_plan_does_not_know_what_is_pending(self) -> None:
        self.manager.fault["refresh"] = base.ManagerError("no route to host")
        got = self.perform()
        self.assertEqual((got.outcome, got.upgraded_count, got.kept_count, got.pending),
                         ("failed", 0, None, None))

    def test_a_run_that_stopped_between_plan_and_commit_does(self) -> None:
        self.manager.planned = base.Plan((ONE, TWO), (ONE,), (HELD,))
        self.manager.fault["download"] = base.ManagerError("disk full")
        got = self.perform()
        self.assertEqual((got.upgraded_count, got.kept_count, got.pending), (0, 1, 2))

    def test_while_packages_are_installed_or_nobody_can_look_numbers_are_unknown(self) -> None:
        seen: List[record.Record] = []

        def commit() -> None:
            seen.append(self.store.read().record)
            self.manager.installed = lambda: self.fail_to_look()    # type: ignore[method-assign]

        self.manager.on_commit = commit
        got = self.perform()
        for told in (seen[0], got):
            self.assertEqual((told.upgraded_count, told.kept_count, told.pending), (None, 0, None))
        self.assertEqual((got.outcome, got.reason), ("failed", "dpkg-query: terminated"))

    def fail_to_look(self) -> Dict[str, str]:
        raise base.ManagerError("dpkg-query: terminated")

    def test_what_was_only_unpacked_is_not_upgraded_and_still_pending(self) -> None:
        self.manager.on_commit = lambda: self.manager.fault.update(
            commit=base.ManagerError("dpkg failed on two"))
        self.manager.packages = {"one": "1", "two": "1"}
        commit = self.manager.commit

        def half(plan: base.Plan, until: float) -> None:
            try:
                commit(plan, until)
            finally:
                self.manager.packages = {"one": "2", "two": ""}
        self.manager.commit = half      # type: ignore[method-assign]
        got = self.perform()
        self.assertEqual(([row[0] for row in got.upgraded], got.upgraded_count, got.pending),
                         (["one"], 1, 1))
        self.assertEqual((got.outcome, got.reason), ("failed", "dpkg failed on two"))

    def test_many_names_in_a_reason_end_with_how_many_more_there_are(self) -> None:
        many = tuple(base.Package("p%d" % number, "1", "2") for number in range(8))
        self.manager.planned = base.Plan(many, many)
        self.manager.packages = {package.name: "1" for package in many}
        self.manager.commit = lambda plan, until: None  # type: ignore[method-assign]
        self.assertEqual(self.perform().reason,
                         "not installed: p0, p1, p2, p3, p4 and 3 more")

    def test_a_package_that_silently_stayed_is_failed(self) -> None:
        self.manager.planned = base.Plan((ONE,), (ONE, base.Package("three", "1", "2")))
        with mock.patch.object(self.manager, "commit", lambda plan, until: None):
            got = self.perform()
        self.assertEqual((got.outcome, got.reason), ("failed", "not installed: one, three"))

    def test_a_package_that_was_removed_is_failed(self) -> None:
        def remove() -> None:
            del self.manager.packages["two"]

        self.manager.on_commit = remove
        self.manager.planned = base.Plan((ONE,), (ONE,))
        got = self.perform()
        self.assertEqual((got.outcome, got.reason), ("failed", "removed: two"))

    def test_what_is_broken_is_repaired_before_the_refresh(self) -> None:
        self.manager.damage = "dpkg was interrupted"
        got = self.perform()
        self.assertEqual((self.manager.steps[:2], got.outcome), (["recover", "refresh"], "ok"))

    def test_a_repair_knows_the_selection_is_recorded_and_makes_nothing_ok(self) -> None:
        self.manager.damage = "dpkg was interrupted"
        self.manager.packages = {"one": "", "two": "1"}
        self.manager.planned = base.Plan()
        recover = self.manager.recover

        def repair(until: float) -> None:
            self.assertEqual(self.manager.selection, base.Selection(False, ("o*",), ()))
            recover(until)
            self.manager.packages["one"] = "2"

        self.manager.recover = repair   # type: ignore[method-assign]
        got = self.perform()
        self.assertEqual((got.outcome, [list(row) for row in got.upgraded], got.upgraded_count),
                         ("ok", [["one", "", "2"]], 1))

    def test_what_a_repair_did_is_told_whatever_comes_of_the_run_and_of_the_next_attempt(
            self) -> None:
        self.manager.damage = "dpkg was interrupted"
        self.manager.packages = {"one": "", "two": "1"}
        recover = self.manager.recover

        def repair(until: float) -> None:
            recover(until)
            self.manager.packages["one"] = "1.5"

        self.manager.recover = repair   # type: ignore[method-assign]
        self.manager.fault["refresh"] = base.ManagerError("no route to host")
        got = self.perform()
        self.assertEqual((got.outcome, got.committed, [list(row) for row in got.upgraded]),
                         ("failed", False, [["one", "", "1.5"]]))
        got = self.perform()
        self.assertEqual((got.outcome, [list(row) for row in got.upgraded]),
                         ("ok", [["one", "", "2"], ["two", "1", "2"]]))

    def test_recovery_is_tried_once_in_a_window_but_a_lock_does_not_count(self) -> None:
        self.manager.fault["refresh"] = base.ManagerError("no route to host")
        self.manager.times["refresh"] = 1 << 30
        for fault, steps in ((base.ManagerError("no"), 1), (base.Locked("held by 7"), 3)):
            self.manager.steps.clear()
            self.manager.fault["recover"] = fault
            for _ in range(3):
                self.manager.damage, self.manager.times["recover"] = "half installed: one", 1
                self.perform(window="2026120%dT0215Z" % steps, lock_wait=0)
            self.assertEqual(self.manager.steps.count("recover"), steps)

    def test_some_sources_are_waited_for_and_then_the_run_goes_on_without_them(self) -> None:
        self.manager.fault["refresh"] = base.Incomplete("apt-get update: Err:1 http://x")
        for times, outcome, reason, end in (
                (2, "ok", "", 1120), (99, "partial", "apt-get update: Err:1 http://x", 1180)):
            self.manager.times["refresh"], self.clock = times, 1000.0
            self.manager.packages = {"one": "1", "two": "1"}
            got = self.perform(window="2026120%dT0215Z" % (times % 9 + 1), refresh_wait=200)
            self.assertEqual((got.outcome, got.reason, self.clock), (outcome, reason, end))
            self.assertEqual(len(got.upgraded), 2)

    def test_some_sources_and_nothing_to_install_is_failed_and_uses_no_window_up(self) -> None:
        self.manager.fault["refresh"] = base.Incomplete("apt-get update: Err:1 http://x")
        self.manager.planned = base.Plan()
        got = self.perform(refresh_wait=0)
        self.assertEqual((got.outcome, got.committed, got.reason),
                         ("failed", False, "apt-get update: Err:1 http://x"))

    def test_what_cannot_be_fetched_is_planned_around(self) -> None:
        self.manager.fault["download"] = base.Unfetched("apt-get download: two: 404")
        plans = [base.Plan((ONE, TWO), (ONE, TWO)),
                 base.Plan((ONE, TWO), (ONE,), (base.Left("two", "cannot be fetched: 404"),))]
        with mock.patch.object(self.manager, "plan", lambda selection: plans.pop(0)):
            got = self.perform()
        self.assertEqual((got.outcome, got.reason, [row[0] for row in got.upgraded], got.pending),
                         ("partial", "two: cannot be fetched: 404", ["one"], 1))

    def test_nothing_that_can_be_fetched_is_failed_and_uses_no_window_up(self) -> None:
        self.manager.fault["download"] = base.Unfetched("apt-get download: two: 404")
        plans = [base.Plan((TWO,), (TWO,)),
                 base.Plan((TWO,), (), (base.Left("two", "cannot be fetched: 404"),))]
        with mock.patch.object(self.manager, "plan", lambda selection: plans.pop(0)):
            got = self.perform()
        self.assertEqual((got.outcome, got.committed, got.reason, got.kept_count),
                         ("failed", False, "apt-get download: two: 404", 1))

    def test_a_package_whose_files_others_have_taken_over_is_not_removed(self) -> None:
        def remove() -> None:
            del self.manager.packages["two"]
            self.manager.replaced = {"two"}

        self.manager.on_commit = remove
        self.manager.planned = base.Plan((ONE,), (ONE,))
        self.assertEqual(self.perform().outcome, "ok")

    def test_a_failed_recovery_leaves_the_decision_to_the_package_manager(self) -> None:
        self.manager.damage = "not completely installed: one"
        self.manager.fault["recover"] = base.ManagerError("cannot be repaired: one; no")
        got = self.perform()
        self.assertIn("commit", self.manager.steps)
        self.assertEqual((got.outcome, got.reason, got.clean),
                         ("failed", "cannot be repaired: one; no", False))

    def test_an_interpreter_that_vanished_is_failed(self) -> None:
        for code, part in ((127, "cannot be started"), (1, "does not start any more")):
            self.codes["qualvosec"] = code
            got = self.perform(window="2026120%dT0215Z" % (code % 7))
            self.assertEqual(got.outcome, "failed")
            self.assertIn(part, got.reason)
            self.assertIn(["/sbin/qualvosec", "--version"], self.commands)


class Waiting(Case):
    def test_a_lock_is_waited_for_and_then_the_run_goes_on(self) -> None:
        self.manager.fault["refresh"] = base.Locked("held by 7")
        self.manager.times["refresh"] = 3
        self.assertEqual(self.perform().outcome, "ok")
        self.assertEqual(self.clock, 1015.0)

    def test_a_lock_that_stays_ends_as_locked_after_lock_wait(self) -> None:
        self.manager.fault["refresh"] = base.Locked("held by 7")
        self.manager.times["refresh"] = 1 << 30
        got = self.perform(lock_wait=60)
        self.assertEqual((got.outcome, got.committed, got.reason), ("locked", False, "held by 7"))
        self.assertLessEqual(self.clock, 1060)

    def test_who_does_not_wait_for_locks_still_has_the_window_to_refresh_the_lists(self) -> None:
        ends: List[float] = []
        with mock.patch.object(self.manager, "refresh", ends.append):
            self.assertEqual(self.perform(lock_wait=0).outcome, "ok")
        self.assertEqual(ends, [5000])

    def test_nobody_waits_beyond_the_window(self) -> None:
        self.manager.fault["refresh"] = base.Locked("held by 7")
        self.manager.times["refresh"] = 1 << 30
        self.assertEqual(self.perform(not_after=1020).outcome, "locked")
        self.assertLessEqual(self.clock, 1020)

    def test_a_window_that_closes_during_the_download_starts_nothing(self) -> None:
        with mock.patch.object(self.manager, "download",
                               lambda plan, until: self.sleep(until - self.clock + 1)):
            got = self.perform()
        self.assertEqual((got.outcome, got.committed), ("refused", False))
        self.assertIn("window closed", got.reason)
        self.assertNotIn("commit", self.manager.steps)

    def test_a_lock_taken_in_the_last_moment_consumes_nothing(self) -> None:
        self.manager.fault["commit"] = base.Locked("held by 7")
        self.manager.times["commit"] = 1 << 30
        got = self.perform(lock_wait=30)
        self.assertEqual((got.outcome, got.committed), ("locked", False))

    def test_a_signal_keeps_the_next_step_from_starting(self) -> None:
        def stop(selection: base.Selection, detail: bool = False) -> base.Plan:
            self.stop = True
            return self.manager.planned

        with mock.patch.object(self.manager, "plan", stop):
            got = self.perform()
        self.assertEqual((got.outcome, got.committed), ("refused", False))
        self.assertIn("signal", got.reason)

    def test_a_signal_during_the_commit_changes_nothing(self) -> None:
        def stop() -> None:
            self.stop = True

        self.manager.on_commit = stop
        self.assertEqual(self.perform().outcome, "ok")

    def test_a_veto_that_comes_during_the_run_stops_it_before_the_commit(self) -> None:
        with mock.patch.object(self.manager, "download",
                               lambda plan, until: self.write("veto", "backup\n")):
            got = self.perform()
        self.assertEqual((got.outcome, got.reason, got.committed),
                         ("refused", "veto: backup", False))


class Hooks(Case):
    def hook(self, kind: str, name: str = "10-hook") -> None:
        self.write("hooks.d/%s.d/%s" % (kind, name), "", 0o755)

    def test_hooks_stand_around_the_commit(self) -> None:
        self.hook("pre-patch")
        self.hook("post-patch", "20-hook")
        self.assertEqual(self.perform().outcome, "ok")
        self.assertEqual([os.path.basename(argv[0]) for argv in self.commands],
                         ["10-hook", "20-hook", "qualvosec"])

    def test_a_failing_hook_before_the_run_stops_it(self) -> None:
        self.hook("pre-patch")
        self.codes["10-hook"] = 3
        got = self.perform()
        self.assertEqual((got.outcome, got.committed), ("refused", False))
        self.assertIn("10-hook: failed with exit code 3", got.reason)
        self.assertNotIn("commit", self.manager.steps)

    def test_a_hook_after_the_run_that_cannot_be_started_hides_no_other_fault(self) -> None:
        self.hook("post-patch")
        self.codes["10-hook"] = 127
        self.assertIn("10-hook: cannot be started", self.perform().reason)
        self.manager.fault["commit"] = base.ManagerError("dpkg failed on two")
        got = self.perform(window="20261201T0215Z")
        self.assertEqual((got.outcome, got.reason), ("failed", "dpkg failed on two"))

    def test_hooks_stand_around_a_repair_too_and_a_refusal_keeps_it_from_starting(self) -> None:
        self.hook("pre-patch")
        self.hook("post-patch", "20-hook")
        self.manager.damage = "dpkg was interrupted"
        self.manager.fault["refresh"] = base.ManagerError("no route to host")
        self.assertEqual(self.perform().outcome, "failed")
        self.assertEqual([os.path.basename(argv[0]) for argv in self.commands[:2]],
                         ["10-hook", "20-hook"])
        self.codes["10-hook"] = 3
        self.manager.steps.clear()
        self.manager.damage = "dpkg was interrupted"
        for op in ("upgrade", "repair"):
            got = self.perform(op, window="20261201T0215Z")
            self.assertEqual((got.outcome, got.committed, self.manager.steps),
                             ("refused", False, []))

    def test_a_failing_hook_after_the_run_is_failed_but_everything_is_told(self) -> None:
        self.hook("post-patch")
        self.codes["10-hook"] = 3
        got = self.perform()
        self.assertEqual((got.outcome, got.committed, len(got.upgraded)), ("failed", True, 2))

    def test_a_failing_hook_before_the_reboot_stops_the_reboot(self) -> None:
        self.hook("pre-reboot")
        self.codes["10-hook"] = 1
        self.assertIn("10-hook", self.perform("reboot").reboot_refused)
        self.assertNotIn("shutdown", " ".join(argv[0] for argv in self.commands))


class Repairs(Case):
    def interrupted(self) -> None:
        state = self.accepted("upgrade")
        self.store.write(state._replace(
            taken=True, planned=(("one", "1", "2"), ("two", "1", "2")),
            record=state.record._replace(phase="commit", committed=True)))

    def test_an_interrupted_run_is_repaired_and_says_what_it_had_installed(self) -> None:
        self.interrupted()
        self.manager.packages["one"] = "2"
        self.manager.damage = "dpkg was interrupted"
        got = self.perform("repair")
        self.assertEqual((got.outcome, got.committed, got.clean, got.op),
                         ("interrupted", True, True, "repair"))
        self.assertEqual([list(row) for row in got.upgraded], [["one", "1", "2"]])
        self.assertIn("repaired: dpkg was interrupted", got.reason)
        self.assertEqual(self.manager.steps, ["recover"])

    def test_nothing_to_repair_touches_nothing(self) -> None:
        self.interrupted()
        got = self.perform("repair")
        self.assertEqual((got.outcome, got.clean, self.manager.steps), ("interrupted", True, []))

    def test_a_repair_that_does_not_help_is_failed_and_not_clean(self) -> None:
        self.interrupted()
        self.manager.damage = "not completely installed: two"
        self.manager.fault["recover"] = base.ManagerError("cannot be repaired: two")
        got = self.perform("repair")
        self.assertEqual((got.outcome, got.clean, got.reason),
                         ("failed", False, "cannot be repaired: two"))

    def test_what_a_killed_package_manager_has_lost_is_named_also_where_nothing_is_repaired(
            self) -> None:
        for fault in ("", "not completely installed: partial-two-2"):
            self.interrupted()
            self.manager = FakeManager(self.world)
            del self.manager.packages["two"]
            if fault:
                self.manager.damage = fault
                self.manager.fault["recover"] = base.ManagerError(fault)
            got = self.perform("repair")
            self.assertEqual((got.outcome, got.clean), ("failed", not fault))
            self.assertEqual(got.reason, (fault or "the run was interrupted")
                             + "; lost, install it again: two 1")

    def test_an_interrupted_run_that_had_not_begun_to_install_consumes_nothing(self) -> None:
        state = self.accepted("upgrade")
        self.store.write(state._replace(taken=True))
        self.assertFalse(self.perform("repair").committed)


class Reboots(Case):
    def shutdowns(self) -> List[List[str]]:
        return [argv for argv in self.commands if "shutdown" in argv[0]]

    def test_a_reboot_is_recorded_before_it_is_commanded(self) -> None:
        self.perform()
        seen: List[record.State] = []
        original = self.run_command

        def run(argv: Sequence[str], env: Any, **options: Any) -> command.Result:
            if "shutdown" in argv[0]:
                seen.append(self.store.read())
            return original(argv, env, **options)

        self.world = self.world._replace(run=run)
        got = self.perform("reboot", reboot_delay=90)
        self.assertEqual(self.shutdowns(), [
            ["/usr/sbin/shutdown", "-r", "+2", "QualvoSec: reboot after patching"]])
        self.assertEqual([(state.record.reboot_requested, state.last_reboot, state.reboot_window)
                          for state in seen], [(1000, 1000, WINDOW)])
        self.assertEqual((got.reboot_requested, got.reboot_delay, got.reboot_refused, got.outcome),
                         (1000, 90, "", "ok"))

    def test_a_broken_package_database_is_not_rebooted(self) -> None:
        self.manager.damage = "not completely installed: one"
        got = self.perform("reboot")
        self.assertIn("not completely installed", got.reboot_refused)
        self.assertEqual(self.shutdowns(), [])

    def test_somebody_else_at_work_is_not_rebooted(self) -> None:
        with mock.patch.object(self.manager, "busy", lambda: "lock is held by process 7"):
            self.assertIn("process 7", self.perform("reboot").reboot_refused)
        self.assertEqual(self.shutdowns(), [])

    def test_a_reboot_waits_for_somebody_else_at_work_as_long_as_a_run_does(self) -> None:
        with mock.patch.object(self.manager, "busy",
                               lambda: "held by process 7" if self.clock < 1300 else ""):
            self.assertEqual(self.perform("reboot").reboot_refused, "")
        self.assertEqual((len(self.shutdowns()), self.clock), (1, 1300.0))

    def test_programs_that_no_longer_start_keep_the_host_from_rebooting(self) -> None:
        self.codes["qualvosec"] = 127
        self.assertIn("cannot be started", self.perform("reboot").reboot_refused)
        self.assertEqual(self.shutdowns(), [])

    def test_a_command_that_fails_counts_as_no_reboot(self) -> None:
        self.codes["shutdown"] = 1
        got = self.perform("reboot")
        self.assertEqual(got.reboot_requested, 0)
        self.assertIn("exit code 1: no", got.reboot_refused)
        self.assertEqual(self.store.read().last_reboot, 0)

    def test_a_system_without_package_manager_is_not_rebooted(self) -> None:
        state = self.accepted("reboot")
        with mock.patch.object(managers, "of_this_system", side_effect=base.Unsupported("plan 9")):
            transaction.Transaction(self.store, state, config.Config(), self.world, self.folder,
                                    "/sbin/qualvosec").perform()
        self.assertEqual(self.store.read().record.reboot_refused, "plan 9")


class Unsupported(Case):
    def test_a_system_without_adapter_is_told_so_in_the_record(self) -> None:
        state = self.accepted("upgrade")
        with mock.patch.object(managers, "of_this_system", side_effect=base.Unsupported("plan 9")):
            transaction.Transaction(self.store, state, config.Config(), self.world, self.folder,
                                    "/sbin/qualvosec").perform()
        got = self.store.read().record
        self.assertEqual((got.outcome, got.reason, got.committed, got.finished),
                         ("unsupported", "plan 9", False, 1000))
