"""How much of its rate an edge sends, as it tells the steering server."""

import math
import time
from collections.abc import Callable

HEADER = "Headend-Load"
"""Of the response to ``/readyz``: share of the edge's rate that is taken, such as ``0.42``."""
SPAN_S = 10
"""Over how many seconds it is averaged."""


class LoadMeter:
    """Counts bytes by second, over the last few.

    Args:
        rate_bps: What the edge may send; infinite if nobody said.
        clock: Seconds, monotonic.
    """

    def __init__(self, rate_bps: float = math.inf, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate_bps = rate_bps
        self._clock = clock
        self._bytes = [0] * SPAN_S
        self._second = int(clock())

    def add(self, size_bytes: int) -> None:
        """Count what was sent."""
        if self._rate_bps == math.inf:
            return  # the load is 0, whatever is sent
        self._pass()
        self._bytes[self._second % SPAN_S] += size_bytes

    @property
    def load(self) -> float:
        """Share of the rate that was taken."""
        self._pass()
        return sum(self._bytes) * 8 / SPAN_S / self._rate_bps

    def _pass(self) -> None:
        now = int(self._clock())
        if now == self._second:
            return
        for second in range(max(self._second + 1, now - SPAN_S + 1), now + 1):
            self._bytes[second % SPAN_S] = 0
        self._second = now
