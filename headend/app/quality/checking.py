"""Quality of a title: which segments are measured and when, and the report that decides about a release.

Segments that are spread evenly are measured as soon as all renditions of their chunk are there, behind all encode
tasks; suspects follow when everything is encoded, since only then their sizes can be compared.
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
from headend.app.quality import judging, scoring
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

PICTURES = 8
"""Segments that a report shows."""
LOW_SHARE = 0.05
"""Share of measured seconds that lie below what a report calls low."""


@dataclass(slots=True)
class Check:
    """The measuring of a title.

    Attributes:
        store: Where the title is.
        title: Catalogue entry.
        measuring: How its renditions are measured.
        chunks: Its chunks.
        settings: What was chosen of its encode.
        tracks: Ids of its video tracks.
        level: How much is measured.
        thresholds: What the best renditions have to reach.
        slot_bytes: Memory for a task; None for no limit.
        segment_count: Segments of the title.
        predicted: What an analysis of the title has predicted for its renditions, by track.
        hulls: By codec: the best score for each rate, as such an analysis has found it.
        keys: Where the keys of an encrypted title come from; None for a clear one.
        known: What was measured so far.
        suspects: Numbers of the segments in which faults are likely, once they are known.
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
        """Write down how renditions are compared, and read what was measured before; nothing where that is void."""
        reference = Reference(
            self.measuring.digest, self.settings, tuple(sorted(self.tracks)), self.predicted, self.hulls
        )
        measured.keep_reference(self.store, self.title, reference)
        if self.level is Checking.OFF or anew:
            return
        self.known = measured.known(self.store, self.title, self.measuring.viewing, self.measuring.every)

    @property
    def evenly(self) -> tuple[int, ...]:
        """Numbers of the segments that are measured whatever is in them."""
        if self.level is Checking.FULL:
            return tuple(range(1, self.segment_count + 1))
        return sampling.evenly(self.segment_count) if self.level is Checking.SAMPLED else ()

    @property
    def _toned(self) -> tuple[int, ...]:
        """Numbers of the segments of HDR renditions that are measured."""
        if self.level is Checking.FULL:
            return self.evenly
        few = sampling.evenly(len(self.evenly), sampling.TONED_SHARE / sampling.SHARE) if self.evenly else ()
        return (*(self.evenly[place - 1] for place in few), *self.suspects[:1])

    def first_tasks(self) -> tuple[MeasureTask, ...]:
        """The tasks for the segments that are spread evenly."""
        if self.settings.floor_vmaf is not None:
            return ()  # workers measure some renditions before they store them: what is left is known at the end
        return self._tasks(self.evenly)

    def suspect_tasks(self, presentation: Presentation) -> tuple[MeasureTask, ...]:
        """The tasks for everything that is left once a title is complete; chooses the suspects.

        Args:
            presentation: The title, with all segments.
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
        """How many frames of each chosen segment are measured; None for all of them."""
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
        """Mean luma of each segment, by the thumbnails; nothing where there are none."""
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
        """What is known of a release, held against all rules.

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
        if not self.thresholds.are_asked and any(
            not judging.is_held(one, report) for one in judging.best_of_codecs(report, tone_mapped=False)
        ):
            line = (
                f"too little, or too small a picture, to hold the best renditions to a VMAF of "
                f"{self.thresholds.min_vmaf:g}; --qc-min-vmaf does so all the same"
            )
            report = replace(report, not_measured=(*report.not_measured, line))
        return replace(report, shortfalls=judging.judge(report))

    def _not_measured(self, presentation: Presentation, wanted: int) -> Iterable[str]:
        count = self.segment_count
        if wanted < count:
            yield f"{count - wanted:,} of {count:,} segments: {self.level} measuring looks at {wanted:,} of them"
        if (stretch := self.stretch_frames) is not None:
            yield f"the rest of these segments: {stretch} frames in the middle of each are looked at"
        if self.settings.floor_vmaf is not None and self.level is Checking.SAMPLED:
            yield "this holds for sizes without a floor; the largest size of each codec was measured whole"
        toned = [track for track in presentation.video if track.rendition.video_range is not VideoRange.SDR]
        if toned and len(self._toned) < wanted:
            yield (
                f"{wanted - len(self._toned):,} of these segments of {len(toned)} HDR renditions: tone mapping costs "
                "more than measuring"
            )
        if toned:
            yield "how HDR looks: there is no public model of it; scores compare tone-mapped pictures"
        if self.measuring.every > 1:
            yield f"frames in between: one in {self.measuring.every} is scored"
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


