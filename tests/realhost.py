# SPDX-License-Identifier: BSD-2-Clause
"""A system with a real package manager, fresh for every case: what the real runs share.

The system is an overlay over a tree in which version 1 of every package is installed; the
helper is entered through its front, as sudo does it. Subclasses say how packages
are offered and listed. Nothing of the machine itself is touched.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from typing import Any
from typing import Callable
from typing import Dict
from typing import List
from typing import Sequence

from qualvosec.helper import request

from tests import DATA
from tests import ROOT
from tests.e2e import container
from tests.e2e import tree

WINDOW = "20261124T0215Z"
FAR = 1 << 39
HELPER = "/opt/qualvosec/bin/qualvosec-helper"


class RealHost(unittest.TestCase):
    """One fresh system for each case; a subclass with a `tree_name` is run."""

    tree_name = ""
    os_release = ""
    work = ""
    base = ""

    @classmethod
    def build(cls, root: str) -> None:
        """Build packages in the tree and install version 1 of them."""
        raise NotImplementedError

    @classmethod
    def setUpClass(cls) -> None:
        if os.geteuid() != 0:
            raise unittest.SkipTest("real package managers: needs root")
        try:
            cls.base = tree.ensure(cls.tree_name)
        except tree.TreeError as error:
            raise unittest.SkipTest("no tree with this package manager: %s" % error)
        cls.work = tempfile.mkdtemp(prefix="qualvosec-real-")
        layer = container.Overlay([cls.base], os.path.join(cls.work, "prepared"))
        layer.mount()
        try:
            for folder in ("bin", "lib"):
                shutil.copytree(os.path.join(ROOT, folder),
                                os.path.join(layer.root, "opt/qualvosec", folder),
                                ignore=shutil.ignore_patterns("__pycache__"))
            # The installation makes it, and the helper looks who could change it.
            os.makedirs(os.path.join(layer.root, "etc/qualvosec"), exist_ok=True)
            os.unlink(os.path.join(layer.root, "etc/os-release"))
            with open(os.path.join(layer.root, "etc/os-release"), "w", encoding="ascii") as file:
                file.write(cls.os_release)
            cls.build(layer.root)
        finally:
            layer.unmount()

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(cls.work)

    def setUp(self) -> None:
        self.told = ""
        self.folder = tempfile.mkdtemp(prefix="case-", dir=self.work)
        lower = os.path.join(self.work, "prepared/upper")
        self.overlay = container.Overlay([lower, self.base], self.folder)
        self.overlay.mount()
        self.root = self.overlay.root
        subprocess.run(["mount", "-t", "proc", "proc", self.root + "/proc"], check=True)
        self.addCleanup(self.close)

    def _formatMessage(self, msg: Any, standardMsg: str) -> str:
        return "%s\n%s" % (super()._formatMessage(msg, standardMsg), self.told)

    def close(self) -> None:
        self.kill()
        subprocess.run(["umount", "-l", self.root + "/proc"], check=True)
        self.overlay.unmount()
        shutil.rmtree(self.folder)

    def kill(self) -> int:
        """SIGKILL every process whose root directory is this system's; their number."""
        count = 0
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.readlink("/proc/%s/root" % entry) == self.root:
                    os.kill(int(entry), signal.SIGKILL)
                    count += 1
            except OSError:
                continue
        return count

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        # An absolute link of the system leads into the machine itself.
        if not os.path.realpath(self.root + path).startswith(os.path.realpath(self.root) + "/"):
            self.fail("%s: a link out of the system: remove it first" % path)
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        with open(self.root + path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.root + path, mode)

    def read(self, path: str) -> str:
        with open(self.root + path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def chroot(self, *argv: str) -> str:
        done = subprocess.run(["chroot", self.root] + list(argv), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.stdout.decode("utf-8", "replace")

    def start(self, **fields: Any) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(["chroot", self.root, HELPER], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(json.dumps(dict(fields, v=1)).encode("ascii"))
        process.stdin.close()
        process.stdin = None
        return process

    def answer(self, process: "subprocess.Popen[bytes]") -> Dict[str, Any]:
        out, err = process.communicate(timeout=180)
        self.assertEqual(err, b"")
        reply: Dict[str, Any] = json.loads(out.decode("ascii"))
        self.assertEqual(process.returncode, {"ok": 0, "invalid": 2}.get(reply["status"], 1))
        return reply

    def ask(self, **fields: Any) -> Dict[str, Any]:
        return self.answer(self.start(**fields))

    def request(self, only: Sequence[str] = (), exclude: Sequence[str] = (),
                security_only: bool = False, window: str = WINDOW) -> Dict[str, Any]:
        return {"op": "upgrade", "window": window, "not_after": FAR, "only": list(only),
                "exclude": list(exclude), "security_only": security_only}

    def upgrade(self, **choice: Any) -> Dict[str, Any]:
        reply = self.ask(**self.request(**choice))
        self.told = "%s\n%s" % (json.dumps(reply), self.log())
        self.assertEqual((reply["status"], reply["reason"]), ("ok", ""))
        record: Dict[str, Any] = reply["record"]
        return record

    def log(self) -> str:
        path = "/var/log/qualvosec-helper/run.log"
        return self.read(path)[-6000:] if os.path.exists(self.root + path) else "no log"

    def hold_record_lock(self, path: str, seconds: int = 60) -> None:
        """Let a process of the system hold a record lock on the file, at most until the end."""
        script = ("import fcntl, os, time\nos.makedirs(os.path.dirname(%r), exist_ok=True)\n"
                  "f = open(%r, 'a+b')\nfcntl.lockf(f, fcntl.LOCK_EX)\n"
                  "open('/srv/held', 'w').close()\ntime.sleep(%d)" % (path, path, seconds))
        process = subprocess.Popen(["chroot", self.root, "python3", "-c", script])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.until("the lock", lambda: os.path.exists(self.root + "/srv/held"))

    def until(self, what: str, condition: Callable[[], bool], timeout_s: float = 60) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                self.fail("waited in vain: %s\n%s" % (what, self.log()))
            time.sleep(0.02)

    def assert_no_traces(self) -> None:
        self.assertEqual([name for name in os.listdir(self.root + "/run")
                          if name.startswith("qualvosec-")], [])

    def hostile(self) -> List[str]:
        """Return the names of the injection table that a request may hold; the others it may not.

        Which these are the front decides, whatever the manager: test_injection has it
        judge each of them.
        """
        with open(os.path.join(DATA, "injection.txt"), encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip() and line[0] != "#"]
        self.assertGreaterEqual(len(rows), 60)
        valid = [row for row in rows if self._may_be_asked(row)]
        self.assertGreater(len(valid), 10)
        self.assertEqual(self.ask(**self.request(only=rows))["status"], "invalid")
        return valid

    def _may_be_asked(self, row: str) -> bool:
        try:
            request.parse(json.dumps(dict(self.request(only=[row]), v=1)).encode("ascii"))
        except request.RequestError:
            return False
        return True
