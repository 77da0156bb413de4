"""Which FFmpeg encodes."""

import hashlib
import os
import re
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

import imageio_ffmpeg

from headend.core.errors import ToolFailed, WorkerUnfit

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
    """FFmpeg's own version line, for people.

    Raises:
        ToolFailed: There is none on this machine, or it does not run.
    """
    return _version(ffmpeg_path())


@cache
def _version(path: str) -> str:
    try:
        output = subprocess.run([path, "-version"], capture_output=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolFailed(f"{path} does not run: {error}") from error
    line = output.decode(errors="replace").partition("\n")[0].split(" Copyright")[0]
    if not line.startswith("ffmpeg version"):
        raise ToolFailed(f"{path} is not an FFmpeg: it does not tell its version; set {OVERRIDE} to one, or unset it")
    return line


def digest() -> str:
    """SHA-256 of FFmpeg's program: part of every track's identity, since another build gives other bits.

    The program has some 80 MB. Its digest is kept for as long as its path, size and modification time stay the same, in
    this process and in a file of the user's cache folder.

    Raises:
        ToolFailed: There is none on this machine, or it can't be read.
    """
    path = Path(ffmpeg_path())
    try:
        found = path.resolve().stat()
    except OSError as error:
        raise ToolFailed(f"{path} can't be read: {error.strerror}") from error
    return _digest(str(path.resolve()), found.st_size, found.st_mtime_ns)


@cache
def _digest(path: str, size_bytes: int, modified_ns: int) -> str:
    key = hashlib.sha256(f"{path}\n{size_bytes}\n{modified_ns}".encode()).hexdigest()
    kept = _cache_folder() / f"ffmpeg-{key[:16]}.sha256"
    with suppress(OSError):
        cached = kept.read_text().strip()
        if re.fullmatch("[0-9a-f]{64}", cached):
            return cached
    try:
        with Path(path).open("rb") as program:
            made = hashlib.file_digest(program, "sha256").hexdigest()
    except OSError as error:
        raise ToolFailed(f"{path} can't be read: {error.strerror}") from error
    with suppress(OSError):  # it is computed again where it can't be kept
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary = kept.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(made)
        temporary.replace(kept)
    return made


def _cache_folder() -> Path:
    """Where programs keep what they can make again (XDG Base Directory Specification)."""
    chosen = os.environ.get("XDG_CACHE_HOME")
    return (Path(chosen) if chosen else Path.home() / ".cache") / "headend"


def check(wanted_version: str, wanted_digest: str) -> None:
    """Make sure that this machine's FFmpeg is the one that the plan was made for.

    Args:
        wanted_version: Its version line, for people.
        wanted_digest: SHA-256 of its program.

    Raises:
        WorkerUnfit: It is another one, whose segments would not fit those of other workers.
        ToolFailed: There is none.
    """
    if digest() != wanted_digest:
        raise WorkerUnfit(
            f"this worker has {version()!r} ({digest()[:12]}), the plan was made with {wanted_version!r} "
            f"({wanted_digest[:12]}): install the same headend everywhere"
        )
