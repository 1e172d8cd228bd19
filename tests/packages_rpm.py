# SPDX-License-Identifier: BSD-2-Clause
"""The .rpm in use, and what the trials of both kinds of packages share.

private_root() installs the .rpm below a directory of its own, starts the programs from
there, upgrades and erases them. booted() has dnf install them into a running system
with systemd, which then, through its own run, installs a newer QualvoSec by dnf. The
system is a Debian that calls itself Fedora: rpm, dnf and systemd are real. Names of
packages that only a system with RPM has are provided by one made-up package.
"""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any
from typing import Callable
from typing import Dict
from typing import List

from tests import mdoc
from tests import rpmlab
from tests.e2e import container
from tests.e2e import tree
from tests.e2e import trial

FQDN = "packaged.example.org"
CONFIG = ("[general]\nserver: http://127.0.0.1:8080\nfqdn: %s\nmonitoring: enable\n"
          "log_level: INFO\n# of the administrator\n" % FQDN)
NAMES = ("qualvosec", "qualvosec-admin", "qualvosec-server", "qualvosec-common")
PROGRAMS = ("usr/share/qualvosec", "usr/libexec/qualvosec", "usr/sbin/qualvosec",
            "usr/sbin/qualvosec-server", "etc/sudoers.d/qualvosec",
            "usr/lib/systemd/system/qualvosec.service")
TIMER_DROP_IN = "/etc/systemd/system/qualvosec-once.timer.d"
# What our packages and dnf ask for and what the Debian below has without rpm knowing it.
SYSTEM = rpmlab.Offer("qv-system", "9", "1", (
    "Provides: /bin/sh", "Provides: /usr/bin/sh", "Provides: /usr/bin/python3",
    "Provides: python3 = 3.11", "Provides: sudo", "Provides: logrotate",
    "Provides: /usr/sbin/useradd", "Provides: /usr/sbin/groupadd",
    "Provides: system-release = 9", "Provides: system-release(releasever) = 9"))
ASK = """
import http.client
asked = http.client.HTTPConnection("127.0.0.1", 8037, timeout=10)
asked.request("GET", "/status")
print(asked.getresponse().read().decode())
"""
ALONE = """
echo 127.0.0.1 localhost >/etc/hosts
for program in qualvosec qualvosec-admin qualvosec-server; do $program --version; done
/usr/libexec/qualvosec/qualvosec-helper --version
visudo -c -q
stat -c '%U %a' /var/lib/qualvosec /var/log/qualvosec-server
ls /usr/share/qualvosec/qualvosec/client/__pycache__ | grep -c daemon
echo '{"v":1,"op":"status","wait":false}' |
    sudo -u qualvosec sudo -n /usr/libexec/qualvosec/qualvosec-helper
mkdir -p /srv/patching
cp /patch.yaml /srv/patching/
setpriv --reuid qualvosec-server --regid qualvosec-server --init-groups \
    qualvosec-server -c /etc/qualvosec/qualvosec_server.conf &
server=$!
tries=0
until python3 -c 'import urllib.request as u; u.urlopen("http://127.0.0.1:8080/health")' \
    2>/dev/null || [ $tries -ge 100 ]; do sleep 0.1; tries=$((tries + 1)); done
sudo -u qualvosec qualvosec configtest
sudo -u qualvosec qualvosec once --dry-run
echo "state files: $(ls -A /var/lib/qualvosec | wc -l)"
kill $server
"""


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


def complaints(box: container.Container) -> str:
    """Lines of the journal in which one of our programs or units failed or was surprised."""
    return "\n".join(line for line in box.journal().splitlines() if "qualvosec" in line
                     and re.search("Failed with result|Traceback|Exception|Error", line))


def quiet_timer(box: container.Container) -> None:
    """Keep the timer from firing in the middle of a trial: the administrator's own choice."""
    box.write(TIMER_DROP_IN + "/trial.conf",
              "[Timer]\nOnCalendar=\nOnCalendar=2099-01-01\nRandomizedDelaySec=0\n")


