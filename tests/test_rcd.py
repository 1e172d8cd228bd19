# SPDX-License-Identifier: BSD-2-Clause
"""Scripts of rc.d and OpenRC: syntax by real shells, behaviour under stand-ins of rc.subr.

The stand-ins in tests/data/rcd are written from the manual pages and complain where a
script breaks a rule of its system. The server that is started is the real one; the
client is a small program that can say that its configuration is bad. Which shells were
found is printed; QUALVOSEC_SHELLS names those that have to be there, and then every
script lives under each of its system's, not under the first alone.
"""

import functools
import getpass
import json
import os
import pwd
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Callable
from typing import Dict
from typing import List
from typing import Tuple
from unittest import mock

from qualvosec.server import accesslog

from tests import ROOT

SCRIPTS = os.path.join(ROOT, "rc.d")
STANDINS = os.path.join(ROOT, "tests", "data", "rcd")
SYSTEMS = ("freebsd", "netbsd", "openbsd")
# The shells nearest to those of the systems: FreeBSD's and NetBSD's sh are of ash's family,
# as dash and busybox are; OpenBSD's ksh is a pdksh, as mksh is; ksh93 is a stranger to it.
ASH = ("dash", "busybox", "sh")
SHELLS = {"freebsd": ASH, "netbsd": ASH, "openrc": ASH,
          "openbsd": ("mksh", "oksh", "ksh93", "ksh")}
WANTED = os.environ.get("QUALVOSEC_SHELLS", "").split()
# By turns, so that presets and their removal meet both where both are.
MAKES = [name for name in ("bmake", "make") if shutil.which(name)]
CLIENT = """#!%s -IBS
import signal, sys, time
config = sys.argv[sys.argv.index("-c") + 1]
if sys.argv[-1] == "configtest":
    with open(config) as stream:
        sys.exit(2 if "bad" in stream.read() else 0)
def tell(word):
    sys.stderr.write("client %%s\\n" %% word)
    sys.stderr.flush()
ended = []
signal.signal(signal.SIGTERM, lambda number, frame: ended.append(1))
signal.signal(signal.SIGHUP, lambda number, frame: tell("reloaded"))
tell("started")
while not ended:
    time.sleep(0.05)
tell("stopped")
"""
STUBS = {
    # The shell that it takes by itself may be a csh: only words are a command for both.
    "su": 'shell=\nwhile [ "$1" != -c ]; do [ "$1" != -s ] || shell=$2; shift; done\n'
          '[ -z "$shell" ] || exec "$shell" -c "$2"\nset -f\nset -- $2\n'
          '[ "$1" != exec ] || shift\nexec "$@"\n',
    "install": 'printf "install %s\\n" "$*" >>"$RC_LOG.install"\n'
               'for last in "$@"; do :; done\n'
               'if [ "$1" = -d ]; then mkdir -p "$last"; else : >"$last"; fi\n',
    "logger": 'cat >>"$RC_LOG"\n',
}


def shells(system: str) -> List[str]:
    """The shells for a system that are installed here, each once, as a command."""
    found: Dict[str, str] = {}
    for name in SHELLS[system]:
        path = shutil.which(name)
        if path:
            found.setdefault(os.path.realpath(path), path + (" sh" if name == "busybox" else ""))
    return list(found.values())


def setUpModule() -> None:
    """Tell which shells are here."""
    found = sorted({os.path.basename(shell.split()[0])
                    for system in SHELLS for shell in shells(system)})
    sys.stderr.write("rc.d: shells here: %s\n" % (" ".join(found) or "none"))


