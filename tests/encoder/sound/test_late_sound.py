"""Sound that begins late in a file, and streams without any packets."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from encoder.programmes import choose, describe
from tests.support.encodes import encode_sound, probe_film
from tests.support.makers import make_audio_rendition
from tests.support.masters import Sound, make_film, run_ffmpeg
from tests.support.playback import sound

FILM_S = 8
BEEPS_S = (Fraction(6), Fraction(7))


def make_late(path: Path, codec: str, late_s: Fraction) -> Path:
    """Make a transport stream larger than FFmpeg's limit for probing streams."""
    picture = make_film(
        path.with_name("picture.ts"), frame_count=25 * FILM_S, size=(320, 180), codec="mpeg2video",
        codec_args=("-g", "12", "-b:v", "8M", "-minrate", "8M", "-maxrate", "8M", "-bufsize", "2M"), noise=40,
    )  # fmt: skip
    beeps = Sound(frequency_hz=1000, codec=codec, beeps_s=tuple(at - late_s for at in BEEPS_S))
    sound_film = make_film(path.with_name("sound.mov"), frame_count=25 * FILM_S, size=(32, 32), sound=[beeps])
    run_ffmpeg(
        "-i", str(picture), "-itsoffset", str(float(late_s)), "-i", str(sound_film), "-map", "0:v", "-map", "1:a",
        "-c", "copy", "-muxdelay", "0", "-muxpreload", "0", "-t", str(FILM_S), str(path),
    )  # fmt: skip
    return path


@pytest.mark.parametrize("codec", ["ac3", "mp2", "aac"])
def test_sound_whose_first_packet_follows_seven_megabytes_of_picture_keeps_its_time(codec: str, tmp_path: Path) -> None:
    film = probe_film(make_late(tmp_path / "late.ts", codec, Fraction(11, 2)))
    (track,) = film.probe.audio
    assert (track.channels, track.layout, track.sample_rate_hz) == (2, "stereo", 48_000)
    assert film.probe.video is not None
    assert float(track.start_s - film.probe.video.start_s) == pytest.approx(5.5, abs=0.1)
    (programme,) = choose(film.probe.audio)
    lines = list(describe([programme], film.probe.audio, start_s=film.probe.video.start_s, duration_s=Fraction(FILM_S)))
    assert any("after the picture → begins with silence" in line for line in lines)
    loud = np.abs(
        sound(encode_sound(film, [make_audio_rendition(id="aac")], tmp_path / "out", track=programme)["aac"])[0]
    )
    loud_samples = np.flatnonzero(loud > loud.max() / 4)
    begins = loud_samples[np.diff(loud_samples, prepend=-48_000) > 4800] / 48_000
    assert begins == pytest.approx([float(at) for at in BEEPS_S], abs=0.01)


def test_an_empty_stream_is_left_out_and_reported(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.ts", sound=[Sound(codec="ac3")], size=(160, 90))
    dead = tmp_path / "dead.ts"
    run_ffmpeg(
        "-i", str(film), "-map", "0:v", "-map", "0:a", "-map", "0:a", "-c", "copy",
        "-bsf:a:1", r"noise=drop=gte(pts\,-999999999)", str(dead),
    )  # fmt: skip
    found = probe_film(dead)
    assert [(track.index, track.channels) for track in found.probe.audio] == [(1, 2), (2, 0)]
    programmes = choose(found.probe.audio)
    assert [programme.index for programme in programmes] == [1]
    lines = describe(programmes, found.probe.audio, start_s=Fraction(0), duration_s=Fraction(2))
    assert "audio 2 (ac3) never carries any sound → left out" in list(lines)
