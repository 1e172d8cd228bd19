# SPDX-License-Identifier: BSD-2-Clause
"""dnf's and dnf5's command lines, and what is made of the answers that real ones gave."""

import os
import subprocess
import sys
import unittest
from typing import List
from typing import Tuple

from qualvosec.helper.managers import base
from qualvosec.helper.managers import dnf
from qualvosec.helper.managers import dnf_text
from qualvosec.helper.managers import rpm
from qualvosec.helper.managers import settle

from tests import fakemanager

RPM = ("/usr/bin/rpm -qa --qf %{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\t"
       "%{INSTALLTIME}\\n")
ALL = ["kernel", "qv-app", "qv-bad", "qv-base", "qv-brandnew", "qv-conf", "qv-lib", "qv-new",
       "qv-plain", "qv-sec", "qv-secup", "qv-slow"]


class Both(fakemanager.Case):
    """What both flavours have in common; the command lines are the subclass's."""

    folder = "dnf"
    programs = ("usr/bin/dnf", "usr/bin/dnf5", "usr/bin/rpm")
    locked: Tuple[int, str] = (200, "RPMDB already locked by 7\n")
    bounded = " --setopt=exit_on_lock=True"

    def setUp(self) -> None:
        super().setUp()
        self.dnf = "/usr/bin/%s --setopt=color=never" % self.folder
        self.manager = dnf.Dnf(self.world) if self.folder == "dnf" else dnf.Dnf5(self.world)
        self.manager.may_simulate = True
        self.answer_usually()

    def answer_usually(self) -> None:
        expect = self.fake.expect
        expect(RPM, self.recorded("installed.txt"))
        for options in ("", "--disableexcludes=all "):
            self.answer_upgrades(options, self.recorded("upgrades.txt"))
        self.answer_advisories(" --updates --security", self.recorded("security.txt"))
        self.answer_advisories(" --all", self.recorded("advisories.txt"))
        self.expect_table("", "all.txt")
        self.expect_table("qv-newname", "kept-name.txt")
        self.expect_table("qv-lib qv-newname qv-plain", "without.txt")
        self.expect_table("qv-lib qv-plain", "without.txt")

    def answer_upgrades(self, options: str, text: str) -> None:
        words = "%s -q -C %srepoquery --upgrades --latest-limit=1 --qf" % (self.dnf, options)
        self.fake.answers[tuple(words.split(" ")) + (
            "%{name} %{epoch} %{version} %{release} %{arch} %{repoid}",)] = text

    def answer_advisories(self, options: str, text: str) -> None:
        self.fake.expect("%s -q -C updateinfo list%s" % (self.dnf, options), text)

    def expect_table(self, excluded: str, name: str) -> None:
        options = "".join(" --exclude=" + word for word in excluded.split())
        self.fake.expect("%s -C --assumeno --setopt=best=False%s upgrade" % (self.dnf, options),
                         (1, self.recorded(name), "Operation aborted.\n"))

    def hold(self, path: str) -> int:
        """Let another process hold a record lock on the file; its number."""
        holder = subprocess.Popen(
            [sys.executable, "-c", "import fcntl, sys; f = open(%r, 'r+b'); "
             "fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()" % path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert holder.stdin is not None and holder.stdout is not None
        self.addCleanup(holder.communicate)
        holder.stdout.readline()
        return holder.pid

    def plan(self, *excluded: str) -> base.Plan:
        return base.Plan(excluded=excluded)


class Plans:
    """Tests of plans, for both flavours."""

    def test_everything_but_what_would_replace_a_package(self: Both) -> None:
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.install), ALL)
        self.assertIn(base.Package("kernel", "5.14.0-1", "5.14.0-2"), plan.install)
        self.assertIn(base.Package("qv-brandnew", "", "1.0-1"), plan.install)
        self.assertEqual(self.why(plan), {
            "qv-swap": (base.KEPT, "conflicts with an installed package"),
            "qv-newname": (base.KEPT, "needs the removal of qv-oldname")})
        self.assertEqual(plan.excluded, ("qv-newname",))
        self.assertEqual(len(plan.pending), 12)

    def test_blacklist_becomes_excludes_of_exact_installed_names(self: Both) -> None:
        plan = self.manager.plan(base.Selection(exclude=("qv-pl*", "qv-li?")))
        self.assertEqual(plan.excluded, ("qv-lib", "qv-plain"))
        why = self.why(plan)
        self.assertEqual(why["qv-plain"], (base.POLICY, "in packages_blacklist"))
        self.assertEqual(why["qv-app"], (base.KEPT, "its dependencies cannot be satisfied"))
        self.assertNotIn("qv-plain", self.names(plan.install))

    def test_whitelist_excludes_all_else_that_is_pending(self: Both) -> None:
        others = [name for name in ALL if name not in ("qv-sec", "qv-brandnew")] + ["qv-swap"]
        for excluded in (others, others + ["qv-newname"]):
            self.expect_table(" ".join(sorted(excluded)), "all.txt")
        with self.assertRaisesRegex(base.Refused, "would not keep to the selection"):
            # This dnf ignores the excludes: its plan is refused, not trusted.
            self.manager.plan(base.Selection(only=("qv-sec",)))

    def test_security_only_leaves_out_what_no_advisory_names(self: Both) -> None:
        others = [name for name in ALL if name not in ("qv-sec", "qv-secup", "qv-brandnew")]
        table = self.recorded("all.txt").splitlines()
        heading = [line for line in table if line.startswith("Upgrading:")]
        row = [line for line in table if line.startswith(" qv-sec ")]
        excluded = " ".join(sorted(others + ["qv-swap"]))
        options = "".join(" --exclude=" + word for word in excluded.split())
        self.fake.expect("%s -C --assumeno --setopt=best=False%s upgrade" % (self.dnf, options),
                         (1, "\n".join(heading + row) + "\n\nTransaction Summary\n====\n"
                          "Upgrade  1 Package\n", "Operation aborted.\n"))
        plan = self.manager.plan(base.Selection(security_only=True))
        self.assertEqual(plan.install, (base.Package("qv-sec", "1.0-1", "1.0-3", True),))
        self.assertEqual(self.why(plan)["qv-plain"], (base.POLICY, settle.NOT_SECURITY))
        self.assertEqual(self.why(plan)["qv-secup"], (base.KEPT, settle.NEEDS_EXCLUDED))

    def test_security_only_without_any_advisory_is_unsupported(self: Both) -> None:
        for options in (" --updates --security", " --all"):
            self.answer_advisories(options, "")
        with self.assertRaisesRegex(base.Unsupported, "no security metadata"):
            self.manager.plan(base.Selection(security_only=True))

    def test_detail_marks_security_updates(self: Both) -> None:
        plan = self.manager.plan(base.Selection(), detail=True)
        self.assertEqual([p.name for p in plan.pending if p.security], ["qv-sec", "qv-secup"])
        self.assertTrue(plan.security_known)
        self.assertIn(base.Package("qv-sec", "1.0-1", "1.0-3", True), plan.install)

    def test_what_the_plugin_versionlock_holds_is_held_by_the_administrator(self: Both) -> None:
        self.write("etc/dnf/plugins/versionlock.list", "# Added\nqv-swap-0:1.0-1.*\n"
                   "!qv-newname-0:1.0-1.*\nkernel-0:5.14.0-1.*\n\nrubbish\n")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.why(plan), {
            "qv-swap": (base.KEPT, "held by the administrator"),
            "qv-newname": (base.KEPT, "needs the removal of qv-oldname")})

    def test_what_dnf_conf_excludes_is_held_by_the_administrator(self: Both) -> None:
        self.answer_upgrades("", "{}" if self.folder == "dnf5" else "")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.why(plan)["qv-swap"], (base.KEPT, "held by the administrator"))

    def test_nothing_to_do_is_an_empty_plan_without_a_simulation(self: Both) -> None:
        for options in ("", "--disableexcludes=all "):
            self.answer_upgrades(options, "{}" if self.folder == "dnf5" else "")
        plan = self.manager.plan(base.Selection())
        self.assertEqual((plan.install, plan.pending, plan.left), ((), (), ()))
        self.assertFalse(any("upgrade" in call for call in self.fake.calls))

    def test_a_plan_that_removes_is_refused(self: Both) -> None:
        words = (self.dnf + " -C --assumeno --setopt=best=False upgrade").split(" ")
        self.fake.answers[tuple(words)] = (1, "Upgrading:\n qv-sec noarch 1.0-3 updates 6 k\n"
                                           "Removing:\n qv-old noarch 1.0-1 @system 6 k\n"
                                           "\nTransaction Summary\n===\nUpgrade  1 Package\n"
                                           "Remove  1 Package\n",
                                           "Operation aborted.\n")
        with self.assertRaisesRegex(base.Refused, "qv-old"):
            self.manager.plan(base.Selection())

    def test_a_failed_simulation_is_told_in_dnfs_own_words(self: Both) -> None:
        words = (self.dnf + " -C --assumeno --setopt=best=False upgrade").split(" ")
        self.fake.answers[tuple(words)] = (1, "", "Error: Cache-only enabled but no cache\n")
        with self.assertRaisesRegex(base.ManagerError, "Error: Cache-only enabled"):
            self.manager.plan(base.Selection())

    def test_who_is_not_root_sees_a_plan_that_says_it_is_not_simulated(self: Both) -> None:
        self.manager.may_simulate = False
        plan = self.manager.plan(base.Selection(exclude=("qv-plain",)), detail=True)
        self.assertIn("not simulated", plan.warnings[0])
        self.assertEqual(len(plan.install), 11)
        self.assertFalse(any("--assumeno" in call for call in self.fake.calls))

    def test_queries_have_a_deadline_and_are_not_logged(self: Both) -> None:
        self.manager.plan(base.Selection(), detail=True)
        self.assertFalse(any(self.fake.logged))
        self.assertNotIn(None, [deadline for call, deadline in zip(
            self.fake.said(), self.fake.deadlines) if call != RPM])


