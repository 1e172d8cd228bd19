# SPDX-License-Identifier: BSD-2-Clause
"""Command lines as people type them: every form of -c, and what is said of a wrong one."""

import contextlib
import io
import json
import os
import shutil
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

from qualvosec import files
from qualvosec.admin import commands as admin
from qualvosec.client import commands as client
from qualvosec.client import daemon
from qualvosec.client import invocation
from qualvosec.helper import config as helper
from qualvosec.server import main as server

from tests import ROOT
from tests import rules

# What stands for the program: its own modules when the daemon would begin its work.
DAEMON = """
import json, os, sys
sys.path.insert(0, %r)
launcher = %r
text = open(launcher, encoding="utf-8").read()
from qualvosec.client import daemon
def run(self):
    print(json.dumps([self._engine.config.path, sorted(sys.modules)]))
    return 0
daemon.Daemon.run = run
exec(compile(text, launcher, "exec"), {"__name__": "__main__", "__file__": launcher})
"""


def forms(path: str) -> List[List[str]]:
    """The ways to name a configuration."""
    return [["-c", path], ["-c" + path], ["--config", path], ["--config=" + path]]


def launch(program: str, *words: str) -> Tuple[int, str]:
    """Exit code and output of a program of this checkout."""
    done = subprocess.run([sys.executable, "-IBS", os.path.join(ROOT, "bin", program)]
                          + list(words), stdin=subprocess.DEVNULL, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={"LC_ALL": "C", "COLUMNS": "200"})
    return done.returncode, done.stdout.decode("utf-8", "replace")


def run(program: str, *words: str) -> Tuple[int, str]:
    """The same within this process: what the launcher calls; the daemon is left to launch()."""
    mains: Dict[str, Callable[[List[str]], int]] = {
        "qualvosec": client.main, "qualvosec-admin": admin.main, "qualvosec-server": server.main}
    if program == "qualvosec" and not invocation.read(words).is_command:
        mains[program] = daemon.main
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), \
            mock.patch.dict(os.environ, {"COLUMNS": "200"}):
        try:
            code = mains[program](list(words))
        except SystemExit as stop:
            code = int(stop.code or 0)
    time.tzset()
    return code, out.getvalue()


class Case(unittest.TestCase):
    """A folder of configurations that are read, found faulty, and named."""

    def setUp(self) -> None:
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="qualvosec-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name: str, text: str) -> str:
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


