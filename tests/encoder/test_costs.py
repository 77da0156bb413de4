"""Costs are predicted from coefficients and corrected by receipts."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from encoder.conforming import conform
from encoder.costs import MAX_FACTOR, SAFE, Calibration, Costs, Pricing, measured
from headend.core import documents
from headend.core.media import Codec, Effort, EncodePlan, EncodeTask, Kind, Receipt, VideoRange
from tests.encoder.test_planning import INPUTS, make_plan
from tests.support.makers import HDR10, TEXT_CODECS, make_audio_rendition, make_video_rendition, make_video_track

LARGE = make_video_rendition(id="large")
SMALL = make_video_rendition(id="small", width_px=640, height_px=360)


def price(effort: Effort = Effort.DRAFT, **track: object) -> Pricing:
    return Pricing(measured(), conform(make_video_track(**{"frame_count": 100, **track})), effort)  # type: ignore[arg-type]


def test_every_codec_and_effort_has_a_positive_price() -> None:
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
        Receipt(
            task.id, task.chunk.number, (), 1, "w", factor * task.cost, 1.0, round(memory * task.memory_bytes / SAFE)
        )
        for task in plan.tasks
    ]


def truly(plan: EncodePlan, truth: Costs) -> list[Receipt]:
    """Costs of a plan's tasks under other coefficients."""
    pricing = Pricing(truth, conform(INPUTS["probe"].video), plan.effort)
    renditions = {rendition.id: rendition for rendition in (*plan.video, *plan.trick)}

    def took_s(task: EncodeTask) -> float:
        return pricing.video_s([renditions[id] for id in task.renditions], task.chunk.frame_count)

    return [
        Receipt(task.id, task.chunk.number, (), 1, "w", took_s(task), 1.0, 0)
        for task in plan.tasks
        if task.kind is Kind.VIDEO
    ]


def jobs(truth: Costs, count: int) -> list[tuple[float, Calibration]]:
    """Ratios of measured to predicted costs of equal jobs, and the calibration after each."""
    known, found = Calibration(), []
    for _ in range(count):
        costs = known.applied(measured())
        fine, coarse = make_plan(costs=costs, workers=100), make_plan(costs=costs, workers=1)
        # Costs can be attributed to codecs if the same renditions are grouped in several ways.
        plan = replace(fine, tasks=(*fine.tasks, *coarse.tasks))
        took = truly(plan, truth)
        foretold_s = sum(task.cost for task in plan.tasks if task.kind is Kind.VIDEO)
        known = known.learned(plan, took)
        found.append((sum(receipt.cpu_s for receipt in took) / foretold_s, known))
    return found


@pytest.mark.parametrize("factor", [0.44, 3.0])
def test_the_calibration_converges_for_equal_jobs(factor: float) -> None:
    ratios = [ratio for ratio, _ in jobs(Calibration(source=factor, video=all_codecs(factor)).applied(measured()), 8)]

    assert ratios[0] == pytest.approx(factor, rel=0.01)
    misses = [abs(math.log(ratio)) for ratio in ratios]
    assert misses == sorted(misses, reverse=True)
    assert misses[-1] < 0.05


def test_the_cost_of_decoding_is_not_attributed_to_encoders() -> None:
    known = jobs(Calibration(source=0.25).applied(measured()), 10)[-1][1]

    assert known.source < 0.5
    assert all(0.8 < factor < 1.25 for efforts in known.video.values() for factor in efforts.values())


def test_a_slow_codec_is_found_and_the_others_stay() -> None:
    video = {Codec.HEVC: dict.fromkeys(Effort, 2.0)}
    known = jobs(Calibration(video=video).applied(measured()), 8)[-1][1]
    effort = next(iter(known.video[Codec.HEVC]))

    assert known.video[Codec.HEVC][effort] == pytest.approx(2.0, rel=0.15)
    # H.264 is a small part of such a job's cost, so its ratio is uncertain.
    assert known.video[Codec.AVC][effort] == pytest.approx(1.0, rel=0.16)


