from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.core.http.server import Limits
from headend.core.storage.memory import MemoryStore
from origin.serving import OriginSettings, running
from tests.origin.releases import PICTURE, RELEASE, SEGMENTS, TITLE, WatchedStore, ask, put_release
from tests.support.raw_http import connected, exchange, read_all
from tests.support.waiting import wait_until

SEGMENT = f"/{TITLE}/tracks/{PICTURE}/1.m4s"
LARGE = bytes(range(256)) * (64 << 10)  # 16 MiB: more than the kernel buffers for a connection


def request_line(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode("latin-1")


def figure(base_url: str, name: str) -> float:
    lines = ask(base_url, "/metrics").body.decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"headend_origin_{name} "))


@pytest.mark.parametrize(
    "path",
    [
        f"/{TITLE}/tracks/{PICTURE}/../{PICTURE}/1.m4s",
        f"/{TITLE}/tracks/../tracks/{PICTURE}/1.m4s",
        f"/{TITLE}/tracks/./{PICTURE}/1.m4s",
        f"//{TITLE}/tracks/{PICTURE}/1.m4s",
        f"/{TITLE}//tracks/{PICTURE}/1.m4s",
        f"/{TITLE}/tracks/{PICTURE}//1.m4s",
        f"/{TITLE}/tracks/{PICTURE}%2f1.m4s",
        f"/{TITLE}/tracks/{PICTURE}/%31.m4s",
        f"/{TITLE}/releases/{RELEASE}/%2e%2e/plan.json",
        f"/{TITLE}/releases/{RELEASE}/%252e%252e/plan.json",
        f"/{TITLE}/tracks\\{PICTURE}\\1.m4s",
        f"/{TITLE}/tracks/{PICTURE}/1.m4s%00",
        f"/{TITLE}/tracks/{PICTURE}/1.m4s;x",
        f"/{TITLE}/releases/{RELEASE}/../../../../etc/passwd",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/....//....//etc/passwd",
        f"/{TITLE}/tracks/a..b/1.m4s",
        f"/{'a' * 600}/multivariant.m3u8",
        f"/{TITLE}/tracks/{'a' * 600}/1.m4s",
        f"/{TITLE}/tracks/{PICTURE}/{'9' * 600}.m4s",
    ],
)
def test_ambiguous_paths_are_404(base_url: str, path: str) -> None:
    head, _, body = exchange(base_url, request_line(path)).partition(b"\r\n\r\n")
    assert head.split()[1] == b"404"
    assert body == b'{"error": "not found"}\n'


