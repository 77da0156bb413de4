"""What is sent: headers by kind of object, representations, and answers that never repeat what a client said."""

import gzip
import hashlib
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import format_datetime
from functools import cached_property, lru_cache
from http import HTTPStatus

import brotli
from aiohttp import hdrs

from origin.blobs import Blob, in_memory
from origin.freshness import CONDITIONS, Headers, select

FOREVER = "public, max-age=31536000, immutable"
"""For files of a release: their paths never get other content (RFC 8246)."""
ENTRY_POINT = "public, max-age=60, stale-while-revalidate=30, stale-if-error=86400"
"""For what leads to the current release: a cache may go on with it while the origin is away (RFC 5861)."""
BRIEFLY = "public, max-age=5"
"""For what may exist in a moment."""
NEVER = "no-store"
PERSONAL = "private, max-age=31536000, immutable"
"""For files of a release that were reached by a token: only the viewer's own cache may go on without asking."""

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
MPD_TYPE = "application/dash+xml"
JSON_TYPE = "application/json"
WEBVTT_TYPE = "text/vtt; charset=utf-8"
INLINE_BYTES = 64 << 10
"""Bodies up to this size are copied to the kernel; larger ones are blobs."""
BROTLI_QUALITY = 9
"""Of eleven; the last two take thirty times as long for some percent."""
RETRY_S = 2
"""When a client that finds the origin or its store busy may try again."""

EVERYWHERE: dict[str, str] = {
    hdrs.SERVER: "headend",
    "X-Content-Type-Options": "nosniff",
    # A token in the path of a page must not reach those whom the page links to.
    "Referrer-Policy": "no-referrer",
    # Fixed values instead of an echo of Origin, so that caches need no Vary.
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
    hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: "Accept-Ranges, Age, Content-Encoding, Content-Length, Content-Range, Date, "
    "ETag, Last-Modified, Retry-After",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Timing-Allow-Origin": "*",
}
"""Headers of every answer."""

