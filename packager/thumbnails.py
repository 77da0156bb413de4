"""Thumbnails for players that know neither of the manifests' ways: a WebVTT index.

Each cue names a sheet and, behind it, the place of one thumbnail.

Sources: W3C WebVTT, section 4; Media Fragments URI 1.0, section 4.2.2.
"""

from itertools import pairwise

from headend import layout
from headend.media import Presentation
from packager.captions import clock


def sheet_bounds(presentation: Presentation) -> tuple[int, ...]:
    """First frame of each sheet and, last, the title's frame count."""
    laid = presentation.thumbnails
    if laid is None:
        return ()
    return (*(place * laid.sheet_frames for place in range(len(presentation.sheets))), presentation.grid.frame_count)


def index(presentation: Presentation) -> str:
    """Say which thumbnail is shown when; addresses count from the release's folder."""
    laid, grid = presentation.thumbnails, presentation.grid
    if laid is None:
        return ""
    starts = [*range(0, grid.frame_count, laid.interval_frames), grid.frame_count]
    cues = ["WEBVTT"]
    for number, (first, end) in enumerate(pairwise(starts)):
        sheet, place = divmod(number, laid.sheet_tiles)
        row, column = divmod(place, laid.columns)
        width_px, height_px = laid.tile_width_px, laid.tile_height_px
        cues.append(
            f"{clock(round(1000 * first / grid.frame_rate))} --> {clock(round(1000 * end / grid.frame_rate))}\n"
            f"{layout.THUMBNAILS}/{sheet + 1}{layout.SHEET_SUFFIX}"
            f"#xywh={column * width_px},{row * height_px},{width_px},{height_px}"
        )
    return "\n\n".join(cues) + "\n"
