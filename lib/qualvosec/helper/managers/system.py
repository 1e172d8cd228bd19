# SPDX-License-Identifier: BSD-2-Clause
"""What differs between systems besides the package manager: boots, reboots, detached processes.

shutdown(8) of systemd and the BSDs takes a delay in whole minutes, tells whoever is logged
in, and returns at once. Those of sysvinit and OpenRC stay in the foreground, busybox has
none: there the caller, which is detached, tells them by wall(1) and waits itself, and a
signal to it cancels the reboot. Linux names each boot by a random id, the BSDs by its time.
Under systemd the transaction becomes a unit of its own with a fixed name: outside the
sandbox and the control group of the daemon's service, which an upgrade of this product
restarts, and never twice at a time. There is no way back into that sandbox if this fails.
Elsewhere a session of its own is enough. Facts: shutdown(8), systemd-run(1), wall(1).
"""

import os
import re
from typing import Callable
from typing import List

from qualvosec import command
from qualvosec import paths
from qualvosec.helper.managers import base

ENVIRONMENT = {"PATH": command.FIXED_PATH, "HOME": "/root", "LC_ALL": "C", "TERM": "dumb"}
COMMAND_S = 60
MESSAGE = "QualvoSec: reboot after patching"
TRANSACTION = [paths.PYTHON, "-IBS", os.path.join(paths.LIBEXEC_DIR, "qualvosec-transaction")]
SYSTEMD_RUN = ["--quiet", "--wait", "--collect", "--unit=qualvosec-run", "-p", "KillMode=mixed",
               "-p", "TimeoutStopSec=infinity"]
# Properties that older versions of systemd do not know and refuse (systemd's NEWS).
SYSTEMD_SINCE = ((240, "Type=exec"), (243, "OOMPolicy=continue"))
_BOOT_ID = "proc/sys/kernel/random/boot_id"
_WALL = ("usr/bin/wall", "bin/wall")
_PROGRAMS = ("sbin/shutdown", "usr/sbin/shutdown", "sbin/reboot", "usr/sbin/reboot")


def boot_id(root: str = "/", run: Callable[..., command.Result] = command.run) -> str:
    """Return what identifies this boot; raises CommandError where the system has nothing."""
    try:
        with open(os.path.join(root, _BOOT_ID), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        result = run(["sysctl", "-n", "kern.boottime"], ENVIRONMENT, deadline_s=10)
        return result.stdout.decode("ascii", "replace").strip()[:100]


def reboot_argv(delay_s: int, root: str = "/", uname: str = "Linux") -> List[str]:
    """Return the command; its first word is "wait" where the caller has to wait `delay_s` itself.

    Seconds are rounded up to minutes: shutdown(8) knows nothing smaller. Raises Refused.
    """
    present = ["/" + name for name in _PROGRAMS if os.access(os.path.join(root, name), os.X_OK)]
    if not present:
        raise base.Refused("reboot: neither shutdown nor reboot is installed")
    if not present[0].endswith("shutdown"):
        return ["wait", present[0]]
    when = "+%d" % -(-delay_s // 60) if delay_s else "now"
    if uname != "Linux" or os.path.isdir(os.path.join(root, "run/systemd/system")):
        return [present[0], "-r", when, MESSAGE]
    return ["wait", present[0], "-r", "now", MESSAGE]


def reboot(argv: List[str], delay_s: int, world: base.World) -> None:
    """Give the command of reboot_argv(); raises Refused if the system does not take it."""
    if argv[0] == "wait":
        _announce(delay_s, world)
        world.sleep(delay_s)
        if world.stopped():
            raise base.Refused("reboot: cancelled by a signal")
        argv = argv[1:]
    try:
        result = world.run(argv, ENVIRONMENT, deadline_s=COMMAND_S)
    except command.CommandError as error:
        raise base.Refused("reboot: %s" % error) from None
    if result.returncode != 0:
        text = (result.stderr or result.stdout).decode("utf-8", "replace").strip()
        raise base.Refused("reboot: %s: exit code %d: %s"
                           % (argv[0], result.returncode, text[:200]))


def _announce(delay_s: int, world: base.World) -> None:
    """Tell everybody who is logged in; that this fails stops no reboot."""
    found = ["/" + name for name in _WALL if os.access(os.path.join(world.root, name), os.X_OK)]
    if not found or not delay_s:
        return
    text = "%s, in %d seconds\n" % (MESSAGE, delay_s)
    try:
        # Read from its input by every wall(1); some take a word for the name of a file.
        world.run(found[:1], ENVIRONMENT, stdin=text.encode("ascii"),
                  deadline_s=COMMAND_S)
    except command.CommandError as error:
        world.tell("nobody could be told of the reboot", reason=error)


def launch(root: str = "/", run: Callable[..., command.Result] = command.run) -> str:
    """Run the transaction, detached, to its end; say what went wrong, empty if nothing."""
    argv = TRANSACTION
    if os.path.isdir(os.path.join(root, "run/systemd/system")):
        answer = run(["systemd-run", "--version"], ENVIRONMENT, deadline_s=10)
        argv = systemd_argv(answer.stdout)
    done = run(argv, ENVIRONMENT)
    text = done.stderr.decode("utf-8", "replace").strip().replace("\n", "; ")[-300:]
    if argv is not TRANSACTION and not text:
        text = "exit code %d: see: journalctl -u qualvosec-run" % done.returncode
    return "" if done.returncode == 0 else (
        "%s: %s" % (argv[0], text or "exit code %d" % done.returncode))


def systemd_argv(version_text: bytes) -> List[str]:
    """Return the systemd-run command line for the version that answered `version_text`."""
    found = re.match(rb"systemd ([0-9]+)", version_text)
    version = int(found.group(1)) if found else 0
    words = [word for since, name in SYSTEMD_SINCE if version >= since for word in ("-p", name)]
    return ["systemd-run"] + SYSTEMD_RUN + words + ["--"] + TRANSACTION
