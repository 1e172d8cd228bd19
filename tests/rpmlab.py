# SPDX-License-Identifier: BSD-2-Clause
"""Small rpm packages and repositories for the real runs of dnf and zypper.

Everything is built inside a tree: version 1 of every package, installed; what is
offered later lies in a pool from which each case makes its repository. One spec
file holds one generation, because a package can stand in a spec only once.
"""

import os
import subprocess
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Sequence
from typing import Tuple

POOL = "/srv/pool"
REPO = "/srv/repo"


class Offer(NamedTuple):
    """One package of one generation; `lines` are tags, `post` and `pre` its scripts."""

    name: str
    version: str
    release: str
    lines: Tuple[str, ...] = ()
    post: str = ""
    pre: str = ""
    config: str = ""
    file: str = ""


FIRST = [Offer(name, "1.0", "1") for name in (
    "qv-plain", "qv-sec", "qv-base", "qv-secup", "qv-lib", "qv-new", "qv-lost", "qv-swap",
    "qv-clash", "qv-slow", "qv-bad", "qv-oldname")]
FIRST += [Offer("qv-vendor", "1.0", "1", ("Vendor: one",))]
FIRST += [Offer("qv-old", "1.0", "1", file="/usr/share/qv-shared"),
          Offer("qv-app", "1.0", "1", ("Requires: qv-lib",)),
          Offer("qv-conf", "1.0", "1", config="one"),
          Offer("kernel", "5.14.0", "1", ("Provides: installonlypkg(kernel)",)),
          Offer("qv-system", "9", "1", ("Provides: /bin/sh", "Provides: system-release = 9",
                                        "Provides: system-release(releasever) = 9"))]
SECOND = [
    Offer("qv-plain", "2.0", "1"), Offer("qv-sec", "1.0", "2"), Offer("qv-base", "2.0", "1"),
    Offer("qv-secup", "1.0", "2", ("Requires: qv-base >= 2.0",)), Offer("qv-lib", "2.0", "1"),
    Offer("qv-app", "2.0", "1", ("Requires: qv-lib >= 2.0",)),
    Offer("qv-new", "2.0", "1", ("Requires: qv-brandnew",)), Offer("qv-brandnew", "1.0", "1"),
    Offer("qv-lost", "2.0", "1", ("Requires: qv-nowhere",)),
    Offer("qv-swap", "2.0", "1", ("Conflicts: qv-old",)),
    Offer("qv-clash", "2.0", "1", file="/usr/share/qv-shared"),
    Offer("qv-newname", "2.0", "1", ("Obsoletes: qv-oldname < 2.0", "Provides: qv-oldname = 2.0")),
    Offer("qv-conf", "2.0", "1", config="two"), Offer("qv-bad", "2.0", "1", pre="exit 1"),
    Offer("qv-slow", "2.0", "1", post="while [ -e /srv/wait ]; do sleep 0.2; done"),
    Offer("kernel", "5.14.0", "2", ("Provides: installonlypkg(kernel)",))]
THIRD = [Offer("qv-sec", "1.0", "3"),
         Offer("qv-vendor", "2.0", "1", ("Vendor: another",))]
# Never offered: an older kernel with what akmods built for it, and what else wants that kernel.
FOURTH = [Offer("kernel", "5.13.0", "1", ("Provides: installonlypkg(kernel)",)),
          Offer("kmod-qv-5.13.0-1.noarch", "1.0", "1", (
              "Requires: kernel = 5.13.0-1", "Provides: installonlypkg(kernel-module)")),
          Offer("qv-kerneltool", "1.0", "1", ("Requires: kernel = 5.13.0-1",))]
ADVISORIES = (("security", "qv-sec", "1.0", "2"), ("security", "qv-secup", "1.0", "2"),
              ("bugfix", "qv-plain", "2.0", "1"))
REPO_FILE = """[updates]
name=updates
baseurl=file://%s
enabled=1
gpgcheck=0
metadata_expire=1
"""
_ADVISORY = """<update from="x@example.org" status="final" type="%(kind)s" version="1">
<id>LAB-%(name)s</id><title>%(name)s</title><release>9</release><severity>Important</severity>
<issued date="2026-11-01 00:00:00"/><updated date="2026-11-01 00:00:00"/>
<description>made by a test</description>
<pkglist><collection short="lab"><name>lab</name>
<package name="%(name)s" version="%(version)s" release="%(release)s" epoch="0" arch="noarch">
<filename>%(name)s-%(version)s-%(release)s.noarch.rpm</filename></package></collection></pkglist>
</update>
"""


