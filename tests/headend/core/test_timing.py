"""The grid: whole GOPs, whole segments, whole chunks, and no lost tick."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.core.errors import ConfigError
from headend.core.timing import MIN_TAIL_S, Grid, Timescale, plan_grid, timescale

RATES = (
    Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(48), Fraction(50),
    Fraction(60000, 1001), Fraction(60), Fraction(100), Fraction(120000, 1001), Fraction(120), Fraction(25, 2),
)  # fmt: skip

quick = settings(max_examples=60, deadline=None)
rates = st.sampled_from(RATES)
grids = st.builds(
    lambda rate, count, segment_s, chunk_s: plan_grid(rate, count, segment_s=segment_s, chunk_s=chunk_s),
    rates,
    st.integers(1, 6000),
    st.fractions(Fraction(1, 2), 12, max_denominator=100),
    st.fractions(Fraction(1, 2), 120, max_denominator=100),
)


def six_seconds(rate: Fraction, frame_count: int = 1440) -> Grid:
    return plan_grid(rate, frame_count, segment_s=Fraction(6), chunk_s=Fraction(30))


@quick
@given(grids)
def test_chunks_tile_the_title_without_gaps(grid: Grid) -> None:
    chunks = grid.chunks()

    assert (chunks[0].first_frame, chunks[-1].end_frame) == (0, grid.frame_count)
    assert all(before.end_frame == after.first_frame for before, after in pairwise(chunks))
    assert all(chunk.frame_count >= 1 for chunk in chunks)
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))


@quick
@given(grids)
def test_chunks_hold_whole_gops_and_whole_segments(grid: Grid) -> None:
    bounds = grid.segment_bounds()
    for chunk in grid.chunks():
        assert chunk.first_frame % grid.gop_frames == 0
        assert bounds[chunk.first_segment - 1] == chunk.first_frame
        assert chunk.end_frame == grid.frame_count or chunk.end_frame % grid.segment_frames == 0


@quick
@given(grids)
def test_segments_tile_the_title_and_start_at_gops(grid: Grid) -> None:
    bounds = grid.segment_bounds()

    assert (bounds[0], bounds[-1]) == (0, grid.frame_count)
    assert len(bounds) == grid.segment_count + 1
    assert all(first < end for first, end in pairwise(bounds))
    assert all(first % grid.gop_frames == 0 for first in bounds[:-1])
    assert grid.segment_frames % grid.gop_frames == 0
    assert grid.chunk_frames % grid.segment_frames == 0


@quick
@given(grids)
def test_all_segments_but_the_last_are_equally_long(grid: Grid) -> None:
    lengths = [end - first for first, end in pairwise(grid.segment_bounds())]

    assert set(lengths[:-1]) <= {grid.segment_frames}
    sliver_frames = MIN_TAIL_S * grid.frame_rate
    assert lengths[-1] < grid.segment_frames + sliver_frames
    assert len(lengths) == 1 or lengths[-1] >= min(sliver_frames, grid.segment_frames)


@quick
@given(grids)
def test_halved_renditions_share_the_grid(grid: Grid) -> None:
    assert grid.gop_frames % 2 == 0
    assert all(chunk.first_frame % 2 == 0 for chunk in grid.chunks())


@quick
@given(grids)
def test_segment_durations_sum_to_the_title_exactly(grid: Grid) -> None:
    scale = timescale(grid.frame_rate)
    ticks = [(end - first) * scale.frame_ticks for first, end in pairwise(grid.segment_bounds())]

    assert Fraction(sum(ticks), scale.ticks_per_second) == grid.duration_s == grid.frame_count / grid.frame_rate
    starts = grid.segment_starts_s()
    assert sum(after - before for before, after in pairwise(starts)) == grid.duration_s


@pytest.mark.parametrize("rate", RATES)
def test_a_frame_is_a_whole_number_of_ticks_of_about_a_thousandth(rate: Fraction) -> None:
    scale = timescale(rate)

    assert Fraction(scale.frame_ticks, scale.ticks_per_second) == 1 / rate
    assert 1000 <= scale.frame_ticks < 2002


@quick
@given(st.fractions(Fraction(1, 1000), 1000))
def test_any_rate_has_a_timescale_in_which_it_is_whole(rate: Fraction) -> None:
    scale = timescale(rate)

    assert Fraction(scale.ticks_per_second, scale.frame_ticks) == rate
    assert scale.frame_ticks >= 1000


def test_common_rates_have_the_timescales_that_players_know() -> None:
    assert timescale(Fraction(24000, 1001)) == Timescale(24000, 1001)
    assert timescale(Fraction(60000, 1001)) == Timescale(60000, 1001)
    assert timescale(Fraction(25)) == Timescale(25000, 1000)


@pytest.mark.parametrize(
    ("rate", "gop_frames", "segment_frames", "chunk_frames"),
    [
        (Fraction(24000, 1001), 48, 144, 720),
        (Fraction(25), 50, 150, 750),
        (Fraction(30000, 1001), 60, 180, 900),
        (Fraction(50), 100, 300, 1500),
        (Fraction(60000, 1001), 120, 360, 1800),
        (Fraction(120), 240, 720, 3600),
    ],
)
def test_the_grid_of_default_settings(rate: Fraction, gop_frames: int, segment_frames: int, chunk_frames: int) -> None:
    grid = six_seconds(rate)

    assert (grid.gop_frames, grid.segment_frames, grid.chunk_frames) == (gop_frames, segment_frames, chunk_frames)


def test_a_tail_of_half_a_second_is_a_segment_and_a_shorter_one_is_not() -> None:
    assert six_seconds(Fraction(24), 144 + 12).segment_bounds() == (0, 144, 156)
    assert six_seconds(Fraction(24), 144 + 11).segment_bounds() == (0, 155)
    assert six_seconds(Fraction(24000, 1001), 144 + 12).segment_bounds() == (0, 144, 156)
    assert six_seconds(Fraction(24000, 1001), 144 + 11).segment_bounds() == (0, 155)


def test_a_short_remainder_is_merged_into_the_last_chunk() -> None:
    grid = six_seconds(Fraction(24), 720 + 1)

    assert [(chunk.first_frame, chunk.end_frame) for chunk in grid.chunks()] == [(0, 721)]


def test_a_title_of_one_frame_is_one_segment_and_one_chunk() -> None:
    grid = six_seconds(Fraction(25), 1)

    assert grid.segment_bounds() == (0, 1)
    assert [chunk.frame_count for chunk in grid.chunks()] == [1]


def test_a_chunk_shorter_than_a_segment_holds_one() -> None:
    grid = plan_grid(Fraction(25), 1000, segment_s=Fraction(6), chunk_s=Fraction(1))

    assert grid.chunk_frames == grid.segment_frames == 150


@pytest.mark.parametrize(("segment_s", "chunk_s"), [(0, 30), (-6, 30), (6, 0), (6, -1)])
def test_lengths_must_be_positive(segment_s: int, chunk_s: int) -> None:
    with pytest.raises(ConfigError, match="6 and 30 are usual"):
        plan_grid(Fraction(25), 100, segment_s=Fraction(segment_s), chunk_s=Fraction(chunk_s))


def test_a_segment_must_hold_two_frames() -> None:
    with pytest.raises(ConfigError, match="ask for a longer one"):
        plan_grid(Fraction(3), 100, segment_s=Fraction(1, 4), chunk_s=Fraction(30))
