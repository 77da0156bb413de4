"""Loudness: one gain from the measurement, peaks below the ceiling, and streams that state their loudness."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder import encoding
from encoder.loudness import default_values, level, levels, limiter, values
from headend.core.errors import ToolFailed
from headend.core.media import Codec, Loudness, LoudnessTarget
from tests.support.encodes import Film, probe_film, sound_task
from tests.support.makers import make_audio_rendition
from tests.support.masters import Sound, make_film, run_ffmpeg
from tests.support.playback import dialnorms_db

AIM = LoudnessTarget(
    argv=("ffmpeg",),
    layouts=("2.0", "5.1"),
    mixed=("2.0",),
    target_lufs=-24.0,
    ceiling_dbtp=-1.0,
    reduction_db=6.0,
    limiter=limiter(48_000),
)
AS_IT_IS = replace(AIM, target_lufs=None)


def decide(
    integrated_lufs: float, true_peak_dbtp: float, *, aim: LoudnessTarget = AIM, layout: str = "5.1"
) -> tuple[float, float | None, float | None, bool]:
    levelled = level(aim, layout, integrated_lufs=integrated_lufs, range_lu=5.0, true_peak_dbtp=true_peak_dbtp)
    return levelled.gain_db, levelled.result_lufs, levelled.result_dbtp, levelled.limited


@pytest.mark.parametrize(
    ("integrated_lufs", "true_peak_dbtp", "expected"),
    [
        (-20.0, -3.0, (-4.0, -24.0, -7.0, False)),
        (-27.0, -9.0, (3.0, -24.0, -6.0, False)),
        (-27.0, -2.0, (3.0, -24.0, -1.0, True)),
        # The limiter may take 6 dB; the gain is lowered for the rest.
        (-33.0, -2.0, (7.0, -26.0, -1.0, True)),
        # Almost silent: its noise is not amplified.
        (-60.0, -40.0, (20.0, -40.0, -20.0, False)),
        # Sound that clips all the time.
        (2.1, 0.2, (-26.1, -24.0, -25.9, False)),
    ],
)
def test_one_gain_reaches_the_target_if_peaks_allow_it(
    integrated_lufs: float, true_peak_dbtp: float, expected: tuple[float, float, float, bool]
) -> None:
    assert decide(integrated_lufs, true_peak_dbtp) == expected


@pytest.mark.parametrize("true_peak_dbtp", [-12.0, float("-inf")])
@pytest.mark.parametrize("integrated_lufs", [-70.0, float("nan"), float("-inf")])
def test_silent_or_very_short_sound_keeps_its_level(integrated_lufs: float, true_peak_dbtp: float) -> None:
    levelled = level(AIM, "2.0", integrated_lufs=integrated_lufs, range_lu=0.0, true_peak_dbtp=true_peak_dbtp)

    assert (levelled.gain_db, levelled.integrated_lufs, levelled.result_lufs, levelled.dialnorm_db) == (
        0.0,
        None,
        None,
        -31,
    )


def test_without_a_target_only_mixes_that_would_clip_are_limited() -> None:
    assert decide(-14.0, 0.5, aim=AS_IT_IS, layout="5.1") == (0.0, -14.0, 0.5, False)
    assert decide(-14.0, 0.5, aim=AS_IT_IS, layout="2.0") == (0.0, -14.0, -1.0, True)
    assert decide(-14.0, -6.0, aim=AS_IT_IS, layout="2.0") == (0.0, -14.0, -6.0, False)


@given(st.floats(-69.9, 5), st.floats(-60, 9), st.sampled_from([-27.0, -24.0, -23.0]))
def test_nothing_exceeds_the_ceiling_or_the_target(integrated: float, peak: float, target: float) -> None:
    aim = replace(AIM, target_lufs=target)
    levelled = level(aim, "5.1", integrated_lufs=integrated, range_lu=1.0, true_peak_dbtp=peak)

    assert levelled.result_lufs is not None and levelled.result_dbtp is not None
    assert levelled.result_lufs <= target + 0.1
    assert levelled.result_dbtp <= aim.ceiling_dbtp + 0.1
    assert -31 <= levelled.dialnorm_db <= -1


def test_a_measurement_without_a_result_fails() -> None:
    with pytest.raises(ToolFailed, match="measured no loudness"):
        levels(AIM, "[ebur128@2.0 @ 0x1] Summary:\n I: -20.0 LUFS LRA: 1.0 LU Peak: -3.0 dBFS")


# --- run for real -------------------------------------------------------------------------------------------------


def measured(*source: str) -> tuple[float, float]:
    """Integrated loudness in LUFS and true peak, 1 being full scale."""
    printed = run_ffmpeg(*source, "-filter:a", "ebur128=peak=true:metadata=1,ametadata=print:file=-", "-f", "null", "-")
    text = printed.decode()
    peaks = re.findall(r"true_peaks_ch\d+=([-\d.]+)", text)
    return float(re.findall(r"r128\.I=([-\d.]+)", text)[-1]), max(map(float, peaks))


@pytest.mark.parametrize(
    "source", ["anoisesrc=a=0.9:r=48000:d=2:seed=1", "aevalsrc=0.99*sin(2*PI*11025*t+1):d=2:s=48000"]
)
def test_the_limiter_holds_true_peaks_at_the_ceiling(source: str) -> None:
    _, raised = measured("-f", "lavfi", "-i", f"{source},volume=6dB:precision=float")
    _, held = measured("-f", "lavfi", "-i", f"{source},volume=6dB:precision=float,{limiter(48_000)}")

    assert raised > 1.9
    assert held <= 10 ** (-1 / 20) + 0.001


def test_the_limiter_does_not_shift_the_sound() -> None:
    tone = "aevalsrc=0.9*sin(2*PI*997*t):d=2:s=48000,volume=6dB:precision=float"

    def middle(filters: str) -> complex:
        """Return the tone's phase, in a second of steady sound."""
        data = run_ffmpeg("-f", "lavfi", "-i", filters, "-f", "f32le", "-")
        return complex(np.fft.rfft(np.frombuffer(data, np.float32)[24_000:72_000])[997])

    shift = np.angle(middle(f"{tone},{limiter(48_000)}") / middle(tone)) / (2 * np.pi * 997) * 48_000
    assert abs(shift) < 0.1


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    tone = Sound(frequency_hz=997, layout="5.1", codec="pcm_s24le")
    return probe_film(make_film(tmp_path_factory.mktemp("loudness") / "film.mov", sound=[tone]))


