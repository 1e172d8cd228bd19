# SPDX-License-Identifier: BSD-2-Clause
"""What differs between systems besides the package manager: boots, reboots, detached processes.

shutdown(8) of systemd and of the BSDs takes a delay in whole minutes and returns at
once; elsewhere it would stay in the foreground, so the caller, which is detached, waits
itself. Linux names each boot by a random id, the BSDs by its time. Under systemd the
transaction becomes a unit of its own with a fixed name: outside the sandbox and the control
group of the daemon's service, which an upgrade of this product restarts, and never twice
at a time. There is no way back into the daemon's sandbox if that fails. Elsewhere a
session of its own is enough. Facts: shutdown(8), systemd-run(1), systemd.kill(5).
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
_PROGRAMS = ("sbin/shutdown", "usr/sbin/shutdown", "sbin/reboot", "usr/sbin/reboot")


def boot_id(root: str = "/", run: Callable[..., command.Result] = command.run) -> str:
    """Return what identifies this boot; raises CommandError where the system has nothing."""
    try:
        with open(os.path.join(root, _BOOT_ID), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        result = run(["/sbin/sysctl", "-n", "kern.boottime"], ENVIRONMENT, deadline_s=10)
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
        world.sleep(delay_s)
        argv = argv[1:]
    try:
        result = world.run(argv, ENVIRONMENT, deadline_s=COMMAND_S)
    except command.CommandError as error:
        raise base.Refused("reboot: %s" % error) from None
    if result.returncode != 0:
        text = (result.stderr or result.stdout).decode("utf-8", "replace").strip()
        raise base.Refused("reboot: %s: exit code %d: %s"
                           % (argv[0], result.returncode, text[:200]))


def launch(root: str = "/", run: Callable[..., command.Result] = command.run) -> str:
    """Run the transaction, detached, to its end; say what went wrong, empty if nothing."""
    argv = TRANSACTION
    if os.path.isdir(os.path.join(root, "run/systemd/system")):
        answer = run(["systemd-run", "--version"], ENVIRONMENT, deadline_s=10)
        argv = systemd_argv(answer.stdout)
    done = run(argv, ENVIRONMENT)
    text = done.stderr.decode("utf-8", "replace").strip().replace("\n", "; ")
    return "%s: %s" % (argv[0], text[-300:]) if done.returncode != 0 else ""


def systemd_argv(version_text: bytes) -> List[str]:
    """Return the systemd-run command line for the version that answered `version_text`."""
    found = re.match(rb"systemd ([0-9]+)", version_text)
    version = int(found.group(1)) if found else 0
    words = [word for since, name in SYSTEMD_SINCE if version >= since for word in ("-p", name)]
    return ["systemd-run"] + SYSTEMD_RUN + words + ["--"] + TRANSACTION
