"""Upstream servers of an edge: peers, a shield and the origin, tried in this order, each with a circuit breaker.

If a transfer breaks off, the next server is asked for the rest. The only parts of a client's request that are forwarded
are the path, a checked query and the token.
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
"""RFC 8586."""
LOOP_MARK = "peer"
"""Parameter of `LOOP` in a peer's request, which is never sent to another peer."""
CONNECT_S = 5.0
READ_S = 15.0
"""Timeout for the next bytes of a response."""
TOTAL_S = 120.0
DOCUMENT_BYTES = 32 << 20
DOCUMENT_STATUSES = frozenset({200, 301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 429, 431})
"""Accepted statuses of a document; 304, too, for revalidation."""
PIECE_BYTES = 256 << 10
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
        for upstream in self._chosen(loops, peers=False):
            try:
                async with self._get(upstream, target, headers, loops) as answer:
                    body = await answer.content.read(DOCUMENT_BYTES + 1)
                    while len(body) <= DOCUMENT_BYTES and (more := await answer.content.read(DOCUMENT_BYTES + 1)):
                        body += more
                    response = UpstreamResponse(answer.status, answer.headers, body, upstream.role)
            except (aiohttp.ClientError, TimeoutError, OSError):
                upstream.breaker.note(failed=True)
                continue
            # A partial or unexpectedly compressed body must not be cached as the document.
            failed = answer.status not in accepted or len(body) > DOCUMENT_BYTES or _is_coded(answer.headers)
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
        """Get an object of a known size from the first server that has it; the next one continues a broken transfer.

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
        at = 0
        missing = False
        for upstream in self._chosen(loops, peers=True, wanted=peers):
            headers: dict[str, str] = {hdrs.RANGE: f"bytes={at}-"} if at else {}
            try:
                async with self._get(upstream, target, headers, loops) as answer:
                    if answer.status == 404 and upstream.role is not Role.PEER:
                        upstream.breaker.note(failed=False)
                        missing = True
                        continue
                    length = answer.content_length
                    if answer.status != (206 if at else 200) or length != size_bytes - at or _is_coded(answer.headers):
                        upstream.breaker.note(failed=answer.status >= 500)
                        continue
                    if facts is not None:
                        facts.begin(upstream.role, answer.headers)
                    async for piece in answer.content.iter_chunked(PIECE_BYTES):
                        at += len(piece)
                        if facts is not None:
                            facts.bytes += len(piece)
                        yield piece
            except (aiohttp.ClientError, TimeoutError, OSError):
                upstream.breaker.note(failed=True)
                continue
            upstream.breaker.note(failed=at != size_bytes)
            if at == size_bytes:
                upstream.retries.earn()
                return
        raise Absent if missing and not at else Unreachable

    def blame(self, role: Role) -> None:
        """Count damaged bytes from a kind of server as a failure of its circuit breaker."""
        for upstream in self._upstreams:
            if upstream.role is role:
                upstream.breaker.note(failed=True)

    def _chosen(self, loops: str, *, peers: bool, wanted: Sequence[str] = ()) -> list[Upstream]:
        """Servers to try, in order; the shield and the origin are tried twice if their retry budget allows it."""
        allowed_peers = [
            upstream
            for url in (wanted if peers and LOOP_MARK not in loops else ())
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


def _is_coded(headers: Mapping[str, str]) -> bool:
    return headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() not in ("", "identity")
