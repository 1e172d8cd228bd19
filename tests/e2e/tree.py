# SPDX-License-Identifier: BSD-2-Clause
"""Base trees: small Debian systems that every container starts from.

A tree is built once with mmdebstrap (debootstrap where that is missing) and kept
outside the checkout, in $QUALVOSEC_E2E_CACHE or /var/cache/qualvosec-e2e, under a
name that holds the suite and a hash of the package list. It is the read-only lower
layer of every container; nothing ever writes into it. The mirror is the one that
this machine's apt uses. `python3 tests/e2e/tree.py NAME` builds and prints one.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional

RECIPE = 4  # part of the hash: raise it when the way a tree is built changes


class TreeError(Exception):
    """A base tree cannot be had; the message says what to do."""


class Tree(NamedTuple):
    """One kind of base system: Debian suite, the packages on top, mmdebstrap's variant."""

    name: str
    suite: str
    packages: List[str]
    variant: str = "minbase"


TREES: Dict[str, Tree] = {
    tree.name: tree
    for tree in (
        Tree(
            "host",
            "bookworm",
            ["systemd", "systemd-sysv", "dbus", "python3", "sudo", "opendoas", "openssh-client"]
            + ["ca-certificates", "iproute2", "procps", "apt-utils", "make"],
        ),
        Tree("newcomer", "bookworm", ["git", "make", "python3"]),
        Tree("bare", "bookworm", ["systemd", "systemd-sysv", "dbus"]),
        Tree(
            "managers",
            "bookworm",
            ["python3", "rpm", "createrepo-c", "dnf", "zypper", "pacman-package-manager"]
            + ["zstd", "procps"],
        ),
        Tree("inits", "bookworm", ["sysvinit-core", "busybox", "python3", "procps", "bsdutils"]),
        Tree("dnf5", "sid", ["python3", "rpm", "createrepo-c", "dnf5", "procps"]),
        Tree("rival", "bookworm", ["python3", "make", "unattended-upgrades"]),
        # "apt": essential packages and apt, nothing that is only important.
        Tree("apt-bullseye", "bullseye", ["python3"], "apt"),
        Tree("apt-trixie", "trixie", ["python3"], "apt"),
    )
}


def cache_dir() -> str:
    """The directory that keeps the trees between runs."""
    return os.environ.get("QUALVOSEC_E2E_CACHE") or "/var/cache/qualvosec-e2e"


def tree_path(tree: Tree) -> str:
    """Where this tree lies once built."""
    words = " ".join([str(RECIPE), tree.suite] + sorted(tree.packages))
    digest = hashlib.sha256(words.encode("ascii")).hexdigest()[:12]
    kind = tree.variant.replace("minbase", "base")
    return os.path.join(cache_dir(), "%s-%s-%s" % (kind, tree.suite, digest))


def mirror_of(suite: str) -> str:
    """The URI from which this machine's apt takes `suite` main; TreeError if none."""
    out = subprocess.run(
        ["apt-get", "indextargets", "--format"]
        + ["$(RELEASE) $(REPO_URI) $(CREATED_BY) $(COMPONENT)"],
        stdout=subprocess.PIPE,
        check=False,
    ).stdout.decode("utf-8", "replace")
    rows = [line.split() for line in out.splitlines()]
    targets = [row for row in rows if len(row) == 4 and row[2:] == ["Packages", "main"]]
    for release, uri, _, _ in targets:
        if release == suite:
            return uri
    # One archive holds every release, another every release's security suite: a machine with
    # another release serves as well.
    for release, uri, _, _ in targets:
        if release.partition("-")[2] == suite.partition("-")[2]:
            return uri
    raise TreeError(
        "apt knows no Debian mirror for %s: add one to its sources and run apt-get update" % suite
    )


def apt_proxy() -> List[str]:
    """The proxy settings of this machine's apt, as options."""
    out = subprocess.run(
        ["apt-config", "dump", "Acquire::http::Proxy"], stdout=subprocess.PIPE, check=False
    ).stdout.decode("utf-8", "replace")
    return [line.rstrip(";") for line in out.splitlines() if line.count('"') == 2]


def _build_command(tree: Tree, target: str) -> List[str]:
    mirror = mirror_of(tree.suite)
    include = "--include=" + ",".join(tree.packages)
    if shutil.which("mmdebstrap"):
        options = ['Acquire::Check-Valid-Until "false"', 'Acquire::Retries "3"'] + apt_proxy()
        return (
            ["mmdebstrap", "--mode=root", "--variant=" + tree.variant, include]
            + ["--aptopt=" + option for option in options]
            + [tree.suite, target, "deb %s %s main" % (mirror, tree.suite)]
        )
    if shutil.which("debootstrap"):
        return ["debootstrap", "--variant=minbase", include, tree.suite, target, mirror]
    raise TreeError("neither mmdebstrap nor debootstrap is installed: install mmdebstrap")


def _prepare(root: str) -> None:
    """What every container wants of its base: no foreign sources, no name, no apt timers."""
    sources = os.path.join(root, "etc/apt/sources.list")
    with open(sources, "w", encoding="utf-8"):
        pass
    hosts = os.path.join(root, "etc/hosts")
    if not os.path.exists(hosts):  # the installer writes it, not debootstrap
        with open(hosts, "w", encoding="ascii") as file:
            file.write("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
    for entry in ("hostname", "resolv.conf", "apt/apt.conf.d/99mmdebstrap"):
        path = os.path.join(root, "etc", entry)
        if os.path.lexists(path):
            os.unlink(path)
    timers = os.path.join(root, "lib/systemd/system/timers.target.wants")
    for name in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        for folder in (timers, os.path.join(root, "etc/systemd/system/timers.target.wants")):
            path = os.path.join(folder, name)
            if os.path.lexists(path):
                os.unlink(path)


def ensure(name: str, log: Optional[str] = None) -> str:
    """Return the path of the base tree `name`, building it first where it is absent."""
    tree = TREES[name]
    path = tree_path(tree)
    os.makedirs(cache_dir(), exist_ok=True)
    with open(path + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(path):
            return path
        unfinished = path + ".unfinished"
        if os.path.isdir(unfinished):
            shutil.rmtree(unfinished)
        log = log or path + ".log"
        with open(log, "wb") as output:
            command = _build_command(tree, unfinished)
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            ).returncode
        if code != 0:
            raise TreeError("building the base tree %s failed: see %s" % (name, log))
        _prepare(unfinished)
        os.rename(unfinished, path)
    return path


def main(argv: List[str]) -> int:
    """Build the named tree and print its path."""
    if len(argv) != 2 or argv[1] not in TREES:
        sys.stderr.write("usage: tree.py %s\n" % "|".join(sorted(TREES)))
        return 2
    try:
        print(ensure(argv[1]))
    except TreeError as error:
        sys.stderr.write("tree.py: %s\n" % error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