class Steps:
    """Tests of the other steps, for both flavours."""

    def refreshed(self: Both, answer: object = "", without: str = "") -> None:
        self.fake.expect("%s%s -y --setopt=*.skip_if_unavailable=0 makecache --refresh"
                         % (self.dnf, without and " --disablerepo=" + without), answer)

    def test_refresh_wants_every_repository_and_ends_in_time(self: Both) -> None:
        self.refreshed()
        self.manager.refresh(2000.0)
        self.refreshed((-15, "", "", True))
        with self.assertRaisesRegex(base.ManagerError, "not finished in time"):
            self.manager.refresh(1005.0)
        self.assertEqual(self.fake.deadlines, [900.0, 5.0])

    def test_repository_that_is_down_is_named_and_the_run_is_without_it(self: Both) -> None:
        self.refreshed((1, self.recorded("down-strict.txt"), ""))
        self.fake.expect(self.dnf + " -q -C repolist --enabled", self.recorded("repolist.txt"))
        self.refreshed(without="down")
        with self.assertRaisesRegex(
                base.Incomplete, "repository down: Curl error .7.: .*http://127.0.0.1:9/x"):
            self.manager.refresh(2000.0)
        self.fake.expect(self.dnf + " --disablerepo=down -y -C%s --setopt=best=False upgrade"
                         % self.bounded, "Complete!\n")
        self.manager.commit(self.plan(), 2000.0)
        self.refreshed()
        self.manager.refresh(2000.0)
        self.assertEqual(self.fake.said()[-1].count("disablerepo"), 0)

    def test_a_refresh_without_any_repository_left_is_failed(self: Both) -> None:
        self.refreshed((1, self.recorded("down-strict.txt"), ""))
        for known in ("repo id  repo name\ndown  x\n", "repo id  repo name\nother  x\n"):
            self.fake.expect(self.dnf + " -q -C repolist --enabled", known)
            with self.assertRaisesRegex(base.ManagerError, "repository down: Curl") as caught:
                self.manager.refresh(2000.0)
            self.assertIs(type(caught.exception), base.ManagerError)

    def kernels(self: Both, name: str, options: str = "") -> None:
        self.fake.expect("%s -C --assumeno --setopt=best=False%s upgrade" % (self.dnf, options),
                         (1, self.recorded(name), "Operation aborted.\n"))

    def test_the_oldest_kernel_takes_along_what_akmods_built_for_it(self: Both) -> None:
        self.kernels("kernel-modules.txt")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.install), ["kernel", "qv-plain"])
        self.assertEqual(self.manager.replaced, {"kmod-qv-5.13.0-1.noarch"})

    def test_the_oldest_kernel_stays_where_more_would_go_with_it(self: Both) -> None:
        self.kernels("kernel-tool.txt")
        self.kernels("kernel-kept.txt", " --setopt=installonly_limit=0")
        plan = self.manager.plan(base.Selection())
        self.assertEqual((self.names(plan.install), self.manager.replaced),
                         (["kernel", "qv-plain"], set()))
        self.fake.expect("%s -y -C%s --setopt=best=False --setopt=installonly_limit=0 upgrade"
                         % (self.dnf, self.bounded), "Complete!\n")
        self.manager.commit(self.plan(), 2000.0)

    def test_download_ends_with_the_window_and_takes_the_lists_of_the_plan(self: Both) -> None:
        self.fake.expect("%s -y --setopt=*.metadata_expire=-1%s --setopt=best=False "
                         "--exclude=a --exclude=b.i686 upgrade --downloadonly"
                         % (self.dnf, self.bounded))
        self.manager.download(self.plan("a", "b:i686"), 1300.0)
        self.assertEqual((self.fake.deadlines, self.fake.logged), ([300.0], [False]))

    def test_commit_has_no_deadline_and_writes_to_the_log_not_to_a_pipe(self: Both) -> None:
        self.fake.expect("%s -y -C%s --setopt=best=False --exclude=a upgrade"
                         % (self.dnf, self.bounded), "Complete!\n")
        self.manager.commit(self.plan("a"), 2000.0)
        self.assertEqual((self.fake.deadlines, self.fake.logged), ([None], [True]))

    def test_commit_does_not_start_while_somebody_holds_the_lock(self: Both) -> None:
        pid = os.getpid()
        if self.manager.pid_files:
            self.write(self.manager.pid_files[0].lstrip("/"), "%d\n" % pid)
        else:
            pid = self.hold(self.write(dnf.TRANSACTION_LOCK.lstrip("/"), ""))
        with self.assertRaisesRegex(base.Locked, "held by process %d" % pid):
            self.manager.commit(self.plan(), 2000.0)
        self.assertEqual(self.fake.calls, [])

    def test_every_documented_failure_is_told_apart(self: Both) -> None:
        words = "%s -y -C%s --setopt=best=False upgrade" % (self.dnf, self.bounded)
        for code, text, kind in ((1, "Error: Transaction failed", base.ManagerError),
                                 (2, "usage", base.ManagerError), (3, "", base.ManagerError),
                                 self.locked + (base.Locked,)):
            self.fake.expect(words, (code, "", text))
            with self.assertRaises(base.ManagerError) as caught:
                self.manager.commit(self.plan(), 2000.0)
            self.assertIs(type(caught.exception), kind, text)

    def test_an_interrupted_run_shows_as_doubled_packages_and_is_repaired(self: Both) -> None:
        good = self.recorded("installed.txt")
        double = good + "qv-slow\t0\t2.0\t1\tnoarch\t1\nkernel\t0\t9\t1\tnoarch\t1\n"
        self.fake.expect(RPM, double)
        query = self.dnf + " -q -C --disablerepo=* repoquery --duplicates"
        self.fake.expect(query, "qv-slow-0:1.0-1.noarch\nqv-slow-0:2.0-1.noarch\n")
        self.assertEqual(self.manager.broken(), "installed twice: qv-slow 1.0-1 and 2.0-1")
        self.fake.expect(query, "")
        self.assertEqual(self.manager.broken(), "")
        self.fake.expect(query, "x")
        self.fake.expect(RPM, [double, good])
        remove = "%s -y%s remove --duplicates" % (self.dnf, self.bounded)
        self.fake.expect(remove)
        with self.assertRaisesRegex(base.ManagerError, "cannot be repaired"):
            self.manager.recover(2000.0)
        self.manager.recover(2000.0)
        self.assertTrue(all(logged for call, logged in zip(self.fake.said(), self.fake.logged)
                            if call == remove))

    def test_a_sound_database_needs_one_query(self: Both) -> None:
        self.assertEqual(self.manager.broken(), "")
        self.assertEqual(self.fake.said(), [RPM])

    def test_configuration_that_waits_for_the_administrator_is_found(self: Both) -> None:
        for name in ("a.rpmnew", "b/c.rpmsave", "d", "e.conf"):
            self.write("etc/" + name, "")
        self.assertEqual(sorted(self.manager.leftovers()), ["/etc/a.rpmnew", "/etc/b/c.rpmsave"])

    def test_reboot_is_due_for_what_was_installed_since_boot(self: Both) -> None:
        self.assertIsNone(self.manager.reboot_reasons())
        self.write("proc/stat", "cpu 1\nbtime 5000\n")
        rows = ("kernel\t0\t5.14.0\t1\tnoarch\t4000\nkernel\t0\t5.14.0\t2\tnoarch\t6000\n"
                "glibc\t0\t2.34\t1\tx86_64\t%d\nvim\t0\t9\t1\tx86_64\t7000\n")
        self.fake.expect(RPM, rows % 4000)
        self.assertEqual(self.manager.reboot_reasons(),
                         ["kernel 5.14.0-2 was installed since boot"])
        self.write("run/.containerenv", "")
        self.assertEqual(self.manager.reboot_reasons(), [])
        self.fake.expect(RPM, rows % 6000)
        self.assertEqual(self.manager.reboot_reasons(),
                         ["glibc 2.34-1 was installed since boot"])


