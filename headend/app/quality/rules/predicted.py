"""Renditions of a ladder that was fitted to the title have the quality and the rate that were predicted."""

from collections.abc import Iterator

from headend.app.quality.rules.base import Limit, Rule, excuse
from headend.core.media.quality_reports import QualityReport, Shortfall

PREDICTED_VMAF, PREDICTED_RATE = Limit(failure=5.0, remark=2.0), Limit(failure=0.2, remark=0.1)
"""Deviation of a rendition from its prediction by an analysis of the title: in VMAF, and as a share of its rate."""
FAIR_SEGMENTS = 20
"""A title with fewer segments has few excerpts for its prediction and a small sample: it gets remarks only."""


def _check(report: QualityReport) -> Iterator[Shortfall]:
    small = len(report.evenly) < FAIR_SEGMENTS
    for rendition in report.video:
        if (expected := rendition.predicted) is None or rendition.mean is None:
            continue
        off, share = rendition.mean - expected.vmaf, rendition.average_bps / expected.bps - 1
        if rendition.lifts:  # a floor adds quality and bits that the analysis could not know of
            off, share = min(off, 0.0), min(share, 0.0)
        if severity := excuse(PREDICTED_VMAF.severity(abs(off)), small):
            yield Shortfall(
                "predicted",
                severity,
                f"{rendition.rendition} has a mean VMAF of {rendition.mean:.1f}, {abs(off):.1f} "
                f"{'above' if off > 0 else 'below'} what was predicted",
                rendition.rendition,
            )
        if severity := excuse(PREDICTED_RATE.severity(abs(share)), small):
            yield Shortfall(
                "predicted",
                severity,
                f"{rendition.rendition} takes {rendition.average_bps / 1000:,.0f} kb/s, {abs(share):.0%} "
                f"{'more' if share > 0 else 'less'} than predicted",
                rendition.rendition,
            )


RULE = Rule(
    "predicted",
    "renditions of a ladder that was fitted to the title come out as predicted",
    "submit with a larger --analysis-share",
    _check,
)
