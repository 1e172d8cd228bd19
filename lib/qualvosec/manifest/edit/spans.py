# SPDX-License-Identifier: BSD-2-Clause
"""Change a manifest without touching a byte too many: pure functions from bytes to bytes.

Nothing is written anew from values: entries and single values are cut out and put in where they
stand, so comments, order, spacing, quotes, line ends and byte order mark of all else stay. The
one thing that changes unasked is `serial` in .manifest: where there is one, it is raised.

Every result is verified before it is handed out: read again from its bytes it must be the tree
that was meant, types and order included, and no host that was touched may have a fault that it
did not have before. What stands outside the spans of an Edit is the same by construction.
"""

import datetime
import marshal
import os
import re
from itertools import chain
from itertools import islice
from typing import Any
from typing import Collection
from typing import Dict
from typing import Iterable
from typing import List
from typing import Mapping
from typing import NamedTuple
from typing import Optional
from typing import Set
from typing import Tuple

from qualvosec import yamlsubset
from qualvosec.manifest import document
from qualvosec.manifest import entrytext
from qualvosec.manifest.entrytext import EditError
from qualvosec.manifest.entrytext import Value
from qualvosec.manifest.fields import did_you_mean
from qualvosec.manifest.schema import HEADER
from qualvosec.manifest.schema import MAX_SERIAL
from qualvosec.manifest.schema import fold
from qualvosec.manifest.schema import host_name_fault
from qualvosec.safetext import safe
from qualvosec.yamlsubset import YamlError

Fields = Mapping[str, Value]

_BOM = b"\xef\xbb\xbf"
# The first character of a root entry: not indented, blank, a comment, an item or the `---`.
_ENTRY = re.compile(rb"\n(?=[^ #\t\r\n])(?!-[ \t\r\n]|-\Z|---(?:[ \t\r\n]|\Z))")
_MAX_NAMED = 5


class Source(NamedTuple):
    """A manifest as it was read: the tree, and where each of its root entries starts."""

    bom: bytes
    body: bytes
    root: Dict[str, Any]
    sections: Tuple[str, ...]       # the root keys that are no hosts
    numbers: Dict[str, int]         # root key -> its number, from 0
    starts: List[int]               # by number: where an entry starts in the body; and the end
    known: Dict[str, str]           # folded name -> the host as written
    twice: Dict[str, List[str]]     # folded name -> the hosts of which only one is known

    def bounds(self, name: str) -> Tuple[int, int]:
        """Return where an entry starts, and where the next one does."""
        number = self.numbers[name]
        return self.starts[number], self.starts[number + 1]


class Span(NamedTuple):
    """The bytes from `start` to `end` of the old file were replaced by `new`."""

    start: int
    end: int
    new: bytes


class Edit(NamedTuple):
    """The new file; without spans it is the old one."""

    data: bytes
    spans: Tuple[Span, ...]         # in order, disjoint
    hosts: Tuple[str, ...]          # that were added, removed or changed, as written
    serial: Optional[int]           # the raised one
    notes: Tuple[str, ...]          # what to know before publishing it, one line each


def read(data: bytes) -> Source:
    """Read a manifest that is to be edited; raises EditError when it does not parse."""
    try:
        root = yamlsubset.load(data)
    except YamlError as fault:
        raise EditError("%s: correct this first" % fault) from None
    if root is None:
        root = {}
    if not isinstance(root, dict):
        raise EditError("line 1: a list instead of hosts: correct this first")
    bom = _BOM if data.startswith(_BOM) else b""
    body = data[len(bom):]
    starts = [match.end() - 1 for match in _ENTRY.finditer(b"\n" + body)]
    if len(starts) != len(root):
        raise EditError("the layout is not understood: edit this manifest by hand")
    sections = tuple(name for name in root if name.startswith("."))
    known, twice = _folded(root)
    for name in sections:
        known.pop(fold(name), None)
    return Source(bom, body, root, sections, dict(zip(root, range(len(root)))),
                  starts + [len(body)], known, twice)


