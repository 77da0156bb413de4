"""Masters with undecodable stretches are refused with their times, or concealed in sync."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from headend.core.errors import DamagedMaster
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from packager.conformance import verify
from packager.reading import current_presentation
from tests.support.damage import blank, garble, lose, skip_frames
from tests.support.jobs import picture_ladder, submit_small
from tests.support.marks import first
from tests.support.masters import Sound, make_film
from tests.support.playback import frame_numbers, sound, track_bytes

FRAMES, SIZE = 75, (160, 90)
BEEP_S = Fraction(5, 2)


@dataclass(frozen=True, slots=True)
class Case:
    """A damaged master.

    Attributes:
        make: Makes it.
        reported: The reported stretches.
        sound: Frames that are in their own place, and show their own number.
        errors: Minimum number of damaged frames and sound packets.
        repeated: Frames that show another frame's number.
    """

    make: Callable[[Path], Path]
    reported: tuple[str, ...]
    sound: tuple[range, ...]
    errors: int
    repeated: Mapping[int, int] = field(default_factory=dict)


def beeps(codec: str) -> tuple[Sound, ...]:
    return (Sound(codec=codec, beeps_s=(Fraction(1, 2), BEEP_S), amplitude=0.5),)


def flipped_avc(folder: Path) -> Path:
    # Variable-length codes show damage more reliably than arithmetic coding.
    args = ("-g", "25", "-bf", "0", "-coder", "0")
    film = make_film(folder / "film.mp4", frame_count=FRAMES, size=SIZE, codec_args=args, sound=beeps("aac"), noise=20)
    return garble(garble(film, [30, 60]), [24, 25], stream=1)


def blank_prores(folder: Path) -> Path:
    film = make_film(
        folder / "film.mov",
        frame_count=FRAMES,
        size=SIZE,
        codec="prores_ks",
        pixel_format="yuv422p10le",
        sound=beeps("pcm_s16le"),
    )
    return blank(film, [24, 25, 40])


def lossy_ts(folder: Path) -> Path:
    film = make_film(
        folder / "film.ts",
        frame_count=FRAMES,
        size=SIZE,
        codec="mpeg2video",
        codec_args=("-g", "12", "-bf", "0", "-q:v", "2"),
        sound=beeps("mp2"),
        noise=20,
    )
    return lose(film, [30, 60])


def uncoded(folder: Path) -> Path:
    film = make_film(
        folder / "film.mp4", frame_count=FRAMES, size=SIZE, codec="mpeg4", codec_args=("-q:v", "2", "-g", "1")
    )
    return skip_frames(film, [30, 31, 60])


CASES = {
    "flipped H.264": Case(
        flipped_avc,
        ("00:01.200–00:01.240 (1 in stream 0)", "00:02.400–00:02.440 (1 in stream 0)", "(2 in stream 1)"),
        (range(30), range(50, 60)),
        4,
    ),
    "blank ProRes": Case(
        blank_prores,
        ("00:00.960–00:01.640 (3 in stream 0)",),
        (range(24), range(26, 40), range(41, FRAMES)),
        3,
        {24: 23, 25: 23, 40: 39},
    ),
    "lossy MPEG-2 TS": Case(
        lossy_ts,
        ("–00:01.240 (", "–00:02.440 ("),
        (range(29), range(36, 59), range(72, FRAMES)),
        2,
    ),
    # No decoder reports these; a chunk becomes too short.
    "frames that are not coded": Case(
        uncoded,
        ("00:01.200–00:01.280 (2 in stream 0)", "00:02.400–00:02.440 (1 in stream 0)"),
        (range(30), range(32, 60), range(61, FRAMES)),
        3,
        {30: 29, 31: 29, 60: 59},
    ),
}


@pytest.mark.parametrize("name", first(2, CASES))
def test_damage_fails_the_job_with_all_its_times(name: str, tmp_path: Path, scheduler: str) -> None:
    case = CASES[name]
    store = StoreSettings(str(tmp_path / "store"))

    with pytest.raises(DamagedMaster, match="--allow-damaged") as caught:
        submit_small(case.make(tmp_path), store, scheduler, ladder=picture_ladder())

    assert caught.value.message.startswith("film: ")
    for stretch in case.reported:
        assert stretch in caught.value.message
    assert not [info for info in open_store(store).list("titles/") if info.key.endswith("current.json")]


@pytest.mark.parametrize("name", CASES)
def test_allowed_damage_is_concealed_in_its_place_and_put_on_record(name: str, tmp_path: Path, scheduler: str) -> None:
    case = CASES[name]
    store = StoreSettings(str(tmp_path / "store"))
    published = submit_small(case.make(tmp_path), store, scheduler, ladder=picture_ladder(), allow_damaged=True)
    presentation = published.outcome.presentation

    assert any("recorded" in line for line in published.outcome.plan.decisions)
    for track in presentation.video:
        numbers = frame_numbers(track_bytes(published.store, presentation, track))
        assert len(numbers) == FRAMES
        for stretch in case.sound:
            assert numbers[stretch.start : stretch.stop] == list(stretch), track.rendition.id
        assert {number: numbers[number] for number in case.repeated} == case.repeated, track.rendition.id
    for heard in presentation.audio:
        # The codecs' pre-echo begins some milliseconds early.
        assert _beep_s(track_bytes(published.store, presentation, heard)) == pytest.approx(float(BEEP_S), abs=0.02)
    reported = [str(one) for one in presentation.damage]
    assert all(any(stretch in one for one in reported) for stretch in case.reported), reported
    assert sum(one.errors for one in presentation.damage) >= case.errors
    verdict = verify(published.store, "film")
    assert (verdict.findings, verdict.damage) == ((), presentation.damage)
    assert current_presentation(published.store, "film").damage == presentation.damage


def test_a_chunk_without_any_frame_is_refused_even_if_damage_is_allowed(tmp_path: Path, scheduler: str) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=100, size=SIZE, codec_args=("-g", "25", "-bf", "0"))

    with pytest.raises(
        DamagedMaster, match=r"is damaged at .* and can't be concealed there: deliver it again"
    ) as caught:
        submit_small(
            blank(film, range(20, 100)), StoreSettings(str(tmp_path / "store")), scheduler, ladder=picture_ladder(),
            allow_damaged=True,
        )  # fmt: skip

    assert "--allow-damaged" not in caught.value.message


def _beep_s(data: bytes) -> float:
    heard = np.abs(sound(data)[0])
    late = 2 * 48_000
    return (late + int(np.argmax(heard[late:] > 0.1))) / 48_000
