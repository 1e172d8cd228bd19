# SPDX-License-Identifier: BSD-2-Clause
"""The helper against real pacman with a repository built by the test.

Not part of `make test`: needs root and a tree that is built once from a Debian mirror (see
tests/e2e/tree.py), whose system calls itself Arch. Run with
`python3 -m unittest tests.real_pacman`.
"""

import os
import subprocess
import unittest
from typing import Dict

from tests import pacmanlab
from tests import realhost


class RealPacman(realhost.RealHost):
    """pacman 6.0.2."""

    tree_name = "managers"
    os_release = "ID=arch\n"

    @classmethod
    def build(cls, root: str) -> None:
        pacmanlab.build(root)

    def publish(self, *names: str) -> None:
        pacmanlab.publish(self.root, names)

    def versions(self) -> Dict[str, str]:
        rows = [line.split() for line in self.chroot("pacman", "-Q").splitlines()]
        return {row[0]: row[1] for row in rows if len(row) == 2}

    def changed(self) -> Dict[str, str]:
        return {name: version for name, version in self.versions().items()
                if version != "1.0-1"}

    def test_everything_pending_is_installed_new_dependencies_too(self) -> None:
        self.publish("qv-plain", "qv-sec", "qv-new", "qv-brandnew", "qv-lib", "qv-app")
        record = self.upgrade()
        self.assertEqual(record["outcome"], "ok")
        self.assertEqual(self.changed(), {"qv-plain": "2.0-1", "qv-sec": "1.0-2", "qv-new": "2.0-1",
                                          "qv-lib": "2.0-1", "qv-app": "2.0-1"})
        self.assertIn(["qv-brandnew", "", "1.0-1"], record["upgraded"])
        self.assert_no_traces()

    def test_whitelist_and_security_only_are_unsupported(self) -> None:
        self.publish("qv-plain")
        record = self.upgrade(only=["qv-plain"])
        self.assertEqual((record["outcome"], self.changed()), ("unsupported", {}))
        reply = self.ask(**self.request(security_only=True, window="20261201T0215Z"))
        self.assertEqual((reply["record"]["outcome"], self.changed()), ("unsupported", {}))
        self.assert_no_traces()

    def test_blacklist_takes_the_dependents_along_and_leaves_no_trace(self) -> None:
        self.publish("qv-plain", "qv-lib", "qv-app", "qv-new", "qv-brandnew")
        record = self.upgrade(exclude=["qv-lib", "qv-brand*"])
        self.assertEqual(self.changed(), {"qv-plain": "2.0-1"})
        self.assertEqual(sorted(row[0] for row in record["kept"] if row[0] != "qv-brandnew"),
                         ["qv-app", "qv-new"])
        self.assert_no_traces()

    def test_conflict_and_replacement_are_kept_back_and_nothing_is_removed(self) -> None:
        self.publish("qv-swap", "qv-newname", "qv-plain")
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("partial", {"qv-plain": "2.0-1"}))
        self.assertLessEqual({"qv-old", "qv-oldname"}, set(self.versions()))

    def test_update_that_needs_what_nobody_offers_is_kept_back(self) -> None:
        self.publish("qv-lost", "qv-plain")
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("partial", {"qv-plain": "2.0-1"}))
        self.assertEqual((record["kept"], record["pending"]),
                         ([["qv-lost", "its dependencies cannot be satisfied"]], 1))

    def test_conflict_of_two_files_is_failed_and_changes_nothing(self) -> None:
        self.publish("qv-clash", "qv-plain")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["clean"], self.changed()),
                         ("failed", True, {}))
        self.assertIn("conflicting files", record["reason"])
        self.assertEqual(self.read("/usr/share/qv-shared"), "1.0-1")

    def test_hold_of_the_administrator_is_respected_and_named(self) -> None:
        self.publish("qv-plain", "qv-lib")
        self.write("/etc/pacman.conf", pacmanlab.CONFIG.replace(
            "[options]\n", "[options]\nIgnorePkg = qv-plain\n"))
        record = self.upgrade()
        self.assertEqual(record["kept"], [["qv-plain", "held by the administrator"]])
        self.assertEqual(self.changed(), {"qv-lib": "2.0-1"})

    def test_changed_configuration_is_kept_and_the_new_one_reported(self) -> None:
        self.publish("qv-conf")
        self.write("/etc/qv-conf.conf", "edited\n")
        record = self.upgrade()
        self.assertEqual(self.read("/etc/qv-conf.conf"), "edited\n")
        self.assertEqual((record["outcome"], record["config_files"]),
                         ("ok", ["/etc/qv-conf.conf.pacnew"]))

    def test_run_that_is_interrupted_leaves_a_lock_that_the_next_boot_makes_stale(self) -> None:
        self.publish("qv-slow")
        self.write("/srv/wait", "")
        process = self.start(**self.request())
        lock = self.root + "/var/lib/pacman/db.lck"
        self.until("the script", lambda: self.versions().get("qv-slow") == "2.0-1")
        self.assertGreater(self.kill(), 2)
        process.communicate()
        self.assertTrue(os.path.exists(lock))
        self.write("/etc/qualvosec/helper.conf", "[general]\nlock_wait: 2\n")
        reply = self.ask(op="repair", window=realhost.WINDOW, not_after=realhost.FAR)
        self.assertEqual((reply["record"]["outcome"], reply["record"]["reason"]), (
            "locked", "/var/lib/pacman/db.lck exists, but no pacman is running: one was killed; "
            "remove the file"))
        os.utime(lock, (1, 1))
        os.unlink(self.root + "/srv/wait")
        reply = self.ask(op="repair", window=realhost.WINDOW, not_after=realhost.FAR)
        self.told = "%s\n%s" % (reply, self.log())
        self.assertEqual((reply["record"]["outcome"], reply["record"]["clean"]),
                         ("interrupted", True))
        self.assertFalse(os.path.exists(lock))

    def test_lock_that_stays_is_locked_and_consumes_nothing(self) -> None:
        self.publish("qv-plain", "qv-slow")
        self.write("/etc/qualvosec/helper.conf", "[general]\nlock_wait: 2\n")
        self.write("/srv/wait", "")
        other = subprocess.Popen(["chroot", self.root, "pacman", "-Syu", "--noconfirm"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.addCleanup(other.wait)
        lock = self.root + "/var/lib/pacman/db.lck"
        self.until("a pacman at work", lambda: self.versions().get("qv-slow") == "2.0-1")
        # Older than the boot, as it seems; but its owner is alive.
        os.utime(lock, (1, 1))
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"]), ("locked", False))
        self.assertIn("process %d may be its owner" % other.pid, record["reason"])
        self.assertTrue(os.path.exists(lock))
        os.unlink(self.root + "/srv/wait")

    def test_nothing_to_do_is_nothing(self) -> None:
        self.publish()
        self.assertEqual(self.upgrade()["outcome"], "nothing")
        self.assert_no_traces()

    def test_repository_that_is_down_is_failed_before_anything_is_touched(self) -> None:
        self.publish("qv-plain")
        self.chroot("rm", "-rf", "/srv/repo")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"], self.changed()),
                         ("failed", False, {}))
        self.assert_no_traces()

    def test_hostile_names_install_and_remove_nothing(self) -> None:
        self.publish("qv-plain")
        before = self.chroot("pacman", "-Q")
        record = self.upgrade(exclude=self.hostile() + ["*"])
        self.assertEqual((record["outcome"], self.chroot("pacman", "-Q")), ("nothing", before))
        self.assertFalse(os.path.exists(self.root + "/srv/marker"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
