"""The server's behaviour on raw sockets, with an application that has a few bodies."""

import asyncio
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headend.core.http.blobs import in_file, in_memory
from headend.core.http.requests import Request
from headend.core.http.responses import NOT_FOUND, File, Response, document, for_file, head_of, media_file, text_file
from headend.core.http.server import HttpServer, Limits, client_key
from headend.core.metrics import Registry
from tests.support.waiting import wait_until

LARGE = bytes(range(256)) * (64 << 10)  # 16 MiB: more than the kernel buffers for a connection
FIRST = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
SMALL = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n"
TEXT = b"GET /text HTTP/1.1\r\nHost: a\r\n\r\n"
WHOLE = b"GET /whole HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
RESET = struct.pack("ii", 1, 0)


class Application:
    """Serves small bodies, a large one from memory, one from disk, and fails on request; some bodies at once."""

    def __init__(self, folder: Path) -> None:
        path = folder / "disk"
        path.write_bytes(LARGE)
        now = datetime.now(UTC)
        self.large = media_file("large", in_memory(LARGE), "aa", now, "video/mp4")
        self.disk: File = media_file("disk", in_file(os.open(path, os.O_RDONLY), len(LARGE)), "bb", now, "video/mp4")
        self.text = text_file("text", b"text", now, "text/plain")
        headers = {**document(LARGE, "text/plain", "no-store").headers}
        head = head_of(Response(200, headers))
        self.whole = Response(200, headers, LARGE, 0, len(LARGE), head=head)
        self.gate = asyncio.Event()
        self.completions: list[tuple[str, int, int]] = []
        self.at_once: list[str] = []

    def respond_at_once(self, request: Request) -> tuple[str, Response] | None:
        self.at_once.append(request.path)
        match request.path:
            case "/text":
                return "text", for_file(request.method, request.headers, self.text)
            case "/whole":
                return "whole", self.whole
            case "/failing":
                raise RuntimeError("secret")
            case _:
                return None

    async def respond(self, request: Request) -> tuple[str, Response]:
        match request.path:
            case "/small":
                return "small", document(b"small", "text/plain", "no-store")
            case "/large":
                return "large", for_file(request.method, request.headers, self.large)
            case "/disk":
                return "disk", for_file(request.method, request.headers, self.disk)
            case "/wait":
                await self.gate.wait()
                return "wait", document(b"waited", "text/plain", "no-store")
            case "/text" | "/failing":
                return "text", for_file(request.method, request.headers, self.text)
            case "/fail":
                raise RuntimeError("secret")
            case _:
                return "other", NOT_FOUND

    def completed(self, request: Request | None, route: str, status: int, sent_bytes: int, seconds: float) -> None:
        assert seconds >= 0 and (request is None or request.method)
        self.completions.append((route, int(status), sent_bytes))


