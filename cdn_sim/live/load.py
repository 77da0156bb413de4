"""Measures an edge's load, which it reports to the steering server."""

import math
import time
from collections.abc import Callable

HEADER = "Headend-Load"
"""Header of the response to ``/readyz``: load as a share of the edge's rate, such as ``0.42``."""
SPAN_S = 10
"""Averaging period in seconds."""


class LoadMeter:
    """Counts the bytes sent in the last `SPAN_S` seconds.

    Args:
        rate_bps: The edge's maximum rate; infinite if not configured.
        clock: Monotonic clock, in seconds.
    """

    def __init__(self, rate_bps: float = math.inf, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate_bps = rate_bps
        self._clock = clock
        self._bytes = [0] * SPAN_S
        self._second = int(clock())

    def add(self, size_bytes: int) -> None:
        """Count sent bytes."""
        if self._rate_bps == math.inf:
            return  # the load is always 0
        self._advance()
        self._bytes[self._second % SPAN_S] += size_bytes

    @property
    def load(self) -> float:
        """Mean rate of the last `SPAN_S` seconds, as a share of the maximum rate."""
        self._advance()
        return sum(self._bytes) * 8 / SPAN_S / self._rate_bps

    def _advance(self) -> None:
        now = int(self._clock())
        if now == self._second:
            return
        for second in range(max(self._second + 1, now - SPAN_S + 1), now + 1):
            self._bytes[second % SPAN_S] = 0
        self._second = now
