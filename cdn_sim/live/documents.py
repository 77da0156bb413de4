"""Manifests and other small documents: kept in memory by the rules of HTTP caching, outside the policy.

Source: RFC 9111 (freshness, validation, negative responses) and RFC 5861 (stale-while-revalidate, stale-if-error).
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

from aiohttp import hdrs

from cdn_sim.live.upstream import Answered, Unreachable, Upstreams
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.caching.single_flight import SingleFlight
from headend.core.http import responses
from headend.core.http.blobs import in_memory
from headend.core.http.conditions import Headers
from headend.core.http.responses import EVERYWHERE, File, Representation, Response

WAIT_S = 20.0
FLIGHTS = 256
FLIGHTS_PER_CLIENT = 32
IF_ERROR_S = 3600.0
"""How long a document is served although nobody upstream answers, unless the origin says otherwise."""
LONGEST_S = 365 * 86400.0
_DIRECTIVE = re.compile(r'([a-z-]+)(?:="?([0-9]{1,10})"?)?')
PAGE_POLICY = "Content-Security-Policy"
_KEPT = (hdrs.CONTENT_TYPE, hdrs.CACHE_CONTROL, hdrs.LOCATION, hdrs.RETRY_AFTER, PAGE_POLICY)
_CACHEABLE = frozenset({200, 301, 302, 307, 308, 404, 410})


@dataclass(frozen=True, slots=True)
class Freshness:
    """What Cache-Control allows a shared cache.

    Attributes:
        fresh_s: How long it may be used without asking.
        revalidate_s: How much longer it may be used while it is asked for.
        error_s: How much longer it may be used where nobody answers.
        stored: Whether it may be kept at all.
        is_private: Whether it is for one client only.
    """

    fresh_s: float
    revalidate_s: float = 0.0
    error_s: float = IF_ERROR_S
    stored: bool = True
    is_private: bool = False


def freshness(header: str) -> Freshness:
    """Read Cache-Control in time linear in its length; what is not understood is passed over."""
    found: dict[str, str] = dict(_DIRECTIVE.findall(header[:1024].lower()))

    def seconds(name: str, default: float) -> float:
        return min(float(found[name]), LONGEST_S) if found.get(name) else default

    is_private = "private" in found
    stored = not (is_private or "no-store" in found)
    fresh_s = seconds("s-maxage", seconds("max-age", 0.0))
    return Freshness(
        0.0 if "no-cache" in found else fresh_s,
        seconds("stale-while-revalidate", 0.0),
        seconds("stale-if-error", IF_ERROR_S),
        stored,
        is_private,
    )


@dataclass(frozen=True, slots=True)
class Document:
    """A response from upstream, ready for any number of clients.

    Attributes:
        status: HTTP status.
        file: What a 200 holds; None for others.
        other: The response of any other status.
        etag: As upstream names it, for revalidation.
        allowed: What Cache-Control allows.
        at_s: When it came or was found valid; monotonic.
        age_s: How old it was then.
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
        """Memory that it takes."""
        return 1024 + (self.file.size_bytes if self.file else 0)

    def response(self, method: str, headers: Headers, now_s: float, *, is_personal: bool = False) -> Response:
        """The response to one client, with its age.

        Args:
            method: ``GET`` or ``HEAD``.
            headers: The client's.
            now_s: The clock.
            is_personal: Whether it was reached by a token, so that no cache may share it from here on.
        """
        if self.file is None:
            assert self.other is not None
            found = self.other
        else:
            caching = self.file.plain.whole.headers[hdrs.CACHE_CONTROL]
            personal = caching.replace("public", "private", 1) if is_personal else None
            found = responses.for_file(method, headers, self.file, personal)
        return with_age(found, self.age_s + now_s - self.at_s)


