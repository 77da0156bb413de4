"""Policies that rank objects by worth: greedy-dual size frequency (GDSF), and LFU with dynamic aging (LFUDA)."""

import heapq

from cdn_sim.admission import Admission
from cdn_sim.policies.base import Key, Policy


class Gdsf(Policy):
    """Evict the object with the lowest worth: its requests per byte, plus the inflation at its last request.

    ``worth = inflation + uses * 1e6 / size``. The inflation is the worth of the last victim; it grows with time, so
    objects that are no longer requested fall behind. Of objects with equal worth, the least recently requested is
    evicted.

    Source:
        Cherkasova: Improving WWW proxies performance with greedy-dual-size-frequency caching policy, HP, 1998.
    """

    name = "gdsf"

    def __init__(self, budget_bytes: int, admission: Admission | None = None) -> None:
        super().__init__(budget_bytes, admission)
        self._inflation = 0.0
        self._clock = 0
        self._uses: dict[Key, int] = {}
        self._ranks: dict[Key, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Key]] = []  # outdated entries are skipped

    def _worth(self, uses: int, size_bytes: int) -> float:
        return self._inflation + uses * 1e6 / max(size_bytes, 1)

    def _hit(self, key: Key) -> bool:
        if key not in self._uses:
            return False
        self._uses[key] += 1
        self._rank(key)
        return True

    def _store(self, key: Key, size_bytes: int) -> None:  # noqa: ARG002
        self._uses[key] = 1
        self._rank(key)

    def _rank(self, key: Key) -> None:
        self._clock += 1
        worth = self._worth(self._uses[key], self._sizes[key])
        self._ranks[key] = worth, self._clock
        heapq.heappush(self._heap, (worth, self._clock, key))
        if len(self._heap) > 64 + 2 * len(self._ranks):
            self._heap = [(*rank, ranked) for ranked, rank in self._ranks.items()]
            heapq.heapify(self._heap)

    def _evict(self) -> Key:
        while True:
            worth, clock, key = heapq.heappop(self._heap)
            if self._ranks.get(key) == (worth, clock):
                self._inflation = worth
                self._drop(key)
                return key

    def _drop(self, key: Key) -> None:
        del self._uses[key], self._ranks[key]


class Lfuda(Gdsf):
    """Evict the least frequently used object, with aging: ``worth = inflation + uses``.

    Source:
        Arlitt et al.: Evaluating content management techniques for web proxy caches, SIGMETRICS PER 27(4), 2000.
    """

    name = "lfuda"

    def _worth(self, uses: int, size_bytes: int) -> float:  # noqa: ARG002
        return self._inflation + uses
