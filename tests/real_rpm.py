# SPDX-License-Identifier: BSD-2-Clause
"""The helper against real dnf, dnf5 and zypper with a repository built by the test.

Not part of `make test`: needs root and trees that are built once from a Debian mirror (see
tests/e2e/tree.py), whose systems call themselves Fedora or SUSE. Every case runs with
each of the three. Run with `python3 -m unittest tests.real_rpm`.
"""

import os
import subprocess
import unittest
from typing import Dict
from typing import List

from qualvosec.helper.managers import zypper

from tests import realhost
from tests import rpmlab


class Cases:
    """The cases, the same for all; mixed into a RealHost."""

    duplicates = True

    @classmethod
    def build(cls, root: str) -> None:
        rpmlab.build(root)
        for folder in ("/etc/yum.repos.d", "/etc/zypp/repos.d"):
            os.makedirs(root + folder, exist_ok=True)
            with open(root + folder + "/updates.repo", "w", encoding="ascii") as file:
                file.write(rpmlab.REPO_FILE % rpmlab.REPO)

    def publish(self: "Cases", *names: str, advisories: bool = True) -> None:
        rpmlab.publish(self.root, names, advisories)

    def versions(self) -> Dict[str, str]:
        text = self.chroot("rpm", "-qa", "--qf", "%{NAME} %{VERSION}-%{RELEASE}\\n")
        rows = sorted(line.split() for line in text.splitlines() if line.count(" ") == 1)
        return {row[0]: row[1] for row in rows}

    def changed(self) -> Dict[str, str]:
        return {name: version for name, version in self.versions().items()
                if version != "1.0-1" and name != "qv-system" and version != "5.14.0-1"}

    def test_everything_pending_is_installed_new_dependencies_too(self) -> None:
        self.publish("qv-plain", "qv-sec", "qv-new", "qv-brandnew", "qv-lib", "qv-app", "kernel")
        record = self.upgrade()
        self.assertEqual(record["outcome"], "ok")
        self.assertEqual(self.changed(), {
            "qv-plain": "2.0-1", "qv-sec": "1.0-3", "qv-new": "2.0-1", "qv-lib": "2.0-1",
            "qv-app": "2.0-1", "kernel": "5.14.0-2"})
        self.assertIn("qv-brandnew", self.versions())
        self.assertIn(["qv-plain", "1.0-1", "2.0-1"], record["upgraded"])
        self.assertIn(["qv-brandnew", "", "1.0-1"], record["upgraded"])
        self.assertEqual((record["pending"], record["kept"], record["clean"]), (0, [], True))
        self.assert_no_traces()

    def test_security_only_installs_what_an_advisory_names(self) -> None:
        self.publish("qv-plain", "qv-sec", "qv-secup", "qv-base")
        record = self.upgrade(security_only=True)
        self.assertEqual(self.changed(), {"qv-sec": "1.0-3"})
        self.assertEqual((record["outcome"], [row[0] for row in record["kept"]]),
                         ("partial", ["qv-secup"]))
        self.assert_no_traces()

    def test_security_only_without_advisories_is_unsupported(self) -> None:
        self.publish("qv-plain", advisories=False)
        record = self.upgrade(security_only=True)
        self.assertEqual((record["outcome"], record["committed"]), ("unsupported", False))
        self.assertIn("no security metadata", record["reason"])

    def test_whitelist_installs_only_what_it_matches(self) -> None:
        self.publish("qv-plain", "qv-lib", "qv-app", "qv-sec")
        record = self.upgrade(only=["qv-pl*", "qv-ap?"])
        self.assertEqual(self.changed(), {"qv-plain": "2.0-1"})
        self.assertEqual((record["outcome"], [row[0] for row in record["kept"]]),
                         ("partial", ["qv-app"]))

    def test_blacklist_leaves_out_and_leaves_no_lock(self) -> None:
        self.publish("qv-plain", "qv-lib", "qv-app", "qv-new", "qv-brandnew")
        record = self.upgrade(exclude=["qv-plain", "qv-brand*"])
        self.assertEqual(self.changed(), {"qv-lib": "2.0-1", "qv-app": "2.0-1"})
        self.assertEqual([row[0] for row in record["kept"]], ["qv-new"])
        self.assert_no_traces()
        record = self.ask(**self.request(window="20261201T0215Z"))["record"]
        self.assertEqual((record["outcome"], self.versions()["qv-plain"]), ("ok", "2.0-1"))

    def test_conflict_and_replacement_are_kept_back_and_nothing_is_removed(self) -> None:
        self.publish("qv-swap", "qv-newname", "qv-plain")
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("partial", {"qv-plain": "2.0-1"}))
        self.assertIn("qv-swap", [row[0] for row in record["kept"]])
        self.assertLessEqual({"qv-old", "qv-oldname"}, set(self.versions()))

    def test_update_that_needs_what_nobody_offers_is_kept_back(self) -> None:
        self.publish("qv-lost", "qv-plain")
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("partial", {"qv-plain": "2.0-1"}))
        self.assertEqual(([row[0] for row in record["kept"]], record["pending"]), (["qv-lost"], 1))

    def test_conflict_of_two_files_is_failed_and_changes_nothing(self) -> None:
        self.publish("qv-clash", "qv-plain")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["clean"], self.changed()),
                         ("failed", True, {}))
        self.assertIn("qv-clash", record["reason"])
        self.assertEqual(self.read("/usr/share/qv-shared"), "1.0\n")

    def hold(self, name: str) -> None:
        self.write("/etc/dnf/dnf.conf", "[main]\nexcludepkgs=%s\n" % name)

    def test_hold_of_the_administrator_is_respected_and_named(self) -> None:
        self.publish("qv-plain", "qv-lib")
        self.hold("qv-plain")
        record = self.upgrade()
        self.assertEqual(record["kept"], [["qv-plain", "held by the administrator"]])
        self.assertEqual(self.changed(), {"qv-lib": "2.0-1"})

    def test_changed_configuration_is_kept_and_the_new_one_reported(self) -> None:
        self.publish("qv-conf")
        self.write("/etc/qv-conf.conf", "edited\n")
        record = self.upgrade()
        self.assertEqual(self.read("/etc/qv-conf.conf"), "edited\n")
        self.assertEqual((record["outcome"], record["config_files"]),
                         ("ok", ["/etc/qv-conf.conf.rpmnew"]))

    def test_failing_script_is_failed(self) -> None:
        self.publish("qv-bad")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"], self.changed()),
                         ("failed", True, {}))

    def test_run_that_is_killed_is_interrupted_and_repaired(self) -> None:
        self.publish("qv-slow")
        self.write("/srv/wait", "")
        process = self.start(**self.request())
        self.until("the script", lambda: "qv-slow-2.0-1" in self.chroot("rpm", "-q", "qv-slow"))
        self.assertGreater(self.kill(), 2)
        process.communicate()
        os.unlink(self.root + "/srv/wait")
        status = self.ask(op="status", wait=False)
        self.assertEqual((status["record"]["phase"], status["record"]["committed"]),
                         ("commit", True))
        self.assertEqual(self.chroot("rpm", "-q", "qv-slow").count("qv-slow"), 2)
        repaired = self.ask(op="repair", window=realhost.WINDOW, not_after=realhost.FAR)
        self.told = "%s\n%s" % (repaired, self.log())
        self.assertEqual((repaired["record"]["outcome"], repaired["record"]["clean"]),
                         ("interrupted", True))
        self.assertEqual(self.chroot("rpm", "-q", "qv-slow").strip(), "qv-slow-2.0-1.noarch")

    def lock(self) -> None:
        self.write("/var/lib/dnf/rpmdb_lock.pid", "%d\n" % os.getpid())

    def test_lock_that_stays_is_locked_and_consumes_nothing(self) -> None:
        self.publish("qv-plain")
        self.write("/etc/qualvosec/helper.conf", "[general]\nlock_wait: 2\n")
        self.lock()
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"], self.changed()),
                         ("locked", False, {}))
        self.assertIn("is held by process", record["reason"])

    def test_nothing_to_do_is_nothing_and_consumes_the_window(self) -> None:
        self.publish()
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"], record["upgraded"]),
                         ("nothing", True, []))

    def test_repository_that_is_down_is_failed_before_anything_is_touched(self) -> None:
        self.publish("qv-plain")
        self.chroot("rm", "-rf", "/srv/repo")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"], self.changed()),
                         ("failed", False, {}))

    def test_one_repository_of_two_that_is_down_is_named_and_the_other_is_used(self) -> None:
        self.publish("qv-plain", "qv-lib")
        self.write("/etc/qualvosec/helper.conf", "[general]\nrefresh_wait: 0\n")
        for folder in ("/etc/yum.repos.d", "/etc/zypp/repos.d"):
            self.write(folder + "/down.repo", rpmlab.REPO_FILE.replace("updates", "down").replace(
                "file://%s", "http://127.0.0.1:9/x"))
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()),
                         ("partial", {"qv-plain": "2.0-1", "qv-lib": "2.0-1"}))
        self.assertRegex(record["reason"], "repository down: .*127.0.0.1")
        self.chroot("rm", "-rf", "/srv/repo")
        record = self.ask(**self.request(window="20261201T0215Z"))["record"]
        self.assertEqual((record["outcome"], record["committed"]), ("failed", False))
        self.assertRegex(record["reason"], "repository updates: .*/srv/repo")

    def test_hostile_names_install_and_remove_nothing(self) -> None:
        self.publish("qv-plain", "qv-lib")
        self.upgrade(only=["nosuchpackage"])
        before = self.chroot("rpm", "-qa")
        names = self.hostile()
        record = self.ask(**self.request(only=names, window="20261201T0215Z"))["record"]
        self.assertEqual(record["outcome"], "nothing")
        self.assertEqual(self.chroot("rpm", "-qa"), before)
        self.assertFalse(os.path.exists(self.root + "/srv/marker"))


