"""What rules share: limits, severities, and whether enough was measured."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from headend.core.media.quality_reports import QualityReport, RenditionQuality, Severity, Shortfall

FAIR_S = 10
"""Seconds of evenly spread picture that make a score representative; with less, absolute scores give remarks only. Test
clips are short, and synthetic ones score low at any rate."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The limits of a deviation.

    Attributes:
        failure: A larger deviation fails the release.
        remark: A larger deviation gives a remark.
    """

    failure: float
    remark: float

    def severity(self, off: float) -> Severity | None:
        """Return the severity of a deviation; None if it is within the limits."""
        if off > self.failure:
            return Severity.FAILURE
        return Severity.REMARK if off > self.remark else None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for releases.

    Attributes:
        name: Names of its shortfalls, separated by commas, for people and programs.
        requirement: The rule in one line.
        remedy: How to fix a failure.
        check: Finds the shortfalls.
    """

    name: str
    requirement: str
    remedy: str
    check: Callable[[QualityReport], Iterator[Shortfall]]


def excuse(severity: Severity | None, excused: bool) -> Severity | None:
    """Reduce a failure to a remark if it is excused."""
    return Severity.REMARK if severity is Severity.FAILURE and excused else severity


def is_representative(rendition: RenditionQuality, report: QualityReport) -> bool:
    """Return whether enough of a rendition was measured for representative scores."""
    evenly = set(report.evenly)
    scored = sum(segment.frames for segment in rendition.segments if segment.number in evenly)
    return scored * report.every * rendition.rate_divisor / report.grid.frame_rate >= FAIR_S
