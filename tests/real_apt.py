# SPDX-License-Identifier: BSD-2-Clause
"""The helper against real apt and dpkg: bookworm, an older and a newer Debian, every case.

Not part of `make test`: needs root and base trees, which are built once from a Debian
mirror (see tests/e2e/tree.py). What is offered lies in repositories on the disk of the
system. Run with `python3 -m unittest tests.real_apt`, or `tests.real_apt.RealApt`
for bookworm alone.
"""

import json
import os
import subprocess
import unittest
from typing import Dict

from tests import deblab
from tests import realhost

WINDOW = realhost.WINDOW
FAR = realhost.FAR


class RealApt(realhost.RealHost):
    """apt 2.6 of bookworm."""

    tree_name = "host"
    starts = 3      # of apt-get for an upgrade of everything: lists, plan and download, the upgrade
    os_release = "ID=debian\n"
    phased = [["qv-phased", "phased: not yet offered to this host"]]

    @classmethod
    def build(cls, root: str) -> None:
        deblab.build(root)

    def publish(self, *names: str, security: bool = True) -> None:
        deblab.publish(self.root, names, security)

    def versions(self) -> Dict[str, str]:
        text = self.chroot("dpkg-query", "-W", "-f=${Package} ${Version}\\n", "qv-*")
        rows = [line.split() for line in text.splitlines() if line.startswith("qv-")]
        return {row[0]: row[1] for row in rows if len(row) == 2}

    def changed(self) -> Dict[str, str]:
        return {name: version for name, version in self.versions().items()
                if version != "1.0" or name == "qv-brandnew"}

    def assert_clean(self) -> None:
        self.assertEqual(self.chroot("dpkg", "--audit"), "")

    def assert_no_traces(self) -> None:
        """No hold, no preferences file of ours left behind."""
        super().assert_no_traces()
        self.assertEqual(self.chroot("apt-mark", "showhold"), "")

    def test_everything_pending_is_installed_new_dependencies_too(self) -> None:
        self.publish("qv-plain", "qv-sec", "qv-new", "qv-brandnew", "qv-lib", "qv-app")
        record = self.upgrade()
        self.assertEqual(record["outcome"], "ok", self.log())
        self.assertEqual(self.changed(), {"qv-plain": "2.0", "qv-sec": "2.0", "qv-new": "2.0",
                                          "qv-brandnew": "1.0", "qv-lib": "2.0", "qv-app": "2.0"})
        self.assertIn(["qv-plain", "1.0", "2.0"], record["upgraded"])
        self.assertIn(["qv-brandnew", "", "1.0"], record["upgraded"])
        self.assertEqual((record["pending"], record["kept"], record["clean"], record["committed"]),
                         (0, [], True, True))
        self.assertEqual(self.chroot("apt-mark", "showmanual", "qv-brandnew"), "")
        log = self.read("/var/log/qualvosec-helper/run.log")
        self.assertEqual(log.count(' run argv="/usr/bin/apt-get '), self.starts)
        self.assert_clean()
        self.assert_no_traces()

    def test_security_only_takes_the_security_version_and_names_what_it_cannot(self) -> None:
        self.publish("qv-plain", "qv-sec", "qv-secup", "qv-base")
        record = self.upgrade(security_only=True)
        self.assertEqual(self.changed(), {"qv-sec": "1.0+deb12u1"})
        self.assertEqual(record["outcome"], "partial")
        self.assertEqual(record["kept"], [[
            "qv-secup", "needs a version of another package that is not a security update"]])
        self.assert_no_traces()

    def test_settings_of_the_administrator_neither_widen_nor_stop_a_run(self) -> None:
        self.publish("qv-plain", "qv-sec", "qv-swap")
        self.write("/etc/apt/apt.conf.d/99mine", 'APT::Default-Release "stable";\n'
                   'APT::Get::AutomaticRemove "true";\nAPT::Get::Show-Versions "true";\n')
        self.chroot("apt-mark", "auto", "qv-old")
        record = self.upgrade(security_only=True)
        self.assertEqual((record["outcome"], self.changed()), ("ok", {"qv-sec": "1.0+deb12u1"}))
        record = self.upgrade(window="20261201T0215Z")
        self.assertEqual((record["outcome"], self.changed()),
                         ("partial", {"qv-plain": "2.0", "qv-sec": "2.0"}))
        self.assertEqual(record["reason"], "qv-swap: needs the removal of qv-old")
        self.assertIn("qv-old", self.versions())
        self.assert_no_traces()

    def test_security_only_takes_what_a_pin_or_a_default_release_hides(self) -> None:
        self.publish("qv-plain", "qv-urgent")
        for number, (path, text) in enumerate((
                ("/etc/apt/preferences.d/stable",
                 "Package: *\nPin: release a=stable\nPin-Priority: 990\n"),
                ("/etc/apt/preferences", "Package: *\nPin: release l=Debian-Security\n"
                 "Pin-Priority: -1\n"),
                ("/etc/apt/apt.conf.d/99release", 'APT::Default-Release "stable";\n'))):
            self.write(path, text)
            record = self.upgrade(exclude=["qv-plain"], window="20261124T02%02dZ" % number)
            self.assertEqual((record["outcome"], self.changed()), ("nothing", {}), path)
            self.assertEqual(record["reason"], "qv-urgent: a security update is hidden by a pin or "
                             "by APT::Default-Release")
            record = self.upgrade(security_only=True, window="20261125T02%02dZ" % number)
            self.assertEqual((record["outcome"], self.changed(), record["pending"]),
                             ("ok", {"qv-urgent": "1.0+deb12u1"}, 1), path)
            self.chroot("dpkg", "-i", "/srv/pool/qv-urgent_1.0_all.deb")
            os.unlink(self.root + path)
        self.assert_no_traces()

    def test_security_update_that_a_pin_hides_by_name_is_named(self) -> None:
        self.publish("qv-plain", "qv-urgent")
        for number, pin in enumerate(("version 1.0\nPin-Priority: 900",
                                      "release l=Debian-Security\nPin-Priority: -1")):
            self.write("/etc/apt/preferences.d/name", "Package: qv-urgent\nPin: %s\n" % pin)
            record = self.upgrade(window="20261124T020%dZ" % number)
            self.assertEqual(record["outcome"], "nothing" if number else "ok")
            self.assertEqual(record["reason"], "qv-urgent: a security update is hidden by a pin or "
                             "by APT::Default-Release")
            self.assertEqual(self.changed(), {"qv-plain": "2.0"})

    def test_quiet_in_apt_conf_hides_nothing(self) -> None:
        self.publish("qv-swap", "qv-plain", "qv-lost")
        self.write("/etc/apt/apt.conf.d/99quiet", 'quiet "2";\n')
        for window, exclude, changed in (("20261124T0215Z", ["qv-plain"], {}),
                                         ("20261125T0215Z", [], {"qv-plain": "2.0"})):
            record = self.upgrade(exclude=exclude, window=window)
            self.assertEqual((record["outcome"], self.changed()), ("partial", changed))
            self.assertEqual(([row[0] for row in record["kept"]], record["pending"]),
                             (["qv-lost", "qv-swap"], 2 + len(exclude)))

    def test_settings_that_would_silence_or_stop_apt_change_nothing(self) -> None:
        # All that apt_options.py has found to matter, at once.
        self.publish("qv-swap", "qv-plain")
        self.write("/etc/apt/apt.conf.d/99all", "".join('%s "%s";\n' % row for row in (
            ("quiet::NoProgress", "true"), ("APT::Get::Simulate", "true"),
            ("APT::Get::Download", "false"), ("APT::Get::Download-Only", "true"),
            ("APT::Get::Trivial-Only", "true"), ("APT::Get::Print-URIs", "true"),
            ("APT::Get::force-yes", "true"), ("APT::Get::allow-downgrades", "true"),
            ("APT::Get::Fix-Missing", "true"), ("APT::Get::Show-Versions", "true"),
            ("APT::Get::CallResolver", "false"), ("DPkg::ConfigurePending", "false"))))
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed(), record["kept"]), (
            "partial", {"qv-plain": "2.0"}, [["qv-swap", "needs the removal of qv-old"]]))

    def test_lists_are_fetched_also_where_apt_conf_asks_for_addresses_only(self) -> None:
        self.publish()
        self.chroot("apt-get", "update")
        self.publish("qv-plain")
        self.write("/etc/apt/apt.conf.d/99uris", 'APT::Get::Print-URIs "true";\n')
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("ok", {"qv-plain": "2.0"}))

    def test_database_of_dpkg_that_is_empty_or_has_lost_a_part_is_failed(self) -> None:
        self.publish("qv-plain")
        whole = self.read("/var/lib/dpkg/status")
        part = "\n\n".join(row for row in whole.split("\n\n")
                           if not row.startswith("Package: dpkg\n"))
        self.assertNotEqual(part, whole)
        for number, text in enumerate(("", part)):
            self.write("/var/lib/dpkg/status", text)
            record = self.upgrade(window="20261124T02%02dZ" % number)
            self.assertEqual((record["outcome"], record["clean"], record["committed"]),
                             ("failed", False, False))
            self.assertIn("dpkg itself is not in it: restore it", record["reason"])
        self.write("/var/lib/dpkg/status", whole)
        self.assertEqual(self.upgrade()["outcome"], "ok")

    def test_security_archive_of_another_release_gives_no_security_updates(self) -> None:
        self.publish("qv-plain", "qv-sec")
        self.chroot("cp", "-a", "/srv/main", "/srv/other")
        self.publish("qv-sec")
        self.write("/etc/os-release", "ID=debian\nVERSION_CODENAME=bookworm\n")
        for folder, codename in (("security", "bookworm-security"), ("other", "trixie-security")):
            release = self.read("/srv/%s/Release" % folder).split("\n", 3)
            self.write("/srv/%s/Release" % folder, "Origin: Debian\nLabel: Debian-Security\n"
                       "Suite: %s\nCodename: %s\n%s" % (folder, codename, release[3]))
        with open(self.root + "/etc/apt/sources.list", "a", encoding="ascii") as file:
            file.write("deb [trusted=yes] file:/srv/other ./\n")
        self.write("/etc/apt/preferences.d/other",
                   "Package: *\nPin: release n=trixie-security\nPin-Priority: 50\n")
        record = self.upgrade(security_only=True)
        self.assertEqual((record["outcome"], self.changed()), ("ok", {"qv-sec": "1.0+deb12u1"}))

    def test_blacklist_may_name_the_architecture_as_dpkg_shows_it(self) -> None:
        self.publish("qv-plain", "qv-lib")
        own = self.chroot("dpkg", "--print-architecture").strip()
        record = self.upgrade(exclude=["qv-plain:" + own])
        self.assertEqual((record["outcome"], self.changed()), ("ok", {"qv-lib": "2.0"}))

    def test_security_only_without_a_security_archive_is_unsupported(self) -> None:
        self.publish("qv-plain", security=False)
        record = self.upgrade(security_only=True)
        self.assertEqual((record["outcome"], record["committed"]), ("unsupported", False))
        self.assertIn("no security metadata", record["reason"])
        self.assertEqual(self.changed(), {})

    def test_whitelist_installs_only_what_it_matches(self) -> None:
        self.publish("qv-plain", "qv-lib", "qv-app", "qv-sec")
        record = self.upgrade(only=["qv-pl*", "qv-ap?"])
        self.assertEqual(self.changed(), {"qv-plain": "2.0"})
        self.assertEqual(record["kept"], [["qv-app", "needs an update that is excluded"]])
        self.assertEqual(record["outcome"], "partial")
        self.assertEqual(record["pending"], 3)
        self.assert_no_traces()

    def test_whitelist_that_matches_nothing_installs_nothing(self) -> None:
        self.publish("qv-plain")
        record = self.upgrade(only=["nosuchpackage"])
        self.assertEqual((record["outcome"], self.changed()), ("nothing", {}))
        self.assertEqual(record["reason"],
                         "packages_whitelist: nosuchpackage matches no installed package")

    def test_blacklist_leaves_out_and_leaves_no_hold(self) -> None:
        self.publish("qv-plain", "qv-lib", "qv-app", "qv-new", "qv-brandnew")
        record = self.upgrade(exclude=["qv-plain", "qv-brand*"])
        self.assertEqual(self.changed(), {"qv-lib": "2.0", "qv-app": "2.0"})
        self.assertEqual(record["kept"], [["qv-new", "needs an update that is excluded"]])
        self.assert_no_traces()
        self.assertEqual(self.upgrade(window="20261201T0215Z")["outcome"], "ok")
        self.assertEqual(self.versions()["qv-plain"], "2.0")

    def test_pins_of_the_administrator_stay_in_force(self) -> None:
        self.publish("qv-plain", "qv-lib", "qv-sec")
        self.write("/etc/apt/preferences", "Package: qv-plain\nPin: release *\nPin-Priority: -5\n")
        self.write("/etc/apt/preferences.d/lib",
                   "Package: qv-lib\nPin: version 1.0\nPin-Priority: 900\n")
        record = self.upgrade(exclude=["qv-new"])
        self.assertEqual((record["outcome"], self.changed()), ("ok", {"qv-sec": "2.0"}))

    def test_what_needs_a_removal_is_kept_back_and_nothing_is_removed(self) -> None:
        self.publish("qv-swap", "qv-plain")
        record = self.upgrade()
        self.assertEqual(record["outcome"], "partial")
        self.assertEqual(record["kept"], [["qv-swap", "needs the removal of qv-old"]])
        self.assertEqual(self.changed(), {"qv-plain": "2.0"})
        self.assertIn("qv-old", self.versions())

    def test_update_that_needs_what_nobody_offers_is_kept_back(self) -> None:
        self.publish("qv-lost", "qv-plain")
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("partial", {"qv-plain": "2.0"}))
        self.assertEqual((record["kept"], record["pending"]),
                         ([["qv-lost", "its dependencies cannot be satisfied"]], 1))

    def test_conflict_of_two_files_is_failed_and_tells_the_package(self) -> None:
        self.publish("qv-clash", "qv-plain")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"], record["clean"]),
                         ("failed", True, True))
        self.assertIn("qv-clash", record["reason"])
        self.assertEqual(self.versions()["qv-clash"], "1.0")
        self.assertEqual(self.read("/usr/share/qv-shared"), "1.0")

    def test_phased_update_waits_for_its_turn_and_is_not_partial(self) -> None:
        self.publish("qv-phased", "qv-plain")
        self.write("/etc/apt/apt.conf.d/99phased", 'APT::Get::Never-Include-Phased-Updates "1";\n')
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("ok", {"qv-plain": "2.0"}))
        self.assertEqual(record["kept"], self.phased)

    def test_repository_of_bare_lists_is_read(self) -> None:
        deblab.publish(self.root, ["qv-plain"], security=False, release=False)
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("ok", {"qv-plain": "2.0"}))

    def test_hold_of_the_administrator_is_respected_named_and_kept(self) -> None:
        self.publish("qv-plain", "qv-lib")
        self.chroot("apt-mark", "hold", "qv-plain")
        record = self.upgrade()
        self.assertEqual(record["kept"], [["qv-plain", "held by the administrator"]])
        self.assertEqual(self.changed(), {"qv-lib": "2.0"})
        self.assertEqual(self.chroot("apt-mark", "showhold"), "qv-plain\n")

    def test_changed_configuration_is_kept_and_the_new_one_reported(self) -> None:
        self.publish("qv-conf")
        self.write("/etc/qv-conf", "edited\n")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["config_files"]),
                         ("ok", ["/etc/qv-conf.dpkg-dist"]))
        self.assertEqual(self.read("/etc/qv-conf"), "edited\n")

    def test_failing_postinst_is_failed_and_the_others_are_reported(self) -> None:
        self.publish("qv-bad", "qv-plain")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["clean"]), ("failed", False))
        self.assertIn("qv-bad", record["reason"])
        self.assertIn(["qv-plain", "1.0", "2.0"], record["upgraded"])
        again = self.ask(op="reboot", window=WINDOW, not_after=FAR)
        self.assertEqual(again["status"], "refused")
        self.assertIn("not clean", again["reason"])

    def test_what_was_only_unpacked_is_pending_and_not_upgraded(self) -> None:
        self.publish("qv-bad", "qv-behind", "qv-plain")
        record = self.upgrade()
        states = dict(line.split(" ", 1) for line in self.chroot(
            "dpkg-query", "-W", "-f=${Package} ${Version} ${db:Status-Abbrev}\\n",
            "qv-bad", "qv-behind", "qv-plain").splitlines())
        self.assertEqual(states, {"qv-bad": "2.0 iF ", "qv-behind": "2.0 iU ",
                                  "qv-plain": "2.0 ii "})
        self.assertEqual((record["upgraded"], record["upgraded_count"], record["kept_count"],
                          record["pending"], record["outcome"], record["clean"]),
                         ([["qv-plain", "1.0", "2.0"]], 1, 0, 2, "failed", False))

    def test_run_killed_while_unpacking_is_interrupted_and_repaired(self) -> None:
        self.publish("qv-big", "qv-plain")
        process = self.start(**self.request())
        folder = self.root + "/usr/share/qv-big"
        self.until("unpacking", lambda: sum(
            name.endswith(".dpkg-new") for name in os.listdir(folder)) > 200)
        self.assertGreater(self.kill(), 2)
        process.communicate()
        status = self.ask(op="status", wait=False)
        self.assertEqual((status["alive"], status["record"]["finished"],
                          status["record"]["committed"], status["record"]["phase"]),
                         (False, 0, True, "commit"))
        self.assertNotEqual(self.chroot("dpkg", "--audit"), "")
        second = self.ask(**self.request())
        self.assertEqual(second["status"], "refused")
        repaired = self.ask(op="repair", window=WINDOW, not_after=FAR)
        self.assertEqual((repaired["status"], repaired["record"]["outcome"],
                          repaired["record"]["clean"], repaired["record"]["committed"]),
                         ("ok", "interrupted", True, True), self.log())
        self.assertIn(["qv-big", "1.0", "2.0"], repaired["record"]["upgraded"])
        self.assert_clean()
        self.assertEqual(self.versions()["qv-big"], "2.0")
        self.assertEqual(self.ask(op="repair", window=WINDOW, not_after=FAR)["status"], "refused")

    def test_front_killed_in_the_middle_does_not_stop_the_run(self) -> None:
        self.publish("qv-slow", "qv-plain")
        self.write("/srv/wait", "")
        front = self.start(**self.request())
        self.until("postinst", lambda: "Setting up qv-slow" in self.log())
        front.kill()
        front.communicate()
        status = self.ask(op="status", wait=False)
        self.assertEqual((status["alive"], status["record"]["phase"]), (True, "commit"))
        for op in ("repair", "reboot"):
            refused = self.ask(op=op, window=WINDOW, not_after=FAR)
            self.assertEqual((refused["status"], refused["alive"]), ("refused", True))
        waiting = self.start(op="status", wait=True)
        os.unlink(self.root + "/srv/wait")
        record = self.answer(waiting)["record"]
        self.assertEqual((record["outcome"], record["clean"]), ("ok", True), self.log())
        self.assertEqual(self.versions()["qv-slow"], "2.0")

    def test_lock_that_stays_is_locked_and_consumes_nothing(self) -> None:
        self.publish("qv-plain")
        self.write("/etc/qualvosec/helper.conf", "[general]\nlock_wait: 2\n")
        self.hold_record_lock("/var/lib/dpkg/lock-frontend")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"]), ("locked", False))
        self.assertIn("lock-frontend is held by process", record["reason"])
        self.assertEqual(self.changed(), {})

    def test_lock_on_the_lists_is_waited_for(self) -> None:
        self.publish("qv-plain")
        self.chroot("apt-get", "update")
        self.hold_record_lock("/var/lib/apt/lists/lock", 8)
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("ok", {"qv-plain": "2.0"}))
        self.assertIn(" waiting reason=", self.log())

    def test_nothing_to_do_is_nothing_and_consumes_the_window(self) -> None:
        self.publish()
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"], record["upgraded"]),
                         ("nothing", True, []))
        again = self.ask(**self.request())
        self.assertEqual(again["status"], "refused")

    def more_sources(self, line: str) -> None:
        with open(self.root + "/etc/apt/sources.list", "a", encoding="ascii") as file:
            file.write(line + "\n")

    def test_repositories_that_are_all_down_are_failed_before_anything_is_touched(self) -> None:
        self.publish("qv-plain")
        self.chroot("apt-get", "update")
        self.write("/etc/apt/sources.list", "")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"], record["reason"]),
                         ("failed", False, "apt-get update: no source is configured"))
        self.more_sources("deb [trusted=yes] http://127.0.0.1:9/gone ./")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"]), ("failed", False))
        self.assertIn("apt-get update", record["reason"])
        self.assertEqual((record["upgraded_count"], record["kept_count"], record["pending"]),
                         (0, None, None))
        self.assertEqual(self.changed(), {})

    def test_repository_that_is_down_does_not_hold_back_the_others_and_is_named(self) -> None:
        self.publish()
        self.write("/etc/qualvosec/helper.conf", "[general]\nrefresh_wait: 0\n")
        self.more_sources("deb [trusted=yes] http://127.0.0.1:9/gone ./")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"]), ("failed", False))
        self.assertIn("http://127.0.0.1:9/gone", record["reason"])
        self.publish("qv-plain", "qv-sec")
        self.more_sources("deb [trusted=yes] http://127.0.0.1:9/gone ./")
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()),
                         ("partial", {"qv-plain": "2.0", "qv-sec": "2.0"}))
        self.assertIn("http://127.0.0.1:9/gone", record["reason"])

    def test_repository_without_a_signature_does_not_hold_back_the_others(self) -> None:
        self.publish("qv-plain")
        self.chroot("cp", "-a", "/srv/main", "/srv/third")
        self.write("/etc/qualvosec/helper.conf", "[general]\nrefresh_wait: 0\n")
        self.more_sources("deb file:/srv/third ./")
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("partial", {"qv-plain": "2.0"}))
        self.assertIn("/srv/third", record["reason"])

    def test_script_behind_the_update_of_the_lists_that_fails_is_told(self) -> None:
        self.publish("qv-plain")
        self.write("/etc/apt/apt.conf.d/99script",
                   'APT::Update::Post-Invoke-Success { "exit 7"; };\n')
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("partial", {"qv-plain": "2.0"}))
        self.assertIn("Post-Invoke-Success 'exit 7'", record["reason"])
        record = self.upgrade(window="20261201T0215Z")
        self.assertEqual((record["outcome"], record["committed"]), ("partial", True))

    def test_package_that_cannot_be_fetched_is_left_out_and_named(self) -> None:
        self.publish("qv-plain", "qv-lib", "qv-app")
        os.unlink(self.root + "/srv/main/qv-lib_2.0_all.deb")
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("partial", {"qv-plain": "2.0"}))
        self.assertEqual([row[0] for row in record["kept"]], ["qv-app", "qv-lib"])
        self.assertIn("qv-lib: cannot be fetched: ", record["reason"])
        # With nothing else to install it is tried again, in this window, too.
        window = "20261201T0215Z"
        for _ in range(2):
            record = self.upgrade(window=window)
            self.assertEqual((record["outcome"], record["committed"]), ("failed", False))
            self.assertIn("qv-lib", record["reason"])
        self.chroot("cp", "/srv/pool/qv-lib_2.0_all.deb", "/srv/main/")
        self.assertEqual(self.upgrade(window=window)["outcome"], "ok")

    def test_package_of_the_wrong_size_is_left_out_and_named(self) -> None:
        self.publish("qv-plain", "qv-lib")
        os.unlink(self.root + "/srv/main/qv-lib_2.0_all.deb")
        self.write("/srv/main/qv-lib_2.0_all.deb", "short\n")
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("partial", {"qv-plain": "2.0"}))
        self.assertEqual([row[0] for row in record["kept"]], ["qv-lib"])

    def test_package_that_is_not_authenticated_is_left_out_and_named(self) -> None:
        self.publish("qv-lib")
        self.chroot("cp", "-a", "/srv/main", "/srv/third")
        self.publish("qv-plain")
        self.more_sources("deb [allow-insecure=yes] file:/srv/third ./")
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("partial", {"qv-plain": "2.0"}))
        self.assertEqual(record["kept"], [["qv-lib", "cannot be authenticated"]])

    def test_script_that_calls_apt_or_dpkg_is_a_failed_package_and_no_lock(self) -> None:
        self.write("/etc/qualvosec/helper.conf", "[general]\nlock_wait: 30\n")
        for number, version in enumerate(("2.0", "2.1")):
            self.publish("qv-vend=" + version, "qv-lib")
            self.write("/srv/count", "")
            for attempt in range(2):
                record = self.upgrade(window="20261124T021%dZ" % (2 * number + attempt))
                self.assertEqual((record["outcome"], record["committed"], record["clean"]),
                                 ("failed", True, False))
                self.assertIn("dpkg failed on qv-vend: dpkg: error", record["reason"])
            self.assertEqual(self.versions()["qv-lib"], "2.0")
            self.assertIn(self.read("/srv/count").count("run"), range(2, 10))
            self.publish("qv-vend=3.0")
            record = self.upgrade(window="20261201T021%dZ" % number)
            self.assertEqual((record["outcome"], record["clean"]), ("ok", True))
            self.chroot("dpkg", "-i", "/srv/pool/qv-vend_1.0_all.deb",
                        "/srv/pool/qv-lib_1.0_all.deb")

    def test_failing_script_of_an_earlier_run_is_started_a_few_times_only(self) -> None:
        self.publish("qv-plain")
        self.chroot("dpkg", "-i", "/srv/pool/qv-vend_2.0_all.deb")
        self.write("/srv/count", "")
        # The lists cannot be read, so the window is not used up and further attempts come.
        lists = self.read("/etc/apt/sources.list")
        self.write("/etc/apt/sources.list", "deb [trusted=yes] file:/srv/nowhere ./\n")
        for _ in range(4):
            self.assertEqual(self.upgrade()["committed"], False)
        self.write("/etc/apt/sources.list", lists)
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()["qv-plain"]), ("failed", "2.0"))
        self.assertLessEqual(self.read("/srv/count").count("run"), 5)

    def unpack(self) -> None:
        """What an interrupted run of another tool leaves: qv-app 2.0 needs qv-lib 2.0."""
        self.publish("qv-lib", "qv-app", "qv-plain")
        self.chroot("apt-get", "update")
        self.chroot("dpkg", "--force-depends", "--unpack", "/srv/pool/qv-app_2.0_all.deb")

    def test_repair_is_in_the_record(self) -> None:
        self.unpack()
        self.chroot("dpkg", "-i", "/srv/pool/qv-conf_1.0_all.deb")
        self.write("/etc/qv-conf", "edited\n")
        self.chroot("dpkg", "--unpack", "--force-confold", "/srv/pool/qv-conf_2.0_all.deb")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["clean"], record["pending"]), ("ok", True, 0))
        self.assertEqual(record["upgraded"], [
            ["qv-app", "", "2.0"], ["qv-conf", "", "2.0"], ["qv-lib", "1.0", "2.0"],
            ["qv-plain", "1.0", "2.0"]])
        self.assertEqual(record["config_files"], ["/etc/qv-conf.dpkg-dist"])

    def test_repair_keeps_to_the_blacklist_and_asks_the_hooks_before(self) -> None:
        self.unpack()
        hook = "/etc/qualvosec/hooks.d/pre-patch.d/10-no"
        self.write(hook, "#!/bin/sh\nexit 3\n", 0o755)
        before = self.read("/var/lib/dpkg/status")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"]), ("refused", False))
        self.assertEqual(self.read("/var/lib/dpkg/status"), before)
        os.unlink(self.root + hook)
        record = self.upgrade(exclude=["qv-l*"])
        self.assertEqual((record["outcome"], record["clean"], record["committed"]),
                         ("failed", False, False))
        self.assertIn("qv-app", record["reason"])
        self.assertEqual(self.versions()["qv-lib"], "1.0")
        self.assertEqual(record["upgraded"], [])

    def test_what_would_be_downgraded_is_left_out_and_named(self) -> None:
        self.publish("qv-plain", "qv-down")
        self.write("/etc/apt/preferences.d/down",
                   "Package: *\nPin: release l=Debian\nPin-Priority: 1001\n")
        for number, conf in enumerate(("", 'APT::Get::allow-downgrades "true";\n')):
            self.write("/etc/apt/apt.conf.d/99down", conf)
            record = self.upgrade(window="20261124T021%dZ" % number)
            self.assertEqual((record["outcome"], record["kept"]),
                             ("partial", [["qv-down", "would be downgraded"]]))
            self.assertEqual((self.versions()["qv-plain"], self.versions()["qv-down"]),
                             ("2.0", "1.0"))
        record = self.upgrade(window="20261201T0215Z", exclude=["qv-down"])
        self.assertEqual((record["outcome"], record["reason"]), ("nothing", ""))

    def test_name_that_only_dpkg_takes_is_upgraded_and_can_be_left_out(self) -> None:
        self.publish("qv-log_plugin", "qv-sec")
        record = self.upgrade(security_only=True)
        self.assertEqual((record["outcome"], self.versions()["qv-sec"]), ("ok", "1.0+deb12u1"))
        record = self.upgrade(window="20261201T0215Z", exclude=["qv-log_*"])
        self.assertEqual((record["outcome"], self.versions()["qv-sec"]), ("ok", "2.0"))
        self.assertEqual(self.versions()["qv-log_plugin"], "1.0")
        self.assertEqual(self.upgrade(window="20261202T0215Z")["outcome"], "ok")
        self.assertEqual(self.versions()["qv-log_plugin"], "2.0")

    def test_installed_version_that_is_offered_anew_is_left_out_and_named(self) -> None:
        self.publish("qv-same")
        for number in range(2):
            record = self.upgrade(window="20261124T021%dZ" % number)
            self.assertEqual((record["outcome"], record["upgraded"], record["pending"]),
                             ("nothing", [], 0))
            self.assertEqual(record["reason"], "qv-same: is offered anew in the version that is "
                             "installed")
        self.publish("qv-same", "qv-plain")
        record = self.upgrade(window="20261201T0215Z")
        self.assertEqual((record["outcome"], record["upgraded"], record["pending"]),
                         ("ok", [["qv-plain", "1.0", "2.0"]], 0))

    def test_preferences_of_the_administrator_are_found_where_apt_conf_puts_them(self) -> None:
        self.publish("qv-plain", "qv-lib", "qv-sec")
        self.write("/etc/apt/my.pref", "Package: qv-plain\nPin: release *\nPin-Priority: -5\n")
        self.write("/etc/apt/apt.conf.d/90mine", 'Dir::Etc::Preferences "my.pref";\n')
        record = self.upgrade(exclude=["qv-lib"])
        self.assertEqual((record["outcome"], self.changed()), ("ok", {"qv-sec": "2.0"}))

    def test_what_was_unpacked_is_configured_with_the_hooks_of_apt(self) -> None:
        # As where /usr is read-only and these hooks make it writable.
        self.publish("qv-clash", "qv-guarded", "qv-base")
        self.write("/etc/apt/apt.conf.d/98open", 'DPkg::Pre-Invoke { "touch /srv/open"; };\n'
                   'DPkg::Post-Invoke { "rm -f /srv/open"; };\n')
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["clean"]), ("failed", True))
        self.assertIn("qv-clash", record["reason"])
        self.assertEqual((self.versions()["qv-base"], self.read("/var/lib/dpkg/status").count(
            "half-configured")), ("2.0", 0))
        self.chroot("dpkg", "--unpack", "/srv/pool/qv-guarded_2.0_all.deb")
        record = self.upgrade(exclude=["qv-clash"], window="20261201T0215Z")
        self.assertEqual((record["outcome"], record["clean"]), ("ok", True))
        self.assertEqual(record["upgraded"], [["qv-guarded", "", "2.0"]])

    def test_package_that_disappears_is_no_failure(self) -> None:
        self.publish("qv-taker")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["reason"]), ("ok", ""))
        self.assertNotIn("qv-gone", self.versions())
        self.assertEqual(self.versions()["qv-taker"], "2.0")

    def test_reason_names_the_cause_and_not_the_last_line(self) -> None:
        self.publish("qv-plain")
        self.chroot("dpkg", "-L", "qv-conf")
        listing = "/var/lib/dpkg/info/qv-conf.list"
        for number, (path, text, part) in enumerate((
                ("/var/lib/dpkg/statoverride", "root smmsp 4755 /usr/sbin/x\n", "smmsp"),
                (listing, self.read(listing)[:-1], "qv-conf"),
                ("/var/lib/dpkg/updates/0001", "\0" * 4096, "updates/0001"))):
            there = os.path.exists(self.root + path)
            whole = self.read(path) if there else ""
            self.write(path, text)
            record = self.upgrade(window="20261124T021%dZ" % number)
            self.assertEqual(record["outcome"], "failed")
            self.assertIn(part, record["reason"])
            self.write(path, whole)
            if not there:
                os.unlink(self.root + path)
        self.assertEqual(self.upgrade(window="20261201T0215Z")["outcome"], "ok")

    def test_hostile_names_install_and_remove_nothing(self) -> None:
        self.publish("qv-plain", "qv-lib")
        before = self.chroot("dpkg-query", "-W")
        self.assertEqual(self.upgrade(only=self.hostile())["outcome"], "nothing")
        self.assertEqual(self.chroot("dpkg-query", "-W"), before)
        self.assertFalse(os.path.exists(self.root + "/srv/marker"))

    def test_plan_lists_versions_security_flag_and_reasons_without_root(self) -> None:
        self.publish("qv-plain", "qv-sec", "qv-swap")
        self.chroot("apt-get", "update")
        done = subprocess.run(
            ["chroot", "--userspec=nobody:nogroup", self.root, realhost.HELPER],
            input=json.dumps({"v": 1, "op": "check", "refresh": False, "security_only": False,
                              "only": [], "exclude": ["qv-plain"]}).encode("ascii"),
            stdout=subprocess.PIPE, check=False)
        self.told = done.stdout.decode("ascii")
        plan = json.loads(self.told)["plan"]
        rows = {row["name"]: row for row in plan["pending"] if row["name"].startswith("qv-")}
        self.assertEqual(rows["qv-sec"], {"name": "qv-sec", "old": "1.0", "new": "2.0",
                                          "security": True, "selected": True, "why": ""})
        self.assertEqual(rows["qv-plain"]["why"], "in packages_blacklist")
        self.assertEqual(rows["qv-swap"]["why"], "kept back: needs the removal of qv-old")
        self.assertEqual((plan["security"], plan["reboot"]), ("known", "no"))

    def test_failing_hook_stops_the_run_before_it_touches_anything(self) -> None:
        self.publish("qv-plain")
        self.write("/etc/qualvosec/hooks.d/pre-patch.d/10-no", "#!/bin/sh\nexit 3\n", 0o755)
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"], self.changed()),
                         ("refused", False, {}))
        self.assertIn("10-no: failed with exit code 3", record["reason"])

    def test_veto_of_the_administrator_stops_the_run(self) -> None:
        self.publish("qv-plain")
        self.write("/etc/qualvosec/veto", "backup runs\n")
        reply = self.ask(**self.request())
        self.assertEqual((reply["status"], reply["reason"]), ("refused", "veto: backup runs"))
        self.assertEqual(self.changed(), {})

    def test_reboot_file_of_the_system_is_a_reason(self) -> None:
        self.publish("qv-plain")
        self.write("/run/reboot-required", "*** System restart required ***\n")
        self.write("/run/reboot-required.pkgs", "libc6\nlibc6\n")
        record = self.upgrade()
        self.assertEqual((record["reboot"], record["reboot_reasons"]),
                         ("due", ["reboot-required: libc6"]))


class RealAptBullseye(RealApt):
    """apt 2.2."""

    tree_name = "apt-bullseye"
    starts = 4      # one more, for what it keeps back without a word
    phased = []     # type: List[List[str]]  # it does not mention them at all


class RealAptTrixie(RealApt):
    """apt 3.0."""

    tree_name = "apt-trixie"


if __name__ == "__main__":
    unittest.main(verbosity=2)
