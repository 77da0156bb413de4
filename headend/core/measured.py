"""Reads and writes a title's quality documents: comparison settings, measurements and reports.

Servers never serve these documents. Each task's result is a document, so that interrupted work can resume. Once a
report includes a result, its document is removed; later reports read the earlier reports instead.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from headend.core import documents, layout
from headend.core.errors import ObjectMissing
from headend.core.media.quality import MasterSamples, Measurement, SegmentQuality, Span, TrackQuality, Viewing
from headend.core.media.quality_reports import Override, PredictedQuality, QualityReport
from headend.core.settings import EncodeSettings
from headend.core.storage import Store

THREADS = 16
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Reference:
    """How to compare some renditions of a title with their master, long after they were encoded.

    Attributes:
        digest: Digest of the reference frames: equal settings give equal frames, unless the decoder differs.
        settings: The encode's settings.
        tracks: Video tracks encoded from these frames.
        predicted: Predictions of the title's analysis for some of the tracks.
        hulls: Best score for each rate, by codec, from the same analysis.
    """

    digest: str
    settings: EncodeSettings
    tracks: tuple[str, ...]
    predicted: dict[str, PredictedQuality] = field(default_factory=dict)
    hulls: dict[str, tuple[PredictedQuality, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Known:
    """The measurements of a title for one screen.

    Attributes:
        viewing: The screen.
        every: Interval of measured frames, in frames.
        tracks: Results by track and whether it was tone-mapped; segments in order.
        master: Observations about the measured parts of the master.
        tasks: Ids of the tasks whose documents are in the store.
        cpu_s: CPU seconds of these tasks.
    """

    viewing: Viewing
    every: int
    tracks: dict[tuple[str, bool], TrackQuality] = field(default_factory=dict)
    master: MasterSamples = field(default_factory=MasterSamples)
    tasks: set[str] = field(default_factory=set)
    cpu_s: float = 0.0

    def has(self, track: str, segment: int, toned: bool, *, part: bool = False) -> bool:
        """Whether a segment of a track was measured: completely, or with ``part`` at least in part."""
        known_track = self.tracks.get((track, toned))
        segments = known_track.segments if known_track is not None else ()
        index = bisect_left(segments, segment, key=lambda known_segment: known_segment.number)
        return index < len(segments) and segments[index].number == segment and (part or not segments[index].is_part)

    def add(self, measurement: Measurement) -> None:
        """Add a task's results."""
        if (measurement.model, measurement.every) != (self.viewing.model, self.every) or measurement.task in self.tasks:
            return
        for track in measurement.tracks:
            self._add(track, toned=measurement.tone_mapped)
        self.master = _together(self.master, measurement.master)
        self.tasks.add(measurement.task)
        self.cpu_s += measurement.cpu_s

    def add_report(self, report: QualityReport) -> None:
        """Add the results of an earlier report."""
        if (report.viewing.model, report.every) != (self.viewing.model, self.every):
            return
        for result in report.video:
            if result.segments:
                self._add(
                    TrackQuality(result.track, result.segments, lifts=result.lifts, **result.by_kind()),
                    toned=result.tone_mapped,
                )
        self.master = _together(self.master, report.master)

    def _add(self, more: TrackQuality, *, toned: bool) -> None:
        known = self.tracks.get((more.track, toned), TrackQuality(more.track, ()))
        # If a segment was measured twice, a complete measurement wins over a partial one, then the earlier one.
        both = sorted((*more.segments, *known.segments), key=lambda segment: not segment.is_part)
        segments: dict[int, SegmentQuality] = {segment.number: segment for segment in both}
        lifts = {lift.chunk: lift for lift in (*known.lifts, *more.lifts)}
        self.tracks[more.track, toned] = TrackQuality(
            more.track,
            tuple(segments[number] for number in sorted(segments)),
            lifts=tuple(lifts[chunk] for chunk in sorted(lifts)),
            **{
                # Two stray frames are two faults, however close they are.
                kind: merged((*spans, *more.by_kind()[kind]), gap_frames=0 if kind == "stray" else self.every)
                for kind, spans in known.by_kind().items()
            },
        )


