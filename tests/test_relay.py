# SPDX-License-Identifier: BSD-2-Clause
"""The relay between the daemon and root's helper behind a socket, as systemd would serve it."""

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import List
from unittest import mock

from qualvosec import command
from qualvosec.client.root import call as rootcall
from qualvosec.contract.call import MAX_ANSWER
from qualvosec.contract.call import MAX_REQUEST
from qualvosec.helper import process
from qualvosec.helper.managers import base

from tests import LIB
from tests import ROOT

HELPER = [sys.executable, "-IBS", os.path.join(ROOT, "bin", "qualvosec-helper")]
START = """import sys
sys.path[:0] = [%r]
from qualvosec.client.root import relay, call
call.SOCKET = %r
sys.exit(relay.main())
"""
ECHO = "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data * %d)"
# What the front does while it waits for the end of a run.
WAITS = """import sys
sys.path[:0] = [%r]
from qualvosec.helper import process
for _ in range(200):
    if process.caller_gone(0.1):
        open(%r, "w").close()
        break
"""


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="qv-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "helper.sock")

    def serve(self, argv: List[str]) -> None:
        """Start argv for one connection, which is its input and output (Accept=yes)."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(1)
        listener.settimeout(30)
        started: List["subprocess.Popen[bytes]"] = []

        def work() -> None:
            with listener:
                peer = listener.accept()[0]
            with peer:
                started.append(subprocess.Popen(argv, stdin=peer.fileno(), stdout=peer.fileno(),
                                                stderr=subprocess.DEVNULL))
            started[0].wait()

        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(thread.join)

    def argv(self) -> List[str]:
        return [sys.executable, "-IBSc", START % (LIB, self.path)]

    def call(self, request: bytes) -> command.Result:
        return command.run(self.argv(), rootcall.ENV, request, 60.0, MAX_ANSWER + 1)


class Relay(Case):
    def test_the_helper_itself_answers_through_a_socket(self) -> None:
        self.serve(HELPER)
        ended = self.call(b"{}\n")
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))
        reply = rootcall.read_reply(ended, self.argv()[0])
        self.assertEqual((reply.status, reply.reason),
                         ("invalid", "v: this helper speaks version 1"))

    def test_request_and_large_answer_pass_unchanged(self) -> None:
        self.serve([sys.executable, "-IBSc", ECHO % 60])
        request = rootcall.request("check", only=["x" * 100] * 120)
        self.assertEqual(self.call(request).stdout, request * 60)

    def test_an_answer_without_end_is_cut(self) -> None:
        self.serve([sys.executable, "-IBSc", ECHO % 100000])
        ended = self.call(b"x" * 1000)
        self.assertIn("larger than", rootcall.read_reply(ended, "").reason)

    def test_a_request_over_the_limit_never_reaches_the_socket(self) -> None:
        ended = self.call(b"x" * (MAX_REQUEST + 1))
        self.assertEqual((ended.returncode, ended.stdout), (1, b""))
        self.assertIn(b"larger than 16384", ended.stderr)

    def test_silence_of_the_helper_is_no_answer(self) -> None:
        self.serve([sys.executable, "-IBSc", "import sys; sys.stdin.read()"])
        ended = self.call(b"{}")
        self.assertEqual((ended.returncode, ended.stdout), (1, b""))
        self.assertEqual(rootcall.read_reply(ended, "").status, "unreachable")

    def test_a_missing_socket_names_the_command_that_makes_it(self) -> None:
        reply = rootcall.read_reply(self.call(b"{}"), self.argv()[0])
        self.assertIn("no such file or directory: systemctl enable --now qualvosec-helper.socket",
                      reply.reason)

    def test_when_the_daemon_goes_the_waiting_helper_notices(self) -> None:
        marker = os.path.join(self.folder, "noticed")
        self.serve([sys.executable, "-IBSc", WAITS % (LIB, marker)])
        process = subprocess.Popen(self.argv(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        self.assertEqual(select.select([process.stdout], [], [], 1.0)[0], [])
        process.stdout.close()
        self.assertNotEqual(process.wait(timeout=30), 0)
        end = time.monotonic() + 30
        while not os.path.exists(marker) and time.monotonic() < end:
            time.sleep(0.02)
        self.assertTrue(os.path.exists(marker))


class Stranger(Case):
    """Who has connected is asked of the kernel, whatever the mode of the socket has become."""

    def connection(self, uid: int) -> socket.socket:
        """Return the helper's end of a connection that was made by a process of `uid`."""
        os.chmod(self.folder, 0o755)
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(self.path)
        os.chmod(self.path, 0o666)
        listener.listen(1)
        pid = os.fork()
        if pid == 0:
            try:
                if uid != os.getuid():
                    os.setuid(uid)
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(self.path)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        listener.settimeout(30)
        end = listener.accept()[0]
        self.addCleanup(end.close)
        return end

    def test_root_and_the_owner_of_the_socket_are_served(self) -> None:
        with self.connection(os.getuid()) as end:
            self.assertEqual(process.admitted(end.fileno()), end.fileno())

    @unittest.skipUnless(sys.platform == "linux", "the socket of systemd is there on Linux only")
    def test_a_connection_of_somebody_else_is_refused_though_the_mode_lets_him_in(self) -> None:
        stranger = 65534 if os.getuid() == 0 else os.getuid()
        end = self.connection(stranger)
        if os.getuid() == 0:
            with self.assertRaises(base.Refused) as caught:
                process.admitted(end.fileno())
            done = subprocess.run(HELPER, stdin=end.fileno(), stdout=subprocess.PIPE)
            reply = json.loads(done.stdout.decode("ascii"))
            self.assertEqual((done.returncode, reply["status"]), (1, "refused"))
            self.assertIn("is neither root nor the owner of " + self.path, reply["reason"])
        else:
            # Nobody here can be somebody else: the owner is made so.
            owner = mock.Mock(st_uid=stranger + 1)
            with mock.patch.object(os, "stat", return_value=owner), \
                    self.assertRaises(base.Refused) as caught:
                process.admitted(end.fileno())
        self.assertIn("uid %d: is neither" % stranger, str(caught.exception))

    def test_what_is_no_connection_was_judged_by_sudo_already(self) -> None:
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        one, two = socket.socketpair()
        with one, two:
            for fd in (reader, one.fileno()):
                self.assertEqual(process.admitted(fd), fd)


