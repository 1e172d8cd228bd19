# SPDX-License-Identifier: BSD-2-Clause
"""Make a package for FreeBSD: freebsd_package.py STAGE OUT, after make install-freebsd.

STAGE is what `make install-freebsd DESTDIR=STAGE BYTECODE=no` has filled. Writes
OUT/+MANIFEST (UCL, of which JSON is a part) and OUT/plist, and has pkg-create(8) make
the package where it is installed; elsewhere it says how to. Configuration files are
made of their samples (@sample), so that an administrator's own are never replaced.
The modules are compiled by the package's script: which Python is there is known then.
"""

import json
import os
import shutil
import subprocess
import sys
from typing import Dict
from typing import List

PREFIX = "usr/local"
DESC = """One static file on any web server says when each host may be patched and
whether it reboots. A small daemon on each host, not running as root, pulls
that file and in its window lets the package manager install the updates."""
ORIGIN = "sysutils/qualvosec"
USERS = (("qualvosec", "QualvoSec client"), ("qualvosec-server", "QualvoSec manifest server"))
MODULES = "/usr/local/share/qualvosec"
CONFIGS = ("qualvosec.conf", "helper.conf", "qualvosec_admin.conf", "qualvosec_server.conf")

PRE_INSTALL = "\n".join(
    "pw groupshow {0} >/dev/null 2>&1 || pw groupadd {0}\n"
    "pw usershow {0} >/dev/null 2>&1 || pw useradd {0} -g {0} -c '{1}' -d /nonexistent \\\n"
    "    -s /usr/sbin/nologin -w no".format(*user) for user in USERS)
LOG_DIR = "/var/log/qualvosec-server"
# As the rc.d script does at each start: root rotates the log there by its names.
POST_INSTALL = ("install -d -o qualvosec -g qualvosec -m 0700 /var/db/qualvosec\n"
                "install -d -o root -g qualvosec-server -m 0750 {0}\n"
                "find {0} -maxdepth 1 ! -type d \\( ! -type f -o -links +1 \\) \\\n"
                "    -exec rm -f {{}} \\;\n"
                "[ -e {0}/access.log ] || install -o qualvosec-server -g qualvosec-server \\\n"
                "    -m 0640 /dev/null {0}/access.log\n".format(LOG_DIR) +
                "/usr/local/bin/python3 -IBS -m compileall -q %s || :" % MODULES)
PRE_DEINSTALL = "find %s -depth -type d -name __pycache__ -exec rm -rf {} +" % MODULES
MESSAGE = """QualvoSec needs one rule to start its helper as root: the one for sudo is in
/usr/local/etc/sudoers.d/qualvosec, the one for doas in
/usr/local/share/doc/qualvosec/examples/doas.conf. Then:

  edit /usr/local/etc/qualvosec/qualvosec.conf     at least: server
  sysrc qualvosec_enable=YES
  service qualvosec configtest
  service qualvosec start
"""


class PackageError(Exception):
    """The package cannot be made; one line."""


def files_of(stage: str) -> List[str]:
    """Return every file and every directory without one, relative to the prefix, sorted."""
    top = os.path.join(stage, PREFIX)
    found: List[str] = []
    for base, folders, names in os.walk(top):
        where = os.path.relpath(base, top)
        found.extend(os.path.join(where, name) for name in names)
        if not folders and not names:
            found.append(where + "/")
    return sorted(path[2:] if path.startswith("./") else path for path in found)


def plist(paths: List[str]) -> str:
    """Return the packing list, see pkg-create(8), of paths relative to the prefix."""
    lines = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder == "etc/qualvosec" and name in CONFIGS:
            continue
        if folder == "etc/qualvosec" and name[:-len(".sample")] in CONFIGS:
            lines.append("@sample " + path)
        elif path.endswith("/"):
            lines.append("@dir " + path[:-1])
        elif folder == "etc/sudoers.d":
            lines.append("@config(root,wheel,0440) " + path)
        elif folder == "etc/newsyslog.conf.d":
            lines.append("@config " + path)
        else:
            lines.append(path)
    return "\n".join(lines) + "\n"


def manifest(version: str) -> Dict[str, object]:
    """Return what +MANIFEST holds."""
    return {
        "name": "qualvosec", "version": version, "origin": ORIGIN, "prefix": "/" + PREFIX,
        "comment": "Patch management by one static file", "desc": DESC,
        "maintainer": "maintainers@example.org", "www": "UNKNOWN", "categories": ["sysutils"],
        "licenselogic": "single", "licenses": ["BSD2CLAUSE"],
        "deps": {"python3": {"origin": "lang/python3", "version": "3"}},
        "users": [name for name, _ in USERS], "groups": [name for name, _ in USERS],
        "scripts": {"pre-install": PRE_INSTALL, "post-install": POST_INSTALL,
                    "pre-deinstall": PRE_DEINSTALL},
        "messages": [{"type": "install", "message": MESSAGE}]}


def read_version(stage: str) -> str:
    """Return the version that the staged modules say."""
    path = os.path.join(stage, PREFIX, "share/qualvosec/qualvosec/paths.py")
    if not os.path.exists(path):
        raise PackageError("%s: is missing: make install-freebsd DESTDIR=%s" % (path, stage))
    with open(path, encoding="utf-8") as stream:
        found = [line.split('"')[1] for line in stream if line.startswith("VERSION = ")]
    return found[0]


def main(argv: List[str]) -> int:
    """Write the metadata and make the package where that is possible."""
    if len(argv) != 2:
        sys.stderr.write("usage: freebsd_package.py STAGE OUT\n")
        return 2
    stage, out = (os.path.abspath(path) for path in argv)
    try:
        version = read_version(stage)
        os.makedirs(out, exist_ok=True)
        with open(os.path.join(out, "plist"), "w", encoding="utf-8") as stream:
            stream.write(plist(files_of(stage)))
        with open(os.path.join(out, "+MANIFEST"), "w", encoding="utf-8") as stream:
            json.dump(manifest(version), stream, indent=2)
    except (PackageError, OSError) as error:
        sys.stderr.write("freebsd_package.py: %s\n" % error)
        return 1
    create = ["pkg", "create", "-r", stage, "-m", out, "-p", os.path.join(out, "plist"), "-o", out]
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isdigit():
        # Equal sources then give equal packages.
        create[2:2] = ["-t", epoch]
    if not shutil.which("pkg"):
        print("pkg is not installed here; on FreeBSD: %s" % " ".join(create))
        return 0
    return subprocess.call(create)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
