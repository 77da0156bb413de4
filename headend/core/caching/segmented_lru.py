"""A cache in memory, within a budget of bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

PROTECTED_SHARE = 0.8
"""How much of the budget belongs to entries that were asked for more than once."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class SegmentedLRU(Generic[Key, Value]):
    """A segmented LRU: what is asked for once never pushes out what is asked for again and again.

    Sessions read segments in order, so a plain LRU is flushed by every viewer of a rare title. Not for use from several
    threads. ADR 21 has what else was considered.

    Args:
        budget_bytes: Most bytes that are held.
        on_eviction: Called with each evicted key and value, but not with those that are dropped or replaced.

    Source:
        Karedla, Love, Wherry: Caching strategies to improve disk system performance, IEEE Computer 27(3), 1994.
    """

    def __init__(
        self, budget_bytes: int, on_eviction: Callable[[Key, Value], None] = lambda _key, _value: None
    ) -> None:
        self._budget_bytes = budget_bytes
        self._on_eviction = on_eviction
        self._size_bytes = 0
        self._protected_bytes = 0
        self._probation: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._protected: OrderedDict[Key, tuple[Value, int]] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """What is held now; never more than the budget."""
        return self._size_bytes

    def __contains__(self, key: Key) -> bool:
        """Whether a key is held; does not count as a use."""
        return key in self._protected or key in self._probation

    def get(self, key: Key) -> Value | None:
        """Find a value, and count that as a use."""
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

    def put(self, key: Key, value: Value, size_bytes: int = 1) -> None:
        """Keep a value, in place of an earlier one, unless it is larger than the whole budget."""
        self.drop(key)
        if size_bytes > self._budget_bytes:
            return
        while self._size_bytes + size_bytes > self._budget_bytes:
            evicted = next(iter(self._probation or self._protected))
            held = self._drop(evicted)
            if held is not None:
                self._on_eviction(evicted, held[0])
        self._probation[key] = (value, size_bytes)
        self._size_bytes += size_bytes

    def drop(self, key: Key) -> None:
        """Forget a value, if it is held."""
        self._drop(key)

    def _drop(self, key: Key) -> tuple[Value, int] | None:
        if (entry := self._protected.pop(key, None)) is not None:
            self._protected_bytes -= entry[1]
        else:
            entry = self._probation.pop(key, None)
        if entry is not None:
            self._size_bytes -= entry[1]
        return entry
