# SPDX-License-Identifier: BSD-2-Clause
"""The download under hostile servers, over loopback, with short deadlines."""

import errno
import gzip
import os
import shutil
import socket
import ssl
import sys
import tempfile
import threading
import unittest
from typing import Dict
from typing import List
from typing import NamedTuple
from unittest import mock

from qualvosec import download
from qualvosec import tls

from tests import hostile

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "tls")
CA = os.path.join(DATA, "ca.pem")
OK = b"HTTP/1.1 200 OK\r\n"
LIMIT = 100000
LONG_S = 30
SHORT_S = 0.3


def fetch(url: str, **more: object) -> download.Response:
    """Fetch in a thread, so that a hang is a failure and not a hang."""
    fields: Dict[str, object] = {"limit": LIMIT, "deadline_s": LONG_S, "timeout_s": LONG_S}
    fields.update(more)
    result: List[object] = []

    def work() -> None:
        try:
            result.append(download.fetch(download.Request(url, **fields)))  # type: ignore[arg-type]
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(3 * LONG_S)
    if not result:
        raise AssertionError("%s: fetch hangs" % url)
    if isinstance(result[0], BaseException):
        raise result[0]
    assert isinstance(result[0], download.Response)
    return result[0]


def refusal(url: str, **more: object) -> str:
    """Fetch what must be refused; returns the reason."""
    try:
        response = fetch(url, **more)
    except download.DownloadError as error:
        return str(error)
    raise AssertionError("%s: was accepted: %r" % (url, response))


def chunked(*chunks: bytes) -> bytes:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + framed


class Case(NamedTuple):
    name: str
    behaviour: hostile.Behaviour
    says: str


def redirect(status: str, where: str) -> hostile.Behaviour:
    return hostile.answers(b"", status, b"Location: %s\r\n" % where.encode())