class DnfCases(Cases):
    """What only dnf and dnf5 have: kernels beside each other."""

    def older(self, *names: str) -> None:
        """Install what is never offered: an older kernel and what belongs to it."""
        self.chroot("sh", "-c", "rpm --help | grep -q force-debian && force=--force-debian; "
                    "cd /srv/pool/4 && rpm -i --oldpackage --nodeps $force %s"
                    % " ".join(name + "-[0-9]*.rpm" for name in names))

    def kernels(self) -> List[str]:
        return sorted(self.chroot("rpm", "-q", "kernel").split())

    def test_the_oldest_kernel_leaves_with_its_modules_and_all_else_comes_in(self) -> None:
        self.publish("qv-plain", "kernel", "qv-lost")
        self.older("kernel", "kmod-qv")
        self.write("/etc/dnf/dnf.conf", "[main]\ninstallonly_limit=2\ncolor=always\n")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["kept"]), (
            "partial", [["qv-lost", "its dependencies cannot be satisfied"]]))
        self.assertEqual(self.kernels(), ["kernel-5.14.0-1.noarch", "kernel-5.14.0-2.noarch"])
        self.assertEqual(self.versions()["qv-plain"], "2.0-1")
        self.assertNotIn("kmod-qv", " ".join(self.versions()))

    def test_the_oldest_kernel_stays_where_more_than_its_modules_would_go(self) -> None:
        self.publish("qv-plain", "kernel")
        self.older("kernel", "kmod-qv", "qv-kerneltool")
        self.write("/etc/dnf/dnf.conf", "[main]\ninstallonly_limit=2\n")
        record = self.upgrade()
        self.assertEqual(record["outcome"], "ok")
        self.assertEqual(len(self.kernels()), 3)
        self.assertLessEqual({"qv-kerneltool", "kmod-qv-5.13.0-1.noarch"}, set(self.versions()))


