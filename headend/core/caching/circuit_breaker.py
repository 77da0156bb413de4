"""Circuit breaker: stops requests to an upstream that fails."""

from collections.abc import Callable

FAILURES = 5
"""Failures in a row that open the circuit."""
PROBE_EVERY_S = 2.0
"""How long an open circuit stays open before one read probes the upstream."""
RETRIES_PER_READ = 0.1
"""Retries earned by each successful read: the largest share of retries in the upstream's load."""
MAX_SAVED_RETRIES = 10.0
"""Most retries that can be saved up."""


class CircuitBreaker:
    """Stops requests to a failing upstream, apart from occasional probes.

    Without it every request would wait for the upstream's retries.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._next_probe_s = 0.0

    def allows(self) -> bool:
        """Whether the upstream may be called; while the circuit is open, true once per `PROBE_EVERY_S`."""
        if self._failures < FAILURES:
            return True
        if self._clock() < self._next_probe_s:
            return False
        self._next_probe_s = self._clock() + PROBE_EVERY_S
        return True

    def note(self, *, failed: bool) -> None:
        """Record how a read ended. A missing object is not a failure."""
        self._failures = self._failures + 1 if failed else 0
        if failed:
            self._next_probe_s = self._clock() + PROBE_EVERY_S


class RetryBudget:
    """Allows retries only while most reads succeed, so that retries can't overload the upstream."""

    def __init__(self) -> None:
        self._saved = MAX_SAVED_RETRIES

    def earn(self) -> None:
        """Record a successful read."""
        self._saved = min(MAX_SAVED_RETRIES, self._saved + RETRIES_PER_READ)

    def spend(self) -> bool:
        """Spend one retry; false if none is left."""
        if self._saved < 1:
            return False
        self._saved -= 1
        return True