MALFORMED = {
    "a star for a path": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03secret-bytes\r\n\r\n",
    "an unknown method": b"SECRET-BYTES / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a NUL in the path": b"GET /\x00secret-bytes HTTP/1.1\r\nHost: a\r\n\r\n",
    "a control character in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX: secret-bytes\x01\x00\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n secret-bytes\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 12\r\n\r\nsecret-bytes",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: secret-bytes\r\n\r\n",
    "two lengths": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 12\r\n\r\nsecret-bytes",
    "a length and chunks": b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a signed length": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde",
    "a long line": b"GET /?" + b"secret-bytes" * 2000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"secret-bytes" * 2000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: secret-bytes\r\n" * 200 + b"\r\n",
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
def test_input_other_than_http_gets_a_constant_response_and_the_connection_ends(
    base_url: str, request_bytes: bytes
) -> None:
    answer = exchange(base_url, request_bytes)
    assert answer.split(b" ")[1] == b"400"
    assert answer.endswith(b'{"error": "bad request"}\n')
    assert b"secret-bytes" not in answer.lower()
    assert ask(base_url, "/livez").status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 33\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_no_request_can_be_hidden_in_the_body_of_another(base_url: str, body: bytes) -> None:
    answer = exchange(base_url, f"GET {SEGMENT} HTTP/1.1\r\nHost: a\r\n".encode() + body)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_connection_serves_one_request_after_another(base_url: str) -> None:
    twice = f"GET {SEGMENT} HTTP/1.1\r\nHost: a\r\n\r\n".encode() + request_line(SEGMENT)
    answer = exchange(base_url, twice)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.count(SEGMENTS[0]) == 2


@pytest.fixture
def large_url() -> Iterator[str]:
    store = MemoryStore()
    put_release(store, segments=(LARGE,))
    with running(store) as url:
        yield url


def test_a_large_segment_arrives_whole(large_url: str) -> None:
    assert ask(large_url, SEGMENT).body == LARGE


def test_data_that_a_client_does_not_read_stays_out_of_the_kernel() -> None:
    store = MemoryStore()
    put_release(store, segments=(LARGE[: 1 << 20],))
    with running(store) as url, connected(url) as client:
        client.sendall(request_line(SEGMENT))
        assert ask(url, SEGMENT).body == LARGE[: 1 << 20]  # earlier clients have got as much as there is room for
        assert figure(url, "sending_bytes") == 1 << 20
        assert read_all(client).endswith(b"\r\n\r\n" + LARGE[: 1 << 20])


def test_slow_readers_do_not_pin_memory_once_the_disk_has_the_segment(tmp_path: Path) -> None:
    store = MemoryStore()
    put_release(store, segments=(LARGE,))
    kept = b'headend_origin_disk_cache_total{result="kept"} 1.0'
    with running(store, settings=OriginSettings(cache_bytes=1, disk_cache=tmp_path)) as url, connected(url) as client:
        client.sendall(request_line(SEGMENT))
        wait_until(lambda: kept in ask(url, "/metrics").body and not figure(url, "sending_bytes"))
        assert read_all(client).endswith(b"\r\n\r\n" + LARGE)


def test_a_slow_reader_is_cut_off_with_a_reset() -> None:
    store = MemoryStore()
    put_release(store, segments=(LARGE,))
    with (
        running(store, settings=OriginSettings(limits=Limits(write_s=0.2))) as large_url,
        connected(large_url) as client,
    ):
        client.sendall(f"GET {SEGMENT} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        wait_until(lambda: figure(large_url, "slow_readers_total"))
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(LARGE)}".encode() in head
    assert len(body) < len(LARGE)


def test_a_client_that_disconnects_is_counted(large_url: str) -> None:
    with connected(large_url) as client:
        client.sendall(f"GET {SEGMENT} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        client.recv(1000)
    wait_until(lambda: figure(large_url, "disconnects_total"))
    assert ask(large_url, "/livez").status == 200


def test_bodies_in_flight_are_bounded_but_many_clients_may_share_one(store: WatchedStore) -> None:
    put_release(store, segments=(LARGE, LARGE[::-1]))
    with (
        running(store, settings=OriginSettings(limits=Limits(in_flight_bytes=len(LARGE) + 10_000))) as url,
        connected(url) as stalled,
    ):
        stalled.sendall(f"GET {SEGMENT} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        wait_until(lambda: figure(url, "sending_bytes") >= len(LARGE))
        other = ask(url, SEGMENT.replace("1.m4s", "2.m4s"))
        assert (other.status, other.headers["retry-after"]) == (503, "2")
        assert ask(url, SEGMENT).body == LARGE
        stalled.close()
        wait_until(lambda: figure(url, "sending_bytes") <= 10_000)
        assert ask(url, SEGMENT.replace("1.m4s", "2.m4s")).body == LARGE[::-1]


def test_connections_beyond_the_limit_get_retry_after(store: WatchedStore) -> None:
    with running(store, settings=OriginSettings(limits=Limits(connections=2))) as url:
        with connected(url) as first, connected(url) as second:
            for client in (first, second):
                client.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
                assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
            answer = exchange(url, b"")
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After" in answer
        wait_until(lambda: exchange(url, request_line("/livez")).startswith(b"HTTP/1.1 200 "))


def test_a_silent_connection_is_closed(store: WatchedStore) -> None:
    with (
        running(store, settings=OriginSettings(limits=Limits(head_s=0.2))) as url,
        connected(url) as silent,
        connected(url) as trickling,
    ):
        trickling.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert read_all(silent) == b""
        assert read_all(trickling) == b""
