# SPDX-License-Identifier: BSD-2-Clause
"""A control group for each container.

systemd-nspawn --keep-unit makes its groups below the one it is started in: two
containers started in the same one would count each other's processes as their own,
and neither systemd could tell whether a unit is empty.
"""

import os
from typing import List

CGROUPS = "/sys/fs/cgroup"

# sh -ec ENTER sh DIRECTORY... -- COMMAND...: enter the groups, then become the command.
ENTER = """
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done
shift
exec "$@"
"""


def paths(name: str) -> List[str]:
    """Directories of a control group NAME below our own, in each hierarchy systemd uses."""
    found = []
    with open("/proc/self/cgroup", encoding="ascii") as file:
        for line in file:
            number, controllers, path = line.rstrip("\n").split(":", 2)
            if controllers == "name=systemd":
                top = os.path.join(CGROUPS, "systemd")
            elif number == "0":
                unified = os.path.join(CGROUPS, "unified")
                top = unified if os.path.isdir(unified) else CGROUPS
            else:
                continue
            found.append(os.path.join(top, path.lstrip("/"), name))
    return found


def remove(path: str) -> None:
    """Remove a control group and all below it, which must hold no process any more."""
    for folder, _, _ in os.walk(path, topdown=False):
        os.rmdir(folder)
