"""VMAF compares frames of the same time."""

from fractions import Fraction
from pathlib import Path
from statistics import mean

import pytest

from benchmarks import clips, vmaf
from headend.core.errors import ToolFailed
from tests.support.masters import make_film

SIZE_PX = (320, 180)
FRAMES = 12


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return make_film(tmp_path / "film.mp4", frame_rate=Fraction(24), frame_count=FRAMES, size=SIZE_PX)


def test_a_film_scores_100_against_itself(film: Path) -> None:
    message = vmaf.scores([vmaf.file_input(film)], vmaf.file_input(film), SIZE_PX, FRAMES)
    assert len(message) == FRAMES
    assert mean(message) > 95


def test_files_are_scored_in_the_given_order(film: Path, tmp_path: Path) -> None:
    parts = []
    for number, cut in enumerate(("end_frame=5", "start_frame=5")):
        part = tmp_path / f"part{number}.yuv"
        clips.ffmpeg("-i", str(film), "-vf", f"trim={cut},setpts=N", "-fps_mode", "passthrough", str(part))
        parts.append(vmaf.raw_input(part, SIZE_PX, "yuv420p"))
    assert mean(vmaf.scores(parts, vmaf.file_input(film), SIZE_PX, FRAMES)) > 95
    assert mean(vmaf.scores(parts[::-1], vmaf.file_input(film), SIZE_PX, FRAMES)) < 90


def test_a_film_that_is_too_short_can_not_be_scored(film: Path, tmp_path: Path) -> None:
    short = make_film(tmp_path / "short.mp4", frame_rate=Fraction(24), frame_count=FRAMES - 2, size=SIZE_PX)
    with pytest.raises(ToolFailed, match="frames"):
        vmaf.scores([vmaf.file_input(short)], vmaf.file_input(film), SIZE_PX, FRAMES)
