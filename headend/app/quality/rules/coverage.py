"""Frames of every rendition were measured."""

from collections.abc import Iterator

from headend.app.quality.rules.base import Rule
from headend.core.media.quality_reports import QualityReport, Severity, Shortfall


def _check(report: QualityReport) -> Iterator[Shortfall]:
    wanted = {*report.evenly, *report.suspects}
    for rendition in report.video:
        if not rendition.segments:
            yield Shortfall(
                "frames measured",
                Severity.FAILURE,
                f"no frame of {rendition.rendition} was measured",
                rendition.rendition,
            )
        elif not rendition.tone_mapped and (missing := wanted - {segment.number for segment in rendition.segments}):
            yield Shortfall(
                "frames measured",
                Severity.REMARK,
                f"{len(missing)} of {len(wanted)} segments of {rendition.rendition} were not measured",
                rendition.rendition,
            )


RULE = Rule("frames measured", "frames of every rendition were measured", "headend quality TITLE --full", _check)
