# SPDX-License-Identifier: BSD-2-Clause
"""Other tools that patch this host: named when they are switched on, and only then."""

import contextlib
import io
import json
import os
import tempfile
import unittest
from typing import List

from qualvosec.client.rivals import aptconf
from qualvosec.client.rivals import look
from qualvosec.client.rivals import shellwords
from qualvosec.client.rivals import units
from qualvosec.client.rivals.systemfiles import Tree

from tests import DATA

TIMERS = "etc/systemd/system/timers.target.wants/"
APT_OFF = ("echo 'APT::Periodic::Unattended-Upgrade \"0\";' "
           ">/etc/apt/apt.conf.d/99-no-unattended-upgrades")


class Case(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        self.tree = Tree(self.root)

    def write(self, name: str, text: str = "", mode: int = 0o644) -> None:
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)

    def link(self, name: str, target: str) -> None:
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, path)

    def remove(self, name: str) -> None:
        os.unlink(os.path.join(self.root, name))

    def systemd(self) -> None:
        os.makedirs(os.path.join(self.root, "run/systemd/system"))

    def unit(self, name: str, text: str) -> None:
        self.write("usr/lib/systemd/system/" + name, text)

    def timer(self, name: str, command: str, enable: bool = True) -> None:
        """A timer as a package brings it, with its service; enabled as systemctl does it."""
        self.unit(name + ".timer", "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n")
        self.unit(name + ".service", "[Service]\nType=oneshot\nExecStart=%s\n" % command)
        if enable:
            self.link(TIMERS + name + ".timer", "/usr/lib/systemd/system/%s.timer" % name)

    def mask(self, name: str) -> None:
        self.link("etc/systemd/system/" + name, "/dev/null")

    def found(self) -> List[look.Rival]:
        return look.look(self.root)

    def off(self) -> List[str]:
        return [rival.off for rival in self.found()]

    def named(self) -> List[str]:
        return [rival.name for rival in self.found()]


class UnattendedUpgrades(Case):
    """A Debian as the package leaves it: enabled."""

    def setUp(self) -> None:
        super().setUp()
        self.systemd()
        self.timer("apt-daily-upgrade", "/usr/lib/apt/apt.systemd.daily install")
        self.timer("apt-daily", "/usr/lib/apt/apt.systemd.daily update")
        self.write("usr/bin/unattended-upgrade", "#!/usr/bin/python3\n", 0o755)
        self.write("etc/apt/apt.conf.d/20auto-upgrades",
                   'APT::Periodic::Update-Package-Lists "1";\n'
                   'APT::Periodic::Unattended-Upgrade "1";\n')

    def test_it_is_named_with_the_command_that_turns_it_off(self) -> None:
        self.assertEqual([rival.text() for rival in self.found()], [
            "unattended-upgrades installs updates outside the windows; to turn it off: " + APT_OFF])

    def test_following_the_command_ends_the_warning(self) -> None:
        self.write("etc/apt/apt.conf.d/99-no-unattended-upgrades",
                   'APT::Periodic::Unattended-Upgrade "0";\n')
        self.assertEqual(self.found(), [])

    def test_what_is_switched_off_masked_disabled_or_removed_is_not_named(self) -> None:
        table = [lambda: self.write("etc/apt/apt.conf.d/20auto-upgrades",
                                    'APT::Periodic::Unattended-Upgrade "0";\n'),
                 lambda: self.remove("etc/apt/apt.conf.d/20auto-upgrades"),
                 lambda: self.write("etc/apt/apt.conf", 'APT::Periodic::Enable "0";\n'),
                 lambda: self.mask("apt-daily-upgrade.timer"),
                 lambda: self.mask("apt-daily-upgrade.service"),
                 lambda: self.remove(TIMERS + "apt-daily-upgrade.timer"),
                 lambda: self.remove("usr/bin/unattended-upgrade")]
        for number, change in enumerate(table):
            with self.subTest(number=number):
                self.setUp()
                self.assertEqual(len(self.found()), 1)
                change()
                self.assertEqual(self.found(), [])

    def test_a_value_that_a_later_file_sets_needs_another_way_than_a_file(self) -> None:
        for name in ("apt.conf.d/99zz", "apt.conf"):
            with self.subTest(name=name):
                self.setUp()
                self.write("etc/apt/" + name, 'apt::periodic { unattended-upgrade "7"; };\n')
                self.assertEqual(self.off(), ["systemctl disable --now apt-daily-upgrade.timer"])

    def test_that_it_reboots_and_installs_at_shutdown_is_told(self) -> None:
        self.unit("unattended-upgrades.service", "[Service]\nExecStart=/usr/share/uu --wait\n")
        self.link("etc/systemd/system/multi-user.target.wants/unattended-upgrades.service",
                  "/usr/lib/systemd/system/unattended-upgrades.service")
        self.assertEqual([rival.does for rival in self.found()], ["installs updates"])
        self.write("etc/apt/apt.conf.d/50unattended-upgrades",
                   'Unattended-Upgrade::Automatic-Reboot "true";\n'
                   'Unattended-Upgrade::InstallOnShutdown "true";\n')
        self.assertEqual([rival.does for rival in self.found()], [
            "installs updates and reboots", "installs updates when the host shuts down"])

    def test_without_systemd_cron_starts_it(self) -> None:
        os.rmdir(os.path.join(self.root, "run/systemd/system"))
        self.assertEqual(self.found(), [])
        with open(os.path.join(DATA, "rivals", "apt-compat"), encoding="ascii") as file:
            self.write("etc/cron.daily/apt-compat", file.read(), 0o755)
        self.assertEqual(self.off(), [APT_OFF])
        self.systemd_again()
        self.remove(TIMERS + "apt-daily-upgrade.timer")
        self.assertEqual(self.found(), [])

    def systemd_again(self) -> None:
        os.mkdir(os.path.join(self.root, "run/systemd/system"))


