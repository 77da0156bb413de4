"""Estimating the remaining time of a job on a shared cluster."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

WINDOW_S = 120.0
"""Window over which the cluster's speed is measured."""


@dataclass(frozen=True, slots=True)
class Remaining:
    """The remaining work of a job.

    Attributes:
        priority: 0 to 100.
        cost: Predicted CPU seconds of its unfinished tasks.
    """

    priority: int
    cost: float


def left_s(job: str, remaining: Mapping[str, Remaining], speed: float) -> float | None:
    """Estimate the seconds until a job's tasks are done; None while the speed is unknown.

    Jobs of higher priority are finished first. Jobs of equal priority share the cluster equally: until this job is
    done, each of them completes as much work as this job, or all of its own if that is less.

    Args:
        job: The job's id.
        remaining: Remaining work of the running jobs, this one included.
        speed: Predicted CPU seconds of work that the cluster completes per second.
    """
    own = remaining[job]
    if speed <= 0:
        return 0.0 if own.cost <= 0 else None
    before = sum(other.cost for other in remaining.values() if other.priority > own.priority)
    alongside = sum(min(other.cost, own.cost) for other in remaining.values() if other.priority == own.priority)
    return (before + alongside) / speed


class Pace:
    """Measures how fast a cluster works, over the last `WINDOW_S` seconds.

    Args:
        clock: A monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._total = 0.0
        self._known: dict[str, float] = {}
        self._samples: deque[tuple[float, float]] = deque()

    def update(self, done: Mapping[str, float]) -> None:
        """Add a sample: predicted CPU seconds of each running job's finished work, which drop if an attempt fails."""
        for job, cost in done.items():
            self._total += cost - self._known.get(job, 0.0)
        self._known = dict(done)
        now_s = self._clock()
        self._samples.append((now_s, self._total))
        while len(self._samples) > 2 and self._samples[1][0] <= now_s - WINDOW_S:
            self._samples.popleft()

    @property
    def speed(self) -> float:
        """Predicted CPU seconds of work completed per second; 0 while unknown."""
        if len(self._samples) < 2:
            return 0.0
        (began_s, before), (ended_s, after) = self._samples[0], self._samples[-1]
        return max(0.0, after - before) / (ended_s - began_s) if ended_s > began_s else 0.0
