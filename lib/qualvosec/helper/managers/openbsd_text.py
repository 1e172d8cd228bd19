# SPDX-License-Identifier: BSD-2-Clause
"""What OpenBSD's pkg_add and syspatch print, as values.

Pure functions over text. `pkg_add -u -n -v` announces `Update candidates: A -> B` and then says
what it would do in rows `Adding [PARENT:]OLD->NEW(pretending)` or `Adding PARENT:NEW(pretending)`;
NEW is a version alone where the stem stays, and several OLD are joined by +. What cannot come
stands in `Couldn't find updates for NAMES`, the reason on standard error. Whatever is announced
must be found again in one of these. Facts: pkg_add of OpenBSD 7.6 (tests/data/transcripts),
pkg_add(1), packages-specs(7), syspatch(8).
"""

import re
from typing import Collection
from typing import Dict
from typing import Iterable
from typing import List
from typing import NamedTuple
from typing import Set
from typing import Tuple

from qualvosec.helper.managers import base
from qualvosec.helper.managers import settle

PARTIAL = "partial-"
FIRMWARE = "-firmware"  # fw_update(8) looks after it
_SPLIT = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._+-]*?)-([0-9][A-Za-z0-9._+-]*)")
_CANDIDATES = re.compile(r"Update candidates: (\S+) -> (\S.*?)(?: \([^)]*\))?")
_CHANGE = re.compile(r"Adding (?:(\S+):)?(?:([^\s>]+)->)?([^\s:>]+?) ?\(pretending\)")
_INSTALLING = re.compile(r"(?:\S+:)?(\S+) \(installing\)\(pretending\)")
_WITHOUT = re.compile(r"Couldn't find updates for (\S.*)")
_FATAL = re.compile(r"(?m)^pkg_add: .+")
_FILE = re.compile(r"([^\s/\[\]]+)\.tgz")
_UNRESOLVED = re.compile(r"can't resolve (\S+)")
# A directory of the mirror that is not there hides every update in it.
_DOWN = re.compile(r"(?m)^.+: empty$|^Couldn't find any update$")
_PATCH = re.compile(r"[0-9]{3}_[A-Za-z0-9._+-]+")


class Report(NamedTuple):
    """What a dry run says, by stems.

    `install` comes, `kept` are updates that cannot, `replaced` those that would take another
    package's place, `why` says so of both; `ended` names the package at which pkg_add gave up,
    `without` what no mirror has, `unsaid` what is installed and not mentioned.
    """

    install: Tuple[base.Package, ...] = ()
    kept: Tuple[base.Package, ...] = ()
    replaced: Tuple[base.Package, ...] = ()
    why: Dict[str, str] = {}
    ended: Tuple[str, ...] = ()
    without: Tuple[str, ...] = ()
    unsaid: Tuple[str, ...] = ()


class _Dry(NamedTuple):
    """The lines of a dry run that mean something, by whole names."""

    announced: Dict[str, List[str]]
    changes: List[Tuple[List[str], str]]  # what goes, what comes
    without: List[str]


def parse_report(answer: base.Answer, packages: Collection[str]) -> Report:
    """Read the dry run of an update; `packages` are all whole names. Raises ManagerError."""
    errors = answer.text[len(answer.out):]
    down = _DOWN.search(errors) or _DOWN.search(answer.out)
    if down:
        raise base.ManagerError("pkg_add -n: %s" % down.group(0)[:300])
    dry = _dry(answer.out, packages)
    fatal = _FATAL.findall(errors) if answer.code else []
    if answer.code and not dry.without and not fatal:
        lines = [line.strip() for line in answer.text.splitlines() if line.strip()]
        raise base.ManagerError("pkg_add -n: %s (exit code %d)" % (
            (lines or ["no output"])[-1][:300], answer.code))
    ended = [parts(name)[0] for line in fatal for name in _FILE.findall(line)
             if _SPLIT.fullmatch(name)]
    if fatal and not ended:
        raise base.ManagerError("pkg_add -n: %s" % fatal[0][len("pkg_add: "):][:300])
    changed = [old for olds, _ in dry.changes for old in olds]
    failed = [name for name in dry.announced if name not in changed
              and dry.announced[name] != [name]]
    lost = [name for name in failed if name not in dry.without] if not fatal else []
    if lost:
        number = len(failed) + len(set(changed))
        raise base.ManagerError("pkg_add -n: announces %d updates, %d of them can be read: not %s"
                                % (number, number - len(lost), settle.some(lost)))
    before = _by_stem(packages)
    install, replaced, why = _changes(dry.changes, before)
    kept = [_waiting(before, name, min(dry.announced[name])) for name in failed]
    why.update({parts(name)[0]: _reason(errors, name, dry.announced[name]) for name in failed})
    why.update({stem: fatal[0][len("pkg_add: "):][:300] for stem in ended})
    said = set(changed) | set(dry.announced) | set(dry.without)
    if not said and any(not name.startswith(PARTIAL) and not parts(name)[0].endswith(FIRMWARE)
                        for name in packages):
        raise base.ManagerError("pkg_add -n: says nothing of any package")
    return Report(install, tuple(sorted(kept)), replaced, why, tuple(sorted(set(ended))),
                  tuple(sorted(set(dry.without) - set(failed))),
                  tuple(sorted(name for name in packages if name not in said
                               and not name.startswith(PARTIAL)
                               and not parts(name)[0].endswith(FIRMWARE))))


