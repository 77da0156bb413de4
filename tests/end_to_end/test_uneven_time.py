"""Masters with irregular timing: every beep stays on its picture."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from headend.app.deciding import inspect
from headend.core.errors import MasterError
from headend.core.settings import EncodeSettings, StoreSettings
from tests.support.deliveries import Delivered, deliver, planned
from tests.support.marks import first, repeated
from tests.support.masters import Sound, make_film, make_sound, run_ffmpeg
from tests.support.other_masters import with_repeated_fields
from tests.support.uneven_masters import (
    BEEPS_S,
    BT601,
    BT709,
    FULL_RANGE,
    PQ,
    RATE,
    UNTAGGED,
    beeping,
    in_two_edits,
    joined_pictures,
    joined_sound,
    one_colour,
    with_edits,
    with_sound_of,
    with_times,
    without_sound,
)

BEEPS = [float(at) for at in BEEPS_S]
PICTURES = [round(at * RATE) for at in BEEPS_S]
ALLOWED = replace(EncodeSettings(), most_sound_gap_s=Fraction(2))


def assert_in_sync(delivered: Delivered, within_s: float = 0.01) -> None:
    assert delivered.beeps_s == pytest.approx([delivered.shown_s(number) for number in PICTURES], abs=within_s)


def test_pictures_with_contradicting_times_are_counted(tmp_path: Path) -> None:
    # Many pictures in each packet, of which only the first has a time; FFmpeg gives several the same one.
    tiny = ("-b:v", "20k", "-g", "12", "-bf", "2")
    film = make_film(
        tmp_path / "film.mpg", frame_rate=Fraction(50), frame_count=75, size=(64, 48), codec="mpeg2video",
        codec_args=tiny, noise=0, output_args=("-f", "vob"),
    )  # fmt: skip
    made = deliver(film, tmp_path / "made")

    assert made.decided("times of frames contradict each other → frames are counted at 50.000")
    assert made.rate == 50
    assert made.numbers == tuple(range(75))


GAPS: dict[str, Callable[[Path], Path]] = {
    "aac_mp4": lambda d: without_sound(d / "gap.mp4", beeping(d / "film.mkv"), (0.7, 1.15)),
    "ac3_ts": lambda d: without_sound(d / "gap.ts", beeping(d / "film.ts", "ac3"), (1.9, 2.3)),
    "opus_mkv": lambda d: without_sound(d / "gap.mkv", beeping(d / "film.mkv", "libopus"), (0.6, 1.0), (2.6, 2.9)),
    "pcm_mkv": lambda d: without_sound(d / "gap.mkv", beeping(d / "film.mkv", "pcm_s24le"), (1.0, 1.45)),
}


@pytest.mark.parametrize("kind", first(2, GAPS))
def test_sound_that_is_missing_leaves_silence_of_its_length(tmp_path: Path, kind: str) -> None:
    delivered = deliver(GAPS[kind](tmp_path), tmp_path / "made")

    assert_in_sync(delivered)
    assert delivered.beeps_s == pytest.approx(BEEPS, abs=0.01)
    assert delivered.decided(r"audio 1 has no sound at .* → 0\.[3-9]\d\d s of silence")


def test_a_long_gap_stops_the_job_until_it_is_allowed(tmp_path: Path) -> None:
    master = without_sound(tmp_path / "gap.mp4", beeping(tmp_path / "film.mkv"), (0.7, 1.4), (1.7, 2.4))

    with pytest.raises(
        MasterError, match=r"audio 1 has no sound .* at 0\.7\d+–1\.4\d+ s, .*--max-sound-gap"
    ) as stopped:
        planned(master)

    allowed = Fraction(stopped.value.message.rpartition(" ")[2])
    assert_in_sync(deliver(master, tmp_path / "made", replace(EncodeSettings(), most_sound_gap_s=allowed)))


@pytest.mark.parametrize(
    ("ratio", "suffix", "codec"),
    [
        (0.99, ".mp4", "aac"), (1.01, ".ts", "ac3"), (1.01, ".mkv", "libopus"), (1.01, ".mkv", "pcm_s16le"),
        repeated(1.01, ".mkv", "aac"), repeated(0.99, ".mkv", "eac3"), repeated(1.01, ".mkv", "flac"),
        repeated(0.99, ".mov", "alac"), repeated(1.01, ".mkv", "libvorbis"),
    ],
)  # fmt: skip
def test_sound_that_drifts_follows_its_timestamps(tmp_path: Path, ratio: float, suffix: str, codec: str) -> None:
    film = beeping(tmp_path / "film.mkv", codec) if codec != "alac" else beeping(tmp_path / "film.mov", codec)
    delivered = deliver(with_times(tmp_path / f"drift{suffix}", film, sound=f"TS*{ratio}"), tmp_path / "made")

    # The resampler lags by the drift of one second.
    assert delivered.beeps_s == pytest.approx([at * ratio for at in BEEPS], abs=0.012)
    assert delivered.decided("by its timestamps than by its samples → resampled")


def test_duplicate_sound_is_heard_once(tmp_path: Path) -> None:
    film = beeping(tmp_path / "film.mkv")
    master = with_times(tmp_path / "twice.ts", film, sound=r"TS-gte(TS*TB\,1.7)*0.3/TB")
    delivered = deliver(master, tmp_path / "made")

    assert delivered.beeps_s == pytest.approx([0.52, 1.52, 2.22, 3.22], abs=0.01)
    assert delivered.decided("sound twice")


@pytest.mark.parametrize("suffix", [".mp4", repeated(".mkv")])
def test_a_jump_in_time_holds_the_picture_and_silences_the_sound(tmp_path: Path, suffix: str) -> None:
    jump = r"TS+gte(TS*TB\,2)*1.48/TB"
    master = with_times(tmp_path / f"jump{suffix}", beeping(tmp_path / "film.mkv"), sound=jump, picture=jump)
    with pytest.raises(MasterError, match="--max-sound-gap"):
        planned(master)

    delivered = deliver(master, tmp_path / "made", ALLOWED)

    assert_in_sync(delivered)
    assert delivered.numbers == (*range(50), *[49] * 37, *range(50, 100))


def test_times_that_restart_are_refused(tmp_path: Path) -> None:
    bumper, film = beeping(tmp_path / "bumper.ts", frame_count=25), beeping(tmp_path / "film.ts")
    film.write_bytes(bumper.read_bytes() + film.read_bytes())

    with pytest.raises(MasterError, match=r"times begin again 0\.9\d+ s after the start \(frame 25\), at 1\.\d+ s"):
        planned(film)


def test_unsupported_edits_are_refused_by_name(tmp_path: Path) -> None:
    film = beeping(tmp_path / "film.mov", "pcm_s16le")
    with_edits(film, [(1000, 0, 1.0), (500, None, 1.0), (1000, 25600, 1.0)])

    with pytest.raises(MasterError, match=r"stream 0 has an empty edit of 0\.500 s at 1\.000 s"):
        planned(film)


def test_a_still_is_shown_as_long_as_it_states(tmp_path: Path) -> None:
    still = beeping(tmp_path / "film.mkv", frame_count=1)
    master = with_sound_of(tmp_path / "still.mp4", still, beeping(tmp_path / "sound.mkv"), picture_s=4)
    delivered = deliver(master, tmp_path / "made")

    assert delivered.numbers == (0,) * 96
    assert delivered.beeps_s == pytest.approx(BEEPS, abs=0.01)
    assert delivered.decided("a still of .* → 24.000p: 95 frames repeated"), delivered.plan.decisions


def test_a_still_without_a_length_lasts_as_long_as_its_sound(tmp_path: Path) -> None:
    still, sound = beeping(tmp_path / "film.mkv", frame_count=1), beeping(tmp_path / "sound.mkv")
    master = tmp_path / "still.mkv"
    run_ffmpeg("-i", str(still), "-i", str(sound), "-map", "0:v", "-map", "1:a", "-c", "copy", str(master))
    delivered = deliver(master, tmp_path / "made")

    assert delivered.numbers == (0,) * 96
    assert delivered.beeps_s == pytest.approx(BEEPS, abs=0.01)


def test_adjacent_edits_are_joined(tmp_path: Path) -> None:
    film = beeping(tmp_path / "film.mov", "pcm_s16le", codec_args=("-bf", "2"))
    delivered = deliver(in_two_edits(film), tmp_path / "made")

    assert delivered.numbers == tuple(range(100))
    assert_in_sync(delivered)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_sound_that_begins_far_behind_the_picture_stays_there(tmp_path: Path, suffix: str) -> None:
    picture = make_film(tmp_path / "picture.mkv", frame_rate=Fraction(5), frame_count=500, size=(64, 36))
    sound, master = beeping(tmp_path / "sound.mkv"), tmp_path / f"late{suffix}"
    late = ("-itsoffset", "90", "-i", str(sound))
    run_ffmpeg("-i", str(picture), *late, "-map", "0:v", "-map", "1:a", "-c", "copy", "-muxdelay", "0", str(master))

    found = inspect(str(master), StoreSettings(str(tmp_path)))
    assert found.video is not None
    # This may include a priming of 21 ms.
    assert float(found.audio[0].start_s - found.video.start_s) == pytest.approx(90, abs=0.025)


@pytest.mark.parametrize(
    ("suffix", "first", "second", "line"),
    [
        # Within a chunk, and at its border; the shorter part is converted to the format of the longer one.
        (".ts", (60, "scale=160:90"), (40, "scale=128:72"), "at 2.400 s from 160x90 yuv420p.* to 128x72"),
        (".mp4", (25, "scale=120:90,setsar=4/3"), (75, "scale=160:90,setsar=1"), "at 1.000 s from 120x90 with 4/3"),
        (".mkv", (50, "format=yuv422p"), (50, "format=yuv420p"), "at 2.000 s from 160x90 yuv422p.* to 160x90 yuv420p"),
    ],
)
def test_pictures_that_change_their_format_are_converted_to_the_titles_format(
    tmp_path: Path, suffix: str, first: tuple[int, str], second: tuple[int, str], line: str
) -> None:
    delivered = deliver(joined_pictures(tmp_path / f"joined{suffix}", first, second), tmp_path / "made")

    assert delivered.numbers == (*range(first[0]), *range(second[0]))
    assert delivered.decided(line), delivered.plan.decisions


def test_sound_that_changes_its_channels_is_refused_with_the_time(tmp_path: Path) -> None:
    stereo = beeping(tmp_path / "film.ts", "ac3")
    six = make_sound(tmp_path / "six.ac3", sound=(Sound(layout="5.1", codec="ac3"),))
    two = run_ffmpeg("-i", str(stereo), "-map", "0:a", "-c", "copy", "-f", "ac3", "-")
    (tmp_path / "both.ac3").write_bytes(two + six.read_bytes())
    master = with_sound_of(tmp_path / "changing.ts", stereo, tmp_path / "both.ac3", picture_s=4)

    with pytest.raises(MasterError, match=r"audio 1 changes from 2\.0, 48000 Hz to 3\.2 and LFE, 48000 Hz at 4\.\d+ s"):
        planned(master)


CHANGING: dict[str, tuple[str, str, str, str]] = {
    # Codec, the parameters of both parts, and the container in which they are joined under the header of the first one.
    "aac_slower_mp4": ("aac", "48000:stereo", "44100:stereo", ".mp4"),
    "aac_faster_mkv": ("aac", "44100:stereo", "48000:stereo", ".mkv"),
    "aac_slower_ts": ("aac", "48000:stereo", "44100:stereo", ".ts"),
    "aac_half_the_rate_mp4": ("aac", "48000:stereo", "24000:stereo", ".mp4"),
    "aac_more_channels_mp4": ("aac", "48000:mono", "48000:stereo", ".mp4"),
    "aac_less_channels_mkv": ("aac", "48000:5.1", "48000:stereo", ".mkv"),
    "ac3_mp4": ("ac3", "48000:stereo", "48000:5.1", ".mp4"),
    "eac3_mov": ("eac3", "48000:5.1", "48000:stereo", ".mov"),
    "mp3_mkv": ("libmp3lame", "48000:stereo", "48000:mono", ".mkv"),
    "opus_mkv": ("libopus", "48000:stereo", "48000:5.1", ".mkv"),
    "opus_mp4": ("libopus", "48000:stereo", "48000:5.1", ".mp4"),
    "pcm_mkv": ("pcm_s16le", "48000:stereo", "48000:mono", ".mkv"),
    "flac_mkv": ("flac", "48000:5.1", "48000:stereo", ".mkv"),
    "vorbis_mkv": ("libvorbis", "48000:stereo", "44100:stereo", ".mkv"),
}


@pytest.mark.parametrize("kind", first(7, CHANGING))
def test_sound_that_changes_under_one_header_is_refused_with_the_time(tmp_path: Path, kind: str) -> None:
    with pytest.raises(MasterError, match=r"audio 1 changes from .* at [34]\.\d+ s"):
        planned(joined_sound(tmp_path, *CHANGING[kind]))


@pytest.mark.parametrize("codec", first(2, ["aac", "libopus", "libvorbis", "ac3", "pcm_s16le"]))
def test_parts_of_equal_format_may_be_joined(tmp_path: Path, codec: str) -> None:
    plan = planned(joined_sound(tmp_path, codec, "48000:stereo", "48000:stereo", ".mkv"))

    assert len(plan.audio) == 1


def test_sound_that_changes_only_its_downmix_is_one_programme(tmp_path: Path) -> None:
    film = beeping(tmp_path / "film.mkv")
    parts = b""
    for number, level in enumerate(("0.707", "0.5")):
        part = tmp_path / f"{number}.ac3"
        options = ("-ss", str(2 * number), "-t", "2", "-i", str(film), "-vn", "-af", "aformat=channel_layouts=5.1")
        run_ffmpeg(*options, "-c:a", "ac3", "-center_mixlev", level, str(part))
        parts += part.read_bytes()
    (tmp_path / "both.ac3").write_bytes(parts)
    delivered = deliver(
        with_sound_of(tmp_path / "mixed.ts", film, tmp_path / "both.ac3", picture_s=4), tmp_path / "made"
    )

    assert delivered.beeps_s == pytest.approx(BEEPS, abs=0.05)


def test_film_with_repeated_fields_has_the_frame_rate_of_film(tmp_path: Path) -> None:
    delivered = deliver(with_repeated_fields(tmp_path / "film.vob"), tmp_path / "made")

    assert delivered.rate == Fraction(24000, 1001)
    assert delivered.numbers == tuple(range(96))
    assert delivered.beeps_s == pytest.approx(BEEPS, abs=0.04)


def test_film_with_an_insert_on_video_loses_no_picture(tmp_path: Path) -> None:
    master = with_repeated_fields(tmp_path / "film.vob", video_s=(1, 3))
    delivered = deliver(master, tmp_path / "made")

    assert sorted(set(delivered.numbers)) == list(range(96))
    assert list(delivered.numbers) == sorted(delivered.numbers)


@pytest.mark.parametrize(("codec", "options"), [("mpeg4", ("-bf", "2")), ("libx264", ("-bf", "3")), ("mpeg4", ())])
def test_reordered_pictures_of_avi_begin_with_its_sound(codec: str, options: tuple[str, ...], tmp_path: Path) -> None:
    sound = (Sound(frequency_hz=1000, codec="pcm_s16le", beeps_s=BEEPS_S),)
    film = make_film(
        tmp_path / "film.avi", frame_count=100, size=(160, 90), codec=codec, codec_args=("-g", "25", *options),
        sound=sound,
    )  # fmt: skip
    delivered = deliver(film, tmp_path / "made")

    assert delivered.numbers == tuple(range(100))
    assert_in_sync(delivered)


@pytest.mark.parametrize(
    "kinds",
    [
        repeated((BT709, BT709, BT601), id="709 601"),
        pytest.param((BT601, BT709), id="601 709"),
        pytest.param((BT709, BT709, FULL_RANGE), id="full range"),
        repeated((BT709, BT709, UNTAGGED), id="untagged"),
    ],
)
def test_repeated_colour_tags_change_nothing(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    delivered = deliver(one_colour(tmp_path / "film.ts", *kinds), tmp_path / "made", number_of=_mean_colour)

    seen = [((number or 0) >> 16, (number or 0) >> 8 & 255, (number or 0) & 255) for number in delivered.numbers]
    assert len(seen) == 25 * len(kinds)
    assert np.ptp(np.asarray(seen), axis=0).max() <= 2, seen[::10]


def _mean_colour(frame: av.VideoFrame) -> int:
    """Return the mean of each plane, as one number."""
    pixels = frame.to_ndarray(format="yuv444p").reshape(3, -1).mean(axis=1)
    return int(np.asarray(pixels.round() @ (1 << 16, 1 << 8, 1)))


@pytest.mark.parametrize("first", [BT709, UNTAGGED])
def test_a_dynamic_range_that_changes_is_refused_with_the_time(tmp_path: Path, first: str) -> None:
    with pytest.raises(MasterError, match=r"changes from SDR to HDR \(PQ\) at 1\.000 s"):
        planned(one_colour(tmp_path / "film.ts", first, PQ))


@pytest.mark.parametrize(
    ("pids", "kind"), [(("0:300", "1:301"), "picture 0 ends at 4"), (("0:256", "1:301"), "audio 1 ends at 4")]
)
def test_streams_that_go_on_under_another_number_are_refused_by_name(
    tmp_path: Path, pids: tuple[str, str], kind: str
) -> None:
    film, rest = beeping(tmp_path / "film.ts"), tmp_path / "rest.ts"
    numbers = [word for pid in pids for word in ("-streamid", pid)]
    run_ffmpeg("-i", str(film), "-c", "copy", "-output_ts_offset", "4", *numbers, str(rest))
    film.write_bytes(film.read_bytes() + rest.read_bytes())

    with pytest.raises(MasterError, match=rf"{kind}\.\d+ s, where (picture|audio) [23] begins"):
        planned(film)
