# SPDX-License-Identifier: BSD-2-Clause
"""One adapter for each package manager; all have the shape of managers.base.Manager.

The choice is made by what the system calls itself; of the adapters for that system the
first is taken whose program exists. `package_manager:` in helper.conf overrides it, but
not for a system whose packages come as one image. A system that no adapter serves is
`unsupported`, never guessed at. Only the adapter that is used is loaded: the others
would cost every run time and memory. Facts: os-release(5), uname(1).
"""

import importlib
import os
import re
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Sequence
from typing import Tuple
from typing import cast

from qualvosec import files
from qualvosec.helper.managers import base


class Kind(NamedTuple):
    """An adapter's module and class, the os-release names that mean it, its program."""

    module: str
    name: str
    systems: Tuple[str, ...]
    program: str
    tried: bool = True  # for real: see docs/package-managers.md

    def make(self, world: base.World) -> base.Manager:
        """Return the adapter."""
        module = importlib.import_module("qualvosec.helper.managers." + self.module)
        return cast(base.Manager, getattr(module, self.name)(world))


FEDORA = ("fedora", "rhel", "centos", "rocky", "almalinux", "ol", "amzn")
KINDS: Dict[str, Kind] = {
    "apt": Kind("apt", "Apt", ("debian", "ubuntu", "devuan"), "apt-get"),
    "dnf5": Kind("dnf", "Dnf5", FEDORA, "dnf5"),
    "dnf": Kind("dnf", "Dnf", FEDORA, "dnf"),
    "zypper": Kind("zypper", "Zypper", ("suse", "opensuse", "opensuse-leap", "sles"), "zypper"),
    "apk": Kind("apk", "Apk", ("alpine",), "apk"),
    "pacman": Kind("pacman", "Pacman", ("arch", "manjaro"), "pacman"),
    "pkg": Kind("pkg", "Pkg", ("freebsd",), "pkg", False),
    "openbsd": Kind("openbsd", "OpenBsd", ("openbsd",), "pkg_add", False),
    "pkgin": Kind("pkgin", "Pkgin", ("netbsd",), "pkgin", False),
    "dragonfly": Kind("pkg", "DragonFly", ("dragonfly",), "pkg", False),
}
# What is known and not served, and why: said instead of "no package manager".
UNSERVED = {
    "darwin": "macOS: softwareupdate cannot install updates unattended",
    "opensuse-microos": "a transactional system (transactional-update)",
    "opensuse-leap-micro": "a transactional system (transactional-update)",
    "opensuse-aeon": "a transactional system (transactional-update)",
    "opensuse-kalpa": "a transactional system (transactional-update)",
    "sle-micro": "a transactional system (transactional-update)",
    "sl-micro": "a transactional system (transactional-update)",
    "opensuse-tumbleweed": "its updates are whole distribution upgrades, which remove packages",
    "opensuse-slowroll": "its updates are whole distribution upgrades, which remove packages",
    "steamos": "packages come as one image",
    "nixos": "packages come from one configuration, not one by one",
}
EXPERIMENTAL = ("%s: experimental: tried against recorded answers of the real programs, not on "
                "such a system")
IMAGE_MARK = "run/ostree-booted"
IMAGE_BASED = "an image-based system (ostree, bootc)"
# What tells such a system where its root is read-only; elsewhere it may just be installed.
IMAGE_PROGRAMS = (("usr/sbin/transactional-update",
                   "a transactional system (transactional-update)"),
                  ("usr/bin/bootc", IMAGE_BASED), ("usr/bin/rpm-ostree", IMAGE_BASED),
                  ("usr/bin/abroot", "an image-based system (ABRoot)"),
                  ("usr/bin/frzr-deploy", "an image-based system (frzr)"))
READ_ONLY = ("/ or /usr is mounted read-only: packages come as one image, or a disk has failed; "
             "where neither is so, set package_manager in helper.conf")
# On these dnf is a guest, whatever installed it: ID, the first release that has it as its own.
YUM_3 = {"centos": 8, "rhel": 8, "ol": 8, "scientific": 8, "cloudlinux": 8, "amzn": 2022}


