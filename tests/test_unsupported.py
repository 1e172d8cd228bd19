# SPDX-License-Identifier: BSD-2-Clause
"""Systems that no adapter serves: root does nothing, and every reader is told which and why.

Each row is a tree with the system's own os-release and programs. The helper's real
transaction judges it; its record goes to the client's real code as over the wire.
"""

import json
import os
import shutil
import tempfile
import unittest
from typing import List
from typing import NamedTuple
from typing import Tuple
from unittest import mock

from qualvosec import command
from qualvosec import log
from qualvosec.client.decide import outcome
from qualvosec.client.decide.ahead import View
from qualvosec.client.decide.state import State
from qualvosec.client.fetch.pace import Pace
from qualvosec.client.root.record import Record
from qualvosec.client.root.record import record_from_json
from qualvosec.client.tell import findings
from qualvosec.client.tell import status as views
from qualvosec.client.tell import statusline
from qualvosec.helper import config
from qualvosec.helper import front
from qualvosec.helper import managers
from qualvosec.helper import record
from qualvosec.helper import request
from qualvosec.helper import transaction
from qualvosec.helper.managers import base
from qualvosec.manifest.policy import Policy

WINDOW = "20261124T0215Z"
NOW = 1795400000
READ_ONLY = "rootfs / rootfs rw 0 0\n/dev/sda2 / btrfs ro,relatime,subvol=/@/.snapshots/3 0 0\n"
TRANSACTIONAL = "a transactional system (transactional-update)"
IMAGE = "an image-based system (ostree, bootc)"


class Row(NamedTuple):
    """One system: what it calls itself, what is in it, what is said of it."""

    os_release: str
    said: str
    programs: Tuple[str, ...] = ()
    mounts: str = ""
    marks: Tuple[str, ...] = ()
    uname: str = "Linux"
    override: str = "auto"


MICROOS = 'ID="opensuse-microos"\nID_LIKE="suse opensuse opensuse-tumbleweed microos sl-micro"\n'
LEAP = 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n'
ZYPPER = ("usr/bin/zypper", "usr/sbin/transactional-update")
FEDORA = ("usr/bin/dnf", "usr/bin/rpm-ostree")
ROWS = {
    "MicroOS": Row(MICROOS, "opensuse-microos: not supported: " + TRANSACTIONAL, ZYPPER, READ_ONLY),
    "MicroOS without its program": Row(
        MICROOS, "opensuse-microos: not supported: " + TRANSACTIONAL, ("usr/bin/zypper",)),
    "Leap Micro": Row('ID="opensuse-leap-micro"\nID_LIKE="suse opensuse opensuse-leap"\n',
                      "opensuse-leap-micro: not supported: " + TRANSACTIONAL, ZYPPER, READ_ONLY),
    "SL Micro": Row('ID="sl-micro"\nID_LIKE="suse sle-micro opensuse-microos microos"\n',
                    "sl-micro: not supported: " + TRANSACTIONAL, ZYPPER, READ_ONLY),
    "Leap, transactional server": Row(LEAP, "opensuse-leap: not supported: " + TRANSACTIONAL,
                                      ZYPPER, READ_ONLY),
    "and that where zypper was asked for": Row(
        LEAP, "opensuse-leap: not supported: " + TRANSACTIONAL, ZYPPER, READ_ONLY,
        override="zypper"),
    "Silverblue": Row("ID=fedora\n", "fedora: not supported: " + IMAGE, FEDORA,
                      marks=("run/ostree-booted",)),
    "bootc": Row('ID="rhel"\nID_LIKE="fedora"\n', "rhel: not supported: " + IMAGE,
                 ("usr/bin/dnf", "usr/bin/bootc"), marks=("run/ostree-booted",)),
    "bootc without ostree": Row("ID=fedora\n", "fedora: not supported: " + IMAGE,
                                ("usr/bin/dnf", "usr/bin/bootc"),
                                "composefs:5f / overlay ro,relatime 0 0\n"),
    "Debian by bootc": Row("ID=debian\n", "debian: not supported: " + IMAGE,
                           ("usr/bin/apt-get", "usr/bin/bootc"), marks=("run/ostree-booted",)),
    "CentOS 7": Row('ID="centos"\nID_LIKE="rhel fedora"\n', "dnf5: is not installed; dnf: is not "
                    "installed; yum 3 is not supported", ("usr/bin/yum", "bin/rpm")),
    "Amazon Linux 2": Row('ID="amzn"\nID_LIKE="centos rhel fedora"\n', "dnf5: is not installed; "
                          "dnf: is not installed; yum 3 is not supported", ("usr/bin/yum",)),
    "CentOS 7 with a dnf of somebody else": Row(
        'ID="centos"\nVERSION_ID="7"\n', "centos 7: not supported: its package manager is yum 3",
        ("usr/bin/yum", "usr/bin/dnf", "usr/bin/rpm")),
    "and that where dnf was asked for": Row(
        'ID="rhel"\nVERSION_ID="7.9"\n', "rhel 7: not supported: its package manager is yum 3",
        ("usr/bin/dnf", "usr/bin/rpm"), override="dnf"),
    "Amazon Linux 2 with a dnf": Row(
        'ID="amzn"\nID_LIKE="centos rhel fedora"\nVERSION_ID="2"\n',
        "amzn 2: not supported: its package manager is yum 3", ("usr/bin/dnf", "usr/bin/rpm")),
    "ChimeraOS": Row("ID=chimeraos\nID_LIKE=arch\n", "chimeraos: not supported: an image-based "
                     "system (frzr)", ("usr/bin/pacman", "usr/bin/frzr-deploy"), READ_ONLY),
    "Vanilla OS": Row("ID=debian\n", "debian: not supported: an image-based system (ABRoot)",
                      ("usr/bin/apt-get", "usr/bin/abroot"), READ_ONLY),
    "one whose root is read-only, without any mark": Row(
        "ID=handheld\nID_LIKE=arch\n", "handheld: not supported: " + managers.READ_ONLY,
        ("usr/bin/pacman",), READ_ONLY),
    "one whose /usr is read-only": Row(
        "ID=debian\n", "debian: not supported: " + managers.READ_ONLY, ("usr/bin/apt-get",),
        "/dev/a / ext4 rw 0 0\n/dev/b /usr erofs ro,relatime 0 0\n"),
    "Alpine from memory": Row(
        "ID=alpine\n", "a system that runs from memory: its updates would be lost "
        "with the next reboot", ("sbin/apk",), "tmpfs / tmpfs rw,relatime 0 0\n"),
    "macOS": Row("", "darwin: not supported: macOS: softwareupdate cannot install updates "
                 "unattended", ("usr/local/sbin/pkg",), uname="Darwin"),
    "Tumbleweed": Row('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n',
                      "opensuse-tumbleweed: not supported: its updates are whole distribution "
                      "upgrades, which remove packages", ("usr/bin/zypper",)),
    "one that is like SteamOS": Row("ID=handheld\nID_LIKE='steamos arch'\n", "handheld: not "
                                    "supported: packages come as one image", ("usr/bin/pacman",)),
}


