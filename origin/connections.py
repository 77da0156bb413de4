"""Connections: sockets, their limits, and how an answer gets out without letting slow readers cost much.

aiohttp's parser (llhttp, in C) reads requests; what it makes of them is answered here. aiohttp's own server runs a task
and builds a request and a response for each, which is twice the cost of all the rest; see ADR 19.
"""

import asyncio
import logging
import math
import os
import socket
import struct
from collections import Counter, deque
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from time import monotonic
from typing import Any, Protocol

from aiohttp import hdrs
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD

from origin.answers import Answer, head_of, refusal
from origin.blobs import Blob, Burden
from origin.freshness import Headers
from origin.metrics import Metrics, Tally
from origin.readiness import LOST, READ, WRITE, Readiness
from origin.reading import Reader
from origin.request import Request

log = logging.getLogger("headend.origin")

RECEIVE_BYTES = 64 << 10
UNSENT_BYTES = 128 << 10
"""What the kernel takes beyond what a client has room for; else it holds megabytes for who does not read."""
WRITE_BYTES = 256 << 10
"""How much a client has to take within `WRITE_S`."""
WRITE_S = 30.0
"""How long a client may take for that much: 70 kb/s, less than the lowest rendition needs."""
KEEPALIVE_S = 30.0
"""How long a connection may idle, and how long a client may take for a request's headers."""
LINGER_S = 0.5
"""How long what a client still says is thrown away, so that the answer before it arrives (RFC 9112, section 9.6)."""
SWEEP_S = 1.0
"""How often connections are looked at that are out of time."""
PAUSE_S = 0.2
"""How long no connection is taken when there are no files left for any."""
BACKLOG = 1024
NO_ROUTE = "other"
"""What is counted as the route of a request that has none."""

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nCache-Control: no-store\r\n"
    b"Retry-After: 2\r\nConnection: close\r\n\r\n"
)
_ABORT = struct.pack("ii", 1, 0)
"""Of SO_LINGER: end with a reset, which nobody takes for the end of a body."""
_MALFORMED = refusal(HTTPStatus.BAD_REQUEST, closes=True)
_BUSY = refusal(HTTPStatus.SERVICE_UNAVAILABLE)


class Asked(Protocol):
    """What is noted of a request when it was answered."""

    @property
    def client(self) -> str:
        """The address that it came from."""

    @property
    def message(self) -> RawRequestMessage | None:
        """The request; None if it could not be read."""


