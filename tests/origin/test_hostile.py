"""Hostile and broken clients and stores, from raw sockets against a running origin, and an edge in front of one."""

import gzip
import hashlib
import http.server
import io
import json
import logging
import os
import pickle
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest

from cdn_sim.live import serving as edge_serving
from cdn_sim.live.serving import EdgeSettings
from headend.core import layout
from headend.core.caching.circuit_breaker import FAILURES
from headend.core.errors import ConfigError, StoreUnavailable
from headend.core.http.server import Limits
from headend.core.settings import StoreSettings
from headend.core.storage import Store, open_store
from headend.core.storage.local import LocalStore
from headend.core.storage.local_server import LocalS3
from origin.serving import OriginSettings, running
from tests.origin.grants import CLOSED, STRANGE_KEYS, token
from tests.origin.releases import PICTURE, RELEASE, SEGMENTS, TITLE, WatchedStore, put_release
from tests.support.command_line import environment
from tests.support.raw_http import connected, exchange, read_all
from tests.support.s3_servers import BUCKET
from tests.support.waiting import wait_until

ROOT = f"/{TITLE}/releases/{RELEASE}"
TRACKS = f"/{TITLE}/tracks"
SEGMENT = f"{TRACKS}/{PICTURE}/1.m4s"
MPD = f"{ROOT}/manifest.mpd"
LARGE = bytes(range(256)) * (64 << 10)  # 16 MiB: more than the kernel buffers for a connection
NOT_FOUND = b'{"error": "not found"}\n'


@dataclass(frozen=True)
class Answer:
    """The response on a socket, as far as it arrived."""

    status: int
    headers: dict[str, str]
    body: bytes


def parse(answer: bytes) -> Answer:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return Answer(int(first.split()[1]), {name.lower(): value for name, _, value in pairs}, body)


def request(path: str, *headers: str, method: str = "GET", host: str = "Host: a") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", host, "Connection: close", *headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def get(url: str, path: str, *headers: str, method: str = "GET") -> Answer:
    return parse(exchange(url, request(path, *headers, method=method)))


def figure(url: str, name: str) -> float:
    lines = get(url, "/metrics").body.decode().splitlines()
    found = (line for line in lines if re.match(rf"headend_(?:origin|edge)_{name} ", line))
    return next((float(line.split()[-1]) for line in found), 0.0)


@dataclass
class Servers:
    """The servers and tools of a test.

    Attributes:
        store: A small release; tests may change it, delay it and make it fail.
        url: An origin over it, open to everyone.
        tmp_path: A folder.
        caplog: What is logged.
        monkeypatch: To shorten waits.
        s3: Two real S3 servers.
        has_edge: Whether an edge is in front of every origin.
        stack: Closed at the end.
    """

    store: WatchedStore
    url: str
    tmp_path: Path
    caplog: pytest.LogCaptureFixture
    monkeypatch: pytest.MonkeyPatch
    s3: Callable[[], LocalS3]
    has_edge: bool = False
    stack: ExitStack = field(default_factory=ExitStack)

    def origin(self, store: Store | StoreSettings | None = None, settings: OriginSettings | None = None) -> str:
        """Run another server: an origin, with an edge in front of it if ``has_edge``."""
        origin_settings = settings or OriginSettings()
        if not self.has_edge:
            return self.stack.enter_context(running(store or self.store, settings=origin_settings))
        behind = replace(origin_settings, limits=Limits(), access_log=False)
        return self.edge(self.stack.enter_context(running(store or self.store, settings=behind)), origin_settings)

    def edge(self, origin: str, settings: OriginSettings) -> str:
        """Run an edge in front of an origin, with its keys and limits."""
        self.monkeypatch.setattr(edge_serving, "LIMITS", settings.limits)
        folder = Path(tempfile.mkdtemp(dir=self.tmp_path))
        (folder / "state").mkdir()
        settings = EdgeSettings(
            origin, folder / "disk", 1 << 30, name="edge-1", keys=settings.keys, state_dir=folder / "state",
            access_log=settings.access_log,
        )  # fmt: skip
        return self.stack.enter_context(edge_serving.running(settings))


