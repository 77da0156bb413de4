"""MPEG-2's clocks of 33 bits wrap around after 26.5 hours, possibly in the middle of a film."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from headend.core.settings import StoreSettings
from tests.support.jobs import picture_ladder, submit_small
from tests.support.masters import Sound, make_film
from tests.support.playback import frame_numbers, sound, track_bytes

WRAP_S = Fraction(1 << 33, 90_000)


def test_a_clock_that_wraps_in_the_middle_costs_no_frame_and_no_sound(tmp_path: Path, scheduler: str) -> None:
    beeps_s = (Fraction(1), Fraction(5))
    film = make_film(
        tmp_path / "film.ts",
        frame_count=150,
        size=(160, 90),
        codec_args=("-g", "25"),
        sound=[Sound(codec="mp2", beeps_s=beeps_s, amplitude=0.5)],
        output_args=("-output_ts_offset", f"{float(WRAP_S) - 3:.3f}", "-muxdelay", "0"),
    )

    published = submit_small(film, StoreSettings(str(tmp_path / "store")), scheduler, ladder=picture_ladder())

    presentation = published.outcome.presentation
    for track in presentation.video:
        step = 1 if len({*frame_numbers(track_bytes(published.store, presentation, track))}) == 150 else 2
        assert frame_numbers(track_bytes(published.store, presentation, track)) == list(range(0, 150, step))
    samples = np.abs(sound(track_bytes(published.store, presentation, presentation.audio[0]))[0])
    loud = np.flatnonzero(samples > 0.1)
    begins = loud[np.diff(loud, prepend=-48_000) > 24_000] / 48_000
    assert begins == pytest.approx([float(at_s) for at_s in beeps_s], abs=0.05)
