"""Read a stream forward once, for callers that need parts of it roughly in order of time."""

from collections import deque
from collections.abc import Callable, Generator
from fractions import Fraction
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")

KEPT_S = 2
"""How far back a part may begin before the beginning of the latest one without reading again."""
MAX_SKIP_S = 20
"""A part that begins this much later than what has been read is sought instead of read forward to."""


class ForwardReader(Generic[Value]):
    """Keeps what was read around the latest part. Several threads may use it.

    Args:
        start: Returns the times and values of the stream, in order, from a time on or from somewhat before it.
    """

    def __init__(self, start: Callable[[Fraction], Generator[tuple[Fraction, Value], None, None]]) -> None:
        self._start = start
        self._values: Generator[tuple[Fraction, Value], None, None] | None = None
        self._kept: deque[tuple[Fraction, Value]] = deque()
        self._from_s = self._read_s = Fraction(0)
        """From where and until where all values are kept."""
        self._lock = Lock()

    def part(self, first_s: Fraction, last_s: Fraction) -> list[tuple[Fraction, Value]]:
        """Times and values from the last one before ``first_s`` until ``last_s``, in order of time."""
        with self._lock:
            if self._values is None or not self._from_s <= first_s <= self._read_s + MAX_SKIP_S:
                self._seek(first_s)
            self._read(last_s)
            self._forget(first_s - KEPT_S)
            part = sorted((value for value in self._kept if value[0] <= last_s), key=lambda value: value[0])
        before = sum(at_s < first_s for at_s, _ in part)
        return part[max(0, before - 1) :]

    def close(self) -> None:
        """Stop reading."""
        if self._values is not None:
            self._values.close()

    def _seek(self, at_s: Fraction) -> None:
        self.close()
        self._values = self._start(at_s)
        self._kept.clear()
        self._from_s = self._read_s = at_s

    def _read(self, last_s: Fraction) -> None:
        """Read until the first value after ``last_s``."""
        assert self._values is not None
        while self._read_s <= last_s and (value := next(self._values, None)) is not None:
            self._kept.append(value)
            self._read_s = max(self._read_s, value[0])

    def _forget(self, until_s: Fraction) -> None:
        """Forget the values that ended before a time."""
        while len(self._kept) > 1 and self._kept[1][0] < until_s:
            self._kept.popleft()
            self._from_s = max(self._from_s, until_s)