_PREFLIGHT: dict[str, str] = {
    hdrs.ALLOW: "GET, HEAD, OPTIONS",
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, HEAD, OPTIONS",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Range, If-Match, If-Modified-Since, If-None-Match, If-Range, "
    "If-Unmodified-Since, CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status",
    hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
}
_CODING = re.compile(r"(?:^|,)\s*([a-z-]+)\s*(?:;\s*q=([0-9.]*))?\s*(?=,|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, ready to be sent.

    Attributes:
        status: Of HTTP.
        headers: All but those that belong to the connection.
        body: What GET sends a part of, and HEAD leaves out.
        start: First byte of the part.
        stop: The byte after its last one.
        closes: Whether the connection is of no use after it.
        head: Status and headers as they are sent, for answers that are given again and again.
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
        body: All of it; a `Blob` if it is large, so that slow readers share one copy.
        size_bytes: Its size.
        etag: Strong, with its quotes: from the bytes, so that all origins agree on it.
        modified: In whole seconds.
        whole: What most requests for it get.
    """

    def __init__(self, body: Blob | bytes, etag: str, modified: datetime, headers: dict[str, str]) -> None:
        self.body = body
        self.size_bytes = body.size_bytes if isinstance(body, Blob) else len(body)
        self.etag = etag
        self.modified = modified.replace(microsecond=0)
        known = {
            **EVERYWHERE,
            hdrs.ETAG: etag,
            hdrs.LAST_MODIFIED: _date(self.modified),
            hdrs.CACHE_CONTROL: FOREVER,
            hdrs.ACCEPT_RANGES: "bytes",
            **headers,
        }
        self._known = known
        self.whole = _sealed(HTTPStatus.OK, {**known, hdrs.CONTENT_LENGTH: str(self.size_bytes)}, body, self.size_bytes)

    @cached_property
    def unchanged(self) -> Answer:
        """What those get who have it already."""
        return _sealed(HTTPStatus.NOT_MODIFIED, {n: v for n, v in self._known.items() if n != hdrs.CONTENT_TYPE})

    def read(self) -> bytes:
        """All bytes of it; not for what may be on disk."""
        return self.body if isinstance(self.body, bytes) else os.pread(self.body.fd, self.size_bytes, 0)

    def part(self, start: int, stop: int) -> Answer:
        """Answer with a range."""
        headers: dict[str, str] = {
            **self.whole.headers,
            hdrs.CONTENT_RANGE: f"bytes {start}-{stop - 1}/{self.size_bytes}",
            hdrs.CONTENT_LENGTH: str(stop - start),
        }
        return Answer(HTTPStatus.PARTIAL_CONTENT, headers, self.body, start, stop)


@dataclass(frozen=True, slots=True)
class File:
    """A file in the codings that it is kept in.

    Attributes:
        kind: Name of the route that leads to it.
        plain: As it is in the store.
        coded: For manifests, which shrink to a tenth: by content coding, the preferred one first.
    """

    kind: str
    plain: Representation
    coded: dict[str, Representation] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        return sum(
            each.body.memory_bytes if isinstance(each.body, Blob) else each.size_bytes
            for each in (self.plain, *self.coded.values())
        )


def media_file(kind: str, body: Blob, sha256: str, modified: datetime, content_type: str) -> File:
    """Describe a segment or init segment."""
    return File(kind, Representation(body, f'"{sha256}"', modified, {hdrs.CONTENT_TYPE: content_type}))


def text_file(kind: str, body: bytes, modified: datetime, content_type: str) -> File:
    """Describe a manifest or another text, and compress it once for all who will ask."""
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


def for_file(method: str, headers: Headers, file: File) -> Answer:
    """Answer a request for a file, as far as its headers ask for it."""
    chosen = file.plain
    if file.coded and (accepted := headers.getall(hdrs.ACCEPT_ENCODING, None)) is not None:
        chosen = file.coded.get(preferred_coding(",".join(accepted)), chosen)
    if (
        headers.get(hdrs.IF_NONE_MATCH) == chosen.etag
        and hdrs.IF_MATCH not in headers
        and hdrs.IF_UNMODIFIED_SINCE not in headers
    ):
        return chosen.unchanged  # as `select` would find, at a tenth of its cost
    if not [name for name in CONDITIONS if name in headers]:
        return chosen.whole
    part = select(method, headers, etag=chosen.etag, modified=chosen.modified, size_bytes=chosen.size_bytes)
    match part.status:
        case HTTPStatus.OK:
            return chosen.whole
        case HTTPStatus.NOT_MODIFIED:
            return chosen.unchanged
        case HTTPStatus.PARTIAL_CONTENT:
            return chosen.part(part.start, part.stop)
        case HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return refusal(part.status, {hdrs.CONTENT_RANGE: f"bytes */{chosen.size_bytes}"})
        case _:
            return refusal(part.status)


def kept(answer: Answer, caching: str) -> Answer:
    """The same answer, with other advice for caches."""
    return replace(answer, headers={**answer.headers, hdrs.CACHE_CONTROL: caching}, head=b"")


def head_of(answer: Answer) -> bytes:
    """The status line and headers of an answer, each line with its end, but not the empty line after them.

    Raises:
        ValueError: A header would become two.
    """
    return answer.head or _encoded(answer.status, answer.headers)


def _encoded(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join((*lines, ""))
    if text.count("\r") != len(lines) or text.count("\n") != len(lines):
        raise ValueError("a header holds the end of a line")
    return text.encode("latin-1")


def document(body: bytes, content_type: str, caching: str) -> Answer:
    """Answer with something that was made for the occasion."""
    headers: dict[str, str] = {
        **EVERYWHERE,
        hdrs.CONTENT_TYPE: content_type,
        hdrs.CACHE_CONTROL: caching,
        hdrs.CONTENT_LENGTH: str(len(body)),
    }
    return Answer(HTTPStatus.OK, headers, body, 0, len(body))


def redirect(location: str) -> Answer:
    """Lead to a file of the current release.

    A player resolves relative URIs against where it ended up (RFC 3986, section 5.1.3), so that the manifests stay as
    they were published. The location is relative as well, which holds behind a proxy that adds a prefix.
    """
    headers: dict[str, str] = {hdrs.LOCATION: location, hdrs.CACHE_CONTROL: ENTRY_POINT, hdrs.CONTENT_LENGTH: "0"}
    return Answer(HTTPStatus.FOUND, {**EVERYWHERE, **headers})


def preflight() -> Answer:
    """Answer OPTIONS, whatever was asked for."""
    return Answer(HTTPStatus.NO_CONTENT, {**EVERYWHERE, **_PREFLIGHT})


def refusal(
    status: HTTPStatus, headers: dict[str, str] | None = None, *, closes: bool = False, reason: str | None = None
) -> Answer:
    """Answer with an error: a constant body, which tells nothing of the request or the store."""
    body = b'{"error": "%s"}\n' % (reason or status.phrase.lower()).encode()
    sent: dict[str, str] = {
        **EVERYWHERE,
        hdrs.CONTENT_TYPE: JSON_TYPE,
        # Only absence may be remembered: another cached error would shut out those who ask rightly.
        hdrs.CACHE_CONTROL: BRIEFLY if status == HTTPStatus.NOT_FOUND else NEVER,
        hdrs.CONTENT_LENGTH: str(len(body)),
        **(headers or {}),
    }
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        sent[hdrs.RETRY_AFTER] = str(RETRY_S)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        sent[hdrs.ALLOW] = _PREFLIGHT[hdrs.ALLOW]
    return Answer(status, sent, body, 0, len(body), closes)


def denial(reason: str, retry_s: float | None) -> Answer:
    """Refuse what a token does not cover; ``retry_s`` says when it may, None that it won't."""
    headers: dict[str, str] = {} if retry_s is None else {hdrs.RETRY_AFTER: str(math.ceil(retry_s))}
    return refusal(HTTPStatus.FORBIDDEN, headers, reason=reason)


@lru_cache(maxsize=256)
def preferred_coding(accepted: str) -> str:
    """The first of `CODINGS` that Accept-Encoding names with a weight above zero; empty for none."""
    weights = {name.lower(): weight for name, weight in _CODING.findall(accepted)}
    return next((coding for coding in CODINGS if weights.get(coding, "0").strip("0.") or weights.get(coding) == ""), "")


def _brotli(body: bytes) -> bytes:
    return bytes(brotli.compress(body, mode=brotli.MODE_TEXT, quality=BROTLI_QUALITY))


def _gzip(body: bytes) -> bytes:
    # Without a time stamp, so that all origins give the same bytes under the same tag.
    return gzip.compress(body, 9, mtime=0)


CODINGS: dict[str, Callable[[bytes], bytes]] = {"br": _brotli, "gzip": _gzip}
"""How manifests are compressed, the smaller result first."""


@lru_cache(maxsize=256)
def _date(when: datetime) -> str:
    return format_datetime(when, usegmt=True)


def _compact(body: bytes) -> Blob | bytes:
    return in_memory(body) if len(body) > INLINE_BYTES else body


def _sealed(status: HTTPStatus, headers: dict[str, str], body: Blob | bytes = b"", size_bytes: int = 0) -> Answer:
    return Answer(status, headers, body, 0, size_bytes, head=_encoded(status, headers))