def within(box: container.Container, body: Callable[[], None]) -> None:
    """Boot, run the body, end everything; what explains a failure is printed."""
    try:
        os.makedirs(box.work)
        box.create()
        box.start()
        body()
    except (NotSo, container.ContainerError):
        if os.path.isdir(box.root):
            sys.stdout.write("".join("     %s\n" % line for line
                                     in box.journal().splitlines()[-60:]))
        raise
    finally:
        box.stop()


# --- questions to the product --------------------------------------------------------


def listening(box: container.Container) -> None:
    """Wait until the server answers: a client that finds none asks again minutes later."""
    ask = "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health')"
    container.wait_for("the server", lambda: box.run(["python3", "-c", ask]).returncode == 0, 60)


def start_server(box: container.Container) -> None:
    """Start it now and at every boot."""
    good(box, "systemctl", "enable", "--now", "qualvosec-server.service")
    listening(box)


def state(box: container.Container) -> Dict[str, Any]:
    """What the running daemon tells of itself; empty while it does not answer."""
    done = box.run(["python3", "-c", ASK])
    return dict(json.loads(done.out)) if done.returncode == 0 else {}


def names_next_steps(box: container.Container, said: str) -> None:
    """Show that whoever has installed client and server is told what is left to do."""
    for service in ("qualvosec", "qualvosec-server"):
        steps = said.partition("%s: two steps are left" % service)[2].splitlines()[1:3]
        show("%s names the next two steps" % service, [step.split()[0] for step in steps] == [
            "1.", "2."] and steps[1].endswith("systemctl enable --now " + service), said)
    told = box.run(["qualvosec", "status"]).out
    show("status names them, too", "; next: server: is still that of the sample" in told
         and "; then: systemctl enable --now qualvosec" in told, told)


def pid(box: container.Container) -> str:
    """The process of the daemon."""
    return good(box, "systemctl", "show", "-p", "MainPID", "qualvosec.service")


def units(box: container.Container) -> str:
    """Every unit of ours that systemd knows of: files, links, and what is loaded."""
    # Without a match the first of the two is a failure in some releases.
    return "".join(box.run(["systemctl", verb, "--all", "--plain", "--no-legend", "--no-pager",
                            "qualvosec*"]).out for verb in ("list-unit-files", "list-units"))


def fetch_now(box: container.Container) -> str:
    """Start the daemon anew without its cache, so that it fetches at once; its process."""
    good(box, "systemctl", "stop", "qualvosec.service")
    path = box.path("/var/lib/qualvosec/policy.json")
    if os.path.exists(path):
        os.unlink(path)
    good(box, "systemctl", "start", "qualvosec.service")
    return pid(box)


def run_ended(box: container.Container, timeout_s: float, before: str = "") -> Dict[str, Any]:
    """Wait for the end of a run of another window than `before`; what the daemon says then."""
    found: Dict[str, Any] = {}

    def ended() -> bool:
        found.clear()
        found.update(state(box))
        last = found.get("last_run") or {}
        return bool(last.get("outcome")) and last["window"] != before

    try:
        container.wait_for("a run that ends", ended, timeout_s)
    except container.ContainerError as error:
        raise NotSo("%s: %s" % (error, found)) from error
    return found


# --- rpm -----------------------------------------------------------------------------


