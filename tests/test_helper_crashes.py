# SPDX-License-Identifier: BSD-2-Clause
"""Power fails at every point of a run and of the reboot after it, once and twice.

Front, rules, record and transaction are the real ones; the package manager, the
commands and the power are the test's. After each cut the host comes up with another boot
id and the daemon does what it does: it asks for a repair where a run was cut off,
then tries to upgrade and to reboot again. Whatever the point: one commit in a window, one
reboot, never a record that cannot be read, never a commit that the record did not announce.
"""

import io
import json
import os
import random
import tempfile
import unittest
from typing import Any
from typing import Dict
from typing import List
from typing import Sequence
from typing import Tuple
from unittest import mock

from qualvosec import command
from qualvosec.helper import config
from qualvosec.helper import front
from qualvosec.helper import managers
from qualvosec.helper import record
from qualvosec.helper import rules
from qualvosec.helper import transaction
from qualvosec.helper.managers import base

from tests import MEMORY
from tests.test_transaction import FakeManager

WINDOW = "20261124T0215Z"
PAIRS = 30


class PowerCut(BaseException):
    """The machine is gone; nothing may catch this."""


class Power:
    """Counts the points at which it could fail and fails at the ones it was given."""

    def __init__(self, cuts: Sequence[int]) -> None:
        self.cuts = list(cuts)
        self.points = 0

    def point(self) -> None:
        self.points += 1
        if self.cuts and self.points == self.cuts[0]:
            del self.cuts[0]
            self.points = 0
            raise PowerCut

    def around(self, function: Any) -> Any:
        def wrapped(*args: Any, **options: Any) -> Any:
            self.point()
            result = function(*args, **options)
            self.point()
            return result

        return wrapped


class Host:
    """Disk, packages and what was commanded; they survive the cuts."""

    def __init__(self, folder: str, cuts: Sequence[int]) -> None:
        self.folder = folder
        self.power = Power(cuts)
        self.boots = 0
        self.clock = 1000.0
        self.shutdowns = 0
        self.commits: List[bool] = []
        for name in ("usr/sbin", "run/systemd/system", "proc/sys/kernel/random"):
            os.makedirs(os.path.join(folder, name))
        with open(os.path.join(folder, "usr/sbin/shutdown"), "w", encoding="ascii"):
            pass
        os.chmod(os.path.join(folder, "usr/sbin/shutdown"), 0o755)
        self.world = base.World(run=self.power.around(self.run), now=lambda: self.clock,
                                root=folder)
        self.manager = FakeManager(self.world)
        self.manager.on_commit = self.commit
        for name in ("refresh", "recover", "plan", "download", "commit", "installed", "broken"):
            setattr(self.manager, name, self.power.around(getattr(self.manager, name)))
        self.start()

    def start(self) -> None:
        self.boots += 1
        self.clock += 60
        path = os.path.join(self.folder, "proc/sys/kernel/random/boot_id")
        with open(path, "w", encoding="ascii") as file:
            file.write("boot %d\n" % self.boots)
        self.store = record.Store(os.path.join(self.folder, "state"))
        setattr(self.store, "write", self.power.around(self.store.write))  # noqa: B010

    def commit(self) -> None:
        with open(os.path.join(self.folder, "state/run.json"), encoding="ascii") as file:
            announced = json.load(file)["record"]
        self.commits.append(announced["committed"] and announced["phase"] == "commit")
        self.manager.damage = "dpkg was interrupted"
        self.power.point()
        self.manager.damage = ""

    def run(self, argv: Sequence[str], env: Any, **options: Any) -> command.Result:
        self.shutdowns += os.path.basename(argv[0]) == "shutdown"
        return command.Result(0, b"", b"", False, False)

    def launch(self) -> str:
        state = self.store.read()._replace(taken=True)
        self.store.write(state)
        transaction.Transaction(self.store, state, config.Config(), self.world, self.folder,
                                "/sbin/qualvosec").perform()
        return ""

    def ask(self, op: str, **fields: Any) -> Dict[str, Any]:
        host = front.Host(0, self.store, self.folder, self.world, lambda: "", self.launch)
        data = io.BytesIO(json.dumps(dict(fields, v=1, op=op)).encode("ascii"))
        reply: Dict[str, Any] = front.serve(data.read, host)
        if "damaged" in str(reply["reason"]) or reply["status"] == "invalid":
            raise AssertionError(reply)
        return reply

    def live(self) -> None:
        """What the daemon asks for, again after every cut, until nothing is left to be done."""
        for _ in range(10):
            try:
                found = self.ask("status", wait=False)["record"]
                if found is not None and not found["finished"]:
                    self.ask("repair", window=WINDOW, not_after=90000)
                self.ask("upgrade", window=WINDOW, not_after=90000, security_only=False, only=[],
                         exclude=[])
                self.ask("reboot", window=WINDOW, not_after=90000)
                return
            except PowerCut:
                self.start()
        raise AssertionError("the host never came to rest")


