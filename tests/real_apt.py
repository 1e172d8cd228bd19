# SPDX-License-Identifier: BSD-2-Clause
"""The helper against real apt and dpkg: a Debian tree, a local repository, every case.

Not part of `make test`: needs root, dpkg-deb and a base tree, which is built once
from a Debian mirror (see tests/e2e/tree.py). Every case gets a fresh copy (an overlay)
of a system on which small packages of version 1 are installed; version 2 lies in
repositories on its disk. The helper is entered through its front, as sudo does it.
Run with `python3 -m unittest tests.real_apt`.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from typing import Any
from typing import Dict
from typing import List
from typing import Optional
from typing import Sequence
from typing import Tuple

from tests import ROOT
from tests.e2e import container
from tests.e2e import tree

WINDOW = "20261124T0215Z"
MAIN = "main"
SECURITY = "security"
FAR = 1 << 39
HELPER = "/opt/qualvosec/bin/qualvosec-helper"


class Deb:
    """One package to build: fields of its control file, scripts and files."""

    def __init__(self, name: str, version: str, archive: str = "", scripts: Sequence[str] = (),
                 files: int = 0, conffile: str = "", **fields: str) -> None:
        self.name, self.version, self.archive = name, version, archive
        self.scripts = dict(zip(scripts[::2], scripts[1::2]))
        self.files, self.conffile, self.fields = files, conffile, fields


DEBS = [
    Deb("qv-plain", "1.0"), Deb("qv-plain", "2.0", MAIN),
    Deb("qv-sec", "1.0"), Deb("qv-sec", "1.0+deb12u1", SECURITY), Deb("qv-sec", "2.0", MAIN),
    Deb("qv-base", "1.0"), Deb("qv-base", "2.0", MAIN),
    Deb("qv-secup", "1.0"), Deb("qv-secup", "1.0+deb12u1", SECURITY, Depends="qv-base (>= 2.0)"),
    Deb("qv-lib", "1.0"), Deb("qv-lib", "2.0", MAIN),
    Deb("qv-app", "1.0", Depends="qv-lib"), Deb("qv-app", "2.0", MAIN, Depends="qv-lib (>= 2.0)"),
    Deb("qv-new", "1.0"), Deb("qv-new", "2.0", MAIN, Depends="qv-brandnew"),
    Deb("qv-brandnew", "1.0", MAIN),
    Deb("qv-old", "1.0"),
    Deb("qv-swap", "1.0"), Deb("qv-swap", "2.0", MAIN, Conflicts="qv-old"),
    Deb("qv-conf", "1.0", conffile="one"), Deb("qv-conf", "2.0", MAIN, conffile="two"),
    Deb("qv-bad", "1.0"), Deb("qv-bad", "2.0", MAIN, ["postinst", "echo no; exit 1"]),
    Deb("qv-slow", "1.0"),
    Deb("qv-slow", "2.0", MAIN, ["postinst", "while [ -e /srv/wait ]; do sleep 0.2; done"]),
    Deb("qv-big", "1.0", files=10), Deb("qv-big", "2.0", MAIN, files=3000),
]


def build(deb: Deb, pool: str) -> str:
    """Build the package into `pool`; its stanza of a Packages file."""
    name = "%s_%s_all.deb" % (deb.name, deb.version)
    control = ("Package: %s\nVersion: %s\nArchitecture: all\n"
               "Maintainer: Test <test@example.org>\n" % (deb.name, deb.version))
    control += "".join("%s: %s\n" % item for item in deb.fields.items())
    control += "Description: made by a test\n"
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        meta, share = os.path.join(folder, "DEBIAN"), os.path.join(folder, "usr/share", deb.name)
        os.makedirs(meta)
        os.makedirs(share)
        for number in range(deb.files or 1):
            with open(os.path.join(share, "file%d" % number), "w", encoding="ascii") as file:
                file.write(deb.version * 100)
        if deb.conffile:
            os.makedirs(os.path.join(folder, "etc"))
            with open(os.path.join(folder, "etc", deb.name), "w", encoding="ascii") as file:
                file.write(deb.conffile + "\n")
            with open(os.path.join(meta, "conffiles"), "w", encoding="ascii") as file:
                file.write("/etc/%s\n" % deb.name)
        with open(os.path.join(meta, "control"), "w", encoding="ascii") as file:
            file.write(control)
        for script, text in deb.scripts.items():
            with open(os.path.join(meta, script), "w", encoding="ascii") as file:
                file.write("#!/bin/sh\n%s\n" % text)
            os.chmod(os.path.join(meta, script), 0o755)
        path = os.path.join(pool, name)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", folder, path], check=True,
                       stdout=subprocess.DEVNULL)
    with open(path, "rb") as binary:
        data = binary.read()
    return control + "Filename: ./%s\nSize: %d\nSHA256: %s\n\n" % (
        name, len(data), hashlib.sha256(data).hexdigest())


class Lab:
    """The system with version 1 installed, from which every case starts."""

    base = ""
    work = ""
    stanzas: Dict[Tuple[str, str], str] = {}

    @classmethod
    def prepare(cls) -> None:
        cls.base = tree.ensure("host")
        cls.work = tempfile.mkdtemp(prefix="qualvosec-real-apt-")
        layer = container.Overlay([cls.base], os.path.join(cls.work, "prepared"))
        layer.mount()
        try:
            pool = os.path.join(layer.root, "srv/pool")
            os.makedirs(pool)
            cls.stanzas = {(deb.name, deb.version): build(deb, pool) for deb in DEBS}
            target = os.path.join(layer.root, "opt/qualvosec")
            for folder in ("bin", "lib"):
                shutil.copytree(os.path.join(ROOT, folder), os.path.join(target, folder),
                                ignore=shutil.ignore_patterns("__pycache__"))
            first = ["/srv/pool/%s_%s_all.deb" % (deb.name, deb.version)
                     for deb in DEBS if not deb.archive]
            subprocess.run(["chroot", layer.root, "env", "DEBIAN_FRONTEND=noninteractive", "dpkg",
                            "-i"] + first, check=True, stdout=subprocess.DEVNULL)
        finally:
            layer.unmount()


def setUpModule() -> None:
    if os.geteuid() != 0:
        raise unittest.SkipTest("real apt: needs root")
    Lab.prepare()


def tearDownModule() -> None:
    if Lab.work:
        shutil.rmtree(Lab.work)


class RealApt(unittest.TestCase):
    """One fresh system for each case."""

    def setUp(self) -> None:
        self.told = ""
        self.work = tempfile.mkdtemp(prefix="case-", dir=Lab.work)
        lower = os.path.join(Lab.work, "prepared/upper")
        self.overlay = container.Overlay([lower, Lab.base], self.work)
        self.overlay.mount()
        self.root = self.overlay.root
        subprocess.run(["mount", "-t", "proc", "proc", self.root + "/proc"], check=True)
        self.addCleanup(self.close)

    def _formatMessage(self, msg: Any, standardMsg: str) -> str:
        return "%s\n%s" % (super()._formatMessage(msg, standardMsg), self.told)

    def close(self) -> None:
        self.kill()
        subprocess.run(["umount", "-l", self.root + "/proc"], check=True)
        self.overlay.unmount()
        shutil.rmtree(self.work)

    # --- the system ---------------------------------------------------------------

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        full = self.root + path
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(full, mode)

    def publish(self, *names: str, security: bool = True) -> None:
        """Offer version 2 of the named packages in the two archives."""
        sources = []
        for archive, label, suite in ((MAIN, "Debian", "stable"),
                                      (SECURITY, "Debian-Security", "stable-security")):
            if archive == SECURITY and not security:
                continue
            packages = "".join(Lab.stanzas[deb.name, deb.version] for deb in DEBS
                               if deb.archive == archive and deb.name in names)
            folder = "/srv/" + archive
            os.makedirs(self.root + folder, exist_ok=True)
            for entry in os.listdir(self.root + "/srv/pool"):
                link = self.root + folder + "/" + entry
                if not os.path.lexists(link):
                    os.symlink("../pool/" + entry, link)
            self.write(folder + "/Packages", packages)
            digest = hashlib.sha256(packages.encode("ascii")).hexdigest()
            self.write(folder + "/Release", "Origin: Debian\nLabel: %s\nSuite: %s\n"
                       "Date: Mon, 23 Nov 2026 00:00:00 UTC\nSHA256:\n %s %d Packages\n"
                       % (label, suite, digest, len(packages)))
            sources.append("deb [trusted=yes] file:%s ./\n" % folder)
        self.write("/etc/apt/sources.list", "".join(sources))

    def chroot(self, *argv: str) -> str:
        done = subprocess.run(["chroot", self.root] + list(argv), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.stdout.decode("utf-8", "replace")

    def start(self, **fields: Any) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(["chroot", self.root, HELPER], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(json.dumps(dict(fields, v=1)).encode("ascii"))
        process.stdin.close()
        process.stdin = None
        return process

    def answer(self, process: "subprocess.Popen[bytes]") -> Dict[str, Any]:
        out, err = process.communicate(timeout=120)
        self.assertEqual(err, b"")
        reply: Dict[str, Any] = json.loads(out.decode("ascii"))
        self.assertEqual(process.returncode, {"ok": 0, "invalid": 2}.get(reply["status"], 1))
        return reply

    def ask(self, **fields: Any) -> Dict[str, Any]:
        return self.answer(self.start(**fields))

    def upgrade(self, only: Sequence[str] = (), exclude: Sequence[str] = (),
                security_only: bool = False, window: str = WINDOW) -> Dict[str, Any]:
        reply = self.ask(op="upgrade", window=window, not_after=FAR, only=list(only),
                         exclude=list(exclude), security_only=security_only)
        self.assertEqual((reply["status"], reply["reason"]), ("ok", ""), self.log())
        record: Dict[str, Any] = reply["record"]
        self.told = "%s\n%s" % (json.dumps(record), self.log())
        return record

    def log(self) -> str:
        path = self.root + "/var/log/qualvosec-helper/run.log"
        if not os.path.exists(path):
            return "no log"
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()[-4000:]

    def versions(self) -> Dict[str, str]:
        text = self.chroot("dpkg-query", "-W", "-f=${Package} ${Version}\\n", "qv-*")
        rows = [line.split() for line in text.splitlines() if line.startswith("qv-")]
        return {row[0]: row[1] for row in rows if len(row) == 2}

    def changed(self) -> Dict[str, str]:
        return {name: version for name, version in self.versions().items()
                if version != "1.0" or name == "qv-brandnew"}

    def kill(self) -> int:
        """SIGKILL every process whose root directory is this system's; their number."""
        count = 0
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.readlink("/proc/%s/root" % entry) == self.root:
                    os.kill(int(entry), signal.SIGKILL)
                    count += 1
            except OSError:
                continue
        return count

    def until(self, what: str, condition: Any, timeout_s: float = 60) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                self.fail("waited in vain: %s\n%s" % (what, self.log()))
            time.sleep(0.02)

    def assert_clean(self) -> None:
        self.assertEqual(self.chroot("dpkg", "--audit"), "")

    def assert_no_traces(self) -> None:
        """No hold, no preferences file, no apt or dpkg of ours left behind."""
        self.assertEqual(self.chroot("apt-mark", "showhold"), "")
        self.assertEqual([name for name in os.listdir(self.root + "/run")
                          if name.startswith("qualvosec")], [])

    # --- the cases ----------------------------------------------------------------

    def test_everything_pending_is_installed_new_dependencies_too(self) -> None:
        self.publish("qv-plain", "qv-sec", "qv-new", "qv-brandnew", "qv-lib", "qv-app")
        record = self.upgrade()
        self.assertEqual(record["outcome"], "ok", self.log())
        self.assertEqual(self.changed(), {"qv-plain": "2.0", "qv-sec": "2.0", "qv-new": "2.0",
                                          "qv-brandnew": "1.0", "qv-lib": "2.0", "qv-app": "2.0"})
        self.assertIn(["qv-plain", "1.0", "2.0"], record["upgraded"])
        self.assertIn(["qv-brandnew", "", "1.0"], record["upgraded"])
        self.assertEqual((record["pending"], record["kept"], record["clean"], record["committed"]),
                         (0, [], True, True))
        self.assertEqual(self.chroot("apt-mark", "showmanual", "qv-brandnew"), "")
        self.assert_clean()
        self.assert_no_traces()

    def test_security_only_takes_the_security_version_and_names_what_it_cannot(self) -> None:
        self.publish("qv-plain", "qv-sec", "qv-secup", "qv-base")
        record = self.upgrade(security_only=True)
        self.assertEqual(self.changed(), {"qv-sec": "1.0+deb12u1"})
        self.assertEqual(record["outcome"], "partial")
        self.assertEqual(record["kept"], [[
            "qv-secup", "needs a version of another package that is not a security update"]])
        self.assert_no_traces()

    def test_security_only_without_a_security_archive_is_unsupported(self) -> None:
        self.publish("qv-plain", security=False)
        record = self.upgrade(security_only=True)
        self.assertEqual((record["outcome"], record["committed"]), ("unsupported", False))
        self.assertIn("no security metadata", record["reason"])
        self.assertEqual(self.changed(), {})

    def test_whitelist_installs_only_what_it_matches(self) -> None:
        self.publish("qv-plain", "qv-lib", "qv-app", "qv-sec")
        record = self.upgrade(only=["qv-pl*", "qv-ap?"])
        self.assertEqual(self.changed(), {"qv-plain": "2.0"})
        self.assertEqual(record["kept"], [["qv-app", "needs an update that is excluded"]])
        self.assertEqual(record["outcome"], "partial")
        self.assertEqual(record["pending"], 3)
        self.assert_no_traces()

    def test_whitelist_that_matches_nothing_installs_nothing(self) -> None:
        self.publish("qv-plain")
        record = self.upgrade(only=["nosuchpackage"])
        self.assertEqual((record["outcome"], self.changed()), ("nothing", {}))

    def test_blacklist_leaves_out_and_leaves_no_hold(self) -> None:
        self.publish("qv-plain", "qv-lib", "qv-app", "qv-new", "qv-brandnew")
        record = self.upgrade(exclude=["qv-plain", "qv-brand*"])
        self.assertEqual(self.changed(), {"qv-lib": "2.0", "qv-app": "2.0"})
        self.assertEqual(record["kept"], [["qv-new", "needs an update that is excluded"]])
        self.assert_no_traces()
        self.assertEqual(self.upgrade(window="20261201T0215Z")["outcome"], "ok")
        self.assertEqual(self.versions()["qv-plain"], "2.0")

    def test_pins_of_the_administrator_stay_in_force(self) -> None:
        self.publish("qv-plain", "qv-lib", "qv-sec")
        self.write("/etc/apt/preferences", "Package: qv-plain\nPin: release *\nPin-Priority: -5\n")
        self.write("/etc/apt/preferences.d/lib",
                   "Package: qv-lib\nPin: version 1.0\nPin-Priority: 900\n")
        record = self.upgrade(exclude=["qv-new"])
        self.assertEqual((record["outcome"], self.changed()), ("ok", {"qv-sec": "2.0"}))

    def test_what_needs_a_removal_is_kept_back_and_nothing_is_removed(self) -> None:
        self.publish("qv-swap", "qv-plain")
        record = self.upgrade()
        self.assertEqual(record["outcome"], "partial")
        self.assertEqual(record["kept"], [["qv-swap", "needs the removal of qv-old"]])
        self.assertEqual(self.changed(), {"qv-plain": "2.0"})
        self.assertIn("qv-old", self.versions())

    def test_hold_of_the_administrator_is_respected_named_and_kept(self) -> None:
        self.publish("qv-plain", "qv-lib")
        self.chroot("apt-mark", "hold", "qv-plain")
        record = self.upgrade()
        self.assertEqual(record["kept"], [["qv-plain", "held by the administrator"]])
        self.assertEqual(self.changed(), {"qv-lib": "2.0"})
        self.assertEqual(self.chroot("apt-mark", "showhold"), "qv-plain\n")

    def test_changed_configuration_is_kept_and_the_new_one_reported(self) -> None:
        self.publish("qv-conf")
        self.write("/etc/qv-conf", "edited\n")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["config_files"]),
                         ("ok", ["/etc/qv-conf.dpkg-dist"]))
        with open(self.root + "/etc/qv-conf", encoding="ascii") as file:
            self.assertEqual(file.read(), "edited\n")

    def test_failing_postinst_is_failed_and_the_others_are_reported(self) -> None:
        self.publish("qv-bad", "qv-plain")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["clean"]), ("failed", False))
        self.assertIn("qv-bad", record["reason"])
        self.assertIn(["qv-plain", "1.0", "2.0"], record["upgraded"])
        again = self.ask(op="reboot", window=WINDOW, not_after=FAR)
        self.assertEqual(again["status"], "refused")
        self.assertIn("not clean", again["reason"])

    def test_run_killed_while_unpacking_is_interrupted_and_repaired(self) -> None:
        self.publish("qv-big", "qv-plain")
        process = self.start(op="upgrade", window=WINDOW, not_after=FAR, only=[], exclude=[],
                             security_only=False)
        folder = self.root + "/usr/share/qv-big"
        self.until("unpacking", lambda: sum(
            name.endswith(".dpkg-new") for name in os.listdir(folder)) > 200)
        self.assertGreater(self.kill(), 2)
        process.communicate()
        status = self.ask(op="status", wait=False)
        self.assertEqual((status["alive"], status["record"]["finished"],
                          status["record"]["committed"], status["record"]["phase"]),
                         (False, 0, True, "commit"))
        self.assertNotEqual(self.chroot("dpkg", "--audit"), "")
        second = self.ask(op="upgrade", window=WINDOW, not_after=FAR, only=[], exclude=[],
                          security_only=False)
        self.assertEqual(second["status"], "refused")
        repaired = self.ask(op="repair", window=WINDOW, not_after=FAR)
        self.assertEqual((repaired["status"], repaired["record"]["outcome"],
                          repaired["record"]["clean"], repaired["record"]["committed"]),
                         ("ok", "interrupted", True, True), self.log())
        self.assertIn(["qv-big", "1.0", "2.0"], repaired["record"]["upgraded"])
        self.assert_clean()
        self.assertEqual(self.versions()["qv-big"], "2.0")
        self.assertEqual(self.ask(op="repair", window=WINDOW, not_after=FAR)["status"], "refused")

    def test_front_killed_in_the_middle_does_not_stop_the_run(self) -> None:
        self.publish("qv-slow", "qv-plain")
        self.write("/srv/wait", "")
        front = self.start(op="upgrade", window=WINDOW, not_after=FAR, only=[], exclude=[],
                           security_only=False)
        self.until("postinst", lambda: "Setting up qv-slow" in self.log())
        front.kill()
        front.communicate()
        status = self.ask(op="status", wait=False)
        self.assertEqual((status["alive"], status["record"]["phase"]), (True, "commit"))
        for op in ("repair", "reboot"):
            refused = self.ask(op=op, window=WINDOW, not_after=FAR)
            self.assertEqual((refused["status"], refused["alive"]), ("refused", True))
        waiting = self.start(op="status", wait=True)
        os.unlink(self.root + "/srv/wait")
        record = self.answer(waiting)["record"]
        self.assertEqual((record["outcome"], record["clean"]), ("ok", True), self.log())
        self.assertEqual(self.versions()["qv-slow"], "2.0")

    def hold_lock(self, path: str, seconds: int) -> None:
        script = ("import fcntl,time\nf=open(%r,'r+b')\nfcntl.lockf(f,fcntl.LOCK_EX)\n"
                  "open('/srv/held','w')\ntime.sleep(%d)" % (path, seconds))
        process = subprocess.Popen(["chroot", self.root, "python3", "-c", script])
        self.addCleanup(process.wait)
        self.until("the lock", lambda: os.path.exists(self.root + "/srv/held"))

    def test_lock_that_stays_is_locked_and_consumes_nothing(self) -> None:
        self.publish("qv-plain")
        self.write("/etc/qualvosec/helper.conf", "[general]\nlock_wait: 2\n")
        self.hold_lock("/var/lib/dpkg/lock-frontend", 60)
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"]), ("locked", False))
        self.assertIn("lock-frontend is held by process", record["reason"])
        self.assertEqual(self.changed(), {})

    def test_lock_on_the_lists_is_waited_for(self) -> None:
        self.publish("qv-plain")
        self.chroot("apt-get", "update")
        self.hold_lock("/var/lib/apt/lists/lock", 8)
        record = self.upgrade()
        self.assertEqual((record["outcome"], self.changed()), ("ok", {"qv-plain": "2.0"}))
        self.assertIn("waiting:", self.log())

    def test_nothing_to_do_is_nothing_and_consumes_the_window(self) -> None:
        self.publish()
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"], record["upgraded"]),
                         ("nothing", True, []))
        again = self.ask(op="upgrade", window=WINDOW, not_after=FAR, only=[], exclude=[],
                         security_only=False)
        self.assertEqual(again["status"], "refused")

    def test_repository_that_is_down_is_failed_before_anything_is_touched(self) -> None:
        self.publish("qv-plain")
        self.chroot("apt-get", "update")
        with open(self.root + "/etc/apt/sources.list", "a", encoding="ascii") as file:
            file.write("deb [trusted=yes] http://127.0.0.1:9/gone ./\n")
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"]), ("failed", False))
        self.assertIn("apt-get update", record["reason"])
        self.assertEqual(self.changed(), {})

    def test_hostile_names_install_and_remove_nothing(self) -> None:
        self.publish("qv-plain", "qv-lib")
        with open(os.path.join(ROOT, "tests/data/injection.txt"), encoding="utf-8") as file:
            rows = [line.rstrip("\n") for line in file if line.strip() and line[0] != "#"]
        self.assertGreaterEqual(len(rows), 60)
        before = self.chroot("dpkg-query", "-W")
        for row in rows:
            pattern = json.loads(row)
            reply = self.ask(op="check", refresh=False, security_only=False, only=[pattern],
                             exclude=[])
            chosen = [p["name"] for p in (reply["plan"] or {"pending": []})["pending"]
                      if p["selected"]]
            self.assertEqual((row, chosen), (row, []))
            self.assertIn(reply["status"], ("ok", "invalid"))
        accepted = [json.loads(row) for row in rows if re.fullmatch(
            "[A-Za-z0-9_*?][A-Za-z0-9_+.@*?-]{0,127}", json.loads(row))]
        self.assertEqual(self.upgrade(only=accepted[:500])["outcome"], "nothing")
        self.assertEqual(self.chroot("dpkg-query", "-W"), before)
        self.assertFalse(os.path.exists(self.root + "/srv/marker"))

    def test_plan_lists_versions_security_flag_and_reasons_without_root(self) -> None:
        self.publish("qv-plain", "qv-sec", "qv-swap")
        self.chroot("apt-get", "update")
        done = subprocess.run(
            ["chroot", "--userspec=nobody:nogroup", self.root, HELPER],
            input=json.dumps({"v": 1, "op": "check", "refresh": False, "security_only": False,
                              "only": [], "exclude": ["qv-plain"]}).encode("ascii"),
            stdout=subprocess.PIPE, check=False)
        self.told = done.stdout.decode("ascii")
        plan = json.loads(self.told)["plan"]
        rows = {row["name"]: row for row in plan["pending"] if row["name"].startswith("qv-")}
        self.assertEqual(rows["qv-sec"], {"name": "qv-sec", "old": "1.0", "new": "2.0",
                                          "security": True, "selected": True, "why": ""})
        self.assertEqual(rows["qv-plain"]["why"], "in packages_blacklist")
        self.assertEqual(rows["qv-swap"]["why"], "kept back: needs the removal of qv-old")
        self.assertEqual((plan["security"], plan["reboot"]), ("known", "no"))

    def test_failing_hook_stops_the_run_before_it_touches_anything(self) -> None:
        self.publish("qv-plain")
        self.write("/etc/qualvosec/hooks.d/pre-patch.d/10-no", "#!/bin/sh\nexit 3\n", 0o755)
        record = self.upgrade()
        self.assertEqual((record["outcome"], record["committed"], self.changed()),
                         ("refused", False, {}))
        self.assertIn("10-no: failed with exit code 3", record["reason"])

    def test_veto_of_the_administrator_stops_the_run(self) -> None:
        self.publish("qv-plain")
        self.write("/etc/qualvosec/veto", "backup runs\n")
        reply = self.ask(op="upgrade", window=WINDOW, not_after=FAR, only=[], exclude=[],
                         security_only=False)
        self.assertEqual((reply["status"], reply["reason"]), ("refused", "veto: backup runs"))
        self.assertEqual(self.changed(), {})

    def test_reboot_file_of_the_system_is_a_reason(self) -> None:
        self.publish("qv-plain")
        self.write("/run/reboot-required", "*** System restart required ***\n")
        self.write("/run/reboot-required.pkgs", "libc6\nlibc6\n")
        record = self.upgrade()
        self.assertEqual((record["reboot"], record["reboot_reasons"]),
                         ("due", ["reboot-required: libc6"]))


def main(argv: Optional[List[str]] = None) -> None:
    """Run the cases."""
    unittest.main(argv=argv, verbosity=2)


if __name__ == "__main__":
    main()