class Dnf(Case):
    def setUp(self) -> None:
        super().setUp()
        self.systemd()

    def configure(self, apply: str, download: str = "yes", more: str = "") -> None:
        self.write("etc/dnf/automatic.conf", "[commands]\nupgrade_type = default\n"
                   "download_updates = %s\napply_updates = %s\n%s" % (download, apply, more))

    def test_dnf_automatic_does_what_its_settings_say(self) -> None:
        self.timer("dnf-automatic", "/usr/bin/dnf-automatic /etc/dnf/automatic.conf --timer")
        self.configure("yes")
        self.assertEqual([rival.text() for rival in self.found()], [
            "dnf-automatic.timer installs updates outside the windows; to turn it off: "
            "systemctl disable --now dnf-automatic.timer"])
        self.configure("yes", more="reboot = when-needed\n")
        self.assertEqual([rival.does for rival in self.found()], ["installs updates and reboots"])

    def test_one_that_only_downloads_is_no_warning(self) -> None:
        self.timer("dnf-automatic", "/usr/bin/dnf-automatic /etc/dnf/automatic.conf --timer")
        self.configure("no")
        self.assertEqual([(rival.does, rival.kind) for rival in self.found()],
                         [("only downloads updates", look.DOWNLOADS)])
        self.assertEqual(look.warnings(self.found()), [])
        self.configure("no", "no")
        self.assertEqual(self.found(), [])

    def test_its_other_timers_override_the_settings(self) -> None:
        self.configure("no")
        self.timer("dnf-automatic-install",
                   "/usr/bin/dnf-automatic /etc/dnf/automatic.conf --timer --installupdates")
        self.assertEqual(self.named(), ["dnf-automatic-install.timer"])
        self.configure("yes")
        self.remove(TIMERS + "dnf-automatic-install.timer")
        self.timer("dnf-automatic-notifyonly", "/usr/bin/dnf-automatic /etc/dnf/automatic.conf "
                   "--timer --no-installupdates --no-downloadupdates")
        self.assertEqual(self.found(), [])

    def test_dnf5_merges_the_vendors_and_the_hosts_settings(self) -> None:
        self.timer("dnf5-automatic", "/usr/bin/dnf5 automatic --timer")
        self.assertEqual(self.found(), [])
        self.write("usr/share/dnf5/dnf5-plugins/automatic.conf",
                   "[commands]\napply_updates = no\ndownload_updates = yes\n")
        self.assertEqual([rival.kind for rival in self.found()], [look.DOWNLOADS])
        self.write("etc/dnf/automatic.conf", "[commands]\napply_updates = True\n")
        self.assertEqual(self.off(), ["systemctl disable --now dnf5-automatic.timer"])

    def test_yum_cron_needs_its_service_and_its_settings(self) -> None:
        self.write("etc/cron.daily/0yum-daily.cron", "#!/bin/bash\nif [[ ! -f /var/lock/subsys/"
                   "yum-cron ]]; then\n  exit 0\nfi\nexec /usr/sbin/yum-cron\n", 0o755)
        self.write("etc/yum/yum-cron.conf", "[commands]\napply_updates = yes\n")
        self.assertEqual(self.found(), [])
        self.unit("yum-cron.service", "[Service]\nExecStart=/bin/touch /var/lock/subsys/yum-cron\n")
        self.link("etc/systemd/system/multi-user.target.wants/yum-cron.service",
                  "/usr/lib/systemd/system/yum-cron.service")
        self.assertEqual(self.off(), ["systemctl disable --now yum-cron.service"])
        self.write("etc/yum/yum-cron.conf", "[commands]\napply_updates = no\n")
        self.assertEqual(self.found(), [])


