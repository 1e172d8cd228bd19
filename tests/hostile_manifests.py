# SPDX-License-Identifier: BSD-2-Clause
"""Texts made to hurt whoever reads them: every one has to be refused, fast and in one line.

`cases` are whole texts; `growing` are makers that take a size, for work that must stay linear.
"""

from typing import Callable
from typing import List
from typing import Tuple

Maker = Callable[[int], bytes]

HOST = "web01.example.org"


def _laughs() -> str:
    lines = ["a0: &a0 [lol]"]
    lines += ["a%d: &a%d [%s]" % (n, n, ", ".join(["*a%d" % (n - 1)] * 10)) for n in range(1, 9)]
    return "\n".join(lines)


TEXTS = {
    "nul": HOST + ":\n  x: a\0b\n",
    "nul alone": "\0",
    "bell": HOST + ":\n  x: \a\n",
    "escape sequence in a key": "\x1b]0;pwned\x07" + HOST + ":\n  patch: true\n",
    "escape sequence in a comment": HOST + ":\n  patch: true # \x1b[2J\n",
    "c1 control in a name": "web\x9b31m.example.org:\n  patch: true\n",
    "next line character": HOST + ":\n  patch: true # \x85evil.example.org:\n",
    "line separator": HOST + ":\n  x: a\u2028b\n",
    "paragraph separator": HOST + ":\n  x: a\u2029b\n",
    "lone carriage return": HOST + ":\n  x: a\rb\n",
    "delete": HOST + ":\n  x: \x7f\n",
    "right to left override in a name": "web\u202e10.example.org:\n  patch: true\n",
    "isolate in a comment": HOST + ":\n  patch: false # \u2066patch: true\u2069\n",
    "left to right mark": HOST + "\u200e:\n  patch: true\n",
    "byte order mark inside": HOST + ":\n\ufeff  patch: true\n",
    "two byte order marks": "\ufeff\ufeffa: 1\n",
    "noncharacter": HOST + ":\n  x: \uffff\n",
    "vertical tab": "a:\n  b: 1\x0bc: 2\n",
    "form feed": "a:\n  b: 1\x0c\n",
    "flow sequences, 30000 deep": "[" * 30000,
    "flow sequences in a value": "a: " + "[" * 30000,
    "flow mappings, 30000 deep": "{" * 30000,
    "question marks": "? " * 20000,
    "dashes, 20000 deep": "- " * 20000,
    "blocks, 2000 deep": "".join("%sa:\n" % (" " * n) for n in range(2000)),
    "lists under keys, 100 deep": "".join("%s- a:\n" % ("  " * n) for n in range(100)),
    "aliases that multiply": _laughs(),
    "a list that holds itself": "a: &a [*a]\n",
    "merge keys": "a: &a {b: 1}\nc:\n  <<: *a\n",
    "tag of a language object": "a: !!python/object/apply:os.system [id]\n",
    "local tag": "a: !x b\n",
    "binary tag": "a: !!binary aGk=\n",
    "directive": "%YAML 1.1\n---\na: 1\n",
    "5000 digits": "a: " + "9" * 5000,
    "5000 digits, negative": "a: -" + "9" * 5000,
    "19 digits": "a: 1" + "0" * 18,
    "octal of 5000 digits": "a: 0" + "7" * 5000,
    "hexadecimal": "a: 0x" + "f" * 5000,
    "float": "a: 1e99999\n",
    "sexagesimal of 5000 parts": "a: 1" + ":59" * 5000,
    "no such date": "a: 2026-13-45\n",
    "infinity": "a: .inf\n",
    "double quote never closed": HOST + ':\n  x: "' + "a\n  " * 20000,
    "single quote never closed": "a: '" + "b''" * 20000,
    "backslashes": 'a: "' + "\\" * 60001 + '"',
    "escape that makes a nul": 'a: "\\0"\n',
    "escaped line end": 'a: "b\\\n  c"\n',
    "bracket never closed": "a: [b,\n" + "  c,\n" * 20000,
    "brace never closed": "a: {b: c,\n" + "  d: e,\n" * 20000,
    "block text": "a: |\n" + "  b\n" * 20000,
    "one long line": "a: " + "b" * 70000,
    "one long key": "b" * 60000 + ": a\n",
    "one long comment": "# " + "c" * 70000,
    "a long key in quotes": '"' + "b" * 60000 + '": a\n',
    "one long line of blanks": " " * 70000 + "a: 1\n",
    "20000 times the same host": (HOST + ":\n") * 20000,
    "100000 times the same field": "a:\n" + "  b: 1\n" * 100000,
    "commas": "a: [" + "," * 60000 + "]",
    "colons": ":" * 60000,
    "colons and blanks": ": " * 30000,
    "hashes in a value": "a: b: " + "#" * 60000,
    "quotes": "'" * 60001,
    "asterisks": "*" * 60000,
    "ampersands": "&" * 60000,
    "tabs": "a:" + "\t" * 60000 + "b",
    "blanks and tabs": "a:" + " \t" * 30000 + "b",
    "blanks before a hash": "a: 'b" + " " * 60000 + "#",
    "document marks": "---\n" * 5000,
    "document ends": "a: 1\n" + "...\n" * 5000,
    "a document behind": "a: 1\n---\na: 2\n",
    "html": "<!DOCTYPE html>\n<html><body>404</body></html>\n",
    "json": '{"web01.example.org": {"patch": true}}\n',
    "ini": "[general]\nserver = x\n",
    "shell": "#!/bin/sh\nrm -rf /\n",
    "xml": '<?xml version="1.0"?><a/>\n',
    "a word": "not found",
    "a sentence": "404: Not Found\nnginx\n",
}
BYTES = {
    "utf-16": "a: 1\n".encode("utf-16"),
    "utf-32": "a: 1\n".encode("utf-32"),
    "latin-1": b"a: b\xfcro\n",
    "surrogate": b"a: \xed\xa0\x80\n",
    "overlong nul": b"a: \xc0\x80\n",
    "cut within a character": b"a: \xe2\x82",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "elf": b"\x7fELF\x02\x01\x01",
    "png": b"\x89PNG\r\n\x1a\n",
    "all bytes": bytes(range(256)) * 100,
}


