from dataclasses import replace
from fractions import Fraction

import pytest

from encoder.timelines import policy
from headend.core.errors import MasterError
from headend.core.media import AudioPart, AudioTrack, Span, Timeline
from tests.support.makers import make_audio_track, make_master

SECOND = Fraction(1)
HALF = Fraction(1, 2)


def track_of(*spans: tuple[float, float], drift_s: Fraction = Fraction(0)) -> AudioTrack:
    timeline = Timeline(tuple(Span(Fraction(start), Fraction(end)) for start, end in spans), drift_s)
    return replace(make_audio_track(), timeline=timeline)


def check(*tracks: AudioTrack, max_s: Fraction = HALF) -> None:
    policy.check(make_master(), tracks, start_s=SECOND, max_s=max_s)


def test_short_gaps_are_filled_by_default() -> None:
    track = track_of((1, 4), (4.25, 6), (6.5, 9))
    check(track)

    assert list(policy.describe([track], start_s=SECOND)) == [
        "audio 1 has no sound at 3.000–3.250 s, 5.000–5.500 s → 0.750 s of silence"
    ]


@pytest.mark.parametrize(
    ("spans", "advice"),
    [
        (((1, 4), (5.5, 9)), "has no sound for 1.500 s in total, at 3.000–4.500 s.*--max-sound-gap 1.5"),
        (((1, 4), (4.5, 6), (6.5, 7), (7.25, 9)), "for 1.250 s in total.*--max-sound-gap 0.7"),
        (((1, 4), (3, 9)), "has sound twice for 1.000 s in total, at 2.000–3.000 s.*--max-sound-gap 1.0"),
    ],
)
def test_longer_gaps_are_refused_with_the_place_and_a_remedy(
    spans: tuple[tuple[float, float], ...], advice: str
) -> None:
    with pytest.raises(MasterError, match=advice) as refused:
        check(track_of(*spans))

    check(track_of(*spans), max_s=Fraction(refused.value.message.rpartition(" ")[2]))


def test_the_parts_of_a_programme_are_checked_one_by_one() -> None:
    gapped = track_of((0, 1), (3, 4)).timeline
    joined = replace(make_audio_track(), parts=(AudioPart(1, 1, Fraction(0)), AudioPart(2, 1, Fraction(0), gapped)))

    with pytest.raises(MasterError, match="audio 2"):
        check(joined)


def test_continuous_sound_is_not_resampled() -> None:
    assert policy.resampling_options(None, 48_000) == {}
    assert policy.resampling_options(track_of((0, 9)).timeline, 48_000) == {}


def test_gaps_are_filled_at_once_and_drift_is_stretched() -> None:
    assert policy.resampling_options(track_of((0, 4), (4.04, 9)).timeline, 48_000) == {
        "async": 1,
        "min_hard_comp": 0.03,
    }
    assert policy.resampling_options(track_of((0, 4), drift_s=HALF).timeline, 48_000) == {
        "async": 2400,
        "min_hard_comp": 0.1,
    }
