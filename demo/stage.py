# SPDX-License-Identifier: BSD-2-Clause
"""What the demonstration plays on: its lines, its children, the helper's socket, its ends.

No stretch is silent: whoever waits for a child says so from time to time.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Any
from typing import Callable
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Sequence
from typing import Set
from typing import Type

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
PATIENCE_S = 1.2        # of a reader who sees nothing happen
LONGEST_WAIT_S = 10.0
POLL_S = 0.2
COMMAND_S = 60.0
END_S = 10.0
SOON_S = 0.02


class DemoError(Exception):
    """The demonstration cannot go on; the text is one line."""


class Stopped(BaseException):
    """A signal has come: everything is to be put away."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """Turns signals into Stopped, but for times when what is begun has to be noted first."""

    def __init__(self) -> None:
        self._is_held = True
        self._came = 0
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        self._came = number
        if not self._is_held:
            raise Stopped(number)

    def hold(self) -> None:
        """Let signals wait from now on."""
        self._is_held = True

    def release(self) -> None:
        """Let signals in again, one that has waited at once; raises Stopped."""
        self._is_held = False
        if self._came:
            raise Stopped(self._came)


def say(text: str = "") -> None:
    """Print a line at once: children write to the same terminal."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def dots() -> str:
    """Return an ellipsis as this terminal can show it."""
    try:
        "\u2026".encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return "..."
    return "\u2026"


class Waiting:
    """Says what is waited for, whenever nothing was said for a while."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._begin = self._said = time.monotonic()

    def seconds(self) -> float:
        """Return for how long it has been waited."""
        return time.monotonic() - self._begin

    def tick(self) -> None:
        """Say it if it is time."""
        if time.monotonic() - self._said >= PATIENCE_S:
            self._said = time.monotonic()
            say("   %s waiting for %s, %d s" % (dots(), self._what, self.seconds()))


class Children:
    """What was started and has to end with the demonstration, each with its descendants."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._running: List["subprocess.Popen[bytes]"] = []

    def start(self, argv: Sequence[str], **more: Any) -> "subprocess.Popen[bytes]":
        """Start a program; where nothing else is said it is heard and sees nothing."""
        settings = dict({"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}, **more)
        self._signals.hold()
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True,
                                   **settings)
        self._running.append(process)
        self._signals.release()
        return process

    def attend(self, process: "subprocess.Popen[bytes]", what: str) -> str:
        """Wait for the end of a program and return its output; raises DemoError."""
        waiting = Waiting(what)
        while waiting.seconds() < COMMAND_S:
            try:
                output = process.communicate(timeout=POLL_S)[0]
                self._running.remove(process)
                return (output or b"").decode("utf-8", "replace")
            except subprocess.TimeoutExpired:
                waiting.tick()
        raise DemoError("%s: no end after %d s" % (what, COMMAND_S))

    def stop(self, process: "subprocess.Popen[bytes]") -> None:
        """End one of them and all that it has started, in sessions of their own or not."""
        family: Set[int] = set()
        for number in (signal.SIGTERM, signal.SIGKILL):
            told: Set[int] = set()
            end = time.monotonic() + END_S
            while time.monotonic() < end:
                family = kin(family | {process.pid})
                if process.poll() is not None and not family - {process.pid}:
                    break
                for pid in family - told:
                    _signal(pid, number)
                told |= family
                time.sleep(SOON_S)
        process.wait()
        self._running.remove(process)

    def end(self) -> None:
        """End all of them, the newest first."""
        for process in self._running[::-1]:
            self.stop(process)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        # It has ended by itself.
        return


class Process(NamedTuple):
    """One process of this machine."""

    parent: int
    group: int


def processes() -> Dict[int, Process]:
    """Return the processes of this machine, without those that have ended."""
    rows: List[List[str]] = []
    if sys.platform.startswith("linux"):
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/stat" % name, encoding="utf-8", errors="replace") as file:
                    rows.append([name] + file.read().rpartition(")")[2].split()[:3])
            except OSError:
                # It has ended meanwhile.
                continue
    else:
        argv = ["ps", "-A", "-o", "pid=", "-o", "state=", "-o", "ppid=", "-o", "pgid="]
        told = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
        rows = [line.split() for line in told.decode("ascii", "replace").splitlines()]
    return {int(pid): Process(int(parent), int(group)) for pid, state, parent, group in rows
            if not state.startswith("Z")}


def kin(known: Set[int]) -> Set[int]:
    """Return who is alive of these processes, of their groups, and of what all of them started."""
    found, alive = set(known), processes()
    while True:
        more = {pid for pid, process in alive.items()
                if process.parent in found or process.group in found} - found
        if not more:
            return found & alive.keys()
        found |= more


class Door:
    """The helper's socket as systemd serves it: one helper for each connection."""

    def __init__(self, path: str, argv: Sequence[str]) -> None:
        self.answered = 0
        self._path = path
        self._argv = argv
        self._open = True
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        os.chmod(path, 0o600)
        self._listener.listen(8)
        self._listener.settimeout(POLL_S)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "Door":
        self._thread.start()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: object, trace: object) -> None:
        self.close()

    def _serve(self) -> None:
        while self._open:
            try:
                peer = self._listener.accept()[0]
            except socket.timeout:
                continue
            with peer:
                peer.settimeout(None)
                try:
                    subprocess.run(self._argv, stdin=peer.fileno(), stdout=peer.fileno(),
                                   stderr=subprocess.DEVNULL, timeout=END_S)
                except subprocess.TimeoutExpired:
                    # The daemon gets no answer and says so.
                    continue
            self.answered += 1

    def close(self) -> None:
        """Take the socket away."""
        self._open = False
        if os.path.exists(self._path):
            os.unlink(self._path)
        self._thread.join()
        self._listener.close()


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait(what: str, is_done: Callable[[], bool]) -> bool:
    """Wait until something is so, for a while; says whether it is."""
    waiting = Waiting(what)
    while waiting.seconds() < LONGEST_WAIT_S:
        if is_done():
            return True
        time.sleep(POLL_S)
        waiting.tick()
    return False


def health(port: int, is_asked: Callable[[], bool]) -> str:
    """Return status and body of /health once the daemon has made up its mind; raises DemoError.

    `is_asked`: has the helper answered it? Then, and when a manifest is there, an answer
    that is given twice stands.
    """
    answers = [""]

    def is_settled() -> bool:
        answers.append(_get("http://127.0.0.1:%d/health" % port) if is_asked() else "")
        return (bool(answers[-1]) and answers[-1] == answers[-2]
                and "no manifest has been" not in answers[-1])
    if not wait("the daemon's first decision", is_settled) and not answers[-1]:
        raise DemoError("the daemon does not answer on port %d" % port)
    return answers[-1]


def _get(url: str) -> str:
    # The environment's proxy, if any, does not know this loopback interface.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as reply:
            return "200 %s" % reply.read().decode("utf-8", "replace").strip()
    except urllib.error.HTTPError as error:
        return "%d %s" % (error.code, error.read().decode("utf-8", "replace").strip())
    except OSError:
        return ""
