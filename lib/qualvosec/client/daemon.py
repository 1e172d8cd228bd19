# SPDX-License-Identifier: BSD-2-Clause
"""The resident daemon: `qualvosec [-c FILE]`, in the foreground, one thread.

It owns what a process needs and the engine does not know: the lock, signals,
the health listener, SIGHUP, and starting itself anew when its own files have
changed. SIGTERM ends the daemon, never a package run: the next start adopts it.
"""

import json
import os
import selectors
import signal
import socket
import sys
import time
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import files
from qualvosec import log
from qualvosec import paths
from qualvosec.client import config as configuration
from qualvosec.client import invocation
from qualvosec.client.config import Config
from qualvosec.client.config import ConfigError
from qualvosec.client.decide.statedir import StateError
from qualvosec.client.decide.statedir import check_owner
from qualvosec.client.decide.statedir import take_lock
from qualvosec.client.engine import Engine
from qualvosec.client.tell import health
from qualvosec.client.tell import packages
from qualvosec.client.tell.status import Snapshot
from qualvosec.command import FIXED_PATH
from qualvosec.command import Child
from qualvosec.command import CommandError
from qualvosec.manifest.window import WindowError
from qualvosec.safetext import safe

LONGEST_WAIT_S = 60.0
LOOK_EVERY_S = 6 * 3600.0
LOOK_S = 30.0
LOOK_ENV = {"PATH": FIXED_PATH, "LC_ALL": "C", "HOME": "/"}
MAX_LOOK = 65536
USAGE = ("usage: qualvosec [-c FILE] [--version]\n"
         "       qualvosec [-c FILE] once|status|policy|next|plan|configtest|reset [options]\n")


def main(argv: List[str]) -> int:
    """Run the daemon until SIGTERM; returns the exit status."""
    asked = invocation.read(argv)
    if asked.wrong:
        sys.stderr.write("%squalvosec: %s\n" % (USAGE, safe(asked.wrong)))
        return 2
    if asked.is_version:
        sys.stdout.write("qualvosec %s\n" % paths.VERSION)
        return 0
    path = os.path.abspath(asked.config or os.path.join(paths.CONFIG_DIR, "qualvosec.conf"))
    # A request to read the configuration again must not end what is only just reading it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        return Daemon(configuration.read(path)).run()
    except (ConfigError, WindowError) as error:
        return _end("%s" % error, 2)
    except StateError as error:
        return _end("%s" % error, error.code)
    except (files.FileError, CommandError) as error:
        return _end("%s" % error, 1)


def _end(text: str, code: int) -> int:
    log.critical("cannot start", reason=text)
    return code


class Fingerprint(NamedTuple):
    """What tells one state of our own program files from another."""

    files: Tuple[Tuple[str, int, int], ...]


def fingerprint() -> Fingerprint:
    """Return size and time of the launcher and every loaded module of ours."""
    names = {os.path.realpath(sys.argv[0])}
    for name, module in list(sys.modules.items()):
        if name.startswith("qualvosec"):
            names.add(getattr(module, "__file__", "") or "")
    found = []
    for name in sorted(names - {""}):
        try:
            info = os.stat(name)
        except OSError:
            # In the middle of an upgrade a file may be missing for a moment.
            found.append((name, -1, -1))
            continue
        found.append((name, info.st_mtime_ns, info.st_size))
    return Fingerprint(tuple(found))


def look_argv() -> List[str]:
    """Return the command of the child that looks for other tools (client/rivals/look.py)."""
    return [paths.PYTHON, "-IBS", os.path.join(paths.SBIN_DIR, "qualvosec"), "--rivals"]


