# SPDX-License-Identifier: BSD-2-Clause
"""What dnf and zypper have in common: the rpm database below them.

Packages are called by their name, copies of another architecture than that of
rpm itself `name:arch`; versions are `[epoch:]version-release` without epoch 0. Of
a package that is installed in several versions (kernels) the highest counts. A reboot is
due when a package that only a boot can renew was installed since the boot.
Facts: rpm(8), rpm-version(7), dnf needs-restarting.
"""

import os
import re
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec.helper.managers import base
from qualvosec.helper.managers import kernel
from qualvosec.helper.managers import settle
from qualvosec.helper.managers import system

QUERY = "%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\t%{INSTALLTIME}\\n"
QUERY_S = 120
LOCKS = ("/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock")
# What a restart of services does not renew: needs-restarting's list and the kernels' names.
CORE = ("glibc", "linux-firmware", "microcode_ctl", "systemd", "udev", "dbus", "dbus-broker",
        "dbus-daemon", "dbus-1", "ucode-intel", "ucode-amd")
KERNEL = re.compile(r"kernel(-(rt|uek|default|64k|rt-64k|lt|ml|PAE|smp|xen|azure|preempt)"
                    r"|-uek64k|[0-9][0-9.]*)?(-core)?")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}(:[a-z0-9_]{2,16})?")
_PART = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")


class Row(NamedTuple):
    """One installed package: `key` as the rest of the product calls it, install time in s."""

    key: str
    evr: str
    name: str
    arch: str
    time: int


class RpmManager(base.Manager):
    """What dnf and zypper do alike, above one rpm database."""

    def __init__(self, world: base.World) -> None:
        super().__init__(world)
        self.may_simulate = os.geteuid() == 0

    def rows(self) -> List[Row]:
        """Return every installed package; raises ManagerError when rpm cannot say."""
        answer = self.call([self.program("rpm"), "-qa", "--qf", QUERY], system.ENVIRONMENT)
        if answer.code != 0:
            raise base.ManagerError("rpm -qa: %s" % failure(answer.text))
        fields = [line.split("\t") for line in answer.out.splitlines() if line]
        if any(len(row) != 6 or not row[5].isdigit() for row in fields):
            raise base.ManagerError("rpm -qa: answers in an unknown form")
        own = next((row[4] for row in fields if row[0] == "rpm"), "")
        return [Row(key(row[0], row[4], own), evr(row[1], row[2], row[3]), row[0], row[4],
                    int(row[5]))
                for row in fields if row[0] != "gpg-pubkey"]

    def installed(self) -> Dict[str, str]:
        """See base.Manager."""
        return newest(self.rows())

    def leftovers(self) -> Dict[str, int]:
        """See base.Manager."""
        return self.beside(("/etc",), (".rpmnew", ".rpmsave", ".rpmorig"))

    def reboot_reasons(self) -> Optional[List[str]]:
        """See base.Manager."""
        return reboot_reasons(self.rows(), self.world.root, os.uname().release)

    def settled(self, selection: base.Selection, found: settle.Pending,
                simulate: settle.Simulate) -> base.Plan:
        """Return the plan; both let nobody but root simulate: others see what is wanted."""
        if not self.may_simulate:
            found = found._replace(warnings=(settle.NOT_SIMULATED % self.name,))
            simulate = settle.assume(found.updates)
        return settle.plan(self.name, selection, found, simulate)


def own_arch(rows: List[Row]) -> str:
    """Return the architecture of rpm itself, "" if it is not among the packages."""
    return next((row.arch for row in rows if row.name == "rpm"), "")


def key(name: str, arch: str, own: str) -> str:
    """Return the name under which a package goes; `own` is the architecture of rpm itself."""
    return name if arch in (own, "noarch") or not own else "%s:%s" % (name, arch)


def argument(name: str) -> str:
    """Return the name as dnf and zypper write it: the architecture behind a dot."""
    return name.replace(":", ".")


