# SPDX-License-Identifier: BSD-2-Clause
"""make install and uninstall: what lands where, and whether it runs from there."""

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest
from typing import Dict
from typing import List
from typing import Tuple

from tests import ROOT

MAKES = [name for name in ("make", "bmake") if shutil.which(name)]
PROGRAMS = {"sbin/qualvosec", "sbin/qualvosec-admin", "sbin/qualvosec-server",
            "libexec/qualvosec/qualvosec-helper", "libexec/qualvosec/qualvosec-transaction"}
CONFIGS = {"qualvosec.conf", "helper.conf", "qualvosec_admin.conf", "qualvosec_server.conf"}


def load_interpreter_tool() -> object:
    spec = importlib.util.spec_from_file_location(
        "interpreter", os.path.join(ROOT, "tools", "interpreter.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tree(folder: str) -> Dict[str, Tuple[int, bytes]]:
    """Every file below a folder: name -> (mode, content); directories end in a slash."""
    found = {}
    for base, folders, names in os.walk(folder):
        for name in folders:
            path = os.path.join(base, name)
            found[os.path.relpath(path, folder) + "/"] = (stat.S_IMODE(os.stat(path).st_mode), b"")
        for name in names:
            path = os.path.join(base, name)
            with open(path, "rb") as handle:
                data = handle.read()
            found[os.path.relpath(path, folder)] = (stat.S_IMODE(os.stat(path).st_mode), data)
    return found


@unittest.skipUnless(MAKES, "neither make nor bmake is installed")
class Installation(unittest.TestCase):

    shared = ""

    @classmethod
    def setUpClass(cls) -> None:
        cls.shared = os.path.realpath(tempfile.mkdtemp(prefix="qualvosec-test-"))

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(cls.shared)

    def setUp(self) -> None:
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="qualvosec-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def make(self, *words: str, tool: str = "", mask: int = 0o022) -> Tuple[int, str]:
        before = os.umask(mask)
        try:
            done = subprocess.run(
                [tool or MAKES[0]] + list(words) + ["PYTHON=" + sys.executable], cwd=ROOT,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}, timeout=300,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        finally:
            os.umask(before)
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def stage(self, name: str, *words: str, tool: str = "", mask: int = 0o022) -> str:
        where = os.path.join(self.folder, name)
        # Compiling takes longer than all the rest.
        code, output = self.make("install", "DESTDIR=" + where, "UNITDIR=/usr/lib/systemd/system",
                                 "BYTECODE=no", *words, tool=tool, mask=mask)
        self.assertEqual((code, output), (0, ""))
        return where

    def usual(self) -> str:
        """A stage with the usual directories, made once and not to be changed."""
        where = os.path.join(self.shared, "stage")
        if not os.path.exists(where):
            self.assertEqual(self.stage(where, "BYTECODE=yes"), where)
        return where

    def copy(self) -> str:
        """A copy of the usual stage, times included."""
        where = os.path.join(self.folder, "stage")
        shutil.copytree(self.usual(), where)
        return where

    def in_place(self) -> List[str]:
        """The variables of an installation without a stage, for a run from where it is."""
        return ["PREFIX=%s/usr" % self.folder, "SYSCONFDIR=%s/etc" % self.folder,
                "STATEDIR=%s/state" % self.folder, "HELPERSTATEDIR=%s/hstate" % self.folder,
                "HELPERLOGDIR=%s/hlog" % self.folder, "TRUST_PYTHON=yes"]

    def test_both_makes_and_any_umask_give_the_same_tree(self) -> None:
        first = tree(self.usual())
        second = tree(self.stage("second", "BYTECODE=yes", tool=MAKES[-1], mask=0o077))
        self.assertEqual(sorted(first), sorted(second))
        for name, value in first.items():
            self.assertEqual(value, second[name], name)
        self.assertEqual({mode for name, (mode, _) in first.items() if name.endswith("/")
                          and name != "etc/sudoers.d/"}, {0o755})

    def test_directories_that_are_there_keep_their_mode(self) -> None:
        shared = {"usr/local/sbin": 0o2775, "usr/local/share": 0o2775, "etc/sudoers.d": 0o700,
                  "etc/qualvosec": 0o711}
        for name, mode in shared.items():
            path = os.path.join(self.folder, "stage", name)
            os.makedirs(path)
            os.chmod(path, mode)
        found = tree(self.stage("stage"))
        for name, mode in shared.items():
            self.assertEqual(found[name + "/"][0], mode, name)

    def test_everything_is_where_it_belongs_with_its_mode(self) -> None:
        found = tree(self.usual())
        for name in PROGRAMS:
            self.assertEqual(found["usr/local/" + name][0], 0o755, name)
        for name in CONFIGS:
            path = "etc/qualvosec/" + name
            self.assertEqual(found[path], found[path + ".sample"])
            self.assertEqual(found[path][0], 0o644)
        mode, rule = found["etc/sudoers.d/qualvosec"]
        self.assertEqual(mode, 0o440)
        self.assertIn(b' /usr/local/libexec/qualvosec/qualvosec-helper ""\n', rule)
        self.assertIn("usr/lib/systemd/system/qualvosec.service", found)
        self.assertIn("usr/local/share/qualvosec/qualvosec/paths.py", found)
        self.assertEqual([name for name in found if name.endswith((".new", ".old", ".check"))], [])

    def test_every_manual_page_is_installed_with_the_paths_of_the_installation(self) -> None:
        pages = os.listdir(os.path.join(ROOT, "man"))
        found = tree(self.stage("stage", "PREFIX=/usr", "STATEDIR=/var/db/q",
                                "HELPERSTATEDIR=/var/db/q-root", "SYSCONFDIR=/usr/pkg/etc",
                                "RUNDIR=/var/run"))
        installed = {name: data for name, (_, data) in found.items() if "/man/man" in name
                     and not name.endswith("/")}
        self.assertEqual(sorted(os.path.basename(name) for name in installed), sorted(pages))
        for name, data in installed.items():
            self.assertEqual(name, "usr/share/man/man%s/%s" % (name[-1], os.path.basename(name)))
            for old in (b"/usr/local/libexec", b"/var/lib/qualvosec", b" /etc/qualvosec",
                        b" /run/"):
                self.assertNotIn(old, data, name)

    def test_paths_of_another_prefix_and_user_reach_every_file(self) -> None:
        found = tree(self.stage("stage", "PREFIX=/usr", "SYSCONFDIR=/usr/pkg/etc",
                                "SERVICEUSER=_qualvosec", "STATEDIR=/var/db/q",
                                "RUNDIR=/var/run/q"))
        for name, (_, data) in found.items():
            if not name.startswith("usr/share/doc/"):
                self.assertNotIn(b"/usr/local/libexec", data, name)
                self.assertNotIn(b"/usr/local/sbin/qualvosec", data, name)
        rule = found["usr/pkg/etc/sudoers.d/qualvosec"][1].decode()
        self.assertIn("\n_qualvosec ALL=(root:root) NOPASSWD: NOSETENV:", rule)
        self.assertIn(' /usr/libexec/qualvosec/qualvosec-helper ""\n', rule)
        unit = found["usr/lib/systemd/system/qualvosec.service"][1].decode()
        self.assertIn("ExecStart=/usr/sbin/qualvosec -c /usr/pkg/etc/qualvosec/qualvosec.conf\n",
                      unit)
        self.assertIn("User=_qualvosec\nGroup=_qualvosec\n", unit)
        unit = found["usr/lib/systemd/system/qualvosec-helper.socket"][1].decode()
        self.assertIn("SocketUser=_qualvosec\n", unit)
        self.assertIn("\nListenStream=/var/run/q/qualvosec-helper.sock\n", unit)
        unit = found["usr/lib/systemd/system/qualvosec-helper@.service"][1].decode()
        self.assertIn("ExecStart=/usr/libexec/qualvosec/qualvosec-helper\n", unit)
        text = found["usr/share/qualvosec/qualvosec/paths.py"][1].decode()
        for line in ('STATE_DIR = "/var/db/q"', 'CONFIG_DIR = "/usr/pkg/etc/qualvosec"',
                     'LIBEXEC_DIR = "/usr/libexec/qualvosec"', 'SBIN_DIR = "/usr/sbin"',
                     'SERVICE_USER = "_qualvosec"', 'RUN_DIR = "/var/run/q"'):
            self.assertIn("\n%s\n" % line, text)
        self.assertRegex(text, '\nPYTHON = "/[^"]+"\n')
        config = found["usr/pkg/etc/qualvosec/qualvosec.conf"][1].decode()
        for line in ("#state_dir: /var/db/q", "#ca_file: /usr/pkg/etc/qualvosec/ca.pem"):
            self.assertIn("\n%s\n" % line, config)
        doas = found["usr/share/doc/qualvosec/examples/doas.conf"][1].decode()
        self.assertIn("permit nopass _qualvosec as root cmd "
                      "/usr/libexec/qualvosec/qualvosec-helper args\n", doas)

    def test_no_file_knows_the_checkout_or_the_stage(self) -> None:
        for name, (_, data) in tree(self.usual()).items():
            self.assertNotIn(ROOT.encode() + b"/", data, name)
            self.assertNotIn(self.shared.encode(), data, name)

    def test_every_module_has_bytecode_of_the_interpreter(self) -> None:
        found = tree(self.usual())
        tag = sys.implementation.cache_tag
        for name in found:
            if name.endswith(".py"):
                folder, _, base = name.rpartition("/")
                self.assertIn("%s/__pycache__/%s.%s.pyc" % (folder, base[:-3], tag), found)

    def test_what_is_installed_says_what_comes_next_for_its_parts_alone(self) -> None:
        systems = {"freebsd": "sysrc %s_enable=YES && service %s start",
                   "openbsd": "rcctl enable %s && rcctl start %s",
                   "netbsd": "echo %s=YES >>/etc/rc.conf && service %s start",
                   "openrc": "rc-update add %s && rc-service %s start"}
        steps = {"client": ("qualvosec.conf    server, and fqdn", "configtest"),
                 "admin": ("qualvosec-admin add",), "server": ("unless another web server",)}
        services = {"client": "qualvosec", "server": "qualvosec_server"}
        for part, system in (("client", "freebsd"), ("server", "openbsd"), ("admin", "netbsd"),
                             ("client", "openrc"), ("server", "openrc")):
            with self.subTest(part=part, system=system):
                code, output = self.make(
                    "install-" + part, "RCSYSTEM=" + system, "RCDIR=%s/rc.d" % self.folder,
                    "NEEDRESTARTDIR=", "LOGROTATEDIR=", "BYTECODE=no", *self.in_place())
                self.assertEqual(code, 0, output)
                for other, words in steps.items():
                    for word in words:
                        self.assertEqual(word in output, other == part, "%s: %s" % (word, output))
                for other, service in services.items():
                    start = systems[system] % (service, service)
                    self.assertEqual("  %s\n" % start in output, other == part, output)

    def refused(self, *words: str) -> str:
        """The first line of an installation that ends before anything is done."""
        before = tree(self.folder)
        code, output = self.make(*(list(words) + self.in_place()))
        self.assertNotEqual(code, 0, output)
        self.assertEqual(tree(self.folder), before)
        lines = [line for line in output.splitlines() if not line.startswith(("make", "***"))
                 and " stopped" not in line and "rror code" not in line]
        self.assertEqual(len(lines), 1, output)
        return lines[0]

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_without_the_right_to_write_one_line_says_so_and_nothing_is_done(self) -> None:
        os.chmod(self.folder, 0o555)
        self.addCleanup(os.chmod, self.folder, 0o755)
        for words in (["install"], ["install-client"], ["install-admin"], ["install-server"],
                      ["uninstall"]):
            with self.subTest(words=words):
                self.assertEqual(self.refused(*words), "install: %s: cannot be written: do it as "
                                 "root, or stage with DESTDIR=" % self.folder)

    def test_a_file_in_the_place_of_a_directory_is_one_line_and_nothing_is_done(self) -> None:
        with open(os.path.join(self.folder, "usr"), "w", encoding="ascii"):
            pass
        self.assertEqual(self.refused("install"), "install: %s/usr: is not a directory: remove it "
                         "or choose another place" % self.folder)

    def test_programs_run_from_where_they_are_whatever_the_environment(self) -> None:
        code, output = self.make("install", *self.in_place())
        self.assertEqual(code, 0, output)
        self.assertIn("make install-users", output)
        if sys.platform.startswith("linux"):
            # systemd does not look there by itself.
            self.assertIn(" systemctl enable --now %s/usr/lib/systemd/system/qualvosec.service\n"
                          % self.folder, output)
        evil = os.path.join(self.folder, "evil")
        os.mkdir(evil)
        for name in ("os.py", "json.py", "argparse.py", "sitecustomize.py"):
            with open(os.path.join(evil, name), "w", encoding="utf-8") as handle:
                handle.write("raise SystemExit('evil')\n")
        before = sorted(tree(self.folder))
        for name in sorted(PROGRAMS):
            path = os.path.join(self.folder, "usr", name)
            done = subprocess.run([path, "--version"], cwd=evil, timeout=60,
                                  env={"PYTHONPATH": evil, "PATH": "/nonexistent"},
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertRegex(done.stdout.decode(),
                             r"^%s 1\.0\.0\b.*\n$" % os.path.basename(name))
        self.assertEqual(sorted(tree(self.folder)), before, "a program left files behind")

    def test_configuration_of_the_administrator_is_never_touched(self) -> None:
        stage = self.copy()
        config = os.path.join(stage, "etc/qualvosec/qualvosec.conf")
        for path in (config, config + ".sample"):
            with open(path, "w", encoding="utf-8") as handle:
                handle.write("# mine\n")
        self.stage("stage")
        with open(config, encoding="utf-8") as handle:
            self.assertEqual(handle.read(), "# mine\n")
        with open(config + ".sample", encoding="utf-8") as handle:
            self.assertIn("server:", handle.read())

    def test_what_other_programs_are_told_is_the_administrators_as_well(self) -> None:
        stage = self.copy()
        names = [name for name in tree(stage) if name.startswith("etc/") and
                 name.startswith(("etc/logrotate.d/", "etc/needrestart/"))
                 and not name.endswith("/")]
        self.assertEqual(len(names), 2)
        for name in names:
            with open(os.path.join(stage, name), "w", encoding="utf-8") as handle:
                handle.write("# mine\n")
        self.stage("stage")
        for name in names:
            self.assertEqual(tree(stage)[name][1], b"# mine\n", name)

    def test_module_of_an_older_version_does_not_stay(self) -> None:
        stage = self.copy()
        old = os.path.join(stage, "usr/local/share/qualvosec/qualvosec/gone.py")
        with open(old, "w", encoding="utf-8"):
            pass
        self.stage("stage")
        self.assertFalse(os.path.exists(old))

    def test_uninstall_leaves_configuration_and_nothing_else(self) -> None:
        stage = self.copy()
        modules = os.path.join(stage, "usr/local/share/qualvosec/qualvosec")
        with open(os.path.join(modules, "__pycache__", "x.cpython-99.pyc"), "w", encoding="utf-8"):
            pass
        foreign = os.path.join(stage, "usr/local/sbin/other")
        with open(foreign, "w", encoding="utf-8"):
            pass
        code, output = self.make("uninstall", "DESTDIR=" + stage,
                                 "UNITDIR=/usr/lib/systemd/system")
        self.assertEqual((code, output), (0, ""))
        left = {name for name in tree(stage) if not name.endswith("/")}
        self.assertEqual(left, {"etc/qualvosec/" + name for name in CONFIGS}
                         | {"usr/local/sbin/other"})
        folders = {name for name in tree(stage) if "qualvosec" in name and name.endswith("/")}
        self.assertEqual(folders, {"etc/qualvosec/"})

    def test_client_alone_brings_neither_admin_tool_nor_server(self) -> None:
        stage = os.path.join(self.folder, "stage")
        code, output = self.make("install-client", "DESTDIR=" + stage, "BYTECODE=no")
        self.assertEqual((code, output), (0, ""))
        found = [name for name in tree(stage) if "/share/" not in name]
        self.assertEqual([name for name in found if "admin" in name or "server" in name], [])
        self.assertIn("usr/local/libexec/qualvosec/qualvosec-helper", found)

    def test_paths_that_could_break_a_rule_are_refused_before_anything_is_written(self) -> None:
        rows = ["PREFIX=usr", "PREFIX=/a b", "PREFIX=/a|b", "PREFIX=/a&b", "SYSCONFDIR=/e;tc",
                "SERVICEUSER=root ALL", "SERVICEUSER=%wheel", "SERVICEUSER=ALL", "PREFIX=/a\"b",
                "LIBEXECDIR=/x,y", "DESTDIR=stage"]
        stage = os.path.join(self.folder, "stage")
        for row in rows:
            code, output = self.make("install", "DESTDIR=" + stage, row)
            self.assertNotEqual(code, 0, row)
            self.assertIn("install: ", output)
            self.assertFalse(os.path.exists(stage), row)

    def test_user_cannot_be_made_in_a_stage(self) -> None:
        code, output = self.make("install-users", "DESTDIR=" + self.folder)
        self.assertNotEqual(code, 0)
        self.assertIn("leave DESTDIR empty", output)

    def test_interpreter_that_is_none_is_one_clear_line_and_installs_nothing(self) -> None:
        other = os.path.join(self.folder, "python2")
        with open(other, "w", encoding="ascii") as handle:
            handle.write("#!/bin/sh\nexit 2\n")
        os.chmod(other, 0o755)
        stage = os.path.join(self.folder, "stage")
        for python, what in (("no-such-python", "is not there: install Python 3.6"),
                             (other, "is no Python 3.6"), ("true", "is no Python 3.6")):
            done = subprocess.run(
                [MAKES[0], "-s", "install", "DESTDIR=" + stage, "PYTHON=" + python], cwd=ROOT,
                timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, env={"PATH": os.environ.get("PATH", os.defpath)})
            told = done.stdout.decode()
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("install: %s: %s" % (python, what), told)
            self.assertNotIn("not found", told)
            self.assertFalse(os.path.exists(stage))

    @unittest.skipUnless(os.geteuid() == 0, "only root's installation checks the interpreter")
    def test_interpreter_that_others_could_change_is_refused_as_root(self) -> None:
        loose = os.path.join(self.folder, "python3")
        shutil.copy(os.path.realpath(sys.executable), loose)
        os.chmod(loose, 0o757)
        words = [word for word in self.in_place() if not word.startswith("TRUST")]
        done = subprocess.run([MAKES[0], "install", "PYTHON=" + loose] + words, cwd=ROOT,
                              timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env={"PATH": os.defpath})
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"PYTHON=/usr/bin/python3", done.stdout)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "usr")))


