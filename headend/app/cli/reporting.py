"""A quality report, for terminals and for programs."""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from headend.app.cli.screen import table
from headend.app.quality import judging
from headend.app.quality.judging import clock
from headend.core import documents, layout
from headend.core.media.quality import QualityReport, RenditionQuality, Severity

_STYLES = {Severity.FAILURE: "bold red", Severity.REMARK: "yellow", Severity.NOTE: "dim"}


def quality_plain(report: QualityReport) -> dict[str, object]:
    """Return the outcome of a report as a JSON document; the full report is in the store."""
    return {
        "outcome": report.outcome.value,
        "rules_broken": list(judging.rules_broken(report.shortfalls)),
        "findings": [
            {
                "rule": one.rule,
                "severity": one.severity.value,
                "message": one.message,
                "rendition": one.rendition or None,
            }
            for one in report.shortfalls
        ],
        "floor_vmaf": report.floor_vmaf,
        "encoded_again": [
            {"rendition": one.rendition, **documents.as_plain(lift)} for one in report.video for lift in one.lifts
        ],
        "report": layout.report(report.title, report.release),
        "page": layout.report_page(report.title, report.release),
    }


def findings(report: QualityReport) -> Iterator[Text]:
    """Yield a line for each finding."""
    for one in report.shortfalls:
        yield Text.assemble((f"{one.severity}: ", _STYLES[one.severity]), f"{one.rule}: {one.message}")


def renditions(report: QualityReport) -> Table:
    """Lay out the measured renditions as a table."""

    def row(one: RenditionQuality) -> tuple[str, ...]:
        worst = one.worst
        toned = " (tone-mapped)" if one.tone_mapped else ""
        return (
            one.rendition,
            f"{one.average_bps / 1000:,.0f}",
            f"{one.peak_bps / one.cap_bps:.2f}" if one.cap_bps else "",
            "–" if one.mean is None else f"{one.mean:.1f}{toned}",
            "–" if one.low is None else f"{one.low:.1f}",
            "–" if worst is None else f"{worst.mean:.1f} at {clock(worst.worst_frame, report)}",
        )

    heads = ("rendition", "kb/s", "peak/cap", "mean VMAF", "5 % of seconds below", "worst segment")
    return table(heads, (row(one) for one in report.video))
