"""The quality rules for a release. Pure: takes a report, returns the shortfalls.

Each rule has a limit beyond which a release fails and a lower one beyond which it gets a remark. Scores of HDR
renditions are only compared with each other: no public model predicts how HDR looks, so no rule has a limit for them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from statistics import fmean

from headend.core.media.quality import (
    QualityReport,
    RenditionQuality,
    SegmentQuality,
    Severity,
    Shortfall,
    Span,
)


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


GOOD_VMAF, GOOD_SEGMENT = 88.0, 70.0
"""Mean VMAF and VMAF of the worst segment below which the best SDR rendition of a codec gets a remark."""
LEAST_LINES = 300
"""A codec whose best rendition has fewer lines is not meant for a screen of this size: it gets remarks only."""
FAIR_S = 10
"""Seconds of evenly spread picture that make a score representative; with less, absolute scores give remarks only. Test
clips are short, and synthetic ones score low at any rate."""
SECOND = Limit(failure=-25.0, remark=-45.0)
"""Lowest VMAF, negated, of the worst second of the best SDR rendition of a codec."""
ORDER = Limit(failure=3.0, remark=0.5)
"""How far the VMAF of a rendition may be below that of a cheaper one of its codec."""
FEW_SCORES, FEW_FACTOR = 20, 2.0
"""With fewer scored frames than this, the limit for failure is multiplied by this factor."""
LEAST_SCORE, UNSEEN_SCORE = 20.0, 94.0
"""Differences between scores below the first (where the model saturates) or above the second (where they are invisible)
give remarks only."""
DEARER = 1.05
"""Smallest ratio of rates at which renditions are compared; rates of still pictures differ by less."""
ORDER_SECOND = Limit(failure=25.0, remark=15.0)
"""`ORDER` for a single second."""
PEAK = Limit(failure=1.1, remark=1.0)
"""Peak rate as a share of the cap."""
LOUDNESS_LU = Limit(failure=2.0, remark=1.0)
"""Deviation of the integrated loudness from its target."""
TRUE_PEAK_DBTP = Limit(failure=0.0, remark=-1.0)
FORETOLD_VMAF, FORETOLD_RATE = Limit(failure=5.0, remark=2.0), Limit(failure=0.2, remark=0.1)
"""Deviation of a rendition from its prediction by an analysis of the title: in VMAF, and as a share of its rate."""
FAIR_SEGMENTS = 20
"""A title with fewer segments has few excerpts for its prediction and a small sample: it gets remarks only."""
OWN_MEAN = Limit(failure=15.0, remark=10.0)
"""How far the worst segment of a codec's best HDR rendition may be below the rendition's own mean."""
BLACK_S, FROZEN_S, OTHER_S = Fraction(1, 2), Fraction(2), Fraction(3, 10)
"""Shortest black, frozen or different picture that fails a release."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for releases.

    Attributes:
        name: Name, for people and programs.
        wants: The rule in one line.
        mend: How to fix a failure.
        check: Finds the shortfalls.
    """

    name: str
    wants: str
    mend: str
    check: Callable[[QualityReport], Iterator[Shortfall]]


def judge(report: QualityReport) -> tuple[Shortfall, ...]:
    """Apply all rules to a report.

    Args:
        report: The measurements; shortfalls that it already has are ignored.

    Returns:
        The shortfalls: failures, then remarks, then notes, each in the order of the rules.
    """
    found = [one for rule in RULES for one in rule.check(report)]
    order = list(Severity)
    return tuple(sorted(found, key=lambda one: order.index(one.severity)))


def clock(frame: int, report: QualityReport) -> str:
    """Format the time of a frame, such as ``1:02:03.4``."""
    tenths = int(10 * frame / report.grid.frame_rate)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    place = f"{minutes:02}:{tenths / 10:04.1f}"
    return f"{hours}:{place}" if hours else place


# --- the rules ----------------------------------------------------------------------------------------------------


def _best(report: QualityReport) -> Iterator[Shortfall]:
    thresholds = report.thresholds
    mean_limit = Limit(-thresholds.min_vmaf, -max(GOOD_VMAF, thresholds.min_vmaf))
    segment_limit = Limit(-thresholds.min_segment, -max(GOOD_SEGMENT, thresholds.min_segment))
    for best in best_of_codecs(report, tone_mapped=False):
        if best.mean is None or (worst := best.worst) is None:
            continue
        excused = not thresholds.are_asked and not is_held(best, report)
        if severity := _mild(mean_limit.severity(-best.mean), excused):
            wanted = -mean_limit.failure if -best.mean > mean_limit.failure else -mean_limit.remark
            yield Shortfall(
                "best rendition",
                severity,
                f"{best.rendition}, the best of {best.codec}, has a mean VMAF of {best.mean:.1f}, below {wanted:g}",
                best.rendition,
            )
        if severity := _mild(segment_limit.severity(-worst.mean), excused):
            wanted = -segment_limit.failure if -worst.mean > segment_limit.failure else -segment_limit.remark
            yield Shortfall(
                "worst segment",
                severity,
                f"segment {worst.number} of {best.rendition}, the best of {best.codec}, at "
                f"{clock(worst.worst_frame, report)} has a mean VMAF of {worst.mean:.1f}, below {wanted:g}",
                best.rendition,
                worst.worst_frame,
            )
        low, segment = _worst_second(best)
        second = _mild(SECOND.severity(-low), excused)
        # Skip it if the segment itself has been reported.
        if second is not None and second is not severity and severity is not Severity.FAILURE:
            severity = second
            yield Shortfall(
                "worst segment",
                severity,
                f"a second of segment {segment.number} of {best.rendition}, the best of {best.codec}, near "
                f"{clock(segment.worst_frame, report)} has a VMAF of {low:.1f}",
                best.rendition,
                segment.worst_frame,
            )


def is_held(best: RenditionQuality, report: QualityReport) -> bool:
    """Return whether the default limits apply to the best rendition of a codec."""
    return min(best.width_px, best.height_px) >= LEAST_LINES and _is_fair(best, report)


def _is_fair(one: RenditionQuality, report: QualityReport) -> bool:
    """Return whether enough of a rendition was measured for representative scores."""
    evenly = set(report.evenly)
    scored = sum(segment.frames for segment in one.segments if segment.number in evenly)
    return scored * report.every * one.rate_divisor / report.grid.frame_rate >= FAIR_S


def _mild(severity: Severity | None, excused: bool) -> Severity | None:
    """Reduce a failure to a remark if it is excused."""
    return Severity.REMARK if severity is Severity.FAILURE and excused else severity


def _own_mean(report: QualityReport) -> Iterator[Shortfall]:
    for best in best_of_codecs(report, tone_mapped=True):
        if best.mean is None or (worst := best.worst) is None:
            continue
        if severity := _mild(OWN_MEAN.severity(best.mean - worst.mean), not _is_fair(best, report)):
            yield Shortfall(
                "HDR segment",
                severity,
                f"segment {worst.number} of {best.rendition} at {clock(worst.worst_frame, report)} lies "
                f"{best.mean - worst.mean:.1f} below the rendition's own mean (tone-mapped)",
                best.rendition,
                worst.worst_frame,
            )


def _order(report: QualityReport) -> Iterator[Shortfall]:
    for members in _comparable(report):
        for dear in members:
            found = [inversion for cheap in members if (inversion := _inverted(dear, cheap)) is not None]
            for inversions, what in (
                ([one for one in found if one.second_at is None], ""),
                ([one for one in found if one.second_at is not None], " in a second near "),
            ):
                if inversions:
                    worst = max(inversions, key=lambda one: (one.severity is Severity.FAILURE, one.off))
                    where = worst.second_at.worst_frame if worst.second_at else None
                    yield Shortfall(
                        "order",
                        worst.severity,
                        f"{dear.rendition} {worst.how} {worst.cheap.rendition} and looks worse by {worst.off:.1f} VMAF"
                        f"{what}{clock(where, report) if where is not None else ''}",
                        dear.rendition,
                        where,
                    )
                    break


@dataclass(frozen=True, slots=True)
class _Inversion:
    """A rendition that scores worse than one that should not be better.

    Attributes:
        cheap: The other rendition.
        how: Why this one should be the better one.
        off: Difference in VMAF.
        severity: Severity of the shortfall.
        second_at: The segment with the worst second; None if the means are compared.
    """

    cheap: RenditionQuality
    how: str
    off: float
    severity: Severity
    second_at: SegmentQuality | None = None


def _inverted(dear: RenditionQuality, cheap: RenditionQuality) -> _Inversion | None:
    """Return an inversion if a rendition scores worse than one with a lower rate or a lower cap."""
    if dear.average_bps > cheap.average_bps:
        how = "takes more bits than"
        counts = dear.average_bps >= DEARER * cheap.average_bps
    elif dear.cap_bps > cheap.cap_bps and DEARER * dear.average_bps < cheap.average_bps:
        # Two renditions that were swapped look like this.
        how = "has a higher cap than"
        counts = True
    else:
        return None
    compared = _compared(dear, cheap)
    if compared is None:
        return None
    counts = counts and compared.cheap_mean >= LEAST_SCORE and compared.dear_mean < UNSEEN_SCORE
    factor = FEW_FACTOR if compared.scores < FEW_SCORES else 1.0
    if severity := _mild(_stretched(ORDER, factor).severity(compared.off), not counts):
        return _Inversion(cheap, how, compared.off, severity)
    if severity := _mild(_stretched(ORDER_SECOND, factor).severity(compared.second_off), not counts):
        return _Inversion(cheap, how, compared.second_off, severity, compared.second_at)
    return None


def _stretched(limit: Limit, factor: float) -> Limit:
    return Limit(limit.failure * factor, limit.remark)


def _peaks(report: QualityReport) -> Iterator[Shortfall]:
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


def _pictures(report: QualityReport) -> Iterator[Shortfall]:
    kinds: tuple[tuple[str, Fraction, str, str, Callable[[RenditionQuality], tuple[Span, ...]]], ...] = (
        ("black", BLACK_S, "is black", ", where the master is not", lambda one: one.black),
        ("frozen", FROZEN_S, "stands still", ", where the master moves", lambda one: one.frozen),
        ("other picture", OTHER_S, "shows another picture than the master", "", lambda one: one.other),
    )
    for name, least_s, what, master, spans_of in kinds:
        for one in report.video:
            spans = [span for span in spans_of(one) if _length_s(span, report) >= least_s]
            if name == "other picture":
                spans = [span for span in spans if not any(_overlap(span, black) for black in one.black)]
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
    for name, least_s, what, shown in (
        ("black", BLACK_S, "is black", report.master.black),
        ("frozen", FROZEN_S, "stands still", report.master.frozen),
    ):
        told = [span for span in shown if _length_s(span, report) >= least_s]
        if told:
            at = ", ".join(f"{clock(first, report)} to {clock(end, report)}" for first, end in told[:5])
            more = f" and {len(told) - 5} more times" if len(told) > 5 else ""
            yield Shortfall(name, Severity.NOTE, f"the master {what} from {at}{more}", frame=told[0][0])


def _sound(report: QualityReport) -> Iterator[Shortfall]:
    for one in report.audio:
        if one.result_lufs is not None and one.target_lufs is not None:
            off = one.result_lufs - one.target_lufs
            if severity := _mild(LOUDNESS_LU.severity(round(abs(off), 2)), one.raised_most):
                yield Shortfall(
                    "loudness",
                    severity,
                    f"{one.rendition} has {one.result_lufs:.1f} LUFS, {abs(off):.1f} LU "
                    f"{'above' if off > 0 else 'below'} the target of {one.target_lufs:g}",
                    one.rendition,
                )
        # Sound without a loudness target keeps the peaks of the master.
        left_alone = one.target_lufs is None
        if one.result_dbtp is not None and (severity := _mild(TRUE_PEAK_DBTP.severity(one.result_dbtp), left_alone)):
            yield Shortfall(
                "true peak", severity, f"{one.rendition} has a true peak of {one.result_dbtp:.1f} dBTP", one.rendition
            )


def _foretold(report: QualityReport) -> Iterator[Shortfall]:
    small = len(report.evenly) < FAIR_SEGMENTS
    for one in report.video:
        if (meant := one.predicted) is None or one.mean is None:
            continue
        off, share = one.mean - meant.vmaf, one.average_bps / meant.bps - 1
        if severity := _mild(FORETOLD_VMAF.severity(abs(off)), small):
            yield Shortfall(
                "predicted",
                severity,
                f"{one.rendition} has a mean VMAF of {one.mean:.1f}, {abs(off):.1f} {'above' if off > 0 else 'below'} "
                f"what was predicted",
                one.rendition,
            )
        if severity := _mild(FORETOLD_RATE.severity(abs(share)), small):
            yield Shortfall(
                "predicted",
                severity,
                f"{one.rendition} takes {one.average_bps / 1000:,.0f} kb/s, {abs(share):.0%} "
                f"{'more' if share > 0 else 'less'} than predicted",
                one.rendition,
            )


def _measured(report: QualityReport) -> Iterator[Shortfall]:
    for one in report.video:
        wanted = {*report.evenly, *report.suspects}
        if not one.segments:
            yield Shortfall(
                "frames measured", Severity.FAILURE, f"no frame of {one.rendition} was measured", one.rendition
            )
        elif not one.tone_mapped and (left := wanted - {segment.number for segment in one.segments}):
            yield Shortfall(
                "frames measured",
                Severity.REMARK,
                f"{len(left)} of {len(wanted)} segments of {one.rendition} were not measured",
                one.rendition,
            )


RULES = (
    Rule(
        "black, frozen, other picture",
        "a rendition is black, stands still or shows something else only where the master does",
        "submit again with --force",
        _pictures,
    ),
    Rule(
        "best rendition, worst segment",
        "the best SDR rendition of each codec has a mean VMAF of at least --qc-min-vmaf, and no segment below "
        "--qc-min-segment",
        "give the codec a dearer rung, or lower its constant rate factor",
        _best,
    ),
    Rule(
        "HDR segment", "no segment of the best HDR rendition lies far below its mean", "look at the segment", _own_mean
    ),
    Rule("order", "a dearer rendition looks no worse than a cheaper one of its codec", "move or drop the rung", _order),
    Rule("peak", "no window of a rendition exceeds its cap", "submit again with --force", _peaks),
    Rule(
        "predicted",
        "renditions of a ladder that was fitted to the title come out as predicted",
        "submit with a larger --analysis-share",
        _foretold,
    ),
    Rule(
        "loudness, true peak", "sound is as loud as asked for", "choose another --loudness, or mend the master", _sound
    ),
    Rule("frames measured", "frames of every rendition were measured", "headend quality TITLE --full", _measured),
)
"""All rules, in reporting order: a wrong picture comes before its consequences."""
LOOKS = frozenset({"best rendition", "worst segment", "order"})
"""Rules that a wrong picture breaks as well."""


def mend_of(shortfall: Shortfall, report: QualityReport) -> str:
    """Return how to fix a failure, in one line; empty for remarks and notes."""
    if shortfall.severity is not Severity.FAILURE:
        return ""
    of = {name.strip(): rule for rule in RULES for name in rule.name.split(",")}
    pictures = RULES[0]
    wrong = {one.rendition for one in report.failures if of[one.rule] is pictures}
    if shortfall.rule in LOOKS and shortfall.rendition in wrong:
        return "the rendition shows a wrong picture, see above"
    return of[shortfall.rule].mend


# --- what rules share ---------------------------------------------------------------------------------------------


def best_of_codecs(report: QualityReport, *, tone_mapped: bool) -> Iterator[RenditionQuality]:
    """Yield the rendition with the highest rate of each codec, in SDR or in HDR."""
    members = [one for one in report.video if one.tone_mapped is tone_mapped]
    for codec in dict.fromkeys(one.codec for one in members):
        yield max((one for one in members if one.codec is codec), key=lambda one: one.average_bps)


def _comparable(report: QualityReport) -> Iterator[list[RenditionQuality]]:
    """Yield groups of renditions with the same codec, range and frame rate, cheapest first."""

    def kind(one: RenditionQuality) -> tuple[str, str, int]:
        return one.codec, one.video_range, one.rate_divisor

    measured = sorted((one for one in report.video if one.segments), key=kind)
    for _, members in groupby(measured, key=kind):
        yield sorted(members, key=lambda one: one.average_bps)


@dataclass(frozen=True, slots=True)
class _Compared:
    """Two renditions compared over the segments that were measured in both.

    Attributes:
        dear_mean: Mean score of the one with the higher rate.
        cheap_mean: Mean score of the other.
        off: Difference of the means.
        second_off: Largest difference in a second.
        second_at: The segment of that second.
        scores: Number of scored frames.
    """

    dear_mean: float
    cheap_mean: float
    off: float
    second_off: float
    second_at: SegmentQuality
    scores: int


def _compared(dear: RenditionQuality, cheap: RenditionQuality) -> _Compared | None:
    """Compare two renditions; None if no segment was measured the same way in both."""
    theirs = {segment.number: segment for segment in cheap.segments}
    pairs = [
        (ours, its)
        for ours in dear.segments
        if (its := theirs.get(ours.number)) is not None and its.is_part is ours.is_part
    ]
    if not pairs:
        return None
    dear_mean, cheap_mean = fmean(ours.mean for ours, _ in pairs), fmean(its.mean for _, its in pairs)
    second_off, second_at = max(
        (
            (after - before, ours)
            for ours, its in pairs
            for before, after in zip(ours.seconds or (ours.mean,), its.seconds or (its.mean,), strict=False)
        ),
        key=lambda each: each[0],
    )
    scores = sum(min(ours.frames, its.frames) for ours, its in pairs)
    return _Compared(dear_mean, cheap_mean, cheap_mean - dear_mean, second_off, second_at, scores)


def _worst_second(one: RenditionQuality) -> tuple[float, SegmentQuality]:
    return min(
        ((second, segment) for segment in one.segments for second in segment.seconds or (segment.mean,)),
        key=lambda each: each[0],
    )


def _length_s(span: Span, report: QualityReport) -> float:
    return float((span[1] - span[0]) / report.grid.frame_rate)


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def rules_broken(shortfalls: Iterable[Shortfall]) -> tuple[str, ...]:
    """Return the names of the rules that have failures, in order."""
    return tuple(dict.fromkeys(one.rule for one in shortfalls if one.severity is Severity.FAILURE))


def worst_segments(report: QualityReport, most: int) -> tuple[tuple[RenditionQuality, SegmentQuality], ...]:
    """Choose segments to show: the worst of each codec's best rendition, and those with a fault."""
    at = {(one.rendition, one.frame) for one in report.failures if one.rendition and one.frame is not None}
    bounds = report.grid.segment_bounds()
    faulty = [
        (rendition, segment)
        for rendition in report.video
        for segment in rendition.segments
        if any(
            name == rendition.rendition and bounds[segment.number - 1] <= frame < bounds[segment.number]
            for name, frame in at
        )
    ]
    best = [
        (rendition, segment)
        for toned in (False, True)
        for rendition in best_of_codecs(report, tone_mapped=toned)
        for segment in rendition.segments
    ]
    ranked = [*sorted(faulty, key=_score)[: most // 2], *sorted(best, key=_score)]
    chosen: dict[tuple[str, int], tuple[RenditionQuality, SegmentQuality]] = {}
    for rendition, segment in ranked:
        if len(chosen) < most:
            chosen.setdefault((rendition.rendition, segment.number), (rendition, segment))
    return tuple(chosen.values())


def _score(place: tuple[RenditionQuality, SegmentQuality]) -> float:
    return place[1].mean
