# SPDX-License-Identifier: BSD-2-Clause
"""Small Debian packages and repositories for the real runs of apt.

Everything is built inside a tree, by its own dpkg: version 1 of every package, installed;
what is offered later lies in a pool from which each case makes its repositories, one of the
main archive and one of security updates.
"""

import hashlib
import os
import shutil
import subprocess
from typing import NamedTuple
from typing import Sequence
from typing import Tuple

MAIN = "main"
SECURITY = "security"
POOL = "/srv/pool"
_SUITES = ((MAIN, "Debian", "stable"), (SECURITY, "Debian-Security", "stable-security"))


class Deb(NamedTuple):
    """One version of a package; without `archive` it is installed from the start.

    `fields` are lines of its control file, `file` is a path that it has besides its own.
    """

    name: str
    version: str
    archive: str = ""
    fields: Tuple[str, ...] = ()
    postinst: str = ""
    count: int = 1
    conffile: str = ""
    file: str = ""


DEBS = [
    Deb("qv-plain", "1.0"), Deb("qv-plain", "2.0", MAIN),
    Deb("qv-sec", "1.0"), Deb("qv-sec", "1.0+deb12u1", SECURITY), Deb("qv-sec", "2.0", MAIN),
    Deb("qv-urgent", "1.0"), Deb("qv-urgent", "1.0", MAIN),
    Deb("qv-urgent", "1.0+deb12u1", SECURITY),
    Deb("qv-base", "1.0"), Deb("qv-base", "2.0", MAIN),
    Deb("qv-secup", "1.0"),
    Deb("qv-secup", "1.0+deb12u1", SECURITY, ("Depends: qv-base (>= 2.0)",)),
    Deb("qv-lib", "1.0"), Deb("qv-lib", "2.0", MAIN),
    Deb("qv-app", "1.0", "", ("Depends: qv-lib",)),
    Deb("qv-app", "2.0", MAIN, ("Depends: qv-lib (>= 2.0)",)),
    Deb("qv-new", "1.0"), Deb("qv-new", "2.0", MAIN, ("Depends: qv-brandnew",)),
    Deb("qv-brandnew", "1.0", MAIN),
    Deb("qv-lost", "1.0"), Deb("qv-lost", "2.0", MAIN, ("Depends: qv-nowhere",)),
    Deb("qv-old", "1.0", file="/usr/share/qv-shared"),
    Deb("qv-swap", "1.0"), Deb("qv-swap", "2.0", MAIN, ("Conflicts: qv-old",)),
    Deb("qv-clash", "1.0"), Deb("qv-clash", "2.0", MAIN, file="/usr/share/qv-shared"),
    Deb("qv-phased", "1.0"), Deb("qv-phased", "2.0", MAIN),
    Deb("qv-conf", "1.0", conffile="one"), Deb("qv-conf", "2.0", MAIN, conffile="two"),
    Deb("qv-bad", "1.0"), Deb("qv-bad", "2.0", MAIN, postinst="echo no; exit 1"),
    Deb("qv-behind", "1.0"), Deb("qv-behind", "2.0", MAIN, ("Depends: qv-bad (>= 2.0)",)),
    Deb("qv-vend", "1.0"),
    Deb("qv-vend", "2.0", MAIN, postinst="set -e; echo run >>/srv/count; "
        "dpkg -i /srv/pool/qv-plain_1.0_all.deb"),
    Deb("qv-vend", "2.1", MAIN, postinst="set -e; echo run >>/srv/count; "
        "apt-get -y install --reinstall qv-plain"),
    Deb("qv-vend", "3.0", MAIN),
    Deb("qv-log_plugin", "1.0"), Deb("qv-log_plugin", "2.0", MAIN),
    Deb("qv-same", "1.0"), Deb("qv-same", "1.0", MAIN),
    Deb("qv-down", "1.0"), Deb("qv-down", "0.5", MAIN),
    Deb("qv-gone", "1.0"), Deb("qv-taker", "1.0"),
    Deb("qv-taker", "2.0", MAIN, ("Replaces: qv-gone",), file="/usr/share/qv-gone/file0"),
    Deb("qv-guarded", "1.0"), Deb("qv-guarded", "2.0", MAIN, postinst="test -e /srv/open"),
    Deb("qv-slow", "1.0"),
    Deb("qv-slow", "2.0", MAIN, postinst="while [ -e /srv/wait ]; do sleep 0.2; done"),
    Deb("qv-big", "1.0", count=10), Deb("qv-big", "2.0", MAIN, count=3000),
]
# What only stands in the list of an archive, not in the package.
_OF_THE_ARCHIVE = {"qv-phased": "Phased-Update-Percentage: 0\n",
                   "qv-same": "Installed-Size: 4711\n"}


