# SPDX-License-Identifier: BSD-2-Clause
"""list, orphans, status, metrics, report, adopt: what they print, and how they end."""

import csv
import io
import json
import os
import pty
import re
import shutil
import stat
import subprocess
import sys
import time
import unittest
from unittest import mock

from qualvosec import download
from qualvosec.admin import commands
from qualvosec.admin import settings as config
from qualvosec.admin import source
from qualvosec.admin.fleet import facts
from qualvosec.admin.fleet import gather
from qualvosec.admin.fleet import overview

from tests import LIB
from tests import fleet_samples
from tests.test_admin_commands import NOW
from tests.test_admin_commands import PROGRAM
from tests.test_admin_commands import Case
from tests.test_report import Parsed

MANIFEST = """
.defaults:
  patch: true
  weekday: tuesday
  hour: 2
good.example.org:
  group_membership: [prod]
bad.example.org:
  group_membership: [test]
silent.example.org:
  patch: true
"""
LINE = '%s - - [%s/Nov/2026:05:00:00 +0000] "GET /patch.yaml HTTP/1.1" 200 9 "-" "%s"\n'
REPORT = "QualvoSec 1.0.0 %s.example.org (s1 w=20261117T0200Z r=%s u=1 k=0 p=%d b=no%s)"
LOG = (LINE % ("192.0.2.9", "10", "curl/8")
       + LINE % ("192.0.2.1", "23", REPORT % ("good", "ok", 0, ""))
       + LINE % ("192.0.2.2", "22", REPORT % ("bad", "failed", 5, " l=20261110T0200Z"))
       + LINE % ("192.0.2.3", "23", "QualvoSec 1.0.0 new.example.org"))


# Set for builds and services often, and it changes when a program's output is written.
BUFFERED = {"PATH": os.defpath}
UNBUFFERED = dict(BUFFERED, PYTHONUNBUFFERED="1")


class FleetCase(Case):

    def setUp(self):
        super().setUp()
        self.manifest = self.write("patch.yaml", MANIFEST)
        self.log = self.write("access.log", LOG)
        self.config = self.write("admin.conf", "[general]\nmanifest: %s\nlog_file_path: %s\n"
                                 % (self.manifest, self.log))

    def names(self, *argv):
        code, out, err = self.run_admin("list", "--format", "csv", *argv)
        self.assertEqual((code, err), (0, ""))
        return [row["system"].split(".")[0] for row in csv.DictReader(io.StringIO(out))]


