# SPDX-License-Identifier: BSD-2-Clause
"""pkg and freebsd-update: command lines, environment, and what their real outputs mean.

The outputs are those of the transcripts, changed only where a test says how.
"""

import os
from typing import List

from qualvosec.helper.managers import base
from qualvosec.helper.managers import freebsd_base
from qualvosec.helper.managers import pkg
from qualvosec.helper.managers import pkg_text
from qualvosec.helper.managers import settle

from tests import fakemanager
from tests import replay

PKG = "/usr/local/sbin/pkg "
UPDATE = "/usr/sbin/freebsd-update --not-running-from-cron "
READY = "/usr/sbin/freebsd-update updatesready"
WHICH = PKG + "which -q /usr/bin/uname"
INSTALLED = ["/usr/local/sbin/pkg", "query", "%n %v %k"]
BEHIND = PKG + "version -vRUL="
DRY = PKG + "upgrade -n -U"
RUN = PKG + "upgrade -y -U"
SEVEN = ["curl", "git", "libxml2", "nginx", "postgresql15-server", "py311-setuptools", "tmux"]


class Case(fakemanager.Case):
    programs = ("usr/local/sbin/pkg", "usr/sbin/pkg", "usr/sbin/freebsd-update",
                "bin/freebsd-version")
    environment = dict(fakemanager.ENVIRONMENT, ASSUME_ALWAYS_YES="yes", PAGER="cat")
    version = "pkg-2.8"

    def setUp(self) -> None:
        super().setUp()
        # A question of `update` is never answered with yes.
        self.fake.environments[PKG + "update"] = dict(fakemanager.ENVIRONMENT, PAGER="cat")
        self.manager = pkg.Pkg(self.world)
        self.use("updates")
        self.releases("14.1-RELEASE-p5", "14.1-RELEASE-p5", "14.1-RELEASE-p5")

    def use(self, situation: str, phase: int = 1) -> None:
        """Answer as in that transcript."""
        name = situation if situation.startswith("freebsd-update") else (
            self.version + "/" + situation)
        for call in replay.load("freebsd/" + name)["calls"]:
            program = {"pkg": PKG.strip(), "freebsd-update": "/usr/sbin/freebsd-update"}.get(
                call["argv"][0], "/bin/" + call["argv"][0])
            if call["phase"] == phase and "ASSUME_ALWAYS_YES" in call["env"]:
                self.fake.expect([program] + call["argv"][1:],
                                 (call["rc"], call["stdout"], call["stderr"]))

    def change(self, old: str, new: str, words: str = DRY) -> None:
        """Change what a command says."""
        code, out, err = self.fake.answers[tuple(words.split())]
        self.assertIn(old, out)
        self.fake.expect(words, (code, out.replace(old, new), err))

    def releases(self, kernel: str, userland: str, running: str) -> None:
        for option, release in (("k", kernel), ("u", userland), ("r", running)):
            self.fake.expect("/bin/freebsd-version -" + option, release + "\n")

    def changes(self) -> List[str]:
        """Return the command lines that change something, in order."""
        return [call for call in self.fake.said() if call.startswith(RUN) or "install" in call]


