"""Masters with several pictures and programs: one picture with its own sound and text."""

from pathlib import Path

import pytest

from encoder import probing, sandbox
from encoder.programmes import describe_programme
from headend.core.errors import ConfigError, MasterError
from headend.core.settings import PictureChoice
from tests.support.masters import Sound, make_film, master_of, run_ffmpeg


@pytest.fixture(scope="module")
def multiplex(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transport stream of two programs with a picture and a sound each, and one with sound alone."""
    folder = tmp_path_factory.mktemp("multiplex")
    one = make_film(folder / "one.ts", size=(160, 90), sound=[Sound(language="eng")])
    two = make_film(folder / "two.ts", size=(192, 108), sound=[Sound(language="fra", layout="mono")])
    path = folder / "both.ts"
    run_ffmpeg(
        "-i", str(one), "-i", str(two), "-map", "0:v", "-map", "0:a", "-map", "1:v", "-map", "1:a", "-map", "1:a",
        "-c", "copy",
        "-program", "title=One:program_num=11:st=0:st=1", "-program", "title=Two:program_num=22:st=2:st=3",
        "-program", "title=Radio:program_num=33:st=4", str(path),
    )  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("choice", "program", "width", "sound"),
    [
        (PictureChoice(), 11, 160, [(1, "en")]),
        (PictureChoice(program=11), 11, 160, [(1, "en")]),
        (PictureChoice(program=22), 22, 192, [(3, "fr")]),
        (PictureChoice(video=2), 22, 192, [(3, "fr")]),
    ],
)
def test_sound_and_text_are_those_of_the_pictures_own_program(
    choice: PictureChoice, program: int, width: int, sound: list[tuple[int, str]], multiplex: Path
) -> None:
    found = sandbox.probe(master_of(multiplex), str(multiplex), choice)
    assert found.video is not None
    assert (found.program, found.programs, found.video.width_px) == (program, (11, 22, 33), width)
    assert [(track.index, track.language) for track in found.audio] == sound
    (line,) = describe_programme(found)
    assert line.startswith(f"program {program} of programs 11, 22, 33 → its picture, sound and text")


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        (PictureChoice(program=7), ConfigError, "--program 7: .* has programs 11, 22, 33"),
        (PictureChoice(program=33), MasterError, "has no picture in program 33"),
        (PictureChoice(video=1), ConfigError, "--video 1: .* has pictures 0, 2"),
        (PictureChoice(program=22, video=0), ConfigError, "--video 0: .* has pictures 2"),
    ],
)
def test_a_missing_program_is_refused_with_the_existing_ones(
    choice: PictureChoice, error: type[Exception], message: str, multiplex: Path
) -> None:
    with pytest.raises(error, match=message):
        sandbox.probe(master_of(multiplex), str(multiplex), choice)


def test_the_choice_among_several_pictures_is_reported(tmp_path: Path) -> None:
    wide, narrow = (make_film(tmp_path / f"{w}.mov", size=(w, 90)) for w in (192, 160))
    path = tmp_path / "angles.mov"
    run_ffmpeg("-i", str(wide), "-i", str(narrow), "-map", "0", "-map", "1", "-c", "copy", str(path))
    plain = probing.probe(master_of(path), str(path))
    assert plain.video is not None and (plain.video.width_px, plain.pictures) == (192, (0, 1))
    assert list(describe_programme(plain)) == ["picture 0 of pictures 0, 1 → encoded; --video selects another"]
    other = probing.probe(master_of(path), str(path), PictureChoice(video=1)).video
    assert other is not None and (other.index, other.width_px, other.frame_count) == (1, 160, plain.video.frame_count)
