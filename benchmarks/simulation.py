"""Measures the CDN simulation's speed, and whether planned fill pays off."""

import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np

from benchmarks import charts
from cdn_sim import batch, parallel, scenario, simulation, streams
from cdn_sim.accounting import interval
from cdn_sim.model import Scenario
from cdn_sim.players.session import Network, watch
from cdn_sim.players.state import DYNAMIC
from cdn_sim.results import Results, Run
from cdn_sim.scenario import BASE
from cdn_sim.streams import uniform
from headend.core.errors import ConfigError

TARGETS = {"lru": 4.0, "sieve": 6.0, "s3fifo": 10.0, "gdsf": 4.0, "belady": 1.5}
"""Minimum speed of each kernel relative to libcachesim."""
SABRE_US_PER_SEGMENT = 0.146e6 / 199
"""CPU of Sabre per segment, measured together with the tests' golden numbers; Sabre is not run here."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Speed of a policy's kernel, compared with libcachesim on the same requests.

    Attributes:
        policy: Name of the policy.
        requests: Number of requests.
        cpu_s: CPU seconds of the kernel.
        peer_cpu_s: CPU seconds of libcachesim.
        misses: Misses of the kernel.
        peer_misses: Misses of libcachesim.
        target: Minimum of ``ratio``.
    """

    policy: str
    requests: int
    cpu_s: float
    peer_cpu_s: float
    misses: int
    peer_misses: int
    target: float

    @property
    def ratio(self) -> float:
        """Speed relative to libcachesim."""
        return self.peer_cpu_s / self.cpu_s

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.ratio >= self.target


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed of a part of the simulation.

    Attributes:
        what: What is counted.
        count: Number of requests, segments or runs.
        cpu_s: CPU seconds.
        wall_s: Wall seconds.
        peak_bytes: Peak memory; 0 if not measured.
        target: The target, for people.
        met: Whether it is reached.
        finding: The result in a sentence.
    """

    what: str
    count: int
    cpu_s: float
    wall_s: float
    peak_bytes: int
    target: str
    met: bool
    finding: str


@dataclass(frozen=True, slots=True)
class Filled:
    """Result of a way to fill an edge; intervals are halves of 95 % intervals.

    Attributes:
        way: Name of the alternative.
        byte_hit: Byte hit ratio.
        byte_hit_interval: Its interval.
        p95: 95th percentile of transit, relative to that of the best reactive policy.
        p95_interval: Its interval.
        fill_of_misses: Bytes of fill over transit, divided by bytes of misses.
    """

    way: str
    byte_hit: float
    byte_hit_interval: float
    p95: float
    p95_interval: float
    fill_of_misses: float


@dataclass(frozen=True, slots=True)
class Churn:
    """Ways to fill an edge, compared at one speed at which popularity changes.

    Attributes:
        name: Key of `CHURN`.
        best: The reactive policy with the highest byte hit ratio.
        ways: The results.
        finding: The result in a sentence.
    """

    name: str
    best: str
    ways: tuple[Filled, ...]
    finding: str


@dataclass(frozen=True, slots=True)
class Report:
    """Result of the benchmark; parts that did not run are empty.

    Attributes:
        kernels: Speed of the policies' kernels.
        speeds: Speeds by part.
        fill: Planned fill, by churn.
    """

    kernels: tuple[Kernel, ...] = ()
    speeds: dict[str, Speed] = field(default_factory=dict)
    fill: tuple[Churn, ...] = ()


def measure(
    parts: Sequence[str], *, quick: bool, on_step: Callable[[str], object], earlier: Report | None = None
) -> Report:
    """Measure some parts.

    Args:
        parts: Some of ``kernels``, ``players``, ``engine``, ``workers`` and ``fill``.
        quick: Use small cases: a functional check, not a measurement.
        on_step: Called with a description of each step.
        earlier: Result of an earlier run, whose other parts are kept.

    Raises:
        ConfigError: libcachesim, which the part ``kernels`` needs, is not installed.
    """
    report = earlier or Report()
    for part in parts:
        on_step(part)
        match part:
            case "kernels":
                report = replace(report, kernels=_kernels(quick, on_step))
            case "fill":
                report = replace(report, fill=_fill(quick, on_step))
            case _:
                speed = {"players": _players, "engine": _engine, "workers": _workers}[part](quick, on_step)
                report = replace(report, speeds={**report.speeds, part: speed})
    return report


def findings(report: Report) -> list[str]:
    """Return the conclusions, one line each."""
    return [*(speed.finding for speed in report.speeds.values()), *(churn.finding for churn in report.fill)]


def draw(report: Report, path: Path) -> None:
    """Draw the results.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    titles = [
        f"{churn.name} churn: {what}" for churn in report.fill for what in ("bytes from the edge", "transit, p95")
    ]
    titles += ["kernels: speed relative to libcachesim (dotted: target)"] * bool(report.kernels)
    if not titles:
        return
    with charts.panels(path, titles, "headend's simulation") as axes:
        panels = iter(axes)
        for churn in report.fill:
            hits = [(100 * row.byte_hit, 100 * row.byte_hit_interval) for row in churn.ways]
            _draw_ways(next(panels), churn, hits, "%")
            peaks = [(row.p95, row.p95_interval) for row in churn.ways]
            _draw_ways(next(panels), churn, peaks, f"{churn.best} = 1")
        if report.kernels:
            _draw_kernels(next(panels), report.kernels)


