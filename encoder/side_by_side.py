"""Make pictures of a rendition's frame and the master's frame of the same time, side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from encoder import filter_graphs, tool
from encoder.command import MASTER
from encoder.encoding import QUIET
from headend.core.errors import ToolFailed
from headend.core.process import Watch, run
from headend.core.storage.masters import redact

MAX_FRAME_PX = (960, 540)
"""Maximum size of each frame."""
JPEG_QUALITY = 5
"""On FFmpeg's scale for JPEG, 2 to 31: about 115 kB for a pair."""
STALL_S = 120


@dataclass(frozen=True, slots=True)
class FramePair:
    """Two frames of the same time.

    Attributes:
        opening: FFmpeg's options that open the master; `encoder.command.MASTER` stands for its URL.
        frames: The graph that makes the master's frame.
        master_filters: Filters to apply to it.
        rendition_filters: Filters to apply to the rendition's frame.
        frame: Number of the rendition's frame in its file, from 0.
        width_px: Width at which each frame is shown.
        height_px: Height at which each frame is shown.
    """

    opening: tuple[str, ...]
    frames: str
    master_filters: str
    rendition_filters: str
    frame: int
    width_px: int
    height_px: int


def command(pair: FramePair, rendition: Path, url: str, picture: Path) -> tuple[str, ...]:
    """Build the command that puts the master on the left and the rendition on the right.

    Args:
        pair: The frames.
        rendition: A file with the rendition's frame.
        url: The master's path or URL.
        picture: The JPEG file to write.
    """
    label = filter_graphs.last_label(pair.frames)
    scaling = (
        f"scale={pair.width_px}:{pair.height_px}:flags=bicubic,setsar=1,"
        # JFIF only has the matrix of BT.601, in full range.
        "zscale=matrix=470bg:range=full,format=yuvj420p"
    )
    counted = "settb=1/1000,setpts=N"
    graph = (
        f"{pair.frames};{label}{pair.master_filters},trim=end_frame=1,{counted},{scaling}[master];"
        f"[1:v]select=eq(n\\,{pair.frame}),{pair.rendition_filters},trim=end_frame=1,{counted},{scaling}[rendition];"
        "[master][rendition]hstack[pair]"
    )
    opening = tuple(url if word == MASTER else word for word in pair.opening)
    return (
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "error"),
        *opening,
        *("-i", str(rendition)),
        *("-filter_complex", graph, "-map", "[pair]", "-frames:v", "1"),
        *("-f", "image2", "-update", "1", "-c:v", "mjpeg", "-q:v", str(JPEG_QUALITY), "-threads", "1", str(picture)),
    )


def make(
    pair: FramePair, rendition: Path, url: str, picture: Path, cancelled: Callable[[], bool] = lambda: False
) -> bytes:
    """Make the picture; arguments as for `command`.

    Raises:
        ToolFailed: FFmpeg failed, or one of the frames does not exist.
    """
    argv: Sequence[str] = (tool.ffmpeg_path(), *command(pair, rendition, url, picture))
    try:
        run(argv, cancelled=cancelled, watch=Watch(stall_s=STALL_S), environment=QUIET)
    except ToolFailed as error:
        facts = {**error.facts, "stderr": redact(error.facts.get("stderr", ""))}
        raise ToolFailed(redact(error.message), **facts) from None
    if not picture.exists() or not (data := picture.read_bytes()):
        raise ToolFailed(f"FFmpeg made no picture of frame {pair.frame} of {rendition.name}")
    return data


def frame_size(width_px: int, height_px: int) -> tuple[int, int]:
    """Width and height at which a frame is shown, both even."""
    scale = min(MAX_FRAME_PX[0] / width_px, MAX_FRAME_PX[1] / height_px)
    return max(2, 2 * round(width_px * scale / 2)), max(2, 2 * round(height_px * scale / 2))
