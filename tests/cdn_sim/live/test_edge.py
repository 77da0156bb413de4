import asyncio
import gzip
import hashlib
import http.client
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from cdn_sim.live.edge import Edge
from cdn_sim.live.serving import EdgeSettings
from cdn_sim.live.serving import running as edge_running
from cdn_sim.request_logs.decisions import parse, verify
from headend.core.errors import ConfigError
from headend.core.http.requests import Request
from headend.core.http.responses import Response
from tests.cdn_sim.live.faulty_origin import FaultyOrigin, files, path_of, running, segment


@pytest.fixture
def origin() -> Iterator[FaultyOrigin]:
    with running(FaultyOrigin()) as faulty_origin:
        yield faulty_origin


@pytest.fixture
def settings(origin: FaultyOrigin, tmp_path: Path) -> EdgeSettings:
    return EdgeSettings(origin.url, tmp_path / "disk", 10_000_000, name="one", decisions=tmp_path / "decisions.log")


def get(url: str, **headers: str) -> tuple[int, bytes, Message]:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def metric(url: str, name: str) -> float:
    lines = get(f"{url}/metrics")[1].decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_a_segment_is_fetched_once_and_then_served_from_the_disk(origin: FaultyOrigin, settings: EdgeSettings) -> None:
    with edge_running(settings) as url:
        for _ in range(3):
            status, body, headers = get(url + path_of("film", 7))
            assert (status, body) == (200, segment("film", 7))
            assert headers["ETag"] == f'"{hashlib.sha256(body).hexdigest()}"'
            assert "immutable" in headers["Cache-Control"] and headers["Age"].isdigit()
            assert headers["Last-Modified"] == "Sat, 28 Nov 2026 12:00:00 GMT"
        assert origin.asked[path_of("film", 7)] == 1
        assert 'decision="hit"' in get(f"{url}/metrics")[1].decode()
    assert files(settings.disk) == [path_of("film", 7).strip("/").replace("/tracks", "")]


def test_the_edge_answers_ranges_and_conditions_itself(origin: FaultyOrigin, settings: EdgeSettings) -> None:
    with edge_running(settings) as url:
        whole = get(url + path_of("film", 1))
        assert get(url + path_of("film", 1), Range="bytes=10-19")[:2] == (206, whole[1][10:20])
        assert get(url + path_of("film", 1), If_None_Match=whole[2]["ETag"])[0] == 304
        assert get(url + path_of("film", 1), Range="bytes=9999999-")[0] == 416
    assert origin.asked[path_of("film", 1)] == 1


def test_a_thousand_clients_on_a_cold_segment_make_one_request(origin: FaultyOrigin, settings: EdgeSettings) -> None:
    async def ask(session: aiohttp.ClientSession, url: str) -> bytes:
        async with session.get(url) as answer:
            assert answer.status == 200
            return await answer.read()

    async def crowd(url: str) -> set[bytes]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            return set(await asyncio.gather(*(ask(session, url + path_of("film", 2)) for _ in range(1000))))

    with edge_running(settings) as url:
        assert asyncio.run(crowd(url)) == {segment("film", 2)}
    assert origin.asked[path_of("film", 2)] == 1


def test_the_first_byte_is_forwarded_before_the_last_one_has_arrived(settings: EdgeSettings) -> None:
    slow = FaultyOrigin(size_bytes=2_000_000)
    with running(slow) as origin, edge_running(replace(settings, origin=origin.url)) as url:
        started, release = threading.Event(), threading.Event()

        async def pause() -> None:
            started.set()
            await asyncio.to_thread(release.wait, 20)

        class Pause:
            wait = staticmethod(pause)

        origin.pause = Pause()  # type: ignore[assignment]
        with urllib.request.urlopen(url + path_of("film", 3), timeout=20) as answer:
            first = answer.read(1000)
            assert started.wait(5) and not release.is_set()
            release.set()
            assert first + answer.read() == segment("film", 3, 2_000_000)