def _draw_ways(axis: Any, churn: Churn, values: Sequence[tuple[float, float]], unit: str) -> None:
    ways = [row.way for row in churn.ways]
    colours = [charts.BOUND if "oracle" in way else charts.OURS if "pinned" in way else charts.OTHERS for way in ways]
    means, halves = zip(*values, strict=True)
    axis.barh(ways, means, xerr=halves, color=colours, height=0.65, ecolor="#444444")
    axis.invert_yaxis()
    axis.set_xlabel(unit)
    span = max(means) - min(means)
    axis.set_xlim(min(means) - 0.5 * span - 0.01, max(means) + 0.2 * span + 0.01)


def _draw_kernels(axis: Any, kernels: Sequence[Kernel]) -> None:
    bars = axis.barh([row.policy for row in kernels], [row.ratio for row in kernels], color=charts.OURS, height=0.65)
    axis.bar_label(bars, fmt="%.1f", padding=3, fontsize=9)
    for index, row in enumerate(kernels):
        axis.plot([row.target] * 2, [index - 0.4, index + 0.4], color=charts.BOUND, linestyle=":")
    axis.invert_yaxis()
    axis.margins(x=0.12)


def _cpu(work: Callable[..., Any], *args: Any, **options: Any) -> tuple[float, Any]:
    began_s = time.process_time()
    result = work(*args, **options)
    return time.process_time() - began_s, result


