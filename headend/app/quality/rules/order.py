"""A rendition with a higher rate looks no worse than a cheaper one of its codec."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from headend.app.quality.clock import clock
from headend.app.quality.rules.base import Limit, Rule, excuse
from headend.core.media.quality import SegmentQuality
from headend.core.media.quality_reports import QualityReport, RenditionQuality, Severity, Shortfall

ORDER = Limit(failure=3.0, remark=0.5)
"""How far the VMAF of a rendition may be below that of a cheaper one of its codec."""
ORDER_SECOND = Limit(failure=25.0, remark=15.0)
"""`ORDER` for a single second."""
FEW_SCORES, FEW_FACTOR = 20, 2.0
"""With fewer scored frames than this, the limit for failure is multiplied by this factor."""
MIN_SCORE, UNSEEN_SCORE = 20.0, 94.0
"""Differences between scores below the first (where the model saturates) or above the second (where they are invisible)
give remarks only."""
DEARER = 1.05
"""Smallest ratio of rates at which renditions are compared; rates of still pictures differ by less."""


@dataclass(frozen=True, slots=True)
class _Inversion:
    """A rendition that scores worse than one that should not be better.

    Attributes:
        cheap: The other rendition.
        how: Why this one should be the better one.
        off: Difference in VMAF.
        severity: Severity of the shortfall.
        second_at: The segment with the worst second; None if the means are compared.
    """

    cheap: RenditionQuality
    how: str
    off: float
    severity: Severity
    second_at: SegmentQuality | None = None


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Two renditions compared over the segments that were measured in both.

    Attributes:
        dear_mean: Mean score of the one with the higher rate.
        cheap_mean: Mean score of the other.
        off: Difference of the means.
        second_off: Largest difference in a second.
        second_at: The segment of that second.
        scores: Number of scored frames.
    """

    dear_mean: float
    cheap_mean: float
    off: float
    second_off: float
    second_at: SegmentQuality
    scores: int


def _check(report: QualityReport) -> Iterator[Shortfall]:
    for members in _comparable(report):
        for dear in members:
            found = [inversion for cheap in members if (inversion := _inversion(dear, cheap)) is not None]
            # Differences in a second matter only if no mean is inverted.
            by_mean = [worse for worse in found if worse.second_at is None]
            if inversions := by_mean or found:
                yield _shortfall(dear, inversions, report)


def _shortfall(dear: RenditionQuality, inversions: Sequence[_Inversion], report: QualityReport) -> Shortfall:
    worst = max(inversions, key=lambda inversion: (inversion.severity is Severity.FAILURE, inversion.off))
    frame = worst.second_at.worst_frame if worst.second_at else None
    where = f" in a second near {clock(frame, report)}" if frame is not None else ""
    return Shortfall(
        "order",
        worst.severity,
        f"{dear.rendition} {worst.how} {worst.cheap.rendition} and looks worse by {worst.off:.1f} VMAF{where}",
        dear.rendition,
        frame,
    )


def _comparable(report: QualityReport) -> Iterator[list[RenditionQuality]]:
    """Yield groups of renditions with the same codec, range and frame rate, cheapest first."""

    def kind(rendition: RenditionQuality) -> tuple[str, str, int]:
        return rendition.codec, rendition.video_range, rendition.rate_divisor

    measured = sorted((rendition for rendition in report.video if rendition.segments), key=kind)
    for _, members in groupby(measured, key=kind):
        yield sorted(members, key=lambda rendition: rendition.average_bps)


def _inversion(dear: RenditionQuality, cheap: RenditionQuality) -> _Inversion | None:
    """Return an inversion if a rendition scores worse than one with a lower rate or a lower cap."""
    if dear.average_bps > cheap.average_bps:
        how = "takes more bits than"
        counts = dear.average_bps >= DEARER * cheap.average_bps
    elif dear.cap_bps > cheap.cap_bps and DEARER * dear.average_bps < cheap.average_bps:
        # Two renditions that were swapped look like this.
        how = "has a higher cap than"
        counts = True
    else:
        return None
    compared = _compare(dear, cheap)
    if compared is None:
        return None
    counts = counts and compared.cheap_mean >= MIN_SCORE and compared.dear_mean < UNSEEN_SCORE
    factor = FEW_FACTOR if compared.scores < FEW_SCORES else 1.0
    if severity := excuse(_stretched(ORDER, factor).severity(compared.off), not counts):
        return _Inversion(cheap, how, compared.off, severity)
    if severity := excuse(_stretched(ORDER_SECOND, factor).severity(compared.second_off), not counts):
        return _Inversion(cheap, how, compared.second_off, severity, compared.second_at)
    return None


def _stretched(limit: Limit, factor: float) -> Limit:
    return Limit(limit.failure * factor, limit.remark)


def _compare(dear: RenditionQuality, cheap: RenditionQuality) -> _Comparison | None:
    """Compare two renditions; None if no segment was measured the same way in both."""
    theirs = {segment.number: segment for segment in cheap.segments}
    pairs = [
        (ours, its)
        for ours in dear.segments
        if (its := theirs.get(ours.number)) is not None and its.is_part is ours.is_part
    ]
    if not pairs:
        return None
    dear_mean, cheap_mean = fmean(ours.mean for ours, _ in pairs), fmean(its.mean for _, its in pairs)
    second_off, second_at = max(
        (
            (after - before, ours)
            for ours, its in pairs
            for before, after in zip(ours.seconds or (ours.mean,), its.seconds or (its.mean,), strict=False)
        ),
        key=lambda each: each[0],
    )
    scores = sum(min(ours.frames, its.frames) for ours, its in pairs)
    return _Comparison(dear_mean, cheap_mean, cheap_mean - dear_mean, second_off, second_at, scores)


RULE = Rule(
    "order", "a dearer rendition looks no worse than a cheaper one of its codec", "move or drop the rung", _check
)
