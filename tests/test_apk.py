# SPDX-License-Identifier: BSD-2-Clause
"""apk: command lines, what its real outputs mean, what is refused.

The outputs are those of the transcripts, changed only where a test says how; rows that no
transcript has (pinning, replacing, a package that cannot be fetched) are as apk-tools writes them,
src/commit.c of 2.14 and 3.0.
"""

import fcntl
import os

from qualvosec.helper.managers import apk
from qualvosec.helper.managers import apk_text
from qualvosec.helper.managers import base
from qualvosec.helper.managers import settle

from tests import fakemanager
from tests import replay

APK = "/sbin/apk "
DRY = APK + "upgrade --simulate"
RUN = APK + "upgrade"
HEADING = "Installed:                                Available:\n"
SEVEN = ["busybox", "gtk+3.0", "libcrypto3", "libstdc++", "nginx", "openssl", "sudo"]


class Case(fakemanager.Case):
    programs = ("sbin/apk",)
    version = "apk-3.0"

    def setUp(self) -> None:
        super().setUp()
        self.manager = apk.Apk(self.world)
        self.write("etc/apk/repositories", "# a remark\nhttp://mirror.example.org\n")
        self.use("updates")

    def use(self, situation: str, phase: int = 1) -> None:
        """Answer as in that transcript."""
        for call in replay.load("alpine/%s/%s" % (self.version, situation))["calls"]:
            if call["phase"] == phase:
                self.fake.expect(" ".join(["/sbin/apk"] + call["argv"][1:]),
                                 (call["rc"], call["stdout"], call["stderr"]))

    def change(self, old: str, new: str, words: str = DRY) -> None:
        """Change what a command says."""
        code, out, err = self.fake.answers[tuple(words.split())]
        self.assertIn(old, out)
        self.fake.expect(words, (code, out.replace(old, new), err))


