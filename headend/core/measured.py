"""Documents on a title's quality in the store: comparison settings, measurements and reports.

All of it is private: servers give out what they list, and none of this. Each result of a task is a document of its own,
so that work which was stopped goes on where it stood. Once all is in a report, these documents are removed, and the
next report reads the ones before.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from headend.core import documents, layout
from headend.core.errors import ObjectMissing
from headend.core.media.quality import (
    MasterSamples,
    Measurement,
    Override,
    PredictedQuality,
    QualityReport,
    SegmentQuality,
    Span,
    TrackQuality,
    Viewing,
)
from headend.core.settings import EncodeSettings
from headend.core.storage import Store

THREADS = 16
Noun = TypeVar("Noun")


@dataclass(frozen=True, slots=True)
class Reference:
    """How some renditions of a title are compared with their master, long after they were made.

    Attributes:
        digest: Digest of the master's frames as they are compared; the same settings give the same frames, unless
            another headend reads them.
        settings: What a person has chosen of the encode.
        tracks: The video tracks that were made of these frames.
        predicted: What an analysis of the title has predicted for some of them, by track.
        hulls: By codec: the best score for each rate, as such an analysis has found it.
    """

    digest: str
    settings: EncodeSettings
    tracks: tuple[str, ...]
    predicted: dict[str, PredictedQuality] = field(default_factory=dict)
    hulls: dict[str, tuple[PredictedQuality, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Known:
    """What has been measured of a title, on one screen.

    Attributes:
        viewing: The screen.
        every: From one measured frame to the next.
        tracks: By track, and whether it was tone-mapped; the segments of each in order.
        master: What the master shows, as far as it was looked at.
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
        """Whether a segment of a track was measured: all of it, or at least a ``part``."""
        found = self.tracks.get((track, toned))
        segments = found.segments if found is not None else ()
        place = bisect_left(segments, segment, key=lambda one: one.number)
        return place < len(segments) and segments[place].number == segment and (part or not segments[place].is_part)

    def add(self, measurement: Measurement) -> None:
        """Take in what a task has found."""
        if (measurement.model, measurement.every) != (self.viewing.model, self.every) or measurement.task in self.tasks:
            return
        for track in measurement.tracks:
            self._add(track, toned=measurement.tone_mapped)
        self.master = _together(self.master, measurement.master)
        self.tasks.add(measurement.task)
        self.cpu_s += measurement.cpu_s

    def add_report(self, report: QualityReport) -> None:
        """Take in what an earlier report says."""
        if (report.viewing.model, report.every) != (self.viewing.model, self.every):
            return
        for one in report.video:
            if one.segments:
                self._add(
                    TrackQuality(one.track, one.segments, one.black, one.frozen, one.other, one.lifts),
                    toned=one.tone_mapped,
                )
        self.master = _together(self.master, report.master)

    def _add(self, more: TrackQuality, *, toned: bool) -> None:
        known = self.tracks.get((more.track, toned), TrackQuality(more.track, ()))
        # Of what was measured twice, the first counts, and a whole segment before a part.
        both = sorted((*more.segments, *known.segments), key=lambda one: not one.is_part)
        segments: dict[int, SegmentQuality] = {one.number: one for one in both}
        lifts = {lift.chunk: lift for lift in (*known.lifts, *more.lifts)}
        self.tracks[more.track, toned] = TrackQuality(
            more.track,
            tuple(segments[number] for number in sorted(segments)),
            black=merged((*known.black, *more.black), gap_frames=self.every),
            frozen=merged((*known.frozen, *more.frozen), gap_frames=self.every),
            other=merged((*known.other, *more.other), gap_frames=self.every),
            lifts=tuple(lifts[chunk] for chunk in sorted(lifts)),
        )


def merged(spans: Iterable[Span], *, gap_frames: int = 0) -> tuple[Span, ...]:
    """Join stretches that overlap, touch, or lie no further apart than a gap."""
    found: list[Span] = []
    for first, end in sorted(spans):
        if found and first <= found[-1][1] + gap_frames:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((first, end))
    return tuple(found)


def _together(one: MasterSamples, other: MasterSamples) -> MasterSamples:
    return MasterSamples(
        seen=merged((*one.seen, *other.seen)),
        black=merged((*one.black, *other.black)),
        frozen=merged((*one.frozen, *other.frozen)),
        cuts=tuple(sorted({*one.cuts, *other.cuts})),
    )


# --- references ---------------------------------------------------------------------------------------------------


def keep_reference(store: Store, title: str, reference: Reference) -> None:
    """Write down how renditions are compared; does nothing if that is known."""
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
    """All that is known of how a title's renditions are compared."""
    return _read_all(store, Reference, tuple(store.keys(layout.references(title))))


# --- measurements and reports -------------------------------------------------------------------------------------


def known(store: Store, title: str, viewing: Viewing, every: int) -> Known:
    """Read what has been measured of a title, by finished reports and by tasks.

    Args:
        store: Where the title is.
        title: Catalogue entry.
        viewing: The screen.
        every: From one measured frame to the next.
    """
    found = Known(viewing, every)
    keys = [key for key in store.keys(layout.reports(title)) if key.endswith("/report.json")]
    for report in _read_all(store, QualityReport, keys):
        found.add_report(report)
    for measurement in measurements(store, title):
        found.add(measurement)
    return found


def measurements(store: Store, title: str) -> tuple[Measurement, ...]:
    """What tasks have found that is in no report yet."""
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
    """Keep a report for programs."""
    store.put(layout.report(report.title, report.release), documents.write(report))


def plain(report: QualityReport) -> dict[str, Any]:
    """A report for programs."""
    found: dict[str, Any] = documents.as_plain(report)
    return {name: value for name, value in found.items() if name not in ("title", "release", "shortfalls")}


def override(store: Store, report: QualityReport, by: Override) -> QualityReport:
    """Record that a release is published although it failed."""
    changed = replace(report, overrides=(*report.overrides, by))
    write_report(store, changed)
    return changed


def _read_all(store: Store, kind: type[Noun], keys: Sequence[str]) -> tuple[Noun, ...]:
    def read(key: str) -> Noun | None:
        with suppress(ObjectMissing):  # removed by another run, a moment ago
            return documents.read(kind, store.get(key), key=key)
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        return tuple(noun for noun in pool.map(read, keys) if noun is not None)