class RebootList(unittest.TestCase):
    def test_kernels_of_every_kind_are_kernels_and_what_lies_beside_them_is_not(self) -> None:
        for name in ("kernel", "kernel-core", "kernel-rt", "kernel-rt-core", "kernel-rt-64k",
                     "kernel-rt-64k-core", "kernel-64k", "kernel-64k-core", "kernel-uek",
                     "kernel-uek-core", "kernel-uek64k", "kernel-uek64k-core", "kernel-default",
                     "kernel-azure", "kernel-lt", "kernel-ml", "kernel6.12"):
            self.assertTrue(rpm.KERNEL.fullmatch(name), name)
        for name in ("kernel-headers", "kernel-devel", "kernel-tools", "kernel-srpm-macros",
                     "kernel-modules", "kernelshark", "kernel-rt-devel", "kernel-firmware-all"):
            self.assertFalse(rpm.KERNEL.fullmatch(name), name)

    def test_what_dnf_and_dnf5_name_is_in_the_list(self) -> None:
        # needs_restarting.py of dnf-plugins-core; the names in the library of dnf5 5.4.
        for name in ("glibc", "linux-firmware", "microcode_ctl", "systemd", "udev", "dbus",
                     "dbus-broker", "dbus-daemon"):
            self.assertIn(name, rpm.CORE)


