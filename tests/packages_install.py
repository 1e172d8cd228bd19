#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Live with the packages: packages_install.py FOLDER NEWER [bullseye|bookworm|trixie|rpm ...]

FOLDER holds the .deb and .rpm of one version, NEWER those of a later one. In booted
Debians in containers the .deb are installed, configured and started; the host patches
and reboots itself, then installs a newer QualvoSec in a run of its own, through sudo and
through the socket; then they are removed, installed again and purged, and the disk has to
be as it was. The .rpm are installed into private roots and started from there, and by
dnf into a booted system (`rpm`). Needs root and what make e2e needs, and dpkg-dev,
apt-utils and rpm. One line for each thing shown; exit code 1 if one is not so.
"""

import glob
import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Callable
from typing import Dict
from typing import List
from typing import Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from tests import mdoc  # noqa: E402
from tests import packages_rpm  # noqa: E402
from tests.e2e import container  # noqa: E402
from tests.e2e import tree  # noqa: E402
from tests.e2e import trial  # noqa: E402
from tests.packages_rpm import FQDN  # noqa: E402
from tests.packages_rpm import NotSo  # noqa: E402
from tests.packages_rpm import good  # noqa: E402
from tests.packages_rpm import show  # noqa: E402

SUITES = ("bullseye", "bookworm", "trixie")
NAMES = ("qualvosec", "qualvosec-admin", "qualvosec-server", "qualvosec-common")
IDLE = "%s:\n  patch: false\n" % FQDN
DROP_IN = "/etc/systemd/system/qualvosec.service.d"
JOBS = 2
# What the system, apt, dpkg and this trial write while packages come and go; a path with
# our name in it is never among it.
THEIRS = re.compile(
    r"/(var/log/|var/cache/|var/lib/(apt|dpkg|systemd)/|tmp/|var/tmp/|root/|dev/|run/)"
    r"|/etc/((passwd|group|shadow|gshadow|subuid|subgid)-?|\.pwd\.lock|machine-id|hostname)$"
    r"|/etc/(resolv\.conf|mtab|adjtime|apt/sources\.list)$|/etc/systemd/system/\S+\.wants$")


def snapshot(box: container.Container) -> Dict[str, Tuple[int, ...]]:
    """Every file of the disk, seen from outside: mode, owner, size and time."""
    found: Dict[str, Tuple[int, ...]] = {}
    for base, folders, names in os.walk(box.root):
        for name in folders + names:
            path = os.path.join(base, name)
            info = os.lstat(path)
            found[path[len(box.root):]] = (info.st_mode, info.st_uid) + (
                () if name in folders else (info.st_size, int(info.st_mtime)))
    return found


def changed(before: Dict[str, Tuple[int, ...]], after: Dict[str, Tuple[int, ...]]) -> List[str]:
    """What came, went or is another now, but for what the system itself writes."""
    return sorted(path for path in set(before) | set(after)
                  if before.get(path) != after.get(path)
                  and ("qualvosec" in path or not THEIRS.match(path)))


def thing(folder: str, version: str) -> None:
    """Make a package that the trial patches."""
    top = os.path.join(folder, "thing-" + version)
    os.makedirs(top + "/DEBIAN")
    os.makedirs(top + "/usr/share/thing")
    with open(top + "/DEBIAN/control", "w", encoding="ascii") as stream:
        stream.write("Package: thing\nVersion: %s\nArchitecture: all\nMaintainer: Nobody "
                     "<nobody@example.org>\nDescription: for a trial\n" % version)
    with open(top + "/usr/share/thing/version", "w", encoding="ascii") as stream:
        stream.write(version + "\n")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", top, folder],
                   stdout=subprocess.DEVNULL, check=True)
    shutil.rmtree(top)


def repository(folder: str, packages: str, version: str) -> None:
    """Make an apt repository of .deb files and of one version of the thing to be patched."""
    os.makedirs(folder)
    for path in glob.glob(os.path.join(packages, "*.deb")):
        shutil.copy(path, folder)
    thing(folder, version)
    with open(os.path.join(folder, "Packages"), "wb") as out:
        subprocess.run(["dpkg-scanpackages", "-m", "."], cwd=folder, stdout=out,
                       stderr=subprocess.DEVNULL, check=True)
    # It says which indexes there are; without it apt asks in vain for translations.
    with open(os.path.join(folder, "Release.new"), "wb") as out:
        subprocess.run(["apt-ftparchive", "release", "."], cwd=folder, stdout=out, check=True)
    os.rename(os.path.join(folder, "Release.new"), os.path.join(folder, "Release"))


def offer(box: container.Container, folder: str) -> None:
    """Name the only repository of the host."""
    box.write("/etc/apt/sources.list", "deb [trusted=yes] file:%s ./\n" % folder)


def enabled(box: container.Container) -> List[str]:
    """Whether the units of the packages are enabled: client, timer, socket, server."""
    return [box.run(["systemctl", "is-enabled", unit]).out.strip() for unit in (
        "qualvosec.service", "qualvosec-once.timer", "qualvosec-helper.socket",
        "qualvosec-server.service")]


def install(box: container.Container) -> None:
    """Install and look around."""
    said = good(box, "sh", "-c", "apt-get install -y /srv/old/qualvosec*.deb")
    packages_rpm.names_next_steps(box, said)
    show("programs start from their places",
         good(box, "qualvosec", "--version").startswith("qualvosec "))
    line = good(box, "getent", "passwd", "qualvosec")
    show("user without a shell", line.strip().endswith(":/var/lib/qualvosec:/usr/sbin/nologin"),
         line)
    show("user cannot log in with a password", box.read("/etc/shadow").split(
        "\nqualvosec:")[1][0] in "!*", "")
    show("state directory of the user alone",
         good(box, "stat", "-c", "%U %G %a", "/var/lib/qualvosec") == "qualvosec qualvosec 700\n")
    show("bytecode is made", glob.glob(box.path(
        "/usr/share/qualvosec/qualvosec/client/__pycache__/daemon.*.pyc")))
    show("client enabled; timer, socket and server not",
         enabled(box) == ["enabled", "disabled", "disabled", "disabled"], str(enabled(box)))
    show("nothing was started before it was configured",
         box.run(["systemctl", "is-active", "qualvosec.service"]).out == "inactive\n")
    good(box, "visudo", "-c", "-q")
    show("dpkg finds every file as it was packed", good(box, "dpkg", "-V", *NAMES) == "")
    for page in ("8 qualvosec", "5 qualvosec.conf", "5 qualvosec-manifest", "8 qualvosec-admin",
                 "8 qualvosec-helper", "8 qualvosec-server"):
        section, name = page.split()
        show("page %s(%s)" % (name, section), os.path.exists(
            box.path("/usr/share/man/man%s/%s.%s.gz" % (section, name, section))))


def configure(box: container.Container) -> None:
    """Configure server and client, start both, ask both."""
    box.write("/etc/qualvosec/qualvosec.conf", packages_rpm.CONFIG)
    box.write("/etc/qualvosec/helper.conf", "[general]\nreboot_delay: 0\n")
    box.write("/srv/patching/patch.yaml", IDLE)
    packages_rpm.start_server(box)
    good(box, "systemctl", "start", "qualvosec.service")
    show("configtest is content", " ok: " in good(
        box, "sudo", "-u", "qualvosec", "qualvosec", "configtest"))
    healthy(box, "status is OK")
    table = good(box, "qualvosec-admin", "list", "--manifest", "/srv/patching/patch.yaml",
                 "--log", "/var/log/qualvosec-server/access.log")
    show("overview knows the host", FQDN in table, table)


def healthy(box: container.Container, what: str) -> None:
    """Wait until the daemon, newly started, says that all is well."""
    container.wait_for(what, lambda: box.run(["qualvosec", "status"]).returncode == 0, 60)
    show(what, True)


def version(box: container.Container) -> str:
    """The installed version of the thing."""
    return good(box, "dpkg-query", "-W", "-f=${Version}", "thing")


def window(box: container.Container, seconds_ago: float, **fields: object) -> None:
    """Publish a window that is open."""
    entry: Dict[str, object] = {"patch": True, "reboot": False}
    entry.update(trial.opening(seconds_ago))
    entry.update(fields)
    box.write("/srv/patching/patch.yaml", trial.yaml_entry(FQDN, entry))


def page(box: container.Container, name: str) -> str:
    """An installed page of section 8 as a plain file outside."""
    target = os.path.join(box.work, name + ".8")
    packed = box.path("/usr/share/man/man8/%s.8.gz" % name)
    with gzip.open(packed, "rb") as source, open(target, "wb") as stream:
        stream.write(source.read())
    return target


def harden(box: container.Container) -> None:
    """Change to the socket as the installed manual page says."""
    blocks = mdoc.literal(page(box, "qualvosec-helper"), "DESCRIPTION/Through a socket")
    show("the page names the files of the package",
         len(blocks) == 1 and "/usr/share/doc/qualvosec/" in blocks[0], str(blocks))
    good(box, "sh", "-ec", re.sub(r"^# ", "", blocks[0]))
    shown = good(box, "systemctl", "show", "-p", "NoNewPrivileges", "qualvosec.service")
    show("client is confined", shown == "NoNewPrivileges=yes\n", shown)


def patch_and_reboot(box: container.Container) -> None:
    """One run installs an update, and a newer QualvoSec, which then asks for the reboot."""
    before = good(box, "qualvosec", "--version").split()[1]
    boot = box.boot_id()
    offer(box, "/srv/new")
    window(box, 60, duration=30, reboot=True)
    said = good(box, "sudo", "-u", "qualvosec", "qualvosec", "once", "--dry-run")
    show("dry run says what would be done and does nothing",
         "would upgrade" in said and version(box) == "1.0", said)
    packages_rpm.fetch_now(box)
    container.wait_for("the reboot", lambda: box.reboots, 150)
    box.wait_booted()
    packages_rpm.listening(box)

    def verified() -> bool:
        found = packages_rpm.state(box)
        return bool(found) and found["reboot"]["state"] == "verified"

    container.wait_for("a verified reboot", verified, 60)
    found = packages_rpm.state(box)
    show("run that upgraded QualvoSec itself ended well",
         found["last_run"]["outcome"] == "ok", str(found))
    show("all four packages and the other were upgraded",
         found["last_run"]["upgraded"] == 5 and version(box) == "1.1", str(found))
    after = good(box, "qualvosec", "--version").split()[1]
    show("the newer version is there and answers",
         after != before and found["version"] == after, str(found))
    told = re.findall(r" qualvosec\[\d+\]: (started version=\S+|outcome|reboot state=\w+)",
                      box.journal())
    show("the newer daemon took over in the middle of the run and asked for the reboot",
         told[-6:] == ["started version=" + before, "started version=" + after, "outcome",
                       "reboot state=requested", "started version=" + after,
                       "reboot state=verified"], str(told))
    show("it was a reboot, and a single one", box.boot_id() != boot and box.reboots == 1)
    packages_rpm.fetch_now(box)
    healthy(box, "after the boot all is well")
    show("the administrator's configuration stayed",
         box.read("/etc/qualvosec/qualvosec.conf") == packages_rpm.CONFIG)
    show("the new default lies beside it",
         box.read("/etc/qualvosec/qualvosec.conf.dpkg-dist") != "")
    show("the package database is clean", good(box, "dpkg", "--audit") == "")
    lines = [line for line in box.run(["dpkg", "-V"] + list(NAMES)).out.splitlines()
             if not re.search(r" c /etc/qualvosec/(qualvosec|helper)\.conf$", line)]
    show("dpkg still finds every file as it was packed", lines == [], str(lines))


def without_daemon(box: container.Container) -> None:
    """The timer, and the line for cron, in place of the daemon."""
    good(box, "systemctl", "disable", "--now", "qualvosec.service")
    good(box, "systemctl", "start", "qualvosec-once.service")
    show("the timer's service ends well", True)
    calendar = box.run(["systemctl", "cat", "qualvosec-once.timer"]).out
    show("the timer is that of the package", "\nOnCalendar=*:0/10\n" in calendar, calendar)
    packages_rpm.quiet_timer(box)
    good(box, "systemctl", "daemon-reload")
    good(box, "systemctl", "enable", "--now", "qualvosec-once.timer")
    said = good(box, "systemctl", "list-timers", "--no-pager", "qualvosec-once.timer")
    show("the timer has a next time", "qualvosec-once.service" in said, said)
    with open(page(box, "qualvosec"), encoding="utf-8") as stream:
        lines = re.findall(r"^\.Dl \*/10 \* \* \* \* (?:qualvosec )?(.*)$", stream.read(), re.M)
    show("the page has a line for crontab and one for cron.d",
         lines == ["/usr/sbin/qualvosec once >/dev/null"] * 2, str(lines))
    # As cron starts it; whom it runs as may do so beside nobody.
    good(box, "setpriv", "--reuid", "qualvosec", "--regid", "qualvosec", "--init-groups", "env",
         "-i", "PATH=/usr/bin:/bin", "HOME=/var/lib/qualvosec", "sh", "-c", lines[0])
    show("the line for cron ends well", True)
    good(box, "systemctl", "disable", "--now", "qualvosec-once.timer")
    good(box, "systemctl", "enable", "--now", "qualvosec.service")


def go_back(box: container.Container) -> None:
    """Give the socket up again."""
    shutil.rmtree(box.path(DROP_IN))
    good(box, "systemctl", "daemon-reload")
    good(box, "systemctl", "disable", "--now", "qualvosec-helper.socket")
    show("a socket that is stopped leaves no file",
         box.run(["test", "-e", "/run/qualvosec-helper.sock"]).returncode == 1)
    packages_rpm.fetch_now(box)
    healthy(box, "without the socket sudo is the way again")


def gone(box: container.Container) -> None:
    """No process, no unit, no socket of ours is left."""
    show("no process is left", box.run(["pgrep", "-f", "/qualvosec"]).returncode == 1)
    left = good(box, "systemctl", "list-units", "--all", "--plain", "--no-legend", "qualvosec*")
    # The log of what failed is the system's; a mask is removal's own.
    left = "".join(line for line in left.splitlines(True) if " masked " not in line)
    show("no unit is left", left == "", left)
    left = good(box, "find", "/run", "-name", "*qualvosec*", "!", "-path", "/run/credentials/*")
    left = "".join(line for line in left.splitlines(True) if line != "/run/qualvosec-boot-id\n")
    show("no socket and no file in /run is left", left == "", left)


def remove(box: container.Container) -> None:
    """Remove: configuration stays, and a later installation takes up where it ended."""
    good(box, "systemctl", "enable", "--now", "qualvosec-once.timer")
    uid = good(box, "id", "-u", "qualvosec")
    good(box, "apt-get", "remove", "-y", *NAMES)
    gone(box)
    show("removal keeps the configuration",
         box.read("/etc/qualvosec/qualvosec.conf") == packages_rpm.CONFIG)
    show("removal leaves no module and no bytecode",
         not os.path.exists(box.path("/usr/share/qualvosec")))
    said = good(box, "sh", "-c", "apt-get install -y /srv/new/qualvosec*.deb")
    show("installed again, nothing is left to do", "steps are left" not in said, said)
    show("installed again, what was enabled still is",
         enabled(box) == ["enabled"] * 4, str(enabled(box)))
    good(box, "systemctl", "disable", "--now", "qualvosec-once.timer")
    show("it is the same user", good(box, "id", "-u", "qualvosec") == uid)
    packages_rpm.start_server(box)
    packages_rpm.fetch_now(box)
    healthy(box, "installed again, it works with the old configuration")


def purge(box: container.Container, before: Dict[str, Tuple[int, ...]]) -> None:
    """Purge everything at once; afterwards the disk is as it was before."""
    good(box, "apt-get", "purge", "-y", *NAMES)
    gone(box)
    show("no unit is known or masked", packages_rpm.units(box) == "", packages_rpm.units(box))
    good(box, "dpkg", "--purge", "thing")
    # The administrator's own.
    shutil.rmtree(box.path(DROP_IN))
    shutil.rmtree(box.path(packages_rpm.TIMER_DROP_IN))
    shutil.rmtree(box.path("/srv"))
    left = changed(before, snapshot(box))
    show("purge leaves every file as it was", left == [], "\n".join(left))
    show("purge leaves the users, as Debian does", box.run(
        ["getent", "passwd", "qualvosec", "qualvosec-server"]).returncode == 0)
    show("there was one reboot in all", box.reboots == 1, str(box.events))
    show("no unit has failed", good(box, "systemctl", "--failed", "--plain", "--no-legend") == "")
    told = packages_rpm.complaints(box)
    show("nothing of ours has failed on the way", told == "", told)


def live(suite: str, packages: str, newer: str, work: str) -> None:
    """Show everything in one release of Debian; raises NotSo."""
    host = tree.TREES["host"]
    name = "host"
    if suite != host.suite:
        name = "host-" + suite
        # Not every release has it under this name.
        words = [word for word in host.packages if word != "opendoas"]
        tree.TREES[name] = host._replace(name=name, suite=suite, packages=words)
    lowers = [tree.ensure(name)]
    packages_rpm.private_root(lowers, packages, newer, os.path.join(work, "rpm"))
    box = container.Container("qvpkg-%d" % os.getpid(), lowers, os.path.join(work, "deb"), FQDN)

    def body() -> None:
        for folder, source, number in (("/srv/old", packages, "1.0"), ("/srv/new", newer, "1.1")):
            repository(box.path(folder), source, number)
        os.makedirs(box.path("/srv/patching"))
        good(box, "dpkg", "-i", "/srv/old/thing_1.0_all.deb")
        good(box, "dpkg", "--purge", "thing")
        offer(box, "/srv/none")
        before = {path: value for path, value in snapshot(box).items()
                  if path != "/srv" and not path.startswith("/srv/")}
        good(box, "dpkg", "-i", "/srv/old/thing_1.0_all.deb")
        install(box)
        configure(box)
        # The oldest and the newest systemd: there the run goes through the socket.
        if suite == "bookworm":
            patch_and_reboot(box)
            harden(box)
        else:
            harden(box)
            patch_and_reboot(box)
        without_daemon(box)
        go_back(box)
        harden(box)
        remove(box)
        purge(box, before)

    packages_rpm.within(box, body)


def one(name: str, packages: str, newer: str) -> int:
    """Show one trial; returns 0 or 1."""
    # Told to end, it unmounts and removes what it has made.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    work = tempfile.mkdtemp(prefix="qualvosec-install-")
    begin = time.monotonic()
    trials: Dict[str, Callable[[], None]] = {
        suite: lambda suite=suite: live(suite, packages, newer, work)  # type: ignore[misc]
        for suite in SUITES}
    trials["rpm"] = lambda: packages_rpm.booted(packages, newer, work)
    try:
        trials[name]()
        sys.stdout.write("%s: %d s\n" % (name, time.monotonic() - begin))
        return 0
    except (NotSo, container.ContainerError, tree.TreeError) as error:
        sys.stdout.write("FAULT %s: %s\n" % (name, error))
        return 1
    finally:
        shutil.rmtree(work)


def main(argv: List[str]) -> int:
    """Show everything in each release, two at a time; returns the exit code."""
    known = SUITES + ("rpm",)
    if len(argv) < 3 or os.geteuid() != 0 or set(argv[3:]) - set(known):
        sys.stderr.write("usage, as root: packages_install.py FOLDER NEWER [%s ...]\n"
                         % "|".join(known))
        return 2
    packages, newer = (os.path.abspath(path) for path in argv[1:3])
    names = argv[3:] or list(known)
    if len(names) == 1:
        return one(names[0], packages, newer)
    waiting, running, code = list(names), [], 0
    while waiting or running:
        while waiting and len(running) < JOBS:
            out = tempfile.TemporaryFile()  # noqa: SIM115
            process = subprocess.Popen(
                [sys.executable, os.path.abspath(__file__), packages, newer, waiting[0]],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
            running.append((waiting.pop(0), process, out))
        time.sleep(0.2)
        for row in [row for row in running if row[1].poll() is not None]:
            running.remove(row)
            row[2].seek(0)
            sys.stdout.write("in %s\n%s" % (row[0], row[2].read().decode("utf-8", "replace")))
            sys.stdout.flush()
            code = max(code, abs(row[1].returncode))
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