class Plans(Case):
    def test_everything_is_one_simulation_without_names(self) -> None:
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.install), sorted(SEVEN + ["libnghttp2"]))
        self.assertIn(base.Package("libnghttp2", "", "1.62.1"), plan.install)
        self.assertEqual((plan.left, self.names(plan.pending)), ((), SEVEN))
        self.assertEqual([call for call in self.fake.said() if "upgrade" in call], [DRY])

    def test_what_is_locked_is_kept_back_and_said_to_be_locked(self) -> None:
        self.use("locked")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.why(plan), dict.fromkeys(
            ("libxml2", "postgresql15-server"), (base.KEPT, pkg.LOCKED)))

    def test_blacklist_is_the_list_of_the_others(self) -> None:
        self.use("leave-one-out")
        plan = self.manager.plan(base.Selection(exclude=("libxml*",)))
        self.assertEqual(self.why(plan), {"libxml2": (base.POLICY, "in packages_blacklist")})
        rest = " -- " + " ".join(name for name in SEVEN if name != "libxml2")
        self.manager.commit(plan, 2000.0)
        self.assertEqual(self.changes(), [RUN + rest])

    def test_what_pulls_in_something_excluded_is_left_out_as_well(self) -> None:
        self.use("leave-one-out")
        rest = " -- " + " ".join(name for name in SEVEN if name != "libxml2")
        self.fake.expect(DRY + rest, self.fake.answers[tuple(DRY.split())])
        both = ("The following 2 package(s) will be affected (of 0 checked):\n\n"
                "Installed packages to be UPGRADED:\n\tgit: 2.45.2 -> 2.46.0\n"
                "\tlibxml2: 2.11.8 -> 2.11.9\n\nNumber of packages to be upgraded: 2\n")
        self.fake.expect(DRY + " -- git", both)
        left = " -- curl nginx postgresql15-server py311-setuptools tmux"
        self.fake.expect(DRY + left, self.fake.answers[tuple((DRY + " -- curl").split())])
        plan = self.manager.plan(base.Selection(exclude=("libxml2",)))
        self.assertEqual(self.why(plan)["git"], (base.KEPT, settle.NEEDS_EXCLUDED + ": libxml2"))

    def test_whitelist_names_what_it_matches_and_leaves_base_alone(self) -> None:
        self.use("only-one")
        self.fake.expect(READY)
        plan = self.manager.plan(base.Selection(only=("cur*",)))
        self.assertEqual(plan.install, (base.Package("curl", "8.8.0", "8.8.0_1"),))
        self.assertEqual(self.why(plan)["base"], (base.POLICY, "not in packages_whitelist"))

    def test_what_would_be_installed_again_counts_against_the_blacklist(self) -> None:
        self.use("reinstall")
        for exclude in ("tool", "py311-*"):
            plan = self.manager.plan(base.Selection(exclude=(exclude,)))
            self.assertEqual(self.names(plan.install), ["plain"])
            self.fake.expect(RUN + " -- plain")
            self.manager.commit(plan, 2000.0)
        self.assertEqual(self.changes(), [RUN + " -- plain"] * 2)

    def test_security_only_takes_what_audit_finds_and_all_of_base(self) -> None:
        self.use("audit-hits")
        self.fake.expect(READY)
        plan = self.manager.plan(base.Selection(security_only=True))
        self.assertEqual([(row.name, row.security) for row in plan.install], [
            ("base", True), ("curl", True), ("libnghttp2", False), ("nginx", True),
            ("py311-setuptools", True)])

    def test_packages_of_the_base_system_are_security_updates(self) -> None:
        self.use("pkgbase")
        self.fake.expect(PKG + "audit -q", "")
        plan = self.manager.plan(base.Selection(security_only=True))
        self.assertEqual(self.names(plan.install), [
            "FreeBSD-kernel-generic", "FreeBSD-runtime", "FreeBSD-utilities"])
        self.assertIsNotNone(self.manager.plan(base.Selection()).pending[-1])

    def test_audit_without_data_is_unsupported_and_a_fault_is_a_fault(self) -> None:
        for situation, kind in (("audit-no-data", base.Unsupported),
                                ("audit-broken-data", base.ManagerError)):
            self.use(situation)
            with self.assertRaises(base.ManagerError) as caught:
                self.manager.plan(base.Selection(security_only=True))
            self.assertIs(type(caught.exception), kind)
        self.assertFalse(self.manager.plan(base.Selection(), detail=True).security_known)

    def test_security_only_with_stale_data_is_a_fault(self) -> None:
        self.use("audit-no-data")
        self.manager.refresh(2000.0)
        with self.assertRaisesRegex(base.ManagerError, "cannot fetch vulnxml"):
            self.manager.plan(base.Selection(security_only=True))

    def test_what_needs_a_removal_is_left_out_by_name(self) -> None:
        self.use("conflict-removes")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.why(plan)["swap"], (base.KEPT, "needs the removal of old"))
        self.assertEqual(self.names(plan.install), ["plain"])

    def test_what_pkg_gives_up_because_of_a_conflict_is_kept_back_with_it(self) -> None:
        self.use("vital")
        plan = self.manager.plan(base.Selection())
        kind, why = self.why(plan)["xxd"]
        self.assertEqual(kind, base.KEPT)
        self.assertIn("doas-6.3p12 conflicts with sudo-1.9.15p5_4", why)

    def test_what_only_another_repository_has_is_no_update_but_told(self) -> None:
        self.use("two-repositories-priority")
        self.fake.expect(BEHIND, "extra-1.0    <   needs updating (remote has 1.1)\n")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.pending), ["lib", "plain", "sec"])
        self.assertEqual((plan.left, plan.warnings), ((), (pkg.IDLE % "extra",)))

    def test_nothing_is_asked_about_no_packages(self) -> None:
        self.use("no-packages")
        self.assertEqual(self.manager.plan(base.Selection()).pending, ())

    def test_an_error_of_the_dry_run_is_told(self) -> None:
        self.fake.expect(DRY, (1, "", "pkg: No packages available\n"))
        with self.assertRaisesRegex(base.ManagerError, "No packages available"):
            self.manager.plan(base.Selection())

    def test_pkg_itself_goes_first_and_is_asked_again(self) -> None:
        self.use("own-update-first")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.install), ["app", "lib", "pkg", "plain"])
        self.fake.expect(RUN)
        self.manager.commit(plan, 2000.0)
        self.assertEqual(self.changes(), [RUN + " -- pkg", RUN])
        self.use("conflict-removes")
        with self.assertRaisesRegex(base.ManagerError, "would not keep to the plan: old"):
            self.manager.commit(plan, 2000.0)

    def test_an_older_pkg_shows_nothing_but_itself(self) -> None:
        self.use("own-update-first")
        self.change("4 package(s)", "1 package(s)")
        self.change("upgraded: 4", "upgraded: 1")
        for name in ("app", "lib", "plain"):
            self.change("\t%s: 1.0 -> 2.0\n" % name, "")
        self.change("The following", pkg_text.SELF + "; it needs to be installed first.\n"
                    "The following")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.install), ["app", "lib", "pkg", "plain"])

    def test_a_script_that_failed_is_told_though_pkg_ends_with_0(self) -> None:
        self.use("failing-script")
        self.manager.commit(self.manager.plan(base.Selection()), 2000.0)
        self.assertEqual(self.manager.notes, ["pkg: POST-INSTALL script failed"])

    def test_names_are_names(self) -> None:
        for name in ("-y", "a/b", "$(x)"):
            with self.assertRaisesRegex(base.ManagerError, "cannot exist"):
                pkg_text.parse_changes("New packages to be INSTALLED:\n\t%s: 1.0\n" % name)


