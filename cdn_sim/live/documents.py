"""A memory cache for manifests and other small documents, which follows the rules of HTTP caching.

Source: RFC 9111 (freshness, validation, negative responses) and RFC 5861 (stale-while-revalidate, stale-if-error).
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

from aiohttp import hdrs

from cdn_sim.live.upstream import Unreachable, UpstreamResponse, Upstreams
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.caching.single_flight import SingleFlight, TookTooLong, TooMany
from headend.core.http import responses
from headend.core.http.blobs import in_memory
from headend.core.http.conditions import Headers
from headend.core.http.responses import COMMON_HEADERS, File, Representation, Response

log = logging.getLogger("headend.edge")

WAIT_S = 20.0
"""How long a client waits for a document."""
FLIGHTS = 256
"""Maximum number of documents that are being read."""
FLIGHTS_PER_CLIENT = 32
"""Maximum number of these reads that one client has started."""
STALE_IF_ERROR_S = 3600.0
"""Default of ``stale-if-error``: how long a stale document is served while no upstream server responds."""
MAX_LIFETIME_S = 365 * 86400.0
"""Longer times in Cache-Control count as this."""
_DIRECTIVE = re.compile(r'([a-z-]+)(?:="?([0-9]{1,10})"?)?')
PAGE_POLICY = "Content-Security-Policy"
_FORWARDED = (hdrs.CONTENT_TYPE, hdrs.CACHE_CONTROL, hdrs.LOCATION, hdrs.RETRY_AFTER, PAGE_POLICY)
"""Headers of upstream responses that clients get."""
_CACHEABLE = frozenset({200, 301, 302, 307, 308, 404, 410})
"""Statuses of responses that may be stored."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """What a response's Cache-Control allows a shared cache.

    Attributes:
        fresh_s: Freshness lifetime.
        revalidate_s: How long after that it may be served stale while it is revalidated.
        error_s: How long after its freshness lifetime it may be served stale if revalidation fails.
        may_store: Whether it may be stored at all.
        is_private: Whether it is for a single client.
    """

    fresh_s: float
    revalidate_s: float = 0.0
    error_s: float = STALE_IF_ERROR_S
    may_store: bool = True
    is_private: bool = False


def freshness(header: str) -> Freshness:
    """Parse Cache-Control, in linear time; unknown directives are ignored."""
    found: dict[str, str] = dict(_DIRECTIVE.findall(header[:1024].lower()))

    def seconds(name: str, default: float) -> float:
        return min(float(found[name]), MAX_LIFETIME_S) if found.get(name) else default

    is_private = "private" in found
    may_store = not (is_private or "no-store" in found)
    fresh_s = seconds("s-maxage", seconds("max-age", 0.0))
    return Freshness(
        0.0 if "no-cache" in found else fresh_s,
        seconds("stale-while-revalidate", 0.0),
        seconds("stale-if-error", STALE_IF_ERROR_S),
        may_store,
        is_private,
    )


@dataclass(frozen=True, slots=True)
class Document:
    """A cached response.

    Attributes:
        status: HTTP status.
        file: The body of a 200 response, in all its content codings; None for other statuses.
        other: The response with another status; None for 200.
        etag: The upstream server's ETag, for revalidation.
        allowed: What Cache-Control allows.
        at_s: When it was received or last revalidated, on the monotonic clock.
        age_s: Its age at that time.
    """

    status: int
    file: File | None
    other: Response | None
    etag: str | None
    allowed: Freshness
    at_s: float
    age_s: float

    @property
    def size_bytes(self) -> int:
        """Approximate memory."""
        return 1024 + (self.file.size_bytes if self.file else 0)

    def response(self, method: str, headers: Headers, now_s: float, *, is_personal: bool = False) -> Response:
        """The response to one client, with ``Age``.

        Args:
            method: ``GET`` or ``HEAD``.
            headers: The request's headers.
            now_s: Current time on the monotonic clock.
            is_personal: Whether the request had a token, so that downstream caches must not share the response.
        """
        if self.file is None:
            assert self.other is not None
            found = self.other
        else:
            caching = self.file.plain.whole.headers[hdrs.CACHE_CONTROL]
            private = caching.replace("public", "private", 1) if is_personal else None
            found = responses.for_file(method, headers, self.file, private)
        return with_age(found, self.age_s + now_s - self.at_s)


class Documents:
    """The cache of documents; belongs to one event loop.

    Args:
        upstreams: The upstream servers.
        budget_bytes: Memory for documents.
        count: Called with the result of each request: ``hit``, ``stale`` or ``miss``.
        clock: Monotonic clock, in seconds.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        budget_bytes: int,
        count: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upstreams = upstreams
        self._count = count
        self._clock = clock
        self._cached: SegmentedLRU[tuple[str, ...], Document] = SegmentedLRU(budget_bytes)
        self._flights: SingleFlight[tuple[str, ...], Document] = SingleFlight(FLIGHTS, FLIGHTS_PER_CLIENT)
        self._background: set[asyncio.Task[object]] = set()

    @property
    def size_bytes(self) -> int:
        """Memory of all documents."""
        return self._cached.size_bytes

    async def get(
        self, key: tuple[str, ...], target: str, *, client: str, loops: str, accept: str
    ) -> tuple[Document, float]:
        """Get a document from memory if it is fresh enough, otherwise from upstream.

        Args:
            key: Everything that the document depends on.
            target: Path and query for upstream servers.
            client: The client's name or address.
            loops: The client's ``CDN-Loop`` header.
            accept: Accept header for upstream servers.

        Returns:
            The document, and the current time on the monotonic clock.

        Raises:
            Unreachable: The document is not cached, and no upstream server responds.
            TooMany: Too many documents are being read.
            TookTooLong: The upstream server takes too long.
        """
        now_s = self._clock()
        cached = self._cached.get(key)
        if cached is not None:
            stale_s = cached.age_s + now_s - cached.at_s - cached.allowed.fresh_s
            if stale_s < 0:
                self._count("hit")
                return cached, now_s
            if stale_s < cached.allowed.revalidate_s:
                self._count("stale")
                self._refresh(key, target, cached, loops, accept)
                return cached, now_s
        try:
            found = await self._flights.do(
                key, lambda: self._fetch(key, target, cached, loops, accept), wait_s=WAIT_S, client=client
            )
        except Unreachable:
            if cached is None or cached.age_s + now_s - cached.at_s > cached.allowed.fresh_s + cached.allowed.error_s:
                raise
            self._count("stale")
            return cached, now_s
        self._count("miss")
        return found, self._clock()

    def is_fresh(self, key: tuple[str, ...], document: Document, now_s: float) -> bool:
        """Whether a document is still cached under a key and fresh; counts as a use in the cache."""
        return document.age_s + now_s - document.at_s < document.allowed.fresh_s and self._cached.get(key) is document

    def _refresh(self, key: tuple[str, ...], target: str, cached: Document, loops: str, accept: str) -> None:
        if key in self._flights:
            return

        async def refresh() -> None:
            try:
                await self._flights.do(key, lambda: self._fetch(key, target, cached, loops, accept), wait_s=WAIT_S)
            except (Unreachable, TooMany, TookTooLong):
                return  # keep serving the stale document as long as Cache-Control allows
            except Exception:
                log.exception("a document could not be refreshed")

        task = asyncio.get_running_loop().create_task(refresh())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _fetch(
        self, key: tuple[str, ...], target: str, cached: Document | None, loops: str, accept: str
    ) -> Document:
        response = await self._upstreams.document(
            target, etag=cached.etag if cached else None, loops=loops, accept=accept
        )
        now_s = self._clock()
        allowed = freshness(response.headers.get(hdrs.CACHE_CONTROL, ""))
        if response.status == HTTPStatus.NOT_MODIFIED and cached is not None:
            found = replace(cached, allowed=allowed, at_s=now_s, age_s=_age(response.headers))
        else:
            try:
                found = _document(response, allowed, now_s)
            except ValueError as error:  # a header has characters that can't be sent
                raise Unreachable from error
        if allowed.may_store and found.status in _CACHEABLE and _varies_as_keyed(response.headers):
            self._cached.put(key, found, found.size_bytes)
        else:
            self._cached.drop(key)
        return found

    def cancel(self) -> None:
        """Cancel all reads."""
        self._flights.cancel()


