# SPDX-License-Identifier: BSD-2-Clause
"""Whether a Linux host runs another kernel than the one it would boot.

Plain Debian never says that a reboot is required, so the kernels in /boot are
compared with the running one: same flavour, higher version, or the file of the
running one replaced since boot. A container never boots a kernel of its own and a
host without /boot or /lib/modules has none that could be compared: not due.
"""

import os
import re
from typing import List
from typing import Optional
from typing import Tuple

_CONTAINER_MARKS = ("run/systemd/container", ".dockerenv", "run/.containerenv")
_PREFIXES = ("vmlinuz-", "vmlinux-")


def reasons(root: str, release: str) -> List[str]:
    """Return why the kernel asks for a reboot; `release` is that of the running one."""
    if in_container(root):
        return []
    boot = os.path.join(root, "boot")
    if not os.path.isdir(boot) or not os.path.isdir(os.path.join(root, "lib/modules")):
        return []
    installed = {name[len(prefix):]: name for name in sorted(os.listdir(boot))
                 for prefix in _PREFIXES if name.startswith(prefix)}
    newer = [other for other in installed if is_newer(other, release)]
    if newer:
        newest = max(newer, key=_key)
        return ["kernel %s is running, %s is installed" % (release, newest)]
    if release in installed and _replaced(root, os.path.join(boot, installed[release])):
        return ["kernel %s was replaced since boot" % release]
    return []


def in_container(root: str) -> bool:
    """Say whether this system boots no kernel of its own."""
    return any(os.path.exists(os.path.join(root, mark)) for mark in _CONTAINER_MARKS)


def modules_gone(root: str, release: str) -> List[str]:
    """Return why a reboot is due where a new kernel takes the place of the running one."""
    folders = [os.path.join(root, name) for name in ("lib/modules", "usr/lib/modules")]
    there = [name for name in folders if os.path.isdir(name) and os.listdir(name)]
    if in_container(root) or not there:
        return []
    if any(os.path.isdir(os.path.join(name, release)) for name in there):
        return []
    return ["kernel %s is running, its modules have been replaced" % release]


def boot_time(root: str) -> Optional[int]:
    """Return the epoch second at which this system, also a container, started; None if unknown."""
    try:
        with open(os.path.join(root, "proc/stat"), encoding="ascii", errors="replace") as file:
            booted = [int(line.split()[1]) for line in file if line.startswith("btime ")]
    except (OSError, ValueError):
        return None
    if not booted:
        return None
    try:
        with open(os.path.join(root, "proc/1/stat"), encoding="ascii", errors="replace") as file:
            # The 22nd field, counted behind the name, which may hold blanks: see proc(5).
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return booted[0]
    return booted[0] + ticks // os.sysconf("SC_CLK_TCK")


def is_newer(other: str, running: str) -> bool:
    """Say whether `other` is a later kernel of the flavour that is running."""
    return flavour(other) == flavour(running) and _key(other) > _key(running)


def flavour(release: str) -> str:
    """Return the words at the end of a kernel release: "cloud-amd64", "generic"; or nothing."""
    words = release.split("-")
    while words and not words[0][:1].isalpha():
        words.pop(0)
    return "-".join(words)


def _key(release: str) -> List[Tuple[int, int, str]]:
    return [(1, int(part), "") if part.isdigit() else (0, 0, part)
            for part in re.findall(r"[0-9]+|[a-z~]+", release)]


def _replaced(root: str, image: str) -> bool:
    try:
        with open(os.path.join(root, "proc/stat"), encoding="ascii", errors="replace") as file:
            booted = [line for line in file if line.startswith("btime ")]
        # The change time is when the file came here; its modification time is the builder's.
        return bool(booted) and os.stat(image).st_ctime > int(booted[0].split()[1]) + 1
    except (OSError, ValueError):
        return False
