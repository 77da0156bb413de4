"""The report's metrics by alternative, seed and provider, computed from the counts of each run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cdn_sim.accounting import BINS_PER_DAY, DAY_HOURS, Tally, hit_ratio, interval, p95_mbps
from cdn_sim.compiling import Array
from cdn_sim.model import Scenario
from cdn_sim.outcomes import (
    CHANGE_KBPS,
    DECISIONS,
    DELAYED,
    FAILED,
    GAVE_UP,
    HIT,
    KBPS,
    SEGMENTS,
    SESSIONS,
    STALL_MS,
    STALLS,
    START_MS,
)
from cdn_sim.prices import Bill, monthly_bill
from cdn_sim.scenario import BASE, size_bytes

MISSES = tuple(number for number in range(len(DECISIONS)) if number not in (HIT, DELAYED, FAILED))


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of the report.

    Attributes:
        key: Name in ``report.json``.
        title: Name shown in the report.
        unit: ``share``, ``Mb/s``, ``bytes``, ``ms``, ``kb/s``, ``money`` or ``count``.
        higher_is_better: Whether higher values are better; None if neither is.
    """

    key: str
    title: str
    unit: str
    higher_is_better: bool | None


METRICS = (
    Metric("byte_hit_ratio", "bytes from edges", "share", True),
    Metric("object_hit_ratio", "requests from edges", "share", True),
    Metric("offload", "origin offload, bytes", "share", True),
    Metric("shield_byte_hit_ratio", "shield byte hit ratio", "share", True),
    Metric("transit_p95_mbps", "transit, 95th percentile", "Mb/s", False),
    Metric("transit_bytes", "bytes over transit, fill included", "bytes", False),
    Metric("origin_bytes", "bytes from the origin, fill included", "bytes", False),
    Metric("fill_bytes", "bytes of fill", "bytes", None),
    Metric("fill_share_of_misses", "fill over transit, relative to misses", "share", False),
    Metric("late_bytes", "late fill", "bytes", False),
    Metric("stall_ratio", "time stalled", "share", False),
    Metric("stalls_per_hour", "stalls per hour of viewing", "count", False),
    Metric("start_ms", "startup time", "ms", False),
    Metric("mean_kbps", "mean bitrate", "kb/s", True),
    Metric("change_kbps", "bitrate change per segment", "kb/s", False),
    Metric("failed_share", "failed requests", "share", False),
    Metric("gave_up_share", "viewers who gave up", "share", False),
    Metric("sessions", "sessions", "count", None),
    Metric("requests", "requests", "count", None),
    Metric("sent_bytes", "bytes sent to viewers", "bytes", None),
    Metric("cost_month", "cost per month", "money", False),
)
"""All metrics, the most important first."""


def metrics_of(scenario: Scenario, tallies: Sequence[Tally], *, segment_ms: float) -> dict[str, float]:
    """Compute all metrics of some providers with one seed.

    Args:
        scenario: The alternative's scenario.
        tallies: One tally per provider.
        segment_ms: Length of a segment.
    """
    days = scenario.days.counted
    requests = sum(tally.counted(tally.requests[: tally.edges]).sum(axis=(0, 2)) for tally in tallies)
    sent = sum(tally.counted(tally.sent[: tally.edges]).sum(axis=(0, 2)) for tally in tallies)
    shield = sum(tally.counted(tally.sent[tally.edges]).sum(axis=1) for tally in tallies)
    shield_requests = sum(tally.counted(tally.requests[tally.edges]).sum(axis=1) for tally in tallies)
    experience = sum(tally.experience[tally.warm_up_hours :].sum(axis=0) for tally in tallies)
    assert not isinstance(requests, int) and not isinstance(sent, int) and not isinstance(experience, int)
    assert not isinstance(shield, int) and not isinstance(shield_requests, int)
    fills = [night for tally in tallies for night in tally.fills if night.day * DAY_HOURS >= tally.warm_up_hours]
    missed, pulled = float(sent[list(MISSES)].sum()), float(sum(night.pulled for night in fills))
    origin = float(shield[list(MISSES)].sum())
    watched_ms = experience[SEGMENTS] * segment_ms
    total, total_requests = float(sent.sum()), float(requests.sum())
    bills = bills_of(scenario, tallies)

    def share(part: float, whole: float) -> float:
        return float(part / whole) if whole else 0.0

    return {
        "byte_hit_ratio": hit_ratio(sent[:, None]),
        "object_hit_ratio": hit_ratio(requests[:, None]),
        "offload": 1 - share(origin, total),
        "shield_byte_hit_ratio": hit_ratio(shield[:, None]),
        "transit_p95_mbps": sum(p95_mbps(transit_bins(tally)) for tally in tallies),
        "transit_bytes": missed + pulled,
        "origin_bytes": origin + pulled,
        "fill_bytes": float(sum(night.arrived for night in fills)),
        "fill_share_of_misses": share(pulled, missed),
        "late_bytes": float(sum(night.late for night in fills)),
        "stall_ratio": share(experience[STALL_MS], watched_ms + experience[STALL_MS]),
        "stalls_per_hour": share(experience[STALLS], watched_ms / 3_600_000),
        "start_ms": share(experience[START_MS], experience[SESSIONS]),
        "mean_kbps": share(experience[KBPS], experience[SEGMENTS]),
        "change_kbps": share(experience[CHANGE_KBPS], experience[SEGMENTS]),
        "failed_share": share(requests[FAILED], total_requests),
        "gave_up_share": share(experience[GAVE_UP], experience[SESSIONS]),
        "sessions": float(experience[SESSIONS]) / days,
        "requests": total_requests / days,
        "sent_bytes": total / days,
        "cost_month": sum(bill.total for bill in bills),
    }