def write(path: str, text: str, mode: int = 0o644) -> None:
    """Write a file and the directories above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    os.chmod(path, mode)


def control(deb: Deb) -> str:
    """Return the control file of the package."""
    return ("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Test <test@example.org>\n"
            "%sDescription: made by a test\n"
            % (deb.name, deb.version, "".join(line + "\n" for line in deb.fields)))


def file_name(deb: Deb) -> str:
    return "%s_%s_all.deb" % (deb.name, deb.version)


def _build(root: str, deb: Deb) -> None:
    folder = root + "/srv/build"
    write(folder + "/DEBIAN/control", control(deb))
    for number in range(deb.count):
        write("%s/usr/share/%s/file%d" % (folder, deb.name, number), deb.version * 100)
    if deb.file:
        write(folder + deb.file, deb.version)
    if deb.conffile:
        write("%s/etc/%s" % (folder, deb.name), deb.conffile + "\n")
        write(folder + "/DEBIAN/conffiles", "/etc/%s\n" % deb.name)
    if deb.postinst:
        write(folder + "/DEBIAN/postinst", "#!/bin/sh\n%s\n" % deb.postinst, 0o755)
    # Vendors have names that dpkg takes and dpkg-deb does not.
    check = ["--nocheck"] if "_" in deb.name else []
    subprocess.run(["chroot", root, "dpkg-deb", "--root-owner-group", "-Znone"] + check
                   + ["-b", "/srv/build", "%s/%s" % (POOL, file_name(deb))],
                   check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(folder)


def build(root: str) -> None:
    """Build all packages below /srv in the tree and install the first of each."""
    os.makedirs(root + POOL)
    for deb in DEBS:
        _build(root, deb)
    first = ["%s/%s" % (POOL, file_name(deb)) for deb in DEBS if not deb.archive]
    subprocess.run(["chroot", root, "env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "-i"] + first,
                   check=True, stdout=subprocess.DEVNULL)


def _stanza(root: str, deb: Deb) -> str:
    with open(root + POOL + "/" + file_name(deb), "rb") as file:
        data = file.read()
    return "%s%sFilename: ./%s\nSize: %d\nSHA256: %s\n\n" % (
        control(deb), _OF_THE_ARCHIVE.get(deb.name, ""), file_name(deb), len(data),
        hashlib.sha256(data).hexdigest())


def publish(root: str, names: Sequence[str], security: bool = True, release: bool = True) -> None:
    """Offer the later versions of packages, NAME or NAME=VERSION; not `release`: as bare lists."""
    sources = []
    for archive, label, suite in _SUITES:
        if archive == SECURITY and not security:
            continue
        packages = "".join(_stanza(root, deb) for deb in DEBS
                           if deb.archive == archive
                           and {deb.name, "%s=%s" % (deb.name, deb.version)} & set(names))
        folder = "%s/srv/%s" % (root, archive)
        os.makedirs(folder, exist_ok=True)
        for entry in os.listdir(root + POOL):
            if not os.path.lexists(os.path.join(folder, entry)):
                os.symlink("../pool/" + entry, os.path.join(folder, entry))
        write(folder + "/Packages", packages)
        if release:
            digest = hashlib.sha256(packages.encode("ascii")).hexdigest()
            write(folder + "/Release", "Origin: Debian\nLabel: %s\nSuite: %s\n"
                  "Date: Mon, 23 Nov 2026 00:00:00 UTC\nSHA256:\n %s %d Packages\n"
                  % (label, suite, digest, len(packages)))
        sources.append("deb [trusted=yes] file:/srv/%s ./\n" % archive)
    write(root + "/etc/apt/sources.list", "".join(sources))
