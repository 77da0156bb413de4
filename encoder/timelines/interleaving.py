"""Interleaving: where sound lies in a file, against the picture beside it.

PCM in MOV and AVI is counted, not timed. Where parts of different channels or sample rates were joined under the header
of the first one, the count runs too fast or too slow from there on, and nothing in the file says so. But writers put
sound beside the picture that it belongs to: along the file, both advance at the same speed.
"""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from headend.core.media import Change

_MOST_POINTS = 400
_FEWEST_POINTS = 12
"""On each side of a change."""
_SAME, _OTHER = 0.03, 0.06
"""By how much speeds may differ from that of the picture to be the same, and must differ to be another."""
_SPREAD_S = 0.25
"""How far sound may lie from where its speed would have it, as writers put it into the file in pieces."""
_LEAST_S = 1.0
"""By how much sound must have run away at its end; more than writers put into one piece."""

Places = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]


def change(sound_at: Places, sound_s: Seconds, picture_at: Places, picture_s: Seconds) -> Change | None:
    """Find where sound begins to advance at another speed than the picture, for good.

    Args:
        sound_at: Where the packets of sound lie in the file, in bytes, ascending.
        sound_s: When they are heard, by count.
        picture_at: Where the packets of the picture lie, ascending.
        picture_s: When they are shown.

    Returns:
        The change; None if there is none, or if sound and picture don't lie beside each other.
    """
    if len(picture_at) < 2 * _FEWEST_POINTS or len(sound_at) < 2 * _FEWEST_POINTS:
        return None
    # Frames may be shown in another order than they lie in.
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
    """The slope of the line through points, and how far from it the furthest of them is."""
    around = x - x.mean()
    width = float((around**2).sum())
    if width == 0:
        return 0.0, float("inf")
    slope = float((around * (y - y.mean())).sum()) / width
    return slope, float(np.abs(y - y.mean() - slope * around).max())