def provider(work: str) -> str:
    """Build the package that stands for the system; its path."""
    spec = os.path.join(work, "system.spec")
    with open(spec, "w", encoding="ascii") as stream:
        stream.write(rpmlab.spec(1, [SYSTEM]))
    done = subprocess.run(
        ["rpmbuild", "-bb", "--quiet", "--define", "_rpmdir %s/built" % work,
         "--define", "_topdir %s/build" % work, "--define",
         "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm", spec],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise NotSo("rpmbuild: " + done.stdout.decode("utf-8", "replace"))
    return os.path.join(work, "built", "qv-system-9-1.noarch.rpm")


def rpms(folder: str) -> List[str]:
    """The .rpm files of a folder."""
    found = sorted(glob.glob(os.path.join(folder, "*.rpm")))
    if len(found) != 4:
        raise NotSo("%s: not four .rpm files: %s" % (folder, found))
    return found


def private_root(lowers: List[str], packages: str, newer: str, work: str) -> None:
    """Install the .rpm into a private root, start from there, upgrade, erase."""
    overlay = container.Overlay(lowers, work)
    overlay.mount()
    try:
        def rpm(*words: str) -> str:
            done = subprocess.run(["rpm", "--root", overlay.root] + list(words),
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode != 0:
                raise NotSo("rpm %s: %s" % (" ".join(words), done.stdout.decode()))
            return done.stdout.decode()

        def write(name: str, text: str) -> None:
            with open(os.path.join(overlay.root, name), "w", encoding="utf-8") as stream:
                stream.write(text)

        rpm("-i", "--nodeps", provider(work))
        # From here on with all dependencies.
        rpm("-i", *rpms(packages))
        show("rpm finds every file as it was packed", rpm("-V", *NAMES) == "")
        pages = sorted(line.rpartition("/")[2] for line in rpm("-qd", *NAMES).splitlines()
                       if "/man/man" in line)
        show("the .rpm have every page", pages == sorted(page + ".gz" for page in mdoc.PAGES),
             str(pages))
        write("etc/qualvosec/qualvosec.conf", CONFIG)
        write("patch.yaml", trial.yaml_entry(FQDN, dict(trial.opening(60), patch=True)))
        said = container.prepare(overlay.root, "qvrpm-%d" % os.getpid(), ALONE)
        show("programs of the .rpm start", said.count(" 1.") >= 4, said)
        show("directories of the .rpm are their users' own",
             "qualvosec 700\nqualvosec-server 750\n" in said, said)
        show("the .rpm make bytecode", "\n1\n" in said, said)
        show("the sudo rule of the .rpm leads to root", '"status": "ok"' in said, said)
        show("configtest of the .rpm is content", " ok: " in said, said)
        show("dry run of the .rpm fetches, decides, and leaves no file",
             "decision: would upgrade now" in said and "\nstate files: 0\n" in said, said)
        rpm("-U", *rpms(newer))
        with open(os.path.join(overlay.root, "etc/qualvosec/qualvosec.conf"),
                  encoding="utf-8") as stream:
            show("upgrade of the .rpm keeps the configuration", stream.read() == CONFIG)
        rpm("-e", *NAMES)
        left = [path for path in PROGRAMS if os.path.lexists(os.path.join(overlay.root, path))]
        show("erasing the .rpm leaves no program", left == [], str(left))
    finally:
        overlay.unmount()


def booted(packages: str, newer: str, work: str) -> None:
    """Install, run, upgrade by its own run, and erase by dnf in a booted system."""
    lowers = [tree.ensure("host"), tree.ensure("managers")]
    box = container.Container("qvpkg-%d" % os.getpid(), lowers, os.path.join(work, "box"), FQDN)

    def publish(folder: str) -> None:
        shutil.rmtree(box.path("/srv/repo"), ignore_errors=True)
        shutil.copytree(folder, box.path("/srv/repo"), ignore=shutil.ignore_patterns("*.deb"))
        good(box, "createrepo_c", "-q", "/srv/repo")

    def body() -> None:
        os.unlink(box.path("/etc/os-release"))
        box.write("/etc/os-release", "ID=fedora\n")
        box.write("/etc/yum.repos.d/updates.repo", rpmlab.REPO_FILE % "/srv/repo")
        box.write("/etc/rpm/macros", "%_dbpath /var/lib/rpm\n")
        os.makedirs(box.path("/var/lib/rpm"), exist_ok=True)
        os.makedirs(box.path("/srv/patching"))
        shutil.copy(provider(work), box.path("/srv/"))
        good(box, "sh", "-c", "rpm -i --nodeps --force-debian /srv/qv-system*.rpm")
        publish(packages)
        life(box)
        publish(newer)
        upgrade_itself(box)
        erase(box)

    within(box, body)


def life(box: container.Container) -> None:
    """Install by dnf, with every dependency; configure; start; ask."""
    said = good(box, "dnf", "install", "-y", *NAMES[:3])
    names_next_steps(box, said)
    show("dnf installs the client and what it needs", good(
        box, "rpm", "-V", *NAMES) == "")
    show("nothing is enabled or started but by the administrator or a preset",
         box.run(["systemctl", "is-active", "qualvosec.service"]).out == "inactive\n")
    box.write("/etc/qualvosec/qualvosec.conf", CONFIG)
    box.write("/srv/patching/patch.yaml", "%s:\n  patch: false\n" % FQDN)
    start_server(box)
    good(box, "systemctl", "enable", "--now", "qualvosec.service")
    container.wait_for("status OK", lambda: box.run(["qualvosec", "status"]).returncode == 0, 60)
    show("status is OK", True)
    good(box, "systemctl", "enable", "--now", "qualvosec-helper.socket")


def upgrade_itself(box: container.Container) -> None:
    """Let the host's own run, through the socket, install a newer QualvoSec by dnf."""
    before = good(box, "qualvosec", "--version")
    box.write("/srv/patching/patch.yaml", trial.yaml_entry(
        FQDN, dict(trial.opening(60), patch=True, reboot=False)))
    old = fetch_now(box)
    found = run_ended(box, 300)
    show("run of dnf that upgraded QualvoSec itself ended well",
         found["last_run"]["outcome"] == "ok" and found["last_run"]["upgraded"] == 4, str(found))
    after = good(box, "qualvosec", "--version")
    show("the newer version is there", after != before, after)
    container.wait_for("a new daemon", lambda: pid(box) != old, 60)
    container.wait_for("its answer", lambda: state(box).get("version") == after.split()[1], 60)
    show("the newer daemon was started and answers", True)
    show("the administrator's configuration stayed",
         box.read("/etc/qualvosec/qualvosec.conf") == CONFIG)
    show("the new default lies beside it",
         box.read("/etc/qualvosec/qualvosec.conf.rpmnew") != "")


def erase(box: container.Container) -> None:
    """Erase by dnf: nothing runs and nothing is left but what the administrator made."""
    quiet_timer(box)
    good(box, "systemctl", "daemon-reload")
    good(box, "systemctl", "enable", "--now", "qualvosec-once.timer")
    good(box, "dnf", "remove", "-y", *NAMES)
    shutil.rmtree(box.path(TIMER_DROP_IN))
    show("no process is left", box.run(["pgrep", "-f", "/qualvosec"]).returncode == 1)
    show("no unit is known, enabled or running", units(box) == "", units(box))
    left = good(box, "find", "/", "-xdev", "-name", "*qualvosec*", "!", "-path", "/proc/*",
                "!", "-path", "/var/cache/*", "!", "-path", "/tmp/*", "!", "-path", "/var/tmp/*",
                "!", "-path", "/srv/*").split()
    mine = ["/etc/qualvosec", "/etc/qualvosec/qualvosec.conf.rpmsave", "/var/lib/qualvosec",
            "/etc/qualvosec/qualvosec.conf.rpmnew", "/var/lib/qualvosec-helper",
            "/var/log/qualvosec-helper", "/var/log/qualvosec-server"]
    show("what is left is state, logs and the changed configuration",
         set(left) <= set(mine) and mine[1] in left, "\n".join(left))
    show("nothing of ours has failed on the way", complaints(box) == "", complaints(box))
    show("the user stays, as with RPM", box.run(["getent", "passwd", "qualvosec"]).returncode == 0)
