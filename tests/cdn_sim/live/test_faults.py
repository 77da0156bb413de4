"""Faults among real processes: killed servers, a full disk, upstreams that are slow or down."""

import asyncio
import io
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from cdn_sim.live.steering_server import SteeringSettings
from cdn_sim.live.steering_server import running as steering_running
from cdn_sim.live.titles import Level, LiveTitle
from cdn_sim.live.watching import Audience, Viewer, _Playing
from cdn_sim.pathways import SteeringMap, parse_edge
from cdn_sim.request_logs.decisions import DecisionLog, LoggedPolicy, parse, verify
from headend.core.http.listening import listen
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from headend.core.storage.local_server import rclone_server
from origin.serving import running as origin_running
from tests.cdn_sim.live.faulty_origin import FaultyOrigin, files, path_of, running, segment
from tests.cdn_sim.live.test_edge import get, metric
from tests.origin.releases import PICTURE, RELEASE, SEGMENTS, TITLE, put_release
from tests.support.command_line import serving
from tests.support.s3_servers import BUCKET, with_credentials
from tests.support.waiting import wait_until

DISK_BYTES = 500 << 10


@pytest.fixture
def origin() -> Iterator[FaultyOrigin]:
    with running(FaultyOrigin()) as faulty_origin:
        yield faulty_origin


def edge(origin: str, folder: Path, *words: str) -> tuple[str, ...]:
    return ("edge", "--origin", origin, "--disk", str(folder / "disk"), "--decisions", str(folder / "log"), *words)


def test_an_edge_that_is_killed_during_a_fetch_restarts_with_complete_objects_only(tmp_path: Path) -> None:
    with running(FaultyOrigin(size_bytes=2_000_000)) as origin:
        release = threading.Event()

        class Pause:
            @staticmethod
            async def wait() -> None:
                await asyncio.to_thread(release.wait, 30)

        with serving(*edge(origin.url, tmp_path)) as (url, child):
            assert get(url + path_of("film", 1))[0] == 200
            origin.pause = Pause()  # type: ignore[assignment]
            client = threading.Thread(target=_try, args=(url + path_of("film", 2),))
            client.start()
            wait_until(lambda: origin.asked[path_of("film", 2)], "the edge's request")
            time.sleep(0.2)
            child.send_signal(signal.SIGKILL)
            client.join(20)
        release.set()
        origin.pause = None
        origin.asked.clear()
        with serving(*edge(origin.url, tmp_path)) as (url, _):
            assert not [name for name in files(tmp_path / "disk") if ".arriving" in name]
            for number in (1, 2):
                assert get(url + path_of("film", number))[1] == segment("film", number, 2_000_000)
            assert (origin.asked[path_of("film", 1)], origin.asked[path_of("film", 2)]) == (0, 1)
    with (tmp_path / "log").open() as lines:
        assert verify(parse(lines, "log"), "log").different == 0


def _try(url: str) -> None:
    try:
        get(url)
    except OSError:
        pass
    except Exception as error:
        assert "IncompleteRead" in repr(error)


def small_disk(folder: Path) -> tuple[str, ...]:
    """Words that run a program with its own small file system at a folder; skips if this user may not mount one."""
    folder.mkdir()
    mount = f"mount -t tmpfs -o size={DISK_BYTES} tmpfs {folder}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("this user can't have a file system of its own")
    return ("unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh")


def test_with_a_full_disk_objects_are_served_without_being_cached(tmp_path: Path) -> None:
    with (
        running(FaultyOrigin(size_bytes=200_000)) as origin,
        serving(*edge(origin.url, tmp_path), inside=small_disk(tmp_path / "disk")) as (url, _),
    ):
        for _ in range(2):
            for number in range(1, 5):
                assert get(url + path_of("film", number))[1] == segment("film", number, 200_000)
        assert metric(url, "headend_edge_no_room_total") > 0
        assert 200_000 < metric(url, "headend_edge_disk_bytes") <= DISK_BYTES
        assert metric(url, 'headend_edge_decisions_total{decision="hit"') > 0
    with (tmp_path / "log").open() as lines:
        assert verify(parse(lines, "log"), "log").different == 0


def test_a_killed_shield_is_bypassed(origin: FaultyOrigin, tmp_path: Path) -> None:
    (tmp_path / "shield").mkdir()
    with (
        serving(*edge(origin.url, tmp_path / "shield", "--tier", "shield")) as (shield, child),
        serving(*edge(origin.url, tmp_path, "--shield", shield)) as (url, _),
    ):
        assert get(url + path_of("film", 1))[0] == 200
        child.kill()
        child.wait()
        for number in range(2, 8):
            assert get(url + path_of("film", number))[1] == segment("film", number)
        assert metric(url, 'headend_edge_fetched_bytes_total{from="origin"}') > 0
        assert metric(url, 'headend_edge_decisions_total{decision="failed"') == 0