class OlderPlans(Plans):
    """The same with pkg 1.21, which ends with 1 where there is something to do."""

    version = "pkg-1.21"

    def test_what_pkg_gives_up_because_of_a_conflict_is_kept_back_with_it(self) -> None:
        self.use("vital")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.why(plan)["xxd"], (base.KEPT, "needs the removal of sudo"))


class Announced(Case):
    """What pkg announces must have been read."""

    def test_less_or_more_than_announced_is_a_failure_with_both_numbers(self) -> None:
        for old, new, words in (
                ("\tcurl: 8.8.0 -> 8.8.0_1\n", "", "7 packages to be upgraded, 6 can"),
                ("\tcurl: 8.8.0 -> 8.8.0_1\n", "\tcurl: 8.8.0 -> 8.8.0_1\n\tx: 1 -> 2\n",
                 "7 packages to be upgraded, 8 can"),
                ("\tlibnghttp2: 1.62.1\n", "", "1 packages to be installed, 0 can"),
                ("be upgraded: 7", "be upgraded: 8", "8 packages to be upgraded, 7 can"),
                ("Number of packages to be upgraded: 7\n", "", "0 packages to be upgraded, 7 can"),
                ("following 8 package(s)", "following 9 package(s)", "announces 9 packages, 8 can"),
                ("Number of packages to be upgraded: 7\n", "Number of packages to be upgraded: 7\n"
                 "Number of packages to be removed: 2\n", "2 packages to be removed, 0 can")):
            self.use("updates")
            self.change(old, new)
            with self.assertRaisesRegex(base.ManagerError, words):
                self.manager.plan(base.Selection())

    def test_another_form_is_a_failure(self) -> None:
        for words, old, new in (
                (DRY, "curl: 8.8.0 -> 8.8.0_1", "curl 8.8.0 to 8.8.0_1"),
                (DRY, "packages to be UPGRADED:", "packages which get UPGRADED:"),
                (DRY, "\ttmux: ", "\t-tmux: "), (DRY, "\tgit: 2.45.2 ->", "\tgit 2.45.2 =>"),
                (DRY, "\tgit: 2.45.2 -> 2.46.0", "\tgit: 2.45.2 (new) 2.46.0 x"),
                (BEHIND, "needs updating", "wants updating"),
                (BEHIND, "(remote has 3.4)", "(there is 3.4)"),
                (BEHIND, "tmux-3.3a ", "tmux 3.3a ")):
            self.use("updates")
            self.change(old, new, words)
            with self.assertRaises(base.ManagerError, msg=old):
                self.manager.plan(base.Selection())

    def test_silence_is_not_up_to_date(self) -> None:
        self.use("nothing")
        self.assertEqual(self.manager.plan(base.Selection()).pending, ())
        self.change("Your packages are up to date.\n", "")
        with self.assertRaisesRegex(base.ManagerError, "unknown form"):
            self.manager.plan(base.Selection())

    def test_a_heading_that_nobody_knows_is_a_removal(self) -> None:
        got = pkg_text.parse_changes("The following 1 package(s) will be affected:\n\n"
                                     "Installed packages to be MOVED:\n\tx: 1\n\n"
                                     "Number of packages to be moved: 1\n")
        self.assertEqual(got.removed, ("x",))


