# SPDX-License-Identifier: BSD-2-Clause
"""Read manual pages in mdoc(7) as far as tests need: sections, lists, items, plain text.

A page is cut into sections; a section holds items of lists, each with the words of
its `.It` line, the text below it and the items of the lists within it.
"""

import os
import re
from typing import Dict
from typing import List

from tests import ROOT

FOLDER = os.path.join(ROOT, "man")
PAGES = ("qualvosec.8", "qualvosec-helper.8", "qualvosec-admin.8", "qualvosec-server.8",
         "qualvosec.conf.5", "qualvosec-manifest.5")
_MACRO = re.compile(r"^\.([A-Z%][A-Za-z]{1,2})(?: (.*))?$")


class Item:
    """One item of a list: the words of its head, its text, its own items."""

    def __init__(self, head: str) -> None:
        """Start an item whose .It line holds `head`."""
        self.words = head.split()
        self.lines: List[str] = []
        self.items: List["Item"] = []

    def text(self) -> str:
        """Return the text of the item without that of its own items."""
        return plain(self.lines)

    def named(self, macro: str) -> List[str]:
        """Return the names that the head gives by a macro: `Fl c Ar file , Fl -config`."""
        names, current = [], ""
        for word in self.words:
            if word[0].isupper() and len(word) == 2:
                current = word
            elif current == macro and word not in (",", ":", "|"):
                names.append(word)
        return names

    def aliases(self) -> List[str]:
        """Return the names of a command: `Cm remove , Cm delete Ar host`."""
        return re.findall(r"(?:^|, )Cm (\S+)", " ".join(self.words))


def plain(lines: List[str]) -> str:
    """Return lines as running text, macros and escapes taken away."""
    words: List[str] = []
    for line in lines:
        macro = _MACRO.match(line)
        if not macro:
            words.append(line)
        elif macro.group(1) not in ("Bl", "El", "Pp", "Bd", "Ed"):
            parts = (macro.group(2) or "").split()
            words.append(" ".join(part for part in parts
                                  if not (part[0].isupper() and len(part) == 2)))
    text = re.sub(r"\\(?:&|\(dq)", "", " ".join(words).replace("\\e", "\\"))
    return re.sub(r" ([.,;:])(?= |$)", r"\1", text)


def sections(name: str) -> Dict[str, List[str]]:
    """Return the lines of each .Sh section of a page; .Ss starts one, too, as "SECTION/Title"."""
    found: Dict[str, List[str]] = {}
    section = title = ""
    with open(os.path.join(FOLDER, name), encoding="utf-8") as handle:
        for line in handle.read().splitlines():
            if line.startswith(".Sh "):
                title = section = line[4:]
            elif line.startswith(".Ss "):
                section = "%s/%s" % (title, line[4:])
            found.setdefault(section, []).append(line)
    return found


def items(name: str, section: str) -> List[Item]:
    """Return the items of the outermost lists of a section."""
    top = Item("")
    stack = [top]
    for line in sections(name)[section]:
        if line.startswith(".Bl "):
            stack.append(Item(""))
        elif line == ".El":
            stack.pop()
        elif line.startswith(".It"):
            item = Item(line[4:])
            parent = top if len(stack) == 2 else stack[-2]
            parent.items.append(item)
            stack[-1] = item
        else:
            stack[-1].lines.append(line)
    assert stack == [top], "%s: %s: a list is not closed" % (name, section)
    return top.items


def all_items(found: List[Item]) -> List[Item]:
    """Return items and all the items within them."""
    result = []
    for item in found:
        result.append(item)
        result.extend(all_items(item.items))
    return result


def literal(name: str, section: str) -> List[str]:
    """Return the text of each .Bd block of a section, as a reader sees it."""
    blocks: List[str] = []
    inside = False
    for line in sections(name)[section]:
        if line.startswith(".Bd "):
            inside = True
            blocks.append("")
        elif line == ".Ed":
            inside = False
        elif inside:
            blocks[-1] += line.replace("\\&", "").replace("\\e", "\\") + "\n"
    return blocks
