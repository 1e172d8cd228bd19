# SPDX-License-Identifier: BSD-2-Clause
"""Small pacman packages and a repository for the real runs of pacman.

Packages and the database of the repository are written as the archives that pacman
reads, because makepkg refuses to run as root and repo-add wants more than a tree has.
"""

import hashlib
import io
import os
import subprocess
import tarfile
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Sequence
from typing import Tuple

POOL = "/srv/pool"
REPO = "/srv/repo"
CONFIG = """[options]
Architecture = auto
SigLevel = Never
[updates]
Server = file://%s
""" % REPO


class Offer(NamedTuple):
    """One version of a package; `fields` as in .PKGINFO: depend, conflict, replaces, backup."""

    name: str
    version: str
    fields: Tuple[Tuple[str, str], ...] = ()
    script: str = ""
    file: str = ""


FIRST = [Offer("qv-" + name, "1.0-1") for name in (
    "plain", "sec", "lib", "new", "lost", "clash", "swap", "slow", "oldname")]
FIRST += [Offer("qv-old", "1.0-1", file="usr/share/qv-shared"),
          Offer("qv-app", "1.0-1", (("depend", "qv-lib"),)),
          Offer("qv-conf", "1.0-1", (("backup", "etc/qv-conf.conf"),))]
SECOND = [
    Offer("qv-plain", "2.0-1"), Offer("qv-sec", "1.0-2"), Offer("qv-lib", "2.0-1"),
    Offer("qv-app", "2.0-1", (("depend", "qv-lib>=2.0"),)),
    Offer("qv-new", "2.0-1", (("depend", "qv-brandnew"),)), Offer("qv-brandnew", "1.0-1"),
    Offer("qv-lost", "2.0-1", (("depend", "qv-nowhere"),)),
    Offer("qv-swap", "2.0-1", (("conflict", "qv-old"),)),
    Offer("qv-clash", "2.0-1", file="usr/share/qv-shared"),
    Offer("qv-newname", "2.0-1", (("replaces", "qv-oldname"), ("conflict", "qv-oldname"))),
    Offer("qv-conf", "2.0-1", (("backup", "etc/qv-conf.conf"),)),
    Offer("qv-slow", "2.0-1", (), "post_upgrade() {\n"
          "while [ -e /srv/wait ]; do sleep 0.2; done\n}\n")]
_TITLES = {"depend": "DEPENDS", "conflict": "CONFLICTS", "replaces": "REPLACES"}


def archive(files: Dict[str, bytes]) -> bytes:
    """Return a compressed archive of the files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(files[name]), 0o644
            tar.addfile(entry, io.BytesIO(files[name]))
    return buffer.getvalue()


def file_name(offer: Offer) -> str:
    return "%s-%s-any.pkg.tar.gz" % (offer.name, offer.version)


def package(offer: Offer) -> bytes:
    """Return the package itself."""
    fields = (("pkgname", offer.name), ("pkgver", offer.version), ("pkgdesc", "made by a test"),
              ("arch", "any"), ("size", "1")) + offer.fields
    files = {".PKGINFO": "".join("%s = %s\n" % field for field in fields).encode("ascii"),
             "usr/share/%s" % offer.name: offer.version.encode("ascii")}
    for key, value in offer.fields:
        if key == "backup":
            files[value] = offer.version.encode("ascii") + b"\n"
    if offer.file:
        files[offer.file] = offer.version.encode("ascii")
    if offer.script:
        files[".INSTALL"] = offer.script.encode("ascii")
    return archive(files)


def build(root: str) -> None:
    """Write all packages below /srv in the tree and install the first generation."""
    os.makedirs(root + POOL)
    for offer in FIRST + SECOND:
        with open(os.path.join(root + POOL, file_name(offer)), "wb") as file:
            file.write(package(offer))
    with open(root + "/etc/pacman.conf", "w", encoding="ascii") as text:
        text.write(CONFIG)
    os.makedirs(root + "/var/lib/pacman/local", exist_ok=True)
    publish(root, [])
    names = ["%s/%s" % (POOL, file_name(offer)) for offer in FIRST]
    subprocess.run(["chroot", root, "pacman", "-U", "--noconfirm", "--noprogressbar"] + names,
                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)


def publish(root: str, names: Sequence[str]) -> None:
    """Offer the later versions of the named packages."""
    files: Dict[str, bytes] = {}
    os.makedirs(root + REPO, exist_ok=True)
    for offer in SECOND:
        if offer.name not in names:
            continue
        data = package(offer)
        lines: List[str] = []
        for title, value in (("FILENAME", file_name(offer)), ("NAME", offer.name),
                             ("VERSION", offer.version), ("DESC", "made by a test"),
                             ("CSIZE", str(len(data))), ("ISIZE", "1"), ("ARCH", "any"),
                             ("SHA256SUM", hashlib.sha256(data).hexdigest())):
            lines += ["%%%s%%" % title, value, ""]
        for key, value in offer.fields:
            if key in _TITLES:
                lines += ["%%%s%%" % _TITLES[key], value, ""]
        folder = "%s-%s" % (offer.name, offer.version)
        files[folder + "/desc"] = ("\n".join(lines) + "\n").encode("ascii")
        with open(os.path.join(root + REPO, file_name(offer)), "wb") as file:
            file.write(data)
    with open(root + REPO + "/updates.db", "wb") as file:
        file.write(archive(files))
