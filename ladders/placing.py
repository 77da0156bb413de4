"""Placing the rungs of one codec along the hull of a title's trial encodes."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from headend.core.codecs import VIDEO
from headend.core.media import Codec
from ladders.hull import CurvePoint, Hull
from ladders.ladder import CRF_LIMITS, WHOLE_CRF

SMALL_LINES = 432
"""Largest height of the lowest rung, for small screens and old devices."""
MIN_STEP_RATIO, MIN_STEP_VMAF = 1.12, 0.5
"""Smallest distance of a codec's adjacent rungs: ratio of rates, and difference of VMAF."""
COVERAGE = 2.1
"""Smallest ratio of a codec's highest rate to its lowest."""
DOUBLING_VMAF = 1.0
"""A rate is high enough if doubling it gains less than this."""
FINEST_CRF = {video.codec: video.finest_crf for video in VIDEO}
"""Lowest constant rate factor of a rung: below it, only the rate grows."""
BEYOND_TRIALS = {video.codec: video.beyond_trials_crf for video in VIDEO}
"""How far a rung's constant rate factor may lie outside those of a size's trials."""
SMALLEST_SIZE_BEYOND = 4
"""Multiple of that for the smallest size, since there is no smaller size to use instead."""
ENOUGH_VMAF = 0.5
"""A rung this far below the target VMAF is good enough: predictions have errors of this size, the difference is not
visible, and the last half point takes a tenth of the bits."""
MIN_RUNGS = 3
"""Fewest rungs of a codec."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Targets for one codec's rungs.

    Attributes:
        count: Number of rungs.
        lowest_kbps: Rate of the lowest one.
        highest_kbps: Upper bound of the highest one's rate.
        top_vmaf: VMAF that is good enough.
    """

    count: int
    lowest_kbps: float
    highest_kbps: float
    top_vmaf: float


def outline(hull: Hull, codec: Codec, steps: int) -> tuple[CurvePoint, ...]:
    """Points along the hull for plots, ascending: those that a rung may have and that beat all cheaper ones."""
    front = _Table(hull, codec).front
    low, high = front[0].kbps, front[-1].kbps
    rates = [low * (high / low) ** (step / steps) for step in range(steps + 1)]
    indices = [max(0, bisect_right(front, rate * 1.0001, key=lambda point: point.kbps) - 1) for rate in rates]
    return tuple(front[index] for index in dict.fromkeys(indices))


def place(hull: Hull, codec: Codec, wanted: Wanted) -> tuple[CurvePoint, ...]:
    """Place the rungs of one codec along its hull.

    The highest rung gets the lowest of three rates: the one that reaches the target VMAF minus `ENOUGH_VMAF`, the
    highest of the pattern, and the one whose doubling gains almost nothing. The other rates follow at equal ratios.
    Sizes never decrease with increasing rate; of all such choices, the one with the highest sum of VMAF is used.
    Finally, rungs that are too close to the one above are moved down.

    Returns:
        Points, ascending; fewer than wanted if the hull has no room, and possibly none.
    """
    table = _Table(hull, codec)
    low, high = _range(table, wanted)
    rates = [low * (high / low) ** (step / (wanted.count - 1)) for step in range(wanted.count)]
    return _spaced(table, _by_size(table, rates))


class _Table:
    """All points that a rung may have: each size at each constant rate factor that the encoder accepts."""

    def __init__(self, hull: Hull, codec: Codec) -> None:
        self.sizes: list[list[CurvePoint]] = []
        step = 1.0 if codec in WHOLE_CRF else 0.1
        for number, curve in enumerate(hull.curves):
            beyond = BEYOND_TRIALS[codec]
            finest = max(FINEST_CRF[codec], curve.crfs[0] - beyond)
            further = beyond if number else SMALLEST_SIZE_BEYOND * beyond
            coarsest = min(float(CRF_LIMITS[codec]), curve.crfs[-1] + further)
            count = round((coarsest - finest) / step)
            crfs = [round(coarsest - number_of_steps * step, 1) for number_of_steps in range(count + 1)]
            # Ascending by rate.
            self.sizes.append([curve.at(crf) for crf in crfs])
        self.points = sorted((point for size in self.sizes for point in size), key=lambda point: point.kbps)
        self.front: list[CurvePoint] = []
        """Points that look better than all cheaper ones."""
        for point in self.points:
            if not self.front or point.vmaf > self.front[-1].vmaf:
                self.front.append(point)

    def nearest(self, size: int, kbps: float) -> CurvePoint | None:
        """The point of a size nearest to a rate; None if the size does not reach it."""
        points = self.sizes[size]
        if not points[0].kbps / 1.02 <= kbps <= points[-1].kbps * 1.02:
            return None
        return min(points, key=lambda point: abs(math.log(point.kbps / kbps)))

    def best_vmaf(self, kbps: float) -> float:
        """The highest quality at a rate."""
        return self.front[max(0, bisect_right(self.front, kbps, key=lambda point: point.kbps) - 1)].vmaf


