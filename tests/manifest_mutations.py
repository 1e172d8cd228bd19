# SPDX-License-Identifier: BSD-2-Clause
"""Small manifests with faults and traps in them, the same for the same seed; standard library only.

Each text starts as a plausible manifest; then lines and characters are changed in the ways that
administrators, editors and attackers change them. What is aimed at: text that one reader takes for
an entry and another for a part of something else.
"""

import os
import random
from typing import List

from tests import DATA
from tests import manifest_samples


def _read(name: str) -> List[str]:
    """One text a line, in Python's escapes; so that control characters can be seen."""
    with open(os.path.join(DATA, "yamlsubset", name), encoding="ascii") as stream:
        return [line.rstrip("\n").encode("ascii").decode("unicode_escape") for line in stream]


LONG = ["x" * 300, "9" * 400, "[" * 50, "- " * 40, '"' + "a" * 300]
SCALARS = _read("scalars.txt") + LONG
LINES = _read("lines.txt") + ["x" * 300 + ":"]
CHARACTERS = list("\"'[]{}#:-,|>&*!%@`?~=<\\ \t\n\r\n\n\0\u0085\u2028\ufeff\u00a0a0") + [
    "  ", ": ", " #", "- ", "\r\n"]


def base(rng: random.Random) -> List[str]:
    """The lines of a manifest with one to three hosts."""
    lines = manifest_samples.HEAD.split("\n") if rng.random() < 0.2 else []
    if rng.random() < 0.2:
        lines.insert(0, rng.choice(["---", "--- # fleet", "# fleet", "", "\ufeff# fleet"]))
    for number in range(rng.choice([1, 2, 2, 3])):
        entry = manifest_samples.entry(number, rng)
        name = manifest_samples.host_name(number)
        lines += [line.replace(name, "web%d.example.org" % number) for line in entry]
    return lines


def _set_value(lines: List[str], rng: random.Random) -> None:
    """Another value for a field or an item."""
    at = rng.randrange(len(lines))
    head, mark, _ = lines[at].partition(": " if ": " in lines[at] else "- ")
    if mark:
        lines[at] = head + mark + rng.choice(SCALARS)
    else:
        lines.insert(at, "  x-note: " + rng.choice(SCALARS))


def _add_line(lines: List[str], rng: random.Random) -> None:
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(LINES))


def _move_lines(lines: List[str], rng: random.Random) -> None:
    """Delete, repeat, swap or shift lines."""
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    how = rng.randrange(5)
    if how == 0 and len(lines) > 1:
        del lines[at]
    elif how == 1:
        lines.insert(other, lines[at])
    elif how == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif how == 3:
        lines[at] = rng.choice([" ", "  ", "   ", "\t", "- "]) + lines[at]
    else:
        lines[at] = lines[at][rng.randrange(1, 4) :]


def _swallow(lines: List[str], rng: random.Random) -> None:
    """Open something in one line and close it in a later one, around whatever is between."""
    first = rng.randrange(len(lines))
    last = rng.randrange(first, len(lines))
    opening, closing = rng.choice(["''", '""', "[]", "{}", ["[\"", "\"]"], ["|", ""], [">-", ""],
                                    ["[it's, 'b]", "']"], ['[it"s, "b]', '"]']])
    field = rng.choice(["%s", "  x: %s", "  x: %s", "  - %s", "x: %s", "- %s", "  # %s",
                        "  x#'y: %s", "  it\"s: %s", "  it's: %s"])
    tail = rng.choice(["%s", "%s", "# %s", "  %s", "x: %s", "  x: a %s", "%s: a", "%s # b",
                       "web1.example.org: %s"])
    lines.insert(last, tail % closing)
    lines.insert(first, field % (opening + rng.choice(["", "a", "a: b", "a, b", "a #", " "])))


def _duplicate(lines: List[str], rng: random.Random) -> None:
    """A host once more, in another spelling or the same."""
    style = rng.choice(["%s:", '"%s":', "'%s':", "%s :", "%s.:", " %s:", "- %s:", "%s: a", "? %s",
                        "%s:  # x", "%s:\t"])
    name = "web%d.example.org" % rng.randrange(3)
    name = rng.choice([name, name.upper(), name.title(), name.replace(".", "\\x2e")])
    lines.insert(rng.randrange(len(lines) + 1), style % name)


def mutated(rng: random.Random) -> bytes:
    """A manifest with one to four changes, and the characters that line ends are made of."""
    lines = base(rng)
    steps = [_set_value, _set_value, _add_line, _move_lines, _swallow, _duplicate]
    for _ in range(rng.choice([1, 1, 1, 1, 2, 2, 3])):
        rng.choice(steps)(lines, rng)
    end = "\r\n" if rng.random() < 0.1 else "\n"
    text = end.join(lines) + (end if rng.random() < 0.9 else "")
    if rng.random() < 0.15:
        for _ in range(rng.choice([1, 1, 2])):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(CHARACTERS + [""]) + text[at + rng.randrange(3) :]
    if rng.random() < 0.03:
        text = text.replace(end, rng.choice(["\r", "\u0085", "\n\r", "\n\n"]), rng.randrange(1, 4))
    if rng.random() < 0.03:
        text = "\ufeff" + text
    data = text.encode("utf-8", "replace")
    if rng.random() < 0.02:
        at = rng.randrange(len(data) + 1)
        data = data[:at] + bytes([rng.randrange(256)]) + data[at:]
    return data
