"""The peak rate of a rendition, which its cap limits.

A cap can't apply to single frames, because a sync frame is many times as large as other frames. It applies to every
window that is as long as a segment, or as the rate model's buffer if that is longer. Windows consist of whole segments,
because players fetch whole segments.

Source:
    RFC 8216, section 4.1: the peak is that of any contiguous run of segments of about the target duration.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from headend.core.timing import ceil_div

LIMIT = Fraction(11, 10)
"""Highest accepted rate in a window, as a multiple of the cap. Apple's HLS Authoring Specification allows the measured
peak to be this multiple of the stated peak."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The limit on a rendition's rate.

    Attributes:
        cap_bps: The rendition's maximum rate, above 0.
        buffer_bits: Size of the rate model's buffer.
        segment_s: Nominal length of a segment.
    """

    cap_bps: int
    buffer_bits: int
    segment_s: Fraction

    @property
    def limit_bps(self) -> int:
        """Highest accepted rate."""
        return int(self.cap_bps * LIMIT)

    def window_s(self, duration_s: Fraction) -> Fraction:
        """Length of windows in a rendition that lasts ``duration_s``, which may be shorter than a segment."""
        return max(min(self.segment_s, duration_s), Fraction(self.buffer_bits, self.cap_bps))


@dataclass(frozen=True, slots=True)
class Window:
    """A run of whole segments.

    Attributes:
        first: Index of its first segment.
        end: Index after its last one.
        rate_bps: Its bits divided by its duration, rounded up.
    """

    first: int
    end: int
    rate_bps: int


def windows(
    sizes_bytes: Sequence[int],
    durations_ticks: Sequence[int],
    ticks_per_second: int,
    bound: Bound,
    *,
    begins: bool = True,
    ends: bool = True,
) -> Iterator[Window]:
    """Find the rate of every window: for each segment, the shortest run that ends with it and is long enough.

    A part of a rendition, such as a chunk, can be checked on its own: on the sides where the rendition continues,
    shorter runs count as windows, too. So if every part of a rendition stays below a limit, the whole rendition does.

    Args:
        sizes_bytes: Sizes of consecutive segments; at least one.
        durations_ticks: Durations of these segments, each above 0.
        ticks_per_second: The unit of the durations.
        bound: Determines the length of windows.
        begins: Whether the rendition begins with the first of these segments.
        ends: Whether the rendition ends with the last of them.

    Yields:
        Windows in the order of their ends, then shorter runs on the open sides.
    """
    count, total_ticks = len(sizes_bytes), sum(durations_ticks)
    whole = begins and ends
    window_s = bound.window_s(Fraction(total_ticks, ticks_per_second) if whole else bound.segment_s)
    window_ticks = window_s * ticks_per_second

    def rate(first: int, end: int, ticks: Fraction) -> Window:
        bits = 8 * sum(sizes_bytes[first:end])
        return Window(first, end, ceil_div(bits * ticks_per_second * ticks.denominator, ticks.numerator))

    if whole and total_ticks < window_ticks:
        # The rendition is shorter than a window, so the buffer drains for a whole window.
        yield rate(0, count, window_ticks)
        return
    first, ticks = 0, 0
    for end, duration in enumerate(durations_ticks, start=1):
        ticks += duration
        while ticks - durations_ticks[first] >= window_ticks:
            ticks -= durations_ticks[first]
            first += 1
        if ticks >= window_ticks or not begins:
            yield rate(first, end, Fraction(ticks))
    if not ends:
        ticks = 0
        for first in reversed(range(count)):
            ticks += durations_ticks[first]
            if ticks >= window_ticks:
                break
            yield rate(first, count, Fraction(ticks))


def worst_bps(sizes_bytes: Sequence[int], durations_ticks: Sequence[int], ticks_per_second: int, bound: Bound) -> int:
    """The highest rate in any window of a whole rendition; arguments as for `windows`."""
    return max(window.rate_bps for window in windows(sizes_bytes, durations_ticks, ticks_per_second, bound))


def shrinking(
    candidates: Iterable[Window],
    sizes_bytes: Sequence[int],
    durations_ticks: Sequence[int],
    ticks_per_second: int,
    bound: Bound,
) -> dict[int, Fraction]:
    """Determine which segments must become smaller, and by how much.

    In a window above the limit, only segments whose own rate is above the cap must shrink, so that others don't lose
    detail because of their neighbours.

    Args:
        candidates: All windows of a rendition or of a part of it.
        sizes_bytes: Sizes of its segments.
        durations_ticks: Durations of these segments.
        ticks_per_second: The unit of the durations.
        bound: The limit.

    Returns:
        By segment index, the factor below 1 on the segment's size that brings all its windows down to the cap.
    """
    factors: dict[int, Fraction] = {}
    for window in candidates:
        if window.rate_bps <= bound.limit_bps:
            continue
        indices = range(window.first, window.end)
        large = [
            index
            for index in indices
            if 8 * sizes_bytes[index] * ticks_per_second > bound.cap_bps * durations_ticks[index]
        ]
        large_bytes = sum(sizes_bytes[index] for index in large)
        total_bytes = sum(sizes_bytes[index] for index in indices)
        allowed_bytes = total_bytes * Fraction(bound.cap_bps, window.rate_bps) - (total_bytes - large_bytes)
        for index in large:
            factors[index] = min(allowed_bytes / large_bytes, factors.get(index, Fraction(1)))
    return factors
