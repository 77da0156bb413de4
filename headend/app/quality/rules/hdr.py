"""No segment of the best HDR rendition is far below the rendition's own mean."""

from collections.abc import Iterator

from headend.app.quality.clock import clock
from headend.app.quality.highlights import best_of_codecs
from headend.app.quality.rules.base import Limit, Rule, excuse, is_representative
from headend.core.media.quality_reports import QualityReport, Shortfall

OWN_MEAN = Limit(failure=15.0, remark=10.0)
"""How far the worst segment of a codec's best HDR rendition may be below the rendition's own mean."""


def _check(report: QualityReport) -> Iterator[Shortfall]:
    for best in best_of_codecs(report, tone_mapped=True):
        if best.mean is None or (worst := best.worst) is None:
            continue
        if severity := excuse(OWN_MEAN.severity(best.mean - worst.mean), not is_representative(best, report)):
            yield Shortfall(
                "HDR segment",
                severity,
                f"segment {worst.number} of {best.rendition} at {clock(worst.worst_frame, report)} lies "
                f"{best.mean - worst.mean:.1f} below the rendition's own mean (tone-mapped)",
                best.rendition,
                worst.worst_frame,
            )


RULE = Rule(
    "HDR segment", "no segment of the best HDR rendition lies far below its mean", "look at the segment", _check
)
