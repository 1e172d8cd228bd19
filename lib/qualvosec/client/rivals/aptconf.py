# SPDX-License-Identifier: BSD-2-Clause
"""apt's configuration, merged from its files in apt's own order, as far as values go.

First /etc/apt/apt.conf.d in the order of the names, then /etc/apt/apt.conf; a later value
wins. Names are compared without case and returned in lower case; with each value goes
the file that it comes from. Lists and #include are left out: nothing here
needs them. Facts: apt.conf(5).
"""

import re
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec.client.rivals.systemfiles import Tree

PARTS = "etc/apt/apt.conf.d"
MAIN = "etc/apt/apt.conf"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
# Comments, a quoted text, a mark, a word; a lone # at the start of a line is a comment, too.
_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|\#clear\b|\#[^\n]*|"[^"\n]*"|[{};]|[^\s{};"]+', re.S)


class Value(NamedTuple):
    """A value and the file that set it last, a path below the root."""

    text: str
    path: str


def read(tree: Tree) -> Dict[str, Value]:
    """Return {lower-case name: value} of the configuration in force."""
    found: Dict[str, Value] = {}
    for path in _files(tree):
        for name, text in parse(tree.read(path)):
            if text is None:
                for key in [key for key in found if (key + "::").startswith(name + "::")]:
                    del found[key]
            else:
                found[name] = Value(text, path)
    return found


def _files(tree: Tree) -> List[str]:
    names = [name for name in tree.names(PARTS) if _NAME.fullmatch(name)
             and (name.endswith(".conf") or "." not in name)]
    return [PARTS + "/" + name for name in names] + [MAIN]


def parse(text: str) -> List[Tuple[str, Optional[str]]]:
    """Return (lower-case name, value) in order; a value of None clears name and what is below."""
    found: List[Tuple[str, Optional[str]]] = []
    scopes: List[str] = []
    words: List[str] = []
    for token in _TOKEN.findall(text):
        if token.startswith(("//", "/*")) or (token[0] == "#" and token != "#clear"):
            continue
        if token == "{":
            scopes.append(words[0] if words else "")
            words = []
        elif token in "};":
            if words:
                found.extend(_statement(scopes, words))
            words = []
            if token == "}":
                del scopes[-1:]
        else:
            words.append(token)
    return found


def _statement(scopes: List[str], words: List[str]) -> List[Tuple[str, Optional[str]]]:
    if words[0] == "#clear":
        return [("::".join(scopes + [word]).lower(), None) for word in words[1:]]
    if len(words) < 2:
        return []
    return [("::".join(scopes + words[:1]).lower(), words[1].strip('"'))]
