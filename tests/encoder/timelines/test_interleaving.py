"""Counted sound that runs faster or slower than the picture beside it in the file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from encoder.probing import probe
from encoder.timelines import interleaving, policy
from headend.core.errors import MasterError
from headend.core.media import Change
from tests.support.masters import master_of
from tests.support.uneven_masters import joined_sound

FRAME_BYTES, SOUND_BPS = 9_000, 192_000


def laid_out(
    *,
    speed: Callable[[float], float] = lambda _: 1.0,
    piece_s: float = 0.02,
    picture_s: Callable[[int], float] = lambda number: number / 25,
    ahead_s: float = 0.0,
    seconds: float = 20.0,
    sound_until_s: float = 1e9,
) -> Change | None:
    """Return a file with pieces of sound, counted at multiples of its real speed, beside the picture."""
    pieces = [(number * piece_s, 1) for number in range(int(seconds / piece_s))]
    frames = [(picture_s(number) + ahead_s, 0) for number in range(int(seconds * 25)) if picture_s(number) < seconds]
    at = 0
    counted_s = 0.0
    sound, picture = [], []
    for time_s, is_sound in sorted(pieces + frames):
        if is_sound and time_s < sound_until_s:
            sound.append((at, counted_s))
            counted_s += piece_s * speed(time_s)
            at += int(piece_s * SOUND_BPS)
        elif not is_sound:
            picture.append((at, time_s - ahead_s))
            at += FRAME_BYTES
    (sound_at, sound_s), (picture_at, shown_s) = np.array(sound).T, np.array(picture).T
    return interleaving.change(sound_at.astype(np.int64), sound_s, picture_at.astype(np.int64), shown_s)


@pytest.mark.parametrize("after", [0.5, 2.0, 1 / 3, 3.0, 1.5, 44_100 / 48_000])
@pytest.mark.parametrize("at_s", [4, 10, 15])
def test_sound_that_starts_to_drift_from_the_picture_has_changed_its_format(after: float, at_s: int) -> None:
    found = laid_out(speed=lambda time_s: 1.0 if time_s < at_s else after, seconds=30)

    assert found is not None
    assert float(found.at_s) == pytest.approx(at_s, abs=0.3)


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"piece_s": 1.0},
        {"piece_s": 0.5, "ahead_s": 1.0},
        {"seconds": 600, "piece_s": 0.5},
        {"ahead_s": -2.0},
        {"sound_until_s": 12.0},
        {"speed": lambda _: 1.01},
        {"speed": lambda time_s: 1.0 if time_s < 19.2 else 2.0},  # too short to be distinguished from a long piece
        {"picture_s": lambda number: number / 25 + (5 if number > 200 else 0)},  # one picture is held
        {"picture_s": lambda number: number / 25 if number < 100 else 4 + (number - 100)},  # slides after a film
        {"picture_s": lambda number: number / 25 + 0.03 * (number % 3)},
    ],
)
def test_sound_beside_its_picture_has_the_right_pace(layout: dict[str, object]) -> None:
    assert laid_out(**layout) is None  # type: ignore[arg-type]


def test_sound_stored_after_the_picture_is_not_judged() -> None:
    places = np.arange(100, dtype=np.int64)

    assert interleaving.change(places + 1000, places / 25, places, places / 25) is None


@pytest.mark.parametrize("suffix", [".mov", ".avi"])
@pytest.mark.parametrize(("first", "second"), [("mono", "stereo"), ("stereo", "mono"), ("stereo", "5.1")])
def test_pcm_that_was_joined_to_pcm_of_other_channels_is_refused_with_the_time(
    first: str, second: str, suffix: str, tmp_path: Path
) -> None:
    path = joined_sound(tmp_path, "pcm_s16le", f"48000:{first}", f"48000:{second}", suffix)
    found = probe(master_of(path), str(path))
    assert found.video is not None

    with pytest.raises(MasterError, match=r"audio 1 changes .* at (3\.9|4\.0)\d\d s"):
        policy.check(found.master, found.audio, start_s=found.video.start_s, max_s=found.video.end_s)