class Base(Case):
    def test_base_comes_first_and_reports_both_versions(self) -> None:
        self.use("freebsd-update-kernel-and-world")
        self.use("updates")
        self.fake.expect(UPDATE + "fetch", replay.said(
            "freebsd/freebsd-update-kernel-and-world", "freebsd-update " + UPDATE.split()[1]
            + " fetch"))
        self.releases("14.1-RELEASE-p5", "14.1-RELEASE-p5", "14.1-RELEASE-p5")
        self.manager.refresh(2000.0)
        self.fake.expect(READY)
        plan = self.manager.plan(base.Selection())
        self.assertIn(base.Package("base", "14.1-RELEASE-p5", "14.1-RELEASE-p6", True),
                      plan.pending)
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
        self.assertEqual(len(plan.install), 8)
        plan = self.manager.plan(base.Selection(only=("base",)))
        self.assertEqual(self.names(plan.install), ["base"])

    def test_base_made_of_packages_is_updated_by_pkg_first(self) -> None:
        self.use("pkgbase")
        of_base = " -- FreeBSD-kernel-generic FreeBSD-runtime FreeBSD-utilities"
        plan = self.manager.plan(base.Selection())
        self.fake.expect(RUN)
        self.manager.commit(plan, 2000.0)
        self.assertEqual(self.changes(), [RUN + of_base, RUN])
        self.assertNotIn(READY, self.fake.said())
        self.assertEqual(self.manager.reboot_reasons(), ["FreeBSD-kernel-generic was upgraded"])
        self.fake.expect(DRY + " -- curl tmux", replay.said(
            "freebsd/pkg-2.8/pkgbase", "pkg upgrade -y -U")[1].partition("[1/2]")[0])
        plan = self.manager.plan(base.Selection(exclude=("base",)))
        self.assertEqual(self.names(plan.install), ["curl", "tmux"])

    def test_a_jail_is_patched_within_its_own_release(self) -> None:
        self.use("freebsd-update-jail")
        own = UPDATE + "--currently-running 14.1-RELEASE-p5 "
        for command in ("fetch", "install"):
            self.fake.expect(own + command, self.fake.answers[tuple((own + command).split())])
        self.manager.refresh(2000.0)
        plan = self.manager.plan(base.Selection())
        self.assertEqual(plan.install, (
            base.Package("base", "14.1-RELEASE-p5", "14.1-RELEASE-p6", True),))
        self.manager.commit(plan, 2000.0)
        self.assertEqual(self.changes(), [own + "install"])

    def test_a_base_that_is_older_than_its_host_is_patched_within_its_own_release(self) -> None:
        self.releases("14.3-RELEASE-p2", "14.1-RELEASE-p5", "14.3-RELEASE-p2")
        self.fake.expect(UPDATE + "--currently-running 14.1-RELEASE-p5 fetch", "")
        self.manager.refresh(2000.0)

    def test_another_release_is_never_gone_to(self) -> None:
        self.use("freebsd-update-jail")
        self.releases("14.1-RELEASE-p5", "14.1-RELEASE-p5", "14.1-RELEASE-p5")
        with self.assertRaisesRegex(base.Refused, "from 14.1-RELEASE-p5 to 14.3-RELEASE-p6"):
            self.manager.refresh(2000.0)

    def work(self, *names: str) -> None:
        """Make an install of freebsd-update that is waiting, with these marks."""
        for name in ("INDEX-NEW",) + names:
            self.write("var/db/freebsd-update/install.x/" + name, "")
        link = self.root + "/var/db/freebsd-update/0f-install"
        if not os.path.islink(link):
            os.symlink("install.x", link)

    def test_an_install_that_was_cut_off_is_broken_until_it_is_finished(self) -> None:
        self.work()
        self.assertEqual(self.manager.broken(), "")
        self.work("kerneldone")
        self.assertEqual(self.manager.broken(), freebsd_base.CUT)
        self.fake.expect(UPDATE + "install")
        with self.assertRaisesRegex(base.ManagerError, "cut off between kernel and world"):
            self.manager.recover(2000.0)
        self.fake.before = lambda argv: "install" in argv and os.path.islink(
            self.root + "/var/db/freebsd-update/0f-install") and os.unlink(
            self.root + "/var/db/freebsd-update/0f-install") or None
        self.manager.recover(2000.0)
        self.assertEqual((self.manager.broken(), self.fake.logged[-2]), ("", True))
        self.assertIn(freebsd_base.FINISHED, self.manager.plan(base.Selection()).warnings)

    def test_an_upgrade_that_an_administrator_has_prepared_is_left_alone(self) -> None:
        for marks in (("kernelfirst",), ("kernelfirst", "kerneldone")):
            self.work(*marks)
            self.fake.expect(READY)
            self.assertEqual(self.manager.broken(), "")
            self.manager.refresh(2000.0)
            plan = self.manager.plan(base.Selection())
            self.assertEqual(self.why(plan), {"base": (base.KEPT, freebsd_base.PREPARED)})
            self.assertEqual(len(plan.install), 8)
            self.assertEqual(self.manager.plan(base.Selection(exclude=("base",))).left, ())
        self.assertFalse([call for call in self.fake.said() if "freebsd-update" in call])

    def test_the_end_of_life_is_told_before_and_after(self) -> None:
        fetch = UPDATE + "fetch"
        words = "freebsd-update --not-running-from-cron fetch"
        self.fake.expect(fetch, replay.said("freebsd/freebsd-update-end-of-life-near", words))
        self.manager.refresh(2000.0)
        self.assertIn("is approaching its End-of-Life date",
                      self.manager.plan(base.Selection()).warnings[0])
        self.fake.expect(fetch, replay.said("freebsd/freebsd-update-end-of-life-past", words))
        self.manager.refresh(2000.0)
        plan = self.manager.plan(base.Selection())
        self.assertIn("has passed its end of life", self.why(plan)["base"][1])
        self.assertEqual(len(plan.install), 8)
        self.fake.expect(READY)
        plan = self.manager.plan(base.Selection())
        self.assertIn("base", self.names(plan.install))
        self.assertIn("has passed its end of life", plan.warnings[-1])

    def test_files_that_were_changed_locally_are_told(self) -> None:
        self.fake.expect(UPDATE + "fetch", replay.said(
            "freebsd/freebsd-update-locally-modified",
            "freebsd-update --not-running-from-cron fetch"))
        self.manager.refresh(2000.0)
        self.assertEqual(self.manager.plan(base.Selection()).warnings,
                         (freebsd_base.CHANGED % "/etc/ntp.conf, /etc/ssh/sshd_config",))

    def test_what_is_no_release_says_that_base_is_not_served(self) -> None:
        self.releases("15.0-CURRENT", "15.0-CURRENT", "15.0-CURRENT")
        plan = self.manager.plan(base.Selection())
        self.assertIn("base: freebsd-update serves releases only, this is 15.0-CURRENT",
                      plan.warnings)
        self.assertNotIn(READY, self.fake.said())

    def test_without_root_the_packages_are_listed_and_base_is_said_to_be_unknown(self) -> None:
        self.fake.expect(READY, (1, "", "cd: /var/db/freebsd-update: Permission denied\n"))
        plan = self.manager.plan(base.Selection())
        self.assertIn("curl", self.names(plan.install))
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
        self.assertEqual((len(plan.install), plan.security_known), (8, False))
        self.assertIsNone(manager.reboot_reasons())
        with self.assertRaisesRegex(base.Unsupported, "no security metadata"):
            manager.plan(base.Selection(security_only=True))
        for call in self.fake.said():
            self.assertNotRegex(call, "freebsd|audit")


