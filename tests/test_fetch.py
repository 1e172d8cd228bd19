# SPDX-License-Identifier: BSD-2-Clause
"""The fetch child: one request line in, one reply line out, whatever the server does."""

import hashlib
import io
import os
import socket
import subprocess
import sys
import unittest
from typing import Callable
from typing import Dict
from typing import List
from unittest import mock

from qualvosec import download
from qualvosec.client.fetch import child as fetch
from qualvosec.client.fetch import line as fetchreply
from qualvosec.client.fetch.line import FetchReply
from qualvosec.client.fetch.line import FetchRequest
from qualvosec.manifest import signature
from qualvosec.manifest.policy import Policy

from tests import DATA
from tests import LIB
from tests import hostile
from tests.test_download import CASES
from tests.test_download import redirect

URL = "http://patching.example.org/patch.yaml"
SECURE = "https://patching.example.org/patch.yaml"
AUTHORITY = os.path.join(DATA, "tls", "ca.pem")
HOST = "web01.example.org"
ENTRY = b"web01.example.org:\n  patch: true\n  weekday: 1\n  hour: 3\n"
POLICY = Policy(patch=True, weekdays=(1,), hour=3)
CODE = "import sys; sys.path.insert(0, %r); from qualvosec.client.fetch import child; " % LIB
CHILD = [sys.executable, "-IBS", "-c", CODE + "sys.exit(child.main())"]


class Server:
    """Stands for download.fetch: answers by address, remembers what it was asked."""

    def __init__(self, **answers: object) -> None:
        self.answers: Dict[str, object] = {}
        for name, value in answers.items():
            self.answers[URL + (".sig" if name == "sig" else "")] = value
        self.asked: List[download.Request] = []

    def __call__(self, request: download.Request) -> download.Response:
        self.asked.append(request)
        value = self.answers[request.url]
        if isinstance(value, list):
            value = value.pop(0)
        if isinstance(value, Exception):
            raise value
        if value == 304:
            return download.Response(304, (), '"new"', "", 1795431600)
        assert isinstance(value, bytes)
        return download.Response(200, (value,), '"tag"', "", 1795431600)


def ask(manifest: object, **more: object) -> FetchReply:
    """Return the checked reply to a manifest that arrives, without signature."""
    reply = fetch.answer(FetchRequest(URL, HOST, "Q", **more), Server(manifest=manifest))  # type: ignore
    return fetchreply.parse_reply(fetchreply.reply_line(reply))


