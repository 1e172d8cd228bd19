#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every option that apt's own configure-index names, in an apt.conf, against a real run.

On the system a usual update, a security update and one that has to be kept back wait. Whatever
apt.conf says, a run does the right thing, or fails loudly, or tells truly what it did
otherwise; it never says less than there is. Options of the groups below that are
boolean or text are tried, the first with true and false, the others with nothing and a word.

Usage (root, minutes to an hour): apt_options.py [--release RealApt] [--every N] [PREFIX...]
Last line: how many were tried and how many are right, told, loud, false (exit status 1).
"""

import argparse
import os
import re
import sys
from collections import Counter
from typing import Any
from typing import Dict
from typing import Iterator
from typing import List
from typing import Tuple

if __name__ == "__main__":
    ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path[:0] = [ROOT, os.path.join(ROOT, "lib")]

from tests import real_apt

INDEX = "/usr/share/doc/apt/examples/configure-index"
GROUPS = ("apt::", "dpkg::", "dir::etc", "quiet", "acquire::")
VALUES = {"BOOL": ("true", "false"), "STRING_OR_BOOL": ("true", "false"), "STRING": ("", "qv"),
          "FILE": ("", "/qv"), "DIR": ("", "/qv"), "INT": ("0", "3")}
LOUD = ("failed", "refused", "locked", "unsupported")
_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|#[^\n]*|"([^"]*)"|([A-Za-z0-9:*_.-]+)|([{};])', re.S)


def options(index: str) -> Iterator[Tuple[str, str]]:
    """Yield (name, kind) of each option that configure-index describes."""
    path: List[str] = []
    name = ""
    for found in _TOKEN.finditer(index):
        text, word, mark = found.groups()
        if word and not name:
            name = word
        elif text is not None and not name:
            name = text
        elif text is not None:
            kind = text.strip("<>")
            full = "::".join(path + [name])
            known = kind in VALUES and (kind != "INT" or full.lower() == "quiet")
            if known and "*" not in full and full.lower().startswith(GROUPS):
                yield full, kind
        elif mark == "{":
            path.append(name)
            name = ""
        elif mark == "}":
            path = path[:-1]
            name = ""
        elif mark == ";":
            name = ""


def verdict(record: Dict[str, Any], changed: Dict[str, str]) -> str:
    """Judge one run: qv-plain and qv-sec to 2.0, qv-swap kept back and named."""
    told = {row[0]: row[2] for row in record["upgraded"]}
    if told != changed:
        return "FALSE"
    if record["outcome"] in LOUD:
        return "loud" if record["reason"] else "FALSE"
    if record["outcome"] != "partial" or "qv-swap" not in [row[0] for row in record["kept"]]:
        return "FALSE"
    if changed == {"qv-plain": "2.0", "qv-sec": "2.0"} and record["pending"] == 1:
        return "right"
    # Whatever did not come in is pending.
    return "told" if record["pending"] == 3 - len(changed) else "FALSE"


def main(argv: List[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--release", default="RealApt")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("prefix", nargs="*")
    chosen = parser.parse_args(argv[1:])
    suite = getattr(real_apt, chosen.release)
    suite.setUpClass()
    counted: "Counter[str]" = Counter()
    try:
        with open(suite.base + INDEX, encoding="utf-8") as file:
            rows = [(name, value) for name, kind in options(file.read())
                    for value in VALUES[kind]]
        if chosen.prefix:
            rows = [row for row in rows if row[0].lower().startswith(tuple(chosen.prefix))]
        for name, value in rows[chosen.start::chosen.every]:
            found, why = one(suite, '%s "%s";\n' % (name, value))
            counted[found] += 1
            print("%-5s %s \"%s\": %s" % (found, name, value, why), flush=True)
    finally:
        suite.tearDownClass()
    print("%s: %d tried: %s" % (chosen.release, sum(counted.values()), ", ".join(
        "%d %s" % (counted[word], word) for word in ("right", "told", "loud", "FALSE"))))
    return 1 if counted["FALSE"] else 0


def one(suite: Any, conf: str) -> Tuple[str, str]:
    """Make one run on a fresh system with this apt.conf."""
    case = suite("test_nothing_to_do_is_nothing_and_consumes_the_window")
    case.setUp()
    try:
        case.publish("qv-plain", "qv-sec", "qv-swap")
        case.write("/etc/qualvosec/helper.conf", "[general]\nrefresh_wait: 0\n")
        case.write("/etc/apt/apt.conf.d/99option", conf)
        record = case.upgrade()
        whole = case.chroot("dpkg-query", "-W", "-f=${Package} ${db:Status-Abbrev}\\n", "qv-*")
        changed = {name: version for name, version in case.changed().items()
                   if "%s ii" % name in whole}
        return verdict(record, changed), "%s %s" % (record["outcome"], record["reason"])
    finally:
        case.doCleanups()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
