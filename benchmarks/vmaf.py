"""How good a picture is, by VMAF: Netflix's model of what viewers would say, from 0 to 100."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.clips import ffmpeg
from headend.errors import ToolFailed

MODEL = "vmaf_v0.6.1"
"""For a television of 1080 lines, seen from three times its height."""


def raw_input(path: Path, size_px: tuple[int, int], pixel_format: str) -> list[str]:
    """Input options of raw frames."""
    return ["-f", "rawvideo", "-pix_fmt", pixel_format, "-s", f"{size_px[0]}x{size_px[1]}", "-i", str(path)]


def file_input(path: Path) -> list[str]:
    """Input options of a file with a header."""
    return ["-i", str(path)]


def scores(
    shown: Sequence[Sequence[str]],
    reference: Sequence[str],
    size_px: tuple[int, int],
    frames: int,
    filters: str = "null",
    every: int = 1,
) -> list[float]:
    """Score frames.

    Frames are paired by their numbers and compared at the reference's size, as on a screen that fills itself.

    Args:
        shown: Input options of what is judged; several inputs follow each other in time.
        reference: Input options of what it was made from.
        size_px: Of the reference.
        frames: How many there are.
        filters: What is done to the judged frames first.
        every: Score every n-th frame only, from the first on: VMAF costs more than encoding.

    Returns:
        One score for each frame that is scored.

    Raises:
        ToolFailed: FFmpeg failed, or what is judged is shorter.
    """
    parts = "".join(f"[{number}:v]" for number in range(len(shown)))
    numbered = "settb=1/24,setpts=N"
    screen = f"scale={size_px[0]}:{size_px[1]}:flags=bicubic,format=yuv420p"
    threads = len(os.sched_getaffinity(0))
    with TemporaryDirectory() as folder:
        log = Path(folder) / "vmaf.json"
        graph = (
            f"{parts}concat=n={len(shown)},{numbered},{filters},{screen}[shown];"
            f"[{len(shown)}:v]trim=end_frame={frames},{numbered},format=yuv420p[reference];"
            f"[shown][reference]libvmaf=model=version={MODEL}:n_threads={threads}:n_subsample={every}:shortest=1:log_fmt=json:log_path={log}"
        )
        inputs = [word for part in (*shown, reference) for word in part]
        ffmpeg(*inputs, "-filter_complex", graph, "-f", "null", "-")
        told = [float(frame["metrics"]["vmaf"]) for frame in json.loads(log.read_text())["frames"]]
    wanted = len(range(0, frames, every))
    if len(told) != wanted:
        raise ToolFailed(f"VMAF has scored {len(told)} frames instead of {wanted}: the two differ in length")
    return told
