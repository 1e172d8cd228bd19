# SPDX-License-Identifier: BSD-2-Clause
"""syspatch and pkg_add: command lines, order, and what their real outputs mean.

Every output of pkg_add is one of the transcripts, changed only where a test says how.
"""

import fcntl
import os
from typing import Sequence

from qualvosec.helper.managers import base
from qualvosec.helper.managers import openbsd
from qualvosec.helper.managers import openbsd_text as text
from qualvosec.helper.managers import settle

from tests import fakemanager
from tests import replay

ADD = "/usr/sbin/pkg_add -u -I -x"
DRY = "/usr/sbin/pkg_add -u -n -v -I -x"
LIST = "/usr/sbin/pkg_info -q"
SYSPATCH = "/usr/sbin/syspatch"
ASK = "pkg_add -u -n -v -I -x"


class Case(fakemanager.Case):
    programs = ("usr/sbin/pkg_add", "usr/sbin/pkg_info", "usr/sbin/syspatch", "sbin/sysctl")

    def setUp(self) -> None:
        super().setUp()
        self.manager = openbsd.OpenBsd(self.world)
        self.use("quirks-pending")
        for words in ("syspatch -l", "syspatch -c"):
            self.fake.expect("/usr/sbin/" + words, replay.said("openbsd/syspatch-kernel", words))
        self.fake.expect("/sbin/sysctl -n kern.boottime", "5000\n")

    def use(self, situation: str, names: Sequence[str] = ()) -> None:
        """Answer questions for packages as in that transcript, also for these names alone."""
        name = "openbsd/pkg_add-" + situation
        self.fake.expect(LIST, replay.said(name, "pkg_info -q"))
        for words in ("",) + tuple(" " + each for each in names):
            self.fake.expect(DRY + words, replay.said(name, ASK + words))

    def change(self, old: str, new: str) -> None:
        """Change what the dry run of everything says."""
        code, out, err = self.fake.answers[tuple(DRY.split())]
        self.assertIn(old, out + err)
        self.fake.expect(DRY, (code, out.replace(old, new), err.replace(old, new)))


