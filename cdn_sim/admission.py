"""Admission rules: which missed objects a cache stores.

A rule is asked at every request for an object that is not in the planned part. Hits are included, so that it can count
requests.
"""

from collections.abc import Callable, Hashable
from typing import Protocol

RULES = ("all", "second request", "size", "planned only")
"""Names of the rules, in scenarios and options."""


class Admission(Protocol):
    """A rule that decides which missed objects are stored."""

    def admits(self, key: Hashable, size_bytes: int) -> bool:
        """Record a request; returns whether the object may be stored if it is a miss."""
        ...


class AdmitAll:
    """Store every missed object."""

    def admits(self, key: Hashable, size_bytes: int) -> bool:  # noqa: ARG002
        """Always true."""
        return True


class AdmitNone:
    """Store no missed objects: the cache holds only its planned part."""

    def admits(self, key: Hashable, size_bytes: int) -> bool:  # noqa: ARG002
        """Always false."""
        return False


class AdmitBySize:
    """Store objects up to a size.

    Args:
        largest_bytes: Maximum size of a stored object.
    """

    def __init__(self, largest_bytes: int) -> None:
        self._largest_bytes = largest_bytes

    def admits(self, key: Hashable, size_bytes: int) -> bool:  # noqa: ARG002
        """Whether the object is small enough."""
        return size_bytes <= self._largest_bytes


class AdmitSecondRequest:
    """Store an object at its second recent request, which keeps out objects that are requested only once.

    It remembers two generations of keys. When the younger generation is full, it replaces the older one. So a key is
    forgotten after requests for at least ``remembered`` and at most twice as many other objects.

    Args:
        remembered: Number of keys in a generation, at least 1.

    Source:
        Maggs, Sitaraman: Algorithmic nuggets in content delivery, SIGCOMM CCR 45(3), 2015, section 4.
    """

    def __init__(self, remembered: int = 1 << 20) -> None:
        self._remembered = remembered
        self._younger: set[Hashable] = set()
        self._older: set[Hashable] = set()

    def admits(self, key: Hashable, size_bytes: int) -> bool:  # noqa: ARG002
        """Whether the object was requested recently."""
        if key in self._younger:
            return True
        was_requested = key in self._older
        self._younger.add(key)
        if len(self._younger) >= self._remembered:
            self._older, self._younger = self._younger, set()
        return was_requested


def rule(name: str, *, largest_bytes: int = 0) -> Callable[[], Admission]:
    """A factory for the rule that a scenario names.

    Args:
        name: One of `RULES`.
        largest_bytes: For ``"size"``: maximum size of a stored object.

    Raises:
        KeyError: There is no such rule.
    """
    rules: dict[str, Callable[[], Admission]] = {
        "all": AdmitAll,
        "second request": AdmitSecondRequest,
        "size": lambda: AdmitBySize(largest_bytes),
        "planned only": AdmitNone,
    }
    return rules[name]
