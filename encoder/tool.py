"""Path, version and digest of the FFmpeg that encodes."""

import hashlib
import os
import re
import subprocess
from functools import cache
from pathlib import Path

import imageio_ffmpeg

from headend.core import user_cache
from headend.core.errors import ToolFailed, WorkerUnfit

OVERRIDE = "HEADEND_FFMPEG"


def ffmpeg_path() -> str:
    """The path of FFmpeg: the value of ``HEADEND_FFMPEG``, or else the FFmpeg that was installed with headend.

    Raises:
        ToolFailed: There is no FFmpeg on this machine.
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
    """FFmpeg's version line, for messages.

    Raises:
        ToolFailed: There is no FFmpeg on this machine, or it does not run.
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
        raise ToolFailed(f"{path} is not FFmpeg: it prints no version; set {OVERRIDE} to an FFmpeg, or unset it")
    return line


def digest() -> str:
    """SHA-256 of FFmpeg's executable; part of every track's identity, since another build may encode differently.

    The executable has some 80 MB. Its digest is cached while its path, size and modification time stay the same, in
    this process and in a file in the user's cache folder.

    Raises:
        ToolFailed: There is no FFmpeg on this machine, or it can't be read.
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
    name = f"ffmpeg-{key[:16]}.sha256"
    cached = (user_cache.read(name) or b"").decode(errors="replace").strip()
    if re.fullmatch("[0-9a-f]{64}", cached):
        return cached
    try:
        with Path(path).open("rb") as program:
            computed = hashlib.file_digest(program, "sha256").hexdigest()
    except OSError as error:
        raise ToolFailed(f"{path} can't be read: {error.strerror}") from error
    user_cache.write(name, computed.encode())
    return computed


def check(wanted_version: str, wanted_digest: str) -> None:
    """Check that this machine's FFmpeg is the one that the plan was made for.

    Args:
        wanted_version: The version line of the plan's FFmpeg, for messages.
        wanted_digest: SHA-256 of its executable.

    Raises:
        WorkerUnfit: It is another one, and its segments would not match those of other workers.
        ToolFailed: There is no FFmpeg on this machine.
    """
    if digest() != wanted_digest:
        raise WorkerUnfit(
            f"this worker has {version()!r} ({digest()[:12]}), the plan was made with {wanted_version!r} "
            f"({wanted_digest[:12]}): install the same headend everywhere"
        )
