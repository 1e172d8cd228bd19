# SPDX-License-Identifier: BSD-2-Clause
"""What passes between the daemon and its fetch child: one JSON line each way.

The request is at most 16 KiB, the reply at most 64 KiB, both ASCII. The child
reads what a web server sent, so the daemon checks its line as if a stranger had
written it: exact types, closed ranges, printable text, parts that fit together.
The same check reads the accepted reply back from the daemon's cache, which another
version may have written. Resident: neither network nor YAML is imported here.
"""

import json
from typing import Any
from typing import Dict
from typing import NamedTuple
from typing import Optional
from typing import Tuple
from typing import Union

from qualvosec.contract import shape
from qualvosec.manifest import policy as policies
from qualvosec.manifest.fields import MAX_ORDINAL
from qualvosec.manifest.policy import Policy

VERSION = 1
MAX_REQUEST_BYTES = 16 * 1024
MAX_REPLY_BYTES = 64 * 1024
MAX_REASON = 600        # characters
MAX_FAULTS = 20
MAX_FAULT = 300         # characters
MAX_VALIDATOR = 256
MAX_SERIAL = 10 ** 18 - 1
MAX_RETRY_AFTER_S = 6 * 3600


class FetchError(ValueError):
    """The manifest could not be had, or not as was agreed; the text is one line."""


class FetchRequest(NamedTuple):
    """What the child is to fetch and to look up; texts that are empty are not used."""

    url: str
    fqdn: str
    user_agent: str
    etag: str = ""                      # validators of the last accepted manifest
    last_modified: str = ""
    signature_url: str = ""             # with allowed_signers only
    signature_sha256: str = ""          # of the last accepted signature file
    allowed_signers: str = ""           # path; set: an unsigned manifest is refused
    audience: str = ""                  # bind, like serial, only with allowed_signers
    serial: int = 0                     # of the last accepted manifest
    sha256: str = ""                    # of the last accepted manifest
    fresh: bool = False                 # let caches on the way look again
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    proxy: str = ""
    deadline_s: int = 60


class FetchReply(NamedTuple):
    """What the child found out."""

    result: str                         # new | same | failed
    reason: str = ""                    # failed: one printable line
    entry: str = ""                     # new: policy | unlisted | invalid
    policy: Optional[Policy] = None     # entry policy
    faults: Tuple[str, ...] = ()        # entry invalid: "line 3, column 5: what: fix"
    etag: str = ""
    last_modified: str = ""
    signature: str = ""                 # good | bad | "": not required or not reached
    signature_etag: str = ""            # kept by earlier versions, and not asked with
    signature_last_modified: str = ""   # the same
    signature_sha256: str = ""          # new, signed: of the signature file's bytes
    serial: int = 0
    expires: int = 0                    # ordinal of the last valid day, 0: none
    sha256: str = ""                    # new: of the manifest's bytes, hexadecimal
    date: int = 0                       # epoch seconds of the server's clock, 0: not told
    retry_after: int = 0                # seconds the server asked to wait, bounded


def _text(most: int) -> shape.Part:
    return shape.check(lambda value: type(value) is str and len(value) <= most
                       and value.isprintable(), "is not one printable line of its length")


def _ascii(most: int) -> shape.Part:
    return shape.check(lambda value: type(value) is str and len(value) <= most
                       and all(" " <= char <= "~" for char in value), "is not such a line in ASCII")


_VALIDATOR, _SERIAL = _ascii(MAX_VALIDATOR), shape.number(0, MAX_SERIAL)
_SHA256 = shape.check(lambda value: type(value) is str and len(value) in (0, 64)
                      and not value.strip("0123456789abcdef"), "is not a SHA-256")
_FAULT = shape.check(lambda value: type(value) is str and 0 < len(value) <= MAX_FAULT
                     and value.isprintable(), "is not a fault in one line")
_REQUEST = shape.record(
    FetchRequest, version=VERSION, exact=True, url=_text(2048), fqdn=_text(255),
    user_agent=_ascii(400), etag=_VALIDATOR, last_modified=_VALIDATOR, signature_url=_text(2048),
    signature_sha256=_SHA256, allowed_signers=_text(4096), audience=_text(128),
    serial=_SERIAL, sha256=_SHA256, ca_file=_text(4096),
    client_cert=_text(4096), client_key=_text(4096), proxy=_text(2048),
    deadline_s=shape.number(0, 3600))
