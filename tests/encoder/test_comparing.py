"""Extracts of a release are compared with the same times of masters that are hard to read."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from encoder.comparing import Piece, Reference, first_frame_s
from encoder.probing import probe
from tests.support.channels import make_channels
from tests.support.masters import make_film, master_of, rewrap, run_ffmpeg
from tests.support.other_masters import with_repeated_fields

PROGRAM = """
import sys
from fractions import Fraction
from pathlib import Path
from encoder.comparing import Piece, Reference
from tests.support.masters import master_of
film, rendition = map(Path, sys.argv[1:])
for _ in range(20):
    Reference(master_of(film), str(film)).compare_sound(Piece(rendition, 1), Fraction(0))
"""


def test_unusual_channel_orders_are_compared_without_a_crash(tmp_path: Path) -> None:
    film = make_channels(tmp_path / "film.mov", ["FR", "FL"], layout="stereo", stated_layout="R L")
    rendition = tmp_path / "made.mp4"
    # Loud and quiet in turn, so that shifted sound differs.
    beats = "aevalsrc=sin(2764*t)*(0.1+0.8*lt(mod(t\\,0.5)\\,0.2)):s=48000:d=2"
    run_ffmpeg("-i", str(film), "-f", "lavfi", "-i", beats, "-map", "0:v", "-map", "1:a", "-c:a", "aac", str(rendition))
    argv = [sys.executable, "-c", PROGRAM, str(film), str(rendition)]

    assert subprocess.run(argv, check=False, capture_output=True).returncode == 0


def test_more_than_eight_channels_are_compared_without_a_crash(tmp_path: Path) -> None:
    beats = "aevalsrc=sin(2764*t)*(0.1+0.8*lt(mod(t\\,0.5)\\,0.2)):s=48000:d=2"
    film, rendition = tmp_path / "film.mov", tmp_path / "made.mp4"
    picture = ("-f", "lavfi", "-i", "color=s=64x36:r=25:d=2", "-f", "lavfi", "-i", beats)
    run_ffmpeg(*picture, "-c:v", "mjpeg", "-af", "pan=7.1.4|FL=c0|FR=c0", "-c:a", "pcm_s24le", str(film))
    run_ffmpeg(*picture, "-c:v", "mjpeg", "-c:a", "aac", str(rendition))
    argv = [sys.executable, "-c", PROGRAM, str(film), str(rendition)]

    assert subprocess.run(argv, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("at_s", [0, 6])
def test_a_master_of_one_picture_matches_at_any_time(at_s: int, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", frame_count=1, size=(160, 90), frame_rate=Fraction(25))
    rendition = tmp_path / "made.mp4"
    run_ffmpeg(
        "-i", str(film), "-vf", f"loop=loop=10:size=1,setpts=({at_s}+N/25)/TB", "-c:v", "libx264", "-copyts",
        str(rendition),
    )  # fmt: skip

    assert Reference(master_of(film), str(film)).compare_picture(Piece(rendition, 0), Fraction(0)) == ""


def test_the_first_frame_is_found_if_few_packets_have_presentation_times(tmp_path: Path) -> None:
    mpeg4 = make_film(tmp_path / "film.mp4", codec="mpeg4", codec_args=("-bf", "2"), size=(160, 90), frame_count=20)
    for film in (with_repeated_fields(tmp_path / "film.vob", frame_count=24), rewrap(tmp_path / "film.avi", mpeg4)):
        track = probe(master_of(film), str(film)).video

        assert track is not None
        assert first_frame_s(master_of(film), str(film), track.index) == track.start_s
