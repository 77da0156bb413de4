"""Upstream servers of an edge: peers, a shield and the origin, tried in this order, each with a circuit breaker.

If a transfer breaks off, the edge requests the rest from the next server. Of a client's request, only the path, a
checked query and the token are forwarded.
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp import hdrs

from headend.core.caching.circuit_breaker import CircuitBreaker, RetryBudget
from headend.core.errors import ConfigError

LOOP = "CDN-Loop"
"""Header that lists the servers which forwarded a request (RFC 8586)."""
LOOP_MARK = "peer"
"""Parameter of `LOOP` in a request to a peer. A request that has it is not forwarded to another peer."""
CONNECT_S = 5.0
"""Timeout for connecting."""
READ_S = 15.0
"""Timeout for the next bytes of a response."""
TOTAL_S = 120.0
"""Timeout for a whole response."""
DOCUMENT_BYTES = 32 << 20
"""Maximum size of a document."""
DOCUMENT_STATUSES = frozenset({200, 301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 429, 431})
"""Accepted statuses of a document; 304, too, for revalidation."""
PIECE_BYTES = 256 << 10
"""Maximum bytes that are read at once."""
_ADDRESS = re.compile(r"https?://[^/?#\s@]+(/[A-Za-z0-9._~/-]*)?")


class Role(StrEnum):
    """Kind of an upstream server."""

    PEER = "peer"
    SHIELD = "shield"
    ORIGIN = "origin"


class Unreachable(Exception):
    """No upstream server returned the object, although it may exist."""


class Absent(Exception):
    """The object does not exist."""


@dataclass(frozen=True, slots=True)
class UpstreamResponse:
    """A document from an upstream server.

    Attributes:
        status: HTTP status.
        headers: Headers.
        body: Complete body.
        role: Kind of the server.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    role: Role

    @property
    def modified(self) -> datetime:
        """The response's Last-Modified; now if it has none."""
        return modified_of(self.headers)


class Upstream:
    """One upstream server.

    Args:
        url: Address, without a query.
        role: Kind of the server.
        clock: Monotonic clock, in seconds.

    Raises:
        ConfigError: The address is not http:// or https://, or has a password or a query.
    """

    def __init__(self, url: str, role: Role, clock: Any) -> None:
        if not _ADDRESS.fullmatch(url):
            raise ConfigError(f"{url[:120]!r} is not the address of a server, such as http://10.0.0.7:8080")
        self.url = url.rstrip("/")
        self.role = role
        self.breaker = CircuitBreaker(clock)
        self.retries = RetryBudget()


