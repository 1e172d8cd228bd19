# SPDX-License-Identifier: BSD-2-Clause
"""Files as the original QualvoSec has them: taken unchanged, or refused in one clear line.

docs/migrate.md promises both; every message that it shows is the one that is printed.
"""

import calendar
import glob
import io
import os
import unittest
from typing import List

from qualvosec.admin import commands as admin_commands
from qualvosec.admin import settings as admin
from qualvosec.client import config as client
from qualvosec.manifest import document
from qualvosec.server import config as server

from tests import ROOT
from tests.test_admin_commands import set_zone

FOLDER = os.path.join(ROOT, "tests", "data", "migrate")
GUIDE = os.path.join(ROOT, "docs", "migrate.md")
TODAY = 739943       # 22 November 2026
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = range(7)


def text_of(path: str) -> str:
    with open(path, encoding="utf-8") as handle:
        return handle.read()


class Works(unittest.TestCase):

    def path(self, name: str) -> str:
        return os.path.join(FOLDER, "works", name)

    def test_client_configuration_means_what_it_meant(self) -> None:
        config = client.read(self.path("qualvosec.conf"))
        self.assertEqual(config.url(), "https://patching.example.org/patch.yaml")
        self.assertEqual((config.monitoring, config.monitoring_port, config.monitoring_listener),
                         (True, 8037, "127.0.0.1"))
        self.assertEqual((config.log_level, config.log_handler), ("CRITICAL", "SystemdHandler()"))

    def test_manifest_means_what_it_meant(self) -> None:
        found = document.read(text_of(self.path("patch.yaml")).encode("utf-8"), TODAY)
        self.assertEqual(found.problems, [])
        policies = {}
        for name, policy in found.hosts.items():
            assert policy is not None, name
            policies[name.split(".")[0]] = policy
        first = policies["giro48"]
        self.assertEqual((first.patch, first.reboot, first.weekdays, first.hour, first.minute),
                         (True, "always", (WEDNESDAY,), 3, 15))
        second = policies["giro49"]
        self.assertEqual((second.reboot, second.weekdays, second.exclude, second.groups),
                         ("never", (FRIDAY,), ("nginx", "vim"), ("web", "patch_cycle_friday")))
        self.assertEqual(policies["giro50"].only, ("openssl",))
        self.assertFalse(policies["giro51"].patch)

    def test_admin_configuration_means_what_it_meant(self) -> None:
        config = admin.read(self.path("qualvosec_admin.conf"))
        self.assertEqual(config.source(), "https://patching.example.org/patch.yaml")
        self.assertEqual(config.log_file_path, ("/var/log/nginx/access.log",))

    def test_server_configuration_wants_its_directory_named_and_nothing_else(self) -> None:
        text = text_of(self.path("qualvosec_server.conf"))
        config = server.parse(text)
        self.assertEqual((config.listener, config.port), ("127.0.0.1", 8037))
        with self.assertRaisesRegex(server.ServerError, "^root: is not set: name the directory"):
            server.check(config)
        server.check(server.parse(text + "root: %s\n" % FOLDER))

    def test_original_clients_are_seen_in_the_access_log_beside_new_ones(self) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.addCleanup(set_zone, os.environ.get("TZ"))
        set_zone("UTC")
        now = calendar.timegm((2026, 11, 22, 12, 0, 0))
        admin_commands.main(["list", "--manifest", self.path("patch.yaml"), "--log",
                             self.path("access.log")], out, err, lambda: now)
        rows = {}
        for line in out.getvalue().splitlines():
            words = [word.strip() for word in line.strip("|").split("|")]
            rows[words[0]] = words[1:]
        self.assertEqual(rows["giro48.example.org"],
                         ["2026-11-22", "True", "Wednesday, 03:15", "True", "ok"])
        self.assertEqual(rows["giro49.example.org"],
                         ["2026-11-21", "True", "Friday, 01:15", "False", "no report"])
        self.assertEqual(rows["giro52.example.org"][-1], "unlisted")


class Refused(unittest.TestCase):

    def setUp(self) -> None:
        self.guide = text_of(GUIDE)

    def names(self, kind: str) -> List[str]:
        found = sorted(glob.glob(os.path.join(FOLDER, "refused", "*." + kind)))
        self.assertGreater(len(found), 4)
        return found

    def told(self, message: str, name: str) -> None:
        """The guide shows a message, its place left away."""
        shown = message.replace("giro48.example.org: ", "")
        cut = shown.split("client_cert")[0].strip()
        self.assertIn("| %s" % cut, self.guide, name)

    def test_each_fault_of_a_manifest_is_one_line_that_the_guide_shows(self) -> None:
        for name in self.names("yaml"):
            found = document.read(text_of(name).encode("utf-8"), TODAY)
            faults = [problem for problem in found.problems if problem.severity == "error"]
            self.assertEqual(len(faults), 1, name)
            self.assertGreater(faults[0].line, 1, name)
            self.told("%s: %s" % (faults[0].what, faults[0].fix), name)

    def test_each_fault_of_a_configuration_is_one_line_that_the_guide_shows(self) -> None:
        for name in self.names("conf"):
            with self.assertRaises(client.ConfigError) as caught:
                client.read(name)
            message = str(caught.exception)
            self.assertNotIn("\n", message)
            place, _, rest = message.partition(": line ")
            self.assertEqual(place, name)
            self.told(rest.partition(": ")[2], name)

    def test_guide_shows_no_message_that_nothing_prints(self) -> None:
        table = self.guide.split("| found | message |")[1].split("##")[0]
        rows = [line for line in table.splitlines() if line.startswith("| ")]
        self.assertEqual(len(rows), len(self.names("yaml")) + len(self.names("conf")))


if __name__ == "__main__":
    unittest.main()
