# SPDX-License-Identifier: BSD-2-Clause
"""pkgin and pkg_admin: command lines, and what their real outputs mean.

Every output of pkgin is one of the transcripts, changed only where a test says how.
"""

from qualvosec.helper.managers import base
from qualvosec.helper.managers import pkgin
from qualvosec.helper.managers import pkgin_text
from qualvosec.helper.managers import settle

from tests import fakemanager
from tests import replay

PKGIN = "/usr/pkg/bin/pkgin "
AUDIT = "/usr/sbin/pkg_admin audit"
FETCH = "/usr/sbin/pkg_admin fetch-pkg-vulnerabilities"
PS = "/bin/ps -A -o pid= -o comm="
LIST = "/usr/sbin/pkg_info"


class Case(fakemanager.Case):
    programs = ("usr/pkg/bin/pkgin", "usr/sbin/pkg_info", "usr/sbin/pkg_admin", "bin/ps")

    def setUp(self) -> None:
        super().setUp()
        self.manager = pkgin.Pkgin(self.world)
        self.fake.expect(PS, "    1 init\n  400 /usr/sbin/cron\n")
        self.fake.expect(LIST + " -u", "curl-8.8.0 x\nnginx-1.26.0 x\ntmux-3.3anb1 x\n")
        self.use("updates")

    def use(self, situation: str) -> None:
        """Answer as in that transcript."""
        name = "netbsd/pkgin-" + situation
        for call in replay.load(name)["calls"]:
            program = {"pkgin": PKGIN.strip(), "pkg_info": LIST}.get(
                call["argv"][0], "/usr/sbin/" + call["argv"][0])
            words = " ".join([program] + call["argv"][1:])
            if call["phase"] == 1:
                self.fake.expect(words, (call["rc"], call["stdout"], call["stderr"]))

    def change(self, old: str, new: str, words: str = "-n upgrade") -> None:
        """Change what a dry run says."""
        argv = tuple((PKGIN + words).split())
        code, out, err = self.fake.answers[argv]
        self.assertIn(old, out)
        self.fake.expect(argv, (code, out.replace(old, new), err))

    def came(self, situation: str) -> None:
        """Answer for what is installed first as before and then as after the run."""
        self.fake.expect(LIST, [replay.said("netbsd/pkgin-" + situation, "pkg_info", number)
                                for number in (0, -1)])


