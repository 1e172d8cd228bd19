# SPDX-License-Identifier: BSD-2-Clause
"""The system layer: Debian plus the installed product plus the old packages.

Built once per run on top of the base tree, in a tree that is not booted: the working
tree's files (what git knows) are copied in and installed by `make install` as an
administrator would do it; the made-up packages of version 1.0 and the key of the
local repository are put where a trial finds them. Trials share it read-only. packaged()
makes the same with the project's own .deb packages instead, as cpack builds them.
"""

import glob
import os
import re
import shutil
import subprocess
from typing import Callable
from typing import Dict
from typing import List
from typing import NamedTuple

from tests.e2e import aptrepo
from tests.e2e import container
from tests.e2e import webserver

OLD_PACKAGES = "/usr/src/e2e"
SOURCE = "/usr/src/qualvosec"
LATER = "/usr/src/qualvosec-later"
USER = "qualvosec"
NAMES = (
    ["SBIN_DIR", "LIBEXEC_DIR", "CONFIG_DIR"]
    + ["STATE_DIR", "HELPER_STATE_DIR", "HELPER_LOG_DIR"]
)


class Paths(NamedTuple):
    """Where the installed product keeps its things, as its own paths.py says."""

    programs: str
    libexec: str
    config: str
    state: str
    helper_state: str
    helper_log: str

    @property
    def helper(self) -> str:
        """The one program of the sudo rule."""
        return os.path.join(self.libexec, "qualvosec-helper")


class System(NamedTuple):
    """What every trial of this run starts from."""

    layers: List[str]
    packages: str  # what aptrepo.build() has made
    checkout: str
    paths: Paths

    @property
    def repo(self) -> str:
        """The repository that is served."""
        return os.path.join(self.packages, "repo")


