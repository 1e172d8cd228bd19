# SPDX-License-Identifier: BSD-2-Clause
"""One bounded HTTP GET from a server that is not trusted.

http and https only, no redirect, no environment: proxy, certificate authority
and client certificate are arguments. Every read is bounded by a byte budget
and by one total deadline, so a server that drips, floods or lies about a
length costs at most that. A body counts only when it is complete: its length
is announced and met, or its last chunk arrived. Accepted answers: 200, and 304
to a conditional request. Not bounded here: the time of the name lookup, which
the operating system's resolver decides.
"""

import calendar
import email.utils
import http.client
import io
import re
import socket
import ssl
import time
from typing import Any
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

MAX_MANIFEST_BYTES = 32 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
MAX_VALIDATOR = 256
MAX_RETRY_AFTER_S = 6 * 3600
MAX_URL = 2048
_PIECE = 64 * 1024

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?:(?P<name>%s(?:\.%s)*)|\[(?P<v6>[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>/[!-\"$-;=?-~]*)?" % (_LABEL, _LABEL))
_FIELD = re.compile(r"[ -~]*")
_ETAG = re.compile(r'(?:W/)?"[!#-~]*"')
_HTTP_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
    r" ([12]\d{3}) (\d\d):(\d\d):(\d\d) GMT", re.ASCII)


class DownloadError(Exception):
    """The download failed; the text is one printable line: address, what is wrong, what to do.

    `status` is the HTTP status or 0, `date` the server's clock (epoch seconds) or 0,
    `retry_after` the seconds it asked to wait, bounded, or 0.
    """

    def __init__(self, message: str, status: int = 0, date: int = 0, retry_after: int = 0) -> None:
        super().__init__(message)
        self.status, self.date, self.retry_after = status, date, retry_after


class Request(NamedTuple):
    """What to fetch; texts that are empty are not used."""

    url: str
    user_agent: str = "QualvoSec"
    etag: str = ""
    last_modified: str = ""
    fresh: bool = False                 # ask caches on the way to look again
    limit: int = MAX_MANIFEST_BYTES     # bytes of the body
    deadline_s: float = 60.0            # for everything
    timeout_s: float = 10.0             # for one connection attempt, for one silence
    tls: Optional[ssl.SSLContext] = None    # needed for https
    proxy: str = ""                     # http://host:port


class Response(NamedTuple):
    """A complete answer; `chunks` is empty for status 304."""

    status: int
    chunks: Tuple[bytes, ...]
    etag: str                # "" when absent or not fit to be sent back
    last_modified: str
    date: int                # epoch seconds of the server's clock, 0: not told

    def body(self) -> bytes:
        """Return the body as one string."""
        return b"".join(self.chunks)


class Address(NamedTuple):
    """The parts of an accepted URL."""

    scheme: str
    host: str                # without brackets
    port: int
    authority: str           # for the Host field
    target: str


def _show(text: str, limit: int = 200) -> str:
    return ascii(text[:limit])[1:-1]


class _Deadline:
    """The end of a download on the monotonic clock, and its per-operation timeout."""

    def __init__(self, total_s: float, timeout_s: float) -> None:
        self.total_s, self.timeout_s = total_s, timeout_s
        self.end = time.monotonic() + total_s

    def arm(self, sock: socket.socket) -> None:
        """Give the next operation the time that is left; raises DownloadError when none is."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise self.expired()
        sock.settimeout(min(self.timeout_s, left))

    def expired(self) -> DownloadError:
        """Return the fault for an operation that timed out."""
        if time.monotonic() >= self.end:
            return DownloadError("not finished within %g s: check the server and the network"
                                 % self.total_s)
        return DownloadError("the server was silent for %g s: check the server and the network"
                             % self.timeout_s)


class _Raw(io.RawIOBase):
    """The receiving side of a socket under a deadline and a byte budget.

    Closing it leaves the socket open: a tunnel goes on to use it.
    """

    def __init__(self, sock: socket.socket, deadline: _Deadline, budget: int) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline
        self.budget = budget
        self.tail = b""     # the last four bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.budget <= 0:
            raise DownloadError("the server sent more than it may: refused")
        view = memoryview(buffer)[:self.budget]
        self._deadline.arm(self._sock)
        try:
            count = self._sock.recv_into(view)
        except socket.timeout:
            raise self._deadline.expired() from None
        self.budget -= count
        self.tail = (self.tail + bytes(view[max(0, count - 4):count]))[-4:]
        return count

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what http.client.HTTPResponse asks a socket for."""
        return io.BufferedReader(self, _PIECE)


def parse_url(url: str) -> Address:
    """Return the parts of an http or https URL.

    Raises DownloadError for everything else, also for credentials, fragments,
    spaces and characters beyond ASCII.
    """
    match = _URL.fullmatch(url) if len(url) <= MAX_URL else None
    if match is None:
        raise DownloadError("%s: is not an address to fetch from: use http:// or https://, a host "
                            "name, a port if needed and a path, without user name or #fragment"
                            % _show(url))
    scheme = match.group("scheme")
    host = match.group("name") or match.group("v6")
    usual = 443 if scheme == "https" else 80
    port = int(match.group("port") or usual)
    if not 0 < port < 65536:
        raise DownloadError("%s: port %d is out of range: use 1 to 65535" % (_show(url), port))
    authority = "[%s]" % host if match.group("v6") else host
    if port != usual:
        authority += ":%d" % port
    return Address(scheme, host, port, authority, match.group("target") or "/")


def http_date(text: str) -> int:
    """Return the epoch seconds of an IMF-fixdate (RFC 9110 section 5.6.7), 0 if it is none."""
    found = email.utils.parsedate(text) if _HTTP_DATE.fullmatch(text.strip()) else None
    return max(0, calendar.timegm(found)) if found else 0


def fetch(request: Request) -> Response:
    """Fetch one file. Raises DownloadError, nothing else."""
    address = parse_url(request.url)
    try:
        return _fetch(request, address)
    except DownloadError as error:
        raise DownloadError("%s: %s" % (_show(request.url), error), error.status, error.date,
                            error.retry_after) from None
    except socket.gaierror as error:
        text = ("the name cannot be looked up (%s): check the name and the resolver"
                % (error.strerror or error))
    except socket.timeout:
        text = "no answer in time: check the server and the network"
    except (ssl.SSLError, ssl.CertificateError) as error:
        text = _tls_text(error)
    except ConnectionRefusedError:
        text = "connection refused: check that the web server runs and listens there"
    except OSError as error:
        text = ("the connection failed (%s): check the server and the network"
                % (error.strerror or str(error) or type(error).__name__).lower())
    except (http.client.HTTPException, ValueError) as error:
        text = ("the server does not speak HTTP (%s): check the address and the port"
                % (_show(str(error), 80) or type(error).__name__))
    raise DownloadError("%s: %s" % (_show(request.url), _show(text, 400))) from None


def _tls_text(error: Exception) -> str:
    reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
    # Python 3.6 knows no SSLCertVerificationError.
    if isinstance(error, ssl.CertificateError) or reason == "CERTIFICATE_VERIFY_FAILED":
        return ("the server's certificate is refused (%s): check its name and dates, and ca_file"
                % _show(reason, 160))
    return ("TLS failed (%s): check the server's TLS settings, at least 1.2, and client_cert"
            % _show(reason, 160))


def _fetch(request: Request, address: Address) -> Response:
    deadline = _Deadline(request.deadline_s, request.timeout_s)
    context = request.tls if address.scheme == "https" else None
    if context is None and address.scheme == "https":
        raise DownloadError("https needs TLS settings: none were given")
    hop = _proxy(request.proxy) if request.proxy else address
    sock = _connect(hop, deadline)
    try:
        if context is not None:
            if request.proxy:
                _tunnel(sock, address, deadline)
            deadline.arm(sock)
            sock = secured = context.wrap_socket(sock, server_hostname=address.host)
            names = (secured.getpeercert() or {}).get("subjectAltName", ())
            if not any(name[0] in ("DNS", "IP Address") for name in names):
                raise DownloadError("the server's certificate has no subjectAltName: add one")
        deadline.arm(sock)
        sock.sendall(_head(request, address, bool(request.proxy) and context is None))
        raw = _Raw(sock, deadline, MAX_HEADER_BYTES)
        with http.client.HTTPResponse(raw, method="GET") as answer:  # type: ignore[arg-type]
            answer.begin()
            return _accept(request, answer, raw)
    finally:
        sock.close()


def _proxy(url: str) -> Address:
    address = parse_url(url)
    if address.scheme != "http" or address.target != "/":
        raise DownloadError("proxy %s cannot be used: write http://host:port" % _show(url))
    return address


def _connect(hop: Address, deadline: _Deadline) -> socket.socket:
    """Connect to the first address of the name that answers, all within the deadline."""
    last = OSError("the name has no address")
    for family, kind, protocol, _, where in socket.getaddrinfo(hop.host, hop.port, 0,
                                                               socket.SOCK_STREAM):
        sock = None     # until there is one: the kernel may have no such family, IPv6 for one
        try:
            sock = socket.socket(family, kind, protocol)
            deadline.arm(sock)
            sock.connect(where)
            return sock
        except (OSError, DownloadError) as error:
            if sock is not None:
                sock.close()
            if isinstance(error, DownloadError):
                raise
            last = error
    raise last


def _tunnel(sock: socket.socket, address: Address, deadline: _Deadline) -> None:
    """Ask a proxy for a way to the server (RFC 9110 section 9.3.6)."""
    host = "[%s]" % address.host if ":" in address.host else address.host
    where = "%s:%d" % (host, address.port)
    deadline.arm(sock)
    sock.sendall(("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (where, where)).encode("ascii"))
    raw = _Raw(sock, deadline, MAX_HEADER_BYTES)
    with http.client.HTTPResponse(raw, method="CONNECT") as answer:  # type: ignore[arg-type]
        answer.begin()
    if answer.status != 200:
        raise DownloadError("the proxy answered %d: allow CONNECT to %s there, or correct proxy"
                            % (answer.status, where))


def _head(request: Request, address: Address, through_proxy: bool) -> bytes:
    target = address.target
    if through_proxy:
        target = "%s://%s%s" % (address.scheme, address.authority, target)
    fields = [("Host", address.authority), ("User-Agent", request.user_agent),
              ("Accept", "*/*"), ("Accept-Encoding", "identity"), ("Connection", "close")]
    if request.etag:
        fields.append(("If-None-Match", request.etag))
    if request.last_modified:
        fields.append(("If-Modified-Since", request.last_modified))
    if request.fresh:
        fields.append(("Cache-Control", "no-cache"))
    lines = ["GET %s HTTP/1.1" % target]
    for name, value in fields:
        if not _FIELD.fullmatch(value):
            raise DownloadError("%s %s cannot be sent: only printable ASCII may"
                                % (name, _show(value)))
        lines.append("%s: %s" % (name, value))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _field(answer: http.client.HTTPResponse, name: str) -> str:
    """Return a header field, "" when it is absent; repetitions are joined by commas."""
    return ", ".join(value.strip() for value in answer.headers.get_all(name) or [])


def _number(text: str, most: int) -> int:
    return min(int(text), most) if re.fullmatch(r"[0-9]{1,12}", text) else 0


def _clock(answer: http.client.HTTPResponse) -> int:
    """Return what the server's clock shows now: a cache says how old its answer is (Age)."""
    date = http_date(_field(answer, "Date"))
    return date + _number(_field(answer, "Age"), 366 * 86400) if date else 0


def _accept(request: Request, answer: http.client.HTTPResponse, raw: _Raw) -> Response:
    date = _clock(answer)
    if answer.status not in (200, 304):
        raise _refusal(answer, date)
    etag = _field(answer, "ETag")
    etag = etag if len(etag) <= MAX_VALIDATOR and _ETAG.fullmatch(etag) else ""
    modified = _field(answer, "Last-Modified")
    modified = modified if http_date(modified) else ""
    if answer.status == 200:
        try:
            chunks = _body(request, answer, raw)
        except DownloadError as fault:
            raise DownloadError(str(fault), 200, date)
        return Response(200, chunks, etag, modified, date)
    if not (request.etag or request.last_modified):
        raise DownloadError("the server answered 304 (not modified) to a request without "
                            "conditions: check the server and the caches before it", 304, date)
    return Response(304, (), etag or request.etag, modified or request.last_modified, date)


def _refusal(answer: http.client.HTTPResponse, date: int) -> DownloadError:
    status = answer.status
    advice = "check the address: only 200 and 304 are accepted"
    if 300 <= status < 400:
        advice = ("configure the final address: redirects are refused, this one points to %s"
                  % (_show(_field(answer, "Location")) or "nowhere"))
    elif status in (400, 401, 403):
        advice = "allow this host to read the file, and check client_cert if one is asked for"
    elif status in (404, 410):
        advice = "publish the file, or correct server and manifest"
    elif status >= 500 or status == 429:
        advice = "look into the web server's error log"
    wait = _field(answer, "Retry-After")
    until = http_date(wait) - (date or int(time.time()))
    seconds = max(_number(wait, MAX_RETRY_AFTER_S), min(until, MAX_RETRY_AFTER_S))
    return DownloadError("the server answered %d: %s" % (status, advice), status, date, seconds)


def _body(request: Request, answer: http.client.HTTPResponse, raw: _Raw) -> Tuple[bytes, ...]:
    """Read the whole body; a body that is not provably whole is refused with DownloadError."""
    if _field(answer, "Content-Encoding").lower() not in ("", "identity"):
        raise DownloadError("the body is encoded (%s): switch that off for this file"
                            % _show(_field(answer, "Content-Encoding"), 40))
    transfer = _field(answer, "Transfer-Encoding").lower()
    length = _field(answer, "Content-Length")
    if transfer and (transfer != "chunked" or length):
        raise DownloadError("the framing of the body is ambiguous: refused")
    if not transfer and not re.fullmatch(r"[0-9]{1,18}", length):
        raise DownloadError("the server gives no clear length, so a cut body could not be told: "
                            "let it send Content-Length")
    if not transfer and int(length) > request.limit:
        raise DownloadError("the body of %s bytes is larger than %d: refused"
                            % (length, request.limit))
    # Chunk headers come on top of the body; an eighth is far more than honest servers use.
    raw.budget = request.limit + request.limit // 8 + MAX_HEADER_BYTES
    chunks: List[bytes] = []
    count = 0
    while True:
        try:
            piece = answer.read(_PIECE)
        except (http.client.HTTPException, ValueError):
            raise DownloadError("the body is truncated or its chunks are broken: refused")
        if not piece:
            break
        count += len(piece)
        if count > request.limit:
            raise DownloadError("the body is larger than %d bytes: refused" % request.limit)
        chunks.append(piece)
    if transfer and raw.tail != b"\r\n\r\n":
        raise DownloadError("the body is truncated: its last chunk is not whole: refused")
    if length and count != int(length):
        raise DownloadError("the body is truncated: %d of %s bytes came: refused" % (count, length))
    return tuple(chunks)
