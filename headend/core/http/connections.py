"""Connections of aiohttp's server, with deadlines.

aiohttp parses requests and runs a task for each connection. Requests whose response is in memory are answered without
that task. Only public names of aiohttp and asyncio are used; ``tests/headend/core/http/test_aiohttp.py`` fails if they
change.
"""

import asyncio
import logging
import math
import socket
import struct
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from aiohttp import EMPTY_PAYLOAD, hdrs, web
from aiohttp.http import RawRequestMessage, StreamWriter

from headend.core.http import responses
from headend.core.http.requests import ReceivedRequest, Request, is_host
from headend.core.http.responses import Response
from headend.core.http.sending import END, PreparedResponse

if TYPE_CHECKING:
    from headend.core.http.server import HttpServer

log = logging.getLogger("headend.core.http")

UNSENT_BYTES = 128 << 10
"""Maximum unsent bytes that the kernel buffers per connection; by default it buffers megabytes for stalled clients."""
HALF_CLOSED_S = 0.05
"""How long a half-closed connection may be idle; requests that the client has already sent follow more quickly."""
NO_ROUTE = "other"
"""Route of requests that reached no application."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER value that ends a connection with a reset, which clients can't mistake for the end of a body."""
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nCache-Control: no-store\r\n"
    b"Retry-After: 2\r\nConnection: close\r\n\r\n"
)


