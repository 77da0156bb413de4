"""S3-FIFO: a small queue as a filter, a main queue, and a ghost queue of evicted keys."""

from collections import OrderedDict

from cdn_sim.admission import Admission
from cdn_sim.policies.base import Key, Policy

SMALL_SHARE = 0.1
"""Share of the budget for the small queue; its size is rounded down to whole bytes."""
GHOST_SHARE = 0.9
"""Size of the ghost queue, in bytes of evicted objects, as a share of the budget."""
PROMOTED_AFTER = 2
"""Hits in the small queue after which an object moves to the main queue, instead of being evicted."""
MAX_USES = 3
"""Maximum hits counted in the main queue; each one saves an object from one eviction."""


class S3Fifo(Policy):
    """Filter objects that are requested only once with a small queue, and keep the others in a main queue.

    It behaves like libCacheSim since 2025. An object with two hits in the small queue moves to the main queue instead
    of being evicted. The ghost queue remembers the objects that the small queue evicted; if one is requested again, it
    enters the main queue. Until the first eviction, objects enter the main queue when the small one is full. Objects
    that are not smaller than the small queue are not stored.

    Source:
        Yang et al.: FIFO queues are all you need for cache eviction, SOSP 2023.
    """

    name = "s3fifo"

    def __init__(self, budget_bytes: int, admission: Admission | None = None) -> None:
        super().__init__(budget_bytes, admission)
        self._small: OrderedDict[Key, int] = OrderedDict()  # key: uses
        self._main: OrderedDict[Key, int] = OrderedDict()
        self._ghost: OrderedDict[Key, int] = OrderedDict()  # key: size
        self._small_bytes = 0
        self._main_bytes = 0
        self._ghost_bytes = 0
        self._has_evicted = False
        self._returning = False

    def _hit(self, key: Key) -> bool:
        if key in self._main:
            self._main[key] += 1
            return True
        if key in self._small:
            self._small[key] += 1
            return True
        size_bytes = self._ghost.pop(key, None)
        self._returning = size_bytes is not None
        self._ghost_bytes -= size_bytes or 0
        return False

    def _fits(self, size_bytes: int) -> bool:
        return size_bytes < self._small_room_bytes

    @property
    def _small_room_bytes(self) -> int:
        return int(self.room_bytes * SMALL_SHARE)

    def _store(self, key: Key, size_bytes: int) -> None:
        warming = not self._has_evicted and self._small_bytes >= self._small_room_bytes
        if self._returning or warming:
            self._main[key] = 0
            self._main_bytes += size_bytes
        else:
            self._small[key] = 0
            self._small_bytes += size_bytes

    def _evict(self) -> Key:
        self._has_evicted = True
        if self._main_bytes <= self.room_bytes - self._small_room_bytes:
            while self._small:
                key, uses = self._small.popitem(last=False)
                size_bytes = self._sizes[key]
                self._small_bytes -= size_bytes
                if uses < PROMOTED_AFTER:
                    self._remember(key, size_bytes)
                    return key
                self._main[key] = 0
                self._main_bytes += size_bytes
        while True:
            key, uses = self._main.popitem(last=False)
            if not uses:
                self._main_bytes -= self._sizes[key]
                return key
            self._main[key] = min(uses, MAX_USES) - 1

    def _remember(self, key: Key, size_bytes: int) -> None:
        room_bytes = int(self.room_bytes * GHOST_SHARE)
        if size_bytes > room_bytes:
            return
        while self._ghost_bytes + size_bytes > room_bytes:
            _, forgotten_bytes = self._ghost.popitem(last=False)
            self._ghost_bytes -= forgotten_bytes
        self._ghost[key] = size_bytes
        self._ghost_bytes += size_bytes

    def _drop(self, key: Key) -> None:
        if key in self._small:
            del self._small[key]
            self._small_bytes -= self._sizes[key]
        else:
            del self._main[key]
            self._main_bytes -= self._sizes[key]