def bills_of(scenario: Scenario, tallies: Sequence[Tally]) -> list[Bill]:
    """Monthly costs of each provider."""
    return [
        monthly_bill(
            scenario.origin.prices,
            days=scenario.days.counted,
            p95_mbps=p95_mbps(transit_bins(tally)),
            origin_requests=float(tally.counted(tally.requests[tally.edges]).sum(axis=1)[list(MISSES)].sum()),
            origin_bytes=float(
                tally.counted(tally.sent[tally.edges]).sum(axis=1)[list(MISSES)].sum()
                + sum(night.pulled for night in tally.fills if night.day * DAY_HOURS >= tally.warm_up_hours)
            ),
            machines=tally.edges + 1,
        )
        for tally in tallies
    ]


def transit_bins(tally: Tally) -> Array:
    """Bytes over transit by five minutes after the warm-up, fill included."""
    first = tally.warm_up_hours // DAY_HOURS * BINS_PER_DAY
    return np.asarray((tally.traffic[tally.edges] + tally.fill[tally.edges])[first:])


@dataclass(frozen=True, slots=True)
class Run:
    """One alternative with one seed.

    Attributes:
        alternative: Name of the alternative.
        seed: Seed of the run.
        tallies: One tally per provider, in the scenario's order.
    """

    alternative: str
    seed: int
    tallies: tuple[Tally, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """Results of a simulation.

    Attributes:
        variants: The base scenario and its alternatives, by name.
        runs: All complete runs.
        segment_ms: Length of a segment.
        missing: Number of incomplete runs; above 0 only if the simulation was stopped early.
        played_s: Length of a live run, with real servers and clients; None for a simulation.
    """

    variants: Mapping[str, Scenario]
    runs: tuple[Run, ...]
    segment_ms: float
    missing: int = 0
    played_s: float | None = None

    @property
    def scenario(self) -> Scenario:
        """The base scenario."""
        return self.variants[BASE]

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Names of the alternatives with at least one run, in the scenario's order."""
        complete = {run.alternative for run in self.runs}
        return tuple(name for name in self.variants if name in complete)

    def of(self, alternative: str) -> tuple[Run, ...]:
        """An alternative's runs, by seed."""
        runs = (run for run in self.runs if run.alternative == alternative)
        return tuple(sorted(runs, key=lambda run: run.seed))

    def metrics(self, run: Run, isp: int | None = None) -> dict[str, float]:
        """Metrics of a run, for all providers or one."""
        tallies = run.tallies if isp is None else run.tallies[isp : isp + 1]
        return metrics_of(self.variants[run.alternative], tallies, segment_ms=self.segment_ms)

    def mean(self, alternative: str, key: str) -> tuple[float, float]:
        """Mean of a metric over seeds, and half the width of its 95 % confidence interval."""
        return interval([self.metrics(run)[key] for run in self.of(alternative)])

    def difference(self, alternative: str, key: str, base: str | None = None) -> tuple[float, float] | None:
        """Mean difference of a metric from another alternative, paired by seed.

        Args:
            alternative: Name of the alternative.
            key: Key of the metric.
            base: Name of the alternative to compare with; None for the first one.

        Returns:
            The mean, and half the width of its 95 % confidence interval; None if the two have no seed in common.
        """
        base = base or self.alternatives[0]
        base_values = {run.seed: self.metrics(run)[key] for run in self.of(base)}
        differences = [
            self.metrics(run)[key] - base_values[run.seed] for run in self.of(alternative) if run.seed in base_values
        ]
        return interval(differences) if differences else None

    def over_seeds(self, alternative: str, value: Callable[[Run], Array]) -> Array:
        """Mean of an array over an alternative's seeds."""
        return np.asarray(np.mean([value(run) for run in self.of(alternative)], axis=0))


def disk_bytes(scenario: Scenario, tally: Tally) -> list[int]:
    """Sizes of a provider's caches, the shield last."""
    isp = next(isp for isp in scenario.isps if isp.name == tally.isp)
    return [size_bytes(scenario.edge_of(isp).disk)] * tally.edges + [size_bytes(isp.shield.disk)]
