"""Base of all cache policies: a budget, a planned part, and a decision per request.

A cache has a planned part, whose objects a fill plan pins, and a reactive part, which stores missed objects and evicts
others for them.

A policy decides when an object is requested, not when its bytes have arrived, because sizes are known from the track
index. So a request for an object that is still being fetched is a hit, and decisions don't depend on timing: a live
edge and a simulation decide alike. If a fetch fails, the caller removes the object.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from cdn_sim.admission import Admission, AdmitAll

Key = Hashable


@dataclass(frozen=True, slots=True)
class Verdict:
    """A policy's decision on a request.

    Attributes:
        hit: Whether the object is in the cache, or is being fetched into it.
        admitted: Whether the object was a miss and is stored now.
        evicted: Objects that were evicted to make room, in order.
    """

    hit: bool
    admitted: bool
    evicted: tuple[Key, ...] = ()


HIT = Verdict(hit=True, admitted=False)
PASSED = Verdict(hit=False, admitted=False)
"""A miss that is not stored: too large, or refused by admission."""


class Policy(ABC):
    """A cache of objects of different sizes within a budget.

    Requests never evict objects of the planned part, whose bytes count towards the budget. An object keeps the size
    with which it was stored. Not thread-safe.

    Args:
        budget_bytes: Size of the cache, including the planned part; at least 1.
        admission: Rule for storing missed objects; None stores all.

    Raises:
        ValueError: The budget is not positive.
    """

    name: ClassVar[str]

    def __init__(self, budget_bytes: int, admission: Admission | None = None) -> None:
        if budget_bytes < 1:
            raise ValueError(f"a cache needs a budget of at least 1 byte, not {budget_bytes}")
        self.budget_bytes = budget_bytes
        self._admission = admission or AdmitAll()
        self._sizes: dict[Key, int] = {}
        self._pinned: dict[Key, int] = {}
        self._reactive_bytes = 0
        self._pinned_bytes = 0

    @property
    def used_bytes(self) -> int:
        """Bytes of all stored objects, at most `budget_bytes`."""
        return self._reactive_bytes + self._pinned_bytes

    @property
    def pinned_bytes(self) -> int:
        """Bytes of the planned part."""
        return self._pinned_bytes

    @property
    def pinned(self) -> tuple[Key, ...]:
        """Objects of the planned part, in the order they were pinned."""
        return tuple(self._pinned)

    def is_pinned(self, key: Key) -> bool:
        """Whether an object is in the planned part."""
        return key in self._pinned

    @property
    def room_bytes(self) -> int:
        """Budget of the reactive part."""
        return self.budget_bytes - self._pinned_bytes

    def __contains__(self, key: Key) -> bool:
        return key in self._sizes or key in self._pinned

    def __len__(self) -> int:
        return len(self._sizes) + len(self._pinned)

    def request(self, key: Key, size_bytes: int) -> Verdict:
        """Record a request and decide on it.

        Args:
            key: The object.
            size_bytes: Its full size, at least 0; ignored if the object is stored.

        Returns:
            Whether it is a hit; if not, whether it is stored and which objects are evicted for it.
        """
        if key in self._pinned:
            return HIT
        is_admitted = self._admission.admits(key, size_bytes)
        if self._hit(key):
            return HIT
        if not is_admitted or not self._fits(size_bytes):
            return PASSED
        evicted = self._make_room(size_bytes)
        self._sizes[key] = size_bytes
        self._reactive_bytes += size_bytes
        self._store(key, size_bytes)
        return Verdict(hit=False, admitted=True, evicted=evicted)

    def remove(self, key: Key) -> None:
        """Remove an object from either part, if it is stored, because its fetch failed or it was purged."""
        if key in self._pinned:
            self._pinned_bytes -= self._pinned.pop(key)
        elif key in self._sizes:
            self._drop(key)
            self._reactive_bytes -= self._sizes.pop(key)

    def pin(self, items: Iterable[tuple[Key, int]]) -> tuple[Key, ...]:
        """Add objects to the planned part; objects of the reactive part move over.

        Args:
            items: Keys and sizes in bytes.

        Returns:
            Objects evicted from the reactive part to make room.

        Raises:
            ValueError: The planned part would exceed the budget; nothing was pinned.
        """
        added = {key: size for key, size in items if key not in self._pinned}
        if self._pinned_bytes + sum(added.values()) > self.budget_bytes:
            raise ValueError(f"the planned part does not fit into a cache of {self.budget_bytes:,} bytes")
        for key, size_bytes in added.items():
            self.remove(key)
            self._pinned[key] = size_bytes
            self._pinned_bytes += size_bytes
        return self._make_room(0)

    def unpin(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        """Remove objects of the planned part from the cache; returns those that were pinned."""
        removed = tuple(key for key in dict.fromkeys(keys) if key in self._pinned)
        for key in removed:
            self.remove(key)
        return removed

    def _make_room(self, size_bytes: int) -> tuple[Key, ...]:
        evicted: list[Key] = []
        while self._reactive_bytes + size_bytes > self.room_bytes:
            victim = self._evict()
            self._reactive_bytes -= self._sizes.pop(victim)
            evicted.append(victim)
        return tuple(evicted)

    def _fits(self, size_bytes: int) -> bool:
        return size_bytes <= self.room_bytes

    @abstractmethod
    def _hit(self, key: Key) -> bool:
        """Record a request; returns whether the object is in the reactive part."""

    @abstractmethod
    def _store(self, key: Key, size_bytes: int) -> None:
        """Add an object to the reactive part, which has room for it."""

    @abstractmethod
    def _evict(self) -> Key:
        """Choose a victim in the reactive part, remove it and return it; called only if that part is not empty."""

    @abstractmethod
    def _drop(self, key: Key) -> None:
        """Remove an object from the reactive part."""
