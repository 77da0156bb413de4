"""How long a job still takes on a cluster that others use too. Pure."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

WINDOW_S = 120.0
"""Over which time the cluster's speed is measured."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of a job.

    Attributes:
        priority: 0 to 100.
        cost: Predicted CPU seconds of what is not done.
    """

    priority: int
    cost: float


def left_s(job: str, rests: Mapping[str, Rest], speed: float) -> float | None:
    """Seconds until a job's tasks are done; None while nobody can tell.

    All work of more urgent jobs goes first. Jobs of its own priority take turns with it until they are done, so that
    of each of them as much is done meanwhile as the job itself has left.

    Args:
        job: Which one.
        rests: What is left of the jobs that run, this one included.
        speed: Predicted CPU seconds that the cluster gets done in a second.
    """
    own = rests[job]
    if speed <= 0:
        return 0.0 if own.cost <= 0 else None
    before = sum(rest.cost for rest in rests.values() if rest.priority > own.priority)
    beside = sum(min(rest.cost, own.cost) for rest in rests.values() if rest.priority == own.priority)
    return (before + beside) / speed


class Pace:
    """How fast a cluster works, over the last minutes.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._total = 0.0
        self._known: dict[str, float] = {}
        self._samples: deque[tuple[float, float]] = deque()

    def see(self, done: Mapping[str, float]) -> None:
        """Take in the cost of what is done of each job that runs; what a failed attempt had done counts no more."""
        for job, cost in done.items():
            self._total += cost - self._known.get(job, 0.0)
        self._known = dict(done)
        now_s = self._clock()
        self._samples.append((now_s, self._total))
        while len(self._samples) > 2 and self._samples[1][0] <= now_s - WINDOW_S:
            self._samples.popleft()

    @property
    def speed(self) -> float:
        """Predicted CPU seconds done in a second; 0 while it is not known."""
        if len(self._samples) < 2:
            return 0.0
        (began_s, before), (ended_s, after) = self._samples[0], self._samples[-1]
        return max(0.0, after - before) / (ended_s - began_s) if ended_s > began_s else 0.0
