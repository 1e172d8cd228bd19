# SPDX-License-Identifier: BSD-2-Clause
"""zypper's command lines, its private settings, its answers as a real one gave them."""

import os
from typing import Any
from typing import Dict
from typing import List
from typing import Mapping

from qualvosec.helper.managers import base
from qualvosec.helper.managers import rpm
from qualvosec.helper.managers import settle
from qualvosec.helper.managers import zypper
from qualvosec.helper.managers import zypper_text

from tests import fakemanager

RPM = "/usr/bin/rpm -qa --qf " + rpm.QUERY
ZYPPER = "/usr/bin/zypper --non-interactive --no-color "
QUERY = ZYPPER + "--xmlout --no-refresh "
UPDATE = "update --auto-agree-with-licenses"
SIMULATE = QUERY + UPDATE + " --dry-run --details"
VENDOR = SIMULATE.replace(" --dry-run", " --allow-vendor-change --dry-run")
COMMIT = ZYPPER + "--no-refresh " + UPDATE


class FakeZypper(fakemanager.Fake):
    """Reads the private settings that the environment names, as zypper does."""

    def __init__(self) -> None:
        super().__init__()
        self.locks: List[str] = []
        self.settings: List[str] = []
        self.simulations: Dict[str, Any] = {}
        self.vendor: Any = ""

    def run(self, argv: Any, env: Mapping[str, str], *rest: Any, **named: Any) -> Any:
        """See Fake.run; answers to simulations go by what the file of locks holds."""
        plain = dict(env)
        path = plain.pop("ZYPP_CONF", "")
        names = ""
        if path:
            with open(path, encoding="utf-8") as file:
                self.settings.append(file.read())
            with open(os.path.join(os.path.dirname(path), "locks"), encoding="utf-8") as file:
                self.locks.append(file.read())
            names = " ".join(line.split()[1] for line in self.locks[-1].splitlines()
                             if line.startswith("solvable_name:"))
        if " ".join(argv) == VENDOR:
            self.expect(VENDOR, self.vendor or self.simulations[names])
        if " ".join(argv) == SIMULATE:
            if names not in self.simulations:
                raise AssertionError("an unexpected simulation without %s" % names)
            self.expect(SIMULATE, self.simulations[names])
        return super().run(argv, plain, *rest, **named)


class Case(fakemanager.Case):
    folder = "zypper"
    programs = ("usr/bin/zypper", "usr/bin/rpm")

    def setUp(self) -> None:
        super().setUp()
        self.zypp = FakeZypper()
        self.fake = self.zypp
        self.world = self.world._replace(run=self.zypp.run)
        self.manager = zypper.Zypper(self.world)
        self.manager.may_simulate = True
        expect, recorded = self.fake.expect, self.recorded
        expect(RPM, recorded("installed.txt"))
        expect(QUERY + "list-updates -a", recorded("list-updates.txt"))
        expect(QUERY + "locks", recorded("locks.txt"))
        expect(QUERY + "list-patches", recorded("list-patches.txt"))
        expect(QUERY + "list-patches --all", recorded("list-patches-all.txt"))
        expect(ZYPPER + "--no-refresh info -t patch -- LAB-qv-sec LAB-qv-secup",
               recorded("info.txt"))
        self.zypp.simulations = {
            "": recorded("all.txt"), "qv-oldname": recorded("kept-name.txt"),
            "qv-lib qv-oldname qv-plain": recorded("without.txt"),
            "qv-lib qv-plain": recorded("without.txt")}

    def no_traces(self) -> None:
        self.assertEqual(os.listdir(os.path.join(self.root, "run")), [])


