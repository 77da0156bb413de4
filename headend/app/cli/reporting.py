"""A quality report, for terminals and for programs."""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from headend.app.cli.screen import table
from headend.app.quality import judging
from headend.app.quality.clock import clock
from headend.core import documents, layout
from headend.core.media.quality_reports import QualityReport, RenditionQuality, Severity

_STYLES = {Severity.FAILURE: "bold red", Severity.REMARK: "yellow", Severity.NOTE: "dim"}


def quality_plain(report: QualityReport) -> dict[str, object]:
    """Return the outcome of a report as a JSON document; the full report is in the store."""
    return {
        "outcome": report.outcome.value,
        "rules_broken": list(judging.rules_broken(report.shortfalls)),
        "findings": [
            {
                "rule": shortfall.rule,
                "severity": shortfall.severity.value,
                "message": shortfall.message,
                "rendition": shortfall.rendition or None,
            }
            for shortfall in report.shortfalls
        ],
        "overrides": [documents.as_plain(override) for override in report.overrides],
        "floor_vmaf": report.floor_vmaf,
        "encoded_again": [
            {"rendition": rendition.rendition, **documents.as_plain(lift)}
            for rendition in report.video
            for lift in rendition.lifts
        ],
        "report": layout.report(report.title, report.release),
        "page": layout.report_page(report.title, report.release),
    }


def overrides(report: QualityReport) -> Iterator[str]:
    """Yield a line for each publication despite the rules."""
    for override in report.overrides:
        yield f"published despite its failures by {override.who} at {override.at[:19].replace('T', ' ')} UTC"


def findings(report: QualityReport) -> Iterator[Text]:
    """Yield a line for each finding."""
    for shortfall in report.shortfalls:
        yield Text.assemble(
            (f"{shortfall.severity}: ", _STYLES[shortfall.severity]), f"{shortfall.rule}: {shortfall.message}"
        )


def renditions(report: QualityReport) -> Table:
    """Lay out the measured renditions as a table."""

    def row(rendition: RenditionQuality) -> tuple[str, ...]:
        worst = rendition.worst
        note = " (tone-mapped)" if rendition.tone_mapped else ""
        return (
            rendition.rendition,
            f"{rendition.average_bps / 1000:,.0f}",
            f"{rendition.peak_bps / rendition.cap_bps:.2f}" if rendition.cap_bps else "",
            "–" if rendition.mean is None else f"{rendition.mean:.1f}{note}",
            "–" if rendition.low is None else f"{rendition.low:.1f}",
            "–" if worst is None else f"{worst.mean:.1f} at {clock(worst.worst_frame, report)}",
        )

    heads = ("rendition", "kb/s", "peak/cap", "mean VMAF", "5th percentile", "worst segment")
    return table(heads, (row(rendition) for rendition in report.video))
