"""Where tasks begin to read, and how many unused frames they decode."""

import re
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder import seeking, tool
from encoder.conforming import Conformed, conform
from headend.core.media import FrameIndex
from headend.core.timing import Chunk, Grid, plan_grid
from packager.segmenting.video import cut_video
from tests.support.encodes import Film, commands_of, probe_film
from tests.support.makers import make_frame_index, make_video_rendition, make_video_track
from tests.support.marks import repeated
from tests.support.masters import make_film
from tests.support.playback import frame_numbers

RATE = Fraction(24)
TINY = make_video_rendition(id="tiny", width_px=160, height_px=90, average_bps=200_000, level="3.0")
SECOND = Fraction(1)


def planned(frame_count: int, keyframe_every: int) -> tuple[Grid, Conformed, tuple[Chunk, ...]]:
    index = make_frame_index(frame_count, keyframe_every=keyframe_every)
    conformed = conform(make_video_track(frames=index, time_base=1 / RATE))
    grid = plan_grid(RATE, frame_count, segment_s=Fraction(6), chunk_s=Fraction(30))
    return grid, conformed, seeking.merged(grid.chunks(), conformed)


def decoded_s(chunks: tuple[Chunk, ...], conformed: Conformed) -> Fraction:
    return sum((seeking.lead_s(conformed, chunk) + chunk.frame_count / RATE for chunk in chunks), Fraction(0))


@pytest.mark.parametrize("keyframe_every", [1, 12, 48, 240, 250, 360])
def test_chunks_of_usual_masters_stay_as_they_are(keyframe_every: int) -> None:
    grid, conformed, chunks = planned(24 * 600, keyframe_every)

    assert chunks == grid.chunks()
    assert seeking.describe(chunks, grid, conformed) == ""


def test_a_film_with_one_keyframe_is_decoded_once_by_each_group() -> None:
    grid, conformed, chunks = planned(24 * 600, 24 * 600)

    assert [(chunk.first_frame, chunk.end_frame) for chunk in chunks] == [(0, grid.frame_count)]
    assert "one keyframe in 14,400 frames → 20 chunks merged to 1" in seeking.describe(chunks, grid, conformed)


def test_keyframes_five_minutes_apart_leave_chunks_that_run_side_by_side() -> None:
    grid, conformed, chunks = planned(24 * 3600, 24 * 300)

    assert len(chunks) == 12
    assert decoded_s(chunks, conformed) == grid.duration_s


@given(frame_count=st.integers(1, 30_000), keyframes=st.sets(st.integers(1, 29_999), max_size=40))
def test_no_master_is_decoded_more_than_one_and_a_half_times(frame_count: int, keyframes: set[int]) -> None:
    numbers = (0, *sorted(number for number in keyframes if number < frame_count))
    index = FrameIndex(tuple(range(frame_count)), numbers, numbers, "container index")
    conformed = conform(make_video_track(frames=index, time_base=1 / RATE))
    grid = plan_grid(RATE, frame_count, segment_s=Fraction(6), chunk_s=Fraction(30))
    chunks = seeking.merged(grid.chunks(), conformed)

    bounds = grid.segment_bounds()
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert (chunks[0].first_frame, chunks[-1].end_frame) == (0, frame_count)
    assert all(before.end_frame == after.first_frame for before, after in pairwise(chunks))
    assert all(bounds[chunk.first_segment - 1] == chunk.first_frame for chunk in chunks)
    assert decoded_s(chunks, conformed) <= grid.duration_s * 3 / 2 + seeking.LEAD_S  # the last chunk may be short


# --- run for real -------------------------------------------------------------------------------------------------


def decoded_frames(film: Film, chunk: Chunk, scratch: Path) -> tuple[int, bytes]:
    """Encode a chunk; returns the number of frames that FFmpeg decoded, and its output."""
    scratch.mkdir(exist_ok=True)
    assert film.probe.video is not None
    argv = commands_of(film).encode(chunk, [TINY])
    places = {"ffmpeg": tool.ffmpeg_path(), "{master}": str(film.path)}
    words = [places.get(word, word).replace("{scratch}", str(scratch)) for word in argv]
    words[words.index("-loglevel") + 1] = "verbose"
    output = subprocess.run(words, capture_output=True, text=True, check=True).stderr
    (count,) = re.findall(r"; (\d+) frames decoded", output)
    return int(count), (scratch / "tiny.mp4").read_bytes()


