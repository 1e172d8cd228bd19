# SPDX-License-Identifier: BSD-2-Clause
"""The call of the root helper and what is believed of its answer."""

import json
import os
import tempfile
import unittest
from unittest import mock

from qualvosec import paths
from qualvosec.client.root import call
from qualvosec.command import Result
from qualvosec.contract.call import MAX_ANSWER

REPLY = {"v": 1, "status": "ok", "reason": "", "alive": False, "record": None, "plan": None}


def answered(stdout: bytes, returncode: int = 0, stderr: bytes = b"") -> Result:
    return Result(returncode, stdout, stderr, False, False)


class Argv(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name
        places = {tool: (os.path.join(self.folder, tool),) for tool in ("sudo", "doas")}
        patch = mock.patch.object(call, "_TOOLS", places)
        patch.start()
        self.addCleanup(patch.stop)

    def install(self, *tools: str) -> None:
        for tool in tools:
            path = os.path.join(self.folder, tool)
            with open(path, "w", encoding="ascii"):
                os.chmod(path, 0o755)

    def test_the_helper_is_called_by_its_absolute_path_without_an_argument(self) -> None:
        self.install("sudo")
        self.assertEqual(call.argv("auto"), (os.path.join(self.folder, "sudo"), "-n",
                                                 call.helper_path()))
        self.assertTrue(os.path.isabs(call.helper_path()))

    def test_auto_prefers_what_the_system_ships(self) -> None:
        self.install("sudo", "doas")
        self.assertTrue(call.argv("auto", "Linux")[0].endswith("/sudo"))
        self.assertTrue(call.argv("auto", "OpenBSD")[0].endswith("/doas"))

    def test_a_named_tool_is_never_replaced_by_the_other(self) -> None:
        self.install("sudo")
        self.assertEqual(call.argv("doas"), ())
        self.assertIn("doas: is not installed", call.missing("doas"))


    def test_a_person_is_told_a_command_that_this_system_has(self) -> None:
        program = os.path.join(paths.SBIN_DIR, "qualvosec")
        told = {system: call.as_user("q", "once", system) for system in ("Linux", "NetBSD")}
        self.assertEqual(told, {"Linux": "su -s /bin/sh q -c '%s once'" % program,
                                "NetBSD": "su -m q -c '%s once'" % program})
        self.install("sudo")
        self.assertEqual(call.as_user("q", "once"), "sudo -u q %s once" % program)
        self.assertTrue(os.path.isabs(program))


class Replies(unittest.TestCase):
    def test_a_whole_reply_is_taken_over(self) -> None:
        found = call.read_reply(answered(json.dumps(
            dict(REPLY, status="refused", reason="veto: \x1bx")).encode("ascii")), "sudo")
        self.assertEqual((found.status, found.reason), ("refused", "veto: \\x1bx"))

    def test_what_is_no_reply_is_unreachable_and_never_an_outcome(self) -> None:
        changed = [dict(REPLY, v=2), dict(REPLY, status="fine"), dict(REPLY, alive=1),
                   dict(REPLY, record={}), dict(REPLY, record=[]), dict(REPLY, plan=[]),
                   dict(REPLY, reason=None), {}, [], 1, None]
        texts = [json.dumps(value).encode("ascii") for value in changed]
        texts += [b"{", b"\xff", b"[" * 100000, b"x" * (MAX_ANSWER + 2), b'{"v":1}{"v":1}']
        for text in texts:
            with self.subTest(text=text[:60]):
                found = call.read_reply(answered(text), "sudo")
                self.assertEqual((found.status, found.record, found.alive),
                                 ("unreachable", None, False))
                self.assertTrue(found.reason.isprintable())
                self.assertLess(len(found.reason), 400)

    def test_a_missing_rule_names_the_file_that_should_hold_it(self) -> None:
        found = call.read_reply(answered(b"", 1, b"sudo: a password is required\n"),
                                    "/usr/bin/sudo")
        self.assertEqual(found.reason, "sudo refused the helper (sudo: a password is required): "
                                       "check the rule in sudoers.d/qualvosec")
        found = call.read_reply(answered(
            b"", 1, b'sudo: The "no new privileges" flag is set\nsudo: If sudo is running in a '
                    b"container, adjust it\n"), "/usr/bin/sudo")
        self.assertIn('(sudo: The "no new privileges" flag is set; sudo: If sudo', found.reason)
        found = call.read_reply(answered(b"", 1, b"doas: Operation not permitted\n"), "/x/doas")
        self.assertIn("check the rule in doas.conf", found.reason)

    def test_silence_is_told_with_the_exit_status(self) -> None:
        found = call.read_reply(answered(b"", -9), "/x/qualvosec-helper")
        self.assertEqual(found.reason, "helper: gave no answer (exit status -9)")


class Requests(unittest.TestCase):
    def test_a_request_is_one_line_of_ascii(self) -> None:
        line = call.request("upgrade", window="20261124T0215Z", only=["\u00e4"])
        self.assertEqual(line.count(b"\n"), 1)
        self.assertEqual(json.loads(line.decode("ascii")),
                         {"v": 1, "op": "upgrade", "window": "20261124T0215Z", "only": ["\u00e4"]})
