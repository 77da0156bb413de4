"""Where an edge gets what it does not have: peers, a shield and the origin, in this order, each with a circuit breaker.

A body that breaks off is asked for from where it ended, of the next upstream. Nothing that a client says goes upstream
but the path, a checked query and its token.
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
"""Parameter of `LOOP` that says that a peer asks: it is not asked back."""
CONNECT_S = 5.0
READ_S = 15.0
"""How long an upstream may send nothing."""
TOTAL_S = 120.0
DOCUMENT_BYTES = 32 << 20
DOCUMENT_STATUSES = frozenset({200, 301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 429, 431})
"""What an upstream may say of a document; 304 too, if it was asked so."""
PIECE_BYTES = 256 << 10
_ADDRESS = re.compile(r"https?://[^/?#\s@]+(/[A-Za-z0-9._~/-]*)?")


class Role(StrEnum):
    """What an upstream is."""

    PEER = "peer"
    SHIELD = "shield"
    ORIGIN = "origin"


class Unreachable(Exception):
    """No upstream gave what was asked for, though it may exist."""


class Absent(Exception):
    """An upstream says that there is no such object."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A document from upstream.

    Attributes:
        status: HTTP status.
        headers: As they came.
        body: All of it.
        role: Who gave it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    role: Role

    @property
    def modified(self) -> datetime:
        """When it was written, as the origin says; now if it does not."""
        return modified_of(self.headers)


class Upstream:
    """One server.

    Args:
        url: Its address, without a query.
        role: What it is.
        clock: Seconds, monotonic.

    Raises:
        ConfigError: The address is not http:// or https://, or has a password or a query in it.
    """

    def __init__(self, url: str, role: Role, clock: Any) -> None:
        if not _ADDRESS.fullmatch(url):
            raise ConfigError(f"{url[:120]!r} is not the address of a server, such as http://10.0.0.7:8080")
        self.url = url.rstrip("/")
        self.role = role
        self.breaker = CircuitBreaker(clock)
        self.retries = RetryBudget()


class Upstreams:
    """All upstreams of an edge; belongs to one event loop.

    Args:
        upstreams: In the order in which they are asked.
        name: The edge's own name, for `LOOP`.
        headers: Sent with every request, such as what the edge vouches for.
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

    async def document(self, target: str, *, etag: str | None = None, loops: str = "", accept: str = "*/*") -> Answered:
        """Get a small document from the shield or the origin.

        Args:
            target: Path and query, with the client's token.
            etag: Of the copy that the edge has, to be revalidated.
            loops: The client's `LOOP`.
            accept: Which form is wanted.

        Raises:
            Unreachable: Nobody answers, or everybody has a fault.
        """
        headers: dict[str, str] = {hdrs.ACCEPT: accept, **({hdrs.IF_NONE_MATCH: etag} if etag else {})}
        sensible = DOCUMENT_STATUSES | ({HTTPStatus.NOT_MODIFIED} if etag else frozenset())
        last: Answered | None = None
        for upstream in self._chosen(loops, peers=False):
            try:
                async with self._get(upstream, target, headers, loops) as answer:
                    body = await answer.content.read(DOCUMENT_BYTES + 1)
                    while len(body) <= DOCUMENT_BYTES and (more := await answer.content.read(DOCUMENT_BYTES + 1)):
                        body += more
                    found = Answered(answer.status, answer.headers, body, upstream.role)
            except (aiohttp.ClientError, TimeoutError, OSError):
                upstream.breaker.note(failed=True)
                continue
            # A part, or a coding that nobody asked for, must not be kept as the document.
            failed = answer.status not in sensible or len(body) > DOCUMENT_BYTES or _is_coded(answer.headers)
            upstream.breaker.note(failed=failed)
            if not failed:
                upstream.retries.earn()
                return found
            last = found
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
        """Get an object of a known size, from whoever gives it, and from the next one where one breaks off.

        Args:
            target: Path, with the client's token.
            size_bytes: Size of the whole object.
            peers: Addresses of the peers that may have it, the likeliest first.
            loops: The client's `LOOP`.
            facts: Gets where bytes came from and when the object was written.

        Raises:
            Absent: An upstream says that there is no such object.
            Unreachable: Nobody gives it.
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
        """An upstream gave damaged bytes: count that as a failure."""
        for upstream in self._upstreams:
            if upstream.role is role:
                upstream.breaker.note(failed=True)

    def _chosen(self, loops: str, *, peers: bool, wanted: Sequence[str] = ()) -> list[Upstream]:
        """Who is asked, in order; each origin-side upstream once more, while its retry budget lasts."""
        mine = [
            upstream
            for url in (wanted if peers and LOOP_MARK not in loops else ())
            for upstream in self._upstreams
            if upstream.role is Role.PEER and upstream.url == url and upstream.breaker.allows()
        ]
        others = [upstream for upstream in self._upstreams if upstream.role is not Role.PEER]
        first = [upstream for upstream in others if upstream.breaker.allows()] or others[-1:]
        again = [upstream for upstream in first if upstream.retries.spend()]
        return [*mine, *first, *again]

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
    """What became known of an object while it arrived.

    Attributes:
        role: Who gave it last.
        modified: When it was written, as the origin says.
        bytes: How much arrived.
    """

    def __init__(self) -> None:
        self.role: Role | None = None
        self.modified = datetime.now(UTC)
        self.bytes = 0

    def begin(self, role: Role, headers: Mapping[str, str]) -> None:
        """An upstream begins to send."""
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
