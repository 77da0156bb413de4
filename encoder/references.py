"""The reference frames that renditions are compared with: the master's, before scaling and encoding. Pure.

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
        master_filters: Filters that make the reference frames from the master's frames on the grid.
        rendition_filters: Filters for a rendition's frames before the comparison.
        tone_mapped: Whether the renditions are HDR, so that they and the master are tone-mapped.
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
            filter_graphs.chain(_reference(_FRAMES, picture, narrow=narrow)),
            filter_graphs.chain(_tone_mapped(_FRAMES, picture)) if hdr else "null",
            hdr,
            tuple(members),
        )
        for (hdr, narrow), members in groups.items()
    )


def _reference(frames: Any, picture: SourcePicture, *, narrow: bool) -> Any:
    """The master's frames in SDR and limited range, with square pixels; ``narrow`` converts a wide gamut to BT.709."""
    width_px, height_px = picture.size
    pixel_aspect = picture.track.sample_aspect_ratio
    if picture.track.rotation_deg in (90, 270):
        pixel_aspect = 1 / pixel_aspect
    # Only enlarge, so that no lines or columns are lost.
    factor_x, factor_y = max(pixel_aspect, Fraction(1)), max(1 / pixel_aspect, Fraction(1))
    square = scaled(frames, (2 * round(width_px * factor_x / 2), 2 * round(height_px * factor_y / 2)), picture)
    if picture.track.video_range is not VideoRange.SDR:
        return _tone_mapped(square, picture)
    return narrowed(square, picture.working_format) if narrow else square


def _tone_mapped(frames: Any, picture: SourcePicture) -> Any:
    return without_metadata(tone_mapped(frames, picture.track.video_range, peak_nits(picture.light)))
