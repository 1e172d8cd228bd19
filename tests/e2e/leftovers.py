# SPDX-License-Identifier: BSD-2-Clause
"""What an earlier run that was killed has left behind: found by its name, removed.

Everything that a run makes carries PREFIX-PID- in its name. What belongs to a
process that lives is never touched.
"""

import os
import shutil

from tests.e2e import cgroups
from tests.e2e import container


def sweep(prefix: str, directory: str) -> None:
    """Remove mounts and network namespaces PREFIX-PID-* whose process PID is no more."""

    def is_left_over(name: str) -> bool:
        words = name.split("-")
        if words[0] != prefix or len(words) < 2 or not words[1].isdigit():
            return False
        return not os.path.exists("/proc/" + words[1])

    with open("/proc/self/mounts", encoding="utf-8") as file:
        points = [line.split()[1] for line in file]
    for point in points:
        if point.startswith(directory + "/") and is_left_over(point[len(directory) + 1 :]):
            container.call(["umount", "-l", point])
    names = os.listdir("/run/netns") if os.path.isdir("/run/netns") else []
    for name in names:
        if is_left_over(name):
            container.call(["ip", "netns", "del", name])
    for name in os.listdir(directory):
        if is_left_over(name):
            shutil.rmtree(os.path.join(directory, name))
    for parent in {os.path.dirname(path) for path in cgroups.paths(prefix)}:
        for name in os.listdir(parent):
            if is_left_over(name):
                cgroups.remove(os.path.join(parent, name))
