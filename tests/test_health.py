# SPDX-License-Identifier: BSD-2-Clause
"""The health endpoint: what it answers, and what hostile neighbours cannot do to it."""

import errno
import json
import os
import resource
import selectors
import socket
import struct
import threading
import unittest
from typing import Dict
from typing import List
from typing import Optional
from typing import Tuple

from qualvosec.client.config import ConfigError
from qualvosec.client.tell import health
from qualvosec.client.tell.status import Snapshot
from qualvosec.manifest import policy as policies
from qualvosec.manifest.policy import Policy

from tests import logged

GOOD = Snapshot(True, version="1.0.0", fqdn="web01.example.org")
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Loop:
    """A loop in a thread around one endpoint; `clock` is moved by the tests."""

    def __init__(self, snapshot: Snapshot = GOOD, listener: str = "127.0.0.1") -> None:
        self.snapshot = snapshot
        self.clock = 1000.0
        self.waits = 0
        self.selector = selectors.DefaultSelector()
        self.health = health.Health(listener, 0, ("web01.example.org", "Mon.Example.org."),
                                    lambda: self.snapshot, self.selector, lambda: self.clock)
        self.health.register()
        self.stop = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.stop:
            for key, mask in self.selector.select(0.01):
                key.data.handle(key, mask)
            self.health.expire()
            self.waits += 1

    def __enter__(self) -> "Loop":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop = True
        self.thread.join(10)
        self.health.close()
        self.selector.close()

    def turn(self, count: int = 3) -> None:
        """Wait until the loop has come round a few times."""
        goal = self.waits + count
        while self.waits < goal and self.thread.is_alive():
            threading.Event().wait(0.005)

    def connect(self) -> socket.socket:
        return socket.create_connection((self.health.listener, self.health.port), 10)

    def ask(self, request: bytes = GET) -> Tuple[int, Dict[str, str], str]:
        """Send a request, return status, fields and body."""
        with self.connect() as sock:
            sock.sendall(request)
            return read_answer(sock)


def read_answer(sock: socket.socket) -> Tuple[int, Dict[str, str], str]:
    data = b""
    while True:
        piece = sock.recv(65536)
        if not piece:
            break
        data += piece
    header, _, body = data.decode().partition("\r\n\r\n")
    lines = header.split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), fields, body


