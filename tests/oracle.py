#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Compare the YAML subset with PyYAML on every file below a directory: `tests/oracle.py [DIR]`.

Each file has to be read exactly as PyYAML's safe_load reads it, types and order included, or be
refused; the lookup has to answer what the parser answers, or refuse. One exception: tabs before a
comment or a line's end are white space here, as YAML 1.2 says; PyYAML is shown blanks in their
place. Prints each disagreement and a verdict; exit 0 none, 1 some, 2 nothing to compare.
"""

import os
import re
import sys
from typing import List
from typing import NamedTuple
from typing import Sequence
from typing import Tuple

import yaml

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tests import agreement  # noqa: E402

MAX_NAMES = 20
_TABS = re.compile(rb"[ \t]*\t[ \t]*(?=#|\r?$)", re.MULTILINE)


class Verdict(NamedTuple):
    """Who read the text, and how many lookups were answered."""

    accepted: bool
    reference: bool
    lookups: int


def reference_value(data: bytes) -> Tuple[bool, object]:
    """Whether PyYAML reads the text, and as what."""
    try:
        return True, yaml.safe_load(_TABS.sub(b" ", data))
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, KeyError, IndexError,
            AttributeError, OverflowError):  # fmt: skip
        return False, None


def compare(
    data: bytes, window: int = 40, names: Sequence[str] = (), lazy: bool = False
) -> Verdict:
    """The verdict on one text, raises Disagreement; `lazy`: ask PyYAML only about what was read."""
    whole = agreement.parsed(data)
    found = agreement.answers(data, names or agreement.names(data)[:MAX_NAMES], window)
    agreement.check_answers(found, whole.entries(), "the parser")
    agreement.check_places(found, whole)
    if lazy and not whole.accepted and not found:
        return Verdict(False, False, 0)
    loaded, expected = reference_value(data)
    if whole.accepted and not (loaded and repr(whole.value) == repr(expected)):
        raise agreement.Disagreement("%.200r, by PyYAML %.200r" % (whole.value, expected))
    if loaded:
        agreement.check_answers(found, expected, "PyYAML")
    return Verdict(whole.accepted, loaded, len(found))


def main(argv: List[str]) -> int:
    root = argv[1] if len(argv) > 1 else agreement.CORPUS
    if len(argv) > 2 or not os.path.isdir(root):
        print("usage: oracle.py [DIR]: a directory with YAML files", file=sys.stderr)
        return 2
    counts = {"files": 0, "accepted": 0, "reference": 0, "wrong": 0, "crashes": 0, "lookups": 0}
    for folder, _, files in sorted(os.walk(root)):
        for name in sorted(files):
            path = os.path.join(folder, name)
            with open(path, "rb") as stream:
                data = stream.read()
            counts["files"] += 1
            try:
                verdict = compare(data)
            except agreement.Disagreement as error:
                counts["wrong"] += 1
                print("%s: %s" % (path, error))
                continue
            except Exception as error:  # a crash is what this looks for: every kind counts
                counts["crashes"] += 1
                print("%s: crash: %r" % (path, error))
                continue
            counts["accepted"] += verdict.accepted
            counts["reference"] += verdict.reference
            counts["lookups"] += verdict.lookups
    if not counts["files"]:
        print("oracle: no files in %s" % root, file=sys.stderr)
        return 2
    print("oracle: %(files)d files, PyYAML reads %(reference)d, the subset %(accepted)d; "
          "%(lookups)d lookups; %(wrong)d disagreements, %(crashes)d crashes" % counts)  # fmt: skip
    return 1 if counts["wrong"] or counts["crashes"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