def _release(text: str) -> int:
    """Return the first number of VERSION_ID, 0 if there is none."""
    found = re.search(r"(?m)^VERSION_ID=[\"']?([0-9]{1,9})", text)
    return int(found.group(1)) if found else 0


def parse_os_release(text: str) -> List[str]:
    """Return ID and then the words of ID_LIKE, see os-release(5)."""
    fields = dict(line.strip().partition("=")[::2] for line in text.splitlines())
    words = [fields.get("ID", "")] + fields.get("ID_LIKE", "").strip("\"'").split()
    return [word.strip("\"'").lower() for word in words if word.strip("\"'")]


def choose(os_release: str, uname: str, override: str, world: base.World) -> base.Manager:
    """Return the adapter for this system; raises Unsupported with what the system is.

    `os_release` is the text of that file (empty where there is none), `uname`
    the kernel's name, `override` a key of KINDS or "auto".
    """
    systems = parse_os_release(os_release) if uname == "Linux" else [uname.lower()]
    own = systems[0] if systems else uname
    image = _image(world.root)
    if image:
        raise base.Unsupported("%s: not supported: %s" % (own, image))
    if 0 < _release(os_release) < YUM_3.get(own, 0):
        raise base.Unsupported("%s %d: not supported: its package manager is yum 3"
                               % (own, _release(os_release)))
    if override != "auto":
        return _first([override], world)
    # As the first process sees it: a daemon in a sandbox sees another root.
    if _read_only(world.root, "proc/1/mounts", ("/", "/usr")):
        raise base.Unsupported("%s: not supported: %s" % (own, READ_ONLY))
    for system in systems:
        if system in UNSERVED:
            raise base.Unsupported("%s: not supported: %s" % (own, UNSERVED[system]))
        family = [name for name, kind in KINDS.items() if system in kind.systems]
        if family:
            return _first(family, world)
    raise base.Unsupported("%s: no package manager of this system is supported (known: %s)"
                           % (own, ", ".join(sorted(KINDS))))


def _image(root: str) -> str:
    """Say which kind of image this system runs from, "" if its packages are single ones."""
    if os.path.exists(os.path.join(root, IMAGE_MARK)):
        return IMAGE_BASED
    kinds = [what for program, what in IMAGE_PROGRAMS
             if os.path.exists(os.path.join(root, program))]
    return kinds[0] if kinds and _read_only(root, "proc/mounts", ("/",)) else ""


def _read_only(root: str, mounts: str, places: Sequence[str]) -> bool:
    """Say whether one of the directories is mounted read-only, see proc(5)."""
    try:
        with open(os.path.join(root, mounts), encoding="utf-8", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return False
    # What is mounted last over a place counts.
    last = {row[1]: row[3].split(",") for row in rows if len(row) > 3}
    return any("ro" in last.get(place, ()) for place in places)


def _first(family: List[str], world: base.World) -> base.Manager:
    """Return the first adapter whose program exists; raises Unsupported if there is none."""
    missing = []
    for name in family:
        manager = KINDS[name].make(world)
        try:
            manager.program(KINDS[name].program)
        except base.Unsupported as error:
            missing.append(str(error))
            continue
        manager.fits()
        return manager
    if "dnf" in family and os.path.exists(os.path.join(world.root, "usr/bin/yum")):
        missing.append("yum 3 is not supported")
    raise base.Unsupported("; ".join(missing))


def of_this_system(override: str, world: base.World) -> base.Manager:
    """Return the adapter for the system below world.root; raises Unsupported."""
    try:
        # Usually a link into /usr/lib, see os-release(5).
        path = os.path.realpath(os.path.join(world.root, "etc/os-release"))
        os_release = files.read_bounded(path, 65536).decode("utf-8", "replace")
    except files.FileError:
        os_release = ""
    return choose(os_release, os.uname().sysname, override, world)


def about(override: str, world: base.World) -> Dict[str, str]:
    """Say why nothing can be installed on the system below world.root, or how far that is tried."""
    try:
        manager = of_this_system(override, world)
    except base.Unsupported as error:
        return {"reason": str(error)}
    if manager.name not in KINDS or KINDS[manager.name].tried:
        return {"reason": ""}
    return {"reason": "", "experimental": EXPERIMENTAL % manager.name}