class OtherTools(Case):
    def test_transactional_update_and_rebootmgr_are_named(self) -> None:
        self.systemd()
        self.timer("transactional-update", "/usr/sbin/transactional-update cleanup dup reboot")
        self.unit("rebootmgr.service", "[Service]\nExecStart=/usr/sbin/rebootmgrd\n")
        self.link("etc/systemd/system/multi-user.target.wants/rebootmgr.service",
                  "/usr/lib/systemd/system/rebootmgr.service")
        self.assertEqual(self.off(), ["systemctl disable --now transactional-update.timer",
                                      "systemctl disable --now rebootmgr.service"])
        self.write("etc/rebootmgr.conf", "[rebootmgr]\nstrategy=off\n")
        self.assertEqual(self.named(), ["transactional-update.timer"])

    def test_an_offline_update_that_was_prepared_is_named(self) -> None:
        self.systemd()
        self.unit("packagekit-offline-update.service", "[Service]\nExecStart=/usr/bin/pkcon "
                  "update -y\n")
        self.link("usr/lib/systemd/system/system-update.target.wants/"
                  "packagekit-offline-update.service", "../packagekit-offline-update.service")
        self.assertEqual(self.found(), [])
        os.makedirs(os.path.join(self.root, "var/cache"))
        self.link("system-update", "/var/cache")
        self.assertEqual(self.off(), ["rm /system-update"])

    def test_cron_apt_is_named_only_if_it_installs(self) -> None:
        self.write("etc/cron.d/cron-apt", "# comment\n0 4\t* * *\troot\ttest -x /usr/sbin/cron-apt "
                   "&& /usr/sbin/cron-apt\n")
        self.write("etc/cron-apt/action.d/3-download",
                   "autoclean -y\ndist-upgrade -d -y -o APT::Get::Show-Upgraded=true\n")
        self.assertEqual(self.found(), [])
        self.write("etc/cron-apt/action.d/5-upgrade", "dist-upgrade -y\n")
        self.assertEqual([(rival.name, rival.off) for rival in self.found()],
                         [("cron-apt", "put a # before line 2 of /etc/cron.d/cron-apt")])

    def test_mint_and_yast_are_switched_on_by_their_own_marks(self) -> None:
        self.systemd()
        self.timer("mintupdate-automation-upgrade", "/usr/bin/mintupdate-automation upgrade")
        self.write("etc/cron.weekly/opensuse.org-online_update",
                   "#!/bin/bash\n/usr/lib/YaST2/bin/online_update\n", 0o755)
        self.write("etc/sysconfig/automatic_online_update", 'AOU_ENABLE_CRONJOB="false"\n')
        self.assertEqual(self.found(), [])
        self.write("var/lib/linuxmint/mintupdate-automatic-upgrades-enabled")
        self.write("etc/sysconfig/automatic_online_update", 'AOU_ENABLE_CRONJOB="true"\n')
        self.assertEqual(self.named(), ["mintupdate", "YaST online update"])

    def test_homemade_timers_services_and_their_scripts_are_looked_into(self) -> None:
        self.systemd()
        self.timer("nightly", "/bin/sh -c 'apt-get update && apt-get -y dist-upgrade'")
        self.write("usr/local/sbin/patch.sh", "#!/bin/sh\nset -e\n# pkg upgrade -y\n"
                   "sleep 5; pacman -Syu --noconfirm\n", 0o755)
        self.timer("own", "-/usr/local/sbin/patch.sh --now")
        self.unit("boot.service", "[Service]\nExecStart=/usr/bin/zypper -n patch\n")
        self.link("etc/systemd/system/multi-user.target.wants/boot.service",
                  "/usr/lib/systemd/system/boot.service")
        self.assertEqual([rival.does for rival in self.found()], [
            'runs "zypper patch"', 'runs "apt-get dist-upgrade"', 'runs "pacman -Syu"'])
        self.assertEqual(self.named(), ["boot.service", "nightly.timer", "own.timer"])

    def test_a_system_without_any_has_none(self) -> None:
        self.assertEqual(self.found(), [])
        self.systemd()
        self.assertEqual(self.found(), [])


