"""HTTP responses, the representations of files, and error responses that never echo a client's input."""

import gzip
import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from http import HTTPStatus

import brotli
from aiohttp import hdrs

from headend.core.http.blobs import Blob, in_memory
from headend.core.http.conditions import CONDITIONS, Headers, select

IMMUTABLE = "public, max-age=31536000, immutable"
"""Cache-Control of paths whose content never changes (RFC 8246)."""
PRIVATE_IMMUTABLE = "private, max-age=31536000, immutable"
"""The same for paths that contain a token: only the viewer's own cache may store them."""
SHORT_LIVED = "public, max-age=5"
"""Cache-Control of errors for objects that may be created at any moment."""
NO_STORE = "no-store"

JSON_TYPE = "application/json"
INLINE_BYTES = 64 << 10
"""Bodies up to this size are copied to the kernel; larger ones are blobs."""
BROTLI_QUALITY = 9
"""The maximum is 11, but the two highest levels take thirty times as long and save only a few per cent."""
ACCEPT_ENCODING_CHARACTERS = 1024
"""A longer Accept-Encoding is ignored."""
RETRY_S = 2
"""Retry-After of responses that say that the server or its upstream is busy."""

COMMON_HEADERS: dict[str, str] = {
    hdrs.SERVER: "headend",
    "X-Content-Type-Options": "nosniff",
    # A token in a page's path must not leak to sites that the page links to.
    "Referrer-Policy": "no-referrer",
    # Fixed values instead of an echo of Origin, so that caches need no Vary.
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
    hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: "Accept-Ranges, Age, CMSD-Static, Content-Encoding, Content-Length, "
    "Content-Range, Date, ETag, Last-Modified, Retry-After",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Timing-Allow-Origin": "*",
}
"""Headers of every response."""

ALLOWED_HEADERS = (
    "Range, If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, CMCD-Object, CMCD-Request, "
    "CMCD-Session, CMCD-Status"
)
"""Headers that web pages of other origins may send with requests for media (CORS)."""
ALLOWED_METHODS = "GET, HEAD, OPTIONS"


@dataclass(frozen=True, slots=True)
class Response:
    """A response, ready to be sent.

    Attributes:
        status: HTTP status.
        headers: All headers except Date and Connection.
        body: The representation; GET sends ``start`` to ``stop`` of it, HEAD sends nothing.
        start: First byte to send.
        stop: The byte after the last one.
        closes: Whether the connection closes afterwards.
        head: Encoded status line and headers, for responses that are sent often; empty if not encoded yet.
    """

    status: int
    headers: dict[str, str]
    body: Blob | bytes = b""
    start: int = 0
    stop: int = 0
    closes: bool = False
    head: bytes = b""


class Representation:
    """A file in one content coding.

    Attributes:
        body: All bytes; a `Blob` if large, so that slow readers share one copy.
        size_bytes: Its size.
        etag: Strong entity tag with quotes, derived from the bytes, so that it is the same on all servers.
        modified: Time of last modification, in whole seconds.
        whole: The 200 response.
        unmodified: The 304 response.
    """

    def __init__(self, body: Blob | bytes, etag: str, modified: datetime, headers: dict[str, str]) -> None:
        self.body = body
        self.size_bytes = body.size_bytes if isinstance(body, Blob) else len(body)
        self.etag = etag
        self.modified = modified.replace(microsecond=0)
        known = {
            **COMMON_HEADERS,
            hdrs.ETAG: etag,
            hdrs.LAST_MODIFIED: _date(self.modified),
            hdrs.CACHE_CONTROL: IMMUTABLE,
            hdrs.ACCEPT_RANGES: "bytes",
            **headers,
        }
        self._known = known
        self._encoded: dict[str, tuple[Response, Response]] = {}  # 200 and 304, by Cache-Control
        self.whole, self.unmodified = self._responses(self._known[hdrs.CACHE_CONTROL])

    def response(self, status: HTTPStatus, caching: str | None = None) -> Response:
        """The complete response or the 304, encoded once per Cache-Control value.

        Args:
            status: 200 or 304.
            caching: Cache-Control instead of the representation's own.
        """
        if caching is None:
            whole, unmodified = self.whole, self.unmodified
        else:
            whole, unmodified = self._encoded.get(caching) or self._responses(caching)
        return whole if status == HTTPStatus.OK else unmodified

    def _responses(self, caching: str) -> tuple[Response, Response]:
        headers = {**self._known, hdrs.CACHE_CONTROL: caching}
        sized: dict[str, str] = {**headers, hdrs.CONTENT_LENGTH: str(self.size_bytes)}
        headers.pop(hdrs.CONTENT_TYPE, None)
        pair = (
            _encoded(HTTPStatus.OK, sized, self.body, self.size_bytes),
            _encoded(HTTPStatus.NOT_MODIFIED, headers),
        )
        self._encoded[caching] = pair
        return pair

    def read(self) -> bytes:
        """Read all bytes; blocks if they are on disk."""
        return self.body if isinstance(self.body, bytes) else os.pread(self.body.fd, self.size_bytes, 0)

    def part(self, start: int, stop: int, caching: str | None = None) -> Response:
        """A 206 response with a range of it."""
        headers: dict[str, str] = {
            **self.response(HTTPStatus.OK, caching).headers,
            hdrs.CONTENT_RANGE: f"bytes {start}-{stop - 1}/{self.size_bytes}",
            hdrs.CONTENT_LENGTH: str(stop - start),
        }
        return Response(HTTPStatus.PARTIAL_CONTENT, headers, self.body, start, stop)


