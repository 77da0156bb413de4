"""Picture and sound stay together: flashes and beeps at both ends of a film, wherever its sound begins and ends."""

from fractions import Fraction

import numpy as np
import pytest

from headend.media import AudioRendition, Codec, Track
from headend.pipeline import Outcome
from headend.settings import StoreSettings
from tests.support.jobs import Published, submit_small
from tests.support.masters import BEEP_S, Sound, make_film
from tests.support.playback import frames, luma_of, sound, track_bytes

RATE = Fraction(24)
FRAMES = 72
FLASHES = (9, 64)
LATE_S = (Fraction(1, 4), Fraction(-1, 4))
"""How much later than the picture the sound begins, and ends."""


@pytest.fixture(scope="module", params=LATE_S, ids=["sound starts late", "sound starts early"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> Published:
    folder, late_s = tmp_path_factory.mktemp("sync"), request.param
    beeps = Sound(
        frequency_hz=1000,
        codec="pcm_s16le",
        start_s=max(Fraction(0), late_s),
        beeps_s=tuple(frame / RATE - late_s for frame in FLASHES),
    )
    flashing = "+".join(f"eq(n,{frame})" for frame in FLASHES)
    master = make_film(
        folder / "master.mkv",
        frame_rate=RATE,
        frame_count=FRAMES,
        filters=f"drawbox=t=fill:color=white:enable='{flashing}'",
        sound=[beeps],
        start_s=max(Fraction(0), -late_s),
    )
    return submit_small(master, StoreSettings(str(folder / "store")), scheduler)


@pytest.fixture(scope="module")
def flashes_s(published: Published) -> dict[str, list[float]]:
    """When each H.264 rendition flashes."""
    made = published.outcome.presentation
    pictures = [track for track in made.video if track.rendition.codec is Codec.AVC]
    bright = {
        track.rendition.id: [
            number / float(RATE)
            for number, frame in enumerate(frames(track_bytes(published.store, made, track)))
            if luma_of(frame).mean() > 200
        ]
        for track in pictures
    }
    assert len(bright) == 2
    return bright


def beeps_s(published: Published, track: Track[AudioRendition]) -> list[float]:
    """When each beep begins."""
    loud = np.abs(sound(track_bytes(published.store, published.outcome.presentation, track))[0])
    heard = np.flatnonzero(loud > loud.max() / 4)
    begins = np.diff(heard, prepend=-(10**6)) > float(BEEP_S) * 48_000
    return [float(sample) / 48_000 for sample in heard[begins]]


def test_every_beep_falls_on_its_flash_in_every_pairing(
    published: Published, flashes_s: dict[str, list[float]]
) -> None:
    heard = {track.rendition.id: beeps_s(published, track) for track in published.outcome.presentation.audio}
    assert len(heard) == 4
    for picture, flashes in flashes_s.items():
        assert flashes == [frame / float(RATE) for frame in FLASHES], picture
        for programme, beeps in heard.items():
            assert beeps == pytest.approx(flashes, abs=0.25 / float(RATE)), (picture, programme)


def test_what_was_cut_and_filled_is_on_record(published: Published) -> None:
    told = [line for line in published.outcome.plan.decisions if line.startswith("audio 1 ")]
    assert told in (
        [
            "audio 1 starts 0.250 s after the picture → begins with silence",
            "audio 1 ends 0.250 s after the picture → its end is cut",
        ],
        [
            "audio 1 starts 0.250 s before the picture → its beginning is cut",
            "audio 1 ends 0.250 s before the picture → ends with silence",
        ],
    )


def test_sound_lasts_as_long_as_the_picture(published: Published) -> None:
    outcome: Outcome = published.outcome
    for track in outcome.presentation.audio:
        total = sum(part.duration_ticks for part in track.segments) - track.priming_samples
        assert total == round(outcome.plan.grid.duration_s * 48_000), track.rendition.id
