"""Sound has the loudness that was asked for, and its true peak doesn't clip."""

from collections.abc import Iterator

from headend.app.quality.rules.base import Limit, Rule, excuse
from headend.core.media.quality_reports import QualityReport, Shortfall

LOUDNESS_LU = Limit(failure=2.0, remark=1.0)
"""Deviation of the integrated loudness from its target."""
TRUE_PEAK_DBTP = Limit(failure=0.0, remark=-1.0)


def _check(report: QualityReport) -> Iterator[Shortfall]:
    for programme in report.audio:
        if programme.result_lufs is not None and programme.target_lufs is not None:
            off = programme.result_lufs - programme.target_lufs
            held = programme.held_by_peaks and off < 0
            if severity := excuse(LOUDNESS_LU.severity(round(abs(off), 2)), programme.raised_most or held):
                yield Shortfall(
                    "loudness",
                    severity,
                    f"{programme.rendition} has {programme.result_lufs:.1f} LUFS, {abs(off):.1f} LU "
                    f"{'above' if off > 0 else 'below'} the target of {programme.target_lufs:g}"
                    f"{', so that its peaks are not limited too much' if held else ''}",
                    programme.rendition,
                )
        # Sound without a loudness target keeps the peaks of the master.
        is_untouched = programme.target_lufs is None
        if programme.result_dbtp is not None and (
            severity := excuse(TRUE_PEAK_DBTP.severity(programme.result_dbtp), is_untouched)
        ):
            yield Shortfall(
                "true peak",
                severity,
                f"{programme.rendition} has a true peak of {programme.result_dbtp:.1f} dBTP",
                programme.rendition,
            )


RULE = Rule(
    "loudness, true peak", "sound is as loud as asked for", "choose another --loudness, or remedy the master", _check
)
