#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The quick start of README.md, taken from there and tried, see main() for the usage

A block of commands is tried if the line above it is `<!-- newcomer: NAME -->`. `clone`, to be
started in a container by newcomer.sh, runs the first block in fresh clones. `debian MACHINE
server|nginx` runs those for Debian as root in a fresh, booted one of that name that has no
make, no Python and no sudo before the first command installs them, with the embedded server
or with nginx. The two names that the README has its reader choose are in CHOICES; each is
told, and nothing else is substituted. A comment `until it says: WORDS` behind a command has
it repeated. Each command is shown with its line and its exit code; the first that fails ends
the trial with exit code 1. The other systems: newcomer_staged.py and newcomer_alpine.py.
"""

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

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from tests.e2e import aptrepo  # noqa: E402
from tests.e2e import container  # noqa: E402
from tests.e2e import realdebs  # noqa: E402
from tests.e2e import system as systems  # noqa: E402
from tests.e2e import tree  # noqa: E402

README = os.path.join(ROOT, "README.md")
SERVERS = ("server", "nginx")
ON_DEBIAN = ("manifest",) + SERVERS + ("debian", "look", "first-run")
STAGED = ("fedora", "suse", "arch", "alpine", "freebsd", "openbsd", "netbsd")
NAMES = ("try", "names") + ON_DEBIAN + STAGED
MOST = 5
UNTIL = re.compile(r"#.*\buntil it says: (.+)$")


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


def names(blocks: Dict[str, List[Command]], chosen: Dict[str, str]) -> str:
    """Return what the reader tells the shell first, with the names chosen; tells each change."""
    lines = []
    for command in blocks["names"]:
        name, _, rest = command.text.partition("=")
        value = rest.split()[0]
        ours = chosen.get(name, value)
        lines.append("%s=%s\n" % (name, ours))
        say("%s README.md:%d: %s=%s%s" % (
            "AS IT IS   " if ours == value else "SUBSTITUTED", command.line, name, value,
            "" if ours == value else " by %s=%s" % (name, ours)))
    if not set(chosen) <= {line.split("=")[0] for line in lines}:
        raise NotSo("README.md lets nobody choose %s" % sorted(chosen))
    return "".join(lines)


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


# --- Debian ------------------------------------------------------------------------------------

VICTIM = "e2e-victim"
MIRROR = "/srv/mirror"
CHECKOUT = "/root/qualvosec"
COMMAND_S = 300.0
# As the installer of Debian 12 writes it; with a domain the full name is before the short one.
HOSTS = """127.0.0.1\tlocalhost
127.0.1.1\t%s

# The following lines are desirable for IPv6 capable hosts
::1     localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""
PATCHING = "patching.example.org"
# What the reader chooses: nothing else, to try; a fleet's server, and a host of one's own, for
# nginx. The name of the machine is no choice of his.
CHOICES = {"server": {}, "nginx": {"server": "https://" + PATCHING, "host": "db7.example.net"}}
# What is in the place of a registrar, an authority and DNS, before the first command.
GIVEN = """GIVEN       a certificate for %s in /etc/ssl/qualvosec, of an authority that the machine
            trusts; the address of that name""" % PATCHING


def certify(folder: str) -> None:
    """Make an authority that a fresh system takes over, and a certificate for the server."""
    trusted = folder + "/usr/local/share/ca-certificates"
    target = folder + "/etc/ssl/qualvosec"
    os.makedirs(trusted)
    os.makedirs(target)
    with tempfile.TemporaryDirectory() as work:
        extensions = os.path.join(work, "extensions")
        with open(extensions, "w", encoding="ascii") as file:
            file.write("subjectAltName=DNS:%s\n" % PATCHING)
        own = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=trial" \
              " -keyout {work}/ca.key -out {trusted}/trial.crt"
        ask = "openssl req -newkey rsa:2048 -nodes -subj /CN={name}" \
              " -keyout {target}/privkey.pem -out {work}/request"
        sign = "openssl x509 -req -in {work}/request -CA {trusted}/trial.crt -CAkey {work}/ca.key" \
               " -CAcreateserial -days 2 -extfile {work}/extensions -out {target}/fullchain.pem"
        for command in (own, ask, sign):
            shell(command.format(
                work=work, trusted=trusted, target=target, name=PATCHING), work)
    os.chmod(target + "/privkey.pem", 0o600)


