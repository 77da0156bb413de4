"""Belady's policy, which knows the future: optimal if all objects have the same size, and nearly so otherwise."""

import heapq
from collections.abc import Sequence

from cdn_sim.admission import Admission
from cdn_sim.policies.base import Key, Policy, Verdict


class Belady(Policy):
    """Evict the object whose next request is furthest away; objects without another request go first.

    Args:
        budget_bytes: Size of the cache.
        admission: Rule for storing missed objects; None stores all.
        future: The keys of all future requests, in order.

    Source:
        Belady: A study of replacement algorithms for a virtual-storage computer, IBM Systems Journal 5(2), 1966.
    """

    name = "belady"

    def __init__(self, budget_bytes: int, admission: Admission | None = None, *, future: Sequence[Key]) -> None:
        super().__init__(budget_bytes, admission)
        never = len(future)
        next_request: dict[Key, int] = {}
        self._next_uses = [never] * never
        for number in range(never - 1, -1, -1):
            self._next_uses[number] = next_request.get(future[number], never)
            next_request[future[number]] = number
        self._number = -1
        self._next_use: dict[Key, int] = {}
        self._heap: list[tuple[int, int, Key]] = []  # furthest first; outdated entries are skipped

    def request(self, key: Key, size_bytes: int) -> Verdict:
        """Decide on the next request of the given future."""
        self._number += 1
        return super().request(key, size_bytes)

    def _hit(self, key: Key) -> bool:
        if key not in self._next_use:
            return False
        self._store(key, 0)
        return True

    def _store(self, key: Key, size_bytes: int) -> None:  # noqa: ARG002
        self._next_use[key] = self._next_uses[self._number]
        heapq.heappush(self._heap, (-self._next_use[key], self._number, key))

    def _evict(self) -> Key:
        while True:
            use, _, key = heapq.heappop(self._heap)
            if self._next_use.get(key) == -use:
                del self._next_use[key]
                return key

    def _drop(self, key: Key) -> None:
        del self._next_use[key]
