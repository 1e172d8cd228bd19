# SPDX-License-Identifier: BSD-2-Clause
"""What passes between the daemon and its fetch child: one JSON line each way.

The request is at most 16 KiB, the reply at most 64 KiB, both ASCII. The child
reads what a web server sent, so the daemon checks its line as if a stranger had
written it: exact keys, exact types, closed ranges, printable text, parts that
fit together. The same check reads the accepted reply back from the daemon's
cache. Resident: neither network nor YAML is imported here.
"""

import json
from typing import Callable
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple
from typing import Union
from typing import cast

from qualvosec.manifest import policy as policies
from qualvosec.manifest.policy import MAX_ORDINAL
from qualvosec.manifest.policy import Policy
from qualvosec.manifest.policy import PolicyError

VERSION = 1
MAX_REQUEST_BYTES = 16 * 1024
MAX_REPLY_BYTES = 64 * 1024
MAX_REASON = 600        # characters
MAX_FAULTS = 20
MAX_FAULT = 300         # characters
MAX_VALIDATOR = 256
MAX_SERIAL = 10 ** 18 - 1
MAX_RETRY_AFTER_S = 6 * 3600
_MAX_TIME = 1 << 53


class LineError(ValueError):
    """A line of the other side is not what was agreed; the text is one line."""


class Request(NamedTuple):
    """What the child is to fetch and to look up; texts that are empty are not used."""

    url: str
    fqdn: str
    user_agent: str
    etag: str = ""                      # validators of the last accepted manifest
    last_modified: str = ""
    signature_url: str = ""             # with allowed_signers only
    signature_etag: str = ""
    signature_last_modified: str = ""
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


class Reply(NamedTuple):
    """What the child found out."""

    result: str                         # new | same | failed
    reason: str = ""                    # failed: one printable line
    entry: str = ""                     # new: policy | unlisted | invalid
    policy: Optional[Policy] = None     # entry policy
    faults: Tuple[str, ...] = ()        # entry invalid: "line 3, column 5: what: fix"
    etag: str = ""
    last_modified: str = ""
    signature: str = ""                 # good | bad | "": not required or not reached
    signature_etag: str = ""
    signature_last_modified: str = ""
    serial: int = 0
    expires: int = 0                    # ordinal of the last valid day, 0: none
    sha256: str = ""                    # new: of the manifest's bytes, hexadecimal
    date: int = 0                       # epoch seconds of the server's clock, 0: not told
    retry_after: int = 0                # seconds the server asked to wait, bounded


Check = Callable[[object], bool]


def _word(*allowed: str) -> Check:
    return lambda value: isinstance(value, str) and value in allowed


def _number(high: int) -> Check:
    return lambda value: type(value) is int and 0 <= value <= high


def _text(limit: int) -> Check:
    return lambda value: isinstance(value, str) and len(value) <= limit and value.isprintable()


def _ascii(limit: int) -> Check:
    return lambda value: (isinstance(value, str) and len(value) <= limit
                          and all(" " <= char <= "~" for char in value))


def _digest(value: object) -> bool:
    return isinstance(value, str) and (not value or (
        len(value) == 64 and not value.strip("0123456789abcdef")))


def _faults(value: object) -> bool:
    return (isinstance(value, list) and len(value) <= MAX_FAULTS
            and all(_text(MAX_FAULT)(fault) and fault for fault in value))


_REQUEST: Dict[str, Check] = {
    "url": _text(2048), "fqdn": _text(255), "user_agent": _ascii(400),
    "etag": _ascii(MAX_VALIDATOR), "last_modified": _ascii(MAX_VALIDATOR),
    "signature_url": _text(2048), "signature_etag": _ascii(MAX_VALIDATOR),
    "signature_last_modified": _ascii(MAX_VALIDATOR), "allowed_signers": _text(4096),
    "audience": _text(128), "serial": _number(MAX_SERIAL), "sha256": _digest,
    "fresh": lambda value: type(value) is bool, "ca_file": _text(4096),
    "client_cert": _text(4096), "client_key": _text(4096), "proxy": _text(2048),
    "deadline_s": _number(3600),
}
_REPLY: Dict[str, Check] = {
    "result": _word("new", "same", "failed"), "reason": _text(MAX_REASON),
    "entry": _word("", "policy", "unlisted", "invalid"),
    "policy": lambda value: value is None or type(value) is dict, "faults": _faults,
    "etag": _ascii(MAX_VALIDATOR), "last_modified": _ascii(MAX_VALIDATOR),
    "signature": _word("", "good", "bad"), "signature_etag": _ascii(MAX_VALIDATOR),
    "signature_last_modified": _ascii(MAX_VALIDATOR), "serial": _number(MAX_SERIAL),
    "expires": _number(MAX_ORDINAL), "sha256": _digest, "date": _number(_MAX_TIME),
    "retry_after": _number(MAX_RETRY_AFTER_S),
}


