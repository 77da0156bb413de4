"""Choice of trial encodes, and their distribution over tasks."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest

from encoder.command import SourcePicture, VideoCommands
from encoder.conforming import conform
from encoder.costs import Pricing, measured
from encoder.trials import (
    MIN_BOUND_BPS,
    Analysing,
    TrialResult,
    TrialSize,
    expected_trials,
    first_trials,
    further_trials,
    grouped,
    max_concurrent_measurements,
)
from headend.core.media import Codec, Effort
from headend.core.media.analysis import Excerpt, Trial
from headend.core.media.quality import HD
from headend.core.timing import plan_grid
from tests.support.makers import BT709, make_master, make_video_rendition, make_video_track

SIZES = [
    TrialSize(lines, make_video_rendition(codec=codec, width_px=width, height_px=lines))
    for codec in (Codec.AVC, Codec.AV1)
    for lines, width in ((360, 640), (720, 1280), (1080, 1920))
]


def points(*results: tuple[float, float, float], lines: int = 720, codec: Codec = Codec.AVC) -> list[TrialResult]:
    return [TrialResult(Trial(codec, lines, crf), kbps, vmaf) for crf, kbps, vmaf in results]


def test_every_size_is_tried_with_the_coarser_factors_first() -> None:
    tried = first_trials(SIZES)

    assert [(t.lines, t.crf) for t in tried if t.codec is Codec.AVC] == [
        (lines, crf) for lines in (360, 720, 1080) for crf in (28.0, 36.0)
    ]
    assert {t.crf for t in tried if t.codec is Codec.AV1} == {38.0, 58.0}
    assert tried[0].id == "avc-360p-crf28"


def test_the_expected_cost_includes_all_factors() -> None:
    assert set(first_trials(SIZES)) < set(expected_trials(SIZES))
    assert {t.crf for t in expected_trials(SIZES) if t.codec is Codec.AVC} == {20.0, 28.0, 36.0}


def test_only_sizes_that_are_best_at_their_rate_get_the_finest_factor() -> None:
    tried = [
        *points((28, 1000, 70), (36, 400, 60), lines=360),
        *points((28, 2000, 88), (36, 700, 75), lines=720),
    ]

    assert further_trials(tried, top_vmaf=95, ranges_kbps={Codec.AVC: (1000, 9000)}) == (Trial(Codec.AVC, 720, 20.0),)
    assert further_trials(tried, top_vmaf=85, ranges_kbps={Codec.AVC: (1000, 9000)}) == ()


def test_nothing_is_tried_at_rates_that_no_rung_may_have() -> None:
    tried = points((28, 2000, 88), (36, 700, 75))

    assert further_trials(tried, top_vmaf=95, ranges_kbps={Codec.AVC: (1000, 1900)}) == ()
    steep = points((20, 20_000, 92), (28, 5000, 88), (36, 2000, 75))
    assert further_trials(steep, top_vmaf=95, ranges_kbps={Codec.AVC: (2000, 4900)}) == ()


def test_no_factor_is_tried_that_is_finer_than_that_of_any_rung() -> None:
    tried = points((22, 3000, 90), (38, 1000, 70), (54, 400, 50), codec=Codec.AV1)

    assert further_trials(tried, top_vmaf=95, ranges_kbps={Codec.AV1: (1000, 9000)}) == ()


def test_intermediate_factors_are_tried_if_the_rate_is_steep() -> None:
    steep = points((20, 8000, 96), (28, 2000, 90), (36, 900, 80))

    assert further_trials(steep, top_vmaf=95, ranges_kbps={Codec.AVC: (1000, 9000)}) == (Trial(Codec.AVC, 720, 24.0),)


def test_nothing_is_tried_twice_however_steep() -> None:
    tried = points((20, 8000, 96), (21, 2000, 90), (36, 1000, 80), (44, 900, 70))

    assert further_trials(tried, top_vmaf=95, ranges_kbps={Codec.AVC: (85, 9000)}) == ()


def test_a_finer_factor_is_tried_if_quality_is_too_low_and_still_rises() -> None:
    def further(vmaf: float, gain: float) -> tuple[Trial, ...]:
        # Two doublings between neighbours at a ratio of 3 are log2(3) = 1.58.
        tried = points((20, 3000, vmaf), (28, 1000, vmaf - gain * 1.585), (36, 400, vmaf - 20))
        return further_trials(tried, top_vmaf=95, ranges_kbps={Codec.AVC: (1000, 9000)})

    assert further(90, 2.1) == (Trial(Codec.AVC, 720, 18.0),)
    assert further(90, 1.9) == ()
    assert further(95.5, 3) == ()


def test_a_size_that_another_one_beats_gets_no_finer_trial() -> None:
    tried = [
        *points((20, 3000, 80), (28, 1000, 70), (36, 400, 60), lines=360),
        *points((20, 6000, 97), (28, 2000, 88), (36, 700, 75), lines=720),
    ]

    assert further_trials(tried, top_vmaf=95, ranges_kbps={Codec.AVC: (1000, 9000)}) == ()


def test_the_smallest_size_is_tried_coarser_where_the_lowest_rung_needs_it() -> None:
    tried = points((20, 900, 96), (28, 300, 90), (36, 120, 80), lines=234)

    assert further_trials(tried, top_vmaf=95, ranges_kbps={Codec.AVC: (85, 9000)}) == (Trial(Codec.AVC, 234, 44.0),)
    assert further_trials(tried, top_vmaf=95, ranges_kbps={Codec.AVC: (130, 9000)}) == ()


def test_a_larger_size_that_looks_best_down_to_its_coarsest_trial_is_tried_coarser() -> None:
    small = points((20, 900, 60), (28, 300, 50), (36, 120, 40), lines=234)
    ranges = {Codec.AVC: (85.0, 9000.0)}

    def further(vmaf: float) -> list[Trial]:
        large = points((20, 3000, 96), (28, 1000, 90), (36, 330, vmaf), lines=720)
        return [
            trial for trial in further_trials([*small, *large], top_vmaf=95, ranges_kbps=ranges) if trial.lines > 234
        ]

    # At 330 kb/s, 234 lines come to 50.9.
    assert further(60) == [Trial(Codec.AVC, 720, 44.0)]
    assert further(50.5) == []


def test_no_size_is_tried_coarser_than_the_lowest_rung_needs() -> None:
    tried = [
        *points((20, 900, 60), (28, 300, 50), (36, 120, 40), lines=234),
        *points((20, 3000, 96), (28, 1000, 90), (36, 330, 80), lines=720),
    ]

    assert further_trials(tried, top_vmaf=95, ranges_kbps={Codec.AVC: (400.0, 9000)}) == ()


def test_tasks_hold_one_codec_and_frame_rate_and_no_more_pixels_than_two_encoders_of_1080_lines() -> None:
    sizes = [*SIZES, TrialSize(234, make_video_rendition(codec=Codec.AVC, width_px=416, height_px=234, rate_divisor=2))]
    trials = expected_trials(sizes)

    groups = list(grouped(trials, sizes))

    assert sorted(trial.id for group in groups for trial, _ in group) == sorted(trial.id for trial in trials)
    for group in groups:
        assert len({(trial.codec, rendition.rate_divisor) for trial, rendition in group}) == 1
        assert len(group) == 1 or sum(r.width_px * r.height_px for _, r in group) <= 4_200_000
        assert all((r.id, r.crf, r.cap_bps) == (trial.id, trial.crf, 0) for trial, r in group)
    # The same trials make the same tasks, whatever the order of requests.
    again = list(grouped(trials[::-1], sizes))
    assert {frozenset(t.id for t, _ in group) for group in groups} == {frozenset(t.id for t, _ in g) for g in again}


def analysing() -> Analysing:
    track = make_video_track(frame_count=100, frame_rate=Fraction(25))
    conformed = conform(track)
    grid = plan_grid(Fraction(25), 100, segment_s=Fraction(2), chunk_s=Fraction(4))
    commands = VideoCommands(make_master(), SourcePicture(conformed, BT709), grid, Effort.STANDARD)
    return Analysing(
        commands, conformed, grid, Pricing(measured(), conformed, Effort.STANDARD), viewing=HD, shown_px=(1920, 1080),
        size_px=(1920, 1080), master_digest="0", tool_digest="0",
    )  # fmt: skip


def bounds_of(codec: Codec, crf: float, width_px: int, height_px: int, survey_bytes: int) -> list[int]:
    size = TrialSize(height_px, make_video_rendition(codec=codec, width_px=width_px, height_px=height_px))
    makes, excerpt = analysing(), Excerpt(0, 0, 50, survey_bytes, 1.0)
    (task,) = makes.trials(makes.keys([excerpt], [Trial(codec, height_px, crf)], [size]), [size])
    words = dict(pairwise(task.work.argv))
    return [int(words[name]) for name in ("-maxrate", "-bufsize")]


def test_only_codecs_whose_bound_shapes_their_quality_are_tried_with_one() -> None:
    for codec in (Codec.AVC, Codec.HEVC, Codec.AV1):
        assert bounds_of(codec, 36, 640, 360, 125_000) == [0, 0]
    cap_bps, buffer_bits = bounds_of(Codec.VP9, 36, 640, 360, 125_000)
    # 500 kb/s in the survey; the trial is expected to take about as much, and some titles take four times that.
    assert 4 * 500_000 < cap_bps < 8 * 500_000
    assert buffer_bits == cap_bps * 4 // 3


def test_the_bound_of_a_trial_follows_its_expected_rate() -> None:
    (base, _), (finer, _) = (bounds_of(Codec.VP9, crf, 640, 360, 125_000) for crf in (48, 36))
    assert finer == pytest.approx(2 * base, abs=1)
    assert bounds_of(Codec.VP9, 48, 1280, 720, 125_000)[0] == pytest.approx(base * 4**0.75, rel=0.001)
    assert bounds_of(Codec.VP9, 48, 640, 360, 250_000)[0] == pytest.approx(2 * base, abs=1)
    # A black excerpt has next to no bytes.
    assert bounds_of(Codec.VP9, 48, 640, 360, 0)[0] == MIN_BOUND_BPS


def test_a_renditions_own_cap_is_kept() -> None:
    capped = make_video_rendition(codec=Codec.VP9, cap_bps=777_000)

    task = analysing().trial(Excerpt(0, 0, 50, 1, 1.0), [(Trial(Codec.VP9, 1080, 30.0), capped)], ("key",))

    assert dict(pairwise(task.work.argv))["-maxrate"] == "777000"


def test_one_picture_of_4320_lines_is_a_task_of_its_own() -> None:
    large = TrialSize(4320, replace(SIZES[0].rendition, width_px=7680, height_px=4320))

    assert [len(group) for group in grouped(expected_trials([large]), [large])] == [1, 1, 1]


def test_fewer_renditions_are_measured_at_once_on_a_larger_screen() -> None:
    assert max_concurrent_measurements((1920, 1080)) == 8
    assert max_concurrent_measurements((3840, 2160)) == 2
    assert max_concurrent_measurements((640, 360)) == 8
