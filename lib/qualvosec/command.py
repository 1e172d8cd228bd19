# SPDX-License-Identifier: BSD-2-Clause
"""Run one argv: fixed environment, own session, deadline, capped output.

Never a shell. The child gets /dev/null or the given bytes as standard input
and a session of its own, so that no script can ask on a terminal. Output is
always read to its end, also beyond the cap, because a full pipe would stop the
child; with `log_fd` it goes straight to that file instead and no pipe exists
that could break when this process dies. A child is finished when it exits, not
at the end of its output: a daemon that it left behind may keep the pipes open.
"""

import os
import selectors
import signal
import subprocess
import time
from typing import IO
from typing import Callable
from typing import Dict
from typing import List
from typing import Mapping
from typing import NamedTuple
from typing import Optional
from typing import Sequence

FIXED_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GRACE_S = 5.0
_POLL_S = 0.2
_SOON_S = 0.001     # a program that has closed its output is usually gone by then
_NAP_S = 0.05       # of what gives no sign of its end


class CommandError(Exception):
    """The program could not be started; the text is one line."""


class Result(NamedTuple):
    """How a command ended; a negative return code is the signal that ended it."""

    returncode: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool


class _Sink:
    """What is kept of one output."""

    def __init__(self, limit: int) -> None:
        self.pieces: List[bytes] = []
        self.size = 0
        self.limit = limit

    def add(self, piece: bytes) -> None:
        room = self.limit - min(self.size, self.limit)
        self.size += len(piece)
        if room:
            self.pieces.append(piece[:room])


class Child:
    """One running program inside somebody's selector loop.

    The owner calls `handle` for ready descriptors (the selector's data is this
    object) and `poll` after every wake-up. With a deadline the process group
    gets SIGTERM, five seconds later SIGKILL; without one it is never signalled.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str],
                 selector: selectors.BaseSelector, stdin: bytes = b"",
                 deadline_s: Optional[float] = None, limit: int = 1 << 20, cwd: str = "/",
                 log_fd: Optional[int] = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """Start argv; raises CommandError if that fails. `limit` is bytes kept of each output."""
        self._clock = clock
        self._end = None if deadline_s is None else clock() + deadline_s
        self._signals = 0
        self._selector = selector
        self._stdin = memoryview(stdin)
        self._out, self._err = _Sink(limit), _Sink(limit)
        self._result: Optional[Result] = None
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            # As a caller may leave it: then nobody could tell how a child has ended.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            self._process = subprocess.Popen(
                argv, env=env, cwd=cwd, bufsize=0, start_new_session=True,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE if log_fd is None else log_fd,
                stderr=subprocess.PIPE if log_fd is None else log_fd)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            number = getattr(error, "errno", None)
            reason = os.strerror(number) if number else str(error)
            raise CommandError("%s: cannot be started: %s" % (argv[0], reason.lower())) from error
        process = self._process
        self._open: Dict[int, IO[bytes]] = {
            stream.fileno(): stream for stream in (process.stdin, process.stdout, process.stderr)
            if stream is not None}
        for fd, stream in self._open.items():
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_WRITE if stream is process.stdin
                              else selectors.EVENT_READ, self)

    def handle(self, key: selectors.SelectorKey, mask: int) -> None:
        """Serve one ready descriptor."""
        if self._open[key.fd] is self._process.stdin:
            self._feed(key.fd)
        else:
            self._drain(key.fd)

    def _feed(self, fd: int) -> None:
        try:
            self._stdin = self._stdin[os.write(fd, self._stdin[:65536]):]
        except BlockingIOError:
            return
        except OSError:
            # The child does not want the rest; its exit status says why.
            self._stdin = self._stdin[:0]
        if not self._stdin:
            self._close(fd)

    def _drain(self, fd: int) -> bool:
        try:
            piece = os.read(fd, 65536)
        except BlockingIOError:
            return False
        if not piece:
            self._close(fd)
            return False
        (self._out if self._open[fd] is self._process.stdout else self._err).add(piece)
        return True

    def _close(self, fd: int) -> None:
        self._selector.unregister(fd)
        self._open.pop(fd).close()

    def poll(self) -> Optional[Result]:
        """Return the Result once the child has ended, else None; enforces the deadline."""
        if self._result is not None:
            return self._result
        if self._process.poll() is None and not self._given_up():
            return None
        for fd in list(self._open):
            if self._open[fd] is not self._process.stdin:
                while self._drain(fd):
                    continue
        returncode = self._process.returncode
        self.forget()
        self._result = Result(
            -signal.SIGKILL if returncode is None else returncode,
            b"".join(self._out.pieces), b"".join(self._err.pieces), self._signals > 0,
            max(self._out.size, self._err.size) > self._out.limit)
        return self._result

    def deadline(self) -> Optional[float]:
        """Return the monotonic time by which poll() wants to be called again, None for never."""
        return self._end

    def _given_up(self) -> bool:
        """Signal the group when it is time; True when it does not even die of SIGKILL."""
        if self._end is None or self._clock() < self._end:
            return False
        if self._signals == 2:
            return True
        number = (signal.SIGTERM, signal.SIGKILL)[self._signals]
        self._signals += 1
        self._end = self._clock() + GRACE_S
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            # Gone, or another user's by now: the next poll shows which.
            return False
        return False

    def forget(self) -> None:
        """Close our ends of the pipes; the child itself is left alone."""
        for fd in list(self._open):
            self._close(fd)
        if self._process.returncode is None:
            # Popen warns of what it takes for forgotten by mistake.
            self._process.returncode = -signal.SIGKILL


def run(argv: Sequence[str], env: Mapping[str, str], stdin: bytes = b"",
        deadline_s: Optional[float] = None, limit: int = 1 << 20, cwd: str = "/",
        log_fd: Optional[int] = None, watch: Callable[[], None] = lambda: None) -> Result:
    """Run argv to its end and return the Result; raises CommandError if it does not start.

    At the deadline (seconds) the whole process group gets SIGTERM, five seconds
    later SIGKILL: never give a deadline to what must not be cut short. `watch` is
    called several times a second while the program runs.
    """
    with selectors.DefaultSelector() as selector:
        child, nap = Child(argv, env, selector, stdin, deadline_s, limit, cwd, log_fd), _SOON_S
        while True:
            result = child.poll()
            if result is not None:
                return result
            watch()
            end = child.deadline()
            wait = _POLL_S if end is None else max(0.0, min(_POLL_S, end - time.monotonic()))
            if not selector.get_map():
                time.sleep(min(wait, nap))
                nap = min(2 * nap, _NAP_S)
            for key, mask in selector.select(wait) if selector.get_map() else ():
                child.handle(key, mask)