class Interpreter(unittest.TestCase):
    """tools/interpreter.py"""

    def test_path_is_absolute_real_and_unversioned_where_there_is_such_a_link(self) -> None:
        tool = load_interpreter_tool()
        path = tool.lasting_path()  # type: ignore[attr-defined]
        self.assertTrue(os.path.isabs(path))
        self.assertTrue(os.path.samefile(path, sys.executable))
        beside = os.path.join(os.path.dirname(os.path.realpath(sys.executable)), "python3")
        if os.path.exists(beside) and os.path.samefile(beside, sys.executable):
            self.assertEqual(path, beside)

    def test_chain_that_others_can_change_or_cannot_reach_is_a_fault(self) -> None:
        tool = load_interpreter_tool()
        folder = tempfile.mkdtemp(prefix="qualvosec-test-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "python3")
        with open(path, "w", encoding="utf-8"):
            pass
        rows = [(0o755, 0o777), (0o775, 0o755), (0o700, 0o755), (0o755, 0o700)]
        for mode, folder_mode in rows:
            os.chmod(path, mode)
            os.chmod(folder, folder_mode)
            self.assertNotEqual(tool.fault_of(path), "", oct(mode))  # type: ignore[attr-defined]
        os.chmod(folder, 0o755)
        os.chmod(path, 0o755)
        fault = tool.fault_of(path)  # type: ignore[attr-defined]
        self.assertEqual(fault == "", os.geteuid() == 0)


if __name__ == "__main__":
    unittest.main()
