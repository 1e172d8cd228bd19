# SPDX-License-Identifier: BSD-2-Clause
"""Stand-ins at the edge of the client: a sudo that keeps its argv, a helper, a fetch child.

They are small programs in a folder of the test, so that the client runs its
real code up to the exec. Each call is written to calls.jsonl.
"""

import json
import os
import sys
import time
from typing import Any
from typing import Dict
from typing import List
from typing import Optional

from qualvosec.client.fetch import line as fetchreply
from qualvosec.client.fetch.line import FetchReply
from qualvosec.manifest.policy import Policy

_SUDO = """#!%(python)s -IS
import json, os, sys, time
request = sys.stdin.buffer.read()
with open(%(folder)r + "/calls.jsonl", "a") as stream:
    stream.write(json.dumps({"argv": sys.argv[1:], "env": dict(os.environ),
                             "request": json.loads(request.decode("ascii"))}) + "\\n")
operation = json.loads(request.decode("ascii"))["op"]
try:
    with open(%(folder)r + "/" + operation + ".reply") as stream:
        answer = stream.read()
except FileNotFoundError:
    sys.stderr.write("sudo: a password is required\\n")
    sys.exit(1)
while os.path.exists(%(folder)r + "/" + operation + ".hold"):
    time.sleep(0.02)
sys.stdout.write(answer)
"""

_FETCH = """import sys
with open(%(folder)r + "/fetches.jsonl", "ab") as stream:
    stream.write(sys.stdin.buffer.read())
with open(%(folder)r + "/fetch.reply", "rb") as stream:
    sys.stdout.buffer.write(stream.read())
"""

SHA = "0" * 63
RECORD: Dict[str, Any] = {
    "v": 1, "window": "", "op": "upgrade", "manager": "apt", "boot_id": "b", "accepted": 1,
    "started": 1, "finished": 2, "phase": "done", "committed": True, "outcome": "ok",
    "reason": "", "upgraded": [["a", "1", "2"]], "kept": [], "pending": 0, "clean": True,
    "reboot": "no", "reboot_reasons": [], "config_files": [], "reboot_requested": 0,
    "reboot_delay": 60, "reboot_refused": "", "kernel": "6.1", "history": []}


class Edge:
    """The folder that holds the stand-ins and what they were asked."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.sudo = os.path.join(folder, "sudo")
        names = {"python": sys.executable, "folder": folder}
        self.write("sudo", _SUDO % names)
        os.chmod(self.sudo, 0o755)
        self.write("fetch.py", _FETCH % names)
        self.sha = 0

    def write(self, name: str, text: str) -> None:
        # By rename: a stand-in may be reading the old one at this moment.
        path = os.path.join(self.folder, name)
        with open(path + ".new", "w", encoding="ascii") as stream:
            stream.write(text)
        os.chmod(path + ".new", 0o644)
        os.rename(path + ".new", path)

    def fetch_argv(self) -> List[str]:
        """Return what acceptance.fetch_argv() should return."""
        return [sys.executable, "-IS", os.path.join(self.folder, "fetch.py")]

    def publish(self, policy: Optional[Policy], entry: str = "policy", **fields: Any) -> None:
        """Let the next fetch answer with this policy."""
        self.sha += 1
        fields.setdefault("date", int(time.time()))
        reply = FetchReply("new", entry=entry, policy=policy, sha256=SHA + str(self.sha % 10),
                           **fields)
        self.write("fetch.reply", fetchreply.reply_line(reply).decode("ascii"))

    def fail_fetch(self, reason: str, signature: str = "") -> None:
        """Let the next fetch fail."""
        reply = FetchReply("failed", reason, signature=signature)
        self.write("fetch.reply", fetchreply.reply_line(reply).decode("ascii"))

    def answer(self, operation: str, status: str = "ok", reason: str = "", alive: bool = False,
               **record: Any) -> None:
        """Let the helper answer an operation; record fields replace those of RECORD."""
        reply = {"v": 1, "status": status, "reason": reason, "alive": alive, "plan": None,
                 "record": dict(RECORD, **record) if record else None}
        self.write(operation + ".reply", json.dumps(reply))

    def experimental(self, operation: str, text: str) -> None:
        """Let the helper answer an operation with a note on how far its manager is tried."""
        reply = {"v": 1, "status": "ok", "reason": "", "alive": False, "experimental": text}
        self.write(operation + ".reply", json.dumps(reply))

    def forget(self, operation: str) -> None:
        """Let the rule for the helper be missing."""
        os.unlink(os.path.join(self.folder, operation + ".reply"))

    def _lines(self, name: str) -> List[Dict[str, Any]]:
        try:
            with open(os.path.join(self.folder, name), encoding="ascii") as stream:
                return [json.loads(line) for line in stream]
        except FileNotFoundError:
            return []

    def calls(self, operation: str = "") -> List[Dict[str, Any]]:
        """Return the calls of the helper so far, of one operation or of all."""
        return [call for call in self._lines("calls.jsonl")
                if operation in ("", call["request"]["op"])]

    def fetches(self) -> List[Dict[str, Any]]:
        """Return the requests that the fetch child was given."""
        return self._lines("fetches.jsonl")
