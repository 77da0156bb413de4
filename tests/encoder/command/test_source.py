"""How commands open a master and seek in it."""

from fractions import Fraction

import pytest

from encoder.sound.command import audio_command
from tests.support.commands import GRID, command, input_options_of, long_track
from tests.support.makers import (
    make_audio_rendition,
    make_audio_track,
    make_frame_index,
    make_master,
)


@pytest.mark.parametrize("keyframe_every", [1, 7, 40, 96, 480])
def test_reading_starts_at_a_keyframe_that_is_early_enough_and_not_earlier_than_needed(keyframe_every: int) -> None:
    index = make_frame_index(480, frame_ticks=512, start_ticks=1000, keyframe_every=keyframe_every)
    track = long_track(frames=index)
    for chunk in GRID.chunks():
        options = input_options_of(command(track=track, chunk=chunk))
        needed = max([k for k in index.keyframes if k <= chunk.first_frame], default=0)
        if needed == 0:
            assert "-ss" not in options
            continue
        start_s = Fraction(options["-ss"])
        late_s = start_s - index.pts_ticks[needed] * track.time_base
        assert 0 <= late_s < Fraction(1, 1_000_000)
        assert start_s < index.pts_ticks[chunk.first_frame] * track.time_base + Fraction(1, 1_000_000)
        assert options["-seek_timestamp"] == "1"
        assert "-noaccurate_seek" in options


def test_intra_coded_masters_are_read_from_the_chunks_own_frame() -> None:
    index = make_frame_index(480, frame_ticks=512, keyframe_every=1, origin="container index")
    options = input_options_of(command(track=long_track(frames=index, intra_only=True), chunk=GRID.chunks()[1]))

    assert Fraction(options["-ss"]) == 4


def test_no_command_contains_the_masters_location() -> None:
    here, there = command(url="/masters/secret-film.mov"), command(url="s3://vault/secret-film.mov")
    audio = audio_command(
        make_master("s3://vault/secret-film.mov"), make_audio_track(), GRID, Fraction(0), [make_audio_rendition()]
    )

    assert not [word for word in (*here, *there, *audio) if "secret" in word or "vault" in word or "masters" in word]


def test_a_local_master_may_open_files_only() -> None:
    assert input_options_of(command())["-protocol_whitelist"] == "file"


def test_a_master_in_s3_may_open_http_only_and_is_reconnected() -> None:
    options = input_options_of(command(url="s3://vault/film.mov"))

    assert set(options["-protocol_whitelist"].split(",")) == {"http", "https", "tcp", "tls"}
    assert options["-reconnect"] == "1"
    assert options["-reconnect_on_network_error"] == "1"


def test_a_master_may_only_be_a_container_of_media() -> None:
    for url in ("/masters/film.mov", "s3://vault/film.mov"):
        formats = input_options_of(command(url=url))["-format_whitelist"].split(",")
        assert "mov" in formats
        assert not {"hls", "dash", "concat", "image2", "lavfi", "tee"} & set(formats)