def cases() -> List[Tuple[str, bytes]]:
    """Names and texts, each to be refused."""
    found = [(name, text.encode("utf-8")) for name, text in TEXTS.items()]
    return found + list(BYTES.items())


def growing() -> List[Tuple[str, Maker]]:
    """Makers of texts of about `size` bytes; read or refused, the work has to be linear."""
    line = [
        "a: b",
        "a: 'b",
        'a: "b',
        "a: [b",
        "a: b  ",
        "a:",
        "",
        "# ",
        "- ",
        "a: 'b'",
        "a:\t",
        "a: [b, ",
        "'a'",
    ]
    unit = [
        " ",
        "a",
        ":",
        " #",
        "'",
        "\\",
        "[",
        ", ",
        "a: ",
        "\t",
        "''",
        '""',
        "a,",
        " :",
        "0",
        "_",
        "9:",
        "-",
        ".",
        "\u00e4",
    ]
    found: List[Tuple[str, Maker]] = []
    for head in line:
        for part in unit:
            found.append(("%r and many %r" % (head, part), _line_maker(head, part)))
    for part in (
        "a:\n",
        "a:\n  b: 1\n",
        "- x\n",
        "  \n",
        "bad\n",
        "a: 'x\n",
        "\n",
        "#\n",
        "a%d:\n",
        " a: %d\n",
        "\r\n",
        "a:\n\tb: 1\n",
        "a%d: 08\n",
    ):
        found.append(("many %r" % part, _lines_maker(part)))
    return found


def _line_maker(head: str, part: str) -> Maker:
    # A line may have 65536 bytes: beyond that nothing is looked at.
    return lambda size: (head + part * (size // len(part.encode("utf-8")))).encode("utf-8")[:65000]


def _lines_maker(part: str) -> Maker:
    def make(size: int) -> bytes:
        count = size // len(part)
        text = "".join(part % n for n in range(count)) if "%d" in part else part * count
        return text.encode("utf-8")

    return make


def is_linear(cost: Callable[[bytes], float], small: bytes, large: bytes) -> bool:
    """Four times the text in less than eight times the CPU: quadratic were sixteen.

    Measured again only where it looks bad: other work may have been in the way.
    """
    best = [1e9, 1e9]
    for _ in range(5):
        best = [min(pair) for pair in zip(best, (cost(small), cost(large)))]
        if best[1] < 8 * best[0] + 0.05:
            return True
    return False
