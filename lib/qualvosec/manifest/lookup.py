# SPDX-License-Identifier: BSD-2-Clause
"""One host's entry out of a manifest of any size, in one pass and fixed memory.

It answers what reading the whole file would answer for that host, or refuses: the own block and
the reserved ones are cut out and read by yamlsubset; of everything else it is proved, without
reading it, that it cannot reach into them. So a fault in another host's entry stops nobody else.
The proof: (a) text in quotes or brackets ends on its line (`_proved_closed`), and whatever else
may span lines in YAML is indented, so a line in column 1 is what it looks like; (b) that is blank,
a comment, a list item or a key, or a `---` before the first key; (c) the first key is not
indented; (d) no character is a line break to some readers only; (e) neither the host nor a
reserved key comes twice, in whatever case or quotes.
"""

import re
from typing import Dict
from typing import Iterable
from typing import Iterator
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Pattern
from typing import Set

from qualvosec import yamlsubset
from qualvosec.manifest.schema import ABSENT
from qualvosec.manifest.schema import DEFAULTS
from qualvosec.manifest.schema import GROUPS
from qualvosec.manifest.schema import HEADER
from qualvosec.manifest.schema import RESERVED
from qualvosec.manifest.schema import fold
from qualvosec.yamlsubset import Mark
from qualvosec.yamlsubset import Path
from qualvosec.yamlsubset import YamlError
from qualvosec.yamlsubset import shown

WINDOW_BYTES = 65536
MAX_BLOCK_CHARS = 262144
MAX_CLOSED_LINES = 2000

_CONTROLS = bytes(char for char in range(32) if char not in b"\t\n\r") + b"\x7f"
_UNREADABLE = re.compile("[%s]" % yamlsubset.UNREADABLE)
_CONTENT = re.compile(r"\n *[^ \n#]")
_NEXT_ENTRY = re.compile(r"\n(?:[^- #\n\t]|-[^ \n\t])")
# The same in bytes, but for a leading ---.
_ENTRY = re.compile(rb"^(?!---\s)(?:[^- #\r\n\t]|-[^ \r\n\t])", re.MULTILINE)
_IN_COMMENT = re.compile(r"""(?:[^"'[{\n]*[ \t])?#""")
# Text in quotes and brackets that ends on its line. Any of these characters may in truth stand
# within plain text, which only `: ` and ` #` can end: without colon and # in it, what looks like
# closed text cannot hide the opening of another. Within brackets the same holds for , and ?.
_CLOSED = re.compile(
    r"""  [^"'[{]*
          (?: (?: "[^"\\\n:#]*"  |  '[^'\n:#]*'
                | \[ [^]["'{}\n:#?]*
                     (?: (?: "[^]["\\\n:#,?{}]*" | '[^]['\n:#,?{}]*' ) [^]["'{}\n:#?]* )* \] )
              [^"'[{]*
          )*  """,
    re.VERBOSE,
)


class ManifestError(ValueError):
    """The whole file cannot be relied on; the text is one line, with the place where it has one."""


class Found(NamedTuple):
    """What a manifest says about one host, as parsed, not yet checked.

    `host` is None without an entry (`host_line` is 0 then), the sections are ABSENT where the file
    has none. `marks` are places in the file, their paths begin with the key as the file has it.
    With `own_fault` the host is listed, but its entry or a section it needs is invalid.
    """

    host: Optional[object]
    host_line: int
    header: object
    defaults: object
    groups: object
    marks: Dict[Path, Mark]
    own_fault: str


class _Block(NamedTuple):
    """The lines of one entry: number of the first line, text in pieces."""

    line: int
    pieces: List[str]


def chunks_of(data: bytes, size: int = WINDOW_BYTES) -> Iterator[bytes]:
    """Pieces of `size` bytes."""
    return (data[start : start + size] for start in range(0, len(data), size))