class Plans(Case):
    def test_everything_and_what_it_needs(self) -> None:
        plan = self.manager.plan(base.Selection())
        self.assertEqual(plan.install, (
            base.Package("curl", "8.8.0", "8.8.0nb1"),
            base.Package("gtk3+", "3.24.41", "3.24.43nb3"),
            base.Package("libxml2", "2.12.6nb2", "2.12.7"),
            base.Package("nginx", "1.26.0", "1.26.2"), base.Package("pcre2", "", "10.44"),
            base.Package("py311-lxml", "4.9.4", "5.2.2"), base.Package("tmux", "3.3anb1", "3.4")))
        self.assertEqual((plan.warnings, plan.left), ((pkgin.NO_BASE,), ()))
        self.came("updates")
        self.manager.installed()
        self.manager.commit(plan, 2000.0)
        self.assertEqual(self.fake.said()[-2:], [PKGIN + "-y upgrade", LIST])
        self.assertEqual((self.fake.logged[-2], self.fake.deadlines[-2]), (True, None))

    def test_blacklist_is_the_list_of_the_others_less_what_pulls_it_in(self) -> None:
        self.use("leave-one-out")
        plan = self.manager.plan(base.Selection(exclude=("libxml2",)))
        self.assertEqual(self.names(plan.install), ["curl", "gtk3+", "nginx", "pcre2", "tmux"])
        self.assertEqual(self.why(plan)["py311-lxml"],
                         (base.KEPT, settle.NEEDS_EXCLUDED + ": libxml2"))
        self.manager.download(plan, 1300.0)
        self.assertEqual(self.fake.deadlines[-1], 300.0)

    def test_what_was_installed_as_a_dependency_only_stays_marked_so(self) -> None:
        self.use("leave-one-out")
        plan = self.manager.plan(base.Selection(exclude=("libxml2",)))
        self.came("leave-one-out")
        marks = "/usr/sbin/pkg_admin set automatic=YES gtk3+-3.24.43nb3"
        self.fake.expect(marks)
        self.manager.commit(plan, 2000.0)
        self.assertEqual(self.fake.said()[-2:], [LIST, marks])
        self.came("leave-one-out")
        self.fake.expect(marks, (1, "", "pkg_admin: no\n"))
        with self.assertRaisesRegex(base.ManagerError, "automatic=YES: pkg_admin: no"):
            self.manager.commit(plan, 2000.0)

    def test_security_only_takes_what_audit_finds(self) -> None:
        self.use("audit-hits")
        plan = self.manager.plan(base.Selection(security_only=True))
        self.assertEqual(plan.install, (
            base.Package("curl", "8.8.0", "8.8.0nb1", True),
            base.Package("nginx", "1.26.0", "1.26.2", True), base.Package("pcre2", "", "10.44")))

    def test_security_only_without_data_is_unsupported_and_a_fault_is_a_fault(self) -> None:
        for text, kind in (("pkg_admin: Cannot open /usr/pkg/pkgdb/pkg-vulnerabilities\n",
                            base.Unsupported), ("pkg_admin: no memory\n", base.ManagerError)):
            self.fake.expect(AUDIT, (1, "", text))
            with self.assertRaises(base.ManagerError) as caught:
                self.manager.plan(base.Selection(security_only=True))
            self.assertIs(type(caught.exception), kind, text)
        self.fake.expect(AUDIT, "")
        self.manager.audit_fault = "pkg_admin: x"
        with self.assertRaisesRegex(base.ManagerError, "pkg_admin: x"):
            self.manager.plan(base.Selection(security_only=True))

    def test_what_would_be_removed_stays_and_is_named(self) -> None:
        self.use("superseded")
        names = "curl gtk3+ libxml2 nginx py311-lxml tmux"
        for exclude in ((), ("ImageMagick",)):
            plan = self.manager.plan(base.Selection(exclude=exclude))
            self.assertEqual(self.names(plan.install), sorted(names.split() + ["pcre2"]))
            self.fake.expect(PKGIN + "-y -d install " + names)
            self.manager.download(plan, 1300.0)
        self.assertEqual([left.name for left in plan.left], [])
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.why(plan)["ImageMagick"],
                         (base.KEPT, "would be removed for GraphicsMagick"))

    def test_a_downgrade_that_is_called_an_upgrade_stays_and_is_named(self) -> None:
        self.change("tmux-3.4", "tmux-3.2")
        rest = "-n install curl gtk3+ libxml2 nginx py311-lxml"
        self.fake.expect(PKGIN + rest, self.fake.answers[tuple((PKGIN + "-n upgrade").split())])
        self.change("tmux-3.2\n", "", rest)
        self.change("6 packages", "5 packages", rest)
        self.change("6 to upgrade", "5 to upgrade", rest)
        plan = self.manager.plan(base.Selection())
        self.assertNotIn("tmux", self.names(plan.install))
        self.assertEqual(self.why(plan)["tmux"], (base.KEPT, pkgin_text.OLDER))

    def test_the_tools_come_first_and_the_rest_in_the_same_run(self) -> None:
        self.use("own-update-first")
        for selection in (base.Selection(), base.Selection(only=("curl",)),
                          base.Selection(security_only=True)):
            plan = self.manager.plan(selection)
            self.assertEqual(self.names(plan.install), ["pkg_install", "pkgin"])
            self.assertIn(pkgin.TOOLS_FIRST, plan.warnings)
        with self.assertRaisesRegex(base.Refused, "tells of no other update before its own"):
            self.manager.plan(base.Selection(exclude=("pkgin",)))

    def test_a_tool_that_stays_old_after_its_update_is_a_failure(self) -> None:
        self.use("own-update-first")
        plan = self.manager.plan(base.Selection())
        with self.assertRaisesRegex(base.ManagerError, "not installed: pkg_install, pkgin"):
            self.manager.commit(plan, 2000.0)

    def test_answers_in_another_form_are_errors(self) -> None:
        self.change("tmux-3.4", "-x-1")
        with self.assertRaisesRegex(base.ManagerError, "cannot exist"):
            self.manager.plan(base.Selection())
        self.fake.expect(LIST, "something\n")
        for step in (self.manager.installed, self.manager.broken):
            with self.assertRaisesRegex(base.ManagerError, "cannot exist"):
                step()


