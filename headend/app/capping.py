"""Keeping renditions below their caps: segments that are too large are encoded again.

Encoders exceed caps: constant quality has none, and a rate model only approximates it. So a worker measures its output
and encodes single segments again until they fit. The outcome depends on the rendition and chunk alone, so that every
grouping of renditions gives the same bytes.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from encoder import encoding, reencoding
from encoder.encoding import Encoded
from encoder.reencoding import Reencode
from headend.core import rates
from headend.core.media import EncodedTrack, EncodeTask, Segment
from headend.core.rates import Bound, Window
from headend.core.timing import Chunk, Grid, ceil_div, timescale
from packager.segmenting.splicing import splice

ATTEMPTS = 6
"""Maximum number of times that a segment is encoded again: twice as usual, then with less and less detail."""

Encode = Callable[[EncodeTask, Path], Encoded]
"""Carries out a task in a scratch folder."""
Measure = Callable[[str, Chunk, memoryview], EncodedTrack]
"""Describes an encoded file of a rendition's chunk."""


@dataclass(frozen=True, slots=True)
class Capped:
    """The outcome of keeping a task's renditions below their caps.

    Attributes:
        window_bps: By rendition: the highest rate in any window of the chunk.
        encoded_again: By rendition: numbers of the segments that were encoded again.
        runs: The additional encodes.
    """

    window_bps: Mapping[str, int] = field(default_factory=dict)
    encoded_again: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    runs: tuple[Encoded, ...] = ()

    def annotated(self, track: EncodedTrack) -> EncodedTrack:
        """Return a track with its window rate and the segments that were encoded again."""
        id = track.rendition
        return replace(track, window_bps=self.window_bps.get(id, 0), encoded_again=self.encoded_again.get(id, ()))

    def updated(self, other: "Capped", renditions: Collection[str]) -> "Capped":
        """Return this outcome with that of ``renditions`` replaced by another one."""
        return replace(
            self,
            window_bps={**self.window_bps, **{id: bps for id, bps in other.window_bps.items() if id in renditions}},
            encoded_again={
                **{id: numbers for id, numbers in self.encoded_again.items() if id not in renditions},
                **{id: numbers for id, numbers in other.encoded_again.items() if id in renditions},
            },
        )

    def total(self, first: Encoded) -> Encoded:
        """Add the cost of the additional encodes to that of the first one."""
        return replace(
            first,
            cpu_s=first.cpu_s + sum(run.cpu_s for run in self.runs),
            wall_s=first.wall_s + sum(run.wall_s for run in self.runs),
            peak_memory_bytes=max(first.peak_memory_bytes, *(run.peak_memory_bytes for run in self.runs), 0),
        )


def cap(
    task: EncodeTask,
    scratch: Path,
    grid: Grid,
    divisors: Mapping[str, int],
    *,
    encode: Encode,
    measure: Measure,
) -> Capped:
    """Encode segments again that are above their caps, and replace them in the task's output files.

    Args:
        task: A finished video task.
        scratch: The folder with its outputs.
        grid: The title's grid.
        divisors: N of renditions that keep one frame in N, by id.
        encode: Carries out a task that is derived from this one.
        measure: Describes an encoded file.

    Raises:
        ToolFailed: FFmpeg failed.
        ChunkRejected: The output is not what the task asked for.
    """
    chunk = task.chunk
    bounds = {
        id: bound
        for id, bound in reencoding.bounds(task.argv, grid.segment_frames / grid.frame_rate).items()
        if _has_output(encoding.output(scratch, id))
    }
    segments = {id: _segments(encoding.output(scratch, id), id, chunk, measure) for id in bounds}
    reencoded: dict[str, tuple[int, ...]] = {}
    runs: list[Encoded] = []
    for index, part in enumerate(_parts(chunk, grid)):
        factors: dict[str, tuple[Fraction, ...]] = {}
        for _ in range(ATTEMPTS):
            large = {
                id: shrinking[index]
                for id, bound in bounds.items()
                if index in (shrinking := _shrinking(segments[id], bound, grid, chunk))
            }
            if not large:
                break
            factors = {id: (*factors.get(id, ()), factor) for id, factor in large.items()}
            requests = [_reencode(id, part, chunk, divisors.get(id, 1), known) for id, known in factors.items()]
            derived = replace(
                task,
                chunk=part,
                renditions=tuple(factors),
                argv=reencoding.reencode(task.argv, requests),
                sheets=(),
                posters=(),
            )
            with TemporaryDirectory(prefix="again-", dir=scratch) as name:
                folder = Path(name)
                runs.append(encode(derived, folder))
                for id in factors:
                    (segment,) = _segments(encoding.output(folder, id), id, part, measure)
                    if segment.size_bytes < segments[id][index].size_bytes:
                        first_gop = (part.first_frame - chunk.first_frame) // grid.gop_frames
                        _splice(encoding.output(scratch, id), first_gop, encoding.output(folder, id))
                        segments[id][index] = segment
                        reencoded[id] = (*(n for n in reencoded.get(id, ()) if n != segment.number), segment.number)
    worst = {
        id: max(window.rate_bps for window in _windows(segments[id], bound, grid, chunk))
        for id, bound in bounds.items()
    }
    return Capped(worst, reencoded, tuple(runs))


