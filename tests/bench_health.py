#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measure the health check of a real daemon while a package run is alive and neighbours flood it.

The daemon of a copy made by `make install` has started a run that does not end (a stand-in
for sudo answers nothing). GET /health is timed from connect to the last byte, a thousand
times for each load: nobody else; a thousand idle connections; a thousand half-sent requests;
a thousand that ask for the longest possible /packages and never read it.
The thousand are held throughout, two new ones taking the place of two old ones before
each request: the daemon drops the oldest, and would otherwise soon be left with none.

The bounds: p99 under 50 ms, resident set at most 2 MB larger than before. A load
is tried up to three times, because another program may need the processor; the best
counts. SCALE=small asks 500 times. Linux only. The last line is the verdict.
"""

import http.server
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import List
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "lib")]

from qualvosec.client.root.record import told_from_json  # noqa: E402
from qualvosec.client.tell import packages  # noqa: E402

from tests import bench_idle  # noqa: E402
from tests.fakes import RECORD  # noqa: E402
from tests.fakes import Edge  # noqa: E402

ASKS = 500 if os.environ.get("SCALE") == "small" else 1000
FLOOD = 1000
TRIES = 3
MAX_P99_MS = 50.0
MAX_GROWTH_KB = 2 * 1024
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAUNCH = """
import sys
sys.path[:0] = [%(lib)r]
from qualvosec.client.root import call
call._TOOLS = {"sudo": (%(folder)r + "/sudo",), "doas": ()}
from qualvosec.client.daemon import main
sys.exit(main(["-c", %(config)r]))
"""


class Figures(NamedTuple):
    """Milliseconds of one load, and how much the daemon grew, in KiB."""

    median: float
    p99: float
    worst: float
    growth: int


def start(work: str, folder: str, server_port: int, port: int, patch: str = "",
          more: str = "") -> "subprocess.Popen[bytes]":
    """Start the installed daemon with the stand-ins of `folder`; `patch` is run before it."""
    state = os.path.join(folder, "state")
    os.mkdir(state, 0o700)
    config = os.path.join(folder, "q.conf")
    with open(config, "w", encoding="ascii") as file:
        file.write(
            "[general]\nserver: http://127.0.0.1:%d\nfqdn: %s\nmonitoring: enable\n"
            "monitoring_port: %d\nstate_dir: %s\ntimezone: UTC\nprivilege: sudo\n"
            "log_handler: FileHandler(%s)\nlog_level: INFO\n%s"
            % (server_port, bench_idle.FQDN, port, state, os.path.join(folder, "log"), more))
    code = LAUNCH % {"lib": os.path.join(work, "usr", "share", "qualvosec"), "folder": folder,
                     "config": config}
    if patch:
        code = code.replace("sys.exit(", patch + "\nsys.exit(")
    return subprocess.Popen([sys.executable, "-IBS", "-c", code], stdin=subprocess.DEVNULL)


def ask(port: int) -> float:
    """Ask once; the milliseconds until the answer was whole. BenchError if it is none."""
    begin = time.perf_counter()
    data = b""
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        sock.sendall(GET)
        while True:
            piece = sock.recv(4096)
            if not piece:
                break
            data += piece
    took = (time.perf_counter() - begin) * 1000
    if not data.startswith(b"HTTP/1.1 200 ") or b"\r\n\r\nhealthy: true\n" not in data:
        raise bench_idle.BenchError("/health answered %r" % data[:400])
    return took


class Crowd:
    """So many connections that say nothing, or half a request."""

    def __init__(self, port: int, count: int, said: bytes) -> None:
        self.port = port
        self.said = said
        self.socks: List[socket.socket] = []
        for _ in range(count):
            self.join()

    def join(self) -> None:
        """Open one more."""
        sock = socket.create_connection(("127.0.0.1", self.port), 20)
        self.socks.append(sock)
        try:
            if self.said:
                sock.sendall(self.said)
        except OSError:
            return      # displaced already, as it may be

    def move(self) -> None:
        """Two new ones for the two oldest."""
        for _ in range(min(2, len(self.socks))):
            self.socks.pop(0).close()
            self.join()

    def leave(self) -> None:
        """Close all."""
        for sock in self.socks:
            sock.close()


def under(pid: int, port: int, count: int, said: bytes) -> Figures:
    """Measure with `count` other connections that have sent `said`."""
    before = bench_idle.rss_kb(pid)
    crowd = Crowd(port, count, said)
    took = []
    try:
        for _ in range(ASKS):
            crowd.move()
            took.append(ask(port))
        growth = bench_idle.rss_kb(pid) - before
    finally:
        crowd.leave()
    took.sort()
    return Figures(took[len(took) // 2], took[len(took) * 99 // 100], took[-1], growth)


def wait_for_run(process: "subprocess.Popen[bytes]", edge: Edge, port: int) -> None:
    """Wait until the run is alive and /health answers."""
    end = time.monotonic() + bench_idle.START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise bench_idle.BenchError("the daemon ended with %d" % process.returncode)
        if edge.calls("upgrade"):
            ask(port)
            return
        time.sleep(0.1)
    raise bench_idle.BenchError("no run was started within %d s" % bench_idle.START_S)


def open_window() -> str:
    """Entry of the host, its window opened a minute ago."""
    then = time.gmtime(time.time() - 60)
    return "%s:\n  patch: true\n  weekday: %d\n  hour: %d\n  minute: %d\n" % (
        bench_idle.FQDN, then.tm_wday, then.tm_hour, then.tm_min)


def measure(work: str) -> bool:
    """Print the figures; whether they keep the bounds."""
    bench_idle.install(os.path.join(work, "usr"), sys.executable)
    folder = os.path.join(work, "host")
    os.mkdir(folder)
    edge = Edge(folder)
    edge.answer("status")
    edge.answer("upgrade")
    edge.write("upgrade.hold", "")
    with open(os.path.join(folder, "patch.yaml"), "w", encoding="ascii") as file:
        file.write(open_window())
    bench_idle.Files.directory = folder
    server = http.server.HTTPServer(("127.0.0.1", 0), bench_idle.Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = bench_idle.free_port()
    process = start(work, folder, server.server_address[1], port,
                    more="monitoring_packages: enable\n")
    try:
        wait_for_run(process, edge, port)
        row = ["%0120d" % 0] * 3
        packages.keep(os.path.join(folder, "state"), told_from_json(dict(
            RECORD, window="20261124T0215Z", upgraded=[row] * 500, kept=[row[:2]] * 500), []))
        good = True
        for what, count, said in (("nobody else", 0, b""),
                                  ("%d idle connections" % FLOOD, FLOOD, b""),
                                  ("%d half-sent requests" % FLOOD, FLOOD, GET[:-10]),
                                  ("%d unread /packages" % FLOOD, FLOOD,
                                   GET.replace(b"health", b"packages"))):
            good = report(what, process.pid, port, count, said) and good
        if "stopped" in edge_log(folder) or not os.path.exists(folder + "/upgrade.hold"):
            raise bench_idle.BenchError("the run has ended")
        return good
    finally:
        os.unlink(os.path.join(folder, "upgrade.hold"))
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        server.shutdown()
        server.server_close()


def edge_log(folder: str) -> str:
    """What the daemon logged."""
    with open(os.path.join(folder, "log"), encoding="utf-8") as file:
        return file.read()


def report(what: str, pid: int, port: int, count: int, said: bytes) -> bool:
    """Measure one load, print its line; whether it keeps the bounds."""
    number, fits = 0, False
    while not fits and number < TRIES:
        number += 1
        found = under(pid, port, count, said)
        fits = found.p99 < MAX_P99_MS and found.growth < MAX_GROWTH_KB
    print("%-25s %d answers: median %.1f ms, p99 %.1f ms (under %.0f), worst %.1f ms; "
          "RSS %+.1f MB (under +%.0f): %s%s" % (
              what + ":", ASKS, found.median, found.p99, MAX_P99_MS, found.worst,
              found.growth / 1024, MAX_GROWTH_KB / 1024, "PASS" if fits else "FAIL",
              ", try %d" % number if number > 1 else ""), flush=True)
    return fits


def main() -> int:
    """Measure at the scale that the environment asks for."""
    if not os.path.exists("/proc/self/status"):
        sys.stderr.write("bench_health.py: no /proc: this measurement runs on Linux only\n")
        return 1
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FLOOD + 200
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            sys.stderr.write("bench_health.py: needs %d descriptors: ulimit -n\n" % wanted)
            return 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    work = tempfile.mkdtemp(prefix="qualvosec-bench-")
    try:
        good = measure(work)
    except bench_idle.BenchError as error:
        sys.stderr.write("bench_health.py: %s\n" % error)
        return 1
    finally:
        shutil.rmtree(work)
    print("verdict: " + ("PASS" if good else "FAIL"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
