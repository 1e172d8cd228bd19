#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The quick start of README.md, taken from there and tried: newcomer.py clone|staged|debian

A block of commands is tried if the line above it is `<!-- newcomer: NAME -->`. `clone`, to be
started in a container by newcomer.sh, runs the first block in fresh clones. `staged` checks
those of systems that are not here against an installation below a directory of its own:
targets, files, services; what only such a system can run is told as NOT RUN. `debian` runs
the others as root in a fresh, booted Debian that has no make, no Python and no sudo before
the first command installs them. A comment `until it says: WORDS` behind a command has it
repeated. The first command that fails is shown with its line; exit code 1.
"""

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from tests.e2e import aptrepo  # noqa: E402
from tests.e2e import container  # noqa: E402
from tests.e2e import realdebs  # noqa: E402
from tests.e2e import system as systems  # noqa: E402
from tests.e2e import tree  # noqa: E402

README = os.path.join(ROOT, "README.md")
ON_DEBIAN = ("server", "debian", "look", "first-run")
STAGED = ("fedora", "suse", "arch", "alpine", "freebsd", "openbsd", "netbsd")
NAMES = ("try",) + ON_DEBIAN + STAGED
MOST = 5
# What a newcomer puts in by himself.
OWN_NAMES = (("https://patching.example.org", "http://127.0.0.1:8080"),)
UNTIL = re.compile(r"#.*\buntil it says: (.+)$")
# The first word of a command that only the system itself can run.
INSTALLERS = {"dnf", "zypper", "pacman", "apk", "pkg", "pkg_add", "pkgin"}
SERVICES = {"systemctl", "rc-update", "rc-service", "sysrc", "service", "rcctl"}
PLACES = {"freebsd": "usr/local/etc/rc.d", "openbsd": "etc/rc.d", "netbsd": "etc/rc.d",
          "alpine": "etc/init.d"}
UNITS = "usr/local/lib/systemd/system"
# What these systems have before anybody installs anything.
THEIRS = {"alpine": ("etc/doas.d/",), "openbsd": ("etc/doas.conf",), "netbsd": ("etc/rc.conf",)}


class NotSo(Exception):
    """A command of the README that does not do what it is there for."""


class Command(NamedTuple):
    """One command of the README, the number of its line, and what it must say in the end."""

    line: int
    text: str
    until: str


def read(path: str = README) -> Dict[str, List[Command]]:
    """Return the marked blocks by name; NotSo if one is missing, empty, unknown or too long."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    blocks: Dict[str, List[Command]] = {}
    for number, line in enumerate(lines):
        marked = re.match(r"<!-- newcomer: (\S+) -->$", line)
        if not marked:
            continue
        name = marked.group(1)
        if name in blocks or name not in NAMES:
            raise NotSo("%s:%d: %s: is used twice or unknown" % (path, number + 1, name))
        if number + 1 >= len(lines) or lines[number + 1] != "```sh":
            raise NotSo("%s:%d: %s: no block of commands follows" % (path, number + 1, name))
        end = lines.index("```", number + 2)
        blocks[name] = [Command(place + 1, lines[place].strip(), _until(lines[place]))
                        for place in range(number + 2, end) if lines[place].strip()]
        if not 0 < len(blocks[name]) <= MOST:
            raise NotSo("%s:%d: %s: %d commands: there must be 1 to %d" % (
                path, number + 1, name, len(blocks[name]), MOST))
    missing = sorted(set(NAMES) - set(blocks))
    if missing:
        raise NotSo("%s: no block is marked %s" % (path, ", ".join(missing)))
    return blocks


def _until(line: str) -> str:
    found = UNTIL.search(line)
    return found.group(1) if found else ""


def bare(text: str) -> str:
    """Return a command without the comment behind it."""
    return text.split("  #")[0].rstrip()