def at_cap(
    task: EncodeTask, rendition: str, path: Path, grid: Grid, *, measure: Measure, share: float
) -> frozenset[int]:
    """Return the numbers of segments whose rate is at least a share of their rendition's cap.

    Args:
        task: The task that encoded the file.
        rendition: The rendition's id.
        path: The encoded file.
        grid: The title's grid.
        measure: Describes an encoded file.
        share: Share of the cap.
    """
    bound = reencoding.bounds(task.argv, grid.segment_frames / grid.frame_rate).get(rendition)
    if bound is None:
        return frozenset()
    ticks_per_second = timescale(grid.frame_rate).ticks_per_second
    return frozenset(
        segment.number
        for segment in _segments(path, rendition, task.chunk, measure)
        if 8 * segment.size_bytes * ticks_per_second >= share * bound.cap_bps * segment.duration_ticks
    )


def _has_output(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _parts(chunk: Chunk, grid: Grid) -> list[Chunk]:
    """Split a chunk into chunks of one segment each."""
    return [
        Chunk(chunk.number, first, end, chunk.first_segment + index)
        for index, (first, end) in enumerate(pairwise(grid.bounds_of(chunk)))
    ]


def _segments(path: Path, id: str, chunk: Chunk, measure: Measure) -> list[Segment]:
    with path.open("rb") as file:
        return list(measure(id, chunk, _mapped(file)).segments)


def _mapped(file: BinaryIO) -> memoryview:
    return memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))


def _shrinking(segments: Sequence[Segment], bound: Bound, grid: Grid, chunk: Chunk) -> dict[int, Fraction]:
    return rates.shrinking(
        _windows(segments, bound, grid, chunk),
        [segment.size_bytes for segment in segments],
        [segment.duration_ticks for segment in segments],
        timescale(grid.frame_rate).ticks_per_second,
        bound,
    )


def _windows(segments: Sequence[Segment], bound: Bound, grid: Grid, chunk: Chunk) -> list[Window]:
    return list(
        rates.windows(
            [segment.size_bytes for segment in segments],
            [segment.duration_ticks for segment in segments],
            timescale(grid.frame_rate).ticks_per_second,
            bound,
            begins=chunk.first_frame == 0,
            ends=chunk.end_frame == grid.frame_count,
        )
    )


def _reencode(id: str, part: Chunk, chunk: Chunk, divisor: int, factors: tuple[Fraction, ...]) -> Reencode:
    first, end = (ceil_div(frame - chunk.first_frame, divisor) for frame in (part.first_frame, part.end_frame))
    return Reencode(id, first, end, factors, Fraction(part.frame_count, (end - first) * divisor))


def _splice(path: Path, first_gop: int, part: Path) -> None:
    new = path.with_suffix(".spliced")
    with path.open("rb") as old_file, part.open("rb") as part_file, new.open("wb") as out:
        splice(_mapped(old_file), first_gop, _mapped(part_file), out)
    new.replace(path)
