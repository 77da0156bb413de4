"""Requests that are known byte for byte, on raw sockets."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headend.core.http import repeats
from headend.core.http.repeats import Again
from headend.core.http.requests import Request
from headend.core.http.responses import Response, text_file
from headend.core.http.server import HttpServer, Limits
from headend.core.metrics import Registry
from tests.headend.core.http.test_server import Application, Running, read_all
from tests.support.waiting import PATIENCE_S, wait_until

ASK = b"GET /text HTTP/1.1\r\nHost: a\r\n\r\n"
OTHER = b"GET /text HTTP/1.1\r\nHost: a\r\nX-Other: 1\r\n\r\n"
HEAD = b"HEAD /text HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Repeating(Application):
    """Serves a text, and says how to answer for it again while that holds."""

    def __init__(self, folder: Path, body: bytes) -> None:
        super().__init__(folder)
        self.holds = True
        self.parsed: list[str] = []
        self.text = text_file("text", body, self.large.plain.modified, "text/plain").plain.whole

    async def respond(self, request: Request) -> tuple[str, Response]:
        self.parsed.append(request.target)
        return ("text", self.text) if request.path == "/text" else await super().respond(request)

    def again(self, request: Request) -> Again | None:
        return (lambda: self.text if self.holds else None) if request.path == "/text" else None


class RunningRepeats(Running):
    """A server in a thread that knows requests."""

    application: Repeating

    def __init__(self, folder: Path, limits: Limits, body: bytes) -> None:
        super().__init__(folder, limits)
        self._body = body

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.application = Repeating(self._folder, self._body)
        self.registry = Registry("test")
        self.server = HttpServer(self.application, self.registry, self._limits, again=self.application.again)
        self._stop = asyncio.Event()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        await self.server.start([listener])
        self._ready.set()
        await self._stop.wait()
        await self.server.stop()

    def counted(self, name: str) -> int:
        """A counter of the server."""
        found = [
            line for line in self.registry.exposition().decode().splitlines() if line.startswith(f"test_{name}_total")
        ]
        return int(float(found[0].split()[-1]))


Run = Callable[..., RunningRepeats]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    held: list[RunningRepeats] = []

    def start(body: bytes = b"text", **limits: float) -> RunningRepeats:
        held.append(RunningRepeats(tmp_path, Limits(**limits), body))  # type: ignore[arg-type]
        held[-1].__enter__()
        return held[-1]

    yield start
    for each in held:
        each.__exit__()


def ask(client: socket.socket, request: bytes = ASK, body: bytes = b"text") -> bytes:
    """Send a request; returns the head of the response, without its date."""
    client.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received or (not request.startswith(b"HEAD") and not received.endswith(body)):
        piece = client.recv(1 << 18)
        assert piece, received
        received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    assert rest == (b"" if request.startswith(b"HEAD") else body)
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.startswith(b"Date: "))


def test_the_same_bytes_get_the_same_answer_without_being_parsed(run: Run) -> None:
    server = run()
    with server.connected() as client, server.connected() as second:
        assert len({ask(client) for _ in range(4)} | {ask(second) for _ in range(2)}) == 1
        wait_until(lambda: len(server.application.completions) == 6)
    assert server.application.parsed == ["/text"]
    assert set(server.application.completions) == {("text", 200, 4)}


def test_other_bytes_are_parsed_and_what_does_not_hold_any_more_is_forgotten(run: Run) -> None:
    server = run()
    with server.connected() as client:
        ask(client), ask(client, OTHER), ask(client, OTHER), ask(client)
        assert server.application.parsed == ["/text"] * 2
        server.application.holds = False
        ask(client), ask(client)
        assert len(server.application.parsed) == 4


def test_head_gets_no_body(run: Run) -> None:
    server = run()
    with server.connected() as client:
        assert len({ask(client, HEAD) for _ in range(3)}) == 1
        ask(client)
    wait_until(lambda: len(server.application.completions) == 4)
    assert server.application.completions[:3] == [("text", 200, 0)] * 3


@pytest.mark.parametrize(
    ("pieces", "answers"),
    [
        ([ASK + ASK, ASK, ASK + LAST], 5),
        ([ASK[:10], ASK[10:], ASK, LAST], 3),
        ([ASK, ASK, ASK[:-2], ASK[-2:] + ASK + LAST], 5),
        ([b"\r\n" + ASK, ASK, LAST], 3),
        ([ASK + ASK[:9], ASK[9:] + LAST], 3),
    ],
)
def test_however_requests_are_cut_into_packets_each_gets_its_answer(
    run: Run, pieces: list[bytes], answers: int
) -> None:
    server = run()
    with server.connected() as client:
        ask(client)
        ask(client)
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.05)
        received = read_all(client)
    assert received.count(b"HTTP/1.1 200 OK\r\n") == answers
    assert received.endswith(b"small")


@pytest.mark.parametrize(
    "hostile",
    [
        b"GET /text HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        b"GET /text HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /text HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        b"GET /text HTTP/1.1\r\n\r\n",
        b"GET /text HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"GET /text HTTP/1.1\r\nHost: a\r\nCMCD-Request: bl=100\r\n\r\n",
        b"GET /text?CMCD=bl%3D100 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /text HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        b"GET /text HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /text HTTP/1.1\r\nHost: a\r\nX: " + b"x" * repeats.LONGEST_BYTES + b"\r\n\r\n",
    ],
)
def test_what_is_refused_changes_or_says_something_of_its_connection_is_parsed_each_time(
    run: Run, hostile: bytes
) -> None:
    server = run()
    firsts = []
    for _ in range(3):
        with server.connected() as client:
            client.sendall(hostile)
            firsts.append(client.recv(1 << 16)[:12])
    assert len(set(firsts)) == 1
    assert server.server.repeats is not None and len(server.server.repeats) == 0


def test_a_flood_of_different_requests_takes_bounded_memory(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "MOST", 20)
    server = run()
    with server.connected() as client:
        for number in range(50):
            ask(client, f"GET /text?{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert server.server.repeats is not None and 0 < len(server.server.repeats) <= 20


def test_an_idle_connection_is_closed_in_time_and_a_busy_one_is_not(run: Run) -> None:
    server = run(keepalive_s=2.0)
    with server.connected() as client:
        until_s = time.monotonic() + 4
        while time.monotonic() < until_s:
            ask(client)
            time.sleep(0.1)
        began_s = time.monotonic()
        client.settimeout(PATIENCE_S)
        assert client.recv(10) == b""
        assert time.monotonic() - began_s > 0.8
    assert server.application.parsed == ["/text"]


def test_a_client_that_does_not_read_is_cut_off(run: Run) -> None:
    server = run(body := b"x" * 60_000, write_s=1.0)
    with server.connected() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ask(client, body=body)

        def is_cut() -> bool:
            try:
                client.sendall(ASK)
            except ConnectionError:
                return True
            return False

        wait_until(is_cut)
    wait_until(lambda: server.counted("slow_readers") == 1)


def test_a_server_that_stops_says_so_in_its_last_answer(run: Run) -> None:
    server = run()
    with server.connected() as client:
        ask(client), ask(client)
        server.server.is_draining = True
        assert b"Connection: close" in ask(client)
        assert client.recv(10) == b""


def test_a_client_that_sends_no_more_gets_its_answer(run: Run) -> None:
    server = run()
    with server.connected() as client:
        ask(client), ask(client)
        client.sendall(ASK)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).endswith(b"text")
