# SPDX-License-Identifier: BSD-2-Clause
"""The local health endpoint, inside the daemon's own loop: no thread, no http.server.

Anybody on the host may connect, so nothing that a peer does may cost more than
a little: at most 64 connections (the oldest goes first), five seconds for each
however busy it is, 2 KiB of request, one answer, never keep-alive. When the
system has no descriptor left, listening pauses instead of spinning. A peer is
no reason to end the daemon. The Host field is checked, so that a web page on
this machine cannot read the answers by way of a name that points here.
"""

import errno
import selectors
import socket
import time
from typing import Callable
from typing import Dict
from typing import Iterable
from typing import NamedTuple
from typing import Optional
from typing import Set

from qualvosec import log
from qualvosec.client.config import ConfigError
from qualvosec.client.tell import status as views
from qualvosec.client.tell.status import Snapshot

MAX_CONNECTIONS = 64
MAX_REQUEST = 2048
MAX_DISCARD = 64 * 1024
DEADLINE_S = 5.0
PAUSE_S = 0.5
BACKLOG = 128
BURST = MAX_CONNECTIONS // 2    # a new connection is asked once before newer ones displace it
_PASSING = (errno.ECONNABORTED, errno.EINTR, errno.ECONNRESET, getattr(errno, "EPROTO", -1))
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TEXT = "text/plain; charset=utf-8"
_REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found",
            405: "Method Not Allowed", 431: "Request Header Fields Too Large",
            500: "Internal Server Error", 503: "Service Unavailable"}


class Ask(NamedTuple):
    """A request, as far as it matters; `fault` is the status to refuse it with, or 0."""

    method: str = ""
    path: str = ""
    host: Optional[str] = None
    fault: int = 0


class Page(NamedTuple):
    """What goes back."""

    status: int
    body: str
    kind: str = _TEXT
    allow: bool = False


def parse(data: bytes) -> Optional[Ask]:
    """Read what came so far; None while the request is neither complete nor wrong."""
    if not data[:1].isalpha() or not data[:1].isupper():
        return Ask(fault=400)
    lines = data[:MAX_REQUEST].replace(b"\r\n", b"\n").split(b"\n")
    if b"" not in lines[:-1]:
        return Ask(fault=431) if len(data) > MAX_REQUEST else None
    try:
        first, *fields = [line.decode("ascii") for line in lines[:lines.index(b"")]]
    except UnicodeDecodeError:
        return Ask(fault=400)
    words = first.split(" ")
    if (len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0") or not words[0].isalpha()
            or not words[1].startswith("/")):
        return Ask(fault=400)
    hosts = []
    for line in fields:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or name != name.strip():
            return Ask(fault=400)
        if name.lower() == "host":
            hosts.append(value.strip())
    # Only HTTP/1.0, which no browser speaks, may leave the host out.
    if len(hosts) > 1 or (not hosts and words[2] == "HTTP/1.1"):
        return Ask(fault=400)
    return Ask(words[0], words[1].partition("?")[0], hosts[0] if hosts else None)


