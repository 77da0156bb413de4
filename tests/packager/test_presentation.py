from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest

from benchmarks.synthetic import inits_of, plan_of, presentation_of, receipts_of
from headend.core.errors import PackagingError
from headend.core.manifests.tracks import presented_ticks
from headend.core.media import AnyTrack, Codec, EncodedTrack, EncodePlan, Presentation, Receipt, Segment, VideoRendition
from headend.core.timing import ceil_div, plan_grid
from packager.presentation import assemble, join_chunks
from tests.support.makers import make_video_rendition
from tests.support.releases import make_grid, make_plan, make_presentation

Change = Callable[[Segment], Segment]


def assembled(plan: EncodePlan, receipts: tuple[Receipt, ...]) -> Presentation:
    return presentation_of(plan, receipts)


def with_track(
    receipts: tuple[Receipt, ...], task: str, change: Callable[[EncodedTrack], EncodedTrack]
) -> tuple[Receipt, ...]:
    """Return the receipts, with the first track of one of them changed."""
    return tuple(
        replace(receipt, tracks=(change(receipt.tracks[0]), *receipt.tracks[1:])) if receipt.task == task else receipt
        for receipt in receipts
    )


def with_segment(receipts: tuple[Receipt, ...], task: str, index: int, change: Change) -> tuple[Receipt, ...]:
    def changed(track: EncodedTrack) -> EncodedTrack:
        segments = list(track.segments)
        segments[index] = change(segments[index])
        return replace(track, segments=tuple(segments))

    return with_track(receipts, task, changed)


def test_chunks_are_joined_in_order_whatever_the_order_of_receipts() -> None:
    plan = make_plan()
    presentation = assembled(plan, tuple(reversed(receipts_of(plan))))
    assert [segment.number for segment in presentation.video[0].segments] == [1, 2, 3, 4, 5]
    assert presentation == assembled(plan, receipts_of(plan))
    assert sum(segment.samples for segment in presentation.video[0].segments) == plan.grid.frame_count


@pytest.mark.parametrize("frame_count", [1, 47, 48, 143, 145, 151, 719, 721, 733])
@pytest.mark.parametrize("divisor", [1, 2])
def test_titles_of_any_length_are_joined(frame_count: int, divisor: int) -> None:
    grid = make_grid(frame_count=frame_count)
    half = make_video_rendition(frame_rate=grid.frame_rate / divisor, rate_divisor=divisor)
    track = make_presentation(grid, [half]).video[0]
    assert sum(segment.samples for segment in track.segments) == ceil_div(frame_count, divisor)


@pytest.mark.parametrize(
    "change",
    [
        lambda track: replace(track, init_sha256="00"),
        lambda track: replace(track, init_bytes=1),
        lambda track: replace(track, timescale=1),
    ],
)
def test_chunks_that_disagree_about_the_init_segment_are_named(change: Callable[[EncodedTrack], EncodedTrack]) -> None:
    plan = make_plan()
    with pytest.raises(PackagingError, match=r"avc-1080p-6000k: chunks 0 and 2 have different init segments") as caught:
        assembled(plan, with_track(receipts_of(plan), "video-2", change))
    assert caught.value.facts == {"rendition": "avc-1080p-6000k", "chunk": 2}


def picture_joined(plan: EncodePlan, picture: VideoRendition, init: bytes) -> AnyTrack:
    """Return the plan's first picture, joined as another rendition or with another init segment."""
    id = plan.video[0].id
    by_chunk = {
        receipt.chunk: track for receipt in receipts_of(plan) for track in receipt.tracks if track.rendition == id
    }
    return join_chunks(id, picture, [(chunk, by_chunk[chunk.number]) for chunk in plan.chunks], init, plan.grid)


def test_an_init_segment_that_is_not_in_the_receipts_is_refused() -> None:
    plan = make_plan()
    with pytest.raises(PackagingError, match="differs from that in the receipts"):
        picture_joined(plan, plan.video[0], inits_of(plan)[plan.video[0].id] + b"x")