def find(chunks: Iterable[bytes], fqdn: str) -> Found:
    """Read a manifest for one host; raises ManifestError when the file cannot be relied on.

    That includes a `.manifest` section that does not parse: serial and expiry are not known then.
    """
    scan = _Scan(fold(fqdn))
    for window in _windows(chunks):
        scan.read(window)
    if not scan.begun:
        raise ManifestError("empty: publish a manifest with at least one host")
    marks: Dict[Path, Mark] = {}
    values: Dict[str, object] = {}
    own_fault = scan.unknown
    for name, block in scan.blocks.items():
        try:
            text = "".join(block.pieces).encode("utf-8")
            root = yamlsubset.load(text, marks, None, block.line)
            values[name] = next(iter(root.values())) if isinstance(root, dict) else None
        except YamlError as fault:
            if name == HEADER:
                raise ManifestError(str(fault)) from None
            own_fault = own_fault or str(fault)
    own = scan.blocks.get(scan.own)
    return Found(
        values.get(scan.own),
        own.line if own else 0,
        values.get(HEADER, ABSENT),
        values.get(DEFAULTS, ABSENT),
        values.get(GROUPS, ABSENT),
        marks,
        own_fault if own else "",
    )


def overlong(data: bytes) -> List[YamlError]:
    """Return the entries that are too large for find() to take: for who sees the whole file."""
    part = MAX_BLOCK_CHARS // 4
    # What is too large holds such a part without an entry's start: mostly there is none.
    if all(_ENTRY.search(data, start, start + part)
           for start in range(0, len(data) - part + 1, part)):
        return []
    body = data[3:] if data.startswith(b"\xef\xbb\xbf") else data
    starts = [match.start() for match in _ENTRY.finditer(body)] + [len(body)]
    faults = []
    for start, end in zip(starts, starts[1:]):
        if end - start >= MAX_BLOCK_CHARS:
            entry = body[start:end].decode("utf-8", "replace").replace("\r\n", "\n")
            if len(entry) + (not entry.endswith("\n")) > MAX_BLOCK_CHARS:
                faults.append(_too_long(body.count(b"\n", 0, start) + 1))
    return faults


def _too_long(line: int) -> YamlError:
    what = "this entry is over %d characters" % MAX_BLOCK_CHARS
    return YamlError(1, what, "shorten it, or its comments", line)


