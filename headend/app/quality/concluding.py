"""Ends a quality check: writes the report with its pictures to the store, and refuses a release that fails."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from encoder import loudness_curve, side_by_side
from headend.app.quality import judging, scoring
from headend.app.quality.checking import Check
from headend.app.quality.highlights import worst_segments
from headend.app.quality.pages import PICTURES
from headend.app.quality.report import Shown, render
from headend.app.quality.reporting import report_of
from headend.core import layout, measured
from headend.core.errors import ObjectMissing, QualityRefused, ToolFailed
from headend.core.keys import ContentKey
from headend.core.media import Master, Presentation, TrackKeys
from headend.core.media.quality_reports import QualityReport
from headend.core.storage import Store, masters


def conclude(check: Check, presentation: Presentation, master: Master, endpoint_url: str | None) -> QualityReport:
    """Write the report on a release to the store, then delete the tasks' measurements.

    Args:
        check: The finished check.
        presentation: The release, with all segments.
        master: The master of the release.
        endpoint_url: S3 endpoint of the master.
    """
    store, title = check.store, check.title
    keys = _keys(check, presentation)
    report = replace(report_of(check, presentation), loudness_lufs=_loudness(store, presentation, keys))
    before = measured.read_report(store, title, report.release)
    if before is not None:
        # Overrides of an earlier report stay on record, and its cost counts too.
        report = replace(report, overrides=before.overrides, cpu_s=report.cpu_s + before.cpu_s)
    protection = presentation.protection
    track_keys = {track.id: protection.track_keys(track.kids) for track in presentation.video} if protection else {}
    shown = _pictures(check, report, master, endpoint_url, track_keys, keys)
    store.put(layout.report_page(title, report.release), render(report, shown).encode())
    measured.write_report(store, report)
    measured.tidy(store, title, check.known.tasks)
    return report


def _keys(check: Check, presentation: Presentation) -> Mapping[str, ContentKey]:
    """Open the keys of an encrypted title, by their ids."""
    if check.keys is None or presentation.protection is None:
        return {}
    from headend.app import content_keys

    return content_keys.opened(check.keys, check.title, presentation.protection.names)


def _pictures(
    check: Check,
    report: QualityReport,
    master: Master,
    endpoint_url: str | None,
    track_keys: Mapping[str, TrackKeys],
    keys: Mapping[str, ContentKey],
) -> tuple[Shown, ...]:
    """Make pictures of the worst segments of the best renditions beside the master; reuse those in the store."""
    store, title = check.store, check.title
    shown = []
    with (
        masters.opened(master, endpoint_url) as source,
        TemporaryDirectory(prefix="headend-") as name,
    ):
        for rendition, segment in worst_segments(report, PICTURES):
            key = layout.report_picture(title, report.release, rendition.track, segment.worst_frame)
            try:
                data = store.get(key)
            except ObjectMissing:
                path = Path(name) / "rendition.mp4"
                used = track_keys.get(rendition.track)
                scoring.fetch(store, title, rendition.track, (segment.number,), path, used, keys)
                pair = check.measuring.pair(rendition.rendition, segment.number, segment.worst_frame)
                try:
                    data = side_by_side.make(pair, path, source.url, Path(name) / "pair.jpg")
                except ToolFailed:
                    continue  # a missing picture must not prevent the report
                (Path(name) / "pair.jpg").unlink()
                store.put(key, data)
            shown.append(Shown(rendition, segment, data))
    return tuple(shown)


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
        failures=[shortfall.message for shortfall in failures[:20]],
        report=f"{store.url}/{layout.report(report.title, report.release)}",
    )
