# SPDX-License-Identifier: BSD-2-Clause
"""Whether the lookup and the parser agree on a text, and whether their messages are safe.

Standard library only; the comparison with another YAML reader is in oracle.py.
"""

import os
import re
from typing import Dict
from typing import Iterable
from typing import List
from typing import NamedTuple
from typing import Tuple

from qualvosec import yamlsubset
from qualvosec.manifest import lookup
from qualvosec.manifest.schema import DEFAULTS
from qualvosec.manifest.schema import GROUPS
from qualvosec.manifest.schema import HEADER
from qualvosec.manifest.schema import fold

from tests import DATA

CORPUS = os.path.join(DATA, "yamlsubset")
Answer = Tuple[str, lookup.Found]


_NAME = re.compile(rb"""^["']?([A-Za-z0-9][A-Za-z0-9.-]*)["']?[ \t]*:""", re.MULTILINE)


class Disagreement(Exception):
    """Two readings of one text differ, or a message is not fit for a terminal."""


def names(data: bytes) -> List[str]:
    """What looks like a host name in column 1, and one name that is absent."""
    return sorted({name.decode("ascii") for name in _NAME.findall(data)}) + ["absent.example.org"]


class Parsed(NamedTuple):
    """What the parser makes of a text, without the entries that have a fault."""

    value: object
    accepted: bool
    marks: Dict[yamlsubset.Path, yamlsubset.Mark]

    def entries(self) -> object:
        return {} if self.value is None and not self.accepted else self.value


def parsed(data: bytes) -> Parsed:
    """Parse with and without positions, raising and collecting: it has to say the same."""
    faults: List[yamlsubset.YamlError] = []
    value = yamlsubset.load(data, None, faults)
    for fault in faults:
        if unsafe(str(fault)) or fault.line < 1 or fault.column < 1:
            raise Disagreement("unsafe message: %r" % str(fault))
    again: List[yamlsubset.YamlError] = []
    marks: Dict[yamlsubset.Path, yamlsubset.Mark] = {}
    if repr(yamlsubset.load(data, marks, again)) != repr(value) or list(map(str, again)) != list(
        map(str, faults)
    ):
        raise Disagreement("positions change what is read: %s, %s" % (faults, again))
    try:
        first = ""
        yamlsubset.load(data)
    except yamlsubset.YamlError as error:
        first = str(error)
    if first != (str(faults[0]) if faults else ""):
        raise Disagreement("raised %r, collected %s" % (first, faults))
    return Parsed(value, not faults, marks)


def answers(data: bytes, names: Iterable[str], window: int) -> List[Answer]:
    """The lookups that are answered, the same whatever the size of the windows."""
    found: List[Answer] = []
    for name in names:
        results = []
        for size in (window, lookup.WINDOW_BYTES):
            try:
                results.append(lookup.find(lookup.chunks_of(data, size), name))
            except lookup.ManifestError as error:
                if unsafe(str(error)):
                    raise Disagreement("unsafe message: %r" % str(error)) from None
                results.append(None)
        if repr(results[0]) != repr(results[1]):
            raise Disagreement("lookup of %r with windows of %d: %r" % (name, window, results))
        if results[0] is not None:
            found.append((name, results[0]))
    return found


def check_places(found: List[Answer], whole: Parsed) -> None:
    """Compare the places that the lookup gives with those in the whole file."""
    for name, answer in found:
        for path, mark in answer.marks.items():
            if not answer.own_fault and whole.marks.get(path, mark) != mark:
                wrong = "%s at %s instead of %s" % (path, mark, whole.marks[path])
                raise Disagreement("lookup of %r: %s" % (name, wrong))


def check_answers(found: List[Answer], root: object, who: str) -> None:
    """Compare answers of the lookup with the whole file as `who` reads it."""
    for name, answer in found:
        wrong = differs(answer, name, root, who)
        if wrong:
            raise Disagreement("lookup of %r: %s" % (name, wrong))


def unsafe(message: str) -> bool:
    """Whether a message is not one short printable line."""
    return not message.isprintable() or len(message) > 250 or not message


def differs(found: lookup.Found, name: str, root: object, who: str) -> str:
    """How an answer of the lookup differs from the whole file as somebody else reads it."""
    if found.own_fault:
        return "unsafe message" if unsafe(found.own_fault) else ""
    if not isinstance(root, dict):
        return "an answer, while %s reads %.100r" % (who, root)
    same = [key for key in root if isinstance(key, str) and fold(key) == fold(name)]
    if len(same) != (1 if found.host_line else 0):
        return "listed: %r, %s has %r" % (found.host_line, who, same)
    pairs = [(found.header, root.get(HEADER, {}))]
    if same:
        pairs += [(found.host, root[same[0]]), (found.defaults, root.get(DEFAULTS, {})),
                  (found.groups, root.get(GROUPS, {}))]
    for mine, other in pairs:
        if repr(mine) != repr(other):
            return "%.200r, %s has %.200r" % (mine, who, other)
    return ""
