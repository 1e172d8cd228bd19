# SPDX-License-Identifier: BSD-2-Clause
"""pkg and freebsd-update against stand-ins: command lines, environment, documented answers."""

from typing import List

from qualvosec.helper.managers import base
from qualvosec.helper.managers import pkg
from qualvosec.helper.managers import pkg_text
from qualvosec.helper.managers import settle

from tests import fakemanager

PKG = "/usr/local/sbin/pkg "
UPDATE = "/usr/sbin/freebsd-update --not-running-from-cron "
READY = "/usr/sbin/freebsd-update updatesready"
WHICH = PKG + "which -q /usr/bin/uname"
INSTALLED = ["/usr/local/sbin/pkg", "query", "%n %v %k"]
DRY = PKG + "upgrade -n -U"
RUN = PKG + "upgrade -y -U"


class Case(fakemanager.Case):
    folder = "pkg"
    programs = ("usr/local/sbin/pkg", "usr/sbin/pkg", "usr/sbin/freebsd-update",
                "bin/freebsd-version")
    environment = dict(fakemanager.ENVIRONMENT, ASSUME_ALWAYS_YES="yes", PAGER="cat")

    def setUp(self) -> None:
        super().setUp()
        self.manager = pkg.Pkg(self.world)
        expect, recorded = self.fake.expect, self.recorded
        expect(INSTALLED, recorded("installed.txt"))
        expect(PKG + "query %n", "x\n")
        expect(PKG + "version -vRUL=", recorded("behind.txt"))
        expect(WHICH, (1, "", ""))
        expect(READY, (2, "", "No updates are available to install.\n"))
        expect(PKG + "audit -q", (1, "qv-sec-1.0\n", ""))
        expect(DRY, recorded("all.txt"))
        self.releases("14.1-RELEASE-p5", "14.1-RELEASE-p5", "14.1-RELEASE-p5")

    def releases(self, kernel: str, userland: str, running: str) -> None:
        for option, release in (("k", kernel), ("u", userland), ("r", running)):
            self.fake.expect("/bin/freebsd-version -" + option, release + "\n")

    def changes(self) -> List[str]:
        """Return the command lines that change something, in order."""
        return [call for call in self.fake.said() if call.startswith(RUN) or "install" in call]


