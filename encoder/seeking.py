"""Seeking: where a task starts to read the master, and which chunks are merged because keyframes are far apart.

A decoder can start at keyframes only. Were every chunk of a film with a single keyframe a task of its own, each would
decode the film from its beginning. So chunks that would have to read far back belong to the one before, which decodes
that part anyway. What each task decodes before its first frame is bounded, and so is the whole, for any master.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

from encoder.conforming import Conformed
from headend.core.media import ReadRange
from headend.core.timing import Chunk, Grid

LEAD_S = Fraction(15)
"""What a task may decode before its first frame: half of a usual chunk, so that a film is decoded half as often again
at most. Of a longer chunk it may be half, too. Decoding is a small part of what a task does."""

MENDING_S = Fraction(1)
"""How far before a chunk a frame is looked for that stands in for damaged ones at its start."""


def keyframe_place(conformed: Conformed, chunk: Chunk) -> int:
    """Find the last keyframe from which a chunk's first frame can be decoded: its place among the index's keyframes."""
    index = conformed.track.frames
    first, _ = conformed.source_range(chunk.first_frame, chunk.end_frame)
    if conformed.mended:
        first = max(0, first - round(MENDING_S * conformed.track.frame_rate))
    return max(0, bisect_right(index.keyframes, first) - 1)


def lead_s(conformed: Conformed, chunk: Chunk) -> Fraction:
    """How much of the master is decoded before the chunk's first frame."""
    index = conformed.track.frames
    first, _ = conformed.source_range(chunk.first_frame, chunk.end_frame)
    start = index.keyframes[keyframe_place(conformed, chunk)]
    return (index.pts_ticks[first] - index.pts_ticks[start]) * conformed.track.time_base


def read_range(conformed: Conformed, chunk: Chunk) -> ReadRange:
    """What a task reads of the picture, apart from what it must decode before."""
    track, index = conformed.track, conformed.track.frames
    first, end = conformed.source_range(chunk.first_frame, chunk.end_frame)
    place = keyframe_place(conformed, chunk)
    return ReadRange(
        stream=track.index,
        zero_s=track.start_s,
        frame_s=1 / track.frame_rate,
        seek_s=index.seek_ticks[place] * track.time_base if place else None,
        start_s=index.pts_ticks[first] * track.time_base,
        end_s=index.pts_ticks[end - 1] * track.time_base + 1 / track.frame_rate,
        picture_format="" if track.changes else f"{track.width_px}x{track.height_px} {track.pixel_format}",
    )


def joined(chunks: Sequence[Chunk], conformed: Conformed) -> tuple[Chunk, ...]:
    """Join each chunk that would read too far back to the one before it.

    Args:
        chunks: As the grid has them.
        conformed: The master's picture on the grid.

    Returns:
        Chunks of whole segments, without gaps, in order; each decodes at most `LEAD_S`, or half of its own length if
        that is more, before its first frame.
    """
    kept: list[Chunk] = []
    for chunk in chunks:
        allowed_s = max(LEAD_S, chunk.frame_count / conformed.frame_rate / 2)
        if kept and lead_s(conformed, chunk) > allowed_s:
            kept[-1] = replace(kept[-1], end_frame=chunk.end_frame)
        else:
            kept.append(replace(chunk, number=len(kept)))
    return tuple(kept)


def describe(chunks: Sequence[Chunk], grid: Grid, conformed: Conformed) -> str:
    """One line on chunks that were joined, or an empty string."""
    before = len(grid.chunks())
    if len(chunks) == before:
        return ""
    index, count = conformed.track.frames, conformed.track.frame_count
    apart = max(after - here for here, after in pairwise((*index.keyframes, count)))
    found = (
        f"one keyframe in {count:,} frames" if len(index.keyframes) == 1 else f"up to {apart:,} frames to a keyframe"
    )
    return f"{found} → {before} chunks joined to {len(chunks)}, so that none is decoded from far before its first frame"