class Dnf(Plans, Steps, Both):  # type: ignore[misc]
    """dnf 4.14."""

    def test_rows_that_are_broken_behind_a_long_name_are_read(self) -> None:
        table = dnf_text.parse_table(
            "Upgrading:\n a-package-with-a-name-that-is-too-long-for-its-column\n"
            "                      x86_64  1:2.0-1.el9  updates  6.0 k\n"
            "     replacing  python3.11-x.noarch 1.0-1\n b  x86_64 1-1 updates 0  \n"
            "\nTransaction Summary\n====\nUpgrade  2 Packages\n")
        self.assertEqual([item[:3] for item in table.incoming], [
            ("a-package-with-a-name-that-is-too-long-for-its-column", "x86_64", "1:2.0-1.el9"),
            ("b", "x86_64", "1-1")])
        self.assertEqual(table.incoming[0].replaces, ("python3.11-x",))

    def test_a_line_between_rows_that_is_none_is_refused(self) -> None:
        text = self.recorded("all.txt").replace("     replacing  qv", "     instead of  qv")
        with self.assertRaisesRegex(base.ManagerError, "unknown form: instead of qv-oldname"):
            dnf_text.parse_table(text)

    def test_a_row_that_names_no_package_is_refused(self) -> None:
        for name in ("-y", "../x.rpm", "@core", "*", "a;b"):
            with self.assertRaisesRegex(base.ManagerError, "cannot exist"):
                dnf_text.parse_table("Upgrading:\n %s noarch 1-1 updates 6 k\n" % name)


