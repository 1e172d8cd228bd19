# SPDX-License-Identifier: BSD-2-Clause
"""docs/architecture.md names files and functions that exist; rooms import as it says."""

import ast
import os
import re
import unittest
from typing import Dict
from typing import List
from typing import Set
from typing import Tuple

from tests import ROOT
from tests import rules

DOCUMENT = os.path.join(ROOT, "docs", "architecture.md")
LIB = os.path.join(ROOT, "lib", "qualvosec")


def text() -> str:
    with open(DOCUMENT, encoding="utf-8") as file:
        return file.read()


def steps(document: str) -> List[Tuple[str, str]]:
    """Return (file, name) of all steps: in each line a name belongs to the file before it."""
    found = []
    for line in document.splitlines():
        path = ""
        for span in re.findall(r"`([^`]+)`", line if re.match(r"\d+\. ", line) else ""):
            if span.endswith(".py"):
                path = span
            elif "/" not in span:
                found.append((path, span))
    return found


def defined(path: str) -> Set[str]:
    """Return the functions, classes, methods and constants that a module of lib/ defines."""
    with open(os.path.join(LIB, path), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    names = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names.update("%s.%s" % (node.name, part.name) for part in node.body
                         if isinstance(part, ast.FunctionDef))
        targets = node.targets if isinstance(node, ast.Assign) else (
            [node.target] if isinstance(node, ast.AnnAssign) else [])
        names.update(part.id for target in targets for part in ast.walk(target)
                     if isinstance(part, ast.Name))
    return names


def unknown(document: str) -> List[str]:
    return ["%s: %s" % (path, name) for path, name in steps(document)
            if not os.path.isfile(os.path.join(LIB, path)) or name not in defined(path)]


class Architecture(unittest.TestCase):
    def test_every_step_names_a_file_and_what_stands_in_it(self) -> None:
        self.assertGreater(len(steps(text())), 40)
        self.assertEqual(unknown(text()), [])

    def test_a_step_that_names_what_is_not_there_is_noticed(self) -> None:
        for wrong in ("1. `client/nowhere.py` `f`", "1. `files.py` `no_such_function`",
                      "1. `client/engine.py` `Engine.no_such_method`", "1. `nothing_before_it`"):
            self.assertEqual(len(unknown(wrong)), 1, wrong)

    def test_rooms_import_what_the_table_says(self) -> None:
        told: Dict[str, Set[str]] = {}
        for row in re.findall(r"(?m)^\| ([a-z]+) \| ([a-z, ]*)\|", text()):
            told[row[0]] = {room.strip() for room in row[1].split(",") if room.strip()}
        told.pop("room", None)
        self.assertEqual(told, {room: others - {room} for room, others in rules.ROOMS.items()})

    def test_root_may_use_the_leaves_that_are_named(self) -> None:
        line = next(part for part in text().splitlines() if part.startswith("`helper` only"))
        self.assertEqual(set(re.findall(r"`([a-z]+)`", line)) - {"helper"}, rules.ROOT_MAY_USE)


if __name__ == "__main__":
    unittest.main()