class RealDnf(DnfCases, realhost.RealHost):
    """dnf 4.14."""

    tree_name = "managers"
    os_release = "ID=fedora\n"


class RealDnf5(DnfCases, realhost.RealHost):
    """dnf5 of Debian's unstable."""

    tree_name = "dnf5"
    os_release = "ID=fedora\n"

    def lock(self) -> None:
        self.hold_record_lock("/run/dnf/rpmtransaction.lock")

    def test_dnf5_that_waits_at_its_question_is_locked(self) -> None:
        self.publish("qv-plain", "qv-slow")
        self.write("/etc/qualvosec/helper.conf", "[general]\nlock_wait: 2\n")
        self.chroot("dnf5", "-y", "makecache")
        asking = subprocess.Popen(["chroot", self.root, "dnf5", "upgrade", "qv-slow"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
        self.addCleanup(asking.communicate)
        self.addCleanup(asking.kill)
        assert asking.stdout is not None
        seen = b""
        while b"[y/N]" not in seen:
            piece = os.read(asking.stdout.fileno(), 4096)
            self.assertNotEqual(piece, b"", seen)
            seen += piece
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"], self.changed()),
                         ("locked", False, {}))
        self.assertIn("system-repo.lock is held by process %d" % asking.pid, record["reason"])


class RealZypper(Cases, realhost.RealHost):
    """zypper 1.14.42."""

    tree_name = "managers"
    os_release = "ID=opensuse-leap\nID_LIKE=\"suse opensuse\"\n"

    def hold(self, name: str) -> None:
        self.chroot("zypper", "addlock", name)

    def test_what_another_vendor_offers_is_kept_back_for_that_reason(self) -> None:
        self.publish("qv-plain", "qv-vendor", "qv-lost")
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("partial", {"qv-plain": "2.0-1"}))
        self.assertEqual(record["kept"], [
            ["qv-lost", "its dependencies cannot be satisfied"], ["qv-vendor", zypper.VENDOR]])

    def lock(self) -> None:
        self.write("/run/zypp.pid", "%d\n" % os.getpid())


if __name__ == "__main__":
    unittest.main(verbosity=2)
