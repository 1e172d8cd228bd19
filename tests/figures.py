# SPDX-License-Identifier: BSD-2-Clause
"""How large the house is and how its rooms hang together: `python3 tests/figures.py [TREE]`.

Counted in the text of lib/qualvosec (of this checkout or of another one), except for what runs
as root: that is taken from the modules which an interpreter has really loaded. Lines of code are
lines that hold code; blank lines, comments, docstrings and imports do not count.
"""

import ast
import builtins
import collections
import os
import subprocess
import sys
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Set
from typing import Tuple

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tests import ROOT
from tests import rules

OUTCOMES = {"partial", "interrupted", "unsupported", "locked"}
FRONT = "import qualvosec.helper.front"
APT = ("import qualvosec.helper.transaction; from qualvosec.helper import managers; "
       "from qualvosec.helper.managers import base; managers.KINDS['apt'].make(base.World())")


class Class(NamedTuple):
    """One class: its name, its room ("" for a leaf), its module, and whether it is an error."""

    name: str
    room: str
    module: str
    error: bool


def lines(source: rules.Source) -> int:
    """Return the number of lines that hold code and are no import."""
    held = rules.code_line_numbers(source.text)
    for node in ast.walk(source.syntax):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            held -= set(range(node.lineno, rules.last_line(node) + 1))
    return len(held)


def classes(tree: str) -> List[Class]:
    """Return every class of lib/; an error is what inherits from an exception."""
    found = []
    bases: Dict[str, Set[str]] = {}
    for source in rules.sources(tree):
        for node in ast.walk(source.syntax):
            if isinstance(node, ast.ClassDef) and source.name:
                named = {base.id if isinstance(base, ast.Name) else base.attr
                         for base in node.bases if isinstance(base, (ast.Name, ast.Attribute))}
                bases.setdefault(node.name, set()).update(named)
                found.append((node.name, rules.room_of(source), source.name, named))

    def is_error(name: str) -> bool:
        known = getattr(builtins, name, None)
        if isinstance(known, type) and issubclass(known, BaseException):
            return True
        return any(is_error(base) for base in bases.get(name, ()) if base != name)

    return [Class(name, room, module, any(is_error(base) for base in named))
            for name, room, module, named in found]


def shared_names(found: List[Class]) -> Tuple[List[str], List[str]]:
    """Return the class names that stand twice in one room, and those that stand twice at all."""
    in_room = collections.Counter((each.room, each.name) for each in found)
    anywhere = collections.Counter(each.name for each in found)
    return (sorted("%s/%s" % pair for pair, count in in_room.items() if count > 1),
            sorted(name for name, count in anywhere.items() if count > 1))


def outcome_files(tree: str) -> List[str]:
    """Return the files whose code lists outcome words: two and more of them as whole strings."""
    return [source.path for source in rules.sources(tree) if len(OUTCOMES & texts(source)) > 1]


def texts(source: rules.Source) -> Set[str]:
    """Return the texts that stand alone in a file's code; before 3.8 they are ast.Str."""
    return {value for node in ast.walk(source.syntax)
            for value in (getattr(node, "value", None), getattr(node, "s", None))
            if isinstance(value, str)}


def arrows(tree: str, room: str) -> List[Tuple[str, str]]:
    """Return who imports whom inside a room, folders and single files of it being its parts."""
    found = set()
    modules = {os.path.splitext(source.name)[0].replace(os.sep, ".")
               for source in rules.sources(tree) if source.name}
    for source in rules.sources(tree):
        if rules.room_of(source) != room:
            continue
        for name in rules.imports(source):
            target = name[len("qualvosec."):] if name.startswith("qualvosec.") else ""
            if target.startswith(room + ".") and (
                    target in modules or target + ".__init__" in modules):
                found.add((part_of(source.name.replace(os.sep, ".")[:-3]), part_of(target)))
    return sorted(pair for pair in found if pair[0] != pair[1])


def part_of(module: str) -> str:
    """Return the folder or, where there is none, the file inside its room."""
    return module.split(".")[1]


def circles(pairs: List[Tuple[str, str]]) -> List[str]:
    """Return the parts that reach themselves along the arrows."""
    after: Dict[str, Set[str]] = collections.defaultdict(set)
    for source, target in pairs:
        after[source].add(target)
    found = []
    for start in sorted(after):
        seen: Set[str] = set()
        todo = list(after[start])
        while todo:
            part = todo.pop()
            if part not in seen:
                seen.add(part)
                todo.extend(after.get(part, ()))
        if start in seen:
            found.append(start)
    return found


def loaded(tree: str, statement: str) -> Dict[str, int]:
    """Return the modules of ours that a statement has loaded, with their lines of code.

    Adapters are imported by name at run time: no reading of the source sees them.
    """
    code = ("import sys; sys.path.insert(0, %r); %s; print(chr(10).join(sorted(m.__file__ for n, m "
            "in sys.modules.items() if n.startswith('qualvosec') and m.__file__)))" % (
                os.path.join(tree, "lib"), statement))
    done = subprocess.run([sys.executable, "-IBS", "-c", code], timeout=60,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError("the modules of %r cannot be told" % statement)
    by_path = {source.path: source for source in rules.sources(tree)}
    counted = {}
    for name in done.stdout.decode("utf-8").split("\n"):
        if name:
            path = os.path.relpath(name, tree)
            counted[path] = lines(by_path[path])
    return counted


def main(argv: List[str]) -> int:
    """Print the figures of a tree; returns 0."""
    tree = os.path.abspath(argv[0]) if argv else ROOT
    found = classes(tree)
    in_room, anywhere = shared_names(found)
    words = outcome_files(tree)
    print("lines of code in lib/: %d" % sum(
        lines(source) for source in rules.sources(tree) if source.name))
    print("classes / of these exceptions: %d / %d" % (
        len(found), sum(each.error for each in found)))
    print("class names with two meanings in one room: %d: %s" % (len(in_room), ", ".join(in_room)))
    print("class names with two meanings anywhere: %d: %s" % (len(anywhere), ", ".join(anywhere)))
    print("files that list outcome words: %d: %s" % (len(words), ", ".join(words)))
    for room in ("client", "admin", "helper", "manifest"):
        pairs = arrows(tree, room)
        print("import arrows inside %s: %d, in circles: %s" % (
            room, len(pairs), ", ".join(circles(pairs)) or "none"))
    for what, statement in (("front", FRONT), ("transaction with apt", APT),
                            ("two together", FRONT + "; " + APT)):
        counted = loaded(tree, statement)
        print("code loaded as root by the %s: %d lines in %d modules" % (
            what, sum(counted.values()), len(counted)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
