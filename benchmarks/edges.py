"""Compares an edge with nginx's `proxy_cache` in front of the same upstream server, with one worker each.

The servers alternate, and their own CPU time is compared, because it depends less on other processes than wall time.
nginx does not verify digests.
"""

import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import aiohttp

from benchmarks import charts
from benchmarks.load import run_wrk
from benchmarks.servers import BARE, Server, run_bare, run_nginx, run_program
from headend.core import track_index
from headend.core.media import Segment
from headend.core.track_index import TrackFacts

TRACK = "avc-1080p-6000k-0123456789"
SEGMENT_BYTES = 800 << 10
MANIFEST_BYTES = 25_000
SEGMENTS = 160
HOT_SEGMENTS = 16
ROUNDS, QUICK_ROUNDS = 5, 2
SECONDS, QUICK_SECONDS = 2, 1
CONNECTIONS = 16
CROWD_CLIENTS = 1000
NGINX, HEADEND = "nginx proxy_cache", "headend edge"


@dataclass(frozen=True, slots=True)
class Row:
    """A server's cost of a kind of request.

    Attributes:
        case: Kind of request.
        server: Name of the server.
        cpu_us: CPU microseconds per request, for misses per MiB; median of ``runs``.
        runs: The same for each run.
    """

    case: str
    server: str
    cpu_us: float
    runs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Result of the benchmark.

    Attributes:
        rows: Costs.
        ratios: headend's cost relative to nginx's, by case.
        memory_bytes: Resident memory of the edge's process at the end.
        crowd_requests: Upstream requests caused by `CROWD_CLIENTS` clients that request one cold segment.
        decisions_differ: Number of decisions in the log that differ in an offline replay.
        decisions: Number of decisions in the log.
    """

    rows: tuple[Row, ...]
    ratios: dict[str, float]
    memory_bytes: int
    crowd_requests: int
    decisions_differ: int
    decisions: int


def measure(*, quick: bool, on_step: Callable[[str], object] = lambda _: None) -> Report:
    """Measure all cases."""
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if quick else (ROUNDS, SECONDS)
    with TemporaryDirectory(prefix="headend-edges-") as name, ExitStack() as stack:
        folder = Path(name)
        publish(folder / "upstream")
        upstream, log = stack.enter_context(serve_files(folder / "upstream", folder))
        edge = stack.enter_context(headend(upstream.url, folder))
        servers = {NGINX: stack.enter_context(proxy_cache(upstream.url, folder)), HEADEND: edge}
        hot = [_path("film", number) for number in range(1, HOT_SEGMENTS + 1)]
        rows = []
        asked = {**servers, BARE: stack.enter_context(run_bare())}
        manifest = ["/film/multivariant.m3u8"]
        for case, paths, names in (("hits, segments", hot, servers), ("hits, manifests", manifest, asked)):
            on_step(case)
            runs: dict[str, list[float]] = {server: [] for server in names}
            for server in list(names) * (1 + rounds):
                runs[server].append(_load(asked[server], paths, seconds, folder))
            rows += [Row(case, server, median(found[1:]), tuple(found[1:])) for server, found in runs.items()]
        on_step("misses")
        cold: dict[str, list[float]] = {server: [] for server in servers}
        for turn in range(1 + rounds):
            for server in servers:
                cold[server].append(_miss(servers[server], f"cold-{turn}"))
        rows += [Row("misses, per MiB", server, median(found[1:]), tuple(found[1:])) for server, found in cold.items()]
        on_step(f"{CROWD_CLIENTS} clients on a cold segment")
        before = log.read_text().count(_path("crowd", 1))
        asyncio.run(_crowd(edge.url + _path("crowd", 1)))
        time.sleep(1.5)
        upstream_requests = log.read_text().count(_path("crowd", 1)) - before
        memory_bytes = _resident(edge.pid)
        time.sleep(1.5)
        verdict = json.loads(
            subprocess.run(
                [sys.executable, "-m", "headend", "replay", str(folder / "decisions.log"), "--json"],
                capture_output=True, text=True, check=True,
            ).stdout
        )  # fmt: skip
    costs = {(row.case, row.server): row.cpu_us for row in rows}
    ratios = {case: costs[case, HEADEND] / costs[case, NGINX] for case, server in costs if server == HEADEND}
    return Report(
        tuple(rows),
        ratios,
        memory_bytes,
        upstream_requests,
        verdict["different"],
        verdict["requests"],
    )


def findings(report: Report) -> list[str]:
    """Return the conclusions, one line each."""
    limits = {"hits, segments": 1.5, "hits, manifests": 1.5, "misses, per MiB": 3.0}
    return [
        *(f"{case}: {ratio:.2f} × nginx's CPU; target: {limits[case]:g}" for case, ratio in report.ratios.items()),
        f"memory of the process: {report.memory_bytes / 1e6:.0f} MB; target: 80 MB",
        f"upstream requests for {CROWD_CLIENTS} clients on one cold segment: {report.crowd_requests}",
        f"{report.decisions_differ} of {report.decisions:,} decisions differ in the offline replay",
    ]


def draw(report: Report, path: Path) -> None:
    """Draw the costs of each case.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    cases = list(report.ratios)
    with charts.panels(
        path, [f"{case}: CPU" for case in cases], "headend's edge compared with nginx's proxy_cache"
    ) as axes:
        for axis, case in zip(axes, cases, strict=True):
            costs = {row.server: row.cpu_us for row in report.rows if row.case == case}
            charts.bars(axis, costs, ours=HEADEND, bound=NGINX, unit="µs")


