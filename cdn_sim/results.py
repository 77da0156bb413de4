"""From counts to metrics: what the report shows, by alternative, seed and provider."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cdn_sim.accounting import BINS_PER_DAY, DAY_HOURS, Tally, hit_ratio, interval, p95_mbps
from cdn_sim.compiling import Array
from cdn_sim.engine import (
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
from cdn_sim.model import Scenario
from cdn_sim.prices import Bill, bill
from cdn_sim.scenario import BASE, size_bytes

MISSES = tuple(number for number in range(len(DECISIONS)) if number not in (HIT, DELAYED, FAILED))


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the report.

    Attributes:
        key: Its name in ``report.json``.
        title: Its name for people.
        unit: ``share``, ``Mb/s``, ``bytes``, ``ms``, ``kb/s``, ``money`` or ``count``.
        higher_is_better: Which way is good; None where neither is.
    """

    key: str
    title: str
    unit: str
    higher_is_better: bool | None


FIGURES = (
    Figure("byte_hit_ratio", "bytes from edges", "share", True),
    Figure("object_hit_ratio", "requests from edges", "share", True),
    Figure("offload", "bytes that never left the origin", "share", True),
    Figure("shield_byte_hit_ratio", "bytes from the shield, of what it is asked for", "share", True),
    Figure("transit_p95_mbps", "transit, 95th percentile", "Mb/s", False),
    Figure("transit_bytes", "bytes over transit, fill included", "bytes", False),
    Figure("origin_bytes", "bytes from the origin, fill included", "bytes", False),
    Figure("fill_bytes", "bytes of fill", "bytes", None),
    Figure("fill_share_of_misses", "fill over transit, of bytes missed", "share", False),
    Figure("late_bytes", "fill that came too late", "bytes", False),
    Figure("stall_ratio", "time without picture", "share", False),
    Figure("stalls_per_hour", "stalls an hour of viewing", "count", False),
    Figure("start_ms", "time to the first picture", "ms", False),
    Figure("mean_kbps", "mean bit rate", "kb/s", True),
    Figure("change_kbps", "change of bit rate per segment", "kb/s", False),
    Figure("failed_share", "requests that failed", "share", False),
    Figure("gave_up_share", "viewers who gave up", "share", False),
    Figure("sessions", "sessions", "count", None),
    Figure("requests", "requests", "count", None),
    Figure("sent_bytes", "bytes sent to viewers", "bytes", None),
    Figure("cost_month", "cost of a month", "money", False),
)
"""All metrics, the most important first."""


def figures_of(scenario: Scenario, tallies: Sequence[Tally], *, segment_ms: float) -> dict[str, float]:
    """All metrics of some providers with one seed.

    Args:
        scenario: The variant.
        tallies: One per provider.
        segment_ms: Length of a segment.
    """
    days = scenario.days.counted
    requests = sum(tally.counted(tally.requests[: tally.edges]).sum(axis=(0, 2)) for tally in tallies)
    sent = sum(tally.counted(tally.sent[: tally.edges]).sum(axis=(0, 2)) for tally in tallies)
    shield = sum(tally.counted(tally.sent[tally.edges]).sum(axis=1) for tally in tallies)
    shield_requests = sum(tally.counted(tally.requests[tally.edges]).sum(axis=1) for tally in tallies)
    seen = sum(tally.seen[tally.warm_up_hours :].sum(axis=0) for tally in tallies)
    assert not isinstance(requests, int) and not isinstance(sent, int) and not isinstance(seen, int)
    assert not isinstance(shield, int) and not isinstance(shield_requests, int)
    fills = [each for tally in tallies for each in tally.fills if each.day * DAY_HOURS >= tally.warm_up_hours]
    missed, pulled = float(sent[list(MISSES)].sum()), float(sum(each.pulled for each in fills))
    origin = float(shield[list(MISSES)].sum())
    watched_ms = seen[SEGMENTS] * segment_ms
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
        "fill_bytes": float(sum(each.arrived for each in fills)),
        "fill_share_of_misses": share(pulled, missed),
        "late_bytes": float(sum(each.late for each in fills)),
        "stall_ratio": share(seen[STALL_MS], watched_ms + seen[STALL_MS]),
        "stalls_per_hour": share(seen[STALLS], watched_ms / 3_600_000),
        "start_ms": share(seen[START_MS], seen[SESSIONS]),
        "mean_kbps": share(seen[KBPS], seen[SEGMENTS]),
        "change_kbps": share(seen[CHANGE_KBPS], seen[SEGMENTS]),
        "failed_share": share(requests[FAILED], total_requests),
        "gave_up_share": share(seen[GAVE_UP], seen[SESSIONS]),
        "sessions": float(seen[SESSIONS]) / days,
        "requests": total_requests / days,
        "sent_bytes": total / days,
        "cost_month": sum(each.total for each in bills),
    }


