"""Admission: which missed objects a cache stores.

Rules are told of every request for what is not pinned, hits included, so that they may count.
"""

from collections.abc import Callable, Hashable
from typing import Protocol

RULES = ("all", "second request", "size", "planned only")
"""Names of the rules in scenarios."""


class Admission(Protocol):
    """A rule that says which missed objects are stored."""

    def admits(self, key: Hashable, size_bytes: int) -> bool:
        """Note a request; says whether the object may be stored if it is a miss."""
        ...


class AdmitAll:
    """Store every object that is missed."""

    def admits(self, key: Hashable, size_bytes: int) -> bool:  # noqa: ARG002
        """Always true."""
        return True


class AdmitNone:
    """Store nothing by itself: the cache holds its planned part only."""

    def admits(self, key: Hashable, size_bytes: int) -> bool:  # noqa: ARG002
        """Always false."""
        return False


class AdmitBySize:
    """Store objects up to a size.

    Args:
        largest_bytes: Size of the largest object that is stored.
    """

    def __init__(self, largest_bytes: int) -> None:
        self._largest_bytes = largest_bytes

    def admits(self, key: Hashable, size_bytes: int) -> bool:  # noqa: ARG002
        """Whether the object is small enough."""
        return size_bytes <= self._largest_bytes


class AdmitSecondRequest:
    """Store an object when it is asked for a second time within a while, which keeps one-hit wonders out.

    Two generations of keys are remembered. When the younger one is full it becomes the older one, so a key is
    remembered for at least ``remembered`` and at most twice as many different keys.

    Args:
        remembered: Keys per generation, at least 1.

    Source:
        Maggs, Sitaraman: Algorithmic nuggets in content delivery, SIGCOMM CCR 45(3), 2015, section 4.
    """

    def __init__(self, remembered: int = 1 << 20) -> None:
        self._remembered = remembered
        self._younger: set[Hashable] = set()
        self._older: set[Hashable] = set()

    def admits(self, key: Hashable, size_bytes: int) -> bool:  # noqa: ARG002
        """Whether the object was asked for before."""
        if key in self._younger:
            return True
        known = key in self._older
        self._younger.add(key)
        if len(self._younger) >= self._remembered:
            self._older, self._younger = self._younger, set()
        return known


def rule(name: str, *, largest_bytes: int = 0) -> Callable[[], Admission]:
    """A maker of the rule that a scenario names.

    Args:
        name: One of `RULES`.
        largest_bytes: For ``"size"``: the largest object that is stored.

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