class Running:
    """A server in a thread."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.application = Application(self._folder)
        at_once = self.application.respond_at_once
        self.server = HttpServer(self.application, Registry("test"), self._limits, at_once=at_once)
        self._stop = asyncio.Event()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        await self.server.start([listener])
        self._ready.set()
        await self._stop.wait()
        await self.server.stop()

    def __enter__(self) -> "Running":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        self.loop.call_soon_threadsafe(self._stop.set)

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(30)

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as client:
            yield client

    def exchange(self, data: bytes) -> bytes:
        with self.connected() as client:
            client.sendall(data)
            return read_all(client)


Run = Callable[..., Running]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    held: list[Running] = []

    def start(**limits: float) -> Running:
        held.append(Running(tmp_path, Limits(**limits)).__enter__())  # type: ignore[arg-type]
        return held[-1]

    yield start
    for each in held:
        each.__exit__()


def read_all(client: socket.socket) -> bytes:
    pieces = []
    try:
        while piece := client.recv(1 << 18):
            pieces.append(piece)
    except ConnectionResetError:
        pieces.append(b"!reset")
    return b"".join(pieces)


def test_pipelined_requests_and_a_reset_leave_nothing_in_flight(run: Run) -> None:
    server = run(in_flight_bytes=len(LARGE))
    for _ in range(5):
        with server.connected() as client:
            client.sendall(FIRST + FIRST)
            client.recv(1000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    wait_until(lambda: server.server.in_flight.size_bytes == 0)
    assert server.exchange(FIRST + LAST).count(LARGE) == 1


@pytest.mark.parametrize("path", ["/large", "/disk"])
def test_bodies_beyond_what_the_kernel_buffers_arrive_whole(run: Run, path: str) -> None:
    answer = run().exchange(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert answer.partition(b"\r\n\r\n")[2] == LARGE


@pytest.mark.parametrize("count", [17, 33, 1000])
def test_any_number_of_pipelined_requests_is_answered(run: Run, count: int) -> None:
    assert run().exchange(SMALL * (count - 1) + LAST).count(b"HTTP/1.1 200 OK") == count


def test_pipelined_large_and_small_responses_stay_in_order(run: Run) -> None:
    answer = run().exchange(FIRST + SMALL + FIRST + LAST)
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [LARGE, b"small", LARGE, b"small"]


def test_an_exception_is_a_constant_500_and_ends_the_connection(run: Run) -> None:
    answer = run().exchange(b"GET /fail HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ") and answer.endswith(b'{"error": "internal server error"}\n')
    assert b"secret" not in answer


@pytest.mark.parametrize("host", ["a b", "a/b", "a\tb", "a@b", "a:b", "a:123456", "[::1", "a?b", "a#b", '"a"', "\xe9"])
def test_a_malformed_host_is_refused(run: Run, host: str) -> None:
    answer = run().exchange(f"GET /small HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("host", ["a", "a.example:8080", "[::1]:80", "127.0.0.1", "", "a_b.example", "a:"])
def test_an_ordinary_host_is_served(run: Run, host: str) -> None:
    request = f"GET /small HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    assert run().exchange(request).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /small HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET /small HTTP/1.2\r\nHost: a\r\n\r\n",
        b"GET /small HTTP/0.9\r\nHost: a\r\n\r\n",
        b"GET /small HTTP/0.9\r\n\r\n",
        b"GET /small\r\n\r\n",
        b"GET /small HTTP/3.0\r\nHost: a\r\n\r\n",
        b"GET /small HTTP/1.1\r\n\r\n",
        b"GET small HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ftp://a/small HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:///small HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a b/small HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_other_versions_and_targets_are_refused(run: Run, request_bytes: bytes) -> None:
    answer = run().exchange(request_bytes)
    assert answer.split(b" ")[1] in (b"400", b"505"), answer
    assert b"small" not in answer and answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("target", ["http://a/small", "HTTP://b.example:80/small?x=1", "https://[::1]/small"])
def test_a_target_in_absolute_form_is_served_by_its_path(run: Run, target: str) -> None:
    request = f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    assert run().exchange(request).startswith(b"HTTP/1.1 200 ")


def test_http_1_0_is_served_and_closes_unless_asked_otherwise(run: Run) -> None:
    server = run()
    answer = server.exchange(b"GET /small HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ") and b"Connection: close" in answer
    kept = server.exchange(b"GET /small HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /small HTTP/1.0\r\n\r\n")
    assert kept.count(b"200 OK") == 2 and b"Connection: keep-alive" in kept


def test_a_half_closed_client_still_gets_its_responses(run: Run) -> None:
    server = run()
    with server.connected() as client:
        client.sendall(SMALL + FIRST + SMALL)
        client.shutdown(socket.SHUT_WR)
        answer = read_all(client)
    assert answer.count(b"HTTP/1.1 200 OK") == 3 and LARGE in answer


def test_a_slow_reader_is_cut_off_with_a_reset_and_frees_its_bytes(run: Run) -> None:
    server = run(write_s=0.3)
    with server.connected() as client:
        client.sendall(FIRST)
        wait_until(lambda: server.server.metrics.slow_readers.labels().value == 1)
        answer = read_all(client)
    assert answer.endswith(b"!reset") and len(answer) < len(LARGE)
    wait_until(lambda: server.server.in_flight.size_bytes == 0)


def test_a_reader_that_keeps_reading_is_not_cut_off(run: Run) -> None:
    server = run(write_s=0.4)
    with server.connected() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        client.sendall(LAST.replace(b"small", b"large"))
        taken = 0
        started_s = time.monotonic()
        while piece := client.recv(1 << 20):
            taken += len(piece)
            if time.monotonic() - started_s < 1.2:
                time.sleep(0.01)
    assert taken > len(LARGE)


def test_a_slow_reader_of_small_responses_is_cut_off_too(run: Run) -> None:
    server = run(write_s=0.3)
    with server.connected() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = threading.Thread(target=lambda: send_until_lost(client, SMALL * 1000))
        sent.start()
        wait_until(lambda: server.server.metrics.slow_readers.labels().value == 1)
        read_all(client)
        sent.join()


def send_until_lost(client: socket.socket, data: bytes) -> None:
    try:
        while True:
            client.sendall(data)
    except OSError:
        pass


def test_a_request_head_must_arrive_within_its_deadline(run: Run) -> None:
    server = run(head_s=0.3, keepalive_s=60)
    with server.connected() as silent, server.connected() as trickling, server.connected() as second:
        trickling.sendall(b"GET /small HTTP/1.1\r\nX: ")
        second.sendall(SMALL)
        assert second.recv(1000).startswith(b"HTTP/1.1 200 ")
        second.sendall(b"GET /sm")
        assert read_all(silent) == read_all(trickling) == read_all(second) == b""


def test_idle_connections_stay_open_for_the_keepalive_time(run: Run) -> None:
    server = run(head_s=0.2, keepalive_s=1.0)
    with server.connected() as client:
        client.sendall(SMALL)
        client.recv(1000)
        time.sleep(0.5)
        client.sendall(SMALL)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        started_s = time.monotonic()
        assert read_all(client) == b""
        assert time.monotonic() - started_s > 0.5


def test_connections_are_limited_in_total_and_per_client(run: Run) -> None:
    server = run(connections=3, connections_per_client=2)
    with server.connected() as first, server.connected() as second:
        for client in (first, second):
            client.sendall(SMALL)
            client.recv(1000)
        refused = server.exchange(b"")
        assert refused.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 2" in refused
    wait_until(lambda: server.exchange(LAST).startswith(b"HTTP/1.1 200 "))


def test_a_stop_waits_only_for_responses_that_are_being_sent(run: Run) -> None:
    server = run(finish_s=10)
    with server.connected() as busy, server.connected() as idle, server.connected() as half:
        busy.sendall(FIRST)
        begun = busy.recv(1000)
        idle.sendall(SMALL)
        idle.recv(1000)
        half.sendall(b"GET /small HT")
        server.stop()
        assert read_all(idle) in (b"", b"!reset") and read_all(half) in (b"", b"!reset")
        assert (begun + read_all(busy)).partition(b"\r\n\r\n")[2] == LARGE


def test_a_stop_aborts_responses_that_take_too_long(run: Run) -> None:
    server = run(finish_s=0.3)
    with server.connected() as client, server.connected() as waiting:
        client.sendall(FIRST)
        waiting.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        client.recv(1000)
        server.stop()
        started_s = time.monotonic()
        server.__exit__()
        assert time.monotonic() - started_s < 10
        assert read_all(client).endswith(b"!reset")


class GoneTransport(asyncio.Transport):
    """A transport whose client disconnected between the response and the end of the connection."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2), "socket": socket.socket()})
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def write_eof(self) -> None:
        raise OSError(errno.ENOTCONN, "not connected")

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def close(self) -> None:
        self.get_extra_info("socket").close()


