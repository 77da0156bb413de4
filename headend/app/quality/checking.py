"""What of a title is measured, and when.

Evenly spread segments are measured as soon as all renditions of their chunk are encoded, with lower priority than
encoding. Suspect segments follow when everything is encoded, because only then can their sizes be compared.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from statistics import fmean

from encoder import sampling, tiles
from encoder.measure_tasks import Measuring
from headend.core import layout, measured
from headend.core.measured import Known, Reference
from headend.core.media import EncodePlan, Presentation
from headend.core.media.quality import Checking, MeasureTask
from headend.core.media.quality_reports import PredictedQuality, Thresholds
from headend.core.settings import EncodeSettings, KeySettings
from headend.core.storage import Store
from headend.core.timing import Chunk


@dataclass(slots=True)
class Check:
    """The quality check of a title.

    Attributes:
        store: The store with the title.
        title: Catalogue entry.
        measuring: How its renditions are measured.
        chunks: Its chunks.
        settings: Its encode settings.
        tracks: Ids of its video tracks.
        level: How much is measured.
        thresholds: Lowest quality of the best renditions.
        slot_bytes: Memory for a task; None for no limit.
        segment_count: Number of segments.
        predicted: Quality predicted by an analysis of the title, by track.
        hulls: By codec: the best score for each rate, from such an analysis.
        keys: Where the keys of an encrypted title come from; None for a clear one.
        known: Measurements so far.
        suspects: Numbers of segments where faults are likely; empty until all segments are encoded.
    """

    store: Store
    title: str
    measuring: Measuring
    chunks: tuple[Chunk, ...]
    settings: EncodeSettings
    tracks: tuple[str, ...]
    level: Checking
    thresholds: Thresholds
    slot_bytes: int | None
    segment_count: int
    predicted: dict[str, PredictedQuality] = field(default_factory=dict)
    hulls: dict[str, tuple[PredictedQuality, ...]] = field(default_factory=dict)
    keys: KeySettings | None = None
    known: Known = field(init=False)
    suspects: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.known = Known(self.measuring.viewing, self.measuring.every)

    def begin(self, *, discard: bool = False) -> None:
        """Record how renditions are compared, and load earlier measurements, unless ``discard`` is set."""
        reference = Reference(
            self.measuring.digest, self.settings, tuple(sorted(self.tracks)), self.predicted, self.hulls
        )
        measured.keep_reference(self.store, self.title, reference)
        if self.level is Checking.OFF or discard:
            return
        self.known = measured.known(self.store, self.title, self.measuring.viewing, self.measuring.every)

    @property
    def evenly(self) -> tuple[int, ...]:
        """Numbers of the segments that are measured in any case, spread evenly."""
        if self.level is Checking.FULL:
            return tuple(range(1, self.segment_count + 1))
        return sampling.evenly(self.segment_count) if self.level is Checking.SAMPLED else ()

    @property
    def hdr_segments(self) -> tuple[int, ...]:
        """Numbers of the segments that are measured in HDR renditions."""
        if self.level is Checking.FULL:
            return self.evenly
        few = sampling.evenly(len(self.evenly), sampling.TONED_SHARE / sampling.SHARE) if self.evenly else ()
        return (*(self.evenly[place - 1] for place in few), *self.suspects[:1])

    def first_tasks(self) -> tuple[MeasureTask, ...]:
        """Return the tasks for the evenly spread segments."""
        if self.settings.floor_vmaf is not None:
            return ()  # workers measure some renditions while encoding; the rest is known only at the end
        return self._tasks(self.evenly)

    def suspect_tasks(self, presentation: Presentation) -> tuple[MeasureTask, ...]:
        """Choose the suspects of a complete title; return the tasks for all that has not been measured.

        Args:
            presentation: The release, with all segments.
        """
        if self.settings.floor_vmaf is not None:
            for measurement in measured.measurements(self.store, self.title):
                self.known.add(measurement)
        if self.level is Checking.SAMPLED:
            self.suspects = sampling.suspects(
                {track.id: [s.size_bytes for s in track.segments] for track in presentation.video},
                {
                    track.id: [bps / track.rendition.cap_bps for bps in track.segment_bps()]
                    for track in presentation.video
                },
                self._luma(presentation),
                excluded=self.evenly,
            )
        return self._tasks((*self.evenly, *self.suspects))

    @property
    def stretch_frames(self) -> int | None:
        """Number of frames measured in each chosen segment; None for all."""
        if self.level is not Checking.SAMPLED:
            return None
        return sampling.stretch_frames(self.chunks[-1].end_frame, self.segment_count, self.measuring.every)

    def _tasks(self, segments: Iterable[int]) -> tuple[MeasureTask, ...]:
        stretch = self.stretch_frames
        return tuple(
            self.measuring.tasks(
                segments,
                self.chunks,
                partial(self.known.has, part=stretch is not None),
                toned_segments=self.hdr_segments,
                slot_bytes=self.slot_bytes,
                stretch_frames=stretch,
            )
        )

    def _luma(self, presentation: Presentation) -> list[float]:
        """Return the mean luma of each segment, from the thumbnails; empty without thumbnails."""
        track = presentation.thumbnails
        if track is None:
            return []
        laid, grid = track.rendition, presentation.grid
        values: list[float] = []
        for segment in track.segments:
            values += tiles.luma(self.store.get(layout.track_segment(self.title, track.id, segment.number)), laid)
        bounds = grid.segment_bounds()
        found = []
        for first, end in pairwise(bounds):
            places = range(
                first // laid.interval_frames, max(first // laid.interval_frames + 1, end // laid.interval_frames)
            )
            here = [values[place] for place in places if place < len(values)]
            found.append(fmean(here) if here else 0.0)
        return found


def expected_cpu_s(measuring: Measuring, plan: EncodePlan, level: Checking) -> float:
    """Predict the CPU seconds for measuring a title."""
    if level is Checking.OFF:
        return 0.0
    count, stretch = plan.grid.segment_count, None
    numbers = range(1, count + 1)
    few: Sequence[int] = numbers
    if level is Checking.SAMPLED:
        # The suspects are not known yet, but any segment costs the same.
        numbers = numbers[: sampling.sample_size(count)]
        few = numbers[: max(1, round(len(numbers) * sampling.TONED_SHARE / (2 * sampling.SHARE)))]
        stretch = sampling.stretch_frames(plan.grid.frame_count, count, measuring.every)
    tasks = measuring.tasks(numbers, plan.chunks, toned_segments=few, stretch_frames=stretch)
    return sum(task.cost for task in tasks)
