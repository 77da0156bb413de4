"""Thumbnails for players that read them from neither HLS nor DASH: a WebVTT index.

Each cue names a sheet and, behind it, the place of one thumbnail.

Sources: W3C WebVTT, section 4; Media Fragments URI 1.0, section 4.2.2.
"""

from itertools import pairwise

from headend.core import layout
from headend.core.media import Thumbnails, Track
from headend.core.timing import Grid
from packager.captions import clock


def index(thumbnails: Track[Thumbnails], grid: Grid) -> str:
    """Say which thumbnail is shown when; addresses count from the release's folder."""
    laid = thumbnails.rendition
    folder = layout.track_uri(thumbnails.id)
    starts = [*range(0, grid.frame_count, laid.interval_frames), grid.frame_count]
    cues = ["WEBVTT"]
    for number, (first, end) in enumerate(pairwise(starts)):
        sheet, place = divmod(number, laid.sheet_tiles)
        row, column = divmod(place, laid.columns)
        width_px, height_px = laid.tile_width_px, laid.tile_height_px
        cues.append(
            f"{clock(round(1000 * first / grid.frame_rate))} --> {clock(round(1000 * end / grid.frame_rate))}\n"
            f"{folder}/{layout.segment_name(thumbnails.id, sheet + 1)}"
            f"#xywh={column * width_px},{row * height_px},{width_px},{height_px}"
        )
    return "\n\n".join(cues) + "\n"