@pytest.fixture
def servers(
    store: WatchedStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Servers]:
    caplog.set_level(logging.DEBUG)
    has_edge = getattr(request, "param", "origin") == "edge"
    with running(store) as url, ExitStack() as stack:
        s3 = lambda: request.getfixturevalue("moto_s3")  # noqa: E731
        started = Servers(store, url, tmp_path, caplog, monkeypatch, s3, has_edge, stack)
        if has_edge:
            started.url = started.edge(url, OriginSettings())
        yield started
        store.gate.set()
        store.fault = None
        assert get(url, "/livez").status == 200


on_origin_and_edge = pytest.mark.parametrize("servers", ["origin", "edge"], indirect=True)
"""Tests that run against an origin and against an edge."""


def test_an_origin_that_may_open_few_files_takes_few_connections(tmp_path: Path) -> None:
    put_release(LocalStore(tmp_path))
    room = 5
    program = (
        "import resource, sys; from headend.core.settings import StoreSettings; from origin.serving import *;"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (OTHER_FILES + {room},) * 2);"
        "serve(StoreSettings(sys.argv[1]), port=0, on_ready=lambda url: print(url, flush=True))"
    )
    argv = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment()) as child, ExitStack() as stack:
        stack.callback(child.terminate)
        assert child.stdout is not None
        url = child.stdout.readline().strip()
        for _ in range(room):
            stack.enter_context(connected(url)).sendall(b"GET / HT")
        assert parse(exchange(url, b"")).status == 503


def test_path_traversal_reaches_nothing(servers: Servers) -> None:
    store = LocalStore(servers.tmp_path / "store")
    put_release(store)
    (servers.tmp_path / "secret.m4s").write_text("secret")
    folder = servers.tmp_path / "store" / layout.track_path(TITLE, PICTURE)
    (folder / "4.m4s").symlink_to(servers.tmp_path / "secret.m4s")
    (folder / "2.m4s").unlink()
    (folder / "2.m4s").symlink_to(servers.tmp_path / "secret.m4s")
    url = servers.origin(store)
    up = "../" * 8
    for path in (f"/{up}etc/passwd", f"{ROOT}/{up}etc/passwd", f"{TRACKS}/{PICTURE}/../release.json", f"{SEGMENT}/.."):
        assert (get(url, path).status, get(url, path).body) == (404, NOT_FOUND)
    for number in (2, 4):
        answer = get(url, f"{TRACKS}/{PICTURE}/{number}.m4s")
        assert answer.status in (404, 502) and b"secret" not in answer.body


@on_origin_and_edge
def test_encoded_paths_reach_nothing(servers: Servers) -> None:
    tails = ("%2e%2e/plan.json", "..%2fplan.json", "%252e%252e/plan.json", "..\\plan.json", "%00", f"{'a' * 600}/1.m4s")
    for path in (*(f"{ROOT}/{tail}" for tail in tails), f"/{ROOT}/manifest.mpd", MPD.replace("m", "%6d"), f"{MPD}%20"):
        assert (get(servers.url, path).status, get(servers.url, path).body) == (404, NOT_FOUND)
    assert not any("plan" in key or "%" in key for key in servers.store.reads)


@on_origin_and_edge
def test_if_range_never_mixes_two_versions(servers: Servers) -> None:
    tag, date = (get(servers.url, SEGMENT).headers[name] for name in ("etag", "last-modified"))
    for known, status in (
        (tag, 206),
        (date, 206),
        ('"other"', 200),
        (f"W/{tag}", 200),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ("nonsense", 200),
    ):
        answer = get(servers.url, SEGMENT, "Range: bytes=500-", f"If-Range: {known}")
        assert (answer.status, len(answer.body)) == (status, len(SEGMENTS[0]) - (500 if status == 206 else 0))