def _range(table: _Table, wanted: Wanted) -> tuple[float, float]:
    """The lowest and the highest rate of a codec's rungs."""
    least, most = table.points[0].kbps, table.front[-1].kbps
    enough = [point.kbps for point in table.front if point.vmaf >= wanted.top_vmaf - ENOUGH_VMAF]
    high = min([most, wanted.highest_kbps, *enough[:1]])
    # Search from above: at low rates, quality may stagnate for a while before it rises again.
    ratio = 2 ** (1 / 8)
    while high / ratio > least and table.best_vmaf(2 * high / ratio) - table.best_vmaf(high / ratio) < DOUBLING_VMAF:
        high /= ratio
    high = max(high, least)
    low = max(least, min(wanted.lowest_kbps, high))
    span = max(COVERAGE, MIN_STEP_RATIO ** (wanted.count - 1))
    return max(least, min(low, high / span)), high


def _by_size(table: _Table, rates: Sequence[float]) -> list[CurvePoint]:
    """Choose a size for each rate by dynamic programming: sizes never decrease, and the sum of VMAF is highest."""
    impossible = -math.inf
    count = len(table.sizes)
    best: list[list[tuple[float, int]]] = []
    points_by_rate: list[list[CurvePoint | None]] = []
    smallest = table.sizes[0][0].lines
    for rate in rates:
        row: list[tuple[float, int]] = []
        points = [table.nearest(size, rate) for size in range(count)]
        for size in range(count):
            point = points[size]
            lines = table.sizes[size][0].lines
            if point is None or (not best and lines > max(SMALL_LINES, smallest)):
                row.append((impossible, 0))
                continue
            if not best:
                row.append((point.vmaf, size))
                continue
            before = max(range(size + 1), key=lambda smaller: (best[-1][smaller][0], -smaller))
            row.append((best[-1][before][0] + point.vmaf, before))
        if all(value == impossible for value, _ in row):
            continue  # between the highest rate of a size and the lowest of the next
        best.append(row)
        points_by_rate.append(points)
    if not best:
        return []
    size = max(range(count), key=lambda size: (best[-1][size][0], -size))
    chosen: list[CurvePoint] = []
    for row, points in zip(reversed(best), reversed(points_by_rate), strict=True):
        point = points[size]
        assert point is not None
        chosen.append(point)
        size = row[size][1]
    return chosen[::-1]


def _spaced(table: _Table, chosen: Sequence[CurvePoint]) -> tuple[CurvePoint, ...]:
    """Move rungs down that are too close to the one above; leave them out if there is no room."""
    if not chosen:
        return ()
    kept = [chosen[-1]]
    smallest = table.sizes[0][0].lines
    for number, point in reversed(list(enumerate(chosen[:-1]))):
        above = kept[-1]
        # Averages are whole kb/s.
        limit = whole_kbps(above) / MIN_STEP_RATIO - 0.5
        if point.kbps > limit or point.vmaf > above.vmaf - MIN_STEP_VMAF or point.lines > above.lines:
            most_lines = max(SMALL_LINES, smallest) if number == 0 else above.lines
            lower = [
                other
                for other in table.points
                if other.kbps <= min(limit, point.kbps)
                and other.vmaf <= above.vmaf - MIN_STEP_VMAF
                and other.lines <= min(above.lines, most_lines)
                and other.kbps >= 1
            ]
            if not lower:
                break
            finest = max(other.vmaf for other in lower)
            point = min((other for other in lower if other.vmaf >= finest - 0.05), key=lambda other: other.kbps)
        kept.append(point)
    kept = _with_small(table, kept[::-1])
    return tuple(kept)


def _with_small(table: _Table, kept: list[CurvePoint]) -> list[CurvePoint]:
    """Ensure that the lowest rung is small, and low enough compared with the highest one."""
    small = max(SMALL_LINES, table.sizes[0][0].lines)
    while kept and (kept[0].lines > small or kept[0].kbps > kept[-1].kbps / COVERAGE):
        above = kept[1] if len(kept) > 1 else kept[0]
        limit = min(whole_kbps(above) / MIN_STEP_RATIO - 0.5, kept[-1].kbps / COVERAGE)
        lower = [
            point
            for point in table.points
            if 1 <= point.kbps <= limit
            and point.lines <= min(small, above.lines)
            and point.vmaf <= above.vmaf - MIN_STEP_VMAF
        ]
        if lower:
            return [max(lower, key=lambda point: point.vmaf), *kept[1:]]
        kept = kept[1:]
    return kept


def whole_kbps(point: CurvePoint) -> int:
    """The rate of a rung, which is a whole number, at least 1."""
    return max(1, round(point.kbps))
