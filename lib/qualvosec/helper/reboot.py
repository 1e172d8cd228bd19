# SPDX-License-Identifier: BSD-2-Clause
"""The reboot itself: identity of a boot, the stamp of the last one, the command.

The stamp is durable before the command is given: a host never reboots twice because
it forgot the first time. shutdown(8) of systemd and of the BSDs takes the delay and
returns at once; elsewhere this process, which is detached, waits itself.
"""

import os
import time
from typing import Callable
from typing import List

from qualvosec import command
from qualvosec import files
from qualvosec.helper import process

COMMAND_S = 60
_BOOT_ID = "proc/sys/kernel/random/boot_id"
_PROGRAMS = ("sbin/shutdown", "usr/sbin/shutdown", "sbin/reboot", "usr/sbin/reboot")


class RebootError(Exception):
    """The reboot was not started; the text is one line."""


def boot_id(root: str = "/", run: Callable[..., command.Result] = command.run) -> str:
    """Return what identifies this boot: Linux' boot id, or the BSDs' kern.boottime."""
    try:
        with open(os.path.join(root, _BOOT_ID), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        result = run(["/sbin/sysctl", "-n", "kern.boottime"], process.ENVIRONMENT, deadline_s=10)
        return result.stdout.decode("ascii", "replace").strip()[:100]


def read_stamp(folder: str) -> int:
    """Return the time of the helper's last reboot; one that cannot be read lies in the future."""
    path = os.path.join(folder, "reboot.stamp")
    if not os.path.lexists(path):
        return 0
    try:
        return int(files.read_bounded(path, 64, {os.geteuid()}).decode("ascii"))
    except (files.FileError, ValueError):
        return 1 << 40


def write_stamp(folder: str, stamp: int) -> None:
    """Store the time of a reboot durably; raises FileError."""
    files.write_atomic(os.path.join(folder, "reboot.stamp"), b"%d\n" % stamp)


def argv_for(delay_s: int, message: str, root: str = "/", uname: str = "Linux") -> List[str]:
    """Return the command; its first word is "wait" where the caller has to wait `delay_s` itself.

    Whole minutes, rounded up: shutdown(8) knows nothing smaller.
    """
    present = ["/" + name for name in _PROGRAMS if os.access(os.path.join(root, name), os.X_OK)]
    if not present:
        raise RebootError("reboot: neither shutdown nor reboot is installed")
    if not present[0].endswith("shutdown"):
        return ["wait", present[0]]
    when = "+%d" % -(-delay_s // 60) if delay_s else "now"
    if uname != "Linux" or os.path.isdir(os.path.join(root, "run/systemd/system")):
        return [present[0], "-r", when, message]
    return ["wait", present[0], "-r", "now", message]


def start(argv: List[str], delay_s: int, run: Callable[..., command.Result] = command.run,
          sleep: Callable[[float], None] = time.sleep) -> None:
    """Give the command; raises RebootError if the system does not take it."""
    if argv[0] == "wait":
        sleep(delay_s)
        argv = argv[1:]
    try:
        result = run(argv, process.ENVIRONMENT, deadline_s=COMMAND_S)
    except command.CommandError as error:
        raise RebootError("reboot: %s" % error) from None
    if result.returncode != 0:
        text = (result.stderr or result.stdout).decode("utf-8", "replace").strip()
        raise RebootError("reboot: %s: exit code %d: %s" % (argv[0], result.returncode, text[:200]))