class Forms(Case):
    def test_every_command_takes_every_form_before_and_behind_it(self) -> None:
        tried = 0
        for make in (client._parser, admin._parser):
            parser = make()
            rest = {"reset": ["clock"], "show": ["a.example.org"], "report": ["page.html"]}
            for name in parser.known:
                words = [name] + rest.get(name, [])
                if name in ("add", "remove", "delete", "set", "adopt"):
                    words += ["a.example.org", "hour=3"]
                for form in forms("once"):      # a file may have the name of a command
                    for argv in (form + words, words + form, words[:1] + form + words[1:],
                                 ["-c", "other"] + words + form):
                        found = parser.read(argv)
                        self.assertEqual((found.command, found.config), (name, "once"), argv)
                        tried += 1
                self.assertIsNone(parser.read(words).config)
        self.assertEqual(tried, 16 * (7 + 14))
        for form in forms("x.conf"):
            self.assertEqual(server.arguments().read(form + ["--port", "0"]).config, "x.conf")
            self.assertEqual(server.arguments().read(["--port", "0"] + form).config, "x.conf")

    def test_every_program_reads_the_file_that_is_named(self) -> None:
        bad = self.write("bad.conf", "[general]\nnonsense: 1\n")
        for program, words in (("qualvosec", ["configtest"]), ("qualvosec-admin", ["list"]),
                               ("qualvosec-server", [])):
            for form in forms(bad):
                for argv in [form + words] + ([words + form] if words else []):
                    # A process for the joined forms, in which a launcher could go wrong.
                    for way in (run, launch) if argv == words + form[:1] else (run,):
                        code, said = way(program, *argv)
                        self.assertEqual(code, 2, said)
                        self.assertIn("%s: line 2: nonsense" % bad, said, argv)

    def test_daemon_takes_every_form_and_imports_nothing_for_it(self) -> None:
        for number, form in enumerate(forms("q.conf")):
            state = os.path.join(self.folder, "state%d" % number)
            os.mkdir(state, 0o700)
            path = self.write("q.conf", "[general]\nserver: http://127.0.0.1:9\nstate_dir: %s\n"
                              "monitoring: disable\nfqdn: a.example.org\n" % state)
            code = DAEMON % (os.path.join(ROOT, "lib"), os.path.join(ROOT, "bin", "qualvosec"))
            done = subprocess.run([sys.executable, "-IBS", "-c", code] + form, cwd=self.folder,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                                  env={"LC_ALL": "C"})
            self.assertEqual((done.returncode, done.stderr), (0, b""), form)
            config, modules = json.loads(done.stdout.decode("ascii"))
            # Absolute: it may be read again from another directory.
            self.assertEqual(config, path)
            self.assertEqual([name for name in modules if name in rules.NEVER_RESIDENT], [])
            self.assertNotIn("qualvosec.usage", modules)

    def test_what_names_no_command_is_the_daemons(self) -> None:
        for argv, expected in (
                ([], (False, False, "", "")), (["-c", "status"], (False, False, "status", "")),
                (["-cx"], (False, False, "x", "")), (["-c", "x", "--config=y"],
                                                     (False, False, "y", "")),
                (["--version"], (False, True, "", "")),
                (["-c", "x", "--version"], (False, True, "x", "")),
                (["status"], (True, False, "", "")), (["-cx", "status"], (True, False, "", "")),
                (["--help"], (True, False, "", "")), (["-c", "x", "-h"], (True, False, "", "")),
                (["-c"], (False, False, "", "-c: needs the name of a FILE")),
                (["-c", "--version"], (False, False, "", "-c: needs the name of a FILE")),
                (["-c", "-"], (False, False, "-", "")),
                (["-c", ""], (False, False, "", "-c: needs the name of a FILE")),
                (["--config="], (False, False, "", "--config: needs the name of a FILE")),
                (["--bogus=1", "-x"], (False, False, "", "--bogus: there is no such option"))):
            self.assertEqual(tuple(invocation.read(argv)), expected, argv)

    def test_a_configuration_may_be_a_link_for_all_but_root(self) -> None:
        bad = self.write("bad.conf", "[general]\nnonsense: 1\n")
        os.chmod(bad, 0o644)
        link = os.path.join(self.folder, "link.conf")
        os.symlink("bad.conf", link)
        for program, words in (("qualvosec", []), ("qualvosec", ["status"]),
                               ("qualvosec", ["once"]), ("qualvosec-admin", ["list"]),
                               ("qualvosec-server", [])):
            code, said = (run if words else launch)(program, "-c", link, *words)
            self.assertEqual(code, 3 if words == ["status"] else 2, said)
            self.assertIn("%s: line 2: nonsense" % link, said)
        with self.assertRaisesRegex(files.FileError, "link.conf: is a symbolic link: refused"):
            helper.read(link)
        with self.assertRaisesRegex(Exception, "line 2: nonsense"):
            helper.read(bad)

    def test_a_manifest_to_look_at_may_be_a_link(self) -> None:
        self.write("patch.yaml", "a.example.org:\n  patch: false\n")
        os.symlink("patch.yaml", os.path.join(self.folder, "link.yaml"))
        code, said = run("qualvosec", "policy", "--fqdn", "a.example.org", "--manifest",
                         os.path.join(self.folder, "link.yaml"))
        self.assertEqual(code, 0, said)
        self.assertIn("patch: false", said)

    def test_a_named_configuration_that_is_missing_is_never_replaced_by_the_defaults(self) -> None:
        manifest = self.write("patch.yaml", "a.example.org:\n  patch: false\n")
        os.symlink("nowhere", os.path.join(self.folder, "dangling"))
        for name in ("missing.conf", "dangling"):
            path = os.path.join(self.folder, name)
            for program, words in (
                    ("qualvosec", ["plan"]), ("qualvosec-admin", ["check", "--manifest", manifest]),
                    ("qualvosec", ["policy", "--fqdn", "a.example.org", "--manifest", manifest])):
                code, said = run(program, "-c", path, *words)
                self.assertEqual(code, 2, said)
                self.assertIn("no such file or directory", said)


