"""The quantizer that a rate factor stands for, in codecs whose steps are far from geometric.

Source:
    AV1 Bitstream & Decoding Process Specification, 7.12.2, and VP9 Bitstream & Decoding Process Specification, 8.6.1:
    the table of DC quantizers for 8 bits, at the indices that encoders use for rate factors: every fourth, 249 and 255.
"""

import math
from itertools import pairwise

_FIRST = 21
_STEPS = (
    77, 80, 83, 87, 93, 99, 105, 111, 117, 123, 131, 140, 148, 156, 166, 177, 187, 199, 211, 223, 237, 250,
    265, 280, 296, 313, 330, 349, 369, 389, 411, 435, 461, 489, 522, 559, 602, 654, 717, 796, 896, 1058, 1336,
)  # fmt: skip
"""By rate factor, from `_FIRST` to 63."""
_LOGS = tuple(math.log(step) for step in _STEPS)
_RISES = tuple(after - before for before, after in pairwise(_LOGS))


def log_step(crf: float) -> float:
    """The logarithm of the quantizer's step size for a rate factor: rates fall evenly with it.

    From 54 to 60, a step of the rate factor takes a tenth of the rate; the last one, from 62 to 63, takes a quarter.

    Args:
        crf: Constant rate factor of AV1 or VP9. Outside 21 to 63, the curve is extended linearly.
    """
    index = min(max(0, math.floor(crf) - _FIRST), len(_RISES) - 1)
    return _LOGS[index] + (crf - _FIRST - index) * _RISES[index]