def test_damaged_objects_are_never_served_completely_and_never_cached(
    origin: FaultyOrigin, settings: EdgeSettings
) -> None:
    with edge_running(settings) as url:
        origin.damage = True
        try:
            status = get(url + path_of("film", 4))[0]
        except (http.client.IncompleteRead, ConnectionError):
            status = 502  # bytes were already sent to the client when the digest turned out wrong
        assert status == 502
        assert metric(url, "headend_edge_damaged_total") == 1
        assert files(settings.disk) == []
        origin.damage = False
        assert get(url + path_of("film", 4))[1] == segment("film", 4)


def test_an_interrupted_body_continues_from_the_next_upstream(origin: FaultyOrigin, settings: EdgeSettings) -> None:
    with running(FaultyOrigin(cut=True)) as shield:
        with edge_running(replace(settings, shield=shield.url)) as url:
            assert get(url + path_of("film", 5))[1] == segment("film", 5)
        assert origin.headers[path_of("film", 5)]["Range"].startswith("bytes=")


def test_a_restart_reuses_the_disk_and_checks_it(origin: FaultyOrigin, settings: EdgeSettings) -> None:
    with edge_running(settings) as url:
        for number in range(1, 6):
            get(url + path_of("film", number))
    damaged = settings.disk / "film" / path_of("film", 2).split("/")[3] / "2.m4s"
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    origin.asked.clear()
    with edge_running(settings) as url:
        for number in range(1, 6):
            assert get(url + path_of("film", number))[1] == segment("film", number)
    assert origin.asked[path_of("film", 1)] == 0
    assert origin.asked[path_of("film", 2)] == 1


def test_a_cache_entry_that_is_not_a_regular_file_is_replaced_without_waiting_for_it(
    origin: FaultyOrigin, settings: EdgeSettings, tmp_path: Path
) -> None:
    with edge_running(settings) as url:
        for number in range(1, 6):
            get(url + path_of("film", number))
    objects = [settings.disk / "film" / path_of("film", 1).split("/")[3] / f"{number}.m4s" for number in range(1, 6)]
    for path in objects:
        path.unlink()
    os.mkfifo(objects[0])
    objects[1].mkdir()
    (tmp_path / "secret").write_bytes(segment("film", 3))
    objects[2].symlink_to(tmp_path / "secret")
    objects[3].touch()
    origin.asked.clear()
    with edge_running(settings) as url:
        for _ in range(2):
            for number in range(1, 6):
                assert get(url + path_of("film", number))[1] == segment("film", number)
    assert {number: origin.asked[path_of("film", number)] for number in (1, 3, 4, 5)} == {1: 1, 3: 1, 4: 1, 5: 1}
    assert (tmp_path / "secret").read_bytes() == segment("film", 3)


