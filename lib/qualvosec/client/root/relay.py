# SPDX-License-Identifier: BSD-2-Clause
"""One call of root's helper through its socket: the request from stdin, the answer to stdout.

Stands where sudo or doas stand otherwise, so that the daemon sees a child and two
pipes in any case. The end of the request is the end of our sending; the answer
ends when the helper closes. When our own reader goes away we go, too, and the helper
sees that its caller has gone. Exit code 0 with an answer, else 1 and one line.
"""

import os
import select
import socket
import sys

from qualvosec.client.root import call as rootcall
from qualvosec.client.root.record import RootError
from qualvosec.contract.call import MAX_ANSWER
from qualvosec.contract.call import MAX_REQUEST


def call(path: str, request_fd: int = 0, reply_fd: int = 1) -> int:
    """Pass on one request and its answer; returns how many bytes were answered."""
    request = b""
    while len(request) <= MAX_REQUEST:
        piece = os.read(request_fd, MAX_REQUEST + 1 - len(request))
        if not piece:
            break
        request += piece
    if len(request) > MAX_REQUEST:
        raise RootError("the request is larger than %d bytes" % MAX_REQUEST)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(path)
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise RootError("%s: %s: systemctl enable --now qualvosec-helper.socket"
                             % (path, (error.strerror or str(error)).lower()))
        return _answer(sock, reply_fd)


def _answer(sock: socket.socket, reply_fd: int) -> int:
    watcher = select.poll()
    watcher.register(sock, select.POLLIN)
    watcher.register(reply_fd, 0)
    count = 0
    while count <= MAX_ANSWER:
        ready = dict(watcher.poll())
        if sock.fileno() not in ready:
            raise RootError("the reader of the answer has gone")
        piece = sock.recv(65536)
        if not piece:
            return count
        count += len(piece)
        while piece:
            piece = piece[os.write(reply_fd, piece):]
    return count


def main() -> int:
    """Serve the one call of this process."""
    try:
        return 0 if call(rootcall.SOCKET) else 1
    except (RootError, OSError) as error:
        sys.stderr.write("%s\n" % error)
        return 1