def bills_of(scenario: Scenario, tallies: Sequence[Tally]) -> list[Bill]:
    """A month's costs, provider by provider."""
    return [
        bill(
            scenario.origin.prices,
            days=scenario.days.counted,
            p95_mbps=p95_mbps(transit_bins(tally)),
            origin_requests=float(tally.counted(tally.requests[tally.edges]).sum(axis=1)[list(MISSES)].sum()),
            origin_bytes=float(
                tally.counted(tally.sent[tally.edges]).sum(axis=1)[list(MISSES)].sum()
                + sum(each.pulled for each in tally.fills if each.day * DAY_HOURS >= tally.warm_up_hours)
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
        alternative: Its name.
        seed: Its seed.
        tallies: One per provider, in the scenario's order.
    """

    alternative: str
    seed: int
    tallies: tuple[Tally, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that came out.

    Attributes:
        variants: The scenario as given and its alternatives, by name.
        runs: All runs that are complete.
        segment_ms: Length of a segment.
        missing: How many runs are not complete, since the simulation was stopped.
        played_s: Seconds that were played live, with real servers and clients; None for simulated days.
    """

    variants: Mapping[str, Scenario]
    runs: tuple[Run, ...]
    segment_ms: float
    missing: int = 0
    played_s: float | None = None

    @property
    def scenario(self) -> Scenario:
        """The scenario as given."""
        return self.variants[BASE]

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Names of the alternatives with at least one run, in the scenario's order."""
        there = {run.alternative for run in self.runs}
        return tuple(name for name in self.variants if name in there)

    def of(self, alternative: str) -> tuple[Run, ...]:
        """An alternative's runs, by seed."""
        found = (run for run in self.runs if run.alternative == alternative)
        return tuple(sorted(found, key=lambda run: run.seed))

    def figures(self, run: Run, isp: int | None = None) -> dict[str, float]:
        """Figures of one run, of all providers or of one."""
        tallies = run.tallies if isp is None else run.tallies[isp : isp + 1]
        return figures_of(self.variants[run.alternative], tallies, segment_ms=self.segment_ms)

    def mean(self, alternative: str, key: str) -> tuple[float, float]:
        """Mean of a figure over seeds, and half the width of its 95 % interval."""
        return interval([self.figures(run)[key] for run in self.of(alternative)])

    def difference(self, alternative: str, key: str, base: str | None = None) -> tuple[float, float] | None:
        """How much more an alternative has than the first one, paired by seed, with its interval.

        None if they have no seed in common.
        """
        base = base or self.alternatives[0]
        first = {run.seed: self.figures(run)[key] for run in self.of(base)}
        pairs = [self.figures(run)[key] - first[run.seed] for run in self.of(alternative) if run.seed in first]
        return interval(pairs) if pairs else None

    def over_seeds(self, alternative: str, value: Callable[[Run], Array]) -> Array:
        """Mean of arrays over an alternative's seeds."""
        return np.asarray(np.mean([value(run) for run in self.of(alternative)], axis=0))


def disk_bytes(scenario: Scenario, tally: Tally) -> list[int]:
    """Sizes of a provider's caches, the shield last."""
    isp = next(isp for isp in scenario.isps if isp.name == tally.isp)
    return [size_bytes(scenario.edge_of(isp).disk)] * tally.edges + [size_bytes(isp.shield.disk)]