class Cron(Case):
    def test_tables_and_scripts_of_every_system_are_read(self) -> None:
        self.write("etc/crontab", "SHELL=/bin/sh\nMAILTO = root\n# 1 2 * * * root pkg upgrade -y\n"
                   "0 3 * * *\troot\tfreebsd-update cron && freebsd-update install\n")
        self.write("etc/cron.d/nightly", "@daily root apt-get -qqy upgrade >/dev/null 2>&1\n")
        self.write("usr/local/etc/cron.d/packages", "15 4 * * 6 root pkg upgrade -y\n")
        self.write("usr/local/etc/periodic/weekly/900.upgrade", "#!/bin/sh\npkg upgrade -qy\n",
                   0o755)
        self.write("etc/periodic/daily/upgrade", "#!/bin/sh\napk -U upgrade\n", 0o755)
        self.write("etc/cron.weekly/yum", "#!/usr/bin/env bash\nyum -y update\n", 0o755)
        self.write("etc/daily.local", "syspatch\npkg_add -uI\n")
        self.write("var/cron/tabs/root", "0 5 * * * pkgin -y upgrade\n")
        self.assertEqual([(rival.name, rival.does) for rival in self.found()], [
            ("/etc/crontab line 4", 'runs "freebsd-update install"'),
            ("/etc/cron.d/nightly line 1", 'runs "apt-get upgrade"'),
            ("/usr/local/etc/cron.d/packages line 1", 'runs "pkg upgrade"'),
            ("/var/cron/tabs/root line 1", 'runs "pkgin upgrade"'),
            ("/etc/cron.weekly/yum", 'runs "yum update"'),
            ("/etc/periodic/daily/upgrade", 'runs "apk upgrade"'),
            ("/usr/local/etc/periodic/weekly/900.upgrade", 'runs "pkg upgrade"'),
            ("/etc/daily.local", 'runs "syspatch"')])
        self.assertEqual(self.off()[0], "put a # before line 4 of /etc/crontab")
        self.assertIn("chmod a-x /etc/cron.weekly/yum", self.off())

    def test_table_of_anacron_has_other_fields(self) -> None:
        self.write("etc/anacrontab", "START_HOURS_RANGE=3-22\n1 5 daily nice run-parts /etc/x\n"
                   "7 25 mine dnf -y upgrade\n@monthly 45 more yum -y update\n")
        self.assertEqual([(rival.name, rival.does) for rival in self.found()], [
            ("/etc/anacrontab line 3", 'runs "dnf upgrade"'),
            ("/etc/anacrontab line 4", 'runs "yum update"')])

    def test_what_cron_does_not_run_is_not_named(self) -> None:
        self.write("etc/cron.daily/upgrade", "#!/bin/sh\napt-get -y upgrade\n")
        for name, first in (("perl", "#!/usr/bin/perl"), ("python", "#!/usr/bin/env python3"),
                            ("binary", "\x7fELF\0")):
            self.write("etc/cron.daily/" + name, first + "\napt-get -y upgrade\n", 0o755)
        self.write("etc/cron.d/old.rpmsave", "@daily root yum -y update\n")
        self.write("etc/cron.d/report", "@daily root yum -q check-update; freebsd-update cron\n"
                   "@weekly root apt-get -y -d upgrade\n@reboot root echo pkg upgrade -y\n"
                   "5 4 * * * qualvosec /usr/local/sbin/qualvosec once\n")
        self.assertEqual(self.found(), [])

    def test_following_the_advice_ends_the_warning(self) -> None:
        self.write("etc/cron.daily/upgrade", "#!/bin/sh\napt-get -y upgrade\n", 0o755)
        self.assertEqual(self.off(), ["chmod a-x /etc/cron.daily/upgrade"])
        os.chmod(os.path.join(self.root, "etc/cron.daily/upgrade"), 0o644)
        self.assertEqual(self.found(), [])