class ListTest(FleetCase):

    def test_what_only_a_url_needs_is_not_loaded(self):
        program = ("import sys; sys.path.insert(0, %r); from qualvosec.admin import commands;"
                   "commands.main(sys.argv[1:]); sys.exit('ssl' in sys.modules or "
                   "'http.client' in sys.modules)" % LIB)
        with open(os.devnull, "wb") as null:
            self.assertEqual(subprocess.call([sys.executable, "-IBS", "-c", program, "-c",
                                              self.config, "list"], stdout=null), 0)
        self.assertEqual(source.MAX_MANIFEST_BYTES, download.MAX_MANIFEST_BYTES)

    def test_filters_let_through_what_they_name_and_all_must_agree(self):
        for argv, expected in (
                (["--status", "failed"], ["bad"]), (["--status", "bad"], ["bad", "silent"]),
                (["--status", "good", "--status", "warn"], ["good", "new"]),
                (["--group", "prod"], ["good"]), (["--match", "S*"], ["silent"]),
                (["--match", "*e*", "--status", "bad", "--group", "test"], ["bad"]),
                (["--since", "1d"], ["good", "new"]), (["--since", "2026-11-21"],
                                                       ["bad", "good", "new"]),
                (["--status", "never seen"], ["silent"])):
            self.assertEqual(self.names(*argv), expected, argv)

    def test_a_status_that_no_host_can_have_is_a_usage_error_not_an_empty_table(self):
        for word in ("orphand", "o", "seen", ""):
            code, out, err = self.run_admin("list", "--status", word)
            self.assertEqual((code, out), (2, ""), word)
            self.assertTrue(err.startswith("usage: qualvosec-admin list "), err)
            self.assertEqual(err.count("\nqualvosec-admin: --status: "), 1, err)
        for word in ("orphaned", "unhealthy", "unhealthy: veto", "ok, reboot due", "unsupported"):
            code, out, err = self.run_admin("list", "--status", word)
            self.assertEqual((code, len(out.splitlines())), (0, 2), word)
            self.assertIn("none of 4 hosts fits", err)

    def test_every_status_of_the_overview_can_be_asked_for(self):
        with open(overview.__file__, encoding="utf-8") as file:
            told = re.findall(r'(?:status = |if silence else |return )"([a-z][a-z ]+)', file.read())
        self.assertGreater(len(told), 8)
        for word in set(told):
            self.assertTrue(facts.is_status(word), word)

    def test_all_that_is_known_of_a_host_is_in_the_wide_table_csv_and_json(self):
        out = self.run_admin("list", "--format", "json", "--match", "bad*")[1]
        host, = json.loads(out)["hosts"]
        asked = {"last_seen", "source", "version", "last_window", "outcome", "upgraded", "kept",
                 "pending", "reboot_state", "last_success", "success_days", "patch_window",
                 "next_window", "groups", "health", "active", "reboot", "status", "system"}
        self.assertLessEqual(asked, set(host))
        self.assertLessEqual(asked, set(self.run_admin("list", "--format", "csv")[1]
                                        .splitlines()[0].split(",")))
        headings, _, line = self.run_admin("list", "--format", "wide", "--match",
                                           "bad*")[1].splitlines()
        cells = dict(zip((cell.strip() for cell in headings.split("|")),
                         (cell.strip() for cell in line.split("|"))))
        self.assertEqual((cells["From"], cells["Version"], cells["Last Window"], cells["Outcome"],
                          cells["Kept Back"], cells["Pending"], cells["Reboot State"],
                          cells["Days Since Success"], cells["Patch Window"], cells["Groups"]),
                         ("192.0.2.2", "1.0.0", "20261117T0200Z", "failed", "0", "5", "no", "13",
                          "Tuesday, 02:00", "test"))
        self.assertRegex(cells["Last Seen"] + " " + cells["Next Window"],
                         r"^2026-11-2\d \d\d:\d\d 2026-11-2\d \d\d:\d\d$")

    def test_sorting_brings_the_worst_the_largest_and_the_newest_first(self):
        self.assertEqual(self.names("--sort", "status"), ["bad", "silent", "new", "good"])
        self.assertEqual(self.names("--sort", "pending"), ["bad", "good", "new", "silent"])
        self.assertEqual(self.names("--sort", "last_seen"), ["good", "new", "bad", "silent"])
        code, out, _ = self.run_admin("list", "--sort", "status")
        self.assertEqual([line.split()[1][:3] for line in out.splitlines()[2:]],
                         ["bad", "sil", "new", "goo"])

    def test_json_holds_everything_with_times_in_utc(self):
        code, out, err = self.run_admin("list", "--format", "json", "--match", "bad*")
        found = json.loads(out)
        self.assertEqual((code, found["log_ends"]), (0, "2026-11-23T05:00:00Z"))
        host, = found["hosts"]
        self.assertEqual((host["last_seen"], host["source"], host["version"], host["outcome"]),
                         ("2026-11-22T05:00:00Z", "192.0.2.2", "1.0.0", "failed"))
        self.assertEqual((host["pending"], host["success_days"], host["groups"], host["level"]),
                         (5, 13, ["test"], "bad"))
        self.assertEqual((host["last_success"], host["next_window"]),
                         ("2026-11-10T02:00:00Z", "2026-11-24T02:00:00Z"))

    def test_json_of_no_host_and_of_many_is_one_object(self):
        empty = json.loads(self.run_admin("list", "--format", "json", "--match", "none*")[1])
        self.assertEqual(empty["hosts"], [])
        text = self.run_admin("list", "--format", "json")[1]
        found = json.loads(text)
        self.assertEqual(len(found["hosts"]), 4)
        self.assertEqual(text, json.dumps(found, indent=1) + "\n")

    def test_the_wide_table_has_one_line_for_each_host_of_one_width(self):
        _, out, _ = self.run_admin("list", "--format", "wide")
        self.assertEqual(len({len(line) for line in out.splitlines()}), 1)
        self.assertEqual(len(out.splitlines()), 6)
        self.assertIn("| 192.0.2.1 ", out)

    def test_what_is_no_time_is_a_usage_error(self):
        for text in ("yesterday", "2026-13-01", "2026-02-30", "7", "7y", "0000-01-01"):
            code, out, err = self.run_admin("list", "--since", text)
            self.assertEqual((code, out), (2, ""), text)
            self.assertTrue(err.startswith("usage: qualvosec-admin list "), err)
            self.assertEqual(err.count("\nqualvosec-admin: --since: "), 1, err)

    def test_colour_is_for_a_terminal_that_wants_it_alone(self):
        try:
            master, slave = pty.openpty()
        except OSError as error:
            self.skipTest("no pseudo-terminal here: %s" % error)
        self.addCleanup(os.close, master)
        for environment, is_coloured in (({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False),
                                         ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
            with mock.patch.dict(os.environ, environment), \
                    open(os.dup(slave), "w", encoding="utf-8") as out:
                if "NO_COLOR" not in environment:
                    os.environ.pop("NO_COLOR", None)
                commands.main(["-c", self.config, "list"], out, io.StringIO(), lambda: NOW)
                out.write("the end\n")
            # A terminal hands over in pieces what was written at once.
            text = ""
            while "the end" not in text:
                text += os.read(master, 65536).decode("utf-8")
            self.assertEqual("\x1b[31mfailed" in text, is_coloured, environment)
            self.assertIn("failed", text)
        os.close(slave)
        self.assertNotIn("\x1b", self.run_admin("list")[1])


    def list_usual(self, *names):
        """List with these files in the place of the usual logs, without --log."""
        usual = tuple(os.path.join(self.folder, name) for name in names)
        settings = config.Settings(manifest=self.manifest, log_file_path=usual)
        with mock.patch.object(gather, "USUAL_LOGS", usual), \
                mock.patch.object(source, "settings", lambda options: settings):
            return self.run_admin("list", "--format", "csv")

    def test_of_the_usual_logs_those_are_read_that_are_there(self):
        shutil.copy(self.log, os.path.join(self.folder, "nginx.log.1"))
        for names in (("none/nginx.log*", "access.log*"), ("nginx.log*", "none/access.log*"),
                      ("nginx.log*", "access.log*")):
            with self.subTest(names=names):
                code, out, err = self.list_usual(*names)
                self.assertEqual((code, err), (0, ""))
                self.assertIn("good.example.org", out)
                self.assertIn("2026-11-23", out)

    def test_where_no_usual_log_is_there_both_are_named_with_what_to_do(self):
        code, out, err = self.list_usual("none/a.log*", "none/b.log*")
        self.assertEqual((code, out, len(err.splitlines())), (2, "", 1))
        self.assertIn("there is no %s/none/a.log* and no %s/none/b.log*: give --log FILE or set it"
                      % (self.folder, self.folder), err)

    def test_a_usual_log_that_may_not_be_looked_at_is_told(self):
        # Root may look anywhere: the answer is the one that others get.
        closed = os.path.join(self.folder, "closed")
        os.mkdir(closed)
        access = os.access
        with mock.patch.object(os, "access", lambda path, mode: path != closed and access(
                path, mode)):
            code, out, err = self.list_usual("closed/a.log*", "access.log*")
        self.assertEqual(code, 1)
        self.assertIn("good.example.org", out)
        self.assertIn("closed: permission denied", err)

    def test_a_log_that_is_missing_takes_nothing_from_the_others(self):
        code, out, err = self.run_admin("list", "--log", self.log + ".*.gz", self.log)
        self.assertEqual((code, out), (1, self.run_admin("list")[1]))
        self.assertEqual(err, "qualvosec-admin: %s.*.gz: no such file: see log_file_path\n"
                         % self.log)

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full here")
    def test_a_disk_that_is_full_is_one_line_and_no_traceback(self):
        for command in (["list"], ["list", "--format", "json"], ["report", "-"], ["metrics"],
                        ["check"]):
            for environment in BUFFERED, UNBUFFERED:
                with open("/dev/full", "wb") as full:
                    done = subprocess.Popen([sys.executable, PROGRAM, "-c", self.config] + command,
                                            stdout=full, stderr=subprocess.PIPE, env=environment)
                    _, err = done.communicate()
                self.assertEqual((done.returncode, err.decode("utf-8").splitlines()[-1]), (
                    1, "qualvosec-admin: standard output: no space left on device: what was "
                    "printed is not whole"), command)
                self.assertNotIn(b"Traceback", err)
                self.assertNotIn(b"Exception", err)

    def test_what_one_must_know_stands_behind_the_table_wherever_both_go(self):
        # The program goes by the real clock, so the log does, too: it ended 40 days ago.
        ended = time.gmtime(time.time() - 40 * 86400)
        day = "%02d/%s/%d" % (ended.tm_mday, fleet_samples.MONTHS[ended.tm_mon - 1], ended.tm_year)
        self.write("access.log", LINE.replace("%s/Nov/2026", day) % (
            "192.0.2.1", "QualvoSec 1.0.0 good.example.org"))
        for environment in BUFFERED, UNBUFFERED:
            done = subprocess.Popen([sys.executable, PROGRAM, "-c", self.config, "list"],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                    env=environment)
            lines = done.communicate()[0].decode("utf-8").splitlines()
            self.assertEqual((done.returncode, len(lines)), (0, 6), lines)
            self.assertIn("the logs end", lines[-1])


class OrphansTest(FleetCase):

    def test_silent_hosts_are_printed_and_fail(self):
        self.assertEqual(self.run_admin("orphans"),
                         (1, "silent.example.org: never seen: last seen never\n", ""))

    def test_a_fleet_without_any_is_silence_and_0(self):
        self.write("patch.yaml", MANIFEST.replace("silent", "good2").replace(
            "good2.example.org:\n  patch: true\n", ""))
        self.assertEqual(self.run_admin("orphans"), (0, "", ""))

    def test_logs_that_cover_too_little_do_not_prove_that_there_are_none(self):
        self.write("access.log", LOG.split("\n", 1)[1])
        code, out, err = self.run_admin("orphans")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("logs cover", err)


class StatusTest(FleetCase):

    def test_one_line_with_the_worst_first_and_figures(self):
        self.assertEqual(self.run_admin("status"), (
            2, "QUALVOSEC CRITICAL - 4 hosts: 1 failed, 1 never seen, 1 unlisted, 1 ok | "
            "hosts=4 bad=2 warn=1 good=1\n", ""))

    def test_every_code_can_come(self):
        good = ".defaults:\n  patch: false\ngood.example.org:\n  patch: false\n"
        self.write("patch.yaml", good)
        first = LOG.splitlines(True)
        for rows, code, word in ((first[:2], 0, "OK"), (first[:2] + first[3:], 1, "WARNING"),
                                 (first[1:2], 1, "WARNING"), ([], 3, "UNKNOWN")):
            self.write("access.log", "".join(rows))
            found, out, _ = self.run_admin("status")
            self.assertEqual((found, out.split()[1], out.count("\n")), (code, word, 1), out)

    def test_wrong_usage_and_configuration_are_unknown_not_critical(self):
        self.assertEqual(self.run_admin("status", "--nonsense")[0], 3)
        self.config = "/nonexistent"
        self.assertEqual(self.run_admin("status")[0], 3)

    def test_what_cannot_be_read_is_unknown_and_still_one_line(self):
        os.unlink(self.manifest)
        code, out, _ = self.run_admin("status")
        self.assertEqual((code, out.split()[1], out.count("\n")), (3, "UNKNOWN", 1))


class MetricsTest(FleetCase):

    def test_every_line_is_of_the_text_format_and_every_sample_has_its_type(self):
        code, out, _ = self.run_admin("metrics")
        self.assertEqual(code, 0)
        typed = set()
        for line in out.splitlines():
            if line.startswith("#"):
                typed.add(line.split()[2])
                continue
            found = re.fullmatch(r'([a-z_]+)(\{(?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+\})? -?\d+', line)
            self.assertTrue(found, line)
            self.assertIn(found.group(1), typed)
        self.assertIn('qualvosec_fleet_hosts{level="bad",status="failed"} 1\n', out)
        self.assertIn('qualvosec_fleet_host_pending_packages{host="bad.example.org"} 5\n', out)

    def test_families_are_named_and_told_as_the_linter_of_prometheus_wants_them(self):
        families = []
        samples = set()
        for line in self.run_admin("metrics")[1].splitlines():
            words = line.split(" ", 3)
            if words[:2] == ["#", "HELP"]:
                self.assertNotIn(words[2], families)
                self.assertTrue(words[3].endswith("."))
                families.append(words[2])
            elif words[0] == "#":
                self.assertEqual(words[1:], ["TYPE", families[-1], "gauge"])
            else:
                name = line.split("{")[0].split(" ")[0]
                self.assertEqual(name, families[-1])
                self.assertNotIn(line.rpartition(" ")[0], samples)
                samples.add(line.rpartition(" ")[0])
                # Seconds since 1970 are told by their name, and by nothing else.
                self.assertEqual(int(line.rpartition(" ")[2]) > 10 ** 9,
                                 name.endswith("_timestamp_seconds"))
        for name in families:
            self.assertRegex(name, r"^qualvosec_fleet_[a-z]+(_[a-z]+)*$")
            self.assertNotRegex(name, r"_(total|count|sum|bucket|info|milliseconds|minutes|days)$")
        self.assertGreater(len(families), 9)

    def test_a_file_is_written_that_others_may_read(self):
        path = os.path.join(self.folder, "q.prom")
        self.assertEqual(self.run_admin("metrics", "--output", path), (0, "", ""))
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o644)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), self.run_admin("metrics")[1])


