"""Choice of measured segments: some spread evenly, some where faults are likely."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from encoder.sampling import SHARE, evenly, stretch_frames, suspects
from headend.core.timing import ceil_div


@given(st.integers(1, 3000))
def test_evenly_spread_segments_are_a_twentieth_and_lie_apart(count: int) -> None:
    chosen = evenly(count)

    assert len(chosen) == max(1, round(count * 0.05))
    assert 1 <= chosen[0] <= chosen[-1] <= count
    gaps = [after - here for here, after in pairwise(chosen)]
    assert not gaps or max(gaps) - min(gaps) <= 1


@given(st.integers(1, 20_000), st.sampled_from([3, 5, 7]))
def test_a_short_title_is_measured_in_stretches_of_a_twentieth_and_films_in_whole_segments(
    frame_count: int, every: int
) -> None:
    segment_count = ceil_div(frame_count, 150)

    stretch = stretch_frames(frame_count, segment_count, every)

    if segment_count >= 20:
        assert stretch is None
    else:
        assert stretch is not None
        assert stretch % 2 == 0  # half-rate renditions have every second frame
        assert len(range(0, stretch, every)) >= 4
        assert SHARE * frame_count - 1 <= stretch <= max(3 * every + 1, SHARE * frame_count) + 2


SIZES = {"high": [1000] * 20, "low": [200] * 20}
CAPS = {"high": [0.5] * 20, "low": [0.6] * 20}


def test_a_segment_at_its_cap_comes_first() -> None:
    caps = {**CAPS, "low": [*[0.6] * 11, 0.95, *[0.6] * 8]}

    assert suspects(SIZES, caps) == (12,)


def test_a_segment_whose_picture_is_missing_is_smaller_than_its_siblings() -> None:
    sizes = {**SIZES, "low": [*[200] * 6, 60, *[200] * 13], "mid": [400] * 20}

    assert suspects(sizes, CAPS) == (7,)


def test_the_darkest_and_the_most_complex_follow_but_black_shows_nothing() -> None:
    sizes = {name: [*row[:3], 3 * row[3], *row[4:]] for name, row in SIZES.items()}
    luma = [0.4] * 20
    luma[9], luma[15] = 0.01, 0.05

    assert suspects(sizes, CAPS, luma, share=0.1) == (4, 16)


def test_evenly_chosen_segments_are_not_suspects_too() -> None:
    caps = {**CAPS, "low": [*[0.6] * 11, 0.95, *[0.6] * 8]}

    assert 12 not in suspects(SIZES, caps, excluded=(12,))
    assert suspects({}, {}) == ()
    assert suspects({"only": [10]}, {"only": [0.1]}, excluded=(1,)) == ()
