"""From trial encodes to the best size for each rate: the hull of a clip, and of several clips together.

A trial is a short clip that was encoded at one size and constant rate factor, and scored. Trials of one size make a
curve; the hull takes from all curves what looks best at each rate. Pure: trials come in, sizes and rates go out.

Source:
    Netflix Technology Blog, "Per-Title Encode Optimization", 2015: the convex hull of resolutions.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

Function = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class TrialPoint:
    """What one trial encode came to.

    Attributes:
        lines: Height of the picture in pixels.
        crf: Constant rate factor, in the codec's own scale.
        kbps: Its rate, above 0.
        vmaf: Mean VMAF on the screen that all trials of a clip were scored on.
    """

    lines: int
    crf: float
    kbps: float
    vmaf: float


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A place on a curve.

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
        crfs: Where trials were made, ascending; at least two.
        kbps: Rates there, as a function; falls as the factor rises.
        vmaf: Quality, as a function.
    """

    lines: int
    crfs: tuple[float, ...]
    kbps: Function
    vmaf: Function

    def at(self, crf: float) -> CurvePoint:
        """The place of a rate factor; outside of the trials, the curve goes on as straight as it ends."""
        return CurvePoint(self.lines, crf, self.kbps(crf), self.vmaf(crf))

    def at_rate(self, kbps: float) -> CurvePoint:
        """The place of a rate."""
        low, high = self.crfs[0] - 30, self.crfs[-1] + 30
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.kbps(middle) > kbps else (low, middle)
        return self.at((low + high) / 2)

    @property
    def range_kbps(self) -> tuple[float, float]:
        """Lowest and highest rate that was tried."""
        return self.kbps(self.crfs[-1]), self.kbps(self.crfs[0])


@dataclass(frozen=True, slots=True)
class Hull:
    """The best that a codec can do with a clip at each rate.

    Attributes:
        curves: By size, the smallest first.
    """

    curves: tuple[Curve, ...]

    def best(self, kbps: float, *, at_least: int = 0) -> CurvePoint:
        """The size and factor with the highest quality at a rate.

        Sizes whose trials end before the rate are not extrapolated upwards, unless no other size is left.

        Args:
            kbps: The rate.
            at_least: Lines below which no size is taken, so that sizes never fall along a ladder.
        """
        wanted = [curve for curve in self.curves if curve.lines >= at_least] or [self.curves[-1]]
        reached = [curve for curve in wanted if curve.range_kbps[0] <= kbps] or wanted[:1]
        return max((curve.at_rate(kbps) for curve in reached), key=lambda spot: spot.vmaf)

    def along(self, rates_kbps: Iterable[float]) -> Iterator[CurvePoint]:
        """The best places for ascending rates; sizes never fall."""
        lines = 0
        for rate in rates_kbps:
            spot = self.best(rate, at_least=lines)
            lines = spot.lines
            yield spot


def hull(points: Iterable[TrialPoint]) -> Hull:
    """Draw the curves of a clip and a codec.

    Raises:
        ValueError: No size has two trials with different factors.
    """
    by_lines: dict[int, dict[float, TrialPoint]] = {}
    for point in points:
        by_lines.setdefault(point.lines, {})[point.crf] = point
    curves = [_curve(lines, by_crf) for lines, by_crf in sorted(by_lines.items()) if len(by_crf) > 1]
    if not curves:
        raise ValueError("a hull needs two trials of a size at least")
    return Hull(tuple(curves))


def estimated(of: Hull, lines: int, crf: float, cap_kbps: float) -> CurvePoint:
    """Estimate the outcome of a rung of any size from the sizes that were tried.

    Rate and quality at one rate factor are smooth functions of the logarithm of the height, and are drawn as such. A
    straight line between two sizes would underrate the sizes between them, since quality rises ever more slowly.

    Args:
        of: The hull.
        lines: Height of the rung's box.
        crf: Its constant rate factor.
        cap_kbps: A rate that it can't exceed.
    """
    curves = of.curves
    heights = [math.log(curve.lines) for curve in curves]

    def at(factor: float) -> CurvePoint:
        spots = [curve.at(factor) for curve in curves]
        if len(spots) == 1:
            return replace(spots[0], lines=lines)
        log_rate = monotone_cubic(heights, [math.log(spot.kbps) for spot in spots])
        vmaf = monotone_cubic(heights, [spot.vmaf for spot in spots])
        place = math.log(lines)
        return CurvePoint(lines, factor, math.exp(log_rate(place)), max(0.0, min(100.0, vmaf(place))))

    spot = at(crf)
    if spot.kbps <= cap_kbps:
        return spot
    # A cap that holds acts as a higher factor would.
    least, most = crf, crf + 30.0
    for _ in range(40):
        middle = (least + most) / 2
        held = at(middle)
        least, most = (middle, most) if held.kbps > cap_kbps else (least, middle)
    return held


