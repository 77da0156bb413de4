"""No window of a rendition exceeds its cap."""

from collections.abc import Iterator

from headend.app.quality.rules.base import Limit, Rule
from headend.core.media.quality_reports import QualityReport, Shortfall

PEAK = Limit(failure=1.1, remark=1.005)
"""Peak rate as a share of the cap; less than half a per cent above it is rounding."""


def _check(report: QualityReport) -> Iterator[Shortfall]:
    for rendition in report.video:
        share = rendition.peak_bps / rendition.cap_bps if rendition.cap_bps else 0.0
        if severity := PEAK.severity(share):
            yield Shortfall(
                "peak",
                severity,
                f"{rendition.rendition} reaches {rendition.peak_bps / 1000:,.0f} kb/s, {share:.2f} times its cap of "
                f"{rendition.cap_bps / 1000:,.0f} kb/s",
                rendition.rendition,
            )


RULE = Rule("peak", "no window of a rendition exceeds its cap", "submit again with --force", _check)