class CommandLines(unittest.TestCase):
    def installs(self, line: str) -> List[str]:
        return [what for what in map(shellwords.installs, shellwords.commands(line)) if what]

    def test_command_lines_are_told_apart(self) -> None:
        with open(os.path.join(DATA, "rivals", "commands.txt"), encoding="utf-8") as file:
            rows = [line.rstrip("\n").partition(" | ") for line in file if line[0] not in "#\n"]
        self.assertGreater(len(rows), 50)
        for expected, _, line in rows:
            with self.subTest(line=line):
                self.assertEqual(self.installs(line), [] if expected == "-" else [expected])

    def test_every_program_of_the_table_has_a_line_that_counts_and_one_that_does_not(self) -> None:
        with open(os.path.join(DATA, "rivals", "commands.txt"), encoding="utf-8") as file:
            text = file.read()
        for program in shellwords.TOOLS:
            self.assertRegex(text, r"(?m)^%s( \S+)? \| .*\b%s\b" % (program, program))
            self.assertRegex(text, r"(?m)^- \| .*\b%s\b" % program)

    def test_hostile_lines_end_in_an_answer(self) -> None:
        for line in ("'", '"$(', "\\", "a" * 100000, "apt-get -y upgrade '", "sh -c", "-c", "&&&&",
                     "sudo " * 1000, "\0\x1b[31m", "sh -c \"sh -c 'sh -c x'\""):
            self.assertIsInstance(self.installs(line), list)


class AptConfiguration(Case):
    def test_files_are_merged_in_the_order_of_apt(self) -> None:
        self.write("etc/apt/apt.conf.d/10a", 'A::B "1";\nA::C "1";\nA::D "1"; A::E "1";\n')
        self.write("etc/apt/apt.conf.d/20b.conf", 'a { b "2"; D "2" };\n#clear A::E;\n')
        for ignored in ("30c.dpkg-new", "30c.bak", ".hidden", "30c~"):
            self.write("etc/apt/apt.conf.d/" + ignored, 'A::B "wrong";\n')
        self.write("etc/apt/apt.conf", 'A::D "3";\n')
        self.assertEqual(aptconf.read(self.tree), {
            "a::b": aptconf.Value("2", "etc/apt/apt.conf.d/20b.conf"),
            "a::c": aptconf.Value("1", "etc/apt/apt.conf.d/10a"),
            "a::d": aptconf.Value("3", "etc/apt/apt.conf")})

    def test_comments_and_spellings_of_apt_conf(self) -> None:
        text = ('// A "1";\n# A "2";\n/* A "3";\n*/ A::x { /* B "4"; */ B "http://h/#x"; };\n'
                'Unquoted word;\nList { "one"; "two"; };\nAlone;\n}; };\nLast "//";')
        self.assertEqual(aptconf.parse(text), [
            ("a::x::b", "http://h/#x"), ("unquoted", "word"), ("last", "//")])


