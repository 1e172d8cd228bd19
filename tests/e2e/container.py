# SPDX-License-Identifier: BSD-2-Clause
"""A booted Debian in a container: overlay, network namespace, systemd as PID 1.

The root directory is an overlay over read-only layers: a fresh system takes no
time, and what a trial writes is gone with it. systemd-nspawn exits with 133 when the
container reboots; the container is then started again at once and the reboot is
counted. A time namespace per boot makes uptime and boot time look real inside.
The network is a namespace of its own with only a loopback interface, which outlives
the container's reboots. Only processes that were started here are ever ended.
"""

import os
import shutil
import signal
import subprocess
import threading
import time
import uuid
from typing import BinaryIO
from typing import Callable
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from tests.e2e import cgroups

REBOOT = 133  # exit code of systemd-nspawn --keep-unit, see systemd-nspawn(1)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POLL_S = 0.2
BOOT_S = 60.0


class ContainerError(Exception):
    """The container itself failed: not booted, no such process, a command that hangs."""


class Result(NamedTuple):
    """What a command in the container answered."""

    returncode: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams, for a message."""
        return "exit %d\n%s%s" % (self.returncode, self.out, self.err)


def wait_for(what: str, condition: Callable[[], object], timeout_s: float) -> object:
    """Return the first true value of `condition`; ContainerError after timeout_s seconds."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise ContainerError("waited %d s in vain: %s" % (timeout_s, what))
        time.sleep(POLL_S)


