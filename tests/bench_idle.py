# SPDX-License-Identifier: BSD-2-Clause
"""Measure the resident daemon at rest: memory, and how often it wakes up.

Two daemons of a copy made by `make install`, byte-compiled, with monitoring on: one
with a manifest of two hosts, one with a manifest of 100,000 hosts. Both have fetched
and have no window for days. After ten minutes (SCALE=small: some seconds) the
resident set is compared with that of the bare interpreter, started with the same
flags, and the voluntary context switches of two more minutes are counted. Linux only.

The bounds: bare interpreter + 7 MB, two wake-ups a minute. The last line is the verdict.
"""

import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Dict
from typing import List
from typing import Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FQDN = "web01.example.org"
MANY = 100000
MAX_EXTRA_KB = 7 * 1024
MAX_WAKEUPS_A_MINUTE = 2.0
START_S = 60.0
Sizes = Tuple[Tuple[str, int], ...]


class BenchError(Exception):
    """The measurement itself failed; the message says why."""


def status_of(pid: int) -> Dict[str, str]:
    """The fields of /proc/PID/status."""
    try:
        with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as file:
            pairs = [line.split(":", 1) for line in file if ":" in line]
    except OSError:
        raise BenchError("process %d has ended" % pid) from None
    return {key: value.strip() for key, value in pairs}


def rss_kb(pid: int) -> int:
    """Resident set in KiB."""
    return int(status_of(pid)["VmRSS"].split()[0])


def wakeups(pid: int) -> int:
    """How often the process has gone to sleep by itself, which is how often it woke up."""
    return int(status_of(pid)["voluntary_ctxt_switches"])


def children(pid: int) -> List[str]:
    """Process ids of its children."""
    with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as file:
        return file.read().split()