class Plans(Case):
    def test_base_and_packages_are_one_plan(self) -> None:
        plan = self.manager.plan(base.Selection())
        self.assertEqual(plan.install, (
            base.Package("base", "001_xserver", "003_ssh", True),
            base.Package("bash", "5.2.21", "5.2.32"),
            base.Package("gimp", "2.10.36p2", "2.10.38"),
            base.Package("gtk+3", "3.24.41p0", "3.24.43"),
            base.Package("libxml", "2.12.5p0", "2.12.7"),
            base.Package("quirks", "7.14", "7.50"),
            base.Package("readline", "", "8.2p0"),
            base.Package("vim", "9.1.139-no_x11-python3", "9.1.707-no_x11-python3")))
        self.assertEqual((plan.left, plan.warnings), ((), ()))

    def test_base_is_first_and_nothing_is_named_when_all_is_wanted(self) -> None:
        plan = self.manager.plan(base.Selection())
        for words in (SYSPATCH, ADD):
            self.fake.expect(words)
        self.fake.expect(LIST, replay.said("openbsd/pkg_add-quirks-pending", "pkg_info -q", -1))
        self.manager.commit(plan, 2000.0)
        self.assertEqual(self.fake.said()[-3:], [SYSPATCH, ADD, LIST])
        self.assertEqual((self.fake.logged[-3:-1], self.fake.deadlines[-3:-1]),
                         ([True, True], [None, None]))

    def test_whitelist_names_stems_leaves_base_alone_and_takes_quirks_along(self) -> None:
        self.use("only-vim-quirks-pending", ["vim"])
        plan = self.manager.plan(base.Selection(only=("vi*",)))
        self.assertEqual(self.names(plan.install), ["quirks", "vim"])
        self.assertEqual(self.why(plan)["base"], (base.POLICY, "not in packages_whitelist"))
        self.fake.expect(ADD + " vim")
        self.fake.expect(LIST, [replay.said("openbsd/pkg_add-only-vim-quirks-pending",
                                            "pkg_info -q", number) for number in (0, -1)])
        self.manager.commit(plan, 2000.0)
        self.assertNotIn(SYSPATCH, self.fake.said())

    def test_quirks_alone_is_left_by_policy_and_said_to_come_along(self) -> None:
        self.use("only-vim-quirks-pending")
        others = ("bash", "gimp", "gtk+3", "libxml", "vim", "base")
        plan = self.manager.plan(base.Selection(exclude=others))
        self.assertEqual((plan.install, self.why(plan)["quirks"]),
                         ((), (base.POLICY, openbsd.ALONG)))
        plan = self.manager.plan(base.Selection(only=("nothing",)))
        self.assertEqual(self.why(plan)["quirks"], (base.POLICY, "not in packages_whitelist"))

    def test_a_blacklist_with_quirks_keeps_every_package_back(self) -> None:
        self.use("only-vim-quirks-pending", ["vim"])
        self.fake.expect(DRY + " bash gimp gtk+3 libxml vim",
                         replay.said("openbsd/pkg_add-only-vim-quirks-pending", ASK))
        for name in ("bash", "gimp", "gtk+3", "libxml"):
            self.fake.expect(DRY + " " + name, replay.said(
                "openbsd/pkg_add-only-vim-quirks-pending", ASK + " vim")[1].replace("vim", name)
                .replace("9.1.139-no_x11-python3", self.manager.installed()[name]))
        plan = self.manager.plan(base.Selection(exclude=("quirks",)))
        self.assertEqual(self.names(plan.install), ["base"])
        self.assertEqual(self.why(plan)["vim"],
                         (base.KEPT, settle.NEEDS_EXCLUDED + ": quirks"))

    def test_two_branches_of_a_stem_are_asked_for_by_whole_names(self) -> None:
        self.use("branches")
        self.fake.expect(LIST, "bash-5.2.21\n" + replay.said("openbsd/pkg_add-branches",
                                                             "pkg_info -q")[1])
        self.change("Update candidates: python-2", "Update candidates: bash-5.2.21 -> bash-5.2.32\n"
                    "bash-5.2.32 (installing)(pretending) \n"
                    "Adding bash-5.2.21->5.2.32(pretending) \nUpdate candidates: python-2")
        both = " python-2.7.18p11 python-3.11.8"
        self.fake.expect(DRY + both, replay.said("openbsd/pkg_add-branches", ASK))
        plan = self.manager.plan(base.Selection(only=("python",)))
        self.assertEqual(plan.install, (
            base.Package("python", "2.7.18p11 3.11.8", "2.7.18p12 3.11.9"),))
        self.fake.expect(ADD + both, "")
        self.manager.commit(plan, 2000.0)
        self.assertIn(ADD + both, self.fake.said())

    def test_security_only_patches_base_and_says_that_packages_cannot_be_told(self) -> None:
        plan = self.manager.plan(base.Selection(security_only=True))
        self.assertEqual(self.names(plan.install), ["base"])
        kind, why = self.why(plan)["bash"]
        self.assertEqual(kind, base.KEPT)
        self.assertIn("no security metadata", why)

    def test_without_root_the_packages_are_listed_and_a_run_fails(self) -> None:
        self.fake.expect(SYSPATCH + " -c", replay.said("openbsd/syspatch-not-root", "syspatch -c"))
        plan = self.manager.plan(base.Selection())
        self.assertNotIn("base", self.names(plan.install))
        self.assertTrue(plan.install)
        self.assertEqual(plan.warnings, (openbsd.NOT_ROOT,))
        with self.assertRaisesRegex(base.ManagerError, "only root"):
            self.manager.refresh(2000.0)

    def test_a_patch_is_named_by_all_that_its_name_holds(self) -> None:
        self.fake.expect(SYSPATCH + " -c", "003_x-server\n004_lib.c++\n")
        self.assertEqual(self.manager.plan(base.Selection()).install[0],
                         base.Package("base", "001_xserver", "004_lib.c++", True))

    def test_an_older_patch_that_is_missing_does_not_set_base_back(self) -> None:
        self.fake.expect(SYSPATCH + " -l", "001_a\n003_c\n")
        self.fake.expect(SYSPATCH + " -c", "002_b\n")
        self.assertEqual(self.manager.plan(base.Selection()).install[0],
                         base.Package("base", "003_c", "003_c", True))

    def test_answers_in_another_form_are_errors(self) -> None:
        self.fake.expect(SYSPATCH + " -c", "no such file\n")
        with self.assertRaisesRegex(base.ManagerError, "unknown form"):
            self.manager.plan(base.Selection())
        for name in ("noversion", "-x-1", "a/b-1"):
            self.fake.expect(LIST, name + "\n")
            with self.assertRaisesRegex(base.ManagerError, "cannot exist"):
                self.manager.installed()


