"""Connections: their limits, and how an answer gets out without letting slow readers cost much."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web

from origin.answers import Answer, refusal
from origin.metrics import Metrics

log = logging.getLogger("headend.origin")

WRITE_BYTES = 256 << 10
"""What is handed to a connection at a time: it bounds what a stalled reader holds in memory beside the shared body."""
WRITE_S = 30.0
"""How long a client may take for that much: 70 kb/s, less than the lowest rendition needs."""
KEEPALIVE_S = 30.0
"""How long a connection may idle; aiohttp's deadline for a request's headers as well."""
LINE_BYTES = 8190
"""Longest request line and header: CMCD makes long queries."""
HEADERS = 64
"""Most headers of a request."""
BACKLOG = 1024

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nCache-Control: no-store\r\n"
    b"Retry-After: 2\r\nConnection: close\r\n\r\n"
)


class Server(web.Server):
    """aiohttp's server, with a limit on connections.

    Args:
        handler: Answers requests.
        metrics: Where connections are counted.
        max_connections: Beyond it, a connection gets 503 and is closed.
        max_connections_per_client: The same for one address, so that one client can't shut all others out.
    """

    def __init__(
        self, handler: Any, metrics: Metrics, *, max_connections: int, max_connections_per_client: int
    ) -> None:
        limits: dict[str, Any] = {
            "keepalive_timeout": KEEPALIVE_S,
            "max_line_size": LINE_BYTES,
            "max_field_size": LINE_BYTES,
            "max_headers": HEADERS,
            # A body that nobody asked for is not waited for.
            "lingering_time": 0.5,
            # aiohttp's own log costs as much as a small answer.
            "access_log": None,
        }
        super().__init__(handler, **limits)
        self._limits = limits
        self.metrics = metrics
        self._max_connections = max_connections
        self._max_connections_per_client = max_connections_per_client
        self._by_client: Counter[str] = Counter()
        metrics.watch("connections", "Open connections.", lambda: len(self.connections))

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of a new connection."""
        return Connection(self, **self._limits)

    def arrived(self, client: str) -> bool:
        """Count a connection in; tells whether there is room for it."""
        self._by_client[client] += 1
        return (
            len(self.connections) <= self._max_connections
            and self._by_client[client] <= self._max_connections_per_client
        )

    def left(self, client: str) -> None:
        """Count a connection out."""
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]


class Connection(web.RequestHandler):
    """One connection; says nothing of a client's bytes, neither to the client nor to the log."""

    __slots__ = ("_client", "_server")

    def __init__(self, server: Server, **limits: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **limits)
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or turn it away."""
        super().connection_made(transport)
        self._client = str((transport.get_extra_info("peername") or ("",))[0])
        if not self._server.arrived(self._client) and isinstance(transport, asyncio.Transport):
            self._server.metrics.refused.inc()
            transport.write(_FULL)
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let a connection go."""
        super().connection_lost(exc)
        self._server.left(self._client)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it holds what the client sent
    ) -> web.StreamResponse:
        """Answer what could not be parsed, with a constant."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is on its way already")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("an answer could not be sent", exc_info=exc)
        else:
            self._server.metrics.malformed.inc()
            log.debug("a request could not be read: %s", type(exc).__name__)
        answer = refusal(HTTPStatus(status), closes=True)
        response = web.Response(status=answer.status, headers=answer.headers, body=bytes(answer.body))
        response.force_close()
        return response


class Burden:
    """What the bodies under way take in memory, each counted once, however many clients read it.

    Slow readers keep bodies in memory that the cache has let go.

    Args:
        budget_bytes: How much is taken on at a time.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._readers: Counter[int] = Counter()
        self.size_bytes = 0

    @contextmanager
    def of(self, body: memoryview | bytes) -> Iterator[bool]:
        """Count a body while it is sent; yields whether there is room for it."""
        whole = body.obj if isinstance(body, memoryview) else body
        key, size = id(whole), memoryview(whole).nbytes
        if key not in self._readers:
            if self.size_bytes + size > self._budget_bytes:
                yield False
                return
            self.size_bytes += size
        self._readers[key] += 1
        try:
            yield True
        finally:
            self._readers[key] -= 1
            if not self._readers[key]:
                del self._readers[key]
                self.size_bytes -= size


async def send(
    request: web.BaseRequest, answer: Answer, metrics: Metrics, *, closes: bool
) -> tuple[web.StreamResponse, int]:
    """Send an answer, piece by piece, as fast as the client reads.

    Args:
        request: What is answered.
        answer: What to send.
        metrics: Where clients are counted that don't take it.
        closes: Whether the connection ends with it.

    Returns:
        The response, for aiohttp, and how many bytes of the body went out. A client that reads slower than
        `WRITE_BYTES` per `WRITE_S` loses its connection, so that it can't take the part for the whole.
    """
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    if closes:
        response.force_close()
    body = memoryview(b"" if request.method == hdrs.METH_HEAD else answer.body)
    sent = 0
    try:
        async with asyncio.timeout(WRITE_S) as deadline:
            await response.prepare(request)
            while sent < len(body):
                piece = body[sent : sent + WRITE_BYTES]
                await response.write(piece)
                sent += len(piece)
                deadline.reschedule(asyncio.get_running_loop().time() + WRITE_S)
            await response.write_eof()
    except TimeoutError:
        metrics.cut_off.inc()
        if request.transport is not None and isinstance(request.transport, asyncio.Transport):
            request.transport.abort()
        response.force_close()
    except ConnectionError:
        metrics.gone.inc()
    return response, sent
