"""Find where a task starts to read the master, and merge chunks if keyframes are far apart.

A decoder can only start at a keyframe. In a film with a single keyframe, every chunk would have to decode the film from
its start. So a chunk that would have to read far back is merged into the one before, which decodes that part anyway.
This bounds what each task decodes before its first frame, and the total, for any master.
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
"""How much a task may decode before its first frame: half of a usual chunk. A task with a longer chunk may decode half
of that chunk. So at most 50 % more of a film is decoded, and decoding is a small part of a task."""

CONCEALMENT_LEAD_S = Fraction(1)
"""With damaged masters, reading starts this long before a chunk: if its first frames are damaged, an earlier frame
replaces them."""


def keyframe_position(conformed: Conformed, chunk: Chunk) -> int:
    """The last keyframe from which a chunk's first frame can be decoded, as a position in the index's keyframes."""
    index = conformed.track.frames
    first, _ = conformed.source_range(chunk.first_frame, chunk.end_frame)
    if conformed.conceal:
        first = max(0, first - round(CONCEALMENT_LEAD_S * conformed.track.frame_rate))
    return max(0, bisect_right(index.keyframes, first) - 1)


def lead_s(conformed: Conformed, chunk: Chunk) -> Fraction:
    """How much of the master is decoded before a chunk's first frame."""
    index = conformed.track.frames
    first, _ = conformed.source_range(chunk.first_frame, chunk.end_frame)
    start = index.keyframes[keyframe_position(conformed, chunk)]
    return (index.pts_ticks[first] - index.pts_ticks[start]) * conformed.track.time_base


def read_range(conformed: Conformed, chunk: Chunk) -> ReadRange:
    """The part of the master that contains a chunk's frames; frames that are only decoded to get there don't count."""
    track, index = conformed.track, conformed.track.frames
    first, end = conformed.source_range(chunk.first_frame, chunk.end_frame)
    position = keyframe_position(conformed, chunk)
    return ReadRange(
        stream=track.index,
        zero_s=track.start_s,
        frame_s=1 / track.frame_rate,
        seek_s=index.seek_ticks[position] * track.time_base if position else None,
        start_s=index.pts_ticks[first] * track.time_base,
        end_s=index.pts_ticks[end - 1] * track.time_base + 1 / track.frame_rate,
        picture_format="" if track.changes else f"{track.width_px}x{track.height_px} {track.pixel_format}",
    )


def merged(chunks: Sequence[Chunk], conformed: Conformed) -> tuple[Chunk, ...]:
    """Merge each chunk that would have to read too far back into the one before it.

    Args:
        chunks: The grid's chunks.
        conformed: The master's picture on the grid.

    Returns:
        Chunks of whole segments, without gaps, in order. Each decodes at most `LEAD_S` before its first frame, or half
        of its own length if that is more.
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
    """Describe how many chunks were merged, as a line of the plan's decisions; empty if none were."""
    before = len(grid.chunks())
    if len(chunks) == before:
        return ""
    index, count = conformed.track.frames, conformed.track.frame_count
    longest = max(after - here for here, after in pairwise((*index.keyframes, count)))
    keyframes = f"GOPs of up to {longest:,} frames"
    if index.is_counted:
        keyframes = "frames are counted from the start"
    elif len(index.keyframes) == 1:
        keyframes = f"one keyframe in {count:,} frames"
    return f"{keyframes} → {before} chunks merged to {len(chunks)}, so that none has to decode far back"
