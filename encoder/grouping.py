"""Group the renditions of each chunk into tasks so that all workers stay busy to the end. Pure.

A group decodes and scales once for all of its renditions. So few large groups take the least CPU time, and many small
ones make the last tasks end sooner. The same title and number of workers always give the same groups.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from heapq import heapreplace
from itertools import cycle

from encoder.costs import Pricing
from headend.core.media import VideoRange, VideoRendition
from headend.core.timing import Chunk

Group = tuple[VideoRendition, ...]

TOLERANCE = 0.05
"""How much later than the earliest possible time a job may end, to save CPU time."""
SLOW_SHARE, SLOWNESS = 0.05, 2.0
"""Share of workers that are assumed to be slow, for example because of busy neighbours, and by which factor. Any worker
may be a slow one, so the last tasks must be short."""
SPREAD = 0.15
"""Standard deviation of the ratio of measured to expected cost. Without it, tasks of equal cost would seem to end at
the same time, which never happens."""
MEMORY = "workers' memory"
"""Prefix of the decision that tells the cost of too little memory."""
WORTH_TELLING = 1.1
"""Ratio of CPU time, split because of memory to not split, from which that decision is shown."""
COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Numbers of groups to try for a chunk, besides one group for each rendition."""

_LUCK = tuple(1 + sign * random.Random(number).gauss(0, SPREAD) for number in range(500) for sign in (1, -1))
"""Simulated ratios of measured to expected cost, in pairs so that the total stays the same."""


@dataclass(frozen=True, slots=True, order=True)
class _Arrangement:
    """Numbers of groups: the last chunks may have more and smaller groups than the others.

    Attributes:
        groups: Number of groups of each chunk but the last ones.
        last_groups: Number of groups of each of the last chunks.
        last_chunks: Number of chunks that count as the last ones.
    """

    groups: int
    last_groups: int
    last_chunks: int

    def groups_of(self, number: int, chunk_count: int) -> int:
        """Number of groups of a chunk, numbered from 0."""
        return self.groups if number < chunk_count - self.last_chunks else self.last_groups


def arrange(
    renditions: Sequence[VideoRendition],
    chunks: Sequence[Chunk],
    pricing: Pricing,
    *,
    workers: int,
    slot_bytes: int | None = None,
    other_costs_s: Sequence[float] = (),
) -> tuple[tuple[Group, ...], ...]:
    """Group the renditions of every chunk.

    The first chunks get few large groups. The last chunks, which start last, may get smaller ones. The result is the
    arrangement with the least CPU time among those that end little later than the earliest possible time, by estimate.

    Args:
        renditions: At least one.
        chunks: At least one.
        pricing: The cost of groups.
        workers: Number of tasks that run at once.
        slot_bytes: Memory for each of these; None for no limit. A rendition that needs more is a group of its own.
        other_costs_s: CPU seconds of each other task of the job.

    Returns:
        The groups of each chunk, in the order of the chunks.
    """
    alone, others = _split_oversized(renditions, pricing, slot_bytes)
    fewest = _fewest_groups(alone, others, pricing, slot_bytes)

    @cache
    def groups(count: int) -> tuple[Group, ...]:
        return (*((rendition,) for rendition in alone), *share_out(others, count - len(alone), pricing.frame_s))

    if workers <= 1:
        # With one worker, splitting only means decoding more often.
        return tuple(groups(fewest) for _ in chunks)

    @cache
    def chunk_costs_s(count: int, frames: int) -> tuple[float, ...]:
        return tuple(pricing.video_s(members, frames) for members in groups(count))

    def costs_s(arrangement: _Arrangement) -> list[float]:
        counts = (arrangement.groups_of(number, len(chunks)) for number in range(len(chunks)))
        own = [cost for chunk, n in zip(chunks, counts, strict=True) for cost in chunk_costs_s(n, chunk.frame_count)]
        return [*own, *other_costs_s]

    counts = sorted({fewest, *(c for c in COUNTS if fewest < c < len(renditions)), len(renditions)})
    smallest_s = chunk_costs_s(len(renditions), max(chunk.frame_count for chunk in chunks))
    chosen = _choose(
        _arrangements(counts, len(chunks), workers), costs_s, max((*smallest_s, *other_costs_s, 0.0)), workers
    )
    return tuple(groups(chosen.groups_of(number, len(chunks))) for number in range(len(chunks)))


