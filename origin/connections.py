"""Connections: sockets, their limits, and how an answer gets out without letting slow readers cost much.

aiohttp's parser (llhttp, in C) reads requests; what it makes of them is answered here. aiohttp's own server runs a task
and builds a request and a response for each, which is twice the cost of all the rest; see ADR 12.
"""

import asyncio
import logging
import math
import os
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol

from aiohttp import hdrs
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD

from origin.answers import Answer, head_of, refusal
from origin.blobs import Blob
from origin.freshness import Headers
from origin.metrics import Metrics
from origin.request import Request

log = logging.getLogger("headend.origin")

RECEIVE_BYTES = 64 << 10
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
LINE_BYTES = 8190
"""Longest request line and header: CMCD makes long queries."""
HEADERS = 64
"""Most headers of a request."""
PIPELINED = 16
"""Most requests of a connection that wait for their answers."""
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

    def at_once(self, method: str, target: str, headers: Headers) -> tuple[str, Answer] | None:
        """The route and answer for a request without a body, if they need not be waited for."""

    async def in_time(self, request: Request) -> tuple[str, Answer]:
        """The same for all others; raises nothing."""

    def refused(self, method: str, *, has_body: bool) -> Answer | None:
        """The answer to a request that is none for files."""

    def answered(self, asked: Asked, route: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Told of each answer that went out, or as much of it as went."""


class Burden:
    """What the bodies under way take in memory, each counted once, however many clients read it.

    Slow readers keep bodies in memory that the cache has let go.

    Args:
        budget_bytes: How much is taken on at a time.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self.size_bytes = 0

    def takes(self, blob: Blob) -> bool:
        """Count a body in; tells whether there is room for it."""
        if not blob.readers:
            if self.size_bytes + blob.memory_bytes > self._budget_bytes:
                return False
            self.size_bytes += blob.memory_bytes
        blob.readers += 1
        return True

    def lets_go(self, blob: Blob) -> None:
        """Count a body out."""
        blob.readers -= 1
        if not blob.readers:
            self.size_bytes -= blob.memory_bytes


class Server:
    """Takes connections, with limits; belongs to one event loop.

    Args:
        origin: Answers requests.
        metrics: Where connections are counted.
        sending_bytes: Memory for bodies under way; beyond, clients are asked to come back.
        max_connections: Beyond it, a connection gets 503 and is closed.
        max_connections_per_client: The same for one address, so that one client can't shut all others out.

    Attributes:
        draining: Whether each answer is the last one of its connection.
    """

    def __init__(
        self,
        origin: Answering,
        metrics: Metrics,
        *,
        sending_bytes: int,
        max_connections: int,
        max_connections_per_client: int,
    ) -> None:
        self.origin = origin
        self.metrics = metrics
        self.loop = asyncio.get_running_loop()
        self.burden = Burden(sending_bytes)
        self.draining = False
        self._max_connections = max_connections
        self._max_connections_per_client = max_connections_per_client
        self._connections: set[Connection] = set()
        self._by_client: Counter[str] = Counter()
        self._listeners: Sequence[socket.socket] = ()
        self._empty = asyncio.Event()
        self._empty.set()
        self._date = (0, b"")
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

    def date_line(self) -> bytes:
        """The header that says what time it is, made once a second."""
        now_s = int(time.time())
        if self._date[0] != now_s:
            self._date = (now_s, f"Date: {formatdate(now_s, usegmt=True)}\r\n".encode())
        return self._date[1]

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
        now_s = self.loop.time()
        for connection in [each for each in self._connections if each.deadline_s <= now_s]:
            connection.expire()
        self._timer = self.loop.call_later(min(SWEEP_S, KEEPALIVE_S / 4, WRITE_S / 4), self._sweep)


class Connection:
    """One connection: at most one answer is on its way at a time, and requests behind it wait.

    It says nothing of a client's bytes, neither to the client nor to the log.

    Attributes:
        client: The address that it comes from.
        message: The request that was read last; None if it could not be read.
        deadline_s: When the client is out of time, on the event loop's clock.
    """

    __slots__ = (
        "_asked",
        "_at",
        "_body",
        "_busy",
        "_early",
        "_fd",
        "_head",
        "_lasts",
        "_mark",
        "_parser",
        "_route",
        "_server",
        "_sock",
        "_start",
        "_started_s",
        "_status",
        "_stop",
        "_task",
        "_writing",
        "client",
        "deadline_s",
        "message",
    )

    def __init__(self, server: Server, sock: socket.socket, client: str) -> None:
        self.client = client
        self.deadline_s = server.loop.time() + KEEPALIVE_S
        self._server = server
        self._sock = sock
        self._fd = sock.fileno()
        self._parser = HttpRequestParser(
            BaseProtocol(server.loop),
            server.loop,
            RECEIVE_BYTES,
            max_line_size=LINE_BYTES,
            max_field_size=LINE_BYTES,
            max_headers=HEADERS,
            max_msg_queue_size=PIPELINED,
        )
        self._asked: deque[tuple[RawRequestMessage | None, Any]] = deque()
        self._early = b""
        self._busy = False
        self._lasts = True
        self._writing = False
        self._task: asyncio.Task[None] | None = None
        self.message: RawRequestMessage | None = None
        server.loop.add_reader(self._fd, self._receive)

    def expire(self) -> None:
        """End what is out of time."""
        if self._busy:
            self._server.metrics.cut_off.inc()
            self.abort()
        else:
            self._close()

    def retire(self) -> None:
        """End as soon as no answer is on its way."""
        if not self._busy and self._fd >= 0:
            self._receive()  # what is in the kernel already gets its answer
        self._lasts = False
        if not self._busy and self._fd >= 0:
            self._hang_up()

    def abort(self) -> None:
        """End at once, so that the client can't take a part for the whole."""
        if self._fd >= 0:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            self._close()

    def _receive(self) -> None:
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._leave()
            return
        if not data:
            self._leave()
        elif self._busy:
            self._early = data
            self._server.loop.remove_reader(self._fd)
        else:
            self._take(data)

    def _leave(self) -> None:
        """The client says no more, but may still listen."""
        self._lasts = False
        if self._busy:
            self._server.loop.remove_reader(self._fd)
        else:
            self._close()

    def _take(self, data: bytes) -> None:
        """Read requests, and answer them."""
        while True:
            try:
                messages, upgraded, _ = self._parser.feed_data(data)
                self._asked.extend(messages)
            except HttpProcessingError as error:
                log.debug("a request could not be read: %s", type(error).__name__)
                messages, upgraded = [], False
                self._asked.append((None, EMPTY_PAYLOAD))
            while self._asked and self._lasts and not self._busy and self._fd >= 0:
                self._begin(*self._asked.popleft())
            if self._busy or self._fd < 0:
                return
            if not self._lasts or upgraded:
                self._hang_up()
                return
            if len(messages) < PIPELINED:
                return
            data = b""  # the parser may hold more than it was allowed to read at a time

    def _begin(self, message: RawRequestMessage | None, payload: Any) -> None:
        server = self._server
        self._started_s = time.perf_counter()
        self.message = message
        if message is None:
            server.metrics.malformed.inc()
            self._lasts = False
            self._send(NO_ROUTE, _MALFORMED, hdrs.METH_GET, is_old=False)
            return
        self._parser.message_consumed()
        method = message.method
        self._lasts = not message.should_close
        is_old = message.version < (1, 1)
        refused = server.origin.refused(method, has_body=payload is not EMPTY_PAYLOAD)
        if refused is not None:
            self._send(NO_ROUTE, refused, method, is_old=is_old)
            return
        found = server.origin.at_once(method, message.path, message.headers)
        if found is not None:
            self._send(*found, method, is_old=is_old)
            return
        self._busy = True
        self.deadline_s = math.inf  # the store has deadlines of its own
        request = Request(method, message.path, message.headers, self.client, self._sock.getsockname()[:2])
        self._task = server.loop.create_task(self._answer(request, is_old=is_old))

    async def _answer(self, request: Request, *, is_old: bool) -> None:
        route, answer = await self._server.origin.in_time(request)
        self._task = None
        if self._fd >= 0:
            self._send(route, answer, request.method, is_old=is_old)
            self._go_on()

    def _send(self, route: str, answer: Answer, method: str, *, is_old: bool) -> None:
        server = self._server
        body = answer.body
        start, stop = (answer.start, answer.stop) if method != hdrs.METH_HEAD else (0, 0)
        if stop > start and isinstance(body, Blob) and not server.burden.takes(body):
            answer, body = _BUSY, _BUSY.body
            start, stop = _BUSY.start, _BUSY.stop
        self._lasts = self._lasts and not answer.closes and not server.draining
        # Connections last by themselves from HTTP/1.1 on.
        ending = b"\r\n" if self._lasts and not is_old else _KEPT if self._lasts else _CLOSED
        self._head = memoryview(head_of(answer) + server.date_line() + ending)
        self._route, self._status, self._body = route, answer.status, body
        self._start = self._at = start
        self._stop = stop
        self._mark = start + WRITE_BYTES
        self._busy = True
        self.deadline_s = server.loop.time() + WRITE_S
        self._push()

    def _push(self) -> None:
        """Hand over as much as the kernel takes."""
        sock, body, stop = self._sock, self._body, self._stop
        try:
            if isinstance(body, Blob):
                if self._head:
                    more = socket.MSG_MORE if min(body.ready_bytes, stop) > self._at else 0
                    self._head = self._head[sock.send(self._head, more) :]
                while self._at < stop and not self._head:
                    until = min(stop, body.ready_bytes)
                    if until <= self._at:
                        self._wait_for(body)
                        return
                    taken = os.sendfile(self._fd, body.fd, self._at, until - self._at)
                    if not taken:
                        raise EOFError
                    self._at += taken
            else:
                rest = memoryview(body)[self._at : stop]
                taken = sock.sendmsg((self._head, rest)) if rest else sock.send(self._head)
                self._at += max(0, taken - len(self._head))
                self._head = self._head[taken:]
            if self._head or self._at < stop:
                self._await_room()
            else:
                self._finish()
        except (BlockingIOError, InterruptedError):
            self._await_room()
        except EOFError:
            log.error("a file is shorter than it was")
            self._server.metrics.broken.inc()
            self.abort()
        except OSError:
            self._server.metrics.gone.inc()
            self.abort()

    def _await_room(self) -> None:
        if self._at >= self._mark:
            self._mark = self._at + WRITE_BYTES
            self.deadline_s = self._server.loop.time() + WRITE_S
        if not self._writing:
            self._writing = True
            self._server.loop.add_writer(self._fd, self._push_on)

    def _wait_for(self, body: Blob) -> None:
        """Wait for the rest of a body that is still arriving."""
        self._stop_writing()
        if body.failed:
            self._server.metrics.broken.inc()
            self.abort()
            return
        self.deadline_s = math.inf
        body.when_more(self._arrived)

    def _arrived(self) -> None:
        if self._fd >= 0:
            self.deadline_s = self._server.loop.time() + WRITE_S
            self._push_on()

    def _push_on(self) -> None:
        self._push()
        self._go_on()

    def _go_on(self) -> None:
        """Turn to the next request, if nothing is on its way."""
        if self._busy or self._fd < 0:
            return
        if not self._lasts:
            self._hang_up()
            return
        early, self._early = self._early, b""
        if early:
            self._server.loop.add_reader(self._fd, self._receive)
        self._take(early)

    def _finish(self) -> None:
        self._stop_writing()
        self._account()
        self.deadline_s = self._server.loop.time() + KEEPALIVE_S

    def _account(self) -> None:
        """Note how far the answer got that was on its way."""
        self._busy = False
        body, self._body = self._body, b""
        if self._stop > self._start and isinstance(body, Blob):
            self._server.burden.lets_go(body)
        seconds = time.perf_counter() - self._started_s
        self._server.origin.answered(self, self._route, self._status, self._at - self._start, seconds)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._server.loop.remove_writer(self._fd)

    def _hang_up(self) -> None:
        """End in peace: say no more, and close when the client has heard all."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close()
            return
        self._server.loop.add_reader(self._fd, self._ignore)
        self.deadline_s = self._server.loop.time() + LINGER_S

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
            self._busy = False
        if self._busy:
            self._account()
        self._stop_writing()
        self._server.loop.remove_reader(self._fd)
        self._sock.close()
        self._fd = -1
        self._server.left(self)


_KEPT = b"Connection: keep-alive\r\n\r\n"
_CLOSED = b"Connection: close\r\n\r\n"
