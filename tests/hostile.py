# SPDX-License-Identifier: BSD-2-Clause
"""A loopback server for tests that answers with exactly the bytes it is told to.

A behaviour is a function of the connection and of the request's head. It runs
in a thread of its own; when it returns, the connection is closed. Endless
behaviours end when the client is gone or the server is closed.
"""

import socket
import ssl
import struct
import threading
from typing import Callable
from typing import List
from typing import Optional

Behaviour = Callable[[socket.socket, "Server"], None]


class Server:
    """Listens on a free port until close(); `heads` are the requests that it saw."""

    def __init__(self, behaviour: Behaviour, tls: Optional[ssl.SSLContext] = None,
                 address: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.behaviour = behaviour
        self.tls = tls
        self.heads: List[bytes] = []
        self.connections = 0
        self.sent = 0
        self.stopped = threading.Event()
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.bind((address, 0))
        self.listener.listen(16)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path: str = "/patch.yaml", host: str = "127.0.0.1") -> str:
        scheme = "https" if self.tls else "http"
        return "%s://%s:%d%s" % (scheme, host, self.port, path)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.stopped.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(20)
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            self.behaviour(connection, self)
        except OSError:
            pass
        finally:
            connection.close()


def read_head(connection: socket.socket, server: Server) -> bytes:
    """Read and remember a request up to its blank line."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            break
        head += piece
    server.heads.append(head)
    return head


def send(connection: socket.socket, server: Server, data: bytes) -> None:
    """Send and count."""
    connection.sendall(data)
    server.sent += len(data)


def says(data: bytes) -> Behaviour:
    """Answer with these bytes, then close."""
    def behave(connection: socket.socket, server: Server) -> None:
        read_head(connection, server)
        send(connection, server, data)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    return behave


def answers(body: bytes, status: str = "200 OK", fields: bytes = b"") -> Behaviour:
    """Answer as a decent server does."""
    return says(b"HTTP/1.1 " + status.encode() + b"\r\nContent-Length: %d\r\n" % len(body)
                + fields + b"\r\n" + body)


def drips(start: bytes, piece: bytes, pause_s: float) -> Behaviour:
    """Send `start`, then `piece` again and again."""
    def behave(connection: socket.socket, server: Server) -> None:
        read_head(connection, server)
        send(connection, server, start)
        while not server.stopped.wait(pause_s):
            send(connection, server, piece)
    return behave


def floods(start: bytes, piece: bytes) -> Behaviour:
    """Send `start`, then `piece` as fast as the client takes it."""
    def behave(connection: socket.socket, server: Server) -> None:
        read_head(connection, server)
        send(connection, server, start)
        while not server.stopped.is_set():
            send(connection, server, piece)
    return behave


def goes_silent(start: bytes) -> Behaviour:
    """Send `start`, then nothing, and keep the connection open."""
    def behave(connection: socket.socket, server: Server) -> None:
        read_head(connection, server)
        send(connection, server, start)
        server.stopped.wait(20)
    return behave


def resets(start: bytes) -> Behaviour:
    """Send `start`, then reset the connection."""
    def behave(connection: socket.socket, server: Server) -> None:
        read_head(connection, server)
        send(connection, server, start)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return behave
