# SPDX-License-Identifier: BSD-2-Clause
"""pkgin and pkg_admin against stand-ins: command lines, documented answers, what is refused."""

from qualvosec.helper.managers import base
from qualvosec.helper.managers import pkgin
from qualvosec.helper.managers import settle

from tests import fakemanager

PKGIN = "/usr/pkg/bin/pkgin "
AUDIT = "/usr/sbin/pkg_admin audit"
FETCH = "/usr/sbin/pkg_admin fetch-pkg-vulnerabilities"


class Case(fakemanager.Case):
    folder = "pkgin"
    programs = ("usr/pkg/bin/pkgin", "usr/sbin/pkg_info", "usr/sbin/pkg_admin")

    def setUp(self) -> None:
        super().setUp()
        self.manager = pkgin.Pkgin(self.world)
        self.fake.expect("/usr/sbin/pkg_info", self.recorded("installed.txt"))
        self.fake.expect(PKGIN + "-n upgrade", self.recorded("all.txt"))
        self.fake.expect(AUDIT, (1, "Package curl-8.4.0 has a heap-overflow vulnerability, see "
                                    "https://example.org/\n", ""))


class Plans(Case):
    def test_everything_and_what_it_needs(self) -> None:
        plan = self.manager.plan(base.Selection())
        self.assertEqual(plan.install, (
            base.Package("bash", "5.2.21", "5.2.32"), base.Package("curl", "8.4.0", "8.9.1"),
            base.Package("nghttp2", "", "1.62"), base.Package("vim", "9.0.1", "9.1.0")))
        self.assertEqual(plan.warnings, (pkgin.NO_BASE,))
        self.fake.expect(PKGIN + "-y upgrade")
        self.manager.commit(plan, 2000.0)
        self.assertEqual((self.fake.logged[-1], self.fake.deadlines[-1]), (True, None))

    def test_blacklist_is_the_list_of_the_others_less_what_pulls_it_in(self) -> None:
        pulls = "2 packages to upgrade:\n  curl-8.9.1 vim-9.1.0\n"
        self.fake.expect(PKGIN + "-n install bash curl", pulls)
        self.fake.expect(PKGIN + "-n install curl", pulls)
        self.fake.expect(PKGIN + "-n install bash", "1 package to upgrade:\n  bash-5.2.32\n")
        plan = self.manager.plan(base.Selection(exclude=("vim",)))
        self.assertEqual(self.names(plan.install), ["bash"])
        self.assertEqual(self.why(plan)["curl"], (base.KEPT, settle.NEEDS_EXCLUDED))
        for words in ("-y -d install bash", "-y install bash"):
            self.fake.expect(PKGIN + words)
        self.manager.download(plan, 1300.0)
        self.manager.commit(plan, 2000.0)
        self.assertEqual(self.fake.deadlines[-2:], [300.0, None])

    def test_security_only_takes_what_audit_finds(self) -> None:
        self.fake.expect(PKGIN + "-n install curl", "1 package to upgrade:\n  curl-8.9.1\n")
        plan = self.manager.plan(base.Selection(security_only=True))
        self.assertEqual(plan.install, (base.Package("curl", "8.4.0", "8.9.1", True),))

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

    def test_what_removes_is_left_out_by_name(self) -> None:
        removing = self.recorded("all.txt") + "\n1 package to remove:\n  old-1.0\n"
        self.fake.expect(PKGIN + "-n upgrade", removing)
        self.fake.expect(PKGIN + "-n install bash curl vim", removing)
        for name, text in (("bash", removing), ("curl", ""), ("vim", "")):
            self.fake.expect(PKGIN + "-n install " + name, text)
        self.fake.expect(PKGIN + "-n install curl vim",
                         "2 packages to be upgraded: curl-8.9.1 vim-9.1.0\n")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.install), ["curl", "vim"])
        self.assertEqual(self.why(plan)["bash"], (base.KEPT, "needs the removal of old"))

    def test_nothing_to_do(self) -> None:
        self.fake.expect(PKGIN + "-n upgrade", "nothing to do.\n")
        self.assertEqual(self.manager.plan(base.Selection()).pending, ())

    def test_answers_in_another_form_are_errors(self) -> None:
        self.fake.expect(PKGIN + "-n upgrade", "1 package to upgrade:\n  -x-1\n")
        with self.assertRaisesRegex(base.ManagerError, "cannot exist"):
            self.manager.plan(base.Selection())
        self.fake.expect("/usr/sbin/pkg_info", "something\n")
        for step in (self.manager.installed, self.manager.broken):
            with self.assertRaisesRegex(base.ManagerError, "unknown form"):
                step()


class Steps(Case):
    def test_refresh_tells_which_part_failed(self) -> None:
        self.fake.expect(PKGIN + "-y update")
        self.fake.expect(FETCH, (1, "", "pkg_admin: cannot fetch\n"))
        self.manager.refresh(2000.0)
        self.assertEqual(self.manager.audit_fault, "pkg_admin: pkg_admin: cannot fetch")
        self.fake.expect(PKGIN + "-y update", (1, "", "pkgin: could not fetch\n"))
        with self.assertRaisesRegex(base.ManagerError, "pkgin update: .*could not fetch"):
            self.manager.refresh(2000.0)

    def test_failures_and_locks_are_told_apart(self) -> None:
        for text, kind in (("pkgin: database is locked\n", base.Locked),
                           ("pkgin: 1 error\n", base.ManagerError)):
            self.fake.expect(PKGIN + "-y upgrade", (1, "", text))
            with self.assertRaises(base.ManagerError) as caught:
                self.manager.commit(base.Plan(), 2000.0)
            self.assertIs(type(caught.exception), kind)

    def test_what_the_system_cannot_tell_is_unknown(self) -> None:
        self.assertIsNone(self.manager.reboot_reasons())
        self.assertEqual((self.manager.leftovers(), self.manager.busy()), ({}, ""))
