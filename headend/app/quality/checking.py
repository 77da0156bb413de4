"""Checking the quality of a title: which segments are measured and when, and the report on the release.

Evenly spread segments are measured as soon as all renditions of their chunk are encoded, with lower priority than
encoding. Suspect segments follow when everything is encoded, because only then can their sizes be compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from encoder import loudness_curve, pairs, sampling, tiles
from encoder.loudness import LARGEST_GAIN_DB
from encoder.measure_tasks import Measuring
from headend import __version__
from headend.app.quality import judging, pages, scoring
from headend.app.quality.report import Shown, render
from headend.core import layout, measured, rates
from headend.core.errors import ObjectMissing, QualityRefused, ToolFailed
from headend.core.keys import ContentKey
from headend.core.measured import Known, Reference
from headend.core.media import (
    EncodePlan,
    Master,
    Part,
    Presentation,
    Receipt,
    Track,
    TrackKeys,
    VideoRange,
    VideoRendition,
)
from headend.core.media.quality import (
    Checking,
    MeasureTask,
    PredictedQuality,
    QualityReport,
    RenditionQuality,
    SegmentQuality,
    SoundQuality,
    Thresholds,
    TrackQuality,
)
from headend.core.settings import EncodeSettings, KeySettings
from headend.core.storage import Store, masters
from headend.core.timing import Chunk

LOW_SHARE = 0.05
"""Share of measured seconds below the score that a report calls low."""


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

    def begin(self, *, anew: bool = False) -> None:
        """Record how renditions are compared, and load earlier measurements, unless ``anew`` discards them."""
        reference = Reference(
            self.measuring.digest, self.settings, tuple(sorted(self.tracks)), self.predicted, self.hulls
        )
        measured.keep_reference(self.store, self.title, reference)
        if self.level is Checking.OFF or anew:
            return
        self.known = measured.known(self.store, self.title, self.measuring.viewing, self.measuring.every)

    @property
    def evenly(self) -> tuple[int, ...]:
        """Numbers of the segments that are measured in any case, spread evenly."""
        if self.level is Checking.FULL:
            return tuple(range(1, self.segment_count + 1))
        return sampling.evenly(self.segment_count) if self.level is Checking.SAMPLED else ()

    @property
    def _toned(self) -> tuple[int, ...]:
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
                but=self.evenly,
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
                toned_segments=self._toned,
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

    def report(self, presentation: Presentation) -> QualityReport:
        """Report on a release from the measurements so far, with the rules applied.

        Args:
            presentation: The release, with all segments.
        """
        wanted = {*self.evenly, *self.suspects}
        report = QualityReport(
            title=self.title,
            release=presentation.release,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            software=__version__,
            checking=self.level,
            viewing=self.measuring.viewing,
            every=self.measuring.every,
            grid=presentation.grid,
            evenly=self.evenly,
            suspects=self.suspects,
            thresholds=self.thresholds,
            video=tuple(self._rendition(track, presentation) for track in presentation.video),
            audio=tuple(_sound(track, self.settings.loudness_lufs) for track in presentation.audio),
            master=self.known.master,
            not_measured=tuple(self._not_measured(presentation, len(wanted))),
            cpu_s=self.known.cpu_s,
            hulls=self.hulls,
            floor_vmaf=self.settings.floor_vmaf,
        )
        return judged(report)

    def _not_measured(self, presentation: Presentation, wanted: int) -> Iterable[str]:
        count = self.segment_count
        if wanted < count:
            yield f"{count - wanted:,} of {count:,} segments: {self.level} measuring takes {wanted:,} of them"
        if (stretch := self.stretch_frames) is not None:
            yield f"the rest of these segments: {stretch} frames in the middle of each are measured"
        if self.settings.floor_vmaf is not None and self.level is Checking.SAMPLED:
            yield "sizes without a floor in other segments; the largest size of each codec was measured completely"
        toned = [track for track in presentation.video if track.rendition.video_range is not VideoRange.SDR]
        if toned and len(self._toned) < wanted:
            yield (
                f"{wanted - len(self._toned):,} of these segments of {len(toned)} HDR renditions: tone mapping costs "
                "more than measuring"
            )
        if toned:
            yield "the quality of HDR itself: there is no public model; scores compare tone-mapped pictures"
        if self.measuring.every > 1:
            yield f"frames in between: one frame in {self.measuring.every} is scored"
        if presentation.trick:
            yield "renditions for trick play"

    def _rendition(self, track: Track[VideoRendition], presentation: Presentation) -> RenditionQuality:
        rendition, toned = track.rendition, track.rendition.video_range is not VideoRange.SDR
        found = self.known.tracks.get((track.id, toned), TrackQuality(track.id, ()))
        evenly = set(self.evenly)
        fair = [s for s in found.segments if s.number in evenly] or found.segments
        seconds = sorted(second for s in found.segments for second in s.seconds)
        grid = presentation.grid
        bound = rates.Bound(rendition.cap_bps, rendition.buffer_bits, grid.segment_frames / grid.frame_rate)
        return RenditionQuality(
            rendition=rendition.id,
            track=track.id,
            codec=rendition.codec,
            width_px=rendition.width_px,
            height_px=rendition.height_px,
            rate_divisor=rendition.rate_divisor,
            video_range=rendition.video_range,
            average_bps=track.average_bps,
            peak_bps=rates.worst_bps(
                [s.size_bytes for s in track.segments],
                [s.duration_ticks for s in track.segments],
                track.timescale,
                bound,
            ),
            cap_bps=rendition.cap_bps,
            mean=_mean(fair),
            low=seconds[int(LOW_SHARE * len(seconds))] if seconds else None,
            segments=found.segments,
            black=found.black,
            frozen=found.frozen,
            other=found.other,
            predicted=self.predicted.get(track.id),
            lifts=found.lifts,
        )


_EXCUSED = "too little picture, or too small a one, to require a VMAF of "


def judged(report: QualityReport) -> QualityReport:
    """Apply the rules to a report, and state whether its limits on VMAF are excused."""
    lines = tuple(line for line in report.not_measured if not line.startswith(_EXCUSED))
    if not report.thresholds.are_asked and any(
        not judging.is_held(one, report) for one in judging.best_of_codecs(report, tone_mapped=False)
    ):
        lines += (f"{_EXCUSED}{report.thresholds.min_vmaf:g}; --qc-min-vmaf requires it anyway",)
    report = replace(report, not_measured=lines)
    return replace(report, shortfalls=judging.judge(report))


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


@dataclass(slots=True)
class Waiting:
    """Measuring tasks that wait until their chunks are encoded.

    Attributes:
        tasks: Waiting tasks, by chunk number.
        missing: Renditions that are not encoded yet, by chunk number.
    """

    tasks: dict[int, tuple[MeasureTask, ...]]
    missing: dict[int, set[str]]

    def ready(self) -> tuple[MeasureTask, ...]:
        """Remove and return the tasks whose chunks are complete."""
        numbers = [number for number in self.tasks if not self.missing.get(number)]
        return tuple(task for number in numbers for task in self.tasks.pop(number))

    def follow(self, receipt: Any) -> Sequence[MeasureTask]:
        """Return the tasks that become ready by a finished task."""
        if not isinstance(receipt, Receipt):
            return ()
        lacking = self.missing.get(receipt.chunk)
        if lacking is not None:
            lacking.difference_update(track.rendition for track in receipt.tracks)
        return self.ready()


def waiting(
    tasks: Iterable[MeasureTask], chunks: Sequence[Chunk], missing: Iterable[Part], video: Iterable[str]
) -> Waiting:
    """Make measuring tasks wait for their chunks.

    Args:
        tasks: The tasks; each is within one chunk.
        chunks: The title's chunks.
        missing: The parts that are not encoded yet.
        video: Ids of the video renditions.
    """
    renditions = set(video)
    by_chunk: dict[int, list[MeasureTask]] = {}
    for task in tasks:
        number = max(chunk.number for chunk in chunks if chunk.first_segment <= task.segments[0])
        by_chunk.setdefault(number, []).append(task)
    lacking: dict[int, set[str]] = {}
    for rendition, chunk in missing:
        if rendition in renditions:
            lacking.setdefault(chunk, set()).add(rendition)
    return Waiting({number: tuple(found) for number, found in by_chunk.items()}, lacking)


def conclude(
    check: Check, presentation: Presentation, master: Master, endpoint_url: str | None
) -> tuple[QualityReport, tuple[Shown, ...]]:
    """Write the report on a release to the store, then delete the tasks' measurements.

    Args:
        check: The finished check.
        presentation: The release, with all segments.
        master: The master of the release.
        endpoint_url: S3 endpoint of the master.

    Returns:
        The report, and pictures of the worst segments.
    """
    store, title = check.store, check.title
    keys = _keys(check, presentation)
    report = replace(check.report(presentation), loudness_lufs=_loudness(store, presentation, keys))
    before = measured.read_report(store, title, report.release)
    if before is not None:
        # Overrides of an earlier report stay on record, and its cost counts too.
        report = replace(report, overrides=before.overrides, cpu_s=report.cpu_s + before.cpu_s)
    protection = presentation.protection
    locked = {track.id: protection.track_keys(track.kids) for track in presentation.video} if protection else {}
    shown = pictures(check, report, master, endpoint_url, locked, keys)
    page = render(report, shown)
    store.put(layout.report_page(title, report.release), page.encode())
    measured.write_report(store, report)
    measured.tidy(store, title, check.known.tasks)
    return report, shown


def _keys(check: Check, presentation: Presentation) -> Mapping[str, ContentKey]:
    """Open the keys of an encrypted title, by their ids."""
    if check.keys is None or presentation.protection is None:
        return {}
    from headend.app import content_keys

    return content_keys.opened(check.keys, check.title, presentation.protection.names)


def pictures(
    check: Check,
    report: QualityReport,
    master: Master,
    endpoint_url: str | None,
    locked: Mapping[str, TrackKeys] | None = None,
    keys: Mapping[str, ContentKey] | None = None,
) -> tuple[Shown, ...]:
    """Make pictures of the worst segments of the best renditions beside the master; reuse those in the store.

    Args:
        check: The finished check.
        report: The report that they are for.
        master: The master of the release.
        endpoint_url: S3 endpoint of the master.
        locked: Key names of encrypted tracks, by the tracks' ids.
        keys: The keys, by their ids.
    """
    store, title = check.store, check.title
    made = []
    with (
        masters.opened(master, endpoint_url) as source,
        TemporaryDirectory(prefix="headend-") as name,
    ):
        for rendition, segment in judging.worst_segments(report, pages.PICTURES):
            key = layout.report_picture(title, report.release, rendition.track, segment.worst_frame)
            try:
                data = store.get(key)
            except ObjectMissing:
                path = Path(name) / "rendition.mp4"
                used = (locked or {}).get(rendition.track)
                scoring.fetch(store, title, rendition.track, (segment.number,), path, used, keys)
                pair = check.measuring.pair(rendition.rendition, segment.number, segment.worst_frame)
                try:
                    data = pairs.make(pair, path, source.url, Path(name) / "pair.jpg")
                except ToolFailed:
                    continue  # a missing picture must not prevent the report
                (Path(name) / "pair.jpg").unlink()
                store.put(key, data)
            made.append(Shown(rendition, segment, data))
    return tuple(made)


def _loudness(store: Store, presentation: Presentation, keys: Mapping[str, ContentKey]) -> tuple[float | None, ...]:
    """Measure the loudness of the default sound over time."""
    tracks = presentation.audio
    if not tracks:
        return ()
    track = next((track for track in tracks if track.rendition.default), tracks[0])
    with TemporaryDirectory(prefix="headend-") as name:
        path = Path(name) / "sound.mp4"
        numbers = [segment.number for segment in track.segments]
        used = presentation.protection.track_keys(track.kids) if presentation.protection else None
        scoring.fetch(store, presentation.title, track.id, numbers, path, used, keys)
        return loudness_curve.measure(path)


def refuse(report: QualityReport, store: Store) -> None:
    """Raise `QualityRefused` if a report has failures, unless the release was published despite them."""
    failures = report.failures
    if not failures or report.overrides:
        return
    rules = judging.rules_broken(failures)
    count = f"{len(rules)} rules" if len(rules) > 1 else f"the rule on {rules[0]!r}"
    raise QualityRefused(
        f"release {report.release} of {report.title!r} is complete but not published, since it fails {count}: "
        f"{failures[0].message}. See 'headend quality {report.title} {report.release}'; to publish it anyway, run "
        f"'headend publish {report.title} {report.release} --despite-quality'",
        title=report.title,
        release=report.release,
        rules=list(rules),
        failures=[one.message for one in failures[:20]],
        report=f"{store.url}/{layout.report(report.title, report.release)}",
    )


def _mean(segments: Sequence[SegmentQuality]) -> float | None:
    frames = sum(segment.frames for segment in segments)
    return round(sum(s.mean * s.frames for s in segments) / frames, 2) if frames else None


def _sound(track: Track[Any], target_lufs: float | None) -> SoundQuality:
    loudness = track.loudness
    return SoundQuality(
        track.rendition.id,
        target_lufs,
        loudness.result_lufs if loudness else None,
        loudness.result_dbtp if loudness else None,
        raised_most=loudness is not None and loudness.gain_db >= LARGEST_GAIN_DB,
    )
