"""The frames with which renditions are compared: the master's, as they were before scaling and encoding. Pure.

An SDR rendition of an HDR master is compared with the tone-mapped master, since tone mapping is a decision and not a
loss. There is no public quality model for HDR. So HDR renditions and their master are both tone-mapped, and their
scores only compare renditions with each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import ffmpeg

from encoder import filter_graphs
from encoder.command import SourcePicture, is_narrowed, scaled
from encoder.picture.colour import narrowed, peak_nits, tone_mapped, without_metadata
from headend.core.media import VideoRange, VideoRendition

_FRAMES = ffmpeg.input("frames").video


@dataclass(frozen=True, slots=True)
class View:
    """Renditions that are compared with the same frames.

    Attributes:
        master_filters: Filters that make these frames from the master's frames on the grid.
        rendition_filters: Filters to apply to a rendition's frames.
        tone_mapped: Whether master and renditions are tone-mapped HDR.
        renditions: The renditions, in the order of the plan.
    """

    master_filters: str
    rendition_filters: str
    tone_mapped: bool
    renditions: tuple[VideoRendition, ...]


def views(picture: SourcePicture, renditions: Sequence[VideoRendition]) -> tuple[View, ...]:
    """Group renditions by the frames that they are compared with, in the order of each group's first rendition."""
    groups: dict[tuple[bool, bool], list[VideoRendition]] = {}
    for rendition in renditions:
        hdr = rendition.video_range is not VideoRange.SDR
        groups.setdefault((hdr, is_narrowed(rendition, picture)), []).append(rendition)
    return tuple(
        View(
            filter_graphs.chain(_master(_FRAMES, picture, narrow=narrow)),
            filter_graphs.chain(_toned(_FRAMES, picture)) if hdr else "null",
            hdr,
            tuple(members),
        )
        for (hdr, narrow), members in groups.items()
    )


def _master(frames: Any, picture: SourcePicture, *, narrow: bool) -> Any:
    """The master's frames as SDR, with square pixels and limited range."""
    width_px, height_px = picture.size
    shape = picture.track.sample_aspect_ratio
    if picture.track.rotation_deg in (90, 270):
        shape = 1 / shape
    # Only enlarge, so that no lines or columns are lost.
    wide, high = max(shape, Fraction(1)), max(1 / shape, Fraction(1))
    made = scaled(frames, (2 * round(width_px * wide / 2), 2 * round(height_px * high / 2)), picture)
    if picture.track.video_range is not VideoRange.SDR:
        return _toned(made, picture)
    return narrowed(made, picture.working_format) if narrow else made


def _toned(frames: Any, picture: SourcePicture) -> Any:
    return without_metadata(tone_mapped(frames, picture.track.video_range, peak_nits(picture.light)))
