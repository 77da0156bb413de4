"""Scores of several renditions at once, on a given screen, comparing frames of the same time."""

from fractions import Fraction
from math import gcd
from pathlib import Path
from statistics import mean

import pytest

from encoder import measuring
from encoder.measuring import Measured, Picture, Shown, file_picture, measure, spacing
from headend.core.errors import Cancelled, ConfigError, ToolFailed
from headend.core.media.quality import HD, HD_HIGH_RATE, UHD, UHD_HIGH_RATE, Viewing, viewing_of
from tests.support.masters import make_film, run_ffmpeg

SMALL = Viewing("small", HD.model, 640, 360)
"""A small screen, which costs a ninth."""
SIZE = (320, 180)
FRAMES = 12


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measuring")
    return make_film(folder / "film.mp4", frame_rate=Fraction(24), frame_count=FRAMES, size=SIZE)


def made_worse(film: Path, path: Path, *filters: str, crf: int = 40) -> Path:
    run_ffmpeg("-i", str(film), *(("-vf", ",".join(filters)) if filters else ()), "-crf", str(crf), str(path))
    return path


def shown(path: Path) -> Shown:
    return Shown(file_picture(path), *SIZE)


@pytest.mark.parametrize(
    ("width_px", "height_px", "rate", "expected"),
    [
        (1280, 720, 25, HD), (1920, 1080, 24, HD), (1080, 1920, 30, HD), (1920, 1080, 50, HD_HIGH_RATE),
        (2560, 1440, 25, HD), (3840, 1608, 24, UHD), (3840, 2160, 60, UHD_HIGH_RATE), (2160, 3840, 25, UHD),
    ],
)  # fmt: skip
def test_the_screen_follows_from_the_master(width_px: int, height_px: int, rate: int, expected: Viewing) -> None:
    assert viewing_of(width_px, height_px, Fraction(rate)) == expected


@pytest.mark.parametrize(("gop_frames", "expected"), [(50, 3), (48, 5), (60, 7), (30, 7), (25, 3), (210, 11), (1, 3)])
def test_measured_frames_fall_on_all_positions_in_a_gop(gop_frames: int, expected: int) -> None:
    assert spacing(gop_frames) == expected
    assert gcd(expected, gop_frames) == 1


def test_renditions_are_scored_together_as_they_are_alone(film: Path, tmp_path: Path) -> None:
    coarse = made_worse(film, tmp_path / "coarse.mp4")
    coarser = made_worse(film, tmp_path / "coarser.mp4", "scale=160:90", crf=45)
    progress: list[int] = []

    together = measure(
        file_picture(film), [shown(film), shown(coarse), shown(coarser)], SMALL, FRAMES, on_frames=progress.append
    )

    same, worse, worst = (mean(scores) for scores in together.scores)
    assert same > 95 > worse > worst
    assert together.frames == tuple(range(FRAMES))
    assert together.cpu_s > 0
    alone: Measured = measure(file_picture(film), [shown(coarse)], SMALL, FRAMES)
    assert alone.scores[0] == together.scores[1]


def test_the_model_still_sees_skipped_frames(film: Path, tmp_path: Path) -> None:
    coarse = made_worse(film, tmp_path / "coarse.mp4")

    every = measure(file_picture(film), [shown(coarse)], SMALL, FRAMES)
    fifth = measure(file_picture(film), [shown(coarse)], SMALL, FRAMES, every=5)

    assert fifth.frames == (0, 5, 10)
    # Motion is relative to the previous frame, not to the last measured one.
    assert fifth.scores[0] == pytest.approx([every.scores[0][n] for n in fifth.frames], abs=0.01)


def test_files_are_scored_in_the_given_order(film: Path, tmp_path: Path) -> None:
    parts = [
        made_worse(film, tmp_path / f"{number}.mkv", f"trim={cut},setpts=PTS-STARTPTS", crf=5)
        for number, cut in enumerate(("end_frame=5", "start_frame=5"))
    ]

    in_order, swapped = (
        mean(measure(file_picture(film), [Shown(file_picture(*order), *SIZE)], SMALL, FRAMES).scores[0])
        for order in (parts, parts[::-1])
    )

    assert in_order > 90
    assert swapped < in_order - 5


def test_the_masters_picture_is_rotated_as_its_filters_say(film: Path) -> None:
    turned = Picture(file_picture(film).parts, "hflip")

    assert mean(measure(turned, [shown(film)], SMALL, FRAMES).scores[0]) < 80
    assert mean(measure(turned, [Shown(turned, *SIZE)], SMALL, FRAMES).scores[0]) > 95


