"""A rendition shows the master's pictures, in its colours and at its times; it is black or frozen where that is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from headend.app.quality.clock import clock
from headend.app.quality.rules.base import Rule
from headend.core.media.quality import Span
from headend.core.media.quality_reports import QualityReport, RenditionQuality, Severity, Shortfall

BLACK_S, FROZEN_S, OTHER_S, COLOURS_S = Fraction(1, 2), Fraction(2), Fraction(3, 10), Fraction(1, 2)
"""Shortest black, frozen, different or recoloured picture that fails a release."""
LISTED = 5
"""Number of places in the master that a note lists."""
FEW_FRAMES = 5
"""Up to this many frames, a length is given in frames."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of fault.

    Attributes:
        rule: Name of its shortfalls.
        least_s: Shortest length that counts.
        what: What the rendition does, in a message.
        spans: Where it does so.
        master: What the master does there, in a message.
    """

    rule: str
    least_s: Fraction
    what: str
    spans: tuple[Span, ...]
    master: str = ""


def _kinds(rendition: RenditionQuality, report: QualityReport) -> tuple[_Kind, ...]:
    other = _not_overlapping(rendition.other, rendition.black)
    longer = [span for span in (*rendition.black, *other) if _length_s(span, report) >= OTHER_S]
    return (
        _Kind("black", BLACK_S, "is black", rendition.black, ", where the master is not"),
        _Kind("frozen", FROZEN_S, "stands still", rendition.frozen, ", where the master moves"),
        _Kind("other picture", OTHER_S, "shows another picture than the master", other),
        _Kind(
            "colours", COLOURS_S, "has other colours than the master", _not_overlapping(rendition.recoloured, longer)
        ),
        _Kind(
            "edge",
            OTHER_S,
            "has a line along an edge",
            _not_overlapping(rendition.lined, longer),
            ", unlike the master",
        ),
        _Kind(
            "stray frame",
            Fraction(0),
            "shows another picture than the master",
            _not_overlapping(rendition.stray, longer),
        ),
        _Kind("time", OTHER_S, "shows the master's pictures too early or too late", rendition.shifted),
    )


def _check(report: QualityReport) -> Iterator[Shortfall]:
    for renditions in zip(*(_kinds(rendition, report) for rendition in report.video), strict=True):
        for rendition, kind in zip(report.video, renditions, strict=True):
            yield from _of_rendition(rendition, kind, report)
    yield from _of_master(report)


def _of_rendition(rendition: RenditionQuality, kind: _Kind, report: QualityReport) -> Iterator[Shortfall]:
    spans = [span for span in kind.spans if _length_s(span, report) >= kind.least_s]
    if not spans:
        return
    longest = max(spans, key=lambda span: span[1] - span[0])
    others = len(spans) - 1
    more = f", and {others} more time{'s' if others > 1 else ''}" if others else ""
    yield Shortfall(
        kind.rule,
        Severity.FAILURE,
        f"{rendition.rendition} {kind.what} for {_length(longest, report)} at {clock(longest[0], report)}{more}"
        f"{kind.master}",
        rendition.rendition,
        longest[0],
    )


def _of_master(report: QualityReport) -> Iterator[Shortfall]:
    for name, least_s, what, spans in (
        ("black", BLACK_S, "is black", report.master.black),
        ("frozen", FROZEN_S, "stands still", _not_within(report.master.frozen, report.master.black)),
    ):
        long = [span for span in spans if _length_s(span, report) >= least_s]
        if long:
            at = ", ".join(f"{clock(first, report)} to {clock(end, report)}" for first, end in long[:LISTED])
            more = f" and {len(long) - LISTED} more times" if len(long) > LISTED else ""
            yield Shortfall(name, Severity.NOTE, f"the master {what} from {at}{more}", frame=long[0][0])


def _not_overlapping(spans: tuple[Span, ...], others: Iterable[Span]) -> tuple[Span, ...]:
    """Those spans that overlap none of the others, which are reported as another kind."""
    return tuple(span for span in spans if not any(_overlap(span, other) for other in others))


def _not_within(spans: tuple[Span, ...], others: tuple[Span, ...]) -> tuple[Span, ...]:
    """Those spans that are not a part of one of the others: black stands still, too."""
    return tuple(span for span in spans if not any(longer[0] <= span[0] and span[1] <= longer[1] for longer in others))


def _length(span: Span, report: QualityReport) -> str:
    frames = span[1] - span[0]
    if frames <= FEW_FRAMES:
        return f"{frames} frame{'s' if frames > 1 else ''}"
    return f"{_length_s(span, report):.1f} s"


def _length_s(span: Span, report: QualityReport) -> float:
    return float((span[1] - span[0]) / report.grid.frame_rate)


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


RULE = Rule(
    "black, frozen, other picture, colours, edge, stray frame, time",
    "a rendition shows the master's pictures, in its colours and at its times",
    "submit again with --force",
    _check,
)