class Announced(Case):
    """What pkg_add announces must be found again."""

    def refused(self, words: str, old: str, new: str) -> None:
        self.use("five-updates")
        self.change(old, new)
        with self.assertRaisesRegex(base.ManagerError, words):
            self.manager.plan(base.Selection())

    def test_a_row_that_is_missing_is_a_failure_with_both_numbers(self) -> None:
        for row in ("Adding bash-5.2.21->5.2.32(pretending) \n",
                    "Adding vim-9.1.139-no_x11-python3->9.1.707-no_x11-python3(pretending) \n"):
            self.refused("installs 6 packages, 5 of them can be read", row, "")

    def test_candidates_count_also_where_the_steps_are_not_shown(self) -> None:
        self.use("five-updates")
        code, out, err = self.fake.answers[tuple(DRY.split())]
        lines = [line for line in out.splitlines(True) if "(installing)" not in line
                 and not line.startswith("Adding vim")]
        self.fake.expect(DRY, (code, "".join(lines), err))
        with self.assertRaisesRegex(base.ManagerError, "announces 5 updates, 4 of them"):
            self.manager.plan(base.Selection())

    def test_a_row_in_another_form_is_a_failure(self) -> None:
        for old, new in (("5.2.21->5.2.32(pretending)", "5.2.21->5.2.32 ok"),
                         ("Adding bash-5.2.21->5.2.32(", "Adding bash-5.2.21=>5.2.32("),
                         ("Adding gtk+3-3.24.41p0->", "Adding gtk+3 3.24.41p0->"),
                         ("candidates: vim-9.1.139-no_x11-python3 ->", "candidates: vim"),
                         ("Adding gimp-2.10.36p2->2.10.38", "Adding gimp-2.10.36p2->2.10.39"),
                         ("Adding gimp-2.10.36p2->", "Adding gimp-2.10.37->"),
                         ("candidates: bash-5.2.21 -> bash-5.2.32",
                          "candidates: bash-5.2.21 -> bash-5.2.33"),
                         ("Update candidates: gtk+3-3.24.41p0 -> gtk+3-3.24.43\n", "")):
            self.refused("unknown form|announces|not installed", old, new)

    def test_a_package_that_is_to_go_twice_is_a_failure(self) -> None:
        row = "Adding bash-5.2.21->5.2.32(pretending) \n"
        self.change(row, 2 * row)
        with self.assertRaisesRegex(base.ManagerError, "does not do what it announces"):
            self.manager.plan(base.Selection())

    def test_a_package_that_is_not_mentioned_at_all_is_told(self) -> None:
        self.use("nothing")
        same = "bash-5.2.21 -> bash-5.2.21\n"
        self.change("Update candidates: " + same, "")
        self.change("bash-5.2.21->5.2.21 (processing)(pretending) \n", "")
        self.assertEqual(self.manager.plan(base.Selection()).warnings,
                         ("pkg_add says nothing of bash-5.2.21",))

    def test_silence_and_a_name_that_pkg_add_does_not_take_are_failures(self) -> None:
        self.use("branches")
        self.fake.expect(DRY, replay.said("openbsd/pkg_add-branches", ASK + " python"))
        with self.assertRaisesRegex(base.ManagerError, "Problem finding python"):
            self.manager.plan(base.Selection())
        self.fake.expect(DRY, "")
        with self.assertRaisesRegex(base.ManagerError, "says nothing of any package"):
            self.manager.plan(base.Selection())
        self.fake.expect(LIST, "inteldrm-firmware-20240115\n")
        self.assertEqual(self.names(self.manager.plan(base.Selection()).install), ["base"])

    def test_an_exit_status_that_nothing_explains_is_a_failure(self) -> None:
        self.use("five-updates")
        _, out, err = self.fake.answers[tuple(DRY.split())]
        self.fake.expect(DRY, (1, out, "strange\n"))
        with self.assertRaisesRegex(base.ManagerError, r"strange \(exit code 1\)"):
            self.manager.plan(base.Selection())

    def test_a_directory_of_the_mirror_that_is_empty_is_a_failure(self) -> None:
        self.use("five-updates")
        _, out, err = self.fake.answers[tuple(DRY.split())]
        for code in (0, 1):
            self.fake.expect(DRY, (code, out, "https://mirror.example.org/extra/: empty\n"))
            with self.assertRaisesRegex(base.ManagerError, "example.org/extra/: empty"):
                self.manager.plan(base.Selection())

    def test_older_versions_count_what_is_to_go(self) -> None:
        self.use("five-updates")
        self.change("candidates: bash-5.2.21 -> bash-5.2.32", "candidates: bash-5.2.21 -> "
                    "bash-5.2.32 (4 to go)")
        self.assertEqual(len(self.manager.plan(base.Selection()).pending), 6)


