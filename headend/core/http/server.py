"""An HTTP server on top of aiohttp's, with limits on connections, request heads, slow readers and bytes in flight."""

import asyncio
import logging
import math
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from aiohttp import web

from headend.core.http.blobs import InFlightBudget
from headend.core.http.connections import NO_ROUTE, Connection
from headend.core.http.fast_path import WholeRequests
from headend.core.http.requests import READING, Methods, ReceivedRequest, Request, check
from headend.core.http.responses import Response
from headend.core.http.sending import PreparedResponse
from headend.core.metrics import Registry
from headend.core.metrics.primitives import CounterValue, HistogramValue

log = logging.getLogger("headend.core.http")

BACKLOG = 1024
"""Length of the kernel's queue of connections to accept."""
CHECK_S = 1.0
"""Longest interval between checks of deadlines."""
SETTLE_S = 0.05
"""How long a stopping server still accepts connections that the kernel has already completed."""
RECEIVE_BYTES = 64 << 10

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a server.

    Attributes:
        connections: Maximum number of open connections; further ones get 503 and are closed.
        connections_per_client: Maximum number of open connections of one IPv4 address or one IPv6 /64 network.
        in_flight_bytes: Maximum memory of bodies that are being sent; beyond it, clients get 503.
        keepalive_s: How long a connection may be idle. It should be longer than load balancers' own limit, because they
            would otherwise send requests on connections that are being closed.
        head_s: How long a client may take to send the head of a request.
        write_s: How long a client may take to read `connections.PROGRESS_BYTES` of a response; by default this means
            70 kb/s, less than the lowest rendition needs.
        linger_s: How long to wait after the last response for the client to close the connection.
        line_bytes: Maximum length of the request line and of a header. CMCD makes queries long.
        headers: Maximum number of headers in a request.
        finish_s: How long requests may take to finish when the server stops.
        body_bytes: Largest request body, if `requests.Methods` accept ``POST``.
        body_s: How long a client may take to send the body.
    """

    connections: int = 4096
    connections_per_client: int = 2048
    in_flight_bytes: int = 1 << 30
    keepalive_s: float = 75.0
    head_s: float = 30.0
    write_s: float = 30.0
    linger_s: float = 0.5
    line_bytes: int = 8190
    headers: int = 64
    finish_s: float = 20.0
    body_bytes: int = 0
    body_s: float = 10.0


class ServerMetrics:
    """Counters and histograms of a server.

    Args:
        registry: Registry that exports them.

    Attributes:
        slow_readers: Clients cut off for reading too slowly.
        gone: Clients that disconnected before they had the whole response.
        broken: Responses cut off because the rest was missing or damaged.
        malformed: Requests that are not HTTP or exceed its limits.
        refused: Connections beyond the limit.
    """

    def __init__(self, registry: Registry) -> None:
        self._requests = registry.counter(
            "requests", "Requests by kind of object and class of status.", "object", "status"
        )
        self._bytes = registry.counter("sent_bytes", "Bytes of bodies sent.", "object")
        self._seconds = registry.histogram(
            "request_seconds", "From the request to the last byte handed to the kernel.", _SECONDS, "object"
        )
        self.slow_readers = registry.counter("slow_readers", "Clients cut off for reading too slowly.")
        self.gone = registry.counter("disconnects", "Clients that left before they had the whole response.")
        self.broken = registry.counter(
            "broken_answers", "Responses cut short because the store's object was cut or damaged."
        )
        self.malformed = registry.counter("malformed_requests", "Requests that are not HTTP.")
        self.refused = registry.counter("refused_connections", "Connections beyond the limit.")
        self._responses: dict[tuple[str, int], tuple[CounterValue, CounterValue, HistogramValue]] = {}

    def completed(self, route: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Count a response."""
        key = (route, status // 100)
        known = self._responses.get(key)
        if known is None:
            requests = self._requests.labels(route, f"{status // 100}xx")
            known = self._responses[key] = (requests, self._bytes.labels(route), self._seconds.labels(route))
        requests, sent, duration = known
        requests.value += 1
        sent.value += sent_bytes
        duration.observe(seconds)


AtOnce = Callable[[Request], tuple[str, Response] | None]
"""Answers a request without waiting; None if it can't."""


class Application(Protocol):
    """Answers requests."""

    async def respond(self, request: Request) -> tuple[str, Response]:
        """Return the name of the request's route, and the response; raises nothing."""

    def completed(self, request: Request | None, route: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Record a response; called after each one, whether it was sent in full or not.

        Args:
            request: None if it could not be parsed.
            route: Route that `respond` returned; `connections.NO_ROUTE` if it was not called.
            status: HTTP status.
            sent_bytes: Bytes of the body that were sent.
            seconds: Time from the start of the response to its last byte.
        """


class HttpServer(web.Server):
    """Serves an application on listening sockets; belongs to one event loop.

    Args:
        application: Answers requests.
        registry: Registry that exports its metrics.
        limits: Limits to enforce.
        methods: Methods that clients may use.
        at_once: Returns the route and the response of a GET that can be answered without waiting, else None. The
            response must have an encoded head and a body in bytes. Without this function, aiohttp handles all requests.

    Attributes:
        limits: Limits to enforce.
        metrics: Its counters and histograms.
        in_flight: Memory of bodies that are being sent.
        is_draining: Whether connections close after their next response.
        date_line: The Date header, renewed once a second.
        loop: The event loop.
        now_s: The event loop's time at the last check of deadlines.
        idle_s: Seconds from `now_s` until an idle connection is closed; at least `Limits.keepalive_s`.
        answers_at_once: Whether some requests may be answered at once.
        whole_requests: Parses these requests.
    """

    def __init__(
        self,
        application: Application,
        registry: Registry,
        limits: Limits = Limits(),
        methods: Methods = READING,
        *,
        at_once: AtOnce | None = None,
    ) -> None:
        # The type is aiohttp's own request class; its server uses less of that than `ReceivedRequest` has.
        super().__init__(self._handle, request_factory=ReceivedRequest, handler_cancellation=True)  # type: ignore[arg-type]
        self.limits = limits
        self.metrics = ServerMetrics(registry)
        self.in_flight = InFlightBudget(limits.in_flight_bytes)
        self.is_draining = False
        self._methods = methods
        self._respond = application.respond
        self._at_once = at_once
        self.answers_at_once = at_once is not None
        self._completed = application.completed
        self.loop = asyncio.get_running_loop()
        self.whole_requests = WholeRequests(self.loop, line_bytes=limits.line_bytes, headers=limits.headers)
        self._check_s = min(CHECK_S, limits.head_s / 4, limits.write_s / 4, limits.keepalive_s / 4)
        self.idle_s = limits.keepalive_s + self._check_s
        self._runner: web.ServerRunner | None = None
        self._by_client: Counter[str] = Counter()
        self._admitted: set[Connection] = set()
        self._check: asyncio.TimerHandle | None = None
        self._tick()
        registry.gauge("connections", "Open connections.", lambda: len(self._admitted))
        registry.gauge("sending_bytes", "Memory of bodies that are being sent.", lambda: self.in_flight.size_bytes)

    def __call__(self) -> Connection:
        """Create the protocol of a new connection."""
        return Connection(
            self,
            self.loop,
            keepalive_timeout=math.inf,  # aiohttp doesn't count requests that are answered at once
            access_log=None,
            logger=log,
            max_line_size=self.limits.line_bytes,
            max_field_size=self.limits.line_bytes,
            max_headers=self.limits.headers,
            lingering_time=0.0,
            read_bufsize=RECEIVE_BYTES,
            auto_decompress=False,
        )

    async def start(self, listeners: Sequence[socket.socket]) -> None:
        """Start accepting connections."""
        self._runner = web.ServerRunner(self, handle_signals=False, shutdown_timeout=self.limits.linger_s + 0.5)
        await self._runner.setup()
        for listener in listeners:
            await web.SockSite(self._runner, listener, backlog=BACKLOG).start()
        self._tick()

    async def stop(self) -> None:
        """Accept no more connections, and close the open ones after their current response."""
        self.is_draining = True
        await asyncio.sleep(SETTLE_S)  # still accept connections in the kernel's queue
        if self._runner is None:
            return
        for site in self._runner.sites:
            await site.stop()
        for connection in tuple(self._admitted):
            if not connection.is_busy:
                connection.force_close()
        until_s = self.loop.time() + self.limits.finish_s
        while self.loop.time() < until_s and any(admitted.is_busy for admitted in self._admitted):
            await asyncio.sleep(SETTLE_S)
        for connection in tuple(self._admitted):
            if connection.is_busy:
                connection.cut()
        await asyncio.sleep(0)
        await self._runner.cleanup()
        await asyncio.sleep(0)
        for connection in tuple(self._admitted):
            connection.reset()  # closing would wait for its client to read
        if self._check is not None:
            self._check.cancel()

    def admit(self, connection: Connection) -> bool:
        """Count a connection; false if a limit is reached."""
        client = client_key(connection.client)
        if (
            len(self._admitted) >= self.limits.connections
            or self._by_client[client] >= self.limits.connections_per_client
        ):
            self.metrics.refused.inc()
            return False
        self._by_client[client] += 1
        self._admitted.add(connection)
        return True

    def release(self, connection: Connection) -> None:
        """Stop counting a connection."""
        client = client_key(connection.client)
        self._admitted.discard(connection)
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    def at_once(self, request: Request) -> tuple[str, Response] | None:
        """The route and the response, if the application has it ready."""
        if self._at_once is None:
            return None
        try:
            return self._at_once(request)
        except Exception:
            log.exception("a request could not be answered at once")
            return None

    def completed(self, request: Request | None, route: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Count a response."""
        self.metrics.completed(route, status, sent_bytes, seconds)
        self._completed(request, route, status, sent_bytes, seconds)

    async def _handle(self, request: ReceivedRequest) -> web.StreamResponse:
        request.connection.begin()
        response = check(request, self._methods)
        if response is None and request.has_body:
            response = await request.receive(self.limits.body_bytes, self.limits.body_s)
        if response is not None:
            return PreparedResponse(request, NO_ROUTE, response)
        route, response = await self._respond(request)
        return PreparedResponse(request, route, response)

    def _tick(self) -> None:
        """Check all deadlines, and schedule the next check."""
        self.now_s = self.loop.time()
        self.date_line = f"Date: {formatdate(usegmt=True)}\r\n".encode()
        for connection in tuple(self._admitted):
            connection.check_deadlines(self.now_s)
        if self._check is not None:
            self._check.cancel()
        self._check = self.loop.call_later(self._check_s, self._tick)


@lru_cache(maxsize=4096)
def client_key(address: str) -> str:
    """The key under which a client's connections are counted: its IPv4 address or its IPv6 /64 network."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return parsed.packed[:8].hex()
