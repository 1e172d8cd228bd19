# SPDX-License-Identifier: BSD-2-Clause
"""The main job on this machine, for real and without changing anything: `make demo`.

Installs the programs into a temporary directory and starts them from there: the
embedded server with a manifest whose window for this host is open now, the client
with a dry run against this machine's package manager, the daemon with its health
check, and the administrator's overview. Nothing can be upgraded or rebooted: the dry
run starts nothing, the daemon gets a manifest whose window is tomorrow, and the
installed helper.conf forbids everything but looking.
"""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from typing import Dict
from typing import List
from typing import Optional

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEALTH_WAIT_S = 5.0
COMMAND_S = 60.0
DAY_S = 86400
PR_SET_NO_NEW_PRIVS = 38

CLIENT = """[general]
server: %(server)s
fqdn: %(fqdn)s
state_dir: %(state)s
monitoring: enable
monitoring_port: %(port)d
log_handler: FileHandler(%(folder)s/client.log)
log_level: INFO
"""
HELPER = """[general]
allow: check, status
allow_reboot: false
"""
MANIFEST = """%(fqdn)s:
  patch: true
  reboot: required
  weekday: %(day)s
  hour: %(hour)d
  minute: %(minute)d
db01.example.org:
  patch: true
  reboot: false
  weekday: Sunday
  hour: 3
legacy01.example.org:
  patch: false
"""
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class DemoError(Exception):
    """The demonstration cannot go on; the text is one line."""


def say(text: str = "") -> None:
    """Print a line at once: children write to the same terminal."""
    print(text, flush=True)


def own_name() -> str:
    """Return a full name for this host, made up where it has none."""
    name = re.sub("[^a-z0-9.-]", "-", socket.gethostname().lower()).strip(".-") or "this-host"
    return name if "." in name else name + ".example.org"


def manifest(fqdn: str, opens: float) -> str:
    """Return a manifest in which the host's weekly window opens at `opens` (epoch seconds)."""
    # As the client does: it goes by the host's own zone, not by that of somebody's shell.
    os.environ.pop("TZ", None)
    time.tzset()
    local = time.localtime(opens)
    return MANIFEST % {"fqdn": fqdn, "day": DAYS[local.tm_wday], "hour": local.tm_hour,
                       "minute": local.tm_min}


def write(path: str, text: str) -> None:
    """Put a file in place by rename, as a manifest should always be published."""
    with open(path + ".new", "w", encoding="utf-8") as handle:
        handle.write(text)
    os.rename(path + ".new", path)