@dataclass(frozen=True, slots=True)
class File:
    """A file and its compressed versions.

    Attributes:
        kind: Name of the file's route, for metrics.
        plain: The file without a content coding.
        coded: Compressed versions of text by content coding, the preferred one first.
    """

    kind: str
    plain: Representation
    coded: dict[str, Representation] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Memory that it uses."""
        return sum(
            body.body.memory_bytes if isinstance(body.body, Blob) else body.size_bytes
            for body in (self.plain, *self.coded.values())
        )


def media_file(
    kind: str, body: Blob, sha256: str, modified: datetime, content_type: str, headers: dict[str, str] | None = None
) -> File:
    """Describe a file that is not compressed, such as a segment.

    Args:
        kind: Name of its route.
        body: Its bytes.
        sha256: Hex digest of the bytes.
        modified: Time of last modification.
        content_type: Media type.
        headers: Additional headers.
    """
    return File(
        kind, Representation(body, f'"{sha256}"', modified, {hdrs.CONTENT_TYPE: content_type, **(headers or {})})
    )


def text_file(kind: str, body: bytes, modified: datetime, content_type: str) -> File:
    """Describe a manifest or other text, compressed once for all clients."""
    sha256 = hashlib.sha256(body).hexdigest()
    headers: dict[str, str] = {hdrs.CONTENT_TYPE: content_type, hdrs.VARY: hdrs.ACCEPT_ENCODING}
    return File(
        kind,
        Representation(_compact(body), f'"{sha256}"', modified, headers),
        {
            coding: Representation(
                _compact(compress(body)), f'"{sha256}-{coding}"', modified, {**headers, hdrs.CONTENT_ENCODING: coding}
            )
            for coding, compress in CODINGS.items()
        },
    )


def for_file(method: str, headers: Headers, file: File, caching: str | None = None) -> Response:
    """Answer a request for a file: negotiate the coding, evaluate conditions, select the range.

    Args:
        method: ``GET`` or ``HEAD``.
        headers: The request's headers.
        file: The requested file.
        caching: Cache-Control instead of the file's own; does not apply to errors.
    """
    chosen = file.plain
    if file.coded and (accepted := headers.getall(hdrs.ACCEPT_ENCODING, None)) is not None:
        header = accepted[0] if len(accepted) == 1 else ",".join(accepted)
        chosen = file.coded.get(preferred_coding(header), chosen)
    if headers.keys().isdisjoint(CONDITIONS):
        return chosen.whole if caching is None else chosen.response(HTTPStatus.OK, caching)
    if (
        headers.get(hdrs.IF_NONE_MATCH) == chosen.etag
        and hdrs.IF_MATCH not in headers
        and hdrs.IF_UNMODIFIED_SINCE not in headers
    ):
        # The same result as from `select`, at a tenth of its cost.
        return chosen.unmodified if caching is None else chosen.response(HTTPStatus.NOT_MODIFIED, caching)
    part = select(method, headers, etag=chosen.etag, modified=chosen.modified, size_bytes=chosen.size_bytes)
    match part.status:
        case HTTPStatus.OK | HTTPStatus.NOT_MODIFIED:
            return chosen.response(part.status, caching)
        case HTTPStatus.PARTIAL_CONTENT:
            return chosen.part(part.start, part.stop, caching)
        case HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return error(part.status, {hdrs.CONTENT_RANGE: f"bytes */{chosen.size_bytes}"})
        case _:
            return error(part.status)


def with_cache_control(response: Response, caching: str) -> Response:
    """The same response with another Cache-Control."""
    return replace(response, headers={**response.headers, hdrs.CACHE_CONTROL: caching}, head=b"")


def head_of(response: Response) -> bytes:
    """Encode status line and headers, each with its line end, without the empty line after them.

    Raises:
        ValueError: A header contains a line end.
    """
    return response.head or _encode(response.status, response.headers)


def document(body: bytes, content_type: str, caching: str) -> Response:
    """A 200 response with a body made for this request."""
    headers: dict[str, str] = {
        **COMMON_HEADERS,
        hdrs.CONTENT_TYPE: content_type,
        hdrs.CACHE_CONTROL: caching,
        hdrs.CONTENT_LENGTH: str(len(body)),
    }
    return Response(HTTPStatus.OK, headers, body, 0, len(body))


def redirect(location: str, caching: str) -> Response:
    """A temporary redirect.

    Args:
        location: Relative URL, so that it works behind a proxy that adds a prefix.
        caching: Cache-Control.
    """
    headers: dict[str, str] = {hdrs.LOCATION: location, hdrs.CACHE_CONTROL: caching, hdrs.CONTENT_LENGTH: "0"}
    return Response(HTTPStatus.FOUND, {**COMMON_HEADERS, **headers})


def preflight(allowed: str = ALLOWED_METHODS, headers: str = ALLOWED_HEADERS) -> Response:
    """The response to every OPTIONS request.

    Args:
        allowed: Allowed methods.
        headers: Headers that pages of other origins may send.
    """
    sent: dict[str, str] = {
        hdrs.ALLOW: allowed,
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: allowed,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: headers,
        hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
    }
    return Response(HTTPStatus.NO_CONTENT, {**COMMON_HEADERS, **sent})


def error(
    status: HTTPStatus, headers: dict[str, str] | None = None, *, closes: bool = False, reason: str | None = None
) -> Response:
    """An error with a constant body, which reveals nothing of the request or of systems behind the server."""
    body = b'{"error": "%s"}\n' % (reason or status.phrase.lower()).encode()
    sent: dict[str, str] = {
        **COMMON_HEADERS,
        hdrs.CONTENT_TYPE: JSON_TYPE,
        # Only 404 may be cached: any other cached error could hit clients whose requests are valid.
        hdrs.CACHE_CONTROL: SHORT_LIVED if status == HTTPStatus.NOT_FOUND else NO_STORE,
        hdrs.CONTENT_LENGTH: str(len(body)),
        **(headers or {}),
    }
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        sent[hdrs.RETRY_AFTER] = str(RETRY_S)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        sent.setdefault(hdrs.ALLOW, ALLOWED_METHODS)
    return _encoded(status, sent, body, len(body), closes=closes)


def forbidden(reason: str, retry_s: float | None) -> Response:
    """Reject a request that its token does not cover.

    Args:
        reason: A constant that names the reason.
        retry_s: Seconds until a retry may succeed; None if no retry will.
    """
    headers: dict[str, str] = {} if retry_s is None else {hdrs.RETRY_AFTER: str(math.ceil(retry_s))}
    return error(HTTPStatus.FORBIDDEN, headers, reason=reason)


@lru_cache(maxsize=256)
def preferred_coding(accepted: str) -> str:
    """The first of `CODINGS` that Accept-Encoding accepts with a weight above zero; empty for none.

    Source:
        RFC 9110, section 12.5.3.
    """
    weights: dict[str, bool] = {}
    for item in accepted.split(",") if len(accepted) <= ACCEPT_ENCODING_CHARACTERS else ():
        name, _, parameter = item.partition(";")
        key, is_weighted, weight = parameter.partition("=")
        if is_weighted and key.strip().lower() == "q":
            weights[name.strip().lower()] = bool(weight.strip().strip("0."))
        elif not parameter:
            weights[name.strip().lower()] = True
    return next((coding for coding in CODINGS if weights.get(coding, weights.get("*", False))), "")


def _brotli(body: bytes) -> bytes:
    return bytes(brotli.compress(body, mode=brotli.MODE_TEXT, quality=BROTLI_QUALITY))


def _gzip(body: bytes) -> bytes:
    # Without a timestamp, so that all servers send the same bytes for the same tag.
    return gzip.compress(body, 9, mtime=0)


CODINGS: dict[str, Callable[[bytes], bytes]] = {"br": _brotli, "gzip": _gzip}
"""Compression functions by content coding, the smallest result first."""


@lru_cache(maxsize=256)
def _date(when: datetime) -> str:
    return format_datetime(when, usegmt=True)


def _compact(body: bytes) -> Blob | bytes:
    return in_memory(body) if len(body) > INLINE_BYTES else body


def _encode(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join((*lines, ""))
    if text.count("\r") != len(lines) or text.count("\n") != len(lines):
        raise ValueError("a header contains a line end")
    return text.encode("latin-1")


def _encoded(
    status: HTTPStatus,
    headers: dict[str, str],
    body: Blob | bytes = b"",
    size_bytes: int = 0,
    *,
    closes: bool = False,
) -> Response:
    return Response(status, headers, body, 0, size_bytes, closes, _encode(status, headers))


MALFORMED = error(HTTPStatus.BAD_REQUEST, closes=True)
BUSY = error(HTTPStatus.SERVICE_UNAVAILABLE)
NOT_FOUND = error(HTTPStatus.NOT_FOUND)
FAILED = error(HTTPStatus.INTERNAL_SERVER_ERROR)
