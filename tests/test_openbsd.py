# SPDX-License-Identifier: BSD-2-Clause
"""syspatch and pkg_add against stand-ins: command lines, order, documented answers."""

import fcntl
import os

from qualvosec.helper.managers import base
from qualvosec.helper.managers import openbsd
from qualvosec.helper.managers import settle

from tests import fakemanager

ADD = "/usr/sbin/pkg_add -u -I -x"
DRY = "/usr/sbin/pkg_add -u -n -v -I -x"
SYSPATCH = "/usr/sbin/syspatch"


class Case(fakemanager.Case):
    folder = "openbsd"
    programs = ("usr/sbin/pkg_add", "usr/sbin/pkg_info", "usr/sbin/syspatch", "sbin/sysctl")

    def setUp(self) -> None:
        super().setUp()
        self.manager = openbsd.OpenBsd(self.world)
        expect = self.fake.expect
        expect("/usr/sbin/pkg_info -q", self.recorded("installed.txt"))
        expect(SYSPATCH + " -l", "001_xserver\n002_syspatch\n")
        expect(SYSPATCH + " -c", "003_portsmash\n004_lockf\n")
        expect(DRY, self.recorded("changes.txt"))
        expect("/sbin/sysctl -n kern.boottime", "5000\n")


class Plans(Case):
    def test_base_and_packages_are_one_plan(self) -> None:
        plan = self.manager.plan(base.Selection())
        self.assertEqual(plan.install, (
            base.Package("base", "002_syspatch", "004_lockf", True),
            base.Package("bash", "5.2.21", "5.2.32"),
            base.Package("gtk+3", "3.24.41", "3.24.43"),
            base.Package("libiconv", "", "1.17"),
            base.Package("python", "3.10.13 3.11.8", "3.10.13 3.11.9"),
            base.Package("quirks", "7.14", "7.50"),
            base.Package("vim", "9.1.139-no_x11", "9.1.707-no_x11")))
        self.assertEqual((plan.left, plan.warnings), ((), ()))

    def test_base_is_first_and_nothing_is_named_when_all_is_wanted(self) -> None:
        plan = self.manager.plan(base.Selection())
        for words in (SYSPATCH, ADD):
            self.fake.expect(words)
        self.manager.commit(plan, 2000.0)
        self.assertEqual(self.fake.said()[-2:], [SYSPATCH, ADD])
        self.assertEqual((self.fake.logged[-2:], self.fake.deadlines[-2:]),
                         ([True, True], [None, None]))

    def test_whitelist_names_stems_and_leaves_base_alone(self) -> None:
        self.fake.expect(DRY + " vim", "Adding vim-9.1.139-no_x11->9.1.707-no_x11 (pretending)\n")
        plan = self.manager.plan(base.Selection(only=("vi*",)))
        self.assertEqual(self.names(plan.install), ["vim"])
        self.fake.expect(ADD + " vim")
        self.manager.commit(plan, 2000.0)
        self.assertNotIn(SYSPATCH, self.fake.said())

    def test_what_pulls_in_something_excluded_is_left_out_as_well(self) -> None:
        pulls = "Adding bash-5.2.21->5.2.32 (pretending)\nAdding quirks-7.14->7.50 (pretending)\n"
        self.fake.expect(DRY + " bash gtk+3 python vim", pulls)
        for name in ("gtk+3", "python", "vim"):
            self.fake.expect(DRY + " " + name, "")
        self.fake.expect(DRY + " bash", pulls)
        self.fake.expect(DRY + " gtk+3 python vim",
                         "Adding vim-9.1.139-no_x11->9.1.707-no_x11 (pretending)\n")
        plan = self.manager.plan(base.Selection(exclude=("quirks",)))
        self.assertEqual(self.names(plan.install), ["base", "vim"])
        self.assertEqual(self.why(plan)["bash"], (base.KEPT, settle.NEEDS_EXCLUDED))

    def test_security_only_patches_base_and_says_that_packages_cannot_be_told(self) -> None:
        plan = self.manager.plan(base.Selection(security_only=True))
        self.assertEqual(self.names(plan.install), ["base"])
        kind, why = self.why(plan)["bash"]
        self.assertEqual(kind, base.KEPT)
        self.assertIn("no security metadata", why)

    def test_what_is_no_release_is_told(self) -> None:
        self.fake.expect(SYSPATCH + " -c", (1, "", "syspatch: Unsupported release: 7.8-current\n"))
        plan = self.manager.plan(base.Selection())
        self.assertNotIn("base", self.names(plan.install))
        self.assertIn("syspatch serves releases only", plan.warnings[0])

    def test_without_root_the_packages_are_listed_and_base_is_said_to_be_unknown(self) -> None:
        self.fake.expect(SYSPATCH + " -c", (1, "", "syspatch: need root privileges\n"))
        plan = self.manager.plan(base.Selection())
        self.assertNotIn("base", self.names(plan.install))
        self.assertTrue(plan.install)
        self.assertEqual(plan.warnings,
                         ("base: which patches are missing syspatch tells only root",))

    def test_a_merge_of_packages_counts_as_a_removal(self) -> None:
        merged = "Adding old-1.0+vim-9.1.139-no_x11->vim-9.2-no_x11 (pretending)\n"
        self.fake.expect(DRY, merged)
        self.fake.expect(DRY + " vim", merged)
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.install), ["base"])
        self.assertEqual(self.why(plan)["vim"], (base.KEPT, "needs the removal of old"))

    def test_answers_in_another_form_are_errors(self) -> None:
        self.fake.expect(SYSPATCH + " -c", "no such file\n")
        with self.assertRaisesRegex(base.ManagerError, "unknown form"):
            self.manager.plan(base.Selection())
        for name in ("noversion", "-x-1", "a/b-1"):
            self.fake.expect("/usr/sbin/pkg_info -q", name + "\n")
            with self.assertRaisesRegex(base.ManagerError, "cannot exist"):
                self.manager.installed()

    def test_both_forms_of_a_change_are_read(self) -> None:
        got = openbsd.parse_changes(
            "bash-5.2.21->5.2.32:libiconv-1.17: ok\nbash-5.2.21->bash-5.2.32: ok\nnew-1: ok\n"
            "--- +vim-9 -------------------\n", {"bash": "5.2.21"})
        self.assertEqual(got.install, (base.Package("bash", "5.2.21", "5.2.32"),
                                       base.Package("libiconv", "", "1.17"),
                                       base.Package("new", "", "1")))


