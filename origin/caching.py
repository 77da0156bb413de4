"""Remembering what was read, within a budget."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

PROTECTED_SHARE = 0.8
"""How much of the budget belongs to what was asked for more than once."""

Value = TypeVar("Value")


class Shelf(Generic[Value]):
    """A segmented LRU: what is asked for once never pushes out what is asked for again and again.

    Sessions read segments in order, so that a plain LRU is flushed by each viewer of a rare title. Not for use from
    several threads. See ADR 21 for what else was looked at.

    Args:
        budget_bytes: How much is held at most.
        on_eviction: Told of each key that has to make room, but not of those that are dropped or replaced.

    Source:
        Karedla, Love, Wherry: Caching strategies to improve disk system performance, IEEE Computer 27(3), 1994.
    """

    def __init__(self, budget_bytes: int, on_eviction: Callable[[str], None] = lambda _: None) -> None:
        self._budget_bytes = budget_bytes
        self._on_eviction = on_eviction
        self._size_bytes = 0
        self._protected_bytes = 0
        self._probation: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._protected: OrderedDict[str, tuple[Value, int]] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """What is held now; never more than the budget."""
        return self._size_bytes

    def get(self, key: str) -> Value | None:
        """Find a value, and note that it was wanted."""
        found = self._protected.get(key)
        if found is not None:
            self._protected.move_to_end(key)
            return found[0]
        found = self._probation.pop(key, None)
        if found is None:
            return None
        self._protected[key] = found
        self._protected_bytes += found[1]
        while self._protected_bytes > PROTECTED_SHARE * self._budget_bytes:
            demoted, entry = self._protected.popitem(last=False)
            self._protected_bytes -= entry[1]
            self._probation[demoted] = entry
        return found[0]

    def put(self, key: str, value: Value, size_bytes: int = 1) -> None:
        """Keep a value, in place of the one that may be there, unless it is larger than the whole budget."""
        self.drop(key)
        if size_bytes > self._budget_bytes:
            return
        while self._size_bytes + size_bytes > self._budget_bytes:
            evicted = next(iter(self._probation or self._protected))
            self.drop(evicted)
            self._on_eviction(evicted)
        self._probation[key] = (value, size_bytes)
        self._size_bytes += size_bytes

    def drop(self, key: str) -> None:
        """Forget a value, if it is there."""
        if (entry := self._protected.pop(key, None)) is not None:
            self._protected_bytes -= entry[1]
        else:
            entry = self._probation.pop(key, None)
        if entry is not None:
            self._size_bytes -= entry[1]
