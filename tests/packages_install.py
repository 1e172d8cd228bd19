#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Live with the packages: packages_install.py FOLDER NEWER [bullseye|bookworm|trixie ...]

FOLDER holds the .deb and .rpm of one version, NEWER those of a later one. In a booted
Debian in a container the packages are installed, configured, started; the host then
patches itself, and what it upgrades is QualvoSec, while the run goes on; then they are
removed and purged, and nothing may be left. The .rpm are installed into a private root
and started from there. Needs root and what make e2e needs, and dpkg-dev, apt-utils and rpm. One
line for each thing shown; exit code 1 at the first that is not so.
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import List

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from tests.e2e import container  # noqa: E402
from tests.e2e import tree  # noqa: E402

FQDN = "packaged.example.org"
ORDER = ("common", "client", "admin", "server")
CONFIG = ("[general]\nserver: http://127.0.0.1:8080\nfqdn: %s\nmonitoring: enable\n"
          "log_level: INFO\n# of the administrator\n" % FQDN)
IDLE = "%s:\n  patch: false\n" % FQDN


class NotSo(Exception):
    """Something is not as it has to be."""


def show(what: str, found: object, detail: str = "") -> None:
    """Print what was shown, or raise NotSo."""
    if not found:
        raise NotSo("%s: %s" % (what, detail))
    sys.stdout.write("shown %s\n" % what)
    sys.stdout.flush()


def good(box: container.Container, *argv: str) -> str:
    """Output of a command in the container that must succeed."""
    done = box.run(list(argv), timeout_s=300.0, env={"DEBIAN_FRONTEND": "noninteractive"})
    if done.returncode != 0:
        raise NotSo("%s: %s" % (" ".join(argv), done.text))
    return done.out + done.err


def ours(box: container.Container) -> List[str]:
    """Every file that has our name, but those of this trial and of dpkg's own book-keeping."""
    done = box.run(["find", "/", "-xdev", "-name", "*qualvosec*", "!", "-path", "/proc/*",
                    "!", "-path", "/sys/*", "!", "-path", "/srv/*", "!", "-path", "/run/*",
                    "!", "-path", "/var/lib/dpkg/*", "!", "-path", "/var/cache/apt/*",
                    "!", "-path", "/var/lib/apt/*", "!", "-path", "/tmp/systemd-private-*",
                    "!", "-path", "/var/tmp/*"])
    return done.out.split()


def repository(folder: str, packages: str) -> None:
    """Make an apt repository of .deb files."""
    os.makedirs(folder, exist_ok=True)
    for path in glob.glob(os.path.join(packages, "*.deb")):
        shutil.copy(path, folder)
    with open(os.path.join(folder, "Packages"), "wb") as out:
        subprocess.run(["dpkg-scanpackages", "-m", "."], cwd=folder, stdout=out,
                       stderr=subprocess.DEVNULL, check=True)
    # It says which indexes there are; without it apt asks in vain for translations.
    with open(os.path.join(folder, "Release.new"), "wb") as out:
        subprocess.run(["apt-ftparchive", "release", "."], cwd=folder, stdout=out, check=True)
    os.rename(os.path.join(folder, "Release.new"), os.path.join(folder, "Release"))


