"""First in, first out."""

from cdn_sim.policies.base import Key
from cdn_sim.policies.lru import Lru


class Fifo(Lru):
    """Evict the object that was stored first, regardless of requests."""

    name = "fifo"

    def _hit(self, key: Key) -> bool:
        return key in self._queue
