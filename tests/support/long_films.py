"""Films of any length that are cheap to make: held pictures, with flashes and beeps at regular intervals.

Frame `n` shows the number `n` // `HOLD_FRAMES`. With every `EVERY`-th picture, a beep begins.
"""

import subprocess
import wave
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from headend.core.timing import ceil_div
from tests.support.frame_numbers import LIMIT, draw_frame

HOLD_FRAMES = 24
"""Frames for which a picture is held."""
EVERY = 10
"""Pictures between two beeps."""
BEEP_S = Fraction(1, 20)
RATE_HZ = 48_000
PITCHES_HZ = (440, 997)
"""Pitches of the first and the second programme's beeps."""


@dataclass(frozen=True, slots=True)
class LongFilm:
    """A film and its contents.

    Attributes:
        path: The film.
        frame_rate: Frames per second.
        frame_count: Its frames.
    """

    path: Path
    frame_rate: Fraction
    frame_count: int

    @property
    def duration_s(self) -> Fraction:
        return self.frame_count / self.frame_rate

    @property
    def period_s(self) -> Fraction:
        """Seconds from one beep to the next."""
        return EVERY * HOLD_FRAMES / self.frame_rate

    def number_at(self, time_s: Fraction | float) -> int:
        """Return the number of the picture at a time."""
        return int(time_s * self.frame_rate) // HOLD_FRAMES

    def last_beep_s(self) -> Fraction:
        """Start of the last beep that ends within the film."""
        return (self.duration_s - BEEP_S) // self.period_s * self.period_s

    def captions(self) -> list[tuple[int, int, str]]:
        """Cues: two seconds from each beep on, in milliseconds."""
        starts = range(int((self.duration_s - BEEP_S) // self.period_s) + 1)
        times_ms = [round(number * self.period_s * 1000) for number in starts]
        return [(start, start + 2000, f"beep {number}") for number, start in enumerate(times_ms)]


def make_long_film(
    path: Path,
    duration_s: int,
    *,
    frame_rate: Fraction = Fraction(24_000, 1001),
    size: tuple[int, int] = (320, 180),
    languages: Sequence[str] = ("eng", "fra"),
) -> LongFilm:
    """Make a film with a programme of stereo sound for each language.

    Args:
        path: The file to write; MOV, so that sound can be ALAC, which takes almost no bytes for silence.
        duration_s: How long it is at least; whole pictures are made.
        frame_rate: Frames per second.
        size: Width and height.
        languages: ISO 639-2, at most two.
    """
    pictures = ceil_div(duration_s * frame_rate, HOLD_FRAMES)
    assert pictures <= LIMIT
    film = LongFilm(path, frame_rate, pictures * HOLD_FRAMES)
    sounds = []
    for pitch_hz, _ in zip(PITCHES_HZ, languages, strict=False):
        sounds.append(path.with_suffix(f".{pitch_hz}.wav"))
        _write_period(sounds[-1], pitch_hz, film.period_s)
    argv = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{size[0]}x{size[1]}"),
        *("-framerate", str(frame_rate / HOLD_FRAMES), "-i", "pipe:0"),
        *(word for sound in sounds for word in ("-stream_loop", "-1", "-i", str(sound))),
        *("-map", "0:v", "-vf", f"fps={frame_rate}", "-c:v", "libx264", "-preset", "ultrafast", "-g", "48"),
        *(word for number in range(len(sounds)) for word in ("-map", f"{number + 1}:a")),
        *(word for number, code in enumerate(languages) for word in (f"-metadata:s:a:{number}", f"language={code}")),
        *("-c:a", "alac", "-t", f"{float(film.duration_s):.6f}", str(path)),
    ]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        for picture in _pictures(pictures, size):
            encoder.stdin.write(picture)
        encoder.stdin.close()
        assert encoder.wait() == 0
    for sound in sounds:
        sound.unlink()
    return film


def beeps_s(samples: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> list[float]:
    """Start of each beep, in seconds: sound exceeds a threshold after a tenth of a second of silence."""
    loud = np.flatnonzero(np.abs(samples) > 0.05)
    first = loud[np.diff(loud, prepend=-RATE_HZ) > RATE_HZ // 10]
    return [float(at) / RATE_HZ for at in first]


def _pictures(count: int, size: tuple[int, int]) -> Iterable[bytes]:
    return (draw_frame(number, *size, noise=0) for number in range(count))


def _write_period(path: Path, pitch_hz: int, period_s: Fraction) -> None:
    """A beep and the silence behind it, as a WAV file."""
    samples = period_s * RATE_HZ
    assert samples.denominator == 1, "beeps would drift"
    wave_form = np.zeros(int(samples))
    beep = np.arange(int(BEEP_S * RATE_HZ)) / RATE_HZ
    wave_form[: len(beep)] = 0.5 * np.sin(2 * np.pi * pitch_hz * beep)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.repeat((wave_form * 32767).astype("<i2"), 2).tobytes())
