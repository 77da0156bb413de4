"""How much a store in trouble is asked: not by everyone at once, and not again and again."""

from collections.abc import Callable

FAILURES = 5
"""So many failures in a row, and the store is left alone for a while."""
REST_S = 2.0
"""How long the store is left alone until one read tries it."""
RETRIES_PER_READ = 0.1
"""How many retries each read that goes well makes up for: they are at most that share of the store's load."""
MOST_RETRIES = 10.0
"""How many retries can be saved up."""


class Breaker:
    """Leaves a failing store alone, but for one try now and then.

    Without it each request would wait for the store's own retries, and all threads with it.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._closed_from = 0.0

    def allows(self) -> bool:
        """Whether the store may be asked; after a rest, true for one caller per `REST_S`."""
        if self._failures < FAILURES:
            return True
        if self._clock() < self._closed_from:
            return False
        self._closed_from = self._clock() + REST_S
        return True

    def note(self, *, failed: bool) -> None:
        """Note how a read ended; that something is missing is no failure."""
        self._failures = self._failures + 1 if failed else 0
        if failed:
            self._closed_from = self._clock() + REST_S


class RetryBudget:
    """Lets a read be tried again as long as most reads go well, so that retries never add up to a storm."""

    def __init__(self) -> None:
        self._saved = MOST_RETRIES

    def earn(self) -> None:
        """Note a read that went well."""
        self._saved = min(MOST_RETRIES, self._saved + RETRIES_PER_READ)

    def spend(self) -> bool:
        """Take a retry; tells whether there was one."""
        if self._saved < 1:
            return False
        self._saved -= 1
        return True
