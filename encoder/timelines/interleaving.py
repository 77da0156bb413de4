"""Detect wrong sample rates of PCM by its interleaving with the picture.

PCM in MOV and AVI has no times: samples are counted. If parts with different channels or sample rates were joined under
the header of the first one, the count runs too fast or too slow from there on, and nothing in the file states it. But
writers interleave sound with the picture of the same time, so both advance at the same speed along the file.
"""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from headend.core.media import Change

_MOST_POINTS = 400
_FEWEST_POINTS = 12
"""Minimum number of points on each side of a change."""
_SAME, _OTHER = 0.03, 0.06
"""Maximum difference from the picture's speed to count as the same, and minimum difference to count as another one."""
_SPREAD_S = 0.25
"""Maximum deviation of sound from a constant speed, since writers interleave it in pieces."""
_LEAST_S = 1.0
"""Minimum drift at the end of the sound; more than the length of a piece."""

Places = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]


def change(sound_at: Places, sound_s: Seconds, picture_at: Places, picture_s: Seconds) -> Change | None:
    """Find the place from which on the sound's speed differs from the picture's.

    Args:
        sound_at: Byte positions of the packets of sound, ascending.
        sound_s: Their times, by count.
        picture_at: Byte positions of the packets of the picture, ascending.
        picture_s: Their presentation times.

    Returns:
        The change; None if there is none, or if sound and picture are not interleaved.
    """
    if len(picture_at) < 2 * _FEWEST_POINTS or len(sound_at) < 2 * _FEWEST_POINTS:
        return None
    # Frames may be reordered.
    picture_s = np.maximum.accumulate(picture_s)
    beside = np.searchsorted(picture_at, sound_at) - 1
    inside = (beside >= 0) & (beside < len(picture_at) - 1)
    x, y = picture_s[beside[inside]], sound_s[inside]
    chosen = np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).astype(np.int64) if len(x) else np.arange(0)
    x, y = x[chosen], y[chosen]
    best: tuple[float, int, float] | None = None
    for place in range(_FEWEST_POINTS, len(x) - _FEWEST_POINTS):
        (before, off_before), (after, off_after) = (_line(x[part], y[part]) for part in (np.s_[:place], np.s_[place:]))
        spread = max(off_before, off_after)
        if abs(before - 1) < _SAME and abs(after - 1) > _OTHER and after > 0 and (best is None or spread < best[0]):
            best = spread, place, after
    if best is None:
        return None
    spread, place, speed = best
    if spread > _SPREAD_S or abs((x[-1] - x[place]) * (speed - 1)) < max(_LEAST_S, 4 * spread):
        return None
    return Change(
        Fraction(float(x[place])).limit_denominator(1000),
        "sound that keeps pace with the picture",
        f"sound that is read {1 / speed:.2g} times as fast as it was made"
        if speed < 1
        else f"sound that is read at {1 / speed:.2g} of its speed",
    )


def _line(x: Seconds, y: Seconds) -> tuple[float, float]:
    """The slope of the regression line of points, and the largest deviation from it."""
    around = x - x.mean()
    width = float((around**2).sum())
    if width == 0:
        return 0.0, float("inf")
    slope = float((around * (y - y.mean())).sum()) / width
    return slope, float(np.abs(y - y.mean() - slope * around).max())
