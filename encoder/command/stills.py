"""Still pictures that are made in the same commands as renditions: sheets of thumbnails, and poster candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ffmpeg

from encoder import filter_graphs, timestamps
from encoder.command.base import SCRATCH
from encoder.command.cascade import scaled
from encoder.command.source import SourcePicture
from encoder.families import Options
from encoder.picture.colour import is_wide, narrowed, peak_nits, tone_mapped
from headend.core.media import Poster, Thumbnails, VideoRange
from headend.core.timing import Chunk

SHEETS = f"{SCRATCH}/thumbnails-%d.jpg"
"""Files of the sheets of thumbnails, counted from 1 in each task; number 0 is discarded: see `sheets`."""
POSTERS = f"{SCRATCH}/poster-%d.jpg"
"""Files of the candidates for the poster, counted in the same way."""

SHEET: Options = {
    "f": "image2",
    "start_number": 0,
    "c:v": "mjpeg",
    # The coarsest quantiser at which edges stay clean at double size: a thumbnail of 320x180 takes about 11 kB.
    "q:v": 5,
    # Other chunks are encoded at the same time.
    "threads": 1,
    "fps_mode": "passthrough",
    "flags:v": "+bitexact",
}
STILL: Options = {
    **SHEET,
    # Pages show posters at full size; no blocks are visible at this quantiser.
    "q:v": 4,
}


@dataclass(frozen=True, slots=True)
class SideOutputs:
    """The still pictures that a task makes of the frames that it encodes.

    Attributes:
        thumbnails: Layout of the sheets of thumbnails; None for none.
        poster: Candidates for the poster; None for none.
        first_frame: First frame of the task's chunk on the grid; only used if there is a poster.
        end_frame: First frame after the chunk; only used if there is a poster.
    """

    thumbnails: Thumbnails | None = None
    poster: Poster | None = None
    first_frame: int = 0
    end_frame: int = 0

    @property
    def poster_frames(self) -> tuple[int, ...]:
        """The candidates in the chunk, counted from its first frame."""
        frames = self.poster.frames if self.poster else ()
        return tuple(frame - self.first_frame for frame in frames if self.first_frame <= frame < self.end_frame)


NO_STILLS = SideOutputs()


def side_outputs(chunk: Chunk, thumbnails: Thumbnails | None, poster: Poster | None) -> SideOutputs:
    """The still pictures of a chunk; the poster is left out if none of its candidates is in the chunk."""
    if poster is None or not poster.numbers(chunk.first_frame, chunk.end_frame):
        return SideOutputs(thumbnails)
    return SideOutputs(thumbnails, poster, chunk.first_frame, chunk.end_frame)


def sheets(frames: Any, picture: SourcePicture, thumbnails: Thumbnails) -> Any:
    """Tile small copies of every nth frame on sheets; unused tiles of the last sheet are black."""
    # Only the chosen frames are scaled, from the master's own size.
    stream = frames.filter("framestep", thumbnails.interval_frames)
    stream = _as_jpeg(stream, picture, (thumbnails.tile_width_px, thumbnails.tile_height_px))
    # FFmpeg reports no progress before all its outputs have started. A sheet is complete only near the end of the
    # chunk, and a task without progress for so long is stopped. So a sheet with only the first thumbnail is written at
    # once.
    first, rest = filter_graphs.copies(stream, 2, "split")
    shape = f"{thumbnails.columns}x{thumbnails.rows}"
    tiled = ffmpeg.concat(first.filter("trim", end_frame=1).filter("tile", shape), rest.filter("tile", shape))
    # Both streams start at the same time, and a sheet may last for minutes; so the times of sheets are set an hour
    # apart. Without an explicit format, concatenated frames would be treated as limited range.
    return timestamps.spread_sheets(tiled).filter("format", "yuvj420p")


def stills(frames: Any, picture: SourcePicture, poster: Poster, frame_numbers: Sequence[int]) -> Any:
    """Keep some frames of a chunk, each as one picture. As in `sheets`, the first picture is discarded later."""
    chosen = "+".join(f"eq(n,{number})" for number in frame_numbers)
    first, rest = filter_graphs.copies(frames, 2, "split")
    kept = ffmpeg.concat(first.filter("trim", end_frame=1), rest.filter("select", chosen))
    stream = _as_jpeg(timestamps.spread_sheets(kept), picture, (poster.width_px, poster.height_px))
    return timestamps.spread_sheets(stream)


def _as_jpeg(stream: Any, picture: SourcePicture, size: tuple[int, int]) -> Any:
    """Scale frames and convert them to the colours of JFIF."""
    stream = scaled(stream, size, picture)
    if picture.track.video_range is not VideoRange.SDR:
        stream = tone_mapped(stream, picture.track.video_range, peak_nits(picture.light))
    elif is_wide(picture.colour):
        stream = narrowed(stream, picture.working_format)
    # JFIF only has the matrix of BT.601, in full range.
    return stream.filter("zscale", matrix="470bg", range="full", dither="ordered").filter("format", "yuvj420p")
