#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The README's commands for Alpine, in a booted Alpine: newcomer_alpine.py DIRECTORY

DIRECTORY is the root file system of an Alpine that has make, python3 and doas, which the
first command finds there, without network, and OpenRC. It is the read-only lower layer of a
container. Its busybox, OpenRC and apk are the real ones: after the quick start the host
patches itself out of a signed repository that is made here, with apk-tools 3. Where the tree
has sudo and no doas, what the README does for doas is told as NOT RUN.
"""

import os
import subprocess
import sys
import tempfile
from typing import List

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from tests import newcomer  # noqa: E402
from tests.e2e import container  # noqa: E402
from tests.e2e import system as systems  # noqa: E402

REPOSITORY = "/srv/apk/Packages.adb"
# Made by the apk of the tree: a package in two versions, and an index with the newer one.
PACKAGES = """
mkdir -p /srv/apk
for version in 1.0 1.1; do
    mkdir -p /tmp/made/$version/usr/share/e2e
    echo $version >/tmp/made/$version/usr/share/e2e/victim
    apk mkpkg -I name:e2e-victim -I version:$version-r0 -I arch:noarch -I license:none \
        -I description:none -I origin:e2e-victim -F /tmp/made/$version --sign-key /root/e2e.rsa \
        -o /srv/apk/e2e-victim-$version-r0.apk
done
apk mkndx --sign-key /root/e2e.rsa -o {0} /srv/apk/e2e-victim-1.1-r0.apk
: >/etc/apk/repositories
grep -v e2e-victim /etc/apk/world >/tmp/world || :
apk add --no-network /srv/apk/e2e-victim-1.0-r0.apk
(cat /tmp/world; echo e2e-victim) | sort -u >/etc/apk/world
echo {0} >/etc/apk/repositories
apk version -l '<' | grep '^e2e-victim-1.0-r0 *< *1.1-r0'
""".format(REPOSITORY)
# Without the README, which has the server on Debian.
SERVER = """
mkdir -p /srv/patching
: >/srv/patching/patch.yaml
qualvosec-admin add "$host" --weekday $(LC_ALL=C date +%A) --time $(date +%H:%M) --no-reboot
rc-service qualvosec_server start
"""


class Alpine(container.Container):
    """A container whose first process is busybox, which starts OpenRC."""

    def wait_booted(self, timeout_s: float = container.BOOT_S) -> None:
        """Wait until OpenRC has started the default run level."""

        def booted() -> bool:
            if not self.alive:
                raise container.ContainerError("the container ended: %s" % self.events)
            # Before the leader has entered its root, its path leads to ours.
            if not self.leader() or not os.path.exists(
                    "/proc/%d/root/etc/alpine-release" % self.leader()):
                return False
            return self.run(["cat", "/run/openrc/softlevel"]).out.strip() == "default"

        container.wait_for("OpenRC to start the default run level", booted, timeout_s)


def layer(work: str) -> str:
    """Make what is on top of the tree: a checkout, and a key for the repository."""
    folder = os.path.join(work, "layer")
    systems.copy_checkout(ROOT, folder + newcomer.CHECKOUT)
    os.makedirs(folder + "/etc/apk/keys")
    key = folder + "/root/e2e.rsa"
    for words in (["genrsa", "-out", key, "2048"],
                  ["rsa", "-in", key, "-pubout", "-out", folder + "/etc/apk/keys/e2e.rsa.pub"]):
        subprocess.run(["openssl"] + words, check=True, stderr=subprocess.DEVNULL)
    os.chmod(folder + "/root", 0o700)
    # The tree's, without terminals, which no container has.
    with open(folder + "/etc/inittab", "w", encoding="ascii") as file:
        file.write("::sysinit:/sbin/openrc sysinit\n::sysinit:/sbin/openrc boot\n"
                   "::wait:/sbin/openrc default\n::shutdown:/sbin/openrc shutdown\n")
    return folder


def good(box: container.Container, what: str, text: str) -> str:
    """Output of a script that must succeed."""
    done = box.run(["sh", "-ec", text], timeout_s=120)
    if done.returncode != 0:
        raise newcomer.NotSo("%s: %s" % (what, done.text))
    return done.out


def alpine(tree: str, work: str) -> None:
    """Run the block of Alpine, then wait for the host to have patched itself."""
    blocks = newcomer.read()
    chosen = newcomer.names(blocks, {})
    box = Alpine("qve2e-%d-alpine" % os.getpid(), [layer(work), tree], work, "alpine")
    try:
        box.create()
        box.start()
        release = box.read("/etc/alpine-release").strip()
        newcomer.say("PASS alpine: Alpine %s, %s" % (
            release, good(box, "apk", "apk --version").strip()))
        good(box, "packages", PACKAGES)
        doas = box.run(["sh", "-c", "command -v doas"]).returncode == 0
        commands = blocks["alpine"]
        for command in commands:
            text = command.text
            if command == commands[-1]:
                good(box, "the server", chosen + SERVER)
            if not doas and "doas" in text:
                newcomer.say("SKIP alpine: NOT RUN: there is no doas here: README.md:%d: %s" % (
                    command.line, text))
                continue
            if not doas:
                text = text.replace(" SUDOERSDIR=", "")
            newcomer.run(box, "alpine", command._replace(text=text), chosen)
        newcomer.run(box, "alpine", newcomer.Command(0, "qualvosec status", "last run ok"), "")
        found = good(box, "apk", "apk info -v")
        if "e2e-victim-1.1-r0" not in found.split():
            raise newcomer.NotSo("alpine: e2e-victim was not patched:\n%s" % found)
        newcomer.say("PASS alpine: e2e-victim was patched from 1.0-r0 to 1.1-r0")
        good(box, "stop", "rc-service qualvosec stop && ! pgrep -f '[s]bin/qualvosec -c'")
        newcomer.say("PASS alpine: the service stops")
    except BaseException:
        for name in ("/var/log/messages", "/var/log/qualvosec-helper/run.log"):
            newcomer.say("".join(box.read(name).splitlines(True)[-60:]))
        raise
    finally:
        box.stop()


def main(argv: List[str]) -> int:
    """Try it; 0, 1 for a command that failed, 2 for usage."""
    if len(argv) != 2 or not os.path.isfile(os.path.join(argv[1], "etc/alpine-release")):
        sys.stderr.write("usage: newcomer_alpine.py DIRECTORY, the root of an Alpine\n")
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="qualvosec-newcomer-") as work:
            os.chmod(work, 0o755)
            alpine(os.path.abspath(argv[1]), work)
    except (newcomer.NotSo, container.ContainerError) as error:
        newcomer.say("FAIL %s" % error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