LENGTH = OK + b"Content-Length: 50000\r\n\r\n"
CASES = [
    Case("header, one byte at a time", hostile.drips(OK + b"X: ", b"a", 0.02), "not finished"),
    Case("header lines without end, slowly", hostile.drips(OK, b"X: a\r\n", 0.02), "not finished"),
    Case("header lines without end, fast", hostile.floods(OK, b"X: abcdefgh\r\n" * 90), "HTTP"),
    Case("one header line without end", hostile.floods(OK + b"X: ", b"a" * 4096), "more than"),
    Case("status line without end", hostile.floods(b"", b"H" * 4096), "more than"),
    Case("100-continue, slowly", hostile.drips(b"", b"HTTP/1.1 100 Go\r\n\r\n", 0.02),
         "not finished"),
    Case("100-continue storm", hostile.floods(b"", b"HTTP/1.1 100 Go\r\n\r\n" * 50), "more than"),
    Case("100-continue with endless fields",
         hostile.floods(b"HTTP/1.1 100 Go\r\n", b"X: y\r\n" * 500), "H"),
    Case("silence after accept", hostile.goes_silent(b""), "silent"),
    Case("silence in the header", hostile.goes_silent(OK), "silent"),
    Case("silence in the body", hostile.goes_silent(LENGTH + b"a: 1"), "silent"),
    Case("body, one byte at a time", hostile.drips(LENGTH, b"a", 0.02), "not finished"),
    Case("chunks, one byte at a time",
         hostile.drips(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", 0.02),
         "not finished"),
    Case("chunks without end",
         hostile.floods(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"a" * 4096
                        + b"\r\n"), "larger than 100000"),
    Case("a chunk of the size of a disk",
         hostile.floods(OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffff\r\n", b"a" * 4096),
         "larger than 100000"),
    Case("one-byte chunks with long extensions",
         hostile.floods(OK + b"Transfer-Encoding: chunked\r\n\r\n",
                        b"1;" + b"x" * 4000 + b"\r\na\r\n"), "more than"),
    Case("trailers without end",
         hostile.floods(chunked(b"a: 1\n") + b"0\r\n", b"X: y\r\n" * 500),
         # Newer releases of Python count the trailers themselves.
         "more than|truncated"),
    Case("a body without length and without end",
         hostile.floods(OK + b"\r\n", b"a" * 4096), "no clear length"),
    Case("a body without length", hostile.says(OK + b"\r\na: 1\n"), "no clear length"),
    Case("a negative length", hostile.says(OK + b"Content-Length: -1\r\n\r\na: 1\n"),
         "no clear length"),
    Case("a length in words", hostile.says(OK + b"Content-Length: five\r\n\r\na: 1\n"),
         "no clear length"),
    Case("two lengths",
         hostile.says(OK + b"Content-Length: 5\r\nContent-Length: 3\r\n\r\na: 1\n"),
         "no clear length"),
    Case("length and chunks",
         hostile.says(OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         "ambiguous"),
    Case("an unknown transfer encoding",
         hostile.says(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "ambiguous"),
    Case("a body larger than the limit",
         hostile.floods(OK + b"Content-Length: 1073741824\r\n\r\n", b"a" * 4096),
         "1073741824 bytes is larger than 100000"),
    Case("a length of a thousand digits",
         hostile.says(OK + b"Content-Length: " + b"9" * 1000 + b"\r\n\r\n"), "no clear length"),
    Case("a body that is too short", hostile.says(LENGTH + b"a: 1\n"),
         "truncated: 5 of 50000 bytes"),
    Case("chunks that stop in the size of the last one",
         hostile.says(chunked(b"a: 1\n") + b"00000"), "truncated"),
    Case("chunks without the line end behind the last one",
         hostile.says(chunked(b"a: 1\n") + b"0\r\n"), "truncated"),
    Case("chunks that stop between two", hostile.says(chunked(b"a: 1\n")), "truncated"),
    Case("chunks that stop within one",
         hostile.says(OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\na: 1\n"), "truncated"),
    Case("chunk sizes that are no numbers",
         hostile.says(OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\na: 1\n"), "truncated"),
    Case("gzip", hostile.answers(gzip.compress(b"a: 1\n"), fields=b"Content-Encoding: gzip\r\n"),
         "encoded (gzip)"),
    Case("reset before the header", hostile.resets(b""), "reset"),
    Case("reset in the body", hostile.resets(LENGTH + b"a: 1\n"), "reset"),
    Case("close without a word", hostile.says(b""), "without response"),
    Case("HTTP/0.9", hostile.says(b"a: 1\n"), "does not speak HTTP"),
    Case("SSH", hostile.says(b"SSH-2.0-OpenSSH_9.2\r\n"), "does not speak HTTP"),
    Case("noise", hostile.says(bytes(range(256)) * 8), "does not speak HTTP"),
    Case("a status of four digits", hostile.says(b"HTTP/1.1 2000 OK\r\n\r\n"), "HTTP"),
    Case("206", hostile.answers(b"a: 1\n", "206 Partial Content"), "answered 206"),
    Case("204", hostile.answers(b"", "204 No Content"), "answered 204"),
    # nginx says so to who has no client certificate, or a wrong one.
    Case("400", hostile.answers(b"", "400 Bad Request"),
         "answered 400: allow this host to read the file, and check client_cert"),
    Case("401", hostile.answers(b"", "401 No"), "answered 401: allow this host"),
    Case("404", hostile.answers(b"gone", "404 Not Found"), "answered 404: publish the file"),
    Case("500", hostile.answers(b"", "500 Oops"), "answered 500: look into"),
    Case("503", hostile.answers(b"", "503 Later"), "answered 503: look into"),
    Case("304 to a request without conditions", hostile.says(b"HTTP/1.1 304 N\r\n\r\n"), "304"),
    Case("redirect to a file", redirect("302 Found", "file:///etc/passwd"), "redirects are"),
    Case("redirect to ftp", redirect("302 Found", "ftp://127.0.0.1/x"), "redirects are refused"),
    Case("redirect to data", redirect("302 Found", "data:,x"), "redirects are refused"),
    Case("redirect without place", hostile.answers(b"", "301 Moved"), "points to nowhere"),
    Case("redirect with an escape", redirect("307 T", "/\x1b[31m\x07"), r"/\x1b[31m\x07"),
]


class UnderHostileServers(unittest.TestCase):
    def test_every_hostile_answer_is_one_clear_line(self) -> None:
        self.assertGreaterEqual(len(CASES), 40)
        for case in CASES:
            with self.subTest(case.name), hostile.Server(case.behaviour) as server:
                # Only the limit that is meant may strike, however busy the machine is.
                text = refusal(server.url(),
                               deadline_s=SHORT_S if case.says == "not finished" else LONG_S,
                               timeout_s=SHORT_S if case.says == "silent" else LONG_S)
                self.assertTrue(any(words in text for words in case.says.split("|")), text)
                self.assertTrue(text.startswith(server.url() + ": "), text)
                self.assertTrue(text.isprintable() and text.isascii()
                                if sys.version_info >= (3, 7) else text.isprintable(), text)
                self.assertEqual(server.connections, 1)

    def test_not_much_more_than_the_limit_is_taken_from_a_flood(self) -> None:
        flood = hostile.floods(OK + b"Transfer-Encoding: chunked\r\n\r\n",
                               b"1000\r\n" + b"a" * 4096 + b"\r\n")
        taken = []
        real = socket.socket.recv_into

        def count(sock: socket.socket, *args: object) -> int:
            size = real(sock, *args)    # type: ignore[arg-type]
            taken.append(size)
            return size

        with hostile.Server(flood) as server, mock.patch.object(socket.socket, "recv_into", count):
            refusal(server.url())
        self.assertGreater(sum(taken), LIMIT)
        self.assertLess(sum(taken), LIMIT + LIMIT // 8 + 2 * 65536)

    def test_silence_ends_at_the_total_deadline_when_that_is_nearer(self) -> None:
        with hostile.Server(hostile.goes_silent(OK)) as server:
            text = refusal(server.url(), deadline_s=0.2, timeout_s=600)
        self.assertIn("not finished within 0.2 s", text)

    def test_budget_is_kept_to_the_byte(self) -> None:
        one, two = socket.socketpair()
        with one, two:
            two.sendall(b"a" * 20)
            raw = download._Raw(one, download._Deadline(10, 10), 12)
            self.assertEqual(raw.readinto(bytearray(8)), 8)
            self.assertEqual(raw.readinto(bytearray(8)), 4)
            with self.assertRaises(download.DownloadError):
                raw.readinto(bytearray(8))

    def test_redirects_lead_to_no_second_request(self) -> None:
        with hostile.Server(hostile.answers(b"a: 1\n")) as second:
            places = (second.url(), second.url(host="localhost"), "//127.0.0.1:%d/" % second.port,
                      "https://127.0.0.1:%d/" % second.port)
            for status in ("301 M", "302 F", "303 S", "307 T", "308 P"):
                for place in places:
                    with hostile.Server(redirect(status, place)) as first:
                        self.assertIn("redirects are refused", refusal(first.url()))
                        self.assertEqual(first.connections, 1)
            self.assertEqual(second.connections, 0)

    def test_nobody_listening_is_refused_with_advice(self) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        with self.assertRaises(download.DownloadError) as caught:
            fetch("http://127.0.0.1:%d/" % port)
        self.assertIn("connection refused", str(caught.exception))

    def test_name_that_does_not_exist_is_said(self) -> None:
        with mock.patch.object(socket, "getaddrinfo", side_effect=socket.gaierror(-2, "no name")):
            text = refusal("http://nowhere.invalid/")
        self.assertIn("the name cannot be looked up (no name)", text)

    def test_second_address_of_a_name_is_tried(self) -> None:
        with hostile.Server(hostile.answers(b"a: 1\n")) as server, socket.socket() as dead:
            dead.bind(("127.0.0.1", 0))
            found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
                     for address in (dead.getsockname(), ("127.0.0.1", server.port))]
            with mock.patch.object(socket, "getaddrinfo", return_value=found):
                self.assertEqual(fetch("http://two.example.org/").body(), b"a: 1\n")

    def test_address_of_a_family_that_the_kernel_does_not_have_is_passed_over(self) -> None:
        made = socket.socket

        def socket_without_ipv6(family: int, *words: int, **more: int) -> socket.socket:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            return made(family, *words, **more)

        with hostile.Server(hostile.answers(b"a: 1\n")) as server:
            found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 80, 0, 0)),
                     (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
            with mock.patch.object(socket, "getaddrinfo", return_value=found), \
                    mock.patch.object(socket, "socket", socket_without_ipv6):
                self.assertEqual(fetch("http://two.example.org/").body(), b"a: 1\n")


class GoodAnswers(unittest.TestCase):
    def test_body_validators_and_clock_are_returned(self) -> None:
        fields = (b'ETag: "6a"\r\nLast-Modified: Mon, 23 Nov 2026 10:00:00 GMT\r\n'
                  b"Date: Mon, 23 Nov 2026 11:00:00 GMT\r\n")
        with hostile.Server(hostile.answers(b"a: 1\n", fields=fields)) as server:
            response = fetch(server.url(), user_agent="QualvoSec 1.0.0 h")
        self.assertEqual(response, download.Response(
            200, (b"a: 1\n",), '"6a"', "Mon, 23 Nov 2026 10:00:00 GMT", 1795431600))
        head = server.heads[0].decode()
        self.assertTrue(head.startswith("GET /patch.yaml HTTP/1.1\r\nHost: 127.0.0.1:"), head)
        self.assertIn("\r\nUser-Agent: QualvoSec 1.0.0 h\r\n", head)
        self.assertIn("\r\nAccept-Encoding: identity\r\n", head)
        self.assertIn("\r\nConnection: close\r\n", head)
        self.assertNotIn("If-", head)
        self.assertNotIn("Cache-Control", head)

    def test_chunked_body_is_put_together(self) -> None:
        answer = chunked(b"a: 1\n", b"b: 2\n") + b"0\r\n\r\n"
        with hostile.Server(hostile.says(answer)) as server:
            self.assertEqual(fetch(server.url()).body(), b"a: 1\nb: 2\n")

    def test_large_body_in_many_pieces_is_exact(self) -> None:
        body = os.urandom(300000)
        with hostile.Server(hostile.answers(body)) as server:
            response = fetch(server.url(), limit=300000)
        self.assertEqual(response.body(), body)
        self.assertGreater(len(response.chunks), 1)

    def test_empty_body_is_a_body(self) -> None:
        with hostile.Server(hostile.answers(b"")) as server:
            self.assertEqual(fetch(server.url()).chunks, ())

    def test_slow_but_finished_answer_is_taken(self) -> None:
        def behave(connection: socket.socket, server: hostile.Server) -> None:
            hostile.read_head(connection, server)
            for piece in (b"HTTP/1.1 100 Go\r\n\r\n", OK, b"Content-Length: 5\r\n\r\na", b": 1\n"):
                hostile.send(connection, server, piece)
                server.stopped.wait(0.05)
        with hostile.Server(behave) as server:
            self.assertEqual(fetch(server.url()).body(), b"a: 1\n")

    def test_conditional_request_and_304_keep_the_validators(self) -> None:
        with hostile.Server(hostile.says(b"HTTP/1.1 304 Not Modified\r\nETag: \"7b\"\r\n\r\n")
                            ) as server:
            response = fetch(server.url(), etag='W/"6a"', fresh=True,
                             last_modified="Mon, 23 Nov 2026 10:00:00 GMT")
        self.assertEqual((response.status, response.chunks, response.etag, response.last_modified),
                         (304, (), '"7b"', "Mon, 23 Nov 2026 10:00:00 GMT"))
        head = server.heads[0].decode()
        self.assertIn('\r\nIf-None-Match: W/"6a"\r\n', head)
        self.assertIn("\r\nIf-Modified-Since: Mon, 23 Nov 2026 10:00:00 GMT\r\n", head)
        self.assertIn("\r\nCache-Control: no-cache\r\n", head)

    def test_validators_that_could_not_be_sent_back_are_dropped(self) -> None:
        for etag in (b"6a", b'"' + b"a" * 256 + b'"', b'"\xff"', b'"a b"', b'"a", "b"', b'"\x1b"'):
            with self.subTest(etag), hostile.Server(
                    hostile.answers(b"a: 1\n", fields=b"ETag: " + etag
                                    + b"\r\nLast-Modified: yesterday\r\n")) as server:
                response = fetch(server.url())
                self.assertEqual((response.etag, response.last_modified), ("", ""))

    def test_age_of_a_cached_answer_is_added_to_its_date(self) -> None:
        fields = b"Date: Mon, 23 Nov 2026 11:00:00 GMT\r\nAge: 600\r\n"
        with hostile.Server(hostile.answers(b"a: 1\n", fields=fields)) as server:
            self.assertEqual(fetch(server.url()).date, 1795431600 + 600)

    def test_ipv6_server_is_reached(self) -> None:
        try:
            server = hostile.Server(hostile.answers(b"a: 1\n"), address="::1")
        except OSError as error:
            self.skipTest("no IPv6 here: %s" % error)
        with server:
            self.assertEqual(fetch(server.url(host="[::1]")).body(), b"a: 1\n")
        self.assertIn(b"Host: [::1]:%d\r\n" % server.port, server.heads[0])

    def test_environment_is_not_configuration(self) -> None:
        with hostile.Server(hostile.answers(b"wrong")) as other:
            names = {"http_proxy": other.url("/"), "HTTP_PROXY": other.url("/"),
                     "https_proxy": other.url("/"), "ALL_PROXY": other.url("/")}
            good = hostile.Server(hostile.answers(b"a: 1\n"))
            with mock.patch.dict(os.environ, names), good as server:
                self.assertEqual(fetch(server.url()).body(), b"a: 1\n")
            self.assertEqual(other.connections, 0)


class Refusals(unittest.TestCase):
    def failure(self, status: str, fields: bytes) -> download.DownloadError:
        server = hostile.Server(hostile.answers(b"", status, fields))
        with server, self.assertRaises(download.DownloadError) as caught:
            fetch(server.url())
        return caught.exception

    def test_retry_after_is_passed_on_within_bounds(self) -> None:
        date = b"Date: Mon, 23 Nov 2026 11:00:00 GMT\r\n"
        for value, expected in ((b"120", 120), (b"0", 0), (b"-5", 0), (b"soon", 0), (b"1e9", 0),
                                (b"999999999999", download.MAX_RETRY_AFTER_S),
                                (b"9" * 500, 0),
                                (b"Mon, 23 Nov 2026 11:05:00 GMT", 300),
                                (b"Mon, 23 Nov 2026 10:05:00 GMT", 0),
                                (b"Mon, 23 Nov 2037 10:05:00 GMT", download.MAX_RETRY_AFTER_S)):
            with self.subTest(value):
                error = self.failure("503 Later", date + b"Retry-After: " + value + b"\r\n")
                self.assertEqual((error.retry_after, error.status, error.date),
                                 (expected, 503, 1795431600))

    def test_clock_of_a_failed_answer_is_known_too(self) -> None:
        for status in ("404 Gone", "301 Moved", "200 OK\r\nContent-Encoding: br"):
            with self.subTest(status):
                error = self.failure(status, b"Date: Mon, 23 Nov 2026 11:00:00 GMT\r\n")
                self.assertEqual(error.date, 1795431600)

    def test_dates_that_are_none_are_zero(self) -> None:
        for text in ("", "yesterday", "Mon, 23 Nov 2026 11:00:00", "Mon, 23 Xyz 2026 11:00:00 GMT",
                     "Monday, 23-Nov-26 11:00:00 GMT", "Mon, 23 Nov 2026 11:00:00 +0100",
                     "Mon, 23 Nov 0000 11:00:00 GMT", "\u0661" * 29):
            self.assertEqual(download.http_date(text), 0, text)

    def test_addresses_other_than_plain_http_and_https_are_refused(self) -> None:
        for url in ("file:///etc/passwd", "ftp://h/x", "data:,x", "gopher://h/", "h/patch.yaml", "",
                    "http://", "http:///x", "http://user@h/x", "http://user:word@h/x",
                    "http://h/x#part", "http://h:0/", "http://h:65536/", "http://h:99999999/",
                    "http://h:port/", "http://h /x", "http://h/x y", "http://h/\r\nX: y",
                    "http://h\r\n/x", "http://h/\x1b[31m", "http://h/\u00e4", "http://\u00e4.de/",
                    "http://[::1/", "http://[fe80::1%25eth0]/", "http://h\\@x/", "http://a..b/",
                    "http://-h/", "HTTP://h/", "http://h/<x>", "https:h", "http://" + "a" * 64,
                    "http://h/" + "a" * 3000, " http://h/"):
            with self.subTest(url[:40]):
                with self.assertRaises(download.DownloadError) as caught:
                    download.fetch(download.Request(url))
                self.assertTrue(str(caught.exception).isprintable())

    def test_address_that_is_no_ipv6_is_refused(self) -> None:
        with self.assertRaises(download.DownloadError) as caught:
            fetch("http://[:::::]/")
        self.assertIn("[:::::]", str(caught.exception))
        with self.assertRaisesRegex(download.DownloadError, "is not an address"):
            fetch("http://[127.0.0.1]/")

    def test_parts_of_an_address_are_told_apart(self) -> None:
        parse = download.parse_url
        self.assertEqual(parse("https://patching.example.org"),
                         download.Address("https", "patching.example.org", 443,
                                          "patching.example.org", "/"))
        self.assertEqual(parse("http://[2001:db8::1]:8080/a/b.yaml?site=1"),
                         download.Address("http", "2001:db8::1", 8080, "[2001:db8::1]:8080",
                                          "/a/b.yaml?site=1"))
        self.assertEqual(parse("http://my_host:80/").authority, "my_host")

    def test_header_values_with_line_ends_are_never_sent(self) -> None:
        with hostile.Server(hostile.answers(b"a: 1\n")) as server:
            for field in ("user_agent", "etag", "last_modified"):
                for value in ("a\r\nX: y", "a\x1b", "\u00e4", "a\x00"):
                    with self.assertRaises(download.DownloadError) as caught:
                        fetch(server.url(), **{field: value})
                    self.assertIn("only printable ASCII", str(caught.exception))
        self.assertEqual(server.heads, [b""] * len(server.heads))


class ThroughAProxy(unittest.TestCase):
    def test_plain_request_goes_to_the_proxy_in_absolute_form(self) -> None:
        with hostile.Server(hostile.answers(b"a: 1\n")) as proxy:
            response = fetch("http://patching.example.org/patch.yaml", proxy=proxy.url(""))
        self.assertEqual(response.body(), b"a: 1\n")
        self.assertTrue(proxy.heads[0].startswith(
            b"GET http://patching.example.org/patch.yaml HTTP/1.1\r\n"
            b"Host: patching.example.org\r\n"))

    def test_tls_goes_through_a_tunnel_and_the_name_is_still_verified(self) -> None:
        with hostile.Server(hostile.answers(b"a: 1\n"), server_tls("good")) as server:
            def tunnel(connection: socket.socket, proxy: hostile.Server) -> None:
                hostile.read_head(connection, proxy)
                hostile.send(connection, proxy, b"HTTP/1.1 200 Connected\r\n\r\n")
                with socket.create_connection(("127.0.0.1", server.port)) as inner:
                    relay(connection, inner)
            for host, good in (("localhost", True), ("other.example.org", False)):
                with hostile.Server(tunnel) as proxy:
                    arguments = {"proxy": proxy.url("/"), "tls": tls.context(CA)}
                    if good:
                        self.assertEqual(fetch("https://localhost/x", **arguments).body(),
                                         b"a: 1\n")
                    else:
                        with self.assertRaises(download.DownloadError) as caught:
                            fetch("https://%s/x" % host, **arguments)
                        self.assertIn("certificate is refused", str(caught.exception))
                    self.assertTrue(proxy.heads[0].startswith(
                        b"CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n"
                        % (host.encode(), host.encode())))
                    self.assertNotIn(b"QualvoSec", proxy.heads[0])

    def test_proxy_that_says_no_is_named(self) -> None:
        with hostile.Server(hostile.answers(b"", "407 Who")) as proxy:
            text = refusal("https://h/x", proxy=proxy.url("/"), tls=tls.context(CA))
        self.assertIn("the proxy answered 407", text)

    def test_proxy_that_is_none_is_refused(self) -> None:
        for proxy in ("https://127.0.0.1:1", "socks5://127.0.0.1:1", "http://u:p@127.0.0.1:1",
                      "127.0.0.1:1", "http://127.0.0.1:1/path"):
            with self.assertRaises(download.DownloadError) as caught:
                fetch("http://h/x", proxy=proxy)
            self.assertIn(proxy, str(caught.exception))


def relay(one: socket.socket, two: socket.socket) -> None:
    """Copy both ways until one side ends."""
    def copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    thread = threading.Thread(target=copy, args=(two, one), daemon=True)
    thread.start()
    copy(one, two)
    thread.join(5)


def server_tls(name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(DATA, name + ".pem"), os.path.join(DATA, name + ".key"))
    return context


class OverTls(unittest.TestCase):
    def setUp(self) -> None:
        # Wanted is a name that the certificate has; not every machine can look one up.
        asked = socket.getaddrinfo

        def found(host: str, *more: int) -> list:
            return asked("127.0.0.1" if host == "localhost" else host, *more)

        here = mock.patch.object(socket, "getaddrinfo", found)
        here.start()
        self.addCleanup(here.stop)

    def refused(self, server_context: ssl.SSLContext, client: ssl.SSLContext,
                host: str = "localhost") -> str:
        with hostile.Server(hostile.answers(b"a: 1\n"), server_context) as server:
            with self.assertRaises(download.DownloadError) as caught:
                fetch(server.url(host=host), tls=client)
            self.assertEqual(b"".join(server.heads), b"")
        return str(caught.exception)

    def test_verified_server_is_read(self) -> None:
        for host in ("localhost", "127.0.0.1"):
            with hostile.Server(hostile.answers(b"a: 1\n"), server_tls("good")) as server:
                response = fetch(server.url(host=host), tls=tls.context(CA))
            self.assertEqual(response.body(), b"a: 1\n")

    def test_wrong_name_expired_and_self_signed_are_refused(self) -> None:
        for name in ("wrongname", "expired", "selfsigned"):
            with self.subTest(name):
                text = self.refused(server_tls(name), tls.context(CA))
                self.assertIn("the server's certificate is refused", text)

    def test_authority_made_by_hand_is_taken_by_every_python(self) -> None:
        own = tls.context(os.path.join(DATA, "handmade.pem"))
        with hostile.Server(hostile.answers(b"a: 1\n"), server_tls("handmade")) as server:
            self.assertEqual(fetch(server.url(host="localhost"), tls=own).body(), b"a: 1\n")

    def test_name_in_the_subject_alone_is_refused_by_every_python(self) -> None:
        for name in ("commonname", "mailonly", "otheraddress"):
            own = tls.context(os.path.join(DATA, name + ".pem"))
            text = self.refused(server_tls(name), own)
            self.assertRegex(text, "has no subjectAltName|certificate is refused", name)

    def test_authority_that_is_not_ours_is_refused(self) -> None:
        own = os.path.join(DATA, "selfsigned.pem")
        self.assertIn("certificate is refused", self.refused(server_tls("good"), tls.context(own)))

    def test_variables_of_openssl_add_no_authority(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            usual = ssl.get_default_verify_paths()._replace(
                openssl_cafile=os.path.join(DATA, "selfsigned.pem"), openssl_capath=folder)
            ours = mock.patch.dict(os.environ, {"SSL_CERT_FILE": CA, "SSL_CERT_DIR": DATA})
            with ours, mock.patch.object(ssl, "get_default_verify_paths", return_value=usual):
                text = self.refused(server_tls("good"), tls.context())
        self.assertIn("certificate is refused", text)

    def test_system_without_authorities_is_told_what_to_do(self) -> None:
        usual = ssl.get_default_verify_paths()._replace(openssl_cafile="/nowhere/a",
                                                        openssl_capath="/nowhere/b")
        none = mock.patch.object(ssl, "get_default_verify_paths", return_value=usual)
        with none, self.assertRaises(tls.TlsError) as caught:
            tls.context()
        self.assertIn("set ca_file", str(caught.exception))

    def test_old_versions_of_tls_are_refused(self) -> None:
        context = server_tls("good")
        if sys.version_info >= (3, 7):
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        else:
            context.options |= ssl.OP_NO_TLSv1_2 | getattr(ssl, "OP_NO_TLSv1_3", 0)
        try:
            context.set_ciphers("ALL:@SECLEVEL=0")
        except ssl.SSLError as error:
            self.skipTest("this OpenSSL speaks no TLS 1.1: %s" % error)
        self.assertIn("TLS failed", self.refused(context, tls.context(CA)))

    def test_https_against_a_plain_server_is_one_line(self) -> None:
        def plain(connection: socket.socket, server: hostile.Server) -> None:
            connection.recv(5)
            hostile.send(connection, server, b"HTTP/1.0 400 no\r\n\r\n")
            connection.recv(65536)
        with hostile.Server(plain) as server:
            text = refusal(server.url().replace("http:", "https:"), tls=tls.context(CA))
        self.assertIn("TLS failed", text)

    def test_handshake_that_never_answers_meets_the_deadline(self) -> None:
        with hostile.Server(hostile.goes_silent(b"")) as server:
            text = refusal(server.url().replace("http:", "https:"), tls=tls.context(CA),
                           timeout_s=SHORT_S)
        self.assertIn("no answer in time", text)

    def test_truncation_within_tls_is_noticed(self) -> None:
        with hostile.Server(hostile.says(LENGTH + b"a: 1\n"), server_tls("good")) as server:
            text = refusal(server.url(host="localhost"), tls=tls.context(CA))
        self.assertRegex(text, "truncated|TLS failed")

    def test_https_without_settings_is_refused(self) -> None:
        with self.assertRaises(download.DownloadError):
            fetch("https://127.0.0.1:1/")

    def test_server_that_asks_for_a_certificate_gets_ours(self) -> None:
        context = server_tls("good")
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(CA)
        with tempfile.TemporaryDirectory() as folder:
            key = os.path.join(folder, "client.key")
            shutil.copyfile(os.path.join(DATA, "client.key"), key)
            os.chmod(key, 0o600)
            client = tls.context(CA, os.path.join(DATA, "client.pem"), key)
        with hostile.Server(hostile.answers(b"a: 1\n"), context) as server:
            response = fetch(server.url(host="localhost"), tls=client)
        self.assertEqual(response.body(), b"a: 1\n")
        self.assertRegex(self.refused(context, tls.context(CA)), "TLS failed|connection failed")


class ClientKeys(unittest.TestCase):
    def use(self, name: str, mode: int, cert: str = "client.pem") -> str:
        with tempfile.TemporaryDirectory() as folder:
            key = os.path.join(folder, name)
            shutil.copyfile(os.path.join(DATA, name), key)
            os.chmod(key, mode)
            with self.assertRaises(tls.TlsError) as caught:
                tls.context(CA, os.path.join(DATA, cert), key)
        return str(caught.exception)

    def test_key_that_others_may_read_is_refused(self) -> None:
        for mode in (0o644, 0o660, 0o641, 0o666):
            self.assertIn("is open to others (mode %04o)" % mode, self.use("client.key", mode))

    def test_key_with_a_pass_phrase_asks_nobody(self) -> None:
        self.assertIn("without a pass phrase", self.use("client-locked.key", 0o600))

    def test_key_of_another_certificate_is_refused(self) -> None:
        self.assertIn("belong together", self.use("client.key", 0o640, "good.pem"))

    def test_files_that_are_missing_or_rubbish_are_named(self) -> None:
        with self.assertRaises(tls.TlsError) as caught:
            tls.context(CA, os.path.join(DATA, "client.pem"), "/nowhere/client.key")
        self.assertIn("client_key '/nowhere/client.key'", str(caught.exception))
        for path in ("/nowhere/ca.pem", __file__, DATA):
            with self.assertRaises(tls.TlsError) as caught:
                tls.context(path)
            self.assertIn("ca_file '%s': cannot be used" % path, str(caught.exception))


if __name__ == "__main__":
    unittest.main()