class Plans(Case):
    def test_everything_is_one_simulation_without_names(self) -> None:
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.install),
                         ["qv-brandnew", "qv-needsplain", "qv-new", "qv-plain", "qv-sec"])
        self.assertIn(base.Package("qv-brandnew", "", "1.0"), plan.install)
        self.assertEqual(self.why(plan), {
            "qv-held": (base.KEPT, "held by the administrator")})
        self.assertEqual([call for call in self.fake.said() if "upgrade" in call], [DRY])

    def test_blacklist_is_the_list_of_the_others_less_what_pulls_it_in(self) -> None:
        self.fake.expect(DRY + " -- qv-needsplain qv-new qv-sec",
                         self.recorded("without-plain.txt"))
        self.fake.expect(DRY + " -- qv-new qv-sec", self.recorded("without-both.txt"))
        for name in ("needsplain", "new", "sec"):
            self.fake.expect(DRY + " -- qv-" + name, self.recorded("alone-%s.txt" % name))
        plan = self.manager.plan(base.Selection(exclude=("qv-pl*",)))
        self.assertEqual(self.names(plan.install), ["qv-brandnew", "qv-new", "qv-sec"])
        why = self.why(plan)
        self.assertEqual(why["qv-plain"], (base.POLICY, "in packages_blacklist"))
        self.assertEqual(why["qv-needsplain"], (base.KEPT, "needs an update that is excluded"))
        self.fake.expect(RUN + " -- qv-new qv-sec")
        self.manager.commit(plan, 2000.0)
        self.assertEqual(self.changes(), [RUN + " -- qv-new qv-sec"])

    def test_whitelist_names_what_it_matches_and_leaves_base_alone(self) -> None:
        self.fake.expect(READY)
        self.fake.expect(DRY + " -- qv-sec", self.recorded("alone-sec.txt"))
        plan = self.manager.plan(base.Selection(only=("qv-s*",)))
        self.assertEqual(plan.install, (base.Package("qv-sec", "1.0", "1.0_1"),))
        self.assertEqual(self.why(plan)["base"], (base.POLICY, "not in packages_whitelist"))

    def test_security_only_takes_what_audit_finds_and_all_of_base(self) -> None:
        self.fake.expect(READY)
        self.fake.expect(DRY + " -- qv-sec", self.recorded("alone-sec.txt"))
        plan = self.manager.plan(base.Selection(security_only=True))
        self.assertEqual([package[0] for package in plan.install], ["base", "qv-sec"])
        self.assertTrue(all(package.security for package in plan.install))

    def test_audit_without_data_is_unsupported_and_a_fault_is_a_fault(self) -> None:
        for text, kind in (("pkg: vulnxml file vuln.xml does not exist\n", base.Unsupported),
                           ("pkg: something else failed\n", base.ManagerError)):
            self.fake.expect(PKG + "audit -q", (1, "", text))
            with self.assertRaises(base.ManagerError) as caught:
                self.manager.plan(base.Selection(security_only=True))
            self.assertIs(type(caught.exception), kind)
        self.assertFalse(self.manager.plan(base.Selection(), detail=True).security_known)

    def test_security_only_with_stale_data_is_a_fault(self) -> None:
        self.manager.audit_fault = "pkg audit: cannot fetch"
        with self.assertRaisesRegex(base.ManagerError, "cannot fetch"):
            self.manager.plan(base.Selection(security_only=True))

    def test_what_needs_a_removal_is_left_out_by_name(self) -> None:
        removing = self.recorded("all.txt") + (
            "\nInstalled packages to be REMOVED:\n\tqv-old: 1.0\n")
        self.fake.expect(DRY, removing)
        self.fake.expect(DRY + " -- qv-needsplain qv-plain qv-sec",
                         self.recorded("all.txt").replace("\tqv-new: 1.0 -> 2.0 [lab]\n", ""))
        for name, text in (("new", removing), ("needsplain", self.recorded("alone-needsplain.txt")),
                           ("plain", ""), ("sec", self.recorded("alone-sec.txt"))):
            self.fake.expect(DRY + " -- qv-" + name, text)
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.why(plan)["qv-new"], (base.KEPT, "needs the removal of qv-old"))
        self.assertNotIn("qv-new", self.names(plan.install))

    def test_an_older_pkg_says_1_when_there_is_something_to_do(self) -> None:
        self.fake.expect(DRY, (1, self.recorded("all.txt"), ""))
        self.assertEqual(len(self.manager.plan(base.Selection()).install), 5)
        self.fake.expect(DRY, (1, "", "pkg: No packages available\n"))
        with self.assertRaisesRegex(base.ManagerError, "No packages available"):
            self.manager.plan(base.Selection())

    def test_pkg_itself_goes_first_and_is_asked_again(self) -> None:
        self.fake.expect(PKG + "version -vRUL=", "pkg-2.8.3  <  needs updating (remote has 2.8.4)\n"
                         + self.recorded("behind.txt"))
        self.fake.expect(DRY, [self.recorded("self.txt"), self.recorded("all.txt")])
        plan = self.manager.plan(base.Selection())
        self.assertEqual(len(plan.install), 5)
        self.fake.expect(RUN + " -- pkg")
        self.fake.expect(RUN)
        self.manager.commit(plan, 2000.0)
        self.assertEqual(self.changes(), [RUN + " -- pkg", RUN])
        self.fake.expect(DRY, self.recorded("all.txt") + "\nInstalled packages to be REMOVED:\n"
                         "\tqv-old: 1.0\n")
        with self.assertRaisesRegex(base.ManagerError, "would not keep to the plan: qv-old"):
            self.manager.commit(plan, 2000.0)

    def test_plans_in_documented_forms_are_read(self) -> None:
        changes = pkg_text.parse_changes(
            "Installed packages to be UPGRADED:\n\tpkgc: 3.0 -> 3.1 [FreeBSD] "
            "(dependency changed)\n        python311: 3.11.1_2,1 -> 3.11.2,1\n\n"
            "Installed packages to be REINSTALLED:\n"
            "\tpkg-1.20.8_3 [pfSense]\n\nPackages to be CHANGED:\n\tx: 1\n\n"
            "Installed packages to be DOWNGRADED:\n\ty: 2 -> 1\n")
        self.assertEqual(changes.install, (base.Package("pkgc", "3.0", "3.1"),
                                           base.Package("python311", "3.11.1_2,1", "3.11.2,1")))
        self.assertEqual((changes.anew, changes.removed), (("pkg",), ("y",)))
        for name in ("-y", "a/b", "$(x)"):
            with self.assertRaisesRegex(base.ManagerError, "cannot exist"):
                pkg_text.parse_changes("New packages to be INSTALLED:\n\t%s: 1.0\n" % name)