@on_origin_and_edge
def test_malformed_ranges_are_ignored_or_refused(servers: Servers) -> None:
    size = len(SEGMENTS[0])
    for value, status, length in (
        ("bytes=0-1,4-5", 200, size),
        ("lines=0-1", 200, size),
        ("bytes=-0", 416, None),
        ("bytes=5-2", 200, size),
        (f"bytes={'9' * 5000}-", 200, size),
        ("bytes=99999-", 416, None),
        ("bytes=0-99999", 206, size),
        ("bytes=--1", 200, size),
    ):
        answer = get(servers.url, SEGMENT, f"Range: {value}")
        assert answer.status == status, value
        assert length is None or len(answer.body) == length


@on_origin_and_edge
def test_ranges_do_not_amplify_reads_or_responses(servers: Servers) -> None:
    answer = get(servers.url, SEGMENT, f"Range: bytes={','.join(['0-'] * 80)}")
    assert (answer.status, len(answer.body)) == (200, len(SEGMENTS[0]))
    for number in range(50):
        assert get(servers.url, f"{SEGMENT}?bust={number}", f"Range: bytes={number}-{number}").status == 206
    assert servers.store.reads[layout.track_segment(TITLE, PICTURE, 1)] == 1


@on_origin_and_edge
def test_requests_are_not_smuggled(servers: Servers) -> None:
    hidden = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
    start = f"GET {SEGMENT} HTTP/1.1\r\nHost: a\r\n".encode()
    for smuggler in (
        start + b"Content-Length: %d\r\n\r\n" % len(hidden) + hidden,
        start + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
        start + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
        start + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden,
        start + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + hidden,
        start + b"Content-Length: 0\r\nContent-Length: 33\r\n\r\n" + hidden,
        start + b"Content-Length: +33\r\n\r\n" + hidden,
        start + b"Content-Length : 33\r\n\r\n" + hidden,
        start + b"X: a\r\n Content-Length: 33\r\n\r\n" + hidden,
        start + b"X: a\rContent-Length: 33\r\n\r\n" + hidden,
        start.replace(b"HTTP/1.1", b"HTTP/1.1 \x0bHTTP/1.1") + b"\r\n" + hidden,
    ):
        answer = exchange(servers.url, smuggler)
        assert parse(answer).status == 400, smuggler
        assert answer.count(b"HTTP/1.") == 1, smuggler


@on_origin_and_edge
def test_requests_do_not_fill_the_parsers_memory(servers: Servers) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n"
    for heavy in (
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        head + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        head + b"a" * 100_000 + b": x\r\n\r\n",
        head + b"".join(b"X-%d: a\r\n" % n for n in range(1000)) + b"\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: a\r\n" * 1000 + b"\r\n",
        head + b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n",
    ):
        assert parse(exchange(servers.url, heavy)).status == 400
    with connected(servers.url) as client:  # a line that never ends is not buffered
        client.sendall(b"GET /")
        answer = b""
        client.settimeout(0.05)
        for _ in range(2000):
            try:
                client.sendall(b"a" * 4096)
                answer = client.recv(1 << 16)
                break
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
        else:
            pytest.fail("8 MB of one line were taken")
        assert not answer or parse(answer).status == 400


@on_origin_and_edge
def test_silent_and_trickling_connections_are_closed(servers: Servers) -> None:
    url = servers.origin(settings=OriginSettings(limits=Limits(connections=8, connections_per_client=2)))
    with connected(url), connected(url):
        refused = parse(exchange(url, b""))  # the third of one address, though there is room for others
        assert (refused.status, refused.headers["retry-after"]) == (503, "2")
    wait_until(lambda: parse(exchange(url, request("/livez"))).status == 200)
    url = servers.origin(settings=OriginSettings(limits=Limits(head_s=0.5, keepalive_s=0.5)))
    with connected(url) as silent, connected(url) as slow, connected(url) as idle:
        slow.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nX: ")
        idle.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_all(idle).startswith(b"HTTP/1.1 200 ")
        assert read_all(silent) == read_all(slow) == b""


