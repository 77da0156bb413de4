"""Clients that request missing objects, and stores with very many titles, don't slow down others."""

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headend.core import layout
from headend.core.errors import StoreUnavailable
from headend.core.http import sending
from headend.core.storage.local import LocalStore
from headend.core.storage.memory import MemoryStore
from origin.serving import OriginSettings, running
from tests.origin.grants import CLOSED, token
from tests.origin.releases import INIT, PICTURE, RELEASE, SEGMENTS, TITLE, WatchedStore, ask, put_release
from tests.support.command_line import serving

SEGMENT = f"/{TITLE}/tracks/{PICTURE}/1.m4s"


class SlowStore(WatchedStore):
    """Takes a while for each read."""

    def _read(self, what: str) -> None:
        time.sleep(0.05)
        super()._read(what)


def test_honest_clients_are_served_while_hundreds_ask_for_random_names() -> None:
    store = SlowStore()
    for number in range(4):
        put_release(store, title=f"title-{number}")
    stop = threading.Event()

    with running(store) as url:
        begun = threading.Semaphore(0)

        def annoy(client: int) -> int:
            asked = 0
            while not stop.is_set():
                for path in (
                    f"/random-{client}-{asked}/multivariant.m3u8",
                    f"/title-0/releases/{client}-{asked}/multivariant.m3u8",
                    f"/title-1/tracks/avc-{client}-{asked}/1.m4s",
                    f"/random-{client}-{asked}/tracks/avc/1.m4s",
                ):
                    assert ask(url, path).status in (404, 503)
                asked += 1
                begun.release()
            return asked

        with ThreadPoolExecutor(60) as clients:
            annoying = [clients.submit(annoy, number) for number in range(48)]
            for _ in range(101):
                assert begun.acquire(timeout=60)
            honest = [
                clients.submit(ask, url, f"/title-{title}/tracks/{PICTURE}/{number}.m4s")
                for title in range(4)
                for number in (1, 2, 3)
            ]
            try:
                assert [got.result().status for got in honest] == [200] * 12
            finally:
                stop.set()
            assert sum(each.result() for each in annoying) > 100
    reads = {name for name in store.reads if "random" in name or "avc-" in name.replace(PICTURE, "")}
    assert not reads


@pytest.mark.parametrize("title", ["ready", "health", "healthz", "titles", "livez", "metrics", "watch"])
def test_a_title_may_have_any_name(title: str) -> None:
    store = WatchedStore()
    put_release(store, title=title)
    with running(store) as url:
        for _ in range(2):
            assert ask(url, "/readyz").status == 200
            entry = ask(url, f"/{title}/multivariant.m3u8")
            assert entry.headers["location"] == f"releases/{RELEASE}/multivariant.m3u8"
        store.fault = StoreUnavailable("gone")
        assert ask(url, "/readyz").status == 503
        assert ask(url, f"/{title}/multivariant.m3u8").headers["location"].startswith(f"releases/{RELEASE}/")


@pytest.mark.parametrize("damage", [INIT[:-1], INIT[:-1] + b"x", INIT + b"x", b""])
def test_a_corrupt_init_segment_is_not_served(store: WatchedStore, damage: bytes) -> None:
    store.put(layout.track_init(TITLE, PICTURE), damage)
    with running(store) as url:
        got = ask(url, f"/{TITLE}/tracks/{PICTURE}/init.mp4")
        assert (got.status, got.headers["cache-control"]) == (502, "no-store")
        store.put(layout.track_init(TITLE, PICTURE), INIT)
        assert ask(url, f"/{TITLE}/tracks/{PICTURE}/init.mp4").body == INIT


def test_a_hot_title_costs_no_read_with_tokens_even_if_no_index_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("origin.library.MIN_INDEX_BYTES", 1)
    store = WatchedStore()
    put_release(store)
    with running(store, settings=OriginSettings(keys=CLOSED.keys, cache_bytes=1 << 20)) as url:
        path = f"/t/{token(max_height_px=1080)}{SEGMENT}"
        assert ask(url, path).body == SEGMENTS[0]
        before = store.reads.total()
        for _ in range(20):
            assert ask(url, path).body == SEGMENTS[0]
        assert store.reads.total() == before


def test_ten_thousand_titles_delay_neither_the_port_nor_the_front_page(tmp_path: Path) -> None:
    marks = tmp_path / layout.PUBLISHED
    marks.mkdir()
    for number in range(10_000):
        (marks / f"title-{number:05}").touch()
    put_release(LocalStore(tmp_path))
    with serving("serve", "--store", tmp_path) as (url, _):
        assert b'"next":"?after=title-00' in ask(url, "/").body
        assert ask(url, SEGMENT).body == SEGMENTS[0]
        assert ask(url, "/?after=title-09998").body.count(b'"title"') == 1


def test_a_store_of_many_titles_is_listed_once_for_all_pages() -> None:
    store = WatchedStore(MemoryStore())
    for number in range(300):
        store.put(layout.published(f"title-{number:03}"), b"")
    with running(store) as url:
        titles, after = 0, ""
        while after is not None:
            page = ask(url, f"/{after}").body
            titles += page.count(b'"title"')
            after = page.split(b'"next":"')[1].split(b'"')[0].decode() if b'"next"' in page else None  # type: ignore[assignment]
    assert titles == 300
    assert store.reads.total() == 1


def test_a_cold_page_is_read_in_a_thread_and_not_by_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = os.urandom(3 << 20)
    put_release(LocalStore(tmp_path), segments=(body,))
    path = tmp_path / layout.track_segment(TITLE, PICTURE, 1)
    read: list[str] = []
    ahead = sending.os.pread

    def watched(fd: int, length: int, position: int) -> bytes:
        if length >= 1 << 16:
            read.append(threading.current_thread().name)
        return ahead(fd, length, position)

    with running(LocalStore(tmp_path)) as url:
        assert ask(url, SEGMENT).body == body
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            try:
                os.preadv(file.fileno(), [bytearray(1)], 1 << 20, os.RWF_NOWAIT)
            except BlockingIOError:
                pass
            except OSError:
                pytest.skip("this file system does not say what is in memory")
            else:
                pytest.skip("the kernel keeps this file in memory")
        monkeypatch.setattr(sending.os, "pread", watched)
        assert ask(url, SEGMENT).body == body
        monkeypatch.undo()
    assert read and "origin" not in read, read


def test_one_client_that_asks_for_many_cold_files_leaves_room_for_others(
    store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connect from another loopback address."""
    monkeypatch.setattr("origin.reads.QUEUE_PER_CLIENT", 8)
    put_release(store, segments=tuple(bytes([number]) * 10 for number in range(200)))
    with running(store, host="0.0.0.0") as url:
        port = int(url.rpartition(":")[2])
        base = f"http://127.0.0.1:{port}"
        assert ask(base, SEGMENT).status == 200
        store.gate.clear()
        greedy = []
        for number in range(2, 14):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(f"GET /{TITLE}/tracks/{PICTURE}/{number}.m4s HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            greedy.append(client)
        refused = [client for client in greedy if b" 503 " in _peek(client)]
        assert len(refused) == 4
        with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0)) as honest:
            honest.sendall(
                f"GET /{TITLE}/tracks/{PICTURE}/150.m4s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
            )
            store.gate.set()
            assert honest.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        for client in greedy:
            client.close()


def _peek(client: socket.socket) -> bytes:
    client.settimeout(0.2)
    try:
        return client.recv(1 << 12)
    except TimeoutError:
        return b""
