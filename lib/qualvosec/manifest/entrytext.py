# SPDX-License-Identifier: BSD-2-Clause
"""The bytes of one root entry: find a field's value in it, replace it, leave all else.

An entry reaches from the line of its key to the last line with content; each line of the subset
stands on its own, so a field is found by reading single lines. A new value takes the place of the
old one: text keeps the quotes it had, a list in lines stays one, and of its items those that stay
keep their lines with the comments above them. A new field comes behind the last line, a new
list stands in brackets. Pure; the caller reads the result again and compares.
"""

import re
from typing import Any
from typing import Dict
from typing import List
from typing import Mapping
from typing import Optional
from typing import Sequence
from typing import Tuple
from typing import Union

from qualvosec import yamlsubset
from qualvosec.safetext import safe
from qualvosec.yamlsubset import YamlError

Scalar = Union[bool, int, str]
Value = Union[bool, int, str, Sequence[Scalar], None]      # None: no such field

PLAIN = "plain"
MAX_FLOW_CHARS = 400
_DEFAULT_INDENT = b"  "
# What no reader of YAML takes for anything but text, if it is not a word or a number.
_SURELY_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]*")
_COMMENT = re.compile(r"[ \t]#")


class EditError(ValueError):
    """An edit cannot be made; one line: object, what is wrong, what to do."""


def line_end(text: bytes) -> bytes:
    """Return the line end that text uses last, LF when there is none."""
    return b"\r\n" if text[:text.rfind(b"\n") + 1].endswith(b"\r\n") else b"\n"


def has_content(line: bytes) -> bool:
    """Say whether a line is more than blank or a comment."""
    return line.strip(b" \t\r\n")[:1] not in (b"", b"#")


def content_end(text: bytes) -> int:
    """Return the offset behind the last line with content, its line end included."""
    end = len(text)
    while end:
        start = text.rfind(b"\n", 0, end - 1) + 1
        if has_content(text[start:end]):
            break
        end = start
    return end


def indent_of(entry: bytes) -> bytes:
    """Return the blanks before the fields of an entry."""
    for line in entry.splitlines()[1:]:
        if has_content(line):
            return line[:len(line) - len(line.lstrip(b" "))]
    return _DEFAULT_INDENT


def spell(value: object, style: str = "") -> str:
    """Return a value as YAML on one line; raises EditError for text that cannot be written.

    Text that is not plain for certain is put in single quotes. The style asks for these quotes,
    or (PLAIN) for none as long as the text is read as what it is.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[%s]" % ", ".join(spell(item) for item in value)
    text = str(value)
    may_be_plain = style == PLAIN or (not style and _SURELY_PLAIN.fullmatch(text))
    if may_be_plain and _read_back(text) == text:
        return text
    if style == '"':
        written = '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"')
    else:
        written = "'%s'" % text.replace("'", "''")
    if _read_back(written) != text:
        raise EditError("%s: cannot be written: leave out tabs and control characters"
                        % safe(text, 60))
    return written


def _read_back(written: str) -> object:
    if "\n" in written:
        return None
    try:
        return yamlsubset.read_line("x: " + written).value
    except YamlError:
        return None


def key_line(name: str, end: bytes) -> bytes:
    """Return the line that opens an entry."""
    return spell(name).encode("utf-8") + b":" + end


def fields_text(fields: Mapping[str, Value], indent: bytes, end: bytes) -> bytes:
    """Return the lines of an entry's fields."""
    lines: List[bytes] = []
    for field, value in fields.items():
        if value is not None:
            lines.extend(_field_lines(field, value, indent))
    return b"".join(line + end for line in lines)


def _field_lines(field: str, value: Value, indent: bytes) -> List[bytes]:
    key = spell(field)
    line = "%s: %s" % (key, spell(value))
    if len(line) > MAX_FLOW_CHARS and isinstance(value, (list, tuple)):
        items = [indent + b"  - " + spell(item).encode("utf-8") for item in value]
        return [indent + key.encode("utf-8") + b":"] + items
    return [indent + line.encode("utf-8")]


def set_field(entry: bytes, field: str, value: Value, end: bytes) -> bytes:
    """Return an entry with another value of a field; `end` is what ends new lines.

    None takes the field's lines out. The entry is one of a text that has been read: what is not
    understood here raises EditError.
    """
    lines = entry.splitlines(True)      # of bytes: at LF, CR LF and lone CR, which is refused
    indent = indent_of(entry)
    found = _find(lines, field, indent)
    if found is None:
        if value is None:
            return entry
        added = _field_lines(field, value, indent)
        if entry.endswith(b"\n"):
            return entry + b"".join(line + end for line in added)
        return entry + b"".join(end + line for line in added)
    first, last = found
    if value is None:
        new: List[bytes] = []
    elif last > first:
        new = _replaced_block(lines[first:last + 1], value, end)
    else:
        new = [_replaced_value(lines[first], value)]
    return b"".join(lines[:first] + new + lines[last + 1:])


