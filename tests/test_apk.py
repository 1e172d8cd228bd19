# SPDX-License-Identifier: BSD-2-Clause
"""apk against a stand-in: command lines, documented answers, what is refused."""

import fcntl
import os

from qualvosec.helper.managers import apk
from qualvosec.helper.managers import base
from qualvosec.helper.managers import settle

from tests import fakemanager

APK = "/sbin/apk "
DRY = APK + "upgrade --simulate"
RUN = APK + "upgrade"


class Case(fakemanager.Case):
    folder = "apk"
    programs = ("sbin/apk",)

    def setUp(self) -> None:
        super().setUp()
        self.manager = apk.Apk(self.world)
        self.fake.expect(APK + "info -v", self.recorded("installed.txt"))
        self.fake.expect(APK + "version -l <", self.recorded("version.txt"))
        self.fake.expect(DRY, self.recorded("all.txt"))
        self.fake.expect(DRY + " --ignore -- qv-plain", self.recorded("without-plain.txt"))


class Plans(Case):
    def test_everything_with_new_dependencies(self) -> None:
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.install),
                         ["qv-brandnew", "qv-needsplain", "qv-new", "qv-plain", "qv-sec"])
        self.assertIn(base.Package("qv-sec", "1.0-r0", "1.0-r1"), plan.install)
        self.assertEqual((plan.left, len(plan.pending)), ((), 4))

    def test_blacklist_goes_behind_ignore_and_keeps_dependents_back(self) -> None:
        plan = self.manager.plan(base.Selection(exclude=("qv-p*",)))
        self.assertEqual(self.names(plan.install), ["qv-brandnew", "qv-new", "qv-sec"])
        self.assertEqual(self.why(plan)["qv-needsplain"], (base.KEPT, settle.NEEDS_EXCLUDED))
        self.fake.expect(RUN + " --ignore -- qv-plain")
        self.manager.commit(plan, 2000.0)
        self.assertEqual((self.fake.logged[-1], self.fake.deadlines[-1]), (True, None))

    def test_whitelist_ignores_all_else_that_is_pending(self) -> None:
        self.fake.expect(DRY + " --ignore -- qv-needsplain qv-new qv-plain",
                         "(1/1) Upgrading qv-sec (1.0-r0 -> 1.0-r1)\nOK: 8 MiB\n")
        plan = self.manager.plan(base.Selection(only=("qv-sec",)))
        self.assertEqual(plan.install, (base.Package("qv-sec", "1.0-r0", "1.0-r1"),))

    def test_what_apk_does_against_the_selection_is_refused(self) -> None:
        self.fake.expect(DRY + " --ignore -- qv-plain", self.recorded("all.txt"))
        with self.assertRaisesRegex(base.Refused, "qv-plain"):
            self.manager.plan(base.Selection(exclude=("qv-plain",)))
        for line in ("(1/1) Purging qv-old (1.0-r0)", "(1/1) Downgrading qv-x (2-r0 -> 1-r0)"):
            for words in (DRY, DRY + " --ignore -- " + line.split()[2]):
                self.fake.expect(words, line + "\n")
            with self.assertRaisesRegex(base.Refused, line.split()[2]):
                self.manager.plan(base.Selection())

    def test_ten_steps_and_more_are_all_read(self) -> None:
        self.fake.expect(APK + "version -l <", "".join(
            "qv-%02d-1-r0 < 2-r0\n" % number for number in range(12)))
        self.fake.expect(APK + "info -v", "".join(
            "qv-%02d-1-r0\n" % number for number in range(12)))
        for form in ("(%d/12)", "(%2d/12)"):     # apk-tools 2, apk-tools 3
            self.fake.expect(DRY, "".join(
                form % (number + 1) + " Upgrading qv-%02d (1-r0 -> 2-r0)\n" % number
                for number in range(12)) + "OK: 8 MiB in 12 packages\n")
            plan = self.manager.plan(base.Selection())
            self.assertEqual((len(plan.install), plan.left), (12, ()), form)

    def test_packages_of_a_tagged_repository_and_steps_without_a_version_change(self) -> None:
        self.fake.expect(DRY, "(1/6) Upgrading qv-sec@edge (1.0-r0 -> 1.0-r1)\n"
                         "(2/6) Updating pinning qv-new@edge (1.0-r0)\n"
                         "(3/6) Replacing qv-plain (1.0-r0 -> 1.0-r0)\n"
                         "(4/6) Reinstalling musl (1.2.5-r0)\n"
                         "(5/6) [APK unavailable, skipped] Reinstalling musl (1.2.5-r0)\n"
                         "(6/6) Downloading qv-sec-1.0-r1\nOK: 8 MiB in 7 packages\n")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(plan.install, (base.Package("qv-sec", "1.0-r0", "1.0-r1"),))

    def test_what_makes_another_package_superfluous_or_older_is_kept_back(self) -> None:
        self.fake.expect(DRY, "(1/4) Purging qv-old (1.0-r0)\n"
                         "(2/4) Upgrading qv-plain (1.0-r0 -> 2.0-r0)\n"
                         "(3/4) Upgrading qv-sec (1.0-r0 -> 1.0-r1)\n"
                         "(4/4) Downgrading qv-x (2-r0 -> 1-r0)\n")
        self.fake.expect(DRY + " --ignore -- qv-plain",
                         "(1/2) Upgrading qv-sec (1.0-r0 -> 1.0-r1)\n"
                         "(2/2) Downgrading qv-x (2-r0 -> 1-r0)\n")
        for other in ("qv-old", "qv-sec"):
            self.fake.expect(DRY + " --ignore -- " + other, "(1/3) Purging qv-old (1.0-r0)\n"
                             "(2/3) Upgrading qv-plain (1.0-r0 -> 2.0-r0)\n"
                             "(3/3) Downgrading qv-x (2-r0 -> 1-r0)\n")
        self.fake.expect(DRY + " --ignore -- qv-x", "(1/3) Purging qv-old (1.0-r0)\n"
                         "(2/3) Upgrading qv-plain (1.0-r0 -> 2.0-r0)\n"
                         "(3/3) Upgrading qv-sec (1.0-r0 -> 1.0-r1)\n")
        self.fake.expect(DRY + " --ignore -- qv-plain qv-x",
                         "(1/1) Upgrading qv-sec (1.0-r0 -> 1.0-r1)\n")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.install), ["qv-sec"])
        self.assertEqual(self.why(plan)["qv-plain"], (base.KEPT, "needs the removal of qv-old"))
        self.assertEqual(self.why(plan)["qv-x"], (base.KEPT, "would be downgraded"))
        self.assertEqual(plan.excluded, ("qv-plain", "qv-x"))

    def test_security_only_is_unsupported(self) -> None:
        with self.assertRaisesRegex(base.Unsupported, "no security metadata: apk"):
            self.manager.plan(base.Selection(security_only=True))

    def test_a_system_that_runs_from_memory_is_unsupported(self) -> None:
        self.write("proc/mounts", "tmpfs / tmpfs rw 0 0\n")
        with self.assertRaisesRegex(base.Unsupported, "from memory"):
            self.manager.plan(base.Selection())
        self.write("proc/mounts", "/dev/vda3 / ext4 rw 0 0\n")
        self.manager.plan(base.Selection())

    def test_answers_in_another_form_are_errors(self) -> None:
        self.fake.expect(DRY, "(1/1) Upgrading -x (1-r0 -> 2-r0)\n")
        with self.assertRaisesRegex(base.ManagerError, "cannot exist"):
            self.manager.plan(base.Selection())
        for line in ("(1/1) Upgrading qv-plain", "(?) Upgrading qv-plain (1-r0 -> 2-r0)"):
            self.fake.expect(DRY, line + "\n")
            with self.assertRaisesRegex(base.ManagerError, "unknown form"):
                self.manager.plan(base.Selection())
        self.fake.expect(APK + "info -v", "something else\n")
        with self.assertRaisesRegex(base.ManagerError, "unknown form"):
            self.manager.installed()


