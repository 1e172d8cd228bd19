# SPDX-License-Identifier: BSD-2-Clause
"""The fetch child: a filter from one request line to one reply line (client/fetch/line.py).

It downloads the manifest, with its signature where signers are configured,
verifies before it parses, and looks up one host. It reads no configuration and
no state and leaves no file; the daemon ends it at the deadline. Whatever is
wrong with the server, the network or the whole file is `failed`, and the last
good policy stays. A manifest that arrived is `new`, also when it does not list
this host or lists it wrongly.
"""

import hashlib
import sys
import time
from typing import BinaryIO
from typing import Callable
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import download
from qualvosec import tls
from qualvosec.client.fetch import line as fetchreply
from qualvosec.client.fetch.line import FetchError
from qualvosec.client.fetch.line import FetchReply
from qualvosec.client.fetch.line import FetchRequest
from qualvosec.manifest import lookup
from qualvosec.manifest import schema
from qualvosec.manifest import signature
from qualvosec.manifest.lookup import Found
from qualvosec.manifest.lookup import ManifestError
from qualvosec.manifest.policy import Policy
from qualvosec.safetext import safe
from qualvosec.yamlsubset import Mark

Fetch = Callable[[download.Request], download.Response]
Verify = Callable[[bytes, bytes, str], None]


class _Unsigned(Exception):
    """The manifest came and its signature did not, as the server says itself."""

    def __init__(self, reason: str, date: int) -> None:
        super().__init__(reason)
        self.date = date


class _Pair(NamedTuple):
    """What arrived; no signature where none is asked for."""

    manifest: download.Response
    signature: Optional[download.Response]


def main(stdin: Optional[BinaryIO] = None, stdout: Optional[BinaryIO] = None) -> int:
    """Answer the one request on stdin; 0 when the line is written, whatever it says."""
    source = stdin if stdin is not None else sys.stdin.buffer
    target = stdout if stdout is not None else sys.stdout.buffer
    try:
        line = fetchreply.reply_line(answer_line(source.read(fetchreply.MAX_REQUEST_BYTES + 1)))
    except Exception as error:
        # The last resort: a fault of ours must not look like a server that is silent.
        line = fetchreply.reply_line(FetchReply("failed", "the fetch ended by an error of its own "
                                                "(%s): report it" % type(error).__name__))
    try:
        target.write(line)
        target.flush()
    except OSError:
        # The daemon is gone; nobody is left to be told.
        return 1
    return 0


def answer_line(line: bytes) -> FetchReply:
    """Return the reply to a request line."""
    try:
        request = fetchreply.parse_request(line)
    except FetchError as error:
        return _failed(str(error))
    return answer(request)


def answer(request: FetchRequest, fetch: Fetch = download.fetch,
           verify: Verify = signature.verify) -> FetchReply:
    """Return the reply to a request; raises nothing that a server or a manifest can cause."""
    fault = schema.host_name_fault(request.fqdn)
    if fault:
        return _failed("the name of this host cannot be looked up: %s: set fqdn" % fault)
    try:
        pair = _download(request, fetch)
    except tls.TlsError as error:
        return _failed(str(error))
    except download.DownloadError as error:
        return _failed(str(error), date=error.date, retry_after=error.retry_after)
    except _Unsigned as missing:
        # Who takes the signature away is told apart from who does not answer.
        return _failed(str(missing), date=missing.date)._replace(signature="bad")
    base = FetchReply("same", date=pair.manifest.date, etag=pair.manifest.etag,
                      last_modified=pair.manifest.last_modified)
    if pair.manifest.status == 304:
        return base
    if pair.signature is not None:
        try:
            verify(pair.manifest.body(), pair.signature.body(), request.allowed_signers)
        except signature.SignatureError as error:
            return _failed("%s: %s" % (request.url, error), date=base.date)._replace(
                signature="bad")
        base = base._replace(signature="good", signature_sha256=hashlib.sha256(
            pair.signature.body()).hexdigest())
    try:
        return _read(request, pair.manifest.chunks, base)
    except (FetchError, ManifestError) as error:
        return _failed("%s: %s" % (request.url, error), date=base.date)._replace(
            signature=base.signature)


def _failed(reason: str, date: int = 0, retry_after: int = 0) -> FetchReply:
    return FetchReply("failed", safe(reason, fetchreply.MAX_REASON), date=date,
                      retry_after=min(retry_after, fetchreply.MAX_RETRY_AFTER_S))


