"""Compares the origin with nginx on the same files, with one worker each.

wrk generates the load on the same machine. Medians of the servers' own CPU time per request are compared, because they
depend less on other processes than wall time. The servers alternate.
"""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from urllib.error import HTTPError
from urllib.request import urlopen

from benchmarks import charts
from benchmarks.load import Load, run_wrk
from benchmarks.origin_titles import SEGMENTS, STALLED, make_copies, publish, with_cmcd_reports, with_tokens
from benchmarks.servers import BARE, Server, run_bare, run_nginx, run_program
from headend.core import layout
from headend.core.access.tokens import Use, make_key, read_keys
from headend.core.errors import ToolFailed
from headend.core.storage.local import LocalStore
from headend.core.storage.local_server import rclone_server

NGINX, HEADEND, S3, S3_DISK = "nginx", "headend", "headend, S3", "headend, S3, disk cache"
TWO = ", two workers"
TOKENS = "headend, tokens"
HOURS, QUICK_HOURS = 2.0, 0.1
ROUNDS, QUICK_ROUNDS = 5, 1
SECONDS, QUICK_SECONDS = 2, 1
CONNECTIONS = 16
MANY_CONNECTIONS = 256
"""For comparing workers: many, because the kernel distributes connections randomly."""
COLD_CONNECTIONS = 4
STALLED_CACHE = 32 << 20
"""Memory for files in that case; less than all of these segments."""
SPILL_S = 6.0
SETTLED_S = 60.0
"""Timeout for the origin to read all of these segments."""
NO_CACHE_BYTES = 1
"""A memory limit so low that each request reads the store."""
MIB = 1 << 20
TITLES, QUICK_TITLES = 200, 5
"""Number of hot titles, each of two hours and 77 renditions."""
TRACKS_EACH = 8
"""Watched tracks per title."""
MANY_TITLES = 10_000
MEMORY_MB = 256.0
"""Default of ``--memory``."""


@dataclass(frozen=True, slots=True)
class Row:
    """A server's cost of a kind of request.

    Attributes:
        case: Kind of request.
        server: Name of the server.
        cpu_us: CPU microseconds of all the server's processes per request; median of ``cpu_runs_us``.
        cpu_runs_us: The same for each run.
        requests_per_s: Median of requests per second, with the load generator on the same cores.
        p50_ms: Median of the median latencies.
        p99_ms: Median of the 99th percentiles of latency.
        mean_bytes: Mean size of a response, with headers.
    """

    case: str
    server: str
    cpu_us: float
    cpu_runs_us: tuple[float, ...]
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    mean_bytes: float


@dataclass(frozen=True, slots=True)
class Target:
    """A target and the measured value.

    Attributes:
        name: Name for people.
        value: Measured value.
        target: Limit of the value.
        at_least: Whether the limit is a minimum.
    """

    name: str
    value: float
    target: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(frozen=True, slots=True)