class OneHost(unittest.TestCase):
    def test_policy_of_a_listed_host_is_new(self) -> None:
        reply = ask(ENTRY)
        self.assertEqual(reply, FetchReply("new", entry="policy", policy=POLICY, etag='"tag"',
                                      sha256=hashlib.sha256(ENTRY).hexdigest(), date=1795431600))

    def test_name_is_compared_folded(self) -> None:
        for spelled in (b"WEB01.Example.org", b"web01.example.org.", b'"web01.example.org"'):
            self.assertEqual(ask(ENTRY.replace(HOST.encode(), spelled)).policy, POLICY, spelled)

    def test_groups_and_defaults_take_part(self) -> None:
        reply = ask(b".defaults:\n  duration: 90\n.groups:\n  prod:\n    reboot: required\n"
                    + ENTRY + b"  group_membership: [prod]\n")
        self.assertEqual(reply.policy, POLICY._replace(duration=90, reboot="required",
                                                       groups=("prod",)))

    def test_header_is_passed_on(self) -> None:
        reply = ask(b'.manifest:\n  serial: 7\n  expires: "2026-12-23"\n' + ENTRY)
        self.assertEqual((reply.serial, reply.expires), (7, 739973))

    def test_host_that_is_not_listed_is_new_and_unlisted(self) -> None:
        reply = ask(ENTRY.replace(b"web01", b"web02"))
        self.assertEqual((reply.result, reply.entry, reply.policy), ("new", "unlisted", None))

    def test_invalid_entry_is_new_with_places(self) -> None:
        for entry, fault in (
                (b"  patch: true\n  weekday: 9\n  hour: 3\n", "line 3, column 3: weekday: 9"),
                (b"  patch: true\n  hours: 3\n", "line 3, column 3: "),
                (b"  patch: true\n", "line 2, column 3: patch: true without weekday"),
                (b"  patch: yes\n", "line 2, column 10: "),
                (b"  packages_blacklist: []\n", "line 2, column 3: ")):
            with self.subTest(entry):
                reply = ask(b"WEB01.example.org:\n" + entry)
                self.assertEqual((reply.result, reply.entry), ("new", "invalid"))
                self.assertTrue(reply.faults[0].startswith(fault), reply.faults)

    def test_fault_of_a_group_has_the_place_of_the_group(self) -> None:
        reply = ask(ENTRY + b"  group_membership: [prod]\n.groups:\n  prod:\n    hour: 99\n")
        self.assertEqual(reply.entry, "invalid")
        self.assertTrue(reply.faults[0].startswith("line 8, column 5: hour: 99"), reply.faults)

    def test_faults_of_other_hosts_stop_nobody(self) -> None:
        self.assertEqual(ask(b"other.example.org:\n  patch: maybe\n" + ENTRY).policy, POLICY)

    def test_many_faults_stay_one_short_line(self) -> None:
        reply = ask(b"web01.example.org:\n" + b"".join(
            b"  field%d: %s\n" % (n, b"x" * 400) for n in range(100)))
        self.assertEqual((reply.entry, len(reply.faults)), ("invalid", fetchreply.MAX_FAULTS))


