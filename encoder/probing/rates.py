"""Find the frame rate of a master from the times of its frames."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median_low

import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream

STANDARD_RATES = tuple(
    sorted(
        [Fraction(rate) for rate in (12, 15, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)]
        + [Fraction(rate * 1000, 1001) for rate in (12, 15, 24, 30, 48, 60, 120, 240)]
        + [Fraction(25, 2)]
    )
)
"""Frame rates of equipment: SMPTE ST 2036-1 and ST 274, their halves and doubles, and 240 for slow motion."""

DENOMINATORS = (1001, 8192)
"""Rates that are not standard are rounded to fractions with at most these denominators: the exact mean rate of a long
film may not fit into the 32 bits of a timescale."""

FILM_SHARE = Fraction(4, 5)
"""3:2 pull-down: MPEG-2 that repeats fields of film declares five frames for every four that are coded."""
_DECLARED_TOLERANCE = Fraction(3, 10_000)
"""Tolerance of declared rates: some tools write 29.97 or 23.98 for 30000/1001 or 24000/1001."""
_TIE_FRAMES = 1 / 16
"""A declared rate is preferred to the best one if its root-mean-square error, in frames, is larger by at most this."""
_MAX_SPREAD_FRAMES = 0.9
"""Maximum range, in frames, of the delays of frames against a constant rate; a missing frame makes it 1."""
_MAX_MEAN_SPREAD_FRAMES = 1 / 4
"""The same for the mean rate, if it is not a standard one."""

Seconds = npt.NDArray[np.float64]


def declared_rate(picture: VideoStream) -> Fraction:
    """The frame rate that the container declares, or that FFmpeg guesses."""
    return picture.average_rate or picture.guessed_rate or Fraction(25)


def declared_rates(picture: VideoStream) -> tuple[Fraction, ...]:
    """All rates that a stream may declare, the likeliest first.

    FFmpeg's average is a mean of the first frames. The rate in MPEG-2's sequence header counts displayed fields: if
    some are repeated (``repeat_first_field``), there are fewer film frames than that.
    """
    stated = [rate for rate in (declared_rate(picture), picture.guessed_rate, picture.base_rate) if rate]
    film = [rate * FILM_SHARE for rate in stated] if picture.codec_context.name == "mpeg2video" else []
    return (*stated, *film)


def frame_rate(pts_ticks: Sequence[int], time_base: Fraction, *declared: Fraction) -> tuple[Fraction, bool]:
    """Find the frame rate that the times of the frames follow.

    Standard rates are tried before the mean, because one late frame shifts the mean of a short film.

    Args:
        pts_ticks: Presentation times of the frames, ascending, at least one.
        time_base: Seconds of a tick.
        declared: Rates that the container declares, at least one; they decide between rates that fit equally well.

    Returns:
        The rate, one of `STANDARD_RATES` if one fits, and whether it is constant, with each frame within half a frame
        of its place on a regular grid. If it is not constant, the rate is that of most frames.
    """
    span = pts_ticks[-1] - pts_ticks[0]
    if span <= 0:
        rate = declared[0]
        return _nearest(rate, Fraction(1, 1000), declared) or _rounded(rate), len(pts_ticks) == 1
    seconds = _seconds(pts_ticks, time_base)
    if standard := _best_standard(seconds, declared):
        return standard, True
    mean = (len(pts_ticks) - 1) / (span * time_base)
    for rate in (mean.limit_denominator(largest) for largest in DENOMINATORS):
        # A missing frame shifts the mean and hides among the others, so the tolerance is smaller here. Times are
        # rounded to ticks, unless these are about as long as frames: then a tick more or less is a missing frame.
        rounding_frames = 2 * float(time_base * rate) if 2 * time_base * rate < 1 else 0.0
        if rate and np.ptp(_delays_frames(seconds, rate)) <= _MAX_MEAN_SPREAD_FRAMES + rounding_frames:
            return rate, True
    step = median_low([after - before for before, after in pairwise(pts_ticks)])
    typical = 1 / (max(step, 1) * time_base)
    tolerance = Fraction(1, 100) + Fraction(1, max(step, 1))
    return _nearest(typical, tolerance, declared) or _rounded(mean), False


def _seconds(pts_ticks: Sequence[int], time_base: Fraction) -> Seconds:
    return np.asarray((np.asarray(pts_ticks, np.int64) - pts_ticks[0]) * float(time_base), np.float64)


def _best_standard(seconds: Seconds, declared: Sequence[Fraction]) -> Fraction | None:
    """The standard rate that all frames follow. If several fit, a declared one, unless another fits clearly better."""
    errors: dict[Fraction, float] = {}
    for rate in STANDARD_RATES:
        # The last frame alone rules out most rates.
        if abs(seconds[-1] * float(rate) - (len(seconds) - 1)) < 1:
            delays_frames = _delays_frames(seconds, rate)
            if _is_regular(delays_frames):
                errors[rate] = float(np.std(delays_frames))
    best = min(errors.values(), default=0.0)
    ties = [rate for rate, error in errors.items() if error <= best + _TIE_FRAMES]

    def preference(rate: Fraction) -> tuple[int, float]:
        stated = (number for number, other in enumerate(declared) if abs(rate / other - 1) <= _DECLARED_TOLERANCE)
        return next(stated, len(declared)), errors[rate]

    return min(ties, key=preference, default=None)


def _delays_frames(seconds: Seconds, rate: Fraction) -> Seconds:
    """Delay of each frame against a regular grid, in frames."""
    delays: Seconds = seconds * float(rate) - np.arange(len(seconds))
    return delays


def _is_regular(delays_frames: Seconds) -> bool:
    # If the first frame is the late one, all others seem early. So a small range of the delays is enough.
    return bool(np.max(np.abs(delays_frames)) <= 0.5 + 1e-6 or np.ptp(delays_frames) <= _MAX_SPREAD_FRAMES)


def _rounded(rate: Fraction) -> Fraction:
    return rate.limit_denominator(DENOMINATORS[0])


def _nearest(rate: Fraction, tolerance: Fraction, declared: Sequence[Fraction]) -> Fraction | None:
    near = [standard for standard in STANDARD_RATES if abs(standard / rate - 1) <= tolerance]

    def preference(standard: Fraction) -> tuple[bool, Fraction]:
        stated = any(abs(standard / other - 1) <= _DECLARED_TOLERANCE for other in declared)
        return not stated, abs(standard - rate)

    # A declared rate first, then the one nearest to the measured rate.
    return min(near, key=preference, default=None)