class Plans(Case):
    def test_everything_with_new_dependencies(self) -> None:
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.install), sorted(SEVEN + ["brotli-libs"]))
        self.assertIn(base.Package("sudo", "1.9.15_p5-r0", "1.9.16-r0"), plan.install)
        self.assertEqual((plan.left, self.names(plan.pending)), ((), SEVEN))

    def test_blacklist_goes_behind_ignore_with_what_needs_it(self) -> None:
        self.use("leave-one-out")
        plan = self.manager.plan(base.Selection(exclude=("libc*3",)))
        self.assertEqual(self.why(plan)["openssl"],
                         (base.KEPT, settle.NEEDS_EXCLUDED + ": libcrypto3"))
        self.fake.expect(RUN + " --ignore -- libcrypto3 openssl")
        self.manager.commit(plan, 2000.0)
        self.assertEqual((self.fake.logged[-1], self.fake.deadlines[-1]), (True, None))

    def test_whitelist_ignores_all_else_that_is_pending(self) -> None:
        self.fake.expect(DRY + " --ignore -- " + " ".join(SEVEN[:-1]),
                         "(1/1) Upgrading sudo (1.9.15_p5-r0 -> 1.9.16-r0)\n"
                         "OK: 110 B in 10 packages\n")
        plan = self.manager.plan(base.Selection(only=("sudo",)))
        self.assertEqual(plan.install, (base.Package("sudo", "1.9.15_p5-r0", "1.9.16-r0"),))

    def test_what_apk_does_against_the_selection_is_refused(self) -> None:
        self.fake.expect(DRY + " --ignore -- sudo", self.fake.answers[tuple(DRY.split())])
        with self.assertRaisesRegex(base.Refused, "sudo"):
            self.manager.plan(base.Selection(exclude=("sudo",)))

    def test_what_brings_in_something_excluded_is_found_behind_it_or_by_trying(self) -> None:
        self.use("new-dependency-excluded")
        plan = self.manager.plan(base.Selection(exclude=("brotli*",)))
        self.assertEqual(self.why(plan)["nginx"],
                         (base.KEPT, settle.NEEDS_EXCLUDED + ": brotli-libs"))
        self.assertEqual(plan.excluded, ("brotli-libs", "nginx"))
        tried = [words for words in self.fake.said() if "--ignore" in words]
        self.assertEqual(tried[0:2], [DRY + " --ignore -- brotli-libs",
                                      DRY + " --ignore -- brotli-libs nginx"])

    def test_one_conflict_keeps_back_what_is_in_it_and_no_more(self) -> None:
        self.use("conflict")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.install), sorted(SEVEN + ["brotli-libs"]))
        kind, why = self.why(plan)["swap"]
        self.assertEqual(kind, base.KEPT)
        self.assertIn("old-1.0-r0: breaks: swap-2.0-r0[!old]", why)
        code, out, err = self.fake.answers[tuple(DRY.split())]
        self.fake.expect(DRY, (code, out, err.replace("swap", "other")))
        with self.assertRaisesRegex(base.ManagerError, "unable to select packages: old-1.0-r0"):
            self.manager.plan(base.Selection())

    def test_what_makes_another_package_superfluous_is_kept_back(self) -> None:
        self.use("dependency-dropped")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.why(plan)["app-a"], (base.KEPT, "needs the removal of lib-a"))
        self.assertEqual(plan.excluded, ("app-a",))

    def test_what_would_become_older_is_kept_back(self) -> None:
        self.change("Upgrading sudo (1.9.15_p5-r0 -> 1.9.16-r0)", "Downgrading sudo (2-r0 -> 1-r0)")
        for name in [each for each in SEVEN if each != "sudo"] + ["brotli-libs"]:
            self.fake.expect(DRY + " --ignore -- " + name, self.fake.answers[tuple(DRY.split())])
        without = self.fake.answers[tuple(DRY.split())][1].replace(
            "(8/8) Downgrading sudo (2-r0 -> 1-r0)\n", "").replace("/8)", "/7)")
        self.fake.expect(DRY + " --ignore -- sudo", without)
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.why(plan)["sudo"], (base.KEPT, "would be downgraded"))

    def test_what_the_list_of_wanted_packages_holds_is_named_so(self) -> None:
        self.use("pinned")
        self.write("etc/apk/world", "busybox\nnginx=1.26.1-r0\nsudo<1.9.16\nhello@edge\n"
                                    "gtk+3.0~3.24\n")
        plan = self.manager.plan(base.Selection())
        for name in ("nginx", "sudo"):
            self.assertEqual(self.why(plan)[name], (base.KEPT, "held by the administrator"))
        self.assertEqual(apk_text.held("a=1 b@edge>2 c@edge d !e f~1.2"), ["a", "b", "f"])

    def test_a_package_whose_script_fails_stops_no_other(self) -> None:
        self.use("failing-script", 2)
        marked = replay.load("alpine/apk-3.0/failing-script")["files"]
        self.write("lib/apk/db/installed", marked["/lib/apk/db/installed (after the upgrade)"])
        self.assertEqual(self.manager.broken(), "not completely installed: tmux")
        self.assertEqual(self.manager.plan(base.Selection()).install, ())
        self.change("1 error;", "(1/1) Upgrading sudo (1.9.16-r0 -> 1.9.17-r0)\n1 error;")
        self.assertEqual(self.names(self.manager.plan(base.Selection()).install), ["sudo"])
        os.unlink(self.root + "/lib/apk/db/installed")
        with self.assertRaisesRegex(base.ManagerError, "apk upgrade"):
            self.manager.plan(base.Selection())

    def test_packages_of_a_tagged_repository_and_steps_without_a_version_change(self) -> None:
        got = apk_text.parse_changes(
            "(1/6) Upgrading qv-sec@edge (1.0-r0 -> 1.0-r1)\n"
            "(2/6) Updating pinning qv-new@edge (1.0-r0)\n"
            "(3/6) Replacing qv-plain (1.0-r0 -> 1.0-r0)\n(4/6) Reinstalling musl (1.2.5-r0)\n"
            "(5/6) [APK unavailable, skipped] Reinstalling musl (1.2.5-r0)\n"
            "(6/6) Downloading qv-sec-1.0-r1\nOK: 8 MiB in 7 packages\n", 7)
        self.assertEqual(got.install, (base.Package("qv-sec", "1.0-r0", "1.0-r1"),))

    def test_what_only_the_dry_run_knows_is_pending_as_well(self) -> None:
        self.fake.expect(APK + "version -l <", replay.said(
            "alpine/%s/nothing" % self.version, "apk version -l <"))
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.pending), SEVEN)

    def test_security_only_is_unsupported(self) -> None:
        with self.assertRaisesRegex(base.Unsupported, "no security metadata: apk"):
            self.manager.plan(base.Selection(security_only=True))

    def test_a_system_that_runs_from_memory_is_unsupported(self) -> None:
        self.write("proc/mounts", "tmpfs / tmpfs rw 0 0\n")
        with self.assertRaisesRegex(base.Unsupported, "from memory"):
            self.manager.fits()
        self.write("proc/mounts", "/dev/vda3 / ext4 rw 0 0\n")
        self.manager.fits()


