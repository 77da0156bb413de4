"""What every cache policy has in common: a budget, a planned part, and decisions made at the request.

A policy decides when an object is asked for, not when its bytes have arrived: sizes are known from the track index. So
a request for an object that is still on its way is a hit for the policy, and a live edge and a simulation decide alike
whatever the timing. When a fetch fails, the caller removes the object.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from cdn_sim.admission import Admission, AdmitAll

Key = Hashable


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy decides about one request.

    Attributes:
        hit: The object is in the cache, or on its way into it.
        admitted: It was not, and is stored now.
        evicted: What leaves the cache to make room, in this order.
    """

    hit: bool
    admitted: bool
    evicted: tuple[Key, ...] = ()


HIT = Verdict(hit=True, admitted=False)
PASSED = Verdict(hit=False, admitted=False)
"""A miss that is not stored: too large, or turned away by admission."""


class Policy(ABC):
    """A cache of objects of different sizes within a budget.

    The pinned (planned) part is never evicted by requests and takes its bytes out of the budget; the policy proper
    rules over the rest. An object keeps the size it was stored with. Not for use from several threads.

    Args:
        budget_bytes: Size of the cache, pinned part included; at least 1.
        admission: Which missed objects may be stored.

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
        """Bytes of everything that is stored, at most `budget_bytes`."""
        return self._reactive_bytes + self._pinned_bytes

    @property
    def pinned_bytes(self) -> int:
        """Bytes of the planned part."""
        return self._pinned_bytes

    @property
    def pinned(self) -> tuple[Key, ...]:
        """Objects of the planned part, in the order in which they joined it."""
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
        """Decide about a request, and remember it.

        Args:
            key: Which object.
            size_bytes: Its whole size, at least 0; of a stored object the size at admission counts.

        Returns:
            Whether it is a hit, and otherwise whether it is stored and what has to go for it.
        """
        if key in self._pinned:
            return HIT
        admissible = self._admission.admits(key, size_bytes)
        if self._hit(key):
            return HIT
        if not admissible or not self._fits(size_bytes):
            return PASSED
        evicted = self._make_room(size_bytes)
        self._sizes[key] = size_bytes
        self._reactive_bytes += size_bytes
        self._store(key, size_bytes)
        return Verdict(hit=False, admitted=True, evicted=evicted)

    def remove(self, key: Key) -> None:
        """Forget an object, if it is there: its fetch failed, or it was purged."""
        if key in self._pinned:
            self._pinned_bytes -= self._pinned.pop(key)
        elif key in self._sizes:
            self._drop(key)
            self._reactive_bytes -= self._sizes.pop(key)

    def pin(self, items: Iterable[tuple[Key, int]]) -> tuple[Key, ...]:
        """Add objects to the planned part.

        Objects of the reactive part that are pinned now just change sides.

        Args:
            items: Keys and sizes in bytes.

        Returns:
            Objects of the reactive part that leave the cache to make room.

        Raises:
            ValueError: The planned part would be larger than the budget; nothing was pinned.
        """
        wanted = {key: size for key, size in items if key not in self._pinned}
        if self._pinned_bytes + sum(wanted.values()) > self.budget_bytes:
            raise ValueError(f"the planned part does not fit into a cache of {self.budget_bytes:,} bytes")
        for key, size_bytes in wanted.items():
            self.remove(key)
            self._pinned[key] = size_bytes
            self._pinned_bytes += size_bytes
        return self._make_room(0)

    def unpin(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        """Remove objects from the planned part, and so from the cache; returns those that were pinned."""
        gone = tuple(key for key in dict.fromkeys(keys) if key in self._pinned)
        for key in gone:
            self.remove(key)
        return gone

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
        """Note a request; says whether the object is stored."""

    @abstractmethod
    def _store(self, key: Key, size_bytes: int) -> None:
        """Take in an object for which there is room."""

    @abstractmethod
    def _evict(self) -> Key:
        """Choose a victim and forget it; called only while something is stored."""

    @abstractmethod
    def _drop(self, key: Key) -> None:
        """Forget a stored object."""