def expected_cpu_s(measuring: Measuring, plan: EncodePlan, level: Checking) -> float:
    """CPU seconds that measuring a whole title is expected to take."""
    if level is Checking.OFF:
        return 0.0
    count, stretch = plan.grid.segment_count, None
    numbers = range(1, count + 1)
    few: Sequence[int] = numbers
    if level is Checking.SAMPLED:
        # Which ones are suspects is not known yet; they cost the same.
        numbers = numbers[: sampling.sample_size(count)]
        few = numbers[: max(1, round(len(numbers) * sampling.TONED_SHARE / (2 * sampling.SHARE)))]
        stretch = sampling.stretch_frames(plan.grid.frame_count, count, measuring.every)
    tasks = measuring.tasks(numbers, plan.chunks, toned_segments=few, stretch_frames=stretch)
    return sum(task.cost for task in tasks)


@dataclass(slots=True)
class Waiting:
    """Measure tasks that wait for the renditions of their chunks.

    Attributes:
        tasks: The tasks of each chunk, by its number.
        missing: The renditions that each chunk lacks, by its number.
    """

    tasks: dict[int, tuple[MeasureTask, ...]]
    missing: dict[int, set[str]]

    def ready(self) -> tuple[MeasureTask, ...]:
        """The tasks that need not wait any longer; each is given once."""
        numbers = [number for number in self.tasks if not self.missing.get(number)]
        return tuple(task for number in numbers for task in self.tasks.pop(number))

    def follow(self, receipt: Any) -> Sequence[MeasureTask]:
        """The tasks that a task which has just ended makes ready."""
        if not isinstance(receipt, Receipt):
            return ()
        lacking = self.missing.get(receipt.chunk)
        if lacking is not None:
            lacking.difference_update(track.rendition for track in receipt.tracks)
        return self.ready()


def waiting(
    tasks: Iterable[MeasureTask], chunks: Sequence[Chunk], missing: Iterable[Part], video: Iterable[str]
) -> Waiting:
    """Let tasks wait for their chunks.

    Args:
        tasks: The tasks; each lies in one chunk.
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
    """Make the report on a release, and keep it in the store; what tasks have left is removed then.

    Args:
        check: What was measured.
        presentation: The release, with all segments.
        master: The file that it was made of.
        endpoint_url: S3 endpoint of the master.

    Returns:
        The report, and the pictures of its worst segments.
    """
    store, title = check.store, check.title
    keys = _keys(check, presentation)
    report = replace(check.report(presentation), loudness_lufs=_loudness(store, presentation, keys))
    before = measured.read_report(store, title, report.release)
    if before is not None:
        # What was decided about a release stays on record, and so does what its measuring has cost before.
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
    """The keys of an encrypted title, by their ids."""
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
    """The worst segments of the best renditions beside the master; pictures that the store has are not made again.

    Args:
        check: What was measured.
        report: The report that they are for.
        master: The file that the release was made of.
        endpoint_url: S3 endpoint of the master.
        locked: What encrypted tracks are encrypted with, by the tracks' ids.
        keys: The keys, by their ids.
    """
    store, title = check.store, check.title
    made = []
    with (
        masters.opened(master, endpoint_url) as source,
        TemporaryDirectory(prefix="headend-") as name,
    ):
        for rendition, segment in judging.worst_segments(report, PICTURES):
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
                    continue  # a report does without a picture, a title not without its report
                (Path(name) / "pair.jpg").unlink()
                store.put(key, data)
            made.append(Shown(rendition, segment, data))
    return tuple(made)


def _loudness(store: Store, presentation: Presentation, keys: Mapping[str, ContentKey]) -> tuple[float | None, ...]:
    """The loudness of the default sound over the title's time."""
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
        f"{failures[0].message}. See 'headend quality {report.title} {report.release}'; publish it all the same with "
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