def _windows(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes as whole lines, with the line end before the first of them in front."""
    pieces = [b"\n"]
    size = 0
    for chunk in chunks:
        for piece in chunks_of(chunk):
            end = piece.rfind(b"\n") + 1
            if end:
                pieces.append(piece[:end])
                yield b"".join(pieces)
                pieces, size = [b"\n"], 0
            pieces.append(piece[end:])
            size += len(piece) - end
            if size > yamlsubset.MAX_LINE_BYTES:
                limit = yamlsubset.MAX_LINE_BYTES
                raise ManifestError("a line is over %d bytes: is this a manifest?" % limit)
    if size:
        last = b"".join(pieces)
        if last.endswith(b"\r"):  # with the line end put behind it, it would look like CRLF
            raise ManifestError("a lone CR at the end: end lines with LF or CRLF")
        yield last + b"\n"


class _Scan:
    """Where the reading stands, and the blocks found so far."""

    def __init__(self, own: str) -> None:
        self.own = own
        self.line = 0  # number of the line that the next window's first line end belongs to
        self.begun = False
        self.dashes = False
        self.blocks: Dict[str, _Block] = {}
        self.closed: Set[str] = set()  # lines that yamlsubset has read: many come again
        self.block: Optional[_Block] = None  # the one that the next line may belong to
        self.room = MAX_BLOCK_CHARS  # what that block may still take
        self.unknown = ""  # fault of a name that begins like a reserved one
        # Lines in column 1 that are the host's own, or more than a plain key: to be looked at.
        self.notable: Pattern[str] = re.compile(
            r"""\n(?=[^ #\n])(?!(?!["']?(?i:%s)\.?["']?:)"""
            r"""["']?[A-Za-z0-9][A-Za-z0-9._-]*["']?:[ \t\n])""" % re.escape(own)
        )

    def read(self, window: bytes) -> None:
        """Take whole lines, with the line end before them in front."""
        text = self._decode(window)
        self._proved_closed(text)
        pos = 0 if self.begun else self._begin(text)
        if self.block is not None:
            pos = self._collect(self.block, text, 1)
        number, counted = self.line, 0
        while True:
            match = self.notable.search(text, pos)
            if match is None:
                break
            start = match.end()
            number, counted = number + text.count("\n", counted, start), start
            line = text[start : text.index("\n", start)]
            pos = start + len(line)
            block = self._notable(line, number)
            if block is not None:
                pos = self._collect(block, text, start)
        self.line += text.count("\n") - 1

    def _number(self, text: str, pos: int) -> int:
        return self.line + text.count("\n", 0, pos)

    def _fault(self, text: str, pos: int, what: str, fix: str) -> ManifestError:
        column = pos - text.rfind("\n", 0, pos)
        return ManifestError(str(YamlError(column, what, fix, self._number(text, pos))))

    def _decode(self, window: bytes) -> str:
        """The window as text without byte order mark, line ends all LF."""
        if self.line == 0 and window.startswith(b"\n\xef\xbb\xbf"):
            window = b"\n" + window[4:]
        if b"\r" in window:
            window = window.replace(b"\r\n", b"\n")
        try:
            text = window.decode("utf-8")
        except UnicodeDecodeError as error:
            before = window[: error.start].decode("utf-8")
            raise self._fault(before, len(before), "not UTF-8", "publish it as UTF-8") from None
        clean = window.translate(None, _CONTROLS)
        if len(clean) != len(window) or len(text) != len(window) or "\r" in text:
            bad = _UNREADABLE.search(text)
            if bad:
                what = "character U+%04X" % ord(bad.group())
                raise self._fault(text, bad.start(), what, "remove it")
        return text

    def _proved_closed(self, text: str) -> None:
        """Refuse text in quotes or brackets that may go on in the next line."""
        pos = 0
        while True:
            match = _CLOSED.match(text, pos)
            pos = match.end() if match else pos
            if pos == len(text):
                return
            start = text.rfind("\n", 0, pos) + 1
            end = text.index("\n", pos)
            line = text[start:end]
            if not _IN_COMMENT.match(text, start, pos) and line not in self.closed:
                try:
                    yamlsubset.read_line(line)
                except YamlError as fault:
                    fault.line = self._number(text, start)
                    raise ManifestError(str(fault)) from None
                if len(line) < 200 and len(self.closed) < MAX_CLOSED_LINES:
                    self.closed.add(line)
            pos = end

    def _begin(self, text: str) -> int:
        """The position of the line end before the first key, or the end of the text."""
        pos = 0
        while True:
            match = _CONTENT.search(text, pos)
            if match is None:
                return len(text)
            start = match.start() + 1
            line = text[start : text.index("\n", start)]
            pos = start + len(line)
            if line.lstrip(" ").startswith("<"):
                fix = "check server and manifest in the configuration"
                raise self._fault(text, start, "this is HTML or XML, not a manifest", fix)
            try:
                entry = yamlsubset.read_line(line)
            except YamlError:
                entry = None  # the notable lines are looked at once more, the others need not be
            if entry is not None and entry.kind == yamlsubset.BLANK:
                continue
            if entry is not None and entry.kind == yamlsubset.START and not self.dashes:
                self.dashes = True
                continue
            if not yamlsubset.starts_entry(line):
                fix = "start the first host in column 1, without a dash"
                raise self._fault(text, start, "%s is not a host" % shown(line), fix)
            self.begun = True
            return start - 1

    def _notable(self, line: str, number: int) -> Optional[_Block]:
        """The block that a line in column 1 opens, if it is one that this host needs."""
        if not yamlsubset.starts_entry(line):
            return None
        try:
            key, _ = yamlsubset.read_key(line)
        except YamlError as fault:
            fault.line = number
            raise ManifestError(str(fault)) from None
        name = self.own if fold(key) == self.own else key
        if name not in RESERVED and name != self.own:
            if name.startswith("."):  # it may be a misspelt section that applies to this host
                fix = "use " + ", ".join(RESERVED)
                unknown = YamlError(1, "%s is not a reserved name" % shown(name), fix, number)
                self.unknown = self.unknown or str(unknown)
            return None
        if name in self.blocks:
            what = "%s is already on line %d" % (shown(key), self.blocks[name].line)
            raise ManifestError(str(YamlError(1, what, "keep one of the two", number)))
        self.room = MAX_BLOCK_CHARS
        self.blocks[name] = _Block(number, [])
        return self.blocks[name]

    def _collect(self, block: _Block, text: str, start: int) -> int:
        """Take the lines of a block from `start` on; return the position of the line end before
        the next entry, or the end of the text when the block may go on in the next window."""
        # From its own key on, or in a later window from the line end in front of it.
        match = _NEXT_ENTRY.search(text, start if not block.pieces else 0)
        end = match.start() if match else len(text) - 1
        block.pieces.append(text[start : end + 1])
        self.block = None if match else block
        self.room -= end + 1 - start
        if self.room < 0:
            raise ManifestError(str(_too_long(block.line)))
        return end
