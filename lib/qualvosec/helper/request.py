# SPDX-License-Identifier: BSD-2-Clause
"""One request to root: read with bounds, accepted whole or refused with one line.

The caller is not trusted. A request is one JSON object in ASCII, at most 16 KiB,
complete within five seconds; the key set of its operation is exact, types are
exact (so no float and no NaN passes), no key stands twice. Names and patterns may
hold letters, digits and `_+.@-*?` only, and are later matched against what is
installed: nothing of a request ever becomes an argument, a path or a file name.
"""

import os
import select
import time
from typing import Callable
from typing import List
from typing import NamedTuple
from typing import Tuple

from qualvosec.contract import names
from qualvosec.contract import shape
from qualvosec.contract.call import KEYS
from qualvosec.contract.call import MAX_REQUEST
from qualvosec.contract.call import VERSION

READ_S = 5.0


class RequestError(ValueError):
    """The request is not one that root serves; the text is one line."""


class Request(NamedTuple):
    """A request that passed every check; `not_after` is in epoch seconds, 0 where it has none."""

    op: str = ""
    window: str = ""
    not_after: int = 0
    refresh: bool = False
    security_only: bool = False
    only: Tuple[str, ...] = ()
    exclude: Tuple[str, ...] = ()
    wait: bool = False


def read(fd: int, clock: Callable[[], float] = time.monotonic) -> bytes:
    """Return what the caller sends until its end of file; RequestError if too much or too slow."""
    end = clock() + READ_S
    data = b""
    while len(data) <= MAX_REQUEST:
        left = end - clock()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            raise RequestError("no complete request within %d seconds: close the stream after it"
                               % READ_S)
        piece = os.read(fd, MAX_REQUEST + 1 - len(data))
        if not piece:
            return data
        data += piece
    raise RequestError("the request is larger than %d bytes" % MAX_REQUEST)


def parse(data: bytes) -> Request:
    """Return the request that `data` holds; raises RequestError."""
    try:
        fields = shape.parse(data)
    except shape.ShapeError:
        raise RequestError("the request is not one JSON object in ASCII with unique keys") from None
    if type(fields) is not dict:
        raise RequestError("the request is not a JSON object")
    version, op = fields.pop("v", None), fields.pop("op", None)
    if type(version) is not int or version != VERSION:
        raise RequestError("v: this helper speaks version %d" % VERSION)
    if type(op) is not str or op not in KEYS:
        raise RequestError("op: not one of %s" % ", ".join(sorted(KEYS)))
    if set(fields) != set(KEYS[op]):
        raise RequestError("%s: takes exactly the keys v, op, %s" % (op, ", ".join(KEYS[op])))
    for key, kind in KEYS[op].items():
        if type(fields[key]) is not kind:
            raise RequestError("%s: %s is not of type %s" % (op, key, kind.__name__))
        if kind is list:
            fields[key] = _patterns(fields[key], key)
    if "window" in fields and not names.WINDOW.fullmatch(fields["window"]):
        raise RequestError("window: is not of the form 20261124T0215Z")
    if not 0 < fields.get("not_after", 1) < 1 << 40:
        raise RequestError("not_after: is not a time in epoch seconds")
    return Request(op=op, **fields)


def _patterns(items: List[object], key: str) -> Tuple[str, ...]:
    if len(items) > names.MAX_PATTERNS:
        raise RequestError("%s: has more than %d entries" % (key, names.MAX_PATTERNS))
    for place, item in enumerate(items):
        if type(item) is not str or not names.is_pattern(item):
            raise RequestError("%s: entry %d is not a package name or pattern" % (key, place + 1))
    return tuple(str(item) for item in items)
