"""Excerpts are drawn deterministically, and weighted to predict rates proportional to the survey's bytes exactly."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder.excerpts import draw, peak_ratio, predict
from headend.core.media import Codec
from headend.core.media.analysis import GopComplexity, Trial, TrialScore
from headend.core.timing import Grid

TRIAL = Trial(Codec.AVC, 720, 28.0)


def gops(*sizes: int, frames: int = 50) -> list[GopComplexity]:
    return [GopComplexity(frames, size) for size in sizes]


def grid_of(found: list[GopComplexity]) -> Grid:
    return Grid(Fraction(25), sum(gop.frames for gop in found), 50, 150, 750)


def scored(size_bytes: float, vmaf: float) -> TrialScore:
    return TrialScore(0, TRIAL, round(size_bytes), vmaf, vmaf)


def test_a_short_title_is_tried_whole_and_predicted_exactly() -> None:
    film = [*gops(1000, 3000), GopComplexity(25, 400)]

    [chosen] = draw(film, 50, 4)
    predicted = predict([chosen], {0: scored(65_000, 84)}, film, grid_of(film))

    assert (chosen.number, chosen.first_frame, chosen.end_frame, chosen.size_bytes) == (0, 0, 125, 4400)
    assert predicted.kbps == pytest.approx(65_000 * 8 / 1000 / 5)
    assert predicted.vmaf == pytest.approx(84)


def test_a_longer_title_that_is_tried_whole_is_tried_in_runs_of_gops() -> None:
    film = [*gops(1000, 3000, 2000, 500, 700), GopComplexity(25, 400)]

    chosen = draw(film, 50, 6)
    predicted = predict(chosen, {0: scored(50_000, 70), 4: scored(5_000, 100)}, film, grid_of(film))

    assert [(e.number, e.first_frame, e.end_frame, e.size_bytes, e.weight) for e in chosen] == [
        (0, 0, 200, 6500, 1),
        (4, 200, 275, 1100, 1),
    ]
    assert predicted.kbps == pytest.approx(55_000 * 8 / 1000 / 11)
    assert predicted.vmaf == pytest.approx((70 * 200 + 100 * 75) / 275)


def test_a_gop_longer_than_a_run_is_an_excerpt_of_its_own() -> None:
    chosen = draw([GopComplexity(250, 10), GopComplexity(250, 20)], 250, 4)

    assert [(e.number, e.first_frame, e.end_frame) for e in chosen] == [(0, 0, 250), (1, 250, 500)]


def test_hard_gops_are_drawn_more_often_and_weigh_less() -> None:
    film = gops(*[1000] * 20, *[9000] * 20)

    chosen = draw(film, 50, 10)

    hard = [excerpt for excerpt in chosen if excerpt.size_bytes == 9000]
    quiet = [excerpt for excerpt in chosen if excerpt.size_bytes == 1000]
    assert len(hard) == 9
    assert len(quiet) == 1
    assert quiet[0].weight / hard[0].weight == pytest.approx((9000 + 0.05 * 5000) / (1000 + 0.05 * 5000), rel=0.001)


def test_a_very_short_end_is_not_an_excerpt() -> None:
    film = [*gops(*[1000] * 8), GopComplexity(3, 5_000_000)]

    assert 8 not in {excerpt.number for excerpt in draw(film, 50, 4)}
    assert [excerpt.number for excerpt in draw([GopComplexity(3, 100)], 50, 4)] == [0]


def test_a_black_title_is_sampled_too() -> None:
    film = gops(*[0] * 40)

    chosen = draw(film, 50, 4)
    predicted = predict(chosen, {e.number: scored(100, 100) for e in chosen}, film, grid_of(film))

    assert len(chosen) == 4
    assert predicted.kbps == pytest.approx(100 * 8 / 1000 / 2)


sizes = st.lists(st.integers(0, 10**7), min_size=1, max_size=200)


@settings(deadline=None)
@given(sizes, st.integers(1, 80))
def test_rates_in_proportion_to_the_survey_are_predicted_exactly(found: list[int], count: int) -> None:
    film = gops(*(size + 1 for size in found))
    chosen = draw(film, 50, count)

    predicted = predict(chosen, {e.number: scored(7 * e.size_bytes, 80) for e in chosen}, film, grid_of(film))

    assert predicted.kbps == pytest.approx(7 * sum(gop.size_bytes for gop in film) * 8 / 1000 / (2 * len(film)))
    assert predicted.vmaf == pytest.approx(80)
    assert 1 <= len(chosen) <= count
    if len(film) <= count:
        assert sum(e.frame_count for e in chosen) == grid_of(film).frame_count
    assert chosen == draw(film, 50, count)


def test_the_peak_ratio_is_that_of_the_hardest_segments() -> None:
    assert peak_ratio(gops(*[1000] * 60), 3) == 1
    # A tenth of the segments has ten times the bytes of the others: 10 over a mean of 1.9.
    film = gops(*([1000] * 27 + [10_000] * 3) * 4)
    assert peak_ratio(film, 3) == pytest.approx(10 / 1.9)
    assert peak_ratio(gops(0, 0), 3) == 1
