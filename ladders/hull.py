"""The best size for each rate, from trial encodes: the hull of a clip.

A trial is a short clip that was encoded at one size and constant rate factor, and scored. Trials of one size form a
curve; the hull takes the best of all curves at each rate. Pure functions from trials to sizes and rates.

Source:
    Netflix Technology Blog, "Per-Title Encode Optimization", 2015: the convex hull of resolutions.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

Function = Callable[[float], float]

BEYOND_CRF = 12.0
"""How far estimates go beyond the factors of the trials."""


@dataclass(frozen=True, slots=True)
class TrialPoint:
    """The result of one trial encode.

    Attributes:
        lines: Height of the picture in pixels.
        crf: Constant rate factor, on the codec's own scale.
        kbps: Its rate, above 0.
        vmaf: Mean VMAF, for the same screen in all trials of a clip.
    """

    lines: int
    crf: float
    kbps: float
    vmaf: float


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A point on a curve.

    Attributes:
        lines: Height of the picture in pixels.
        crf: Constant rate factor.
        kbps: Rate.
        vmaf: Mean VMAF.
    """

    lines: int
    crf: float
    kbps: float
    vmaf: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Rate and quality of one size, by constant rate factor.

    Attributes:
        lines: Height of the picture in pixels.
        crfs: Rate factors of the trials, ascending; at least two.
        kbps: Rate by rate factor; decreasing.
        vmaf: Quality by rate factor.
    """

    lines: int
    crfs: tuple[float, ...]
    kbps: Function
    vmaf: Function

    def at(self, crf: float) -> CurvePoint:
        """The point at a rate factor; outside the trials' range, the curve is extended linearly."""
        return CurvePoint(self.lines, crf, self.kbps(crf), self.vmaf(crf))

    def at_rate(self, kbps: float) -> CurvePoint:
        """The point at a rate."""
        low, high = self.crfs[0] - 30, self.crfs[-1] + 30
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.kbps(middle) > kbps else (low, middle)
        return self.at((low + high) / 2)

    @property
    def range_kbps(self) -> tuple[float, float]:
        """Lowest and highest rate of the trials."""
        return self.kbps(self.crfs[-1]), self.kbps(self.crfs[0])


@dataclass(frozen=True, slots=True)
class Hull:
    """The best quality of a codec for a clip at each rate.

    Attributes:
        curves: One curve per size, the smallest first.
    """

    curves: tuple[Curve, ...]

    def best(self, kbps: float) -> CurvePoint:
        """The size and factor with the highest quality at a rate.

        Sizes whose trials all have higher rates are excluded, unless no other size is left.
        """
        reachable = [curve for curve in self.curves if curve.range_kbps[0] <= kbps] or self.curves[:1]
        return max((curve.at_rate(kbps) for curve in reachable), key=lambda point: point.vmaf)


def hull(points: Iterable[TrialPoint], scale: Function = float) -> Hull:
    """Make the hull of a clip and a codec.

    Args:
        points: The trials.
        scale: An increasing function of the rate factor, with which rate and quality change evenly.

    Raises:
        ValueError: No size has trials with two different factors.
    """
    by_lines: dict[int, dict[float, TrialPoint]] = {}
    for point in points:
        by_lines.setdefault(point.lines, {})[point.crf] = point
    curves = [_curve(lines, by_crf, scale) for lines, by_crf in sorted(by_lines.items()) if len(by_crf) > 1]
    if not curves:
        raise ValueError("a hull needs at least two trials of one size")
    return Hull(tuple(curves))


def estimated(of: Hull, lines: int, crf: float, cap_kbps: float) -> CurvePoint:
    """Estimate the result of a rung of any size from the sizes of the trials.

    At one rate factor, rate and quality are smooth functions of the logarithm of the height, and are interpolated as
    such. A straight line between two sizes would underestimate the sizes between them, since quality rises ever more
    slowly.

    Args:
        of: The hull.
        lines: Height of the rung's box.
        crf: Its constant rate factor.
        cap_kbps: Upper bound of its rate.
    """
    curves = of.curves
    heights = [math.log(curve.lines) for curve in curves]

    def at(factor: float) -> CurvePoint:
        points = [curve.at(factor) for curve in curves]
        if len(points) == 1:
            return replace(points[0], lines=lines)
        log_rate = monotone_cubic(heights, [math.log(point.kbps) for point in points])
        vmaf = monotone_cubic(heights, [point.vmaf for point in points])
        height = math.log(lines)
        return CurvePoint(lines, factor, math.exp(log_rate(height)), max(0.0, min(100.0, vmaf(height))))

    point = at(crf)
    if point.kbps <= cap_kbps:
        return point
    # A binding cap acts like a higher factor. Far beyond the trials, nothing is known.
    least, most = crf, max(crf, max(curve.crfs[-1] for curve in curves) + BEYOND_CRF)
    for _ in range(40):
        middle = (least + most) / 2
        capped = at(middle)
        least, most = (middle, most) if capped.kbps > cap_kbps else (least, middle)
    return capped