OPEN_GOP = ("-bf", "3", "-x264-params", "open-gop=1:keyint=50:min-keyint=50:scenecut=0:b-pyramid=normal")
CLOSED_GOP = ("-bf", "3", "-g", "24", "-sc_threshold", "0")
TINY_GOPS = ("-bf", "3", "-x264-params", "open-gop=1:keyint=5:min-keyint=1:scenecut=0:b-adapt=0")
X265 = ("-x265-params", "log-level=none:keyint=50:open-gop=1")
AHEAD_FRAMES = 8
"""Frames read by a decoder when it outputs the last frame."""


@pytest.mark.parametrize(
    ("suffix", "codec", "codec_args", "more_frames"),
    [
        ("mp4", "libx264", OPEN_GOP, 50),
        repeated("mkv", "libx264", OPEN_GOP, 50),
        # A chunk begins at a packet of that time, so a little before the keyframe.
        ("ts", "libx264", OPEN_GOP, 50),
        repeated("ts", "libx265", X265, 50),
        ("mp4", "libx265", X265, 50),
        ("mp4", "libx264", TINY_GOPS, 25),
        # Files without an edit list, and files with their index in fragments.
        ("mp4", "libx264", (*TINY_GOPS, "-use_editlist", "0"), 25),
        ("mp4", "libx264", (*TINY_GOPS, "-movflags", "frag_keyframe"), 25),
        # For a chunk that begins with a closed GOP, reading begins there.
        ("mp4", "libx264", CLOSED_GOP, 0),
        repeated("mov", "libx264", (*CLOSED_GOP, "-use_editlist", "0"), 0),
        ("mp4", "libx265", ("-x265-params", "log-level=none:keyint=24:min-keyint=24:scenecut=0:open-gop=0"), 0),
        repeated("mkv", "libx264", CLOSED_GOP, 0),
        # With intra refresh, pictures are complete only some frames after a marked keyframe.
        ("mp4", "libx264", ("-x264-params", "intra-refresh=1:keyint=24:bframes=0"), 48),
        repeated("mkv", "libx264", ("-x264-params", "intra-refresh=1:keyint=24:bframes=0"), 48),
        repeated("mkv", "libx264", TINY_GOPS, 25),
        ("ts", "libx264", TINY_GOPS, 25),
        # Others go one keyframe further back.
        ("nut", "libx264", OPEN_GOP, 100),
        ("mxf", "mpeg2video", ("-g", "12", "-bf", "2"), 24),
        ("mov", "prores_ks", (), 1),
    ],
)
def test_every_chunk_is_exact_and_decodes_no_further_back_than_a_keyframe(
    suffix: str, codec: str, codec_args: tuple[str, ...], more_frames: int, tmp_path: Path
) -> None:
    pixel_format = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    path = make_film(
        tmp_path / f"film.{suffix}", frame_count=148, size=(160, 90), codec=codec, codec_args=codec_args,
        pixel_format=pixel_format,
    )  # fmt: skip
    film = probe_film(path, chunk_s=SECOND)
    for chunk in film.chunks[2::2]:
        count, output = decoded_frames(film, chunk, tmp_path / "out")
        assert frame_numbers(output) == list(range(chunk.first_frame, chunk.end_frame))
        assert count <= chunk.frame_count + more_frames + AHEAD_FRAMES


@pytest.mark.parametrize("keyframes", ["one", "every 10 s"])
def test_a_whole_film_is_decoded_little_more_than_once(
    keyframes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gop = 1000 if keyframes == "one" else 50
    # A fifth of the usual lengths: chunks of 6 s, keyframes 2 s apart.
    monkeypatch.setattr(seeking, "LEAD_S", seeking.LEAD_S / 5)
    path = make_film(tmp_path / "film.mp4", frame_count=400, size=(160, 90), codec_args=("-g", str(gop)))
    film = probe_film(path, chunk_s=Fraction(6))
    assert film.probe.video is not None
    chunks = seeking.merged(film.chunks, conform(film.probe.video))

    decoded = [decoded_frames(film, chunk, tmp_path / "out") for chunk in chunks]
    cuts = [
        cut_video(memoryview(data), rendition="tiny", grid=film.grid, chunk=chunk, rate_divisor=1)
        for chunk, (_, data) in zip(chunks, decoded, strict=True)
    ]

    assert len(chunks) == (1 if keyframes == "one" else 3)
    assert [number for _, data in decoded for number in frame_numbers(data)] == list(range(400))
    assert sum(count for count, _ in decoded) <= 1.5 * 400
    segments = [segment.number for cut in cuts for segment in cut.track.segments]
    assert segments == list(range(1, film.grid.segment_count + 1))
