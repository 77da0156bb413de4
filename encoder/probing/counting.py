"""Number the frames of a picture whose times contradict each other.

In MPEG-PS, only the first picture that starts in a packet may have a timestamp, and a packet may hold dozens of small
pictures. FFmpeg estimates the others' times, and estimates them wrongly if a sequence header and its picture lie in two
packets: then two frames get the same time, and later ones are too early, up to the next timestamp. In MXF, it takes the
decoding times of H.264 for presentation times if the index states no other order.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_MAX_WRONG_FRAMES = 64
"""Maximum number of consecutive frames with wrong times: more than fit into a packet of MPEG-PS."""
_MIN_RIGHT_SHARE = 0.5


def numbered_times(times: Sequence[int], step_ticks: Fraction) -> tuple[int, ...] | None:
    """Compute the times of frames from their numbers, if their own contradict each other.

    Args:
        times: The times of all frames, in the order in which the decoder outputs them.
        step_ticks: Duration of a frame at the declared rate.

    Returns:
        The times at a constant rate; None if all times ascend, or if they don't follow that rate.
    """
    ticks = np.asarray(times, np.int64)
    if (np.diff(ticks) > 0).all():
        return None
    numbered = np.asarray([round(number * step_ticks) for number in range(len(times))], np.int64)
    # Some demuxers state decoding times as presentation times, in the wrong order but all right together.
    offsets = np.sort(ticks) - numbered
    start = int(np.median(offsets))
    wrong = np.abs(offsets - start) > step_ticks / 2
    window = min(_MAX_WRONG_FRAMES, len(wrong))
    if wrong.mean() > 1 - _MIN_RIGHT_SHARE or sliding_window_view(wrong, window).all(axis=1).any():
        return None
    return tuple((numbered + start).tolist())
