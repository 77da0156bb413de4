"""A looped film is a good master: constant rate, with picture and sound in sync."""

from fractions import Fraction
from pathlib import Path

import av
import pytest

from headend.app import deciding
from headend.app.cli.looping import looped
from headend.core.settings import StoreSettings
from tests.support.frame_numbers import read_frame_number
from tests.support.masters import Sound, make_film
from tests.support.playback import luma_of


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(24_000, 1001)])
def test_a_film_is_repeated_frame_by_frame_and_its_sound_with_it(tmp_path: Path, rate: Fraction) -> None:
    # Sound in AAC lasts longer than the picture: it is padded to whole codec frames.
    film = make_film(
        tmp_path / "film.mp4", frame_rate=rate, frame_count=33, size=(160, 90), sound=[Sound()], codec_args=("-bf", "2")
    )

    looped_film = looped(film, 5, tmp_path / "long.mov")

    probe = deciding.inspect(str(looped_film), StoreSettings())
    assert probe.video is not None
    assert (probe.video.frame_count, probe.video.frame_rate, probe.video.constant_rate) == (165, rate, True)
    assert float(probe.audio[0].duration_s) == pytest.approx(165 / rate, abs=0.0002)
    with av.open(str(looped_film)) as container:
        numbers = [read_frame_number(luma_of(frame)) for frame in container.decode(video=0)]
    assert numbers == [*range(33)] * 5
    again = looped(film, 5, tmp_path / "again.mov")
    assert again.read_bytes() == looped_film.read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