class Announced(Case):
    """What pkgin announces must have been read."""

    def test_less_or_more_than_announced_is_a_failure_with_both_numbers(self) -> None:
        for old, new, words in (
                ("curl-8.8.0nb1\n", "", "6 packages to upgrade, 5 of them"),
                ("curl-8.8.0nb1\n", "curl-8.8.0nb1\nbash-1\n", "6 packages to upgrade, 7 of them"),
                ("6 packages", "7 packages", "7 packages to upgrade, 6 of them"),
                ("6 to upgrade", "5 to upgrade", "6 packages to upgrade, 6 of them"),
                ("pcre2-10.44\n", "", "1 packages to install, 0 of them"),
                ("0 to remove", "1 to remove", "1 packages to remove, 0 of them"),
                ("1 package to install:\npcre2-10.44\n", "", "1 packages to install, 0 of them")):
            self.use("updates")
            self.change(old, new)
            with self.assertRaisesRegex(base.ManagerError, words):
                self.manager.plan(base.Selection())

    def test_another_form_is_a_failure(self) -> None:
        summary = "0 to remove, 0 to refresh, 6 to upgrade, 1 to install"
        for old, new in (("6 packages to upgrade:", "6 packages to be upgraded:"),
                         ("1 package to install:", "1 package to fetch:"), (summary, ""),
                         (summary, "6 to upgrade, 1 to install"), ("curl-8.8.0nb1", "curl"),
                         ("curl-8.8.0nb1", "curl 8.8.0nb1"), ("tmux-3.4", "screen-3.4")):
            self.use("updates")
            self.change(old, new)
            with self.assertRaises(base.ManagerError):
                self.manager.plan(base.Selection())

    def test_silence_is_not_nothing_to_do(self) -> None:
        self.use("nothing")
        self.assertEqual(self.manager.plan(base.Selection()).pending, ())
        self.change("nothing to do.\n", "")
        with self.assertRaisesRegex(base.ManagerError, "without a summary"):
            self.manager.plan(base.Selection())


class Steps(Case):
    def test_refresh_tells_which_part_failed(self) -> None:
        self.fake.expect(FETCH, (1, "", "pkg_admin: cannot fetch\n"))
        self.manager.refresh(1060.0)
        self.assertEqual((self.manager.audit_fault, self.fake.deadlines),
                         ("pkg_admin: pkg_admin: cannot fetch", [60.0, 60.0]))
        self.use("repository-gone")
        with self.assertRaisesRegex(base.ManagerError, "Could not fetch file:///srv/repo"):
            self.manager.refresh(1060.0)

    def test_a_failed_run_names_what_did_not_come(self) -> None:
        self.use("failing-pkg_add")
        plan = self.manager.plan(base.Selection())
        self.came("failing-pkg_add")
        self.manager.installed()
        with self.assertRaisesRegex(base.ManagerError, "not installed: curl"):
            self.manager.commit(plan, 2000.0)
        self.use("updates")
        with self.assertRaisesRegex(base.ManagerError, "not installed: curl, gtk3"):
            self.manager.commit(plan, 2000.0)

    def test_who_else_changes_packages_is_waited_for(self) -> None:
        plan = self.manager.plan(base.Selection())
        for program in ("pkgin", "/usr/sbin/pkg_add", "pkg_delete"):
            self.fake.expect(PS, "    1 init\n  812 %s\n" % program)
            self.assertIn("is running as process 812", self.manager.busy())
            with self.assertRaises(base.Locked):
                self.manager.commit(plan, 2000.0)
        self.assertNotIn(PKGIN + "-y upgrade", self.fake.said())

    def test_what_the_system_cannot_tell_is_unknown(self) -> None:
        self.assertIsNone(self.manager.reboot_reasons())
        self.assertEqual((self.manager.leftovers(), self.manager.busy()), ({}, ""))


class Versions(fakemanager.Case):
    def test_versions_are_compared_as_pkgsrc_does(self) -> None:
        rising = ("1.0alpha1", "1.0beta2", "1.0rc1", "1.0", "1.0nb1", "1.0nb12", "1.0a", "1.0.2",
                  "1.0.2pl2", "1.2", "1.10", "20240101", "20250101")
        for place, first in enumerate(rising):
            for later, second in enumerate(rising):
                self.assertEqual(pkgin_text.older(first, second), place < later, (first, second))
        for same in (("1.0", "1.0.0"), ("1.0", "1_0"), ("1", "1.0"), ("1.0", "1.0pl")):
            self.assertFalse(pkgin_text.older(*same) or pkgin_text.older(*same[::-1]), same)

    def test_a_version_that_cannot_be_is_a_failure_of_the_run(self) -> None:
        for version in ("1.0nb\u00b2", "1.0nb" + "9" * 5000, "9" * 5000):
            with self.subTest(version[:8]), self.assertRaises(base.ManagerError):
                pkgin_text.older(version, "1.0")