def install(box: container.Container, packages: str) -> None:
    """Install, look around, configure and start."""
    names = sorted(glob.glob(os.path.join(packages, "*.deb")))
    show("four .deb files", len(names) == 4, str(names))
    repository(box.path("/srv/old"), packages)
    good(box, "sh", "-c", "dpkg -i /srv/old/*.deb")
    show("programs start from their places",
         good(box, "qualvosec", "--version").startswith("qualvosec "))
    line = good(box, "getent", "passwd", "qualvosec")
    show("user without a shell", line.strip().endswith(":/var/lib/qualvosec:/usr/sbin/nologin"),
         line)
    show("state directory of the user alone",
         good(box, "stat", "-c", "%U %G %a", "/var/lib/qualvosec") == "qualvosec qualvosec 700\n")
    show("bytecode is made", glob.glob(box.path(
        "/usr/share/qualvosec/qualvosec/client/__pycache__/daemon.*.pyc")))
    enabled = [box.run(["systemctl", "is-enabled", unit]).out.strip() for unit in (
        "qualvosec.service", "qualvosec-once.timer", "qualvosec-server.service")]
    show("client enabled, timer and server not", enabled == ["enabled", "disabled", "disabled"],
         str(enabled))
    show("nothing was started before it was configured",
         box.run(["systemctl", "is-active", "qualvosec.service"]).out == "inactive\n")
    good(box, "visudo", "-c", "-q")
    box.write("/etc/qualvosec/qualvosec.conf", CONFIG)
    box.write("/srv/patching/patch.yaml", IDLE)
    good(box, "systemctl", "start", "qualvosec-server.service")
    # A client that finds no server asks again minutes later.
    ask = "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health')"
    container.wait_for("the server", lambda: box.run(["python3", "-c", ask]).returncode == 0, 60)
    good(box, "systemctl", "start", "qualvosec.service")
    show("configtest is content", " ok: " in good(
        box, "sudo", "-u", "qualvosec", "qualvosec", "configtest"))
    container.wait_for("status OK", lambda: box.run(["qualvosec", "status"]).returncode == 0, 60)
    show("status is OK", True)
    table = good(box, "qualvosec-admin", "list", "--manifest", "/srv/patching/patch.yaml",
                 "--log", "/var/log/qualvosec-server/access.log")
    show("overview knows the host", FQDN in table, table)
    for page in ("8 qualvosec", "5 qualvosec.conf", "5 qualvosec-manifest", "8 qualvosec-admin"):
        section, name = page.split()
        show("page %s(%s)" % (name, section), os.path.exists(
            box.path("/usr/share/man/man%s/%s.%s.gz" % (section, name, section))))


def upgrade_itself(box: container.Container, newer: str) -> None:
    """Let the host's own run install a newer QualvoSec."""
    before = good(box, "qualvosec", "--version")
    pid = good(box, "systemctl", "show", "-p", "MainPID", "qualvosec.service")
    repository(box.path("/srv/new"), newer)
    box.write("/etc/apt/sources.list", "deb [trusted=yes] file:/srv/new ./\n")
    now = time.gmtime(time.time() - 60)
    box.write("/srv/patching/patch.yaml",
              "%s:\n  patch: true\n  reboot: false\n  weekday: %d\n  hour: %d\n  minute: %d\n"
              "  duration: 120\n" % (FQDN, now.tm_wday, now.tm_hour, now.tm_min))
    # Without its cache the daemon fetches at once, and not some minutes later.
    good(box, "systemctl", "stop", "qualvosec.service")
    good(box, "rm", "/var/lib/qualvosec/policy.json")
    good(box, "systemctl", "start", "qualvosec.service")

    def done() -> bool:
        found = box.run(["qualvosec", "status", "--json"]).out
        return '"outcome": "ok"' in found or '"outcome": "failed"' in found

    container.wait_for("a run that ends", done, 300)
    # Exit code 1, a warning: soon after a boot the clock is not believed yet.
    found = box.run(["qualvosec", "status", "--json"]).out
    show("run that upgraded QualvoSec itself ended well", '"outcome": "ok"' in found, found)
    show("all four packages were upgraded", '"upgraded": 4' in found, found)
    after = good(box, "qualvosec", "--version")
    show("the newer version is there", after != before, after)
    show("the daemon was restarted",
         good(box, "systemctl", "show", "-p", "MainPID", "qualvosec.service") != pid)
    show("the daemon runs", box.run(["systemctl", "is-active", "qualvosec.service"]).out
         == "active\n")
    show("the newer daemon answers", '"version": "%s"' % after.split()[1] in found, found)
    show("the administrator's configuration stayed",
         box.read("/etc/qualvosec/qualvosec.conf") == CONFIG)
    show("the new default lies beside it",
         box.read("/etc/qualvosec/qualvosec.conf.dpkg-dist") != "")
    show("the package database is clean", good(box, "dpkg", "--audit") == "")


def remove(box: container.Container) -> None:
    """Remove, then purge: configuration stays, then nothing does."""
    names = ["qualvosec", "qualvosec-admin", "qualvosec-server", "qualvosec-common"]
    good(box, "dpkg", "-r", *names)
    show("removal ends the daemon", box.run(["pgrep", "-f", "/usr/sbin/qualvosec"]).returncode)
    show("removal keeps the configuration",
         box.read("/etc/qualvosec/qualvosec.conf") == CONFIG)
    show("removal leaves no module and no bytecode",
         not os.path.exists(box.path("/usr/share/qualvosec")))
    good(box, "dpkg", "-P", *names)
    left = ours(box)
    show("purge leaves no file", left == [], "\n".join(left))
    show("purge leaves the user", box.run(["getent", "passwd", "qualvosec"]).returncode == 0)