def chroot(root: str, script: str) -> str:
    """Run a shell script in the tree; its output. Raises CalledProcessError."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C"}
    return subprocess.run(["chroot", root, "/bin/sh", "-ec", script], env=environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=True).stdout.decode("utf-8", "replace")


def spec(number: int, offers: Sequence[Offer]) -> str:
    """Return the spec file of one generation."""
    text = ("Name: generation%d\nVersion: 1\nRelease: 1\nSummary: made by a test\nLicense: None\n"
            "BuildArch: noarch\nAutoReqProv: no\n%%description\nmade by a test\n" % number)
    install, rest = "%install\nmkdir -p %{buildroot}/etc %{buildroot}/usr/share\n", ""
    for offer in offers:
        tags = "".join(line + "\n" for line in offer.lines)
        path = "/usr/share/%s-%s-%s" % (offer.name, offer.version, offer.release)
        install += "echo %s > %%{buildroot}%s\n" % (offer.version, path)
        text += ("%%package -n %s\nVersion: %s\nRelease: %s\nSummary: made by a test\n"
                 "AutoReqProv: no\n%s%%description -n %s\nmade by a test\n"
                 % (offer.name, offer.version, offer.release, tags, offer.name))
        rest += "%%files -n %s\n%s\n" % (offer.name, path)
        if offer.file:
            install += "echo %s > %%{buildroot}%s\n" % (offer.version, offer.file)
            rest += offer.file + "\n"
        if offer.config:
            install += "echo %s > %%{buildroot}/etc/%s.conf\n" % (offer.config, offer.name)
            rest += "%%config(noreplace) /etc/%s.conf\n" % offer.name
        for kind, script in (("post", offer.post), ("pre", offer.pre)):
            if script:
                rest += "%%%s -n %s\n%s\n" % (kind, offer.name, script)
    return text + install + rest


def build(root: str) -> None:
    """Build all generations below /srv in the tree and install the first."""
    for number, offers in enumerate((FIRST, SECOND, THIRD, FOURTH), 1):
        with open(os.path.join(root, "srv/%d.spec" % number), "w", encoding="ascii") as file:
            file.write(spec(number, offers))
        chroot(root, "mkdir -p %s; cd /srv; rpmbuild -bb --quiet --define '_rpmdir %s/%d' "
               "--define '_topdir /srv/build' --define '_build_name_fmt "
               "%%%%{NAME}-%%%%{VERSION}-%%%%{RELEASE}.%%%%{ARCH}.rpm' %d.spec"
               % (POOL, POOL, number, number))
    # Debian's rpm keeps its database elsewhere, and up to bookworm wants to be talked into this.
    chroot(root, "mkdir -p /etc/rpm /var/lib/rpm; echo '%%_dbpath /var/lib/rpm' >/etc/rpm/macros; "
           "rpm --help | grep -q force-debian && force=--force-debian; "
           "rpm -i --nodeps $force %s/1/*.rpm" % POOL)


def publish(root: str, names: Sequence[str], advisories: bool = True) -> None:
    """Offer the later versions of the named packages in the repository of the tree."""
    files: List[str] = []
    for number, offers in ((2, SECOND), (3, THIRD)):
        files += ["%s/%d/%s-%s-%s.noarch.rpm" % (POOL, number, o.name, o.version, o.release)
                  for o in offers if o.name in names]
    script = "rm -rf %s; mkdir -p %s; " % (REPO, REPO)
    script += "".join("ln %s %s/; " % (path, REPO) for path in files)
    script += "createrepo_c -q %s; " % REPO
    if advisories:
        fields: List[Dict[str, str]] = [
            {"kind": kind, "name": name, "version": version, "release": release}
            for kind, name, version, release in ADVISORIES if name in names]
        with open(os.path.join(root, "srv/updateinfo.xml"), "w", encoding="ascii") as file:
            file.write("<?xml version='1.0'?>\n<updates>\n%s</updates>\n"
                       % "".join(_ADVISORY % field for field in fields))
        script += "modifyrepo_c --mdtype=updateinfo /srv/updateinfo.xml %s/repodata" % REPO
    chroot(root, script)