class Starts:
    """Startup of the origin.

    Attributes:
        opened_s: Seconds until the port is open, with `MANY_TITLES` titles; minimum of three.
        empty_s: The same with an empty store.
        cpu_s: CPU seconds until then, with an empty store; minimum of three.
    """

    opened_s: float
    empty_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """Result of the benchmark.

    Attributes:
        nginx: Version of nginx.
        rows: Costs by case and server.
        stalled_bytes: Memory beyond the cache's limit that `STALLED` stalled clients cost, by server; includes memory
            files and socket buffers, which belong to no process.
        largest_share: The busier worker's share of the CPU time of two workers; None if not measured.
        many_bytes: Memory of an origin with tokens after serving many titles, beyond that of an idle one; None if not
            measured.
        starts: Startup of the origin; None if not measured.
        targets: Targets and measured values.
    """

    nginx: str
    rows: tuple[Row, ...] = ()
    stalled_bytes: dict[str, int] = field(default_factory=dict)
    largest_share: float | None = None
    many_bytes: int | None = None
    starts: Starts | None = None
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of request.

    Attributes:
        part: Part of the benchmark.
        name: Name for people.
        paths: Paths, requested in turn.
        servers: Names of the servers.
        headers: Returns request headers for the base URL of a server and a path.
        connections: Number of clients.
        before: Called with the paths before each run.
    """

    part: str
    name: str
    paths: tuple[str, ...]
    servers: tuple[str, ...]
    headers: Callable[[str, str], dict[str, str]] = lambda _url, _path: {}
    connections: int = CONNECTIONS
    before: Callable[[Sequence[str]], object] = lambda _paths: None


def measure(
    parts: Collection[str],
    *,
    quick: bool,
    earlier: Report | None = None,
    on_step: Callable[[str], object] = lambda _: None,
) -> Report:
    """Measure some parts.

    Args:
        parts: Some of ``segments``, ``manifests``, ``titles``, ``cold``, ``workers``, ``stalled`` and ``start``.
        quick: Run one short round: a functional check, not a measurement.
        earlier: Result of an earlier run, whose other parts are kept.
        on_step: Called with a description of each step.

    Raises:
        ConfigError: nginx or wrk is not installed.
    """
    report = earlier or Report("")
    with TemporaryDirectory(prefix="headend-origin-") as name, ExitStack() as stack:
        servers = _Servers(Path(name), stack, quick=quick, on_step=on_step)
        for part in parts:
            if part == "stalled":
                report = replace(report, stalled_bytes=_stalled(servers))
            elif part == "start":
                report = replace(report, starts=_starts(servers))
            else:
                report = _loaded(part, servers, report)
    version = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.strip()
    report = replace(report, nginx=version)
    return replace(report, targets=targets(report))


class _Servers:
    """A published film, and servers that start at their first use.

    Args:
        folder: Folder for all files.
        stack: Stops the servers when it is closed.
        quick: Whether to use a short film and few titles.
        on_step: Called with a description of each step.
    """

    def __init__(self, folder: Path, stack: ExitStack, *, quick: bool, on_step: Callable[[str], object]) -> None:
        on_step("publishing a synthetic film")
        self.folder, self.quick, self.on_step = folder, quick, on_step
        self.root = folder / "s3" / "films"
        self.paths = publish(LocalStore(self.root), QUICK_HOURS if quick else HOURS)
        key = make_key(Use.PLAYBACK)
        self.keyring = read_keys(key.line, "keys")
        self._keys = folder / "keys"
        self._keys.touch(0o600)
        self._keys.write_text(key.line)
        self._stack = stack
        self._environment: dict[str, str] = {}
        self._servers: dict[str, Server] = {}

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for access to the store over S3."""
        if not self._environment:
            s3 = self._stack.enter_context(rclone_server(self.folder / "s3", buckets=["films"]))
            self._environment = {**s3.environment(), "AWS_ENDPOINT_URL_S3": s3.endpoint_url}
        return self._environment

    def server(self, name: str) -> Server:
        """Return the server with a name; start it if necessary."""
        if name not in self._servers:
            self._servers[name] = self._stack.enter_context(self._start(name))
        return self._servers[name]

    def _start(self, name: str) -> AbstractContextManager[Server]:
        titles, root, bucket = self.root / layout.TITLES, str(self.root), "s3://films"
        match name:
            case "nginx":
                return nginx(titles, self.folder)
            case "nginx, two workers":
                return nginx(titles, self.folder, workers=2)
            case "aiohttp, bare":
                return run_bare()
            case "headend, S3":
                return headend(bucket, environment=self.environment)
            case "headend, S3, disk cache":
                return headend(bucket, "--disk-cache", str(self.folder / "disk"), environment=self.environment)
            case "cold":
                return headend(bucket, "--memory", str(NO_CACHE_BYTES), environment=self.environment)
            case "headend, tokens":
                return headend(root, keys=self._keys)
            case "headend, two workers":
                return headend(root, "--workers", "2")
            case _:
                return headend(root)