class Dnf5(Plans, Steps, Both):  # type: ignore[misc]
    """dnf5 5.4.6."""

    folder = "dnf5"
    locked = (1, "Waiting for a lock on the system repository.\n")
    bounded = ""

    def test_commit_holds_the_lock_that_dnf5_would_wait_for_without_end(self) -> None:
        for name in dnf.SYSTEM_LOCKS:
            path = self.write(name.lstrip("/"), "")
            self.fake.expect("/usr/bin/dnf5 --skip-file-locks --setopt=color=never"
                             " -y -C --setopt=best=False upgrade")
            self.assertEqual(self.held_while_it_commits(path), [b"held"], name)
            os.unlink(path)

    def held_while_it_commits(self, path: str) -> List[bytes]:
        ask = ("import fcntl\nf = open(%r, 'r+b')\n"
               "try:\n fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
               "except OSError:\n print('held', end='')" % path)
        seen: List[bytes] = []
        self.fake.before = lambda argv: seen.append(
            subprocess.check_output([sys.executable, "-c", ask]))
        self.manager.commit(self.plan(), 2000.0)
        return seen

    def test_lock_that_is_taken_in_the_last_moment_is_not_waited_for(self) -> None:
        self.hold(self.write(dnf.SYSTEM_LOCKS[0].lstrip("/"), ""))
        self.manager.unlocked = lambda until: None
        with self.assertRaisesRegex(base.Locked, "system-repo.lock is held"):
            self.manager.commit(self.plan(), 2000.0)
        self.assertEqual(self.fake.calls, [])

    def test_question_that_waited_for_the_lock_until_it_was_ended_is_locked(self) -> None:
        self.fake.expect(self.dnf + " -q -C check-upgrade --json", (
            -15, "", "Waiting for a lock on the system repository. The following processes are "
            "currently accessing it:\n7\tdnf5 upgrade\n", True))
        with self.assertRaises(base.Locked):
            self.manager.plan(base.Selection())

    def answer_upgrades(self, options: str, text: str) -> None:
        options = options.replace("--disableexcludes=all", "--setopt=disable_excludes=*")
        self.fake.expect("%s -q -C %scheck-upgrade --json" % (self.dnf, options), text)

    def answer_advisories(self, options: str, text: str) -> None:
        self.fake.expect("%s -q -C advisory list%s --json" % (self.dnf, options), text or "[]")

    def test_an_answer_in_another_form_is_an_error(self) -> None:
        for text in ("[]", "{", '{"upgrades":[{"name":"a"}]}', '{"upgrades":1}', "[1]"):
            with self.assertRaisesRegex(base.ManagerError, "unknown form"):
                dnf_text.parse_upgrades(text)
        for text in ("{}", '[{"name":"x"}]', "[1]"):
            with self.assertRaisesRegex(base.ManagerError, "unknown form"):
                dnf_text.parse_advisories(text)

    def test_package_that_cannot_be_fetched_is_named(self) -> None:
        words = "%s -y --setopt=*.metadata_expire=-1%s --setopt=best=False upgrade --downloadonly"
        self.fake.expect(words % (self.dnf, self.bounded),
                         (1, self.recorded("package-missing.txt"), ""))
        with self.assertRaisesRegex(base.ManagerError, "qv-lib-2.0-1.noarch"):
            self.manager.download(self.plan(), 2000.0)
