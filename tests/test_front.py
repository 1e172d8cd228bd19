# SPDX-License-Identifier: BSD-2-Clause
"""The program behind the sudo rule: whole conversations, and what it refuses."""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from typing import Any
from typing import Dict
from typing import List
from typing import Optional
from unittest import mock

from qualvosec import paths
from qualvosec.helper import front
from qualvosec.helper import managers
from qualvosec.helper import record
from qualvosec.helper.managers import base

from tests import LIB
from tests import ROOT

WINDOW = "20261124T0215Z"
UPGRADE: Dict[str, Any] = {"v": 1, "op": "upgrade", "window": WINDOW, "not_after": 5000,
                           "security_only": False, "only": [], "exclude": []}
REPAIR: Dict[str, Any] = {"v": 1, "op": "repair", "window": WINDOW, "not_after": 5000}
REBOOT: Dict[str, Any] = dict(REPAIR, op="reboot")
STATUS: Dict[str, Any] = {"v": 1, "op": "status", "wait": False}
CHECK: Dict[str, Any] = {"v": 1, "op": "check", "refresh": False, "security_only": False,
                         "only": [], "exclude": []}


class Case(unittest.TestCase):
    """A host on which the transaction is a function of the test."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        # No power cut is tried here, and a hundred runs would wait for the disk.
        patch = mock.patch("os.fsync")
        patch.start()
        self.addCleanup(patch.stop)
        self.folder = folder.name
        os.makedirs(os.path.join(self.folder, "proc/sys/kernel/random"))
        self.write("proc/sys/kernel/random/boot_id", "this-boot\n")
        self.clock = 1000.0
        self.store = record.Store(os.path.join(self.folder, "state"))
        self.launched: List[str] = []
        self.outcome = "ok"
        self.committed = True
        self.host = front.Host(
            0, self.store, self.folder,
            base.World(now=lambda: self.clock, root=self.folder),
            insecure=lambda: "", launch=self.launch, gone=lambda wait_s: False)

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)

    def launch(self) -> str:
        """What the transaction does, as far as the front sees it."""
        state = self.store.read()
        self.launched.append(state.request.op)
        changed = state.record
        if state.request.op == "reboot":
            changed = changed._replace(reboot_requested=int(self.clock))
            state = state._replace(last_reboot=int(self.clock), reboot_window=state.request.window)
        else:
            changed = changed._replace(phase="done", outcome=self.outcome, finished=int(self.clock),
                                       committed=changed.committed or self.committed)
        self.store.write(state._replace(taken=True, record=changed))
        return ""

    def ask(self, fields: object) -> Dict[str, Any]:
        data = io.BytesIO(json.dumps(fields).encode("ascii"))
        reply = front.serve(data.read, self.host)
        self.assertEqual(sorted(reply), ["alive", "experimental", "plan", "reason", "record",
                                         "status", "v"])
        json.dumps(reply)
        return reply

    def assert_refused(self, fields: object, part: str) -> Dict[str, Any]:
        before = list(self.launched)
        reply = self.ask(fields)
        self.assertEqual(reply["status"], "refused", reply)
        self.assertIn(part, reply["reason"])
        self.assertEqual(self.launched, before)
        return reply


class Conversations(Case):
    def test_an_upgrade_is_written_down_started_and_told(self) -> None:
        reply = self.ask(UPGRADE)
        self.assertEqual((reply["status"], self.launched), ("ok", ["upgrade"]))
        self.assertEqual((reply["record"]["window"], reply["record"]["outcome"],
                          reply["record"]["boot_id"]), (WINDOW, "ok", "this-boot"))
        self.assertEqual(self.ask(STATUS)["record"], reply["record"])

    def test_the_request_is_durable_before_anything_starts(self) -> None:
        seen: List[record.State] = []

        def launch() -> str:
            seen.append(self.store.read())
            return self.launch()

        self.host = self.host._replace(launch=launch)
        self.ask(dict(UPGRADE, only=["vim*"]))
        self.assertEqual((seen[0].taken, seen[0].record.phase, list(seen[0].request.only),
                          seen[0].record.accepted), (False, "accepted", ["vim*"], 1000))

    def test_garbage_is_invalid_and_touches_nothing(self) -> None:
        for data in (b"", b"{", b"\xff", b"[" * 20000, b'{"v":1}', json.dumps(
                dict(UPGRADE, only=["-oDpkg::x"])).encode("ascii")):
            reply = front.serve(io.BytesIO(data).read, self.host)
            self.assertEqual(reply["status"], "invalid")
            self.assertTrue(reply["reason"])
        self.assertFalse(os.path.exists(self.store.folder))

    def test_status_before_the_first_run_has_no_record(self) -> None:
        self.assertEqual(self.ask(STATUS)["record"], None)

    def test_status_says_at_once_that_nothing_on_this_system_can_be_patched(self) -> None:
        os.makedirs(os.path.join(self.folder, "etc"))
        self.write("etc/os-release", "ID=opensuse-microos\n")
        said = self.ask(STATUS)
        self.assertEqual(said["status"], "ok")
        self.assertIn("opensuse-microos: not supported: a transactional system", said["reason"])
        os.makedirs(os.path.join(self.folder, "usr/bin"))
        self.write("etc/os-release", "ID=debian\n")
        self.write("usr/bin/apt-get", "", 0o755)
        said = self.ask(STATUS)
        self.assertEqual((said["reason"], said["experimental"]), ("", ""))

    def test_status_says_which_package_managers_were_never_run_for_real(self) -> None:
        os.makedirs(os.path.join(self.folder, "usr/sbin"))
        self.write("usr/sbin/pkg_add", "", 0o755)
        named = os.uname()
        with mock.patch.object(os, "uname") as uname:
            uname.return_value = os.uname_result(("OpenBSD",) + tuple(named)[1:])
            said = self.ask(STATUS)
        self.assertEqual((said["status"], said["reason"]), ("ok", ""))
        self.assertIn("openbsd: experimental: tried against recorded answers", said["experimental"])

    def test_a_run_that_never_ended_is_failed_and_its_record_shows_it(self) -> None:
        def launch() -> str:
            self.store.write(self.store.read()._replace(taken=True))
            return "killed"

        self.host = self.host._replace(launch=launch)
        reply = self.ask(UPGRADE)
        self.assertEqual((reply["status"], reply["alive"], reply["record"]["finished"]),
                         ("failed", False, 0))
        self.assertIn("interrupted", reply["reason"])

    def test_a_run_that_outlives_what_waited_for_it_is_alive_and_not_failed(self) -> None:
        held: List[Optional[int]] = []

        def launch() -> str:
            self.store.write(self.store.read()._replace(taken=True))
            held.append(self.store.lock())
            return "systemd-run: Connection reset by peer"

        self.host = self.host._replace(launch=launch)
        reply = self.ask(UPGRADE)
        self.assertEqual((reply["status"], reply["alive"]), ("ok", True))
        self.assertEqual(reply["record"]["finished"], 0)
        assert held[0] is not None
        os.close(held[0])
        self.assertFalse(self.ask(STATUS)["alive"])

    def test_a_run_that_cannot_be_started_is_refused_and_leaves_no_trace(self) -> None:
        self.ask(UPGRADE)
        later = dict(UPGRADE, window="20261201T0215Z")
        self.host = self.host._replace(launch=lambda: "systemd-run: no bus")
        reply = self.ask(later)
        self.assertEqual(reply["status"], "refused")
        self.assertIn("systemd-run: no bus", reply["reason"])
        status = self.ask(STATUS)
        self.assertEqual((status["alive"], status["record"]["window"]), (False, WINDOW))
        self.host = self.host._replace(launch=self.launch)
        self.assertEqual(self.ask(later)["status"], "ok")

    def test_status_that_waits_answers_when_no_run_is_alive(self) -> None:
        self.ask(UPGRADE)
        lock = self.store.lock()
        assert lock is not None
        waits: List[float] = []

        def gone(wait_s: float) -> bool:
            waits.append(wait_s)
            if len(waits) == 3:
                os.close(lock)
            return False

        self.host = self.host._replace(gone=gone)
        self.assertFalse(self.ask(dict(STATUS, wait=True))["alive"])
        self.assertEqual(len(waits), 3)

    def test_status_that_waits_ends_when_its_caller_has_gone(self) -> None:
        self.ask(UPGRADE)
        lock = self.store.lock()
        assert lock is not None
        self.addCleanup(os.close, lock)
        self.host = self.host._replace(gone=lambda wait_s: True)
        self.assertTrue(self.ask(dict(STATUS, wait=True))["alive"])

    def test_pending_updates_are_told_without_root(self) -> None:
        manager = mock.Mock(spec=base.Manager)
        manager.name, manager.notes = "fake", []
        manager.plan.return_value = base.Plan(
            (base.Package("one", "1", "2", True), base.Package("two", "1", "2")),
            (base.Package("one", "1", "2"), base.Package("new", "", "1")),
            (base.Left("two", "held by the administrator"),), True, ("a warning",))
        manager.reboot_reasons.return_value = None
        self.host = self.host._replace(euid=1000)
        with mock.patch.object(managers, "of_this_system", return_value=manager):
            plan = self.ask(dict(CHECK, exclude=["x*"]))["plan"]
        manager.refresh.assert_not_called()
        manager.plan.assert_called_once_with(base.Selection(False, (), ("x*",)), detail=True)
        self.assertEqual([sorted(row.items()) for row in plan["pending"]][1:], [
            [("name", "two"), ("new", "2"), ("old", "1"), ("security", False), ("selected", False),
             ("why", "kept back: held by the administrator")],
            [("name", "new"), ("new", "1"), ("old", ""), ("security", False), ("selected", True),
             ("why", "")]])
        self.assertTrue(plan["pending"][0]["security"] and plan["pending"][0]["selected"])
        self.assertEqual((plan["manager"], plan["security"], plan["reboot"], plan["warnings"]),
                         ("fake", "known", "unknown", ["a warning"]))

    def test_plan_is_made_also_where_some_sources_cannot_be_read_and_warns_of_them(self) -> None:
        manager = mock.Mock(spec=base.Manager)
        manager.name, manager.notes = "fake", []
        manager.refresh.side_effect = base.Incomplete("apt-get update: Err:1 http://x")
        manager.plan.return_value = base.Plan(warnings=("a warning",))
        manager.reboot_reasons.return_value = None
        with mock.patch.object(managers, "of_this_system", return_value=manager):
            reply = self.ask(dict(CHECK, refresh=True))
        self.assertEqual((reply["status"], reply["plan"]["warnings"]),
                         ("ok", ["a warning", "apt-get update: Err:1 http://x"]))

    def test_a_package_manager_that_fails_is_told_in_one_line(self) -> None:
        for error, status in ((base.ManagerError("no"), "failed"),
                              (base.Unsupported("no"), "refused"),
                              (OSError(5, "input/output error"), "failed")):
            with mock.patch.object(managers, "of_this_system", side_effect=error):
                self.assertEqual(self.ask(CHECK)["status"], status)


class Rules(Case):
    def test_without_root_only_a_look_is_possible(self) -> None:
        self.host = self.host._replace(euid=1000)
        for fields in (UPGRADE, REPAIR, REBOOT, dict(CHECK, refresh=True)):
            self.assert_refused(fields, "only root")

    def test_a_program_that_others_could_change_does_nothing_as_root(self) -> None:
        self.host = self.host._replace(insecure=lambda: "/usr/lib/x.py: others may write to it")
        for fields in (UPGRADE, REPAIR, REBOOT, dict(CHECK, refresh=True)):
            self.assert_refused(fields, "own files: /usr/lib/x.py")

    def test_a_configuration_directory_that_others_could_change_stops_everything(self) -> None:
        # Its owner can take helper.conf and veto away, whoever owns these files.
        folder = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, folder)
        os.chmod(folder, 0o777)
        with mock.patch.object(paths, "CONFIG_DIR", folder):
            fault = front.Host(0, self.host.store, folder, self.host.world).insecure()
        self.assertEqual(fault, "%s: others may write to it: chmod go-w it" % folder)

    def test_a_window_is_patched_once(self) -> None:
        self.ask(UPGRADE)
        self.assert_refused(UPGRADE, "already reached the package manager")
        self.assertEqual(self.ask(dict(UPGRADE, window="20261201T0215Z"))["status"], "ok")
        self.assert_refused(UPGRADE, "already reached the package manager")

    def test_a_run_that_touched_nothing_may_be_tried_again(self) -> None:
        self.committed = False
        for outcome in ("locked", "failed", "refused"):
            self.outcome = outcome
            self.assertEqual(self.ask(UPGRADE)["record"]["outcome"], outcome)

    def test_retries_of_one_window_do_not_crowd_older_ones_out(self) -> None:
        self.ask(dict(UPGRADE, window="20261117T0215Z"))
        self.committed = False
        for _ in range(record.MAX_HISTORY + 5):
            self.ask(UPGRADE)
        self.assert_refused(dict(UPGRADE, window="20261117T0215Z"), "already reached")

    def test_the_newest_windows_are_remembered(self) -> None:
        windows = ["202701%02dT%02d15Z" % (1 + n // 24, n % 24) for n in range(66)]
        for window in windows:
            self.ask(dict(UPGRADE, window=window))
        for window in windows[-65:]:
            self.assert_refused(dict(UPGRADE, window=window), "already reached")

    def test_an_interrupted_run_is_repaired_once(self) -> None:
        self.ask(UPGRADE)
        state = self.store.read()
        self.store.write(state._replace(record=state.record._replace(finished=0, outcome="")))
        self.outcome = "interrupted"
        self.assertEqual(self.ask(REPAIR)["status"], "ok")
        self.assert_refused(REPAIR, "already been repaired")
        self.assert_refused(UPGRADE, "already reached")

    def test_nothing_starts_after_the_window(self) -> None:
        self.clock = 5001.0
        for fields in (UPGRADE, REPAIR, REBOOT):
            self.assert_refused(fields, "the window has closed")

    def test_nothing_starts_while_a_run_is_alive(self) -> None:
        self.ask(UPGRADE)
        lock = self.store.lock()
        assert lock is not None
        self.addCleanup(os.close, lock)
        with mock.patch.object(record, "LOCK_WAIT_S", 0.0):
            for fields in (dict(UPGRADE, window="20261201T0215Z"), REPAIR, REBOOT):
                self.assertTrue(self.assert_refused(fields, "a run is alive")["alive"])

    def test_no_run_starts_while_a_reboot_that_was_asked_for_is_coming(self) -> None:
        self.ask(UPGRADE)
        state = self.store.read()
        self.store.write(state._replace(record=state.record._replace(
            reboot_requested=int(self.clock), reboot_delay=60)))
        later = dict(UPGRADE, window="20261201T0215Z")
        self.assert_refused(later, "a reboot was asked for 0 seconds ago and is coming")
        self.assert_refused(REPAIR, "is coming")
        self.clock += 959
        self.assert_refused(later, "a reboot was asked for 959 seconds ago")
        self.clock += 1
        self.assertEqual(self.ask(later)["status"], "ok")

    def test_a_reboot_of_an_earlier_boot_is_waited_for_no_more(self) -> None:
        self.ask(UPGRADE)
        state = self.store.read()
        self.store.write(state._replace(boot_id="before", record=state.record._replace(
            reboot_requested=int(self.clock), reboot_delay=60)))
        self.assertEqual(self.ask(dict(UPGRADE, window="20261201T0215Z"))["status"], "ok")

    def test_nothing_starts_while_an_accepted_run_has_not_come_up_yet(self) -> None:
        self.ask(UPGRADE)
        self.store.write(self.store.read()._replace(taken=False, accepted=int(self.clock)))
        self.assertTrue(self.assert_refused(REPAIR, "a run is alive")["alive"])
        self.assertTrue(self.ask(STATUS)["alive"])
        self.clock += record.START_S
        self.assertFalse(self.ask(STATUS)["alive"])

    def test_a_run_accepted_in_another_boot_is_not_waited_for(self) -> None:
        self.ask(UPGRADE)
        self.store.write(self.store.read()._replace(taken=False, accepted=int(self.clock),
                                                    boot_id="older"))
        self.assertFalse(self.ask(STATUS)["alive"])

    def test_a_veto_stops_everything_that_changes_the_system(self) -> None:
        self.write("veto", "database migration\nuntil: 2036-01-01\n")
        for fields in (UPGRADE, REPAIR, REBOOT):
            self.assert_refused(fields, "veto: database migration")
        self.assertEqual(self.ask(STATUS)["status"], "ok")

    def test_what_helper_conf_does_not_allow_is_refused(self) -> None:
        self.write("helper.conf", "[general]\nallow: check, status, upgrade\n")
        self.assert_refused(REPAIR, "repair: not allowed by helper.conf")
        self.assert_refused(REBOOT, "reboot: not allowed by helper.conf")
        self.assertEqual(self.ask(UPGRADE)["status"], "ok")

    def test_a_faulty_helper_conf_forbids_everything(self) -> None:
        self.write("helper.conf", "[general]\nallow_rebot: no\n")
        self.assert_refused(UPGRADE, "line 2: allow_rebot: unknown key: did you mean")

    def test_a_damaged_record_stops_everything_with_what_to_do(self) -> None:
        self.ask(UPGRADE)
        for text in ("", "{", "[]", "{}", '{"v":2}', "null"):
            self.write("state/run.json", text, 0o600)
            for fields in (dict(UPGRADE, window="20261201T0215Z"), STATUS):
                self.assert_refused(fields, "is damaged: check the package database")

    def test_what_a_later_version_wrote_is_told_once_and_keeps_its_windows(self) -> None:
        self.ask(UPGRADE)
        with open(os.path.join(self.store.folder, "run.json"), encoding="ascii") as file:
            newer = json.load(file)
        newer.update(urgent=["x"], record=dict(newer["record"], outcome="unverified", why=None))
        self.write("state/run.json", json.dumps(newer), 0o600)
        told: List[str] = []
        self.host = self.host._replace(tell=told.append)
        self.assertEqual(self.ask(STATUS)["record"]["outcome"], "unverified")
        self.assert_refused(UPGRADE, "already reached the package manager")
        self.assertEqual(len(told), 1, told)
        self.assertIn("run.json: newer than this version: urgent, record.why", told.pop())
        self.assertEqual(self.ask(dict(UPGRADE, window="20261201T0215Z"))["status"], "ok")
        self.assertEqual(self.ask(STATUS)["record"]["history"][0]["outcome"], "unverified")
        self.assert_refused(dict(UPGRADE, window="20261201T0215Z"), "already reached")
        self.assertEqual(len(told), 1, told)

    def test_a_state_directory_that_others_may_enter_is_refused(self) -> None:
        os.mkdir(self.store.folder, 0o755)
        os.chmod(self.store.folder, 0o755)
        self.assert_refused(UPGRADE, "must belong to root alone")


class Reboots(Case):
    def test_a_reboot_after_a_clean_run_is_told(self) -> None:
        self.ask(UPGRADE)
        reply = self.ask(REBOOT)
        self.assertEqual((reply["status"], reply["record"]["reboot_requested"],
                          reply["record"]["outcome"]), ("ok", 1000, "ok"))

    def test_one_window_has_one_reboot(self) -> None:
        self.ask(UPGRADE)
        self.ask(REBOOT)
        self.clock += 7 * 3600
        self.assert_refused(dict(REBOOT, not_after=1 << 30), "already requested")

    def test_reboots_keep_their_distance_whatever_the_window(self) -> None:
        self.ask(UPGRADE)
        self.ask(REBOOT)
        for number in range(100):
            fields = dict(REBOOT, window="20261201T%02d%02dZ" % (number // 60, number % 60))
            self.assert_refused(fields, "less than 6 hours ago")
        self.assertEqual(self.launched.count("reboot"), 1)
        self.clock += 6 * 3600
        later = dict(REBOOT, window="20261201T0000Z", not_after=1 << 30)
        self.assertEqual(self.ask(later)["status"], "ok")

    def test_a_last_reboot_in_the_future_counts_as_now_and_is_told(self) -> None:
        self.ask(UPGRADE)
        self.store.write(self.store.read()._replace(last_reboot=10 ** 9))
        later = dict(REBOOT, not_after=1 << 30)
        self.assert_refused(later, "lies in the future")
        self.assert_refused(later, "less than 6 hours ago")
        self.clock += 6 * 3600
        self.assertEqual(self.ask(later)["status"], "ok")

    def test_a_run_that_is_not_clean_or_not_finished_is_not_rebooted(self) -> None:
        self.ask(UPGRADE)
        state = self.store.read()
        self.store.write(state._replace(record=state.record._replace(clean=False)))
        self.assert_refused(REBOOT, "not clean")
        self.store.write(state._replace(record=state.record._replace(finished=0)))
        self.assert_refused(REBOOT, "repair first")

    def test_the_administrator_may_forbid_reboots(self) -> None:
        self.write("helper.conf", "[general]\nallow_reboot: false\n")
        self.assert_refused(REBOOT, "allow_reboot")

    def test_a_reboot_that_root_could_not_start_is_refused_with_its_reason(self) -> None:
        def launch() -> str:
            state = self.store.read()
            self.store.write(state._replace(taken=True, record=state.record._replace(
                reboot_refused="hook x: failed with exit code 1")))
            return ""

        self.ask(UPGRADE)
        self.host = self.host._replace(launch=launch)
        reply = self.ask(REBOOT)
        self.assertEqual((reply["status"], reply["reason"]),
                         ("refused", "hook x: failed with exit code 1"))


class Program(unittest.TestCase):
    """The launcher itself, as a process of an ordinary user would see it."""

    program = os.path.join(ROOT, "bin", "qualvosec-helper")

    def call(self, *arguments: str, data: bytes = b"", flags: str = "-IBS",
             **options: Any) -> "subprocess.CompletedProcess[bytes]":
        argv = [sys.executable, flags, self.program] + list(arguments)
        return subprocess.run(argv, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=False, **options)

    def test_version_and_nothing_else_is_an_argument(self) -> None:
        done = self.call("--version")
        self.assertEqual((done.returncode, done.stdout[:17]), (0, b"qualvosec-helper "))
        for arguments in (("--help",), ("",), ("--version", "x"), ("upgrade",)):
            self.assertEqual(self.call(*arguments).returncode, 2)

    def test_garbage_is_answered_in_json_with_exit_code_2(self) -> None:
        for data in (b"", b"{", b"x" * 20000, b"[" * 16000):
            done = self.call(data=data)
            self.assertEqual((done.returncode, done.stderr), (2, b""))
            self.assertEqual(json.loads(done.stdout.decode("ascii"))["status"], "invalid")

    def test_the_callers_environment_and_directory_do_not_matter(self) -> None:
        if "COVERAGE_PROCESS_START" in os.environ:
            self.skipTest("coverage is measured without the isolation that is tested here")
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "json.py"), "w", encoding="ascii") as file:
                file.write("raise SystemExit('hijacked')\n")
            done = self.call(data=b"{", cwd=folder, env={
                "PYTHONPATH": folder, "PYTHONSTARTUP": os.path.join(folder, "json.py"),
                "LC_ALL": "xx_XX.broken", "PATH": folder})
        self.assertEqual((done.returncode, done.stderr), (2, b""))

    def test_a_reader_that_does_not_read_is_given_up(self) -> None:
        source, sink = os.pipe()
        self.addCleanup(os.close, source)
        os.set_blocking(sink, False)
        with self.assertRaises(BlockingIOError):
            while True:
                os.write(sink, b"x" * 4096)
        os.set_blocking(sink, True)
        script = ("import sys\nsys.path.insert(0, %r)\nfrom qualvosec.helper import front\n"
                  "front.ANSWER_S = 1\nsys.exit(front.main(['qualvosec-helper']))\n" % LIB)
        try:
            done = subprocess.run([sys.executable, "-ISB", "-c", script], input=b"{",
                                  stdout=sink, stderr=subprocess.PIPE, check=False, timeout=60)
        finally:
            os.close(sink)
        self.assertEqual((done.returncode, done.stderr), (-signal.SIGALRM, b""))

    def test_a_reader_that_has_gone_ends_in_silence(self) -> None:
        process = subprocess.Popen([sys.executable, "-IBS", self.program], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None and process.stdin is not None
        process.stdout.close()
        process.stdin.close()
        assert process.stderr is not None
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()
        # What the unit of a socket takes for an answer, not for a failure.
        self.assertEqual(process.wait(), 1)

    def test_an_answer_that_cannot_be_written_ends_in_silence(self) -> None:
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([sys.executable, "-IBS", self.program], check=False, input=b"{",
                                  stdout=full, stderr=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stderr), (1, b""))

    def test_without_root_a_run_is_refused(self) -> None:
        if os.geteuid() == 0:
            self.skipTest("is root")
        done = self.call(data=json.dumps(UPGRADE).encode("ascii"))
        self.assertEqual((done.returncode, json.loads(done.stdout.decode("ascii"))["status"]),
                         (1, "refused"))

    def test_transaction_is_not_for_people(self) -> None:
        program = os.path.join(ROOT, "bin", "qualvosec-transaction")
        for arguments, code in ((["--version"], 0), (["now"], 2)):
            done = subprocess.run([sys.executable, "-IBS", program] + arguments, check=False,
                                  stdout=subprocess.PIPE)
            self.assertEqual(done.returncode, code)


