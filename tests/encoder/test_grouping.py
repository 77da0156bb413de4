"""Groups are complete and as coarse as keeps all workers busy."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder.conforming import conform
from encoder.costs import Pricing, measured
from encoder.grouping import arrange, makespan_s, price_of_memory, share_out
from headend.core.media import Codec, Effort, VideoRendition
from headend.core.timing import Chunk
from tests.support.makers import make_video_rendition, make_video_track

SIZES = ((1920, 1080), (1280, 720), (960, 540), (640, 360))
CODECS = (Codec.AVC, Codec.HEVC, Codec.AV1, Codec.VP9)
LADDER = tuple(make_video_rendition(id=f"{c}-{h}p", codec=c, width_px=w, height_px=h) for c in CODECS for w, h in SIZES)
CURVES = {
    Codec.AVC: (0.03782, 1.15397),
    Codec.HEVC: (0.13298, 1.22199),
    Codec.AV1: (0.04841, 0.82232),
    Codec.VP9: (0.0401, 1.10779),
}  # fmt: skip
"""Fixed CPU seconds for a frame of a million pixels, with the exponent of its size, whatever costs are installed."""
COSTS = replace(
    measured(),
    start_s=0.058,
    decode_megapixel_s={"prores": 0.035},
    scale_megapixel_s=0.00126,
    video={
        codec: {
            effort: replace(curve, frame_s=CURVES[codec][0], exponent=CURVES[codec][1], crf_growth=0.0)
            for effort, curve in efforts.items()
        }
        for codec, efforts in measured().video.items()
    },
)
PRICING = Pricing(COSTS, conform(make_video_track(frame_count=100)), Effort.DRAFT)

renditions = st.lists(
    st.builds(
        lambda codec, scale, divisor: make_video_rendition(
            codec=codec, width_px=32 * scale, height_px=18 * scale, rate_divisor=divisor
        ),
        st.sampled_from(CODECS),
        st.integers(1, 60),
        st.sampled_from([1, 2]),
    ),
    min_size=1,
    max_size=30,
)


def chunks(count: int, frames: int = 720) -> tuple[Chunk, ...]:
    return tuple(Chunk(n, n * frames, (n + 1) * frames, 5 * n + 1) for n in range(count))


def costs_s(arranged: Any, frames: int = 720) -> list[float]:
    return [PRICING.video_s(group, frames) for groups in arranged for group in groups]


@settings(deadline=None)
@given(renditions, st.integers(0, 40))
def test_shares_hold_every_rendition_once_and_none_is_empty(members: list[VideoRendition], count: int) -> None:
    groups = share_out(members, count, PRICING.frame_s)

    assert Counter(member for share in groups for member in share) == Counter(members)
    assert all(groups)
    assert len(groups) <= max(1, min(count, len(members)))
    assert all(share[0] == max(share, key=PRICING.frame_s) for share in groups)


@settings(deadline=None)
@given(renditions, st.integers(1, 10))
def test_no_share_is_heavier_than_a_fair_one_by_more_than_one_rendition(
    members: list[VideoRendition], count: int
) -> None:
    groups = share_out(members, count, PRICING.frame_s)
    fair = sum(map(PRICING.frame_s, members)) / max(1, min(count, len(members)))

    for share in groups:
        assert sum(map(PRICING.frame_s, share)) <= max(1.05 * fair, fair + PRICING.frame_s(share[-1])) * (1 + 1e-9)


def test_renditions_of_one_size_share_their_scaling_where_balance_allows() -> None:
    twins = [make_video_rendition(id=f"{n}-{h}", width_px=w, height_px=h) for w, h in SIZES[:2] for n in range(4)]

    groups = share_out(twins, 2, lambda _: 1.0)

    assert sorted(len({r.height_px for r in group}) for group in groups) == [1, 1]


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 60))
def test_every_chunk_has_every_rendition_once(count: int, workers: int) -> None:
    arranged = arrange(LADDER, chunks(count), PRICING, workers=workers)

    assert len(arranged) == count
    assert all(Counter(r for g in groups for r in g) == Counter(LADDER) for groups in arranged)
    assert arranged == arrange(LADDER, chunks(count), PRICING, workers=workers)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 30, 100, 240])
@pytest.mark.parametrize("workers", [1, 2, 3, 5, 8, 13, 40, 100, 300])
def test_a_job_ends_at_most_a_tenth_later_than_work_and_workers_allow(count: int, workers: int) -> None:
    arranged = arrange(LADDER, chunks(count), PRICING, workers=workers)
    tasks = costs_s(arranged)
    single = max(costs_s([[(rendition,)] for rendition in LADDER]))
    bound = max(sum(tasks) / workers, single)
    finest = makespan_s(costs_s([[(r,) for r in LADDER]] * count), workers)

    # If even tasks of one rendition don't pack, no grouping does.
    assert makespan_s(tasks, workers) <= max(1.10 * bound, 1.06 * finest)


def test_with_many_chunks_and_few_workers_each_chunk_is_one_group() -> None:
    assert all(len(groups) == 1 for groups in arrange(LADDER, chunks(240), PRICING, workers=2))


def test_only_the_last_chunks_are_split_where_that_is_enough() -> None:
    counts = [len(groups) for groups in arrange(LADDER, chunks(5), PRICING, workers=2)]

    assert counts == sorted(counts)
    assert counts[0] == 1 < counts[-1]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_single_worker_decodes_nothing_twice(count: int) -> None:
    assert all(len(groups) == 1 for groups in arrange(LADDER, chunks(count), PRICING, workers=1))


def test_no_group_exceeds_the_memory_of_a_slot() -> None:
    alone = max(PRICING.video_bytes([rendition]) for rendition in LADDER)
    for slot in (alone, 2 * alone, 4 * alone):
        arranged = arrange(LADDER, chunks(40), PRICING, workers=2, slot_bytes=slot)
        assert all(PRICING.video_bytes(group) <= slot for groups in arranged for group in groups)
    assert all(len(g) == 1 for groups in arrange(LADDER, chunks(2), PRICING, workers=1, slot_bytes=1) for g in groups)


def test_only_renditions_that_need_more_than_a_slot_are_alone() -> None:
    largest = max(LADDER, key=lambda rendition: PRICING.video_bytes([rendition]))
    needs = sorted(PRICING.video_bytes([rendition]) for rendition in LADDER)
    slot = max(needs[-2], PRICING.video_bytes([largest]) - 1)

    (groups,) = arrange(LADDER, chunks(1), PRICING, workers=1, slot_bytes=slot)

    assert (largest,) in groups
    assert len(groups) < len(LADDER) / 2
    assert all(PRICING.video_bytes(group) <= slot for group in groups if group != (largest,))


def test_the_cost_of_little_memory_is_reported() -> None:
    whole = PRICING.video_bytes(LADDER)
    assert price_of_memory(LADDER, 100, PRICING, None) is None
    assert price_of_memory(LADDER, 100, PRICING, whole) is None
    price = price_of_memory(LADDER, 100, PRICING, whole // 4)
    assert price is not None
    split_s, whole_s, bytes_ = price
    assert split_s > whole_s == PRICING.video_s(LADDER, 100)
    assert bytes_ == whole


def test_other_tasks_are_counted_too() -> None:
    work = sum(costs_s(arrange(LADDER, chunks(2), PRICING, workers=2)))
    alone = arrange(LADDER, chunks(2), PRICING, workers=2, other_costs_s=[3 * work])

    # One worker is busy with that until the end, so the other needs no fine tasks.
    assert all(len(groups) == 1 for groups in alone)


def test_slow_workers_end_later() -> None:
    tasks = [1.0] * 100

    assert makespan_s(tasks, 10) == pytest.approx(10, rel=0.1)
    assert makespan_s(tasks, 10, slow=10) == pytest.approx(2 * makespan_s(tasks, 10))
    assert makespan_s(tasks, 1) == pytest.approx(100, rel=0.1)
    assert makespan_s([], 3) == 0


def test_pricing_follows_the_master() -> None:
    hd, uhd = (
        Pricing(measured(), conform(make_video_track(width_px=w, height_px=h, frame_rate=Fraction(24))), Effort.DRAFT)
        for w, h in ((1920, 1080), (3840, 2160))
    )
    assert uhd.video_s(LADDER, 100) > hd.video_s(LADDER, 100)
    assert uhd.video_bytes(LADDER) > hd.video_bytes(LADDER)