def test_a_manifest_in_memory_is_answered_without_asking_the_application(
    settings: EdgeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    respond = Edge.respond

    async def watched(edge: Edge, request: Request) -> tuple[str, Response]:
        asked.append(request.target)
        return await respond(edge, request)

    monkeypatch.setattr(Edge, "respond", watched)
    path = "/film/multivariant.m3u8"
    with edge_running(settings) as url:
        first = get(url + path)
        client = http.client.HTTPConnection(url.removeprefix("http://"))
        for headers in ({}, {"Accept-Encoding": "br"}, {"If-None-Match": first[2]["ETag"]}, {"Range": "bytes=0-3"}):
            answers = []
            for _ in range(2):
                client.request("GET", path, headers=headers)
                with client.getresponse() as answer:
                    answers.append((answer.status, answer.getheader("Content-Encoding"), answer.read()))
            assert answers[0] == answers[1]
        client.close()
    assert answers[0][0] == 206
    # The application answers each question once, and parts always; the first two are the same question.
    assert asked == [path] * 5


def test_the_disk_follows_the_policy_and_the_log_replays_to_the_same_decisions(settings: EdgeSettings) -> None:
    small = replace(settings, disk_bytes=400_000)
    for _ in range(2):  # with a restart in between
        with edge_running(small) as url:
            for number in [*range(1, 12), *range(1, 4), *range(1, 12)]:
                assert get(url + path_of("film", number))[0] == 200
            used = metric(url, "headend_edge_disk_bytes")
            assert used <= 400_000
        kept = sum((small.disk / name).stat().st_size for name in files(small.disk))
        assert kept == used
    assert small.decisions is not None
    with small.decisions.open() as lines:
        found = verify(parse(lines, "log"), "log")
    assert (found.different, found.starts) == (0, 2)
    assert found.requests >= 50 and found.hits > 0


def test_documents_follow_their_cache_control(origin: FaultyOrigin, settings: EdgeSettings) -> None:
    path = "/film/multivariant.m3u8"
    with edge_running(settings) as url:
        for _ in range(3):
            assert get(url + path)[:2] == (200, origin.playlist)
        assert origin.asked[path] == 1
        assert int(get(url + path)[2]["Age"]) >= 0
        origin.caching = "public, max-age=0"
        assert get(url + "/other/multivariant.m3u8")[0] == 200
        assert get(url + "/other/multivariant.m3u8")[0] == 200
        assert origin.asked["/other/multivariant.m3u8"] == 2
        assert origin.headers["/other/multivariant.m3u8"]["If-None-Match"], (
            "the second one only asks whether it changed"
        )


def test_without_upstream_stale_documents_and_cached_segments_are_served(
    origin: FaultyOrigin, settings: EdgeSettings
) -> None:
    origin.caching = "public, max-age=0"
    with edge_running(settings) as url:
        assert get(url + "/film/multivariant.m3u8")[0] == 200
        assert get(url + path_of("film", 1))[0] == 200
        origin.status = 503
        assert get(url + "/film/multivariant.m3u8")[:2] == (200, origin.playlist)
        assert get(url + path_of("film", 1))[0] == 200
        assert get(url + path_of("film", 2))[0] == 502
        origin.status = 0
        assert get(url + path_of("film", 2))[0] in (200, 502)


def test_missing_objects_are_requested_upstream_only_at_intervals(origin: FaultyOrigin, settings: EdgeSettings) -> None:
    with edge_running(settings) as url:
        for _ in range(5):
            assert get(f"{url}/film/nothing.txt")[0] == 404
            assert get(url + path_of("film", 999))[0] == 404
        assert origin.asked["/film/nothing.txt"] == 1
        assert origin.asked[path_of("film", 999)] == 0


def test_prepared_responses_are_keyed_by_everything_that_they_depend_on(
    origin: FaultyOrigin, settings: EdgeSettings
) -> None:
    origin.playlist = bytes(range(256)) * 20
    path = "/film/multivariant.m3u8"
    with edge_running(settings) as url:
        host, _, port = url.removeprefix("http://").partition(":")

        def ask(*headers: str, target: str = path) -> tuple[str, bytes]:
            lines = [f"GET {target} HTTP/1.1", "Host: a", "Connection: close", *headers, "", ""]
            with socket.create_connection((host, int(port)), 10) as client:
                client.sendall("\r\n".join(lines).encode())
                head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
            return head.decode().split()[1], body

        whole = ask()
        assert whole == ("200", origin.playlist)
        tag = get(url + path)[2]["ETag"]
        for _ in range(2):  # the second time they are prepared
            assert ask() == whole
            assert ask("range: bytes=0-9") == ("206", origin.playlist[:10])
            assert ask("RANGE: bytes=5-9", "accept-encoding: br") != whole
            assert ask(f"if-none-match: {tag}") == ("304", b"")
            assert ask('If-None-Match: "x"') == whole
            assert ask('If-None-Match: "x"', f"If-None-Match: {tag}")[0] == "304"
            assert ask("if-match: nothing")[0] == "412"
            assert ask("cdn-loop: other, one")[0] == "508"
            packed = ask("Accept-Encoding: gzip")
            assert packed[0] == "200" and packed[1][:2] == b"\x1f\x8b"
            assert ask("Accept-Encoding: x", "Accept-Encoding: gzip") == packed
            assert ask("Accept-Encoding: x") == whole
        assert ask(target="/film/other.txt")[0] == "404"
        origin.playlist = b"#EXTM3U\n"
        assert ask() == whole, "it is fresh"
        assert origin.asked[path] == 1


def test_a_prepared_response_expires_with_its_document(origin: FaultyOrigin, settings: EdgeSettings) -> None:
    origin.caching = "public, max-age=1"
    path = "/film/multivariant.m3u8"
    with edge_running(settings) as url:
        for _ in range(3):
            assert get(url + path)[1] == origin.playlist
        origin.playlist = b"#EXTM3U\n# another\n"
        time.sleep(1.1)
        for _ in range(3):
            status, body, headers = get(url + path)
            assert (status, body) == (200, origin.playlist) and int(headers["Age"]) <= 1


def test_compressed_manifests_are_made_once_for_all(origin: FaultyOrigin, settings: EdgeSettings) -> None:
    with edge_running(settings) as url:
        status, body, headers = get(f"{url}/film/multivariant.m3u8", Accept_Encoding="br")
        assert (status, headers["Content-Encoding"], headers["Vary"]) == (200, "br", "Accept-Encoding")
        assert len(body) < len(origin.playlist)


def test_loops_are_refused_and_clients_headers_are_not_forwarded(origin: FaultyOrigin, settings: EdgeSettings) -> None:
    with edge_running(settings) as url:
        assert get(url + path_of("film", 1), CDN_Loop="other, one")[0] == 508
        get(url + path_of("film", 1), Cookie="secret=1", X_Evil="1", CDN_Loop="other")
        sent = {name.lower(): value for name, value in origin.headers[path_of("film", 1)].items()}
        assert "cookie" not in sent and "x-evil" not in sent
        assert sent["cdn-loop"] == "other, one"


def test_a_ring_of_two_edges_ends_with_an_error_instead_of_a_storm(settings: EdgeSettings, tmp_path: Path) -> None:
    from headend.core.http.listening import listen, url_of

    [listener] = listen("127.0.0.1", 0, 1)
    place, port = url_of("127.0.0.1", listener), listener.getsockname()[1]
    listener.close()
    first = replace(settings, origin=place)
    with edge_running(first) as url:
        second = replace(settings, origin=url, name="two", disk=tmp_path / "two", decisions=None)
        with edge_running(second, port=port) as other:
            assert get(other + path_of("film", 1))[0] in (502, 508)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/../etc/passwd", 404),
        ("/%2e%2e/x", 404),
        ("/film//x", 404),
        ("/film/" + "a" * 600, 404),
        ("/film/multivariant.m3u8?lang=" + "a" * 2000, 400),
        ("/film/multivariant.m3u8?lang=<script>", 400),
        ("/film/tracks/x/0.m4s", 404),
    ],
)
def test_malformed_paths_never_reach_upstream(
    path: str, status: int, origin: FaultyOrigin, settings: EdgeSettings
) -> None:
    with edge_running(settings) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), 10) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = client.makefile("rb").readline()
        assert answer.split()[1] == str(status).encode()
    assert not origin.asked


