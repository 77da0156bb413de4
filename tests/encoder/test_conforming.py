"""What is taken for fields, and what is not."""

import pytest

from encoder.conforming import Cadence, Fields, conform
from headend.errors import MasterError
from headend.media import FieldOrder, FrameIndex
from tests.support.nouns import make_video_track


@pytest.mark.parametrize(
    ("flags", "fields", "cadence"),
    [
        (FieldOrder.PROGRESSIVE, Fields(31, 0, 66, 0), Cadence.PROGRESSIVE),  # fine lines in a film
        (FieldOrder.PROGRESSIVE, Fields(47, 45, 8, 0), Cadence.PROGRESSIVE),  # patterns that fool the eye both ways
        (FieldOrder.PROGRESSIVE, Fields(95, 0, 2, 0), Cadence.INTERLACED),
        (FieldOrder.TOP_FIRST, Fields(60, 1, 36, 0), Cadence.INTERLACED),
        (FieldOrder.TOP_FIRST, Fields(5, 1, 91, 0), Cadence.PROGRESSIVE),
        (FieldOrder.TOP_FIRST, Fields(97, 0, 0, 38), Cadence.TELECINE),
        (FieldOrder.TOP_FIRST, Fields(0, 0, 0, 0), Cadence.PROGRESSIVE),
        (FieldOrder.TOP_FIRST, None, Cadence.INTERLACED),
        (FieldOrder.UNKNOWN, None, Cadence.PROGRESSIVE),
    ],
)
def test_samples_decide_and_flags_only_hint(flags: FieldOrder, fields: Fields | None, cadence: Cadence) -> None:
    assert conform(make_video_track(field_order=flags), fields).cadence is cadence


def test_the_order_is_what_most_frames_show() -> None:
    shown = Fields(1, 90, 5, 0)
    assert conform(make_video_track(field_order=FieldOrder.TOP_FIRST), shown).field_order is FieldOrder.BOTTOM_FIRST


def test_a_variable_rate_above_the_limit_is_refused_and_names_the_option() -> None:
    ticks = tuple(number + number // 10 for number in range(100))  # every tenth frame is followed by a hole
    uneven = make_video_track(constant_rate=False, frames=FrameIndex(ticks, (0,), (0,), "packets"))

    conformed = conform(uneven, most_changed_percent=9)

    assert (conformed.cadence, conformed.frame_count) == (Cadence.VARIABLE, 109)
    assert conformed.decisions[0].endswith("9 frames repeated, 0 dropped")
    with pytest.raises(MasterError, match="raise --max-changed-frames from 8"):
        conform(uneven, most_changed_percent=8)
