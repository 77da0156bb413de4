"""How responses are sent.

aiohttp's own responses copy bodies and have no deadline for slow readers, so `PreparedResponse` replaces them: it sends
head and body in one write, or the head and then the body with ``sendfile``.
"""

import asyncio
import errno
import logging
import math
import os
from time import monotonic
from typing import TYPE_CHECKING

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11

from headend.core.http import responses
from headend.core.http.blobs import Blob, Incomplete
from headend.core.http.responses import Response, head_of
from headend.core.metrics import Counter

if TYPE_CHECKING:
    from headend.core.http.requests import ReceivedRequest

log = logging.getLogger("headend.core.http")

PROGRESS_BYTES = 256 << 10
"""How many bytes a client must read within `Limits.write_s`."""
READ_AHEAD_BYTES = 1 << 20
"""How much of a file is read ahead in a thread if its next page is not in memory."""
END = b"\r\n"
"""End of a response's head; by default, connections of HTTP/1.1 are kept alive."""

_CLOSE = b"Connection: close\r\n\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n\r\n"


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
        request: "ReceivedRequest",
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
            ending = _CLOSE if self._is_last else END if self._request.version == HttpVersion11 else _KEEP_ALIVE
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