class Choice(Case):
    def test_auto_takes_a_socket_that_this_user_may_use(self) -> None:
        with mock.patch.object(rootcall, "SOCKET", self.path):
            self.assertNotIn("--rootcall", rootcall.argv("auto"))
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(self.path)
                self.assertEqual(rootcall.argv("auto")[-1], "--rootcall")
                self.assertNotIn("--rootcall", rootcall.argv("sudo"))

    def test_socket_never_falls_back_to_sudo(self) -> None:
        with mock.patch.object(rootcall, "SOCKET", self.path):
            self.assertEqual(rootcall.argv("socket"), ())
            self.assertIn("qualvosec-helper.socket", rootcall.missing("socket"))

    def test_the_launcher_knows_the_hidden_word(self) -> None:
        done = subprocess.run([sys.executable, "-IBS", os.path.join(ROOT, "bin", "qualvosec"),
                               "--rootcall"], input=b"x" * 20000, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn(b"larger than 16384", done.stderr)

    def test_unit_and_client_name_one_socket(self) -> None:
        path = os.path.join(ROOT, "systemd", "qualvosec-helper.socket")
        with open(path, encoding="utf-8") as stream:
            self.assertIn("\nListenStream=%s\n" % rootcall.SOCKET, stream.read())


if __name__ == "__main__":
    unittest.main()
