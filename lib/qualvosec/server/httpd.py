# SPDX-License-Identifier: BSD-2-Clause
"""HTTP for the embedded server: GET and HEAD of static files, one reply a connection.

At most `threads` requests are worked on at a time, more wait in the kernel's
queue. A request has an absolute deadline for its head and one for its reply,
however slowly its bytes trickle, so that no client can hold a thread for ever.
A file that changes while it is sent breaks the connection: a client must never
take half of one manifest and half of the next for a whole one.
"""

import http.server
import io
import os
import socket
import socketserver
import sys
import threading
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from typing import Callable
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import log
from qualvosec import paths
from qualvosec.server import static
from qualvosec.server.accesslog import AccessLog
from qualvosec.server.accesslog import Entry

HEALTH_PARTS = ["health"]
MAX_LINE_BYTES = 8192
PIECE_BYTES = 65536
# A client that still sends when it is refused would lose the reply to a reset.
DRAIN_BYTES = 1 << 20
DRAIN_S = 2.0
LOG_FAULT_EVERY_S = 60.0


class Limits(NamedTuple):
    """Bounds of one server; times in seconds from the start of the connection or the reply."""

    threads: int = 64
    head_s: float = 10.0
    reply_s: float = 120.0
    head_bytes: int = 16384


LIMITS = Limits()


class _Reader(io.RawIOBase):
    """A socket's input that ends in time (socket.timeout) and in size (Refusal)."""

    def __init__(self, connection: socket.socket, end: float, limit: int) -> None:
        super().__init__()
        self._connection = connection
        self._end = end
        self._left = limit
        self.received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left <= 0:
            raise static.Refusal(431, "the head is larger than any honest client's")
        _bound(self._connection, self._end)
        view = memoryview(buffer)[:self._left]
        count = self._connection.recv_into(view)
        self._left -= count
        self.received += count
        return count