def _folded(root: Mapping[str, Any]) -> Tuple[Dict[str, str], Dict[str, List[str]]]:
    """Return root keys as written by how they are compared, and those that are there twice."""
    # All at once, since a call for each would take as long as a tenth of the parser.
    joined = "\n".join(root)
    known = dict(zip(fold(joined).split("\n"), root)) if root else {}
    if len(known) == len(root) and ".\n" not in joined + "\n":
        return known, {}
    known = {}
    twice: Dict[str, List[str]] = {}
    for name in root:
        if known.setdefault(fold(name), name) is not name:
            twice.setdefault(fold(name), [known[fold(name)]]).append(name)
    return known, twice


def members(source: Source, group: str) -> List[str]:
    """Return the hosts whose group_membership names the group."""
    found = []
    for name, fields in source.root.items():
        labels = fields.get("group_membership") if isinstance(fields, dict) else None
        if isinstance(labels, list) and group in labels and not name.startswith("."):
            found.append(fold(name))
    return found


def add(source: Source, hosts: Mapping[str, Fields], today: int) -> Edit:
    """Put new entries at the end; `today` is a date's ordinal. All of them, or EditError."""
    faults = []
    for name in hosts:
        wrong = host_name_fault(name)
        if wrong:
            faults.append((name, "%s: write the full name of a host" % wrong))
        elif fold(name) in source.known:
            faults.append((name, "is in the manifest already, on line %d: use set to change it"
                           % _line(source, source.known[fold(name)])))
    _refuse(faults)
    body, end = source.body, entrytext.line_end(source.body)
    pieces = [end] if body and not body.endswith(b"\n") else []
    indent = _usual_indent(source)
    is_airy = _is_airy(source, ())
    root = dict(source.root)
    last, text = None, b""
    for name, fields in hosts.items():
        if is_airy and (body or len(root) > len(source.root)):
            pieces.append(end)
        if fields is not last:      # many hosts mostly share one mapping
            last, text = fields, entrytext.fields_text(fields, indent, end)
        pieces += [entrytext.key_line(fold(name), end), text]
        root[fold(name)] = {field: value for field, value in fields.items() if value is not None}
    span = Span(len(body), len(body), b"".join(pieces))
    return _finish(source, [span], root, [fold(name) for name in hosts], today)


def remove(source: Source, hosts: Iterable[str], today: int, with_comment: bool = False) -> Edit:
    """Take entries out; the comment directly above each stays unless it is asked for, too."""
    names = _written(source, hosts)
    gone = set(names)
    root = {name: fields for name, fields in source.root.items() if name not in gone}
    if not root:
        raise EditError("the manifest would be empty: clients would refuse it and keep what they "
                        "have: set patch=false instead")
    is_airy = _is_airy(source, names)
    spans: List[Span] = []
    for name in sorted(names, key=lambda name: source.bounds(name)):
        start, end = _removal(source, name, is_airy, with_comment)
        if spans and start < spans[-1].end:
            start = spans.pop().start
        spans.append(Span(start, end, b""))
    return _finish(source, spans, root, names, today)


def change(source: Source, hosts: Mapping[str, Fields], today: int) -> Edit:
    """Give fields of entries other values; None takes the field out. All of them, or EditError."""
    names = _written(source, hosts)
    root = dict(source.root)
    spans = []
    touched = []
    for name, fields in zip(names, hosts.values()):
        if not isinstance(root[name], dict) and root[name] is not None:
            raise EditError("%s: has no fields: correct this first" % safe(name, 253))
        old = root[name] or {}
        new = dict(old)
        for field, value in fields.items():
            if value is None:
                new.pop(field, None)
            elif field not in new or not _alike(new[field], _as_read(value)):
                new[field] = _as_read(value)
        if not _alike(old, new):
            root[name] = new
            touched.append(name)
            spans.append(_entry_span(source, name, old, new))
    return _finish(source, spans, root, touched, today)


def _as_read(value: Value) -> object:
    """Return a value in the types of the parser."""
    return list(value) if isinstance(value, tuple) else value


