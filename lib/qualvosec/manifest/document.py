# SPDX-License-Identifier: BSD-2-Clause
"""The whole manifest with every fault in it: what the administrator checks before publishing.

Where a client reads its own entry and nothing else, this reads all of them:
faults of the text, of every field and between the levels, names that are no
host names or differ only in case, schedules that never open, an expiry that
is near. Places are looked up in a second reading, and only if there is
something to report: in a large manifest they cost more than all the rest.
"""

import re
from typing import Dict
from typing import List
from typing import Mapping
from typing import NamedTuple
from typing import Optional
from typing import Set
from typing import Tuple

from qualvosec import yamlsubset
from qualvosec.manifest import lookup
from qualvosec.manifest import schema
from qualvosec.manifest import window
from qualvosec.manifest.fields import FIELDS
from qualvosec.manifest.fields import did_you_mean
from qualvosec.manifest.policy import Policy
from qualvosec.manifest.schema import Path
from qualvosec.safetext import safe
from qualvosec.yamlsubset import Mark
from qualvosec.yamlsubset import YamlError

EXPIRY_WARNING_DAYS = 7
LONG_WAIT_DAYS = 400
_MEMO_ENTRIES = 20000
_DAY_S = 86400
_COLON = re.compile(r":(?:[ \t]|$)")


class Problem(NamedTuple):
    """One fault at a line and column (from 1); a warning does not stop any host."""

    line: int
    column: int
    what: str
    fix: str
    severity: str = "error"


class Document(NamedTuple):
    """All that the manifest says; hosts by folded name, None where the entry is invalid."""

    hosts: Dict[str, Optional[Policy]]
    header: schema.Header
    problems: List[Problem]

    def errors(self) -> int:
        """Return how many problems are more than warnings."""
        return sum(problem.severity == "error" for problem in self.problems)


class Explanation(NamedTuple):
    """One host's policy and, by manifest field, the places that decided it."""

    policy: Optional[Policy]
    places: Dict[str, List[Tuple[Path, Mark]]]
    problems: List[Problem]


class Defect(NamedTuple):
    """A fault or warning of parsed entries, its place still a path."""

    path: Path
    what: str
    fix: str
    severity: str = "error"
    other: Optional[Path] = None        # its line is put behind `what`


class _Wanted(Dict[Path, Mark]):
    """Keeps the marks of some paths: all of a large manifest would be most of the memory."""

    def __init__(self, paths: Set[Path]) -> None:
        super().__init__()
        self._paths = paths

    def __setitem__(self, path: Path, mark: Mark) -> None:
        if path in self._paths:
            super().__setitem__(path, mark)

    def __missing__(self, path: Path) -> Mark:
        return Mark(1, 1)


def _locate(data: bytes, paths: Set[Path]) -> Mapping[Path, Mark]:
    marks = _Wanted(paths | {path[:length] for path in paths for length in range(1, len(path))})
    yamlsubset.load(data, marks, [])
    return marks


def _mark(marks: Mapping[Path, Mark], path: Path) -> Mark:
    """Return the place of a path or of the nearest thing around it."""
    for length in range(len(path), 0, -1):
        if path[:length] in marks:
            return marks[path[:length]]
    return Mark(1, 1)


def _from_fault(fault: schema.Fault) -> Defect:
    """Put the names of the levels in front, unless the text begins with them."""
    names = [safe(part, 253) for part in fault.path if isinstance(part, str)]
    if fault.what.startswith(names[-1] + ": "):
        names.pop()
    return Defect(fault.path, ": ".join(names + [fault.what]), fault.fix)


def read(data: bytes, today: int) -> Document:
    """Read a manifest; `today` is a date's ordinal. Every fault is in the result, none raised."""
    faults: List[YamlError] = []
    root = yamlsubset.load(data, None, faults)
    problems = [_of_text(fault) for fault in faults]
    entries = root if isinstance(root, dict) else {}
    if not entries and not faults:
        what = "nothing" if root is None else "a list"
        problems.append(Problem(1, 1, "the manifest: %s in it" % what,
                                "write a host name: and its fields, indented, below it"))
        return Document({}, schema.Header(), problems)
    reading = _Reading(entries, today, list(_damaged(data, faults)))
    hosts = reading.hosts()
    header = reading.header()
    problems.extend(_of_text(fault) for fault in lookup.overlong(data))
    if not faults:
        reading.look_for_unused_groups()
    if reading.findings:
        marks = _locate(data, _paths(reading.findings))
        problems.extend(_problem(finding, marks) for finding in reading.findings)
    return Document(hosts, header, sorted(problems))


def findings(entries: Mapping[str, object], today: int) -> List[Defect]:
    """Return what is wrong with hosts that were parsed, among the sections that they use."""
    reading = _Reading(entries, today, [])
    reading.hosts()
    return reading.findings


