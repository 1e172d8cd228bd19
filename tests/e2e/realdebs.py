# SPDX-License-Identifier: BSD-2-Clause
"""Real packages of Debian for a base tree, downloaded once by apt itself.

The base tree comes from the suite alone, so the security suite has updates for it:
ensure() fetches these, or packages that are named with what they depend on. What the
suite has no update for is made by newer(): the very packages that a run itself stands on,
interpreter, C library, systemd, sudo, packed again under a higher version with their
own maintainer scripts. All come from the mirrors of this machine's apt, checked against
Debian's keyring, and are kept beside the tree; a trial serves them from its local
repository.
"""

import fcntl
import glob
import os
import re
import shutil
import subprocess
import tempfile
from typing import Callable
from typing import Dict
from typing import List
from typing import NamedTuple

from tests.e2e import tree

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def _sources(suite: str) -> str:
    lines = []
    for name in (suite, suite + "-security"):
        uri = tree.mirror_of(name)
        lines.append("deb [signed-by=%s] %s %s main\n" % (KEYRING, uri, name))
    return "".join(lines)


def _apt(work: str, base: str) -> List[str]:
    """An apt-get that knows nothing of this machine but the mirrors."""
    for name in ("state/lists/partial", "cache/archives/partial", "log"):
        os.makedirs(os.path.join(work, name), exist_ok=True)
    settings = {
        "Dir::State": work + "/state",
        "Dir::State::status": base + "/var/lib/dpkg/status",
        "Dir::Cache": work + "/cache",
        "Dir::Log": work + "/log",
        "Dir::Etc::SourceList": work + "/sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Acquire::Check-Valid-Until": "false",
        "APT::Sandbox::User": "root",
    }
    words = ["apt-get", "-q", "-y"]
    for item in settings.items():
        words += ["-o", "%s=%s" % item]
    return words


def _call(argv: List[str], cwd: str = "/", config: str = "/dev/null") -> str:
    done = subprocess.run(
        argv,
        cwd=cwd,
        env=dict(os.environ, APT_CONFIG=config),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        raise tree.TreeError("%s: exit %d: %s" % (argv[0], done.returncode, output[-2000:]))
    return output


def _fetch(name: str, base: str, work: str, words: List[str]) -> None:
    """Run apt-get in `work` with the lists of the tree's suite."""
    apt = _apt(work, base)
    with open(os.path.join(work, "sources.list"), "w", encoding="ascii") as file:
        file.write(_sources(tree.TREES[name].suite))
    # Hooks of this machine's apt have no business here.
    config = os.path.join(work, "apt.conf")
    with open(config, "w", encoding="ascii") as file:
        file.write('Dir::Etc::Parts "/dev/null";\n')
        file.write("".join(option + ";\n" for option in tree.apt_proxy()))
    for step in (["update"], words):
        _call(apt + step, work, config)


def _kept(name: str, kind: str, make: Callable[[str, str, str], None], end: str = "") -> str:
    """Return a directory beside the tree; make(base, work, target) fills it when it is absent."""
    base = tree.ensure(name)
    path = base.replace("/base-", "/%s-" % kind) + end
    with open(path + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(path):
            return path
        unfinished = path + ".unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        os.mkdir(unfinished)
        with tempfile.TemporaryDirectory(dir=tree.cache_dir()) as work:
            make(base, work, unfinished)
        os.rename(unfinished, path)
    return path


def ensure(name: str, *wanted: str) -> str:
    """Return the directory of the .deb files for the tree `name`; TreeError if that fails.

    Without `wanted` they are its updates, else these packages and what they depend on.
    """
    what = ["--no-install-recommends", "install", *wanted] if wanted else ["dist-upgrade"]

    def make(base: str, work: str, target: str) -> None:
        _fetch(name, base, work, ["--download-only"] + what)
        for deb in glob.glob(work + "/cache/archives/*.deb"):
            shutil.move(deb, target)

    return _kept(name, "debs", make, "".join("-" + word for word in wanted))


# --- what the suite has no update for -----------------------------------------------------

SOURCES = ("glibc", "python3-defaults", "python3.11", "sudo", "systemd")
SUFFIX = "+e2e1"
CONFFILE = "/etc/sudoers"  # changed in the newer package
RECIPE = 1  # part of the name: raise it when the way the packages are made changes


class Installed(NamedTuple):
    """One package of a tree."""

    name: str
    version: str
    source: str


def foundation(root: str) -> List[Installed]:
    """The packages in a tree that a run itself stands on."""
    fields = "-f=${Package}\\t${Version}\\t${source:Package}\\t${db:Status-Status}\\n"
    listing = _call(["dpkg-query", "--admindir=" + root + "/var/lib/dpkg", "-W", fields])
    rows = [line.split("\t") for line in listing.splitlines()]
    found = [Installed(*row[:3]) for row in rows if row[2] in SOURCES and row[3] == "installed"]
    missing = sorted(set(SOURCES) - {package.source for package in found})
    if missing:
        raise tree.TreeError("%s: no package of %s is installed" % (root, ", ".join(missing)))
    return found


def newer(name: str) -> str:
    """Return the directory of the foundation of the tree `name` in a higher version each."""

    def make(base: str, work: str, target: str) -> None:
        packages = foundation(base)
        exactly = ["%s=%s" % (package.name, package.version) for package in packages]
        try:
            _fetch(name, base, work, ["download"] + exactly)
        except tree.TreeError as error:
            hint = "if the mirror has newer versions by now, remove the tree"
            raise tree.TreeError("%s: %s: %s" % (base, hint, error)) from None
        versions = {package.name: package.version for package in packages}
        debs = glob.glob(work + "/*.deb")
        if len(debs) != len(packages):
            raise tree.TreeError("apt-get download: %d of %d packages" % (len(debs), len(packages)))
        for deb in debs:
            repack(deb, work, target, lambda unpacked: _raise_version(unpacked, versions))

    return _kept(name, "newer%d" % RECIPE, make)


def repack(deb: str, work: str, target: str, edit: Callable[[str], None]) -> None:
    """Unpack a .deb below `work`, let edit(directory) change it, pack it into `target`."""
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        unpacked = os.path.join(scratch, "unpacked")
        _call(["dpkg-deb", "-R", deb, unpacked])
        edit(unpacked)
        _call(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", unpacked, target])


def _raise_version(unpacked: str, versions: Dict[str, str]) -> None:
    """The same package in a higher version, which wants its siblings in theirs."""
    path = os.path.join(unpacked, "DEBIAN/control")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    own = re.findall(r"(?m)^(?:Package|Version): (\S+)$", text)
    if len(own) != 2 or versions.get(own[0]) != own[1]:
        raise tree.TreeError("%s: not the control file of a wanted package" % own)
    text = re.sub(r"(?m)^(Version: \S+)$", r"\1" + SUFFIX, text)
    for name, version in versions.items():
        wanted = r"(?<![\w.+-])(%s(?::\w+)? \(= *%s)\)" % (re.escape(name), re.escape(version))
        text = re.sub(wanted, r"\1%s)" % SUFFIX, text)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    shipped = unpacked + CONFFILE
    if os.path.exists(shipped):
        with open(shipped, "a", encoding="ascii") as file:
            file.write("# new in this version\n")