class Syntax(unittest.TestCase):

    def test_shells_that_are_wanted_are_here(self) -> None:
        known = {name for names in SHELLS.values() for name in names}
        self.assertEqual([name for name in WANTED if name not in known or not shutil.which(name)],
                         [], "install them or correct QUALVOSEC_SHELLS")

    def test_every_script_is_taken_by_the_shells_of_its_system(self) -> None:
        rows = [(os.path.join(SCRIPTS, name), name.rpartition(".")[2])
                for name in sorted(os.listdir(SCRIPTS))]
        openrc = os.path.join(ROOT, "etc", "openrc")
        rows += [(os.path.join(openrc, name), "openrc") for name in sorted(os.listdir(openrc))]
        self.assertEqual(len(rows), 8)
        for path, system in rows:
            if not shells(system):
                self.skipTest("no shell for %s: install one of %s"
                              % (system, ", ".join(SHELLS[system])))
            for shell in shells(system):
                # Some complain of a locale that is set and not there.
                done = subprocess.run(shell.split() + ["-n", path], stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, env={"LC_ALL": "C"})
                self.assertEqual((done.returncode, done.stdout), (0, b""), (shell, path))

    def test_names_are_those_of_variables(self) -> None:
        names = {name.rpartition(".")[0] for name in os.listdir(SCRIPTS)}
        self.assertEqual(names, {"qualvosec", "qualvosec_server"})
        for name in names:
            self.assertRegex(name, r"^[_a-z][_a-z0-9]*$")

    def test_bsd_headers_say_what_is_provided_and_that_shutdown_ends_it(self) -> None:
        for system in ("freebsd", "netbsd"):
            for name in ("qualvosec", "qualvosec_server"):
                with open(os.path.join(SCRIPTS, "%s.%s" % (name, system)),
                          encoding="utf-8") as handle:
                    text = handle.read()
                self.assertIn("# PROVIDE: %s\n" % name, text)
                self.assertIn("# KEYWORD: shutdown\n", text)
                # What rc.conf may set is told above the first command.
                told = set(re.findall(r"^# (%s_\w+)=" % name, text.split("\n. ")[0], re.M))
                used = set(re.findall(r'^: "\$\{(%s_\w+):=' % name, text, re.M))
                self.assertEqual(used - told, set(), (system, name))

    def test_variables_of_rc_subr_are_not_used_for_something_else(self) -> None:
        # rc.subr(8) of FreeBSD gives these a meaning of its own.
        taken = ("program", "flags", "user", "group", "groups", "chdir", "chroot", "nice", "env",
                 "fib", "limits", "login_class", "oomprotect", "prepend", "setup", "umask")
        for name in os.listdir(SCRIPTS):
            with open(os.path.join(SCRIPTS, name), encoding="utf-8") as handle:
                used = set(re.findall(r"\bqualvosec(?:_server)?_(\w+):=", handle.read()))
            self.assertEqual(used & set(taken), set(), name)