def _choose(
    arrangements: Iterable[_Arrangement],
    costs_s: Callable[[_Arrangement], list[float]],
    longest_task_s: float,
    workers: int,
) -> _Arrangement:
    """The arrangement with the least CPU time among those that end early enough.

    Args:
        arrangements: At least one.
        costs_s: Returns the CPU seconds of each task of an arrangement.
        longest_task_s: CPU seconds of the longest task if each group is a single rendition; no arrangement ends
            earlier.
        workers: Number of tasks that run at once.
    """
    by_work = []
    for arrangement in arrangements:
        costs = costs_s(arrangement)
        by_work.append((sum(costs), arrangement, max(costs)))
    by_work.sort()
    slow_workers = int(SLOW_SHARE * workers)
    speed = max(1, workers) - slow_workers * (1 - 1 / SLOWNESS)
    earliest_s = max(by_work[0][0] / speed, longest_task_s)
    best_s, chosen = float("inf"), by_work[0][1]
    for work_s, arrangement, longest_s in by_work:
        if max(work_s / speed, longest_s) >= best_s:
            continue  # can't end earlier
        end_s = makespan_s(costs_s(arrangement), workers, slow_workers)
        if end_s < best_s:
            best_s, chosen = end_s, arrangement
        if best_s <= earliest_s * (1 + TOLERANCE):
            break
    return chosen


