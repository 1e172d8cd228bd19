# SPDX-License-Identifier: BSD-2-Clause
"""The main job on this machine, for real and without changing anything: `make demo`.

Installs the programs into a temporary directory and starts them from there: the
embedded server with a manifest, the daemon with its health check, the administrator's
overview, and the client with a dry run against this machine's package manager, in a
window that is open. Nothing can be upgraded or rebooted: the daemon gets a manifest
whose window is tomorrow, the dry run starts nothing, the installed helper.conf forbids
everything but looking, and no way to root is configured.
"""

import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Sequence

from demo import ROOT
from demo import history
from demo import stage
from demo.stage import Children
from demo.stage import DemoError
from demo.stage import Door
from demo.stage import Signals
from demo.stage import Stopped
from demo.stage import say

DAY_S = 86400
COLUMNS = 77            # what is left of a line behind the indentation
MOST_PACKAGES = 10

CLIENT = """[general]
server: %(server)s
manifest: %(manifest)s
fqdn: %(fqdn)s
state_dir: %(folder)s/state
monitoring: enable
monitoring_port: %(port)d
privilege: socket
log_handler: FileHandler(%(folder)s/client.log)
log_level: INFO
# Nothing is patched here: what else patches this machine is no rival of the demonstration.
other_tools: ignore
"""
HELPER = """[general]
allow: check, status
allow_reboot: false
"""
ENTRY = """%(fqdn)s:
  patch: true
  reboot: required
  weekday: %(day)s
  hour: %(hour)d
  minute: %(minute)d
"""


class Scene(NamedTuple):
    """Where the demonstration plays."""

    folder: str
    children: Children
    fqdn: str
    port: int           # of the daemon's health check
    server: str         # URL

    def path(self, name: str) -> str:
        """Return the path of a file of the demonstration."""
        return os.path.join(self.folder, name)


class Running(NamedTuple):
    """A program that was started to show its output."""

    words: Sequence[str]
    process: "subprocess.Popen[bytes]"


def own_name() -> str:
    """Return a full name for this host, made up as far as it has none."""
    name = re.sub("[^a-z0-9.-]", "-", socket.gethostname().lower()).strip(".-")
    label = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
    if len(name) > 200 or not re.fullmatch("%s(?:[.]%s)*" % (label, label), name) \
            or not re.search("[a-z]", name):
        name = "this-host"
    return name if "." in name else name + ".example.org"


def entry(fqdn: str, opens: float) -> str:
    """Return this host's entry: its weekly window opens at `opens` (epoch seconds)."""
    local = time.localtime(opens)
    return ENTRY % {"fqdn": fqdn, "day": history.WEEKDAYS[local.tm_wday], "hour": local.tm_hour,
                    "minute": local.tm_min}


def write(path: str, text: str) -> None:
    """Put a file in place by rename, as a manifest should always be published."""
    with open(path + ".new", "w", encoding="utf-8") as handle:
        handle.write(text)
    os.rename(path + ".new", path)


def read(path: str) -> bytes:
    """Return what is in a file."""
    with open(path, "rb") as handle:
        return handle.read()


def place() -> str:
    """Return a new directory: where TMPDIR is no path for an installation or a socket, in /tmp."""
    base = os.path.realpath(tempfile.gettempdir())
    if not re.fullmatch("[A-Za-z0-9/._+@-]{1,60}", base):
        base = "/tmp"
    return os.path.realpath(tempfile.mkdtemp(prefix="qualvosec-demo-", dir=base))


def leave_root() -> None:
    """Go on as nobody where that user can reach all that is needed: nothing here needs root."""
    try:
        user = pwd.getpwnam("nobody")
    except KeyError:
        return
    needed = ((sys.executable, os.X_OK), (os.__file__, os.R_OK), (ROOT + "/Makefile", os.R_OK),
              (ROOT + "/lib/qualvosec/paths.py", os.R_OK), (tempfile.gettempdir(), os.W_OK))
    pid = os.fork()
    if pid == 0:
        try:
            become(user)
            os._exit(0 if all(os.access(path, mode) for path, mode in needed) else 1)
        finally:
            os._exit(1)
    if os.waitpid(pid, 0)[1] == 0:
        become(user)
        say("Nothing of it needs root: it goes on as user nobody.")