def test_calibration_factors_are_bounded() -> None:
    known = jobs(Calibration(source=0.001, video=all_codecs(0.001)).applied(measured()), 12)[-1][1]

    assert known.source == pytest.approx(1 / MAX_FACTOR)
    assert all(factor >= 1 / MAX_FACTOR for efforts in known.video.values() for factor in efforts.values())


def all_codecs(factor: float) -> dict[Codec, dict[Effort, float]]:
    return {codec: dict.fromkeys(Effort, factor) for codec in measured().video}


def test_a_first_job_corrects_the_speed_of_the_machine_at_once_for_all_efforts() -> None:
    machine = Calibration(source=1.5, video=all_codecs(1.5), from_jobs=False)
    plan = make_plan(costs=machine.applied(measured()))
    took = truly(plan, Calibration(source=3.0, video=all_codecs(3.0)).applied(measured()))

    first = machine.learned(plan, took)
    again = Calibration(first.video, source=first.source).learned(make_plan(costs=first.applied(measured())), took)

    assert first.from_jobs
    for known in (first, again):
        assert known.source == pytest.approx(3.0, rel=0.01)
        for efforts in known.video.values():
            assert list(efforts.values()) == pytest.approx([3.0] * len(Effort), rel=0.01)


def test_memory_grows_at_once_and_shrinks_slowly() -> None:
    plan = make_plan()

    assert Calibration().learned(plan, receipts(plan, 1.0, memory=3.0)).memory == pytest.approx(3.0, rel=0.01)
    assert Calibration().learned(plan, receipts(plan, 1.0, memory=0.25)).memory == pytest.approx(0.5, rel=0.01)
    applied = Calibration(memory=2.0).applied(measured())
    assert Pricing(applied, price().picture, Effort.DRAFT).video_bytes([LARGE]) == pytest.approx(
        2 * price().video_bytes([LARGE]), rel=0.001
    )


def test_the_document_does_not_depend_on_the_order_in_which_codecs_were_met() -> None:
    plan = make_plan()
    factors = {codec: {Effort.STANDARD: 2.0, Effort.DRAFT: 1.5} for codec in (Codec.HEVC, Codec.AVC)}
    turned = {codec: dict(reversed(one.items())) for codec, one in reversed(factors.items())}
    one, other = (
        documents.write(Calibration(known).learned(plan, receipts(plan, 1.25))) for known in (factors, turned)
    )

    assert one == other


def test_receipts_without_information_are_ignored() -> None:
    plan = make_plan()
    strangers = [Receipt("another", 0, (), 1, "w", 5.0, 1.0, 1), *receipts(plan, 0.0)]

    assert Calibration().learned(plan, strangers).video == {}
    assert Calibration().learned(plan, []) == Calibration()


TRIALS = json.loads((Path(__file__).parents[1] / "data" / "trials.json").read_text())


@pytest.mark.parametrize("clip", ["bbb", "dark", "composite", "cars"])
def test_predictions_for_real_clips_are_within_a_fifth(clip: str) -> None:
    job = TRIALS["jobs"][clip]
    rungs = [
        make_video_rendition(codec=Codec.AVC, width_px=2 * round(lines * 8 / 9), height_px=lines, crf=crf)
        for lines, crf, _ in job["rungs"]
    ]

    foretold_s = sum(price(Effort.STANDARD).frame_s(rung) for rung in rungs) * job["frames"]

    assert foretold_s == pytest.approx(sum(cpu_s for *_, cpu_s in job["rungs"]), rel=0.2)


def test_coarser_pictures_cost_less() -> None:
    for effort in Effort:
        for codec in (Codec.AVC, Codec.HEVC, Codec.AV1, Codec.VP9):
            rung = replace(LARGE, codec=codec, crf=30.0)
            assert price(effort).frame_s(replace(rung, crf=40.0)) < price(effort).frame_s(rung)
