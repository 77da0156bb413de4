"""A rendition's segments and their description, whatever they were made from."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from mmap import MADV_DONTNEED, mmap

from headend.core.media import EncodedTrack, Segment
from headend.core.timing import ceil_div


@dataclass(frozen=True, slots=True)
class Cut:
    """A task's segments of one rendition, ready for the store.

    Attributes:
        init: The init segment.
        bodies: Bytes of the media segments described in ``track``; created during iteration, since a chunk may be a
            whole film.
        track: The receipt's entry.
        later_inits: The init segments of later periods, if encryption keys change.
    """

    init: bytes
    bodies: Iterable[bytes]
    track: EncodedTrack
    later_inits: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Bodies:
    """An iterable that creates its items again in each iteration."""

    make: Callable[[], Iterator[bytes]]

    def __iter__(self) -> Iterator[bytes]:
        return self.make()


def cut_of(
    rendition: str,
    init: bytes,
    bodies: Iterable[bytes],
    segments: list[Segment],
    ticks_per_second: int,
    *,
    priming_samples: int,
) -> Cut:
    """Put the segments of a rendition together with the description that its receipt needs."""
    rates = [Fraction(8 * s.size_bytes * ticks_per_second, s.duration_ticks) for s in segments]
    total_ticks = sum(s.duration_ticks for s in segments)
    track = EncodedTrack(
        rendition=rendition,
        init_sha256=hashlib.sha256(init).hexdigest(),
        init_bytes=len(init),
        timescale=ticks_per_second,
        priming_samples=priming_samples,
        average_bps=ceil_div(8 * sum(s.size_bytes for s in segments) * ticks_per_second, total_ticks),
        peak_bps=ceil(max(rates)),
        segments=tuple(segments),
    )
    return Cut(init, bodies, track)


def release_pages(data: memoryview) -> None:
    """Drop the pages of a mapped file from this process's resident memory, after the needed data was copied.

    Otherwise the whole file counts, however large, and Dask kills the worker for it.
    """
    if isinstance(data.obj, mmap):
        data.obj.madvise(MADV_DONTNEED)
