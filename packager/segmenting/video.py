"""Cuts an encoded chunk of picture into segments.

FFmpeg writes one fragment per GOP, with times from the chunk's start. Fragments get their times in the title, and
composition offsets that are never negative: with negative ones, players based on FFmpeg or GStreamer show the picture
frames late. The init segment's edit list compensates the shift.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from headend.core import boxes
from headend.core.errors import ChunkRejected, PlanMismatch
from headend.core.media import Segment
from headend.core.timing import Chunk, Grid, timescale
from packager import init_segments
from packager.fragments import Fragment, read_fragments, sync_ranges
from packager.segmenting.cut import Bodies, Cut, ceil_div, cut_of, release_pages
from packager.segmenting.protection import Clear, Protect, protected

REORDER_FRAMES = 2
"""Most frames between the decoding and the presentation of a frame: B-frames used as references need two."""
_REORDERED = frozenset({"avc1", "hvc1"})
"""Sample entries of codecs with frame reordering; AV1 and VP9 hide it inside samples."""


@boxes.damage_as_packaging_error()
def cut_video(
    data: memoryview,
    *,
    rendition: str,
    grid: Grid,
    chunk: Chunk,
    rate_divisor: int,
    vp9_level: str | None = None,
    protect: Protect = Clear,
) -> Cut:
    """Cut an encoded chunk into segments, with times in the title.

    Args:
        data: The encoder's complete file.
        rendition: Id of the rendition, for the receipt and errors.
        grid: The title's grid.
        chunk: The encoded frames.
        rate_divisor: One frame of the grid in this many was kept.
        vp9_level: Level to state in ``vpcC``: FFmpeg's muxer derives one from the size alone, which is too low at high
            frame rates.
        protect: Encrypts the segments.

    Returns:
        The init segment, the segments and their description.

    Raises:
        ChunkRejected: Frames are missing.
        PlanMismatch: There are too many frames, a GOP does not start on the grid, or a fragment has no sync frame at
            its start, or more than one.
        PackagingError: The file is damaged.
    """
    init, gops = _read(data, rendition)
    if vp9_level is not None:
        init = init_segments.with_vp9_level(init, vp9_level)
    ticks = timescale(grid.frame_rate)
    frame_ticks = ticks.frame_ticks * rate_divisor
    if boxes.timescale(init) != ticks.ticks_per_second:
        raise PlanMismatch(f"{rendition}: the encoder chose another timescale than the plan", chunk=chunk.number)
    gop_frames = grid.gop_frames // rate_divisor
    _check_gops(gops, rendition, chunk, gop_frames=gop_frames, frame_ticks=frame_ticks, rate_divisor=rate_divisor)

    reordered = gop_frames > 1 and boxes.sample_entry(init).kind in _REORDERED
    shift_ticks = REORDER_FRAMES * frame_ticks if reordered else 0
    if shift_ticks:
        init = init_segments.with_offset_edit(init, shift_ticks)
    protector = protect(init)
    bounds = grid.bounds_of(chunk)
    first_gop = chunk.first_frame // grid.gop_frames
    offset_ticks = chunk.first_frame * ticks.frame_ticks
    if gop_frames == 1:  # the picture of a short last GOP ends with the GOP
        shown_frames = chunk.end_frame - (first_gop + len(gops) - 1) * grid.gop_frames
        (picture,) = gops[-1].samples
        gops[-1] = replace(gops[-1], samples=(picture._replace(duration_ticks=shown_frames * ticks.frame_ticks),))

    def fragments_of(number: int, first: int, end: int) -> Iterator[bytes]:
        for index in range(first // grid.gop_frames, ceil_div(end, grid.gop_frames)):
            gop = gops[index - first_gop]
            samples = [s._replace(composition_ticks=s.composition_ticks + shift_ticks) for s in gop.samples]
            if min(sample.composition_ticks for sample in samples) < 0:
                raise PlanMismatch(f"{rendition}: frames of chunk {chunk.number} are reordered further than planned")
            media = data[gop.media : gop.media + sum(sample.size_bytes for sample in samples)]
            yield protector.fragment(
                index + 1,
                gop.decode_ticks + offset_ticks,
                samples,
                media,
                first=index * gop_frames,
                segment=number,
            )

    segments = []
    for number, (first, end) in enumerate(pairwise(bounds), start=chunk.first_segment):
        segment_gops = gops[first // grid.gop_frames - first_gop : ceil_div(end, grid.gop_frames) - first_gop]
        parts = list(fragments_of(number, first, end))
        release_pages(data)
        body = protector.segment(b"".join(parts), number)
        segments.append(
            Segment(
                number=number,
                start_ticks=first * ticks.frame_ticks,
                duration_ticks=sum(gop.duration_ticks for gop in segment_gops),
                samples=sum(len(gop.samples) for gop in segment_gops),
                size_bytes=len(body),
                sha256=hashlib.sha256(body).hexdigest(),
                sync=tuple(sync_ranges(parts, segment_gops)),
            )
        )

    def segment_body(number: int, first: int, end: int) -> bytes:
        body = b"".join(fragments_of(number, first, end))
        release_pages(data)
        return protector.segment(body, number)

    bodies = Bodies(lambda: (segment_body(n, *bound) for n, bound in enumerate(pairwise(bounds), chunk.first_segment)))
    cut = cut_of(rendition, protector.init, bodies, segments, ticks.ticks_per_second, priming_samples=0)
    return protected(cut, protector)


def _check_gops(
    gops: Sequence[Fragment], rendition: str, chunk: Chunk, *, gop_frames: int, frame_ticks: int, rate_divisor: int
) -> None:
    """Check the number of a chunk's frames, and that each GOP is on the grid."""
    expected = ceil_div(chunk.frame_count, rate_divisor)
    actual = sum(len(gop.samples) for gop in gops)
    if actual != expected:
        # Missing frames may be due to a master that could not be read completely; extra frames can't.
        kind = ChunkRejected if actual < expected else PlanMismatch
        raise kind(f"{rendition}: chunk {chunk.number} has {actual} frames, not {expected}")
    for number, fragment in enumerate(gops):
        rest = expected - number * gop_frames
        aligned = (
            len(fragment.samples) == min(gop_frames, rest)
            and fragment.samples[0].sync
            and not any(sample.sync for sample in fragment.samples[1:])
            and all(sample.duration_ticks == frame_ticks for sample in fragment.samples)
            and fragment.decode_ticks == number * gop_frames * frame_ticks
        )
        if not aligned:
            raise PlanMismatch(f"{rendition}: GOP {number} of chunk {chunk.number} is not on the grid")


def _read(data: memoryview, rendition: str) -> tuple[bytes, list[Fragment]]:
    gops = list(read_fragments(data))
    if not gops:
        raise ChunkRejected(f"{rendition}: the encoder wrote no frames")
    return bytes(data[: gops[0].start]), gops