def _loaded(part: str, servers: _Servers, report: Report) -> Report:
    """Run the load tests of a part."""
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if servers.quick else (ROUNDS, SECONDS)
    cases = [case for case in _cases(servers, part) if case.part == part]
    rows = [row for row in report.rows if row.case not in {case.name for case in cases}]
    shares = []
    for case in cases:
        servers.on_step(case.name)
        runs: dict[str, list[tuple[Load, float]]] = {name: [] for name in case.servers}
        for name in case.servers * (1 + rounds):  # the first round warms up
            case.before(case.paths)
            own_case = replace(case, paths=with_tokens(case.paths, servers.keyring)) if name == TOKENS else case
            load, used = _run(servers.server(name), own_case, seconds, servers.folder)
            runs[name].append((load, sum(used.values())))
            if name == HEADEND + TWO:
                shares.append(max(used.values()) / sum(used.values()))
        rows += [_row(case.name, name, found[1:]) for name, found in runs.items()]
    report = replace(report, rows=tuple(rows))
    if shares:
        report = replace(report, largest_share=median(shares[1:]))
    if part == "titles":
        with headend(str(servers.folder / "empty")) as idle:
            taken = servers.server(TOKENS).own_bytes() - idle.own_bytes()
        report = replace(report, many_bytes=taken)
    return report


def _cases(servers: _Servers, part: str) -> tuple[Case, ...]:
    everyone = (NGINX, HEADEND, S3)
    paths, root = servers.paths, servers.root
    many: tuple[str, ...] = ()
    if part == "titles":
        title = paths.segments[0].split("/")[1]
        many = tuple(make_copies(root, title, QUICK_TITLES if servers.quick else TITLES, TRACKS_EACH))
    return (
        Case("segments", "segments", paths.segments, (*everyone, S3_DISK)),
        Case("segments", "segments from cold pages", paths.stalled, (NGINX, HEADEND), before=partial(evict, root)),
        Case("manifests", "manifests", paths.manifests, everyone),
        Case("manifests", "304s", paths.manifests[:1], (NGINX, BARE, HEADEND, S3), _etag),
        Case("manifests", "manifests, varied requests", with_cmcd_reports(paths.manifests), (NGINX, BARE, HEADEND)),
        Case("manifests", "playlists", paths.manifests[:1], (HEADEND, TOKENS)),
        Case("titles", "segments of many titles", many, (NGINX, HEADEND, TOKENS)),
        Case("cold", "cold segments", paths.segments, ("cold",), connections=COLD_CONNECTIONS),
        Case(
            "workers",
            "many clients",
            paths.segments,
            (NGINX, NGINX + TWO, HEADEND, HEADEND + TWO),
            connections=MANY_CONNECTIONS,
        ),
    )


def _stalled(servers: _Servers) -> dict[str, int]:
    servers.on_step(f"stalling {STALLED} clients")
    small = ("s3://films", "--memory", str(STALLED_CACHE))
    taken = {}
    for name, options in ((S3, ()), (S3_DISK, ("--disk-cache", str(servers.folder / "stalled")))):
        with headend(*small, *options, environment=servers.environment) as server:
            taken[name] = _stall(server, servers.paths.stalled)
    return taken


def _starts(servers: _Servers) -> Starts:
    servers.on_step(f"starting an origin with {MANY_TITLES:,} titles")
    marked = servers.folder / "marked"
    (marked / layout.PUBLISHED).mkdir(parents=True)
    for number in range(MANY_TITLES):
        (marked / layout.published(f"title-{number:05}")).touch()
    opened_s = min(opening_s(marked)[0] for _ in range(3))
    empty = [opening_s(servers.folder / "empty") for _ in range(3)]
    return Starts(opened_s, min(wall_s for wall_s, _ in empty), min(cpu_s for _, cpu_s in empty))


