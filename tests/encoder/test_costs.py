"""Costs are foretold from coefficients and corrected by what receipts say."""

from dataclasses import replace

import pytest

from encoder.conforming import conform
from encoder.costs import SAFE, SMOOTHING, Calibration, Pricing, measured
from headend.media import Codec, Effort, EncodePlan, Kind, Receipt, VideoRange
from tests.encoder.test_planning import make_plan
from tests.support.nouns import HDR10, TEXT_CODECS, make_audio_rendition, make_video_rendition, make_video_track

LARGE = make_video_rendition(id="large")
SMALL = make_video_rendition(id="small", width_px=640, height_px=360)


def price(effort: Effort = Effort.DRAFT, **track: object) -> Pricing:
    return Pricing(measured(), conform(make_video_track(**{"frame_count": 100, **track})), effort)  # type: ignore[arg-type]


def test_every_codec_and_effort_has_a_price_that_is_above_nothing() -> None:
    costs = measured()
    assert costs.sound_s.keys() | costs.video.keys() | TEXT_CODECS == set(Codec)
    for efforts in costs.video.values():
        assert efforts.keys() == set(Effort)
        assert all(curve.frame_s > 0 and curve.megapixel_mb > 0 for curve in efforts.values())
        assert efforts[Effort.DRAFT].frame_s < efforts[Effort.HIGH].frame_s


def test_cost_grows_with_frames_sizes_renditions_and_effort() -> None:
    base = price().video_s([SMALL], 100)

    assert base < price().video_s([SMALL], 101) < price().video_s([SMALL, LARGE], 100)
    assert price().video_s([SMALL], 100) < price().video_s([LARGE], 100)
    assert price().video_s([LARGE], 100) < price(Effort.HIGH).video_s([LARGE], 100)
    assert price().video_bytes([SMALL]) < price().video_bytes([LARGE]) < price().video_bytes([SMALL, LARGE])


def test_one_group_costs_less_than_two_and_one_size_less_than_two() -> None:
    pricing = price()
    together = pricing.video_s([LARGE, SMALL], 100)

    assert together < pricing.video_s([LARGE], 100) + pricing.video_s([SMALL], 100)
    twins = [replace(SMALL, id="twin"), SMALL]
    encode_s = 2 * 100 * pricing.frame_s(SMALL)
    assert pricing.video_s(twins, 100) - encode_s == pytest.approx(
        pricing.video_s([SMALL], 100) - 100 * pricing.frame_s(SMALL)
    )


def test_half_the_frames_cost_half_the_encoding() -> None:
    assert price().frame_s(replace(SMALL, rate_divisor=2)) == pytest.approx(price().frame_s(SMALL) / 2)


def test_masters_differ_by_codec_and_tone_mapping_costs() -> None:
    assert price(codec="mpeg2video").video_s([SMALL], 100) < price(codec="jpeg2000").video_s([SMALL], 100)
    assert price(codec="h264").video_s([SMALL], 9) < price(codec="jpeg2000").video_s([SMALL], 9)
    kept = replace(LARGE, video_range=VideoRange.PQ)
    assert price(colour=HDR10).video_s([kept], 100) < price(colour=HDR10).video_s([LARGE], 100)


def test_sound_costs_by_channel_and_second() -> None:
    costs, stereo = measured(), make_audio_rendition()
    assert costs.audio_s([stereo], 20) > costs.audio_s([stereo], 10)
    assert costs.audio_s([make_audio_rendition(layout="5.1")], 10) > costs.audio_s([stereo], 10)


def receipts(plan: EncodePlan, factor: float, memory: float = 1.0) -> list[Receipt]:
    return [
        Receipt(task.id, (), 1, "w", factor * task.cost, 1.0, round(memory * task.memory_bytes / SAFE))
        for task in plan.tasks
    ]


def test_what_took_longer_than_foretold_is_foretold_longer_step_by_step() -> None:
    plan = make_plan()
    known = Calibration().learned(plan, receipts(plan, 2.0))

    assert known.video[Codec.HEVC][plan.effort] == pytest.approx(2.0**SMOOTHING)
    corrected = known.applied(measured())
    curve, before = (costs.video[Codec.HEVC][plan.effort] for costs in (corrected, measured()))
    assert curve.frame_s == pytest.approx(before.frame_s * 2.0**SMOOTHING)
    assert corrected.video[Codec.HEVC][Effort.HIGH] == measured().video[Codec.HEVC][Effort.HIGH]
    back = known.learned(plan, receipts(plan, 0.5))
    assert back.video[Codec.HEVC][plan.effort] == pytest.approx(1.0)


def test_a_codec_is_judged_most_by_the_tasks_that_it_has_for_itself() -> None:
    plan = make_plan(workers=100)
    slow = {
        task.id
        for task in plan.tasks
        if task.kind is Kind.VIDEO and all(id.startswith("hevc") for id in task.renditions)
    }
    assert slow
    told = [
        replace(receipt, cpu_s=receipt.cpu_s * (2 if receipt.task in slow else 1)) for receipt in receipts(plan, 1.0)
    ]
    known = Calibration().learned(plan, told).video

    assert known[Codec.HEVC][plan.effort] == pytest.approx(2.0**SMOOTHING)
    assert known[Codec.AV1][plan.effort] == pytest.approx(1.0)


def test_memory_grows_at_once_and_shrinks_slowly() -> None:
    plan = make_plan()

    assert Calibration().learned(plan, receipts(plan, 1.0, memory=3.0)).memory == pytest.approx(3.0, rel=0.01)
    assert Calibration().learned(plan, receipts(plan, 1.0, memory=0.25)).memory == pytest.approx(0.5, rel=0.01)
    applied = Calibration(memory=2.0).applied(measured())
    assert Pricing(applied, price().picture, Effort.DRAFT).video_bytes([LARGE]) == pytest.approx(
        2 * price().video_bytes([LARGE]), rel=0.001
    )


def test_receipts_that_tell_nothing_are_left_out() -> None:
    plan = make_plan()
    strangers = [Receipt("another", (), 1, "w", 5.0, 1.0, 1), *receipts(plan, 0.0)]

    assert Calibration().learned(plan, strangers).video == {}
    assert Calibration().learned(plan, []) == Calibration()