class Steps(Case):
    def test_refresh_tells_which_part_failed(self) -> None:
        self.manager.refresh(1100.0)
        self.assertEqual(set(self.fake.deadlines[:2]), {100.0})
        self.assertEqual(self.manager.audit_fault, "")
        self.use("audit-no-data")
        self.manager.refresh(1100.0)
        self.assertIn("cannot fetch vulnxml file", self.manager.audit_fault)
        for situation, words in (
                ("one-of-two-down", "Unable to update repository vendor; pkg: file:///srv/repo2"),
                ("repository-gone", "pkg: file:///srv/repo/meta.txz: No such file"),
                ("wrong-abi", "FreeBSD:15:amd64 instead of FreeBSD:14:amd64"),
                ("corrupt-catalogue", "Repo extraction failed"),
                ("no-repository", "No active remote repositories configured"),
                ("freebsd-update-mirrors-down", "No mirrors remaining"),
                ("freebsd-update-mirror-behind", "14.1-RELEASE-p5. appear older than what we are")):
            self.use("updates")
            self.use(situation)
            with self.assertRaisesRegex(base.ManagerError, words):
                self.manager.refresh(1100.0)

    def test_a_repository_that_has_moved_is_no_complaint(self) -> None:
        # As pkg says it, libpkg/repo/binary/init.c, when the address in its configuration changes.
        code, out, err = self.fake.answers[tuple((PKG + "update").split())]
        self.fake.expect(PKG + "update", (code, out, err + "pkg: Repository FreeBSD has a wrong "
                                          "packagesite, need to re-create database\n"))
        self.manager.refresh(2000.0)

    def test_a_catalogue_for_a_newer_system_is_refused_by_answering_no(self) -> None:
        calls = replay.load("freebsd/pkg-2.8/newer-osversion")["calls"]
        call = [each for each in calls if each["argv"] == ["pkg", "update", "-f"]][0]
        self.fake.expect(PKG + "update", (call["rc"], call["stdout"], call["stderr"]))
        with self.assertRaisesRegex(base.ManagerError, "package: 1403000.*wrong OS version"):
            self.manager.refresh(2000.0)

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
