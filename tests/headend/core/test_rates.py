"""The highest rate of a rendition, by its definition, and the bound for a whole from its parts."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.core.rates import LIMIT, Bound, shrinking, windows, worst_bps
from headend.core.timing import ceil_div

BOUND = Bound(cap_bps=8_000, buffer_bits=16_000, segment_s=Fraction(2))
TICKS = 10


def shrunk_by(sizes: Sequence[int], durations: Sequence[int], bound: Bound) -> dict[int, Fraction]:
    return shrinking(windows(sizes, durations, TICKS, bound), sizes, durations, TICKS, bound)


def test_limit_is_a_tenth_above_the_cap() -> None:
    assert BOUND.limit_bps == 8_800
    assert Fraction(11, 10) == LIMIT


def test_worst_is_the_largest_segment_where_segments_are_longer_than_the_buffer() -> None:
    assert worst_bps([2_000, 3_000, 1_000], [20, 20, 20], TICKS, BOUND) == 12_000


def test_windows_span_segments_that_are_shorter_than_the_buffer() -> None:
    bound = Bound(cap_bps=8_000, buffer_bits=16_000, segment_s=Fraction(1, 2))

    # Four segments of half a second fill the buffer's two seconds.
    assert worst_bps([4_000, 0, 0, 0, 1_000, 0, 0, 3_000], [5] * 8, TICKS, bound) == 16_000


def test_short_last_segment_is_judged_with_the_one_before_it() -> None:
    assert worst_bps([1_000, 1_000, 1_000], [20, 20, 5], TICKS, BOUND) == 6_400


def test_short_title_is_judged_by_its_own_length() -> None:
    long_segments = Bound(cap_bps=8_000, buffer_bits=8_000, segment_s=Fraction(6))

    assert worst_bps([4_000], [40], TICKS, long_segments) == 8_000


def test_title_that_is_shorter_than_the_buffer_may_empty_it() -> None:
    assert worst_bps([2_000], [1], TICKS, BOUND) == 8_000


def test_rates_are_rounded_up() -> None:
    assert worst_bps([1_000], [30], TICKS, Bound(8_000, 0, Fraction(1))) == 2_667


def test_part_of_a_title_is_judged_by_its_own_segments_at_its_open_ends() -> None:
    bound = Bound(cap_bps=8_000, buffer_bits=16_000, segment_s=Fraction(1))

    found = list(windows([1_000, 100, 900], [10, 10, 10], TICKS, bound, begins=False, ends=False))

    assert [(w.first, w.end, w.rate_bps) for w in found] == [
        (0, 1, 8_000), (0, 2, 4_400), (1, 3, 4_000), (2, 3, 7_200),
    ]  # fmt: skip


def test_segments_of_windows_above_the_limit_shrink_to_the_cap() -> None:
    assert shrunk_by([2_200, 2_500, 1_000], [20, 20, 20], BOUND) == {1: Fraction(8_000, 10_000)}


def test_all_segments_of_a_window_shrink_by_its_worst_factor() -> None:
    bound = Bound(cap_bps=8_000, buffer_bits=16_000, segment_s=Fraction(1))

    assert shrunk_by([1_500, 1_500, 3_000], [10, 10, 10], bound) == {
        0: Fraction(8_000, 12_000), 1: Fraction(8_000, 18_000), 2: Fraction(8_000, 18_000),
    }  # fmt: skip


def test_a_segment_below_the_cap_does_not_shrink_for_its_neighbour() -> None:
    bound = Bound(cap_bps=8_000, buffer_bits=16_000, segment_s=Fraction(1))

    # 2,500 bytes in two seconds, of 2,000: the second segment may keep what the first one leaves.
    assert shrunk_by([900, 1_600], [10, 10], bound) == {1: Fraction(1_100, 1_600)}


segments = st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 30)), min_size=1, max_size=12)
some_bounds = st.builds(
    Bound, st.just(8_000), st.integers(0, 40_000), st.integers(1, 60).map(lambda tenths: Fraction(tenths, 10))
)


@given(segments, some_bounds)
def test_worst_is_the_highest_of_all_runs_that_are_just_long_enough(parts: list[tuple[int, int]], bound: Bound) -> None:
    sizes, durations = zip(*parts, strict=True)
    window_s = bound.window_s(Fraction(sum(durations), TICKS))
    runs = [
        (8 * sum(sizes[a:b]), Fraction(sum(durations[a:b]), TICKS))
        for b in range(1, len(parts) + 1)
        for a in range(b)
        if Fraction(sum(durations[a:b]), TICKS) >= window_s and Fraction(sum(durations[a + 1 : b]), TICKS) < window_s
    ] or [(8 * sum(sizes), window_s)]

    assert worst_bps(sizes, durations, TICKS, bound) == max(ceil_div(bits, s) for bits, s in runs)


@given(segments, some_bounds, st.sets(st.integers(1, 11)))
def test_whole_is_below_the_limit_if_each_of_its_parts_is(
    parts: list[tuple[int, int]], bound: Bound, cuts: set[int]
) -> None:
    sizes, durations = zip(*parts, strict=True)
    ends = [0, *sorted(cut for cut in cuts if cut < len(parts)), len(parts)]
    rates = [
        window.rate_bps
        for first, end in pairwise(ends)
        for window in windows(
            sizes[first:end], durations[first:end], TICKS, bound, begins=first == 0, ends=end == len(parts)
        )
    ]

    assert worst_bps(sizes, durations, TICKS, bound) <= max(rates)


@given(segments, some_bounds)
def test_shrunk_segments_keep_the_cap(parts: list[tuple[int, int]], bound: Bound) -> None:
    sizes, durations = zip(*parts, strict=True)
    factors = shrunk_by(sizes, durations, bound)

    shrunk = [int(size * factors.get(place, Fraction(1))) for place, size in enumerate(sizes)]

    assert worst_bps(shrunk, durations, TICKS, bound) <= bound.limit_bps
    assert all(0 < factor < 1 for factor in factors.values())
    assert all(8 * sizes[place] * TICKS > bound.cap_bps * durations[place] for place in factors)


@pytest.mark.parametrize("begins", [True, False])
def test_every_part_has_a_window(begins: bool) -> None:
    assert list(windows([1], [1], TICKS, BOUND, begins=begins, ends=not begins))
