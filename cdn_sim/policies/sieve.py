"""SIEVE: one queue, one bit per object, and a hand."""

from __future__ import annotations

from cdn_sim.admission import Admission
from cdn_sim.policies.base import Key, Policy


class _Node:
    __slots__ = ("key", "newer", "older", "visited")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.newer: _Node = self
        self.older: _Node = self
        self.visited = False


class Sieve(Policy):
    """Evict the first object that was not requested since the hand last passed it.

    New objects enter at the head. The hand moves from the tail towards the head, and from the head back to the tail. It
    clears the visited bits that it passes, evicts the first object without one, and stays there until the next
    eviction.

    Source:
        Zhang et al.: SIEVE is simpler than LRU, NSDI 2024.
    """

    name = "sieve"

    def __init__(self, budget_bytes: int, admission: Admission | None = None) -> None:
        super().__init__(budget_bytes, admission)
        self._nodes: dict[Key, _Node] = {}
        self._sentinel = _Node(None)  # its newer is the tail, its older is the head
        self._hand = self._sentinel

    def _hit(self, key: Key) -> bool:
        node = self._nodes.get(key)
        if node is None:
            return False
        node.visited = True
        return True

    def _store(self, key: Key, size_bytes: int) -> None:  # noqa: ARG002
        node = self._nodes[key] = _Node(key)
        node.older, node.newer = self._sentinel.older, self._sentinel
        node.older.newer = node
        self._sentinel.older = node

    def _evict(self) -> Key:
        node = self._hand
        if node is self._sentinel:
            node = node.newer
        while node.visited:
            node.visited = False
            node = node.newer
            if node is self._sentinel:
                node = node.newer
        self._hand = node
        self._drop(node.key)
        return node.key

    def _drop(self, key: Key) -> None:
        node = self._nodes.pop(key)
        if node is self._hand:
            self._hand = node.newer
        node.older.newer, node.newer.older = node.newer, node.older