def with_age(response: Response, age_s: float) -> Response:
    """The same response with ``Age`` (RFC 9111, section 5.1)."""
    line = f"Age: {max(0, int(age_s))}\r\n".encode()
    if response.head:
        return replace(response, head=response.head + line)
    return replace(response, headers={**response.headers, hdrs.AGE: str(max(0, int(age_s)))})


def _document(response: UpstreamResponse, allowed: Freshness, now_s: float) -> Document:
    age_s = _age(response.headers)
    etag = response.headers.get(hdrs.ETAG)
    headers: dict[str, str] = {name: response.headers[name] for name in _FORWARDED if name in response.headers}
    if response.status != HTTPStatus.OK:
        length = str(len(response.body))
        sent: dict[str, str] = {**COMMON_HEADERS, **headers, hdrs.CONTENT_LENGTH: length}
        other = Response(response.status, sent, response.body, 0, len(response.body))
        return Document(response.status, None, other, None, allowed, now_s, age_s)
    kind = headers.pop(hdrs.CONTENT_TYPE, "application/octet-stream")
    caching: dict[str, str] = {hdrs.CACHE_CONTROL: headers.get(hdrs.CACHE_CONTROL, responses.NO_STORE)}
    if PAGE_POLICY in headers:
        caching[PAGE_POLICY] = headers[PAGE_POLICY]
    plain = Representation(
        response.body if len(response.body) <= responses.INLINE_BYTES else in_memory(response.body),
        etag or f'"{len(response.body)}"',
        response.modified,
        {hdrs.CONTENT_TYPE: kind, **caching},
    )
    file = File("document", plain)
    if _is_text(kind):
        # Compress once for all clients; the compressed representations get the edge's own ETags.
        text = responses.text_file("document", response.body, response.modified, kind)
        coded = {coding: _recached(each, caching) for coding, each in text.coded.items()}
        file = File("document", _recached(text.plain, caching), coded)
    return Document(HTTPStatus.OK, file, None, etag, allowed, now_s, age_s)


def _recached(form: Representation, caching: Mapping[str, str]) -> Representation:
    headers = {
        name: value
        for name, value in form.whole.headers.items()
        if name in (hdrs.CONTENT_TYPE, hdrs.CONTENT_ENCODING, hdrs.VARY)
    }
    return Representation(form.body, form.etag, form.modified, {**headers, **caching})


def _is_text(kind: str) -> bool:
    name = kind.partition(";")[0].strip().lower()
    return name.startswith("text/") or name in (
        "application/vnd.apple.mpegurl",
        "application/dash+xml",
        "application/json",
    )


def _varies_as_keyed(headers: Mapping[str, str]) -> bool:
    """Whether a response varies only by headers that the cache key covers (RFC 9111, section 4.1)."""
    names = {name.strip().lower() for name in headers.get(hdrs.VARY, "")[:1024].split(",")}
    return names <= {"", "accept", "accept-encoding", "origin"}


def _age(headers: Mapping[str, str]) -> float:
    value = headers.get(hdrs.AGE, "")
    return float(value[:10]) if value.isascii() and value.isdigit() else 0.0