KINDS = (
    make_audio_rendition(id="aac", bit_rate_bps=256_000),
    make_audio_rendition(id="ac3", codec=Codec.AC3, bit_rate_bps=192_000),
    make_audio_rendition(id="eac3", codec=Codec.EAC3, bit_rate_bps=192_000),
    make_audio_rendition(id="ac3-5.1", codec=Codec.AC3, layout="5.1", bit_rate_bps=448_000),
    make_audio_rendition(id="eac3-5.1", codec=Codec.EAC3, layout="5.1", bit_rate_bps=384_000),
)


def encoded(film: Film, scratch: Path, target_lufs: float | None) -> dict[str, Loudness]:
    result = encoding.encode(
        sound_task(film, KINDS, target_lufs=target_lufs),
        input_url=str(film.path),
        scratch=scratch,
        cancelled=lambda: False,
        on_frames=lambda _: None,
    )
    assert result.cpu_s > 0
    return {one.layout: one for one in result.loudness}


@pytest.mark.parametrize("target_lufs", [-27.0, -23.0])
def test_every_rendition_has_its_stated_loudness(film: Film, tmp_path: Path, target_lufs: float) -> None:
    stated = encoded(film, tmp_path, target_lufs)

    # Six channels and their mix are not equally loud: each has a gain of its own.
    assert stated["5.1"].gain_db != stated["2.0"].gain_db
    for rendition in KINDS:
        loud = stated[rendition.layout]
        assert loud.result_lufs == pytest.approx(target_lufs, abs=0.1)
        # AC-3 decoders apply dialnorm by default.
        path = str(encoding.output(tmp_path, rendition.id))
        as_coded = ["-target_level", "0"] if rendition.codec in (Codec.AC3, Codec.EAC3) else []
        integrated_lufs, _ = measured(*as_coded, "-i", path)
        assert integrated_lufs == pytest.approx(target_lufs, abs=0.5), rendition.id


