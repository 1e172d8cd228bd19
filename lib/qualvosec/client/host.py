# SPDX-License-Identifier: BSD-2-Clause
"""Facts about this host that a decision needs: boot, uptime, kernel, name, veto.

Linux gives every boot an id. The BSDs know only the time of the boot, which
moves when the clock is set: that is told apart by its being digits only.
"""

import os
import time
from typing import Callable
from typing import Tuple

from qualvosec import files
from qualvosec.contract import veto as vetoes

_BOOT_ID = "proc/sys/kernel/random/boot_id"
# Copied there by the hardened unit: confined we get a /proc of our own, which in a container
# names another boot than the one that root sees.
_ROOTS_BOOT_ID = "run/qualvosec-boot-id"
_STARTS = {"FreeBSD": "sysrc qualvosec_enable=YES && service qualvosec start",
           "OpenBSD": "rcctl enable qualvosec && rcctl start qualvosec",
           "NetBSD": "echo qualvosec=YES >>/etc/rc.conf && service qualvosec start"}
# Lists of hosts that nobody shall reach are kept in this file, too.
_MAX_HOSTS_LINES = 1000000
_MAX_HOSTS_LINE = 4096


def boot(now: float, root: str = "/",
         clock: Callable[[], float] = time.monotonic) -> Tuple[str, int]:
    """Return (boot id, uptime in seconds).

    CLOCK_MONOTONIC counts from the boot on the BSDs (clock_gettime(2)); Linux
    leaves suspended time out of it, /proc/uptime does not (proc(5)).
    """
    try:
        told = os.path.join(root, _ROOTS_BOOT_ID)
        name = _read(told if os.path.exists(told) else os.path.join(root, _BOOT_ID)).strip()
        uptime = int(float(_read(os.path.join(root, "proc/uptime")).split()[0]))
        return name, uptime
    except (OSError, ValueError, IndexError):
        uptime = int(clock())
        return str(int(now) - uptime), uptime


def _read(path: str) -> str:
    # Files in /proc say that they have no size and are root's: bounded by the kernel.
    with open(path, encoding="ascii") as stream:
        return stream.read(200)


def kernel() -> str:
    """Return the running kernel's release."""
    return os.uname()[2]


def starting(root: str = "/", system: str = os.uname()[0]) -> str:
    """Return the command that starts the service now and at every boot."""
    if system in _STARTS:
        return _STARTS[system]
    if os.path.isdir(os.path.join(root, "run/systemd/system")):
        return "systemctl enable --now qualvosec"
    if os.path.isdir(os.path.join(root, "run/openrc")):
        return "rc-update add qualvosec && rc-service qualvosec start"
    return "start the service qualvosec"


def is_loopback(name: str) -> bool:
    """Say whether a name is one that every host has for itself."""
    return name.split(".")[0] in (
        "localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback")


def name_in_hosts(nodename: str, root: str = "/") -> str:
    """Return the dotted name that /etc/hosts gives this nodename, "" if there is none.

    As hosts(5) has it: the first line that holds both counts, address and comment do not.
    """
    own = nodename.lower()
    try:
        with open(os.path.join(root, "etc/hosts"), encoding="utf-8", errors="replace") as stream:
            for _ in range(_MAX_HOSTS_LINES):
                line = stream.readline(_MAX_HOSTS_LINE)
                if not line:
                    return ""
                names = [word.rstrip(".").lower() for word in line.split("#")[0].split()[1:]]
                dotted = [name for name in names if "." in name and not is_loopback(name)]
                if own in names and dotted and not is_loopback(own):
                    return dotted[0]
    except OSError:
        return ""
    return ""


def veto(config_dir: str, today: str) -> str:
    """Return the reason of the administrator's veto, "" where there is none (contract/veto.py).

    One that cannot be read or that is not root's holds all the same.
    """
    path = os.path.join(config_dir, "veto")
    if not os.path.lexists(path):
        return ""
    try:
        text = files.read_bounded(path, vetoes.MAX_BYTES)
    except files.FileError as error:
        return str(error)
    return vetoes.reason(text.decode("utf-8", "replace"), today)