class WholeFile(unittest.TestCase):
    def test_whole_file_faults_are_failed_and_say_where(self) -> None:
        for manifest, reason in (
                (b"", "empty"), (b"# nothing\n\n", "empty"), (b"<!DOCTYPE html>\n<html>", "HTML"),
                (b"\xff\xfe", "not UTF-8"), (b"\x00" * 50, "U+0000"), (b"- a\n", "not a host"),
                (ENTRY + ENTRY, "already on line 1"),
                (b".manifest:\n  serial: [1\n" + ENTRY, "line 2"),
                (b".manifest:\n  serial: many\n" + ENTRY, "line 2, column 3: serial"),
                (b".manifest:\n  expires: 2026-12-23\n" + ENTRY, "line 2"),
                (b"a" * 70000, "a line is over")):
            with self.subTest(manifest[:30]):
                reply = ask(manifest)
                self.assertEqual((reply.result, reply.date), ("failed", 1795431600))
                self.assertTrue(reply.reason.startswith(URL + ": "), reply.reason)
                self.assertIn(reason, reply.reason)

    def test_304_is_the_same(self) -> None:
        reply = ask(304, etag='"tag"', serial=5, sha256="ab" * 32)
        self.assertEqual(reply, FetchReply("same", etag='"new"', date=1795431600))

    def test_failed_download_passes_on_date_and_wish(self) -> None:
        reply = ask(download.DownloadError("u: the server answered 503", 503, 1795431600, 300))
        self.assertEqual(reply, FetchReply("failed", "u: the server answered 503", date=1795431600,
                                      retry_after=300))

    def test_wish_beyond_the_bounds_is_cut(self) -> None:
        self.assertEqual(ask(download.DownloadError("u", 503, 0, 1 << 40)).retry_after, 21600)

    def test_name_that_is_none_asks_nobody(self) -> None:
        for name in ("", "*.example.org", "a b", "x" * 254, "../etc"):
            server = Server()
            reply = fetch.answer(FetchRequest(URL, name, "Q"), server)
            self.assertEqual((reply.result, server.asked), ("failed", []))
            self.assertIn("set fqdn", reply.reason)

    def test_request_reaches_the_server_as_it_was_given(self) -> None:
        server = Server()
        server.answers[SECURE] = ENTRY
        fetch.answer(FetchRequest(SECURE, HOST, "QualvoSec 1", etag='"e"', last_modified="L",
                                  fresh=True, proxy="http://p:1", deadline_s=30,
                                  ca_file=AUTHORITY), server)
        asked = server.asked[0]
        self.assertEqual((asked.url, asked.user_agent, asked.etag, asked.last_modified, asked.fresh,
                          asked.proxy, asked.limit),
                         (SECURE, "QualvoSec 1", '"e"', "L", True, "http://p:1", 32 << 20))
        self.assertTrue(0 < asked.deadline_s <= 30)
        self.assertIsNotNone(asked.tls)
        self.assertEqual(len(server.asked), 1)

    def test_validators_of_the_second_of_the_change_are_not_kept(self) -> None:
        """Or a second change in that second, of one size, would be a 304 for ever."""
        for second, kept in (("59", False), ("58", False), ("57", True), ("03", True)):
            fields = (b'ETag: "65a-7"\r\nDate: Mon, 23 Nov 2026 11:00:59 GMT\r\n'
                      b"Last-Modified: Mon, 23 Nov 2026 11:00:%s GMT\r\n" % second.encode())
            with hostile.Server(hostile.answers(ENTRY, fields=fields)) as server:
                reply = fetch.answer(FetchRequest(server.url(), HOST, "Q"))
            self.assertEqual((reply.entry, reply.etag != "", reply.last_modified != ""),
                             ("policy", kept, kept), second)
        with hostile.Server(hostile.answers(ENTRY, fields=b'ETag: "a"\r\n')) as server:
            self.assertEqual(fetch.answer(FetchRequest(server.url(), HOST, "Q")).etag, '"a"')

    def test_ca_file_that_is_missing_is_failed(self) -> None:
        request = FetchRequest(SECURE, HOST, "Q", ca_file="/nowhere/ca.pem")
        reply = fetch.answer(request, Server(manifest=ENTRY))
        self.assertEqual(reply.result, "failed")
        self.assertIn("ca_file '/nowhere/ca.pem'", reply.reason)

    def test_unsigned_serial_and_audience_bind_nobody(self) -> None:
        manifest = b".manifest:\n  serial: 3\n  audience: lab\n" + ENTRY
        reply = ask(manifest, serial=9, sha256="ab" * 32, audience="prod")
        self.assertEqual((reply.result, reply.serial), ("new", 3))


HEADER = b".manifest:\n  serial: 5\n  audience: prod\n"