def evict(root: Path, paths: Sequence[str]) -> None:
    """Drop files from the page cache."""
    for path in paths:
        with (root / f"{layout.TITLES}{path}").open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def targets(report: Report) -> tuple[Target, ...]:
    """Return targets and measured values, for all measured parts."""
    cost = {(row.case, row.server): row.cpu_us for row in report.rows}
    limits = {
        "segments": 1.3,
        "manifests": 3.0,
        "304s": 3.0,
        "manifests, varied requests": 3.0,
        "segments of many titles": 1.3,
        "segments from cold pages": 1.5,
    }
    found = [
        # Files in S3 are served from memory, where sendfile uses smaller pages.
        Target(
            f"{case}: CPU of {server} relative to nginx",
            used / cost[case, NGINX],
            1.5 if (case, server) == ("segments", S3) else limits[case],
        )
        for (case, server), used in cost.items()
        if case in limits and server not in (NGINX, TOKENS, BARE)
    ]
    found += [
        Target(f"{case}: additional CPU µs with tokens", cost[case, TOKENS] - cost[case, HEADEND], 10.0)
        for case in ("playlists", "segments of many titles")
        if (case, TOKENS) in cost
    ]
    if used := cost.get(("cold segments", "cold")):
        found.append(Target("cold segments: CPU ms per MiB", used / 1000 / (mean(SEGMENTS) / MIB), 4.0))
    found += [
        Target(f"{STALLED} stalled readers of {server}: MB beyond its cache", taken / 1e6, 50.0)
        for server, taken in report.stalled_bytes.items()
    ]
    if report.starts is not None:
        opened_s, empty_s = report.starts.opened_s, report.starts.empty_s
        found.append(Target(f"{MANY_TITLES:,} titles: seconds until the port is open", opened_s, 1.0))
        more_s = max(0.0, opened_s - empty_s)
        found.append(Target(f"{MANY_TITLES:,} titles: seconds more than with an empty store", more_s, 0.1))
        found.append(Target("empty store: CPU seconds until the port is open", report.starts.cpu_s, 1.0))
    if report.many_bytes is not None:
        found.append(Target("many titles with tokens: MB beyond --memory", report.many_bytes / 1e6 - MEMORY_MB, 0.0))
    if report.largest_share is not None:
        # The capacity of both workers is reached when the busier one is saturated.
        gain = cost["many clients", HEADEND] / cost["many clients", HEADEND + TWO] / report.largest_share
        found.append(Target("capacity of two workers relative to one", gain, 1.8, at_least=True))
    return tuple(found)


def opening_s(root: Path) -> tuple[float, float]:
    """Return wall and CPU seconds until ``headend serve`` opens its port."""
    started_s = time.monotonic()
    with headend(str(root)) as server:
        return time.monotonic() - started_s, sum(server.cpu_s().values())


@contextmanager
def headend(
    store: str, *options: str, environment: Mapping[str, str] | None = None, keys: Path | None = None
) -> Iterator[Server]:
    """Run ``headend serve``, with tokens if there are keys."""
    access = ["--open"] if keys is None else ["--token-keys", str(keys)]
    argv = [sys.executable, "-m", "headend", "serve", *access, "--store", store, "--port", "0", "--json", *options]
    with run_program(argv, environment) as server:
        yield server


@contextmanager
def nginx(root: Path, folder: Path, *, workers: int = 1) -> Iterator[Server]:
    """Run nginx as a file server, tuned for speed."""
    http = f"""
        access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; open_file_cache max=1000;
        types {{ video/mp4 m4s; application/vnd.apple.mpegurl m3u8; application/dash+xml mpd; }}
        server {{ listen 127.0.0.1:PORT backlog=1024 reuseport; root {root}; }}
    """
    with run_nginx(str(workers), http, folder, workers=workers) as server:
        yield server