def rate_saving(tried: Sequence[CurvePoint], against: Sequence[CurvePoint]) -> float:
    """Rate of one ladder relative to another at equal quality.

    Viewers get the best rung of each ladder that fits their bandwidth, or something between two rungs.

    Args:
        tried: Rungs of the ladder, with their results on a clip.
        against: Rungs of the other ladder.

    Returns:
        The mean logarithmic ratio of rates over the range of quality that both reach, as a share: -0.1 for a tenth
        less. 0 if the ranges of quality don't overlap.

    Source:
        Bjøntegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001; with straight lines
        between rungs instead of a polynomial.
    """
    ours, theirs = _frontier(tried), _frontier(against)
    low = max(ours[0].vmaf, theirs[0].vmaf)
    high = min(ours[-1].vmaf, theirs[-1].vmaf)
    if high <= low:
        return 0.0
    steps = 200
    levels = [low + (high - low) * (n + 0.5) / steps for n in range(steps)]
    difference = sum(_log_rate(ours, level) - _log_rate(theirs, level) for level in levels) / steps
    return math.exp(difference) - 1


def inverted(points: Sequence[CurvePoint], *, tolerance: float = 0.0) -> list[tuple[CurvePoint, CurvePoint]]:
    """Adjacent rungs of which the second looks worse, by more than ``tolerance``, or does not cost more."""
    return [(a, b) for a, b in pairwise(points) if b.kbps <= a.kbps or b.vmaf < a.vmaf - tolerance]


def _frontier(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """The rungs that look better than all cheaper ones, by ascending rate."""
    frontier: list[CurvePoint] = []
    for point in sorted(points, key=lambda point: (point.kbps, -point.vmaf)):
        if not frontier or point.vmaf > frontier[-1].vmaf:
            frontier.append(point)
    return frontier


def _log_rate(points: Sequence[CurvePoint], vmaf: float) -> float:
    """The logarithm of the rate for a quality, interpolated between two rungs."""
    index = min(max(1, bisect_right([point.vmaf for point in points], vmaf)), len(points) - 1)
    low, high = points[index - 1], points[index]
    share = (vmaf - low.vmaf) / (high.vmaf - low.vmaf)
    return math.log(low.kbps) + share * (math.log(high.kbps) - math.log(low.kbps))


def _curve(lines: int, by_crf: Mapping[float, TrialPoint], scale: Function) -> Curve:
    crfs = tuple(sorted(by_crf))
    scaled = [scale(crf) for crf in crfs]
    log_rate = monotone_cubic(scaled, [math.log(by_crf[crf].kbps) for crf in crfs])
    vmaf = monotone_cubic(scaled, [by_crf[crf].vmaf for crf in crfs])
    return Curve(lines, crfs, lambda crf: math.exp(log_rate(scale(crf))), lambda crf: vmaf(scale(crf)))


def monotone_cubic(xs: Sequence[float], ys: Sequence[float]) -> Function:
    """Make a smooth curve through points, which is monotonic wherever the points are.

    Args:
        xs: Ascending; at least two.
        ys: As many.

    Returns:
        The curve, extended linearly beyond its ends.

    Source:
        Fritsch and Butland, "A method for constructing local monotone piecewise cubic interpolants", 1984; at the
        ends, the parabola through three points, bounded as by Moler, "Numerical Computing with MATLAB", 2004, 3.6.
    """
    steps = [(b - a) for a, b in pairwise(xs)]
    slopes = [(b - a) / step for (a, b), step in zip(pairwise(ys), steps, strict=True)]
    tangents = [slopes[0], *(0.0 for _ in slopes[1:]), slopes[-1]]
    for index in range(1, len(slopes)):
        before, after = slopes[index - 1], slopes[index]
        if before * after > 0:
            first, second = 2 * steps[index] + steps[index - 1], steps[index] + 2 * steps[index - 1]
            tangents[index] = (first + second) / (first / before + second / after)
    if len(slopes) > 1:
        tangents[0] = _end_tangent(steps[0], steps[1], slopes[0], slopes[1])
        tangents[-1] = _end_tangent(steps[-1], steps[-2], slopes[-1], slopes[-2])

    def value(x: float) -> float:
        if x <= xs[0]:
            return ys[0] + tangents[0] * (x - xs[0])
        if x >= xs[-1]:
            return ys[-1] + tangents[-1] * (x - xs[-1])
        index = bisect_right(xs, x) - 1
        step = steps[index]
        t = (x - xs[index]) / step
        rise = ys[index + 1] - ys[index]
        start, end = step * tangents[index], step * tangents[index + 1]
        return ys[index] + t * (start + t * (3 * rise - 2 * start - end + t * (start + end - 2 * rise)))

    return value


def _end_tangent(step: float, next_step: float, slope: float, next_slope: float) -> float:
    """The tangent at an end of a curve, from its outermost two steps; it keeps the curve monotone."""
    tangent = ((2 * step + next_step) * slope - step * next_slope) / (step + next_step)
    # Never level where the curve is not: beyond its end, it goes on by this.
    return slope * min(3.0, max(0.25, tangent / slope)) if slope else 0.0