class Signed(unittest.TestCase):
    def ask(self, server: Server, verify: Callable[[bytes, bytes, str], None] = lambda *_: None,
            **more: object) -> FetchReply:
        request = FetchRequest(URL, HOST, "Q", allowed_signers="/etc/s", **more)  # type: ignore
        reply = fetch.answer(request, server, verify)
        return fetchreply.parse_reply(fetchreply.reply_line(reply))

    def test_verified_bytes_are_the_parsed_ones(self) -> None:
        seen = []
        reply = self.ask(Server(manifest=HEADER + ENTRY, sig=b"SIG"), lambda *a: seen.append(a))
        self.assertEqual(seen, [(HEADER + ENTRY, b"SIG", "/etc/s")])
        self.assertEqual((reply.policy, reply.serial, reply.signature, reply.signature_sha256),
                         (POLICY, 5, "good", hashlib.sha256(b"SIG").hexdigest()))

    def test_nothing_is_parsed_when_the_signature_is_bad_or_missing(self) -> None:
        def bad(*_: object) -> None:
            raise signature.SignatureError("the signature does not verify")
        with mock.patch.object(fetch.lookup, "find") as find:
            reply = self.ask(Server(manifest=ENTRY, sig=b"SIG"), bad)
            self.assertEqual((reply.result, reply.signature), ("failed", "bad"))
            self.assertIn("does not verify", reply.reason)
            for status, word in ((404, "bad"), (403, "bad"), (302, "bad"), (200, "bad"), (0, ""),
                                 (503, ""), (429, "")):
                lost = download.DownloadError("x.sig: the server answered", status, 9, 60)
                reply = self.ask(Server(manifest=ENTRY, sig=lost))
                self.assertEqual((reply.result, reply.signature, reply.date),
                                 ("failed", word, 9), status)
                self.assertIn("x.sig", reply.reason)
            find.assert_not_called()

    def test_signature_that_is_taken_away_is_a_bad_one_and_a_silent_server_is_not(self) -> None:
        """The manifest itself arrived: after 15 minutes the host is unhealthy."""
        answers = {"404 Gone": "bad", "302 F": "bad", "500 Oops": "", "429 Later": ""}
        for status, word in answers.items():
            def behave(connection: socket.socket, server: hostile.Server,
                       status: str = status) -> None:
                head = connection.recv(4096, socket.MSG_PEEK)
                lost = b".sig HTTP/" in head
                hostile.answers(b"" if lost else HEADER + ENTRY,
                                status if lost else "200 OK")(connection, server)
            with hostile.Server(behave) as server:
                reply = fetch.answer(FetchRequest(server.url(), HOST, "Q",
                                                  allowed_signers="/etc/s"))
            self.assertEqual((reply.result, reply.signature), ("failed", word), status)
            self.assertIn(".sig: the server answered " + status[:3], reply.reason)

    def test_both_unchanged_is_the_same(self) -> None:
        server = Server(manifest=304, sig=b"SIG")
        reply = self.ask(server, etag='"m"',
                         signature_sha256=hashlib.sha256(b"SIG").hexdigest())
        self.assertEqual((reply.result, reply.etag), ("same", '"new"'))
        self.assertEqual([asked.etag for asked in server.asked], ['"m"', ""])
        self.assertEqual(server.asked[1].limit, signature.MAX_SIGNATURE_BYTES)

    def test_another_signature_has_the_manifest_fetched_whole_whatever_its_validators(self) -> None:
        """Else an old pair with the new one's ETag would stay for ever."""
        for before in ("", hashlib.sha256(b"OLD").hexdigest()):
            server = Server(manifest=[304, HEADER + ENTRY], sig=b"SIG")
            reply = self.ask(server, etag='"m"', signature_sha256=before)
            self.assertEqual((reply.result, reply.signature), ("new", "good"))
            self.assertEqual([(asked.url, asked.etag) for asked in server.asked],
                             [(URL, '"m"'), (URL + ".sig", ""), (URL, "")])

    def test_rollback_replay_and_wrong_fleet_have_their_own_reasons(self) -> None:
        sha = hashlib.sha256(HEADER + ENTRY).hexdigest()
        for more, expected in (
                ({"serial": 4}, "new"), ({"serial": 5, "sha256": sha}, "new"),
                ({"serial": 5, "sha256": "ab" * 32}, "5 was accepted with other content"),
                ({"serial": 6}, "5 is lower than 6"), ({"audience": "prod"}, "new"),
                ({"audience": "lab"}, "prod is not lab")):
            reply = self.ask(Server(manifest=HEADER + ENTRY, sig=b"S"), **more)
            if expected == "new":
                self.assertEqual(reply.result, "new", more)
            else:
                self.assertEqual(reply.result, "failed", more)
                self.assertIn(expected, reply.reason)

    def test_signed_manifest_without_serial_or_audience_is_refused(self) -> None:
        reply = self.ask(Server(manifest=ENTRY, sig=b"S"))
        self.assertIn("serial: is missing", reply.reason)
        reply = self.ask(Server(manifest=b".manifest:\n  serial: 1\n" + ENTRY, sig=b"S"),
                         audience="prod")
        self.assertIn("none is not prod", reply.reason)


