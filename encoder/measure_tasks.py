"""Plan the tasks that measure quality. Pure.

A task decodes the master's frames once, for as many renditions as fit into its memory. Segments that have been measured
are left out, so a job that is stopped continues when it is started again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise

from encoder import side_by_side
from encoder.command import CONCEALMENT, SourcePicture, VideoCommands
from encoder.identities import digest
from encoder.measuring import MAX_RENDITIONS, spacing
from encoder.picture.colour import bit_depth_of
from encoder.references import View, views
from encoder.side_by_side import FramePair
from headend.core import documents
from headend.core.media import TrackKeys, VideoRendition
from headend.core.media.quality import MeasureTask, Subject, Viewing, viewing_of
from headend.core.timing import Chunk, Grid

HD_PIXELS = 1920 * 1080
MASTER_BYTES, RENDITION_BYTES = 300_000_000, 190_000_000
"""Memory of a task, for a screen of 1080 lines: for the master, and for each rendition."""
MASTER_S, RENDITION_S, TONE_MAPPING_S = 0.018, 0.0145, 0.030
"""CPU seconds for each frame, for such a screen: to decode the master, to measure a rendition, and for a tone
mapping."""
START_S, SKIPPED_S = 0.09, 0.003
"""CPU seconds to start each rendition, and to decode a dropped frame."""

IsMeasured = Callable[[str, int, bool], bool]
"""Returns whether a segment has been measured. Arguments: the track's id, the segment's number, and whether it is
tone-mapped."""


class Measuring:
    """Plans the measurement of a title's renditions.

    Args:
        title: Catalogue entry.
        source: The master's picture.
        grid: The title's grid.
        commands: Commands that read the master.
        renditions: The video renditions.
        tracks: The track of each rendition, by the rendition's id.
        keys: The keys of each rendition's track, by the rendition's id.

    Attributes:
        viewing: The screen.
        every: Distance from one measured frame to the next.
        views: Groups of renditions that are compared with the same frames.
    """

    def __init__(
        self,
        title: str,
        source: SourcePicture,
        grid: Grid,
        commands: VideoCommands,
        renditions: Sequence[VideoRendition],
        tracks: Mapping[str, str],
        keys: Mapping[str, TrackKeys] | None = None,
    ) -> None:
        self._title, self._grid, self._commands, self._tracks = title, grid, commands, tracks
        self._keys = keys or {}
        self._conceal = source.conformed.conceal
        self.viewing: Viewing = viewing_of(*source.size, grid.frame_rate)
        self.every = spacing(grid.gop_frames)
        self.views: tuple[View, ...] = views(source, renditions)

    @property
    def digest(self) -> str:
        """Digest of the graphs that make the master's frames, for a sample of the title's segments."""
        bounds = list(pairwise(self._grid.segment_bounds()))
        sample = {0, len(bounds) // 2, len(bounds) - 1}
        frames = [self._commands.frames_part(self._chunk(index + 1, index + 1))[1] for index in sorted(sample)]
        return digest({"frames": frames, "grid": documents.as_plain(self._grid)})

    def tasks(
        self,
        segments: Iterable[int],
        chunks: Sequence[Chunk],
        is_measured: IsMeasured = lambda _track, _segment, _toned: False,
        *,
        toned_segments: Iterable[int] | None = None,
        slot_bytes: int | None = None,
        stretch_frames: int | None = None,
    ) -> Iterator[MeasureTask]:
        """Plan the tasks that measure segments of all renditions.

        Args:
            segments: Numbers of the segments.
            chunks: Chunks of the title; consecutive segments of one chunk are one task.
            is_measured: Returns whether a segment needs no measuring.
            toned_segments: Numbers of the segments of HDR renditions; None for the same.
            slot_bytes: Memory for each task; None for no limit.
            stretch_frames: Number of frames to measure, in the middle of each segment; None for all.
        """
        numbers = sorted(set(segments))
        toned_numbers = numbers if toned_segments is None else sorted(set(toned_segments))
        max_renditions = self._max_renditions(slot_bytes)
        for view in self.views:
            missing = {
                number: tuple(
                    r for r in view.renditions if not is_measured(self._tracks[r.id], number, view.tone_mapped)
                )
                for number in (toned_numbers if view.tone_mapped else numbers)
            }
            runs = _group_segments(sorted(missing), chunks, missing)
            if stretch_frames is not None:
                runs = ((number,) for run in runs for number in run)
            for run in runs:
                members = missing[run[0]]
                for start in range(0, len(members), max_renditions):
                    yield self._task(view, members[start : start + max_renditions], run, stretch_frames)

    def pair(self, rendition: str, segment: int, frame: int) -> FramePair:
        """Describe a picture of a rendition's frame side by side with the master's.

        Args:
            rendition: The rendition's id.
            segment: Number of the segment.
            frame: The frame on the grid, in that segment.
        """
        view, shown = next((view, r) for view in self.views for r in view.renditions if r.id == rendition)
        first = self._grid.segment_bounds()[segment - 1]
        input_options, frames = self._commands.frames_part(Chunk(0, frame, frame + 1, segment))
        return FramePair(
            (*(CONCEALMENT if self._conceal else ()), *input_options),
            frames,
            view.master_filters,
            view.rendition_filters,
            (frame - first) // shown.rate_divisor,
            *side_by_side.frame_size(shown.width_px, shown.height_px),
        )

    def _max_renditions(self, slot_bytes: int | None) -> int:
        scale = self._scale()
        if slot_bytes is None:
            return MAX_RENDITIONS if scale <= 1 else 3
        return max(1, min(MAX_RENDITIONS, int((slot_bytes / scale - MASTER_BYTES) // RENDITION_BYTES)))

    def _scale(self) -> float:
        return self.viewing.width_px * self.viewing.height_px / HD_PIXELS

    def _chunk(self, first: int, last: int) -> Chunk:
        bounds = self._grid.segment_bounds()
        return Chunk(0, bounds[first - 1], bounds[last], first)

    def _task(
        self, view: View, members: Sequence[VideoRendition], segments: tuple[int, ...], stretch_frames: int | None
    ) -> MeasureTask:
        whole = self._chunk(segments[0], segments[-1])
        chunk = whole if stretch_frames is None else _middle(whole, stretch_frames)
        input_options, frames = self._commands.frames_part(chunk)
        subjects = tuple(
            Subject(
                r.id,
                self._tracks[r.id],
                r.width_px,
                r.height_px,
                bit_depth_of(r),
                r.rate_divisor,
                self._keys.get(r.id),
            )
            for r in members
        )
        toned = view.tone_mapped
        frame_s = MASTER_S + len(members) * RENDITION_S + (TONE_MAPPING_S * (1 + len(members)) if toned else 0)
        inputs: dict[str, object] = {
            "tracks": [subject.track for subject in subjects],
            "segments": segments,
            "model": self.viewing.model,
            "every": self.every,
            "filters": [view.master_filters, view.rendition_filters],
        }
        if chunk != whole:
            inputs["frames"] = [chunk.first_frame, chunk.end_frame]
        return MeasureTask(
            id=f"measure-{digest(inputs)}",
            title=self._title,
            segments=segments,
            first_frame=chunk.first_frame,
            end_frame=chunk.end_frame,
            opening=(*(CONCEALMENT if self._conceal else ()), *input_options),
            frames=frames,
            master_filters=view.master_filters,
            rendition_filters=view.rendition_filters,
            tone_mapped=toned,
            subjects=subjects,
            viewing=self.viewing,
            every=self.every,
            cost=self._scale() * (chunk.frame_count * frame_s + len(members) * START_S)
            + (1 + len(members)) * (chunk.first_frame - whole.first_frame) * SKIPPED_S,
            memory_bytes=int((MASTER_BYTES + len(members) * RENDITION_BYTES) * self._scale()),
            skipped_frames=chunk.first_frame - whole.first_frame,
        )


def _middle(chunk: Chunk, frames: int) -> Chunk:
    """Frames in the middle of a segment, or all of it. Half-rate renditions have the first of these frames, too."""
    if frames >= chunk.frame_count:
        return chunk
    first = chunk.first_frame + (chunk.frame_count - frames) // 2 // 2 * 2
    return Chunk(chunk.number, first, first + frames, chunk.first_segment)


def _group_segments(
    numbers: Sequence[int], chunks: Sequence[Chunk], missing: Mapping[int, tuple[VideoRendition, ...]]
) -> Iterator[tuple[int, ...]]:
    """Group consecutive segments of one chunk in which the same renditions have to be measured."""
    starts = sorted(chunk.first_segment for chunk in chunks)

    def group_key(item: tuple[int, int]) -> tuple[int, int, tuple[VideoRendition, ...]]:
        index, number = item
        return number - index, sum(start <= number for start in starts), missing[number]

    for (_, _, members), run in groupby(enumerate(numbers), key=group_key):
        if members:
            yield tuple(number for _, number in run)
