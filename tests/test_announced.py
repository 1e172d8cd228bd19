# SPDX-License-Identifier: BSD-2-Clause
"""No line of a plan can get lost, or change its form, without a failure.

Each real dry run is read as it is and then with one line taken away, one separator or heading
written otherwise, one number changed: whatever an adapter does not understand is never less to do.
"""

import os
import re
import unittest
from typing import Callable
from typing import Dict
from typing import Iterator
from typing import List
from typing import NamedTuple
from typing import Tuple

from qualvosec import command
from qualvosec.helper.managers import apk_text
from qualvosec.helper.managers import base
from qualvosec.helper.managers import dnf_text
from qualvosec.helper.managers import openbsd_text
from qualvosec.helper.managers import pacman
from qualvosec.helper.managers import pkg_text
from qualvosec.helper.managers import pkgin_text
from qualvosec.helper.managers import zypper_text

from tests import DATA
from tests import replay


class Plan(NamedTuple):
    """A recorded dry run, what reads it, and which lines of it mean something."""

    text: str
    read: Callable[[str], object]
    means: str
    rewrites: Tuple[Tuple[str, str], ...]


def _of(name: str, words: str, read: Callable[[str, Dict[str, str]], object], means: str,
        *rewrites: Tuple[str, str]) -> Plan:
    before = {key: value for key, value in replay.load(name)["installed_before"].items()
              if not key.startswith("base")}
    return Plan(replay.said(name, words)[1], lambda text: read(text, before), means, rewrites)


def _openbsd(text: str, before: Dict[str, str]) -> object:
    return openbsd_text.parse_report(base.Answer(0, text, text), [
        "%s-%s" % (name, version) for name, several in before.items()
        for version in several.split()])


OPENBSD = [_of("openbsd/pkg_add-" + name, "pkg_add -u -n -v -I -x", _openbsd, "^Adding ",
               ("Adding ", "Updating "), ("->", "=>"), ("(pretending)", "(dry)"))
           for name in ("five-updates", "quirks-pending", "branches", "odd-names")]
PKGIN = [_of("netbsd/pkgin-" + name, "pkgin -n upgrade", pkgin_text.parse_changes,
             r"^[0-9]+ packages? to |^[A-Za-z0-9]\S*-\S+$|^[0-9]+ to remove",
             (" to ", " will "), ("packages", "pkgs"), ("-", " "))
         for name in ("updates", "odd-names", "superseded", "one-update", "refresh")]
PKG = [_of("freebsd/%s/%s" % (version, name), "pkg upgrade -n -U",
           lambda text, before: pkg_text.parse_changes(text),
           r"^\t|^Number of|^The following|packages to be",
           (": ", " "), ("->", "=>"), ("packages to be", "packages that are"))
       for version in ("pkg-1.21", "pkg-2.8") for name in ("updates", "conflict-removes",
                                                           "reinstall", "pkgbase")]
APK = [_of("alpine/%s/%s" % (version, name), "apk upgrade --simulate",
           lambda text, before: apk_text.parse_changes(text, len(before)), r"^\(|^OK:",
           ("(1/", "1/"), (" (", " "), ("->", "=>"), ("OK:", "Done:"))
       for version in ("apk-2.14", "apk-3.0") for name in ("updates", "dependency-dropped",
                                                           "tagged-repository")]


def _sample(path: str) -> str:
    with open(os.path.join(DATA, path), encoding="utf-8") as file:
        return file.read()


def _dnf(folder: str, means: str, *rewrites: Tuple[str, str]) -> List[Plan]:
    def read(text: str) -> object:
        table = dnf_text.parse_table(text, folder)
        # Which of two reasons keeps a package back is not announced.
        return table.incoming, table.outgoing, sorted(table.skipped)

    return [Plan(_sample("%s/%s.txt" % (folder, name)), read,
                 means + r"|^ \S|^[A-Z][a-z ]+:$|^[A-Z][a-z]+ +[0-9]+ P",
                 rewrites) for name in ("all", "without", "kernel-modules", "kernel-tool")]


