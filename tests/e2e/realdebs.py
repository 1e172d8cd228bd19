# SPDX-License-Identifier: BSD-2-Clause
"""Real packages of Debian for a base tree, downloaded once by apt itself.

The base tree comes from the suite alone, so the security suite has updates for it:
libraries, the interpreter that the product runs on, the C library. These, or packages
that are named with what they depend on, are fetched from the mirrors of this
machine's apt, checked against Debian's keyring, and kept beside the tree; a trial
serves them from its local repository.
"""

import fcntl
import glob
import os
import shutil
import subprocess
import tempfile
from typing import List

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


def ensure(name: str, *wanted: str) -> str:
    """Return the directory of the .deb files for the tree `name`; TreeError if that fails.

    Without `wanted` they are its updates, else these packages and what they depend on.
    """
    kind = tree.TREES[name]
    base = tree.ensure(name)
    path = base.replace("/base-", "/debs-") + "".join("-" + word for word in wanted)
    what = ["--no-install-recommends", "install", *wanted] if wanted else ["dist-upgrade"]
    with open(path + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(path):
            return path
        with tempfile.TemporaryDirectory(dir=tree.cache_dir()) as work:
            apt = _apt(work, base)
            with open(os.path.join(work, "sources.list"), "w", encoding="ascii") as file:
                file.write(_sources(kind.suite))
            # Hooks of this machine's apt have no business here.
            config = os.path.join(work, "apt.conf")
            with open(config, "w", encoding="ascii") as file:
                file.write('Dir::Etc::Parts "/dev/null";\n')
                file.write("".join(option + ";\n" for option in tree.apt_proxy()))
            for words in (["update"], ["--download-only"] + what):
                done = subprocess.run(
                    apt + words,
                    env=dict(os.environ, APT_CONFIG=config),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
                if done.returncode != 0:
                    output = done.stdout.decode("utf-8", "replace")
                    raise tree.TreeError("apt-get %s: %s" % (words[-1], output[-2000:]))
            unfinished = path + ".unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            os.mkdir(unfinished)
            for deb in glob.glob(work + "/cache/archives/*.deb"):
                shutil.move(deb, unfinished)
            os.rename(unfinished, path)
    return path
