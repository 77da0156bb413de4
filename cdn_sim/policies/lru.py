"""Least recently used."""

from collections import OrderedDict

from cdn_sim.admission import Admission
from cdn_sim.policies.base import Key, Policy


class Lru(Policy):
    """Evict the least recently requested object."""

    name = "lru"

    def __init__(self, budget_bytes: int, admission: Admission | None = None) -> None:
        super().__init__(budget_bytes, admission)
        self._queue: OrderedDict[Key, None] = OrderedDict()

    def _hit(self, key: Key) -> bool:
        if key not in self._queue:
            return False
        self._queue.move_to_end(key)
        return True

    def _store(self, key: Key, size_bytes: int) -> None:  # noqa: ARG002
        self._queue[key] = None

    def _evict(self) -> Key:
        return self._queue.popitem(last=False)[0]

    def _drop(self, key: Key) -> None:
        del self._queue[key]