@pytest.mark.parametrize(
    ("rendition", "message"),
    [
        ({"codec": Codec.HEVC}, "is for avc at 24000 ticks/s in 1920x1080, not hevc"),
        ({"width_px": 1280}, "in 1920x1080, not avc at 24000 ticks/s in 1280x1080"),
    ],
)
def test_an_init_segment_for_another_track_is_refused(rendition: dict[str, object], message: str) -> None:
    plan = make_plan()
    with pytest.raises(PackagingError, match=message):
        picture_joined(plan, replace(plan.video[0], **rendition), inits_of(plan)[plan.video[0].id])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: replace(s, number=9), "segment 9 is not on the grid: number is 9, not 3"),
        (lambda s: replace(s, start_ticks=s.start_ticks + 1), "segment 3 .*: start_ticks is 288289, not 288288"),
        (lambda s: replace(s, duration_ticks=1), "segment 3 .*: duration_ticks is 1, not 144144"),
        (lambda s: replace(s, samples=143), "segment 3 .*: samples is 143, not 144"),
        (lambda s: replace(s, sync=s.sync[:2]), "segment 3 .*: sync frames is 2, not 3"),
    ],
)
def test_a_video_segment_off_the_grid_is_named(change: Change, message: str) -> None:
    plan = make_plan()
    with pytest.raises(PackagingError, match=message):
        assembled(plan, with_segment(receipts_of(plan), "video-1", 0, change))


@pytest.mark.parametrize("task", ["video-2", "audio-1"])
def test_a_missing_last_segment_is_noticed(task: str) -> None:
    plan = make_plan()
    receipts = with_track(receipts_of(plan), task, lambda track: replace(track, segments=track.segments[:-1]))
    with pytest.raises(PackagingError, match="4 segments, not 5"):
        assembled(plan, receipts)


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (1, lambda s: replace(s, number=3), "expected number 2"),
        (
            1,
            lambda s: replace(s, start_ticks=s.start_ticks + 1024),
            "number 2 at 289792 ticks, found 290816 ticks",
        ),
        (
            4,
            lambda s: replace(s, duration_ticks=s.duration_ticks - 1),
            "the sound ends at 1442463 ticks, but the picture ends at 1442464 ticks",
        ),
    ],
)
def test_sound_with_a_gap_or_another_length_than_the_picture_is_refused(
    index: int, change: Change, message: str
) -> None:
    plan = make_plan()
    with pytest.raises(PackagingError, match=message):
        assembled(plan, with_segment(receipts_of(plan), "audio-1", index, change))


def test_a_track_that_is_not_complete_is_named() -> None:
    plan = make_plan()
    with pytest.raises(PackagingError, match=r"2 of 2 tracks are incomplete, such as avc-1080p-6000k"):
        assemble(plan, {})


def test_priming_is_not_presented() -> None:
    presentation = make_presentation()
    ticks = presented_ticks(presentation.audio[0])
    assert ticks[0] == 0
    assert ticks[1] == presentation.audio[0].segments[1].start_ticks - 1024
    assert Fraction(ticks[-1], 48_000) == presentation.grid.duration_s


def test_a_title_may_have_no_sound() -> None:
    grid = plan_grid(Fraction(25), 300, segment_s=Fraction(6), chunk_s=Fraction(6))
    plan = plan_of(grid, [make_video_rendition(frame_rate=Fraction(25))])
    assert assembled(plan, receipts_of(plan)).audio == ()


@pytest.mark.parametrize("frame_count", [1, 47, 48, 49, 300, 720, 733])
def test_sheets_of_thumbnails_are_joined_in_order(frame_count: int) -> None:
    plan = make_plan(make_grid(frame_count=frame_count), trick_play=True)
    assert plan.thumbnails is not None
    presentation = assembled(plan, tuple(reversed(receipts_of(plan))))
    assert presentation.thumbnails is not None
    numbers = tuple(sheet.number for sheet in presentation.thumbnails.segments)
    assert numbers == plan.thumbnails.sheet_numbers(0, frame_count)
    pictures = sum(segment.samples for segment in presentation.trick[0].segments)
    assert pictures == ceil_div(frame_count, plan.grid.gop_frames)
    assert presentation.poster is not None and presentation.poster.rendition.frames[0] <= frame_count // 6


def test_a_missing_sheet_is_noticed() -> None:
    plan = make_plan(trick_play=True)
    receipts = tuple(
        replace(r, tracks=tuple(replace(t, segments=()) if t.rendition == "thumbnails" else t for t in r.tracks))
        if r.task == "video-1"
        else r
        for r in receipts_of(plan)
    )
    with pytest.raises(PackagingError, match="thumbnails: 2 pictures, not 3"):
        assembled(plan, receipts)
