# SPDX-License-Identifier: BSD-2-Clause
"""Hooks of the administrator: which files are hooks, order, environment, failures."""

import os
import tempfile
import unittest

from qualvosec import command
from qualvosec.helper import hooks
from qualvosec.helper.managers import base


class Hooks(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.config = folder.name
        self.folder = os.path.join(self.config, "hooks.d/pre-patch.d")
        os.makedirs(self.folder)
        os.chmod(os.path.dirname(self.folder), 0o755)
        os.chmod(self.folder, 0o755)
        self.out = os.path.join(self.config, "out")

    def hook(self, name: str, text: str, mode: int = 0o755) -> None:
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\n%s\n" % text)
        os.chmod(path, mode)

    def run_all(self, timeout_s: int = 20) -> str:
        hooks.run_all(self.config, "pre-patch", timeout_s, {"window": "W"}, base.World())
        if not os.path.exists(self.out):
            return ""
        with open(self.out, encoding="ascii") as file:
            return file.read()

    def test_no_folder_means_no_hooks(self) -> None:
        hooks.run_all(self.config, "post-patch", 1, {}, base.World())

    def test_hooks_run_in_the_order_of_their_names_with_the_facts(self) -> None:
        for name in ("20-b", "10-a", "A"):
            self.hook(name, "echo %s $QUALVOSEC_HOOK $QUALVOSEC_WINDOW >> %s" % (name, self.out))
        self.assertEqual(self.run_all(), "10-a pre-patch W\n20-b pre-patch W\nA pre-patch W\n")

    def test_what_is_no_hook_is_left_alone(self) -> None:
        for name in ("10-a~", "10-a.dpkg-dist", ".hidden", "10-a.bak"):
            self.hook(name, "exit 1")
        self.hook("README", "exit 1", 0o644)
        os.mkdir(os.path.join(self.folder, "folder"))
        self.assertEqual(self.run_all(), "")

    def test_the_first_that_fails_stops_the_rest(self) -> None:
        self.hook("10-a", "exit 7")
        self.hook("20-b", "echo b > %s" % self.out)
        with self.assertRaisesRegex(base.Refused, "10-a: failed with exit code 7"):
            self.run_all()
        self.assertFalse(os.path.exists(self.out))

    def test_one_that_never_ends_is_ended(self) -> None:
        self.hook("10-a", "exec sleep 600")
        with self.assertRaisesRegex(base.Refused, "not finished after 1 seconds"):
            self.run_all(1)

    def test_one_that_others_could_change_stops_everything(self) -> None:
        self.hook("10-a", "echo a >> %s" % self.out)
        self.hook("20-b", "echo b >> %s" % self.out, 0o777)
        with self.assertRaisesRegex(base.Refused, "20-b: others may write to it"):
            self.run_all()
        self.assertFalse(os.path.exists(self.out))

    def test_a_folder_that_others_could_change_stops_everything(self) -> None:
        self.hook("10-a", "echo a >> %s" % self.out)
        os.chmod(self.folder, 0o777)
        with self.assertRaisesRegex(base.Refused, "others may write to it"):
            self.run_all()

    def test_a_link_is_judged_by_where_it_leads(self) -> None:
        self.hook("real.sh", "echo a >> %s" % self.out, 0o757)
        os.symlink(os.path.join(self.folder, "real.sh"), os.path.join(self.folder, "10-link"))
        with self.assertRaisesRegex(base.Refused, "others may write to it"):
            self.run_all()

    def test_one_without_interpreter_is_an_error(self) -> None:
        path = os.path.join(self.folder, "10-a")
        with open(path, "w", encoding="ascii") as file:
            file.write("#!/nonexistent/sh\n")
        os.chmod(path, 0o755)
        with self.assertRaisesRegex(command.CommandError, "10-a: cannot be started"):
            self.run_all()
