"""A rendition is black, frozen or shows another picture only where the master does."""

from collections.abc import Callable, Iterator
from fractions import Fraction

from headend.app.quality.clock import clock
from headend.app.quality.rules.base import Rule
from headend.core.media.quality import QualityReport, RenditionQuality, Severity, Shortfall, Span

BLACK_S, FROZEN_S, OTHER_S = Fraction(1, 2), Fraction(2), Fraction(3, 10)
"""Shortest black, frozen or different picture that fails a release."""
LISTED = 5
"""Number of places in the master that a note lists."""


def _check(report: QualityReport) -> Iterator[Shortfall]:
    yield from _of_renditions(report)
    yield from _of_master(report)


def _of_renditions(report: QualityReport) -> Iterator[Shortfall]:
    kinds: tuple[tuple[str, Fraction, str, str, Callable[[RenditionQuality], tuple[Span, ...]]], ...] = (
        ("black", BLACK_S, "is black", ", where the master is not", lambda one: one.black),
        ("frozen", FROZEN_S, "stands still", ", where the master moves", lambda one: one.frozen),
        ("other picture", OTHER_S, "shows another picture than the master", "", _other_but_not_black),
    )
    for name, least_s, what, master, spans_of in kinds:
        for one in report.video:
            spans = [span for span in spans_of(one) if _length_s(span, report) >= least_s]
            if spans:
                longest = max(spans, key=lambda span: span[1] - span[0])
                others = len(spans) - 1
                more = f", and {others} more time{'s' if others > 1 else ''}" if others else ""
                yield Shortfall(
                    name,
                    Severity.FAILURE,
                    f"{one.rendition} {what} for {_length_s(longest, report):.1f} s at {clock(longest[0], report)}"
                    f"{more}{master}",
                    one.rendition,
                    longest[0],
                )


def _of_master(report: QualityReport) -> Iterator[Shortfall]:
    for name, least_s, what, spans in (
        ("black", BLACK_S, "is black", report.master.black),
        ("frozen", FROZEN_S, "stands still", report.master.frozen),
    ):
        long = [span for span in spans if _length_s(span, report) >= least_s]
        if long:
            at = ", ".join(f"{clock(first, report)} to {clock(end, report)}" for first, end in long[:LISTED])
            more = f" and {len(long) - LISTED} more times" if len(long) > LISTED else ""
            yield Shortfall(name, Severity.NOTE, f"the master {what} from {at}{more}", frame=long[0][0])


def _other_but_not_black(one: RenditionQuality) -> tuple[Span, ...]:
    """Spans with another picture; black ones are reported as black."""
    return tuple(span for span in one.other if not any(_overlap(span, black) for black in one.black))


def _length_s(span: Span, report: QualityReport) -> float:
    return float((span[1] - span[0]) / report.grid.frame_rate)


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


RULE = Rule(
    "black, frozen, other picture",
    "a rendition is black, stands still or shows something else only where the master does",
    "submit again with --force",
    _check,
)