class ReportTest(FleetCase):

    def test_the_page_goes_to_a_file_or_to_stdout(self):
        path = os.path.join(self.folder, "fleet.html")
        self.assertEqual(self.run_admin("report", path), (0, "", ""))
        with open(path, encoding="utf-8") as file:
            page = file.read()
        self.assertEqual(page, self.run_admin("report", "-")[1])
        self.assertEqual(len(Parsed(page).rows), 4)

    def test_the_command_line_as_usage_and_page_have_it_works(self):
        path = os.path.join(self.folder, "fleet.html")
        self.assertEqual(self.run_admin("report", path, "--log", self.log, self.log), (0, "", ""))
        # What stands behind --log is a log: never written.
        code, out, err = self.run_admin("report", "--log", self.log, path)
        self.assertEqual((code, out), (2, ""))
        self.assertIn(" FILE [--log FILE ...]", err)

    def test_a_pipe_or_device_is_written_to_and_not_replaced(self):
        path = os.path.join(self.folder, "pipe")
        os.mkfifo(path)
        for argv in (["report", path], ["metrics", "--output", path]):
            reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                self.assertEqual(self.run_admin(*argv), (0, "", ""))
                self.assertGreater(len(os.read(reader, 100)), 50)
            finally:
                os.close(reader)
            self.assertTrue(stat.S_ISFIFO(os.stat(path).st_mode))

    def test_what_is_read_is_never_written_over(self):
        link = os.path.join(self.folder, "link")
        os.symlink(self.log, link)
        for path in (self.log, self.manifest, link):
            for argv in (["report", path], ["metrics", "--output", path]):
                code, out, err = self.run_admin(*argv)
                self.assertEqual((code, out, err), (
                    2, "", "qualvosec-admin: %s: is what is read: name another file to write\n"
                    % path))
        with open(self.log, encoding="utf-8") as log:
            self.assertEqual(log.read(), LOG)
        with open(self.manifest, encoding="utf-8") as manifest:
            self.assertEqual(manifest.read(), MANIFEST)

    def test_a_directory_that_is_not_there_fails_with_one_line(self):
        code, out, err = self.run_admin("report", os.path.join(self.folder, "none", "x.html"))
        self.assertEqual((code, out, len(err.splitlines())), (1, "", 1))