class Documents:
    """All documents that are kept; belongs to one event loop.

    Args:
        upstreams: Where they come from.
        budget_bytes: Memory for them.
        count: Called with how a request was answered.
        clock: Seconds, monotonic.
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
        self._kept: SegmentedLRU[tuple[str, ...], Document] = SegmentedLRU(budget_bytes)
        self._flights: SingleFlight[tuple[str, ...], Document] = SingleFlight(FLIGHTS, FLIGHTS_PER_CLIENT)
        self._background: set[asyncio.Task[object]] = set()

    @property
    def size_bytes(self) -> int:
        """Memory taken."""
        return self._kept.size_bytes

    async def get(
        self, key: tuple[str, ...], target: str, *, client: str, loops: str, accept: str
    ) -> tuple[Document, float]:
        """Get a document; from memory if it may be used, or from upstream.

        Args:
            key: All that decides what the document is.
            target: How upstream is asked for it.
            client: The client's name or address.
            loops: The client's ``CDN-Loop``.
            accept: Which form is wanted.

        Returns:
            The document, and the clock.

        Raises:
            Unreachable: It is not here, and nobody upstream answers.
            TooMany: Too many are being asked for.
            TookTooLong: Upstream takes too long.
        """
        now_s = self._clock()
        kept = self._kept.get(key)
        if kept is not None:
            stale_s = kept.age_s + now_s - kept.at_s - kept.allowed.fresh_s
            if stale_s < 0:
                self._count("hit")
                return kept, now_s
            if stale_s < kept.allowed.revalidate_s:
                self._count("stale")
                self._refresh(key, target, kept, loops, accept)
                return kept, now_s
        try:
            found = await self._flights.do(
                key, lambda: self._fetch(key, target, kept, loops, accept), wait_s=WAIT_S, client=client
            )
        except Unreachable:
            if kept is None or kept.age_s + now_s - kept.at_s > kept.allowed.fresh_s + kept.allowed.error_s:
                raise
            self._count("stale")
            return kept, now_s
        self._count("miss")
        return found, self._clock()

    def is_fresh(self, key: tuple[str, ...], document: Document, now_s: float) -> bool:
        """Whether this is still what is kept for a key, and may be used without asking; counts as a use."""
        return document.age_s + now_s - document.at_s < document.allowed.fresh_s and self._kept.get(key) is document

    def _refresh(self, key: tuple[str, ...], target: str, kept: Document, loops: str, accept: str) -> None:
        if key in self._flights:
            return

        async def refresh() -> None:
            try:
                await self._flights.do(key, lambda: self._fetch(key, target, kept, loops, accept), wait_s=WAIT_S)
            except Exception:
                return  # what is here is used until it may not be any more

        task = asyncio.get_running_loop().create_task(refresh())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _fetch(
        self, key: tuple[str, ...], target: str, kept: Document | None, loops: str, accept: str
    ) -> Document:
        answered = await self._upstreams.document(target, etag=kept.etag if kept else None, loops=loops, accept=accept)
        now_s = self._clock()
        allowed = freshness(answered.headers.get(hdrs.CACHE_CONTROL, ""))
        if answered.status == HTTPStatus.NOT_MODIFIED and kept is not None:
            found = replace(kept, allowed=allowed, at_s=now_s, age_s=_age(answered.headers))
        else:
            try:
                found = _document(answered, allowed, now_s)
            except ValueError as error:  # a header holds what can't be sent
                raise Unreachable from error
        if allowed.stored and found.status in _CACHEABLE and _varies_as_keyed(answered.headers):
            self._kept.put(key, found, found.size_bytes)
        else:
            self._kept.drop(key)
        return found

    def cancel(self) -> None:
        """End all reads."""
        self._flights.cancel()


def with_age(response: Response, age_s: float) -> Response:
    """The same response with ``Age`` (RFC 9111, section 5.1)."""
    line = f"Age: {max(0, int(age_s))}\r\n".encode()
    if response.head:
        return replace(response, head=response.head + line)
    return replace(response, headers={**response.headers, hdrs.AGE: str(max(0, int(age_s)))})


def _document(answered: Answered, allowed: Freshness, now_s: float) -> Document:
    age_s = _age(answered.headers)
    etag = answered.headers.get(hdrs.ETAG)
    headers: dict[str, str] = {name: answered.headers[name] for name in _KEPT if name in answered.headers}
    if answered.status != HTTPStatus.OK:
        length = str(len(answered.body))
        sent: dict[str, str] = {**EVERYWHERE, **headers, hdrs.CONTENT_LENGTH: length}
        other = Response(answered.status, sent, answered.body, 0, len(answered.body))
        return Document(answered.status, None, other, None, allowed, now_s, age_s)
    kind = headers.pop(hdrs.CONTENT_TYPE, "application/octet-stream")
    caching: dict[str, str] = {hdrs.CACHE_CONTROL: headers.get(hdrs.CACHE_CONTROL, responses.NO_STORE)}
    if PAGE_POLICY in headers:
        caching[PAGE_POLICY] = headers[PAGE_POLICY]
    plain = Representation(
        answered.body if len(answered.body) <= responses.INLINE_BYTES else in_memory(answered.body),
        etag or f'"{len(answered.body)}"',
        answered.modified,
        {hdrs.CONTENT_TYPE: kind, **caching},
    )
    file = File("document", plain)
    if _is_text(kind):
        # Compressed here, once for all clients; the tags of compressed forms are the edge's own.
        made = responses.text_file("document", answered.body, answered.modified, kind)
        coded = {coding: _recached(each, caching) for coding, each in made.coded.items()}
        file = File("document", _recached(made.plain, caching), coded)
    return Document(HTTPStatus.OK, file, None, etag, allowed, now_s, age_s)


def _recached(made: Representation, caching: Mapping[str, str]) -> Representation:
    headers = {
        name: value
        for name, value in made.whole.headers.items()
        if name in (hdrs.CONTENT_TYPE, hdrs.CONTENT_ENCODING, hdrs.VARY)
    }
    return Representation(made.body, made.etag, made.modified, {**headers, **caching})


def _is_text(kind: str) -> bool:
    name = kind.partition(";")[0].strip().lower()
    return name.startswith("text/") or name in (
        "application/vnd.apple.mpegurl",
        "application/dash+xml",
        "application/json",
    )


def _varies_as_keyed(headers: Mapping[str, str]) -> bool:
    """Whether a response depends on nothing that keys leave out (RFC 9111, section 4.1)."""
    names = {name.strip().lower() for name in headers.get(hdrs.VARY, "")[:1024].split(",")}
    return names <= {"", "accept", "accept-encoding", "origin"}


def _age(headers: Mapping[str, str]) -> float:
    value = headers.get(hdrs.AGE, "")
    return float(value[:10]) if value.isascii() and value.isdigit() else 0.0