def evr(epoch: str, version: str, release: str) -> str:
    """Return `[epoch:]version-release`; no epoch and epoch 0 are one."""
    prefix = "" if epoch in ("", "0", "(none)") else epoch + ":"
    return "%s%s-%s" % (prefix, version, release)


def plain(text: str) -> str:
    """Return a version without epoch 0."""
    return text[2:] if text.startswith("0:") else text


def newest(rows: List[Row]) -> Dict[str, str]:
    """Return {key: highest version}."""
    found: Dict[str, str] = {}
    for row in rows:
        if row.key not in found or compare(row.evr, found[row.key]) > 0:
            found[row.key] = row.evr
    return found


def checked_name(name: str) -> str:
    """Return a name that a command has listed; raises ManagerError if it cannot be one."""
    if not _NAME.fullmatch(name):
        raise base.ManagerError("a package %r is listed that cannot exist" % name[:80])
    return name


def compare(one: str, other: str) -> int:
    """Return -1, 0 or 1 as rpm orders two versions `[epoch:]version[-release]`."""
    for mine, theirs in zip(_split(one), _split(other)):
        order = _segments(mine, theirs)
        if order:
            return order
    return 0


def _split(text: str) -> Tuple[str, str, str]:
    epoch, colon, rest = text.rpartition(":")
    version, _, release = rest.partition("-")
    return (epoch if colon else "0", version, release)


def _segments(one: str, other: str) -> int:
    """Compare version strings as rpmvercmp does: see rpm-version(7)."""
    mine, theirs = _PART.findall(one), _PART.findall(other)
    for a, b in zip(mine + [""] * len(theirs), theirs + [""] * len(mine)):
        if a == b:
            if not a:
                return 0
            continue
        for left, right, sign in ((a, b, -1), (b, a, 1)):
            if left == "~":
                return sign
            if left == "^":
                return sign if right else -sign
        if not a or not b:
            return 1 if a else -1
        if a.isdigit() and b.isdigit():
            if int(a) != int(b):
                return 1 if int(a) > int(b) else -1
        elif a.isdigit() or b.isdigit():
            return 1 if a.isdigit() else -1
        else:
            return 1 if a > b else -1
    return 0


def reboot_reasons(rows: List[Row], root: str, release: str) -> Optional[List[str]]:
    """Return why a reboot is due, None where the time of the boot is not known.

    `release` is that of the running kernel; in a container kernels say nothing.
    """
    booted = kernel.boot_time(root)
    if booted is None:
        return None
    inside = kernel.in_container(root)
    latest = newest(rows)
    reasons = []
    for row in sorted(rows):
        is_kernel = KERNEL.fullmatch(row.name) is not None
        if row.time <= booted or row.evr != latest[row.key] or not (is_kernel or row.name in CORE):
            continue
        # Red Hat's release ends with the architecture; SUSE's lacks the last number of the package.
        version = row.evr.rpartition(":")[2]
        running = release.startswith(("%s.%s" % (version, row.arch),
                                      version.rpartition(".")[0] + "-"))
        if is_kernel and (inside or running):
            continue
        reasons.append("%s %s was installed since boot" % (row.key, row.evr))
    return reasons


def failure(output: str) -> str:
    """Return the one line that says best why a command failed."""
    clash = re.search(r"(?i)\bfile (\S+)\s+from install of\s+(\S+)", output)
    if clash:
        return ("file %s of %s is in another package, too" % clash.groups())[:300]
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for place, line in enumerate(lines):
        if re.match(r"(?i)error\b|failed\b|problem\b", line):
            # What stands alone is a heading: the cause is in the next line.
            more = lines[place + 1:place + 2] if line.endswith(":") or line.startswith(
                "Failed to download packages") else []
            return " ".join([line] + more)[:300]
    return lines[-1][:300] if lines else "no output"
