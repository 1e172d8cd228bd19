# SPDX-License-Identifier: BSD-2-Clause
"""When a reboot is due, by which command, and what identifies a boot."""

import os
import tempfile
import unittest
from typing import Any
from typing import List
from typing import Sequence

from qualvosec import command
from qualvosec.helper.managers import base
from qualvosec.helper.managers import kernel
from qualvosec.helper.managers import system


class Case(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name

    def write(self, name: str, text: str = "", mode: int = 0o644) -> str:
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, mode)
        return path


class Kernels(Case):
    def setUp(self) -> None:
        super().setUp()
        os.makedirs(os.path.join(self.root, "lib/modules"))

    def reasons(self, running: str, *installed: str) -> List[str]:
        for release in installed:
            self.write("boot/vmlinuz-" + release)
        return kernel.reasons(self.root, running)

    def test_a_newer_kernel_of_the_same_flavour_is_a_reason(self) -> None:
        self.assertEqual(self.reasons("6.1.0-9-amd64", "6.1.0-9-amd64", "6.1.0-18-amd64"),
                         ["kernel 6.1.0-9-amd64 is running, 6.1.0-18-amd64 is installed"])

    def test_the_newest_or_another_flavour_is_none(self) -> None:
        self.assertEqual(self.reasons("6.1.0-18-amd64", "6.1.0-9-amd64", "6.1.0-18-amd64",
                                      "6.1.0-21-cloud-amd64", "6.5.0-21-rt-amd64"), [])

    def test_flavours_and_orders_of_known_distributions(self) -> None:
        for older, newer in (("5.15.0-91-generic", "5.15.0-101-generic"),
                             ("6.8.0-1009-aws", "6.8.0-1012-aws"),
                             ("6.12.38+deb13-amd64", "6.12.41+deb13-amd64"),
                             ("6.1.0-18-amd64", "6.5.0-0.deb12.4-amd64"),
                             ("5.10.0-28-cloud-amd64", "5.10.0-29-cloud-amd64"),
                             ("6.9-amd64", "6.10-amd64")):
            self.assertTrue(kernel.is_newer(newer, older), (older, newer))
            self.assertFalse(kernel.is_newer(older, newer), (older, newer))
            self.assertFalse(kernel.is_newer(older, older), older)

    def test_a_kernel_that_is_not_installed_here_says_nothing_of_other_flavours(self) -> None:
        self.assertEqual(self.reasons("6.18.44-fc-v657", "6.1.0-18-amd64"), [])

    def test_a_container_or_a_host_without_kernels_has_no_reason(self) -> None:
        for mark in ("run/systemd/container", ".dockerenv", "run/.containerenv"):
            path = self.write(mark)
            self.assertEqual(self.reasons("6.1.0-9-amd64", "6.1.0-18-amd64"), [])
            os.unlink(path)
        os.rmdir(os.path.join(self.root, "lib/modules"))
        self.assertEqual(self.reasons("6.1.0-9-amd64", "6.1.0-18-amd64"), [])

    def test_a_kernel_whose_file_was_replaced_since_boot_is_a_reason(self) -> None:
        image = self.write("boot/vmlinuz-6.1.0-9-amd64")
        changed = int(os.stat(image).st_ctime)
        for btime, expected in ((changed - 100, ["kernel 6.1.0-9-amd64 was replaced since boot"]),
                                (changed + 100, [])):
            self.write("proc/stat", "cpu 1 2\nbtime %d\n" % btime)
            self.assertEqual(kernel.reasons(self.root, "6.1.0-9-amd64"), expected)


class Commands(Case):
    def test_systemd_takes_whole_minutes_rounded_up(self) -> None:
        self.write("sbin/shutdown", mode=0o755)
        os.makedirs(os.path.join(self.root, "run/systemd/system"))
        for delay, when in ((0, "now"), (1, "+1"), (60, "+1"), (61, "+2"), (3600, "+60")):
            self.assertEqual(system.reboot_argv(delay, self.root),
                             ["/sbin/shutdown", "-r", when, system.MESSAGE])

    def test_every_bsd_takes_the_delay_too_and_tells_who_is_logged_in(self) -> None:
        self.write("sbin/shutdown", mode=0o755)
        self.write("sbin/reboot", mode=0o755)
        for uname in ("FreeBSD", "DragonFly", "OpenBSD", "NetBSD"):
            for delay, when in ((0, "now"), (60, "+1"), (90, "+2")):
                self.assertEqual(system.reboot_argv(delay, self.root, uname),
                                 ["/sbin/shutdown", "-r", when, system.MESSAGE], uname)

    def test_busybox_openrc_and_sysvinit_make_the_caller_wait_itself(self) -> None:
        self.write("sbin/reboot", mode=0o755)
        self.assertEqual(system.reboot_argv(60, self.root), ["wait", "/sbin/reboot"])
        self.write("sbin/shutdown", mode=0o755)
        self.assertEqual(system.reboot_argv(60, self.root),
                         ["wait", "/sbin/shutdown", "-r", "now", system.MESSAGE])

    def test_without_any_command_the_reboot_is_refused(self) -> None:
        with self.assertRaisesRegex(base.Refused, "neither shutdown nor reboot"):
            system.reboot_argv(60, self.root)

    def test_the_wait_comes_before_the_command(self) -> None:
        events: List[object] = []

        def run(argv: Sequence[str], env: Any, **options: Any) -> command.Result:
            events.append(list(argv))
            return command.Result(0, b"", b"", False, False)

        world = base.World(run=run, sleep=events.append, root=self.root)
        system.reboot(["wait", "/sbin/reboot"], 90, world)
        self.assertEqual(events, [90, ["/sbin/reboot"]])

    def waiting(self, delay: int = 90, **fields: Any) -> List[object]:
        events: List[object] = []

        def run(argv: Sequence[str], env: Any, stdin: bytes = b"", **options: Any) -> Any:
            events.append((argv[0], stdin))
            if argv[0].endswith("wall"):
                raise command.CommandError("wall: cannot be started")
            return command.Result(0, b"", b"", False, False)

        world = base.World(run=run, sleep=events.append, root=self.root, **fields)
        system.reboot(["wait", "/sbin/reboot"], delay, world)
        return events

    def test_who_is_logged_in_is_told_before_the_wait_as_far_as_possible(self) -> None:
        self.assertEqual(self.waiting(), [90, ("/sbin/reboot", b"")])
        self.write("usr/bin/wall", mode=0o755)
        text = b"QualvoSec: reboot after patching, in 90 seconds\n"
        self.assertEqual(self.waiting(), [("/usr/bin/wall", text), 90, ("/sbin/reboot", b"")])
        self.assertEqual(self.waiting(0), [0, ("/sbin/reboot", b"")])

    def test_a_signal_during_the_wait_cancels_the_reboot(self) -> None:
        with self.assertRaisesRegex(base.Refused, "cancelled by a signal"):
            self.waiting(stopped=lambda: True)

    def test_a_command_that_fails_is_refused_with_its_words(self) -> None:
        world = base.World(run=lambda argv, env, **_: command.Result(1, b"", b"no\n", False, False))
        with self.assertRaisesRegex(base.Refused, "exit code 1: no"):
            system.reboot(["/sbin/shutdown"], 0, world)