def _written(source: Source, hosts: Iterable[str]) -> List[str]:
    """Return how the file writes these hosts; raises EditError for all that it does not have."""
    faults = []
    names: List[str] = []
    seen: Set[str] = set()
    for name in hosts:
        written = source.known.get(fold(name), "")
        if fold(name) in source.twice:
            lines = " and ".join(str(_line(source, entry)) for entry in source.twice[fold(name)])
            faults.append((name, "is in the manifest twice, on lines %s: correct this first"
                           % lines))
        elif not written:
            near = did_you_mean(fold(name), source.known) if not faults else ""
            faults.append((name, "is not in the manifest: %s" % (
                "did you mean %s?" % near if near else "use add for a new host")))
        elif written in seen:
            faults.append((name, "is named twice: name it once"))
        names.append(written)
        seen.add(written)
    _refuse(faults)
    return names


def _refuse(faults: List[Tuple[str, str]]) -> None:
    if faults:
        told = "; ".join("%s: %s" % (safe(name, 253), fault) for name, fault in faults[:_MAX_NAMED])
        more = len(faults) - _MAX_NAMED
        raise EditError(told + ("; and %d more" % more if more > 0 else ""))


def _line(source: Source, name: str) -> int:
    return source.body.count(b"\n", 0, source.bounds(name)[0]) + 1


def _entry(source: Source, name: str) -> bytes:
    """Return an entry from its key to its last line with content."""
    start, end = source.bounds(name)
    text = source.body[start:end]
    return text[:entrytext.content_end(text)]


def _usual_indent(source: Source) -> bytes:
    """Return the indent of the last host's fields."""
    for name in reversed(list(source.root)):
        if not name.startswith(".") and isinstance(source.root[name], dict):
            return entrytext.indent_of(_entry(source, name))
    return entrytext.indent_of(b"")


def _is_airy(source: Source, without: Collection[str]) -> bool:
    """Say whether blank lines separate the hosts: as behind the first of those that stay.

    With less than two there is nothing to go by: then they do.
    """
    gone = set(without)
    hosts = (name for name in source.root if not name.startswith(".") and name not in gone)
    staying = list(islice(hosts, 2))
    if len(staying) < 2:
        return True
    start, end = source.bounds(staying[0])
    lines = source.body[start + len(_entry(source, staying[0])):end].split(b"\n")[:-1]
    return any(not line.strip(b" \t\r") for line in lines)


def _removal(source: Source, name: str, is_airy: bool, with_comment: bool) -> Tuple[int, int]:
    """Return the bytes to cut for an entry, with one of the blank lines around it."""
    body = source.body
    start = source.bounds(name)[0]
    end = start + len(_entry(source, name))
    above = _line_above(body, start)
    while with_comment and body[above:start].lstrip(b" \t").startswith(b"#"):
        start, above = above, _line_above(body, above)
    if is_airy:
        below = body.find(b"\n", end) + 1 or len(body)
        if not body[end:below].strip(b" \t\r\n"):
            if start and not body[above:start].strip(b" \t\r\n"):
                start = above
            elif not start:
                end = below
    return start, end


def _line_above(body: bytes, start: int) -> int:
    return body.rfind(b"\n", 0, max(start - 1, 0)) + 1