def call(argv: List[str]) -> None:
    """Run a command to its end; ContainerError with its output if it fails."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        output = done.stdout.decode("utf-8", "replace").strip()
        raise ContainerError("%s: exit %d: %s" % (" ".join(argv), done.returncode, output))


class Overlay:
    """Read-only layers with a writable directory on top, mounted at `root`."""

    def __init__(self, lowers: List[str], work: str) -> None:
        self.root = os.path.join(work, "root")
        self.upper = os.path.join(work, "upper")
        self._work = os.path.join(work, "overlay")
        self._lowers = lowers
        self._mounted = False

    def mount(self) -> None:
        """Mount it; the first of the layers is the topmost."""
        for path in (self.root, self.upper, self._work):
            os.makedirs(path, exist_ok=True)
        options = "lowerdir=%s,upperdir=%s,workdir=%s" % (
            ":".join(self._lowers),
            self.upper,
            self._work,
        )
        call(["mount", "-t", "overlay", "-o", options, "overlay", self.root])
        self._mounted = True

    def unmount(self) -> None:
        """Unmount it; harmless when it is not mounted."""
        if self._mounted:
            call(["umount", "-l", self.root])
            self._mounted = False


def prepare(root: str, name: str, script: str) -> str:
    """Run a shell script as root in the not booted tree `root`; its output, or ContainerError."""
    done = subprocess.run(
        ["systemd-nspawn", "-q", "-D", root, "-M", name, "--register=no", "--keep-unit"]
        + ["--private-network", "--resolv-conf=off", "--timezone=off", "--pipe"]
        + ["env", "-i", "PATH=" + PATH, "HOME=/root", "LC_ALL=C.UTF-8"]
        + ["DEBIAN_FRONTEND=noninteractive", "sh", "-ec", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=300,
    )
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        raise ContainerError("preparing the system failed: exit %d\n%s" % (done.returncode, output))
    return output


class Container:
    """One system with systemd as PID 1; start(), run() as often as needed, stop()."""

    def __init__(self, name: str, lowers: List[str], work: str, hostname: str) -> None:
        self.name = name
        self.work = work
        self.hostname = hostname
        self.overlay = Overlay(lowers, work)
        self.root = self.overlay.root
        self.events: List[Tuple[float, str]] = []
        self._console: Optional[BinaryIO] = None
        self._nspawn: Optional["subprocess.Popen[bytes]"] = None
        self._thread: Optional[threading.Thread] = None
        self._stopping = False
        self._stop_lock = threading.Lock()
        self._netns = False
        self._cgroups = cgroups.paths(name)

    # --- life ---------------------------------------------------------------------

    def create(self) -> None:
        """Mount the root directory and make the network; nothing runs yet."""
        self.overlay.mount()
        call(["ip", "netns", "add", self.name])
        self._netns = True
        for path in self._cgroups:
            os.makedirs(path, exist_ok=True)
        call(["ip", "-n", self.name, "link", "set", "lo", "up"])
        self.write("/etc/machine-id", uuid.uuid4().hex + "\n")
        short = self.hostname.split(".")[0]
        names = self.hostname if short == self.hostname else "%s %s" % (self.hostname, short)
        self.write("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 %s\n" % names)
        os.makedirs(os.path.join(self.root, "var/log/journal"), exist_ok=True)

    def start(self) -> None:
        """Boot and wait until systemd has finished starting."""
        self._console = open(os.path.join(self.work, "console.log"), "ab")  # noqa: SIM115
        self._thread = threading.Thread(target=self._keep_running, daemon=True)
        self._thread.start()
        self.wait_booted()

    def stop(self) -> None:
        """End every process of the container, unmount, remove the network; may be called twice."""
        with self._stop_lock:
            self._stop()

    def _stop(self) -> None:
        self._stopping = True
        if self._thread is not None:
            end = time.monotonic() + 30
            while self._thread.is_alive() and time.monotonic() < end:
                self._kill()
                self._thread.join(0.5)
        if self._console is not None:
            self._console.close()
        self.overlay.unmount()
        if self._netns:
            call(["ip", "netns", "del", self.name])
            self._netns = False
        for path in self._cgroups:
            if os.path.isdir(path):
                cgroups.remove(path)
        left = "/run/systemd/nspawn/propagate/" + self.name
        if os.path.isdir(left):  # nspawn does not remove it where /run is no tmpfs
            os.rmdir(left)

    def power_cut(self) -> None:
        """End every process at once, as a power failure does, then boot again."""
        self.power_off()
        self.power_on()

    def power_off(self) -> None:
        """End every process at once and stay down."""
        self._event("power cut")
        self._kill()
        if self._thread is not None:
            self._thread.join(30)

    def power_on(self) -> None:
        """Boot again."""
        self._thread = threading.Thread(target=self._keep_running, daemon=True)
        self._thread.start()
        self.wait_booted()

    def _kill(self) -> None:
        leader = self.leader()
        if leader:
            try:
                os.kill(leader, signal.SIGKILL)
            except ProcessLookupError:
                return
        elif self._nspawn is not None and self._nspawn.poll() is None:
            self._nspawn.kill()

    def _keep_running(self) -> None:
        while not self._stopping:
            uptime = int(time.clock_gettime(time.CLOCK_MONOTONIC))
            boottime = int(time.clock_gettime(7))  # CLOCK_BOOTTIME: no name before Python 3.7
            self._event("boot")
            self._nspawn = subprocess.Popen(
                ["sh", "-ec", cgroups.ENTER, "sh"]
                + self._cgroups
                + ["--", "setpriv", "--pdeathsig", "KILL"]
                + ["unshare", "--time", "--boottime", "-%d" % boottime]
                + ["--monotonic", "-%d" % uptime]
                + ["systemd-nspawn", "-D", self.root, "-M", self.name]
                + ["--hostname=" + self.hostname.split(".")[0], "--register=no", "--keep-unit"]
                + ["--network-namespace-path=/run/netns/" + self.name, "--resolv-conf=off"]
                + ["--timezone=off", "--link-journal=no", "--console=read-only", "-b"],
                stdin=subprocess.DEVNULL,
                stdout=self._console,
                stderr=subprocess.STDOUT,
            )
            code = self._nspawn.wait()
            if code != REBOOT:
                self._event("stopped" if self._stopping else "exit %d" % code)
                return
            self._event("reboot")

    def _event(self, what: str) -> None:
        self.events.append((time.time(), what))

    # --- questions ----------------------------------------------------------------

    @property
    def reboots(self) -> int:
        """How often the system asked for a reboot since start()."""
        return sum(1 for _, what in self.events if what == "reboot")

    @property
    def alive(self) -> bool:
        """Whether it runs or is just being started again."""
        return self._thread is not None and self._thread.is_alive()

    def leader(self) -> int:
        """The process id of the container's PID 1 as seen here; 0 if there is none."""
        nspawn = self._nspawn
        if nspawn is None or nspawn.poll() is not None:
            return 0
        try:
            with open("/proc/%d/task/%d/children" % (nspawn.pid, nspawn.pid), "rb") as file:
                children = file.read().split()
        except OSError:
            return 0
        return int(children[0]) if children else 0

    def boot_id(self) -> str:
        """The kernel's random id of this boot, as systemd inside tells it."""
        return self.run(["cat", "/proc/sys/kernel/random/boot_id"]).out.strip()

    def wait_booted(self, timeout_s: float = BOOT_S) -> None:
        """Wait until systemd says that it has started everything."""

        def booted() -> bool:
            if not self.alive:
                raise ContainerError("the container ended: %s" % self.events)
            leader = self.leader()
            if not leader or not os.path.exists("/proc/%d/root/run/systemd/system" % leader):
                return False
            state = self.run(["systemctl", "is-system-running"]).out.strip()
            return state in ("running", "degraded")

        wait_for("the system to boot", booted, timeout_s)

    # --- commands and files ---------------------------------------------------------

    def _enter(self, env: Dict[str, str]) -> List[str]:
        leader = self.leader()
        if not leader:
            raise ContainerError("no process to enter: %s" % self.events)
        clean = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8"}
        clean.update(env)
        words = ["%s=%s" % item for item in sorted(clean.items())]
        return (
            ["nsenter", "-t", str(leader), "-m", "-u", "-i", "-n", "-p", "-C", "-T", "-w"]
            + ["--", "env", "-i"]
            + words
        )

    def popen(
        self, argv: List[str], env: Optional[Dict[str, str]] = None
    ) -> "subprocess.Popen[bytes]":
        """Start argv in the container with pipes for all three streams."""
        return subprocess.Popen(
            self._enter(env or {}) + argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(
        self,
        argv: List[str],
        stdin: bytes = b"",
        timeout_s: float = 60.0,
        env: Optional[Dict[str, str]] = None,
    ) -> Result:
        """Run argv as root in the container and wait for it."""
        process = self.popen(argv, env)
        try:
            out, err = process.communicate(stdin, timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise ContainerError("%s: no end after %d s" % (" ".join(argv), timeout_s)) from None
        return Result(
            process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
        )

    def path(self, inside: str) -> str:
        """Where a file of the container lies here."""
        return os.path.join(self.root, inside.lstrip("/"))

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        """Write a text file, replacing what is there."""
        path = self.path(inside)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)

    def read(self, inside: str) -> str:
        """The text of a file; empty if there is none."""
        try:
            with open(self.path(inside), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def journal(self) -> str:
        """The journal of all boots, read from outside."""
        done = subprocess.run(
            ["journalctl", "-D", self.path("/var/log/journal"), "-o", "short-iso", "--no-pager"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.stdout.decode("utf-8", "replace")

    def copy_out(self, inside: str, target: str) -> None:
        """Copy a file or directory of the container to `target`; nothing if it is absent."""
        source = self.path(inside)
        if os.path.isdir(source):
            shutil.copytree(source, target, symlinks=True)
        elif os.path.isfile(source):
            shutil.copy(source, target)