def publish(root: Path) -> None:
    """Write titles with one track each, like an origin's responses."""
    random_bytes = random.Random(1)
    titles = ("film", "crowd", *(f"cold-{turn}" for turn in range(1 + ROUNDS)))
    for title in titles:
        folder = root / title / "tracks" / TRACK
        folder.mkdir(parents=True)
        segments = []
        for number in range(1, SEGMENTS // (1 if title.startswith("cold") else 4) + 1):
            body = random_bytes.randbytes(SEGMENT_BYTES + number)
            (folder / f"{number}.m4s").write_bytes(body)
            segments.append(
                Segment(
                    number=number,
                    size_bytes=len(body),
                    sha256=hashlib.sha256(body).hexdigest(),
                    start_ticks=(number - 1) * 150_000,
                    duration_ticks=150_000,
                    samples=150,
                )
            )
        empty = hashlib.sha256(b"").hexdigest()
        facts = TrackFacts(TRACK, "video/mp4", "avc1.640028", 25_000, 0, empty, 1920, 1080)
        (folder / "index").write_bytes(track_index.encode(track_index.index_of(facts, segments)))
        line = "#EXTINF:6.00000,\n{}.m4s\n"
        playlist = "#EXTM3U\n" + "".join(line.format(number) for number in range(1, MANIFEST_BYTES // 25))
        (root / title / "multivariant.m3u8").write_text(playlist)


@contextmanager
def serve_files(root: Path, folder: Path) -> Iterator[tuple[Server, Path]]:
    """Run the upstream server: nginx with files, and its access log."""
    log = folder / "upstream.log"
    config = f"""
        access_log {log}; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
        types {{ video/mp4 m4s; application/vnd.apple.mpegurl m3u8; }}
        server {{
            listen 127.0.0.1:PORT backlog=1024; root {root};
            location / {{ add_header Cache-Control "public, max-age=31536000, immutable"; }}
        }}
    """
    with run_nginx("upstream", config, folder) as server:
        yield server, log


@contextmanager
def proxy_cache(upstream: str, folder: Path) -> Iterator[Server]:
    """Run nginx as a cache, tuned for speed."""
    config = f"""
        access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; open_file_cache max=1000;
        proxy_cache_path {folder}/nginx-cache levels=1:2 keys_zone=edge:10m max_size=10g inactive=1d use_temp_path=off;
        upstream origin {{ server {upstream.removeprefix("http://")}; keepalive 32; }}
        server {{
            listen 127.0.0.1:PORT backlog=1024 reuseport;
            location / {{
                proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
                proxy_cache edge; proxy_cache_lock on;
            }}
        }}
    """
    with run_nginx("cache", config, folder) as server:
        yield server


@contextmanager
def headend(upstream: str, folder: Path) -> Iterator[Server]:
    """Run ``headend edge``."""
    argv = [
        *(sys.executable, "-m", "headend", "edge", "--origin", upstream, "--disk", str(folder / "edge")),
        *("--disk-bytes", "10G", "--decisions", str(folder / "decisions.log"), "--port", "0", "--json"),
    ]
    with run_program(argv) as server:
        yield server


def _path(title: str, number: int) -> str:
    return f"/{title}/tracks/{TRACK}/{number}.m4s"


def _load(server: Server, paths: Sequence[str], seconds: int, folder: Path) -> float:
    """Return CPU microseconds per request."""
    before = sum(server.cpu_s().values())
    load = run_wrk(server.url, paths, headers={}, connections=CONNECTIONS, seconds=seconds, folder=folder)
    return (sum(server.cpu_s().values()) - before) / load.requests * 1e6


def _miss(server: Server, title: str) -> float:
    """Return CPU microseconds per MiB of segments that are not cached."""
    paths = [_path(title, number) for number in range(1, SEGMENTS + 1)]
    before = sum(server.cpu_s().values())
    size_bytes = asyncio.run(_fetch([server.url + path for path in paths]))
    time.sleep(0.2)
    return (sum(server.cpu_s().values()) - before) / (size_bytes / (1 << 20)) * 1e6


async def _fetch(urls: Sequence[str]) -> int:
    gate = asyncio.Semaphore(4)
    async with aiohttp.ClientSession() as session:

        async def one(url: str) -> int:
            async with gate, session.get(url) as answer:
                assert answer.status == 200
                return len(await answer.read())

        return sum(await asyncio.gather(*map(one, urls)))


async def _crowd(url: str) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one() -> None:
            async with session.get(url) as answer:
                assert answer.status == 200
                await answer.read()

        await asyncio.gather(*(one() for _ in range(CROWD_CLIENTS)))


def _resident(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
