"""Counts of a run by hour, and statistics of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cdn_sim.compiling import Array
from cdn_sim.outcomes import DECISIONS, DELAYED, ENDED, FAILED, GAVE_UP, HIT, SESSIONS
from headend.core.errors import HeadendError

DAY_HOURS = 24
BINS_PER_DAY = 288


@dataclass(frozen=True, slots=True)
class FillDay:
    """One night's fill at one provider, in bytes, summed over its edges.

    Attributes:
        day: Day, from 0.
        planned: New bytes in the plan.
        arrived: Bytes that arrived within the window.
        pulled: Arrived bytes that crossed transit.
        late: Bytes that did not arrive in time.
        replaced: Bytes of the previous plan that were removed.
        held: Bytes of the whole plan.
    """

    day: int
    planned: float
    arrived: float
    pulled: float
    late: float
    replaced: float
    held: float


@dataclass(frozen=True, slots=True)
class Tally:
    """All counts of one provider with one seed.

    Attributes:
        isp: Name of the provider.
        seed: Seed of the run.
        edges: Number of edges; in ``requests`` and ``sent`` the shield follows them.
        warm_up_hours: Hours at the start that metrics don't count.
        requests: Requests by cache, decision and hour.
        sent: Bytes sent by cache, decision and hour.
        traffic: Bytes by link (edges, transit, origin link) and five minutes, without fill.
        fill: Bytes of fill by link and five minutes.
        experience: Viewers' experience by hour; see `cdn_sim.outcomes.EXPERIENCE`.
        fills: Fill of each night.
        peak_sessions: Maximum number of concurrent sessions.
        active: Sessions still playing at the end.
        tail: Bytes that a link could not carry within four minutes of their request, by link.
        away: Bytes that the shield sent directly to viewers, because no edge was up.
        library_bytes: Bytes of all titles, in their first version.
        objects: Number of objects of all versions of all titles.
        cpu_s: CPU seconds of the run; not part of any metric.
    """

    isp: str
    seed: int
    edges: int
    warm_up_hours: int
    requests: Array
    sent: Array
    traffic: Array
    fill: Array
    experience: Array
    fills: tuple[FillDay, ...]
    peak_sessions: int
    active: int
    tail: Array
    away: float
    library_bytes: int
    objects: int
    cpu_s: float = field(compare=False, default=0.0)

    def check(self) -> None:
        """Check that counts of bytes, requests and sessions balance.

        Raises:
            HeadendError: They don't; the simulation has a bug.
        """
        missed = [number for number in range(len(DECISIONS)) if number not in (HIT, DELAYED, FAILED)]
        edges, shield = self.sent[: self.edges], self.sent[self.edges]
        balances = {
            "bytes of edge misses = bytes from the shield": (edges[:, missed].sum(), shield.sum()),
            "bytes from the shield = bytes over transit": (shield.sum(), self.traffic[self.edges].sum()),
            "bytes of shield misses = bytes from the origin": (
                shield[missed].sum(),
                self.traffic[self.edges + 1].sum(),
            ),
            "bytes from edges = bytes over their links": (
                edges.sum() - self.away,
                self.traffic[: self.edges].sum(),
            ),
            "requests missed by edges = requests to the shield": (
                self.requests[: self.edges][:, [*missed, FAILED]].sum(),
                self.requests[self.edges].sum(),
            ),
            "sessions started = sessions ended, gave up or still playing": (
                self.experience[:, SESSIONS].sum(),
                self.experience[:, ENDED].sum() + self.experience[:, GAVE_UP].sum() + self.active,
            ),
        }
        for name, (left, right) in balances.items():
            if abs(left - right) > 1e-6 * max(abs(left), abs(right), 1.0):
                raise HeadendError(f"the counts of {self.isp} don't balance: {name}: {left:,.0f} and {right:,.0f}")

    def counted(self, hourly: Array) -> Array:
        """The part after the warm-up of an array whose last axis is hours."""
        return hourly[..., self.warm_up_hours :]


def hit_ratio(sent: Array) -> float:
    """Share of requests or bytes that a tier serves from its cache.

    Args:
        sent: Requests or bytes by decision (second to last axis) and hour (last axis).
    """
    by_decision = sent.sum(axis=-1)
    total = by_decision[..., :FAILED].sum()
    return float((by_decision[..., HIT] + by_decision[..., DELAYED]).sum() / total) if total else 0.0


def p95_mbps(bins: Array) -> float:
    """Billed transit rate: the 95th percentile of five-minute means, in Mb/s.

    Args:
        bins: Bytes of each five minutes.
    """
    if not len(bins):
        return 0.0
    ordered = np.sort(bins)
    number = max(0, int(np.ceil(0.95 * len(ordered))) - 1)
    return float(ordered[number] * 8 / 300 / 1e6)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % confidence interval by Student's t-distribution; 0 for a single value."""
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) < 2:
        return float(numbers.mean()), 0.0
    quantiles = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
    freedom = len(numbers) - 1
    # Beyond the table, the first terms of the expansion around the normal distribution are off by less than 0.001.
    quantile = quantiles[freedom - 1] if freedom <= len(quantiles) else 1.960 + 2.372 / freedom + 2.82 / freedom**2
    return float(numbers.mean()), float(quantile * numbers.std(ddof=1) / np.sqrt(len(numbers)))