def share_out(
    renditions: Sequence[VideoRendition], count: int, weigh: Callable[[VideoRendition], float]
) -> tuple[Group, ...]:
    """Split renditions into groups of about equal weight; keep those of one size together if balance allows.

    Args:
        renditions: Renditions of one title.
        count: Maximum number of groups.
        weigh: Returns the weight of a rendition, above 0.

    Returns:
        The groups, none empty, each with its heaviest rendition first.
    """
    if not renditions:
        return ()
    if count >= len(renditions):
        return tuple((rendition,) for rendition in sorted(renditions, key=weigh, reverse=True))
    count = max(1, count)
    limit = sum(map(weigh, renditions)) / count * (1 + TOLERANCE)
    shares: list[list[VideoRendition]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for rendition in sorted(renditions, key=weigh, reverse=True):
        alike = [
            number
            for number, share in enumerate(shares)
            if loads[number] + weigh(rendition) <= limit
            and any(_frames_key(r) == _frames_key(rendition) for r in share)
        ]
        number = min(alike or range(count), key=loads.__getitem__)
        shares[number].append(rendition)
        loads[number] += weigh(rendition)
    return tuple(tuple(share) for share in shares if share)


def makespan_s(costs_s: Sequence[float], workers: int, slow: int = 0) -> float:
    """Simulate when the last task ends, if the longest start first, each as soon as a worker is free.

    Args:
        costs_s: Expected time of each task; the simulation varies it, always in the same way.
        workers: Number of workers.
        slow: Number of workers that take `SLOWNESS` times as long.

    Source:
        R. L. Graham, Bounds on Multiprocessing Timing Anomalies, 1969.
    """
    free = [(0.0, SLOWNESS if number < slow else 1.0) for number in range(max(1, workers))]
    for cost_s, luck in zip(sorted(costs_s, reverse=True), cycle(_LUCK)):
        at_s, slowness = free[0]
        heapreplace(free, (at_s + cost_s * luck * slowness, slowness))
    return max(at_s for at_s, _ in free)


def _arrangements(counts: Sequence[int], chunk_count: int, workers: int) -> Iterator[_Arrangement]:
    """Arrangements to try, with these numbers of groups in ascending order."""
    rest = chunk_count % max(1, workers)
    candidates = (rest, rest + workers, chunk_count // 4, chunk_count // 2)
    last_chunks = sorted({min(chunk_count, number) for number in candidates} - {0, chunk_count})
    for position, groups in enumerate(counts):
        yield _Arrangement(groups, groups, 0)
        for last_groups in counts[position + 1 :]:
            yield from (_Arrangement(groups, last_groups, number) for number in last_chunks)


def price_of_memory(
    renditions: Sequence[VideoRendition], frames: int, pricing: Pricing, slot_bytes: int | None
) -> tuple[float, float, int] | None:
    """Compute the cost of splitting renditions because workers have little memory.

    Args:
        renditions: At least one.
        frames: Frames of a usual chunk.
        pricing: The cost of groups.
        slot_bytes: Memory for each task; None for no limit.

    Returns:
        CPU seconds of a chunk in as many groups as memory requires, those of a chunk as one task, and the bytes that
        one task would need; None if one task fits.
    """
    whole_bytes = pricing.video_bytes(renditions)
    if slot_bytes is None or whole_bytes <= slot_bytes:
        return None
    alone, others = _split_oversized(renditions, pricing, slot_bytes)
    count = _fewest_groups(alone, others, pricing, slot_bytes) - len(alone)
    groups = (*((rendition,) for rendition in alone), *share_out(others, count, pricing.frame_s))
    split_s = sum(pricing.video_s(group, frames) for group in groups)
    return split_s, pricing.video_s(renditions, frames), whole_bytes


def describe_memory(
    renditions: Sequence[VideoRendition], pricing: Pricing, *, chunk_s: Fraction, slot_bytes: int | None
) -> tuple[str, ...]:
    """Describe how much extra work the workers' memory causes, if it is a lot."""
    frame_count, rate = pricing.picture.frame_count, pricing.picture.frame_rate
    frames = max(1, min(frame_count, round(chunk_s * rate)))
    price = price_of_memory(renditions, frames, pricing, slot_bytes) if renditions else None
    if price is None or slot_bytes is None or price[0] < WORTH_TELLING * price[1]:
        return ()
    split_s, whole_s, whole_bytes = (price[0] * frame_count / frames, price[1] * frame_count / frames, price[2])
    return (
        f"{MEMORY} of {slot_bytes / 1e9:.1f} GB for each task splits the renditions: about {split_s:,.0f} CPU s "
        f"instead of {whole_s:,.0f}; give {whole_bytes / 1e9:.1f} GB for each thread to avoid that",
    )


def _split_oversized(
    renditions: Sequence[VideoRendition], pricing: Pricing, slot_bytes: int | None
) -> tuple[tuple[VideoRendition, ...], tuple[VideoRendition, ...]]:
    """Separate the renditions that need more memory than a slot has from the others."""
    alone = {r.id for r in renditions if slot_bytes is not None and pricing.video_bytes((r,)) > slot_bytes}
    return tuple(r for r in renditions if r.id in alone), tuple(r for r in renditions if r.id not in alone)


def _fewest_groups(
    alone: Sequence[VideoRendition], others: Sequence[VideoRendition], pricing: Pricing, slot_bytes: int | None
) -> int:
    """The smallest number of groups that fit into a slot's memory; each oversized rendition is one more group."""
    if not others:
        return len(alone)
    if slot_bytes is None:
        return 1
    for count in range(1, len(others)):
        groups = share_out(others, count, pricing.frame_s)
        if all(pricing.video_bytes(group) <= slot_bytes for group in groups):
            return len(alone) + count
    return len(alone) + len(others)


def _frames_key(rendition: VideoRendition) -> tuple[int, int, int, bool]:
    sdr = rendition.video_range is VideoRange.SDR
    return rendition.width_px, rendition.height_px, rendition.rate_divisor, sdr
