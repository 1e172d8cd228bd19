# SPDX-License-Identifier: BSD-2-Clause
"""One trial: a fresh host with the product installed, its web server, and questions to both.

A case is a function that gets a Trial. It says which old packages the host has, what
the administrator configured and published, starts the service, waits for conditions
(never for a time) and checks. The host's clock is the machine's, in UTC: a window that
shall be open is published as having opened a minute ago.
"""

import calendar
import json
import os
import shutil
import subprocess
import sys
import time
from typing import Callable
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional

from tests.e2e import aptrepo
from tests.e2e import container
from tests.e2e import system
from tests.e2e import webserver

FQDN = "web01.example.org"
OTHER = "db01.example.org"
SERVICE = "qualvosec.service"
DOAS_EXAMPLE = "/usr/local/share/doc/qualvosec/examples/doas.conf"
RUN_S = 120.0


class Case(NamedTuple):
    """A named trial; a patient one mostly waits and does not count against the jobs.

    `packaged`: the host has our own .deb packages instead of a copy of the files.
    `commit`: what the host has is of that commit of the past.
    """

    name: str
    summary: str
    body: Callable[["Trial"], None]
    patient: bool = False
    packaged: bool = False
    commit: str = ""


class Failure(AssertionError):
    """What was expected did not happen."""


def check(truth: object, message: str) -> None:
    """Fail the trial with this message unless truth is true."""
    if not truth:
        raise Failure(message)


def check_equal(found: object, wanted: object, what: str) -> None:
    """Fail unless the two are equal, showing both."""
    if found != wanted:
        raise Failure("%s is %r, not %r" % (what, found, wanted))


def opening(seconds_ago: float) -> Dict[str, object]:
    """weekday, hour and minute of the minute in which now - seconds_ago lies, UTC."""
    then = time.gmtime(time.time() - seconds_ago)
    return {"weekday": then.tm_wday, "hour": then.tm_hour, "minute": then.tm_min}


def yaml_entry(name: str, fields: Dict[str, object]) -> str:
    """One manifest entry in block style."""
    lines = [name + ":"]
    for key, value in fields.items():
        if isinstance(value, list):
            lines.append("  %s:" % key)
            lines += ["    - %s" % json.dumps(item) for item in value]
        else:
            lines.append("  %s: %s" % (key, json.dumps(value)))
    return "\n".join(lines) + "\n"


