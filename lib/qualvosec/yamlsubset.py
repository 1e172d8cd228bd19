# SPDX-License-Identifier: BSD-2-Clause
"""A strict subset of YAML: text to values, read exactly as YAML readers do, or refused.

Reads block mappings and lists, 16 deep; one-line lists `[a, "b"]`; plain, 'single' and "double"
quoted text; true, false, null, ~, nothing; whole numbers up to 18 digits; comments; one leading
`---`; a byte order mark; CRLF; white space, tabs too, before a comment or a line's end. Refuses,
with place and fix, what spans lines or means different things to YAML 1.1 and 1.2 (yes, 0x1F, 010,
08, 1.20, 3:15, 2026-12-20), anchors, aliases, tags, flow mappings, merge keys, block text, escapes
but \\" and \\\\, duplicate keys, other tabs, control and bidirectional characters, very long lines.

As nothing spans lines, each line is read on its own (`read_line`) and then put in its place
(`_Tree`). Most lines of a large file repeat: each different one is read once and remembered.
"""

import re
from itertools import chain
from typing import Any
from typing import Dict
from typing import Iterator
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple
from typing import Union

MAX_DEPTH = 16
MAX_KEY_CHARS = 255
MAX_LINE_BYTES = 65536
MEMO_LINES = 20000
PIECE_CHARS = 262144

Path = Tuple[Union[str, int], ...]


class Mark(NamedTuple):
    """Where a key or a list item stands in the text; both count from 1."""

    line: int
    column: int


class YamlError(ValueError):
    """One fault: `line` and `column` (from 1), `what` is wrong, the `fix`; safe to print."""

    def __init__(self, column: int, what: str, fix: str, line: int = 0) -> None:
        super().__init__(what)
        self.line, self.column, self.what, self.fix = line, column, what, fix

    def __str__(self) -> str:
        return "line %d, column %d: %s: %s" % (self.line, self.column, self.what, self.fix)


class Line(NamedTuple):
    """One line read on its own. A one-line list is a tuple of items and their columns here."""

    indent: int
    kind: int
    key: str
    value: object
    column: int  # of the key, or of the item behind its dash


# Kinds of line: nothing; `key: value`; `- value`; `key:` alone; the leading `---`.
BLANK, FIELD, ITEM, OPEN, START = range(5)
_NOTHING = Line(0, BLANK, "", None, 1)

# Not YAML, a line break to some readers only, or (the second set) able to disguise what one sees.
UNREADABLE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff"
_FORBIDDEN = re.compile("[%s\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]" % UNREADABLE)
_HOST = re.compile(r"""(["']?)([A-Za-z][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)+)\1:""")
_BLANKS = re.compile(r" *")
_COMMENT = re.compile(r"[ \t]#")
_END = re.compile(r"(?:[ \t]+#.*)?$")
_COLON = re.compile(r":(?=[ \t]|$)")
_DOCUMENT = re.compile(r"(?:---|\.\.\.)(?:[ \t]|$)")
_TEXT = re.compile(r".*")
_KEY_TEXT = re.compile(r".*?(?=:[ \t]|:$)")
_LIST_TEXT = re.compile(r"""[^][{}"',?\t]*""")
_QUOTED = re.compile(r"""  "((?:[^"\\\t]|\\["\\])*)"  |  '((?:[^'\t]|'')*)'  """, re.VERBOSE)
_WORDS: Dict[str, Optional[bool]] = {"~": None}
for _word, _meaning in (("true", True), ("false", False), ("null", None)):
    _WORDS.update({_word: _meaning, _word.title(): _meaning, _word.upper(): _meaning})