class Systemd(Case):
    def setUp(self) -> None:
        super().setUp()
        self.systemd()

    def test_a_vendors_link_can_only_be_masked_and_may_be_hidden(self) -> None:
        self.timer("patch", "/usr/bin/dnf -y upgrade", enable=False)
        self.assertEqual(self.found(), [])
        self.link("usr/lib/systemd/system/timers.target.wants/patch.timer", "../patch.timer")
        self.assertEqual(self.off(), ["systemctl mask --now patch.timer"])
        self.link(TIMERS + "patch.timer", "/dev/null")
        self.assertEqual(self.found(), [])

    def test_drop_ins_change_what_a_service_runs(self) -> None:
        self.timer("patch", "/usr/bin/dnf -y upgrade")
        self.write("etc/systemd/system/patch.service.d/override.conf",
                   "[Service]\nExecStart=\nExecStart=/usr/bin/dnf -y makecache\n")
        self.assertEqual(self.found(), [])
        self.write("etc/systemd/system/patch.timer.d/other.conf", "[Timer]\nUnit=second.service\n")
        self.unit("second.service", "[Service]\nExecStart=+/usr/bin/dnf -y \\\n  upgrade\n")
        self.assertEqual(self.named(), ["patch.timer"])

    def test_an_instance_is_read_from_its_template(self) -> None:
        self.unit("patch@.timer", "[Timer]\nOnCalendar=daily\n")
        self.unit("patch@.service", "[Service]\nExecStart=/usr/bin/dnf -y upgrade\n")
        self.link(TIMERS + "patch@all.timer", "/usr/lib/systemd/system/patch@.timer")
        self.assertEqual(self.named(), ["patch@all.timer"])

    def test_an_empty_or_missing_unit_file_starts_nothing(self) -> None:
        self.timer("patch", "/usr/bin/dnf -y upgrade")
        self.write("etc/systemd/system/patch.timer", "")
        self.assertFalse(units.enabled(self.tree, "patch.timer"))
        self.assertFalse(units.enabled(self.tree, "nothing.timer"))
        self.assertEqual(self.found(), [])


class Trees(Case):
    def test_links_stay_below_the_root(self) -> None:
        self.write("inside", "yes")
        self.link("etc/absolute", "/inside")
        self.link("etc/climbing", "../../../../inside")
        self.link("etc/round", "round")
        for name, text in (("etc/absolute", "yes"), ("etc/climbing", "yes"), ("etc/round", ""),
                           ("etc", ""), ("etc/nothing", "")):
            self.assertEqual(self.tree.read(name), text, name)
        self.assertFalse(self.tree.exists("etc/round"))

    def test_what_cannot_be_read_whole_is_not_read(self) -> None:
        self.write("large", "x" * (256 * 1024 + 1))
        os.mkfifo(os.path.join(self.root, "fifo"))
        self.assertEqual((self.tree.read("large"), self.tree.read("fifo")), ("", ""))
        self.write("binary")
        with open(os.path.join(self.root, "binary"), "wb") as file:
            file.write(b"\xff\x00a")
        self.assertIn("a", self.tree.read("binary"))


class Child(Case):
    def test_the_daemons_child_writes_one_line_safe_to_show(self) -> None:
        self.write("etc/cron.d/a\x1b[31m", "@daily root pkg upgrade -y\n")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(look.main(self.root), 0)
        self.assertEqual(out.getvalue().count("\n"), 1)
        found = json.loads(out.getvalue())
        self.assertEqual(len(found), 1)
        self.assertIn("a\\x1b[31m line 1 runs", found[0])


if __name__ == "__main__":
    unittest.main()