class Trial:
    """The host (`box`), its web server (`web`), and what the product tells."""

    def __init__(
        self, base: system.System, name: str, work: str, packaged: bool = False, commit: str = ""
    ) -> None:
        self.base = base
        self.paths = base.paths
        self.work = work
        self.box = container.Container(name, base.layers, work, FQDN)
        self._packaged = packaged
        self._commit = commit
        shipped = os.path.join(base.checkout, "etc/nginx/qualvosec.conf")
        self.web = webserver.WebServer(name, work, base.repo, shipped)
        self.manifest = ""
        self.opens = 0  # epoch seconds; for trials whose window is in the future

    # --- life ---------------------------------------------------------------------

    def create(self) -> None:
        """Make the host's disk and network; nothing is started."""
        os.chmod(self.work, 0o755)
        own = os.path.join(self.work, "packaged")
        if self._commit:
            self.base = system.earlier(
                self.base, own, self.box.name, self._commit, self._packaged
            )
        elif self._packaged:
            self.base = system.packaged(self.base, own, self.box.name)
        if self._commit or self._packaged:
            self.paths = self.base.paths
            self.box = container.Container(self.box.name, self.base.layers, self.work, FQDN)
        self.box.create()

    @property
    def newer_packages(self) -> str:
        """Where a later version of our own packages lies, if this host has such packages."""
        return os.path.join(self.work, "packaged", "newer")

    def close(self) -> None:
        """End and unmount everything; may be called twice."""
        self.web.stop()
        self.box.stop()

    def collect(self, target: str, error: str) -> None:
        """Keep what explains a failure."""
        os.makedirs(target)
        with open(os.path.join(target, "failure.txt"), "w", encoding="utf-8") as file:
            file.write(error)
        with open(os.path.join(target, "events.txt"), "w", encoding="utf-8") as file:
            file.write("".join("%.3f %s\n" % event for event in self.box.events))
        with open(os.path.join(target, "journal.txt"), "w", encoding="utf-8") as file:
            file.write(self.box.journal())
        for name in ("console.log", "access.log", "repo-access.log", "nginx-error.log"):
            source = os.path.join(self.work, name)
            if os.path.exists(source):
                shutil.copy(source, os.path.join(target, name))
        with open(os.path.join(target, "patch.yaml"), "w", encoding="utf-8") as file:
            file.write(self.manifest)
        self.box.copy_out(self.paths.state, os.path.join(target, "state"))
        self.box.copy_out(self.paths.config, os.path.join(target, "config"))
        self.box.copy_out(self.paths.helper_state, os.path.join(target, "helper-state"))
        self.box.copy_out(self.paths.helper_log, os.path.join(target, "helper-log"))
        self.box.copy_out(aptrepo.POSTINST_LOG, os.path.join(target, "postinst.log"))
        self.box.copy_out("/var/log/apt", os.path.join(target, "apt-log"))

    # --- set-up -------------------------------------------------------------------

    def configure(
        self,
        client: Optional[Dict[str, str]] = None,
        helper: Optional[Dict[str, str]] = None,
        privilege: str = "sudo",
    ) -> None:
        """Write the host's configuration; `make install` has put the sudo rule in place."""
        settings = {
            "server": "http://127.0.0.1:%d" % webserver.MANIFEST_PORT,
            "fqdn": FQDN,
            "monitoring": "enable",
            "log_level": "DEBUG",
            "log_handler": "SystemdHandler()",
            "privilege": privilege,
        }
        settings.update(client or {})
        self._ini("qualvosec.conf", settings)
        rules = {"reboot_delay": "0"}
        rules.update(helper or {})
        self._ini("helper.conf", rules)
        if privilege == "doas":
            with open(self.box.path(DOAS_EXAMPLE), encoding="utf-8") as file:
                self.box.write("/etc/doas.conf", file.read(), 0o400)
            os.unlink(self.box.path("/usr/bin/sudo"))
            os.unlink(self.box.path("/etc/sudoers.d/qualvosec"))

    def _ini(self, name: str, settings: Dict[str, str]) -> None:
        lines = ["%s: %s\n" % item for item in settings.items()]
        self.box.write(os.path.join(self.paths.config, name), "[general]\n" + "".join(lines))

    def boot(self, *packages: str) -> None:
        """Start web server and host, then install these packages in version 1.0."""
        self.web.start()
        self.box.start()
        if packages:
            debs = ["%s/%s_1.0_all.deb" % (system.OLD_PACKAGES, name) for name in packages]
            done = self.box.run(["dpkg", "-i"] + debs)
            check(done.returncode == 0, "dpkg -i: " + done.text)

    def publish(self, fields: Optional[Dict[str, object]], head: str = "") -> None:
        """Publish a manifest with this entry for the host (None: not listed) and another host."""
        self.manifest = head + yaml_entry(OTHER, {"patch": False, "weekday": 6, "hour": 3})
        if fields is not None:
            self.manifest += yaml_entry(FQDN, fields)
        self.web.put("patch.yaml", self.manifest)

    def publish_open(self, **fields: object) -> None:
        """Publish a window that opened a minute ago, with patch: true and reboot: false."""
        entry: Dict[str, object] = {"patch": True, "reboot": False}
        entry.update(opening(60))
        entry.update(fields)
        self.publish(entry)

    def start_service(self) -> None:
        """Start the daemon now and at every boot, as the administrator does."""
        done = self.box.run(["systemctl", "enable", "--now", SERVICE])
        check(done.returncode == 0, "systemctl enable --now: " + done.text)

    # --- questions ----------------------------------------------------------------

    def active(self) -> bool:
        """Whether the service runs."""
        return self.box.run(["systemctl", "is-active", SERVICE]).out.strip() == "active"

    def record(self) -> Dict[str, object]:
        """Root's own record of the last run; empty if there is none."""
        text = self.box.read(os.path.join(self.paths.helper_state, "run.json"))
        record = json.loads(text)["record"] if text else {}
        return dict(record) if record.get("window") else {}

    def finished_run(self, timeout_s: float = RUN_S) -> Dict[str, object]:
        """Wait until root's record says that a run has ended; the record."""
        found = container.wait_for(
            "a finished run in run.json", lambda: self._finished(), timeout_s
        )
        return dict(found)  # type: ignore[call-overload, no-any-return]

    def _finished(self) -> Optional[Dict[str, object]]:
        record = self.record()
        return record if record.get("finished") else None

    def status(self) -> Dict[str, object]:
        """What the daemon says at /status; empty while it does not answer.

        Asked from outside: the host's own Python may be what a trial breaks.
        """
        ask = (
            "import json, urllib.request\n"
            "print(urllib.request.urlopen('http://127.0.0.1:8037/status', timeout=5)"
            ".read().decode('utf-8'))"
        )
        done = subprocess.run(
            ["ip", "netns", "exec", self.box.name, sys.executable, "-IBSc", ask],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return dict(json.loads(done.stdout.decode("utf-8"))) if done.returncode == 0 else {}

    def health(self) -> container.Result:
        """`qualvosec status`: the Nagios line and its exit code."""
        return self.qualvosec("status")

    def qualvosec(self, *words: str) -> container.Result:
        """One of the client's commands, as the service user."""
        program = os.path.join(self.paths.programs, "qualvosec")
        return self.as_user([program] + list(words))

    def as_user(
        self, argv: List[str], user: str = system.USER, stdin: bytes = b""
    ) -> container.Result:
        """A command as an ordinary user."""
        prefix = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"]
        return self.box.run(prefix + argv, stdin)

    def version(self, package: str) -> str:
        """The installed version of a package, '' if dpkg does not call it configured."""
        done = self.box.run(["dpkg-query", "-W", "-f=${db:Status-Abbrev} ${Version}", package])
        words = done.out.split()
        return words[1] if len(words) == 2 and words[0] in ("ii", "hi") else ""

    def configured(self, package: str, version: str) -> List[str]:
        """The boot ids in which this version's postinst ran to its end."""
        lines = self.box.read(aptrepo.POSTINST_LOG).splitlines()
        rows = [line.split() for line in lines]
        return [row[2] for row in rows if row[:2] == [package, version]]

    def journal_has(self, word: str) -> bool:
        """Whether the journal of this host has a line with this text."""
        return word in self.box.journal()

    def fetches(self) -> List[str]:
        """The requests for the manifest in the web server's access log."""
        return [line for line in self.web.requests() if "/patch.yaml" in line]

    def admin_row(self, fqdn: str = FQDN) -> Dict[str, str]:
        """The row of `qualvosec-admin list` for a host, by column title."""
        table = self.admin("list")
        rows = [
            [cell.strip() for cell in line.strip().strip("|").split("|")]
            for line in table.out.splitlines()
            if line.startswith("|") and not line.startswith("|-")
        ]
        check(len(rows) > 1, "qualvosec-admin list: " + table.text)
        for row in rows[1:]:
            if row[0] == fqdn:
                return dict(zip(rows[0], row))
        raise Failure("qualvosec-admin list has no row for %s: %s" % (fqdn, table.text))

    def admin(self, *words: str) -> container.Result:
        """qualvosec-admin in the host's tree, with the web server's own log and manifest."""
        folder = "/root/admin"
        self.box.write(folder + "/patch.yaml", self.manifest)
        # One request of ten days ago: a log that reaches back further than alive_days.
        when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(time.time() - 10 * 86400))
        old = '127.0.0.1 - - [%s] "GET / HTTP/1.1" 404 153 "-" "-"' % when
        self.box.write(folder + "/access.log", "\n".join([old] + self.web.requests()) + "\n")
        config = "[general]\nserver: http://127.0.0.1:%d\nmanifest: %s\nlog_file_path: %s\n" % (
            webserver.MANIFEST_PORT,
            folder + "/patch.yaml",
            folder + "/access.log",
        )
        self.box.write(folder + "/qualvosec_admin.conf", config)
        program = os.path.join(self.paths.programs, "qualvosec-admin")
        return self.box.run([program, "-c", folder + "/qualvosec_admin.conf"] + list(words))


def window_id(fields: Dict[str, object], now: float) -> str:
    """The name of the window that opened last, for fields made by opening()."""
    today = time.gmtime(now)
    start = calendar.timegm((today.tm_year, today.tm_mon, today.tm_mday, 0, 0, 0))
    for back in range(8):
        day = start - back * 86400
        moment = day + int(str(fields["hour"])) * 3600 + int(str(fields["minute"])) * 60
        if time.gmtime(day).tm_wday == fields["weekday"] and moment <= now:
            return time.strftime("%Y%m%dT%H%MZ", time.gmtime(moment))
    raise Failure("no opening within a week of %r" % (fields,))