class Plans(Case):
    def test_everything_but_what_would_remove_a_package(self) -> None:
        plan = self.manager.plan(base.Selection())
        self.assertEqual(len(plan.install), 12)
        self.assertIn(base.Package("kernel", "5.14.0-1", "5.14.0-2"), plan.install)
        self.assertIn(base.Package("qv-brandnew", "", "1.0-1"), plan.install)
        self.assertNotIn("qv-newname", self.names(plan.install))
        self.assertEqual(self.why(plan), {
            "qv-oldname": (base.KEPT, "would be removed by an update"),
            "qv-swap": (base.KEPT, settle.UNSATISFIED)})
        self.no_traces()

    def test_blacklist_becomes_private_locks_beside_those_of_the_administrator(self) -> None:
        self.write("etc/zypp/locks", "\ntype: package\nsolvable_name: qv-zzz\n")
        self.write("etc/zypp/zypp.conf", "[main]\nsolver.onlyRequires = true\n")
        self.write("etc/zypp/zypp.conf.d/a.conf", "[main]\nmultiversion = x\n")
        self.zypp.simulations["qv-lib qv-plain qv-zzz"] = self.recorded("without.txt")
        plan = self.manager.plan(base.Selection(exclude=("qv-pl*", "qv-lib")))
        self.assertIn("\ntype: package\nmatch_type: glob\ncase_sensitive: on\n"
                      "solvable_name: qv-plain\n", self.zypp.locks[-1])
        config = self.zypp.settings[-1]
        self.assertRegex(config, r"(?s)onlyRequires.*multiversion.*\[main\]\nlocksfile.path = "
                                 r"/run/qualvosec-[0-9a-f]{16}/locks\n$")
        why = self.why(plan)
        self.assertEqual(why["qv-plain"], (base.POLICY, "in packages_blacklist"))
        self.assertEqual(why["qv-app"], (base.KEPT, settle.NEEDS_EXCLUDED))
        self.no_traces()

    def test_security_only_locks_what_no_needed_patch_names(self) -> None:
        others = "kernel qv-app qv-bad qv-base qv-conf qv-lib qv-new qv-plain qv-slow qv-swap"
        for names in (others, others.replace("qv-plain", "qv-oldname qv-plain")):
            self.zypp.simulations[names] = self.recorded("security.txt")
        plan = self.manager.plan(base.Selection(security_only=True))
        self.assertEqual(plan.install, (base.Package("qv-sec", "1.0-1", "1.0-3", True),))
        self.assertEqual(self.why(plan)["qv-plain"], (base.POLICY, settle.NOT_SECURITY))
        self.assertEqual(self.why(plan)["qv-secup"], (base.KEPT, settle.NEEDS_EXCLUDED))

    def test_security_only_without_patches_is_unsupported(self) -> None:
        for words in ("list-patches", "list-patches --all"):
            self.fake.expect(QUERY + words, "<stream><update-list/></stream>")
        with self.assertRaisesRegex(base.Unsupported, "no security metadata"):
            self.manager.plan(base.Selection(security_only=True))

    def test_whitelist_that_zypper_ignores_is_refused(self) -> None:
        for names in ("kernel qv-app qv-bad qv-base qv-conf qv-lib qv-new qv-plain qv-secup qv-slow"
                      " qv-swap", "kernel qv-app qv-bad qv-base qv-conf qv-lib qv-new qv-oldname "
                      "qv-plain qv-secup qv-slow qv-swap"):
            self.zypp.simulations[names] = self.recorded("all.txt")
        with self.assertRaisesRegex(base.Refused, "would not keep to the selection"):
            self.manager.plan(base.Selection(only=("qv-sec",)))
        self.no_traces()

    def test_what_the_administrator_has_locked_is_named(self) -> None:
        self.fake.expect(QUERY + "locks", self.recorded("locks-slow.txt"))
        for name in ("", "qv-oldname"):
            self.zypp.simulations[name] = self.recorded("kept-name.txt").replace(
                '<solvable type="package" name="qv-slow"', '<solvable type="x" name="qv-slow"'
            ).replace('packages-to-change="12"', 'packages-to-change="11"')
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.why(plan)["qv-slow"], (base.KEPT, "held by the administrator"))

    def test_an_unknown_kind_of_change_is_refused(self) -> None:
        self.zypp.simulations[""] = self.recorded("kept-name.txt").replace(
            "to-install>", "to-surprise>")
        with self.assertRaisesRegex(base.Refused, "qv-brandnew"):
            self.manager.plan(base.Selection())

    def test_what_another_vendor_offers_is_a_reason_of_its_own(self) -> None:
        self.fake.expect(RPM, self.recorded("installed.txt")
                         + "qv-vendor\t0\t1.0\t1\tnoarch\t1\n")
        self.fake.expect(QUERY + "list-updates -a", self.recorded("vendor-updates.txt"))
        self.zypp.simulations = {"": self.recorded("vendor.txt")}
        self.zypp.vendor = self.recorded("vendor-change.txt")
        plan = self.manager.plan(base.Selection())
        self.assertEqual((plan.install, self.why(plan)),
                         ((), {"qv-vendor": (base.KEPT, zypper.VENDOR)}))
        self.zypp.vendor = (2, "<stream/>", "")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.why(plan), {"qv-vendor": (base.KEPT, settle.UNSATISFIED)})

    def test_nothing_to_do_needs_no_simulation(self) -> None:
        self.fake.expect(QUERY + "list-updates -a", "<stream><update-list/></stream>")
        self.assertEqual(self.manager.plan(base.Selection()).pending, ())
        self.assertNotIn(SIMULATE, self.fake.said())

    def test_who_is_not_root_sees_a_plan_that_says_it_is_not_simulated(self) -> None:
        self.manager.may_simulate = False
        plan = self.manager.plan(base.Selection(), detail=True)
        self.assertIn("not simulated", plan.warnings[0])
        self.assertEqual([p.name for p in plan.pending if p.security], ["qv-sec", "qv-secup"])

    def test_answers_in_another_form_are_errors(self) -> None:
        for text in ("", "<stream>", "no xml"):
            with self.assertRaisesRegex(base.ManagerError, "unknown form"):
                zypper_text.parse_summary(text)
        for name in ("-y", "a b", "*", "x;y"):
            with self.assertRaisesRegex(base.ManagerError, "cannot exist"):
                zypper_text.parse_updates('<s><update kind="package" name="%s"/></s>' % name)
            with self.assertRaisesRegex(base.ManagerError, "cannot exist"):
                zypper_text.parse_patches('<s><update kind="patch" name="%s"/></s>' % name)

    def test_conflicts_of_a_patch_are_read_in_both_forms(self) -> None:
        self.assertEqual(zypper_text.parse_conflicts(
            "Provides    : patch:x = 1\nConflicts   : [3]\n    a.x86_64 < 2-1\n    a.x86_64 < 3-1\n"
            "    srcpackage:a < 9-1\nSummary     : b < 7-1\n"), {"a.x86_64": "3-1"})