def _dry(text: str, packages: Collection[str]) -> _Dry:
    """Collect the lines that mean something; one that only looks so is an error."""
    found = _Dry({}, [], [])
    installing = set()
    for line in (line.strip() for line in text.splitlines()):
        installing.update(_INSTALLING.findall(line))
        candidates, change = _CANDIDATES.fullmatch(line), _CHANGE.fullmatch(line)
        without = _WITHOUT.fullmatch(line)
        if candidates:
            found.announced[candidates.group(1)] = candidates.group(2).split()
        elif change:
            parent, old, new = change.groups()
            olds = _known(old, packages) if old else []
            whole = new if not olds or not new[:1].isdigit() else "%s-%s" % (
                parts(olds[0])[0], new)
            wrong = [name for name in olds if whole not in found.announced.get(name, [whole])
                     or any(name in gone for gone, _ in found.changes)]
            # What another package needs is announced by the row of that package.
            if bool(old) != bool(olds) or wrong or (
                    olds and not parent and not set(olds) & set(found.announced)):
                raise base.ManagerError("pkg_add -n: does not do what it announces: %r"
                                        % line[:120])
            found.changes.append((olds, whole))
        elif without:
            found.without.extend(name.rstrip(",") for name in without.group(1).split())
        elif line.startswith(("Adding ", "Update candidates:", "Couldn't find updates",
                              "Problem finding ")):
            raise base.ManagerError("pkg_add -n: answers in an unknown form: %r" % line[:120])
    said = {whole for _, whole in found.changes}
    if installing and said != installing:
        raise base.ManagerError("pkg_add -n: installs %d packages, %d of them can be read"
                                % (len(installing), len(said)))
    return found


def _changes(changes: Iterable[Tuple[List[str], str]], before: Dict[str, List[str]]
             ) -> Tuple[Tuple[base.Package, ...], Tuple[base.Package, ...], Dict[str, str]]:
    """Return what changes its version or comes in new, and what would take another's place."""
    after = {stem: list(versions) for stem, versions in before.items()}
    replaced: Dict[str, base.Package] = {}
    why: Dict[str, str] = {}
    for olds, new in changes:
        outgoing = [parts(old) for old in olds if not old.startswith(PARTIAL)]
        stem, version = parts(new)
        others = sorted({name for name, _ in outgoing if name != stem})
        for name in others:
            replaced[name] = base.Package(name, " ".join(sorted(before[name])), new)
            why[name] = "would be replaced by %s, which is another package" % new
        if others:
            continue
        for _, old in outgoing:
            after[stem].remove(old)
        after[stem] = sorted(set(after.get(stem, []) + [version]))
    install = tuple(base.Package(stem, " ".join(sorted(before.get(stem, []))), " ".join(versions))
                    for stem, versions in sorted(after.items())
                    if versions != sorted(before.get(stem, [])))
    return install, tuple(sorted(replaced.values())), why


def _waiting(before: Dict[str, List[str]], old: str, new: str) -> base.Package:
    """Return the update of one whole name as that of its stem."""
    stem, version = parts(old)
    kept = [each for each in before.get(stem, []) if each != version]
    return base.Package(stem, " ".join(sorted(before.get(stem, []))),
                        " ".join(sorted(kept + [parts(new)[1]])))


def _reason(errors: str, old: str, news: Collection[str]) -> str:
    """Return the lines of standard error that say why a package cannot be updated."""
    about: Set[str] = {old} | set(news)
    for line in errors.splitlines():
        if any(name in line for name in about):
            about.update(_UNRESOLVED.findall(line))
    lines = [line.strip() for line in errors.splitlines() if any(name in line for name in about)]
    return "; ".join(lines)[:300] or "pkg_add cannot update it and does not say why"


def _by_stem(packages: Iterable[str]) -> Dict[str, List[str]]:
    found: Dict[str, List[str]] = {}
    for stem, version in (parts(name) for name in packages if not name.startswith(PARTIAL)):
        found.setdefault(stem, []).append(version)
    return found


def versions(packages: Iterable[str]) -> Dict[str, str]:
    """Return {stem: version}; versions of one stem side by side are one entry."""
    return {stem: " ".join(sorted(several)) for stem, several in _by_stem(packages).items()}


def _known(text: str, packages: Collection[str]) -> List[str]:
    """Return the whole names that `text` joins by +; a name may itself hold a +."""
    if text in packages:
        return [text]
    for place in (at for at, letter in enumerate(text) if letter == "+"):
        rest = _known(text[place + 1:], packages) if text[:place] in packages else []
        if rest:
            return [text[:place]] + rest
    return []


def parts(name: str) -> Tuple[str, str]:
    """Return stem and version, with flavours, of a whole name; raises ManagerError."""
    found = _SPLIT.fullmatch(name)
    if not found or len(name) > 250:
        raise base.ManagerError("a package %r is listed that cannot exist" % name[:80])
    return found.group(1), found.group(2)


def patches(text: str) -> List[str]:
    """Read the list of syspatch -c or -l; raises ManagerError."""
    lines = text.split()
    if any(not _PATCH.fullmatch(line) for line in lines):
        raise base.ManagerError("syspatch: lists patches in an unknown form")
    return lines
