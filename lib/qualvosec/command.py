# SPDX-License-Identifier: BSD-2-Clause
"""Run one argv: fixed environment, own session, deadline, capped output.

Never a shell. The child gets /dev/null or the given bytes as standard input
and a session of its own, so that no script can ask on a terminal. Output is
always read to its end, also beyond the cap, because a full pipe would stop the
child; with `log_fd` it goes straight to that file instead and no pipe exists
that could break when this process dies.
"""

import os
import selectors
import signal
import subprocess
import time
from typing import Dict
from typing import Mapping
from typing import NamedTuple
from typing import Optional
from typing import Sequence

FIXED_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GRACE_S = 5.0


class CommandError(Exception):
    """The program could not be started; the text is one line."""


class Result(NamedTuple):
    """How a command ended; a negative return code is the signal that ended it."""

    returncode: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool


def run(argv: Sequence[str], env: Mapping[str, str], stdin: bytes = b"",
        deadline_s: Optional[float] = None, limit: int = 1 << 20, cwd: str = "/",
        log_fd: Optional[int] = None) -> Result:
    """Run argv to its end and return the Result; raises CommandError if it does not start.

    At the deadline the whole process group gets SIGTERM, after five more
    seconds SIGKILL: never give a deadline to what must not be cut short.
    """
    output = subprocess.PIPE if log_fd is None else log_fd
    try:
        process = subprocess.Popen(
            list(argv), env=dict(env), cwd=cwd, close_fds=True, start_new_session=True,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=output, stderr=output)
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else str(error)
        raise CommandError("%s: cannot be started: %s" % (argv[0], reason.lower())) from error
    end = None if deadline_s is None else time.monotonic() + deadline_s
    exchange = _Exchange(process, stdin, limit)
    in_time = exchange.work(end) and _waited(process, end)
    if not in_time:
        _stop(process)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
    returncode = process.poll()
    return Result(-signal.SIGKILL if returncode is None else returncode,
                  exchange.kept(process.stdout), exchange.kept(process.stderr),
                  not in_time, exchange.truncated)


class _Exchange:
    """Feeds standard input and drains both outputs until they end or time is up."""

    def __init__(self, process: "subprocess.Popen[bytes]", stdin: bytes, limit: int) -> None:
        self._process = process
        self._stdin = memoryview(stdin)
        self._limit = limit
        self._kept: Dict[int, bytearray] = {}
        self.truncated = False
        self._selector = selectors.DefaultSelector()
        if process.stdin:
            os.set_blocking(process.stdin.fileno(), False)
            self._selector.register(process.stdin, selectors.EVENT_WRITE)
        for stream in (process.stdout, process.stderr):
            if stream:
                self._kept[id(stream)] = bytearray()
                self._selector.register(stream, selectors.EVENT_READ)

    def kept(self, stream: object) -> bytes:
        """Return what was kept of an output."""
        return bytes(self._kept.get(id(stream), b""))

    def work(self, end: Optional[float]) -> bool:
        """Go on until all streams have ended; False when the time `end` came first.

        A child is finished when it exits: a daemon that it left behind may keep
        the pipes open for ever.
        """
        while self._selector.get_map():
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return False
            wait = 0.2 if left is None else min(0.2, left)
            ready = self._selector.select(wait)
            for key, _ in ready:
                if key.fileobj is self._process.stdin:
                    self._feed()
                else:
                    self._drain(key.fileobj)
            if not ready and self._process.poll() is not None:
                break
        self._selector.close()
        return True

    def _feed(self) -> None:
        stream = self._process.stdin
        assert stream is not None
        try:
            self._stdin = self._stdin[os.write(stream.fileno(), self._stdin[:65536]):]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._stdin = self._stdin[:0]
        if not self._stdin:
            self._selector.unregister(stream)
            stream.close()

    def _drain(self, stream: object) -> None:
        fd = stream.fileno()  # type: ignore[attr-defined]
        piece = os.read(fd, 65536)
        if not piece:
            self._selector.unregister(fd)
            return
        kept = self._kept[id(stream)]
        room = self._limit - len(kept)
        kept.extend(piece[:max(0, room)])
        self.truncated = self.truncated or len(piece) > room


def _waited(process: "subprocess.Popen[bytes]", end: Optional[float]) -> bool:
    try:
        process.wait(None if end is None else max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _stop(process: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            # Gone, or it has become another user: waiting below shows which.
            pass
        if _waited(process, time.monotonic() + GRACE_S):
            return
