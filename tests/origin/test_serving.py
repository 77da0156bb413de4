import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
import yarl

from headend.core import layout
from headend.core.errors import ConfigError, StorageError, StoreUnavailable
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from headend.core.storage.local import LocalStore
from headend.core.storage.local_server import LocalS3
from origin.serving import running, serve
from tests.origin.releases import INIT, PICTURE, RELEASE, SEGMENTS, SOUND, TITLE, WatchedStore, ask, put_release
from tests.support.s3_servers import BUCKET
from tests.support.waiting import wait_until

ROOT = f"/{TITLE}/releases/{RELEASE}"
TRACKS = f"/{TITLE}/tracks"
SEGMENT = f"{TRACKS}/{PICTURE}/1.m4s"

PROGRAM = """
import sys
from headend.core.settings import StoreSettings
from origin.serving import OriginSettings, serve
serve(
    StoreSettings(sys.argv[1]),
    port=0,
    on_ready=lambda url: print(url, flush=True),
    settings=OriginSettings(access_log="log" in sys.argv, linger_s=3.0 if "linger" in sys.argv else 0.0),
)
"""


@contextmanager
def program(folder: Path, *flags: str) -> Iterator["tuple[subprocess.Popen[str], str]"]:
    argv = [sys.executable, "-c", PROGRAM, str(folder), *flags]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield child, child.stdout.readline().strip()
        finally:
            child.kill()


def fetch_all(urls: Sequence[str]) -> list[bytes]:
    async def main() -> list[bytes]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def fetch(url: str) -> bytes:
                async with session.get(url) as answer:
                    answer.raise_for_status()
                    return await answer.read()

            return await asyncio.gather(*map(fetch, urls))

    return asyncio.run(main())


def test_a_folder_is_served(tmp_path: Path) -> None:
    put_release(LocalStore(tmp_path))
    with running(StoreSettings(str(tmp_path))) as url:
        assert ask(url, SEGMENT).body == SEGMENTS[0]


def test_a_client_that_follows_the_entry_point_resolves_relative_uris_rightly(store: WatchedStore) -> None:
    async def follow(url: str) -> bytes:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/{TITLE}/multivariant.m3u8") as answer:
                base = answer.url
            async with session.get(base.join(yarl.URL(f"../../tracks/{SOUND}/init.mp4"))) as answer:
                return await answer.read()

    with running(store) as url:
        assert asyncio.run(follow(url)) == INIT


def test_a_hundred_players_on_a_cold_segment_cause_one_read(store: WatchedStore) -> None:
    with running(store) as url:
        bodies = fetch_all([f"{url}{SEGMENT}"] * 100)
    assert bodies == [SEGMENTS[0]] * 100
    assert store.reads[layout.track_segment(TITLE, PICTURE, 1)] == 1


def test_a_bucket_is_served_with_one_read_per_cold_segment(rclone_s3: LocalS3) -> None:
    settings = StoreSettings(f"s3://{BUCKET}/origin", rclone_s3.endpoint_url)
    store = WatchedStore(open_store(settings))
    put_release(store)
    with running(store) as url:
        assert fetch_all([f"{url}{SEGMENT}"] * 50) == [SEGMENTS[0]] * 50
        assert ask(url, f"/{TITLE}/multivariant.m3u8").headers["location"] == f"releases/{RELEASE}/multivariant.m3u8"
    assert store.reads[layout.track_segment(TITLE, PICTURE, 1)] == 1


def test_while_the_store_is_unreachable_cached_objects_are_served(store: WatchedStore) -> None:
    with running(store) as url:
        ask(url, f"/{TITLE}/manifest.mpd")
        ask(url, SEGMENT)
        store.fault = StoreUnavailable("s3://films can't be reached at https://secret.example")
        cold = ask(url, f"{TRACKS}/{PICTURE}/2.m4s")
        assert (cold.status, cold.headers["retry-after"], cold.headers["cache-control"]) == (503, "2", "no-store")
        assert cold.body == b'{"error": "service unavailable"}\n'
        assert ask(url, "/readyz").status == 503
        assert ask(url, "/livez").status == 200
        assert ask(url, SEGMENT).body == SEGMENTS[0]
        assert ask(url, f"/{TITLE}/manifest.mpd").status == 200
        store.fault = None
        assert ask(url, f"{TRACKS}/{PICTURE}/2.m4s").body == SEGMENTS[1]
        assert ask(url, "/readyz").status == 200