def _entry_span(source: Source, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Span:
    """Return the change of one entry from one set of fields to another, as short as it can be."""
    start = source.bounds(name)[0]
    before = after = _entry(source, name)
    end = entrytext.line_end(source.body[:start + len(before)])
    for field in list(old) + [field for field in new if field not in old]:
        if field not in new or field not in old or not _alike(old[field], new[field]):
            after = entrytext.set_field(after, field, new.get(field), end)
    return _shortened(Span(start, start + len(before), after), before)


def _shortened(span: Span, old: bytes) -> Span:
    """Return a span without what stays the same at its two ends."""
    head = len(os.path.commonprefix([old, span.new]))
    limit = min(len(old), len(span.new)) - head
    tail = 0
    while tail < limit and old[-1 - tail] == span.new[-1 - tail]:
        tail += 1
    return Span(span.start + head, span.end - tail, span.new[head:len(span.new) - tail])


def next_serial(serial: int, today: int) -> int:
    """Return the serial after this one; one that begins with a date (2026112301) keeps doing so."""
    dated = int(datetime.date.fromordinal(today).strftime("%Y%m%d")) * 100 + 1
    text = str(serial)
    is_dated = len(text) == 10 and "1970" <= text[:4] <= "2999" and (
        "01" <= text[4:6] <= "12" and "01" <= text[6:8] <= "31")
    return max(serial + 1, dated) if is_dated else serial + 1


def _raise_serial(source: Source, root: Dict[str, Any], today: int) -> Optional[Span]:
    """Raise the serial in the tree, if there is one; return the change in the text."""
    header = root.get(HEADER)
    if not isinstance(header, dict) or "serial" not in header:
        return None
    serial = header["serial"]
    if type(serial) is not int or not 0 <= serial < MAX_SERIAL:
        raise EditError("%s: serial: cannot be raised: correct it first" % HEADER)
    root[HEADER] = dict(header, serial=next_serial(serial, today))
    return _entry_span(source, HEADER, header, root[HEADER])


def _finish(source: Source, spans: List[Span], root: Dict[str, Any], names: List[str],
            today: int) -> Edit:
    """Put the spans in and verify what comes of them; `root` is the tree that is meant."""
    if not spans:
        return Edit(source.bom + source.body, (), (), None, ())
    notes = _judge(source, root, names, today)
    raised = _raise_serial(source, root, today)
    spans = sorted(spans + [raised] if raised else spans)
    pieces = [source.bom]
    place = 0
    for span in spans:
        pieces += [source.body[place:span.start], span.new]
        place = span.end
    data = b"".join(pieces + [source.body[place:]])
    try:
        result = yamlsubset.load(data)
    except YamlError as fault:
        raise EditError("not done: the result would have a fault: %s" % fault) from None
    if not isinstance(result, dict) or not _alike(result, root):
        raise EditError("not done: the result would not be what was asked for: edit it by hand")
    shift = len(source.bom)
    return Edit(data, tuple(Span(span.start + shift, span.end + shift, span.new)
                            for span in spans),
                tuple(names), root[HEADER]["serial"] if raised else None, tuple(notes))


def _judge(source: Source, after: Mapping[str, Any], names: Iterable[str],
           today: int) -> List[str]:
    """Refuse new faults of the hosts that are touched; return new warnings."""
    def found(root: Mapping[str, Any]) -> List[document.Defect]:
        part = {name: root[name] for name in chain(source.sections, names) if name in root}
        return document.findings(part, today)

    if len(after) == len(source.sections):
        return ["the manifest: no host is left in it: no host is patched any more"]
    if not any(name in after for name in names):
        return []
    known = {(finding.path, finding.what) for finding in found(source.root)}
    left = found(after)
    new = [finding for finding in left if (finding.path, finding.what) not in known]
    errors = ["%s: %s" % (finding.what, finding.fix) for finding in new
              if finding.severity == "error"]
    if errors:
        more = "; and %d more" % (len(errors) - _MAX_NAMED) if len(errors) > _MAX_NAMED else ""
        raise EditError("not done: %s%s" % ("; ".join(errors[:_MAX_NAMED]), more))
    notes = ["%s: %s" % (finding.what, finding.fix) for finding in new]
    old = sum(finding.severity == "error" for finding in left)
    if old:
        notes.append("the manifest: %d older fault%s in these hosts or in sections they may use: "
                     "see qualvosec-admin check" % (old, "" if old == 1 else "s"))
    return notes


def _alike(one: Any, other: Any) -> bool:
    """Say whether two values are the same: True is not 1, and fields have an order.

    Version 2 of marshal writes values and types, and nothing of identity; it is the fastest
    way to compare all types in a large tree.
    """
    return marshal.dumps(one, 2) == marshal.dumps(other, 2)
