# SPDX-License-Identifier: BSD-2-Clause
"""The rules that keep the source in order, each a function from a tree to its faults.

A tree is a directory with lib/qualvosec/ and bin/. A fault is one line that
names the file. tests/test_rules.py holds the project to them and shows on small
trees that each of them can fail.
"""

import ast
import functools
import importlib.util
import io
import os
import sys
import sysconfig
import tokenize
from typing import Dict
from typing import FrozenSet
from typing import Iterator
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Set
from typing import Tuple

MAX_MODULE_LINES = 399
MAX_FUNCTION_LINES = 59
BUDGETS = (
    ("what sudo may start", 200, ("helper/front.py", "helper/request.py"), ()),
    ("all that runs as root", 804, ("helper/",), ("helper/managers/",)),
    ("what root shares with the client", 226, ("contract/",), ()),
)
NAMELESS = {"utils", "util", "common", "helpers", "misc"}
ROOMS = {"contract": {"contract"}, "manifest": {"manifest", "contract"},
         "client": {"client", "manifest", "contract"}, "admin": {"admin", "manifest", "contract"},
         "server": {"server", "contract"}, "helper": {"helper", "contract"}}
CONTRACT_MAY_USE = {"json", "re", "typing"}
ROOT_MAY_USE = {"files", "ini", "log", "command", "paths"}
NEVER_RESIDENT = {"ssl", "urllib", "http", "email", "argparse", "configparser", "logging.handlers",
                  "random", "hashlib", "tempfile", "shutil", "pathlib", "qualvosec.yamlsubset"}
# Since 3.7 or later; 3.6 stops at the syntax by itself but not at these.
TOO_NEW_ARGUMENTS = {"capture_output", "text"}
HEADER = "# SPDX-License-Identifier: BSD-2-Clause"


class Source(NamedTuple):
    """One file of Python: its path below the tree and below the package."""

    path: str
    name: str
    text: str
    syntax: ast.Module


def sources(tree: str) -> List[Source]:
    """Every module below lib/qualvosec and every program in bin/."""
    found = []
    package = os.path.join(tree, "lib", "qualvosec")
    for folder, folders, names in os.walk(package):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".py"):
                found.append(_read(tree, os.path.join(folder, name), package))
    programs = os.path.join(tree, "bin")
    for name in sorted(os.listdir(programs)) if os.path.isdir(programs) else ():
        if os.path.isfile(os.path.join(programs, name)):
            found.append(_read(tree, os.path.join(programs, name), ""))
    return found


def _read(tree: str, path: str, package: str) -> Source:
    with open(path, encoding="utf-8") as handle:
        text = handle.read()
    name = os.path.relpath(path, package) if package else ""
    return Source(os.path.relpath(path, tree), name, text, _syntax(text))


@functools.lru_cache(maxsize=None)
def _syntax(text: str) -> ast.Module:
    """Each text is taken apart once, however many rules look at it."""
    return ast.parse(text)


@functools.lru_cache(maxsize=None)
def imports(source: Source) -> FrozenSet[str]:
    """The dotted names that a file imports anywhere, `from a import b` as both a and a.b."""
    found: Set[str] = set()
    for node in ast.walk(source.syntax):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found.add(base)
            found.update("%s.%s" % (base, alias.name) for alias in node.names)
    return frozenset(found)


def room_of(source: Source) -> str:
    """The room of a module, "" for a leaf or a program."""
    return source.name.split(os.sep)[0] if os.sep in source.name else ""


def import_faults(tree: str) -> List[str]:
    """Who imports whom: leaves nothing of the project, rooms themselves and leaves."""
    faults = []
    for source in sources(tree):
        used = {name.split(".")[1] for name in imports(source) if name.startswith("qualvosec.")}
        if any(name.startswith(".") for name in imports(source)):
            faults.append("%s: relative import: write the whole name" % source.path)
        room = room_of(source)
        if not source.name:
            continue
        if not room:
            wrong = used
        elif room == "contract":
            # What it may use of the standard library opens, runs and writes nothing.
            wrong = (used - ROOMS["contract"]) | {name for name in imports(source) if name.split(
                ".")[0] not in CONTRACT_MAY_USE | {"qualvosec"}}
        elif room == "helper":
            wrong = used - ROOMS["helper"] - ROOT_MAY_USE
        else:
            wrong = (used & set(ROOMS)) - ROOMS.get(room, set())
        if wrong:
            faults.append("%s: may not import %s" % (source.path, ", ".join(sorted(wrong))))
    return faults


def foreign_faults(tree: str) -> List[str]:
    """Nothing but the standard library and the project."""
    return ["%s: %s is not in the standard library" % (source.path, name)
            for source in sources(tree)
            for name in sorted({full.split(".")[0] for full in imports(source)})
            if name and name != "qualvosec" and not is_standard(name)]


def is_standard(name: str) -> bool:
    """Say whether this interpreter's own library has a module of that name."""
    if name in sys.builtin_module_names:
        return True
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return False
    if spec.origin in ("built-in", "frozen"):
        return True
    homes = tuple(os.path.realpath(sysconfig.get_path(key)) + os.sep
                  for key in ("stdlib", "platstdlib"))
    origin = os.path.realpath(spec.origin)
    return origin.startswith(homes) and not {"site-packages", "dist-packages"} & set(
        origin.split(os.sep))


def code_lines(text: str) -> int:
    """How many lines hold code: no blanks, no comments, no strings that stand alone."""
    return len(code_line_numbers(text))