class Answering(Protocol):
    """Whoever knows the answers."""

    def at_once(self, method: str, target: str, headers: Headers, *, has_body: bool) -> tuple[str, Answer] | None:
        """The route and answer for a request, if they need not be waited for."""

    async def in_time(self, request: Request) -> tuple[str, Answer]:
        """The same for all others; raises nothing."""

    def answered(self, asked: Asked, route: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Told of each answer that went out, or as much of it as went."""


class Server:
    """Takes connections, with limits; belongs to one event loop.

    Args:
        origin: Answers requests.
        metrics: Where connections are counted.
        readiness: Where they are watched.
        sending_bytes: Memory for bodies under way; beyond, clients are asked to come back.
        max_connections: Beyond it, a connection gets 503 and is closed.
        max_connections_per_client: The same for one address, so that one client can't shut all others out.

    Attributes:
        draining: Whether each answer is the last one of its connection.
        date_line: The header that says what time it is, made once a second.
        known: Requests that were read before; see `Reader`.
    """

    def __init__(
        self,
        origin: Answering,
        metrics: Metrics,
        readiness: Readiness,
        *,
        sending_bytes: int,
        max_connections: int,
        max_connections_per_client: int,
    ) -> None:
        self.origin = origin
        self.metrics = metrics
        self.loop = asyncio.get_running_loop()
        self.burden = Burden(sending_bytes)
        self.known: dict[bytes, RawRequestMessage] = {}
        self.draining = False
        self._max_connections = max_connections
        self._max_connections_per_client = max_connections_per_client
        self._connections: set[Connection] = set()
        self._by_client: Counter[str] = Counter()
        self._listeners: Sequence[socket.socket] = ()
        self._empty = asyncio.Event()
        self._empty.set()
        self.readiness = readiness
        self.date_line = _date_line()
        metrics.watch("connections", "Open connections.", lambda: len(self._connections))
        metrics.watch("sending_bytes", "Memory that bodies under way take.", lambda: self.burden.size_bytes)

    def start(self, listeners: Sequence[socket.socket]) -> None:
        """Take connections from now on; the sockets stay their owner's."""
        self._listeners = listeners
        for listener in listeners:
            listener.setblocking(False)
            self.loop.add_reader(listener, self._accept, listener)
        self._sweep()

    async def stop(self, finish_s: float) -> None:
        """Take no more connections, and end those there are, each after the answer that is on its way.

        Args:
            finish_s: How long answers may take before they are cut.
        """
        self.draining = True
        for listener in self._listeners:
            self._accept(listener)  # who is in the queue has been promised an answer
            self.loop.remove_reader(listener)
        for connection in tuple(self._connections):
            connection.retire()
        try:
            await asyncio.wait_for(self._empty.wait(), finish_s)
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()
        self._timer.cancel()

    def left(self, connection: "Connection") -> None:
        """Count a connection out."""
        self._connections.discard(connection)
        self._by_client[connection.client] -= 1
        if not self._by_client[connection.client]:
            del self._by_client[connection.client]
        if not self._connections:
            self._empty.set()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(BACKLOG):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("no connection can be taken: %s", error.strerror)
                self.loop.remove_reader(listener)
                self.loop.call_later(PAUSE_S, self._resume, listener)
                return
            sock.setblocking(False)
            client = str(address[0])
            if (
                len(self._connections) >= self._max_connections
                or self._by_client[client] >= self._max_connections_per_client
            ):
                self._turn_away(sock)
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            self._by_client[client] += 1
            self._empty.clear()
            self._connections.add(Connection(self, sock, client))

    def _resume(self, listener: socket.socket) -> None:
        if not self.draining:
            self.loop.add_reader(listener, self._accept, listener)

    def _turn_away(self, sock: socket.socket) -> None:
        self.metrics.refused.inc()
        with sock:
            try:
                sock.send(_FULL)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it left by itself

    def _sweep(self) -> None:
        self.date_line = _date_line()
        now_s = monotonic()
        for connection in [each for each in self._connections if each.deadline_s <= now_s]:
            connection.expire()
        self._timer = self.loop.call_later(min(SWEEP_S, KEEPALIVE_S / 4, WRITE_S / 4), self._sweep)


class Connection:
    """One connection: at most one answer is on its way at a time, and requests behind it wait.

    It says nothing of a client's bytes, neither to the client nor to the log.

    Attributes:
        client: The address that it comes from.
        message: The request that was read last; None if it could not be read.
        deadline_s: When the client is out of time.
    """

    __slots__ = (
        "_asked",
        "_at",
        "_blob",
        "_busy",
        "_early",
        "_fd",
        "_head_bytes",
        "_is_over",
        "_lasts",
        "_lingers",
        "_mark",
        "_reader",
        "_rest",
        "_route",
        "_sent_bytes",
        "_server",
        "_sock",
        "_started_s",
        "_status",
        "_stop",
        "_task",
        "_wanted",
        "client",
        "deadline_s",
        "message",
    )

    def __init__(self, server: Server, sock: socket.socket, client: str) -> None:
        self.client = client
        self.deadline_s = monotonic() + KEEPALIVE_S
        self.message: RawRequestMessage | None = None
        self._server = server
        self._sock = sock
        self._fd = sock.fileno()
        self._reader = Reader(server.loop, RECEIVE_BYTES, server.known)
        self._asked: deque[tuple[RawRequestMessage | None, Any]] = deque()
        self._early = b""
        self._is_over = False
        self._lasts = True
        self._busy = False
        self._lingers = False
        self._blob: Blob | None = None
        self._task: asyncio.Task[None] | None = None
        self._wanted = READ
        server.readiness.watch(self._fd, self._told)

    def expire(self) -> None:
        """End what is out of time."""
        if self._busy:
            self._server.metrics.cut_off.inc()
            self.abort()
        else:
            self._close()

    def retire(self) -> None:
        """End as soon as no answer is on its way."""
        if not self._busy:
            self._receive()  # what is in the kernel already gets its answer
        self._is_over = True
        if not self._busy and self._fd >= 0:
            self._hang_up()

    def abort(self) -> None:
        """End at once, so that the client can't take a part for the whole."""
        if self._fd >= 0:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            self._close()

    def _told(self, events: int) -> None:
        """Do what the socket is ready for."""
        if events & LOST and not events & self._wanted:
            if self._busy and self._task is None:
                self._lose(self._server.metrics.gone)
            else:
                self._close()
        elif events & WRITE:
            self._push_on()
        elif self._lingers:
            self._ignore()
        else:
            self._receive()

    def _want(self, wanted: int) -> None:
        if wanted != self._wanted:
            self._wanted = wanted
            self._server.readiness.change(self._fd, wanted)

    def _receive(self) -> None:
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._is_over = True  # the client says no more, but may still listen
            if self._busy:
                self._want(self._wanted & ~READ)
            else:
                self._close()
        elif self._busy:
            self._early = data
            self._want(self._wanted & ~READ)
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Read requests, and answer them until one has to be waited for."""
        try:
            messages, is_upgraded = self._reader.feed(data)
        except HttpProcessingError as error:
            log.debug("a request could not be read: %s", type(error).__name__)
            self._asked.append((None, EMPTY_PAYLOAD))
        else:
            self._is_over |= is_upgraded  # what follows would be no HTTP that this origin speaks
            for message, payload in messages:
                if self._busy or not self._lasts:
                    self._asked.append((message, payload))
                else:
                    self._begin(message, payload)
        if self._asked or self._is_over or not self._lasts:
            self._go_on()

    def _go_on(self) -> None:
        """Turn to what comes next, if nothing is on its way."""
        while self._asked and self._lasts and not self._busy:
            self._begin(*self._asked.popleft())
        if self._busy or self._fd < 0:
            return
        if self._is_over or not self._lasts:
            self._hang_up()
            return
        early, self._early = self._early, b""
        self._want(READ)
        self._take(early)  # the parser holds what it was not allowed to read yet

    def _begin(self, message: RawRequestMessage | None, payload: Any) -> None:
        server = self._server
        self._started_s = monotonic()
        self.message = message
        if message is None:
            server.metrics.malformed.inc()
            self._send(NO_ROUTE, _MALFORMED)
            return
        self._reader.consumed()
        found = server.origin.at_once(
            message.method, message.path, message.headers, has_body=payload is not EMPTY_PAYLOAD
        )
        if found is not None:
            self._send(*found)
            return
        self._busy = True
        self.deadline_s = math.inf  # the store has deadlines of its own
        address, port, *_ = self._sock.getsockname()
        request = Request(message.method, message.path, message.headers, self.client, (address, port))
        self._task = server.loop.create_task(self._answer(request))

    async def _answer(self, request: Request) -> None:
        route, answer = await self._server.origin.in_time(request)
        self._task = None
        self._busy = False
        self._send(route, answer)
        self._go_on()

    def _send(self, route: str, answer: Answer) -> None:
        """Hand over as much of an answer as the kernel takes at once; most often that is all."""
        server, message, body = self._server, self.message, answer.body
        start, stop = answer.start, answer.stop
        if message is None:
            self._lasts = False
        else:
            self._lasts = not (message.should_close or answer.closes or server.draining)
            if message.method == hdrs.METH_HEAD:
                start = stop = 0
        if isinstance(body, Blob) and stop > start and not server.burden.takes(body):
            answer, body, start, stop = _BUSY, _BUSY.body, _BUSY.start, _BUSY.stop
        # Connections last by themselves from HTTP/1.1 on.
        ending = _CLOSED if not self._lasts else b"\r\n" if message and message.version >= HttpVersion11 else _KEPT
        head, date = answer.head or head_of(answer), server.date_line
        self._route, self._status = route, answer.status
        self._head_bytes = len(head) + len(date) + len(ending)
        part: bytes | memoryview = b""
        flags = 0
        if isinstance(body, bytes):
            part = body if stop - start == len(body) else memoryview(body)[start:stop]
        elif stop > start:
            self._blob = body
            flags = socket.MSG_MORE if body.ready_bytes > start else 0
        pieces = (head, date, ending, part)
        size = self._head_bytes + len(part)
        try:
            sent = self._sock.sendmsg(pieces, (), flags)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._sent_bytes = 0
            self._busy = True
            self._lose(server.metrics.gone)
            return
        self._sent_bytes = sent
        if sent == size and self._blob is None:
            now_s = monotonic()
            server.origin.answered(self, route, answer.status, stop - start, now_s - self._started_s)
            self.deadline_s = now_s + KEEPALIVE_S
            return
        self._busy = True
        self._rest = memoryview(b"".join(pieces))[sent:] if sent < size else memoryview(b"")
        self._at, self._stop = start, stop
        self._mark = WRITE_BYTES
        self.deadline_s = monotonic() + WRITE_S
        self._push()

    def _push(self) -> None:
        """Hand over what is left, as far as the kernel takes it."""
        blob = self._blob
        try:
            while self._rest:
                sent = self._sock.send(self._rest)
                self._rest = self._rest[sent:]
                self._sent_bytes += sent
            while blob is not None and self._at < self._stop:
                until = min(self._stop, blob.ready_bytes)
                if until <= self._at:
                    self._wait_for(blob)
                    return
                sent = os.sendfile(self._fd, blob.fd, self._at, until - self._at)
                if not sent:
                    log.error("a file is shorter than it was")
                    self._lose(self._server.metrics.broken)
                    return
                self._at += sent
                self._sent_bytes += sent
        except (BlockingIOError, InterruptedError):
            self._await_room()
        except OSError:
            self._lose(self._server.metrics.gone)
        else:
            self._finish()

    def _await_room(self) -> None:
        if self._sent_bytes >= self._mark:
            self._mark = self._sent_bytes + WRITE_BYTES
            self.deadline_s = monotonic() + WRITE_S
        self._want(self._wanted | WRITE)

    def _wait_for(self, blob: Blob) -> None:
        """Wait for the rest of a body that is still arriving."""
        self._want(self._wanted & ~WRITE)
        if blob.failed:
            self._lose(self._server.metrics.broken)
            return
        self.deadline_s = math.inf
        blob.when_more(self._arrived)

    def _arrived(self) -> None:
        if self._fd >= 0:
            self.deadline_s = monotonic() + WRITE_S
            self._push_on()

    def _push_on(self) -> None:
        self._push()
        self._go_on()

    def _finish(self) -> None:
        self._want(self._wanted & ~WRITE)
        self._account()
        self.deadline_s = monotonic() + KEEPALIVE_S

    def _lose(self, tally: Tally) -> None:
        """Give up on an answer, and count why."""
        tally.inc()
        self.abort()

    def _account(self) -> None:
        """Note how far the answer got that was on its way."""
        self._busy = False
        if self._blob is not None:
            self._server.burden.lets_go(self._blob)
            self._blob = None
        sent = max(0, self._sent_bytes - self._head_bytes)
        self._server.origin.answered(self, self._route, self._status, sent, monotonic() - self._started_s)

    def _hang_up(self) -> None:
        """End in peace: say no more, and close when the client has heard all."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close()
            return
        self._lingers = True
        self._want(READ)
        self.deadline_s = monotonic() + LINGER_S

    def _ignore(self) -> None:
        try:
            if not self._sock.recv(RECEIVE_BYTES):
                self._close()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._close()

    def _close(self) -> None:
        if self._task is not None:
            self._task.cancel()  # reads of the store go on for others
        elif self._busy:
            self._account()
        self._server.readiness.leave(self._fd)
        self._sock.close()
        self._fd = -1
        self._server.left(self)


def _date_line() -> bytes:
    return f"Date: {formatdate(usegmt=True)}\r\n".encode()


_KEPT = b"Connection: keep-alive\r\n\r\n"
_CLOSED = b"Connection: close\r\n\r\n"
