# SPDX-License-Identifier: BSD-2-Clause
"""qualvosec-admin as an administrator uses it: what it prints, and how it ends."""

import calendar
import fcntl
import glob
import http.server
import io
import os
import pty
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest
from functools import partial
from unittest import mock

from qualvosec import paths
from qualvosec.admin import commands

from tests import DATA
from tests import ROOT
from tests.test_document import agrees

PROGRAM = os.path.join(ROOT, "bin", "qualvosec-admin")
VALID = os.path.join(DATA, "manifest", "valid")
INVALID = os.path.join(DATA, "manifest", "invalid")
LOGS = os.path.join(DATA, "accesslog")
EVERYTHING = os.path.join(VALID, "everything.yaml")
NOW = calendar.timegm((2026, 11, 23, 12, 0, 0))


def set_zone(zone):
    """Make `zone` the local time of this process; None: the system's."""
    if zone is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = zone
    time.tzset()


class Case(unittest.TestCase):

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.config = self.write("admin.conf", "[general]\n")
        # What expired "yesterday" depends on where the reader is.
        self.addCleanup(set_zone, os.environ.get("TZ"))
        set_zone("UTC")

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode("utf-8"))
        return path

    def run_admin(self, *argv):
        """Return (exit code, stdout, stderr) of a command with an empty configuration."""
        out, err = io.StringIO(), io.StringIO()
        old = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = out, err       # argparse prints by itself
        try:
            code = commands.main(["-c", self.config] + list(argv), out, err, lambda: NOW)
        finally:
            sys.stdout, sys.stderr = old
        return code, out.getvalue(), err.getvalue()


class CheckTest(Case):

    def test_every_fault_is_printed_with_file_line_column_and_remedy(self):
        files = sorted(glob.glob(os.path.join(INVALID, "*.yaml")))
        self.assertGreater(len(files), 50)
        for path in files:
            with self.subTest(os.path.basename(path)):
                with open(path[:-5] + ".txt", encoding="utf-8") as file:
                    expected = "".join("%s:%s" % (path, line) for line in file)
                code, out, err = self.run_admin("check", path)
                self.assertEqual((code, err), (1, ""))
                self.assertTrue(agrees(out, expected), out)

    def test_a_good_manifest_is_one_line_with_its_hosts(self):
        self.assertEqual(self.run_admin("check", EVERYTHING),
                         (0, EVERYTHING + ": good: 2 hosts: 1 patched, 1 not\n", ""))

    def test_warnings_are_printed_and_do_not_fail(self):
        code, out, _ = self.run_admin("check", os.path.join(VALID, "warning-group-typo.yaml"))
        self.assertEqual(code, 0)
        self.assertIn(":8:22: warning: web01.example.org: group_membership:", out)
        self.assertIn("good: 1 host:", out)

    def test_the_samples_that_we_ship_are_good(self):
        code, out, err = self.run_admin("check", os.path.join(ROOT, "etc", "patch.yaml"))
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(len(out.splitlines()), 1)

    def test_without_a_file_the_configured_manifest_is_checked(self):
        self.config = self.write("admin.conf", "[general]\nmanifest: %s\n" % EVERYTHING)
        self.assertEqual(self.run_admin("check")[0], 0)

    def test_two_manifests_are_wrong_usage(self):
        code, out, err = self.run_admin("check", EVERYTHING, "--manifest", EVERYTHING)
        self.assertEqual((code, out), (2, ""))
        self.assertIn("give one or the other", err)

    def test_a_link_to_the_manifest_is_followed(self):
        link = os.path.join(self.folder, "patch.yaml")
        os.symlink(EVERYTHING, link)
        self.assertEqual(self.run_admin("check", link)[0], 0)

    def test_files_that_are_none_fail_with_one_line(self):
        os.mkfifo(os.path.join(self.folder, "fifo"))
        for path in (os.path.join(self.folder, "none.yaml"), self.folder,
                     os.path.join(self.folder, "fifo")):
            code, out, err = self.run_admin("check", path)
            self.assertEqual((code, out, len(err.splitlines())), (1, "", 1), path)
            self.assertIn(path, err)