class Steps(Case):
    def base_only(self) -> base.Plan:
        return base.Plan(install=(base.Package("base", "1", "2"),))

    def test_syspatch_that_updates_itself_is_started_again(self) -> None:
        self.fake.expect(SYSPATCH, [
            replay.said("openbsd/syspatch-updates-itself", "syspatch"),
            replay.said("openbsd/syspatch-kernel", "syspatch")])
        self.manager.commit(self.base_only(), 2000.0)
        self.assertEqual(self.fake.said(), [SYSPATCH, SYSPATCH])
        self.assertEqual(self.manager.reboot_reasons(), ["syspatch has linked a new kernel"])

    def test_syspatch_that_never_ends_updating_itself_is_a_failure(self) -> None:
        self.fake.expect(SYSPATCH, replay.said("openbsd/syspatch-updates-itself", "syspatch"))
        with self.assertRaisesRegex(base.ManagerError, "run it again"):
            self.manager.commit(self.base_only(), 2000.0)
        self.assertEqual(len(self.fake.calls), 5)

    def test_every_exit_code_of_syspatch_means_what_it_says(self) -> None:
        self.fake.expect(SYSPATCH, (2, "", ""))
        self.manager.commit(self.base_only(), 2000.0)
        self.fake.expect(SYSPATCH, replay.said("openbsd/syspatch-file-missing", "syspatch"))
        with self.assertRaisesRegex(base.ManagerError, "base: syspatch: ftp: .*002_iked"):
            self.manager.commit(self.base_only(), 2000.0)
        self.fake.expect(SYSPATCH, replay.said("openbsd/syspatch-read-only", "syspatch"))
        with self.assertRaisesRegex(base.ManagerError, "Read-only filesystem"):
            self.manager.commit(self.base_only(), 2000.0)

    def test_a_relink_that_failed_is_a_failure_and_no_new_kernel(self) -> None:
        code, out, err = replay.said("openbsd/syspatch-kernel", "syspatch")
        self.fake.expect(SYSPATCH, (1, out.replace(
            " done; reboot to load the new kernel", ' failed!\n!!! "/usr/libexec/reorder_kernel" '
            "must be run manually to install the new kernel"), err))
        with self.assertRaisesRegex(base.ManagerError, "unique kernel... failed!"):
            self.manager.commit(self.base_only(), 2000.0)
        os.utime(self.write("bsd", ""), (5060, 5060))
        self.assertEqual(self.manager.reboot_reasons(), [])

    def test_a_failed_base_stops_the_run_before_the_packages(self) -> None:
        self.fake.expect(SYSPATCH, (1, "", "no space\n"))
        plan = base.Plan(install=(base.Package("base", "1", "2"), base.Package("vim", "1", "2")))
        with self.assertRaises(base.ManagerError):
            self.manager.commit(plan, 2000.0)
        self.assertEqual(self.fake.said(), [SYSPATCH])

    def test_a_failed_pkg_add_is_told_with_what_did_not_come_and_a_lock_is_a_lock(self) -> None:
        plan = base.Plan(install=(base.Package("vim", "1", "2"),))
        for output, kind, words in (
                ("Fatal error: x\n", base.ManagerError, "pkg_add -u: vim: Fatal error: x"),
                ("Package database already locked... awaiting release... \n", base.Locked, "")):
            self.fake.expect(ADD, (1, "", output))
            with self.assertRaisesRegex(base.ManagerError, words) as caught:
                self.manager.commit(plan, 2000.0)
            self.assertIs(type(caught.exception), kind)

    def test_nothing_that_would_wait_is_started_while_the_database_is_locked(self) -> None:
        os.makedirs(self.root + "/var/db/pkg")
        self.assertEqual(self.manager.busy(), "")
        fd = os.open(self.root + "/var/db/pkg", os.O_RDONLY)
        self.addCleanup(os.close, fd)
        fcntl.flock(fd, fcntl.LOCK_EX)
        for step in (lambda: self.manager.commit(self.base_only(), 2000.0), self.manager.broken,
                     self.manager.installed, lambda: self.manager.plan(base.Selection())):
            with self.assertRaisesRegex(base.Locked, "/var/db/pkg is locked"):
                step()
        self.assertEqual(self.fake.calls, [])

    def test_refresh_needs_the_server(self) -> None:
        self.manager.refresh(2000.0)
        self.fake.expect(SYSPATCH + " -c", replay.said("openbsd/syspatch-mirror-down",
                                                       "syspatch -c"))
        with self.assertRaisesRegex(base.ManagerError, "Error retrieving .*SHA256.sig"):
            self.manager.refresh(2000.0)

    def test_what_is_partial_is_broken_and_for_a_person_but_base_is_patched(self) -> None:
        self.assertEqual(self.manager.broken(), "")
        self.manager.recover(2000.0)
        self.use("partial")
        self.assertIn("partial-vim-9.1.707", self.manager.broken())
        with self.assertRaisesRegex(base.ManagerError, "pkg_check"):
            self.manager.recover(2000.0)
        self.assertNotIn("partial-vim", self.manager.installed())
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.install), ["base"])
        self.assertIn("partial-vim", self.why(plan)["bash"][1])

    def test_reboot_is_due_when_the_kernel_is_newer_than_the_boot(self) -> None:
        path = self.write("bsd", "")
        os.utime(path, (5600, 5600))
        self.assertEqual(self.manager.reboot_reasons(), [])
        os.utime(path, (9000, 9000))
        self.assertEqual(self.manager.reboot_reasons(), ["/bsd is newer than the boot"])
        self.fake.expect("/sbin/sysctl -n kern.boottime", "Mon Nov 23 17:00:00 2026\n")
        self.assertIsNone(self.manager.reboot_reasons())

    def test_reboot_is_due_for_a_kernel_that_a_patch_linked_soon_after_the_boot(self) -> None:
        os.utime(self.write("bsd", ""), (5600, 5600))
        for stamp, due in ((4000, False), (5500, True), (5700, False)):
            folder = os.path.dirname(self.write("var/syspatch/76-001_kernel/rollback.tgz", ""))
            os.utime(folder, (stamp, stamp))
            self.assertEqual(bool(self.manager.reboot_reasons()), due, stamp)


class Names(fakemanager.Case):
    def test_a_plus_joins_names_and_is_part_of_some(self) -> None:
        answer = base.Answer(0, "Update candidates: gtk+3-3.1 -> gtk+3-3.2\n"
                                "Adding gtk+3-3.1+libsigc++-2.1->gtk+3-3.2(pretending)\n", "")
        got = text.parse_report(answer, ["gtk+3-3.1", "libsigc++-2.1"])
        self.assertEqual([row.name for row in got.replaced], ["libsigc++"])
