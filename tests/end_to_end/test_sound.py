"""Sound without clicks: exact length, in sync with the picture, no extra noise at segment borders."""

from fractions import Fraction

import numpy as np
import pytest

from headend.app.request import Outcome
from headend.core.media import AudioRendition, Track
from headend.core.settings import StoreSettings
from tests.support.jobs import Published, picture_ladder, submit_small
from tests.support.masters import Sound, make_film
from tests.support.playback import sound, track_bytes

FREQUENCY_HZ = 997
RATE_HZ = 48000
LFE = 3


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> Published:
    folder = tmp_path_factory.mktemp("sound")
    tone = Sound(frequency_hz=FREQUENCY_HZ, layout="5.1", codec="pcm_s24le", language="eng")
    master = make_film(folder / "master.mov", frame_rate=Fraction(30000, 1001), frame_count=107, sound=[tone])
    return submit_small(master, StoreSettings(str(folder / "store")), scheduler, ladder=picture_ladder())


@pytest.fixture(scope="module")
def outcome(published: Published) -> Outcome:
    return published.outcome


def programme_samples(outcome: Outcome) -> int:
    return round(outcome.plan.grid.duration_s * RATE_HZ)


def noise_of(samples: np.ndarray) -> tuple[float, np.ndarray]:
    """Phase of the tone against the master's, in samples, and the residual without the tone."""
    time = np.arange(len(samples)) * 2 * np.pi * FREQUENCY_HZ / RATE_HZ
    basis = np.stack([np.sin(time), np.cos(time)], axis=1)
    steady = slice(RATE_HZ // 4, -RATE_HZ // 4)
    weights, *_ = np.linalg.lstsq(basis[steady], samples[steady], rcond=None)
    late = np.arctan2(-weights[1], weights[0]) / (2 * np.pi * FREQUENCY_HZ / RATE_HZ)
    return float(late), samples - basis @ weights


def test_all_six_kinds_of_sound_are_there(outcome: Outcome) -> None:
    kinds = {(track.rendition.codec.value, track.rendition.layout) for track in outcome.presentation.audio}
    assert kinds == {
        ("aac", "2.0"), ("opus", "2.0"), ("ac3", "2.0"), ("ac3", "5.1"), ("eac3", "2.0"), ("eac3", "5.1")
    }  # fmt: skip
    assert all(track.rendition.language == "en" for track in outcome.presentation.audio)


def test_every_track_lasts_exactly_as_long_as_the_picture(outcome: Outcome) -> None:
    for track in outcome.presentation.audio:
        total = sum(part.duration_ticks for part in track.segments)
        assert total - track.priming_samples == programme_samples(outcome), track.rendition.id
        assert track.priming_samples > 0, track.rendition.id


def test_segment_borders_lie_at_the_codec_frame_nearest_to_the_video(outcome: Outcome) -> None:
    for track in outcome.presentation.audio:
        frame = track.segments[0].duration_ticks // track.segments[0].samples
        for part, start_s in zip(track.segments, outcome.plan.grid.segment_starts_s(), strict=False):
            if part.number > 1:
                assert abs(part.start_ticks - track.priming_samples - start_s * RATE_HZ) <= frame / 2, (
                    track.rendition.id
                )


def test_sound_decodes_to_its_length_in_phase_and_without_clicks(published: Published) -> None:
    outcome = published.outcome
    for track in outcome.presentation.audio:
        data = track_bytes(published.store, outcome.presentation, track)
        check(track, sound(data), programme_samples(outcome))


def check(track: Track[AudioRendition], decoded: np.ndarray, expected: int) -> None:
    name = track.rendition.id
    frame = track.segments[0].duration_ticks // track.segments[0].samples
    assert decoded.shape[0] == track.rendition.channels, name
    assert expected <= decoded.shape[1] <= expected + frame, name
    borders = [part.start_ticks - track.priming_samples for part in track.segments[1:]]
    for channel in range(track.rendition.channels):
        if track.rendition.channels == 6 and channel == LFE:
            continue  # codecs cut it off at 120 Hz
        samples = decoded[channel, :expected]
        late, noise = noise_of(samples)
        assert abs(late) < 0.5, f"{name}: channel {channel} is {late:.2f} samples late"
        window = 480
        loudness = np.array(
            [np.abs(noise[at : at + window]).max() for at in range(RATE_HZ // 4, expected - RATE_HZ // 4, window)]
        )
        at_borders = [
            np.abs(noise[border - window : border + window]).max()
            for border in borders
            if RATE_HZ // 4 < border < expected - RATE_HZ // 4
        ]
        assert at_borders, name
        assert max(at_borders) <= 1.5 * np.percentile(loudness, 99) + 1e-4, f"{name}: a click on channel {channel}"
        assert max(at_borders) < 0.03, f"{name}: noise on channel {channel}"