def _damaged(data: bytes, faults: List[YamlError]) -> Dict[str, List[Problem]]:
    """Return the faults of the entries that the parser had to leave out, by the entry's name."""
    found: Dict[str, List[Problem]] = {}
    lines = data.decode("utf-8", "replace").lstrip("\ufeff").split("\n") if faults else []
    for fault in faults:
        number = min(fault.line, len(lines)) - 1
        while number > 0 and not yamlsubset.starts_entry(lines[number]):
            number -= 1
        line = lines[number].rstrip("\r")
        try:
            name = yamlsubset.read_line(line).key
        except YamlError:
            # Of a line that cannot be read, what stands before the colon is likely meant.
            name = _COLON.split(line, 1)[0].strip(" \"'")
        found.setdefault(schema.fold(name), []).append(_of_text(fault))
    return found


def _of_text(fault: YamlError) -> Problem:
    return Problem(fault.line, fault.column, fault.what, fault.fix)


def _paths(findings: List[Defect]) -> Set[Path]:
    paths = {finding.path for finding in findings}
    paths.update(finding.other for finding in findings if finding.other is not None)
    return paths


def _problem(finding: Defect, marks: Mapping[Path, Mark]) -> Problem:
    mark = _mark(marks, finding.path)
    what = finding.what
    if finding.other is not None:
        what = "%s %d" % (what, _mark(marks, finding.other).line)
    return Problem(mark.line, mark.column, what, finding.fix, finding.severity)


def _unknown_section(name: str) -> Defect:
    near = did_you_mean(name, schema.RESERVED)
    return Defect((name,), "%s: unknown section" % safe(name, 80),
                    "did you mean %s?" % near if near else "remove it: no host starts with a dot")


def _misnamed(name: str, wrong: str) -> Defect:
    return Defect((name,), "%s: %s" % (safe(name, 253), wrong),
                    "write the host's full name: letters, digits, hyphens, dots")


def _twice(name: str, first: str) -> Defect:
    return Defect((name,), "%s: the same host is on line" % safe(name, 253),
                    "keep one of the two", other=(first,))


def _host_of(level: schema.Level) -> str:
    return safe(str(level.path[0]), 253)


