"""Which FFmpeg encodes."""

import os
import subprocess
from functools import cache
from pathlib import Path

import imageio_ffmpeg

from headend.errors import ToolFailed, WorkerUnfit

OVERRIDE = "HEADEND_FFMPEG"


def ffmpeg_path() -> str:
    """Where FFmpeg is: what ``HEADEND_FFMPEG`` names, else the one that came with the installation.

    Raises:
        ToolFailed: There is none on this machine.
    """
    chosen = os.environ.get(OVERRIDE)
    if chosen is None:
        try:
            return str(imageio_ffmpeg.get_ffmpeg_exe())
        except RuntimeError as error:
            raise ToolFailed(f"no FFmpeg here: install imageio-ffmpeg's binary or set {OVERRIDE}") from error
    if not os.access(chosen, os.X_OK) or Path(chosen).is_dir():
        raise ToolFailed(f"no FFmpeg at {chosen!r}: {OVERRIDE} must name an executable file, or be unset")
    return chosen


def version() -> str:
    """FFmpeg's own version line: part of every task's identity, since another build gives other bits.

    Raises:
        ToolFailed: There is none on this machine, or it does not run.
    """
    return _version(ffmpeg_path())


@cache
def _version(path: str) -> str:
    try:
        said = subprocess.run([path, "-version"], capture_output=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolFailed(f"{path} does not run: {error}") from error
    line = said.decode(errors="replace").partition("\n")[0].split(" Copyright")[0]
    if not line.startswith("ffmpeg version"):
        raise ToolFailed(f"{path} is not an FFmpeg: it does not tell its version; set {OVERRIDE} to one, or unset it")
    return line


def check_version(wanted: str) -> None:
    """Make sure that this machine's FFmpeg is the one that the plan was made for.

    Raises:
        WorkerUnfit: It is another one, whose segments would not fit those of other workers.
        ToolFailed: There is none.
    """
    found = version()
    if found != wanted:
        raise WorkerUnfit(
            f"this worker has {found!r}, the plan was made with {wanted!r}: install the same headend everywhere"
        )