class ListTest(Case):

    def test_the_table_shows_listed_and_unlisted_hosts(self):
        code, out, err = self.run_admin(
            "list", "--manifest", EVERYTHING, "--log", os.path.join(LOGS, "nginx-combined.log"),
            os.path.join(LOGS, "lighttpd.log"))
        lines = out.splitlines()
        self.assertEqual(code, 0)
        self.assertTrue(lines[0].startswith("| System "))
        self.assertEqual([line.split()[1] for line in lines[2:]],
                         ["web0%d.example.org" % number for number in (1, 2, 8, 9)])
        self.assertTrue(lines[2].endswith("| ok                 |"), lines[2])
        self.assertIn("| unlisted ", lines[4])
        self.assertIn("logs cover", err)

    def test_paths_come_from_the_configuration_too(self):
        self.config = self.write("admin.conf", "[general]\nmanifest: %s\nlog_file_path: %s/*\n"
                                 % (EVERYTHING, LOGS))
        code, out, err = self.run_admin("list")
        self.assertEqual(code, 0)
        self.assertIn("giro48.example.org", out)
        self.assertIn("common.log: common format", err)
        self.assertIn("lines skipped", err)

    def test_a_log_that_is_missing_or_damaged_is_told_and_fails(self):
        for log in (os.path.join(self.folder, "none"),
                    self.write("bad.gz", b"\x1f\x8b\x08\x00broken")):
            code, out, err = self.run_admin("list", "--manifest", EVERYTHING, "--log", log)
            self.assertEqual(code, 1)
            self.assertIn(log, err)
            self.assertIn("| unknown ", out)

    def test_a_manifest_with_faults_is_shown_as_far_as_it_goes_and_fails(self):
        path = os.path.join(INVALID, "host-is-text.yaml")
        code, out, err = self.run_admin("list", "--manifest", path, "--log",
                                        os.path.join(LOGS, "nginx-combined.log"))
        self.assertEqual(code, 1)
        self.assertIn("has 1 fault: see qualvosec-admin check", err)
        self.assertIn("| invalid entry ", out)
        self.assertIn("| web01.example.org ", out)

    def test_what_is_not_configured_is_a_usage_error(self):
        for argv in (["list"], ["check"], ["show", "a.b"]):
            code, out, err = self.run_admin(*argv)
            self.assertEqual((code, out, len(err.splitlines())), (2, "", 1), argv)
            self.assertIn("is not set: give --", err)

    def test_fuzzed_logs_and_manifests_never_reach_the_terminal_raw(self):
        seed = random.randrange(2 ** 32)
        rng = random.Random(seed)
        bad = [b"\x1b[2J", b"\x9b31m", b"\x07", b"\xe2\x80\xae", b"\xc2\x9b", b"\r", b"\x00", b"%s",
               b"a" * 200, b'"', b" ", b"QualvoSec 1.0 ", b"[", b":", b"\n", b"\xff"]
        lines, texts = [], []
        for path in glob.glob(os.path.join(LOGS, "*.log")):
            with open(path, "rb") as file:
                lines.extend(file.read().split(b"\n"))
        for path in glob.glob(os.path.join(DATA, "manifest", "*", "*.yaml")):
            with open(path, "rb") as file:
                texts.append(file.read())

        def spoil(text):
            text = bytearray(text)
            for _ in range(rng.randrange(1, 5)):
                place = rng.randrange(len(text) + 1)
                text[place:place + rng.choice((0, 1, 5))] = rng.choice(bad)
            return bytes(text)
        for _ in range(100 if os.environ.get("QUALVOSEC_LONG") else 25):
            log = self.write("log", b"\n".join(spoil(rng.choice(lines)) for _ in range(100)))
            manifest = self.write("patch.yaml", spoil(rng.choice(texts)))
            with self.subTest(seed=seed):
                for argv in (["list", "--manifest", manifest, "--log", log], ["check", manifest],
                             ["show", "--manifest", manifest, spoil(b"web01.example.org")
                              .decode("utf-8", "surrogateescape").replace("\0", "")]):
                    code, out, err = self.run_admin(*argv)
                    self.assertIn(code, (0, 1))
                    self.assertTrue((out + err).replace("\n", "").isprintable())