class Base(Case):
    def test_base_comes_first_and_reports_both_versions(self) -> None:
        self.fake.expect(PKG + "update")
        self.fake.expect(PKG + "audit -F -q")
        self.fake.expect(UPDATE + "fetch", self.recorded("fetch.txt"))
        self.manager.refresh(2000.0)
        self.fake.expect(READY)
        plan = self.manager.plan(base.Selection())
        self.assertIn(base.Package("base", "14.1-RELEASE-p5", "14.1-RELEASE-p7", True),
                      plan.pending)
        self.fake.expect(UPDATE + "install")
        self.fake.expect(RUN)
        self.manager.commit(plan, 2000.0)
        self.assertEqual(self.changes(), [UPDATE + "install", RUN])
        self.assertEqual((self.fake.logged[-2:], self.fake.deadlines[-2:]),
                         ([True, True], [None, None]))

    def test_a_failed_base_stops_the_run_before_the_packages(self) -> None:
        plan = base.Plan(install=(base.Package("base", "1", "2"), base.Package("qv-sec", "1", "2")))
        self.fake.expect(UPDATE + "install", (1, "", "error: no space\n"))
        with self.assertRaisesRegex(base.ManagerError, "base: freebsd-update install.*no space"):
            self.manager.commit(plan, 2000.0)
        self.assertEqual(self.changes(), [UPDATE + "install"])

    def test_a_lock_on_the_packages_does_not_install_base_twice(self) -> None:
        plan = base.Plan(install=(base.Package("base", "1", "2"), base.Package("qv-sec", "1", "2")))
        self.fake.expect(UPDATE + "install", ["", (2, "", "No updates are available.\n")])
        self.fake.expect(RUN, [(1, "", "pkg: Cannot get an advisory lock on a database\n"), ""])
        with self.assertRaises(base.Locked):
            self.manager.commit(plan, 2000.0)
        self.manager.commit(plan, 2000.0)
        self.assertEqual(self.changes(), [UPDATE + "install", RUN, RUN])

    def test_base_can_be_excluded_and_chosen_alone(self) -> None:
        self.fake.expect(READY)
        plan = self.manager.plan(base.Selection(exclude=("base",)))
        self.assertEqual(self.why(plan)["base"], (base.POLICY, "in packages_blacklist"))
        self.assertEqual(len(plan.install), 5)
        plan = self.manager.plan(base.Selection(only=("base",)))
        self.assertEqual(self.names(plan.install), ["base"])

    def test_base_made_of_packages_is_updated_by_pkg_first(self) -> None:
        self.fake.expect(WHICH, "FreeBSD-runtime-15.0\n")
        self.fake.expect(INSTALLED, "FreeBSD-runtime 15.0 0\nqv-sec 1.0 0\n")
        self.fake.expect(PKG + "version -vRUL=",
                         "FreeBSD-runtime-15.0  <  needs updating (remote has 15.0p1)\n"
                         "qv-sec-1.0  <  needs updating (remote has 1.0_1)\n")
        both = ("Installed packages to be UPGRADED:\n\tFreeBSD-runtime: 15.0 -> 15.0p1 [base]\n"
                "\tqv-sec: 1.0 -> 1.0_1 [x]\n")
        self.fake.expect(DRY, both)
        self.fake.expect(DRY + " -- qv-sec", self.recorded("alone-sec.txt"))
        plan = self.manager.plan(base.Selection())
        self.fake.expect(RUN + " -- FreeBSD-runtime")
        self.fake.expect(RUN)
        self.manager.commit(plan, 2000.0)
        self.assertEqual(self.changes(), [RUN + " -- FreeBSD-runtime", RUN])
        self.assertNotIn(READY, self.fake.said())
        plan = self.manager.plan(base.Selection(exclude=("base",)))
        self.assertEqual(self.names(plan.install), ["qv-sec"])

    def test_what_is_no_release_says_that_base_is_not_served(self) -> None:
        self.releases("15.0-CURRENT", "15.0-CURRENT", "15.0-CURRENT")
        plan = self.manager.plan(base.Selection())
        self.assertIn("base: freebsd-update serves releases only, this is 15.0-CURRENT",
                      plan.warnings)
        self.assertNotIn(READY, self.fake.said())

    def test_without_root_the_packages_are_listed_and_base_is_said_to_be_unknown(self) -> None:
        self.fake.expect(READY, (1, "", "cd: /var/db/freebsd-update: Permission denied\n"))
        plan = self.manager.plan(base.Selection())
        self.assertIn("qv-sec", self.names(plan.install))
        self.assertEqual(plan.warnings,
                         ("base: whether freebsd-update has fetched updates only root can see",))

    def test_another_answer_of_updatesready_is_a_fault(self) -> None:
        self.fake.expect(READY, (1, "", "usage: freebsd-update\n"))
        with self.assertRaisesRegex(base.ManagerError, "updatesready"):
            self.manager.plan(base.Selection())

    def test_reboot_is_due_when_another_kernel_is_installed(self) -> None:
        self.assertEqual(self.manager.reboot_reasons(), [])
        self.releases("14.1-RELEASE-p7", "14.1-RELEASE-p7", "14.1-RELEASE-p5")
        self.assertEqual(self.manager.reboot_reasons(), [
            "kernel 14.1-RELEASE-p5 is running, 14.1-RELEASE-p7 is installed"])
        self.fake.expect("/bin/freebsd-version -k", (1, "", "unable to locate kernel\n"))
        self.assertIsNone(self.manager.reboot_reasons())

    def test_releases_are_ordered_by_number(self) -> None:
        self.releases("14.1-RELEASE-p9", "14.1-RELEASE-p10", "x")
        self.assertEqual(self.manager.installed()["base"], "14.1-RELEASE-p10")

    def test_dragonfly_has_neither_base_updates_nor_audit_nor_reboot_reasons(self) -> None:
        manager = pkg.DragonFly(self.world)
        plan = manager.plan(base.Selection(), detail=True)
        self.assertEqual((len(plan.install), plan.security_known), (5, False))
        self.assertIsNone(manager.reboot_reasons())
        with self.assertRaisesRegex(base.Unsupported, "no security metadata"):
            manager.plan(base.Selection(security_only=True))
        for call in self.fake.said():
            self.assertNotRegex(call, "freebsd|audit")


