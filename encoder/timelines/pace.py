"""Detect changes of sample rate from the distance between packets, compared with the number of samples in each.

Some tools join parts with different sample rates and keep only the header of the first one. Packets don't state the
change, but their times show it: 1024 samples last 21.3 ms at 48 kHz, 23.2 ms at 44.1 kHz.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from headend.core.media import Change, Timeline

_WINDOW_PACKETS, _STRIDE_PACKETS = 24, 4
"""Packets in a window over which the pace is averaged, and distance between the starts of two windows."""
_LASTING_WINDOWS = 4
"""Number of windows in which the pace must be changed."""
_MIN_PACE_CHANGE = 0.04
"""Minimum relative change of pace: standard rates differ by at least 8 %, and drift is at most a few per cent."""
_MAX_UNEVENNESS = 0.03
"""Windows with a gap or jitter are ignored: those whose mean pace differs by more than this from that of the middle
half."""
CROWDED_SHARE = 1 / 8
"""Packets closer together than this share of their duration were moved by the tool that wrote the file, because their
times went back."""
_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000)
_BREAK_TOLERANCE_S = Fraction(1, 20)
"""Tolerance for the length of a break that is predicted from the ratio of two rates: priming may add to it."""
_MIN_DISTANCE_S = Fraction(1)
"""Breaks closer together than this count as one."""

Numbers = npt.NDArray[np.int64]


def changes(pts: Numbers, lengths: Numbers, unit: int) -> tuple[Change, ...]:
    """Find where the pace of packets changes permanently, which means another sample rate.

    Args:
        pts: Start of each packet.
        lengths: Duration of each packet, from its samples and the stated rate.
        unit: Units of both in a second.

    Returns:
        The first change; empty if there is none.
    """
    if len(pts) < 2 * _WINDOW_PACKETS or (lengths[:-1] <= 0).any():
        return ()
    steps = np.diff(pts)
    paces = steps / lengths[:-1]
    windows = np.sort(sliding_window_view(paces, _WINDOW_PACKETS)[::_STRIDE_PACKETS], axis=1)
    quarter = _WINDOW_PACKETS // 4
    middle = windows[:, quarter:-quarter].mean(axis=1)
    even = np.flatnonzero(
        (middle > CROWDED_SHARE) & (np.abs(windows.mean(axis=1) - middle) <= _MAX_UNEVENNESS * middle)
    )
    if len(even) < 2 * _LASTING_WINDOWS:
        return ()
    first_pace = float(np.median(middle[even[:_LASTING_WINDOWS]]))
    differs = np.abs(middle[even] / first_pace - 1) > _MIN_PACE_CHANGE
    lasting = sliding_window_view(differs, _LASTING_WINDOWS).all(axis=1)
    if not lasting.any():
        return ()
    change = int(np.argmax(lasting))
    new_pace = float(np.median(middle[even[change : change + _LASTING_WINDOWS]]))
    first = int(even[change]) * _STRIDE_PACKETS
    nearer = np.abs(paces[first:] - new_pace) < np.abs(paces[first:] - first_pace)
    first += int(np.argmax(sliding_window_view(nearer, _STRIDE_PACKETS).all(axis=1)))
    length_ms = float(np.median(lengths)) / unit * 1000
    descriptions = [f"packets {length_ms * pace:.1f} ms apart" for pace in (first_pace, new_pace)]
    return (Change(Fraction(int(pts[first]), unit), *descriptions),)


def rate_by_break(timeline: Timeline, rate_hz: int, *, start_s: Fraction, end_s: Fraction) -> Change | None:
    """Find joined parts whose times count samples of different rates.

    A part whose times count at another rate starts too late or too early, by the ratio of the two rates, and so does
    the end of the sound.

    Args:
        timeline: The timeline of a stream of sound.
        rate_hz: Its stated sample rate.
        start_s: When the picture starts.
        end_s: When the picture ends.
    """
    breaks = list(_breaks(timeline))
    for other_hz in _RATES_HZ if breaks and end_s > start_s else ():
        ratio = Fraction(rate_hz, other_hz)
        (at_s, _), *later = breaks
        if ratio == 1 or not _fits_ratio(breaks[0], start_s, 1 / ratio):
            continue
        excess_s = timeline.spans[-1].end_s - start_s - (end_s - start_s) / ratio
        end_fits = abs(excess_s) < abs(1 - 1 / ratio) * (end_s - start_s) / 3
        if end_fits or any(_fits_ratio(later_break, start_s, ratio) for later_break in later):
            return Change(at_s, f"{rate_hz} Hz", f"times that count at {other_hz} Hz")
    return None


def _fits_ratio(sound_break: tuple[Fraction, Fraction], start_s: Fraction, ratio: Fraction) -> bool:
    """Whether a break is as long as if the times after it were multiplied by a ratio."""
    at_s, moved_s = sound_break
    return abs(moved_s - (at_s - start_s) * (ratio - 1)) < _BREAK_TOLERANCE_S < abs(moved_s)


def _breaks(timeline: Timeline) -> Iterator[tuple[Fraction, Fraction]]:
    """Time of each break in the sound, and its length; breaks close together are added up."""
    at_s: Fraction | None = None
    moved_s = last_s = Fraction(0)
    for before, after in pairwise(timeline.spans):
        if at_s is not None and before.end_s - last_s > _MIN_DISTANCE_S:
            yield at_s, moved_s
            at_s, moved_s = None, Fraction(0)
        at_s = before.end_s if at_s is None else at_s
        moved_s += after.start_s - before.end_s
        last_s = before.end_s
    if at_s is not None:
        yield at_s, moved_s
