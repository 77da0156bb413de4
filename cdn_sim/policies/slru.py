"""Segmented LRU: the default. The origin's memory cache uses the same policy."""

from collections import OrderedDict

from cdn_sim.admission import Admission
from cdn_sim.policies.base import Key, Policy

PROTECTED_SHARE = 0.8
"""Maximum share of the budget for the protected part."""


class Slru(Policy):
    """Protect objects that were requested at least twice, so that rarely watched titles don't evict popular ones.

    A new object enters probation. A hit moves it to the protected part. If that exceeds its share, its least recently
    requested objects return to probation. Victims come from probation unless it is empty.

    Source:
        Karedla, Love, Wherry: Caching strategies to improve disk system performance, IEEE Computer 27(3), 1994.
    """

    name = "slru"

    def __init__(self, budget_bytes: int, admission: Admission | None = None) -> None:
        super().__init__(budget_bytes, admission)
        self._probation: OrderedDict[Key, None] = OrderedDict()
        self._protected: OrderedDict[Key, None] = OrderedDict()
        self._protected_bytes = 0

    def _hit(self, key: Key) -> bool:
        if key in self._protected:
            self._protected.move_to_end(key)
            return True
        if key not in self._probation:
            return False
        del self._probation[key]
        self._protected[key] = None
        self._protected_bytes += self._sizes[key]
        while self._protected_bytes > PROTECTED_SHARE * self.room_bytes:
            demoted, _ = self._protected.popitem(last=False)
            self._protected_bytes -= self._sizes[demoted]
            self._probation[demoted] = None
        return True

    def _store(self, key: Key, size_bytes: int) -> None:  # noqa: ARG002
        self._probation[key] = None

    def _evict(self) -> Key:
        if self._probation:
            return self._probation.popitem(last=False)[0]
        victim, _ = self._protected.popitem(last=False)
        self._protected_bytes -= self._sizes[victim]
        return victim

    def _drop(self, key: Key) -> None:
        if key in self._protected:
            del self._protected[key]
            self._protected_bytes -= self._sizes[key]
        else:
            del self._probation[key]