class Systems(unittest.TestCase):
    def setUp(self) -> None:
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        self.commands: List[str] = []
        self.told: List[str] = []

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)

    def run_of(self, row: Row) -> Record:
        """Let the helper's transaction run on this system; its record as the client reads it."""
        self.write("etc/os-release", row.os_release)
        for name in ("proc/mounts", "proc/1/mounts"):
            self.write(name, row.mounts)
        for name in row.programs:
            self.write(name, "", 0o755)
        for name in row.marks:
            self.write(name, "")

        def run(argv: List[str], env: object, **options: object) -> command.Result:
            self.commands.append(argv[0])
            return command.Result(0, b"", b"", False, False)

        world = base.World(run=run, now=lambda: float(NOW), root=self.root,
                           tell=lambda event, **values: self.told.append(
                               log.line(event, **values)))
        store = record.Store(os.path.join(self.root, "state"))
        store.prepare()
        accepted = record.accept(record.State(), request.Request("upgrade", WINDOW, NOW + 60), NOW,
                                 "boot")
        named = os.uname()
        with mock.patch.object(os, "uname") as uname:
            uname.return_value = os.uname_result((row.uname,) + tuple(named)[1:])
            transaction.Transaction(store, accepted, config.Config(package_manager=row.override),
                                    world, self.root).perform()
        wire = json.dumps(front._told(store.read().record, False)["record"])
        return record_from_json(json.loads(wire))

    def test_each_is_unsupported_in_record_log_status_and_health_with_one_line_of_reason(
            self) -> None:
        for name, row in ROWS.items():
            with self.subTest(system=name):
                self.setUp()
                found = self.run_of(row)
                self.assertEqual((found.outcome, found.reason), ("unsupported", row.said))
                self.assertEqual((found.committed, found.clean, self.commands), (False, True, []))
                self.assertIn("outcome=unsupported reason=" + log.quoted(row.said)[:-1],
                              "\n".join(self.told))
                state = outcome.conclude(State(phase="patching", window=WINDOW, op="upgrade"),
                                         found)
                line = "window %s: unsupported: %s" % (WINDOW, row.said)
                view = View(Policy(patch=True, weekdays=(2,), hour=3), "", "", "h.example.org",
                            lambda instant: 0)
                shown = findings.snapshot(findings.Situation(
                    now=NOW, started=NOW, view=view, state=state,
                    pace=Pace(NOW - 60, NOW - 60, NOW - 60)))
                self.assertEqual(views.health_text(shown), "healthy: false\n%s\n" % line)
                status = statusline.judge(json.loads(views.status(shown)))
                self.assertEqual((status.code, status.text), (2, line))

    def test_root_that_is_only_read_only_is_served_where_the_administrator_says_so(self) -> None:
        row = Row("ID=arch\n", "", ("usr/bin/pacman",), READ_ONLY, override="pacman")
        self.assertNotEqual(self.run_of(row).outcome, "unsupported")

    def test_releases_that_have_dnf_as_their_own_are_served(self) -> None:
        for text in ("ID=centos\nVERSION_ID=8\n", "ID=amzn\nVERSION_ID=2023\n",
                     "ID=fedora\nVERSION_ID=7\n", "ID=rhel\n"):
            row = Row(text, "", ("usr/bin/dnf", "usr/bin/rpm"))
            self.assertNotEqual(self.run_of(row).outcome, "unsupported", text)

    def test_the_same_programs_on_a_writable_root_are_served(self) -> None:
        row = ROWS["Leap, transactional server"]._replace(
            mounts="/dev/sda / btrfs rw 0 0\n", programs=ZYPPER + ("usr/bin/rpm",))
        self.assertNotEqual(self.run_of(row).outcome, "unsupported")
        self.assertIn("/usr/bin/zypper", " ".join(self.told))


if __name__ == "__main__":
    unittest.main()