class AdoptTest(FleetCase):

    def test_an_unlisted_host_is_added_and_not_patched_unless_told(self):
        self.assertEqual(self.run_admin("adopt", "new.example.org")[0], 0)
        with open(self.manifest, encoding="utf-8") as file:
            self.assertTrue(file.read().endswith("new.example.org:\n  patch: false\n"))
        self.assertNotIn("unlisted", self.run_admin("list")[1])

    def test_fields_may_be_given(self):
        self.run_admin("adopt", "NEW.example.org", "patch=true", "weekday=friday", "hour=3")
        self.assertIn("Friday, 03:00", self.run_admin("list", "--match", "new*")[1])

    def test_a_field_that_is_taken_for_a_log_is_told(self):
        code, out, err = self.run_admin("adopt", "new.example.org", "--log", self.log,
                                        "patch=true")
        self.assertEqual((code, err), (1, "qualvosec-admin: patch=true: no such file: see "
                                          "log_file_path\n"))

    def test_names_may_come_by_stdin(self):
        with mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(b"# seen\nNew.example.org\n"))):
            code, out, err = self.run_admin("adopt", "-", "patch=true", "weekday=5", "hour=3")
        self.assertEqual((code, out, err), (0, "added new.example.org: %s\n" % self.manifest, ""))

    def test_a_log_that_cannot_be_read_is_told_when_a_host_was_not_seen(self):
        code, out, err = self.run_admin("adopt", "new.example.org", "--log", "/nonexistent.log")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("/nonexistent.log: no such file", err)
        self.assertIn("was not seen", err)

    def test_a_host_that_was_not_seen_or_is_listed_is_refused_and_nothing_changes(self):
        for name, reason in (("typo.example.org", "not seen"), ("silent.example.org", "not seen"),
                             ("good.example.org", "already")):
            code, out, err = self.run_admin("adopt", "new.example.org", name)
            self.assertEqual((code, out), (1, ""), name)
            self.assertIn(reason, err)
        with open(self.manifest, encoding="utf-8") as file:
            self.assertEqual(file.read(), MANIFEST)


if __name__ == "__main__":
    unittest.main()
