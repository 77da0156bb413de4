"""First in, first out."""

from cdn_sim.policies.base import Key
from cdn_sim.policies.lru import Lru


class Fifo(Lru):
    """Evict what was stored the longest ago, however often it is asked for."""

    name = "fifo"

    def _hit(self, key: Key) -> bool:
        return key in self._queue