def test_a_bucket_that_can_not_be_reached_is_503(rclone_s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rclone_s3  # for the credentials
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setattr("headend.core.storage.s3.MAX_ATTEMPTS", 1)
    with running(StoreSettings(f"s3://{BUCKET}", f"http://127.0.0.1:{port}")) as url:
        assert ask(url, f"/{TITLE}/manifest.mpd").status == 503
        assert ask(url, "/readyz").status == 503


def test_a_store_that_refuses_is_502(store: WatchedStore) -> None:
    store.fault = StorageError("access denied for AKIAEXAMPLE")
    with running(store) as url:
        got = ask(url, SEGMENT)
    assert (got.status, got.body) == (502, b'{"error": "bad gateway"}\n')


def test_an_unexpected_error_is_a_constant_500_and_the_process_continues(store: WatchedStore) -> None:
    with running(store) as url:
        store.fault = ValueError("secret")  # type: ignore[assignment]
        got = ask(url, SEGMENT)
        assert (got.status, got.body) == (500, b'{"error": "internal server error"}\n')
        store.fault = None
        assert ask(url, SEGMENT).body == SEGMENTS[0]


def test_a_damaged_segment_is_502_and_its_bytes_are_not_sent(store: WatchedStore) -> None:
    store.put(layout.track_segment(TITLE, PICTURE, 1), SEGMENTS[0][:100])
    with running(store) as url:
        got = ask(url, SEGMENT)
        assert (got.status, got.headers["cache-control"]) == (502, "no-store")
        assert 'reads_total{result="damaged"} 1.0' in ask(url, "/metrics").body.decode()


def test_a_busy_port_is_named_with_what_to_do(store: WatchedStore) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is in use: choose another with --port"):
            serve(store, port=port)
        with pytest.raises(ConfigError, match="is in use"), running(store, port=port):
            pass


@pytest.mark.parametrize(
    ("host", "port", "line"),
    [
        ("192.0.2.1", 0, "192.0.2.1 is not an address of this machine: choose another with --host"),
        (
            "no.such.host.invalid",
            0,
            "no.such.host.invalid can't be resolved: choose an address of this machine with --host",
        ),
        ("127.0.0.1", 99999, "can't listen on 127.0.0.1, port 99999"),
    ],
)
def test_an_address_that_can_not_be_listened_on_is_a_usage_error(
    store: WatchedStore, host: str, port: int, line: str
) -> None:
    with pytest.raises(ConfigError, match=line):
        serve(store, host=host, port=port)


def test_ipv6_is_served(store: WatchedStore) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with running(store, host="::1") as url:
        assert url.startswith("http://[::1]:")
        assert ask(url, "/livez").status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_finished_before_the_program_ends(tmp_path: Path, number: signal.Signals) -> None:
    large = bytes(range(256)) * (64 << 10)
    put_release(LocalStore(tmp_path), segments=(large,))
    with program(tmp_path) as (child, url):
        place = urlsplit(url)
        with closing(HTTPConnection(place.hostname or "", place.port, timeout=30)) as connection:
            connection.request("GET", SEGMENT)
            answer = connection.getresponse()
            begun = answer.read(1 << 20)
            child.send_signal(number)
            wait_until(lambda: not _is_listening(url), "the end of listening")
            assert begun + answer.read() == large
        assert child.wait(30) == 0


def test_readyz_fails_before_the_origin_stops(tmp_path: Path) -> None:
    put_release(LocalStore(tmp_path))
    with program(tmp_path, "linger") as (child, url):
        assert ask(url, "/readyz").status == 200
        child.send_signal(signal.SIGTERM)
        wait_until(lambda: ask(url, "/readyz").status == 503, "the answer 503 of /readyz")
        last = ask(url, SEGMENT)
        assert (last.status, last.body, last.headers["connection"]) == (200, SEGMENTS[0], "close")
        assert child.wait(30) == 0


def test_the_access_log_has_a_line_for_each_request_and_no_secrets(tmp_path: Path) -> None:
    put_release(LocalStore(tmp_path))
    with program(tmp_path, "log") as (child, url):
        ask(url, f"{SEGMENT}?token=secret", {"Authorization": "secret"})
        ask(url, "/secret/of/a/stranger")
        child.send_signal(signal.SIGTERM)
        output, _ = child.communicate(timeout=30)
    assert "secret" not in output
    segment, stranger = (json.loads(line) for line in output.splitlines())
    assert (segment["route"], segment["status"], segment["sent_bytes"]) == ("segment", 200, len(SEGMENTS[0]))
    assert (segment["path"], segment["method"]) == (SEGMENT, "GET")
    assert (stranger["route"], stranger["status"], stranger["path"]) == ("other", 404, "")


def _is_listening(url: str) -> bool:
    place = urlsplit(url)
    try:
        socket.create_connection((place.hostname or "", place.port or 0), timeout=5).close()
    except OSError:
        return False
    return True
