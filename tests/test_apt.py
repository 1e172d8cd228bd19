# SPDX-License-Identifier: BSD-2-Clause
"""apt's command lines, its answers as a real one gave them, the fate of hostile names."""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Any
from typing import Dict
from typing import List
from typing import Mapping
from typing import Optional
from typing import Sequence
from typing import Tuple

from qualvosec import command
from qualvosec.helper import front
from qualvosec.helper import managers
from qualvosec.helper import record
from qualvosec.helper.managers import apt
from qualvosec.helper.managers import apt_pins
from qualvosec.helper.managers import apt_text
from qualvosec.helper.managers import base

from tests import DATA

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root", "LC_ALL": "C", "TERM": "dumb", "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical", "APT_LISTCHANGES_FRONTEND": "none",
    "APT_LISTBUGS_FRONTEND": "none", "UCF_FORCE_CONFFOLD": "1", "NEEDRESTART_SUSPEND": "1"}
OPTIONS = ["-o", "Dpkg::Use-Pty=0", "-o", "Dpkg::ConfigurePending=true",
           "-o", "Dpkg::Options::=--force-confdef",
           "-o", "Dpkg::Options::=--force-confold"]
SAY = ["-q=1", "-o", "quiet::NoProgress=false"] + [word for option in (
    "Print-URIs=false", "Simulate=false", "Download=true", "Download-Only=false",
    "Trivial-Only=false", "allow-downgrades=false", "force-yes=false", "Fix-Missing=false",
    "AutomaticRemove=false", "Show-Versions=false", "CallResolver=true",
    ) for word in ("-o", "APT::Get::" + option)]
SIMULATE = ["/usr/bin/apt-get"] + SAY + OPTIONS + [
    "-y", "-s", "-o", "Debug::NoLocking=1", "-o", "Dir::Log::Planner=",
    "-o", "APT::Get::allow-downgrades=true"]
PREFERENCES = ["/usr/bin/apt-config", "shell", "P", "Dir::Etc::Preferences/f"]
GET = ["/usr/bin/apt-get", "-y", "-o", "DPkg::Lock::Timeout=60"] + SAY + OPTIONS
REFRESH = ["/usr/bin/apt-get"] + SAY + [
    "-o", "DPkg::Lock::Timeout=60", "-o", "APT::Update::Error-Mode=any",
    "-o", "Acquire::Retries=3", "update"]
POLICY = ["/usr/bin/apt-cache", "policy"]
UPGRADE = ["--no-remove", "upgrade", "--with-new-pkgs"]
PLAIN = ["--no-remove", "upgrade"]
FETCH = GET + ["-d", "-V"] + UPGRADE
DPKG_QUERY = ["/usr/bin/dpkg-query", "-W",
              "-f=${binary:Package}\\t${Version}\\t${Architecture}\\t${db:Status-Abbrev}\\n"]
POLICY_NAMES = ["/usr/bin/apt-cache", "policy", "--", "qv-app", "qv-lib", "qv-swap"]
PROGRAMS = ("apt-get", "apt-cache", "apt-config", "apt-mark", "dpkg", "dpkg-query")


def recorded(name: str) -> str:
    with open(os.path.join(DATA, "apt", name), encoding="utf-8") as file:
        return file.read()


class FakeApt:
    """Answers each command line as the recorded system did; keeps what it was asked."""

    def __init__(self) -> None:
        self.calls: List[List[str]] = []
        self.preferences: List[str] = []
        self.logged: List[bool] = []
        self.deadlines: List[Optional[float]] = []
        self.answers: Dict[Tuple[str, ...], Any] = {}

    def run(self, argv: Sequence[str], env: Mapping[str, str], deadline_s: Optional[float] = None,
            limit: int = 0, log_fd: Optional[int] = None) -> command.Result:
        if dict(env) != ENVIRONMENT:
            raise AssertionError("another environment: %r" % (env,))
        preferences = ""
        words = list(argv)
        for word in argv:
            if word.startswith("Dir::Etc::Preferences="):
                with open(word.partition("=")[2], encoding="ascii") as file:
                    preferences = file.read()
                place = words.index(word)
                del words[place - 1:place + 1]
                if "Pin: release a=now" in preferences:
                    # Without this the administrator's default release outranks the choice.
                    if words[place - 1:place + 1] != ["-o", "APT::Default-Release="]:
                        raise AssertionError("the default release stays in force: %r" % words)
                    del words[place - 1:place + 1]
        self.calls.append(words)
        self.preferences.append(preferences)
        self.logged.append(log_fd is not None)
        self.deadlines.append(deadline_s)
        answer = self.answers.get(tuple(words)) or self.usual(words, preferences)
        if isinstance(answer, str):
            answer = (0, answer, "")
        code, out, err = answer[:3]
        if log_fd is not None:
            os.write(log_fd, (out + err).encode("utf-8"))
            out = err = ""
        return command.Result(code, out.encode("utf-8"), err.encode("utf-8"), answer[3:] == (True,),
                              False)

    @staticmethod
    def usual(words: List[str], preferences: str) -> str:
        security = "l=Debian-Security" in preferences
        if words == DPKG_QUERY:
            return recorded("installed.txt")
        if words == SIMULATE + UPGRADE:
            return recorded("upgrade-security.txt" if security else
                            "upgrade-without-plain.txt" if preferences else "upgrade.txt")
        if words == SIMULATE + PLAIN:
            return recorded("upgrade-security.txt" if security else "plain.txt")
        if words == SIMULATE + ["dist-upgrade"]:
            return recorded("dist-upgrade-security.txt" if security else "dist-upgrade.txt")
        if words == POLICY:
            return recorded("policy.txt")
        if words == PREFERENCES:
            return "P='/etc/apt/preferences'\n"
        if words[:3] == ["/usr/bin/apt-cache", "policy", "--"]:
            return recorded("policy-names.txt")
        if words == ["/usr/bin/apt-mark", "showhold"]:
            return recorded("showhold.txt")
        raise AssertionError("an unexpected command: %r" % words)


