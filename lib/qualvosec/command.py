# SPDX-License-Identifier: BSD-2-Clause
"""Run one argv: fixed environment, own session, deadline, capped output.

Never a shell. The child gets /dev/null or the given bytes as standard input
and a session of its own, so that no script can ask on a terminal. Output is
always read to its end, also beyond the cap, because a full pipe would stop the
child; with `log_fd` it goes straight to that file instead and no pipe exists
that could break when this process dies. A child is finished when it exits, not
at the end of its output: a daemon that it left behind may keep the pipes open.
"""

import errno
import fcntl
import os
import selectors
import signal
import time
from typing import Callable
from typing import Dict
from typing import List
from typing import Mapping
from typing import NamedTuple
from typing import Optional
from typing import Sequence
from typing import Tuple

FIXED_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GRACE_S = 5.0
_POLL_S = 0.2
_SOON_S = 0.001     # a program that has closed its output is usually gone by then
_MOST_FDS = 65536   # a soft limit may be a milliard: closing so many takes minutes
_LOST = 255         # what a child that somebody else has waited for is taken to have ended with


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


class _Process:
    """A started program: its id, and our ends of its three streams (-1: it has none of ours).

    The module subprocess would do, but costs the resident daemon half a megabyte. Between
    fork and exec the child calls nothing but the system: the process may have a second
    thread, whose locks the child would wait for in vain.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: str, feed: bool,
                 log_fd: Optional[int]) -> None:
        """Start argv; raises OSError or ValueError if that fails."""
        paths = [argv[0]] if "/" in argv[0] else [
            os.path.join(folder, argv[0]) for folder in env.get("PATH", FIXED_PATH).split(":")]
        words = [os.fsencode(word) for word in argv]
        pairs = {os.fsencode(key): os.fsencode(value) for key, value in env.items()}
        if any(b"\0" in word for word in words):
            raise ValueError("embedded null byte")
        self.returncode: Optional[int] = None
        ours, theirs = [-1, -1, -1], [-1, -1, -1]
        opened: List[int] = []
        try:
            for place in range(3):
                if place and log_fd is not None:
                    theirs[place] = log_fd
                elif place or feed:
                    ends = _pipe(opened)
                    ours[place], theirs[place] = ends if place else ends[::-1]
                else:
                    theirs[place] = _high(os.open("/dev/null", os.O_RDWR), opened)
            told, tell = _pipe(opened)
            self.pid = os.fork()
            if self.pid == 0:
                _become(paths, words, pairs, cwd, theirs, tell)
            _close(opened, [fd for fd in theirs if fd != log_fd] + [tell])
            fault = os.read(told, 16)
            if fault:
                os.waitpid(self.pid, 0)
                raise OSError(int(fault), os.strerror(int(fault)))
            _close(opened, [told])
        except BaseException:
            _close(opened, list(opened))
            raise
        self.stdin, self.stdout, self.stderr = ours

    def poll(self, options: int = os.WNOHANG) -> Optional[int]:
        """Return how it ended, None while it runs; a signal is a negative number."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, options)
            except ChildProcessError:
                pid, status = self.pid, _LOST << 8
            if pid:
                self.returncode = (-os.WTERMSIG(status) if os.WIFSIGNALED(status)
                                   else os.WEXITSTATUS(status))
        return self.returncode


def _high(fd: int, opened: List[int]) -> int:
    """Move a descriptor above the three streams, where dup2() cannot overwrite it."""
    if fd < 3:
        low, fd = fd, fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
        os.close(low)
    opened.append(fd)
    return fd


def _pipe(opened: List[int]) -> Tuple[int, int]:
    reader, writer = os.pipe()
    return _high(reader, opened), _high(writer, opened)


def _close(opened: List[int], which: List[int]) -> None:
    for fd in which:
        opened.remove(fd)
        os.close(fd)


def _become(paths: List[str], argv: List[bytes], env: Dict[bytes, bytes], cwd: str,
            streams: List[int], tell: int) -> None:
    """In the child: arrange everything and execute; tell the error number, never return."""
    try:
        os.setsid()
        for place in range(3):
            os.dup2(streams[place], place)
        os.closerange(3, tell)
        os.closerange(tell + 1, min(os.sysconf("SC_OPEN_MAX"), _MOST_FDS))
        os.chdir(cwd)
        # Python ignores these; what is ignored stays ignored in every descendant.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        fault = 0
        for path in paths:
            try:
                os.execve(path, argv, env)
            except (FileNotFoundError, NotADirectoryError) as error:
                fault = fault or error.errno or errno.EINVAL
            except OSError as error:
                fault = error.errno or errno.EINVAL
        os.write(tell, b"%d" % fault)
    except OSError as error:
        os.write(tell, b"%d" % (error.errno or errno.EINVAL))
    finally:
        os._exit(_LOST)


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
        try:
            self._process = _Process(argv, env, cwd, bool(stdin), log_fd)
        except (OSError, ValueError) as error:
            number = getattr(error, "errno", None)
            reason = os.strerror(number) if number else str(error)
            raise CommandError("%s: cannot be started: %s" % (argv[0], reason.lower())) from error
        process = self._process
        self._open = [fd for fd in (process.stdin, process.stdout, process.stderr) if fd >= 0]
        for fd in self._open:
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_WRITE if fd == process.stdin
                              else selectors.EVENT_READ, self)

    def handle(self, key: selectors.SelectorKey, mask: int) -> None:
        """Serve one ready descriptor."""
        if key.fd == self._process.stdin:
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
        (self._out if fd == self._process.stdout else self._err).add(piece)
        return True

    def _close(self, fd: int) -> None:
        self._open.remove(fd)
        self._selector.unregister(fd)
        os.close(fd)

    def poll(self) -> Optional[Result]:
        """Return the Result once the child has ended, else None; enforces the deadline."""
        if self._result is not None:
            return self._result
        if self._process.poll() is None and not self._given_up():
            return None
        for fd in list(self._open):
            if fd != self._process.stdin:
                while self._drain(fd):
                    continue
        self.forget()
        returncode = self._process.returncode
        self._result = Result(
            -signal.SIGKILL if returncode is None else returncode,
            b"".join(self._out.pieces), b"".join(self._err.pieces), self._signals > 0,
            max(self._out.size, self._err.size) > self._out.limit)
        return self._result

    def wait(self) -> None:
        """Sleep until the child has ended; for the owner of nothing else, who set no deadline."""
        self._process.poll(0)

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


def run(argv: Sequence[str], env: Mapping[str, str], stdin: bytes = b"",
        deadline_s: Optional[float] = None, limit: int = 1 << 20, cwd: str = "/",
        log_fd: Optional[int] = None) -> Result:
    """Run argv to its end and return the Result; raises CommandError if it does not start.

    At the deadline (seconds) the whole process group gets SIGTERM, five seconds
    later SIGKILL: never give a deadline to what must not be cut short.
    """
    with selectors.DefaultSelector() as selector:
        child, nap = Child(argv, env, selector, stdin, deadline_s, limit, cwd, log_fd), _SOON_S
        while True:
            result = child.poll()
            if result is not None:
                return result
            end = child.deadline()
            wait = _POLL_S if end is None else max(0.0, min(_POLL_S, end - time.monotonic()))
            if not selector.get_map():
                if end is None:
                    child.wait()
                else:
                    time.sleep(min(wait, nap))
                    nap = min(2 * nap, _POLL_S)
                continue
            for key, mask in selector.select(wait):
                child.handle(key, mask)
