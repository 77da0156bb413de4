"""Detection of fields, telecine and frame rates."""

from dataclasses import replace
from fractions import Fraction

import pytest

from encoder.conforming import Cadence, FieldCounts, conform
from headend.core.errors import MasterError
from headend.core.media import FieldOrder, FrameIndex, VideoTrack
from headend.core.settings import Limits
from tests.support.makers import make_video_track


@pytest.mark.parametrize(
    ("flags", "fields", "cadence"),
    [
        (
            FieldOrder.PROGRESSIVE,
            FieldCounts(31, 0, 66, 0),
            Cadence.PROGRESSIVE,
        ),  # fine lines in a film, which resemble fields
        (FieldOrder.PROGRESSIVE, FieldCounts(47, 45, 8, 0), Cadence.PROGRESSIVE),  # patterns that resemble fields
        (FieldOrder.PROGRESSIVE, FieldCounts(95, 0, 2, 0), Cadence.INTERLACED),
        (FieldOrder.TOP_FIRST, FieldCounts(60, 1, 36, 0), Cadence.INTERLACED),
        (FieldOrder.TOP_FIRST, FieldCounts(5, 1, 91, 0), Cadence.PROGRESSIVE),
        (FieldOrder.TOP_FIRST, FieldCounts(97, 0, 0, 38), Cadence.TELECINE),
        (FieldOrder.TOP_FIRST, FieldCounts(0, 0, 0, 0), Cadence.PROGRESSIVE),
        (FieldOrder.TOP_FIRST, None, Cadence.INTERLACED),
        (FieldOrder.UNKNOWN, None, Cadence.PROGRESSIVE),
    ],
)
def test_decoded_fields_decide_and_flags_are_only_a_hint(
    flags: FieldOrder, fields: FieldCounts | None, cadence: Cadence
) -> None:
    assert conform(make_video_track(field_order=flags), fields).cadence is cadence


def test_the_field_order_is_that_of_most_frames() -> None:
    shown = FieldCounts(1, 90, 5, 0)
    assert conform(make_video_track(field_order=FieldOrder.TOP_FIRST), shown).field_order is FieldOrder.BOTTOM_FIRST


def uneven_track(ticks: tuple[int, ...], *, rate: int = 24, end_ticks: int | None = None) -> VideoTrack:
    frames = FrameIndex(ticks, (0,), (0,), "packets", end_ticks)
    return make_video_track(constant_rate=False, frame_rate=Fraction(rate), frames=frames)


def test_repeated_and_dropped_frames_have_separate_limits() -> None:
    uneven = uneven_track(tuple(number + number // 10 for number in range(100)))  # every tenth is followed by a gap

    conformed = conform(uneven, limits=Limits(dropped_percent=0, repeated_percent=9))

    assert (conformed.cadence, conformed.frame_count) == (Cadence.VARIABLE, 109)
    assert conformed.decisions[0].endswith("9 frames repeated, 0 dropped")
    with pytest.raises(MasterError, match="raise --max-repeated-frames from 8"):
        conform(uneven, limits=Limits(repeated_percent=8))


def test_dropped_frames_are_refused_above_their_limit() -> None:
    crowded = tuple(tick for start in range(0, 2400, 100) for tick in range(start, start + 8))
    track = replace(uneven_track(crowded), time_base=Fraction(1, 960))

    with pytest.raises(MasterError, match=r"dropped at the best rate.*--max-dropped-frames from 20"):
        conform(track)
    assert conform(track, limits=Limits(dropped_percent=99)).cadence is Cadence.VARIABLE


def test_a_recorded_screen_keeps_the_frames_of_its_bursts() -> None:
    # Two bursts at 30 frames per second, and a minute of nothing.
    ticks = (*range(40), *range(1800, 1840))
    conformed = conform(replace(uneven_track(ticks, rate=30), time_base=Fraction(1, 30)))

    assert (conformed.frame_rate, conformed.frame_count) == (30, 1840)
    assert "0 dropped; the longest frame is held for 58.700 s from 1.300 s" in conformed.decisions[0]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(Fraction(1, 5), 24), (Fraction(1), 24), (Fraction(5), 25), (Fraction(10), 30), (Fraction(2, 7), 24)],
)
def test_slides_are_repeated(rate: Fraction, expected: int) -> None:
    conformed = conform(make_video_track(frame_rate=rate, frame_count=6))

    assert (conformed.frame_rate, conformed.frame_count) == (expected, round(6 / rate * expected))
    assert "repeated" in conformed.decisions[0]


@pytest.mark.parametrize("duration_ticks", [1, 24, 240])
def test_a_still_lasts_as_long_as_it_states(duration_ticks: int) -> None:
    track = make_video_track(frames=FrameIndex((7,), (0,), (0,), "packets", 7 + duration_ticks))
    conformed = conform(track)

    assert conformed.frame_count == duration_ticks
    assert conformed.source_range(0, duration_ticks) == (0, 1)


def test_the_last_frame_lasts_as_long_as_it_states() -> None:
    track = make_video_track(frames=FrameIndex(tuple(range(48)), (0,), (0,), "packets", 47 + 24))
    conformed = conform(track)

    assert (conformed.cadence, conformed.frame_count) == (Cadence.VARIABLE, 71)
    assert conformed.decisions == ("last frame is held for 1.000 s → repeated 23 times",)


@pytest.mark.parametrize("end_ticks", [None, 480, 483])
def test_a_last_frame_of_about_a_frame_changes_nothing(end_ticks: int | None) -> None:
    frames = FrameIndex(tuple(range(0, 480, 10)), (0,), (0,), "packets", end_ticks)
    conformed = conform(make_video_track(frames=frames, time_base=Fraction(1, 240)))

    assert (conformed.cadence, conformed.frame_count) == (Cadence.PROGRESSIVE, 48)