def draw(report: Report, path: Path) -> None:
    """Draw the costs of each case, and latencies.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    cases = [
        case
        for case in ("segments", "manifests", "304s", "manifests, varied requests")
        if any(row.case == case for row in report.rows)
    ]
    if not cases:
        return
    late = {f"{row.server}, {row.case}": row.p99_ms for row in report.rows if row.case in cases[:2]}
    titles = [f"{case}: server's CPU per request" for case in cases]
    with charts.panels(
        path, [*titles, "p99 under load"], "headend's origin compared with nginx, one worker each"
    ) as axes:
        for axis, case in zip(axes, cases, strict=False):
            costs = {row.server: row.cpu_us for row in report.rows if row.case == case}
            charts.bars(axis, costs, ours=HEADEND, bound=NGINX, unit="µs")
        charts.bars(axes[-1], late, ours=f"{HEADEND}, {cases[0]}", bound=f"{NGINX}, {cases[0]}", unit="ms")


def _etag(url: str, path: str) -> dict[str, str]:
    try:
        with urlopen(url + path) as answer:
            return {"If-None-Match": answer.headers["ETag"]}
    except HTTPError as unmodified:  # the bare server always responds with 304
        return {"If-None-Match": unmodified.headers["ETag"]}


def _run(server: Server, case: Case, seconds: int, folder: Path) -> tuple[Load, dict[int, float]]:
    """Run a load test; return its result, and the CPU seconds of each server process."""
    headers = case.headers(server.url, case.paths[0])
    before = server.cpu_s()
    load = run_wrk(
        server.url, case.paths, headers=headers, connections=case.connections, seconds=seconds, folder=folder
    )
    if not load.requests:
        raise ToolFailed(f"{case.name}: no response within {seconds} s; use a less busy machine")
    return load, {pid: used - before.get(pid, 0.0) for pid, used in server.cpu_s().items()}


def _row(case: str, server: str, runs: Sequence[tuple[Load, float]]) -> Row:
    costs = tuple(cpu_s / load.requests * 1e6 for load, cpu_s in runs)
    loads = [load for load, _ in runs]
    return Row(
        case=case,
        server=server,
        cpu_us=median(costs),
        cpu_runs_us=costs,
        requests_per_s=median(load.requests / load.seconds for load in loads),
        p50_ms=median(load.p50_ms for load in loads),
        p99_ms=median(load.p99_ms for load in loads),
        mean_bytes=sum(load.received_bytes for load in loads) / sum(load.requests for load in loads),
    )


def _stall(server: Server, paths: Sequence[str]) -> int:
    """Request segments with one client each that never reads, and return the memory used beyond the cache's limit."""
    place = server.url.removeprefix("http://")
    host, _, port = place.partition(":")
    with urlopen(server.url + paths[0]) as answer:
        answer.read()  # load the release's index before the measurement
    before = server.memory_bytes()
    with ExitStack() as stack:
        for path in paths:
            client = stack.enter_context(socket.create_connection((host, int(port))))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        deadline_s = time.monotonic() + SETTLED_S
        while not _has_read(_metrics(server), len(paths)):
            if time.monotonic() > deadline_s:
                raise ToolFailed("the origin did not read all segments; see its output above")
            time.sleep(0.1)
        time.sleep(SPILL_S)  # the origin fills the socket buffers, and spills the rest to disk
        return max(0, server.memory_bytes() - before - STALLED_CACHE)


def _has_read(metrics: str, count: int) -> bool:
    """Return whether more than ``count`` objects were read, and no read is in progress."""
    done = re.search(r'store_reads_total{result="ok"} ([0-9.]+)', metrics)
    return done is not None and float(done[1]) > count and "reads_under_way 0.0" in metrics


def _metrics(server: Server) -> str:
    with urlopen(f"{server.url}/metrics") as answer:
        return str(answer.read().decode())
