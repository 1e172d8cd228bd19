# SPDX-License-Identifier: BSD-2-Clause
"""A higher serial in a manifest, every other byte left as it is: pure, from bytes to bytes.

Hosts that verify signatures take no manifest with a lower serial than the last
one, and none with the same serial and other content. So whatever is signed
needs a new one. Where there is no serial yet, it is put in: behind what
.manifest says already, or in a .manifest section before the first entry.
"""

from typing import Any
from typing import Dict
from typing import Tuple

from qualvosec import yamlsubset
from qualvosec.manifest import entrytext
from qualvosec.manifest.edit import spans
from qualvosec.manifest.entrytext import EditError
from qualvosec.manifest.schema import HEADER
from qualvosec.manifest.schema import MAX_SERIAL
from qualvosec.yamlsubset import YamlError


def of(data: bytes) -> int:
    """Return the serial of a manifest, 0 without a usable one; EditError if it does not parse."""
    header = spans.read(data).root.get(HEADER)
    found = header.get("serial") if isinstance(header, dict) else None
    return found if type(found) is int and 0 <= found <= MAX_SERIAL else 0


def raised(data: bytes, today: int, floor: int = 0) -> Tuple[bytes, int]:
    """Return the manifest with a serial above its own and above `floor`, and that serial.

    `today` is a date's ordinal: serials that begin with a date keep doing so, and
    a first one does. Raises EditError when the text does not allow it.
    """
    source = spans.read(data)
    header = source.root.get(HEADER)
    if not isinstance(header, dict) and header is not None:
        raise EditError("%s: has no fields: correct it first" % HEADER)
    old = (header or {}).get("serial", 0)
    if type(old) is not int or not 0 <= old <= MAX_SERIAL:
        raise EditError("%s: serial: is not a number from 0 to %d: correct it first"
                        % (HEADER, MAX_SERIAL))
    # Any date will do to begin with: today's follows.
    new = spans.next_serial(max(old, floor) or 1970010101, today)
    if new > MAX_SERIAL:
        raise EditError("%s: serial: cannot be raised above %d: see qualvosec reset serial"
                        % (HEADER, MAX_SERIAL))
    meant: Dict[str, Any] = {} if HEADER in source.root else {HEADER: {}}
    meant.update(source.root)
    meant[HEADER] = dict(header or {}, serial=new)
    result = source.bom + _text(source, new)
    try:
        found = yamlsubset.load(result)
    except YamlError as fault:
        raise EditError("not done: the result would have a fault: %s" % fault) from None
    if found != meant or list(meant) != list(found):
        raise EditError("not done: the result would not be what was meant: write serial: %d into "
                        "%s by hand" % (new, HEADER))
    return result, new


def _text(source: spans.Source, serial: int) -> bytes:
    body = source.body
    end = entrytext.line_end(body)
    if HEADER in source.root:
        start, following = source.bounds(HEADER)
        entry = body[start:following]
        head = entry[:entrytext.content_end(entry)]
        return b"".join((body[:start], entrytext.set_field(head, "serial", serial, end),
                         entry[len(head):], body[following:]))
    place = source.starts[0]
    # The comment directly above an entry belongs to it.
    while place:
        above = body.rfind(b"\n", 0, place - 1) + 1
        if not body[above:place].lstrip(b" \t").startswith(b"#"):
            break
        place = above
    section = ("%s:\n  serial: %d\n\n" % (HEADER, serial)).encode("ascii").replace(b"\n", end)
    return body[:place] + section + body[place:]