class Announced(Case):
    """What apk announces must have been read."""

    def test_less_or_more_than_announced_is_a_failure_with_both_numbers(self) -> None:
        sudo = "(8/8) Upgrading sudo (1.9.15_p5-r0 -> 1.9.16-r0)\n"
        brotli = "(4/8) Installing brotli-libs (1.1.0-r2)\n"
        for old, new, words in (
                (sudo, "", "announces 8 steps, 7 of them"),
                (brotli, "", "announces 8 steps, 7 of them"),
                (sudo, sudo + sudo, "announces 16 steps, 8 of them"),
                ("(1/8) ", "(1/9) ", "announces 9 steps, 1 of them"),
                ("(3/8) ", "(4/8) ", "announces 8 steps, 7 of them"),
                ("in 11 packages", "in 12 packages", "ends with 12 packages, 11 follow"),
                ("Installing brotli", "Purging brotli", "ends with 11 packages, 9 follow")):
            self.use("updates")
            self.change(old, new)
            with self.assertRaisesRegex(base.ManagerError, words):
                self.manager.plan(base.Selection())

    def test_another_form_is_a_failure(self) -> None:
        for words, old, new in (
                (DRY, "OK: 110 B in 11 packages", ""), (DRY, "OK:", "Done:"),
                (DRY, "Upgrading sudo (1.9.15_p5-r0 -> 1.9.16-r0)", "Upgrading sudo"),
                (DRY, "(8/8) Upgrading", "(?) Upgrading"), (DRY, "sudo (1.9.15", "-x (1.9.15"),
                (DRY, "(8/8) ", "8/8 "), (DRY, "1.26.1-r0 -> ", "1.26.1-r0 to "),
                (APK + "version -l <", " < ", " older than "),
                (APK + "version -l <", "Installed:", "Here:"),
                (APK + "version -l <", HEADING, ""),
                (APK + "info -v", "sudo-1.9.15_p5-r0", "sudo 1.9.15_p5-r0"),
                (APK + "info -v", "sudo-1.9.15_p5-r0\n", "")):
            self.use("updates")
            self.change(old, new, words)
            with self.assertRaises(base.ManagerError):
                self.manager.plan(base.Selection())

    def test_the_first_part_of_a_run_has_numbers_of_its_own(self) -> None:
        code, out, err = replay.said("alpine/apk-2.14/own-update-first", "apk upgrade")
        self.assertEqual(len(apk_text.parse_changes(out, 11).install), 9)


class OlderAnnounced(Announced):
    """The same with apk 2."""

    version = "apk-2.14"

    def change(self, old: str, new: str, words: str = DRY) -> None:
        super().change(old.replace("110 B", "0 MiB"), new, words)


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

    def test_refresh_names_the_mirror_and_the_cause_and_needs_a_repository(self) -> None:
        for version in ("apk-2.14", "apk-3.0"):
            name = "alpine/%s/mirror-down-http" % version
            self.fake.expect(APK + "update", replay.said(name, "apk update"))
            with self.assertRaisesRegex(base.ManagerError, "https://127.0.0.1:1/.*: .*onnect"):
                self.manager.refresh(2000.0)
        self.fake.expect(APK + "update", replay.said("alpine/apk-3.0/no-repository", "apk update"))
        self.manager.refresh(2000.0)
        self.write("etc/apk/repositories", "# nothing\n")
        with self.assertRaisesRegex(base.ManagerError, "no repository is configured"):
            self.manager.refresh(2000.0)
        self.write("etc/apk/repositories.d/local.list", "/srv/repo\n")
        self.manager.refresh(2000.0)

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
