"""Complete commands of video tasks: one decode, and the options of each output."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from headend.core.media import (
    Codec,
    VideoRange,
)
from packager.fragments import read_fragments
from tests.support.commands import LADDER, command, filters_named, graph_of, hdr_track, options_of
from tests.support.encodes import encode_chunk, probe_film
from tests.support.makers import make_video_rendition
from tests.support.masters import make_film
from tests.support.playback import frame_numbers, frames

AS_PQ = "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv"
SMALL = make_video_rendition(id="avc-180p", width_px=320, height_px=180, average_bps=400_000, level="3.0")


def test_a_group_is_decoded_once() -> None:
    argv = command()

    assert argv.count("-i") == 1
    assert sum(word == "{master}" for word in argv) == 1
    assert len(filters_named(argv, "trim")) == len(filters_named(argv, "setparams")) == 1


def test_every_rendition_has_one_output_in_order() -> None:
    argv = command()

    outputs = [word for word in argv if word.startswith("{scratch}/")]
    assert outputs == [f"{{scratch}}/{rendition.id}.mp4" for rendition in LADDER]


def test_every_label_is_made_once_and_used_once() -> None:
    argv = command()
    steps = graph_of(argv)
    labels = [label for step in steps for label in step.outputs]
    used = [label for step in steps for label in step.inputs] + [
        argv[at + 1][1:-1] for at, word in enumerate(argv) if word == "-map"
    ]

    assert len(labels) == len(set(labels))
    assert sorted([*labels, "0:0"]) == sorted(used)


def test_no_tool_may_repeat_drop_or_turn_frames_by_itself() -> None:
    argv = command()

    assert "-noautorotate" in argv
    for rendition in LADDER:
        assert options_of(argv, rendition.id)["-fps_mode"] == "passthrough"


def test_hdr_renditions_state_the_mastering_display_and_sdr_ones_do_not() -> None:
    hevc = make_video_rendition(codec=Codec.HEVC, video_range=VideoRange.PQ)
    av1 = make_video_rendition(codec=Codec.AV1, video_range=VideoRange.PQ)
    sdr = make_video_rendition(codec=Codec.HEVC)
    argv = command((hevc, av1, sdr), track=hdr_track())

    x265 = options_of(argv, hevc.id)["-x265-params"]
    assert "hdr10=1" in x265
    assert "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)" in x265
    assert "max-cll=1000,400" in x265
    svt = options_of(argv, av1.id)["-svtav1-params"]
    assert "mastering-display=G(0.26500,0.69000)B(0.15000,0.06000)R(0.68000,0.32000)" in svt
    assert "L(1000.0000,0.0050)" in svt
    assert "content-light=1000,400" in svt
    assert not re.search("hdr10|master-display|max-cll", options_of(argv, sdr.id)["-x265-params"])


def test_the_masters_metadata_does_not_reach_renditions() -> None:
    argv = command()
    for rendition in LADDER:
        options = options_of(argv, rendition.id)
        assert (options["-map_metadata"], options["-map_chapters"]) == ("-1", "-1")


def test_chunks_hold_their_frames_and_halved_renditions_every_second(tmp_path: Path) -> None:
    film = probe_film(
        make_film(tmp_path / "film.mkv", frame_rate=Fraction(50), frame_count=118, codec_args=("-g", "33", "-bf", "3"))
    )
    half = replace(SMALL, id="half", width_px=160, height_px=90, frame_rate=Fraction(25), rate_divisor=2)
    assert [chunk.frame_count for chunk in film.chunks] == [50, 68]
    for chunk in film.chunks:
        outputs = encode_chunk(film, chunk, (SMALL, half), tmp_path / str(chunk.number))
        assert frame_numbers(outputs["avc-180p"]) == list(range(chunk.first_frame, chunk.end_frame))
        assert frame_numbers(outputs["half"]) == list(range(chunk.first_frame, chunk.end_frame, 2))
        assert next(len(fragment.samples) for fragment in read_fragments(outputs["avc-180p"])) == film.grid.gop_frames


def test_hdr_renditions_keep_the_masters_colour(tmp_path: Path) -> None:
    film = probe_film(
        make_film(tmp_path / "pq.mkv", frame_count=3, filters=AS_PQ, codec="ffv1", pixel_format="yuv420p10le")
    )
    hevc = make_video_rendition(
        id="hevc", codec=Codec.HEVC, width_px=320, height_px=180, video_range=VideoRange.PQ, level="3.0"
    )

    outputs = encode_chunk(film, film.chunks[0], (hevc,), tmp_path / "out")["hevc"]

    # ITU-T H.273: 9 is BT.2020, 16 is PQ, 9 is BT.2020 non-constant luminance.
    assert {(int(f.color_primaries), int(f.color_trc), int(f.colorspace)) for f in frames(outputs)} == {(9, 16, 9)}
    assert frame_numbers(outputs) == [0, 1, 2]
