"""Which renditions of a chunk are encoded together: as many as keeps all workers busy to the end.

One group decodes and scales once for all of its renditions, so that coarse groups cost least; fine ones leave less to
wait for at the end. Pure: the same title and the same number of workers make the same groups.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from heapq import heapreplace
from itertools import cycle

from encoder.costs import Pricing
from headend.media import VideoRange, VideoRendition
from headend.timing import Chunk

Group = tuple[VideoRendition, ...]

TOLERANCE = 0.05
"""How much later than at best a job may end for the sake of less work."""
SLOW_SHARE, SLOWNESS = 0.05, 2.0
"""Of many workers some are slow, such as those with busy neighbours. It is not known which, so that what is begun last
must be short for any of them."""
SPREAD = 0.15
"""By how much what a task takes differs from what was expected: standard deviation of the ratio. Without it, tasks
of equal cost would seem to end together, by a luck that no real job has."""
COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Numbers of groups that are tried for a chunk, beside one for each rendition."""

_LUCK = tuple(1 + sign * random.Random(number).gauss(0, SPREAD) for number in range(500) for sign in (1, -1))
"""By what each task misses its expectation: in pairs, so that work is neither added nor taken away."""


def arrange(
    renditions: Sequence[VideoRendition],
    chunks: Sequence[Chunk],
    pricing: Pricing,
    *,
    workers: int,
    slot_bytes: int | None = None,
    beside_s: Sequence[float] = (),
) -> tuple[tuple[Group, ...], ...]:
    """Group the renditions of every chunk.

    The first chunks get coarse groups and the last ones, which are begun last, finer ones. Of all ways that are tried,
    the one with the least work is taken that ends, by its estimate, little later than work and workers allow at best.

    Args:
        renditions: At least one.
        chunks: At least one.
        pricing: What groups cost.
        workers: How many tasks run at once.
        slot_bytes: Memory for each of these; None if there is enough. A rendition that needs more is a group alone.
        beside_s: CPU seconds of the tasks that run beside these.

    Returns:
        The groups of each chunk, in the order of the chunks.
    """

    @cache
    def groups(count: int) -> tuple[Group, ...]:
        return share_out(renditions, count, pricing.frame_s)

    @cache
    def costs_s(count: int, frames: int) -> tuple[float, ...]:
        return tuple(pricing.video_s(members, frames) for members in groups(count))

    def tasks_s(coarse: int, fine: int, tail: int) -> list[float]:
        split = len(chunks) - tail
        counts = [coarse] * split + [fine] * tail
        return [c for chunk, count in zip(chunks, counts, strict=True) for c in costs_s(count, chunk.frame_count)]

    least = _least_count(renditions, groups, pricing, slot_bytes)
    if workers <= 1:
        # Nobody waits for the last task: whatever is split is only decoded once more.
        return tuple(groups(least) for _ in chunks)
    counts = sorted({least, *(c for c in COUNTS if least < c < len(renditions)), len(renditions)})
    ways = []
    for coarse, fine, tail in _ways(counts, len(chunks), workers):
        costs = [*tasks_s(coarse, fine, tail), *beside_s]
        ways.append((sum(costs), coarse, fine, tail, max(costs)))
    ways.sort()
    finest = max(costs_s(len(renditions), max(chunk.frame_count for chunk in chunks)), default=0.0)
    slow = int(SLOW_SHARE * workers)
    speed = max(1, workers) - slow * (1 - 1 / SLOWNESS)
    at_best_s = max(ways[0][0] / speed, finest, *beside_s, 0.0)
    best_s, chosen = float("inf"), ways[0][1:4]
    for work_s, coarse, fine, tail, longest_s in ways:
        if max(work_s / speed, longest_s) >= best_s:
            continue  # it can't end earlier
        ends_s = makespan_s([*tasks_s(coarse, fine, tail), *beside_s], workers, slow)
        if ends_s < best_s:
            best_s, chosen = ends_s, (coarse, fine, tail)
        if best_s <= at_best_s * (1 + TOLERANCE):
            break
    coarse, fine, tail = chosen
    return tuple(groups(coarse if number < len(chunks) - tail else fine) for number in range(len(chunks)))


def share_out(
    renditions: Sequence[VideoRendition], count: int, weigh: Callable[[VideoRendition], float]
) -> tuple[Group, ...]:
    """Share renditions out into groups of about equal weight; those of one size stay together where balance allows.

    Args:
        renditions: Of one title.
        count: Most groups that are wanted.
        weigh: What a rendition weighs, above 0.

    Returns:
        The groups, none empty, each with its heaviest rendition first.
    """
    if count >= len(renditions):
        return tuple((rendition,) for rendition in sorted(renditions, key=weigh, reverse=True))
    count = max(1, count)
    limit = sum(map(weigh, renditions)) / count * (1 + TOLERANCE)
    shares: list[list[VideoRendition]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for rendition in sorted(renditions, key=weigh, reverse=True):
        kin = [
            number
            for number, share in enumerate(shares)
            if loads[number] + weigh(rendition) <= limit and any(_picture(r) == _picture(rendition) for r in share)
        ]
        number = min(kin or range(count), key=loads.__getitem__)
        shares[number].append(rendition)
        loads[number] += weigh(rendition)
    return tuple(tuple(share) for share in shares if share)


def makespan_s(costs_s: Sequence[float], workers: int, slow: int = 0) -> float:
    """When the last task ends, if the longest are begun first, each as soon as a worker is free.

    Args:
        costs_s: What each task is expected to take; it takes a little more or less, always the same.
        workers: How many there are.
        slow: How many of them take `SLOWNESS` times as long.

    Source:
        R. L. Graham, Bounds on Multiprocessing Timing Anomalies, 1969.
    """
    free = [(0.0, SLOWNESS if number < slow else 1.0) for number in range(max(1, workers))]
    for cost_s, luck in zip(sorted(costs_s, reverse=True), cycle(_LUCK)):
        at_s, slowness = free[0]
        heapreplace(free, (at_s + cost_s * luck * slowness, slowness))
    return max(at_s for at_s, _ in free)


def _ways(counts: Sequence[int], chunks: int, workers: int) -> Iterator[tuple[int, int, int]]:
    """Groups of the first chunks, groups of the last ones, and how many of these there are."""
    over = chunks % max(1, workers)
    tails = sorted({min(chunks, tail) for tail in (over, over + workers, chunks // 4, chunks // 2)} - {0, chunks})
    for place, coarse in enumerate(counts):
        yield coarse, coarse, 0
        for fine in counts[place + 1 :]:
            yield from ((coarse, fine, tail) for tail in tails)


def _least_count(
    renditions: Sequence[VideoRendition],
    groups: Callable[[int], tuple[Group, ...]],
    pricing: Pricing,
    slot_bytes: int | None,
) -> int:
    """The least number of groups with which each fits into the memory of a slot."""
    if slot_bytes is None:
        return 1
    fits = (n for n in range(1, len(renditions)) if all(pricing.video_bytes(g) <= slot_bytes for g in groups(n)))
    return next(fits, len(renditions))


def _picture(rendition: VideoRendition) -> tuple[int, int, int, bool]:
    sdr = rendition.video_range is VideoRange.SDR
    return rendition.width_px, rendition.height_px, rendition.rate_divisor, sdr