def test_dolby_streams_state_their_loudness(film: Film, tmp_path: Path) -> None:
    stated = encoded(film, tmp_path, -27.0)

    for rendition in KINDS:
        if rendition.codec is not Codec.AAC:
            dialnorms = dialnorms_db(encoding.output(tmp_path, rendition.id).read_bytes())
            assert dialnorms == {-27} == {stated[rendition.layout].dialnorm_db}, rendition.id


def test_without_a_target_a_programme_is_still_measured(film: Film, tmp_path: Path) -> None:
    loud = encoded(film, tmp_path, None)["5.1"]

    # -18 dBFS sines on five channels that count, two of them 1.5 dB more (BS.1770-4, table 3).
    assert loud.integrated_lufs == pytest.approx(-13.4, abs=0.3)
    assert loud.true_peak_dbtp == pytest.approx(-18.1, abs=0.2)
    assert (loud.gain_db, loud.result_lufs) == (0.0, loud.integrated_lufs)
    assert dialnorms_db(encoding.output(tmp_path, "ac3-5.1").read_bytes()) == {-13}


@pytest.mark.parametrize(("frames", "amplitude"), [(50, 0.0), (7, 0.125)], ids=["silent", "shorter than a block"])
def test_silence_and_very_short_sound_are_encoded_unchanged(tmp_path: Path, frames: int, amplitude: float) -> None:
    tone = Sound(amplitude=amplitude, layout="5.1", codec="pcm_s16le")
    loudness = encoded(probe_film(make_film(tmp_path / "film.mov", frame_count=frames, sound=[tone])), tmp_path, -24.0)

    assert {(one.integrated_lufs, one.gain_db) for one in loudness.values()} == {(None, 0.0)}


def test_a_command_has_a_limiter_only_if_it_is_needed() -> None:
    quiet = level(AIM, "5.1", integrated_lufs=-30.0, range_lu=1.0, true_peak_dbtp=-20.0)
    peaky = level(AIM, "2.0", integrated_lufs=-30.0, range_lu=1.0, true_peak_dbtp=-3.0)

    assert values(AIM, [quiet, peaky]) == {
        "{level-5.1}": "volume=6.0dB",
        "{dialnorm-5.1}": "-24",
        "{level-2.0}": f"volume=6.0dB,{AIM.limiter}",
        "{dialnorm-2.0}": "-24",
    }


def test_the_error_of_a_failed_measurement_shows_the_planned_command(tmp_path: Path, film: Film) -> None:
    task = sound_task(film, KINDS[:1])
    with pytest.raises(ToolFailed) as caught:
        encoding.encode(
            task,
            input_url=str(tmp_path / "gone.mov"),
            scratch=tmp_path,
            cancelled=lambda: False,
            on_frames=lambda _: None,
        )
    assert task.loudness_target is not None
    assert caught.value.facts["argv"] == list(task.loudness_target.argv)


def test_duration_and_place_are_the_same_while_measuring_and_encoding(film: Film) -> None:
    task = sound_task(film, KINDS)
    assert task.loudness_target is not None
    graphs = [argv[argv.index("-filter_complex") + 1] for argv in (task.argv, task.loudness_target.argv)]
    shared = f"apad=whole_len={round(film.grid.duration_s * 48_000) + 2048}"

    assert all(graph.count(shared) == 1 and graph.count("pan=") == 2 for graph in graphs)
    assert film.grid.duration_s == Fraction(2)


def test_without_a_measurement_a_command_only_keeps_mixes_from_clipping() -> None:
    assert default_values(AIM) == {
        "{level-2.0}": AIM.limiter,
        "{dialnorm-2.0}": "-31",
        "{level-5.1}": "anull",
        "{dialnorm-5.1}": "-31",
    }