class Case(unittest.TestCase):
    """A root directory with the six programs and nothing else."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        os.makedirs(os.path.join(self.root, "usr/bin"))
        os.makedirs(os.path.join(self.root, "run"))
        for name in PROGRAMS:
            self.write("usr/bin/" + name, "")
            os.chmod(os.path.join(self.root, "usr/bin", name), 0o755)
        self.write("etc/os-release", 'ID=debian\nVERSION_ID="12"\n')
        self.fake = FakeApt()
        log = os.open(os.path.join(self.root, "log"), os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self.addCleanup(os.close, log)
        self.world = base.World(run=self.fake.run, now=lambda: 1000.0, root=self.root,
                                run_dir=os.path.join(self.root, "run"), log_fd=log)
        self.apt = apt.Apt(self.world)

    def write(self, name: str, text: str) -> None:
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def names(self, packages: Sequence[base.Package]) -> List[str]:
        return sorted(package.name for package in packages)


class Statuses(Case):
    def test_what_is_unpacked_and_not_configured_has_no_version(self) -> None:
        listed = recorded("installed.txt")
        for status, version in (("ii ", "1.0"), ("iW ", "1.0"), ("it ", "1.0"), ("iU ", ""),
                                ("iF ", ""), ("iH ", ""), ("iHR", ""), ("hi ", "1.0"),
                                ("hU ", "")):
            self.fake.answers[tuple(DPKG_QUERY)] = listed.replace(
                "qv-bad\t1.0\tall\tii ", "qv-bad\t1.0\tall\t" + status)
            self.apt._known = (None, [])
            self.assertEqual(self.apt.installed()["qv-bad"], version, status)
        self.fake.answers[tuple(DPKG_QUERY)] = listed.replace(
            "qv-bad\t1.0\tall\tii ", "qv-bad\t1.0\tall\trc ")
        self.assertNotIn("qv-bad", self.apt.installed())

    def asked(self) -> int:
        """Look at the packages again; how many times dpkg-query has been asked by now."""
        self.apt.installed()
        self.apt.broken()
        return self.fake.calls.count(DPKG_QUERY)

    def give(self, text: str) -> None:
        """Replace the database as dpkg does: a new file takes the name."""
        self.write("var/lib/dpkg/status-new", text)
        os.rename(os.path.join(self.root, "var/lib/dpkg/status-new"),
                  os.path.join(self.root, "var/lib/dpkg/status"))

    def test_packages_are_asked_for_again_only_after_a_change(self) -> None:
        os.makedirs(os.path.join(self.root, "var/lib/dpkg/updates"))
        self.give("one")
        self.assertEqual([self.asked(), self.asked()], [1, 1])
        self.give("two")
        self.assertEqual([self.asked(), self.asked()], [2, 2])
        self.write("var/lib/dpkg/updates/tmp.i", "")
        self.assertEqual([self.asked(), self.asked()], [3, 3])
        os.unlink(os.path.join(self.root, "var/lib/dpkg/updates/tmp.i"))
        self.assertEqual([self.asked(), self.asked()], [4, 4])

    def test_packages_are_always_asked_for_where_a_change_could_not_be_seen(self) -> None:
        self.assertEqual([self.asked(), self.asked()], [2, 4])
        self.give("one")
        self.assertEqual(self.asked(), 6)


class Plans(Case):
    def test_everything_is_one_simulation_with_the_arguments_of_the_run(self) -> None:
        plan = self.apt.plan(base.Selection())
        self.assertEqual(self.fake.calls, [
            POLICY, SIMULATE + UPGRADE, DPKG_QUERY, POLICY_NAMES, ["/usr/bin/apt-mark", "showhold"],
            SIMULATE + ["dist-upgrade"]])
        self.assertEqual(self.names(plan.install),
                         ["qv-base", "qv-brandnew", "qv-new", "qv-plain", "qv-sec", "qv-secup"])
        self.assertEqual(plan.left, (
            base.Left("qv-app", "its dependencies cannot be satisfied while qv-lib is held"),
            base.Left("qv-lib", "held by the administrator"),
            base.Left("qv-swap", "needs the removal of qv-old")))
        self.assertEqual(len(plan.pending), 8)
        self.assertIn(base.Package("qv-swap", "1.0", "2.0"), plan.pending)
        self.assertEqual(os.listdir(os.path.join(self.root, "run")), [])

    def test_simulations_have_a_deadline_and_are_not_logged(self) -> None:
        self.apt.plan(base.Selection())
        self.assertFalse(any(self.fake.logged))
        self.assertNotIn(None, [deadline for call, deadline in
                                zip(self.fake.calls, self.fake.deadlines) if call != DPKG_QUERY])

    def test_blacklist_becomes_pins_of_exact_names_that_are_gone_afterwards(self) -> None:
        plan = self.apt.plan(base.Selection(exclude=("qv-pl*", "qv-brandnew")))
        self.assertIn("Package: qv-plain:any\nPin: release *\nPin-Priority: -1\n\n",
                      self.fake.preferences)
        self.assertEqual(self.names(plan.install), ["qv-base", "qv-sec", "qv-secup"])
        why = {left.name: (left.kind, left.why) for left in plan.left}
        self.assertEqual(why["qv-plain"], (base.POLICY, "in packages_blacklist"))
        self.assertEqual(why["qv-new"], (base.KEPT, "needs an update that is excluded"))
        self.assertEqual(os.listdir(os.path.join(self.root, "run")), [])

    def test_whitelist_excludes_everything_else_that_is_pending(self) -> None:
        self.fake.answers[tuple(SIMULATE + UPGRADE)] = recorded("upgrade.txt")
        with self.assertRaises(base.Refused):
            # This apt ignores the pins: the plan is refused, not trusted.
            self.apt.plan(base.Selection(only=("qv-sec",)))
        pinned = [line.split()[1] for line in self.fake.preferences[-1].splitlines()
                  if line.startswith("Package:")]
        self.assertEqual(pinned, ["qv-%s:any" % name for name in
                                  ("app", "base", "lib", "new", "plain", "secup", "swap")])

    def test_a_plan_that_removes_is_refused(self) -> None:
        self.fake.answers[tuple(SIMULATE + UPGRADE)] = (
            recorded("upgrade.txt").replace("0 to remove", "1 to remove")
            + "Remv qv-old [1.0]\n")
        with self.assertRaisesRegex(base.Refused, "qv-old"):
            self.apt.plan(base.Selection())

    def test_security_only_names_what_is_no_security_update_as_policy(self) -> None:
        plan = self.apt.plan(base.Selection(security_only=True))
        self.assertEqual(plan.install, (base.Package("qv-sec", "1.0", "1.0+deb12u1", True),))
        kinds = {left.name: (left.kind, left.why) for left in plan.left}
        self.assertEqual(kinds["qv-plain"], (base.POLICY, "not a security update"))
        self.assertEqual(kinds["qv-secup"], (
            base.KEPT, "needs a version of another package that is not a security update"))

    def test_security_only_without_a_security_archive_is_unsupported(self) -> None:
        self.fake.answers[tuple(POLICY)] = recorded("policy.txt").replace(
            "l=Debian-Security", "l=Debian")
        with self.assertRaisesRegex(base.Unsupported, "no security metadata"):
            self.apt.plan(base.Selection(security_only=True))

    def test_detail_marks_security_updates_even_where_a_later_version_is_taken(self) -> None:
        plan = self.apt.plan(base.Selection(), detail=True)
        self.assertEqual([p.name for p in plan.pending if p.security], ["qv-sec", "qv-secup"])
        self.assertTrue(plan.security_known)

    def test_pins_of_the_administrator_follow_ours(self) -> None:
        self.write("etc/apt/preferences", "Package: x\nPin: release *\nPin-Priority: 1\n")
        self.apt.plan(base.Selection(exclude=("qv-plain",)))
        with_pins = [text for text in self.fake.preferences if text]
        self.assertEqual(with_pins[0],
                         "Package: qv-plain:any\nPin: release *\nPin-Priority: -1\n\n"
                         "Package: x\nPin: release *\nPin-Priority: 1\n")

    def test_a_reason_that_cannot_be_found_out_does_not_stop_the_plan(self) -> None:
        self.fake.answers[tuple(SIMULATE + ["dist-upgrade"])] = (100, "", "E: no\n")
        plan = self.apt.plan(base.Selection())
        self.assertEqual([left.why for left in plan.left if left.name == "qv-swap"],
                         ["its dependencies cannot be satisfied while qv-lib is held"])

    def test_what_is_phased_is_told_apart(self) -> None:
        self.fake.answers[tuple(SIMULATE + UPGRADE)] = recorded("upgrade.txt").replace(
            "The following packages have been kept back:",
            "The following upgrades have been deferred due to phasing:")
        plan = self.apt.plan(base.Selection())
        self.assertEqual([left.kind for left in plan.left],
                         [base.PHASED, base.KEPT, base.PHASED])

    def test_what_is_phased_is_known_by_its_candidate_where_apt_calls_it_kept_back(self) -> None:
        none = "0 upgraded, 0 newly installed, 0 to remove and 2 not upgraded.\n"
        kept = "The following packages have been kept back:\n  qv-lost qv-phased\n" + none
        self.fake.answers[tuple(SIMULATE + UPGRADE)] = kept
        self.fake.answers[tuple(SIMULATE + PLAIN)] = kept
        self.fake.answers[tuple(SIMULATE + ["dist-upgrade"])] = kept
        self.fake.answers["/usr/bin/apt-cache", "policy", "--", "qv-lost", "qv-phased"] = (
            recorded("policy-phased.txt"))
        plan = self.apt.plan(base.Selection())
        self.assertEqual([left.name for left in plan.left if left.kind == base.PHASED],
                         ["qv-phased"])
        self.assertEqual([left.name for left in plan.left if left.kind == base.KEPT], ["qv-lost"])

    def test_what_apt_does_not_even_name_as_kept_back_is_pending_and_kept(self) -> None:
        # As apt 2.2 does it: the update to 2.0 has a dependency that nobody offers.
        self.fake.answers[tuple(DPKG_QUERY)] = recorded("installed.txt").replace("2.6.1", "2.2.4")
        self.fake.answers[tuple(SIMULATE + UPGRADE)] = recorded("upgrade.txt").replace(
            "qv-app qv-lib qv-swap", "qv-lib qv-swap").replace("3 not upgraded", "2 not upgraded")
        plan = self.apt.plan(base.Selection())
        self.assertIn(base.Package("qv-app", "1.0", "2.0"), plan.pending)
        self.assertIn("qv-app", [left.name for left in plan.left if left.kind == base.KEPT])

    def test_an_apt_that_names_all_it_keeps_back_is_not_believed_where_it_counts_more(self) -> None:
        self.fake.answers[tuple(SIMULATE + UPGRADE)] = recorded("upgrade.txt").replace(
            "qv-app qv-lib qv-swap", "qv-lib qv-swap")
        with self.assertRaisesRegex(base.ManagerError, "does not name 1 of what it keeps back"):
            self.apt.plan(base.Selection())

    def test_security_update_that_apt_does_not_even_name_as_kept_back_is_kept(self) -> None:
        pinned = recorded("upgrade-security.txt").replace("  qv-secup\n", "").replace(
            "1 not upgraded", "0 not upgraded")
        usual = self.fake.usual
        self.fake.usual = lambda words, pins: (
            pinned if "l=Debian-Security" in pins and words == SIMULATE + UPGRADE
            else usual(words, pins))
        plan = self.apt.plan(base.Selection(security_only=True))
        self.assertEqual([left.name for left in plan.left if left.kind == base.KEPT], ["qv-secup"])

    def test_a_failed_simulation_is_told_in_aptss_own_words(self) -> None:
        self.fake.answers[tuple(SIMULATE + UPGRADE)] = (100, "", "E: Unmet dependencies. Try -f\n")
        with self.assertRaisesRegex(base.ManagerError, "E: Unmet dependencies"):
            self.apt.plan(base.Selection())


class Pinned(Case):
    """A host with `Package: *`, `Pin: release n=bookworm`, `Pin-Priority: 990`, as apt 2.6 answers.

    The security archive is n=bookworm-security, so it stays at 500: what it offers is hidden.
    """

    def setUp(self) -> None:
        super().setUp()
        self.fake.usual = self.answer

    def answer(self, words: List[str], preferences: str) -> str:
        security = "l=Debian-Security" in preferences
        if words == DPKG_QUERY:
            return recorded("installed.txt")
        if words == POLICY:
            return recorded("pinned-policy.txt")
        if words == PREFERENCES:
            return "P='/etc/apt/preferences'\n"
        if words == POLICY + ["--", "qv-sec"] and security:
            return recorded("pinned-policy-names.txt")
        if words[:-2] == SIMULATE + ["--no-remove"] or words == SIMULATE + PLAIN:
            return recorded("pinned-upgrade%s.txt" % ("-security" if security else ""))
        raise AssertionError("an unexpected command: %r" % words)

    def test_security_only_sees_the_update_that_the_pin_hides(self) -> None:
        plan = self.apt.plan(base.Selection(security_only=True))
        update = base.Package("qv-sec", "1.0", "1.0+deb12u1", True)
        self.assertEqual(plan.install, (update,))
        self.assertEqual(plan.pending, (base.Package("qv-a", "1.0", "2.0"), update))
        self.assertEqual(base.forecast(plan), ("ok", ""))

    def test_full_run_does_what_the_pin_says_and_names_what_it_hides(self) -> None:
        plan = self.apt.plan(base.Selection())
        self.assertEqual((plan.install, plan.pending), (
            (base.Package("qv-a", "1.0", "2.0"),), (base.Package("qv-a", "1.0", "2.0"),)))
        self.assertEqual(base.forecast(plan), (
            "ok", "qv-sec: a security update is hidden by a pin or by APT::Default-Release"))

    def test_archives_are_compared_by_the_priorities_that_apt_gives_them(self) -> None:
        told = recorded("pinned-policy.txt")
        for policy, expected in ((told, True), (told.replace(" 990 ", " 500 "), False),
                                 (told.replace(" 500 ", " 990 "), False),
                                 (told.replace(" 500 ", "  -1 ").replace(" 990 ", " 500 "), True),
                                 (recorded("policy.txt"), False)):
            self.assertEqual(apt_pins.outranked(policy), expected, policy)


class Steps(Case):
    def plan(self) -> base.Plan:
        return base.Plan(excluded=("qv-plain",), selection=base.Selection())

    def test_refresh_counts_every_failed_repository(self) -> None:
        self.fake.answers[tuple(REFRESH)] = "Hit:1 http://x stable InRelease\n"
        self.apt.refresh(2000.0)
        self.assertEqual(self.fake.calls, [REFRESH])
        for line in ("W: Failed to fetch http://x/InRelease  Could not connect",
                     "Err:1 http://x stable InRelease",
                     "W: Some index files failed to download. They have been ignored",
                     "W: An error occurred during the signature verification."):
            self.fake.answers[tuple(REFRESH)] = (
                "Ign:1 http://x\n%s\nReading package lists...\n" % line)
            with self.assertRaisesRegex(base.ManagerError, line[:20].replace("(", ".")):
                self.apt.refresh(2000.0)
        # What apt 2.6 says with an empty sources.list.
        self.fake.answers[tuple(REFRESH)] = "Reading package lists...\n"
        with self.assertRaisesRegex(base.ManagerError, "no source is configured"):
            self.apt.refresh(2000.0)

    def test_refresh_tells_apart_what_some_sources_a_script_and_all_sources_come_to(self) -> None:
        hit = "Hit:1 http://a bookworm InRelease\n"
        bad = "Err:2 http://b ./ InRelease\n  Could not connect\nE: Failed to fetch http://b\n"
        script = "E: Problem executing scripts APT::Update::Post-Invoke-Success 'exit 7'\n"
        for said, kind in ((hit + bad, base.Incomplete), (bad, base.ManagerError),
                           ("E: Could not get lock /var/lib/apt/lists/lock\n", base.Locked)):
            self.fake.answers[tuple(REFRESH)] = (100, said, "")
            with self.assertRaises(base.ManagerError) as caught:
                self.apt.refresh(2000.0)
            self.assertIs(type(caught.exception), kind)
        self.fake.answers[tuple(REFRESH)] = (100, hit + script, "")
        self.apt.refresh(2000.0)
        plan = self.apt.plan(base.Selection())
        self.assertEqual(plan.faults, ("apt-get update: " + script.strip(),))
        self.assertEqual(base.forecast(plan)[0], "partial")

    def test_refresh_judges_an_item_by_the_last_word_about_it(self) -> None:
        # A repository of bare lists, as apt 3.0 reads it: there are no translations.
        told = recorded("update-bare.txt")
        self.assertIn("\nErr:4 ", told)
        self.fake.answers[tuple(REFRESH)] = told
        self.apt.refresh(2000.0)
        self.fake.answers[tuple(REFRESH)] = told.replace("\nIgn:4 ", "\nErr:4 ")
        with self.assertRaisesRegex(base.ManagerError, "Err:4 file:/srv/main"):
            self.apt.refresh(2000.0)

    def test_refresh_that_hangs_is_ended_and_told(self) -> None:
        argv = [word.replace("Timeout=60", "Timeout=5") for word in REFRESH]
        self.fake.answers[tuple(argv)] = (-15, "", "", True)
        with self.assertRaisesRegex(base.ManagerError, "not finished in time"):
            self.apt.refresh(1005.0)
        self.assertEqual(self.fake.deadlines, [5.0])

    def test_every_lock_message_means_locked(self) -> None:
        for line in ("E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt)",
                     "E: Unable to lock directory /var/lib/apt/lists/",
                     "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), "
                     "is another process using it?",
                     "dpkg: error: dpkg frontend lock was locked by another process with pid 7"):
            self.fake.answers[tuple(GET + UPGRADE)] = (100, "", line + "\n")
            with self.assertRaises(base.Locked):
                self.apt.commit(self.plan(), 2000.0)

    def test_commit_has_no_deadline_and_writes_to_the_log_not_to_a_pipe(self) -> None:
        self.fake.answers[tuple(GET + UPGRADE)] = "done\n"
        self.apt.commit(self.plan(), 2000.0)
        self.assertEqual((self.fake.logged[-1], self.fake.deadlines[-1]), (True, None))
        self.assertIn("Package: qv-plain:any", self.fake.preferences[-1])

    def test_reason_of_a_failure_is_found_in_a_log_that_was_emptied_meanwhile(self) -> None:
        log = self.world.log_fd
        assert log is not None
        os.write(log, b"an earlier run\n" * 100)
        self.fake.answers[tuple(GET + UPGRADE)] = (100, "E: no space left\n", "")
        run = self.fake.run

        def emptied(argv: Sequence[str], *rest: Any, **options: Any) -> command.Result:
            if options["log_fd"] is not None:
                os.ftruncate(options["log_fd"], 0)
            return run(argv, *rest, **options)

        work = apt.Apt(self.world._replace(run=emptied))
        with self.assertRaisesRegex(base.ManagerError, "E: no space left"):
            work.commit(base.Plan(), 2000.0)

    def test_commit_waits_for_a_lock_no_longer_than_it_may(self) -> None:
        words = [word.replace("Timeout=60", "Timeout=7") for word in GET]
        self.fake.answers[tuple(words + UPGRADE)] = "done\n"
        self.apt.commit(self.plan(), 1007.0)

    def test_download_is_a_step_of_its_own_and_ends_with_the_window(self) -> None:
        argv = GET + ["-d"] + UPGRADE
        self.fake.answers[tuple(argv)] = "done\n"
        self.apt.download(self.plan(), 1300.0)
        self.assertEqual((self.fake.calls[-1], self.fake.deadlines[-1], self.fake.logged[-1]),
                         (argv, 300.0, False))

    def fetch(self, answer: Any, selection: base.Selection) -> base.Plan:
        """Download ahead, plan and download as the transaction does; the plan."""
        self.fake.answers[tuple(FETCH)] = answer
        self.fake.answers[tuple(GET + ["-d"] + UPGRADE)] = "done\n"
        self.apt.prefetch(selection, 1300.0)
        plan = self.apt.plan(selection)
        self.apt.download(plan, 1300.0)
        return plan

    def test_whole_upgrade_is_planned_from_the_download_that_lists_it(self) -> None:
        # What was read from root's record has lists, not tuples.
        plan = self.fetch(recorded("fetched.txt"), base.Selection(*json.loads("[false, [], []]")))
        self.assertEqual((self.fake.calls[0], self.fake.deadlines[0], self.fake.logged[0]),
                         (FETCH, 300.0, False))
        self.assertNotIn(SIMULATE + UPGRADE, self.fake.calls)
        self.assertEqual([call for call in self.fake.calls if "-d" in call], [FETCH])
        simulated = apt_text.parse_simulation(recorded("fetched-simulated.txt"))
        self.assertEqual(sorted(package[:3] for package in plan.install),
                         sorted(package[:3] for package in simulated.install))
        self.assertEqual([left.name for left in plan.left], ["qv-plain", "qv-swap"])

    def test_download_ahead_that_failed_leaves_simulation_and_download_to_their_steps(self) -> None:
        locked = (100, "", "E: Could not get lock /var/cache/apt/archives/lock.\n")
        hung = (-15, recorded("fetched.txt"), "", True)
        other = recorded("fetched.txt").replace(" 0 to remove", " 1 downgraded, 0 to remove")
        for answer in (locked, hung, other):
            self.fake.calls.clear()
            plan = self.fetch(answer, base.Selection())
            self.assertEqual(self.names(plan.install), [
                "qv-base", "qv-brandnew", "qv-new", "qv-plain", "qv-sec", "qv-secup"])
            self.assertIn(SIMULATE + UPGRADE, self.fake.calls)
            self.assertEqual(self.fake.calls[-1], GET + ["-d"] + UPGRADE)

    def test_selection_is_never_downloaded_before_it_was_simulated(self) -> None:
        for selection in (base.Selection(security_only=True), base.Selection(only=("qv-sec",)),
                          base.Selection(exclude=("qv-plain",))):
            self.apt.prefetch(selection, 1300.0)
            self.assertEqual(self.fake.calls, [])

    def test_package_that_failed_is_named(self) -> None:
        self.fake.answers[tuple(GET + UPGRADE)] = (
            100, "Errors were encountered while processing:\n qv-bad\n",
            "E: Sub-process /usr/bin/dpkg returned an error code (1)\n")
        with self.assertRaisesRegex(base.ManagerError, "dpkg failed on qv-bad"):
            self.apt.commit(self.plan(), 2000.0)

    def test_what_a_failed_run_has_unpacked_is_configured_at_once(self) -> None:
        self.fake.answers[tuple(GET + UPGRADE)] = (
            100, "Errors were encountered while processing:\n /srv/qv-bad_2.0_all.deb\n",
            "E: Sub-process /usr/bin/dpkg returned an error code (1)\n")
        configure = GET + ["--no-remove", "install"]
        self.fake.answers[tuple(configure)] = "Setting up qv-plain (2.0) ...\n"
        # What has failed already is not started once more.
        for status, calls in (("ii ", 2), ("iF ", 2), ("iU ", 3)):
            self.fake.calls.clear()
            self.fake.answers[tuple(DPKG_QUERY)] = recorded("installed.txt").replace(
                "qv-plain\t1.0\tall\tii ", "qv-plain\t2.0\tall\t" + status)
            with self.assertRaisesRegex(base.ManagerError, "dpkg failed on"):
                self.apt.commit(self.plan(), 2000.0)
            self.assertEqual(self.fake.calls,
                             [PREFERENCES, GET + UPGRADE, DPKG_QUERY, configure][:calls + 1])

    def test_recovery_configures_reinstalls_what_was_lost_and_fixes(self) -> None:
        broken = recorded("installed.txt").replace("qv-big\t1.0\tall\tii ", "qv-big\t2.0\tall\tiHR")
        self.fake.answers[tuple(DPKG_QUERY)] = broken
        again = GET + ["--no-remove", "--reinstall", "install", "--", "qv-big"]
        fix = ["--no-remove", "-f", "install"]
        configure = ["/usr/bin/dpkg", "--configure", "-a", "--force-confdef", "--force-confold"]
        for argv in (configure, ["/usr/bin/apt-mark", "auto", "qv-big"], again, GET + fix):
            self.fake.answers[tuple(argv)] = "done\n"
        self.fake.answers["/usr/bin/apt-mark", "showauto", "qv-big"] = "qv-big\n"
        self.fake.answers[tuple(SIMULATE + fix)] = recorded("upgrade.txt")
        self.assertEqual(self.apt.broken(), "not completely installed: qv-big")
        self.fake.calls.clear()
        with self.assertRaisesRegex(base.ManagerError, "cannot be repaired"):
            self.apt.recover(2000.0)
        self.assertEqual([call for call in self.fake.calls if call != DPKG_QUERY], [
            ["/usr/bin/apt-mark", "showauto", "qv-big"], again,
            ["/usr/bin/apt-mark", "auto", "qv-big"], SIMULATE + fix, GET + fix, configure])

    def test_journal_of_dpkg_is_read_in_without_starting_a_script(self) -> None:
        self.write("var/lib/dpkg/updates/0001", "")
        merge = ["/usr/bin/dpkg", "--set-selections"]
        for argv in (merge, GET + ["--no-remove", "-f", "install"],
                     ["/usr/bin/dpkg", "--configure", "-a", "--force-confdef",
                      "--force-confold"]):
            self.fake.answers[tuple(argv)] = "done\n"
        self.fake.answers[tuple(SIMULATE + ["--no-remove", "-f", "install"])] = recorded(
            "upgrade.txt")
        with self.assertRaisesRegex(base.ManagerError, "dpkg was interrupted"):
            self.apt.recover(2000.0)
        self.assertEqual([call for call in self.fake.calls if call != DPKG_QUERY][0], merge)

    def test_recovery_keeps_to_the_selection(self) -> None:
        # A name that is installed is pinned; one that would come in new is seen before.
        fix = ["--no-remove", "-f", "install"]
        self.fake.answers[tuple(DPKG_QUERY)] = recorded("installed.txt").replace(
            "qv-plain\t1.0\tall\tii ", "qv-plain\t2.0\tall\tiU ")
        configure = ["/usr/bin/dpkg", "--configure", "-a", "--force-confdef", "--force-confold"]
        self.fake.answers[tuple(configure)] = "done\n"
        self.fake.answers[tuple(SIMULATE + fix)] = recorded("upgrade.txt")
        self.apt.selection = base.Selection(exclude=("qv-lib", "qv-brand*"))
        with self.assertRaisesRegex(base.ManagerError, "that needs qv-brandnew, which is left out"):
            self.apt.recover(2000.0)
        self.assertIn("Package: qv-lib:any\nPin: release *\nPin-Priority: -1\n",
                      self.fake.preferences[self.fake.calls.index(SIMULATE + fix)])
        self.assertNotIn(GET + fix, self.fake.calls)
        self.assertEqual(os.listdir(os.path.join(self.root, "run")), [])

    def test_database_without_dpkg_itself_is_a_fault_and_not_a_system_without_updates(self) -> None:
        # dpkg-query -W of an empty or shortened status says nothing and exits with 0.
        whole = recorded("installed.txt")
        row = [line for line in whole.splitlines(True) if line.startswith("dpkg\t")][0]
        for said in ("\n", whole.replace(row, ""), whole.replace(row, row.replace("ii ", "rc "))):
            self.fake.answers[tuple(DPKG_QUERY)] = said.lstrip("\n") or (0, "", "")
            for look in (self.apt.broken, self.apt.installed):
                with self.assertRaisesRegex(base.ManagerError, "dpkg itself is not in it: restore"):
                    look()

    def test_journal_of_dpkg_means_interrupted(self) -> None:
        self.assertEqual(self.apt.broken(), "")
        self.write("var/lib/dpkg/updates/0001", "")
        self.assertEqual(self.apt.broken(), "dpkg was interrupted")

    def test_installed_names_carry_an_architecture_only_where_it_is_foreign(self) -> None:
        self.fake.answers[tuple(DPKG_QUERY)] = recorded("installed.txt") + (
            "libc6:i386\t2.36\ti386\tii \ngone\t1\tall\trc \nnever\t\t\tun \n")
        installed = self.apt.installed()
        self.assertEqual(installed["libc6"], "2.36-9+deb12u14")
        self.assertEqual(installed["libc6:i386"], "2.36")
        self.assertNotIn("gone", installed)
        self.assertNotIn("never", installed)

    def test_configuration_that_waits_for_the_administrator_is_found(self) -> None:
        for name in ("a.dpkg-dist", "b/c.ucf-dist", "d", "e.dpkg-old"):
            self.write("etc/" + name, "")
        self.assertEqual(sorted(self.apt.leftovers()), ["/etc/a.dpkg-dist", "/etc/b/c.ucf-dist"])

    def test_reboot_file_of_the_system_is_a_reason_with_its_packages(self) -> None:
        self.assertEqual(self.apt.reboot_reasons(), [])
        self.write("run/reboot-required", "")
        self.write("run/reboot-required.pkgs", "dbus\nlibc6\ndbus\n")
        self.assertEqual(self.apt.reboot_reasons(), ["reboot-required: dbus, libc6"])

    def test_whoever_holds_a_lock_is_named(self) -> None:
        self.write("var/lib/dpkg/lock-frontend", "")
        path = os.path.join(self.root, "var/lib/dpkg/lock-frontend")
        holder = subprocess.Popen(
            [sys.executable, "-c", "import fcntl, sys; f = open(%r, 'r+b'); "
             "fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()" % path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert holder.stdin is not None and holder.stdout is not None
        holder.stdout.readline()
        self.assertEqual(self.apt.busy(), "/var/lib/dpkg/lock-frontend is held by process %d"
                         % holder.pid)
        with self.assertRaises(base.Locked):
            self.apt.unlocked(0)
        holder.communicate()
        self.assertEqual(self.apt.busy(), "")

    def test_nobody_holds_locks_that_do_not_exist(self) -> None:
        self.assertEqual(self.apt.busy(), "")
        self.write("var/lib/dpkg/lock-frontend", "")
        self.assertEqual(self.apt.busy(), "")


class Texts(unittest.TestCase):
    def test_lists_of_a_download_say_the_same_as_a_simulation(self) -> None:
        lists = apt_text.parse_lists(recorded("fetched.txt"))
        simulated = apt_text.parse_simulation(recorded("fetched-simulated.txt"))
        assert lists is not None
        self.assertEqual(sorted(package[:3] for package in lists.install),
                         sorted(package[:3] for package in simulated.install))
        self.assertEqual(lists[1:], simulated[1:])

    def test_lists_that_do_not_agree_with_their_counts_are_not_believed(self) -> None:
        good = recorded("fetched.txt")
        self.assertIsNotNone(apt_text.parse_lists(good))
        for old, new in (("   qv-app (1.0 => 2.0)\n", ""), ("   qv-brandnew (1.0)\n", ""),
                         ("   qv-swap (1.0 => 2.0)\n", ""), ("0 to remove", "1 to remove"),
                         ("10 upgraded, 1 newly installed, ",
                          "10 upgraded, 1 newly installed, 1 downgraded, "),
                         ("will be upgraded:", "will be DOWNGRADED:"), ("10 upgraded", "")):
            self.assertIn(old, good)
            self.assertIsNone(apt_text.parse_lists(good.replace(old, new)), old)

    def test_names_that_cannot_exist_are_refused_in_lists_too(self) -> None:
        for name in ("-o=x", "qv-app/stable", "qv-app,x"):
            with self.assertRaisesRegex(base.ManagerError, "cannot exist"):
                apt_text.parse_lists(recorded("fetched.txt").replace(" qv-app ", " %s " % name))

    def test_origins_of_an_inst_line_are_labels(self) -> None:
        for origins, expected in (
                ("Debian-Security:stable-security", True),
                ("Debian:10.4/stable, Debian-Security:10/stable", True),
                ("Debian:12.15/oldstable", False), ("Example Third:third", False),
                ("stable-updates", False), ("Ubuntu:22.04/jammy-security", True),
                ("Ubuntu:22.04/jammy-updates", False),
                ("UbuntuESM:22.04/jammy-infra-security", True),
                ("UbuntuESMApps:22.04/jammy-apps-updates", False)):
            self.assertEqual(apt_text.is_security(origins), expected, origins)

    def test_lines_of_other_apts_are_read(self) -> None:
        got = apt_text.parse_simulation(
            "Inst libqv++1.0 [1:1.0-1] (1:2.0-1 Debian:stable-updates [all])\n"
            "Inst libc6:i386 [2.36-9] (2.36-10 Debian:12/stable [i386]) [libc6:amd64 ]\n"
            "Inst openssl [1.1.1d-0+deb10u2] (1.1.1d-0+deb10u3 Debian:10.4/stable, "
            "Debian-Security:10/stable [amd64])\n"
            "3 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n")
        self.assertEqual(got.install, (
            base.Package("libqv++1.0", "1:1.0-1", "1:2.0-1"),
            base.Package("libc6:i386", "2.36-9", "2.36-10"),
            base.Package("openssl", "1.1.1d-0+deb10u2", "1.1.1d-0+deb10u3", True)))

    def test_phased_updates_are_read_apart_from_kept_back_ones(self) -> None:
        got = apt_text.parse_simulation(
            "The following upgrades have been deferred due to phasing:\n  one two\n  three\n"
            "The following packages have been kept back:\n  four\n"
            "0 upgraded, 0 newly installed, 0 to remove and 4 not upgraded.\n")
        self.assertEqual((got.phased, got.kept), (("one", "two", "three"), ("four",)))

    def test_lock_is_one_only_where_nothing_had_begun(self) -> None:
        # From runs of apt 2.6 and 3.0 in which a maintainer script calls dpkg, or apt.
        for name in ("script-calls-dpkg.txt", "script-calls-apt.txt"):
            said = recorded(name)
            self.assertRegex(said, "lock")
            self.assertFalse(apt_text.is_locked(said), name)
            self.assertRegex(apt_text.failure(said), "^dpkg failed on qv-vend: dpkg: error")
        self.assertFalse(apt_text.is_locked(
            "E: Could not get lock /var/lib/dpkg/lock-frontend\n"
            "E: Problem executing scripts DPkg::Pre-Invoke 'apt-get check'\n"))

    def test_a_line_that_names_no_package_is_refused(self) -> None:
        for name in ("-y", "../x.deb", "$(b)"):
            with self.assertRaises(base.ManagerError):
                apt_text.parse_simulation(
                    "The following packages have been kept back:\n  ok %s\n" % name)

    def test_simulation_that_was_told_to_be_quiet_is_not_taken_for_nothing_to_do(self) -> None:
        # apt 2.6 with `quiet "2";` in apt.conf and -q: no counts, and nothing kept back is named.
        with self.assertRaisesRegex(base.ManagerError, "does not say how many"):
            apt_text.parse_simulation(recorded("quiet.txt"))
        with self.assertRaisesRegex(base.ManagerError, "does not say how many"):
            apt_text.parse_simulation("")

    def test_simulation_whose_counts_do_not_agree_with_its_steps_is_not_believed(self) -> None:
        good = recorded("upgrade.txt")
        self.assertEqual(apt_text.parse_simulation(good).unnamed, 0)
        for old, new in (("5 upgraded", "6 upgraded"), ("1 newly", "0 newly"),
                         ("0 to remove", "1 to remove"), ("3 not upgraded", "2 not upgraded"),
                         ("Inst qv-base [1.0] (2.0 Debian:stable [all])\n", ""),
                         ("newly installed, 0", "newly installed, 1 downgraded, 0")):
            self.assertIn(old, good)
            with self.assertRaisesRegex(base.ManagerError, "do not agree"):
                apt_text.parse_simulation(good.replace(old, new))
        lines = good.replace("5 upgraded, 1 newly installed, 0 to",
                             "4 upgraded, 1 newly installed, 1 downgraded, 1 to")
        both = apt_text.parse_simulation(lines + "Purg qv-old [1.0]\n")
        self.assertEqual((len(both.install), both.removed), (6, ("qv-old",)))

    def test_only_an_apt_that_is_known_for_it_is_taken_to_name_all_that_it_keeps_back(self) -> None:
        for version in ("2.6.1", "2.7.14build2", "2.10", "3.0.4", "10.1"):
            self.assertTrue(apt_text.names_all(version), version)
        for version in ("", "2.2.4", "2.0.2ubuntu0.2", "1.9.11", "2", "x2.6"):
            self.assertFalse(apt_text.names_all(version), version)

    def test_how_many_are_kept_back_without_a_name_is_known(self) -> None:
        told = recorded("upgrade.txt").replace("3 not upgraded", "5 not upgraded")
        self.assertEqual(apt_text.parse_simulation(told).unnamed, 2)

    def test_a_step_in_an_unknown_form_is_an_error_and_not_overlooked(self) -> None:
        for line in ("Inst qv-plain 1.0 -> 2.0", "Inst qv-plain [1.0] (2.0 Debian:12/stable)"):
            with self.assertRaisesRegex(base.ManagerError, "unknown form: Inst qv-plain"):
                apt_text.parse_simulation(line + "\n")

    def test_security_pins_stand_behind_the_installed_versions(self) -> None:
        text = apt_pins.preferences(["b", "a:i386"], ["l=Ubuntu, a=jammy-security, n=jammy"],
                                    b"admin\n").decode("ascii")
        heads = [tuple(record.splitlines()[:2]) for record in text.split("\n\n")]
        self.assertEqual(heads[:3], [("Package: a:i386", "Pin: release *"),
                                     ("Package: b:any", "Pin: release *"),
                                     ("Package: *", "Pin: release a=now")])
        self.assertEqual(heads[-2:], [("Package: *", "Pin: release *"), ("admin",)])
        self.assertIn("Pin: release l=Ubuntu, a=jammy-security, n=jammy\nPin-Priority: 990\n",
                      text)

    def test_of_several_releases_only_the_own_one_has_security_updates(self) -> None:
        def policy(*rows: str) -> str:
            return "Package files:\n" + "".join(
                " 500 http://x y/main amd64 Packages\n     release v=1,%s,c=main,b=amd64\n     "
                "origin x\n" % row for row in rows)

        main = "o=Debian,a=stable,n=bookworm,l=Debian"
        own = "o=Debian,a=oldstable-security,n=bookworm-security,l=Debian-Security"
        other = "o=Debian,a=stable-security,n=trixie-security,l=Debian-Security"
        pin = "l=Debian-Security, a=oldstable-security, n=bookworm-security"
        all_of = (pin, "l=Debian-Security, a=stable-security, n=trixie-security")
        host = ['PRETTY_NAME="Debian', "VERSION_CODENAME=bookworm", "ID=debian"]
        for rows, words, expected in (
                ((main,), host, ()), ((main, own, own), host, (pin,)),
                ((main, own, other), host, (pin,)), ((main, own, other), ["ID=debian"], all_of),
                ((main, own, other), ["VERSION_CODENAME=forky"], all_of),
                (("a=oldoldstable,n=buster/updates,l=Debian-Security", other),
                 ['VERSION_CODENAME="buster"'],
                 ("l=Debian-Security, a=oldoldstable, n=buster/updates",)),
                (("a=jammy-security,n=jammy,l=Ubuntu", "a=jammy-updates,n=jammy,l=Ubuntu"),
                 ["VERSION_CODENAME=vanessa", "UBUNTU_CODENAME=jammy"],
                 ("l=Ubuntu, a=jammy-security, n=jammy",)),
                (("a=stable-security,l=Debian-Security",), host,
                 ("l=Debian-Security, a=stable-security",)),
                (("a=stable-security,n=a b;c,l=Debian-Security",), host,
                 ("l=Debian-Security, a=stable-security",))):
            self.assertEqual(apt_pins.archives(policy(*rows), words), expected, (rows, words))


class Injection(Case):
    def rows(self) -> List[str]:
        with open(os.path.join(DATA, "injection.txt"), encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip() and line[0] != "#"]
        self.assertGreaterEqual(len(rows), 60)
        return rows

    def test_no_row_reaches_a_command_or_a_preferences_file(self) -> None:
        host = front.Host(1000, record.Store(self.root), self.root, self.world)
        allowed = [SIMULATE + UPGRADE, SIMULATE + PLAIN, SIMULATE + ["dist-upgrade"], DPKG_QUERY,
                   POLICY, PREFERENCES, ["/usr/bin/apt-mark", "showhold"], POLICY_NAMES]
        accepted = 0
        for row in self.rows():
            for key in ("only", "exclude"):
                self.fake = FakeApt()
                fields = {"v": 1, "op": "check", "refresh": False, "security_only": False,
                          "only": [], "exclude": []}
                fields[key] = [row]
                data = io.BytesIO(json.dumps(fields).encode("ascii"))
                host = host._replace(world=self.world._replace(run=self.fake.run))
                start = time.process_time()
                reply = front.serve(data.read, host)
                self.assertLess(time.process_time() - start, 1.0, row)
                for call in self.fake.calls:
                    self.assertIn(call, allowed, row)
                # What matches nothing installed pins nothing, and a whitelist of it leaves nothing.
                pinned = {line for text in self.fake.preferences for line in text.splitlines()
                          if line.startswith("Package: ") and line != "Package: *"}
                self.assertEqual(pinned, set(), row)
                accepted += reply["status"] != "invalid"
        self.assertGreater(accepted, 10)


class Choice(Case):
    def test_systems_are_known_by_their_own_name(self) -> None:
        for text in ("ID=debian\n", 'ID=linuxmint\nID_LIKE="ubuntu debian"\n', "ID='ubuntu'\n"):
            self.assertEqual(managers.choose(text, "Linux", "auto", self.world).name, "apt")

    def test_a_system_without_adapter_is_unsupported_by_name(self) -> None:
        for text, uname, part in (("ID=slackware\n", "Linux", "slackware"), ("", "Linux", "Linux"),
                                  ("", "Darwin", "darwin")):
            with self.assertRaisesRegex(base.Unsupported, part):
                managers.choose(text, uname, "auto", self.world)

    def test_a_system_without_its_program_is_unsupported(self) -> None:
        os.unlink(os.path.join(self.root, "usr/bin/apt-get"))
        with self.assertRaisesRegex(base.Unsupported, "apt-get: is not installed"):
            managers.of_this_system("auto", self.world)

    def test_the_administrator_may_choose(self) -> None:
        self.assertEqual(managers.choose("ID=mine\n", "Linux", "apt", self.world).name, "apt")