@functools.lru_cache(maxsize=None)
@functools.lru_cache(maxsize=None)
def code_line_numbers(text: str) -> FrozenSet[int]:
    """The numbers, from 1, of the lines that hold code."""
    held: Set[int] = set()
    pending: Optional[tokenize.TokenInfo] = None
    fresh = True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER):
            continue
        if token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            # A string that is a whole statement is documentation.
            fresh, pending = True, None
            continue
        if token.type == tokenize.STRING and fresh:
            pending, fresh = token, False
            continue
        fresh = False
        for each in (pending, token):
            if each is not None:
                held.update(range(each.start[0], each.end[0] + 1))
        pending = None
    return frozenset(held)


def budget_faults(tree: str) -> List[str]:
    """What runs as root can be read in one sitting."""
    counted = {source.name.replace(os.sep, "/"): code_lines(source.text)
               for source in sources(tree) if source.name}
    faults = []
    for what, most, of, without in BUDGETS:
        total = sum(count for name, count in counted.items()
                    if name.startswith(of) and not name.startswith(tuple(without) or ("/",)))
        if total > most:
            faults.append("%s: %d lines of code, at most %d are allowed" % (what, total, most))
    return faults


def length_faults(tree: str) -> List[str]:
    """No long module, no long function."""
    faults = []
    for source in sources(tree):
        lines = source.text.count("\n")
        if lines > MAX_MODULE_LINES:
            faults.append("%s: %d lines" % (source.path, lines))
        for node in ast.walk(source.syntax):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = last_line(node) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    faults.append("%s: %s() has %d lines" % (source.path, node.name, length))
    return faults


def last_line(node: ast.AST) -> int:
    """Return the number of the last line of a piece of source."""
    # end_lineno came with 3.8; before, the last expression's line is close enough.
    return max(int(getattr(each, name, None) or 0)
               for each in ast.walk(node) for name in ("end_lineno", "lineno"))


def header_faults(tree: str) -> List[str]:
    """Licence first, then the contract; names that say something."""
    faults = []
    for source in sources(tree):
        lines = source.text.split("\n")
        if HEADER not in lines[:2] or (lines[0] != HEADER and not lines[0].startswith("#!")):
            faults.append("%s: has no SPDX line at its top" % source.path)
        if not ast.get_docstring(source.syntax):
            faults.append("%s: has no docstring" % source.path)
        if os.path.splitext(os.path.basename(source.path))[0] in NAMELESS:
            faults.append("%s: is named after nothing" % source.path)
    return faults


def call_faults(tree: str) -> List[str]:
    """Calls that mean something else on an older Python or under another locale."""
    faults = []
    for source in sources(tree):
        for node in ast.walk(source.syntax):
            if not isinstance(node, ast.Call):
                continue
            named = {keyword.arg for keyword in node.keywords}
            where = "%s:%d" % (source.path, node.lineno)
            if isinstance(node.func, ast.Name) and node.func.id == "open" and not (
                    "encoding" in named or _is_binary(node)):
                faults.append("%s: open() of text without an encoding" % where)
            if _is_subprocess(node.func) and named & TOO_NEW_ARGUMENTS:
                faults.append("%s: argument that Python 3.6 does not know" % where)
            if "shell" in named and _is_subprocess(node.func):
                faults.append("%s: a shell" % where)
    return faults


def _is_binary(node: ast.Call) -> bool:
    modes = node.args[1:2] + [keyword.value for keyword in node.keywords if keyword.arg == "mode"]
    return any("b" in str(ast.literal_eval(mode)) for mode in modes)


def _is_subprocess(function: ast.expr) -> bool:
    return (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
            and function.value.id == "subprocess")


def log_faults(tree: str) -> List[str]:
    """An event is a fixed text that can be searched for; what varies goes behind `key=`."""
    faults = []
    for source in sources(tree):
        for node in ast.walk(source.syntax):
            if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                    and isinstance(node.func.value, ast.Name) and node.func.value.id == "log"
                    and node.func.attr in ("debug", "info", "warning", "error", "critical")
                    and not isinstance(node.args[0] if node.args else None,
                                       (ast.Str if sys.version_info < (3, 8) else ast.Constant))):
                faults.append("%s:%d: the event of a log line is no fixed text" % (
                    source.path, node.lineno))
    return faults


def version_places(tree: str, version: str) -> List[str]:
    """The files whose code holds the version's number; an example in a docstring may."""
    found = []
    for source in sources(tree):
        held = code_line_numbers(source.text)
        if any(version in line and number in held
               for number, line in enumerate(source.text.split("\n"), 1)):
            found.append(source.path)
    return found


def closure_faults(tree: str, start: str = "qualvosec.client.daemon") -> List[str]:
    """What the resident daemon would ever import, also inside functions."""
    by_name: Dict[str, Source] = {}
    for source in sources(tree):
        if source.name:
            dotted = "qualvosec." + source.name[:-3].replace(os.sep, ".")
            by_name[dotted[:-9] if dotted.endswith(".__init__") else dotted] = source
    return ["%s imports %s" % pair for pair in sorted(set(_walk_imports(by_name, start)))
            if any(pair[1] == no or pair[1].startswith(no + ".") for no in NEVER_RESIDENT)]


def _walk_imports(by_name: Dict[str, Source], start: str) -> Iterator[Tuple[str, str]]:
    seen: Set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name in seen or name not in by_name:
            continue
        seen.add(name)
        for other in imports(by_name[name]):
            yield by_name[name].path, other
            todo.append(other)