def test_a_client_that_disconnects_after_its_last_response_is_not_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        connection = HttpServer(Application(tmp_path), Registry("test"))()
        transport = GoneTransport()
        connection.connection_made(transport)
        connection.data_received(LAST)
        for _ in range(10):
            await asyncio.sleep(0)
        assert transport.written.endswith(b"small")
        connection.connection_lost(None)

    asyncio.run(main())
    assert not caplog.records


def test_a_client_that_resets_during_a_lookup_is_dropped(run: Run) -> None:
    server = run()
    with server.connected() as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: len(server.server.connections) == 1)
        time.sleep(0.05)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    wait_until(lambda: len(server.server.connections) == 0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_an_ipv6_network_is_one_client(one: str, other: str, same: bool) -> None:
    assert (client_key(one) == client_key(other)) is same


def ask(client: socket.socket, request: bytes, *, size: int = 4) -> bytes:
    """Send a request, and read a response whose body has this size."""
    client.sendall(request)
    answer = b""
    while len(answer.partition(b"\r\n\r\n")[2]) < size:
        piece = client.recv(1 << 18)
        assert piece, answer[:1000]
        answer += piece
    return answer


def undated(answer: bytes) -> list[bytes]:
    return [line for line in answer.split(b"\r\n") if not line.startswith(b"Date:")]


def test_complete_requests_are_answered_at_once_and_others_get_the_same_response(run: Run) -> None:
    server = run()
    with server.connected() as client:
        first = undated(ask(client, TEXT))
        assert server.application.at_once == ["/text"]
        assert ask(client, SMALL, size=5).endswith(b"small")  # answered later, by the application
        assert undated(ask(client, TEXT)) == first
        assert server.application.at_once == ["/text", "/small", "/text"]
        client.sendall(TEXT[:20])
        time.sleep(0.1)
        assert undated(ask(client, TEXT[20:])) == first
        assert undated(ask(client, TEXT)) == first
        assert len(server.application.at_once) == 3, "after a request in pieces, aiohttp parses all later ones"
    routes = ["text", "small", "text", "text", "text"]
    wait_until(lambda: [route for route, *_ in server.application.completions] == routes)


@pytest.mark.parametrize(
    "request_bytes",
    [
        TEXT + TEXT,
        TEXT.replace(b"\r\n", b"\n"),
        TEXT.replace(b"GET", b"HEAD"),
        TEXT.replace(b"1.1", b"1.0"),
        TEXT.replace(b"Host: a", b"Host: a\r\nContent-Length: 3"),
        TEXT.replace(b"Host: a", b"Host: a\r\nTransfer-Encoding: chunked"),
        TEXT.replace(b"Host: a", b"Host: a\r\nConnection: close"),
        TEXT.replace(b"Host: a", b"Host: a\r\nConnection: upgrade\r\nUpgrade: websocket"),
        TEXT.replace(b"Host: a", b"Host: a b"),
        TEXT.replace(b"Host: a", b"Host: a\r\nHost: b"),
        TEXT.replace(b"Host: a", b"X: y"),
        TEXT.replace(b"/text", b"http://a/text"),
        TEXT.replace(b"Host: a", b"Host: a\r\nX: " + b"x" * 9000),
        TEXT.replace(b"Host: a", b"Host: a" + b"\r\nX: y" * 80),
        b"\r\n" + TEXT,
    ],
)
def test_unusual_requests_are_parsed_by_aiohttp(run: Run, request_bytes: bytes) -> None:
    server = run()
    answer = server.exchange(request_bytes + LAST)
    assert not server.application.at_once
    with server.connected() as client:
        assert ask(client, TEXT).endswith(b"text"), "other connections are not affected"
    assert server.application.at_once == ["/text"]
    assert answer.startswith(b"HTTP/1.1 ")


def test_a_request_whose_answer_at_once_fails_goes_to_the_application(run: Run) -> None:
    server = run()
    with server.connected() as client:
        assert ask(client, TEXT.replace(b"text", b"failing")).endswith(b"text")
        assert ask(client, TEXT).endswith(b"text")


def test_a_slow_reader_of_an_answer_at_once_gets_all_of_it_and_then_the_next_one(run: Run) -> None:
    server = run()
    with server.connected() as client:
        client.sendall(WHOLE)
        time.sleep(0.1)
        client.sendall(TEXT)
        time.sleep(0.2)
        assert server.application.at_once == ["/whole"], "the next request waits until the response is read"
        assert server.application.completions == []
        answer = ask(client, b"", size=len(LARGE) + 100)
        assert LARGE in answer and answer.endswith(b"text")
    wait_until(lambda: server.application.completions == [("whole", 200, len(LARGE)), ("text", 200, 4)])


def test_a_client_that_never_reads_an_answer_at_once_is_cut_off(run: Run) -> None:
    server = run(write_s=0.3)
    with server.connected() as client:
        client.sendall(WHOLE)
        wait_until(lambda: server.server.metrics.slow_readers.labels().value == 1)
        assert read_all(client).endswith(b"!reset")


def test_a_stop_waits_for_an_answer_at_once_that_is_being_sent(run: Run) -> None:
    server = run(finish_s=10)
    with server.connected() as client, server.connected() as idle:
        ask(idle, TEXT)
        client.sendall(WHOLE)
        begun = client.recv(1000)
        server.stop()
        assert (begun + read_all(client)).partition(b"\r\n\r\n")[2] == LARGE
        assert read_all(idle) in (b"", b"!reset")


def test_answers_at_once_count_as_use_of_a_connection(run: Run) -> None:
    server = run(head_s=0.2, keepalive_s=1.0)
    with server.connected() as client:
        for _ in range(3):
            ask(client, TEXT)
            time.sleep(0.5)
        ask(client, TEXT)
        started_s = time.monotonic()
        assert read_all(client) == b""
        assert time.monotonic() - started_s > 0.5


def test_a_half_closed_client_gets_its_answer_at_once(run: Run) -> None:
    server = run()
    with server.connected() as client:
        client.sendall(TEXT)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).endswith(b"text")
    assert server.application.at_once == ["/text"]
