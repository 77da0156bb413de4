"""All expressions that set times in FFmpeg. Each is exact for more than 24 hours.

FFmpeg evaluates expressions in double precision and truncates the result. Doubles hold integers up to 2^53 exactly, so
ticks are chosen such that each expression here is an integer: nothing is divided or rounded. 24 hours have 4.2e9
samples at 48 kHz, 1.1e7 frames at 120 frames/s, and 1.9e14 of FFmpeg's finest ticks (2^-31 s), all below 2^53 = 9.0e15.

A time base such as ``1001/24000`` is an expression, too: FFmpeg finds the fraction nearest to the double. It is the
right one if the numerator is below 2^21: p/q differs by at least 1/(q * 2^31) from any other fraction with 32-bit
terms, and by at most p/q * 2^-53 from its double. The numerator of a time base of frames is the denominator of their
rate, at most 8,192; the ``fps`` filter reads rates, whose numerator is below 2^21 up to 255 frames/s.

All other times are integers that FFmpeg parses as integers, never as doubles: frames and samples of ``trim``,
``atrim``, ``tpad``, ``adelay`` (``S``), ``apad``, ``framestep`` and ``aresample`` (``first_pts``), ticks of ``trim``
(``start_pts``), microseconds of ``frag_duration``. The ``fps`` filter compares integer ticks.

Source: FFmpeg's ``libavutil/eval.c``, ``libavutil/rational.c`` (``av_d2q``), ``libavfilter/setpts.c``, ``settb.c``,
``vf_fps.c``; its documentation, "Time duration".
"""

from fractions import Fraction
from math import lcm
from typing import Any

MAX_TIME_BASE = (1 << 31) - 1
"""FFmpeg's time bases are fractions of 32-bit integers."""
SHEET_S = 3600
"""Time between two sheets of thumbnails. Only their order matters; an encoder may count time in steps of a sheet's
duration."""


def numbered_frames(stream: Any, rate: Fraction) -> Any:
    """Set the times of frames from their numbers: one tick for each, at a constant rate.

    Args:
        stream: Frames, as a stream of ffmpeg-python.
        rate: Frames per second.
    """
    stream = stream.filter("settb", fraction(1 / rate)).filter("setpts", "N")
    # This only sets the rate: no frame is dropped or repeated, since each has its own tick.
    return stream.filter("fps", fraction(rate))


def numbered_samples(stream: Any, rate_hz: int) -> Any:
    """Set the times of samples from their numbers: one tick for each.

    Args:
        stream: Sound, as a stream of ffmpeg-python.
        rate_hz: Samples per second.
    """
    return stream.filter("asettb", f"1/{rate_hz}").filter("asetpts", "N")


def common_ticks_per_s(time_base: Fraction, start_s: Fraction) -> int:
    """The number of ticks per second with which a start time and all times of a time base are integers."""
    base = lcm(time_base.denominator, start_s.denominator)
    # Real files don't exceed the maximum. If one does, the error is at most one tick of 11 ns.
    return base if base <= MAX_TIME_BASE else 90_000 * 1001


def count_from(stream: Any, start_s: Fraction, base: int) -> Any:
    """Subtract a start time from the times of frames.

    Args:
        stream: Frames, as a stream of ffmpeg-python.
        start_s: The time that becomes 0; rounded to the nearest tick.
        base: Ticks per second, from `common_ticks_per_s`.
    """
    return stream.filter("settb", f"1/{base}").filter("setpts", f"PTS-({round(start_s * base)})")


def clamp_to_start(stream: Any) -> Any:
    """Set negative times to 0: those of a frame that is still shown when a chunk starts.

    This is exact, since it is the maximum of two integers.
    """
    return stream.filter("setpts", "max(PTS,0)")


def spread_sheets(stream: Any) -> Any:
    """Set the times of frames `SHEET_S` apart."""
    return stream.filter("settb", "1").filter("setpts", f"{SHEET_S}*N")


def seconds(micros: int) -> str:
    """Format a time for FFmpeg's options, without rounding."""
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), 1_000_000)
    return f"{sign}{whole}.{rest:06}"


def fraction(value: Fraction) -> str:
    """Format a fraction for FFmpeg's options."""
    return f"{value.numerator}/{value.denominator}"
