"""Detect wrong sample rates of PCM from the way it is interleaved with the picture.

PCM in MOV and AVI has no timestamps: samples are counted. If parts with different channels or sample rates were joined
under the header of the first one, the counted times are too fast or too slow after the first part. But sound is stored
next to the picture of the same time, so along the file, the times of both must advance at the same speed.
"""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from headend.core.media import Change

_MAX_POINTS = 400
_MIN_POINTS = 12
"""Minimum number of points on each side of a change."""
_MAX_SAME_SPEED, _MIN_OTHER_SPEED = 0.03, 0.06
"""Maximum difference from the picture's speed to count as the same, and minimum difference to count as another one."""
_MAX_DEVIATION_S = 0.25
"""Maximum deviation of sound from a constant speed: it is interleaved in pieces of some length."""
_MIN_DRIFT_S = 1.0
"""Minimum drift at the end of the sound: more than such a piece."""

Positions = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]


def change(
    sound_positions: Positions, sound_s: Seconds, picture_positions: Positions, picture_s: Seconds
) -> Change | None:
    """Find the time at which the speed of the sound starts to differ from the picture's.

    Args:
        sound_positions: Byte positions of the packets of sound, ascending.
        sound_s: Their times, counted in samples.
        picture_positions: Byte positions of the packets of the picture, ascending.
        picture_s: Their presentation times.

    Returns:
        The change; None if there is none, or if sound and picture are not interleaved.
    """
    if len(picture_positions) < 2 * _MIN_POINTS or len(sound_positions) < 2 * _MIN_POINTS:
        return None
    # Frames may be reordered.
    picture_s = np.maximum.accumulate(picture_s)
    previous = np.searchsorted(picture_positions, sound_positions) - 1
    inside = (previous >= 0) & (previous < len(picture_positions) - 1)
    x, y = picture_s[previous[inside]], sound_s[inside]
    chosen = np.linspace(0, len(x) - 1, min(len(x), _MAX_POINTS)).astype(np.int64) if len(x) else np.arange(0)
    x, y = x[chosen], y[chosen]
    best: tuple[float, int, float] | None = None
    for point in range(_MIN_POINTS, len(x) - _MIN_POINTS):
        (before, deviation_before), (after, deviation_after) = (
            _regression(x[part], y[part]) for part in (np.s_[:point], np.s_[point:])
        )
        deviation = max(deviation_before, deviation_after)
        if (
            abs(before - 1) < _MAX_SAME_SPEED
            and abs(after - 1) > _MIN_OTHER_SPEED
            and after > 0
            and (best is None or deviation < best[0])
        ):
            best = deviation, point, after
    if best is None:
        return None
    deviation, point, speed = best
    if deviation > _MAX_DEVIATION_S or abs((x[-1] - x[point]) * (speed - 1)) < max(_MIN_DRIFT_S, 4 * deviation):
        return None
    return Change(
        Fraction(float(x[point])).limit_denominator(1000),
        "sound that keeps pace with the picture",
        f"sound that is read {1 / speed:.2g} times as fast as it was made"
        if speed < 1
        else f"sound that is read at {1 / speed:.2g} of its speed",
    )


def _regression(x: Seconds, y: Seconds) -> tuple[float, float]:
    """The slope of the regression line through points, and the largest deviation from it."""
    centred = x - x.mean()
    variation = float((centred**2).sum())
    if variation == 0:
        return 0.0, float("inf")
    slope = float((centred * (y - y.mean())).sum()) / variation
    return slope, float(np.abs(y - y.mean() - slope * centred).max())
