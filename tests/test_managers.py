# SPDX-License-Identifier: BSD-2-Clause
"""Which adapter serves which system, and what is said where none does."""

import glob
import os
import re
import unittest
from typing import Dict
from typing import Tuple
from unittest import mock

from qualvosec import command
from qualvosec.helper import managers
from qualvosec.helper.managers import base

from tests import ROOT
from tests import fakemanager
from tests import replay

# What the systems' own os-release files say.
SERVED: Dict[str, Tuple[str, ...]] = {
    "apt": ("ID=debian\n", 'ID=linuxmint\nID_LIKE="ubuntu debian"\n', "ID='ubuntu'\n"),
    "dnf": ("ID=fedora\n", 'ID="rhel"\nID_LIKE="fedora"\n',
            'ID="almalinux"\nID_LIKE="rhel centos fedora"\n', 'ID="amzn"\nID_LIKE="fedora"\n',
            'ID=nobara\nID_LIKE="rhel centos fedora"\n'),
    "apk": ("ID=alpine\n",),
    "pacman": ("ID=arch\n", "ID=endeavouros\nID_LIKE=arch\n"),
    "zypper": ('ID="sles"\nID_LIKE="suse"\n', 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n'),
}
PROGRAMS = {"apt": "usr/bin/apt-get", "dnf": "usr/bin/dnf", "dnf5": "usr/bin/dnf5",
            "zypper": "usr/bin/zypper", "apk": "sbin/apk", "pacman": "usr/bin/pacman",
            "pkg": "usr/local/sbin/pkg", "openbsd": "usr/sbin/pkg_add",
            "pkgin": "usr/pkg/bin/pkgin"}


class Choice(fakemanager.Case):
    def give(self, *names: str) -> None:
        for name in names:
            self.write(PROGRAMS[name], "")
            os.chmod(os.path.join(self.root, PROGRAMS[name]), 0o755)

    def choose(self, text: str, uname: str = "Linux", override: str = "auto") -> str:
        return managers.choose(text, uname, override, self.world).name

    def test_systems_are_known_by_their_own_name_whatever_else_is_installed(self) -> None:
        self.give(*[name for name in PROGRAMS if name != "dnf5"])
        rows = 0
        for name, texts in SERVED.items():
            for text in texts:
                self.assertEqual(self.choose(text), name, text)
                rows += 1
        self.assertGreater(rows, 8)

    def test_the_bsds_are_known_by_the_name_of_their_kernel(self) -> None:
        self.give(*PROGRAMS)
        for uname, name in (("FreeBSD", "pkg"), ("DragonFly", "pkg"), ("OpenBSD", "openbsd"),
                            ("NetBSD", "pkgin")):
            self.assertEqual(self.choose("ID=debian\n", uname), name)

    def test_dnf5_is_taken_where_it_exists(self) -> None:
        self.give("dnf", "dnf5")
        self.assertEqual(self.choose("ID=fedora\n"), "dnf5")

    def test_a_system_whose_program_is_missing_is_unsupported_though_others_exist(self) -> None:
        self.give("apt")
        for text, part in (("ID=fedora\n", "dnf5: is not installed; dnf: is not installed"),
                           ("ID=sles\nID_LIKE=suse\n", "zypper: is not installed")):
            with self.assertRaisesRegex(base.Unsupported, part):
                self.choose(text)

    def test_the_administrator_may_choose(self) -> None:
        self.give("zypper", "dnf")
        self.assertEqual(self.choose("ID=mine\n", override="dnf"), "dnf")

    def test_what_is_not_served_is_named_with_the_reason(self) -> None:
        self.give(*PROGRAMS)
        for text, uname, part in (
                ("ID=slackware\n", "Linux", "slackware"), ("", "Linux", "Linux"),
                ("", "Darwin", "softwareupdate"), ("", "SunOS", "sunos"),
                ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', "Linux", "distribution"),
                ("ID=steamos\nID_LIKE=arch\n", "Linux", "one image"), ("ID=nixos\n", "Linux", "")):
            with self.assertRaisesRegex(base.Unsupported, part):
                self.choose(text, uname)

    def test_image_based_systems_are_unsupported_even_when_overridden(self) -> None:
        self.give("dnf", "dnf5")
        self.write("run/ostree-booted", "")
        for override in ("auto", "dnf"):
            with self.assertRaisesRegex(base.Unsupported, "fedora: not supported: an image-based"):
                self.choose("ID=fedora\n", override=override)

    def test_transactional_systems_are_unsupported_while_their_root_is_read_only(self) -> None:
        self.give("zypper")
        self.write("usr/sbin/transactional-update", "")
        self.write("proc/mounts", "rootfs / rootfs rw 0 0\n/dev/sda / btrfs rw,relatime 0 0\n")
        self.assertEqual(self.choose("ID=sles\nID_LIKE=suse\n"), "zypper")
        self.write("proc/mounts", "rootfs / rootfs rw 0 0\n/dev/sda / btrfs ro,relatime 0 0\n")
        with self.assertRaisesRegex(base.Unsupported, "transactional-update"):
            self.choose("ID=sles\nID_LIKE=suse\n")


class Calls(fakemanager.Case):
    def test_an_answer_that_was_cut_off_is_an_error(self) -> None:
        cut = command.Result(0, b"qv-plain 1.0\n", b"", False, True)
        manager = base.Manager(self.world._replace(run=lambda *args, **options: cut))
        with self.assertRaisesRegex(base.ManagerError, "rpm: answers with more than"):
            manager.call(["/usr/bin/rpm", "-qa"], {})


    def test_without_room_for_its_output_nothing_that_changes_the_system_is_started(self) -> None:
        space = os.statvfs(self.root)
        fields = ("f_blocks", "f_bfree", "f_frsize")
        manager = base.Manager(self.world)
        for blocks, free, is_full in ((1000, 0, True), (1000, 255, True), (1000, 256, False),
                                      (0, 0, False)):
            told = mock.Mock(spec=space, **dict(zip(fields, (blocks, free, 4096))))
            argv = ["/usr/bin/apt-get", "upgrade"]
            self.fake.expect(argv)
            with mock.patch("os.fstatvfs", return_value=told):
                if is_full:
                    with self.assertRaisesRegex(base.Refused, "run.log: no space left"):
                        manager.call(argv, fakemanager.ENVIRONMENT, logged=True)
                else:
                    manager.call(argv, fakemanager.ENVIRONMENT, logged=True)
        self.assertEqual(len(self.fake.calls), 2)


class Documentation(unittest.TestCase):
    """docs/package-managers.md says which adapter was tried on the real thing."""

    def test_every_adapter_has_its_row_and_only_those_with_a_real_test_say_so(self) -> None:
        with open(os.path.join(ROOT, "docs/package-managers.md"), encoding="utf-8") as file:
            part = file.read().partition("## What is tried")[2].partition("\n## ")[0]
        told = dict(re.findall(
            r"(?m)^\| ([a-z0-9]+) \| [^|]* \| (for real|transcripts|stand-in)", part))
        self.assertEqual(set(told), set(managers.KINDS))
        tried = set()
        for path in glob.glob(os.path.join(ROOT, "tests", "real_*.py")):
            with open(path, encoding="utf-8") as file:
                tried.update(name.lower() for name in re.findall(
                    r"(?m)^class Real(\w+)\(.*RealHost\)", file.read()))
            tried.update({"apt"} if path.endswith("real_apt.py") else ())
        self.assertEqual({name for name, how in told.items() if how == "for real"}, tried)
        replayed = {system.manager for system in replay.SYSTEMS.values()}
        self.assertEqual({name for name, how in told.items() if how == "transcripts"}, replayed)