class Steps(Case):
    def test_refresh_counts_every_failed_repository(self) -> None:
        self.fake.expect(APK + "update", "v3.20\nOK: 24163 distinct packages available\n")
        self.manager.refresh(2000.0)
        for answer in ((0, "", "WARNING: updating and opening http://x: network error\n"),
                       (2, "", "ERROR: unable to select packages\n"), (-15, "", "", True)):
            self.fake.expect(APK + "update", answer)
            with self.assertRaisesRegex(base.ManagerError, "apk update"):
                self.manager.refresh(1005.0)
        self.assertEqual(self.fake.deadlines, [900.0, 5.0, 5.0, 5.0])

    def test_exit_codes_are_told_apart(self) -> None:
        for code, text, kind in (
                (99, "ERROR: Unable to lock database: Resource temporarily unavailable\n",
                 base.Locked), (99, "ERROR: Unable to read database: I/O error\n",
                                base.ManagerError),
                (1, "ERROR: qv-bad-2.0-r0.post-upgrade: script exited with error 1\n",
                 base.ManagerError)):
            self.fake.expect(RUN, (code, "", text))
            with self.assertRaises(base.ManagerError) as caught:
                self.manager.commit(base.Plan(), 2000.0)
            self.assertIs(type(caught.exception), kind, text)

    def test_commit_does_not_start_while_the_database_is_locked(self) -> None:
        path = self.write("lib/apk/db/lock", "")
        self.assertEqual(self.manager.busy(), "")
        with open(path, encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with self.assertRaisesRegex(base.Locked, "/lib/apk/db/lock"):
                self.manager.commit(base.Plan(), 2000.0)
        self.assertEqual(self.fake.calls, [])

    def test_what_apk_could_not_finish_is_broken_and_fixed(self) -> None:
        path = "lib/apk/db/installed"
        self.write(path, "P:qv-a\nV:1-r0\n\nP:qv-b\nV:1-r0\nf:s\n\n"
                         "P:qv-c\nV:1-r0\nf:S\n\n")
        self.assertEqual(self.manager.broken(), "not completely installed: qv-b")
        self.fake.expect(APK + "fix", "OK\n")
        with self.assertRaisesRegex(base.ManagerError, "cannot be repaired"):
            self.manager.recover(2000.0)
        self.fake.before = lambda argv: self.write(path, "P:qv-b\n\n") and None
        self.manager.recover(2000.0)
        self.assertEqual(self.fake.logged, [True, True])

    def test_what_apk_could_not_finish_has_no_version(self) -> None:
        self.fake.expect(APK + "info -v", "qv-a-1-r0\nqv-b-2-r0\n")
        self.write("lib/apk/db/installed", "P:qv-a\nV:1-r0\n\nP:qv-b\nV:2-r0\nf:s\n\n")
        self.assertEqual(self.manager.installed(), {"qv-a": "1-r0", "qv-b": ""})

    def test_leftovers_and_reboot(self) -> None:
        self.write("etc/a.conf.apk-new", "")
        self.assertEqual(list(self.manager.leftovers()), ["/etc/a.conf.apk-new"])
        self.assertEqual(self.manager.reboot_reasons(), [])
        os.makedirs(self.root + "/lib/modules/9.9.9-0-lts")
        reasons = self.manager.reboot_reasons() or [""]
        self.assertIn("its modules have been replaced", reasons[0])
        os.makedirs(self.root + "/lib/modules/" + os.uname().release)
        self.assertEqual(self.manager.reboot_reasons(), [])
