"""Commands of audio tasks, as data and run on short films."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from encoder.sound.command import audio_command
from headend.core.errors import MasterError
from headend.core.media import Codec
from tests.support.commands import GRID, filters_named, graph_of
from tests.support.encodes import encode_sound, probe_film
from tests.support.makers import (
    make_audio_rendition,
    make_audio_track,
    make_master,
)
from tests.support.masters import Sound, make_film
from tests.support.playback import sound


def test_a_programme_is_decoded_once_and_mixed_once_for_each_layout() -> None:
    renditions = [
        make_audio_rendition(),
        make_audio_rendition(codec=Codec.OPUS),
        make_audio_rendition(codec=Codec.AC3, layout="5.1", bit_rate_bps=384_000),
        make_audio_rendition(codec=Codec.EAC3, layout="5.1", bit_rate_bps=384_000),
    ]
    argv = audio_command(make_master(), make_audio_track(channels=6), GRID, Fraction(0), renditions)

    assert argv.count("-i") == 1
    assert len(filters_named(argv, "pan")) == 2
    assert len(filters_named(argv, "aresample")) == 1
    outputs = {word for word in argv if word.startswith("{scratch}/")}
    assert outputs == {f"{{scratch}}/{rendition.id}.mp4" for rendition in renditions}


@pytest.mark.parametrize(
    ("sound_s", "picture_s", "filters"),
    [
        (Fraction(1, 4), Fraction(0), ["adelay=12000S:all=1"]),
        (Fraction(0), Fraction(1, 4), ["atrim=start_sample=12000"]),
        (Fraction(2), Fraction(2), []),
    ],
)
def test_sound_is_put_on_the_pictures_timeline(sound_s: Fraction, picture_s: Fraction, filters: list[str]) -> None:
    argv = audio_command(make_master(), make_audio_track(start_s=sound_s), GRID, picture_s, [make_audio_rendition()])

    shifts = [f"{step.name}={step.args}" for step in graph_of(argv) if step.name == "adelay" or "start" in step.args]
    assert shifts == filters
    assert "end_sample=960000" in [step.args for step in filters_named(argv, "atrim")]


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(MasterError, match="pick the channels to deliver"):
        audio_command(
            make_master(),
            make_audio_track(channels=7, layout="7 channels"),
            GRID,
            Fraction(0),
            [make_audio_rendition()],
        )


@pytest.mark.parametrize("late_ms", [-250, 0, 250])
def test_sound_lasts_as_long_as_the_picture_wherever_it_began(late_ms: int, tmp_path: Path) -> None:
    start_s = Fraction(max(0, late_ms), 1000)
    tone = Sound(codec="pcm_s16le", start_s=start_s)
    film = probe_film(
        make_film(tmp_path / "film.mkv", frame_count=25, sound=[tone], start_s=Fraction(max(0, -late_ms), 1000))
    )

    outputs = encode_sound(film, [make_audio_rendition(id="aac")], tmp_path / "out")["aac"]

    levels = np.abs(sound(outputs)[0, :48_000])
    assert len(levels) == 48_000
    silent_samples = int(np.argmax(levels > 0.02))
    assert silent_samples == pytest.approx(max(0, late_ms) * 48, abs=1100)
