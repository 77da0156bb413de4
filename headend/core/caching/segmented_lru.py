"""An in-memory cache with a byte budget."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

PROTECTED_SHARE = 0.8
"""Share of the budget for entries that were requested more than once."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class SegmentedLRU(Generic[Key, Value]):
    """A segmented LRU: entries requested once never evict entries that are requested repeatedly.

    Sessions read segments in order, so a viewer of a rare title flushes a plain LRU. Not thread-safe. ADR 21 lists the
    alternatives.

    Args:
        budget_bytes: Most bytes that are held.
        on_eviction: Called with each evicted key and value, but not with dropped or replaced ones.

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
        """Bytes held now; never more than the budget."""
        return self._size_bytes

    def __contains__(self, key: Key) -> bool:
        """Whether a key is held; does not count as a use."""
        return key in self._protected or key in self._probation

    def get(self, key: Key) -> Value | None:
        """Find a value, and count that as a use."""
        entry = self._protected.get(key)
        if entry is not None:
            self._protected.move_to_end(key)
            return entry[0]
        entry = self._probation.pop(key, None)
        if entry is None:
            return None
        self._protected[key] = entry
        self._protected_bytes += entry[1]
        while self._protected_bytes > PROTECTED_SHARE * self._budget_bytes:
            demoted_key, demoted = self._protected.popitem(last=False)
            self._protected_bytes -= demoted[1]
            self._probation[demoted_key] = demoted
        return entry[0]

    def put(self, key: Key, value: Value, size_bytes: int = 1) -> None:
        """Store a value, replacing an earlier one, unless it is larger than the whole budget."""
        self.drop(key)
        if size_bytes > self._budget_bytes:
            return
        while self._size_bytes + size_bytes > self._budget_bytes:
            evicted = next(iter(self._probation or self._protected))
            entry = self._drop(evicted)
            if entry is not None:
                self._on_eviction(evicted, entry[0])
        self._probation[key] = (value, size_bytes)
        self._size_bytes += size_bytes

    def drop(self, key: Key) -> None:
        """Remove a value, if it is held."""
        self._drop(key)

    def _drop(self, key: Key) -> tuple[Value, int] | None:
        if (entry := self._protected.pop(key, None)) is not None:
            self._protected_bytes -= entry[1]
        else:
            entry = self._probation.pop(key, None)
        if entry is not None:
            self._size_bytes -= entry[1]
        return entry
