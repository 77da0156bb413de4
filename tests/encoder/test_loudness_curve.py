"""The loudness of a rendition over time, from its first second on."""

from pathlib import Path

from encoder import loudness_curve
from tests.support.masters import run_ffmpeg


def test_the_first_seconds_are_not_silent_and_silence_is(tmp_path: Path) -> None:
    sound = tmp_path / "sound.wav"
    run_ffmpeg("-f", "lavfi", "-i", "sine=f=1000:r=48000,volume=enable='gte(t,4)':volume=0", "-t", "8", str(sound))

    values = loudness_curve.measure(sound)

    tone = values[4:39]
    assert len(values) == 80
    assert all(value is not None and abs(value - (tone[-1] or 0)) < 0.5 for value in tone)
    assert values[-1] is None
