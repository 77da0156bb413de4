"""Connections of aiohttp's server, and how responses are sent.

aiohttp parses requests and runs a task for each connection. Its own responses copy bodies and have no deadline for slow
readers, so `PreparedResponse` replaces them: it sends head and body in one write, or the head and then the body with
``sendfile``. Only public names of aiohttp and asyncio are used; ``tests/headend/core/http/test_aiohttp.py`` fails if
they change.
"""

import asyncio
import errno
import logging
import math
import os
import socket
import struct
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from aiohttp import EMPTY_PAYLOAD, hdrs, web
from aiohttp.http import HttpVersion11, RawRequestMessage, StreamWriter

from headend.core.http import responses
from headend.core.http.blobs import Blob, Incomplete
from headend.core.http.requests import ReceivedRequest, Request, is_host
from headend.core.http.responses import Response, head_of
from headend.core.metrics import Counter

if TYPE_CHECKING:
    from headend.core.http.server import HttpServer

log = logging.getLogger("headend.core.http")

UNSENT_BYTES = 128 << 10
"""Maximum unsent bytes that the kernel buffers per connection; by default it buffers megabytes for stalled clients."""
PROGRESS_BYTES = 256 << 10
"""How many bytes a client must read within `Limits.write_s`."""
HALF_CLOSED_S = 0.05
"""How long a half-closed connection may be idle; requests that the client has already sent follow more quickly."""
READ_AHEAD_BYTES = 1 << 20
"""How much of a file is read ahead in a thread if its next page is not in memory."""
NO_ROUTE = "other"
"""Route of requests that reached no application."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER value that ends a connection with a reset, which clients can't mistake for the end of a body."""
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nCache-Control: no-store\r\n"
    b"Retry-After: 2\r\nConnection: close\r\n\r\n"
)
_CLOSE = b"Connection: close\r\n\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n\r\n"
_END = b"\r\n"


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
        transport.write(b"".join((response.head, server.date_line, _END, body)))
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


