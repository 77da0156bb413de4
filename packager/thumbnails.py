"""Writes a WebVTT index of thumbnails, for players that read thumbnails neither from HLS nor from DASH.

Each cue refers to a sheet, and to the rectangle of one thumbnail in it.

Sources: W3C WebVTT, section 4; Media Fragments URI 1.0, section 4.2.2.
"""

from itertools import pairwise

from headend.core import layout
from headend.core.media import Thumbnails, Track
from headend.core.timing import Grid
from packager.captions import clock


def index(thumbnails: Track[Thumbnails], grid: Grid) -> str:
    """Write the index; addresses are relative to the release's folder."""
    tiling = thumbnails.rendition
    folder = layout.track_uri(thumbnails.id)
    starts = [*range(0, grid.frame_count, tiling.interval_frames), grid.frame_count]
    cues = ["WEBVTT"]
    for number, (first, end) in enumerate(pairwise(starts)):
        sheet, position = divmod(number, tiling.sheet_tiles)
        row, column = divmod(position, tiling.columns)
        width_px, height_px = tiling.tile_width_px, tiling.tile_height_px
        cues.append(
            f"{clock(round(1000 * first / grid.frame_rate))} --> {clock(round(1000 * end / grid.frame_rate))}\n"
            f"{folder}/{layout.segment_name(thumbnails.id, sheet + 1)}"
            f"#xywh={column * width_px},{row * height_px},{width_px},{height_px}"
        )
    return "\n\n".join(cues) + "\n"