class Lookout:
    """Which other tools patch this host: looked for by a child, at the start and later on.

    What it takes to look stays out of this process. A tool is logged when it is first seen.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.found: Tuple[str, ...] = ()
        self._selector = selector
        self._due = 0.0
        self._child: Optional[Child] = None

    def tick(self, now: float, setting: str) -> bool:
        """Do what is due at the monotonic time `now`; say whether the child is alive."""
        if setting == "ignore":
            self.found, self._due = (), 0.0
        elif self._child is None and now >= self._due:
            self._due = now + LOOK_EVERY_S
            try:
                self._child = Child(look_argv(), LOOK_ENV, self._selector, b"", LOOK_S, MAX_LOOK)
            except CommandError as error:
                log.warning("other tools cannot be looked for", reason=error)
        ended = self._child.poll() if self._child else None
        if ended is not None:
            self._child = None
            try:
                found = tuple("%s" % line for line in json.loads(ended.stdout.decode("ascii")))
            except (ValueError, TypeError):
                log.warning("other tools cannot be looked for", status=ended.returncode)
                return False
            for line in found:
                if line not in self.found:
                    log.warning("another tool patches this host", tool=line)
            self.found = found
        return self._child is not None


class Daemon:
    """The process around the engine: signals, lock, health, reload, re-exec."""

    def __init__(self, config: Config) -> None:
        """Prepare; raises StateError, WindowError or FileError."""
        check_owner(config.state_dir, "-c %s" % config.path)
        log.configure(config.log_handler, config.log_level)
        configuration.use_zone(config)
        self._selector = selectors.DefaultSelector()
        self._lock = take_lock(config.state_dir)
        self._engine = Engine(config, self._selector)
        self._lookout = Lookout(self._selector)
        self._health: Optional[health.Health] = None
        self._listen_again = 0.0
        self._stop = False
        self._reload = False
        self._own = self._changed = fingerprint()
        self._changed_at = 0.0
        self._listen(config)

    def _listen(self, config: Config) -> None:
        """Open the health listener. A host is patched without one, too: say so and try again.

        Otherwise whoever on this host takes the port first would keep it from being patched.
        """
        if self._health is not None:
            self._health.close()
            self._health = None
        before, self._engine.unheard = self._engine.unheard, ""
        if not config.monitoring:
            return
        hosts = config.monitoring_hosts + ((self._engine.fqdn,) if self._engine.fqdn else ())
        listener = health.Health(
            config.monitoring_listener, config.monitoring_port, hosts, self._snapshot,
            self._selector, packages=(lambda: packages.load(config.state_dir))
            if config.monitoring_packages else None)
        try:
            listener.register()
        except ConfigError as error:
            self._engine.unheard = "%s" % error
            self._listen_again = time.monotonic() + LONGEST_WAIT_S
            if self._engine.unheard != before:
                log.critical("monitoring is off", reason=error)
            return
        self._health = listener
        if before:
            log.info("monitoring is on again")

    def _watch_others(self) -> bool:
        return self._lookout.tick(time.monotonic(), self._engine.config.other_tools)

    def _snapshot(self) -> Snapshot:
        return self._engine.snapshot()._replace(other_tools=self._lookout.found)

    def _signals(self) -> socket.socket:
        """Make every signal wake the loop; return the socket that must be read."""
        reading, writing = socket.socketpair()
        reading.setblocking(False)
        writing.setblocking(False)
        signal.set_wakeup_fd(writing.detach())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._on_signal)
        # A client that went away must not end the daemon.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        return reading

    def _on_signal(self, number: int, frame: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop = True
        elif number == signal.SIGHUP:
            self._reload = True

    def run(self) -> int:
        """Work until SIGTERM or SIGINT; returns 0."""
        wakeup = self._signals()
        self._selector.register(wakeup, selectors.EVENT_READ, None)
        log.info("started", version=paths.VERSION, host=self._engine.fqdn or "unknown")
        self._warn()
        while not self._stop:
            if self._reload:
                self._reload = False
                self._read_again()
            if self._engine.unheard and time.monotonic() >= self._listen_again:
                self._listen(self._engine.config)
            wait = min(LONGEST_WAIT_S, self._engine.tick())
            if self._health is not None:
                self._health.expire()
                end = self._health.next_deadline()
                if end is not None:
                    wait = min(wait, end - time.monotonic())
            if not self._watch_others() and not self._engine.busy():
                self._renew()
            for key, mask in self._selector.select(max(0.0, wait)):
                if key.data is None:
                    _drain(wakeup)
                else:
                    key.data.handle(key, mask)
        self._engine.leave()
        log.info("stopped", host=self._engine.fqdn or "unknown")
        return 0

    def _read_again(self) -> None:
        """Take over a changed configuration; a bad one is refused and the old one stays."""
        old = self._engine.config
        try:
            new = configuration.read(old.path)
            if new.state_dir != old.state_dir:
                raise ConfigError("%s: state_dir: cannot change while running: restart" % old.path)
            configuration.use_zone(new)
        except (ConfigError, WindowError) as error:
            configuration.use_zone(old)
            log.error("reload refused", reason=error, effect="the old configuration stays")
            self._engine.config_fault = "%s" % error
            return
        log.configure(new.log_handler, new.log_level)
        self._engine.reconfigure(new)
        self._engine.fetch_now()  # whoever edits a manifest need not wait for the interval
        self._listen(new)
        log.info("reloaded", config=old.path)
        self._warn()

    def _warn(self) -> None:
        if self._engine.config.unguarded():
            log.warning("the manifest is not guarded", reason=self._engine.config.unguarded())

    def _renew(self) -> None:
        """Start anew when our own files have changed and then stayed the same for a minute.

        In the middle of an upgrade old and new files would be mixed.
        """
        now = fingerprint()
        if now != self._changed:
            self._changed, self._changed_at = now, time.monotonic()
        settled = time.monotonic() - self._changed_at >= LONGEST_WAIT_S
        if now == self._own or not settled or any(size < 0 for _, _, size in now.files):
            return
        log.info("own files have changed", effect="starting anew")
        self._engine.leave()
        # What is ignored stays ignored until the new program has its handlers.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            os.execv(sys.executable, [sys.executable, "-IBS"] + sys.argv)
        except OSError as error:
            raise CommandError("%s: cannot be started: %s" % (
                sys.executable, (error.strerror or "%s" % error).lower()))


def _drain(wakeup: socket.socket) -> None:
    try:
        while wakeup.recv(512):
            continue
    except BlockingIOError:
        return
