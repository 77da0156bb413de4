"""Frames of every rendition were measured."""

from collections.abc import Iterator

from headend.app.quality.rules.base import Rule
from headend.core.media.quality_reports import QualityReport, Severity, Shortfall


def _check(report: QualityReport) -> Iterator[Shortfall]:
    wanted = {*report.evenly, *report.suspects}
    for one in report.video:
        if not one.segments:
            yield Shortfall(
                "frames measured", Severity.FAILURE, f"no frame of {one.rendition} was measured", one.rendition
            )
        elif not one.tone_mapped and (missing := wanted - {segment.number for segment in one.segments}):
            yield Shortfall(
                "frames measured",
                Severity.REMARK,
                f"{len(missing)} of {len(wanted)} segments of {one.rendition} were not measured",
                one.rendition,
            )


RULE = Rule("frames measured", "frames of every rendition were measured", "headend quality TITLE --full", _check)
