"""No window of a rendition exceeds its cap."""

from collections.abc import Iterator

from headend.app.quality.rules.base import Limit, Rule
from headend.core.media.quality_reports import QualityReport, Shortfall

PEAK = Limit(failure=1.1, remark=1.005)
"""Peak rate as a share of the cap; less than half a per cent above it is rounding."""


def _check(report: QualityReport) -> Iterator[Shortfall]:
    for one in report.video:
        share = one.peak_bps / one.cap_bps if one.cap_bps else 0.0
        if severity := PEAK.severity(share):
            yield Shortfall(
                "peak",
                severity,
                f"{one.rendition} reaches {one.peak_bps / 1000:,.0f} kb/s, {share:.2f} times its cap of "
                f"{one.cap_bps / 1000:,.0f} kb/s",
                one.rendition,
            )


RULE = Rule("peak", "no window of a rendition exceeds its cap", "submit again with --force", _check)
