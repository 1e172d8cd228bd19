# SPDX-License-Identifier: BSD-2-Clause
"""What other programs of a system read about us, read by these programs where they exist."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from typing import List

from qualvosec import paths

from tests import ROOT

PACKAGING = os.path.join(ROOT, "packaging")


def text_of(*parts: str) -> str:
    with open(os.path.join(ROOT, *parts), encoding="utf-8") as handle:
        return handle.read()


def run(argv: List[str]) -> str:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 0, "%s: %s" % (argv, done.stdout.decode("utf-8", "replace"))
    return done.stdout.decode("utf-8")


class SystemFiles(unittest.TestCase):

    @unittest.skipUnless(shutil.which("systemd-sysusers") and os.geteuid() == 0,
                         "systemd-sysusers is not installed, or this is not root")
    def test_sysusers_makes_two_users_without_a_shell(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "etc"))
            for name in ("qualvosec.conf", "qualvosec-server.conf"):
                run(["systemd-sysusers", "--root=" + folder,
                     os.path.join(ROOT, "etc", "sysusers.d", name)])
            with open(os.path.join(folder, "etc", "passwd"), encoding="utf-8") as handle:
                users = {line.split(":")[0]: line.strip().split(":") for line in handle}
        self.assertEqual(sorted(users), ["qualvosec", "qualvosec-server"])
        self.assertEqual(users["qualvosec"][5], paths.STATE_DIR)
        self.assertEqual({fields[6] for fields in users.values()}, {"/usr/sbin/nologin"})

    def test_newsyslog_names_the_pid_file_that_the_rc_script_writes(self) -> None:
        text = text_of("etc/newsyslog.conf.d/qualvosec.conf")
        lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
        self.assertEqual(len(lines), 1)
        log, owner, mode, _, _, _, flags, pid_file, signal = lines[0]
        script = text_of("rc.d/qualvosec_server.freebsd")
        self.assertIn('logdir="%s"' % os.path.dirname(log), script)
        rundir = re.findall(r'^rundir="(.*)"$', script, re.M)[0]
        child = re.findall(r'^child_pidfile="\$\{rundir\}(.*)"$', script, re.M)[0]
        self.assertEqual(pid_file, rundir + child)
        self.assertEqual((mode, flags, signal), ("640", "JC", "1"))
        self.assertIn("runas:=%s}" % owner.split(":")[0], script)

    @unittest.skipUnless(shutil.which("perl"), "perl is not installed")
    def test_needrestart_leaves_our_units_alone(self) -> None:
        name = os.path.join(ROOT, "etc", "needrestart", "qualvosec.conf")
        said = run(["perl", "-wse", "our %nrconf; do $f; die $@ if $@;"
                    " for (keys %{$nrconf{override_rc}}) {"
                    " print 'qualvosec-run.service' =~ /$_/ ? 1 : 0,"
                    " 'cron.service' =~ /$_/ ? 1 : 0, $nrconf{override_rc}{$_} }",
                    "--", "-f=" + name])
        self.assertEqual(said, "100")

    def test_packages_mark_every_configuration_file(self) -> None:
        marked = set()
        for part in ("client", "admin", "server"):
            marked.update(text_of("packaging", "deb", part, "conffiles").split())
        listed = set(re.findall(r"%config\(noreplace\)(?: %attr\S+)? (/\S+?)\"",
                                text_of("CMakeLists.txt")))
        self.assertEqual(marked, listed)
        for name in sorted(os.listdir(os.path.join(ROOT, "etc"))):
            if name.endswith(".conf"):
                self.assertIn("/etc/qualvosec/" + name, marked)

    def test_maintainer_scripts_restart_after_an_upgrade_and_never_stop_before_it(self) -> None:
        for part, unit in (("client", "qualvosec.service"), ("server", "qualvosec-server.service")):
            prerm = text_of("packaging", "deb", part, "prerm")
            self.assertEqual(prerm.count(" stop "), 1)
            self.assertIn("\nremove)\n", prerm.split(" stop ")[0])
            self.assertIn("\nupgrade | deconfigure", prerm.split(" stop ")[1])
            self.assertIn("try-restart " + unit, text_of("packaging", "deb", part, "postinst"))
            preun = text_of("packaging", "rpm", part, "preun")
            self.assertTrue(preun.startswith('if [ "$1" -eq 0 ]'), "erasing only")
            self.assertIn("try-restart " + unit, text_of("packaging", "rpm", part, "postun"))

    def test_removal_stops_every_unit_that_may_run(self) -> None:
        units = {name for name in os.listdir(os.path.join(ROOT, "systemd"))
                 if name.startswith("qualvosec") and "@" not in name}
        self.assertEqual(len(units), 5)
        for kind, script in (("deb", "prerm"), ("rpm", "preun")):
            stopped = set()
            for part in ("client", "server"):
                stopped.update(re.findall(r"qualvosec[a-z-]*\.[a-z]+",
                                          text_of("packaging", kind, part, script)))
            self.assertEqual(stopped, units, kind)

    def test_maintainer_scripts_refuse_words_that_they_do_not_know(self) -> None:
        for base, _, names in os.walk(os.path.join(PACKAGING, "deb")):
            for name in names:
                if name in ("postinst", "prerm", "postrm"):
                    done = subprocess.run(["sh", os.path.join(base, name), "nonsense"],
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                    self.assertEqual(done.returncode, 1)
                    self.assertIn(b"unknown argument 'nonsense'", done.stdout)


if __name__ == "__main__":
    unittest.main()