class _Writer(io.RawIOBase):
    """A socket's output that ends in time (socket.timeout); every write is whole."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self.end = time.monotonic()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        _bound(self._connection, self.end)
        # Its timeout is for the whole of the data, not for each packet.
        self._connection.sendall(data)
        return len(data)


def _bound(connection: socket.socket, end: float) -> None:
    left = end - time.monotonic()
    if left <= 0:
        raise socket.timeout("deadline")
    connection.settimeout(left)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Listens on an address and serves the files below `root`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: Tuple[str, int], root: str, access: AccessLog,
                 limits: Limits = LIMITS, now: Callable[[], float] = time.time) -> None:
        self.root = root
        self.access = access
        self.limits = limits
        self.now = now
        self._slots = threading.BoundedSemaphore(limits.threads)
        self._stopping = False
        self._told = -LOG_FAULT_EVERY_S
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Bind without the name look-up of http.server, which can take long at boot."""
        if self.address_family == socket.AF_INET6:
            try:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            except OSError:
                # OpenBSD keeps the two families apart, whatever a program asks for.
                log.warning("listening on IPv6 alone", reason="no sockets for both families")
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def url(self) -> str:
        """Return the address it listens on, with the port that the system gave for port 0."""
        shown = "[%s]" % self.server_name if ":" in self.server_name else self.server_name
        return "http://%s:%d" % (shown, self.server_port)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection as soon as one is free."""
        while not self._slots.acquire(timeout=0.2):
            if self._stopping:
                self.shutdown_request(request)
                return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Work on one connection and give its thread's place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a connection that a fault of ours has ended; it never ends the server."""
        log.error("connection failed", client=client_address[0], error=repr(sys.exc_info()[1]))

    def stop(self, wait_s: float) -> bool:
        """Stop listening, from another thread than serve_forever's.

        Waits for the replies under way; returns False if some were cut.
        """
        self._stopping = True
        self.shutdown()
        self.server_close()
        end = time.monotonic() + wait_s
        return all(self._slots.acquire(timeout=max(0.0, end - time.monotonic()))
                   for _ in range(self.limits.threads))

    def record(self, entry: Entry) -> None:
        """Write the access log; a fault is seen in /health and told at most once a minute."""
        reason = self.access.write(entry)
        if reason and time.monotonic() - self._told >= LOG_FAULT_EVERY_S:
            self._told = time.monotonic()
            log.critical("access log failed", reason=reason, advice="hosts will look as if never "
                         "seen: free the disk or correct log_file")

    def health(self) -> Tuple[int, str]:
        """Return the status and the text of /health."""
        if not os.path.isdir(self.root) or not os.access(self.root, os.X_OK):
            return 503, "root cannot be entered"
        if self.access.error:
            return 503, "access log: %s" % self.access.error
        return 200, "ok"


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection: one request, one reply, one line in the access log."""

    server: Server
    protocol_version = "HTTP/1.1"
    # A malformed request line gets a reply with a status line, not a bare body.
    default_request_version = "HTTP/1.0"

    def setup(self) -> None:
        """Replace the files of http.server, whose timeout starts anew with every byte."""
        limits = self.server.limits
        self.connection: socket.socket = self.request
        self._reader = _Reader(self.connection, time.monotonic() + limits.head_s,
                               limits.head_bytes)
        self._writer = _Writer(self.connection)
        self.rfile = io.BufferedReader(self._reader)
        self.wfile = self._writer  # type: ignore[assignment]
        self.command = self.requestline = ""
        self.request_version = self.default_request_version
        self.close_connection = True
        self._status = 0
        self._sent = 0
        self._unread = False

    def handle(self) -> None:
        """Answer one request within its deadlines and record it."""
        try:
            self._read_and_answer()
            if self._unread:
                self._drain()
        except (socket.timeout, ConnectionError) as error:
            log.debug("connection lost", client=self._client(), reason=error)
        finally:
            if self._status or self._reader.received:
                self.server.record(self._entry())

    def _read_and_answer(self) -> None:
        try:
            self.raw_requestline = self.rfile.readline(MAX_LINE_BYTES + 1)
            if not self.raw_requestline:
                return
            self.requestline = self.raw_requestline.decode("latin-1").rstrip("\r\n")
            if len(self.raw_requestline) > MAX_LINE_BYTES:
                self._unread = True
                self.send_error(414)
                return
            understood = self.parse_request()
        except socket.timeout:
            if self._reader.received:
                self.send_error(408)
            return
        except static.Refusal as refusal:
            self._unread = True
            self.send_error(refusal.status)
            return
        if understood:
            self._answer()

    def _answer(self) -> None:
        self._unread = "Transfer-Encoding" in self.headers or "Content-Length" in self.headers
        if self.command not in ("GET", "HEAD"):
            self._reply(405, HTTPStatus(405).phrase, ("Allow", "GET, HEAD"))
            return
        try:
            parts = static.path_parts(self.path)
            if parts == HEALTH_PARTS:
                self._reply(*self.server.health())
                return
            found = static.open_below(self.server.root, parts)
        except static.Refusal as refusal:
            tell = log.error if refusal.status == 500 else log.warning
            tell("request refused", file=self.path, status=refusal.status, client=self._client(),
                 reason=refusal)
            self.send_error(refusal.status)
            return
        try:
            self._send(found)
        except OSError as error:
            self._cut(error)
        finally:
            os.close(found.fd)

    def _cut(self, error: OSError) -> None:
        """The length was promised already: only a broken connection can say that this failed."""
        log.warning("reply cut", file=self.path, client=self._client(), sent=self._sent,
                    reason=error)

    def _send(self, found: static.Resource) -> None:
        modified = min(found.modified_ns // 10 ** 9, int(self.server.now()))
        last_modified = formatdate(max(0, modified), usegmt=True)
        same = static.not_modified(found.etag, last_modified, self.headers.get("If-None-Match"),
                                   self.headers.get("If-Modified-Since"))
        self._start(304 if same else 200)
        self.send_header("ETag", found.etag)
        self.send_header("Last-Modified", last_modified)
        if not same:
            self.send_header("Content-Type", found.content_type)
            self.send_header("Content-Length", str(found.size))
        self.end_headers()
        if not same and self.command == "GET":
            self._send_body(found)

    def _send_body(self, found: static.Resource) -> None:
        left = found.size
        while left:
            piece = os.read(found.fd, min(PIECE_BYTES, left))
            left -= len(piece)
            if not piece or (not left and static.etag_of(os.fstat(found.fd)) != found.etag):
                raise OSError("changed while it was sent")
            self.wfile.write(piece)
            self._sent += len(piece)

    def _start(self, status: int) -> None:
        self._writer.end = time.monotonic() + self.server.limits.reply_s
        self._status = int(status)
        self.send_response(self._status)
        self.send_header("Connection", "close")
        # A manifest may never be answered from a proxy's memory without asking.
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")

    def _reply(self, status: int, text: str, *headers: Tuple[str, str]) -> None:
        body = ("%s\n" % text).encode("ascii", "backslashreplace")
        self._start(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self._sent += len(body)

    def handle_expect_100(self) -> bool:
        """Answer at once: no body is ever waited for (RFC 9110, 10.1.1)."""
        return True

    def send_error(self, code: int, message: Optional[str] = None,
                   explain: Optional[str] = None) -> None:
        """Answer with a status alone: nothing of the request is sent back."""
        self._reply(code, HTTPStatus(code).phrase)

    def _drain(self) -> None:
        self.connection.shutdown(socket.SHUT_WR)
        end = time.monotonic() + DRAIN_S
        for _ in range(DRAIN_BYTES // PIECE_BYTES):
            _bound(self.connection, end)
            if not self.connection.recv(PIECE_BYTES):
                return

    def _client(self) -> str:
        address = str(self.client_address[0])
        return address[7:] if address.startswith("::ffff:") else address

    def _entry(self) -> Entry:
        fields = getattr(self, "headers", None) or {}
        return Entry(self._client(), int(self.server.now()), self.requestline or "-",
                     self._status or 400, self._sent,
                     fields.get("Referer") or "", fields.get("User-Agent") or "")

    def version_string(self) -> str:
        """Return the Server field: the product, not the interpreter below it."""
        return "QualvoSec/" + paths.VERSION

    def log_message(self, format: str, *args: object) -> None:
        """Keep http.server from writing its own, unescaped lines."""