class _Reading:
    """One pass over the root entries; collects findings."""

    def __init__(self, root: Mapping[str, object], today: int, damaged: List[str]) -> None:
        self.findings: List[Defect] = []
        self._root = root
        self._today = today
        self._damaged = damaged
        # A section that the parser had to leave out would be missed in every entry.
        self._is_misread = any(name.startswith(".") for name in damaged)
        self._shared = schema.read_shared(root.get(schema.GROUPS, schema.ABSENT),
                                          root.get(schema.DEFAULTS, schema.ABSENT))
        self._clean: Dict[str, Policy] = {}
        self._opens: Dict[Policy, Optional[int]] = {}
        self._near: Dict[str, str] = {}     # label -> the group that is nearest, "" for none

    def hosts(self) -> Dict[str, Optional[Policy]]:
        """Check every root entry and return the policies."""
        shared = list(self._shared.faults + self._shared.defaults.faults)
        for level in self._shared.groups.values():
            shared.extend(level.faults)
        self.findings.extend(_from_fault(fault) for fault in shared)
        hosts: Dict[str, Optional[Policy]] = {}
        first: Dict[str, str] = {}
        for name, fields in self._root.items():
            if name.startswith("."):
                if name not in schema.RESERVED:
                    self.findings.append(_unknown_section(name))
                    self._is_misread = True
                continue
            folded = schema.fold(name)
            if folded in hosts:
                self.findings.append(_twice(name, first[folded]))
                hosts[folded] = None
                continue
            policy = self._host(name, fields)
            # What only lost its indentation is a field, not a host without any.
            if isinstance(fields, dict) or name not in FIELDS:
                hosts[folded] = policy
                first[folded] = name
        if not hosts and not self._damaged and not self.findings:
            self._add(("",), "the manifest: no host in it", "add one", "warning")
        hosts.update((name, None) for name in self._damaged
                     if not schema.host_name_fault(name) and name not in FIELDS)
        # Clients cannot know what such a section would have told them.
        return dict.fromkeys(hosts) if self._is_misread else hosts

    def look_for_unused_groups(self) -> None:
        """Warn of a group without hosts: its name may be misspelt, here or in all of them."""
        labels: Set[object] = set()
        for name, fields in self._root.items():
            listed = fields.get("group_membership") if isinstance(fields, dict) else None
            if isinstance(listed, list) and not name.startswith("."):
                labels.update(label for label in listed if isinstance(label, str))
        for name, level in self._shared.groups.items():
            if name not in labels and not level.faults:
                self._add((schema.GROUPS, name), "%s: %s: no host is in this group"
                          % (schema.GROUPS, name), "see group_membership of the hosts", "warning")

    def header(self) -> schema.Header:
        """Check the .manifest section, its expiry against today."""
        header, faults = schema.check_header(self._root.get(schema.HEADER, schema.ABSENT))
        self.findings.extend(_from_fault(fault) for fault in faults)
        if header.expires is not None:
            path = (schema.HEADER, "expires")
            days = header.expires - self._today
            if days < 0:
                self._add(path, ".manifest: expires: was %d days ago" % -days, "raise it")
            elif days <= EXPIRY_WARNING_DAYS:
                self._add(path, ".manifest: expires: in %d days" % days, "raise it", "warning")
        return header

    def _add(self, path: Path, what: str, fix: str, severity: str = "error") -> None:
        self.findings.append(Defect(path, what, fix, severity))

    def _host(self, name: str, fields: object) -> Optional[Policy]:
        # Most entries of a large manifest are alike but for their name.
        key = repr(fields) if isinstance(fields, dict) else ""
        policy = self._clean.get(key)
        wrong = schema.host_name_fault(name)
        if policy is not None and not wrong:
            return policy
        before = len(self.findings)
        level = schema.read_level(fields, (name,))
        if wrong and isinstance(fields, dict):
            self.findings.append(_misnamed(name, wrong))
        policy, faults, places = schema.merge(level, self._shared)
        if self._is_misread:
            faults = []
        self.findings.extend(_from_fault(fault) for fault in level.faults + tuple(faults))
        self._warn(level, policy, places)
        if wrong:
            return None
        if (policy is not None and len(self.findings) == before and len(key) < 2000
                and len(self._clean) < _MEMO_ENTRIES):
            self._clean[key] = policy
        return policy

    def _warn(self, level: schema.Level, policy: Optional[Policy],
              places: schema.Places) -> None:
        known = self._shared.groups
        for index, label in enumerate(level.values.get("group_membership", ())):
            if label not in self._near:
                self._near[label] = did_you_mean(label, known) if label not in known else ""
            near = self._near[label]
            if near:
                self._add(level.path + ("group_membership", index),
                          "%s: group_membership: %s is not in .groups" % (_host_of(level), label),
                          "did you mean %s?" % near, "warning")
        if policy is None:
            return
        if not policy.patch:
            if "patch" not in places:
                self._add(level.path, "%s: patch is not set" % _host_of(level),
                          "write patch: true, or patch: false if it is never to be patched",
                          "warning")
            return
        if policy.freeze:
            self._warn_of_freeze(level, policy)

    def _warn_of_freeze(self, level: schema.Level, policy: Policy) -> None:
        # The hour may move a window by a day at most, which is not what this is about.
        alike = Policy(weekdays=policy.weekdays, weeks=policy.weeks, freeze=policy.freeze)
        now = (self._today - window.EPOCH_ORDINAL) * _DAY_S
        if alike not in self._opens:
            found = window.openings(alike, now, 1, "", lambda instant: 0)
            self._opens[alike] = found[0].opens if found else None
        opens = self._opens[alike]
        path = level.path + ("freeze",)
        if opens is None:
            self._add(path, "%s: freeze: no window ever opens" % _host_of(level),
                      "shorten it, or write patch: false")
        elif opens > now + LONG_WAIT_DAYS * _DAY_S:
            self._add(path, "%s: freeze: the first window opens in %d days"
                      % (_host_of(level), (opens - now) // _DAY_S),
                      "see that this is meant", "warning")


def explain(data: bytes, name: str) -> Optional[Explanation]:
    """Say what decided each field of one host; None when the manifest does not list it.

    Only the problems that concern this host are told.
    """
    faults: List[YamlError] = []
    root = yamlsubset.load(data, None, faults)
    entries = root if isinstance(root, dict) else {}
    folded = schema.fold(name)
    damaged = _damaged(data, faults)
    problems = [problem for entry, found in damaged.items() for problem in found
                if entry == folded or entry.startswith(".")]
    names = [entry for entry in entries
             if not entry.startswith(".") and schema.fold(entry) == folded]
    if not names:
        return Explanation(None, {}, problems) if folded in damaged else None
    policy, wrong, places = schema.effective(
        entries[names[0]], entries.get(schema.GROUPS, schema.ABSENT),
        entries.get(schema.DEFAULTS, schema.ABSENT), names[0])
    findings = [_from_fault(fault) for fault in wrong]
    findings.extend(_unknown_section(entry) for entry in entries
                    if entry.startswith(".") and entry not in schema.RESERVED)
    name_fault = schema.host_name_fault(names[0])
    if name_fault:
        findings.append(_misnamed(names[0], name_fault))
    if len(names) > 1:
        findings.append(_twice(names[1], names[0]))
    decided = {path for paths in places.values() for path in paths}
    marks = _locate(data, decided | _paths(findings))
    problems.extend(_problem(finding, marks) for finding in findings)
    return Explanation(None if problems else policy,
                       {field: [(path, _mark(marks, path)) for path in paths]
                        for field, paths in places.items()}, sorted(problems))
