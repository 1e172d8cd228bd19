# SPDX-License-Identifier: BSD-2-Clause
"""A small signed apt repository of made-up packages.

Every package does one thing that an upgrade can meet: a changed configuration file, a
postinst that fails or that waits, a new dependency, a security suite. Version 1.0 is
what a trial installs, the newer one lies in the repository. The signing key is made
for the run and thrown away with it. Each configured version is noted by its postinst
in /var/log/e2e-postinst.log together with the boot id: proof of what ran, and when.
"""

import os
import shutil
import subprocess
import threading
from typing import List
from typing import NamedTuple
from typing import Tuple

NOTE = 'echo "$DPKG_MAINTSCRIPT_PACKAGE %s $(cat /proc/sys/kernel/random/boot_id)"'
POSTINST_LOG = "/var/log/e2e-postinst.log"
SLOW_STARTED = "/run/e2e-slow-started"
SLOW_GO = "/run/e2e-slow-go"
BADPOST_CURE = "/etc/e2e-badpost-cured"
CONFFILE = "/etc/e2e-conffile.conf"

# Waits for the trial's word, at most two minutes, so that nothing hangs if the trial has died.
_SLOW = """touch %s
n=0
while [ ! -e %s ] && [ $n -lt 600 ]; do sleep 0.2; n=$((n + 1)); done
""" % (SLOW_STARTED, SLOW_GO)

# Configured after all that a run stands on, while the run is alive.
_LAST = "qualvosec (>= 1.9.9), systemd-sysv (>= 252), python3 (>= 3.11), sudo, libc-bin"

_BADPOST = "[ -e %s ] || { echo e2e-badpost cannot be configured >&2; exit 1; }\n" % BADPOST_CURE

_REBOOT = """touch /run/reboot-required
echo e2e-reboot >>/run/reboot-required.pkgs
"""

INTERPRETER_GONE = "/usr/bin/python3.gone"
_NOPYTHON = "mv /usr/bin/python3 %s\n" % INTERPRETER_GONE


class Package(NamedTuple):
    """One version of one made-up package; `suite` empty: not in the repository."""

    name: str
    version: str
    suite: str = "stable"
    depends: str = ""
    postinst: str = ""
    conffile: str = ""


PACKAGES: Tuple[Package, ...] = (
    Package("e2e-victim", "1.0", ""),
    Package("e2e-victim", "1.1"),
    Package("e2e-other", "1.0", ""),
    Package("e2e-other", "1.1"),
    Package("e2e-sec", "1.0", ""),
    Package("e2e-sec", "1.0+deb12u1", "stable-security"),
    Package("e2e-conffile", "1.0", "", conffile="shipped in 1.0\n"),
    Package("e2e-conffile", "1.1", conffile="shipped in 1.1\n"),
    Package("e2e-badpost", "1.0", ""),
    Package("e2e-badpost", "1.1", postinst=_BADPOST),
    Package("e2e-slow", "1.0", ""),
    Package("e2e-slow", "1.1", postinst=_SLOW),
    Package("e2e-newdep", "1.0", ""),
    Package("e2e-newdep", "1.1", depends="e2e-brandnew"),
    Package("e2e-brandnew", "1.0"),
    Package("e2e-hold", "1.0", ""),
    Package("e2e-hold", "1.1"),
    Package("e2e-reboot", "1.0", ""),
    Package("e2e-reboot", "1.1", postinst=_REBOOT),
    Package("e2e-last", "1.0", ""),
    Package("e2e-last", "1.1", depends=_LAST, postinst=_SLOW),
    Package("e2e-nopython", "1.0", ""),
    Package("e2e-nopython", "1.1", postinst=_NOPYTHON),
)

SUITES = (("stable", "Debian"), ("stable-security", "Debian-Security"))


