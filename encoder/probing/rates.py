"""Frame rates: which one the times of a master's frames follow."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median_low

from av.video.stream import VideoStream

STANDARD_RATES = tuple(
    sorted(
        [Fraction(rate) for rate in (12, 15, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)]
        + [Fraction(rate * 1000, 1001) for rate in (12, 15, 24, 30, 48, 60, 120, 240)]
        + [Fraction(25, 2)]
    )
)
"""Frame rates that equipment makes: SMPTE ST 2036-1 and ST 274, their halves and doubles, and 240 of slow motion."""

DENOMINATORS = (1001, 8192)
"""Other rates are the fraction nearest to what was measured, with a denominator of at most this. Of a long film's
measured mean itself, the terms may be larger than the 32 bits of a time scale."""


def declared_rate(picture: VideoStream) -> Fraction:
    """Frames per second as the container says, or as FFmpeg guesses."""
    return picture.average_rate or picture.guessed_rate or Fraction(25)


def frame_rate(pts_ticks: Sequence[int], time_base: Fraction, declared: Fraction) -> tuple[Fraction, bool]:
    """Find the frame rate that the times of the frames follow.

    Args:
        pts_ticks: When each frame is shown, ascending, at least one.
        time_base: Seconds of a tick.
        declared: What the container says; decides between standard rates that fit a short film equally well.

    Returns:
        The rate, one of `STANDARD_RATES` wherever one fits, and whether it is constant: whether each frame lies within
        half a frame of the grid that starts with the first. Where it is not, the rate is that of most frames.
    """
    span = pts_ticks[-1] - pts_ticks[0]
    if span <= 0:
        return _nearest(declared, Fraction(1, 1000), declared) or _rounded(declared), len(pts_ticks) == 1
    mean = (len(pts_ticks) - 1) / (span * time_base)
    # Both ends are rounded to ticks, and some write 29.97 or 23.98 when they mean 30000/1001 or 24000/1001.
    standard = _nearest(mean, Fraction(3, 2 * span) + Fraction(3, 10_000), declared)
    for rate in (standard, *(mean.limit_denominator(largest) for largest in DENOMINATORS)):
        if rate and _follows(pts_ticks, time_base, rate):
            return rate, True
    step = median_low([after - before for before, after in pairwise(pts_ticks)])
    typical = 1 / (max(step, 1) * time_base)
    tolerance = Fraction(1, 100) + Fraction(1, max(step, 1))
    return _nearest(typical, tolerance, declared) or _rounded(mean), False


def _rounded(rate: Fraction) -> Fraction:
    return rate.limit_denominator(DENOMINATORS[0])


def _nearest(rate: Fraction, tolerance: Fraction, declared: Fraction) -> Fraction | None:
    near = [standard for standard in STANDARD_RATES if abs(standard / rate - 1) <= tolerance]
    # Of those that are near enough, the one that the container means, and then the one nearest to what was measured.
    return min(near, key=lambda s: (abs(s / declared - 1) > Fraction(3, 10_000), abs(s - rate)), default=None)


def _follows(pts_ticks: Sequence[int], time_base: Fraction, rate: Fraction) -> bool:
    tick, frame = time_base.numerator * rate.numerator, time_base.denominator * rate.denominator
    start = pts_ticks[0]
    return all(2 * abs((pts - start) * tick - number * frame) <= frame for number, pts in enumerate(pts_ticks))
