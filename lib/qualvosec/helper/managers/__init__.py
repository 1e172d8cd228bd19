# SPDX-License-Identifier: BSD-2-Clause
"""One adapter for each package manager; all have the shape of managers.base.Manager.

The choice is made by what the system calls itself, then the program must exist;
`package_manager:` in helper.conf overrides it. A system that no adapter serves is
`unsupported`, never guessed at.
"""

import os
from typing import Callable
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Tuple

from qualvosec import files
from qualvosec.helper.managers import apt
from qualvosec.helper.managers import base


class Kind(NamedTuple):
    """An adapter, the os-release names that mean it, the program that must exist."""

    make: Callable[[base.World], base.Manager]
    systems: Tuple[str, ...]
    program: str


KINDS: Dict[str, Kind] = {
    "apt": Kind(apt.Apt, ("debian", "ubuntu", "devuan"), "apt-get"),
}


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
    found = [name for system in systems for name, kind in KINDS.items() if system in kind.systems]
    if override != "auto":
        found = [override]
    if not found:
        raise base.Unsupported("%s: no package manager of this system is supported (known: %s)"
                               % (systems[0] if systems else uname, ", ".join(sorted(KINDS))))
    kind = KINDS[found[0]]
    manager = kind.make(world)
    manager.program(kind.program)
    return manager


def of_this_system(override: str, world: base.World) -> base.Manager:
    """Return the adapter for the system below world.root; raises Unsupported."""
    try:
        # Usually a link into /usr/lib, see os-release(5).
        path = os.path.realpath(os.path.join(world.root, "etc/os-release"))
        os_release = files.read_bounded(path, 65536).decode("utf-8", "replace")
    except files.FileError:
        os_release = ""
    return choose(os_release, os.uname().sysname, override, world)