def install(folder: str) -> None:
    """Copy-install below `folder`; raises DemoError."""
    places = ["PREFIX=%s/usr" % folder, "SYSCONFDIR=%s/etc" % folder, "CONFDIR=%s/etc" % folder,
              "STATEDIR=%s/state" % folder, "HELPERSTATEDIR=%s/helper-state" % folder,
              "HELPERLOGDIR=%s/helper-log" % folder, "SUDOERSDIR=", "UNITDIR=",
              "TRUST_PYTHON=yes", "PYTHON=" + sys.executable]
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    done = subprocess.run([os.environ.get("MAKE", "make"), "install"] + places, cwd=ROOT,
                          env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode:
        raise DemoError("the installation failed: " + done.stdout.decode("utf-8", "replace"))
    write(folder + "/etc/helper.conf", HELPER)
    for name in ("/www", "/state"):
        os.mkdir(folder + name, 0o700)


def gain_nothing() -> None:
    """Let no program started from here become root, in a child about to start (Linux)."""
    if os.geteuid() != 0 and sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def show(folder: str, *words: str) -> None:
    """Run one of the installed programs and show the command and its output."""
    say("   $ " + " ".join([words[0]] + [word.replace(folder, "DIR") for word in words[1:]]))
    done = subprocess.run([folder + "/usr/sbin/" + words[0]] + list(words[1:]), cwd=folder,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=COMMAND_S, preexec_fn=gain_nothing)
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        say("   " + line.replace(folder, "DIR"))
    say("   (exit code %d)" % done.returncode)


class Children:
    """What was started and has to end with the demonstration."""

    def __init__(self) -> None:
        self._running: List["subprocess.Popen[bytes]"] = []

    def start(self, argv: List[str], error: Optional[int] = None) -> "subprocess.Popen[bytes]":
        """Start a program in the background."""
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=error, preexec_fn=gain_nothing)
        self._running.append(process)
        return process

    def end(self) -> None:
        """End all of it, the newest first."""
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def start_server(children: Children, folder: str) -> str:
    """Start the embedded server on a free port and return its URL; raises DemoError."""
    process = children.start(
        [folder + "/usr/sbin/qualvosec-server", "--root", folder + "/www", "--port", "0",
         "--log-file", folder + "/access.log"], subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(rb" on (http://\S+)", line)
        if found:
            return found.group(1).decode("ascii")
    raise DemoError("the server did not start")


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def health(port: int) -> str:
    """Return status and body of /health as soon as the daemon has decided; raises DemoError."""
    url = "http://127.0.0.1:%d/health" % port
    # The environment's proxy, if any, does not know this loopback interface.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + HEALTH_WAIT_S
    answer = ""
    while time.monotonic() < end:
        try:
            with opener.open(url, timeout=5) as reply:
                return "200 %s" % reply.read().decode("utf-8", "replace").strip()
        except urllib.error.HTTPError as error:
            # Unhealthy: true in its first second, and where there is no rule for the helper.
            answer = "%d %s" % (error.code, error.read().decode("utf-8", "replace").strip())
        except OSError:
            answer = ""
        time.sleep(0.5)
    if not answer:
        raise DemoError("the daemon does not answer on %s" % url)
    return answer


def run(folder: str, children: Children) -> None:
    """Show everything, one step after the other; raises DemoError."""
    install(folder)
    fqdn, port = own_name(), free_port()
    published = folder + "/www/patch.yaml"
    write(published, manifest(fqdn, time.time() - 300))
    server = start_server(children, folder)
    settings: Dict[str, object] = {"server": server, "fqdn": fqdn, "state": folder + "/state",
                                   "port": port, "folder": folder}
    write(folder + "/client.conf", CLIENT % settings)

    say("1. The manifest, served by qualvosec-server on %s; the window of this host" % server)
    say("   opened five minutes ago:\n")
    with open(published, encoding="utf-8") as handle:
        say("   " + handle.read().rstrip().replace("\n", "\n   "))
    say("\n2. What the client would do now, against this machine's own package manager:\n")
    show(folder, "qualvosec", "-c", folder + "/client.conf", "once", "--dry-run")

    write(published, manifest(fqdn, time.time() + DAY_S))
    say("\n3. The daemon, with the window moved to tomorrow so that it has nothing to do:\n")
    children.start([folder + "/usr/sbin/qualvosec", "-c", folder + "/client.conf"],
                   subprocess.DEVNULL)
    answer = health(port)
    show(folder, "qualvosec", "-c", folder + "/client.conf", "status")
    say("\n   GET http://127.0.0.1:%d/health" % port)
    say("   " + answer.replace(folder, "DIR").replace("\n", "\n   "))
    if not answer.startswith("200"):
        say("   No sudo or doas rule lets this user start the helper as root: `make install` puts")
        say("   it in place. Until then the client says loudly that it cannot patch.")

    say("\n4. The administrator's overview, out of the server's access log:\n")
    show(folder, "qualvosec-admin", "list", "--manifest", published, "--log",
         folder + "/access.log")


def stop(number: int, frame: object) -> None:
    """Turn a signal into an exception, so that everything is put away."""
    raise KeyboardInterrupt


def main() -> int:
    """Run the demonstration; returns its exit code."""
    signal.signal(signal.SIGTERM, stop)
    folder = os.path.realpath(tempfile.mkdtemp(prefix="qualvosec-demo-"))
    children = Children()
    try:
        run(folder, children)
    except (DemoError, OSError, subprocess.SubprocessError) as error:
        print("demo: %s" % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    finally:
        children.end()
        shutil.rmtree(folder)
    say("\nNothing was installed, upgraded or left behind: DIR was %s." % folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