class Upstreams:
    """All upstream servers of an edge; belongs to one event loop.

    Args:
        upstreams: The servers, in the order they are tried.
        name: Name of this edge, for `LOOP`.
        headers: Returns headers for every request, such as the edge's territory.
    """

    def __init__(self, upstreams: Sequence[Upstream], name: str, headers: Any = dict) -> None:
        self._upstreams = tuple(upstreams)
        self._name = name
        self._headers = headers
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def document(
        self, target: str, *, etag: str | None = None, loops: str = "", accept: str = "*/*"
    ) -> UpstreamResponse:
        """Get a small document from the shield or the origin.

        Args:
            target: Path and query, with the client's token.
            etag: ETag of the cached copy, for revalidation.
            loops: The client's `LOOP` header.
            accept: Accept header.

        Raises:
            Unreachable: No server returned an acceptable response.
        """
        headers: dict[str, str] = {hdrs.ACCEPT: accept, **({hdrs.IF_NONE_MATCH: etag} if etag else {})}
        accepted = DOCUMENT_STATUSES | ({HTTPStatus.NOT_MODIFIED} if etag else frozenset())
        last: UpstreamResponse | None = None
        for upstream in self._chosen(loops):
            try:
                async with self._get(upstream, target, headers, loops) as received:
                    body = await received.content.read(DOCUMENT_BYTES + 1)
                    while len(body) <= DOCUMENT_BYTES and (more := await received.content.read(DOCUMENT_BYTES + 1)):
                        body += more
                    response = UpstreamResponse(received.status, received.headers, body, upstream.role)
            except (aiohttp.ClientError, TimeoutError, OSError):
                upstream.breaker.note(failed=True)
                continue
            # A partial or unexpectedly compressed body must not be cached as the document.
            failed = response.status not in accepted or len(body) > DOCUMENT_BYTES or _is_encoded(response.headers)
            upstream.breaker.note(failed=failed)
            if not failed:
                upstream.retries.earn()
                return response
            last = response
        if last is not None and last.status == 508:
            return last
        raise Unreachable

    async def body(
        self,
        target: str,
        size_bytes: int,
        *,
        peers: Sequence[str] = (),
        loops: str = "",
        facts: "ObjectFacts | None" = None,
    ) -> AsyncGenerator[bytes, None]:
        """Get an object of a known size from the first server that has it; the next server continues a broken transfer.

        Args:
            target: Path, with the client's token.
            size_bytes: Size of the whole object.
            peers: Addresses of the peers to try, best first.
            loops: The client's `LOOP` header.
            facts: Records the source of the bytes and the object's Last-Modified.

        Raises:
            Absent: The object does not exist.
            Unreachable: No server returned the complete object.
        """
        received_bytes = 0
        is_missing = False
        for upstream in self._chosen(loops, peers):
            headers: dict[str, str] = {hdrs.RANGE: f"bytes={received_bytes}-"} if received_bytes else {}
            try:
                async with self._get(upstream, target, headers, loops) as response:
                    if response.status == 404 and upstream.role is not Role.PEER:
                        upstream.breaker.note(failed=False)
                        is_missing = True
                        continue
                    is_rest = (
                        response.status == (206 if received_bytes else 200)
                        and response.content_length == size_bytes - received_bytes
                        and not _is_encoded(response.headers)
                    )
                    if not is_rest:
                        upstream.breaker.note(failed=response.status >= 500)
                        continue
                    if facts is not None:
                        facts.begin(upstream.role, response.headers)
                    async for piece in response.content.iter_chunked(PIECE_BYTES):
                        received_bytes += len(piece)
                        if facts is not None:
                            facts.bytes += len(piece)
                        yield piece
            except (aiohttp.ClientError, TimeoutError, OSError):
                upstream.breaker.note(failed=True)
                continue
            upstream.breaker.note(failed=received_bytes != size_bytes)
            if received_bytes == size_bytes:
                upstream.retries.earn()
                return
        raise Absent if is_missing and not received_bytes else Unreachable

    def blame(self, role: Role) -> None:
        """Count damaged bytes from servers of a kind as failures in their circuit breakers."""
        for upstream in self._upstreams:
            if upstream.role is role:
                upstream.breaker.note(failed=True)

    def _chosen(self, loops: str, peers: Sequence[str] = ()) -> list[Upstream]:
        """Servers to try, in order: these peers, the shield, the origin; the last two again if retries are left."""
        allowed_peers = [
            upstream
            for url in (peers if LOOP_MARK not in loops else ())
            for upstream in self._upstreams
            if upstream.role is Role.PEER and upstream.url == url and upstream.breaker.allows()
        ]
        others = [upstream for upstream in self._upstreams if upstream.role is not Role.PEER]
        first = [upstream for upstream in others if upstream.breaker.allows()] or others[-1:]
        again = [upstream for upstream in first if upstream.retries.spend()]
        return [*allowed_peers, *first, *again]

    def _get(self, upstream: Upstream, target: str, headers: dict[str, str], loops: str) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TOTAL_S, sock_connect=CONNECT_S, sock_read=READ_S),
                connector=aiohttp.TCPConnector(limit=256, limit_per_host=128),
                auto_decompress=False,
                read_bufsize=PIECE_BYTES,
                skip_auto_headers=(hdrs.USER_AGENT,),
            )
        mark = f"{self._name}; {LOOP_MARK}" if upstream.role is Role.PEER else self._name
        sent = {
            hdrs.ACCEPT_ENCODING: "identity",
            **headers,
            **self._headers(),
            LOOP: f"{loops}, {mark}" if loops else mark,
        }
        return self._session.get(f"{upstream.url}{target}", headers=sent, allow_redirects=False)


class ObjectFacts:
    """Facts about an object, collected during its transfer.

    Attributes:
        role: Kind of the server that sent the last bytes.
        modified: The object's Last-Modified.
        bytes: Bytes received so far.
    """

    def __init__(self) -> None:
        self.role: Role | None = None
        self.modified = datetime.now(UTC)
        self.bytes = 0

    def begin(self, role: Role, headers: Mapping[str, str]) -> None:
        """Record the start of a server's response."""
        self.role = role
        self.modified = modified_of(headers)


def modified_of(headers: Mapping[str, str]) -> datetime:
    """``Last-Modified`` of a response; now if it has none."""
    try:
        return parsedate_to_datetime(headers[hdrs.LAST_MODIFIED]).astimezone(UTC)
    except (KeyError, ValueError, TypeError, OverflowError):
        return datetime.now(UTC)


def _is_encoded(headers: Mapping[str, str]) -> bool:
    return headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() not in ("", "identity")