def sessions_in_order(sessions: int, titles: int = 1100, segments: int = 850) -> tuple[Any, Any]:
    """Return the requests of many concurrent sessions that play titles in order, and the size of each object."""
    numbers = np.arange(sessions)
    weights = np.cumsum((np.arange(titles) + 10.0) ** -0.9)
    title = np.searchsorted(weights, uniform(41, numbers) * weights[-1])
    kind, part = uniform(42, numbers), uniform(43, numbers)
    share = np.where(kind < 0.45, part * 0.1, np.where(kind < 0.75, part, 1.0))
    lengths = np.maximum(1, np.ceil(share * segments)).astype(np.int64)
    starts = np.sort(uniform(44, numbers)) * sessions * 3
    session = np.repeat(numbers, lengths)
    segment = np.arange(len(session)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    order = np.argsort(starts[session] + segment, kind="stable")
    requests = (title[session] * segments + segment)[order].astype(np.int32)
    sizes = 500_000 + (streams.draw(45, np.arange(titles * segments)) % np.uint64(2_000_000)).astype(np.int64)
    return requests, sizes


def _kernels(quick: bool, on_step: Callable[[str], object]) -> tuple[Kernel, ...]:
    try:
        peer: Any = import_module("libcachesim")
    except ImportError:
        raise ConfigError("libcachesim is not installed: pip install 'libcachesim>=0.3.5'") from None
    requests, sizes = sessions_in_order(1_000 if quick else 23_500)
    budget = int(sizes[np.unique(requests)].sum() // 10)
    rows: list[Kernel] = []
    classes = {"lru": "LRU", "sieve": "Sieve", "s3fifo": "S3FIFO", "gdsf": "GDSF", "belady": "Belady"}
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.oracleGeneral"
        records = np.zeros(len(requests), dtype=[("time", "<u4"), ("object", "<u8"), ("size", "<u4"), ("next", "<i8")])
        records["time"], records["object"], records["size"] = (
            np.arange(len(requests)) // 1000,
            requests + 1,
            sizes[requests],
        )
        coming = batch.next_uses(requests, len(sizes)).astype(np.int64)
        records["next"] = np.where(coming == len(requests), -1, coming + 1)
        records.tofile(trace)
        for policy, target in TARGETS.items():
            batch.play(policy, requests[:1000], sizes, budget)
            own, theirs, misses, ratio = math.inf, math.inf, 0, 0.0
            for _ in range(1 if quick else 2):
                cpu, hits = _cpu(batch.play, policy, requests, sizes, budget)
                own, misses = min(own, cpu), len(requests) - int(np.count_nonzero(hits))
                reader = peer.TraceReader(str(trace), peer.TraceType.ORACLE_GENERAL_TRACE)
                cpu, (ratio, _) = _cpu(getattr(peer, classes[policy])(budget).process_trace, reader)
                theirs = min(theirs, cpu)
            row = Kernel(policy, len(requests), own, theirs, misses, round(ratio * len(requests)), target)
            rows.append(row)
            on_step(f"  {policy}: {len(requests) / own / 1e6:.1f} M/s, {row.ratio:.1f} × libcachesim")
    return tuple(rows)


def _players(quick: bool, on_step: Callable[[str], object]) -> Speed:
    rates = np.array([300, 600, 1100, 2000, 3500, 6000, 9000, 14000], dtype=np.float64)
    count = 20_000 if quick else 400_000
    sizes = np.outer(0.6 + 0.8 * uniform(21, np.arange(count)), rates * 6000)
    kbps = np.array([800, 2000, 4500, 9000, 20000])[(streams.draw(31, np.arange(5000)) % np.uint64(5)).astype(np.int64)]
    network = Network(np.column_stack([np.full(5000, 4000.0), kbps, np.full(5000, 40.0)]))
    watch(DYNAMIC, network, sizes[:10], rates, 6000.0, 25_000.0, may_abandon=False)
    cpu, _ = _cpu(watch, DYNAMIC, network, sizes, rates, 6000.0, 25_000.0, may_abandon=False)
    ratio = SABRE_US_PER_SEGMENT / (cpu / count * 1e6)
    finding = f"a player's segment takes {cpu / count * 1e9:.0f} ns, 1/{ratio:,.0f} of Sabre's time"
    on_step(f"  {finding}")
    return Speed("players, dynamic: segments", count, cpu, cpu, 0, "2,000 × Sabre", met=ratio >= 2000, finding=finding)


def country(sessions: int) -> Scenario:
    """Return a provider with four edges and a shield, and one day of sessions."""
    return msgspec.convert(
        {
            "name": "day",
            "catalogue": {"titles": 1500, "minutes": [22, 70]},
            "viewers": {
                "sessions_per_day": sessions,
                "seeks_per_hour": 0.4,
                "devices": [{"share": 0.6, "codec": "avc"}, {"share": 0.4, "codec": "hevc"}],
                "access": [
                    {"share": 0.3, "mbps": 6, "spread": 0.5, "rtt_ms": 40, "varies": "markov"},
                    {"share": 0.7, "mbps": 40, "spread": 0.5, "rtt_ms": 15},
                ],
            },
            "edge": {"disk": "2T", "gbps": 400},
            "isps": [{"name": "north", "edges": 4, "shield": {"disk": "6T"}, "transit": {"gbps": 400}}],
        },
        Scenario,
    )


def _engine(quick: bool, on_step: Callable[[str], object]) -> Speed:
    sessions = 5_000 if quick else 1_000_000
    simulation.run(country(10), 0, 1)
    began_s = time.monotonic()
    cpu, tally = _cpu(simulation.run, country(sessions), 0, 1)
    wall_s = time.monotonic() - began_s
    requests = int(tally.requests[: tally.edges].sum())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    finding = (
        f"a day of {sessions:,} sessions, {requests:,} requests: {cpu:.0f} CPU s, "
        f"{requests / cpu / 1e6:.2f} M/s, peak memory {peak / 1e9:.2f} GB"
    )
    on_step(f"  {finding}")
    return Speed(
        f"engine, {sessions:,} sessions, {tally.objects:,} objects, 5 caches: requests",
        requests,
        cpu,
        wall_s,
        peak,
        "1.2 M/s of CPU, 320 CPU s, 1.5 GB",
        met=requests / cpu >= 1.2e6 and cpu <= 320 and peak <= 1.5e9,
        finding=finding,
    )


STUDY = """
name = "study"
summary = "A typical capacity study: two policies, two seeds and two providers, so eight runs."
seeds = [1, 2]

[catalogue]
titles = 1500
minutes = [22, 70]

[viewers]
sessions_per_day = {sessions}
seeks_per_hour = 0.4
devices = [{{ share = 0.6, codec = "avc" }}, {{ share = 0.4, codec = "hevc" }}]
access = [
    {{ share = 0.3, mbps = 6, spread = 0.5, rtt_ms = 40, varies = "markov" }},
    {{ share = 0.7, mbps = 40, spread = 0.5, rtt_ms = 15 }},
]

[edge]
disk = "500G"
gbps = 40

[[isps]]
name = "north"
share = 0.5
edges = 4
shield = {{ disk = "2T" }}
transit = {{ gbps = 40 }}

[[isps]]
name = "south"
share = 0.5
edges = 4
shield = {{ disk = "2T" }}
transit = {{ gbps = 40 }}

[alternatives]
lru = {{ edge.policy = "lru" }}
"""
"""A typical study for `headend simulate`; each run takes about fifteen seconds."""
TURNS = (2, 1, 1, 2)
"""Number of workers of each measurement; alternates, so that other load affects both equally."""


def _workers(quick: bool, on_step: Callable[[str], object]) -> Speed:
    """Time ``headend simulate``, including its start, its imports and its report."""
    found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "study.toml")
        path.write_text(STUDY.format(sessions=2_000 if quick else 180_000))
        simulation.run(country(10), 0, 1)  # compile the kernels
        for workers in TURNS[: 2 if quick else None]:
            argv = [sys.executable, "-m", "headend", "simulate", str(path), "--workers", str(workers), "--json"]
            before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            wall_s, used = time.monotonic() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
            found[workers].append((wall_s, cpu_s))
            on_step(f"  workers: {workers}, {wall_s:.1f} s, {cpu_s:.1f} CPU s")
    wall = {workers: median(wall_s for wall_s, _ in runs) for workers, runs in found.items()}
    cpu = {workers: median(cpu_s for _, cpu_s in runs) for workers, runs in found.items()}
    gain = wall[1] / wall[2]
    finding = (
        f"a study of eight runs takes {wall[1]:.0f} s on one worker and {wall[2]:.0f} s on two, {gain:.2f} times as "
        f"fast, with {cpu[1]:.0f} and {cpu[2]:.0f} CPU s"
    )
    on_step(f"  {finding}")
    return Speed("two workers: runs", 8, cpu[2], wall[2], 0, "1.8 × one", met=gain >= 1.8, finding=finding)


CHURN = {
    "mild": {"exponent": 0.9, "shift": 10, "half_life_days": 6, "floor": 0.15},
    "strong": {"exponent": 1.0, "shift": 3, "half_life_days": 6, "floor": 0.10},
}
"""Popularity over time: with strong churn, half of the views are of recent titles."""


def churning(churn: str, share: float = 0.1) -> dict[str, Scenario]:
    """Return a fortnight with twenty new titles per day, at an edge that stores a share of the library."""
    document: dict[str, Any] = {
        "name": "churn",
        "seeds": [1, 2, 3, 4, 5, 6, 7, 8],
        "days": {"counted": 9, "warm_up": 5},
        "catalogue": {"titles": 1500, "minutes": [30, 30], "ladder": "one", "sound_kbps": 0},
        "popularity": {"releases_per_day": 20, "noise": 0.15, **CHURN[churn]},
        "viewers": {"sessions_per_day": 6000, "access": [{"share": 1.0, "mbps": 30, "spread": 0.3}]},
        "edge": {"disk": f"{1.01 * share:.4f}T", "gbps": 40, "fill": {"mbps": 100}},
        "isps": [{"name": "north", "transit": {"gbps": 10}, "shield": {"disk": "1M"}}],
        "alternatives": {
            "s3fifo": {"edge": {"policy": "s3fifo"}},
            "lru": {"edge": {"policy": "lru"}},
            "ewma, all pinned": {"edge": {"pinned": 1.0, "fill": {"forecast": "ewma"}}},
            "ewma, 80 % pinned": {"edge": {"pinned": 0.8, "fill": {"forecast": "ewma"}}},
            "ewma and releases, 80 % pinned": {"edge": {"pinned": 0.8}},
            "ewma and releases, all pinned": {"edge": {"pinned": 1.0}},
            "oracle, all pinned": {"edge": {"pinned": 1.0, "fill": {"forecast": "oracle"}}},
        },
    }
    return scenario.variants_of(document, "churn")


def _fill(quick: bool, on_step: Callable[[str], object]) -> tuple[Churn, ...]:
    found = []
    for churn in CHURN:
        ways = churning(churn)
        if quick:
            ways = {name: msgspec.structs.replace(each, seeds=(1,)) for name, each in list(ways.items())[:2]}
        found.append(_fill_of(churn, ways, on_step))
    return tuple(found)


def _fill_of(churn: str, ways: dict[str, Scenario], on_step: Callable[[str], object]) -> Churn:
    todo = parallel.tasks(ways)
    found = {}
    for task, tally in parallel.run(todo, workers=len(os.sched_getaffinity(0))):
        found[task.alternative, task.seed] = Run(task.alternative, task.seed, (tally,))
        on_step(f"  {churn}: {task.alternative}, seed {task.seed}")
    runs = [found[task.alternative, task.seed] for task in todo]
    results = Results(ways, tuple(runs), 6000.0)
    reactive = [name for name, each in ways.items() if each.edge.pinned == 0]
    best = max(reactive, key=lambda name: results.mean(name, "byte_hit_ratio")[0])
    rows = []
    for name in ways:
        hit, half = results.mean(name, "byte_hit_ratio")
        p95, wide = _relative_to(results, name, best, "transit_p95_mbps")
        share = results.mean(name, "fill_share_of_misses")[0]
        rows.append(Filled("slru" if name == BASE else name, hit, half, p95, wide, share))
    finding = ""
    planned = "ewma and releases, 80 % pinned"
    if planned in ways:
        gain, half = results.difference(planned, "byte_hit_ratio", best) or (0.0, 0.0)
        peak = next(row for row in rows if row.way == planned)
        best_name = "slru" if best == BASE else best
        finding = (
            f"{churn} churn: 80 % pinned with releases beats {best_name} by {gain * 100:.2f} ± {half * 100:.2f} points "
            f"(target: 0.5), with {peak.p95:.3f} ± {peak.p95_interval:.3f} of its transit (target: 0.98)"
        )
        on_step(f"  {finding}")
    return Churn(churn, "slru" if best == BASE else best, tuple(rows), finding)


def _relative_to(results: Results, name: str, best: str, key: str) -> tuple[float, float]:
    """Return a metric relative to the best reactive policy: mean of the ratios by seed, and half of its 95 % interval.

    Runs with the same seed have the same viewers, so their ratio varies much less between seeds than the metric.
    """
    base = {run.seed: results.metrics(run)[key] for run in results.of(best)}
    return interval([results.metrics(run)[key] / base[run.seed] for run in results.of(name)])