class Steps(Case):
    def base_only(self) -> base.Plan:
        return base.Plan(install=(base.Package("base", "1", "2"),))

    def test_syspatch_that_updates_itself_is_started_again(self) -> None:
        self.fake.expect(SYSPATCH, [
            (2, "", "syspatch: syspatch updated itself, run it again to install missing patches\n"),
            (0, "Relinking to create unique kernel... done.\n", "")])
        self.manager.commit(self.base_only(), 2000.0)
        self.assertEqual(self.fake.said(), [SYSPATCH, SYSPATCH])
        self.assertEqual(self.manager.reboot_reasons(), ["syspatch has linked a new kernel"])

    def test_syspatch_that_never_ends_updating_itself_is_a_failure(self) -> None:
        self.fake.expect(SYSPATCH, (2, "", "syspatch updated itself, run it again\n"))
        with self.assertRaisesRegex(base.ManagerError, "run it again"):
            self.manager.commit(self.base_only(), 2000.0)
        self.assertEqual(len(self.fake.calls), 5)

    def test_every_exit_code_of_syspatch_means_what_it_says(self) -> None:
        self.fake.expect(SYSPATCH, (2, "", ""))
        self.manager.commit(self.base_only(), 2000.0)
        self.fake.expect(SYSPATCH, (1, "", "syspatch: Failed to apply patch 003_x\n"))
        with self.assertRaisesRegex(base.ManagerError, "base: syspatch: .*Failed to apply"):
            self.manager.commit(self.base_only(), 2000.0)

    def test_a_failed_base_stops_the_run_before_the_packages(self) -> None:
        self.fake.expect(SYSPATCH, (1, "", "no space\n"))
        plan = base.Plan(install=(base.Package("base", "1", "2"), base.Package("vim", "1", "2")))
        with self.assertRaises(base.ManagerError):
            self.manager.commit(plan, 2000.0)
        self.assertEqual(self.fake.said(), [SYSPATCH])

    def test_a_failed_pkg_add_is_told_and_a_lock_is_a_lock(self) -> None:
        plan = base.Plan(install=(base.Package("vim", "1", "2"),))
        for text, kind in (("Fatal error: x\n", base.ManagerError),
                           ("pkg_add: Package database already locked\n", base.Locked)):
            self.fake.expect(ADD, (1, "", text))
            with self.assertRaises(base.ManagerError) as caught:
                self.manager.commit(plan, 2000.0)
            self.assertIs(type(caught.exception), kind)

    def test_commit_does_not_start_while_the_database_is_locked(self) -> None:
        os.makedirs(self.root + "/var/db/pkg")
        self.assertEqual(self.manager.busy(), "")
        fd = os.open(self.root + "/var/db/pkg", os.O_RDONLY)
        self.addCleanup(os.close, fd)
        fcntl.flock(fd, fcntl.LOCK_EX)
        with self.assertRaisesRegex(base.Locked, "/var/db/pkg is locked"):
            self.manager.commit(self.base_only(), 2000.0)
        self.assertEqual(self.fake.calls, [])

    def test_refresh_needs_the_server(self) -> None:
        self.manager.refresh(2000.0)
        self.fake.expect(SYSPATCH + " -c", (1, "", "ftp: connect: Connection refused\n"))
        with self.assertRaisesRegex(base.ManagerError, "Connection refused"):
            self.manager.refresh(2000.0)

    def test_what_is_partial_is_broken_and_for_a_person(self) -> None:
        self.assertEqual(self.manager.broken(), "")
        self.manager.recover(2000.0)
        self.fake.expect("/usr/sbin/pkg_info -q", "bash-5\npartial-vim-9.1\n")
        self.assertEqual(self.manager.broken(), "not completely installed: partial-vim-9.1")
        with self.assertRaisesRegex(base.ManagerError, "pkg_check"):
            self.manager.recover(2000.0)
        self.assertNotIn("partial-vim", self.manager.installed())

    def test_reboot_is_due_when_the_kernel_is_newer_than_the_boot(self) -> None:
        path = self.write("bsd", "")
        os.utime(path, (5600, 5600))
        self.assertEqual(self.manager.reboot_reasons(), [])
        os.utime(path, (9000, 9000))
        self.assertEqual(self.manager.reboot_reasons(), ["/bsd is newer than the boot"])
        self.fake.expect("/sbin/sysctl -n kern.boottime", "Mon Nov 23 17:00:00 2026\n")
        self.assertIsNone(self.manager.reboot_reasons())