class Connection(web.RequestHandler):
    """A client's connection, with its deadlines.

    Attributes:
        client: Client's address; empty if it is not known.
        local: Address and port that the client connected to.
        server: The server of this connection.
        is_busy: Whether a request is being answered.
        requests: How many requests have begun.
        is_half_closed: Whether the client has closed its sending side.
        is_simple: Whether requests may be answered at once: so far, each one arrived whole and after the previous
            response.
        is_handed_over: Whether aiohttp is handling a request that was not answered at once.
        head_deadline_s: Deadline for the head of the next request, in the event loop's time.
        idle_deadline_s: Deadline for the next request to begin.
        write_deadline_s: Deadline for the client to read more of the response.
        write_timeout: Ends the response at that deadline; None if nothing is being waited for.
        lost: Done when the connection is closed.
        sending: Task that waits for a slow client to read a response that was written at once.
    """

    __slots__ = (
        "client",
        "head_deadline_s",
        "idle_deadline_s",
        "is_busy",
        "is_counted",
        "is_half_closed",
        "is_handed_over",
        "is_simple",
        "local",
        "lost",
        "requests",
        "sending",
        "server",
        "socket",
        "write_deadline_s",
        "write_timeout",
    )

    def __init__(self, server: "HttpServer", loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(server, loop=loop, **options)
        self.server = server
        self.client = ""
        self.local = ("", 0)
        self.socket: Any = None
        self.is_busy = False
        self.is_counted = False
        self.is_half_closed = False
        self.is_simple = server.answers_at_once
        self.is_handed_over = False
        self.requests = 0
        self.head_deadline_s = math.inf
        self.idle_deadline_s = math.inf
        self.write_deadline_s = math.inf
        self.write_timeout: asyncio.Timeout | None = None
        self.lost: asyncio.Future[None] = loop.create_future()
        self.sending: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, or reject it if there are too many."""
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self.client = str(peer[0]) if isinstance(peer, tuple) else ""
        self.local = (str(local[0]), int(local[1])) if isinstance(local, tuple) else ("", 0)
        self.socket = transport.get_extra_info("socket")
        self.is_counted = self.server.admit(self)
        if not self.is_counted:
            transport.write(_FULL)
            self.force_close()
            return
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        transport.set_write_buffer_limits(high=0)  # `drain` returns when the kernel has everything
        self.head_deadline_s = self.server.now_s + self.server.limits.head_s

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop counting the connection."""
        super().connection_lost(exc)
        if self.is_counted:
            self.server.release(self)
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Answer the request at once if possible; otherwise pass it to aiohttp, and start the deadline of its head."""
        if self.is_simple:
            message = None if self.is_handed_over else self.server.whole_requests.read(data)
            if message is None:
                self.is_simple = False
            elif self._respond_at_once(message):
                return
            else:
                self.is_handed_over = True
        if not self.is_busy and self.head_deadline_s == math.inf:
            self.head_deadline_s = self.server.now_s + self.server.limits.head_s
        super().data_received(data)

    def _respond_at_once(self, message: RawRequestMessage) -> bool:
        """Send the response to a request if the application has it in memory; false if not."""
        server, transport = self.server, self.transport
        host = message.headers.get(hdrs.HOST)
        if (
            server.is_draining
            or transport is None
            or host is None
            or not is_host(host)
            or not message.path.startswith("/")
            or transport.get_write_buffer_size()
        ):
            return False
        started_s = monotonic()
        request = Request(message.method, message.path, message.headers, self.client, self.local, b"")
        answer = server.at_once(request)
        if answer is None:
            return False
        route, response = answer
        body = response.body
        assert isinstance(body, bytes)
        self.requests += 1
        self.head_deadline_s = math.inf
        self.idle_deadline_s = server.now_s + server.idle_s
        transport.write(b"".join((response.head, server.date_line, END, body)))
        if transport.get_write_buffer_size():
            self.is_busy = True
            transport.pause_reading()  # this client reads slowly, so its next request can wait
            self.sending = server.loop.create_task(self._send_rest(message, route, response))
        else:
            server.completed(request, route, response.status, len(body), monotonic() - started_s)
        return True

    async def _send_rest(self, message: RawRequestMessage, route: str, response: Response) -> None:
        """Wait until the client has taken a response that is written already."""
        task = asyncio.current_task()
        assert task is not None
        request = ReceivedRequest(message, EMPTY_PAYLOAD, self, StreamWriter(self, self.server.loop), task)
        try:
            await PreparedResponse(request, route, response, is_written=True).write_eof()
        except ConnectionError:
            return
        if self.transport is not None:
            self.transport.resume_reading()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection open for pending responses; the client may still read."""
        self.is_half_closed = True
        self.server.loop.call_later(HALF_CLOSED_S, self._close_when_idle, self.requests)
        return True

    def handle_error(
        self,
        request: ReceivedRequest,  # type: ignore[override]
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 (contains bytes from the client)
    ) -> web.StreamResponse:
        """Answer a request that aiohttp could not parse, with a constant body that repeats nothing of the request."""
        if status < 500:
            self.server.metrics.malformed.inc()
            log.debug("a request could not be parsed: %s", type(exc).__name__)
            return PreparedResponse(request, NO_ROUTE, responses.MALFORMED, is_parsed=False)
        log.error("a request failed", exc_info=exc)
        return PreparedResponse(request, NO_ROUTE, responses.FAILED, is_parsed=False)

    async def finish_response(  # type: ignore[override]
        self, request: ReceivedRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response; returns it, and whether the connection broke.

        aiohttp's implementation is needed only for protocol upgrades and for its own responses.
        """
        if hdrs.UPGRADE in request.headers or not isinstance(resp, PreparedResponse):
            return await super().finish_response(request, resp, start_time)  # type: ignore[arg-type]
        try:
            await resp.write_eof()
        except ConnectionError:
            return resp, True
        return resp, False

    def begin(self) -> None:
        """Record that a request is being answered."""
        self.is_busy = True
        self.requests += 1
        self.head_deadline_s = math.inf
        self.idle_deadline_s = math.inf

    def end(self, *, is_last: bool) -> None:
        """Record that a request has been answered."""
        self.is_busy = self.is_handed_over = False
        self.is_simple = self.is_simple and not is_last
        self.idle_deadline_s = self.server.now_s + self.server.idle_s

    def check_deadlines(self, now_s: float) -> None:
        """End the response or the connection if its deadline has passed."""
        if self.write_timeout is not None:
            if self.write_deadline_s <= now_s:
                self.write_timeout.reschedule(now_s)
        elif not self.is_busy and (self.head_deadline_s <= now_s or self._is_idle_too_long(now_s)):
            self.force_close()

    def _is_idle_too_long(self, now_s: float) -> bool:
        return self.head_deadline_s == math.inf and not self.is_handed_over and self.idle_deadline_s <= now_s

    def cut(self) -> None:
        """Abort the response that is being sent."""
        if self.write_timeout is not None:
            self.write_timeout.reschedule(self.server.loop.time())  # `loop.sendfile` has to end first
        else:
            self.reset()

    def reset(self) -> None:
        """Reset the connection, so that the client can't mistake a part of the body for all of it."""
        transport = self.transport
        if transport is not None:
            with suppress(OSError):  # it is closed already
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()

    def _close_when_idle(self, requests: int) -> None:
        """Close a half-closed connection once no request has begun for a moment."""
        if self.transport is None:
            return
        if not self.is_busy and self.requests == requests:
            self.force_close()
        else:
            self.server.loop.call_later(HALF_CLOSED_S, self._close_when_idle, self.requests)
