"""Cutting, rotating and tagging a chunk's frames: graphs as data, and short films."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from headend.core.media import FrameIndex
from headend.core.timing import Chunk
from tests.support.commands import GRID, RATE, command, filters_named, long_track, mean_luma
from tests.support.encodes import encode_chunk, probe_film
from tests.support.makers import (
    BT709,
    make_frame_index,
    make_video_rendition,
    make_video_track,
)
from tests.support.masters import make_film
from tests.support.playback import frame_numbers, frames

SMALL = make_video_rendition(id="avc-180p", width_px=320, height_px=180, average_bps=400_000, level="3.0")


def trim_of(argv: Sequence[str]) -> dict[str, str]:
    """Return the arguments of a command's trim filter; empty if there is none."""
    return dict(pair.split("=") for step in filters_named(argv, "trim") for pair in step.args.split(":"))


@pytest.mark.parametrize("chunk", GRID.chunks(), ids=lambda chunk: f"chunk {chunk.number}")
def test_the_cut_lies_half_way_between_frames(chunk: Chunk) -> None:
    track = long_track()
    pts = track.frames.pts_ticks
    args = trim_of(command(chunk=chunk))

    assert ("start_pts" in args) == (chunk.first_frame > 0)
    assert ("end_pts" in args) == (chunk.end_frame < len(pts))
    if chunk.first_frame:
        assert abs(int(args["start_pts"]) - Fraction(pts[chunk.first_frame - 1] + pts[chunk.first_frame], 2)) <= 1
    if chunk.end_frame < len(pts):
        assert abs(int(args["end_pts"]) - Fraction(pts[chunk.end_frame - 1] + pts[chunk.end_frame], 2)) <= 1


@pytest.mark.parametrize("frame_ticks", [1, 2, 3, 512])
def test_the_cut_keeps_exactly_the_chunks_frames_however_coarse_the_ticks_are(frame_ticks: int) -> None:
    index = make_frame_index(480, frame_ticks=frame_ticks, start_ticks=-7, keyframe_every=40)
    track = make_video_track(frames=index, time_base=1 / RATE / frame_ticks)
    for chunk in GRID.chunks():
        args = trim_of(command(track=track, chunk=chunk))
        first, end = int(args.get("start_pts", -(10**9))), int(args.get("end_pts", 10**9))
        kept = [number for number, pts in enumerate(index.pts_ticks) if first <= pts < end]
        assert kept == list(range(chunk.first_frame, chunk.end_frame))


def test_a_master_of_many_frame_times_is_cut_at_the_right_ones() -> None:
    uneven = tuple(round(number * Fraction(1001, 24)) for number in range(480))  # milliseconds, as Matroska rounds them
    track = long_track(
        frames=FrameIndex(uneven, (0, 240), (0, uneven[240]), "packets"), time_base=Fraction(1, 1000), colour=BT709
    )
    chunk = GRID.chunks()[1]
    args = trim_of(command(track=track, chunk=chunk))

    kept = [n for n, pts in enumerate(uneven) if int(args["start_pts"]) <= pts < int(args["end_pts"])]
    assert kept == list(range(chunk.first_frame, chunk.end_frame))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_rotated_master_comes_out_upright(degrees: int, tmp_path: Path) -> None:
    turns = {90: "transpose=cclock", 180: "transpose=clock,transpose=clock", 270: "transpose=clock"}
    stored = make_film(tmp_path / "stored.mp4", frame_count=4, filters=turns[degrees])
    film = probe_film(stored)
    assert film.probe.video is not None
    film = replace(film, probe=replace(film.probe, video=replace(film.probe.video, rotation_deg=degrees)))

    outputs = encode_chunk(film, film.chunks[0], (SMALL,), tmp_path / "out")

    assert frame_numbers(outputs["avc-180p"]) == [0, 1, 2, 3]


def test_a_full_range_master_becomes_limited_range(tmp_path: Path) -> None:
    pictures = make_film(
        tmp_path / "full.mp4",
        frame_count=4,
        filters="geq=lum=255:cb=128:cr=128,setparams=range=pc",
        pixel_format="yuv420p",
        codec_args=("-color_range", "pc", "-qp", "0"),
    )
    film = probe_film(pictures)
    assert film.probe.video is not None
    assert film.probe.video.colour.range == "pc"

    outputs = encode_chunk(film, film.chunks[0], (SMALL,), tmp_path / "out")["avc-180p"]

    assert {int(frame.color_range) for frame in frames(outputs)} == {1}  # AVCOL_RANGE_MPEG
    assert mean_luma(outputs) == pytest.approx(235, abs=1)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "args", "suffix"),
    [
        ("libx264rgb", "rgb24", ("-qp", "0"), "mkv"),
        ("ffv1", "gbrp", (), "mkv"),
        ("qtrle", "argb", (), "mov"),
        ("libx264", "yuv444p", ("-qp", "0"), "mp4"),
        ("prores_ks", "yuv422p10le", (), "mov"),
    ],
)
def test_masters_of_other_pixel_formats_keep_their_colours(
    codec: str, pixel_format: str, args: tuple[str, ...], suffix: str, tmp_path: Path
) -> None:
    # Saturated green in BT.709: luma 173, Cb 42, Cr 26 (ITU-R BT.709-6, table 3).
    green = "geq=lum=173:cb=42:cr=26,setparams=colorspace=bt709:range=tv"
    if pixel_format in ("rgb24", "gbrp", "argb"):
        green = "format=gbrp,geq=r=0:g=255:b=0"
    film = probe_film(
        make_film(
            tmp_path / f"film.{suffix}",
            size=(1280, 720),
            frame_count=3,
            filters=green,
            codec=codec,
            codec_args=args,
            pixel_format=pixel_format,
        )
    )

    outputs = encode_chunk(film, film.chunks[0], (SMALL,), tmp_path / "out")["avc-180p"]

    shown = next(iter(frames(outputs)))
    planes = shown.to_ndarray()
    assert planes[:180].mean() == pytest.approx(173, abs=2)
    assert planes[180:225].mean() == pytest.approx(42, abs=3)
    assert planes[225:].mean() == pytest.approx(26, abs=3)