class ShowTest(Case):

    def test_each_field_has_its_value_and_the_place_that_decided_it(self):
        code, out, err = self.run_admin("show", "--manifest", EVERYTHING, "WEB01.example.org.")
        self.assertEqual((code, err), (0, ""))
        lines = [" ".join(line.split()) for line in out.splitlines()]
        self.assertEqual(lines[0], "web01.example.org")
        self.assertIn("duration 120 minutes %s:6 (defaults)" % EVERYTHING, lines)
        self.assertIn("reboot required %s:11 (group prod)" % EVERYTHING, lines)
        self.assertIn("minute 15 %s:20 (host)" % EVERYTHING, lines)
        self.assertIn("freeze 2026-12-20/2027-01-05, 2026-12-24/2026-12-26 %s:8 (defaults), "
                      "%s:12 (group prod)" % (EVERYTHING, EVERYTHING), lines)

    def test_what_nobody_wrote_is_the_default(self):
        _, out, _ = self.run_admin("show", "--manifest", EVERYTHING, "web02.example.org")
        self.assertRegex(out, r"(?m)^  catch_up +0 hours +default$")

    def test_a_host_that_is_not_listed_fails_and_the_nearest_is_named(self):
        code, out, err = self.run_admin("show", "--manifest", EVERYTHING, "web03.example.org")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("never patched: did you mean web02.example.org?", err)

    def test_an_invalid_entry_shows_its_faults_and_fails(self):
        path = os.path.join(INVALID, "weekday-out-of-range.yaml")
        code, out, err = self.run_admin("show", "--manifest", path, "web01.example.org")
        self.assertEqual(code, 1)
        self.assertIn("%s:3:3: " % path, out)
        self.assertIn("it is not patched", err)

    def test_a_manifest_that_the_host_would_not_act_on_is_called_that_and_fails(self):
        entry = "a.b:\n  patch: true\n  weekday: 1\n  hour: 3\n"
        for text, words in (
                (".manifest:\n  expires: '2026-11-22'\n" + entry, "expired on 2026-11-22: "),
                (".manifest:\n  expires: soon\n" + entry, "expires: 'soon' is not a date"),
                (entry + "c.d:\n  x-note: 'open\n", "hosts refuse it and go by the last one they "
                 "took: line 6, column 11: "),
                (entry + "A.b:\n  patch: false\n", "'A.b' is already on line 1")):
            path = self.write("p.yaml", text)
            for command in (["show", "a.b"], ["next", "a.b"], ["next"]):
                code, _, err = self.run_admin(*command, "--manifest", path)
                self.assertEqual(code, 1, (command, text))
                if command != ["next"] or "A.b" not in text:
                    self.assertIn(words, err, command)
        path = self.write("p.yaml", "<html>\n")
        for command in (["show", "a.b"], ["next", "a.b"], ["next"]):
            code, out, err = self.run_admin(*command, "--manifest", path)
            self.assertEqual((code, out), (1, ""))
            self.assertIn("this is HTML or XML, not a manifest", err)
        path = self.write("p.yaml", ".manifest:\n  expires: '2026-11-23'\n" + entry)
        self.assertEqual(self.run_admin("show", "a.b", "--manifest", path)[::2], (0, ""))


class TerminalTest(Case):

    def test_the_table_fits_a_terminal_but_is_whole_in_a_pipe(self):
        try:
            master, slave = pty.openpty()
        except OSError as error:
            self.skipTest("no pseudo-terminal here: %s" % error)
        self.addCleanup(os.close, master)
        manifest = self.write("patch.yaml", "%s.example.org:\n  patch: false\n" % ("a" * 60))
        for columns, widest in ((100, 100), (400, 142), (0, 142)):
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            with mock.patch.dict(os.environ, NO_COLOR="1"), \
                    open(os.dup(slave), "w", encoding="utf-8") as out:
                code = commands.main(["-c", self.config, "list", "--manifest", manifest, "--log",
                                      os.path.join(LOGS, "common.log")], out, io.StringIO())
            lines = os.read(master, 65536).decode("utf-8").split("\r\n")
            self.assertEqual((code, {len(line) for line in lines[:-1]}), (0, {widest}))
        os.close(slave)


