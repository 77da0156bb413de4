"""Thumbnails and trick play: their layout, and what they really show."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoder import tool
from encoder.command import SideOutputs
from encoder.encoding import sheet
from encoder.trick_play import (
    MAX_SIDE_PX,
    MAX_THUMBNAILS,
    MAX_TILES,
    TRICK_CODECS,
    choose_thumbnails,
    trick_renditions,
)
from headend.core.media import Codec, Thumbnails, VideoRange
from headend.core.process import run
from headend.core.timing import Grid, ceil_div, plan_grid
from packager.segmenting.video import cut_video
from tests.support.encodes import Film, carry_out, commands_of, probe_film, task_of
from tests.support.frame_numbers import read_frame_number
from tests.support.makers import make_video_rendition
from tests.support.masters import make_film
from tests.support.playback import frame_numbers

FILM_RATE = Fraction(24000, 1001)
WIDE = make_video_rendition()


def grid_of(minutes: Fraction | int, *, chunk_s: int = 30, rate: Fraction = FILM_RATE) -> Grid:
    return plan_grid(rate, round(minutes * 60 * rate), segment_s=Fraction(6), chunk_s=Fraction(chunk_s))


@pytest.mark.parametrize(
    ("minutes", "interval_gops", "shape"),
    [
        (Fraction(1, 60), 1, (1, 1)),
        (Fraction(5, 60), 1, (1, 3)),
        (1, 1, (3, 5)),
        (40, 1, (3, 5)),
        (45, 3, (1, 5)),
        (119, 3, (1, 5)),
        (180, 5, (1, 3)),
        (1000, 15, (1, 1)),
    ],
)
def test_long_titles_have_their_thumbnails_further_apart(
    minutes: Fraction | int, interval_gops: int, shape: tuple[int, int]
) -> None:
    grid = grid_of(minutes)
    tiling = choose_thumbnails(WIDE, grid)
    assert (tiling.interval_frames, (tiling.columns, tiling.rows)) == (
        interval_gops * grid.gop_frames,
        shape,
    )


@pytest.mark.parametrize("chunk_s", [6, 12, 30, 42, 66, 180, 600])
@pytest.mark.parametrize("minutes", [Fraction(1, 3), 3, 61, 150])
@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (1440, 1080), (1920, 804), (160, 90)])
def test_sheets_are_no_larger_than_devices_take_and_chunks_begin_with_one(
    chunk_s: int, minutes: Fraction | int, size: tuple[int, int]
) -> None:
    grid = grid_of(minutes, chunk_s=chunk_s)
    tiling = choose_thumbnails(make_video_rendition(width_px=size[0], height_px=size[1]), grid)
    assert max(tiling.columns * tiling.tile_width_px, tiling.rows * tiling.tile_height_px) <= MAX_SIDE_PX
    assert tiling.sheet_tiles <= MAX_TILES
    # In chunks this short, no larger distance fits.
    thumbnails = ceil_div(grid.frame_count, tiling.interval_frames)
    assert thumbnails <= MAX_THUMBNAILS or tiling.interval_frames == grid.chunk_frames
    assert all(chunk.first_frame % tiling.sheet_frames == 0 for chunk in grid.chunks())
    sheets = [number for chunk in grid.chunks() for number in tiling.sheet_numbers(chunk.first_frame, chunk.end_frame)]
    assert sheets == list(range(1, ceil_div(grid.frame_count, tiling.sheet_frames) + 1))
    assert (
        abs(tiling.tile_width_px / tiling.tile_height_px - size[0] / size[1])
        < 2 / tiling.tile_height_px * size[0] / size[1]
    )


def test_trick_play_resembles_a_small_rendition_of_each_codec_and_needs_few_bits() -> None:
    grid = grid_of(1)
    small = make_video_rendition(id="small", width_px=640, height_px=360, average_bps=365_000)
    tiny = make_video_rendition(id="tiny", width_px=416, height_px=234, average_bps=145_000)
    hdr = make_video_rendition(id="hdr", codec=Codec.HEVC, video_range=VideoRange.PQ)
    vp9 = replace(small, codec=Codec.VP9, id="vp9")
    trick, other = trick_renditions([WIDE, vp9, small, tiny, hdr], grid)
    assert (other.id, other.codec) == ("vp9-360p-trick", Codec.VP9)
    assert (trick.id, trick.width_px, trick.rate_divisor) == ("avc-360p-trick", 640, 48)
    assert trick.frame_rate == Fraction(500, 1001)
    assert trick.cap_bps <= 200_000
    assert trick_renditions([WIDE], grid)[0].height_px == 1080
    assert trick_renditions([hdr], grid) == ()
    better = replace(small, id="better", average_bps=600_000, crf=20.0)
    assert trick_renditions([better, small], grid)[0].crf == 26.0
    assert trick_renditions([replace(vp9, crf=60.0)], grid)[0].crf == 63.0


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """77 frames: a chunk of two GOPs of 24, and one whose second GOP has 5."""
    path = make_film(tmp_path_factory.mktemp("film") / "film.mp4", frame_rate=Fraction(24), frame_count=77)
    return probe_film(path, segment_s=Fraction(1), chunk_s=Fraction(2))


def tiles_of(path: Path, tiling: Thumbnails) -> list[np.ndarray]:
    luma = np.asarray(Image.open(path).convert("L"))
    assert luma.shape == (
        tiling.rows * tiling.tile_height_px,
        tiling.columns * tiling.tile_width_px,
    )
    rows = [luma[row * tiling.tile_height_px :][: tiling.tile_height_px] for row in range(tiling.rows)]
    return [
        row[:, column * tiling.tile_width_px :][:, : tiling.tile_width_px]
        for row in rows
        for column in range(tiling.columns)
    ]


@pytest.mark.parametrize("codec", TRICK_CODECS)
def test_each_tile_and_each_trick_picture_is_the_frame_of_its_time(codec: Codec, film: Film, tmp_path: Path) -> None:
    assert film.probe.video is not None
    main = make_video_rendition(
        id="main", codec=codec, width_px=160, height_px=90, level="2.0", frame_rate=Fraction(24)
    )
    (trick,) = trick_renditions([main], film.grid)
    tiling = choose_thumbnails(main, film.grid)
    assert (tiling.columns, tiling.rows) == (1, 2)
    whole = b""
    tiles: list[int | None] = []
    for chunk in film.chunks:
        scratch = tmp_path / str(chunk.number)
        argv = commands_of(film).encode(chunk, [main, trick], SideOutputs(tiling))
        outputs = carry_out(task_of(argv, [main.id, trick.id], chunk), film.path, scratch)
        cut = cut_video(
            memoryview(bytearray(outputs[trick.id])),
            rendition=trick.id,
            grid=film.grid,
            chunk=chunk,
            rate_divisor=trick.rate_divisor,
        )
        whole += (cut.init if not whole else b"") + b"".join(bytes(body) for body in cut.bodies)
        tiles += [read_frame_number(tile) for tile in tiles_of(sheet(scratch, 1), tiling)]
        assert not sheet(scratch, 2).exists()
    assert tiles == [0, 24, 48, 72]
    assert frame_numbers(whole) == [0, 24, 48, 72]
    # The last one is shown to the end of the title, and no longer.
    assert [part.duration_ticks for part in cut.track.segments] == [29 * 1000]


def test_unused_tiles_of_a_sheet_are_black(film: Film, tmp_path: Path) -> None:
    assert film.probe.video is not None
    tiling = replace(choose_thumbnails(WIDE, film.grid), tile_width_px=160, tile_height_px=90, rows=3)
    main = make_video_rendition(id="main", width_px=160, height_px=90, level="1.1", frame_rate=Fraction(24))
    argv = commands_of(film).encode(film.chunks[-1], [main], SideOutputs(tiling))
    carry_out(task_of(argv, ["main"], film.chunks[-1]), film.path, tmp_path)
    *seen, rest = tiles_of(sheet(tmp_path, 1), tiling)
    assert [read_frame_number(tile) for tile in seen] == [48, 72]
    assert rest[4:].max() < 8


def test_a_task_reports_progress_before_its_first_sheet_is_complete(film: Film, tmp_path: Path) -> None:
    main = make_video_rendition(id="main", width_px=160, height_px=90, level="1.1", frame_rate=Fraction(24))
    tiling, chunk = replace(choose_thumbnails(main, film.grid), rows=3), film.chunks[0]
    argv = commands_of(film).encode(chunk, [main], SideOutputs(tiling))
    places = {"ffmpeg": tool.ffmpeg_path(), "{master}": str(film.path)}
    words = [places.get(word, word).replace("{scratch}", str(tmp_path)) for word in argv]
    # Its duration is that of its display: two seconds.
    words.insert(words.index("-i"), "-re")
    words[words.index("-stats_period") + 1] = "0.1"
    lines: list[str] = []

    run(words, on_line=lines.append)

    assert lines.count("progress=continue") >= 5
    assert sheet(tmp_path, 1).exists()