@unittest.skipUnless(os.path.isdir("/proc/self"), "there is no /proc")
class Life(unittest.TestCase):
    """Scripts in a folder of their own, on stand-ins of their systems."""

    def prepare(self, system: str, shell: str = "") -> str:
        """Put programs, configuration and scripts in place; return the shell for the scripts."""
        if not shells(system):
            self.skipTest("no shell for %s: install one of %s"
                          % (system, ", ".join(SHELLS[system])))
        shell = shell or shells(system)[0]
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="qualvosec-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.addCleanup(self.end_all)
        self.log = os.path.join(self.folder, "log")
        self.server_log = os.path.join(self.folder, "srvlog", "access.log")
        with open(os.path.join(ROOT, "bin", "qualvosec-server"), encoding="utf-8") as handle:
            server = handle.read().split("\n", 1)[1]
        server = re.sub(r"^LIB = .*$", "LIB = %r" % os.path.join(ROOT, "lib"), server, flags=re.M)
        self.write("sbin/qualvosec-server", "#!%s -IBS\n%s" % (sys.executable, server), 0o755)
        self.write("sbin/qualvosec", CLIENT % sys.executable, 0o755)
        self.write("etc/qualvosec/qualvosec.conf", "good\n", 0o644)
        self.write("etc/qualvosec/qualvosec_server.conf",
                   "[general]\nroot: %s\nport: 0\nlog_file: %s\nlog_level: INFO\n"
                   % (self.folder, self.server_log), 0o644)
        for name, text in STUBS.items():
            self.write("stubs/" + name, "#!/bin/sh\n" + text, 0o755)
        with open(os.path.join(STANDINS, "daemon"), encoding="utf-8") as handle:
            self.write("daemon", handle.read().replace("/usr/bin/env python3", sys.executable),
                       0o755)
        user = getpass.getuser()
        self.write("rc.conf", "qualvosec_enable=YES qualvosec_server_enable=YES qualvosec=YES\n"
                   "qualvosec_server=YES qualvosec_runas=%s qualvosec_server_runas=%s\n"
                   % (user, user), 0o644)
        os.mkdir(os.path.join(self.folder, "run"))
        for name in ("qualvosec", "qualvosec_server"):
            self.redirect(name, system, shell)
        return shell

    def write(self, name: str, text: str, mode: int) -> None:
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.exists(path):
            os.unlink(path)
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(text)
        os.chmod(path, mode)

    def redirect(self, name: str, system: str, shell: str) -> None:
        """Let a script use the stand-ins, this test's folder, and one shell, also to restart."""
        with open(os.path.join(SCRIPTS, "%s.%s" % (name, system)), encoding="utf-8") as handle:
            text = "#!%s\n%s" % (shell, handle.read().split("\n", 1)[1])
        subr = os.path.join(STANDINS, "%s.subr" % system.replace("netbsd", "freebsd"))
        for path, other in (("/etc/rc.d/rc.subr", subr), ("/etc/rc.subr", subr),
                            ("/usr/sbin/daemon", self.folder + "/daemon"),
                            ("/var/run", self.folder + "/run"),
                            ("/var/log/qualvosec-server", self.folder + "/srvlog"),
                            ("/usr/local/bin/python3", sys.executable),
                            ("/usr/pkg/bin/python3", sys.executable),
                            ("/usr/local/sbin", self.folder + "/sbin"),
                            ("/usr/pkg/sbin", self.folder + "/sbin"),
                            ("/usr/local/etc/", self.folder + "/etc/"),
                            ("/usr/pkg/etc/", self.folder + "/etc/"),
                            (" /etc/qualvosec/", " %s/etc/qualvosec/" % self.folder)):
            text = text.replace(path, other)
        self.assertIn(subr, text)
        self.write("rc.d/" + name, text, 0o755)

    def end_all(self) -> None:
        """End whatever a failed test has left behind: processes that name our folder."""
        for entry in os.listdir("/proc"):
            try:
                with open("/proc/%s/cmdline" % entry, "rb") as handle:
                    words = handle.read()
                if self.folder.encode() in words and int(entry) != os.getpid():
                    os.kill(int(entry), signal.SIGKILL)
            except (OSError, ValueError):
                continue        # not a process, or gone already

    def rc(self, shell: str, system: str, script: str, word: str) -> Tuple[int, str]:
        env = {"PATH": "%s/stubs:%s" % (self.folder, os.environ.get("PATH", os.defpath)),
               "RC_LOG": self.log, "RC_SYSTEM": system, "RC_CONF": self.folder + "/rc.conf"}
        out = os.path.join(self.folder, "out")
        # A file: a pipe would be held open by a daemon that keeps it.
        with open(out, "wb") as stream:
            done = subprocess.run(shell.split() + [os.path.join(self.folder, "rc.d", script), word],
                                  env=env, timeout=60, stdin=subprocess.DEVNULL, stdout=stream,
                                  stderr=subprocess.STDOUT, cwd=self.folder)
        with open(out, encoding="utf-8") as handle:
            return done.returncode, handle.read()

    def logged(self, text: str, path: str = "") -> None:
        """Wait until a log holds a text."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if os.path.exists(path or self.log):
                with open(path or self.log, encoding="utf-8") as handle:
                    if text in handle.read():
                        return
            time.sleep(0.02)
        with open(self.log, encoding="utf-8") as handle:
            self.fail("%r is not in the log:\n%s" % (text, handle.read()))

    def live(self, system: str) -> None:
        for shell in shells(system)[:None if WANTED else 1] or [""]:
            with self.subTest(shell=shell):
                self.live_under(self.prepare(system, shell), system)
                self.end_all()

    def live_under(self, shell: str, system: str) -> None:
        status = "check" if system == "openbsd" else "status"

        def rc(word: str, script: str = "qualvosec") -> Tuple[int, str]:
            return self.rc(shell, system, script, word)

        self.assertEqual(rc(status)[0], 1)
        self.assertEqual(rc("configtest"), (0, "qualvosec(ok)\n" if system == "openbsd" else ""))
        self.write("etc/qualvosec/qualvosec.conf", "bad\n", 0o644)
        self.assertNotEqual(rc("configtest")[0], 0)
        self.write("etc/qualvosec/qualvosec.conf", "good\n", 0o644)
        self.assertEqual(rc("start")[0], 0)
        self.logged("client started")
        self.assertEqual(rc(status)[0], 0)
        self.assertEqual(rc("start")[0], 0 if system == "openbsd" else 1, "a second start")
        self.assertEqual(rc("reload")[0], 0)
        self.logged("client reloaded")
        self.assertEqual(rc(status)[0], 0)
        code, said = rc("restart")
        self.assertEqual(code, 0, said)
        self.logged("client stopped\nclient started")
        self.assertEqual(rc("stop")[0], 0)
        self.assertEqual(rc(status)[0], 1)
        self.assertEqual(rc("nonsense")[0], 64)
        with open(self.log, encoding="utf-8") as handle:
            lines = [line for line in handle.read().splitlines() if line.startswith("client")]
        self.assertEqual(lines, ["client " + word for word in (
            "started", "reloaded", "stopped", "started", "stopped")])
        self.live_server(shell, system, status)

    def live_server(self, shell: str, system: str, status: str) -> None:
        def rc(word: str) -> Tuple[int, str]:
            return self.rc(shell, system, "qualvosec_server", word)

        code, said = rc("start")
        self.assertEqual(code, 0, said)
        self.logged("serving %s" % self.folder)
        self.assertTrue(os.path.exists(self.server_log))
        owner = "_qualvosec-server" if system == "openbsd" else getpass.getuser()
        self.logged("install -d -o root -g %s -m 0750 %s/srvlog\n" % (owner, self.folder),
                    self.log + ".install")
        self.logged("install -o %s -g %s -m 0640 /dev/null %s\n"
                    % (owner, owner, self.server_log), self.log + ".install")
        os.rename(self.server_log, self.server_log + ".0")
        self.write("srvlog/access.log", "", 0o640)  # newsyslog makes it anew
        self.assertEqual(rc("reload")[0], 0)
        self.logged("access log reopened")
        self.assertTrue(os.path.exists(self.server_log))
        self.assertEqual(rc(status)[0], 0)
        self.assertEqual(rc("stop")[0], 0)
        self.logged("stopped")
        self.assertEqual(rc(status)[0], 1)

    def test_script_of_freebsd_leads_a_whole_life(self) -> None:
        self.live("freebsd")

    def test_script_of_netbsd_leads_a_whole_life(self) -> None:
        self.live("netbsd")

    @unittest.skipUnless(shutil.which("pgrep") and shutil.which("pkill"),
                         "pgrep and pkill are not installed")
    def test_script_of_openbsd_leads_a_whole_life(self) -> None:
        self.live("openbsd")

    def test_script_of_openbsd_does_not_start_a_bad_configuration(self) -> None:
        shell = self.prepare("openbsd")
        self.write("etc/qualvosec/qualvosec.conf", "bad\n", 0o644)
        self.assertEqual(self.rc(shell, "openbsd", "qualvosec", "start"),
                         (1, "qualvosec(failed)\n"))

    def test_nothing_starts_that_rc_conf_does_not_enable(self) -> None:
        shell = self.prepare("freebsd")
        self.write("rc.conf", "", 0o644)
        self.assertEqual(self.rc(shell, "freebsd", "qualvosec", "start")[0], 1)
        self.write("rc.conf", "qualvosec_enable=YES\nqualvosec_config=/nonexistent\n", 0o644)
        code, said = self.rc(shell, "freebsd", "qualvosec", "start")
        self.assertEqual(code, 1)
        self.assertIn("/nonexistent is not readable", said)


@unittest.skipUnless(os.geteuid() == 0, "plays root, newsyslog and a third user: needs root")
class LogDirectory(unittest.TestCase):
    """The directory in which newsyslog, as root, renames, chowns and chmods by name.

    Its calls are those of newsyslog.c of FreeBSD: the log is renamed, a new one is made beside
    it, given away by its descriptor and renamed, then chmod() and chown() of the old one by
    name. The embedded server's user, taken over by somebody, tries at each step to have a
    file of root's given away.
    """

    USER = "daemon"     # a user with a group of the same name: Linux and the BSDs have this one

    def setUp(self) -> None:
        folder = os.path.realpath(tempfile.mkdtemp(prefix="qualvosec-test-"))
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        self.log_dir = os.path.join(folder, "srvlog")
        self.log = os.path.join(self.log_dir, "access.log")
        self.victim = os.path.join(folder, "master.passwd")
        with open(self.victim, "w", encoding="ascii") as handle:
            handle.write("secret\n")
        os.chmod(self.victim, 0o600)
        user = pwd.getpwnam(self.USER)
        self.ids = (user.pw_uid, user.pw_gid)
        self.folder = folder

    def as_user(self, *actions: Callable[[], object]) -> List[str]:
        """Do things as the server's user; return what each raised, "" for none."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            said = ["the child ended"]
            try:
                os.setgroups([])
                os.setgid(self.ids[1])
                os.setuid(self.ids[0])
                said = [self.fault_of(action) for action in actions]
            finally:
                os.write(writing, json.dumps(said).encode("ascii"))
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, encoding="ascii") as pipe:
            told: List[str] = json.loads(pipe.read())
        os.waitpid(child, 0)
        return told

    @staticmethod
    def fault_of(action: Callable[[], object]) -> str:
        try:
            action()
        except OSError as error:
            return type(error).__name__
        return ""

    def attack(self) -> None:
        """Put links to root's file wherever newsyslog may look; nothing of it may work."""
        actions: List[Callable[[], object]] = [
            functools.partial(os.chmod, self.log_dir, 0o777),
            functools.partial(os.mkdir, self.log + ".d")]
        for name in (self.log, self.log + ".0", self.log + ".0.bz2"):
            actions += [functools.partial(os.symlink, self.victim, name + ".new"),
                        functools.partial(os.symlink, self.victim, name),
                        functools.partial(os.link, self.victim, name + ".new"),
                        functools.partial(os.rename, name, name + ".new"),
                        functools.partial(os.unlink, name)]
        said = self.as_user(*actions)
        self.assertEqual(len(said), len(actions))
        self.assertLessEqual(set(said), {"PermissionError", "FileExistsError", "FileNotFoundError"})

    def old_installation(self) -> None:
        """Make it as earlier versions did, with what somebody may have left in it."""
        os.mkdir(self.log_dir, 0o750)
        os.chown(self.log_dir, *self.ids)
        links = [functools.partial(os.symlink, self.victim, self.log + end)
                 for end in ("", ".0.bz2")]
        self.assertEqual(self.as_user(*links), ["", ""])
        os.link(self.victim, self.log + ".1.bz2")   # where hard links are not forbidden
        with open(self.log_dir + "/access.log.2.bz2", "w", encoding="ascii") as handle:
            handle.write("old\n")

    def run_shell(self, text: str) -> str:
        """Run lines of an installed script with this test's directories and user."""
        for old, new in (("/var/log/qualvosec-server", self.log_dir), ("/var/run", self.folder),
                         ("_qualvosec-server", self.USER), ("qualvosec-server", self.USER),
                         ("-g wheel", "-g 0")):
            text = text.replace(old, new)
        done = subprocess.run(["sh", "-c", "set -eu\n" + text], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout.decode()

    def start(self, system: str) -> str:
        """Do what the script does before it starts the server."""
        with open(os.path.join(SCRIPTS, "qualvosec_server." + system), encoding="utf-8") as handle:
            text = handle.read()
        function = "rc_pre" if system == "openbsd" else "qualvosec_server_precmd"
        body = re.findall(r"^%s\(\)\s*(\{.*?^\})" % function, text, re.M | re.S)[0]
        names = re.findall(r'^(?:name|rundir|logdir|daemon_user)=.*$', text, re.M)
        default = re.findall(r'^: "\$\{qualvosec_server_runas.*$', text, re.M)
        return self.run_shell("\n".join(names + default + [body]))

    def newsyslog(self) -> None:
        """Rotate once, as the line of our newsyslog.conf says."""
        with open(os.path.join(ROOT, "etc/newsyslog.conf.d/qualvosec.conf"),
                  encoding="utf-8") as handle:
            row = [line.split() for line in handle if line.startswith("/")][0]
        mode = int(row[2], 8)
        self.attack()
        os.rename(self.log, self.log + ".0")
        self.attack()
        with open(self.log + ".tmp", "w", encoding="ascii") as handle:
            os.fchown(handle.fileno(), *self.ids)
            os.fchmod(handle.fileno(), mode)
        os.rename(self.log + ".tmp", self.log)
        for name in (self.log + ".0", self.log + ".0.bz2", self.log + ".1.bz2", self.log):
            self.attack()
            if os.path.exists(name):
                os.chmod(name, mode)
                os.chown(name, *self.ids)

    def serve(self, turn: int) -> None:
        """Write a line as the server does after its start, or after SIGHUP."""
        def write() -> None:
            access = accesslog.AccessLog(self.log)
            access.open()
            access.write(accesslog.Entry("192.0.2.1", turn, "GET / HTTP/1.1", 200, 1, "", ""))

        self.assertEqual(self.as_user(write), [""])

    def test_rotation_by_root_gives_no_file_away_and_the_server_goes_on_writing(self) -> None:
        tool = runpy.run_path(os.path.join(ROOT, "tools", "freebsd_package.py"))
        package = "\n".join(tool["POST_INSTALL"].split("\n")[1:-1])
        ways = [functools.partial(self.run_shell, package)]
        ways += [functools.partial(self.start, system) for system in SYSTEMS]
        for way in ways:
            shutil.rmtree(self.log_dir, ignore_errors=True)
            self.old_installation()
            way()
            way()       # a second start finds all as it should be
            info, log = os.stat(self.log_dir), os.lstat(self.log)
            self.assertEqual((info.st_uid, info.st_gid, info.st_mode & 0o7777),
                             (0, self.ids[1], 0o750))
            self.assertEqual((log.st_uid, log.st_gid, log.st_mode), self.ids + (0o100640,))
            self.assertEqual(sorted(os.listdir(self.log_dir)),
                             ["access.log", "access.log.2.bz2"])
            for turn in (1, 2):
                self.serve(turn)
                self.newsyslog()
                self.serve(turn)
            info = os.stat(self.victim)
            self.assertEqual((info.st_uid, info.st_gid, info.st_mode & 0o7777, info.st_nlink),
                             (0, 0, 0o600, 1))
            for name in (self.log, self.log + ".0"):
                with open(name, encoding="ascii") as handle:
                    self.assertIn("GET / HTTP/1.1", handle.read())

    def test_no_file_is_removed_in_a_directory_that_the_servers_user_can_exchange(self) -> None:
        # rm is given a path: between find and rm a directory on it can become a link elsewhere.
        tool = runpy.run_path(os.path.join(ROOT, "tools", "freebsd_package.py"))
        package = "\n".join(tool["POST_INSTALL"].split("\n")[1:-1])
        ways = [functools.partial(self.run_shell, package)]
        ways += [functools.partial(self.start, system) for system in SYSTEMS]
        inside, shim = os.path.join(self.log_dir, "mine", "a"), os.path.join(self.folder, "bin")
        os.mkdir(shim)
        with open(os.path.join(shim, "rm"), "w", encoding="ascii") as handle:
            handle.write("#!/bin/sh\nmv %s %s.was 2>/dev/null && ln -s %s %s\nexec %s \"$@\"\n" % (
                inside, inside, self.folder, inside, shutil.which("rm")))
        os.chmod(os.path.join(shim, "rm"), 0o755)
        for way in ways:
            shutil.rmtree(self.log_dir, ignore_errors=True)
            self.old_installation()
            self.assertEqual(self.as_user(
                functools.partial(os.makedirs, inside),
                functools.partial(os.symlink, "x", os.path.join(inside, "master.passwd"))),
                ["", ""])
            with mock.patch.dict(os.environ, PATH="%s:%s" % (shim, os.environ["PATH"])):
                way()
            self.assertTrue(os.path.exists(self.victim))
            self.assertFalse(os.path.lexists(self.log + ".0.bz2"))

    def test_what_was_removed_is_told(self) -> None:
        self.old_installation()
        said = self.start("freebsd")
        self.assertEqual(sorted(said.splitlines()), [
            "qualvosec_server: removed, it is a link: %s%s" % (self.log, end)
            for end in ("", ".0.bz2", ".1.bz2")])


@unittest.skipUnless(MAKES, "make is not installed")
class Presets(unittest.TestCase):
    """make install-freebsd and the like, into a stage."""

    turn = 0

    def make(self, *words: str) -> None:
        Presets.turn += 1
        # Nothing of the make that may run this test.
        done = subprocess.run([MAKES[self.turn % len(MAKES)]] + list(words), cwd=ROOT,
                              env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
                              timeout=300, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout.decode())

    def stage(self, system: str, *words: str) -> str:
        folder = tempfile.mkdtemp(prefix="qualvosec-test-")
        self.addCleanup(shutil.rmtree, folder)
        self.make("install-" + system, "DESTDIR=" + folder, "PYTHON=" + sys.executable, *words)
        return folder

    def text(self, *parts: str) -> str:
        with open(os.path.join(*parts), encoding="utf-8") as handle:
            return handle.read()

    def test_scripts_find_programs_configuration_and_users_of_their_system(self) -> None:
        rows = {"freebsd": ("usr/local/etc/rc.d", "/usr/local/sbin/", "/usr/local/etc/qualvosec/",
                            "_runas:=qualvosec}", "_runas:=qualvosec-server}"),
                "netbsd": ("etc/rc.d", "/usr/pkg/sbin/", "/usr/pkg/etc/qualvosec/",
                           "_runas:=qualvosec}", "_runas:=qualvosec-server}"),
                "openbsd": ("etc/rc.d", "/usr/local/sbin/", " /etc/qualvosec/",
                            '"_qualvosec"', '"_qualvosec-server"')}
        for system, (place, sbin, config, user, server_user) in rows.items():
            stage = self.stage(system, "BYTECODE=no")
            first = self.text(stage, sbin.lstrip("/"), "qualvosec").split()[0][2:]
            client = self.text(stage, place, "qualvosec")
            server = self.text(stage, place, "qualvosec_server")
            for text, name, owner in ((client, "qualvosec", user),
                                      (server, "qualvosec-server", server_user)):
                self.assertIn('"%s%s"' % (sbin, name), text, system)
                self.assertIn("%s%s.conf" % (config, name.replace("-", "_")), text, system)
                self.assertIn(owner, text, system)
                # FreeBSD's is known by the process of daemon(8), not by its interpreter.
                if system != "freebsd":
                    self.assertIn('="%s' % first, text, system)
                self.assertNotIn("/usr/pkg" if system != "netbsd" else "/usr/local", text)
            self.assertTrue(os.path.exists(os.path.join(stage, config.strip(" /"), "helper.conf")))
            paths = "share/qualvosec/qualvosec/paths.py"
            self.assertIn('"/var/db/qualvosec"', self.text(
                stage, "usr/pkg" if system == "netbsd" else "usr/local", paths), system)
            self.assertFalse(os.path.exists(os.path.join(stage, "usr/local/lib")), "units")
            self.assertEqual(os.path.exists(os.path.join(stage, "etc/sudoers.d")), False)

    def test_what_a_preset_has_installed_the_same_preset_removes(self) -> None:
        for system in ("linux", "openrc") + SYSTEMS:
            stage = self.stage(system, "BYTECODE=no")
            conf = {"freebsd": "usr/local/etc", "netbsd": "usr/pkg/etc"}.get(system, "etc")
            self.make("uninstall-" + system, "DESTDIR=" + stage)
            left = {os.path.relpath(os.path.join(base, name), stage)
                    for base, _, names in os.walk(stage) for name in names}
            self.assertEqual(left, {"%s/qualvosec/%s" % (conf, name) for name in (
                "qualvosec.conf", "helper.conf", "qualvosec_admin.conf",
                "qualvosec_server.conf")}, system)

    def test_package_of_freebsd_lists_every_file_and_compiles_where_it_is_installed(self) -> None:
        stage = self.stage("freebsd", "BYTECODE=no")
        out = os.path.join(stage, "package")
        done = subprocess.run([sys.executable, "-IBS", os.path.join(
            ROOT, "tools", "freebsd_package.py"), stage, out], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=dict(os.environ, SOURCE_DATE_EPOCH="1700000000",
                                               PATH="/usr/bin:/bin"))
        self.assertEqual(done.returncode, 0, done.stdout)
        # What is done on FreeBSD: all times are the one that was asked for.
        self.assertIn(b" pkg create -t 1700000000 -r ", done.stdout)
        manifest = json.loads(self.text(out, "+MANIFEST"))
        self.assertRegex(manifest["version"], r"^[0-9]")
        for field in ("name", "origin", "comment", "desc", "maintainer", "www", "prefix"):
            self.assertIsInstance(manifest[field], str, field)
        self.assertIn("compileall", manifest["scripts"]["post-install"])
        for script in manifest["scripts"].values():
            subprocess.run(["sh", "-n", "-c", script], check=True)
        prefix = os.path.join(stage, "usr", "local")
        listed = {line.split()[-1]: line for line in self.text(out, "plist").splitlines()}
        there = {os.path.relpath(os.path.join(base, name), prefix)
                 for base, _, names in os.walk(prefix) for name in names}
        configs = {name[:-len(".sample")] for name, line in listed.items()
                   if line.startswith("@sample ")}
        self.assertEqual(len(configs), 4)
        folders = {name for name, line in listed.items() if line.startswith("@dir ")}
        self.assertEqual(set(listed) - folders, there - configs)
        self.assertEqual(listed["etc/sudoers.d/qualvosec"],
                         "@config(root,wheel,0440) etc/sudoers.d/qualvosec")
        self.assertEqual([name for name in listed if name.endswith(".pyc")], [])


class OpenRC(unittest.TestCase):

    def run_script(self, name: str, tail: str) -> str:
        """Read a script as openrc-run does, then run some lines; returns what they print."""
        path = os.path.join(ROOT, "etc", "openrc", name)
        text = ("RC_SVCNAME=%s; ebegin() { :; }; eend() { return $1; }\n"
                "for word in use after need checkpath supervise-daemon; do\n"
                "alias $word=\"echo $word\"; done\n. %s\n%s\n" % (name, path, tail))
        done = subprocess.run([shutil.which("dash") or "sh", "-c", "eval \"$1\"", "sh", text],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout.decode()

    def test_scripts_supervise_a_process_in_the_foreground_as_its_own_user(self) -> None:
        for name, user in (("qualvosec", "qualvosec"), ("qualvosec_server", "qualvosec-server")):
            said = self.run_script(name, 'echo "$supervisor|$command_user|$respawn_max"; '
                                   'echo "$command $command_args"')
            program = "qualvosec" + name[9:].replace("_", "-")
            self.assertEqual(said, "supervise-daemon|%s:%s|0\n/usr/local/sbin/%s -c "
                             "/etc/qualvosec/%s.conf\n" % (user, user, program, name))

    def test_scripts_leave_start_stop_and_status_to_openrc(self) -> None:
        # Own ones would switch supervision off.
        for name in ("qualvosec", "qualvosec_server"):
            with open(os.path.join(ROOT, "etc", "openrc", name), encoding="utf-8") as handle:
                functions = set(re.findall(r"^(\w+)\(\)", handle.read(), re.M))
            self.assertEqual(functions & {"start", "stop", "status"}, set())
            self.assertIn("reload", functions)

    def test_reload_sends_hup_through_the_supervisor(self) -> None:
        said = self.run_script("qualvosec", "reload")
        self.assertEqual(said, "supervise-daemon qualvosec --signal HUP --pidfile "
                               "/run/qualvosec.pid\n")


if __name__ == "__main__":
    unittest.main()
