#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Mutation fuzz of the manifest's parser and lookup: `fuzz_manifest.py [--cases N] [--seconds N]`.

Every text is read by the parser (raising and collecting, with and without positions) and looked
up in windows of 40 bytes and of full size; all have to agree, and with PyYAML wherever anything
was read. Case n of seed s is the same everywhere: `--seed S --only N` repeats one.
"""

import argparse
import os
import random
import sys
import time
from typing import List

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tests import manifest_mutations  # noqa: E402
from tests import oracle  # noqa: E402

WINDOWS = (40, 40, 97, 300)


def case(seed: int, number: int) -> bytes:
    return manifest_mutations.mutated(random.Random("%d %d" % (seed, number)))


def check(data: bytes, number: int) -> oracle.Verdict:
    """Raises agreement.Disagreement, or whatever the parser or the lookup should not raise."""
    window = WINDOWS[number % len(WINDOWS)]
    names = [("WEB0.example.org.", "web2.example.org", "absent.example.org")[number % 3],
             "web1.example.org"]
    return oracle.compare(data, window, names, lazy=True)


def main(argv: List[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, help="stop after so many (50000 without --seconds)")
    parser.add_argument("--seconds", type=float, help="stop after that time")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", type=int, help="run this one case and print it")
    options = parser.parse_args(argv[1:])
    if options.only is not None:
        data = case(options.seed, options.only)
        print(data.decode("utf-8", "backslashreplace"))
        print(check(data, options.only))
        return 0
    print("fuzz: seed %d" % options.seed)
    cases = options.cases or (sys.maxsize if options.seconds else 50000)
    end = time.monotonic() + (options.seconds or 1e9)
    number = accepted = lookups = wrong = 0
    while number < cases and time.monotonic() < end:
        data = case(options.seed, number)
        try:
            verdict = check(data, number)
            accepted += verdict.accepted
            lookups += verdict.lookups
        except Exception as error:  # a crash counts like a disagreement
            wrong += 1
            print("case %d: %s: %s\n%r" % (number, type(error).__name__, error, data))
        number += 1
    print("fuzz: %d cases, %d accepted, %d lookups answered, %d misread or crashed"
          % (number, accepted, lookups, wrong))  # fmt: skip
    return 1 if wrong or not accepted or not lookups else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
