"""The best SDR rendition of each codec looks good, also in its worst segment and its worst second."""

from collections.abc import Iterator

from headend.app.quality.clock import clock
from headend.app.quality.highlights import best_of_codecs
from headend.app.quality.rules.base import Limit, Rule, excuse, is_representative
from headend.core.media.quality import SegmentQuality
from headend.core.media.quality_reports import QualityReport, RenditionQuality, Severity, Shortfall

GOOD_VMAF, GOOD_SEGMENT = 88.0, 70.0
"""Mean VMAF and VMAF of the worst segment below which the best SDR rendition of a codec gets a remark."""
MIN_LINES = 300
"""A codec whose best rendition has fewer lines is not meant for a screen of this size: it gets remarks only."""
SECOND = Limit(failure=-25.0, remark=-45.0)
"""Lowest VMAF, negated, of the worst second of the best SDR rendition of a codec."""


def default_limits_apply(best: RenditionQuality, report: QualityReport) -> bool:
    """Return whether the default limits apply to the best rendition of a codec."""
    return min(best.width_px, best.height_px) >= MIN_LINES and is_representative(best, report)


def _check(report: QualityReport) -> Iterator[Shortfall]:
    for best in best_of_codecs(report, tone_mapped=False):
        if best.mean is not None and (worst := best.worst) is not None:
            yield from _check_best(best, best.mean, worst, report)


def _check_best(
    best: RenditionQuality, mean: float, worst: SegmentQuality, report: QualityReport
) -> Iterator[Shortfall]:
    thresholds = report.thresholds
    excused = not thresholds.are_asked and not default_limits_apply(best, report)
    limit = Limit(-thresholds.min_vmaf, -max(GOOD_VMAF, thresholds.min_vmaf))
    if severity := excuse(limit.severity(-mean), excused):
        yield Shortfall(
            "best rendition",
            severity,
            f"{best.rendition}, the best of {best.codec}, has a mean VMAF of {mean:.1f}, below "
            f"{_wanted(limit, mean):g}",
            best.rendition,
        )
    limit = Limit(-thresholds.min_segment, -max(GOOD_SEGMENT, thresholds.min_segment))
    if severity := excuse(limit.severity(-worst.mean), excused):
        yield Shortfall(
            "worst segment",
            severity,
            f"segment {worst.number} of {best.rendition}, the best of {best.codec}, at "
            f"{clock(worst.worst_frame, report)} has a mean VMAF of {worst.mean:.1f}, below "
            f"{_wanted(limit, worst.mean):g}",
            best.rendition,
            worst.worst_frame,
        )
    low, segment = _worst_second(best)
    second = excuse(SECOND.severity(-low), excused)
    # Skip it if the segment itself has been reported.
    if second is not None and second is not severity and severity is not Severity.FAILURE:
        yield Shortfall(
            "worst segment",
            second,
            f"a second of segment {segment.number} of {best.rendition}, the best of {best.codec}, near "
            f"{clock(segment.worst_frame, report)} has a VMAF of {low:.1f}",
            best.rendition,
            segment.worst_frame,
        )


def _wanted(limit: Limit, score: float) -> float:
    """The limit that a score is below."""
    return -limit.failure if -score > limit.failure else -limit.remark


def _worst_second(rendition: RenditionQuality) -> tuple[float, SegmentQuality]:
    return min(
        ((second, segment) for segment in rendition.segments for second in segment.seconds or (segment.mean,)),
        key=lambda scored: scored[0],
    )


RULE = Rule(
    "best rendition, worst segment",
    "the best SDR rendition of each codec has a mean VMAF of at least --qc-min-vmaf, and no segment below "
    "--qc-min-segment",
    "give the codec a dearer rung, or lower its constant rate factor",
    _check,
)