def host_allowed(host: str, names: Set[str]) -> bool:
    """Say whether a Host field names this machine: by an address, localhost or one of `names`."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        family = socket.AF_INET6 if bracket else socket.AF_INET
    else:
        name, colon, port = host.partition(":")
        port = colon + port
        family = socket.AF_INET
    if port and not (port[0] == ":" and (port[1:].isdigit() or port == ":")):
        return False
    if family == socket.AF_INET and name.lower().rstrip(".") in names | {"localhost"}:
        return True
    try:
        socket.inet_pton(family, name)
    except (OSError, ValueError):
        return False
    return True


def answer(ask: Ask, names: Set[str], snapshot: Callable[[], Snapshot],
           packages: Optional[Callable[[], str]] = None) -> Page:
    """Return the answer to a request; without `packages` there is no such page."""
    if ask.fault:
        return Page(ask.fault, "%s\n" % _REASONS[ask.fault].lower())
    if ask.host is not None and not host_allowed(ask.host, names):
        return Page(403, "this host name is not served: add it to monitoring_hosts\n")
    if ask.path not in ("/health", "/status", "/metrics") and not (
            packages and ask.path == "/packages"):
        return Page(404, "not found: /health, /status and /metrics are here\n")
    if ask.method not in ("GET", "HEAD"):
        return Page(405, "only GET and HEAD are allowed\n", allow=True)
    if packages and ask.path == "/packages":
        return Page(200, packages(), "application/json")
    now = snapshot()
    if ask.path == "/status":
        return Page(200, views.status(now), "application/json")
    if ask.path == "/metrics":
        return Page(200, views.metrics(now), "text/plain; version=0.0.4; charset=utf-8")
    return Page(200 if now.healthy else 503, views.health_text(now))


def encode(reply: Page, head: bool, now: float) -> bytes:
    """Return the bytes of an answer; `now` is epoch seconds."""
    body = reply.body.encode("utf-8", "backslashreplace")
    moment = time.gmtime(now)
    date = time.strftime("%%s, %d %%s %Y %H:%M:%S GMT", moment) % (
        _DAYS[moment.tm_wday], _MONTHS[moment.tm_mon - 1])     # never in the locale's language
    lines = ["HTTP/1.1 %d %s" % (reply.status, _REASONS[reply.status]), "Date: " + date,
             "Content-Type: " + reply.kind, "Content-Length: %d" % len(body),
             "Cache-Control: no-store", "X-Content-Type-Options: nosniff", "Connection: close"]
    if reply.allow:
        lines.append("Allow: GET, HEAD")
    header = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
    return header if head else header + body


class _Peer:
    """One connection: reading a request, then sending the answer, then waiting for its end."""

    __slots__ = ("sock", "end", "data", "out", "answered", "discarded")

    def __init__(self, sock: socket.socket, end: float) -> None:
        self.sock = sock
        self.end = end
        self.data = b""
        self.out = b""
        self.answered = False
        self.discarded = 0


class Health:
    """The listener and its connections; every method belongs to the loop's one thread."""

    def __init__(self, listener: str, port: int, hosts: Iterable[str],
                 snapshot: Callable[[], Snapshot], selector: selectors.BaseSelector,
                 now: Callable[[], float] = time.monotonic,
                 packages: Optional[Callable[[], str]] = None) -> None:
        """`listener` is an IPv4 or IPv6 address, `hosts` further names of this machine.

        `packages` returns the JSON text of /packages; None: there is no such page.
        """
        self.listener = listener
        self.port = port
        self._names = {host.lower().rstrip(".") for host in hosts}
        self._snapshot = snapshot
        self._selector = selector
        self._now = now
        self._packages = packages
        self._sock: Optional[socket.socket] = None
        self._peers: Dict[int, _Peer] = {}      # by descriptor, oldest first
        self._paused_until: Optional[float] = None

    def register(self) -> None:
        """Listen; events then come to handle() with this object as their data.

        Port 0 takes a free one and stores it in `port`. Raises ConfigError.
        """
        family = socket.AF_INET6 if ":" in self.listener else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise self._cannot(error)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.listener == "::":
                _serve_both_families(sock)
            sock.bind((self.listener, self.port))
            sock.listen(BACKLOG)
            sock.setblocking(False)
            self.port = sock.getsockname()[1]
            self._selector.register(sock, selectors.EVENT_READ, self)
        except OSError as error:
            sock.close()
            raise self._cannot(error)
        self._sock = sock

    def _cannot(self, error: OSError) -> ConfigError:
        return ConfigError("monitoring_listener %s, monitoring_port %d: cannot listen (%s): choose "
                           "an address of this host and a free port"
                           % (self.listener, self.port, (error.strerror or str(error)).lower()))

    def handle(self, key: selectors.SelectorKey, mask: int) -> None:
        """Serve one event of the selector; never raises for what a peer does."""
        if key.fileobj is self._sock:
            self._accept()
            return
        peer = self._peers.get(key.fd)
        # The event may be of a connection that was displaced since select() returned.
        if peer is not None and peer.sock is key.fileobj:
            self._serve(peer)

    def expire(self) -> None:
        """End the connections whose time is over; resume listening after a pause."""
        now = self._now()
        for peer in list(self._peers.values()):
            if peer.end > now:
                break
            self._drop(peer)
        if self._paused_until is not None and self._paused_until <= now:
            self._paused_until = None
            if self._sock is not None:
                self._selector.register(self._sock, selectors.EVENT_READ, self)

    def next_deadline(self) -> Optional[float]:
        """Return when expire() has work next (on the clock `now`), None when it has none."""
        oldest = next(iter(self._peers.values()), None)
        ends = [oldest.end if oldest else None, self._paused_until]
        return min((end for end in ends if end is not None), default=None)

    def close(self) -> None:
        """End everything."""
        for peer in list(self._peers.values()):
            self._drop(peer)
        if self._sock is not None:
            if self._paused_until is None:
                self._selector.unregister(self._sock)
            self._sock.close()
        self._sock = self._paused_until = None

    def _accept(self) -> None:
        if self._sock is None:
            return
        for _ in range(BURST):
            try:
                sock, _address = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _PASSING:
                    continue
                if not self._peers:
                    self._pause(error)
                    return
                self._drop_oldest()
                continue
            if len(self._peers) >= MAX_CONNECTIONS:
                self._drop_oldest()
            self._admit(sock)

    def _admit(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ, self)
        except OSError:
            sock.close()
            return
        peer = _Peer(sock, self._now() + DEADLINE_S)
        self._peers[sock.fileno()] = peer
        # A client that has spoken already is served before others can displace it.
        self._serve(peer)

    def _pause(self, error: OSError) -> None:
        """Stop listening for a moment: the pending connection would wake the loop for ever."""
        log.error("health check pauses", reason=error.strerror or error)
        self._paused_until = self._now() + PAUSE_S
        if self._sock is not None:
            self._selector.unregister(self._sock)

    def _drop_oldest(self) -> None:
        self._drop(next(iter(self._peers.values())))

    def _drop(self, peer: _Peer) -> None:
        del self._peers[peer.sock.fileno()]
        self._selector.unregister(peer.sock)
        peer.sock.close()

    def _serve(self, peer: _Peer) -> None:
        try:
            alive = self._send(peer) if peer.out else self._receive(peer)
        except BlockingIOError:
            return
        except OSError:
            alive = False
        if not alive:
            self._drop(peer)

    def _receive(self, peer: _Peer) -> bool:
        """Take what came; returns False when the connection is done. Raises OSError."""
        data = peer.sock.recv(MAX_REQUEST + 1)
        if not data:
            return False
        if peer.answered:
            # Closing with unread data would reset the connection under the answer.
            peer.discarded += len(data)
            return peer.discarded <= MAX_DISCARD
        peer.data += data
        ask = parse(peer.data)
        if ask is None:
            return True
        peer.answered = True
        peer.data = b""
        peer.out = encode(self._answer(ask), ask.method == "HEAD", time.time())
        self._selector.modify(peer.sock, selectors.EVENT_WRITE, self)
        return self._send(peer)

    def _answer(self, ask: Ask) -> Page:
        try:
            return answer(ask, self._names, self._snapshot, self._packages)
        except Exception as error:
            # A fault in showing the state must not end the patching of this host.
            log.error("health check cannot answer", path=ask.path, error=repr(error))
            return Page(500, "healthy: false\nthe state cannot be shown: see the log\n")

    def _send(self, peer: _Peer) -> bool:
        """Send on; after the last byte wait for the peer's end. Raises OSError."""
        peer.out = peer.out[peer.sock.send(peer.out):]
        if not peer.out:
            peer.sock.shutdown(socket.SHUT_WR)
            self._selector.modify(peer.sock, selectors.EVENT_READ, self)
        return True


def _serve_both_families(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    except OSError:
        # OpenBSD has no such sockets (ip6(4)): :: then means IPv6 alone.
        return