class UsageTest(Case):

    def test_wrong_usage_is_2_help_and_version_are_0(self):
        for argv, code in ((["list", "--nonsense"], 2), ([], 2), (["frobnicate"], 2),
                           (["show"], 2), (["--help"], 0), (["list", "--help"], 0),
                           (["--version"], 0)):
            self.assertEqual(self.run_admin(*argv)[0], code, argv)
        self.assertIn(paths.VERSION, self.run_admin("--version")[1])

    def test_a_faulty_configuration_is_2_and_names_file_and_line(self):
        self.config = self.write("admin.conf", "[general]\nalive_days: soon\n")
        code, _, err = self.run_admin("list", "--manifest", EVERYTHING, "--log", LOGS)
        self.assertEqual(code, 2)
        self.assertIn("%s: line 2: alive_days" % self.config, err)
        self.config = os.path.join(self.folder, "none.conf")
        self.assertEqual(self.run_admin("list")[0], 2)

    def test_the_configuration_may_be_named_behind_the_command(self):
        other = self.write("other.conf", "[general]\nmanifest: %s\n" % EVERYTHING)
        self.assertEqual(self.run_admin("check", "-c", other)[0], 0)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one good manifest, and nothing else."""

    def do_GET(self):
        with open(EVERYTHING, "rb") as file:
            body = file.read()
        found = self.path == "/patch.yaml"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body) if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(body)

    def log_message(self, *args):
        """Keep the test quiet."""


class ServerTest(Case):

    def setUp(self):
        super().setUp()
        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        thread.start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.server.shutdown)
        self.url = "http://127.0.0.1:%d" % self.server.server_port

    def test_without_a_file_the_manifest_is_read_from_its_server(self):
        self.config = self.write("admin.conf", "[general]\nserver: %s\n" % self.url)
        code, out, err = self.run_admin("check")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out, self.url + "/patch.yaml: good: 2 hosts: 1 patched, 1 not\n")

    def test_a_url_may_stand_for_the_file(self):
        self.assertEqual(self.run_admin("check", self.url + "/patch.yaml")[0], 0)

    def test_a_server_that_has_none_fails_with_one_line(self):
        code, out, err = self.run_admin("check", self.url + "/other.yaml")
        self.assertEqual((code, out, len(err.splitlines())), (1, "", 1))
        self.assertIn("404", err)


class ProgramTest(Case):

    def setUp(self):
        super().setUp()
        # The program goes by the real clock; by that the sample's manifest may have expired.
        with open(EVERYTHING, encoding="utf-8") as file:
            text = file.read()
        self.assertIn("2026-12-23", text)
        self.manifest = self.write("everything.yaml", text.replace("2026-12-23", "9999-12-31"))

    def start(self, *argv, **options):
        environment = dict(os.environ, **options.pop("env", {}))
        return subprocess.Popen([sys.executable, "-IBS"] + list(argv), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=environment, **options)

    def test_the_program_finds_its_library_through_a_link(self):
        link = os.path.join(self.folder, "qualvosec-admin")
        os.symlink(PROGRAM, link)
        out, err = self.start(link, "--version", cwd="/").communicate()
        self.assertEqual(out.decode("ascii").strip(), "qualvosec-admin " + paths.VERSION,
                         err.decode("utf-8", "replace"))

    def test_a_manifest_may_come_by_stdin(self):
        with open(self.manifest, "rb") as file:
            child = self.start(PROGRAM, "check", "-", stdin=file)
        out, _ = child.communicate()
        self.assertEqual((child.returncode, out),
                         (0, b"stdin: good: 2 hosts: 1 patched, 1 not\n"))

    def test_a_caller_that_has_closed_the_standard_files_gets_no_traceback(self):
        for descriptor, words, expected in ((1, ["check", self.manifest], 0), (1, ["--help"], 0),
                                            (2, ["show", "a.b", "--manifest", self.manifest], 1),
                                            (0, ["check", "-"], 1), (0, ["add", "-"], 1)):
            child = self.start(PROGRAM, *words, preexec_fn=partial(os.close, descriptor))
            _, err = child.communicate()
            self.assertEqual(child.returncode, expected, (words, err))
            self.assertLess(len(err.splitlines()), 2, err)

    def test_a_reader_that_leaves_early_gets_no_traceback(self):
        manifest = self.write("patch.yaml", "".join(
            "h%d.example.org:\n  patch: maybe\n" % number for number in range(5000)))
        child = self.start(PROGRAM, "check", manifest)
        child.stdout.readline()
        child.stdout.close()
        err = child.stderr.read()
        child.stderr.close()
        self.assertEqual((child.wait(), err), (1, b""))

    def test_letters_that_the_terminal_lacks_are_escaped(self):
        manifest = self.write("patch.yaml", "web01.example.org:\n  patch: \u00fcber\n")
        child = self.start(PROGRAM, "check", manifest,
                           env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"})
        out, err = child.communicate()
        self.assertEqual((child.returncode, err), (1, b""))
        self.assertIn(b"ber", out)


if __name__ == "__main__":
    unittest.main()
