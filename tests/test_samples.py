# SPDX-License-Identifier: BSD-2-Clause
"""Sample configurations, rules and units, read by what will read them."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from typing import Any
from typing import Dict
from typing import List
from typing import Set
from typing import Tuple

from qualvosec.admin import settings as admin
from qualvosec.client import config as client
from qualvosec.client import host
from qualvosec.helper import config as helper
from qualvosec.manifest import document
from qualvosec.server import config as server

from tests import ROOT

HELPER = "/usr/local/libexec/qualvosec/qualvosec-helper"
OPTION = re.compile(r"^#(\w+): (.+)$", re.M)
# systemd.exec(5): each of these sets NoNewPrivileges for a unit with User=, and
# sudo does not work then; or what root starts would inherit it.
BREAKS_SUDO = {
    "NoNewPrivileges", "DynamicUser", "LockPersonality", "MemoryDenyWriteExecute",
    "PrivateDevices", "ProtectClock", "ProtectHostname", "ProtectKernelLogs",
    "ProtectKernelModules", "ProtectKernelTunables", "RestrictAddressFamilies",
    "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "SystemCallArchitectures",
    "SystemCallFilter", "SystemCallLog", "PrivateUsers"}
INHERITED_BY_ROOT = {
    "ProtectSystem", "ProtectHome", "PrivateTmp", "ReadOnlyPaths", "InaccessiblePaths",
    "CapabilityBoundingSet", "MemoryMax", "TasksMax", "PrivateNetwork", "ProtectControlGroups",
    "ProtectProc", "ProcSubset", "PrivateMounts", "RuntimeMaxSec", "IPAddressDeny", "Nice"}


def text_of(name: str) -> str:
    with open(os.path.join(ROOT, name), encoding="utf-8") as handle:
        return handle.read()


def uncommented(text: str) -> str:
    return OPTION.sub(r"\1: \2", text)


class Configurations(unittest.TestCase):

    def read_helper(self, text: str) -> helper.Config:
        folder = tempfile.mkdtemp(prefix="qualvosec-test-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "helper.conf")
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(text)
        os.chmod(path, 0o644)
        return helper.read(path)

    def readers(self) -> List[Tuple[str, Any, Any, Set[str]]]:
        """File, its reader, the defaults, and the keys whose shown value is an example."""
        examples = {"fqdn", "timezone", "ca_file", "client_cert", "client_key", "proxy",
                    "monitoring_hosts", "state_dir", "allowed_signers", "audience"}
        return [("etc/qualvosec.conf", client.from_text, client.Config("", "https://x"), examples),
                ("etc/qualvosec_server.conf", server.parse, server.Config(), set()),
                ("etc/qualvosec_admin.conf", admin.from_text, admin.Settings(),
                 {"server", "ca_file", "key"}),
                ("etc/helper.conf", self.read_helper, helper.Config(), set())]

    def test_samples_are_read_as_shipped(self) -> None:
        for name, read, _, _ in self.readers():
            read(text_of(name))

    def test_every_option_shown_is_read_and_is_the_default(self) -> None:
        for name, read, defaults, examples in self.readers():
            shown = dict(OPTION.findall(text_of(name)))
            self.assertGreater(len(shown), 1, name)
            got = read(uncommented(text_of(name)))
            for key in sorted(set(shown) - examples):
                ours, theirs = getattr(got, key), getattr(defaults, key)
                if isinstance(ours, tuple):
                    ours, theirs = set(ours), set(theirs)
                self.assertEqual(ours, theirs, (name, key))

    def test_the_server_that_nobody_has_changed_yet_is_known(self) -> None:
        self.assertEqual(client.from_text(text_of("etc/qualvosec.conf")).server,
                         client.SAMPLE_SERVER)

    def test_every_key_is_explained(self) -> None:
        keys: Dict[str, Tuple[str, ...]] = {
            "etc/qualvosec.conf": client.KEYS, "etc/qualvosec_server.conf": server.KEYS,
            "etc/helper.conf": helper.Config._fields, "etc/qualvosec_admin.conf": admin.KEYS}
        for name, known in keys.items():
            shown = set(re.findall(r"^#?(\w+): ", text_of(name), re.M))
            self.assertEqual(set(known) - shown, set(), name)


    def test_sample_manifest_has_no_fault(self) -> None:
        found = document.read(text_of("etc/patch.yaml").encode("utf-8"), 738000)
        self.assertEqual(found.problems, [])
        self.assertGreater(len(found.hosts), 3)

    def test_samples_agree_on_where_manifest_and_access_log_are(self) -> None:
        nginx = text_of("etc/nginx/qualvosec.conf")
        config = admin.from_text(text_of("etc/qualvosec_admin.conf"))
        root = server.parse(text_of("etc/qualvosec_server.conf")).root
        self.assertEqual(os.path.dirname(config.manifest), root)
        self.assertRegex(nginx, r"\n    root %s;" % re.escape(root))
        log = re.findall(r"access_log (\S+) combined;", nginx)
        log.append(server.parse(text_of("etc/qualvosec_server.conf")).log_file)
        self.assertEqual([path + "*" for path in log], list(config.log_file_path))


class Rules(unittest.TestCase):

    def test_sudo_may_start_one_program_without_arguments(self) -> None:
        lines = [line for line in text_of("etc/sudoers.d/qualvosec").splitlines()
                 if line and not line.startswith("#")]
        self.assertEqual(lines, [
            'Cmnd_Alias QUALVOSEC_HELPER = %s ""' % HELPER,
            # What sudo-rs 0.2.5 knows as well: it tells every user of what it does not.
            "Defaults!QUALVOSEC_HELPER !use_pty, env_reset",
            "qualvosec ALL=(root:root) NOPASSWD: NOSETENV: QUALVOSEC_HELPER"])

    @unittest.skipUnless(shutil.which("visudo"), "visudo is not installed")
    def test_visudo_accepts_the_rule(self) -> None:
        done = subprocess.run(["visudo", "-c", "-f", os.path.join(ROOT, "etc/sudoers.d/qualvosec")],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_doas_rule_forbids_arguments_and_ends_its_line(self) -> None:
        text = text_of("etc/doas.conf.sample")
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        self.assertEqual(lines, ["permit nopass qualvosec as root cmd %s args" % HELPER])
        self.assertTrue(text.endswith("args\n"))

    @unittest.skipUnless(shutil.which("doas"), "doas is not installed")
    def test_doas_accepts_the_rule(self) -> None:
        done = subprocess.run(["doas", "-C", os.path.join(ROOT, "etc/doas.conf.sample")],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual((done.returncode, done.stdout), (0, b""))


class Units(unittest.TestCase):

    def settings(self, name: str) -> List[Tuple[str, str]]:
        return re.findall(r"^(\w+)=(.*)$", text_of("systemd/" + name), re.M)

    def test_client_units_set_nothing_that_breaks_sudo_or_reaches_maintainer_scripts(self) -> None:
        for name in ("qualvosec.service", "qualvosec-once.service"):
            keys = {key for key, _ in self.settings(name)}
            self.assertEqual(keys & (BREAKS_SUDO | INHERITED_BY_ROOT), set(), name)
            self.assertEqual(dict(self.settings(name))["KillMode"], "process")

    def test_client_unit_ends_only_the_daemon_and_retries_no_wrong_configuration(self) -> None:
        settings = dict(self.settings("qualvosec.service"))
        self.assertEqual(settings["KillMode"], "process")
        self.assertEqual(settings["Restart"], "on-failure")
        self.assertEqual(settings["RestartPreventExitStatus"], "2")
        # A reload in the first moments ends the interpreter: systemd takes that for a clean end.
        self.assertEqual(settings["RestartForceExitStatus"], "SIGHUP")
        self.assertEqual(settings["StateDirectoryMode"], "0700")
        self.assertEqual(settings["User"], "qualvosec")

    def test_reload_needs_no_program_that_a_minimal_system_lacks(self) -> None:
        for name in ("qualvosec.service", "qualvosec-server.service"):
            self.assertEqual(dict(self.settings(name))["ExecReload"],
                             "/bin/sh -c 'kill -HUP $MAINPID'", name)

    def test_server_is_confined_and_is_not_the_user_who_may_call_root(self) -> None:
        settings = dict(self.settings("qualvosec-server.service"))
        self.assertEqual(settings["User"], "qualvosec-server")
        for key in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "MemoryDenyWriteExecute"):
            self.assertEqual(settings[key], "yes")
        self.assertEqual((settings["ProtectSystem"], settings["CapabilityBoundingSet"]),
                         ("strict", ""))

    def test_socket_of_the_helper_is_for_the_daemons_user_alone(self) -> None:
        settings = dict(self.settings("qualvosec-helper.socket"))
        self.assertEqual((settings["SocketUser"], settings["SocketMode"], settings["Accept"]),
                         ("qualvosec", "0600", "yes"))
        # privilege: auto takes a socket that is there, dead or not.
        self.assertEqual(settings["RemoveOnStop"], "yes")
        started = dict(self.settings("qualvosec-helper@.service"))
        self.assertEqual(started["ExecStart"], HELPER)
        self.assertEqual({started["StandardInput"], started["StandardOutput"]}, {"socket"})
        self.assertEqual(started["KillMode"], "process")
        self.assertEqual(set(started) & (BREAKS_SUDO | INHERITED_BY_ROOT), set())

    def test_hardened_client_needs_the_socket_and_drops_everything(self) -> None:
        settings = dict(self.settings("hardened.conf"))
        self.assertEqual(settings["Requires"], "qualvosec-helper.socket")
        self.assertEqual((settings["CapabilityBoundingSet"], settings["NoNewPrivileges"],
                          settings["ProtectSystem"]), ("", "yes", "strict"))
        self.assertLessEqual({"MemoryDenyWriteExecute", "RestrictNamespaces", "SystemCallFilter",
                              "PrivateTmp", "PrivateDevices", "LockPersonality"}, set(settings))
        # A /proc of its own may name another boot than root's: the unit tells root's.
        self.assertTrue(settings["ExecStartPre"].startswith("+"))
        self.assertTrue(settings["ExecStartPre"].endswith(" /" + host._ROOTS_BOOT_ID))

    def test_units_start_what_is_installed(self) -> None:
        for name in ("qualvosec", "qualvosec-server"):
            start = dict(self.settings(name + ".service"))["ExecStart"].split()
            self.assertEqual(os.path.basename(start[0]), name)
            self.assertTrue(os.path.exists(os.path.join(ROOT, "etc", os.path.basename(start[2]))))


if __name__ == "__main__":
    unittest.main()