def become(user: pwd.struct_passwd) -> None:
    """Give up root for good."""
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def install(folder: str, children: Children) -> None:
    """Copy-install below `folder`; raises DemoError."""
    places = ["PREFIX=%s/usr" % folder, "SYSCONFDIR=%s/etc" % folder, "CONFDIR=%s/etc" % folder,
              "STATEDIR=%s/state" % folder, "HELPERSTATEDIR=%s/helper-state" % folder,
              "HELPERLOGDIR=%s/helper-log" % folder, "RUNDIR=%s/run" % folder, "SUDOERSDIR=",
              "UNITDIR=", "TRUST_PYTHON=yes", "PYTHON=" + sys.executable]
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    process = children.start([os.environ.get("MAKE", "make"), "install"] + places, cwd=ROOT,
                             env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = children.attend(process, "make install")
    if process.returncode:
        raise DemoError("the installation failed: " + "; ".join(output.split("\n")[-4:]))
    write(folder + "/etc/helper.conf", HELPER)
    for name in ("/www", "/state", "/run"):
        os.mkdir(folder + name, 0o700)


def program(folder: str, name: str) -> List[str]:
    """Return the start of a command; /tmp may be mounted so that nothing can be executed there."""
    return [sys.executable, "-IBS", "%s/usr/%s" % (folder, name)]


def begin(scene: Scene, *words: str, direct: bool = False) -> Running:
    """Start one of the installed programs, whose output will be shown.

    `direct`: it writes to the terminal itself, and sees how wide that is.
    """
    process = scene.children.start(
        program(scene.folder, "sbin/" + words[0]) + list(words[1:]), cwd=scene.folder,
        stdout=None if direct else subprocess.PIPE, stderr=subprocess.STDOUT)
    return Running(words, process)


def show(scene: Scene, running: Running, what: str = "") -> None:
    """Show a command and its output, which is waited for; `what` is that in words."""
    words = [word.replace(scene.folder, "DIR") for word in running.words]
    tell(textwrap.wrap("$ " + " ".join(words), COLUMNS - 2, subsequent_indent="    ",
                       break_long_words=False, break_on_hyphens=False), " \\")
    output = scene.children.attend(running.process, what or words[0])
    tell(shortened(output.replace(scene.folder, "DIR").splitlines()))
    say("   (exit code %d)" % running.process.returncode)


def title(text: str) -> None:
    """Print what comes next."""
    say("\n%s\n" % textwrap.fill(text, COLUMNS + 2, subsequent_indent="   ",
                                 break_on_hyphens=False))


def tell(lines: Sequence[str], between: str = "") -> None:
    """Print lines, indented; `between` ends all but the last."""
    for place, line in enumerate(lines, 1):
        say("   " + line + (between if place < len(lines) else ""))


def shortened(lines: Sequence[str]) -> List[str]:
    """Return the output of a program with at most ten pending packages, in lines that fit."""
    head = next((place for place, line in enumerate(lines)
                 if line.startswith("Package ") and "In this run" in line), len(lines))
    end = next((place for place in range(head, len(lines))
                if re.match(r"\S+: \d+ pending, ", lines[place])), len(lines))
    rows = [re.split(" {2,}", line, maxsplit=4) for line in lines[head:end]]
    table = fitted(rows[:MOST_PACKAGES + 1])
    if len(rows) > MOST_PACKAGES + 1:
        table.append("%s and %d more" % (stage.dots(), len(rows) - MOST_PACKAGES - 1))
    out = []
    for line in list(lines[:head]) + table + list(lines[end:]):
        out.extend(textwrap.wrap(line, COLUMNS, subsequent_indent="  ", break_on_hyphens=False)
                   if len(line) > COLUMNS else [line])
    return out


def fitted(rows: Sequence[Sequence[str]]) -> List[str]:
    """Return rows of cells as a table; the widest columns give way where it is too wide."""
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        return ["  ".join(row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    while sum(widths) + 2 * len(widths) - 2 > COLUMNS:
        widths[widths.index(max(widths))] -= 1
    mark = stage.dots()
    return ["  ".join((cell if len(cell) <= width else cell[:width - len(mark)] + mark).ljust(width)
                      for cell, width in zip(row, widths)).rstrip() for row in rows]


def start_server(folder: str, children: Children) -> str:
    """Start the embedded server on a port that the kernel chooses; returns its URL."""
    process = children.start(program(folder, "sbin/qualvosec-server") + [
        "--root", folder + "/www", "--port", "0", "--log-file", folder + "/access.log"],
        stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(rb" on (http://\S+)", line)
        if found:
            return found.group(1).decode("ascii")
    raise DemoError("the server did not start")


def ask_daemon(scene: Scene, door: Optional[Door]) -> bool:
    """Start the daemon, show what it says of itself, and end it; says whether it is healthy."""
    config = scene.path("client.conf")
    daemon = scene.children.start(program(scene.folder, "sbin/qualvosec") + ["-c", config])
    answer = stage.health(scene.port, lambda: door is None or door.answered > 0)
    show(scene, begin(scene, "qualvosec", "-c", config, "status"))
    tell(["GET http://127.0.0.1:%d/health" % scene.port])
    tell(shortened(answer.replace(scene.folder, "DIR").splitlines()))
    scene.children.stop(daemon)
    return answer.startswith("200")


def publish(scene: Scene, now: float) -> None:
    """Put manifests and configurations in place, those of the dry run beside the daemon's."""
    others = history.entries(int(now), scene.fqdn)
    for opens, manifest, config in ((now + DAY_S, "patch.yaml", "client.conf"),
                                    (now - 300, "now.yaml", "now.conf")):
        write(scene.path("www/" + manifest), entry(scene.fqdn, opens) + others)
        write(scene.path(config), CLIENT % {
            "server": scene.server, "manifest": manifest, "fqdn": scene.fqdn, "port": scene.port,
            "folder": scene.folder})


def manifest(scene: Scene) -> None:
    """Show the manifest."""
    title("2. patch.yaml is all that an administrator writes. Any web server will do for it; here "
          "it is qualvosec-server on %s:" % scene.server)
    lines = read(scene.path("www/patch.yaml")).decode("utf-8").splitlines()
    own = ENTRY.count("\n")
    tell(lines[:own])
    tell(["%s and %d more hosts, made up for step 5" % (
        stage.dots(), sum(not line.startswith(" ") for line in lines[own:]))])


def daemon(scene: Scene) -> None:
    """Show the daemon with and without its way to the helper."""
    with Door(scene.path("run/qualvosec-helper.sock"),
              program(scene.folder, "libexec/qualvosec/qualvosec-helper")) as door:
        title("3. The daemon on this host. It reaches its helper through a socket, as systemd "
              "would serve it. This helper may only look, and needs no root for that:")
        if not ask_daemon(scene, door):
            say("\n   Not healthy, and that is true of this machine. It says so, and why, where")
            say("   monitoring looks, instead of never being patched unseen.")
    title("4. The same daemon, with the socket taken away. A host that cannot be patched any more "
          "is loud about it, and names the remedy:")
    ask_daemon(scene, None)


def overview(scene: Scene, now: float, page: str) -> None:
    """Show the fleet as the administrator sees it, and leave the page."""
    write(scene.path("made-up.log"), history.log(int(now), scene.fqdn))
    words = ["--manifest", scene.path("www/patch.yaml"), "--log", scene.path("made-up.log"),
             scene.path("access.log")]
    title("5. The administrator's overview, out of the web server's access log alone. All hosts "
          "but %s, and their eight days of history, are MADE UP:" % scene.fqdn)
    show(scene, begin(scene, "qualvosec-admin", "list", *words, direct=True))
    say()
    tell(["%-17s %s" % (host.name, host.what) for host in history.FLEET
          if host.name != scene.fqdn])
    say()
    show(scene, begin(scene, "qualvosec-admin", "report", page, *words))


def run(folder: str, children: Children, page: str) -> None:
    """Show everything, one step after the other; raises DemoError."""
    title("1. The installation: make install, with every path below a new directory, DIR:")
    started = time.monotonic()
    install(folder, children)
    tell(["installed in %.1f s; nothing outside DIR was touched" % (time.monotonic() - started)])
    now = time.time()
    server = start_server(folder, children)
    scene = Scene(folder, children, own_name(), stage.free_port(), server)
    publish(scene, now)
    # Package managers take their time: this one may do so behind the other steps.
    pending = begin(scene, "qualvosec", "-c", scene.path("now.conf"), "once", "--dry-run")
    manifest(scene)
    # Its one request says nothing of the host, so that the overview wants a later one.
    stage.wait("the client", lambda: b"/now.yaml" in read(scene.path("access.log")))
    daemon(scene)
    overview(scene, now, page)
    title("6. What the client would do if the window had opened five minutes ago, asked of this "
          "machine's own package manager:")
    show(scene, pending, "the package manager")


def page_of(words: Sequence[str]) -> str:
    """Return the page that was asked for, else a new file in the directory for temporary files."""
    if words:
        return os.path.abspath(words[0])
    handle, path = tempfile.mkstemp(prefix="qualvosec-demo-", suffix=".html")
    os.close(handle)
    return path


def perform(words: Sequence[str], signals: Signals) -> int:
    """Run the demonstration and put everything away; returns the exit code."""
    if os.geteuid() == 0 and not words:
        leave_root()
    page = page_of(words)
    folder, children, done = place(), Children(signals), False
    try:
        signals.release()
        run(folder, children, page)
        done = True
    finally:
        signals.hold()
        children.end()
        shutil.rmtree(folder)
        if not words and not done:
            os.unlink(page)
    say("\nNothing was upgraded, and DIR is gone; it was\n%s" % folder)
    say("Left for you, to look at in a browser (make demo PAGE=FILE puts it elsewhere):")
    say(page)
    return 0


def main(words: Sequence[str]) -> int:
    """Run the demonstration; returns its exit code."""
    signals = Signals()
    # As the client does: it goes by the host's own zone, not by that of somebody's shell.
    os.environ.pop("TZ", None)
    time.tzset()
    try:
        say("QualvoSec on this machine, for real; nothing is changed; some ten seconds.")
        return perform(words, signals)
    except BrokenPipeError:
        # Whoever read has seen enough; the interpreter shall not complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (DemoError, OSError, subprocess.SubprocessError) as error:
        sys.stderr.write("demo: %s\n" % error)
        return 1
    except Stopped as stopped:
        sys.stderr.write("demo: stopped; nothing is left behind\n")
        return 128 + stopped.number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