class Crashes(unittest.TestCase):
    def live(self, cuts: Tuple[int, ...]) -> Host:
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder, mock.patch("os.fsync"):
            host = Host(folder, cuts)
            with mock.patch.object(managers, "of_this_system", return_value=host.manager):
                host.live()
                end = host.store.read()
                commits, shutdowns = list(host.commits), host.shutdowns
                if not end.record.finished:
                    # The repair was cut off, too, and is not tried again in this window.
                    self.assertEqual((end.record.op, shutdowns), ("repair", 0), cuts)
                    host.ask("upgrade", window="20261201T0215Z", not_after=90000, only=[],
                             security_only=False, exclude=[])
                    end = host.store.read()
            self.assertEqual([name for name in os.listdir(host.store.folder)
                              if name not in ("lock", "run.json")], [], cuts)
        self.assertLessEqual(len(commits), 1, cuts)
        self.assertLessEqual(shutdowns, 1, cuts)
        self.assertNotIn(False, host.commits, cuts)
        self.assertEqual(host.manager.damage, "", cuts)
        self.assertGreater(end.record.finished, 0, cuts)
        if end.record.window == WINDOW:
            installed = host.manager.packages["one"] == "2"
            self.assertEqual(installed, len(end.record.upgraded) > 0, cuts)
        return host

    def points(self) -> int:
        return self.live(()).power.points

    def test_without_a_cut_there_is_one_run_and_one_reboot(self) -> None:
        host = self.live(())
        self.assertEqual((len(host.commits), host.shutdowns), (1, 1))
        self.assertGreater(host.power.points, 40)

    def test_a_cut_at_every_point_gives_no_second_run_and_no_second_reboot(self) -> None:
        runs = sum(len(self.live((first,)).commits) for first in range(1, self.points() + 1))
        self.assertGreater(runs, 20)

    def caught(self) -> bool:
        """Whether any single cut shows the bug that the caller has planted."""
        for first in range(1, 60):
            try:
                self.live((first,))
            except AssertionError:
                return True
        return False

    def test_planted_bugs_are_caught(self) -> None:
        with mock.patch.object(record, "was_committed", lambda *_: False):
            self.assertTrue(self.caught(), "a run of a window is forgotten")
        with mock.patch.object(rules, "_no_reboot", lambda *_: ""):
            self.assertTrue(self.caught(), "reboots are not limited")
        original = transaction.Transaction._phase

        def late(self: transaction.Transaction, name: str, **fields: Any) -> None:
            original(self, name, **dict(fields, committed=name in ("compare", "done")))

        with mock.patch.object(transaction.Transaction, "_phase", late):
            self.assertTrue(self.caught(), "the commit is announced too late")

    def test_two_cuts_give_no_second_run_and_no_second_reboot(self) -> None:
        total = self.points()
        pairs = [(first, second) for first in range(1, total + 1) for second in range(1, total + 1)]
        if os.environ.get("QUALVOSEC_LONG") != "1":
            seed = random.randrange(1 << 32)
            pairs = random.Random(seed).sample(pairs, PAIRS)
            print("tried %d of %d pairs of cuts (seed %d); QUALVOSEC_LONG=1 tries all"
                  % (PAIRS, total * total, seed))
        for pair in pairs:
            self.live(pair)