class Boots(Case):
    def test_linux_names_its_boots(self) -> None:
        self.write("proc/sys/kernel/random/boot_id", "a-b-c\n")
        self.assertEqual(system.boot_id(self.root), "a-b-c")

    def test_a_bsd_is_asked_for_its_boot_time(self) -> None:
        said = ""

        def run(argv: Sequence[str], env: Any, **options: Any) -> command.Result:
            self.assertEqual(list(argv), ["sysctl", "-n", "kern.boottime"])
            self.assertIn("/sbin", env["PATH"].split(":"))
            return command.Result(0, said.encode("ascii"), b"", False, False)

        for said in ("{ sec = 1795400000, usec = 612345 } Mon Nov 23 02:13:20 2026\n",
                     "Mon Nov 23 02:13:20 2026\n"):
            self.assertEqual(system.boot_id(self.root, run), said.strip())
            # The client tells these words from its own digits, see client/decide/ahead.py.
            self.assertFalse(said.strip().isdigit())


class Launching(Case):
    def test_systemd_gets_a_unit_of_its_own_and_no_pipe(self) -> None:
        argv = system.systemd_argv(b"systemd 252 (252.39-1~deb12u1)\n+PAM\n")
        self.assertEqual(argv[:argv.index("--")], [
            "systemd-run", "--quiet", "--wait", "--collect", "--unit=qualvosec-run",
            "-p", "KillMode=mixed", "-p", "TimeoutStopSec=infinity",
            "-p", "Type=exec", "-p", "OOMPolicy=continue"])
        self.assertEqual(argv[argv.index("--") + 2], "-IBS")
        self.assertTrue(argv[-1].endswith("/qualvosec-transaction"))

    def test_older_versions_are_not_given_what_they_do_not_know(self) -> None:
        for version, expected in ((b"systemd 241 (241)", ["Type=exec"]), (b"systemd 239", []),
                                  (b"", [])):
            argv = system.systemd_argv(version)
            self.assertEqual([word for word in argv if word in ("Type=exec", "OOMPolicy=continue")],
                             expected)

    def test_what_fails_is_told_and_there_is_no_other_way(self) -> None:
        calls: List[List[str]] = []

        def run(argv: Sequence[str], env: Any, **options: Any) -> command.Result:
            calls.append(list(argv))
            return command.Result(int("--unit=qualvosec-run" in argv), b"systemd 252",
                                  b"Failed to connect to bus\n", False, False)

        os.makedirs(os.path.join(self.root, "run/systemd/system"))
        self.assertEqual(system.launch(self.root, run), "systemd-run: Failed to connect to bus")
        self.assertEqual([argv[0] for argv in calls], ["systemd-run", "systemd-run"])

    def test_what_a_unit_says_of_itself_alone_is_looked_for_in_the_journal(self) -> None:
        def run(argv: Sequence[str], env: Any, **options: Any) -> command.Result:
            return command.Result(int("--unit=qualvosec-run" in argv), b"systemd 252", b"", False,
                                  False)

        os.makedirs(os.path.join(self.root, "run/systemd/system"))
        self.assertEqual(system.launch(self.root, run),
                         "systemd-run: exit code 1: see: journalctl -u qualvosec-run")

    def test_elsewhere_the_transaction_is_started_itself(self) -> None:
        calls: List[List[str]] = []

        def run(argv: Sequence[str], env: Any, **options: Any) -> command.Result:
            calls.append(list(argv))
            return command.Result(0, b"", b"", False, False)

        self.assertEqual(system.launch(self.root, run), "")
        self.assertEqual(calls, [system.TRANSACTION])
