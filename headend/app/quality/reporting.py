"""Makes the report on a release from its measurements, with the rules applied. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from encoder.loudness import MAX_GAIN_DB
from headend import __version__
from headend.app.quality import judging
from headend.app.quality.checking import Check
from headend.app.quality.highlights import best_of_codecs
from headend.app.quality.rules.best import default_limits_apply
from headend.core import rates
from headend.core.media import Presentation, Track, VideoRange, VideoRendition
from headend.core.media.quality import Checking, SegmentQuality, TrackQuality
from headend.core.media.quality_reports import QualityReport, RenditionQuality, SoundQuality

LOW_SHARE = 0.05
"""Share of measured seconds below the score that a report calls low."""
_EXCUSED = "too little picture, or too small a one, to require a VMAF of "


def report_of(check: Check, presentation: Presentation) -> QualityReport:
    """Report on a release from the measurements so far, and judge it.

    Args:
        check: The check, with its measurements.
        presentation: The release, with all segments.
    """
    report = QualityReport(
        title=check.title,
        release=presentation.release,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        software=__version__,
        checking=check.level,
        viewing=check.measuring.viewing,
        every=check.measuring.every,
        grid=presentation.grid,
        evenly=check.evenly,
        suspects=check.suspects,
        thresholds=check.thresholds,
        video=tuple(_rendition(check, track, presentation) for track in presentation.video),
        audio=tuple(_sound(track, check.settings.loudness_lufs) for track in presentation.audio),
        master=check.known.master,
        not_measured=tuple(_not_measured(check, presentation)),
        cpu_s=check.known.cpu_s,
        hulls=check.hulls,
        floor_vmaf=check.settings.floor_vmaf,
    )
    return judged(report)


def judged(report: QualityReport) -> QualityReport:
    """Apply the rules to a report, and state whether its limits on VMAF are excused."""
    lines = tuple(line for line in report.not_measured if not line.startswith(_EXCUSED))
    if not report.thresholds.are_asked and not all(
        default_limits_apply(rendition, report) for rendition in best_of_codecs(report, tone_mapped=False)
    ):
        lines += (f"{_EXCUSED}{report.thresholds.min_vmaf:g}; --qc-min-vmaf requires it anyway",)
    report = replace(report, not_measured=lines)
    return replace(report, shortfalls=judging.judge(report))


def _not_measured(check: Check, presentation: Presentation) -> Iterator[str]:
    """Yield what the check leaves out, for people."""
    count, wanted = check.segment_count, len({*check.evenly, *check.suspects})
    if wanted < count:
        yield f"{count - wanted:,} of {count:,} segments: {check.level} measuring takes {wanted:,} of them"
    if (stretch := check.stretch_frames) is not None:
        yield f"the rest of these segments: {stretch} frames in the middle of each are measured"
    if check.settings.floor_vmaf is not None and check.level is Checking.SAMPLED:
        yield "sizes without a floor in other segments; the largest size of each codec was measured completely"
    hdr = [track for track in presentation.video if track.rendition.video_range is not VideoRange.SDR]
    if hdr and len(check.hdr_segments) < wanted:
        yield (
            f"{wanted - len(check.hdr_segments):,} of these segments of {len(hdr)} HDR renditions: tone mapping costs "
            "more than measuring"
        )
    if hdr:
        yield "the quality of HDR itself: there is no public model; scores compare tone-mapped pictures"
    if check.measuring.every > 1:
        yield f"frames in between: one frame in {check.measuring.every} is scored"
    if presentation.trick:
        yield "renditions for trick play"


def _rendition(check: Check, track: Track[VideoRendition], presentation: Presentation) -> RenditionQuality:
    rendition, tone_mapped = track.rendition, track.rendition.video_range is not VideoRange.SDR
    found = check.known.tracks.get((track.id, tone_mapped), TrackQuality(track.id, ()))
    evenly = set(check.evenly)
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
        predicted=check.predicted.get(track.id),
        lifts=found.lifts,
        **found.by_kind(),
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
        raised_most=loudness is not None and loudness.gain_db >= MAX_GAIN_DB,
        held_by_peaks=loudness is not None and loudness.limited,
    )
