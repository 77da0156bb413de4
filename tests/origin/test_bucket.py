"""Media streamed from S3 to clients: one read for all, from the first bytes on, and never a part as the whole."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from headend.core import layout
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from headend.core.storage.local_server import LocalS3
from headend.core.storage.memory import MemoryStore
from origin import bucket
from origin.serving import OriginSettings, running
from origin.signing import Signer
from tests.origin.faulty_s3 import (
    BUCKET,
    FaultyS3,
    both,
    breaks_off_after,
    claims,
    faulty_s3,
    refuses,
    trickles,
    waits_half_way,
    works,
)
from tests.origin.releases import PICTURE, RELEASE, TITLE, ask, put_release

LARGE = bytes(range(256)) * (4 << 10)  # 1 MiB: several pieces
SEGMENT = f"/{TITLE}/tracks/{PICTURE}/1.m4s"
KEY = layout.track_segment(TITLE, PICTURE, 1)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMOTO000000000000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-about-forty-characters-or-so")
    monkeypatch.setattr(bucket, "BACKOFF_S", 0.001)
    store = MemoryStore()
    put_release(store, segments=(LARGE, LARGE[::-1]))
    with faulty_s3(store) as running_day:
        yield running_day


@pytest.fixture
def url(s3: FaultyS3) -> Iterator[str]:
    with running(StoreSettings(f"s3://{BUCKET}", s3.url)) as base_url:
        ask(base_url, f"/{TITLE}/tracks/{PICTURE}/init.mp4")
        yield base_url


def asks(url: str, path: str = SEGMENT) -> socket.socket:
    place = urlsplit(url)
    client = socket.create_connection((place.hostname, place.port), timeout=30)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    return client


def take(client: socket.socket, size: int) -> bytes:
    """Read a head and ``size`` bytes of the body; fails if the response ends before."""
    output = b""
    while len(output.partition(b"\r\n\r\n")[2]) < size:
        output += client.recv(1 << 16) or pytest.fail("the origin ended the answer")
    return output.partition(b"\r\n\r\n")[2]


def take_all(client: socket.socket) -> bytes:
    pieces = []
    try:
        while piece := client.recv(1 << 16):
            pieces.append(piece)
    except ConnectionResetError:
        pieces.append(b"!reset")
    return b"".join(pieces)


def test_all_waiting_clients_get_the_first_bytes_before_the_last_arrive(s3: FaultyS3, url: str) -> None:
    gate = threading.Event()
    s3.faults.append(waits_half_way(gate))
    with ExitStack() as stack:
        clients = [stack.enter_context(asks(url)) for _ in range(100)]
        begun = [take(client, 100_000) for client in clients]
        late = stack.enter_context(asks(url))
        begun.append(take(late, 100_000))
        gate.set()
        for client, start in zip([*clients, late], begun, strict=True):
            assert start + take_all(client) == LARGE
    assert s3.starts_of(KEY) == [0]


def test_the_first_waiting_client_may_disconnect(s3: FaultyS3, url: str) -> None:
    gate = threading.Event()
    s3.faults.append(waits_half_way(gate))
    with asks(url) as first, asks(url) as second:
        take(first, 100_000)
        first.close()
        start = take(second, 100_000)
        gate.set()
        assert start + take_all(second) == LARGE
    assert ask(url, SEGMENT).body == LARGE
    assert s3.starts_of(KEY) == [0]


def test_a_range_of_an_arriving_object_is_sent_as_soon_as_it_arrives(s3: FaultyS3, url: str) -> None:
    gate = threading.Event()
    s3.faults.append(waits_half_way(gate))
    with asks(url) as client:
        take(client, 1)
        assert ask(url, SEGMENT, {"Range": "bytes=1000-1999"}).body == LARGE[1000:2000]
        assert ask(url, SEGMENT, method="HEAD").headers["content-length"] == str(len(LARGE))
        gate.set()
        assert ask(url, SEGMENT, {"Range": "bytes=-10"}).body == LARGE[-10:]


def test_an_interrupted_read_resumes_where_it_stopped(s3: FaultyS3, url: str) -> None:
    s3.faults += [breaks_off_after(300_000), refuses(503), works]
    got = ask(url, SEGMENT)
    assert (got.status, got.body) == (200, LARGE)
    first, second, third = s3.starts_of(KEY)
    assert first == 0 < second == third <= 300_000
    assert "headend_origin_store_retries_total 2.0" in ask(url, "/metrics").body.decode()


def test_an_object_that_is_corrupt_at_its_end_is_never_sent_completely(s3: FaultyS3, url: str) -> None:
    gate = threading.Event()
    wrong = LARGE[:-1] + b"x"
    s3.faults += [both(claims(wrong), waits_half_way(gate)), works]
    with asks(url) as client, asks(url) as other:
        take(client, 1)
        take(other, 1)  # it shares the first one's read
        gate.set()
        for each in (client, other):
            output = take_all(each)
            assert output.endswith(b"!reset")
            assert len(output.partition(b"\r\n\r\n")[2].removesuffix(b"!reset")) < len(LARGE)
    assert "headend_origin_broken_answers_total 2.0" in ask(url, "/metrics").body.decode()
    assert ask(url, SEGMENT).body == LARGE  # nothing of it was cached


@pytest.mark.parametrize("size", [0, 1, len(LARGE) - 1, len(LARGE) + 1])
def test_an_object_of_another_size_is_refused_before_its_first_byte(s3: FaultyS3, url: str, size: int) -> None:
    s3.faults.append(claims((LARGE + b"x")[:size]))
    assert ask(url, SEGMENT).status == 502


@pytest.mark.parametrize(
    ("status", "answer", "requests"), [(404, 404, 1), (403, 502, 1), (400, 502, 1), (301, 502, 1), (500, 503, 3)]
)
def test_refusals_of_the_server_become_a_status_without_following_redirects(
    s3: FaultyS3, url: str, status: int, answer: int, requests: int
) -> None:
    s3.faults += [refuses(status, f"{s3.url}/elsewhere")] * 3
    assert ask(url, SEGMENT).status == answer
    assert len(s3.starts_of(KEY)) == requests
    assert not s3.starts_of("elsewhere") and not s3.starts_of("/elsewhere")


def test_a_read_from_a_server_that_stalls_times_out(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "STALL_S", 0.2)
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)
    gate = threading.Event()
    s3.faults.append(waits_half_way(gate))
    with running(StoreSettings(f"s3://{BUCKET}", s3.url)) as impatient, asks(impatient) as client:
        output = take_all(client)
        gate.set()
    assert output.endswith(b"!reset")
    assert len(output) < len(LARGE)


def test_a_read_from_a_server_that_trickles_times_out(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "STALL_S", 0.5)
    monkeypatch.setattr(bucket, "MIN_BYTES_PER_S", 10 << 20)
    s3.faults += [trickles(pause_s=0.1)] * 3
    with running(StoreSettings(f"s3://{BUCKET}", s3.url)) as impatient:
        started_s = time.monotonic()
        with asks(impatient) as client:
            output = take_all(client)
        assert time.monotonic() - started_s < 15
    assert output.endswith(b"!reset") or b" 503 " in output


@pytest.mark.usefixtures("s3")
def test_all_reads_share_one_request_for_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    new_signer = bucket.Bucket._new_signer

    def slow_new_signer(self: bucket.Bucket) -> Signer:
        asked.append(time.monotonic())
        time.sleep(0.2)
        return new_signer(self)

    monkeypatch.setattr(bucket.Bucket, "_new_signer", slow_new_signer)
    store = MemoryStore()
    put_release(store, segments=tuple(bytes([number]) * 1000 for number in range(64)))
    with faulty_s3(store) as busy, running(StoreSettings(f"s3://{BUCKET}", busy.url)) as url:
        paths = [f"/{TITLE}/tracks/{PICTURE}/{number}.m4s" for number in range(1, 65)]
        with ThreadPoolExecutor(32) as clients:
            assert {got.status for got in clients.map(lambda path: ask(url, path), paths)} == {200}
    assert len(asked) == 1


def test_while_the_bucket_is_unreachable_files_in_memory_are_served(s3: FaultyS3, url: str) -> None:
    assert ask(url, SEGMENT).body == LARGE
    assert ask(url, f"/{TITLE}/releases/{RELEASE}/multivariant.m3u8").status == 200
    s3.faults += [refuses(503)] * 100
    assert ask(url, SEGMENT.replace("1.m4s", "2.m4s")).status == 503
    assert ask(url, SEGMENT).body == LARGE
    assert ask(url, f"/{TITLE}/releases/{RELEASE}/multivariant.m3u8").status == 200


def test_the_origin_can_stop_during_a_read(s3: FaultyS3) -> None:
    gate = threading.Event()
    s3.faults.append(waits_half_way(gate))
    with ThreadPoolExecutor(2) as threads:
        with running(StoreSettings(f"s3://{BUCKET}", s3.url)) as base_url:
            client = asks(base_url)
            start = take(client, 1)
            rest = threads.submit(take_all, client)
            threads.submit(gate.set)
        with client:
            assert start + rest.result() == LARGE  # finished first


@pytest.mark.parametrize("server", ["rclone_s3", "moto_s3"])
@pytest.mark.parametrize("prefix", ["", "/a b/c+d"])
def test_real_servers_take_the_signatures(server: str, prefix: str, request: pytest.FixtureRequest) -> None:
    found: LocalS3 = request.getfixturevalue(server)
    settings = StoreSettings(f"s3://{BUCKET}{prefix}", found.endpoint_url)
    put_release(open_store(settings), segments=(LARGE,))
    with running(settings, settings=OriginSettings(cache_bytes=1)) as url:
        assert ask(url, SEGMENT).body == LARGE
        assert ask(url, SEGMENT, {"Range": "bytes=5-"}).body == LARGE[5:]


def test_a_refusal_is_explained_without_the_credentials(
    s3: FaultyS3, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    s3.faults.append(refuses(403))
    assert ask(url, SEGMENT).status == 502
    assert "check the endpoint and what the credentials allow" in caplog.text
    assert "AKIA" not in caplog.text and "a-secret" not in caplog.text
