"""Seeded traces for the golden numbers; integer arithmetic only, so they are the same on every machine."""

from functools import cache
from typing import Any

import numpy as np

from cdn_sim.streams import draw

Trace = tuple[np.ndarray[Any, np.dtype[np.int32]], np.ndarray[Any, np.dtype[np.int64]]]


def _popular(stream: int, count: int, ranks: int, shift: int) -> Any:
    """Ranks drawn by Zipf-Mandelbrot weights with exponent 1."""
    sums = np.cumsum(np.array([10**12 // (rank + 1 + shift) for rank in range(ranks)], dtype=np.uint64))
    return np.searchsorted(sums, draw(stream, np.arange(count)) % sums[-1], side="right")


def _sizes(stream: int, count: int) -> Any:
    return 50_000 + (draw(stream, np.arange(count)) % np.uint64(2_000_000)).astype(np.int64)


@cache
def independent(requests: int = 200_000, objects: int = 20_000) -> Trace:
    """Independent requests: object numbers, and the size of each object in bytes."""
    return _popular(1, requests, objects, 0).astype(np.int32), _sizes(2, objects)


@cache
def watching(sessions: int = 4_000, titles: int = 300, segments: int = 150, slots: int = 3_000) -> Trace:
    """Sessions that read a title's segments in order, one per slot, many at a time."""
    title = _popular(3, sessions, titles, 3)
    start = (draw(4, np.arange(sessions)) % np.uint64(slots)).astype(np.int64)
    drawn = draw(5, np.arange(sessions))
    kind, rest = drawn % np.uint64(100), drawn // np.uint64(100)
    early, anywhere = 1 + rest % np.uint64(segments // 10), 1 + rest % np.uint64(segments)
    length = np.where(kind < 45, early, np.where(kind < 75, anywhere, segments)).astype(np.int64)
    session = np.repeat(np.arange(sessions), length)
    segment = np.arange(len(session)) - np.repeat(np.cumsum(length) - length, length)
    order = np.lexsort((session, start[session] + segment))
    return (title[session] * segments + segment)[order].astype(np.int32), _sizes(12, titles * segments)


TRACES = {"irm": independent, "watching": watching}