class TheProcess(unittest.TestCase):
    def run_child(self, line: bytes, environment: Dict[str, str]) -> FetchReply:
        child = subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, env=environment)
        out, err = child.communicate(line, 60)
        self.assertEqual((child.returncode, err), (0, b""))
        return fetchreply.parse_reply(out)

    def request(self, server: hostile.Server, **more: object) -> bytes:
        fields: Dict[str, object] = {"url": server.url(), "fqdn": HOST, "user_agent": "Q 1"}
        fields.update(more)
        return fetchreply.request_line(**fields)    # type: ignore[arg-type]

    def test_filter_answers_with_one_line(self) -> None:
        with hostile.Server(hostile.answers(ENTRY, fields=b'ETag: "5"\r\n')) as server:
            reply = self.run_child(self.request(server), {"http_proxy": "http://127.0.0.1:1"})
        self.assertEqual((reply.result, reply.policy, reply.etag), ("new", POLICY, '"5"'))
        self.assertIn(b"User-Agent: Q 1\r\n", server.heads[0])

    def test_deadline_of_the_request_is_kept(self) -> None:
        drip = hostile.drips(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n", b"a", 0.05)
        with hostile.Server(drip) as server:
            reply = self.run_child(self.request(server, deadline_s=1), {})
        self.assertEqual(reply.result, "failed")
        self.assertIn("not finished within", reply.reason)

    def test_no_deadline_left_is_a_failure_and_no_exception(self) -> None:
        with hostile.Server(hostile.answers(ENTRY)) as server:
            line = self.request(server, deadline_s=0)
            out = io.BytesIO()
            self.assertEqual(fetch.main(io.BytesIO(line), out), 0)
        self.assertIn("not finished", fetchreply.parse_reply(out.getvalue()).reason)

    def test_requests_that_are_none_get_an_answer_too(self) -> None:
        for line in (b"", b"\n", b"{}\n", b"x" * 40000, b"\xff\n", b"[" * 16000 + b"\n"):
            out = io.BytesIO()
            self.assertEqual(fetch.main(io.BytesIO(line), out), 0)
            reply = fetchreply.parse_reply(out.getvalue())
            self.assertEqual(reply.result, "failed")
            self.assertTrue(reply.reason.startswith("request: "), reply.reason)

    def test_fault_of_our_own_is_reported_by_its_type(self) -> None:
        out = io.BytesIO()
        with mock.patch.object(fetch, "answer", side_effect=ZeroDivisionError("secret")):
            line = fetchreply.request_line(url=URL, fqdn=HOST, user_agent="Q")
            self.assertEqual(fetch.main(io.BytesIO(line), out), 0)
        reply = fetchreply.parse_reply(out.getvalue())
        self.assertIn("ZeroDivisionError", reply.reason)
        self.assertNotIn("secret", reply.reason)

    def test_daemon_that_is_gone_is_no_traceback(self) -> None:
        class Gone(io.BytesIO):
            def write(self, data: object) -> int:
                raise BrokenPipeError(32, "gone")
        self.assertEqual(fetch.main(io.BytesIO(b"{}\n"), Gone()), 1)

    def test_every_hostile_answer_is_a_failed_reply(self) -> None:
        # Slow servers have their own tests; here it is the line that matters.
        slow = ("silen", "byte at a time", "slowly")
        quick = [case for case in CASES if not any(word in case.name for word in slow)]
        self.assertGreaterEqual(len(quick), 30)
        for case in quick:
            with self.subTest(case.name), hostile.Server(case.behaviour) as server:
                out = io.BytesIO()
                with mock.patch.object(download, "MAX_MANIFEST_BYTES", 100000):
                    fetch.main(io.BytesIO(self.request(server, deadline_s=5)), out)
                self.assertEqual(fetchreply.parse_reply(out.getvalue()).result, "failed")

    def test_redirect_is_failed_with_the_place(self) -> None:
        with hostile.Server(redirect("301 Moved", "https://elsewhere.example.org/")) as server:
            reply = self.run_child(self.request(server), {})
        self.assertIn("https://elsewhere.example.org/", reply.reason)


if __name__ == "__main__":
    unittest.main()