# dnf does not count what is replaced.
DNF = _dnf("dnf", "^Removing", (" noarch ", "  "), ("ing", "ed"), ("-1 ", "_1 "),
           ("Package", "pkg"))
DNF5 = _dnf("dnf5", "^   +replacing", (" noarch ", "  "),
            ("ing", "ed"), ("-1 ", "_1 "), (": ", " = "))
ZYPPER = [Plan(_sample("zypper/%s.txt" % name), lambda text: zypper_text.parse_summary(text)[:2],
               "^<solvable|^<install-summary|^<to-|^</to-",
               (("<solvable", "<package"), ('type="package"', 'kind="package"'),
                ("to-change=", "changes="), ('name="', 'title="')))
          for name in ("all", "without", "vendor-change")]


def _pacman(name: str, text: str) -> object:
    """Let the adapter plan: `text` stands for that one of its two answers."""
    texts = {"pending.txt": PENDING, "simulated.txt": SIMULATED}
    texts[name] = text

    def run(argv: List[str], env: object, **options: object) -> command.Result:
        words = " ".join(argv)
        said = (texts["pending.txt"] if "-Qu" in words else texts["simulated.txt"]
                if "--print" in words else "" if "-Si" in words
                else _sample("pacman/installed.txt"))
        return command.Result(0, said.encode("ascii"), b"", False, False)

    manager = pacman.Pacman(base.World(run=run))
    manager.program = lambda name: "/usr/bin/" + name  # type: ignore[assignment]
    return manager.plan(base.Selection())


# Of the same state: what is pending, and what would be installed.
PENDING = "".join(line for line in _sample("pacman/pending.txt").splitlines(True)
                  if "qv-swap" not in line)
SIMULATED = _sample("pacman/kept.txt")
PACMAN = [Plan(text, lambda text, name=name: _pacman(name, text), "^(?!qv-brandnew)",  # type: ignore
               (("-> ", "=> "), (" ", "  "), (" ", "")))
          for name, text in (("pending.txt", PENDING), ("simulated.txt", SIMULATED))]
ALL = {"openbsd": OPENBSD, "netbsd": PKGIN, "freebsd": PKG, "alpine": APK, "dnf": DNF,
       "dnf5": DNF5, "zypper": ZYPPER, "pacman": PACMAN}


def mutations(plan: Plan) -> Iterator[str]:
    """Yield the plan with one line that means something taken away or written otherwise."""
    lines = plan.text.splitlines(True)
    for place, line in enumerate(lines):
        if not re.search(plan.means, line):
            continue
        # What stands in parentheses behind a package of pkg is a reason in plain words.
        others = [line.replace(old, new, 1) for old, new in plan.rewrites
                  if old in (line.partition("(direct")[0] or line)]
        # Every number but those of names and versions.
        others += [line[:found.start()] + str(int(found.group()) + 1) + line[found.end():]
                   for found in re.finditer(r"(?<![\w.+,-])[0-9]+(?![\w.,+:-])", line)
                   if (not line.startswith("OK:") or "package" in line[found.end():][:9])
                   and "checked" not in line[found.end():][:9]]
        for other in [""] + others:
            yield "".join(lines[:place] + [other] + lines[place + 1:])


class Announced(unittest.TestCase):
    def check(self, plans: List[Plan]) -> None:
        tried, unseen = 0, []
        for plan in plans:
            whole = plan.read(plan.text)
            for text in mutations(plan):
                try:
                    # A size or a heading that is not needed: nothing is lost.
                    if plan.read(text) == whole:
                        continue
                    unseen.append([line for line in text.splitlines()
                                   if line not in plan.text.splitlines()] or "a line is gone")
                except base.ManagerError:
                    tried += 1
        self.assertEqual(unseen, [], "%d, and %d were noticed" % (len(unseen), tried))
        self.assertGreaterEqual(tried, 20)

    def test_each_adapter(self) -> None:
        for name in sorted(ALL):
            with self.subTest(name):
                self.check(ALL[name])


if __name__ == "__main__":
    for manager in sorted(ALL):
        print("%s: %d mutations" % (manager, sum(1 for plan in ALL[manager]
                                                 for _ in mutations(plan))))
