# SPDX-License-Identifier: BSD-2-Clause
"""Every sample of an adapter names where it comes from: no output of a program is made up.

tests/data/origins.txt says it of plain files, each transcript of itself.
"""

import fnmatch
import glob
import json
import os
import re
import unittest
from typing import List
from typing import Tuple

from tests import DATA

FOLDERS = ("apt", "dnf", "dnf5", "pacman", "rcd", "rivals", "zypper")
KINDS = ("run", "manual", "cases")


def origins() -> List[Tuple[str, str, str]]:
    """Return the rows of origins.txt: pattern, kind, origin."""
    with open(os.path.join(DATA, "origins.txt"), encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip() and line[0] != "#"]
    rows = [re.split("  +", line) for line in lines]
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3]


def samples() -> List[str]:
    """Return every plain sample of an adapter, as a path below tests/data."""
    return sorted(os.path.relpath(path, DATA) for folder in FOLDERS
                  for path in glob.glob(os.path.join(DATA, folder, "**"), recursive=True)
                  if os.path.isfile(path))


class Origins(unittest.TestCase):
    def test_every_sample_has_one_and_every_row_has_a_sample(self) -> None:
        rows, used = origins(), set()
        self.assertEqual({kind for _, kind, _ in rows} - set(KINDS), set())
        self.assertGreater(len(samples()), 60)
        for path in samples():
            fits = [row for row in rows if fnmatch.fnmatchcase(path, row[0])]
            self.assertTrue(fits, "%s: where does it come from? Say it in origins.txt" % path)
            used.add(fits[0][0])
        self.assertEqual({row[0] for row in rows} - used, set())

    def test_what_a_program_printed_names_program_and_what_made_it_print(self) -> None:
        for pattern, kind, origin in origins():
            if kind == "run":
                self.assertRegex(origin, r"tests/real_\w+\.py", pattern)
                self.assertTrue(os.path.exists(os.path.join(
                    os.path.dirname(DATA), os.path.basename(re.findall(
                        r"tests/(real_\w+\.py)", origin)[0]))), origin)
                self.assertRegex(origin, r"[0-9]|bookworm", pattern)
            elif kind == "manual":
                self.assertRegex(origin, r"\([0-9]\)|cron\.daily", pattern)

    def test_every_folder_of_an_adapter_is_looked_at(self) -> None:
        known = set(FOLDERS) | {"accesslog", "durable", "manifest", "migrate", "tls",
                                "transcripts", "yamlsubset", "zones"}
        self.assertEqual({name for name in os.listdir(DATA)
                          if os.path.isdir(os.path.join(DATA, name))} - known, set())

    def test_every_transcript_names_its_tool_and_what_stood_in(self) -> None:
        paths = glob.glob(os.path.join(DATA, "transcripts", "**", "*.json"), recursive=True)
        self.assertGreater(len(paths), 150)
        for path in paths:
            with open(path, encoding="utf-8") as file:
                told = json.load(file)
            self.assertRegex(told["tool"] + told["system"], r"[0-9]", path)
            self.assertTrue(told["system"].strip() and told["situation"].strip(), path)
            self.assertTrue(told["calls"], path)


if __name__ == "__main__":
    print("samples: %d, without an origin: %d" % (len(samples()), sum(
        not any(fnmatch.fnmatchcase(path, row[0]) for row in origins()) for path in samples())))