def with_rpm(lowers: List[str], packages: str, newer: str, work: str) -> None:
    """Install the .rpm into a private root, start from there, upgrade, erase."""
    overlay = container.Overlay(lowers, work)
    overlay.mount()
    try:
        def rpm(*words: str) -> str:
            # Only python3 and sudo of Debian are there, which rpm cannot know.
            done = subprocess.run(["rpm", "--root", overlay.root, "--nodeps"] + list(words),
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode != 0:
                raise NotSo("rpm %s: %s" % (" ".join(words), done.stdout.decode()))
            return done.stdout.decode()

        rpm("-i", *sorted(glob.glob(os.path.join(packages, "*.rpm"))))
        script = ("for program in qualvosec qualvosec-admin qualvosec-server; do\n"
                  "$program --version; done\n/usr/libexec/qualvosec/qualvosec-helper --version\n"
                  "visudo -c -q\nstat -c '%U %a' /var/lib/qualvosec /var/log/qualvosec-server\n"
                  "ls /usr/share/qualvosec/qualvosec/client/__pycache__ | grep -c daemon\n"
                  "echo '{\"v\":1,\"op\":\"status\",\"wait\":false}' |\n"
                  "sudo -u qualvosec sudo -n /usr/libexec/qualvosec/qualvosec-helper\n"
                  "systemctl is-enabled qualvosec.service || :\n")
        said = container.prepare(overlay.root, os.path.basename(work), script)
        show("programs of the .rpm start", said.count(" 1.") == 4, said)
        show("directories of the .rpm are their users' own",
             "qualvosec 700\nqualvosec-server 750\n" in said, said)
        show("the .rpm make bytecode", "\n1\n" in said, said)
        show("the sudo rule of the .rpm leads to root", '"status": "ok"' in said, said)
        with open(os.path.join(overlay.root, "etc/qualvosec/qualvosec.conf"), "w",
                  encoding="utf-8") as stream:
            stream.write(CONFIG)
        rpm("-U", *sorted(glob.glob(os.path.join(newer, "*.rpm"))))
        with open(os.path.join(overlay.root, "etc/qualvosec/qualvosec.conf"),
                  encoding="utf-8") as stream:
            show("upgrade of the .rpm keeps the configuration", stream.read() == CONFIG)
        rpm("-e", "qualvosec", "qualvosec-admin", "qualvosec-server", "qualvosec-common")
        left = [path for path in ("usr/share/qualvosec", "usr/libexec/qualvosec",
                                  "usr/sbin/qualvosec", "etc/sudoers.d/qualvosec")
                if os.path.lexists(os.path.join(overlay.root, path))]
        show("erasing the .rpm leaves no program", left == [], str(left))
    finally:
        overlay.unmount()


def main(argv: List[str]) -> int:
    """Show everything in each release; returns the exit code."""
    if len(argv) < 3 or os.geteuid() != 0 or set(argv[3:]) - {"bullseye", "bookworm", "trixie"}:
        sys.stderr.write("usage, as root: packages_install.py FOLDER NEWER [SUITE ...]\n")
        return 2
    return max([live(suite, argv) for suite in argv[3:] or ["bookworm"]])


def live(suite: str, argv: List[str]) -> int:
    """Show everything in one release of Debian; returns 0 or 1."""
    sys.stdout.write("in %s\n" % suite)
    work = tempfile.mkdtemp(prefix="qualvosec-install-")
    box = container.Container("qvpkg-%d" % os.getpid(), [], os.path.join(work, "deb"), FQDN)
    try:
        host = tree.TREES["host"]
        if suite != host.suite:
            name = "host-" + suite
            # Not every release has it under this name.
            words = [word for word in host.packages if word != "opendoas"]
            tree.TREES[name] = host._replace(name=name, suite=suite, packages=words)
        lowers = [tree.ensure("host" if suite == host.suite else name)]
        with_rpm(lowers, argv[1], argv[2], os.path.join(work, "qvrpm-%d" % os.getpid()))
        box = container.Container("qvpkg-%d" % os.getpid(), lowers,
                                  os.path.join(work, "deb"), FQDN)
        os.makedirs(box.work)
        box.create()
        box.start()
        install(box, argv[1])
        upgrade_itself(box, argv[2])
        remove(box)
        return 0
    except (NotSo, container.ContainerError, tree.TreeError) as error:
        sys.stdout.write("FAULT %s\n" % error)
        if os.path.isdir(box.root):
            sys.stdout.write("".join("     %s\n" % line for line
                                     in box.journal().splitlines()[-60:]))
        return 1
    finally:
        box.stop()
        shutil.rmtree(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