class Steps(Case):
    def test_refresh_tells_which_part_failed(self) -> None:
        for words in (PKG + "update", PKG + "audit -F -q", UPDATE + "fetch"):
            self.fake.expect(words)
        self.manager.refresh(1100.0)
        self.assertEqual(set(self.fake.deadlines[:2]), {100.0})
        self.assertEqual(self.manager.audit_fault, "")
        self.fake.expect(PKG + "audit -F -q", (1, "", "pkg: cannot fetch vuln.xml\n"))
        self.manager.refresh(1100.0)
        self.assertEqual(self.manager.audit_fault, "pkg audit: pkg: cannot fetch vuln.xml")
        for words in (UPDATE + "fetch", PKG + "update"):
            self.fake.expect(words, (1, "", "x failed\n"))
            with self.assertRaisesRegex(base.ManagerError, words.split("/")[-1][-5:]):
                self.manager.refresh(1100.0)

    def test_a_held_database_means_locked(self) -> None:
        self.fake.expect(RUN, (1, "", "pkg: Cannot get an advisory lock on a database, it is "
                                      "locked by another process\n"))
        plan = base.Plan(install=(base.Package("qv-sec", "1.0", "1.0_1"),))
        with self.assertRaises(base.Locked):
            self.manager.commit(plan, 2000.0)
        self.fake.expect(RUN, (3, "", "pkg: no space\n"))
        with self.assertRaisesRegex(base.ManagerError, "no space .exit code 3"):
            self.manager.commit(plan, 2000.0)

    def test_download_ends_with_the_window(self) -> None:
        plan = base.Plan(install=(base.Package("qv-sec", "1.0", "1.0_1"),), excluded=("x",))
        self.fake.expect(RUN + " -F -- qv-sec")
        self.manager.download(plan, 1300.0)
        self.assertEqual((self.fake.deadlines, self.fake.logged), ([300.0], [False]))
        self.manager.download(base.Plan(install=(base.Package("base", "1", "2"),)), 1300.0)
        self.assertEqual(len(self.fake.calls), 1)

    def test_a_database_that_does_not_answer_is_broken(self) -> None:
        self.assertEqual(self.manager.broken(), "")
        self.fake.expect(PKG + "query %n", (1, "", "pkg: sqlite error\n"))
        for step in (self.manager.broken, lambda: self.manager.recover(2000.0)):
            with self.assertRaisesRegex(base.ManagerError, "sqlite error"):
                step()

    def test_configuration_that_waits_for_the_administrator_is_found(self) -> None:
        for name in ("usr/local/etc/a.conf.pkgnew", "etc/b.pkgsave", "etc/c"):
            self.write(name, "")
        self.assertEqual(sorted(self.manager.leftovers()),
                         ["/etc/b.pkgsave", "/usr/local/etc/a.conf.pkgnew"])

    def test_the_bootstrap_is_never_started(self) -> None:
        self.world = self.world._replace(root=self.root + "/usr")
        with self.assertRaisesRegex(base.Unsupported, "pkg bootstrap"):
            pkg.Pkg(self.world).program("pkg")

    def test_lists_in_another_form_are_errors(self) -> None:
        for text in ("a 1\n", "a 1 2\n", "pkg: x\n"):
            with self.assertRaisesRegex(base.ManagerError, "unknown form"):
                pkg_text.parse_installed(text)
        self.assertIsNone(pkg_text.parse_audit("pkg: vulnxml file vuln.xml does not exist\n"))
        self.assertEqual(settle.NO_METADATA % "x", "no security metadata: x cannot tell which "
                                                   "updates are security updates")