class PreparedResponse(web.StreamResponse):
    """Sends a `Response` without the overhead of aiohttp's own responses.

    Args:
        request: The request.
        route: Name of the route, for metrics.
        response: The response.
        is_parsed: Whether the request could be parsed; if not, the application does not see it.
        is_written: Whether the response is written already, and only the client must still read it.
    """

    def __init__(
        self,
        request: ReceivedRequest,
        route: str,
        response: Response,
        *,
        is_parsed: bool = True,
        is_written: bool = False,
    ) -> None:
        # Skip aiohttp's constructor: its server uses only the names that are defined here.
        self._connection = request.connection
        self._request = request
        self._is_parsed = is_parsed
        self._is_written = is_written
        self._route = route
        self._response = response
        self._started_s = monotonic()
        self._is_last = (
            not request.keep_alive or response.closes or request.connection.server.is_draining or not is_parsed
        )

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open after this response."""
        return not self._is_last

    @property
    def prepared(self) -> bool:
        """Always: there is nothing to prepare."""
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Do nothing: the head is sent with the body."""

    async def write_eof(self, _: bytes = b"") -> None:
        """Send the response; raises `ConnectionError` if the client did not receive all of it."""
        connection, response = self._connection, self._response
        transport, server = connection.transport, connection.server
        sent_bytes = 0
        try:
            if transport is None or transport.is_closing():
                raise ConnectionResetError
            body, start, stop = response.body, response.start, response.stop
            if self._request.method == hdrs.METH_HEAD:
                start = stop = 0
            if isinstance(body, Blob) and start < stop and not server.in_flight.has_room(body):
                response = self._response = responses.BUSY
                body, start, stop = response.body, response.start, response.stop
            # From HTTP/1.1 on, connections are kept alive by default.
            ending = _CLOSE if self._is_last else _END if self._request.version == HttpVersion11 else _KEEP_ALIVE
            head = response.head or head_of(response)
            if isinstance(body, bytes):
                part = body if stop - start == len(body) else body[start:stop]
                if not self._is_written:
                    transport.write(b"".join((head, server.date_line, ending, part)))
                if transport.get_write_buffer_size():
                    await self._drain(transport)
            elif start == stop:
                transport.write(b"".join((head, server.date_line, ending)))
            else:
                with server.in_flight.holding(body):
                    await self._send_blob(transport, b"".join((head, server.date_line, ending)), body, start, stop)
            sent_bytes = stop - start
            if self._is_last:
                await self._linger(transport)
        except _Cut as cut:
            sent_bytes = cut.sent_bytes
            cut.counter.inc()
            connection.reset()
            raise ConnectionResetError from cut.__cause__
        except ConnectionError:
            server.metrics.gone.inc()
            connection.reset()
            raise
        finally:
            connection.end(is_last=self._is_last)
            server.completed(
                self._request if self._is_parsed else None,
                self._route,
                response.status,
                sent_bytes,
                monotonic() - self._started_s,
            )

    async def _send_blob(self, transport: asyncio.Transport, head: bytes, blob: Blob, start: int, stop: int) -> None:
        """Send a body by ``sendfile``: usually in a few calls that don't block."""
        connection = self._connection
        if _is_cold(blob, start):
            await _read_ahead(blob, start, stop)
            if transport.is_closing():
                raise ConnectionResetError
        transport.write(head)
        position = start
        if not transport.get_write_buffer_size():
            position = _sendfile(connection.socket.fileno(), blob, start, stop)
        if position == stop:
            return
        loop = asyncio.get_running_loop()
        limits, metrics = connection.server.limits, connection.server.metrics
        try:
            async with asyncio.timeout(None) as timeout:
                connection.write_timeout = timeout
                while position < stop:
                    if blob.ready_bytes <= position:
                        connection.write_deadline_s = math.inf  # the upstream has its own deadline
                        await blob.wait_beyond(position)
                    if _is_cold(blob, position):
                        await _read_ahead(blob, position, stop)
                    connection.write_deadline_s = loop.time() + limits.write_s
                    count = min(blob.ready_bytes, stop, position + PROGRESS_BYTES) - position
                    # Waits until the client reads more, and sends it.
                    sent = await loop.sendfile(transport, blob, position, count, fallback=False)  # type: ignore[arg-type]
                    position += sent
                    if sent < count:
                        log.error("a file was truncated while it was being sent")
                        raise _Cut(metrics.broken, position - start)
                    position = _sendfile(connection.socket.fileno(), blob, position, stop)
        except TimeoutError as error:
            raise _Cut(metrics.slow_readers, position - start) from error
        except Incomplete as error:
            raise _Cut(metrics.broken, position - start) from error
        except (ConnectionError, asyncio.SendfileNotAvailableError, RuntimeError, asyncio.CancelledError) as error:
            # Files and memory always support sendfile, so these mean that the connection is closing.
            if isinstance(error, asyncio.CancelledError) and not transport.is_closing():
                raise
            raise _Cut(metrics.gone, position - start) from error
        finally:
            connection.write_timeout = None

    async def _drain(self, transport: asyncio.Transport) -> None:
        """Wait until the kernel has accepted everything written."""
        connection = self._connection
        connection.write_deadline_s = asyncio.get_running_loop().time() + connection.server.limits.write_s
        try:
            async with asyncio.timeout(None) as timeout:
                connection.write_timeout = timeout
                await self._request.writer.drain()
        except TimeoutError as error:
            raise _Cut(connection.server.metrics.slow_readers, 0) from error
        finally:
            connection.write_timeout = None
        if transport.is_closing():
            raise ConnectionResetError

    async def _linger(self, transport: asyncio.Transport) -> None:
        """Close the sending side, and ignore what the client still sends, so that the last response arrives.

        Closing at once would reset the connection if there is unread data (RFC 9112, section 9.6).
        """
        connection = self._connection
        connection.close()  # ignore data from now on
        if connection.is_half_closed or transport.is_closing():
            return
        try:
            transport.write_eof()
        except OSError:
            return  # the client is gone
        connection.is_busy = False
        try:
            async with asyncio.timeout(connection.server.limits.linger_s):
                await asyncio.shield(connection.lost)
        except TimeoutError:
            pass


class _Cut(Exception):
    """A response that can't be finished.

    Attributes:
        counter: Counter of the reason.
        sent_bytes: How many bytes of the body were sent.
    """

    def __init__(self, counter: Counter, sent_bytes: int) -> None:
        super().__init__()
        self.counter = counter
        self.sent_bytes = sent_bytes


def _sendfile(socket_fd: int, blob: Blob, position: int, stop: int) -> int:
    """Send what is ready until the kernel accepts no more; returns the new position."""
    try:
        while position < stop and position < blob.ready_bytes:
            sent = os.sendfile(socket_fd, blob.fd, position, min(stop, blob.ready_bytes) - position)
            if not sent:
                break
            position += sent
            if _is_cold(blob, position):
                break
    except (BlockingIOError, InterruptedError):
        pass
    except OSError as error:
        raise ConnectionResetError(error.errno, error.strerror) from error
    return position


def _is_cold(blob: Blob, position: int) -> bool:
    """Whether the next page of a file is not in memory, so that ``sendfile`` would block on the disk."""
    if blob.memory_bytes or position >= blob.size_bytes:
        return False
    try:
        os.preadv(blob.fd, [bytearray(1)], position, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
    return False


async def _read_ahead(blob: Blob, position: int, stop: int) -> None:
    """Read the next part of a file into memory, in a thread."""
    length = min(stop - position, READ_AHEAD_BYTES)
    await asyncio.get_running_loop().run_in_executor(None, os.pread, blob.fd, length, position)
