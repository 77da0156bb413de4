"""Looping a film, to try out long titles."""

from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from encoder import tool
from headend.app import deciding
from headend.core.errors import MasterError
from headend.core.process import run
from headend.core.settings import StoreSettings

_FFMPEG = ("-hide_banner", "-nostdin", "-y", "-loglevel", "error", "-progress", "pipe:1")
# Reproducible output, so that a second run reuses the work of the first.
_PLAIN = ("-fflags", "+bitexact", "-map_metadata", "-1")


def looped(film: Path, times: int, path: Path) -> Path:
    """Write a film several times in a row to a MOV, without encoding the picture.

    Args:
        film: The film.
        times: Number of repetitions, at least 1.
        path: The output file, which appears only when it is complete.

    Raises:
        MasterError: The film has no picture.
        ToolFailed: FFmpeg is missing or can't read the film.
    """
    video = deciding.inspect(str(film), StoreSettings()).video
    if video is None:
        raise MasterError(f"{film} has no picture: give a film")
    length_s = Fraction(video.frame_count) / video.frame_rate
    with TemporaryDirectory(dir=path.parent) as folder:
        once, whole = Path(folder, "once.mov"), Path(folder, "whole.mov")
        # Make the sound as long as the picture, or it would drift with every repetition.
        as_long = f"apad,atrim=end={float(length_s):.6f}"
        sound = ("-map", "0:a?", "-af", as_long, "-c:a", "pcm_s16le")
        run(
            [tool.ffmpeg_path(), *_FFMPEG, "-i", str(film), "-map", "0:V:0", "-c:v", "copy", *sound, *_PLAIN, str(once)]
        )
        source = ("-stream_loop", str(times - 1), "-i", str(once))
        run([tool.ffmpeg_path(), *_FFMPEG, *source, "-map", "0", "-c", "copy", *_PLAIN, str(whole)])
        whole.replace(path)
    return path