def merged(spans: Iterable[Span], *, gap_frames: int = 0) -> tuple[Span, ...]:
    """Merge spans that overlap, touch, or are separated by at most ``gap_frames``."""
    joined: list[Span] = []
    for first, end in sorted(spans):
        if joined and first <= joined[-1][1] + gap_frames:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((first, end))
    return tuple(joined)


def _together(one: MasterSamples, other: MasterSamples) -> MasterSamples:
    return MasterSamples(
        seen=merged((*one.seen, *other.seen)),
        black=merged((*one.black, *other.black)),
        frozen=merged((*one.frozen, *other.frozen)),
        cuts=tuple(sorted({*one.cuts, *other.cuts})),
    )


# --- references ---------------------------------------------------------------------------------------------------


def keep_reference(store: Store, title: str, reference: Reference) -> None:
    """Store how to compare renditions; merges with what is stored."""
    key = layout.reference(title, reference.digest)
    with suppress(ObjectMissing):
        known = documents.read(Reference, store.get(key), key=key)
        reference = replace(
            reference,
            tracks=tuple(sorted({*reference.tracks, *known.tracks})),
            predicted={**known.predicted, **reference.predicted},
            hulls={**known.hulls, **reference.hulls},
        )
        if reference == known:
            return
    store.put(key, documents.write(reference))


def references(store: Store, title: str) -> tuple[Reference, ...]:
    """All stored settings for comparing a title's renditions."""
    return _read_all(store, Reference, tuple(store.keys(layout.references(title))))


# --- measurements and reports -------------------------------------------------------------------------------------


def known(store: Store, title: str, viewing: Viewing, every: int) -> Known:
    """Read all measurements of a title, from reports and from tasks.

    Args:
        store: Store of the title.
        title: Catalogue entry.
        viewing: The screen.
        every: Interval of measured frames, in frames.
    """
    measured = Known(viewing, every)
    keys = [key for key in store.keys(layout.reports(title)) if key.endswith("/report.json")]
    for report in _read_all(store, QualityReport, keys):
        measured.add_report(report)
    for measurement in measurements(store, title):
        measured.add(measurement)
    return measured


def measurements(store: Store, title: str) -> tuple[Measurement, ...]:
    """Results of tasks that are in no report yet."""
    return _read_all(store, Measurement, tuple(store.keys(layout.measurements(title))))


def tidy(store: Store, title: str, tasks: Iterable[str]) -> None:
    """Remove the documents of tasks whose results are in a report."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda task: store.delete(layout.measurement(title, task)), tasks))


def read_report(store: Store, title: str, release: str) -> QualityReport | None:
    """The report on a release; None if there is none."""
    key = layout.report(title, release)
    try:
        return documents.read(QualityReport, store.get(key), key=key)
    except ObjectMissing:
        return None


def write_report(store: Store, report: QualityReport) -> None:
    """Store a report as JSON."""
    store.put(layout.report(report.title, report.release), documents.write(report))


def plain(report: QualityReport) -> dict[str, Any]:
    """A report as plain data, for JSON output."""
    fields: dict[str, Any] = documents.as_plain(report)
    return {name: value for name, value in fields.items() if name not in ("title", "release", "shortfalls")}


def override(store: Store, report: QualityReport, by: Override) -> QualityReport:
    """Record that a release is published despite a failed quality check."""
    changed = replace(report, overrides=(*report.overrides, by))
    write_report(store, changed)
    return changed


def _read_all(store: Store, kind: type[Value], keys: Sequence[str]) -> tuple[Value, ...]:
    def read(key: str) -> Value | None:
        with suppress(ObjectMissing):  # another run has just removed it
            return documents.read(kind, store.get(key), key=key)
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        return tuple(value for value in pool.map(read, keys) if value is not None)
