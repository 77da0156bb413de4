"""What a report shows first: the best rendition of each codec, and the worst segments."""

from collections.abc import Iterator

from headend.core.media.quality import SegmentQuality
from headend.core.media.quality_reports import QualityReport, RenditionQuality

FLAWLESS = 99.5
"""A segment whose frames all reach this, such as a black one, looks like the master: a picture of it shows nothing."""


def best_of_codecs(report: QualityReport, *, tone_mapped: bool) -> Iterator[RenditionQuality]:
    """Yield the rendition with the highest rate of each codec, in SDR or in HDR."""
    members = [rendition for rendition in report.video if rendition.tone_mapped is tone_mapped]
    for codec in dict.fromkeys(rendition.codec for rendition in members):
        yield max(
            (rendition for rendition in members if rendition.codec is codec),
            key=lambda rendition: rendition.average_bps,
        )


def worst_segments(report: QualityReport, most: int) -> tuple[tuple[RenditionQuality, SegmentQuality], ...]:
    """Choose segments to show: the worst of each codec's best rendition, and those with a fault."""
    at = {
        (shortfall.rendition, shortfall.frame)
        for shortfall in report.failures
        if shortfall.rendition and shortfall.frame is not None
    }
    bounds = report.grid.segment_bounds()
    faulty = [
        (rendition, segment)
        for rendition in report.video
        for segment in rendition.segments
        if any(
            name == rendition.rendition and bounds[segment.number - 1] <= frame < bounds[segment.number]
            for name, frame in at
        )
    ]
    best = [
        (rendition, segment)
        for tone_mapped in (False, True)
        for rendition in best_of_codecs(report, tone_mapped=tone_mapped)
        for segment in rendition.segments
        if segment.worst < FLAWLESS
    ]
    ranked = [*sorted(faulty, key=_score)[: most // 2], *sorted(best, key=_score)]
    chosen: dict[tuple[str, int], tuple[RenditionQuality, SegmentQuality]] = {}
    for rendition, segment in ranked:
        if len(chosen) < most:
            chosen.setdefault((rendition.rendition, segment.number), (rendition, segment))
    return tuple(chosen.values())


def _score(place: tuple[RenditionQuality, SegmentQuality]) -> float:
    return place[1].mean
