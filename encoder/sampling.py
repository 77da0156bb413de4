"""Choose the segments to measure if not all are measured. Pure.

Half of them are spread evenly, so that means are unbiased. The other half are suspects, chosen from the results of
encoding: segments at their cap, the darkest, the most complex, and those whose size differs from that in the other
renditions, for example because a picture is missing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from math import log2
from statistics import median

SHARE = 0.05
"""Share of the segments that are spread evenly; as many again are suspects."""
MIN_SCORES = 4
"""Minimum number of measured frames of a segment; the first does not count, since VMAF can't see its motion."""
TONED_SHARE = 0.02
"""Share of the segments whose HDR renditions are measured: tone mapping costs more than measuring."""
MIN_CAP_SHARE = 0.9
"""A segment whose rate is at least this share of its cap is a suspect."""
MIN_DOUBLINGS = 0.7
"""A segment is a suspect if its size differs from that in other renditions by at least this many doublings."""
MAX_BLACK_LUMA = 0.02
"""Segments with a mean luma below this (0 black, 1 white) are black and not suspect."""


def evenly(count: int, share: float = SHARE) -> tuple[int, ...]:
    """Numbers of segments, from 1, spread evenly over ``count`` segments; at least one."""
    wanted = min(count, max(1, round(count * share)))
    return tuple(1 + (2 * index + 1) * count // (2 * wanted) for index in range(wanted))


def stretch_frames(frame_count: int, segment_count: int, every: int) -> int | None:
    """Number of frames of each chosen segment to measure.

    In a short title, a whole segment is more than the share of frames to measure. So only a part of it is measured.

    Args:
        frame_count: Frames of the title.
        segment_count: Segments of the title.
        every: Distance from one measured frame to the next.

    Returns:
        An even number of frames; None for whole segments.
    """
    if segment_count * SHARE >= 1:
        return None
    wanted = max((MIN_SCORES - 1) * every + 1, round(frame_count * SHARE))
    return wanted + wanted % 2


def suspects(
    sizes_bytes: Mapping[str, Sequence[int]],
    caps: Mapping[str, Sequence[float]],
    luma: Sequence[float] = (),
    *,
    excluded: Sequence[int] = (),
    share: float = SHARE,
) -> tuple[int, ...]:
    """Choose the segments in which faults are likely.

    Args:
        sizes_bytes: Size of each segment of each rendition.
        caps: Rate of each segment of each rendition, as a share of its cap.
        luma: Mean luma of each segment, 0 to 1; empty if unknown.
        excluded: Numbers of segments that are not to be chosen, because they are measured anyway.
        share: Share of all segments to choose; at least one segment, if possible.

    Returns:
        The numbers of the chosen segments, from 1, ascending; about equally many for each reason.
    """
    count = max((len(sizes) for sizes in sizes_bytes.values()), default=0)
    wanted = max(1, round(count * share))
    reasons = (_at_cap(caps), _of_unusual_size(sizes_bytes), _by_darkness(luma), _by_complexity(sizes_bytes))
    chosen: dict[int, None] = {}
    for numbers in zip_longest(*reasons):
        for number in numbers:
            if number is not None and number not in excluded and len(chosen) < wanted:
                chosen.setdefault(number)
    return tuple(sorted(chosen))


def sample_size(count: int) -> int:
    """Number of measured segments of ``count``: evenly spread ones and suspects."""
    spread = len(evenly(count, SHARE))
    return spread + min(count - spread, max(1, round(count * SHARE)))


def _at_cap(caps: Mapping[str, Sequence[float]]) -> Iterator[int]:
    highest = _per_segment(caps, max)
    yield from (index + 1 for index in _descending(highest) if highest[index] >= MIN_CAP_SHARE)


def _of_unusual_size(sizes_bytes: Mapping[str, Sequence[int]]) -> Iterator[int]:
    """Segments whose size, relative to the mean of the rendition, is unlike that in the other renditions."""
    relative = {
        id: [log2(max(size, 1) * len(sizes) / max(sum(sizes), 1)) for size in sizes]
        for id, sizes in sizes_bytes.items()
    }
    usual = _per_segment(relative, median)
    differences = _per_segment(
        {id: [abs(ratio - usual[index]) for index, ratio in enumerate(row)] for id, row in relative.items()}, max
    )
    yield from (index + 1 for index in _descending(differences) if differences[index] >= MIN_DOUBLINGS)


def _by_darkness(luma: Sequence[float]) -> Iterator[int]:
    yield from (index + 1 for index in reversed(_descending(luma)) if luma[index] >= MAX_BLACK_LUMA)


def _by_complexity(sizes_bytes: Mapping[str, Sequence[int]]) -> Iterator[int]:
    shares = {id: [size / max(sum(sizes), 1) for size in sizes] for id, sizes in sizes_bytes.items()}
    yield from (index + 1 for index in _descending(_per_segment(shares, sum)))


def _per_segment(
    by_rendition: Mapping[str, Sequence[float]], combine: Callable[[Sequence[float]], float]
) -> list[float]:
    """Combine the values of all renditions for each segment."""
    return [float(combine(values)) for values in zip(*by_rendition.values(), strict=False)]


def _descending(values: Sequence[float]) -> list[int]:
    """Indices in descending order of their values; equal values keep their order."""
    return sorted(range(len(values)), key=lambda index: (-values[index], index))