_DOUBTFUL = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n", "<<", "="))
_INTEGER = re.compile(r"0[0-7]?|-?[1-9][0-9]{0,17}")
# At least all that YAML 1.1 or 1.2 takes for a number or a date.
_NUMERIC = re.compile(
    r"""  [-+]? [0-9][0-9_]* (?: \.[0-9_]* )? (?: e[-+]?[0-9]+ )?
        | [-+]? \. (?: [0-9_]+ (?: e[-+]?[0-9]+ )? | inf | nan )
        | [-+]? 0 [xob] [0-9a-f_]*
        | [-+]? [0-9][0-9_]* (?: :[0-9]+ )+ (?: \.[0-9_]* )?
        | [0-9]{4} - [0-9]{1,2} - [0-9]{1,2} (?: [t\ ].* )?  """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_INDICATORS = {"|": "block text", ">": "block text", "&": "an anchor", "*": "an alias",
               "!": "a tag", "[": "a list", "{": "a flow mapping", "?": "a complex key"}
_INDICATORS.update((char, "a reserved character") for char in "%@`]},:#")


def shown(text: str) -> str:
    """Text as messages quote it: at most 40 characters, printable ASCII."""
    return ascii(text if len(text) <= 40 else text[:37] + "...")


def _plain(text: str, column: int) -> object:
    """The value of plain text without its comment; refuses what readers disagree on."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    what, fix = "", "quote it"
    if not text:
        what, fix = "is no value", "close the list on its line"
    elif text[0] in _INDICATORS:
        what = "starts %s, which is not read here" % _INDICATORS[text[0]]
    elif text[0] == "-" and text[1:2] in ("", " "):
        what = "is a list within a line"
    elif "\t" in text:
        what, fix = "has a tab in or before it", "use blanks"
    elif _COLON.search(text):
        what, fix = "holds a key within a value", "start a new line, or quote it"
    elif text.lower() in _DOUBTFUL:
        what, fix = "is a truth value or key to some readers", "write true or false, or quote it"
    elif _NUMERIC.fullmatch(text):
        what = "is a number or date that readers disagree on"
        fix = "write %s, or quote it" % (text[1] if text in ("08", "09") else "a plain number")
    if what:
        raise YamlError(column, "%s %s" % (shown(text), what), fix)
    return text


def _scalar(line: str, pos: int, plain: "re.Pattern[str]") -> Tuple[object, int]:
    """Quoted text, or what `plain` matches up to a comment."""
    if not line.startswith(('"', "'"), pos):
        text = _match(plain, line, pos)
        comment = _COMMENT.search(text)
        text = (text[: comment.start()] if comment else text).rstrip(" \t") or line[pos:]
        return _plain(text, pos + 1), pos + len(text)
    match = _QUOTED.match(line, pos)
    if match is None:
        what = "quoted text %s has no end, a tab or an escape" % shown(line[pos:])
        raise YamlError(pos + 1, what, "close it on its line; only \\\" and \\\\ are escapes")
    double, single = match.groups()
    value = single.replace("''", "'") if double is None else re.sub(r"\\(.)", r"\1", double)
    return value, match.end()


def _match(pattern: "re.Pattern[str]", line: str, pos: int) -> str:
    """What a pattern that matches anywhere, if only nothing, matches here."""
    match = pattern.match(line, pos)
    return match.group() if match else ""


def _flow_list(line: str, pos: int) -> Tuple[object, int]:
    """The items and their columns of the list that opens at `pos`; the position behind it."""
    items: List[Tuple[object, int]] = []
    separator = ","
    while separator == ",":
        start = pos + 1 + len(_match(_BLANKS, line, pos + 1))
        if line.startswith("]", start):
            return tuple(items), start + 1
        value, pos = _scalar(line, start, _LIST_TEXT)
        items.append((value, start + 1))
        pos += len(_match(_BLANKS, line, pos))
        separator = line[pos : pos + 1]
    if separator != "]":
        raise YamlError(pos + 1, "no , or ] at " + shown(line[pos:]), "close the list, or quote it")
    return tuple(items), pos + 1


def _value(line: str, pos: int) -> Tuple[object, int]:
    """What is behind a colon or dash, and where it starts (0 for nothing)."""
    if _END.match(line, pos):
        return None, 0
    start = pos + len(_match(_BLANKS, line, pos))
    listed = line[start] == "["
    value, end = _flow_list(line, start) if listed else _scalar(line, start, _TEXT)
    if not _END.match(line, end):
        raise YamlError(end + 1, shown(line[end:]) + " after the value", "put a blank before #")
    return value, start


def read_key(line: str, indent: int = 0) -> Tuple[str, int]:
    """The key of a line and the position behind its colon; raises like `read_line`."""
    key: object = None
    end = len(line)
    if _DOCUMENT.match(line):
        raise YamlError(1, "document mark %s" % shown(line), "keep one document in the file")
    if line[indent] in "\"'" or _COLON.search(line, indent + 1):
        key, end = _scalar(line, indent, _KEY_TEXT)
    colon = _COLON.match(line, end + len(_match(_BLANKS, line, end)))
    text = line[indent:end]
    if colon is None:
        what = "starts " + _INDICATORS.get(text[0], "neither 'key: value' nor '- item'")
        fix = "write 'key: value', 'key:' or '- item', each on one line"
        raise YamlError(indent + 1, shown(text) + " " + what, fix)
    if not isinstance(key, str) or colon.end() - indent > MAX_KEY_CHARS:
        what = "key %s is not text of at most %d characters" % (shown(text), MAX_KEY_CHARS)
        raise YamlError(indent + 1, what, "quote or shorten it")
    return key, colon.end()


def read_line(line: str) -> Line:
    """One line, without its line end, read on its own; a YamlError has no line number yet."""
    host = _HOST.fullmatch(line)  # most lines that do not repeat
    if host and len(line) <= MAX_KEY_CHARS:
        return Line(0, OPEN, host.group(2), None, 1)
    if len(line) > MAX_LINE_BYTES // 4 and len(line.encode("utf-8")) > MAX_LINE_BYTES:
        raise YamlError(1, "line %s is too long" % shown(line), "keep to %d bytes" % MAX_LINE_BYTES)
    bad = None if line.isprintable() else _FORBIDDEN.search(line)
    if bad:
        raise YamlError(bad.start() + 1, "character U+%04X" % ord(bad.group()), "remove it")
    indent = len(_match(_BLANKS, line, 0))
    line = line.rstrip(" \t")
    if len(line) <= indent or line[indent] == "#":
        return _NOTHING
    if line[indent] == "\t":
        raise YamlError(indent + 1, "tab at the start of a line", "indent with blanks")
    if line[indent] == "-" and line[indent + 1 : indent + 2] in ("", " ", "\t"):
        value, start = _value(line, indent + 1)
        return Line(indent, ITEM, "", value, (start or indent) + 1)
    if line.startswith("---") and _END.match(line, 3):
        return Line(0, START, "", None, 1)
    key, pos = read_key(line, indent)
    value, start = _value(line, pos)
    return Line(indent, FIELD if start else OPEN, key, value, indent + 1)


def starts_entry(line: str) -> bool:
    """Whether a line belongs to no entry before it: neither indented, blank, comment nor item."""
    return line[:1] not in ("", " ", "#", "\t") and line[:2] not in ("-", "- ", "-\t")


class _Duplicate(Exception):
    """A key came twice, and no positions were kept to say where it stood first."""


class _Tree:
    """The values so far, and the open mapping or list (`box`) that the next line may add to."""

    def __init__(self, marks: Optional[Dict[Path, Mark]]) -> None:
        self.marks = marks
        self.started = False
        self.quick = BLANK  # kind of line that needs nothing but to be added to `box`
        self.root = self.box = None  # type: Any
        self.indent = 0
        self.path: Path = ()
        self.waiting: Any = None  # the key of `box` that waits for its block
        self.outer: List[Tuple[Any, int, Path]] = []

    def place(self, number: int, line: Line) -> None:
        """Put a line that is not blank where it belongs."""
        indent, kind, key, value, column = line
        if self.box is None or kind == START:
            if indent:
                raise YamlError(indent + 1, "first entry is indented", "start it in column 1")
            if kind == START and self.started:
                raise YamlError(1, "'---' is not the first", "keep one document in the file")
            self.started = True
            if kind == START:
                return
            self.root = self.box = [] if kind == ITEM else {}
        elif self.waiting is not None and indent + (kind == ITEM) > self.indent:
            self._open_block(indent, kind)
        elif indent != self.indent or (kind == ITEM) != isinstance(self.box, list):
            self._close_blocks(indent, kind)
        items: Any = value if type(value) is tuple else ()
        value = [item for item, _ in items] if type(value) is tuple else value
        self.waiting = key if kind == OPEN else None
        self.quick = kind if kind != OPEN and self.marks is None else BLANK
        name: Union[str, int] = key
        if kind == ITEM:
            name = len(self.box)
            self.box.append(value)
        elif key in self.box:
            if self.marks is None:
                raise _Duplicate
            first = self.marks[self.path + (key,)].line
            what = "%s is already on line %d" % (shown(key), first)
            raise YamlError(column, what, "keep one of the two")
        else:
            self.box[key] = value
        if self.marks is not None:
            place = self.path + (name,)
            self.marks[place] = Mark(number, column)
            for position, (_, column) in enumerate(items):
                self.marks[place + (position,)] = Mark(number, column)

    def _open_block(self, indent: int, kind: int) -> None:
        """Open the block that a key waits for."""
        if len(self.outer) + 2 > MAX_DEPTH:
            raise YamlError(indent + 1, "over %d levels" % MAX_DEPTH, "nest less deeply")
        block: Any = [] if kind == ITEM else {}
        self.box[self.waiting] = block
        self.outer.append((self.box, self.indent, self.path))
        self.box, self.indent, self.path = block, indent, self.path + (self.waiting,)

    def _close_blocks(self, indent: int, kind: int) -> None:
        """Close the blocks that a line is outside of; it then fits the open one, or nothing."""
        if indent > self.indent:
            raise YamlError(indent + 1, "deeper than the line before allows", "align it")
        item = kind == ITEM
        while self.outer and (
            indent < self.indent
            # a list may stand in the column of its key, where the next key ends it
            or (indent == self.outer[-1][1] and isinstance(self.box, list) and not item)
        ):
            self.box, self.indent, self.path = self.outer.pop()
        if indent != self.indent:
            raise YamlError(indent + 1, "lines up with nothing above", "align the fields")
        if isinstance(self.box, list) != item:
            what = "item among fields" if item else "field among items"
            raise YamlError(indent + 1, what, "align it with what it belongs to")

    def drop(self, faulty: str) -> None:
        """Leave out the entry that the faulty line belongs to; go on at the root."""
        self.box, self.indent, self.path, self.waiting = self.root, 0, (), None
        self.quick = BLANK
        del self.outer[:]
        if self.root and not starts_entry(faulty) and isinstance(self.root, dict):
            self.root.popitem()  # the newest: insertion order holds in CPython 3.6 too


def _read(lines: Iterator[Tuple[int, str]], tree: _Tree, memo: Dict[str, Line]) -> None:
    """Read lines into the tree up to the end or the first fault."""
    number, line = 0, ""
    box, here, quick = tree.box, tree.indent, tree.quick
    try:
        for number, line in lines:
            entry = memo.get(line)
            if entry is None:
                entry = read_line(line)
                if entry.indent and len(memo) < MEMO_LINES:  # root keys do not repeat
                    memo[line] = entry
            indent, kind, key, value, _ = entry
            if kind == BLANK:
                continue
            if kind == quick and indent == here:
                if type(value) is tuple:
                    value = [item for item, _ in value]
                if kind == ITEM:
                    box.append(value)
                    continue
                if key not in box:
                    box[key] = value
                    continue
            tree.place(number, entry)
            box, here, quick = tree.box, tree.indent, tree.quick
    except YamlError as fault:
        fault.line = fault.line or number
        tree.drop(line)
        raise


def _pieces(data: bytes, first_line: int) -> Iterator[List[str]]:
    """Lists of lines; in pieces, since all lines at once would be most of the memory."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        column = error.start - data.rfind(b"\n", 0, error.start)
        line = first_line + data.count(b"\n", 0, error.start)
        raise YamlError(column, "not UTF-8", "save the file as UTF-8", line) from None
    start = 1 if text.startswith("\ufeff") else 0
    text = text.replace("\r\n", "\n")
    while start < len(text):
        end = text.find("\n", start + PIECE_CHARS)
        piece = text[start:] if end < 0 else text[start:end]
        yield piece.split("\n")
        start += len(piece) + 1


def load(data: bytes, marks: Optional[Dict[Path, Mark]] = None,
         faults: Optional[List[YamlError]] = None, first_line: int = 1) -> object:
    """The value of a text: dict, list, or None for nothing but comments. Raises the first fault.

    With `faults`, they are collected there, the root entries they are in are left out, and reading
    goes on at the next entry. `marks` is filled with the place of every key and item, which costs
    time and memory: read without, and again with them when there is something to report.
    """
    lines = enumerate(chain.from_iterable(_pieces(data, first_line)), first_line)
    tree = _Tree(marks)
    memo = {"": _NOTHING}
    found: List[YamlError] = []
    held = [(0, "")]  # the line to go on with
    while held:
        try:
            _read(chain(held, lines), tree, memo)
            held = []
        except _Duplicate:
            return load(data, {}, faults, first_line)
        except YamlError as fault:
            if faults is None:
                raise
            found.append(fault.with_traceback(None))  # which would keep every frame
            held = next(([pair] for pair in lines if starts_entry(pair[1])), [])
    if faults is not None:
        faults.extend(found)
    return tree.root
