"""Every expression with which FFmpeg sets times, and why each is exact for a day and more.

FFmpeg evaluates expressions in double precision and cuts what is behind the point. Doubles hold whole numbers up to
2^53 exactly, so every expression here is a whole number in ticks that are chosen to make it one: nothing is divided,
nothing is rounded. A day has 4.2e9 samples at 48 kHz, 1.1e7 frames at 120 frames/s, and 1.9e14 of the finest ticks
(2^-31 s) that FFmpeg knows, all below 2^53 = 9.0e15.

A time base such as ``1001/24000`` is an expression, too: FFmpeg finds the fraction nearest to the double. It is the
right one if the numerator is below 2^21: p/q lies at least 1/(q * 2^31) from any other fraction with terms of 32 bits,
and the double that is computed for it at most p/q * 2^-53. A time base of frames has the denominator of their rate for
its numerator, at most 8,192; the ``fps`` filter reads rates, of which the numerator is below 2^21 up to 255 frames/s.

What is not here takes whole numbers, which FFmpeg reads as such and never as doubles: frames and samples of ``trim``,
``atrim``, ``tpad``, ``adelay`` (``S``), ``apad``, ``framestep`` and ``aresample`` (``first_pts``), ticks of ``trim``
(``start_pts``), microseconds of ``frag_duration``. The ``fps`` filter compares whole ticks.

Source: FFmpeg's ``libavutil/eval.c``, ``libavutil/rational.c`` (``av_d2q``), ``libavfilter/setpts.c``, ``settb.c``,
``vf_fps.c``; its documentation, "Time duration".
"""

from fractions import Fraction
from math import lcm
from typing import Any

MAX_TIME_BASE = (1 << 31) - 1
"""FFmpeg's time bases are fractions of 32-bit numbers."""
SHEET_S = 3600
"""Distance of thumbnail sheets in time. Only their order counts; an encoder may count in steps of a sheet's length."""


def numbered_frames(stream: Any, rate: Fraction) -> Any:
    """Give frames the times that their numbers say: one tick for each, at a constant rate.

    Args:
        stream: Frames, of ffmpeg-python.
        rate: Frames per second.
    """
    stream = stream.filter("settb", fraction(1 / rate)).filter("setpts", "N")
    # States the rate, and changes no frame: each has its own tick.
    return stream.filter("fps", fraction(rate))


def numbered_samples(stream: Any, rate_hz: int) -> Any:
    """Give samples the times that their numbers say: one tick for each.

    Args:
        stream: Sound, of ffmpeg-python.
        rate_hz: Samples per second.
    """
    return stream.filter("asettb", f"1/{rate_hz}").filter("asetpts", "N")


def base_of(time_base: Fraction, start_s: Fraction) -> int:
    """Find the ticks per second in which times of a time base and a start are both whole."""
    base = lcm(time_base.denominator, start_s.denominator)
    # No file of this world comes to more; a tick of 11 ns decides nothing.
    return base if base <= MAX_TIME_BASE else 90_000 * 1001


def counted_from(stream: Any, start_s: Fraction, base: int) -> Any:
    """Count times from a start.

    Args:
        stream: Frames, of ffmpeg-python.
        start_s: What becomes 0; a whole number of ticks, or the nearest tick is taken.
        base: Ticks per second, as `base_of` finds them.
    """
    return stream.filter("settb", f"1/{base}").filter("setpts", f"PTS-({round(start_s * base)})")


def not_before_start(stream: Any) -> Any:
    """Have a frame begin at 0 that began before: the one that is still shown when a chunk starts.

    Exact: the larger of two whole numbers, which `base_of` keeps where a double holds each.
    """
    return stream.filter("setpts", "max(PTS,0)")


def spread_sheets(stream: Any) -> Any:
    """Put frames at distances of `SHEET_S`."""
    return stream.filter("settb", "1").filter("setpts", f"{SHEET_S}*N")


def seconds(micros: int) -> str:
    """Write a time as FFmpeg's options take it; the digits are the number's own."""
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), 1_000_000)
    return f"{sign}{whole}.{rest:06}"


def fraction(value: Fraction) -> str:
    """Write a fraction as FFmpeg's options take it."""
    return f"{value.numerator}/{value.denominator}"
