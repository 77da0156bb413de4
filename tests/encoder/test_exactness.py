"""FFmpeg computes times and counts exactly, however long the title is."""

from fractions import Fraction

import pytest

from headend.core.codecs import AUDIO
from headend.core.media import AudioRendition, Codec
from headend.core.timing import Grid
from packager.segmenting.sound import cut_audio
from tests.support.encodes import encode_sound, probe_film
from tests.support.makers import make_audio_rendition
from tests.support.masters import Sound, make_film

FRAME_SAMPLES = {codec.codec: codec.frame_samples for codec in AUDIO}
EVERY_CODEC = tuple(
    make_audio_rendition(id=codec.value, codec=codec) for codec in (Codec.AAC, Codec.OPUS, Codec.AC3, Codec.EAC3)
)


@pytest.fixture(scope="module")
def longer_than_a_minute(tmp_path_factory: pytest.TempPathFactory) -> tuple[Grid, dict[str, bytes]]:
    """A film's grid, and its sound in every codec."""
    folder = tmp_path_factory.mktemp("minute")
    tone = Sound(codec="pcm_s16le", layout="mono")
    film = probe_film(
        make_film(folder / "film.mov", frame_rate=Fraction(5), frame_count=5 * 70, size=(320, 180), sound=[tone]),
        segment_s=Fraction(2),
    )
    return film.grid, encode_sound(film, EVERY_CODEC, folder / "out")


@pytest.mark.parametrize("rendition", EVERY_CODEC, ids=lambda rendition: rendition.id)
def test_every_codec_frame_of_more_than_a_minute_has_its_full_length(
    rendition: AudioRendition, longer_than_a_minute: tuple[Grid, dict[str, bytes]]
) -> None:
    grid, packaged = longer_than_a_minute
    cut = cut_audio(
        memoryview(packaged[rendition.id]),
        rendition=rendition.id,
        grid=grid,
        sample_rate_hz=rendition.sample_rate_hz,
        frame_samples=FRAME_SAMPLES[rendition.codec],
    )
    total = sum(part.duration_ticks for part in cut.track.segments)
    assert total - cut.track.priming_samples == 70 * 48_000
