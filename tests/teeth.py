#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Test the fuzzer itself: bugs are sown into parser and lookup, one at a time; each must be caught.

A bug is one replacement in the source text. It is loaded in place of the real module, in this
process only, and the cases of fuzz_manifest.py run until one disagrees. Exit 1 when one survives.
"""

import argparse
import os
import sys
import types
from typing import List
from typing import NamedTuple

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tests import LIB  # noqa: E402
from tests import agreement  # noqa: E402
from tests import fuzz_manifest  # noqa: E402

PARSER = "qualvosec.yamlsubset"
LOOKUP = "qualvosec.manifest.lookup"


class Bug(NamedTuple):
    """Where, what is replaced (every occurrence), by what."""

    module: str
    old: str
    new: str


BUGS = (
    Bug(PARSER, '"yes", "no", "on", "off", ', ""),
    Bug(PARSER, 'r"0[0-7]?|', 'r"0[0-9]?|'),
    Bug(PARSER, 'r"0[0-7]?|', 'r"0[0-7]*|'),
    Bug(PARSER, "(?: :[0-9]+ )+", "(?: :[0-9]{9} )+"),
    Bug(PARSER, "[0-9]{4} - [0-9]", "[0-9]{9} - [0-9]"),
    Bug(PARSER, "[0-9][0-9_]* (?: \\.[0-9_]* )? (?: e", "[0-9][0-9_]* (?: e"),
    Bug(PARSER, "elif key in self.box:", "elif False:"),
    Bug(PARSER, "if key not in box:", "if True:"),
    Bug(PARSER, 'r"(?:[ \\t]+#.*)?$"', 'r"(?:.*#.*)?$"'),
    Bug(PARSER, 'single.replace("\'\'", "\'")', "single"),
    Bug(PARSER, '\\\\["\\\\])*)"', '\\\\.)*)"'),
    Bug(PARSER, "        if indent != self.indent:", "        if False:"),
    Bug(PARSER, "\"',?\\t]*", "\"',\\t]*"),
    Bug(PARSER, "if kind == START and self.started:", "if False:"),
    Bug(PARSER, "if _DOCUMENT.match(line):", "if False:"),
    Bug(PARSER, "\\x7f-\\x9f", "\\x7f-\\x84\\x86-\\x9f"),
    Bug(PARSER, 'start = 1 if text.startswith("\\ufeff") else 0', "start = 0"),
    Bug(PARSER, "if not isinstance(key, str) or", "key = str(key)\n    if"),
    Bug(PARSER, "not starts_entry(faulty)", "True"),
    Bug(PARSER, "\"\\t\" in text", "False"),
    Bug(LOOKUP, "self._proved_closed(text)", "pass"),
    Bug(LOOKUP, '"[^"\\\\\\n:#]*"', '"[^"\\\\\\n]*"'),
    Bug(LOOKUP, "'[^'\\n:#]*'", "'[^'\\n]*'"),
    Bug(LOOKUP, "'[^]['\\n:#,?{}]*'", "'[^]['\\n:#?{}]*'"),
    Bug(LOOKUP, "(?:[^\"'[{\\n]*[ \\t])?#", "(?:[^\"'[{\\n]*)?#"),
    Bug(LOOKUP, "if name in self.blocks:", "if False:"),
    Bug(LOOKUP, "(?i:%s)", "(?:%s)"),
    Bug(LOOKUP, "(?![\"']?(?i:", "(?!(?i:"),
    Bug(LOOKUP, 'end = piece.rfind(b"\\n") + 1', "end = len(piece)"),
    Bug(LOOKUP, "_UNREADABLE.search(text)", "None"),
    Bug(LOOKUP, "start if not block.pieces else 0", "start"),
    Bug(LOOKUP, "raise ManifestError(str(fault)) from None\n        name =",
        "return None\n        name ="),
    Bug(LOOKUP, "own_fault = own_fault or str(fault)", "continue"),
    Bug(LOOKUP, 'self.line += text.count("\\n") - 1', 'self.line += text.count("\\n")'),
)


def source(module: str) -> str:
    with open(os.path.join(LIB, *module.split(".")) + ".py", encoding="utf-8") as stream:
        return stream.read()


def load(module: str, text: str) -> types.ModuleType:
    """Put a module made of this text in place of the real one."""
    fresh = types.ModuleType(module)
    sys.modules[module] = fresh
    package, _, name = module.rpartition(".")
    setattr(sys.modules[package], name, fresh)
    setattr(agreement, name, fresh)
    exec(compile(text, module, "exec"), fresh.__dict__)  # noqa: S102
    return fresh


def sow(bug: Bug) -> None:
    """Load parser and lookup with one bug in them."""
    for module in (PARSER, LOOKUP):
        text = source(module)
        if module == bug.module:
            if bug.old not in text:
                raise SystemExit("teeth: no %r in %s: sow another bug" % (bug.old, module))
            text = text.replace(bug.old, bug.new)
        load(module, text)


def caught(seed: int, cases: int) -> str:
    """How the fuzzer caught the bug; empty when it did not in so many cases."""
    for number in range(cases):
        data = fuzz_manifest.case(seed, number)
        try:
            fuzz_manifest.check(data, number)
        except Exception as error:  # a crash is a catch, too
            return "case %d: %s: %.70s" % (number, type(error).__name__, error)
    return ""


def main(argv: List[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=20000, help="for each bug at most")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv[1:])
    missed = 0
    for bug in BUGS:
        sow(bug)
        how = caught(options.seed, options.cases)
        missed += not how
        print("%-28s %-50.50r %s" % (bug.module, bug.old, how or "NOT CAUGHT"), flush=True)
    print("teeth: %d bugs sown, %d caught" % (len(BUGS), len(BUGS) - missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