_REPLY = shape.record(
    FetchReply, version=VERSION, result=shape.word("new", "same", "failed"),
    reason=_text(MAX_REASON), entry=shape.word("", "policy", "unlisted", "invalid"),
    policy=lambda value, notes: None if value is None else policies.from_json(value, notes),
    faults=shape.list_of(_FAULT, MAX_FAULTS), etag=_VALIDATOR, last_modified=_VALIDATOR,
    signature=shape.word("", "good", "bad"), signature_etag=_VALIDATOR,
    signature_last_modified=_VALIDATOR, signature_sha256=_SHA256, serial=_SERIAL,
    expires=shape.number(0, MAX_ORDINAL), sha256=_SHA256, date=shape.number(0),
    retry_after=shape.number(0, MAX_RETRY_AFTER_S))


def request_line(**fields: Union[str, int]) -> bytes:
    """Return the line for the child's standard input, from the fields of a FetchRequest by name.

    What is out of range is not refused here: the child answers that it failed, and why.
    """
    return _line(dict(FetchRequest(**fields)._asdict()))     # type: ignore[arg-type]


def parse_request(line: bytes) -> FetchRequest:
    """Read a request; raises FetchError. A wish that this version does not know is refused."""
    found = _object(line, MAX_REQUEST_BYTES, "request")
    request: FetchRequest = _read(_REQUEST, found, [], "request")
    return request


def reply_line(reply: FetchReply) -> bytes:
    """Return the line for the child's standard output; raises FetchError when it is too long."""
    line = _line(to_object(reply))
    if len(line) > MAX_REPLY_BYTES:
        raise FetchError("reply: is longer than %d bytes" % MAX_REPLY_BYTES)
    return line


def parse_reply(line: bytes) -> FetchReply:
    """Read and check a reply; raises FetchError, also for a key that this version does not know."""
    notes: shape.Notes = []
    reply = from_object(_object(line, MAX_REPLY_BYTES, "reply"), notes)
    if notes:
        # The program on disk was replaced: what it says may restrict what this one would do.
        raise FetchError("reply: newer than this version: %s" % shape.told(notes))
    return reply


def to_object(reply: FetchReply) -> Dict[str, object]:
    """Return a reply as values that the json module writes as they are."""
    value: Dict[str, object] = dict(reply._asdict())
    value["v"] = VERSION
    value["policy"] = policies.to_json(reply.policy) if reply.policy is not None else None
    value["faults"] = list(reply.faults)
    return value


def from_object(value: object, notes: shape.Notes) -> FetchReply:
    """Check what to_object() of any version wrote, types and sense; raises FetchError."""
    reply: FetchReply = _read(_REPLY, value, notes, "reply")
    if not _consistent(reply):
        raise FetchError("reply: its parts do not fit together")
    return reply


def _read(part: shape.Part, value: object, notes: shape.Notes, what: str) -> Any:
    try:
        return part(value, notes)
    except shape.ShapeError as error:
        raise FetchError("%s: %s" % (what, error)) from None


def _consistent(reply: FetchReply) -> bool:
    new = reply.result == "new"
    return ((reply.result == "failed") == bool(reply.reason)
            and new == bool(reply.entry) and new == bool(reply.sha256)
            and (reply.entry == "policy") == (reply.policy is not None)
            and (reply.entry == "invalid") == bool(reply.faults)
            and (reply.signature != "bad" or reply.result == "failed")
            and (new or not (reply.serial or reply.expires)))


def _line(value: Dict[str, object]) -> bytes:
    value["v"] = VERSION
    return json.dumps(value, sort_keys=True).encode("ascii") + b"\n"


def _object(line: bytes, limit: int, what: str) -> object:
    if len(line) > limit:
        raise FetchError("%s: is longer than %d bytes" % (what, limit))
    if not line.endswith(b"\n") or line.count(b"\n") != 1:
        raise FetchError("%s: is not one whole line" % what)
    return _read(lambda data, notes: shape.parse(data), line, [], what)