def _download(request: FetchRequest, fetch: Fetch) -> _Pair:
    """Fetch the manifest, or the pair.

    The signature always comes whole, without validators: those of a forged answer would have
    the server say "not modified" of a manifest that is not the one held, for ever. Another
    signature than the last one has the manifest fetched whole, too.
    Raises TlsError, DownloadError and _Unsigned.
    """
    end = time.monotonic() + request.deadline_s
    secure = request.url.startswith("https:") or request.signature_url.startswith("https:")
    settings = tls.context(request.ca_file, request.client_cert,
                           request.client_key) if secure else None

    def get(url: str, limit: int, etag: str = "", modified: str = "") -> download.Response:
        left = max(0.0, end - time.monotonic())
        return _lasting(fetch(download.Request(
            url, request.user_agent, etag, modified, request.fresh, limit, left, tls=settings,
            proxy=request.proxy)))

    manifest = get(request.url, download.MAX_MANIFEST_BYTES, request.etag, request.last_modified)
    if not request.allowed_signers:
        return _Pair(manifest, None)
    url = request.signature_url or request.url + ".sig"
    try:
        signed = get(url, signature.MAX_SIGNATURE_BYTES)
    except download.DownloadError as error:
        # Its own troubles (5xx, 408, 429) may pass, and so may those of the network (0).
        if 0 < error.status < 500 and error.status not in (408, 429):
            raise _Unsigned(str(error), error.date)
        raise
    if manifest.status == 304 and (hashlib.sha256(signed.body()).hexdigest()
                                   != request.signature_sha256):
        manifest = get(request.url, download.MAX_MANIFEST_BYTES)
    return _Pair(manifest, signed)


def _lasting(response: download.Response) -> download.Response:
    """Drop the validators of a file that was changed in the second in which it was sent.

    A further change within that second would share them (RFC 9110 section 8.8.2.2; nginx
    makes its ETag of seconds and size), and 304 would keep it from this host for ever.
    """
    changed = download.http_date(response.last_modified)
    if response.status == 200 and changed and response.date and response.date <= changed + 1:
        return response._replace(etag="", last_modified="")
    return response


def _read(request: FetchRequest, chunks: Tuple[bytes, ...], base: FetchReply) -> FetchReply:
    """Look up this host; raises ManifestError or FetchError for the whole file."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    found = lookup.find(chunks, request.fqdn)
    header, faults = schema.check_header(found.header)
    if faults:
        raise FetchError("; ".join(_placed(faults, found)[:3]))
    serial = header.serial or 0
    if request.allowed_signers:
        _check_binding(request, header, digest.hexdigest())
    reply = base._replace(result="new", serial=serial, expires=header.expires or 0,
                          sha256=digest.hexdigest())
    if not found.host_line:
        return reply._replace(entry="unlisted")
    policy, own = _entry(request.fqdn, found)
    if policy is None:
        return reply._replace(entry="invalid", faults=tuple(
            safe(fault, fetchreply.MAX_FAULT) for fault in own[:fetchreply.MAX_FAULTS]))
    return reply._replace(entry="policy", policy=policy)


def _check_binding(request: FetchRequest, header: schema.Header, sha256: str) -> None:
    """Refuse what is signed but old, or meant for others; raises FetchError."""
    if header.serial is None:
        raise FetchError(".manifest serial: is missing in a signed manifest: sign it with "
                       "qualvosec-admin sign, which sets it")
    if header.serial < request.serial:
        raise FetchError(".manifest serial: %d is lower than %d, which was accepted before: an old "
                       "copy is refused; qualvosec reset serial takes it on purpose"
                       % (header.serial, request.serial))
    if header.serial == request.serial and request.sha256 not in ("", sha256):
        raise FetchError(".manifest serial: %d was accepted with other content: raise it and sign "
                       "again" % header.serial)
    if request.audience and header.audience != request.audience:
        raise FetchError(".manifest audience: %s is not %s: this manifest is for another fleet"
                       % (safe(header.audience, 60) or "none", safe(request.audience, 60)))


def _entry(fqdn: str, found: Found) -> Tuple[Optional[Policy], List[str]]:
    """Return the policy of a listed host, or None and at least one fault with its place."""
    if found.own_fault:
        return None, [found.own_fault]
    # The marks have the name as the file spells it.
    name = next((path[0] for path in found.marks
                 if isinstance(path[0], str) and schema.fold(path[0]) == schema.fold(fqdn)), fqdn)
    policy, faults, _ = schema.effective(found.host, found.groups, found.defaults, str(name))
    return policy, _placed(faults, found)


def _placed(faults: List[schema.Fault], found: Found) -> List[str]:
    """Return the faults as text, each with the nearest place in the file that is known."""
    lines = []
    for fault in faults:
        above = (fault.path[:end] for end in range(len(fault.path), 0, -1))
        mark = next((found.marks[path] for path in above if path in found.marks),
                    Mark(max(1, found.host_line), 1))
        lines.append("line %d, column %d: %s" % (mark.line, mark.column, fault.message))
    return lines
