"""A frame of a rendition beside that of its master, as one picture for people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from encoder import tool
from encoder.command import MASTER
from encoder.encoding import QUIET
from headend.core.errors import ToolFailed
from headend.core.process import Watch, run
from headend.core.storage.masters import redact

SIDE_PX = (960, 540)
"""Each of the two fits into this."""
QUALITY = 5
"""FFmpeg's scale for JPEG, 2 to 31: about 115 kB for a pair."""
STALL_S = 120


@dataclass(frozen=True, slots=True)
class Pair:
    """Two frames that show the same.

    Attributes:
        opening: FFmpeg's options that open the master; ``{master}`` stands for its address.
        frames: The graph that makes the master's frame.
        master_filters: What is done to it first.
        rendition_filters: What is done to the rendition's frame first.
        frame: The rendition's frame, counted from the start of its file.
        width_px: Width of either at the size at which it is shown.
        height_px: Height, likewise.
    """

    opening: tuple[str, ...]
    frames: str
    master_filters: str
    rendition_filters: str
    frame: int
    width_px: int
    height_px: int


def command(pair: Pair, rendition: Path, url: str, picture: Path) -> tuple[str, ...]:
    """Build the command that puts the master on the left and the rendition on the right.

    Args:
        pair: What to show.
        rendition: A file that holds its frame.
        url: The master, as FFmpeg opens it.
        picture: The JPEG that is written.
    """
    label = pair.frames[pair.frames.rindex("[") :]
    shown = (
        f"scale={pair.width_px}:{pair.height_px}:flags=bicubic,setsar=1,"
        # JFIF knows only the matrix of BT.601, in full range.
        "zscale=matrix=470bg:range=full,format=yuvj420p"
    )
    counted = "settb=1/1000,setpts=N"
    graph = (
        f"{pair.frames};{label}{pair.master_filters},trim=end_frame=1,{counted},{shown}[master];"
        f"[1:v]select=eq(n\\,{pair.frame}),{pair.rendition_filters},trim=end_frame=1,{counted},{shown}[rendition];"
        "[master][rendition]hstack[pair]"
    )
    opening = tuple(url if word == MASTER else word for word in pair.opening)
    return (
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "error"),
        *opening,
        *("-i", str(rendition)),
        *("-filter_complex", graph, "-map", "[pair]", "-frames:v", "1"),
        *("-f", "image2", "-update", "1", "-c:v", "mjpeg", "-q:v", str(QUALITY), "-threads", "1", str(picture)),
    )


def make(pair: Pair, rendition: Path, url: str, picture: Path, cancelled: Callable[[], bool] = lambda: False) -> bytes:
    """Make the picture; arguments as for `command`.

    Raises:
        ToolFailed: FFmpeg failed, or one of the frames is not there.
    """
    argv: Sequence[str] = (tool.ffmpeg_path(), *command(pair, rendition, url, picture))
    try:
        run(argv, cancelled=cancelled, watch=Watch(stall_s=STALL_S), environment=QUIET)
    except ToolFailed as error:
        facts = {**error.facts, "stderr": redact(error.facts.get("stderr", ""))}
        raise ToolFailed(redact(error.message), **facts) from None
    if not picture.exists() or not (data := picture.read_bytes()):
        raise ToolFailed("no picture came out of a segment that is to be shown")
    return data


def side(width_px: int, height_px: int) -> tuple[int, int]:
    """The size, even, at which a picture of a shape is shown."""
    scale = min(SIDE_PX[0] / width_px, SIDE_PX[1] / height_px)
    return max(2, 2 * round(width_px * scale / 2)), max(2, 2 * round(height_px * scale / 2))