def get(path: str, host: str = "localhost", method: str = "GET") -> bytes:
    return ("%s %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (method, path, host)).encode()


class Answers(unittest.TestCase):
    def test_healthy_host_says_so_first(self) -> None:
        with Loop() as loop:
            status, fields, body = loop.ask()
        self.assertEqual((status, body), (200, "healthy: true\n"))
        self.assertEqual(fields["Content-Type"], "text/plain; charset=utf-8")
        self.assertEqual(fields["Connection"], "close")
        self.assertEqual(fields["Content-Length"], "14")
        self.assertRegex(fields["Date"], r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} "
                                         r"20\d\d \d\d:\d\d:\d\d GMT$")
        self.assertNotIn("Server", fields)

    def test_unhealthy_host_gives_its_reasons_below_and_503(self) -> None:
        bad = GOOD._replace(healthy=False, reasons=("no answer from \x1b[31mserver", "line\nbreak"))
        with Loop(bad) as loop:
            status, _, body = loop.ask()
        self.assertEqual(status, 503)
        self.assertEqual(body, "healthy: false\nno answer from \\x1b[31mserver\nline\\x0abreak\n")

    def test_status_is_json_with_what_an_administrator_asks_for(self) -> None:
        policy = Policy(patch=True, reboot="required", weekdays=(1,), hour=3, minute=15)
        full = GOOD._replace(
            entry="policy", policy=policy, next_window="20261124T0215Z", next_start=1795486500,
            outcome="partial", kept=2, upgraded=14, pending=0, expires=739999,
            server="https://h/patch.yaml", reachable=True, last_fetch=1795431600)
        with Loop(full) as loop:
            status, fields, body = loop.ask(get("/status"))
        self.assertEqual((status, fields["Content-Type"]), (200, "application/json"))
        value = json.loads(body)
        self.assertEqual(value["host"], "web01.example.org")
        self.assertEqual(value["policy"], policies.values(policy))
        self.assertEqual(value["next_window"], {"id": "20261124T0215Z", "close": None,
                                                "start": "2026-11-24T02:15:00Z"})
        self.assertEqual((value["last_run"]["kept"], value["last_run"]["config_files"]), (2, None))
        self.assertEqual(value["server"]["last_attempt"], "2026-11-23T11:00:00Z")
        self.assertEqual(value["manifest"]["expires"], "2027-01-18")

    def test_status_of_an_unhealthy_host_is_still_200(self) -> None:
        with Loop(GOOD._replace(healthy=False)) as loop:
            self.assertEqual(loop.ask(get("/status"))[0], 200)

    def test_metrics_keep_the_conventions_and_leave_out_the_unknown(self) -> None:
        with Loop(GOOD._replace(outcome="ok", pending=3, reboot="due")) as loop:
            status, fields, body = loop.ask(get("/metrics?x=1"))
        self.assertEqual(status, 200)
        self.assertEqual(fields["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        names = set()
        for line in body.splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) qualvosec_[a-z_]+ .+|'
                                   r'qualvosec_[a-z_]+(\{[a-z]+="[^"]*"\})? -?\d+)$')
            if not line.startswith("#"):
                names.add(line.split("{")[0].split()[0])
        self.assertIn("qualvosec_pending_packages 3\n", body)
        self.assertIn('qualvosec_last_run_outcome{outcome="ok"} 1\n', body)
        self.assertIn('qualvosec_last_run_outcome{outcome="failed"} 0\n', body)
        self.assertIn('qualvosec_reboot_state{state="due"} 1\n', body)
        self.assertIn('qualvosec_build_info{version="1.0.0"} 1\n', body)
        self.assertNotIn("qualvosec_kept_back_packages", names)
        self.assertNotIn("qualvosec_last_run_timestamp_seconds", names)

    def test_head_has_the_fields_of_get_and_no_body(self) -> None:
        with Loop() as loop:
            for path in ("/health", "/status", "/metrics", "/nothing"):
                fields, body = loop.ask(get(path))[1:]
                head_fields, head_body = loop.ask(get(path, method="HEAD"))[1:]
                self.assertEqual(head_body, "")
                self.assertEqual(head_fields["Content-Length"], fields["Content-Length"])
                self.assertGreater(len(body), 0)

    def test_other_paths_and_methods_are_refused(self) -> None:
        with Loop() as loop:
            for path in ("/", "/Health", "/health/", "/packages", "/../etc/passwd", "//health"):
                self.assertEqual(loop.ask(get(path))[0], 404, path)
            for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
                status, fields, _ = loop.ask(get("/health", method=method))
                self.assertEqual((status, fields["Allow"]), (405, "GET, HEAD"))

    def test_garbage_is_a_bad_request(self) -> None:
        for request in (b"\x16\x03\x01\x02\x00\x01", b"\n", b" GET / HTTP/1.1\r\n\r\n",
                        b"get /health HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET\r\n\r\n",
                        b"GET /health\r\n\r\n", b"GET /health HTTP/2\r\nHost: x\r\n\r\n",
                        b"GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
                        b"GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
                        b"GET /health HTTP/1.1\r\n\r\n",
                        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
                        b"GET /health HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
                        b"GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n",
                        b"GET /health HTTP/1.1\r\nrubbish\r\nHost: localhost\r\n\r\n",
                        b"GET /h\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
                        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: \xc3\xa4\r\n\r\n"):
            with self.subTest(request), Loop() as loop:
                self.assertEqual(loop.ask(request)[0], 400)

    def test_request_over_two_kilobytes_is_refused(self) -> None:
        with Loop() as loop:
            long = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 5000 + b"\r\n\r\n"
            self.assertEqual(loop.ask(long)[0], 431)
            fits = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1900 + b"\r\n\r\n"
            self.assertEqual(loop.ask(fits)[0], 200)

    def test_request_in_single_bytes_and_with_bare_line_feeds_is_understood(self) -> None:
        with Loop() as loop:
            with loop.connect() as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for byte in GET:
                    sock.sendall(bytes([byte]))
                self.assertEqual(read_answer(sock)[0], 200)
            self.assertEqual(loop.ask(b"GET /health HTTP/1.0\n\n")[0], 200)

    def test_only_names_of_this_machine_are_served(self) -> None:
        good = ("localhost", "LOCALHOST:8037", "127.0.0.1", "127.0.0.1:8037", "[::1]:8037",
                "[2001:db8::1]", "10.1.2.3:80", "web01.example.org", "WEB01.example.org.:8037",
                "mon.example.org")
        bad = ("attacker.example.org", "localhost.example.org", "127.0.0.1.example.org", "",
               "localhost:x", "[::1", "[localhost]", "::1", "[::1]x", "localhost@evil", "1.2.3",
               "web01", "[::1]:80:80")
        with Loop() as loop:
            for host in good:
                self.assertEqual(loop.ask(get("/health", host))[0], 200, host)
            for host in bad:
                status, _, body = loop.ask(get("/health", host))
                self.assertEqual(status, 403, host)
                self.assertNotIn("true", body)

    def test_packages_are_told_only_where_that_is_enabled(self) -> None:
        with Loop() as loop:
            status, _, body = loop.ask(get("/packages"))
            self.assertEqual((status, body),
                             (404, "not found: /health, /status and /metrics are here\n"))
            loop.health._packages = lambda: '{"v": 1}\n'
            status, fields, body = loop.ask(get("/packages"))
            self.assertEqual((status, fields["Content-Type"], body),
                             (200, "application/json", '{"v": 1}\n'))
            self.assertEqual(loop.ask(get("/packages", "attacker.example.org"))[0], 403)
            self.assertEqual(loop.ask(get("/packages", method="POST"))[0], 405)
            self.assertEqual(loop.ask()[2], "healthy: true\n")

    def test_fault_in_the_snapshot_is_a_500_and_a_log_line(self) -> None:
        lines: List[str] = []
        with Loop() as loop, logged.into(lines):
            loop.health._snapshot = lambda: Snapshot(True, reasons=5)    # type: ignore[arg-type]
            status, _, body = loop.ask()
            self.assertEqual((status, body.splitlines()[0]), (500, "healthy: false"))
            loop.health._snapshot = lambda: GOOD
            self.assertEqual(loop.ask()[0], 200)
        self.assertEqual(len(lines), 1)
        self.assertIn("TypeError", lines[0])

    def test_body_of_a_request_does_not_cost_its_sender_the_answer(self) -> None:
        with Loop() as loop:
            request = b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000\r\n\r\n"
            self.assertEqual(loop.ask(request + b"a" * 40000)[0], 405)

    def test_listener_on_ipv6_answers(self) -> None:
        try:
            loop = Loop(listener="::1")
        except ConfigError as error:
            self.skipTest("no IPv6 here: %s" % error)
        with loop:
            self.assertEqual(loop.ask(get("/health", "[::1]:8037"))[0], 200)

    def test_listener_on_all_ipv6_addresses_serves_ipv4_where_the_system_can(self) -> None:
        try:
            loop = Loop(listener="::")
        except ConfigError as error:
            self.skipTest("no IPv6 here: %s" % error)
        with loop:
            only_v6 = loop.health._sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            address = "::1" if only_v6 else "127.0.0.1"
            with socket.create_connection((address, loop.health.port), 10) as sock:
                sock.sendall(GET)
                self.assertEqual(read_answer(sock)[0], 200)

    def test_address_in_use_is_one_clear_line(self) -> None:
        with Loop() as loop, selectors.DefaultSelector() as selector:
            second = health.Health("127.0.0.1", loop.health.port, (), lambda: GOOD, selector)
            with self.assertRaises(ConfigError) as caught:
                second.register()
            second.close()
        self.assertRegex(str(caught.exception), r"^monitoring_listener 127\.0\.0\.1, "
                         r"monitoring_port \d+: cannot listen \(address already in use\): ")

    def test_port_can_be_opened_again_at_once_after_close(self) -> None:
        with Loop() as loop:
            loop.ask()
            port = loop.health.port
        with selectors.DefaultSelector() as selector:
            again = health.Health("127.0.0.1", port, (), lambda: GOOD, selector)
            again.register()
            again.close()
            self.assertEqual(len(selector.get_map()), 0)


class HostileNeighbours(unittest.TestCase):
    def flood(self, loop: Loop, count: int, start: bytes) -> List[socket.socket]:
        socks = []
        for number in range(count):
            if number % (health.BACKLOG // 2) == 0:
                loop.turn(1)    # or the system drops connections that nobody accepts
            sock = loop.connect()
            if start:
                try:
                    sock.sendall(start)
                except OSError:
                    pass    # displaced already
            socks.append(sock)
        return socks

    def under_flood(self, start: bytes) -> None:
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        # Each connection costs two descriptors until the endpoint drops its side.
        count = min(1000, soft - 200) if soft != resource.RLIM_INFINITY else 1000
        with Loop() as loop:
            threads = threading.active_count()
            socks = self.flood(loop, count, start)
            try:
                for _ in range(20):
                    self.assertEqual(loop.ask()[0], 200)
                loop.turn()
                self.assertLessEqual(len(loop.health._peers), health.MAX_CONNECTIONS)
                self.assertEqual(threading.active_count(), threads)
                loop.clock += health.DEADLINE_S
                loop.turn()
                self.assertEqual(len(loop.health._peers), 0)
                self.assertIsNone(loop.health.next_deadline())
            finally:
                for sock in socks:
                    sock.close()

    def test_a_thousand_idle_connections_keep_nobody_out(self) -> None:
        self.under_flood(b"")

    def test_a_thousand_half_sent_requests_keep_nobody_out(self) -> None:
        self.under_flood(b"GET /health HTTP/1.1\r\nHost: loc")

    def test_oldest_connection_is_displaced_first(self) -> None:
        with Loop() as loop:
            socks = self.flood(loop, health.MAX_CONNECTIONS + 1, b"GET /he")
            loop.turn()
            self.assertEqual(len(loop.health._peers), health.MAX_CONNECTIONS)
            self.assertIn(socks[0].recv(1), (b"",))
            for sock in socks[1:]:
                sock.sendall(b"alth HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertEqual(read_answer(sock)[0], 200)
            for sock in socks:
                sock.close()

    def test_dripping_does_not_move_the_deadline(self) -> None:
        with Loop() as loop, loop.connect() as sock:
            loop.turn()
            end = loop.health.next_deadline()
            self.assertEqual(end, 1000.0 + health.DEADLINE_S)
            for _ in range(4):
                loop.clock += 1
                sock.sendall(b"G")
                loop.turn()
                self.assertEqual(loop.health.next_deadline(), end)
            loop.clock += 1
            self.assertEqual(closed(sock), True)

    def test_answer_that_nobody_reads_ends_at_the_deadline(self) -> None:
        reasons = tuple("x" * 400 for _ in range(20000))
        with Loop(GOOD._replace(reasons=reasons)) as loop, loop.connect() as sock:
            sock.sendall(GET)
            loop.turn()
            self.assertEqual(loop.ask(get("/nothing"))[0], 404)
            loop.turn()
            self.assertEqual(len(loop.health._peers), 1)
            loop.clock += health.DEADLINE_S
            loop.turn()
            self.assertEqual(len(loop.health._peers), 0)

    def test_large_answer_arrives_whole(self) -> None:
        reasons = tuple("x" * 400 for _ in range(20000))
        with Loop(GOOD._replace(reasons=reasons)) as loop:
            self.assertEqual(len(loop.ask()[2]), len("healthy: true\n") + 20000 * 401)

    def test_peer_that_sends_on_after_the_answer_is_cut_off(self) -> None:
        with Loop() as loop, loop.connect() as sock:
            sock.sendall(GET)
            try:
                for _ in range(64):
                    sock.sendall(b"a" * 65536)
            except OSError:
                pass
            loop.turn()
            self.assertEqual(len(loop.health._peers), 0)

    def test_resets_at_any_moment_are_survived(self) -> None:
        with Loop() as loop:
            for start in (b"", b"GET", GET, b"\x00"):
                for _ in range(20):
                    sock = loop.connect()
                    sock.sendall(start)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.close()
            self.assertEqual(loop.ask()[0], 200)

    def test_no_free_descriptor_pauses_and_does_not_spin(self) -> None:
        lines: List[str] = []
        with Endpoint() as endpoint, logged.into(lines):
            failing = endpoint.fail(errno.EMFILE)
            self.assertEqual(endpoint.health.next_deadline(), 1000.0 + health.PAUSE_S)
            self.assertEqual(failing.calls, 1)
            with socket.create_connection(("127.0.0.1", endpoint.health.port), 10):
                self.assertEqual(endpoint.selector.select(0), [])
                endpoint.health.expire()
                self.assertEqual(endpoint.selector.select(0), [])
                endpoint.clock += health.PAUSE_S
                endpoint.health.expire()
                self.assertIsNone(endpoint.health.next_deadline())
                self.assertEqual(len(endpoint.selector.select(10)), 1)
        self.assertEqual(len(lines), 1)

    def test_pause_can_be_closed(self) -> None:
        with Endpoint() as endpoint, logged.into([]):
            endpoint.fail(errno.EMFILE)
            endpoint.health.close()
            endpoint.health.expire()
            self.assertIsNone(endpoint.health.next_deadline())
            self.assertEqual(len(endpoint.selector.get_map()), 0)

    def test_no_free_descriptor_costs_the_oldest_connection_first(self) -> None:
        with Endpoint() as endpoint, socket.create_connection(
                ("127.0.0.1", endpoint.health.port), 10):
            endpoint.health._accept()
            self.assertEqual(len(endpoint.health._peers), 1)
            failing = endpoint.fail(errno.ENFILE, times=1)
            self.assertEqual((len(endpoint.health._peers), failing.calls), (0, 2))

    def test_event_of_a_displaced_connection_is_passed_over(self) -> None:
        with Endpoint() as endpoint, socket.create_connection(
                ("127.0.0.1", endpoint.health.port), 10) as client:
            endpoint.health._accept()
            client.sendall(b"GET /he")
            events = [(key, mask) for key, mask in endpoint.selector.select(10)
                      if key.fileobj is not endpoint.health._sock]
            endpoint.health._drop_oldest()
            for key, mask in events:
                endpoint.health.handle(key, mask)
            self.assertEqual((len(events), len(endpoint.health._peers)), (1, 0))

    def test_connection_that_vanished_before_accept_is_passed_over(self) -> None:
        with Endpoint() as endpoint:
            failing = endpoint.fail(errno.ECONNABORTED, times=3)
            self.assertEqual(failing.calls, 4)
            self.assertIsNone(endpoint.health.next_deadline())

    def test_real_shortage_of_descriptors_is_survived(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with Loop() as loop, logged.into([]):
            clients = [socket.socket() for _ in range(40)]
            highest = max(sock.fileno() for sock in clients)
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 6, hard))
                for sock in clients:
                    sock.settimeout(10)
                    sock.connect(("127.0.0.1", loop.health.port))
                loop.turn()
                self.assertLess(len(loop.health._peers), 10)
                self.assertTrue(loop.thread.is_alive())
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for sock in clients:
                    sock.close()
            loop.clock += 10
            loop.turn()
            self.assertEqual(loop.ask()[0], 200)


class FailingListener:
    """A listener whose accept() fails `times` times, then finds nobody."""

    def __init__(self, real: socket.socket, number: int, times: Optional[int]) -> None:
        self.real = real
        self.number = number
        self.times = times
        self.calls = 0

    def fileno(self) -> int:
        return self.real.fileno()

    def accept(self) -> None:
        self.calls += 1
        if self.times is not None and self.calls > self.times:
            raise BlockingIOError(errno.EAGAIN, "nobody")
        raise OSError(self.number, os.strerror(self.number))


class Endpoint:
    """An endpoint whose loop is the test itself."""

    def __init__(self) -> None:
        self.clock = 1000.0
        self.selector = selectors.DefaultSelector()
        self.health = health.Health("127.0.0.1", 0, (), lambda: GOOD, self.selector,
                                    lambda: self.clock)
        self.health.register()

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.health.close()
        self.selector.close()

    def fail(self, number: int, times: Optional[int] = None) -> FailingListener:
        """Let the listener fail once."""
        real = self.health._sock
        assert real is not None
        failing = FailingListener(real, number, times)
        self.health._sock = failing     # type: ignore[assignment]
        self.health._accept()
        self.health._sock = real
        return failing


def closed(sock: socket.socket) -> bool:
    """Say whether the other side ends the connection."""
    sock.settimeout(10)
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


if __name__ == "__main__":
    unittest.main()