def request_line(**fields: Union[str, int]) -> bytes:
    """Return the line for the child's standard input, from the fields of a Request by name.

    What is out of range is not refused here: the child answers that it failed, and why.
    """
    return _line(dict(Request(**fields)._asdict()))     # type: ignore[arg-type]


def parse_request(line: bytes) -> Request:
    """Read a request; raises LineError."""
    value = _object(line, MAX_REQUEST_BYTES, "request")
    _check(value, _REQUEST, "request")
    del value["v"]
    return Request(**value)     # type: ignore[arg-type]


def reply_line(reply: Reply) -> bytes:
    """Return the line for the child's standard output; raises LineError when it is too long."""
    line = _line(to_object(reply))
    if len(line) > MAX_REPLY_BYTES:
        raise LineError("reply: is longer than %d bytes" % MAX_REPLY_BYTES)
    return line


def parse_reply(line: bytes) -> Reply:
    """Read and check a reply; raises LineError."""
    return from_object(_object(line, MAX_REPLY_BYTES, "reply"))


def to_object(reply: Reply) -> Dict[str, object]:
    """Return a reply as values that the json module writes as they are."""
    value: Dict[str, object] = dict(reply._asdict())
    value["v"] = VERSION
    value["policy"] = policies.to_json(reply.policy) if reply.policy is not None else None
    value["faults"] = list(reply.faults)
    return value


def from_object(value: Dict[str, object]) -> Reply:
    """Check what to_object() wrote, keys, types and sense; raises LineError."""
    _check(value, _REPLY, "reply")
    fields = {key: value[key] for key in _REPLY}
    fields["faults"] = tuple(cast(List[str], value["faults"]))
    try:
        if value["policy"] is not None:
            fields["policy"] = policies.from_json(value["policy"])
    except PolicyError as error:
        raise LineError("reply: %s" % error) from None
    reply = Reply(**fields)     # type: ignore[arg-type]
    if not _consistent(reply):
        raise LineError("reply: its parts do not fit together")
    return reply


def _consistent(reply: Reply) -> bool:
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


def _check(value: Dict[str, object], checks: Dict[str, Check], what: str) -> None:
    if value.get("v") != VERSION or type(value.get("v")) is not int:
        raise LineError("%s: is not of version %d" % (what, VERSION))
    if set(value) != set(checks) | {"v"}:
        raise LineError("%s: the keys are not those of a %s" % (what, what))
    for key, check in checks.items():
        if not check(value[key]):
            raise LineError("%s: %s is out of range" % (what, key))


def _object(line: bytes, limit: int, what: str) -> Dict[str, object]:
    if len(line) > limit:
        raise LineError("%s: is longer than %d bytes" % (what, limit))
    if not line.endswith(b"\n") or line.count(b"\n") != 1:
        raise LineError("%s: is not one whole line" % what)
    try:
        value = json.loads(line.decode("ascii"), object_pairs_hook=_no_duplicates,
                           parse_constant=_no_constant, parse_float=_no_constant)
    except (ValueError, RecursionError):
        raise LineError("%s: is not JSON as agreed" % what) from None
    if type(value) is not dict:
        raise LineError("%s: is not an object" % what)
    return cast(Dict[str, object], value)


def _no_duplicates(pairs: List[Tuple[str, object]]) -> Dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _no_constant(text: str) -> object:
    raise ValueError("number %s" % text)