def copy_checkout(checkout: str, target: str) -> None:
    """Copy what git knows of the checkout, as it is in the working tree."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=" + checkout, "ls-files", "-z"],
        cwd=checkout,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    for name in listing.decode("utf-8").split("\0"):
        source = os.path.join(checkout, name)
        if name and os.path.isfile(source):
            os.makedirs(os.path.dirname(os.path.join(target, name)), exist_ok=True)
            shutil.copy(source, os.path.join(target, name))


_INSTALL = """
cd %s
make install PREFIX=/usr/local PYTHON=/usr/bin/python3
make install-users
useradd --create-home --shell /bin/sh bob
passwd -d root >/dev/null
"""

_INSTALL_PACKAGES = """
dpkg -i /usr/src/packages/*.deb
passwd -d root >/dev/null
"""

NEWER_VERSION = "1.9.9"
_NEWER = """
sed 's/^VERSION = ".*"/VERSION = "%s"/' lib/qualvosec/paths.py >paths.new
mv paths.new lib/qualvosec/paths.py
printf '\\n# new in this version\\n' >>etc/qualvosec.conf
""" % NEWER_VERSION
_PACK = """
cmake -B out -S . -DQUALVOSEC_GENERATORS=DEB
cmake --build out --target package
"""

_ASK_PATHS = """
file=$(find /usr/local /usr/share -path '*/qualvosec/paths.py')
cd "$(dirname "$(dirname "$file")")"
exec /usr/bin/python3 -IBc 'import sys; sys.path.insert(0, "."); from qualvosec import paths
for name in sys.argv[1:]: print("PATHS", name, getattr(paths, name))' %s
"""


def _read_paths(text: str) -> Paths:
    found: Dict[str, str] = dict(re.findall(r"^PATHS (\w+) (\S+)\r?$", text, re.M))
    missing = sorted(set(NAMES) - set(found))
    if missing:
        raise container.ContainerError("paths.py does not name %s:\n%s" % (missing, text))
    return Paths(
        found["SBIN_DIR"],
        found["LIBEXEC_DIR"],
        found["CONFIG_DIR"],
        found["STATE_DIR"],
        found["HELPER_STATE_DIR"],
        found["HELPER_LOG_DIR"],
    )


def _layer(base: str, work: str, name: str, packages: str, install: Callable[[str], str]) -> Paths:
    """Fill work/upper on top of the base tree; install(root) puts files and returns a script."""
    overlay = container.Overlay([base], work)
    overlay.mount()
    try:
        root = overlay.root
        shutil.copytree(os.path.join(packages, "old"), root + OLD_PACKAGES)
        os.makedirs(root + "/etc/apt/keyrings", exist_ok=True)
        shutil.copy(os.path.join(packages, "key.gpg"), root + "/etc/apt/keyrings/e2e.gpg")
        with open(root + "/etc/apt/sources.list", "w", encoding="ascii") as file:
            file.write(aptrepo.sources(webserver.REPO_PORT))
        log = container.prepare(root, name, install(root))
        with open(os.path.join(work, "install.log"), "w", encoding="utf-8") as file:
            file.write(log)
        return _read_paths(container.prepare(root, name, _ASK_PATHS % " ".join(NAMES)))
    finally:
        overlay.unmount()


def build(base: str, work: str, checkout: str, name: str) -> System:
    """Make the system layer below `work`; ContainerError or OSError if that fails."""
    packages = os.path.join(work, "packages")
    aptrepo.build(packages)

    def install(root: str) -> str:
        copy_checkout(checkout, root + SOURCE)
        return _INSTALL % SOURCE

    layer = os.path.join(work, "system")
    paths = _layer(base, layer, name, packages, install)
    return System([os.path.join(layer, "upper"), base], packages, checkout, paths)


def has_commit(checkout: str, commit: str) -> bool:
    """Whether git has this commit: a clone without history has not."""
    argv = ["git", "-c", "safe.directory=" + checkout, "cat-file", "-e", commit + "^{commit}"]
    done = subprocess.run(argv, cwd=checkout, stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def copy_commit(checkout: str, commit: str, target: str) -> None:
    """Copy all files of a commit."""
    os.makedirs(target)
    archive = subprocess.run(
        ["git", "-c", "safe.directory=" + checkout, "archive", commit],
        cwd=checkout,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    subprocess.run(["tar", "-x", "-C", target], input=archive, check=True)


def pack(checkout: str, target: str, newer: bool) -> None:
    """Build the .deb packages of the checkout into `target`, as they are or of a later version."""
    copy_checkout(checkout, target + ".source")
    _pack(target, _NEWER if newer else "")


def _pack(target: str, change: str = "") -> None:
    """Build the .deb packages of target.source into `target`."""
    container.call(["sh", "-ec", "cd '%s'\n%s" % (target + ".source", change + _PACK)])
    os.mkdir(target)
    for deb in glob.glob(target + ".source/out/*.deb"):
        shutil.move(deb, target)


def packaged(made: System, work: str, name: str) -> System:
    """The same system as `made`, but with our packages; later ones lie in work/newer."""
    for version in ("present", "newer"):
        pack(made.checkout, os.path.join(work, version), version == "newer")

    def install(root: str) -> str:
        shutil.copytree(os.path.join(work, "present"), root + "/usr/src/packages")
        return _INSTALL_PACKAGES

    layer = os.path.join(work, "system")
    os.mkdir(layer)
    paths = _layer(made.layers[-1], layer, name, made.packages, install)
    return made._replace(layers=[os.path.join(layer, "upper"), made.layers[-1]], paths=paths)


def earlier(made: System, work: str, name: str, commit: str, with_packages: bool) -> System:
    """The same system as `made`, but with the product of an old commit installed.

    Copied by its `make install`, with the present files in LATER, or from its .deb
    packages, with the present ones, of a later version, in work/newer.
    """
    source = os.path.join(work, "present")
    os.makedirs(work)
    copy_commit(made.checkout, commit, source + ".source")
    if with_packages:
        _pack(source)
        pack(made.checkout, os.path.join(work, "newer"), newer=True)

    def install(root: str) -> str:
        if with_packages:
            shutil.copytree(source, root + "/usr/src/packages")
            return _INSTALL_PACKAGES
        shutil.copytree(source + ".source", root + SOURCE, symlinks=True)
        copy_checkout(made.checkout, root + LATER)
        return _INSTALL % SOURCE

    layer = os.path.join(work, "system")
    os.mkdir(layer)
    paths = _layer(made.layers[-1], layer, name, made.packages, install)
    return made._replace(layers=[os.path.join(layer, "upper"), made.layers[-1]], paths=paths)