def _run(argv: List[str], cwd: str) -> bytes:
    done = subprocess.run(
        argv,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        error = done.stderr.decode("utf-8", "replace")
        raise OSError("%s: exit %d: %s" % (argv[0], done.returncode, error.strip()))
    return done.stdout


def _write(path: str, text: str, mode: int = 0o644) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    os.chmod(path, mode)


def _deb(package: Package, target: str, scratch: str) -> None:
    tree = os.path.join(scratch, "%s_%s" % (package.name, package.version))
    control = "Package: %s\nVersion: %s\nArchitecture: all\nSection: misc\nPriority: optional\n" % (
        package.name,
        package.version,
    )
    if package.depends:
        control += "Depends: %s\n" % package.depends
    control += "Maintainer: Nobody <nobody@example.org>\nDescription: for a trial\n"
    _write(os.path.join(tree, "DEBIAN/control"), control)
    note = NOTE % package.version + " >>" + POSTINST_LOG
    script = '#!/bin/sh\nset -e\n[ "$1" = configure ] || exit 0\n%s%s\n' % (package.postinst, note)
    _write(os.path.join(tree, "DEBIAN/postinst"), script, 0o755)
    _write(os.path.join(tree, "usr/share/e2e", package.name), package.version + "\n")
    if package.conffile:
        _write(os.path.join(tree, CONFFILE.lstrip("/")), package.conffile)
        _write(os.path.join(tree, "DEBIAN/conffiles"), CONFFILE + "\n")
    os.makedirs(target, exist_ok=True)
    _run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, target], scratch)


def _gpg(home: str) -> List[str]:
    return ["gpg", "--homedir", home, "--batch", "--yes", "--quiet"]


def build(directory: str) -> None:
    """Make directory/repo (to be served), directory/old (1.0) and directory/key.gpg (public)."""
    scratch = os.path.join(directory, "scratch")
    home = os.path.join(directory, "gnupg")
    repo = os.path.join(directory, "repo")
    os.makedirs(scratch)
    os.makedirs(home, 0o700)
    for package in PACKAGES:
        if package.suite:
            target = os.path.join(repo, "pool", package.suite)
        else:
            target = os.path.join(directory, "old")
        _deb(package, target, scratch)
    try:
        make_key = ["--passphrase", "", "--quick-gen-key", "e2e@example.org", "ed25519", "sign"]
        _run(_gpg(home) + make_key, scratch)
        key = _run(_gpg(home) + ["--export"], scratch)
        with open(os.path.join(directory, "key.gpg"), "wb") as file:
            file.write(key)
        for suite, label in SUITES:
            _suite(repo, suite, label, home)
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
    shutil.rmtree(scratch)


def _architecture() -> str:
    return _run(["dpkg", "--print-architecture"], "/").decode("ascii").strip()


def _suite(repo: str, suite: str, label: str, home: str) -> None:
    dist = os.path.join(repo, "dists", suite)
    binary = os.path.join(dist, "main/binary-" + _architecture())
    os.makedirs(binary)
    listing = _run(["apt-ftparchive", "packages", "pool/" + suite], repo)
    with open(os.path.join(binary, "Packages"), "wb") as file:
        file.write(listing)
    fields = (
        ("Origin", "Debian"),
        ("Label", label),
        ("Suite", suite),
        ("Codename", suite.replace("stable", "bookworm")),
        ("Architectures", _architecture()),
        ("Components", "main"),
    )
    options = []
    for key, value in fields:
        options += ["-o", "APT::FTPArchive::Release::%s=%s" % (key, value)]
    release = _run(["apt-ftparchive"] + options + ["release", dist], repo)
    with open(os.path.join(dist, "Release"), "wb") as file:
        file.write(release)
    signed = os.path.join(dist, "InRelease")
    _run(_gpg(home) + ["--clearsign", "-o", signed, os.path.join(dist, "Release")], repo)


_PUBLISHING = threading.Lock()  # one ends the key agent that the other is using


def publish(directory: str, part: str, debs: str) -> None:
    """Serve the .deb files of a directory as security updates below repo/PART."""
    repo = os.path.join(directory, "repo", part)
    shutil.copytree(debs, os.path.join(repo, "pool", "stable-security"))
    home = os.path.join(directory, "gnupg")
    with _PUBLISHING:
        try:
            _suite(repo, "stable-security", "Debian-Security", home)
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


def sources(port: int) -> str:
    """The sources.list that names this repository, with the key that signs it."""
    line = "deb [signed-by=/etc/apt/keyrings/e2e.gpg] http://127.0.0.1:%d %s main\n"
    return "".join(line % (port, suite) for suite, _ in SUITES)


def more_sources(port: int, part: str) -> str:
    """The line for what publish() serves."""
    line = "deb [signed-by=/etc/apt/keyrings/e2e.gpg] http://127.0.0.1:%d/%s stable-security main\n"
    return line % (port, part)
