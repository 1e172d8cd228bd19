# SPDX-License-Identifier: BSD-2-Clause
"""What README and docs/ name exists: targets, files, links, manual pages, commands, options."""

import contextlib
import glob
import io
import os
import re
import shlex
import tempfile
import unittest
from typing import Dict
from typing import Iterator
from typing import List
from typing import Set
from typing import Tuple

from qualvosec.admin import commands as admin_commands
from qualvosec.client import commands as client_commands
from qualvosec.server import main as server_main

from tests import ROOT
from tests import newcomer
from tests.test_manuals import options_of_help

NAMES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"] + sorted(
    os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, "docs", "*.md")))
TOP = {name for name in os.listdir(ROOT) if not name.startswith(".git")} | {".ci"}
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\(([^)#\s]+)")
PROGRAMS = {"qualvosec": client_commands.main, "qualvosec-admin": admin_commands.main,
            "qualvosec-server": server_main.main}


def text_of(name: str) -> str:
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def code(name: str) -> Iterator[Tuple[int, str]]:
    """Every line of code of a document: in a block, indented, or a span in a sentence."""
    fenced = False
    for number, line in enumerate(text_of(name).splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or re.match(r" {4,}\S", line):
            yield number, line.strip()
        else:
            for span in SPAN.findall(line):
                yield number, span


def everywhere() -> List[Tuple[str, str]]:
    """Every line of code of every document: where, and what."""
    return [("%s:%d" % (name, number), text) for name in NAMES for number, text in code(name)]


def targets() -> Set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", text_of("Makefile"), re.M))


def help_of(program: str, *words: str) -> Tuple[int, str]:
    """Exit status and text of a program's --help."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            status = PROGRAMS[program](list(words) + ["--help"])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    return status, out.getvalue()


def invocations(text: str) -> Iterator[List[str]]:
    """The commands of a line that start one of our programs, as words."""
    for part in re.split(r"&&|\|(?!\|)|;", text.split("  #")[0]):
        try:
            words = shlex.split(part, comments=True)
        except ValueError:      # prose with an apostrophe
            continue
        while words and words[0] in ("$", "#", "sudo", "-u", "qualvosec"):
            if words[0] == "qualvosec" and (len(words) < 2 or words[1] not in PROGRAMS):
                break
            words = words[1:]
        if words and os.path.basename(words[0]) in PROGRAMS:
            yield [os.path.basename(words[0])] + words[1:]


class Named(unittest.TestCase):

    def test_every_make_target_exists(self) -> None:
        known, found = targets(), 0
        for place, text in everywhere():
            for words in re.findall(r"(?:^|&& |\$ |# )make((?: +[\w-]+(?![\w-]*=))+)", text):
                for word in words.split():
                    if word.startswith("-"):
                        continue
                    found += 1
                    self.assertIn(word, known, place)
        self.assertGreater(found, 20)

    def test_every_file_of_ours_exists(self) -> None:
        found = 0
        for place, text in everywhere():
            for word in re.findall(r"[^\s`'\"|=<>]+", text):
                path = re.split(r":\d|,$|\)$", word)[0].rstrip(".;:")
                # `man/` and `tests/x.py` are ours; `build/x` is made, `docs` alone is a word.
                if "/" not in path or path.split("/")[0] not in TOP or path.startswith("build/"):
                    continue
                found += 1
                self.assertTrue(glob.glob(os.path.join(ROOT, path)), "%s: %s" % (place, path))
            if re.match(r"[A-Z]+(\.md)?$", text) and text.endswith(".md"):
                found += 1
                self.assertIn(text, TOP, place)
        self.assertGreater(found, 20)

    def test_every_relative_link_leads_somewhere(self) -> None:
        for name in NAMES:
            for link in LINK.findall(text_of(name)):
                if "://" not in link:
                    path = os.path.join(ROOT, os.path.dirname(name), link)
                    self.assertTrue(os.path.exists(path), "%s: %s" % (name, link))

    def test_every_manual_page_of_ours_exists(self) -> None:
        found, pages = 0, os.listdir(os.path.join(ROOT, "man"))
        for name in NAMES:
            for page, section in re.findall(r"\b(qualvosec[\w.-]*)\((\d)\)", text_of(name)):
                found += 1
                self.assertIn("%s.%s" % (page, section), pages, name)
        self.assertGreater(found, 5)

    def test_every_test_that_is_named_exists(self) -> None:
        modules = {name[:-3] for name in os.listdir(os.path.join(ROOT, "tests"))}
        found = 0
        for name in NAMES:
            for module, rest in re.findall(r"\b(test_[a-z]+(?:_[a-z]+)*)((?:\.\w+)*)",
                                           text_of(name)):
                if rest == ".py" or "." in rest:
                    found += 1
                    self.assertIn(module, modules, name)
        self.assertGreater(found, 5)

    def test_every_command_and_option_is_known_to_the_program(self) -> None:
        helps: Dict[Tuple[str, ...], Set[str]] = {}
        found = 0
        for place, text in everywhere():
            for words in invocations(text):
                inner = [word for word in words[1:]
                         if not re.match(r"-c$|/|[A-Z]|\W|\.", word) or word.startswith("--")]
                key = (words[0],) + tuple(
                    inner[:1] if inner and re.match(r"[a-z]+$", inner[0]) else ())
                if key not in helps:
                    status, said = help_of(*key)
                    self.assertEqual(status, 0, "%s: %s: %s" % (place, " ".join(key), said))
                    helps[key] = options_of_help(said) | {"--help", "--version", "-c", "-n"}
                found += 1
                for word in words[1:]:
                    if re.match(r"--?[a-z]", word):
                        self.assertIn(word.split("=")[0], helps[key], "%s: %s" % (place, text))
        self.assertGreater(found, 20)


class QuickStart(unittest.TestCase):

    def test_every_system_has_its_commands_and_not_too_many(self) -> None:
        blocks = newcomer.read()
        self.assertEqual(set(blocks), set(newcomer.NAMES))

    def test_a_block_too_many_or_too_few_is_noticed(self) -> None:
        text = text_of("README.md")
        changed = {
            "one more": text.replace("pkg_add python%3\n", "pkg_add python%3\nid\n", 1),
            "no name": text.replace("<!-- newcomer: suse -->", "<!-- newcomer: sues -->"),
            "no mark": text.replace("<!-- newcomer: suse -->\n", ""),
            "no block": text.replace("<!-- newcomer: suse -->", "<!-- newcomer: suse -->\n"),
            "twice": text.replace("<!-- newcomer: suse -->", "<!-- newcomer: arch -->"),
        }
        for name, other in changed.items():
            self.assertNotEqual(other, text, name)
            with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
                file.write(other)
                file.flush()
                with self.assertRaises(newcomer.NotSo, msg=name):
                    newcomer.read(file.name)

    def test_every_system_says_the_two_names_that_were_chosen(self) -> None:
        blocks = newcomer.read()
        chosen = [re.match(r"(\w+)=", command.text).group(1) for command in blocks["names"]]
        self.assertEqual(chosen, ["server", "host"])
        for name in newcomer.STAGED + ("debian",):
            told = [command.text for command in blocks[name] if "server:" in command.text]
            self.assertEqual(len(told), 1, name)
            self.assertIn("server: $server|; ", told[0], name)
            self.assertIn("fqdn: $host|", told[0], name)

    def test_no_command_holds_a_name_that_the_reader_would_have_to_replace(self) -> None:
        blocks = newcomer.read()
        for name in set(newcomer.NAMES) - {"names", "nginx"}:
            for command in blocks[name]:
                self.assertNotRegex(command.text, r"example\.(org|net|com)|127\.0", name)

    def test_the_reader_is_told_of_a_reboot_before_the_command_that_may_cause_it(self) -> None:
        text = text_of("README.md")
        before = text[:text.index("<!-- newcomer: first-run -->")].rstrip().split("\n\n")[-1]
        self.assertIn("reboot this\nmachine", before)
        self.assertIn("reboot=false", before)

    def test_only_the_two_names_can_be_substituted_and_each_is_told(self) -> None:
        blocks, said = newcomer.read(), io.StringIO()
        with contextlib.redirect_stdout(said):
            own = newcomer.names(blocks, {})
            other = newcomer.names(blocks, {"host": "a.example.net"})
            with self.assertRaises(newcomer.NotSo):
                newcomer.names(blocks, {"port": "8081"})
        self.assertEqual(own, "server=http://127.0.0.1:8080\nhost=web01.example.org\n")
        self.assertEqual(other, "server=http://127.0.0.1:8080\nhost=a.example.net\n")
        lines = said.getvalue().splitlines()
        self.assertEqual([line.split()[0] for line in lines[:4]], ["AS", "AS", "AS", "SUBSTITUTED"])
        self.assertRegex(lines[3], r"host=web01\.example\.org by host=a\.example\.net$")


if __name__ == "__main__":
    unittest.main()
