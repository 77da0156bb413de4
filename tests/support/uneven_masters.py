"""Masters whose time does not run evenly: small films that beep at certain pictures, with their packets changed."""

from fractions import Fraction
from pathlib import Path

from tests.support.masters import Sound, make_film, run_ffmpeg

RATE = Fraction(25)
BEEPS_S = tuple(number / RATE for number in (13, 38, 63, 88))


def beeping(path: Path, codec: str = "aac", *, frame_count: int = 100, codec_args: tuple[str, ...] = ()) -> Path:
    """A film of 4 s, 25 numbered pictures a second, that beeps at each of `BEEPS_S`."""
    sound = (Sound(frequency_hz=1000, codec=codec, beeps_s=BEEPS_S),)
    return make_film(
        path, frame_rate=RATE, frame_count=frame_count, size=(160, 90),
        codec_args=("-g", "25", "-bf", "0", *codec_args),
        sound=sound, output_args=("-strict", "-2"),
    )  # fmt: skip


def without_sound(path: Path, film: Path, *spans_s: tuple[float, float]) -> Path:
    """Copy a film without the packets of sound that begin in a span."""
    drop = "+".join(rf"gte(pts*tb\,{start})*lt(pts*tb\,{end})" for start, end in spans_s)
    return _copied(path, film, "-bsf:a", f"noise=drop={drop}")


def with_times(path: Path, film: Path, *, sound: str = "TS", picture: str = "TS") -> Path:
    """Copy a film with other time stamps: expressions of the ``setts`` filter."""
    return _copied(path, film, "-bsf:a", f"setts=ts={sound}", "-bsf:v", f"setts=ts={picture}")


def _copied(path: Path, film: Path, *args: str) -> Path:
    run_ffmpeg("-i", str(film), "-map", "0", "-c", "copy", *args, "-strict", "-2", str(path))
    return path