def own(text: str) -> str:
    """Return a command with the names that a newcomer puts in by himself."""
    for theirs, ours in OWN_NAMES:
        text = text.replace(theirs, ours)
    return text


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def shell(text: str, cwd: str) -> str:
    """Run a command of a shell; its output, or NotSo."""
    done = subprocess.run(["sh", "-ec", text], cwd=cwd, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        raise NotSo("exit code %d\n%s" % (done.returncode, output))
    return output


# --- a fresh clone ---------------------------------------------------------------------------

LIMITS_S = {"make demo": 20, "make test": 120}


def clone(blocks: Dict[str, List[Command]]) -> None:
    """Run the first block in a clone, as an ordinary user and as root; only in a container."""
    shell("git config --system safe.directory '*' && useradd --create-home newcomer", "/")
    for user in ("newcomer", "root"):
        become = ["su", "-", user, "-c"]
        subprocess.run(become + ["git clone -q %s qualvosec" % shlex.quote(ROOT)], check=True)
        for command in blocks["try"]:
            text = bare(command.text)
            begin, before = time.monotonic(), os.times()
            done = subprocess.run(become + ["cd qualvosec && " + text], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            seconds, after = time.monotonic() - begin, os.times()
            output = done.stdout.decode("utf-8", "replace")
            told = "README.md:%d: %s as %s" % (command.line, text, user)
            if done.returncode != 0:
                raise NotSo("%s\n%s" % (told, output))
            sys.stdout.write("".join(output.splitlines(True)[-12:]))
            judge(told, seconds, sum(after[2:4]) - sum(before[2:4]), LIMITS_S[text])
        changed = subprocess.run(become + ["cd qualvosec && git status --porcelain"],
                                 stdout=subprocess.PIPE, check=True).stdout.decode("utf-8")
        if changed:
            raise NotSo("the commands left files in the checkout:\n" + changed)


def judge(told: str, seconds: float, processor: float, limit: int) -> None:
    """Hold the time against what the README promises, unless others had the processors."""
    figures = "%d s, %d s of processors" % (seconds, processor)
    if seconds <= limit:
        say("PASS %s: %s (at most %d s)" % (told, figures, limit))
    elif processor <= limit:
        say("PASS %s: %s" % (told, figures))
        say("SKIP %s: NOT CHECKED: at most %d s: the machine is busy" % (told, limit))
    else:
        raise NotSo("%s: good, but %s are more than %d s" % (told, figures, limit))


# --- systems that are not here ---------------------------------------------------------------


class Stage:
    """An installation as for one system, below a directory of its own."""

    def __init__(self, system: str, folder: str) -> None:
        self.system = system
        self.folder = folder
        for name in THEIRS.get(system, ()):
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if not name.endswith("/"):
                with open(path, "w", encoding="ascii"):
                    pass

    def there(self, name: str) -> bool:
        """Whether a file is in the stage."""
        return os.path.exists(os.path.join(self.folder, name.lstrip("/")))

    def check(self, text: str) -> str:
        """Try one command as far as that is possible; what was not run, or nothing."""
        left = [self._part(part.strip()) for part in text.split("&&")]
        return "; ".join(part for part in left if part)

    def _part(self, text: str) -> str:
        words = shlex.split(text, comments=True)
        if words[0] in INSTALLERS:
            return text
        if words[0] in SERVICES:
            self._service(words)
            return text
        if words[0] == "make":
            return self._make(words[1:])
        missing = [path for path in re.findall(r">>(/\S+)", text) if not self.there(path)]
        if missing:
            raise NotSo("there is no %s" % missing[0])
        before = self._content()
        # With GNU sed, and below the stage.
        text = own(text).replace("sed -i ''", "sed -i")
        shell(re.sub(r"(?<=[ >])/(?=usr/|etc/)", self.folder + "/", text), ROOT)
        if self._content() == before:
            raise NotSo("it changes nothing")
        return ""

    def _content(self) -> Dict[str, bytes]:
        found = {}
        for path in glob.glob(self.folder + "/**/etc/**", recursive=True):
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    found[path] = file.read()
        return found

    def _make(self, words: List[str]) -> str:
        """Install what is to be installed; the user can only be made on the system itself."""
        ours = [word for word in words if not word.startswith(("install-users", "PYTHON="))]
        if any(word.startswith("install") for word in ours):
            shell(" ".join(["make", "-s"] + [shlex.quote(word) for word in ours] + [
                "BYTECODE=no", "PYTHON=" + shlex.quote(sys.executable),
                "DESTDIR=" + shlex.quote(self.folder)]), ROOT)
        if "install-users" not in words:
            return ""
        shell("make -n install-users", ROOT)
        return "make install-users"

    def _service(self, words: List[str]) -> None:
        names = [word for word in words if word.startswith("qualvosec")]
        if not names:
            raise NotSo("no service of ours is named")
        name = names[0].split("=")[0]
        place = PLACES.get(self.system)
        if place is None:
            if not self.there("%s/%s.service" % (UNITS, name)):
                raise NotSo("there is no unit %s.service" % name)
            return
        script = os.path.join(self.folder, place, name.replace("_enable", ""))
        if not os.access(script, os.X_OK):
            raise NotSo("%s is not there, or not executable" % script)
        if words[0] == "sysrc":
            with open(script, encoding="utf-8") as file:
                if 'rcvar="%s"' % name not in file.read():
                    raise NotSo("%s: its rcvar is not %s" % (script, name))


def staged(blocks: Dict[str, List[Command]]) -> int:
    """Check the blocks of systems that are not here; the number of faults."""
    faults = 0
    for system in STAGED:
        begin = time.monotonic()
        left: List[Tuple[int, str]] = []
        with tempfile.TemporaryDirectory(prefix="qualvosec-newcomer-") as folder:
            stage = Stage(system, folder)
            for command in blocks[system]:
                try:
                    rest = stage.check(command.text)
                except NotSo as error:
                    say("FAIL %s: README.md:%d: %s: %s" % (
                        system, command.line, command.text, error))
                    faults += 1
                    break
                if rest:
                    left.append((command.line, rest))
            else:
                say("PASS %s: staged: targets, files, services: %.1f s" % (
                    system, time.monotonic() - begin))
        for line, rest in left:
            say("SKIP %s: NOT RUN: README.md:%d: %s" % (system, line, rest))
    return faults


# --- Debian ------------------------------------------------------------------------------------

FQDN = "web01.example.org"
VICTIM = "e2e-victim"
MIRROR = "/srv/mirror"
CHECKOUT = "/root/qualvosec"
COMMAND_S = 300.0


def packages_of(blocks: Dict[str, List[Command]]) -> List[str]:
    """Return what the README has apt-get install."""
    words: List[str] = []
    for name in ON_DEBIAN:
        for command in blocks[name]:
            if command.text.startswith("apt-get install "):
                words += [word for word in command.text.split()[2:] if not word.startswith("-")]
    return sorted(set(words))


def layer(blocks: Dict[str, List[Command]], work: str) -> str:
    """Make what the fresh Debian finds: its mirror, an old package, a checkout."""
    folder = os.path.join(work, "layer")
    packages = os.path.join(work, "packages")
    aptrepo.build(packages)
    aptrepo.publish(packages, "debian", realdebs.ensure("bare", *packages_of(blocks)))
    shutil.copytree(os.path.join(packages, "repo"), folder + MIRROR)
    for name in ("etc/apt/keyrings", "etc/dpkg/dpkg.cfg.d", "usr/src"):
        os.makedirs(os.path.join(folder, name))
    # A disk that is thrown away: no time for synchronizing every file.
    with open(folder + "/etc/dpkg/dpkg.cfg.d/unsafe-io", "w", encoding="ascii") as file:
        file.write("force-unsafe-io\n")
    shutil.copy(os.path.join(packages, "key.gpg"), folder + "/etc/apt/keyrings/e2e.gpg")
    shutil.copy(os.path.join(packages, "old", VICTIM + "_1.0_all.deb"), folder + "/usr/src")
    served = aptrepo.sources(80) + aptrepo.more_sources(80, "debian")
    with open(folder + "/etc/apt/sources.list", "w", encoding="ascii") as file:
        file.write(served.replace("http://127.0.0.1:80", "file:" + MIRROR))
    systems.copy_checkout(ROOT, folder + CHECKOUT)
    return folder


def debian(blocks: Dict[str, List[Command]], work: str) -> None:
    """Run the blocks for Debian in a fresh one; NotSo at the first command that fails."""
    box = container.Container("qve2e-%d-first" % os.getpid(),
                              [layer(blocks, work), tree.ensure("bare")], work, FQDN)
    try:
        box.create()
        box.start()
        ready = box.run(["sh", "-ec", "dpkg -i /usr/src/*.deb && apt-get -q update"], timeout_s=120)
        if ready.returncode != 0:
            raise NotSo("preparing the fresh system: " + ready.text)
        for tool in ("python3", "make", "sudo"):
            if box.run(["sh", "-c", "command -v " + tool]).returncode == 0:
                raise NotSo("the fresh system has %s: it is not bare" % tool)
        for name in ON_DEBIAN:
            for command in blocks[name]:
                run(box, name, command)
        version = box.run(["dpkg-query", "-W", "-f", "${Version}", VICTIM]).out
        if version != "1.1":
            raise NotSo("first-run: %s is %s: it was not patched" % (VICTIM, version))
        say("PASS first-run: %s was patched from 1.0 to 1.1" % VICTIM)
    except BaseException:
        if os.path.isdir(box.path("/var/log/journal")):
            sys.stdout.write(box.journal()[-6000:] + "\n")
        raise
    finally:
        box.stop()


def run(box: container.Container, name: str, command: Command) -> None:
    """Run one command in the container, again and again if it says until when."""
    text = own(command.text)
    begin = time.monotonic()
    while True:
        done = box.run(["sh", "-ec", "cd %s\n%s" % (CHECKOUT, text)], timeout_s=COMMAND_S,
                       env={"DEBIAN_FRONTEND": "noninteractive"})
        waited = time.monotonic() - begin
        if not command.until or command.until in done.out or waited > COMMAND_S / 2:
            break
        time.sleep(1)
    if done.returncode != 0 or command.until not in done.out:
        raise NotSo("%s: README.md:%d: %s: %s" % (name, command.line, text, done.text))
    say("PASS %s: README.md:%d: %s: %.1f s" % (
        name, command.line, bare(text), waited))
    for line in done.out.splitlines()[-6:] if name in ("look", "first-run") else ():
        say("     " + line)


def main(argv: List[str]) -> int:
    """Do what the first word says; 0, 1 for a command that failed, 2 for usage."""
    try:
        blocks = read()
        if argv[1:] == ["clone"]:
            clone(blocks)
            return 0
        if argv[1:] == ["staged"]:
            return 1 if staged(blocks) else 0
        if argv[1:] == ["debian"]:
            with tempfile.TemporaryDirectory(prefix="qualvosec-newcomer-") as work:
                os.chmod(work, 0o755)
                debian(blocks, work)
            return 0
    except NotSo as error:
        say("FAIL %s" % error)
        return 1
    sys.stderr.write("usage: newcomer.py clone|staged|debian\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
