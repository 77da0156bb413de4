"""What is sent: headers by kind of object, representations, and answers that never repeat what a client said."""

import gzip
import hashlib
import math
import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus

from aiohttp import hdrs
from multidict import CIMultiDict

from origin.freshness import Headers, select

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
_GZIP = re.compile(r"(?:^|,)\s*(?:gzip|x-gzip)\s*(?:;\s*q=([0-9.]*))?\s*(?=,|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, ready to be sent.

    Attributes:
        status: Of HTTP.
        headers: All but those that belong to the connection.
        body: What GET sends and HEAD leaves out.
        closes: Whether the connection is of no use after it.
    """

    status: int
    headers: CIMultiDict[str]
    body: memoryview | bytes = b""
    closes: bool = False


@dataclass(frozen=True, slots=True)
class Representation:
    """The bytes of a file in one content coding.

    Attributes:
        body: All of them.
        etag: Strong, with its quotes: from the bytes, so that all origins agree on it.
        modified: In whole seconds.
        headers: Those of status 200, without the length.
    """

    body: bytes
    etag: str
    modified: datetime
    headers: CIMultiDict[str]


@dataclass(frozen=True, slots=True)
class File:
    """A file in the codings that it is kept in.

    Attributes:
        plain: As it is in the store.
        gzipped: For manifests, which shrink to a tenth.
    """

    plain: Representation
    gzipped: Representation | None = None

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        return len(self.plain.body) + (len(self.gzipped.body) if self.gzipped else 0)


def media_file(body: bytes, sha256: str, modified: datetime, content_type: str) -> File:
    """Describe a segment or init segment."""
    headers: dict[str, str] = {hdrs.CONTENT_TYPE: content_type}
    return File(_representation(body, f'"{sha256}"', modified, headers))


def manifest_file(body: bytes, modified: datetime, content_type: str) -> File:
    """Describe a manifest, and compress it once for all who will ask."""
    sha256 = hashlib.sha256(body).hexdigest()
    headers: dict[str, str] = {hdrs.CONTENT_TYPE: content_type, hdrs.VARY: hdrs.ACCEPT_ENCODING}
    return File(
        _representation(body, f'"{sha256}"', modified, headers),
        _representation(
            # Without a time stamp, so that all origins give the same bytes under the same tag.
            gzip.compress(body, 9, mtime=0),
            f'"{sha256}-gzip"',
            modified,
            {**headers, hdrs.CONTENT_ENCODING: "gzip"},
        ),
    )


def for_file(method: str, headers: Headers, file: File) -> Answer:
    """Answer a request for a file, as far as its headers ask for it."""
    wants_gzip = file.gzipped is not None and accepts_gzip(headers.getall(hdrs.ACCEPT_ENCODING, ()))
    chosen = file.gzipped if wants_gzip and file.gzipped is not None else file.plain
    size = len(chosen.body)
    part = select(method, headers, etag=chosen.etag, modified=chosen.modified, size_bytes=size)
    if part.status == HTTPStatus.PRECONDITION_FAILED:
        return refusal(part.status)
    if part.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return refusal(part.status, {hdrs.CONTENT_RANGE: f"bytes */{size}"})
    sent = chosen.headers.copy()
    if part.status == HTTPStatus.NOT_MODIFIED:
        del sent[hdrs.CONTENT_TYPE]
        return Answer(part.status, sent)
    if part.status == HTTPStatus.PARTIAL_CONTENT:
        sent[hdrs.CONTENT_RANGE] = f"bytes {part.start}-{part.stop - 1}/{size}"
    sent[hdrs.CONTENT_LENGTH] = str(part.stop - part.start)
    return Answer(part.status, sent, memoryview(chosen.body)[part.start : part.stop])


def document(body: bytes, content_type: str, caching: str) -> Answer:
    """Answer with something that was made for the occasion."""
    headers: dict[str, str] = {
        hdrs.CONTENT_TYPE: content_type,
        hdrs.CACHE_CONTROL: caching,
        hdrs.CONTENT_LENGTH: str(len(body)),
    }
    return Answer(HTTPStatus.OK, CIMultiDict({**EVERYWHERE, **headers}), body)


def redirect(location: str) -> Answer:
    """Lead to a file of the current release.

    A player resolves relative URIs against where it ended up (RFC 3986, section 5.1.3), so that the manifests stay as
    they were published. The location is relative as well, which holds behind a proxy that adds a prefix.
    """
    headers: dict[str, str] = {hdrs.LOCATION: location, hdrs.CACHE_CONTROL: ENTRY_POINT, hdrs.CONTENT_LENGTH: "0"}
    return Answer(HTTPStatus.FOUND, CIMultiDict({**EVERYWHERE, **headers}))


def preflight() -> Answer:
    """Answer OPTIONS, whatever was asked for."""
    return Answer(HTTPStatus.NO_CONTENT, CIMultiDict({**EVERYWHERE, **_PREFLIGHT}))


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
    return Answer(status, CIMultiDict(sent), body, closes)


def denial(reason: str, retry_s: float | None) -> Answer:
    """Refuse what a token does not cover; ``retry_s`` says when it may, None that it won't."""
    headers: dict[str, str] = {} if retry_s is None else {hdrs.RETRY_AFTER: str(math.ceil(retry_s))}
    return refusal(HTTPStatus.FORBIDDEN, headers, reason=reason)


def accepts_gzip(values: "tuple[str, ...] | list[str]") -> bool:
    """Whether Accept-Encoding names gzip with a weight above zero."""
    found = _GZIP.search(",".join(values))
    return found is not None and (found[1] is None or found[1].strip("0.") != "")


def _representation(body: bytes, etag: str, modified: datetime, headers: dict[str, str]) -> Representation:
    whole = modified.replace(microsecond=0)
    validators: dict[str, str] = {hdrs.ETAG: etag, hdrs.LAST_MODIFIED: format_datetime(whole, usegmt=True)}
    ways: dict[str, str] = {hdrs.CACHE_CONTROL: FOREVER, hdrs.ACCEPT_RANGES: "bytes"}
    return Representation(body, etag, whole, CIMultiDict({**EVERYWHERE, **headers, **validators, **ways}))