def _text_of(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode("utf-8")


def _find(lines: Sequence[bytes], field: str, indent: bytes) -> Optional[Tuple[int, int]]:
    """Return the first and the last line with content that belong to a field."""
    first = last = -1
    for number, line in enumerate(lines[1:], 1):
        if not has_content(line):
            continue
        is_field = line.startswith(indent) and line[len(indent):len(indent) + 1] not in b" " and (
            yamlsubset.read_line(_text_of(line)).kind != yamlsubset.ITEM)
        if is_field and first >= 0:
            break
        if is_field and yamlsubset.read_line(_text_of(line)).key == field:
            first = number
        if first >= 0:
            last = number
    return (first, last) if first >= 0 else None


def _value_span(text: str) -> Tuple[int, int]:
    """Return where the value of a line with a key stands; both ends behind the colon if none."""
    indent = len(text) - len(text.lstrip(" "))
    _, colon = yamlsubset.read_key(text, indent)
    whole = yamlsubset.read_line(text)
    if whole.kind == yamlsubset.OPEN:
        return colon, colon
    start = colon + len(text[colon:]) - len(text[colon:].lstrip(" "))
    places = [match.start() for match in _COMMENT.finditer(text, start)]
    for place in places + [len(text)]:
        piece = text[:place].rstrip(" \t")
        # A # within quotes ends nothing: what is left of it cannot be read.
        try:
            if yamlsubset.read_line(piece).value == whole.value:
                return start, len(piece)
        except YamlError:
            continue
    raise EditError("%s: is not understood: edit it by hand" % safe(text, 60))


def _replaced_value(line: bytes, value: Value) -> bytes:
    """Return a line with a key and another value, all in this line."""
    text = line.decode("utf-8")
    start, end = _value_span(_text_of(line))
    style = ""
    old = yamlsubset.read_line(_text_of(line)).value
    if isinstance(value, str) and isinstance(old, str) and text[start:end] != spell(old):
        style = text[start] if text[start] in "'\"" else PLAIN
    new = spell(value, style)
    if start == end:
        new = " " + new
    return (text[:start] + new + text[end:]).encode("utf-8")


def _replaced_block(lines: Sequence[bytes], value: Value, end: bytes) -> List[bytes]:
    """Return the lines of a field whose value stands in lines of its own, with another value."""
    is_list = yamlsubset.read_line(_text_of(_first_content(lines[1:]))).kind == yamlsubset.ITEM
    if not is_list or not isinstance(value, (list, tuple)) or not value:
        head = _replaced_value(lines[0], value)
        # The last line may be the file's last, without an end.
        return [head if lines[-1].endswith(b"\n") else head.rstrip(b"\r\n")]
    chunks, lead = _items(lines[1:])
    new = []
    for item in value:
        kept = chunks.get(_same(item))
        if kept:
            new.append(kept.pop(0))
        else:
            new.append(lead + spell(item).encode("utf-8") + end)
    new = [chunk if chunk.endswith(b"\n") else chunk + end for chunk in new]
    if not lines[-1].endswith(b"\n"):
        new[-1] = new[-1].rstrip(b"\r\n")
    return [lines[0]] + new


def _first_content(lines: Sequence[bytes]) -> bytes:
    return next(line for line in lines if has_content(line))


def _same(item: object) -> Tuple[type, Any]:
    """Return a key that is equal for equal items of one type: 1 is not true."""
    return type(item), repr(item)


def _items(lines: Sequence[bytes]) -> Tuple[Dict[Tuple[type, Any], List[bytes]], bytes]:
    """Return the items of a list in lines, each with the comments above it, and what is put
    before a new one."""
    chunks: Dict[Tuple[type, Any], List[bytes]] = {}
    lead, above = b"", b""
    for line in lines:
        if not has_content(line):
            above += line
            continue
        read = yamlsubset.read_line(_text_of(line))
        lead = lead or line[:read.indent] + b"- "
        value = [item for item, _ in read.value] if isinstance(read.value, tuple) else read.value
        chunks.setdefault(_same(value), []).append(above + line)
        above = b""
    return chunks, lead