def test_while_the_origin_is_down_cached_objects_are_served_and_others_fail_at_once(tmp_path: Path) -> None:
    with running(FaultyOrigin(caching="public, max-age=0")) as origin, serving(*edge(origin.url, tmp_path)) as (url, _):
        for path in ("/film/multivariant.m3u8", path_of("film", 1)):
            assert get(url + path)[0] == 200
        origin.status = 500
        assert get(url + path_of("film", 2))[0] == 502
    gone = f"http://127.0.0.1:{_closed_port()}"
    with serving(*edge(gone, tmp_path)) as (url, _):
        began_s = time.monotonic()
        assert get(f"{url}/film/multivariant.m3u8")[0] == 502
        assert time.monotonic() - began_s < 5
        assert get(f"{url}/readyz")[0] == 200


def _closed_port() -> int:
    [listener] = listen("127.0.0.1", 0)
    with listener:
        return int(listener.getsockname()[1])


def test_a_slow_origin_delays_only_requests_for_uncached_objects(origin: FaultyOrigin, tmp_path: Path) -> None:
    with serving(*edge(origin.url, tmp_path)) as (url, _):
        assert get(url + path_of("film", 1))[0] == 200
        release = threading.Event()

        class Pause:
            @staticmethod
            async def wait() -> None:
                await asyncio.to_thread(release.wait, 30)

        origin.pause = Pause()  # type: ignore[assignment]
        waiting = [threading.Thread(target=get, args=(url + path_of("film", number),)) for number in range(2, 12)]
        for thread in waiting:
            thread.start()
        for _ in range(20):
            assert get(url + path_of("film", 1))[1] == segment("film", 1)
        assert all(thread.is_alive() for thread in waiting)
        release.set()
        for thread in waiting:
            thread.join(20)
        assert metric(url, 'headend_edge_decisions_total{decision="failed"') == 0


def test_without_the_steering_server_playback_continues_unchanged() -> None:
    async def play() -> tuple[tuple[str, ...], tuple[str, ...]]:
        steering_map = SteeringMap((parse_edge("north/1=http://127.0.0.2:8081"),), ttl_s=1)
        title = LiveTitle("film", "/film/multivariant.m3u8", 1000.0, {"avc": (Level(1.0, ("/a",)),)}, ())
        viewer = Viewer(0.0, title, "avc", None, 1, 0, 0, 1000.0, 1000.0, 1.0, 1)
        with steering_running(SteeringSettings(steering_map, check_s=60)) as url:
            audience = Audience(url, "127.0.0.1")
            playing = _Playing(audience, viewer)
            playing._pathways, playing._hosts = ("north.1",), {"north.1": "127.0.0.2:8081"}
        await playing._steer()  # no upstream answers any more
        found = playing._pathways
        await playing._steer()
        await audience.close()
        return found, playing._pathways

    assert asyncio.run(play()) == (("north.1",), ("north.1",))


def test_an_edge_serves_cached_objects_while_the_origins_bucket_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = StoreSettings(f"s3://{BUCKET}")
    with ExitStack() as stack:
        s3 = stack.enter_context(rclone_server(tmp_path / "s3", buckets=[BUCKET]))
        settings = replace(settings, endpoint_url=with_credentials(s3, monkeypatch).endpoint_url)
        put_release(open_store(settings))
        with origin_running(settings) as origin, serving(*edge(origin, tmp_path)) as (url, _):
            kept = f"/{TITLE}/tracks/{PICTURE}/1.m4s"
            manifest = f"/{TITLE}/releases/{RELEASE}/multivariant.m3u8"
            before = get(url + kept)[:2], get(url + manifest)[:2]
            assert before[0] == (200, SEGMENTS[0])
            stack.close()  # the S3 server is down
            for _ in range(3):
                assert (get(url + kept)[:2], get(url + manifest)[:2]) == before
            assert get(f"{url}/{TITLE}/tracks/{PICTURE}/2.m4s")[0] == 502


def test_a_log_can_be_replayed_after_the_clock_was_set_back() -> None:
    times = iter([5_000, 9_000, 1_000, 800, 10**13, 2_000, 2_000, 2_000])
    stream = io.StringIO()
    policy = LoggedPolicy("slru", 100, DecisionLog(stream), lambda: next(times))
    for key in ("a", "b", "c", "a", "d"):
        policy.request(f"film/track/{key}", 40)
    found = verify(parse(stream.getvalue().splitlines(keepends=True), "log"), "log")
    assert (found.requests, found.different) == (5, 0)