def bare_interpreter_kb(python: str) -> int:
    """The resident set of an interpreter that does nothing, with the launcher's flags."""
    waiting = "import sys; sys.stdout.write('up'); sys.stdout.flush(); sys.stdin.read()"
    process = subprocess.Popen(
        [python, "-IBS", "-c", waiting], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.read(2)
        return rss_kb(process.pid)
    finally:
        process.communicate(b"", 10)


def install(prefix: str, python: str) -> str:
    """Copy-install below prefix; the path of the installed launcher."""
    command = ["make", "install-client", "PREFIX=" + prefix, "SYSCONFDIR=" + prefix + "/etc"]
    command += ["SUDOERSDIR=", "UNITDIR=", "PYTHON=" + python, "TRUST_PYTHON=yes"]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode != 0:
        output = done.stdout.decode("utf-8", "replace")
        raise BenchError("make install: exit %d\n%s" % (done.returncode, output))
    return os.path.join(prefix, "sbin", "qualvosec")


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def far_window() -> str:
    """Fields of a window that opens in three and a half days."""
    then = time.gmtime(time.time() + 84 * 3600)
    return "  patch: true\n  reboot: true\n  weekday: %d\n  hour: %d\n" % (
        then.tm_wday,
        then.tm_hour,
    )


def write_manifest(path: str, hosts: int) -> None:
    """A manifest with this many hosts; the measured one is the last."""
    fields = far_window()
    with open(path, "w", encoding="ascii") as file:
        for number in range(hosts - 1):
            file.write("host%06d.example.org:\n%s" % (number, fields))
        file.write("%s:\n%s" % (FQDN, fields))


class Files(http.server.BaseHTTPRequestHandler):
    """Serves the files of one directory, silently."""

    directory = ""

    def do_GET(self) -> None:
        """Answer with the file, or 404."""
        try:
            with open(os.path.join(self.directory, os.path.basename(self.path)), "rb") as file:
                body = file.read()
        except OSError:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def start_daemon(launcher: str, work: str, name: str, port: int) -> "subprocess.Popen[bytes]":
    """One daemon that asks for the manifest NAME.yaml."""
    state = os.path.join(work, "state-" + name)
    os.mkdir(state, 0o700)
    config = os.path.join(work, name + ".conf")
    with open(config, "w", encoding="ascii") as file:
        file.write(
            "[general]\nserver: http://127.0.0.1:%d\nmanifest: %s.yaml\nfqdn: %s\n"
            "monitoring: enable\nmonitoring_port: %d\nstate_dir: %s\n"
            "timezone: UTC\nlog_handler: FileHandler(%s)\nlog_level: INFO\n"
            % (port, name, FQDN, free_port(), state, os.path.join(work, name + ".log"))
        )
    return subprocess.Popen([launcher, "-c", config], stdin=subprocess.DEVNULL)


def wait_settled(process: "subprocess.Popen[bytes]", work: str, name: str) -> None:
    """Wait until the daemon has its policy and its fetch child has gone."""
    policy = os.path.join(work, "state-" + name, "policy.json")
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise BenchError("the daemon ended with %d" % process.returncode)
        if os.path.exists(policy) and not children(process.pid):
            return
        time.sleep(0.2)
    raise BenchError("no policy from %s.yaml after %d s" % (name, START_S))


def measure(work: str, settle_s: float, watch_s: float) -> bool:
    """Print the figures; whether they keep the bounds."""
    python = sys.executable
    launcher = install(os.path.join(work, "usr"), python)
    www = os.path.join(work, "www")
    os.mkdir(www)
    sizes: Sizes = (("small", 2), ("large", MANY))
    for name, hosts in sizes:
        write_manifest(os.path.join(www, name + ".yaml"), hosts)
    Files.directory = www
    server = http.server.HTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    daemons: Dict[str, "subprocess.Popen[bytes]"] = {}
    try:
        for name, _ in sizes:
            daemons[name] = start_daemon(launcher, work, name, server.server_address[1])
        for name, _ in sizes:
            wait_settled(daemons[name], work, name)
        bare = bare_interpreter_kb(python)
        time.sleep(settle_s)
        before = {name: wakeups(daemons[name].pid) for name in daemons}
        start = time.monotonic()
        time.sleep(watch_s)
        minutes = (time.monotonic() - start) / 60
        rates = {name: (wakeups(daemons[name].pid) - before[name]) / minutes for name in daemons}
        return report(bare, sizes, {n: rss_kb(p.pid) for n, p in daemons.items()}, rates)
    except BenchError:
        for name, _ in sizes:
            path = os.path.join(work, name + ".log")
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    sys.stderr.write(file.read()[-2000:])
        raise
    finally:
        for process in daemons.values():
            process.send_signal(signal.SIGTERM)
        for process in daemons.values():
            process.wait(30)
        server.shutdown()
        server.server_close()


def report(bare: int, sizes: Sizes, rss: Dict[str, int], rates: Dict[str, float]) -> bool:
    """Print one line per daemon; whether all bounds are kept."""
    print("bare interpreter %s -IBS: %.1f MB" % (sys.version.split()[0], bare / 1024))
    good = True
    for name, hosts in sizes:
        extra = rss[name] - bare
        fits = extra <= MAX_EXTRA_KB and rates[name] <= MAX_WAKEUPS_A_MINUTE
        good = good and fits
        print(
            "%6d hosts: daemon %.1f MB, that is bare + %.1f MB (at most + %.1f), ratio %.2f; "
            "%.1f wake-ups a minute (at most %.0f): %s"
            % (
                (hosts, rss[name] / 1024, extra / 1024, MAX_EXTRA_KB / 1024, rss[name] / bare)
                + (rates[name], MAX_WAKEUPS_A_MINUTE, "PASS" if fits else "FAIL")
            )
        )
    return good


def _terminate(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Measure at the scale that the environment asks for."""
    signal.signal(signal.SIGTERM, _terminate)  # the daemons are ended on the way out
    if not os.path.exists("/proc/self/status"):
        sys.stderr.write("bench_idle.py: no /proc: this measurement runs on Linux only\n")
        return 1
    small = os.environ.get("SCALE") == "small"
    work = tempfile.mkdtemp(prefix="qualvosec-bench-")
    try:
        good = measure(work, 5.0 if small else 600.0, 30.0 if small else 120.0)
    except BenchError as error:
        sys.stderr.write("bench_idle.py: %s\n" % error)
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("bench_idle.py: interrupted\n")
        return 1
    finally:
        shutil.rmtree(work)
    print("verdict: " + ("PASS" if good else "FAIL"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