class Steps(Case):
    def test_refresh_tells_what_failed(self) -> None:
        self.fake.expect(ZYPPER + "refresh")
        self.manager.refresh(2000.0)
        self.fake.expect(ZYPPER + "refresh", (4, "Problem retrieving files from 'x'.\n", ""))
        with self.assertRaisesRegex(base.ManagerError, "Problem retrieving files.*exit code 4: "
                                                       "a repository could not be read"):
            self.manager.refresh(2000.0)
        self.fake.expect(ZYPPER + "refresh", (-15, "", "", True))
        with self.assertRaisesRegex(base.ManagerError, "not finished in time"):
            self.manager.refresh(1005.0)
        self.assertEqual(self.fake.deadlines, [900.0, 900.0, 5.0])

    def test_repository_that_is_down_is_named_and_the_run_is_without_it(self) -> None:
        self.fake.expect(ZYPPER + "refresh", (4, self.recorded("refresh-some.txt"), ""))
        with self.assertRaisesRegex(base.Incomplete, "repository updates: Failed to connect to "
                                    "127.0.0.1 port 9 .*http://127.0.0.1:9/x"):
            self.manager.refresh(2000.0)
        self.fake.expect(COMMIT, (106, "", ""))
        self.manager.commit(base.Plan(), 2000.0)
        self.fake.expect(ZYPPER + "refresh")
        self.manager.refresh(2000.0)
        with self.assertRaisesRegex(base.ManagerError, "106: a repository could not be used"):
            self.manager.commit(base.Plan(), 2000.0)

    def test_a_refresh_without_any_repository_is_failed_and_names_each(self) -> None:
        self.fake.expect(ZYPPER + "refresh", (4, self.recorded("refresh-none.txt"), ""))
        with self.assertRaisesRegex(base.ManagerError, "(?s)127.0.0.1:9/x.*; repository updates: "
                                    "Specified path '/srv/repo'") as caught:
            self.manager.refresh(2000.0)
        self.assertIs(type(caught.exception), base.ManagerError)

    def test_package_that_cannot_be_fetched_is_named(self) -> None:
        self.fake.expect(COMMIT + " --download-only",
                         (8, self.recorded("package-missing.txt"), ""))
        with self.assertRaisesRegex(base.ManagerError, "qv-lib-2.0-1.noarch.rpm' not found on "
                                    "medium .*exit code 8: a package could not be fetched"):
            self.manager.download(base.Plan(), 2000.0)

    def test_download_ends_with_the_window_and_obeys_the_locks(self) -> None:
        self.fake.expect(COMMIT + " --download-only")
        self.manager.download(base.Plan(excluded=("qv-plain", "a:i686")), 1300.0)
        self.assertEqual((self.fake.deadlines, self.fake.logged), ([300.0], [False]))
        self.assertIn("solvable_name: a\n", self.zypp.locks[0])

    def test_commit_has_no_deadline_writes_to_the_log_and_leaves_no_lock(self) -> None:
        self.fake.expect(COMMIT, "done\n")
        self.manager.commit(base.Plan(excluded=("qv-plain",)), 2000.0)
        self.assertEqual((self.fake.deadlines, self.fake.logged), ([None], [True]))
        self.assertIn("qv-plain", self.zypp.locks[0])
        self.no_traces()

    def test_every_documented_exit_code_means_what_it_says(self) -> None:
        kinds = {0: None, 102: None, 7: base.Locked}
        for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 102, 104, 105, 106, 107):
            self.fake.expect(COMMIT, (code, "", "Error: x\n"))
            kind = kinds.get(code, base.ManagerError)
            if kind is None:
                self.manager.commit(base.Plan(), 2000.0)
                continue
            with self.assertRaises(base.ManagerError) as caught:
                self.manager.commit(base.Plan(), 2000.0)
            self.assertIs(type(caught.exception), kind, code)

    def test_an_update_of_zypper_itself_is_followed_by_another_run(self) -> None:
        self.fake.expect(COMMIT, [(103, "", ""), (0, "", "")])
        self.manager.commit(base.Plan(), 2000.0)
        self.assertEqual(self.fake.said(), [COMMIT, COMMIT])

    def test_an_interrupted_run_shows_as_doubled_packages_and_is_repaired(self) -> None:
        good = self.recorded("installed.txt")
        double = good + "qv-slow\t0\t2.0\t1\tnoarch\t1\n"
        self.assertEqual(self.manager.broken(), "")
        self.fake.expect(RPM, [double, double, good])
        self.assertEqual(self.manager.broken(), "installed twice: qv-slow 1.0-1 and 2.0-1")
        self.fake.expect("/usr/bin/rpm -e --nodeps -- qv-slow-1.0-1.noarch")
        self.fake.expect(ZYPPER + "--no-refresh install --force --auto-agree-with-licenses -- "
                         "qv-slow")
        self.manager.recover(2000.0)
        self.assertEqual(self.fake.logged[-3:], [True, True, False])
        self.fake.expect(RPM, double)
        with self.assertRaisesRegex(base.ManagerError, "cannot be repaired"):
            self.manager.recover(2000.0)

    def test_conflict_of_files_names_file_and_package(self) -> None:
        # As zypper 1.14.42 and dnf 4.14 tell it.
        for told in ("Error: Transaction test error:\n  file /usr/share/x from install of "
                     "qv-clash-2.0-1.noarch conflicts with file from package qv-old-1.0-1.noarch\n",
                     "Detected 1 file conflict:\n\nFile /usr/share/x\n  from install of\n     "
                     "qv-clash-2.0-1.noarch (updates)\n  conflicts with file from package\n     "
                     "qv-old-1.0-1.noarch (@System)\n\nProblem occurred during or after "
                     "installation or removal of packages:\n"):
            self.assertEqual(rpm.failure(told), "file /usr/share/x of qv-clash-2.0-1.noarch is in "
                             "another package, too")

    def test_whoever_holds_the_lock_is_named(self) -> None:
        self.assertEqual(self.manager.busy(), "")
        self.write("run/zypp.pid", "%d\n" % os.getpid())
        self.assertEqual(self.manager.busy(), "/run/zypp.pid is held by process %d" % os.getpid())
        for stale in ("", "x", "0", "99999999999999999999", "4194305"):
            self.write("run/zypp.pid", stale)
            self.assertEqual(self.manager.busy(), "", stale)

    def test_reboot_is_due_if_any_source_says_so(self) -> None:
        needs = ZYPPER + "needs-rebooting"
        self.write("proc/stat", "btime 5000000000\n")
        self.fake.expect(needs, (0, "", ""))
        self.assertEqual(self.manager.reboot_reasons(), [])
        self.fake.expect(needs, (102, "", ""))
        self.assertEqual(self.manager.reboot_reasons(),
                         ["zypper: core libraries or services have been updated"])
        self.write("run/reboot-needed", "")
        self.assertEqual(self.manager.reboot_reasons(), ["/run/reboot-needed exists"])

    def test_a_zypper_without_needs_rebooting_leaves_it_unknown(self) -> None:
        self.fake.expect(ZYPPER + "needs-rebooting", (2, "Unknown command", ""))
        self.assertIsNone(self.manager.reboot_reasons())
