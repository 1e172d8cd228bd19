# SPDX-License-Identifier: BSD-2-Clause
"""No line of a plan can get lost, or change its form, without a failure.

Each real dry run is read as it is and then with one line taken away, one separator or heading
written otherwise, one number changed: whatever an adapter does not understand is never less to do.
"""

import re
import unittest
from typing import Callable
from typing import Dict
from typing import Iterator
from typing import List
from typing import NamedTuple
from typing import Tuple

from qualvosec.helper.managers import apk_text
from qualvosec.helper.managers import base
from qualvosec.helper.managers import openbsd_text
from qualvosec.helper.managers import pkg_text
from qualvosec.helper.managers import pkgin_text

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
                   for found in re.finditer(r"(?<![\w.+,-])[0-9]+(?![\w.,+-])", line)
                   if (not line.startswith("OK:") or "package" in line[found.end():][:9])
                   and "checked" not in line[found.end():][:9]]
        for other in [""] + others:
            yield "".join(lines[:place] + [other] + lines[place + 1:])


class Announced(unittest.TestCase):
    def check(self, plans: List[Plan]) -> None:
        tried, unseen = 0, []
        for plan in plans:
            plan.read(plan.text)
            for text in mutations(plan):
                tried += 1
                try:
                    plan.read(text)
                    unseen.append([line for line in text.splitlines()
                                   if line not in plan.text.splitlines()] or "a line is gone")
                except base.ManagerError:
                    pass
        self.assertEqual(unseen, [], "%d of %d" % (len(unseen), tried))
        self.assertGreaterEqual(tried, 20)

    def test_openbsd(self) -> None:
        self.check(OPENBSD)

    def test_netbsd(self) -> None:
        self.check(PKGIN)

    def test_freebsd(self) -> None:
        self.check(PKG)

    def test_alpine(self) -> None:
        self.check(APK)


if __name__ == "__main__":
    for name, plans in (("openbsd", OPENBSD), ("netbsd", PKGIN), ("freebsd", PKG), ("alpine", APK)):
        print("%s: %d mutations" % (name, sum(1 for plan in plans for _ in mutations(plan))))
