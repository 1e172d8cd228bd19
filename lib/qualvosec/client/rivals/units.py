# SPDX-License-Identifier: BSD-2-Clause
"""What systemd starts on this host by itself: enabled timers and services.

Read from the unit files and the links that `systemctl enable` and `mask` leave, without
asking systemd: an ordinary user in a sandbox can do that, and a test in a tree of files.
A unit counts as enabled when a link in a .wants or .requires directory names it and it is
not masked. Presets do not count: they act only when a package is installed, and then as
such links. Facts: systemd.unit(5), systemd.timer(5), systemctl(1).
"""

import shlex
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Tuple

from qualvosec.client.rivals.systemfiles import Tree

# By precedence: what an earlier one holds hides the same name in the later ones.
FOLDERS = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system",
           "usr/lib/systemd/system", "lib/systemd/system")
_NOTHING = "dev/null"
# Wanted only while an offline update is installed.
_NOT_A_BOOT = ("system-update.target.wants",)


class Start(NamedTuple):
    """An enabled timer or service, its command lines as words, the command that stops it."""

    name: str
    commands: Tuple[Tuple[str, ...], ...]
    off: str


def running(tree: Tree) -> bool:
    """Say whether systemd is what booted this system, see sd_booted(3)."""
    return tree.folder("run/systemd/system")


def enabled(tree: Tree, name: str) -> bool:
    """Say whether systemd starts the unit by itself."""
    return running(tree) and name in _wanted(tree) and bool(_unit(tree, name))


def starts(tree: Tree) -> List[Start]:
    """Return what systemd starts by itself, at times or at boot."""
    found = []
    for name, by_vendor in sorted(_wanted(tree).items()) if running(tree) else ():
        unit = _unit(tree, name)
        if unit and name.endswith(".timer"):
            unit = _unit(tree, (unit.get("Unit") or [name[:-len(".timer")] + ".service"])[-1])
        lines = unit.get("ExecStart", [])
        # What the vendor's own link enables cannot be disabled, only masked.
        found.append(Start(name, tuple(tuple(_words(line)) for line in lines if line),
                           "systemctl %s --now %s" % ("mask" if by_vendor else "disable", name)))
    return found


def _wanted(tree: Tree) -> Dict[str, bool]:
    """Return the units that a target or another unit pulls in; true: by a link of the vendor."""
    links: Dict[str, str] = {}
    for folder in FOLDERS:
        for target in tree.names(folder):
            if target.endswith((".wants", ".requires")) and target not in _NOT_A_BOOT:
                for name in tree.names(folder + "/" + target):
                    # By precedence: a link to nothing hides the vendor's of the same name.
                    links.setdefault(target + "/" + name, folder)
    found: Dict[str, bool] = {}
    for link, folder in links.items():
        if tree.real(folder + "/" + link) != _NOTHING:
            name = link.partition("/")[2]
            found[name] = found.get(name, False) or folder != FOLDERS[0]
    return found


def _unit(tree: Tree, name: str) -> Dict[str, List[str]]:
    """Return {key: values} of a unit with its drop-ins; empty if it is masked or missing."""
    stem, at, rest = name.partition("@")
    template = stem + at + "." + rest.rpartition(".")[2] if at else name
    for candidate in (name, template):
        for folder in FOLDERS:
            path = folder + "/" + candidate
            if tree.real(path) == _NOTHING:
                return {}
            if tree.exists(path):
                text = tree.read(path)
                return _keys([text] + _drop_ins(tree, candidate)) if text.strip() else {}
    return {}


def _drop_ins(tree: Tree, name: str) -> List[str]:
    places: Dict[str, str] = {}
    for folder in FOLDERS:
        for part in tree.names(folder + "/" + name + ".d"):
            if part.endswith(".conf"):
                places.setdefault(part, "%s/%s.d/%s" % (folder, name, part))
    return [tree.read(places[part]) for part in sorted(places)]


def _keys(texts: List[str]) -> Dict[str, List[str]]:
    """Return the values of each key in order; an empty value forgets the ones before it."""
    found: Dict[str, List[str]] = {"": []}
    for text in texts:
        for line in text.replace("\\\n", " ").split("\n"):
            key, equals, value = line.strip().partition("=")
            if not equals or key[:1] in "#;":
                continue
            found.setdefault(key.strip(), []).append(value.strip())
            if not value.strip():
                found[key.strip()] = []
    return found


def _words(line: str) -> List[str]:
    """Return the words of a command line without systemd's marks before the program."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    return [words[0].lstrip("@-:+!|")] + words[1:] if words else []