@on_origin_and_edge
def test_slow_readers_are_bounded_and_cut_off(servers: Servers) -> None:
    put_release(servers.store, segments=(LARGE, LARGE[::-1]))
    other = SEGMENT.replace("1.m4s", "2.m4s")
    if not servers.has_edge:  # an edge sends from its disk, so bodies take no memory
        url = servers.origin(settings=OriginSettings(limits=Limits(in_flight_bytes=len(LARGE))))
        with connected(url) as client:
            client.sendall(f"GET {SEGMENT} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            client.recv(1)
            refused = get(url, other)  # another body would exceed the memory for bodies
            assert (refused.status, refused.headers["retry-after"]) == (503, "2")
        wait_until(lambda: get(url, other).status == 200)
    url = servers.origin(settings=OriginSettings(limits=Limits(write_s=0.2)))
    with connected(url) as client:
        client.sendall(f"GET {other} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        wait_until(lambda: figure(url, "slow_readers_total"))
        assert len(read_all(client)) < len(LARGE)


@on_origin_and_edge
def test_clients_that_leave_are_not_errors(servers: Servers) -> None:
    put_release(servers.store, segments=(LARGE,))
    url = servers.origin()
    for _ in range(3):
        with connected(url) as client:
            client.sendall(f"GET {SEGMENT} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            client.recv(1000)
    wait_until(lambda: figure(url, "disconnects_total") >= 3)
    assert not [record for record in servers.caplog.records if record.levelno >= logging.WARNING or record.exc_info]


@on_origin_and_edge
def test_followers_survive_when_the_first_client_leaves(servers: Servers) -> None:
    servers.store.gate.clear()
    with connected(servers.url) as leader, connected(servers.url) as follower:
        leader.sendall(request(SEGMENT))
        wait_until(lambda: servers.store.reads)
        follower.sendall(request(SEGMENT))
        leader.close()
        servers.store.gate.set()
        assert parse(read_all(follower)).body == SEGMENTS[0]
    assert servers.store.reads[layout.track_segment(TITLE, PICTURE, 1)] == 1


@on_origin_and_edge
def test_unkeyed_inputs_do_not_poison_responses(servers: Servers) -> None:
    plain = {path: get(servers.url, path) for path in (MPD, f"/{TITLE}/manifest.mpd", "/", SEGMENT)}
    for path, wanted in plain.items():
        found = get(
            servers.url,
            f"{path}?x=evil",
            *(
                "X-Forwarded-Host: evil",
                "X-Forwarded-Proto: evil",
                "X-Forwarded-Prefix: /evil",
                "X-Original-URL: /evil",
            ),
            *("Forwarded: host=evil", "X-Rewrite-URL: /evil", "Origin: https://evil", "Referer: https://evil"),
        )
        assert (found.status, found.body) == (wanted.status, wanted.body)
        # These headers contain the time; an edge adds a date if its origin does not.
        passing = {"date": "", "age": "", **({"last-modified": ""} if servers.has_edge else {})}
        assert {**found.headers, **passing} == {**wanted.headers, **passing}
        assert "evil" not in str(found)
    for target in (f"http://evil{MPD}", f"http://a{MPD}", f"https://a{MPD}"):  # RFC 9112, section 3.2.2
        found = get(servers.url, target)
        assert (found.status, found.body) == (200, plain[MPD].body)
        assert "evil" not in str(found)
    assert get(servers.url, f"//evil{MPD}").status == 404
    assert get(servers.url, MPD, "Content-Length: 3", "", "abc").status == 400  # a GET with a body


@on_origin_and_edge
def test_errors_are_not_cached(servers: Servers) -> None:
    assert get(servers.url, SEGMENT, "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: POST").body == SEGMENTS[0]
    for answer in (
        get(servers.url, SEGMENT, f"X: {'a' * 20_000}"),
        get(servers.url, SEGMENT, "X: \x01"),
        get(servers.url, SEGMENT, method="POST"),
        get(servers.url, SEGMENT, "Range: bytes=99999-"),
        get(servers.url, SEGMENT, "If-Match: x"),
        get(servers.url, f"/{TITLE}/manifest.mpd", "Range: bytes=99999-"),
        get(servers.url, f"/{TITLE}/manifest.mpd", "If-Match: x"),
    ):
        assert answer.status in (400, 405, 412, 416)
        assert answer.headers["cache-control"] == "no-store"


@on_origin_and_edge
def test_vary_does_not_split_caches(servers: Servers) -> None:
    assert get(servers.url, MPD, "Accept-Encoding: gzip").headers["vary"] == "Accept-Encoding"
    for path in (SEGMENT, f"{TRACKS}/{PICTURE}/init.mp4", f"/{TITLE}/multivariant.m3u8"):
        answer = get(servers.url, path, "Origin: https://page.example", "Accept-Encoding: gzip", "User-Agent: x")
        assert "vary" not in answer.headers
        assert answer.headers["access-control-allow-origin"] == "*"
    tags = {
        get(servers.url, MPD, f"Accept-Encoding: {coding}").headers["etag"] for coding in ("zstd", "x", "", "deflate")
    }
    assert len(tags) == 1


@on_origin_and_edge
def test_private_responses_are_not_shared(servers: Servers) -> None:
    with_cookie = get(servers.url, SEGMENT, "Cookie: session=1", "Authorization: Bearer x")
    assert with_cookie.body == SEGMENTS[0] and "set-cookie" not in with_cookie.headers
    assert get(servers.url, f"{MPD}/style.css").status == 404
    assert get(servers.url, f"{MPD};a.css").status == 404
    url = servers.origin(settings=CLOSED)
    assert get(url, f"/t/{token()}{MPD}").headers["cache-control"] == "no-store"
    assert get(url, f"/t/{token()}{SEGMENT}").headers["cache-control"].startswith("private,")
    assert get(url, SEGMENT).headers["cache-control"] == "no-store"


@on_origin_and_edge
def test_tokens_do_not_leak(servers: Servers) -> None:
    captured = servers.stack.enter_context(_stdout())
    good, old, strange = token(account="alice"), token(expires_s=1), token(keys=STRANGE_KEYS)
    url = servers.origin(settings=OriginSettings(keys=CLOSED.keys, access_log=True))
    answers = [get(url, f"/t/{one}{path}") for one in (good, old, strange) for path in (MPD, SEGMENT, "/nothing")]
    # An edge treats a path that is unknown to the origin as a document, which no token covers.
    strange_path = 403 if servers.has_edge else 404
    assert [answer.status for answer in answers] == [200, 200, strange_path] + [403, 403, strange_path] * 2
    answers.append(get(url, f"/{TITLE}/manifest.mpd?token={good}"))
    answers.append(get(url, f"/t/{good}/{TITLE}/manifest.mpd"))
    servers.store.fault = StoreUnavailable("gone")
    answers.append(get(url, f"/t/{good}{TRACKS}/{PICTURE}/2.m4s"))
    malformed = [
        exchange(url, request(f"/t/{good}{SEGMENT}", "X: \x01")),
        exchange(url, f"GET /t/{good}\x00 HTTP/1.1".encode()),
    ]
    malformed.append(exchange(url, f"/t/{good}{SEGMENT}\r\n\r\n".encode()))
    servers.store.fault = None
    figures = get(url, "/metrics").body.decode()
    servers.stack.close()
    output = f"{answers}{malformed}{figures}{servers.caplog.text}{captured()}"
    assert SEGMENT in output  # the log is there
    for secret in (*good.split("."), *old.split(".")[1:], *strange.split("."), "alice"):
        assert secret not in output
    assert all(answer.headers["referrer-policy"] == "no-referrer" for answer in answers)


@on_origin_and_edge
def test_cached_files_need_a_valid_token(servers: Servers) -> None:
    url = servers.origin(settings=CLOSED)
    assert get(url, f"/t/{token()}{SEGMENT}").status == 200
    for changes in ({"expires_s": int(time.time()) - 61}, {"title": "other"}, {"licensed_until_s": 1}):
        for headers in ((), ("If-None-Match: *",), ("Range: bytes=0-1",)):
            assert get(url, f"/t/{token(**changes)}{SEGMENT}", *headers).status == 403


def test_the_store_cannot_redirect_the_origin(servers: Servers) -> None:
    asked: list[str] = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Redirecting(Elsewhere):
        def do_GET(self) -> None:
            self.send_response(int(self.path.split("/")[2][:3]) if self.path[-1].isdigit() else 307)
            self.send_header("Location", f"http://127.0.0.1:{elsewhere.server_port}/stolen")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

    elsewhere, redirecting = (servers.stack.enter_context(_http(handler)) for handler in (Elsewhere, Redirecting))
    servers.s3()  # for credentials
    url = servers.origin(StoreSettings(f"s3://{BUCKET}", f"http://127.0.0.1:{redirecting.server_port}"))
    for path in (MPD, SEGMENT, f"/{TITLE}/manifest.mpd"):
        assert get(url, path, f"Host: 127.0.0.1:{elsewhere.server_port}").status in (400, 502, 503)
        assert get(url, path).status in (502, 503)
    assert not asked
    for address in (
        "http://169.254.169.254",
        "http://[fe80::1]:9000",
        "http://[fd00:ec2::254]/",
        "http://user:pw@host",
    ):
        with pytest.raises(ConfigError, match="an S3 endpoint"):
            open_store(StoreSettings(f"s3://{BUCKET}", address)).head("a")


def test_headers_of_objects_are_not_passed_on(servers: Servers) -> None:
    server = servers.s3()
    settings = StoreSettings(f"s3://{BUCKET}/hostile", server.endpoint_url)
    store = open_store(settings)
    put_release(store)
    boto3.session.Session().client("s3", endpoint_url=server.endpoint_url).put_object(
        Bucket=BUCKET,
        Key=f"hostile/{layout.track_segment(TITLE, PICTURE, 1)}",
        Body=SEGMENTS[0],
        ContentType="text/html",
        CacheControl="max-age=1",
        ContentDisposition="attachment",
        WebsiteRedirectLocation="https://evil",
        Metadata={"evil": "evil", "set-cookie": "evil=1"},
    )
    answer = get(servers.origin(settings), SEGMENT)
    assert (answer.status, answer.body) == (200, SEGMENTS[0])
    assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("video/mp4", "nosniff")
    assert "immutable" in answer.headers["cache-control"]
    assert "evil" not in str(answer) and "content-disposition" not in answer.headers


@on_origin_and_edge
def test_paths_are_not_requoted(servers: Servers) -> None:
    for path in (
        SEGMENT.replace("-", "%2D"),
        SEGMENT.replace("1.m4s", "+1.m4s"),
        SEGMENT.replace("-", "\xe9"),
        f"{SEGMENT}#a",
    ):
        assert get(servers.url, path).status in (400, 404)
    assert get(servers.url, SEGMENT).status == 200
    assert {key for key in servers.store.reads if key.endswith(".m4s")} == {layout.track_segment(TITLE, PICTURE, 1)}


@on_origin_and_edge
def test_client_headers_do_not_reach_the_store(servers: Servers) -> None:
    packed = gzip.compress(b"moof" * 100)
    put_release(servers.store, segments=(packed,))
    answer = get(servers.url, SEGMENT, "Accept-Encoding: gzip, br", "Cookie: a=b", "Range: bytes=0-")
    assert (answer.body, answer.headers.get("content-encoding")) == (packed, None)
    again = get(servers.url, SEGMENT, "Accept-Encoding: identity;q=0")
    assert (again.status, again.body) == (200, packed)
    assert servers.store.reads[layout.track_segment(TITLE, PICTURE, 1)] == 1


@on_origin_and_edge
def test_a_truncated_object_is_not_served_as_complete(servers: Servers) -> None:
    key = layout.track_segment(TITLE, PICTURE, 1)
    servers.store.put(key, SEGMENTS[0][:-1])
    answer = get(servers.url, SEGMENT)
    assert (answer.status, answer.headers["cache-control"]) == (502, "no-store")
    servers.store.put(key, SEGMENTS[0])
    assert get(servers.url, SEGMENT).body == SEGMENTS[0]  # nothing of it was cached


@on_origin_and_edge
def test_an_overwritten_object_is_not_mixed(servers: Servers) -> None:
    key = layout.track_segment(TITLE, PICTURE, 1)
    servers.store.put(key, SEGMENTS[0][:500] + bytes(len(SEGMENTS[0]) - 500))  # as long, and another
    assert get(servers.url, SEGMENT).status == 502
    servers.store.put(key, SEGMENTS[0])
    tag = get(servers.url, SEGMENT).headers["etag"]
    servers.store.put(key, bytes(len(SEGMENTS[0])))
    rest = get(servers.url, SEGMENT, "Range: bytes=500-", f"If-Range: {tag}")
    assert (rest.status, rest.body) == (206, SEGMENTS[0][500:])
    assert tag == f'"{hashlib.sha256(SEGMENTS[0]).hexdigest()}"'


@on_origin_and_edge
def test_responses_do_not_tell_what_exists_or_echo_the_request(servers: Servers) -> None:
    put_release(servers.store, title="secret", current=False, published=False)
    mark = "k7f3a9"
    for path in (f"/{mark}/manifest.mpd", f"/secret/releases/{RELEASE}/manifest.mpd", f"{ROOT}/plan.json", f"/{mark}"):
        answer = get(servers.url, f"{path}?{mark}", f"X: {mark}")
        assert (answer.status, answer.body) == (404, NOT_FOUND)
        assert mark not in str(answer)
    for bad in (request("/", f"X: {mark}\x01"), f"{mark} / HTTP/1.1\r\n\r\n".encode(), mark.encode() + b"\r\n\r\n"):
        answer = parse(exchange(servers.url, bad))
        assert (answer.status, answer.body) == (400, b'{"error": "bad request"}\n')
        assert mark not in str(answer)
    assert {get(servers.url, path).headers["server"] for path in ("/", MPD, "/nothing")} == {"headend"}
    assert mark not in servers.caplog.text
    closed = servers.origin(settings=CLOSED)
    refusals = {
        (answer.status, answer.body)
        for path in (SEGMENT, f"/{mark}/tracks/{PICTURE}/1.m4s", f"/secret/releases/{RELEASE}/manifest.mpd")
        for answer in (get(closed, path), get(closed, f"/t/{token(keys=STRANGE_KEYS)}{path}"))
    }
    assert refusals == {(403, b'{"error": "no valid token"}\n')}


@on_origin_and_edge
def test_the_origin_is_not_a_proxy_and_does_not_loop(servers: Servers) -> None:
    loop = ("CDN-Loop: headend, headend, edge", "Via: 1.1 headend", f"X-Forwarded-For: {'127.0.0.1, ' * 50}")
    assert get(servers.url, SEGMENT, *loop).body == SEGMENTS[0]
    assert get(servers.url, servers.url.removeprefix("http:"), *loop).status == 404
    assert (
        get(servers.url, f"http://other.example{SEGMENT}", *loop).body == SEGMENTS[0]
    )  # from this server, not from the other one
    assert get(servers.url, "127.0.0.1:80", method="CONNECT").status == 405
    assert servers.store.reads[layout.track_segment(TITLE, PICTURE, 1)] == 1


def test_a_failing_store_opens_the_circuit_breaker(servers: Servers) -> None:
    servers.store.fault = StoreUnavailable("gone")
    answers = [get(servers.url, f"/title-{number}/manifest.mpd") for number in range(50)]
    assert {(answer.status, answer.headers["retry-after"]) for answer in answers} == {(503, "2")}
    assert sum(servers.store.reads.values()) <= FAILURES + 2


@on_origin_and_edge
def test_duplicate_and_malformed_hosts_are_refused(servers: Servers) -> None:
    for hosts in ("Host: a\r\nHost: b", "Host: a\r\nhost: a", "Host: a b", "Host: a\x00b", "Host: a/b@c"):
        answers = exchange(servers.url, request(MPD, host=hosts))
        assert answers.count(b"HTTP/1.") == 1
        assert parse(answers).status == 400, hosts


@on_origin_and_edge
def test_http2_is_refused(servers: Servers) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000") * 100
    answer = exchange(servers.url, preface)
    assert answer.startswith(b"HTTP/1.") and b" 400 " in answer.split(b"\r\n")[0]
    assert answer.count(b"HTTP/1.") == 1
    upgrade = ("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    assert get(servers.url, SEGMENT, *upgrade).status == 200
    assert get(servers.url, SEGMENT, "Upgrade: websocket", "Sec-WebSocket-Key: AAAA").status == 200


@on_origin_and_edge
def test_metrics_are_not_public(servers: Servers) -> None:
    inner = _free_port()
    address = _outer_address()
    place = servers.stack.enter_context(
        running(servers.store, host="0.0.0.0", settings=OriginSettings(metrics_port=inner))
    )
    port = urlsplit(place).port
    assert get(f"http://127.0.0.1:{port}", "/metrics").status == 200
    assert get(f"http://{address}:{port}", "/metrics").status == 404
    assert get(f"http://{address}:{port}", "/metrics", "X-Forwarded-For: 127.0.0.1").status == 404
    assert get(f"http://{address}:{inner}", "/metrics").status == 200
    for number in range(30):
        get(f"http://127.0.0.1:{port}", f"/title-{number}/manifest.mpd")
        get(f"http://127.0.0.1:{port}", f"/{number}", method=f"M{number}")
    figures = get(f"http://127.0.0.1:{port}", "/metrics").body.decode()
    assert "title-" not in figures
    assert len(set(re.findall(r'headend_origin_requests_total{object="(\w+)"', figures))) <= 9


def test_hostile_documents_do_nothing(servers: Servers) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(servers.tmp_path / "exploded"),)

    for document in (pickle.dumps(Bomb()), b"[" * 100_000, b'{"kind": "Presentation", "version": 1, "body": {}}', b""):
        servers.store.put(layout.release_document(TITLE, RELEASE), document)
        servers.store.put(layout.current(TITLE), document)
        for path in (MPD, f"/{TITLE}/manifest.mpd"):
            assert get(servers.url, path).status == 502
    traversing = {"kind": "Current", "version": 1, "body": {"release": "../x\r\nSet-Cookie: a", "published_at": ""}}
    servers.store.put(layout.current(TITLE), json.dumps(traversing).encode())
    assert get(servers.url, f"/{TITLE}/manifest.mpd").status == 502
    assert not (servers.tmp_path / "exploded").exists()


@contextmanager
def _stdout() -> Iterator[Callable[[], str]]:
    """Capture standard output of all threads during the block."""
    real, sys.stdout = sys.stdout, io.StringIO()
    caught = sys.stdout
    try:
        yield caught.getvalue
    finally:
        sys.stdout = real


@contextmanager
def _http(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        return int(found.getsockname()[1])


def _outer_address() -> str:
    """Return an address of this machine other than loopback; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])
