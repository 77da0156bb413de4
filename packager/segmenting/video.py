"""Cuts an encoded chunk of picture into segments.

FFmpeg writes one fragment per GOP, with times from the chunk's start. Fragments get their times in the title, and
composition offsets that are never negative: with negative ones, players based on FFmpeg or GStreamer show the picture
frames late. The init segment's edit list compensates the shift.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from headend.core import boxes
from headend.core.errors import ChunkRejected, PlanMismatch
from headend.core.media import Segment
from headend.core.timing import Chunk, Grid, ceil_div, timescale
from packager import init_segments
from packager.fragments import Fragment, read_fragments, sync_ranges
from packager.segmenting.cut import Bodies, Cut, cut_of, release_pages
from packager.segmenting.protection import Clear, Protect, Protector, protected

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
    if gop_frames == 1:
        _end_with_its_gop(gops, grid, chunk)
    protector = protect(init)
    cutter = _Cutter(data, gops, rendition, grid, chunk, gop_frames, shift_ticks, protector)
    numbered = enumerate(pairwise(grid.bounds_of(chunk)), start=chunk.first_segment)
    spans = [(number, first, end) for number, (first, end) in numbered]
    segments = [cutter.segment(*span) for span in spans]
    bodies = Bodies(lambda: (cutter.body(*span)[0] for span in spans))
    cut = cut_of(rendition, protector.init, bodies, segments, ticks.ticks_per_second, priming_samples=0)
    return protected(cut, protector)


@dataclass(frozen=True, slots=True)
class _Cutter:
    """Cuts the segments of a chunk.

    Attributes:
        data: The encoder's complete file.
        gops: The fragments in it, one per GOP.
        rendition: Id of the rendition, for errors.
        grid: The title's grid.
        chunk: The encoded frames.
        gop_frames: Frames of the rendition in a GOP.
        shift_ticks: Added to composition times, so that none is negative.
        protector: Encrypts the segments.
    """

    data: memoryview
    gops: Sequence[Fragment]
    rendition: str
    grid: Grid
    chunk: Chunk
    gop_frames: int
    shift_ticks: int
    protector: Protector

    def segment(self, number: int, first: int, end: int) -> Segment:
        """Describe the segment of the frames from ``first`` to before ``end``."""
        body, parts = self.body(number, first, end)
        gops = self._gops(first, end)
        return Segment(
            number=number,
            start_ticks=first * timescale(self.grid.frame_rate).frame_ticks,
            duration_ticks=sum(gop.duration_ticks for gop in gops),
            samples=sum(len(gop.samples) for gop in gops),
            size_bytes=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            sync=tuple(sync_ranges(parts, gops)),
        )

    def body(self, number: int, first: int, end: int) -> tuple[bytes, list[bytes]]:
        """Return a segment's bytes, and the fragments that they were made from."""
        parts = list(self._fragments(number, first, end))
        release_pages(self.data)
        return self.protector.segment(b"".join(parts), number), parts

    def _gops(self, first: int, end: int) -> Sequence[Fragment]:
        before = self.chunk.first_frame // self.grid.gop_frames
        return self.gops[first // self.grid.gop_frames - before : ceil_div(end, self.grid.gop_frames) - before]

    def _fragments(self, number: int, first: int, end: int) -> Iterator[bytes]:
        offset_ticks = self.chunk.first_frame * timescale(self.grid.frame_rate).frame_ticks
        for index, gop in enumerate(self._gops(first, end), first // self.grid.gop_frames):
            samples = [s._replace(composition_ticks=s.composition_ticks + self.shift_ticks) for s in gop.samples]
            if min(sample.composition_ticks for sample in samples) < 0:
                raise PlanMismatch(
                    f"{self.rendition}: frames of chunk {self.chunk.number} are reordered further than planned"
                )
            media = self.data[gop.media : gop.media + sum(sample.size_bytes for sample in samples)]
            yield self.protector.fragment(
                index + 1,
                gop.decode_ticks + offset_ticks,
                samples,
                media,
                first=index * self.gop_frames,
                segment=number,
            )


def _end_with_its_gop(gops: list[Fragment], grid: Grid, chunk: Chunk) -> None:
    """With one picture per GOP, the picture of a short last GOP ends with the GOP."""
    first_gop = chunk.first_frame // grid.gop_frames
    shown_frames = chunk.end_frame - (first_gop + len(gops) - 1) * grid.gop_frames
    (picture,) = gops[-1].samples
    duration_ticks = shown_frames * timescale(grid.frame_rate).frame_ticks
    gops[-1] = replace(gops[-1], samples=(picture._replace(duration_ticks=duration_ticks),))


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