def rate_saving(tried: Sequence[CurvePoint], against: Sequence[CurvePoint]) -> float:
    """How many bits one ladder takes over another for equal quality.

    Viewers get from each ladder the best-looking of its rungs that fits their line, or something between two of them.

    Args:
        tried: Rungs as they came out on a clip.
        against: Those of the other ladder.

    Returns:
        The mean logarithmic ratio of rates over the range of quality that both reach, as a share: -0.1 for a tenth
        fewer. 0 where they have no quality in common.

    Source:
        Bjøntegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001; straight lines
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


def inverted(spots: Sequence[CurvePoint], *, tolerance: float = 0.0) -> list[tuple[CurvePoint, CurvePoint]]:
    """Neighbours of a ladder of which the dearer one looks worse, by more than ``tolerance``, or costs no more."""
    return [(a, b) for a, b in pairwise(spots) if b.kbps <= a.kbps or b.vmaf < a.vmaf - tolerance]


def _frontier(spots: Sequence[CurvePoint]) -> list[CurvePoint]:
    """The rungs that no cheaper one beats, by rising rate."""
    kept: list[CurvePoint] = []
    for spot in sorted(spots, key=lambda spot: (spot.kbps, -spot.vmaf)):
        if not kept or spot.vmaf > kept[-1].vmaf:
            kept.append(spot)
    return kept


def _log_rate(spots: Sequence[CurvePoint], vmaf: float) -> float:
    """The logarithm of the rate that reaches a quality, between two rungs."""
    place = min(max(1, bisect_right([spot.vmaf for spot in spots], vmaf)), len(spots) - 1)
    low, high = spots[place - 1], spots[place]
    share = (vmaf - low.vmaf) / (high.vmaf - low.vmaf)
    return math.log(low.kbps) + share * (math.log(high.kbps) - math.log(low.kbps))


def _curve(lines: int, by_crf: Mapping[float, TrialPoint]) -> Curve:
    crfs = tuple(sorted(by_crf))
    log_rate = monotone_cubic(crfs, [math.log(by_crf[crf].kbps) for crf in crfs])
    vmaf = monotone_cubic(crfs, [by_crf[crf].vmaf for crf in crfs])
    return Curve(lines, crfs, lambda crf: math.exp(log_rate(crf)), vmaf)


def monotone_cubic(xs: Sequence[float], ys: Sequence[float]) -> Function:
    """Draw a smooth curve through points; where these rise or fall, so does the curve between them.

    Args:
        xs: Ascending; at least two.
        ys: As many.

    Returns:
        The curve; beyond its ends it goes on straight.

    Source:
        Fritsch and Butland, "A method for constructing local monotone piecewise cubic interpolants", 1984; at the
        ends, the parabola through three points, bounded as by Moler, "Numerical Computing with MATLAB", 2004, 3.6.
    """
    steps = [(b - a) for a, b in pairwise(xs)]
    slopes = [(b - a) / step for (a, b), step in zip(pairwise(ys), steps, strict=True)]
    tangents = [slopes[0], *(0.0 for _ in slopes[1:]), slopes[-1]]
    for place in range(1, len(slopes)):
        before, after = slopes[place - 1], slopes[place]
        if before * after > 0:
            first, second = 2 * steps[place] + steps[place - 1], steps[place] + 2 * steps[place - 1]
            tangents[place] = (first + second) / (first / before + second / after)
    if len(slopes) > 1:
        tangents[0] = _end_tangent(steps[0], steps[1], slopes[0], slopes[1])
        tangents[-1] = _end_tangent(steps[-1], steps[-2], slopes[-1], slopes[-2])

    def value(x: float) -> float:
        if x <= xs[0]:
            return ys[0] + tangents[0] * (x - xs[0])
        if x >= xs[-1]:
            return ys[-1] + tangents[-1] * (x - xs[-1])
        place = bisect_right(xs, x) - 1
        step = steps[place]
        t = (x - xs[place]) / step
        rise = ys[place + 1] - ys[place]
        start, end = step * tangents[place], step * tangents[place + 1]
        return ys[place] + t * (start + t * (3 * rise - 2 * start - end + t * (start + end - 2 * rise)))

    return value


def _end_tangent(step: float, next_step: float, slope: float, next_slope: float) -> float:
    """The tangent at an end of a curve, from its outermost two steps; it keeps the curve monotone."""
    tangent = ((2 * step + next_step) * slope - step * next_slope) / (step + next_step)
    # Never level where the curve is not: beyond its end, it goes on by this.
    return slope * min(3.0, max(0.25, tangent / slope)) if slope else 0.0
