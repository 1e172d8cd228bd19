#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The README's commands for systems that are not here, as far as they can be tried.

Each block is checked against an installation below a directory of its own: targets, files,
services, and what the configuration says in the end. What only such a system can run is
told as NOT RUN.
"""

import glob
import os
import re
import shlex
import sys
import tempfile
import time
from typing import Dict
from typing import List
from typing import Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from tests import newcomer  # noqa: E402

# The first word of a command that only the system itself can run.
INSTALLERS = {"dnf", "zypper", "pacman", "apk", "pkg", "pkg_add", "pkgin"}
SERVICES = {"systemctl", "rc-update", "rc-service", "sysrc", "service", "rcctl"}
PLACES = {"freebsd": "usr/local/etc/rc.d", "openbsd": "etc/rc.d", "netbsd": "etc/rc.d",
          "alpine": "etc/init.d"}
UNITS = "usr/local/lib/systemd/system"
# What these systems have before anybody installs anything.
THEIRS = {"alpine": ("etc/doas.d/",), "openbsd": ("etc/doas.conf",), "netbsd": ("etc/rc.conf",)}


class Stage:
    """An installation as for one system, below a directory of its own."""

    def __init__(self, system: str, folder: str, chosen: str) -> None:
        self.system = system
        self.folder = folder
        self.chosen = chosen
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
            raise newcomer.NotSo("there is no %s" % missing[0])
        before = self._content()
        # As STAGING tells it.
        text = text.replace("sed -i ''", "sed -i")
        text = re.sub(r"(?<=[ >])/(?=usr/|etc/)", self.folder + "/", text)
        newcomer.shell(self.chosen + text, ROOT)
        if self._content() == before:
            raise newcomer.NotSo("it changes nothing")
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
            newcomer.shell(" ".join(["make", "-s"] + [shlex.quote(word) for word in ours] + [
                "BYTECODE=no", "PYTHON=" + shlex.quote(sys.executable),
                "DESTDIR=" + shlex.quote(self.folder)]), ROOT)
        if "install-users" not in words:
            return ""
        newcomer.shell("make -n install-users", ROOT)
        return "make install-users"

    def _service(self, words: List[str]) -> None:
        names = [word for word in words if word.startswith("qualvosec")]
        if not names:
            raise newcomer.NotSo("no service of ours is named")
        name = names[0].split("=")[0]
        place = PLACES.get(self.system)
        if place is None:
            if not self.there("%s/%s.service" % (UNITS, name)):
                raise newcomer.NotSo("there is no unit %s.service" % name)
            return
        script = os.path.join(self.folder, place, name.replace("_enable", ""))
        if not os.access(script, os.X_OK):
            raise newcomer.NotSo("%s is not there, or not executable" % script)
        if words[0] == "sysrc":
            with open(script, encoding="utf-8") as file:
                if 'rcvar="%s"' % name not in file.read():
                    raise newcomer.NotSo("%s: its rcvar is not %s" % (script, name))


    def configured(self) -> None:
        """Hold the client's configuration against the names that were chosen; newcomer.NotSo."""
        found = glob.glob(self.folder + "/**/qualvosec/qualvosec.conf", recursive=True)
        with open("".join(found), encoding="utf-8") as file:
            told = dict(re.findall(r"(?m)^(\w+): (.*)$", file.read()))
        wanted = dict(re.findall(r"(?m)^(\w+)=(.*)$", self.chosen))
        if (told["server"], told.get("fqdn")) != (wanted["server"], wanted["host"]):
            raise newcomer.NotSo("%s: has server %s and fqdn %s" % (
                found[0], told["server"], told.get("fqdn")))


STAGING = """STAGED      as on the systems themselves, but: /usr and /etc are in a directory of
            their own; make has DESTDIR=, PYTHON= and BYTECODE=no besides; GNU's sed -i for
            FreeBSD's -i ''"""


def staged(blocks: Dict[str, List[newcomer.Command]]) -> int:
    """Check the blocks of systems that are not here; the number of faults."""
    faults = 0
    newcomer.say(STAGING)
    chosen = newcomer.names(blocks, {})
    for system in newcomer.STAGED:
        begin = time.monotonic()
        left: List[Tuple[int, str]] = []
        with tempfile.TemporaryDirectory(prefix="qualvosec-newcomer-") as folder:
            stage = Stage(system, folder, chosen)
            for command in blocks[system]:
                try:
                    rest = stage.check(command.text)
                    if command == blocks[system][-1]:
                        stage.configured()
                except newcomer.NotSo as error:
                    newcomer.say("FAIL %s: README.md:%d: %s: %s" % (
                        system, command.line, command.text, error))
                    faults += 1
                    break
                if rest:
                    left.append((command.line, rest))
            else:
                newcomer.say("PASS %s: staged: targets, files, services: %.1f s" % (
                    system, time.monotonic() - begin))
        for line, rest in left:
            newcomer.say("SKIP %s: NOT RUN: README.md:%d: %s" % (system, line, rest))
    return faults


def main() -> int:
    """Check all of them; 0, or 1 for a fault."""
    try:
        return 1 if staged(newcomer.read()) else 0
    except newcomer.NotSo as error:
        newcomer.say("FAIL %s" % error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