class Wrong(Case):
    """Wrong usage: its exit code, the usage that is shown, and what is named."""

    def test_wrong_usage_names_the_option_and_shows_the_usage_of_the_command(self) -> None:
        rows = (
            # program, words, exit code, whose usage, what is named
            ("qualvosec", ["status", "--jsn"], 3, "qualvosec status", "--jsn"),
            ("qualvosec", ["plan", "--bogus=3"], 2, "qualvosec plan", "--bogus: there is no"),
            ("qualvosec", ["--bogus", "plan"], 2, "qualvosec plan", "--bogus: there is no"),
            ("qualvosec", ["--manifest", "x", "policy"], 2, "qualvosec policy",
             "--manifest: stands before the command"),
            ("qualvosec", ["-n", "3", "next"], 2, "qualvosec next", "-n: stands before"),
            ("qualvosec", ["-c", "--json", "plan"], 2, "qualvosec ", "-c/--config"),
            ("qualvosec", ["next", "-n"], 2, "qualvosec next", "-n/--count"),
            ("qualvosec", ["next", "-n", "x"], 2, "qualvosec next", "-n/--count"),
            ("qualvosec", ["next", "-n", "0", "--fqdn", "a.example.org", "--manifest", "@"], 2,
             "qualvosec next", "--count: 0 is not"),
            ("qualvosec", ["next", "--timezone", "Mars/Phobos", "--manifest", "@"], 2,
             "qualvosec next", "--timezone Mars/Phobos"),
            ("qualvosec", ["policy", "--fqdn", "a b", "--manifest", "@"], 2, "qualvosec policy",
             "--fqdn: a b: is not a host name"),
            ("qualvosec", ["once", "-c"], 2, "qualvosec once", "-c/--config"),
            ("qualvosec", ["once", "--config="], 2, "qualvosec once", "-c/--config"),
            ("qualvosec", ["once", "now"], 2, "qualvosec once", "now: is one word too many"),
            ("qualvosec", ["reset", "all"], 2, "qualvosec reset", "'all'"),
            ("qualvosec", ["frobnicate"], 2, "qualvosec ", "'frobnicate'"),
            ("qualvosec", ["--bogus"], 2, "qualvosec ", "--bogus: there is no such option"),
            ("qualvosec", ["-c"], 2, "qualvosec ", "-c: needs the name of a FILE"),
            ("qualvosec-admin", ["list", "--sort", "system", "--fromat", "csv"], 2,
             "qualvosec-admin list", "--fromat: there is no such option"),
            ("qualvosec-admin", ["status", "-x"], 3, "qualvosec-admin status", "-x: there is no"),
            ("qualvosec-admin", ["--log", "x", "list"], 2, "qualvosec-admin list",
             "--log: stands before the command"),
            ("qualvosec-admin", ["list", "--since", "soon", "--manifest", "@"], 2,
             "qualvosec-admin list", "--since: soon"),
            ("qualvosec-admin", ["list", "-c"], 2, "qualvosec-admin list", "-c/--config"),
            ("qualvosec-admin", ["next", "--timezone", "Mars/Phobos", "--manifest", "@"], 2,
             "qualvosec-admin next", "--timezone Mars/Phobos"),
            ("qualvosec-admin", ["show"], 2, "qualvosec-admin show", "required"),
            ("qualvosec-admin", ["set", "a.example.org", "--manifest", "@"], 2,
             "qualvosec-admin set", "no field to set"),
            ("qualvosec-admin", [], 2, "qualvosec-admin ", "COMMAND"),
            ("qualvosec-server", ["--prt", "1"], 2, "qualvosec-server ", "--prt: there is no"),
            ("qualvosec-server", ["--port", "x"], 2, "qualvosec-server ", "--port"),
            ("qualvosec-server", ["-c"], 2, "qualvosec-server ", "-c/--config"),
        )
        manifest = self.write("patch.yaml", "a.example.org:\n  patch: false\n")
        for program, words, code, usage, named in rows:
            found, said = run(program, *[manifest if word == "@" else word for word in words])
            self.assertEqual(found, code, (words, said))
            self.assertTrue(said.startswith("usage: %s" % usage), (words, said))
            self.assertIn(named, said.splitlines()[-1], (words, said))
            self.assertNotIn("Traceback", said)

    def test_status_as_a_name_of_a_file_changes_no_exit_code(self) -> None:
        self.assertEqual(run("qualvosec", "-c", "status", "once", "--bogus")[0], 2)
        self.assertEqual(run("qualvosec-admin", "-c", "status", "list", "--bogus")[0], 2)

    def test_what_is_no_usage_shows_none(self) -> None:
        path = self.write("x.conf", "[general]\n")
        for words in (["sign"], ["set", "a.example.org", "hour=3"], ["check"]):
            code, said = run("qualvosec-admin", "-c", path, *words)
            self.assertEqual((code, said.count("\n")), (2, 1), said)

    def test_control_characters_of_a_wrong_word_reach_no_terminal(self) -> None:
        for program, words in (("qualvosec", ["once", "a\x1b[31mb"]),
                               ("qualvosec-admin", ["list", "--x\x1b[31m"]),
                               ("qualvosec", ["--x\x1b[31m"])):
            code, said = run(program, *words)
            self.assertEqual(code, 2)
            self.assertNotIn("\x1b", said)
            self.assertIn("\\x1b[31m", said)


if __name__ == "__main__":
    unittest.main()