def packages_of(blocks: Dict[str, List[Command]]) -> List[str]:
    """Return what the README has apt-get install, and what python3 recommends."""
    words: List[str] = ["ca-certificates"]
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
    certify(folder)
    return folder


def debian(blocks: Dict[str, List[Command]], work: str, machine: str, server: str) -> None:
    """Run the blocks for Debian in a fresh one; NotSo at the first command that fails."""
    begin = time.monotonic()
    say("MACHINE     %s, with %s" % (machine, server.replace("server", "qualvosec-server")))
    chosen = names(blocks, CHOICES[server])
    box = container.Container("qve2e-%d-first" % os.getpid(),
                              [layer(blocks, work), tree.ensure("bare")], work, machine)
    try:
        box.create()
        full = "%s\t%s" % (machine, machine.split(".")[0]) if "." in machine else machine
        hosts = HOSTS % full
        if server == "nginx":
            say(GIVEN)
            hosts += "127.0.0.1 %s\n" % PATCHING
        box.write("/etc/hosts", hosts)
        box.start()
        ready = box.run(["sh", "-ec", "dpkg -i /usr/src/*.deb && apt-get -q update"], timeout_s=120)
        if ready.returncode != 0:
            raise NotSo("preparing the fresh system: " + ready.text)
        for tool in ("python3", "make", "sudo", "nginx"):
            if box.run(["sh", "-c", "command -v " + tool]).returncode == 0:
                raise NotSo("the fresh system has %s: it is not bare" % tool)
        for name in ON_DEBIAN:
            for command in blocks[name] if name not in SERVERS or name == server else ():
                run(box, name, command, chosen)
        version = box.run(["dpkg-query", "-W", "-f", "${Version}", VICTIM]).out
        if version != "1.1":
            raise NotSo("first-run: %s is %s: it was not patched" % (VICTIM, version))
        say("PASS %s, %s: %s was patched from 1.0 to 1.1: %.0f s in all" % (
            machine, server, VICTIM, time.monotonic() - begin))
    except BaseException:
        if os.path.isdir(box.path("/var/log/journal")):
            sys.stdout.write(box.journal()[-6000:] + "\n")
        raise
    finally:
        box.stop()


def run(box: container.Container, name: str, command: Command, chosen: str) -> None:
    """Run one command in the container, again and again if it says until when."""
    begin = time.monotonic()
    while True:
        done = box.run(["sh", "-ec", "cd %s\n%s%s" % (CHECKOUT, chosen, command.text)],
                       timeout_s=COMMAND_S, env={"DEBIAN_FRONTEND": "noninteractive"})
        waited = time.monotonic() - begin
        if not command.until or command.until in done.out or waited > COMMAND_S / 2:
            break
        time.sleep(1)
    say("exit %d, %5.1f s: %s: README.md:%d: %s" % (
        done.returncode, waited, name, command.line, bare(command.text)))
    if done.returncode != 0 or command.until not in done.out:
        raise NotSo("%s: README.md:%d: %s: %s" % (name, command.line, command.text, done.text))
    for line in done.out.splitlines()[-6:] if name in ("look", "first-run") else ():
        say("     " + line)


def main(argv: List[str]) -> int:
    """Do what the first word says; 0, 1 for a command that failed, 2 for usage."""
    try:
        blocks = read()
        if argv[1:] == ["clone"]:
            clone(blocks)
            return 0
        if argv[1:2] == ["debian"] and len(argv) == 4 and argv[3] in SERVERS:
            with tempfile.TemporaryDirectory(prefix="qualvosec-newcomer-") as work:
                os.chmod(work, 0o755)
                debian(blocks, work, argv[2], argv[3])
            return 0
    except NotSo as error:
        say("FAIL %s" % error)
        return 1
    sys.stderr.write("usage: newcomer.py clone | debian MACHINE server|nginx\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
