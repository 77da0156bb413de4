"""The highest rate of a rendition: what its cap bounds.

A cap says nothing about a single frame, since a sync frame is many times larger than the others. It bounds the bits of
every window that is as long as a segment, or as the rate model's buffer where that is longer. Windows hold whole
segments, as these are what players fetch. Pure: sizes and durations come in, rates go out.

Source:
    RFC 8216, section 4.1: the peak is that of any contiguous run of segments of about the target duration.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

LIMIT = Fraction(11, 10)
"""Highest rate in a window, as a multiple of the cap. Apple's HLS Authoring Specification allows a measured peak to
exceed the stated one by as much."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How fast the bits of a rendition may come.

    Attributes:
        cap_bps: The rendition's maximal rate, above 0.
        buffer_bits: Size of the rate model's buffer.
        segment_s: Nominal length of a segment.
    """

    cap_bps: int
    buffer_bits: int
    segment_s: Fraction

    @property
    def limit_bps(self) -> int:
        """Highest rate that is accepted."""
        return int(self.cap_bps * LIMIT)

    def window_s(self, duration_s: Fraction) -> Fraction:
        """Length of the windows of a rendition that lasts ``duration_s``; a short one is less than a segment."""
        return max(min(self.segment_s, duration_s), Fraction(self.buffer_bits, self.cap_bps))


@dataclass(frozen=True, slots=True)
class Window:
    """A run of whole segments.

    Attributes:
        first: Index of its first segment.
        end: Index behind its last one.
        rate_bps: Its bits over its duration, rounded up.
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
    """Find the rate of every window: the shortest run that ends with each segment and is long enough.

    A part of a rendition is judged by its own segments alone. Where the rendition goes on before or behind it, shorter
    runs at that side are windows too. So if each part of a rendition stays below a limit, the whole does.

    Args:
        sizes_bytes: Of consecutive segments; at least one.
        durations_ticks: Of the same segments, each above 0.
        ticks_per_second: The unit of the durations.
        bound: What makes a window long enough.
        begins: Whether the rendition begins with the first of these segments.
        ends: Whether it ends with the last.

    Yields:
        Windows by their ends, then shorter runs at the open sides.
    """
    count, total_ticks = len(sizes_bytes), sum(durations_ticks)
    whole = begins and ends
    window_s = bound.window_s(Fraction(total_ticks, ticks_per_second) if whole else bound.segment_s)
    window_ticks = window_s * ticks_per_second

    def rate(first: int, end: int, ticks: Fraction) -> Window:
        bits = 8 * sum(sizes_bytes[first:end])
        return Window(first, end, -(-(bits * ticks_per_second * ticks.denominator) // ticks.numerator))

    if whole and total_ticks < window_ticks:
        # Nothing comes before or behind: the buffer has as long as it lasts.
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
    found: Iterable[Window],
    sizes_bytes: Sequence[int],
    durations_ticks: Sequence[int],
    ticks_per_second: int,
    bound: Bound,
) -> dict[int, Fraction]:
    """Say which segments have to become smaller, and by how much.

    Of a window above the limit, those shrink whose own rate is above the cap. Others would lose detail for the sake of
    a neighbour.

    Args:
        found: All windows of a rendition or of a part of it.
        sizes_bytes: Of its segments.
        durations_ticks: Of the same segments.
        ticks_per_second: The unit of the durations.
        bound: What it must keep.

    Returns:
        For the index of each segment that has to shrink, the factor below 1 on its size that brings all its windows
        down to the cap.
    """
    factors: dict[int, Fraction] = {}
    for window in found:
        if window.rate_bps <= bound.limit_bps:
            continue
        places = range(window.first, window.end)
        large = [
            place
            for place in places
            if 8 * sizes_bytes[place] * ticks_per_second > bound.cap_bps * durations_ticks[place]
        ]
        large_bytes = sum(sizes_bytes[place] for place in large)
        whole_bytes = sum(sizes_bytes[place] for place in places)
        room_bytes = whole_bytes * Fraction(bound.cap_bps, window.rate_bps) - (whole_bytes - large_bytes)
        for place in large:
            factors[place] = min(room_bytes / large_bytes, factors.get(place, Fraction(1)))
    return factors
