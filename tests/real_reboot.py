# SPDX-License-Identifier: BSD-2-Clause
"""Real reboots without systemd: sysvinit and busybox as PID 1 of a container.

The helper is asked for a reboot by a script that init starts. It has to tell who is logged
in, wait, and give the order; then the container asks to be rebooted, which is
what systemd-nspawn reports. Those with systemd are tried by `make e2e`. Not part of `make
test`: needs root and a tree that is built once from a Debian mirror (tests/e2e/tree.py).
Run with `python3 -m unittest tests.real_reboot`.
"""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from typing import Any
from typing import Dict

from tests import ROOT
from tests.e2e import container
from tests.e2e import tree

DELAY_S = 3
BOOT_S = 60
SYSVINIT = "id:2:initdefault:\nqv:2:once:/root/go\nl6:6:wait:/root/end\n"
BUSYBOX = "::once:/root/go\n::shutdown:/root/down\n"
GO = """#!/bin/sh
date +%%s.%%N >/root/began
%s
echo '{"v":1,"op":"reboot","window":"20261124T0215Z","not_after":549755813888}' |
    /opt/qualvosec/bin/qualvosec-helper >/root/reply
/bin/busybox poweroff -f
"""
CANCEL = ("(until [ -e /root/told ]; do sleep 0.1; done;"
          " kill -TERM $(pgrep -f qualvosec-transaction)) &")
DOWN = "#!/bin/sh\ndate +%s.%N >/root/ended\n"
WALL = "#!/bin/sh\ncat >/root/told\n"


class Reboots(unittest.TestCase):
    base = ""

    @classmethod
    def setUpClass(cls) -> None:
        if os.geteuid() != 0:
            raise unittest.SkipTest("real reboots: needs root")
        try:
            cls.base = tree.ensure("inits")
        except tree.TreeError as error:
            raise unittest.SkipTest("no tree with other inits: %s" % error)

    def setUp(self) -> None:
        self.work = tempfile.mkdtemp(prefix="qualvosec-reboot-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, self.work)
        overlay = container.Overlay([self.base], self.work)
        overlay.mount()
        self.addCleanup(overlay.unmount)
        self.root = overlay.root
        for folder in ("bin", "lib"):
            shutil.copytree(os.path.join(ROOT, folder),
                            os.path.join(self.root, "opt/qualvosec", folder),
                            ignore=shutil.ignore_patterns("__pycache__"))
        self.write("etc/qualvosec/helper.conf", "[general]\nreboot_delay: %d\n" % DELAY_S)
        self.write("usr/bin/wall", WALL, 0o755)
        self.write("root/go", GO % "", 0o755)

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, mode)

    def read(self, name: str) -> str:
        with open(os.path.join(self.root, name), encoding="ascii") as file:
            return file.read()

    def sysvinit(self) -> None:
        self.write("etc/inittab", SYSVINIT)
        self.write("root/end", DOWN + "exec /sbin/reboot -d -f\n", 0o755)

    def busybox(self) -> None:
        for name in ("init", "reboot", "shutdown", "halt", "poweroff"):
            os.unlink(os.path.join(self.root, "sbin", name))
        for name in ("init", "reboot"):
            os.symlink("/bin/busybox", os.path.join(self.root, "sbin", name))
        self.write("etc/inittab", BUSYBOX)
        self.write("root/down", DOWN, 0o755)

    def boot(self) -> int:
        """Boot the container until it ends or asks for a reboot; how it ended."""
        name = "qvreboot-%d" % os.getpid()
        done = subprocess.run(
            ["systemd-nspawn", "-q", "-D", self.root, "-M", name, "--register=no", "--keep-unit",
             "--private-network", "--resolv-conf=off", "--timezone=off", "--console=read-only",
             "-b"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=BOOT_S)
        left = "/run/systemd/nspawn/propagate/" + name
        if os.path.isdir(left):
            os.rmdir(left)
        self.console = done.stdout.decode("utf-8", "replace")
        return done.returncode

    def rebooted(self, order: str) -> None:
        self.assertEqual(self.boot(), container.REBOOT, self.console)
        self.assertEqual(self.read("root/told"),
                         "QualvoSec: reboot after patching, in %d seconds\n" % DELAY_S)
        waited = float(self.read("root/ended")) - float(self.read("root/began"))
        self.assertGreaterEqual(waited, DELAY_S)
        self.assertIn("argv=\"wait %s\"\n" % order, self.log())
        record = self.state()["record"]
        self.assertGreater(record["reboot_requested"], 0)
        self.assertEqual((record["reboot_delay"], record["reboot_refused"]), (DELAY_S, ""))

    def log(self) -> str:
        return self.read("var/log/qualvosec-helper/run.log")

    def state(self) -> Dict[str, Any]:
        found: Dict[str, Any] = json.loads(self.read("var/lib/qualvosec-helper/run.json"))
        return found

    def test_sysvinit_is_rebooted_after_the_delay(self) -> None:
        self.sysvinit()
        self.rebooted("/sbin/shutdown -r now QualvoSec: reboot after patching")

    def test_busybox_is_rebooted_after_the_delay(self) -> None:
        self.busybox()
        self.rebooted("/sbin/reboot")

    def test_a_signal_during_the_delay_cancels_it(self) -> None:
        self.busybox()
        self.write("root/go", GO % CANCEL, 0o755)
        self.assertEqual(self.boot(), 0, self.console)
        self.assertEqual(json.loads(self.read("root/reply"))["reason"],
                         "reboot: cancelled by a signal")
        self.assertEqual(self.state()["last_reboot"], 0)
        self.assertFalse(os.path.exists(os.path.join(self.root, "root/ended")))


if __name__ == "__main__":
    unittest.main()
