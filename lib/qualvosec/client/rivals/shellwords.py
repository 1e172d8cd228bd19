# SPDX-License-Identifier: BSD-2-Clause
"""Which command lines of a shell install updates without asking anybody.

A line is cut into its simple commands; words that only start another command (sudo, env,
nice ...) are passed over. A package manager counts when it is told to upgrade and not
to ask, and neither only to download nor to simulate. What a line prints, quotes or
comments on does not count. Facts: the manual page of each program.
"""

import re
import shlex
from typing import Dict
from typing import FrozenSet
from typing import List
from typing import NamedTuple
from typing import Sequence
from typing import Tuple

_WRAPPERS = frozenset((
    "sudo", "doas", "env", "nice", "ionice", "nohup", "exec", "command", "time", "timeout",
    "flock", "chronic", "cronic", "systemd-inhibit", "systemd-cat", "run-parts", "if", "then",
    "do", "else", "!", "{"))
_SHELLS = ("sh", "bash", "dash", "ash", "ksh", "zsh")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.S)
_CLUSTER = re.compile(r"-[A-Za-z]{2,}")
_NUMBER = re.compile(r"[0-9]+[smhd]?")


class Tool(NamedTuple):
    """How a package manager is told to install: verbs, the words not to ask, words to do less.

    No verbs: it installs unless told otherwise. No `sure`: it never asks.
    """

    verbs: FrozenSet[str] = frozenset()
    sure: FrozenSet[str] = frozenset()
    idle: FrozenSet[str] = frozenset()


def _tool(verbs: str, sure: str, idle: str) -> Tool:
    return Tool(frozenset(verbs.split()), frozenset(sure.split()), frozenset(idle.split()))


_APT = _tool("upgrade dist-upgrade full-upgrade safe-upgrade", "-y --yes --assume-yes",
             "-s -d --simulate --just-print --dry-run --recon --no-act --download-only "
             "--print-uris")
_DNF = _tool("upgrade update distro-sync upgrade-minimal update-minimal", "-y --assumeyes",
             "--downloadonly --assumeno")
_PKG = _tool("upgrade", "-y --yes", "-n -F --dry-run --fetch-only")
TOOLS: Dict[str, Tool] = {
    "apt-get": _APT, "apt": _APT, "aptitude": _APT,
    "unattended-upgrade": _tool("", "", "--dry-run --download-only"),
    "unattended-upgrades": _tool("", "", "--dry-run --download-only"),
    "dnf": _DNF, "dnf5": _DNF, "yum": _DNF, "microdnf": _DNF,
    "zypper": _tool("up update patch dup dist-upgrade", "-n --non-interactive -y --no-confirm",
                    "-D -d --dry-run --download-only"),
    "apk": _tool("upgrade", "", "-s -i --simulate --interactive"),
    "pacman": _tool("", "--noconfirm", "-w -p --downloadonly --print"),
    "pkcon": _tool("update", "-y --noninteractive", "-d --only-download"),
    "pkg": _PKG, "pkg-static": _PKG,
    "freebsd-update": _tool("install", "", ""),
    "pkgin": _tool("upgrade ug full-upgrade fug", "-y", "-n -d"),
    "pkg_add": _tool("-u", "", "-n"),
    "syspatch": _tool("", "", "-c -l -r"),
    "transactional-update": _tool("up dup patch", "", ""),
    "auter": _tool("--apply", "", ""),
}
_SYSTEM_UPGRADE = re.compile(r"-S[a-z]*u[a-z]*|--sysupgrade")


def commands(line: str) -> List[List[str]]:
    """Return the simple commands of a shell line as words, without what only starts them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.wordchars += "@%+:,$"
    found: List[List[str]] = [[]]
    try:
        for word in lexer:
            if word.strip("();<>|&"):
                found[-1].append(word)
            else:
                found.append([])
    except ValueError:
        # An unfinished quotation: the rest of it stands on another line.
        found.append([])
    return [words for raw in found for words in _unwrapped(raw)]


def _unwrapped(words: List[str]) -> List[List[str]]:
    wrapped = False
    more: List[str] = []
    for place, word in enumerate(words):
        base = word.rpartition("/")[2]
        if _ASSIGNMENT.fullmatch(word):
            # The variable by which pkg(8) is told not to ask.
            more += ["-y"] if word.startswith("ASSUME_ALWAYS_YES=") else []
            continue
        if base in _SHELLS and "-c" in words[place:-1]:
            return commands(words[words.index("-c", place) + 1])
        if base in _WRAPPERS:
            wrapped = True
            continue
        if wrapped and base not in TOOLS and _is_option(word, words[place + 1:]):
            continue
        return [words[place:] + more]
    return []


def _is_option(word: str, later: Sequence[str]) -> bool:
    """Say whether the word still belongs to what starts another command."""
    return (word.startswith("-") or _NUMBER.fullmatch(word) is not None
            or any(other.rpartition("/")[2] in TOOLS for other in later))


def options(words: Sequence[str]) -> FrozenSet[str]:
    """Return the words behind the program; -qy counts as -q, -y and -qy."""
    found = set(words[1:])
    for word in words[1:]:
        if _CLUSTER.fullmatch(word):
            found.update("-" + letter for letter in word[1:])
    return frozenset(found)


def installs(words: Sequence[str]) -> str:
    """Return the program and its verb if this command installs updates unasked, else ""."""
    base = words[0].rpartition("/")[2] if words else ""
    tool = TOOLS.get(base)
    if tool is None:
        return ""
    told = options(words)
    verbs = [word for word in words[1:] if word in tool.verbs]
    if base == "pacman":
        verbs = [word for word in words[1:] if _SYSTEM_UPGRADE.fullmatch(word)]
    if not verbs and (told & tool.verbs):
        verbs = sorted(told & tool.verbs)
    wanted = bool(verbs) or not (tool.verbs or base == "pacman")
    if not wanted or told & tool.idle or (tool.sure and not told & tool.sure):
        return ""
    return " ".join([base] + verbs[:1])


def cron_command(line: str, skipped: int) -> Tuple[str, ...]:
    """Return (command,) of a line of a table of cron, () if it starts nothing.

    `skipped` is the number of fields before the command where the time has five;
    @daily and the like stand for those five, in anacrontab(5) for one. See crontab(5).
    """
    text = line.strip()
    if not text or text[0] == "#" or _ASSIGNMENT.match(text.replace(" ", "")):
        return ()
    before = skipped - 4 if text[0] == "@" and skipped > 4 else skipped
    parts = text.split(None, before)
    return (parts[before],) if len(parts) > before else ()
