"""What is taken for fields, and what is not."""

import pytest

from encoder.conforming import Cadence, Fields, conform
from headend.media import FieldOrder
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
