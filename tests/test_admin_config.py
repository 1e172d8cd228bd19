# SPDX-License-Identifier: BSD-2-Clause
"""qualvosec_admin.conf: what may stand in it, and what is said about the rest."""

import os
import shutil
import tempfile
import unittest

from qualvosec import ini
from qualvosec.admin import settings
from qualvosec.admin.terminal import AdminError

from tests import ROOT


class ConfigTest(unittest.TestCase):

    def test_the_sample_is_valid_as_it_is_and_with_every_key_in_use(self):
        path = os.path.join(ROOT, "etc", "qualvosec_admin.conf")
        self.assertEqual(settings.read(path).alive_days, 7)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for key in settings.KEYS:
            text = text.replace("\n#%s:" % key, "\n%s:" % key)
            self.assertIn("\n%s:" % key, text)
        found = settings.from_text(text)
        self.assertEqual(found.manifest, "/srv/patching/patch.yaml")
        self.assertEqual(found.log_file_path, settings.USUAL_LOGS)
        self.assertNotIn("", found)

    def test_several_logs_are_cut_at_blanks_and_commas(self):
        found = settings.from_text('[general]\nlog_file_path: /a, /b/c*.gz  "/d e"\n')
        self.assertEqual(found.log_file_path, ("/a", "/b/c*.gz", "/d e"))

    def test_the_manifest_is_read_from_the_server_only_without_a_file(self):
        text = "[general]\nserver: https://h.example.org/%s\n"
        self.assertEqual(settings.from_text(text % "").source(),
                         "https://h.example.org/patch.yaml")
        self.assertEqual(settings.from_text(text % "x/other.yml").source(),
                         "https://h.example.org/x/other.yml")
        self.assertEqual(settings.from_text(text % "" + "manifest: /p.yaml\n").source(), "/p.yaml")
        self.assertEqual(settings.Settings().source(), "")

    def test_mistakes_are_named_with_line_and_key(self):
        for line, expected in (
                ("alive_days: 0", "line 2: alive_days"), ("alive_days: week", "line 2: alive_days"),
                ("server: patching.example.org", "line 2: server"),
                ("manifest: patch.yaml", "line 2: manifest"),
                ("log_file_path: access.log", "line 2: log_file_path"), ("manifest:", "no value"),
                ("log_file_path: '/a", "quote"), ("manifst: /a", "manifest"),
                ("manifest: /a\nmanifest: /b", "line 3")):
            with self.subTest(line):
                with self.assertRaises(ini.IniError) as caught:
                    settings.from_text("[general]\n%s\n" % line)
                self.assertIn(expected, str(caught.exception))

    def test_a_file_that_cannot_be_read_is_one_clear_line(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "admin.conf")
        with self.assertRaises(AdminError):
            settings.read(path)
        with open(path, "wb") as file:
            file.write(b"[general]\nmanifest: /\xff\n")
        with self.assertRaisesRegex(AdminError, "UTF-8"):
            settings.read(path)
        with open(path, "wb") as file:
            file.write(b"[generl]\n")
        with self.assertRaisesRegex(AdminError, "^%s: line 1" % path):
            settings.read(path)


if __name__ == "__main__":
    unittest.main()
