# SPDX-License-Identifier: BSD-2-Clause
"""Completion for bash: asked of a real bash, compared with what the programs take."""

import argparse
import os
import shutil
import subprocess
import tempfile
import unittest
from typing import Dict
from typing import List
from typing import Set

from qualvosec.admin import commands as admin
from qualvosec.client import commands as client
from qualvosec.server import main as server

from tests import ROOT

FOLDER = os.path.join(ROOT, "share", "bash-completion", "completions")
# The last word is completed; the answer is one suggestion a line.
ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
"_${1//-/_}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
HIDDEN = argparse.SUPPRESS


def options(parser: argparse.ArgumentParser) -> Set[str]:
    """The options of a parser, and the words that a place of it takes."""
    found: Set[str] = set()
    for action in parser._actions:
        if action.help != HIDDEN:
            found.update(action.option_strings)
        if action.choices and not action.option_strings:
            found.update(str(choice) for choice in action.choices)
    return found


def commands(parser: argparse.ArgumentParser) -> Dict[str, argparse.ArgumentParser]:
    """The parsers of the sub-commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


@unittest.skipUnless(shutil.which("bash"), "bash is not installed")
class Completion(unittest.TestCase):

    def ask(self, *words: str, cwd: str = "/") -> List[str]:
        done = subprocess.run(["bash", "-uc", ASK, "bash", os.path.join(FOLDER, words[0])]
                              + list(words), cwd=cwd, timeout=60, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)
        return [line for line in done.stdout.decode().splitlines() if line]

    def test_every_program_in_the_path_has_a_completion(self) -> None:
        self.assertEqual(sorted(os.listdir(FOLDER)),
                         ["qualvosec", "qualvosec-admin", "qualvosec-server"])

    def test_offers_every_command_and_option_that_the_programs_take_and_no_other(self) -> None:
        parsers = {"qualvosec": client._parser(),
                   "qualvosec-admin": admin._parser(), "qualvosec-server": server.arguments()}
        for program, parser in parsers.items():
            self.assertEqual(set(self.ask(program, "")), options(parser), program)
            for name, sub in commands(parser).items():
                with tempfile.TemporaryDirectory() as empty:
                    words = set(self.ask(program, name, "", cwd=empty))
                self.assertEqual(words, options(sub), (program, name))

    def test_options_before_the_command_do_not_hide_it(self) -> None:
        self.assertEqual(self.ask("qualvosec", "-c", "once", "reset", "c"), ["clock"])
        for words in (["-c", "x"], ["-cx"], ["--config", "x"], ["--config", "=", "x"]):
            self.assertEqual(self.ask("qualvosec", *(words + ["st"])), ["status"], words)
            self.assertEqual(self.ask("qualvosec-admin", *(words + ["sho"])), ["show"], words)

    def test_files_and_directories_are_offered_where_they_are_taken(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "patching"))
            with open(os.path.join(folder, "patch.yaml"), "w", encoding="utf-8"):
                pass
            both = ["patch.yaml", "patching"]
            for start in (["qualvosec"], ["qualvosec", "status"], ["qualvosec-admin"],
                          ["qualvosec-admin", "list"], ["qualvosec-server"]):
                # bash takes --config=FILE for three words.
                for form in (["-c", "pa"], ["--config", "pa"], ["--config", "=", "pa"],
                             ["--config", "="]):
                    self.assertEqual(sorted(self.ask(*(start + form), cwd=folder)), both)
                self.assertEqual(sorted(self.ask(*(start + ["-cpa"]), cwd=folder)),
                                 ["-c" + name for name in both])
            self.assertEqual(sorted(self.ask("qualvosec-admin", "check", "pa", cwd=folder)), both)
            self.assertEqual(self.ask("qualvosec-server", "--root", "pa", cwd=folder),
                             ["patching"])


if __name__ == "__main__":
    unittest.main()
