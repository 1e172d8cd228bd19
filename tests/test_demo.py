# SPDX-License-Identifier: BSD-2-Clause
"""The demonstration: its made-up fleet, its lines, its end. Whole runs: tests/first_sight.py."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Dict
from unittest import mock

from qualvosec.admin.fleet import accesslog
from qualvosec.admin.fleet import overview
from qualvosec.manifest import document
from qualvosec.manifest import window

from demo import demo
from demo import history
from demo import stage
from tests import ROOT

STATUSES = {
    "app01.example": "conflict", "db01.example": "unhealthy: failed", "db02.example": "overdue",
    "lab07.example": "unlisted", "legacy01.example": "no run yet", "mail01.example": "partial",
    "old01.example": "orphaned", "web01.example": "ok", "web02.example": "ok, reboot due"}
# Of the table that `qualvosec once --dry-run` prints: 106 packages, some with long names.
HEAD = "host: web01.example.org\nPackage  Installed  Available  Security  In this run\n"
ROW = "package-with-a-rather-long-name-%03d  1:2.66-4+deb12u2+b2  1:2.66-4+deb12u3+b1  no    yes"


class Fleet(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="qualvosec-test-")
        self.addCleanup(shutil.rmtree, self.folder)

    def statuses(self, now: int, spared: str = "") -> Dict[str, str]:
        path = os.path.join(self.folder, "access.log")
        with open(path, "w", encoding="ascii") as file:
            file.write(history.log(now, spared))
        found = document.read(history.entries(now, spared).encode("ascii"),
                              window.local_day(now, window.host_zone))
        self.assertEqual(found.problems, [])
        log = accesslog.read([path], found.hosts, latest=now)
        self.assertEqual((log.broken, log.overlong, log.mistimed), (0, 0, 0))
        self.assertEqual(overview.notes(log, now, 7), [])
        return {row.name: row.status for row in overview.rows(found.hosts, log, now, 7)}

    def test_each_made_up_host_has_the_status_that_it_is_there_for_whenever_it_is(self) -> None:
        self.addCleanup(time.tzset)
        # Around changes to and from summer time in 2026, in steps of two days and a bit.
        for zone in ("UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "NZST-12NZDT,M9.5.0,M4.1.0/3"):
            with mock.patch.dict(os.environ, TZ=zone):
                time.tzset()
                for first in (1774500000, 1792600000):
                    for now in range(first, first + 8 * 86400, 50 * 3600 + 420):
                        self.assertEqual(self.statuses(now), STATUSES, (zone, now))

    def test_a_host_of_that_name_is_left_to_the_real_one(self) -> None:
        name = "web01.example"
        expected = {host: status for host, status in STATUSES.items() if host != name}
        self.assertEqual(self.statuses(1780000000, name), expected)


class Lines(unittest.TestCase):
    def test_at_most_ten_packages_are_shown_and_the_others_counted(self) -> None:
        text = HEAD + "".join(ROW % number + "\n" for number in range(106))
        lines = demo.shortened((text + "apt: 106 pending, 106 in this run, 0 left out").split("\n"))
        self.assertEqual(len(lines), 1 + 1 + 10 + 1 + 1)
        self.assertEqual(lines[0], "host: web01.example.org")
        self.assertRegex(lines[11], "^package-with.* 1:2.66.* no +yes$")
        self.assertEqual(lines[12], stage.dots() + " and 96 more")
        self.assertEqual(lines[13], "apt: 106 pending, 106 in this run, 0 left out")
        self.assertLessEqual(max(map(len, lines)), demo.COLUMNS)

    def test_ten_packages_are_shown_whole(self) -> None:
        rows = ["Package  Installed  Available  Security  In this run"] + [
            "p%d       1          2          no        no: held" % number for number in range(10)]
        lines = demo.shortened(rows + ["apt: 10 pending, 0 in this run, 10 left out"])
        self.assertEqual(len(lines), 12)
        self.assertEqual(lines[10].split("  ")[-1].strip(), "no: held")

    def test_other_output_stays_as_it_is_but_for_lines_that_are_too_long(self) -> None:
        self.assertEqual(demo.shortened(["pending: dpkg: is locked"]), ["pending: dpkg: is locked"])
        words = "QUALVOSEC CRITICAL - " + "reason " * 30
        lines = demo.shortened([words.strip()])
        self.assertEqual(" ".join(" ".join(lines).split()), words.strip())
        self.assertLessEqual(max(map(len, lines)), demo.COLUMNS)

    def test_a_machine_without_a_full_name_gets_one_that_a_manifest_takes(self) -> None:
        rows = (("debian", "debian.example.org"), ("Web01.Example.COM", "web01.example.com"),
                ("my_box", "my-box.example.org"), ("", "this-host.example.org"),
                ("10.1.2.3", "this-host.example.org"), ("a..b", "this-host.example.org"),
                ("x" * 64, "this-host.example.org"), ("-a-.b", "this-host.example.org"))
        for nodename, expected in rows:
            with mock.patch("socket.gethostname", return_value=nodename):
                self.assertEqual(demo.own_name(), expected, nodename)


class End(unittest.TestCase):
    def test_what_is_stopped_leaves_one_line_and_nothing_else(self) -> None:
        place = tempfile.mkdtemp(prefix="qv-")
        self.addCleanup(shutil.rmtree, place)
        os.chmod(place, 0o1777)
        for number in (signal.SIGINT, signal.SIGTERM):
            process = subprocess.Popen(
                [sys.executable, "-Bm", "demo.demo"], cwd=ROOT, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": place})
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(b"1. "):
                    break
            process.send_signal(number)
            errors = process.communicate(timeout=60)[1]
            self.assertEqual((process.returncode, errors),
                             (128 + number, b"demo: stopped; nothing is left behind\n"))
            self.assertEqual(os.listdir(place), [])

    def test_programs_in_sessions_of_their_own_are_found(self) -> None:
        script = "import os, time\nif os.fork() == 0: os.setsid()\nos.write(1, b'x')\n" \
                 "time.sleep(60)"
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert process.stdout is not None
        self.assertEqual(process.stdout.read(2), b"xx")
        family = stage.kin({process.pid})
        children = stage.Children(mock.Mock())
        children._running.append(process)
        children.stop(process)
        process.stdout.close()
        self.assertEqual(len(family), 2)
        self.assertEqual(family & stage.processes().keys(), set())


if __name__ == "__main__":
    unittest.main()