def test_a_rendition_that_is_too_short_can_not_be_scored(film: Path, tmp_path: Path) -> None:
    short = make_film(tmp_path / "short.mp4", frame_rate=Fraction(24), frame_count=FRAMES - 2, size=SIZE)

    with pytest.raises(ToolFailed, match="10 frames instead of 12"):
        measure(file_picture(film), [shown(short)], SMALL, FRAMES)


def test_a_model_that_is_missing_is_named(film: Path) -> None:
    with pytest.raises(ConfigError, match="no VMAF model vmaf_v9"):
        measure(file_picture(film), [shown(film)], Viewing("new", "vmaf_v9", 640, 360), FRAMES)


def test_measuring_can_be_cancelled(film: Path) -> None:
    with pytest.raises(Cancelled):
        measure(file_picture(film), [shown(film)], SMALL, FRAMES, cancelled=lambda: True)


def test_no_more_renditions_than_memory_allows(film: Path) -> None:
    with pytest.raises(ValueError, match="9 renditions"):
        measure(file_picture(film), [shown(film)] * (measuring.MAX_RENDITIONS + 1), SMALL, FRAMES)


def test_small_pictures_of_the_measured_frames_are_made_too(film: Path, tmp_path: Path) -> None:
    grey = made_worse(film, tmp_path / "grey.mp4", "drawbox=c=gray:t=fill:enable='gte(n,5)'", crf=20)

    measured = measure(file_picture(film), [shown(film), shown(grey)], SMALL, FRAMES, every=5, small=True)

    master, same, other = (pictures.luma.astype(float) for pictures in measured.small)
    assert master.shape == (3, 90, 160)
    assert abs(master - same).max() <= 1
    assert other[0].std() > 20 > other[1:].std()
    # Grey has no colour, and all other pictures have that of the master.
    own, kept, lost = (pictures.chroma.astype(float) - 512 for pictures in measured.small)
    assert own.shape == (3, 2, 45, 80)
    assert abs(own - kept).mean() <= 1
    assert abs(own).mean() > 15 > 5 > abs(lost[1:]).mean()
    # Blocks show the frames in between, too.
    blocks = [pictures.blocks[:, 0].astype(float) for pictures in measured.small]
    assert blocks[0].shape == (FRAMES, 9, 16)
    assert abs(blocks[0] - blocks[1]).max() <= 1
    assert blocks[2][:5].std(axis=(1, 2)).min() > 20 > blocks[2][5:].std()


@pytest.mark.parametrize(("edge", "box"), [(0, "w=2"), (1, "x=iw-2:w=2"), (2, "h=2"), (3, "y=ih-2:h=2")])
def test_a_line_of_two_pixels_shows_at_its_edge(film: Path, tmp_path: Path, edge: int, box: str) -> None:
    lined = made_worse(film, tmp_path / "lined.mp4", f"drawbox={box}:c=0x008700:t=fill", crf=20)

    measured = measure(file_picture(film), [shown(lined)], SMALL, FRAMES, every=5, small=True)

    master, rendition = (pictures.edges.astype(float) for pictures in measured.small)
    assert master.shape == (3, 3, 4, 80)
    differences = abs(rendition - master)[:, 1:].mean(axis=(0, 1, 3))
    assert differences.argmax() == edge
    assert differences[edge] > 100


def test_half_the_frames_are_compared_with_half_of_the_masters(film: Path, tmp_path: Path) -> None:
    half = made_worse(film, tmp_path / "half.mp4", "framestep=2", crf=10)
    late = made_worse(film, tmp_path / "late.mp4", "trim=start_frame=1,framestep=2", crf=10)
    slow = [Shown(file_picture(path), *SIZE, divisor=2) for path in (half, late)]

    measured = measure(file_picture(film), [shown(film), *slow], SMALL, FRAMES, every=5, small=True)

    assert [len(scores) for scores in measured.scores] == [3, 2, 2]
    assert [len(pictures) for pictures in measured.small] == [3, 3, 2, 2]
    assert min(measured.scores[1]) > 90 > mean(measured.scores[2])
    # Frame 5 of the half is frame 10 of the film.
    assert abs(measured.small[2].luma[1].astype(float) - measured.small[0].luma[2]).mean() < 4


def test_the_smallest_renditions_are_scored(film: Path, tmp_path: Path) -> None:
    tiny = made_worse(film, tmp_path / "tiny.mp4", "scale=128:72")

    measured = measure(file_picture(film), [Shown(file_picture(tiny), 128, 72)], SMALL, FRAMES, every=5)

    assert len(measured.scores[0]) == 3
