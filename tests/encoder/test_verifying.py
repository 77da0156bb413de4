"""A decoded rendition compared with the plan: exactly the differences are reported."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from encoder.picture.colour import light_of
from encoder.verifying import differences
from headend.core.media import (
    AudioRendition,
    Codec,
    Colour,
    ContentLight,
    Light,
    MasteringDisplay,
    Segment,
    VideoRange,
    VideoRendition,
)
from tests.support.encodes import encode_chunk, encode_sound, picture_of, probe_film
from tests.support.makers import BT709, HDR10, make_audio_rendition, make_video_rendition
from tests.support.masters import Sound, make_film

PICTURE = make_video_rendition(width_px=160, height_px=90, frame_rate=Fraction(25))
SOUND = make_audio_rendition(language="fr")
LIGHT = Light(Colour("smpte170m", "smpte170m", "smpte170m", "tv", "left"))
DISPLAY = MasteringDisplay(
    *((Fraction(x, 1000), Fraction(y, 1000)) for x, y in ((680, 320), (265, 690), (150, 60), (313, 329))),
    min_nits=Fraction(1, 200),
    max_nits=Fraction(1000),
)
Encoded = tuple[bytes, bytes]


def segment(samples: int, duration_ticks: int) -> Segment:
    return Segment(1, 0, duration_ticks, samples, size_bytes=0, sha256="")


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    folder = tmp_path_factory.mktemp("encoded")
    film = probe_film(make_film(folder / "film.mov", frame_count=25, sound=[Sound()]))
    picture = encode_chunk(film, film.chunks[0], [PICTURE], folder / "picture")[PICTURE.id]
    return picture, encode_sound(film, [SOUND], folder / "sound")[SOUND.id]


def picture_differences(
    data: bytes, rendition: VideoRendition = PICTURE, light: Light | None = LIGHT, samples: int = 25
) -> str:
    return "; ".join(differences(rendition, light, segment(samples, 25), data))


def sound_differences(data: bytes, rendition: AudioRendition = SOUND, duration_ticks: int = 48_000) -> str:
    return "; ".join(differences(rendition, LIGHT, segment(47, duration_ticks), data))


def test_a_rendition_as_planned_has_no_differences(encoded: Encoded) -> None:
    assert (
        picture_differences(encoded[0])
        == sound_differences(encoded[1])
        == picture_differences(encoded[0], light=None)
        == ""
    )


@pytest.mark.parametrize(
    ("planned", "expected"),
    [
        (replace(PICTURE, width_px=162), "its size is 160x90, not 162x90 as planned"),
        (replace(PICTURE, codec=Codec.VP9), "its codec is h264, not vp9 as planned"),
        (replace(PICTURE, pixel_format="yuv420p10le"), "its pixel format is yuv420p, not yuv420p10le as planned"),
        (replace(PICTURE, frame_rate=Fraction(30)), "its frame rate is 25, not 30 as planned"),
    ],
)
def test_another_picture_is_reported(planned: VideoRendition, expected: str, encoded: Encoded) -> None:
    assert picture_differences(encoded[0], planned) == expected


def test_missing_frames_other_light_and_rubbish_are_reported(encoded: Encoded) -> None:
    assert picture_differences(encoded[0], samples=26) == "its number of decoded frames is 25, not 26 as planned"
    other = picture_differences(encoded[0], light=Light(replace(BT709, range="pc")))
    assert "colour primaries is smpte170m, not bt709" in other and "transfer" in other and "matrix" in other
    assert "range" not in other  # all renditions are limited
    assert "its content light level is None, not" in picture_differences(
        encoded[0],
        replace(PICTURE, video_range=VideoRange.PQ),
        Light(HDR10, DISPLAY, ContentLight(1000, 400)),
    )
    assert "can't be decoded" in picture_differences(encoded[0][:-3000])
    assert "can't be decoded" in picture_differences(b"no film at all")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda r: replace(r, channels=6), "its number of channels is 2, not 6 as planned"),
        (lambda r: replace(r, sample_rate_hz=44_100), "its sample rate is 48000, not 44100 as planned"),
        (lambda r: replace(r, language="de"), "its language is fra, not deu as planned"),
        (lambda r: replace(r, codec=Codec.OPUS), "its codec is aac, not opus as planned"),
    ],
)
def test_other_sound_is_reported(
    change: Callable[[AudioRendition], AudioRendition], expected: str, encoded: Encoded
) -> None:
    assert sound_differences(encoded[1], change(SOUND)) == expected


def test_sound_of_another_length_is_reported(encoded: Encoded) -> None:
    assert "decoded samples" in sound_differences(encoded[1], duration_ticks=96_000)


def test_a_segment_is_not_decoded_if_it_is_stopped_while_it_waits() -> None:
    assert differences(PICTURE, LIGHT, segment(25, 25), b"not a segment") != ()
    assert differences(PICTURE, LIGHT, segment(25, 25), b"not a segment", is_stopped=lambda: True) == ()


def test_an_sdr_film_with_hdr_metadata_becomes_plain_sdr(tmp_path: Path) -> None:
    parameters = (
        "colorprim=bt709:transfer=bt709:colormatrix=bt709:log-level=error:max-cll=500,200:"
        "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    )
    master = make_film(
        tmp_path / "master.mov", frame_count=25, codec="libx265", codec_args=("-x265-params", parameters)
    )
    film = probe_film(master)
    assert film.probe.video is not None and film.probe.video.content_light is not None
    renditions = [PICTURE, replace(PICTURE, id="hevc", codec=Codec.HEVC, profile="main", level="2.0")]
    outputs = encode_chunk(film, film.chunks[0], renditions, tmp_path / "made")
    for rendition in renditions:
        assert picture_differences(outputs[rendition.id], rendition, picture_of(film.probe.video).light) == ""


def test_hdr_renditions_keep_the_masters_light_and_others_are_of_the_usual_screen() -> None:
    master = Light(replace(HDR10, range="pc"), DISPLAY, ContentLight(1000, 400))
    assert light_of(VideoRange.PQ, master) == replace(master, colour=replace(HDR10, range="tv"))
    assert light_of(VideoRange.SDR, master) == Light(BT709)
    assert light_of(VideoRange.SDR, LIGHT) == LIGHT