def test_irrelevant_query_terms_do_not_split_the_cache(origin: FaultyOrigin, settings: EdgeSettings) -> None:
    with edge_running(settings) as url:
        for query in ("?x=1", "?x=2&CMCD=bl%3D100", "?cmcd=1", "?=", "?&&", "?a;b", "?x=<script>", "?" + "a" * 2000):
            assert get(f"{url}/film/multivariant.m3u8{query}")[:2] == (200, origin.playlist)
        assert origin.asked["/film/multivariant.m3u8"] == 1
        for query in ("?height=..720&lang=en", "?lang=en&x=1&height=..720"):
            assert get(f"{url}/film/multivariant.m3u8{query}")[0] == 200
        assert origin.asked["/film/multivariant.m3u8"] == 2


HLS = "application/vnd.apple.mpegurl"
FRESH = {"Cache-Control": "public, max-age=60"}


@pytest.mark.parametrize(
    "lie",
    [
        lambda: web.Response(body=gzip.compress(b"#EXTM3U"), headers={**FRESH, "Content-Encoding": "gzip"}),
        lambda: web.Response(status=206, body=b"#EXT", headers={**FRESH, "Content-Range": "bytes 0-3/100"}),
        lambda: web.Response(status=304, headers=FRESH),
        lambda: web.Response(status=299, body=b"#EXTM3U", headers=FRESH),
        lambda: web.Response(body=b"#EXTM3U", headers={**FRESH, "Content-Type": "text/\u2603"}),
    ],
    ids=["in a coding that nobody asked for", "a part", "not modified", "an unknown success", "an unsendable header"],
)  # fmt: skip
def test_invalid_responses_from_upstream_are_neither_served_nor_cached(
    lie: Callable[[], web.Response], origin: FaultyOrigin, settings: EdgeSettings
) -> None:
    with edge_running(settings) as url:
        origin.lie = lie
        assert get(f"{url}/film/multivariant.m3u8")[0] == 502
        origin.lie = None
        assert wait_for(lambda: get(f"{url}/film/multivariant.m3u8")[:2] == (200, origin.playlist))


def test_a_document_that_varies_outside_the_cache_key_is_served_but_not_cached(
    origin: FaultyOrigin, settings: EdgeSettings
) -> None:
    cookie = {
        "Vary": "Accept-Encoding, Cookie",
        "Set-Cookie": "a=b",
        "Last-Modified": "Mon, 01 Jan 0001 00:00:00 +2300",
    }
    origin.lie = lambda: web.Response(body=b"#EXTM3U", content_type=HLS, headers={**FRESH, **cookie})
    with edge_running(settings) as url:
        for _ in range(2):
            status, body, headers = get(f"{url}/film/multivariant.m3u8")
            assert (status, body, headers["Set-Cookie"]) == (200, b"#EXTM3U", None)
    assert origin.asked["/film/multivariant.m3u8"] == 2
    assert origin.headers["/film/multivariant.m3u8"]["Accept-Encoding"] == "identity"


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Return whether a condition holds in time: an upstream that failed is not asked for a while."""
    until_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.1)
    return True


def test_with_a_full_disk_objects_are_served_without_being_cached(
    settings: EdgeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with edge_running(settings) as url:
        for _ in range(2):
            assert get(url + path_of("film", 1))[1] == segment("film", 1)
        assert metric(url, "headend_edge_no_room_total") == 2
        assert metric(url, "headend_edge_disk_bytes") == 0
    assert files(settings.disk) == []


def test_wrong_settings_are_reported_in_one_line(settings: EdgeSettings, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    for wrong in (
        replace(settings, disk=file),
        replace(settings, origin="ftp://x"),
        replace(settings, origin="http://user:pass@x"),
        replace(settings, peers=("http://127.0.0.1:1",)),
        replace(settings, decisions=file),
    ):
        with pytest.raises(ConfigError), edge_running(wrong):
            pass


def test_peers_share_cached_objects(origin: FaultyOrigin, settings: EdgeSettings, tmp_path: Path) -> None:
    from headend.core.http.listening import listen, url_of

    listeners = [listen("127.0.0.1", 0, 1)[0] for _ in range(2)]
    urls = [url_of("127.0.0.1", each) for each in listeners]
    ports = [each.getsockname()[1] for each in listeners]
    for each in listeners:
        each.close()
    edge_settings = [
        replace(
            settings, name=name, disk=tmp_path / name, decisions=None, peers=(urls[1 - number],), itself=urls[number]
        )
        for number, name in enumerate(("a", "b"))
    ]
    with edge_running(edge_settings[0], port=ports[0]) as a, edge_running(edge_settings[1], port=ports[1]) as b:
        for number in range(1, 21):
            for url in (a, b):
                assert get(url + path_of("film", number))[1] == segment("film", number)
        assert sum(origin.asked[path_of("film", number)] for number in range(1, 21)) == 20
