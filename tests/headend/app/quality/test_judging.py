"""The rules on quality: each fails a release beyond one limit, and makes a remark beyond another."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import pytest

from headend.app.quality.highlights import worst_segments
from headend.app.quality.judging import judge, rules_broken
from headend.app.quality.rules import RULES
from headend.core.media import Codec, VideoRange
from headend.core.media.quality import HD, Checking, Lift, MasterSamples, SegmentQuality
from headend.core.media.quality_reports import (
    Outcome,
    PredictedQuality,
    QualityReport,
    RenditionQuality,
    Severity,
    Shortfall,
    SoundQuality,
    Thresholds,
)
from headend.core.timing import Grid

GRID = Grid(Fraction(25), 500, 50, 50, 250)
"""Ten segments of two seconds, each with enough scored frames to be reliable."""


def segment(number: int, *seconds: float) -> SegmentQuality:
    scores = seconds or (90.0, 90.0)
    return SegmentQuality(number, sum(scores) / len(scores), min(scores), 50 * (number - 1), scores, 100)


def few(number: int, score: float) -> SegmentQuality:
    """Return a stretch of a segment in a short title."""
    return SegmentQuality(number, score, score, 50 * (number - 1) + 20, (score,), 4, is_part=True)


def rendition(
    kbps: int, mean: float, *segments: SegmentQuality, codec: Codec = Codec.AVC, lines: int = 720, hdr: bool = False
) -> RenditionQuality:
    shown = segments or (segment(1, mean, mean), segment(6, mean, mean))
    return RenditionQuality(
        rendition=f"{codec}-{kbps}k",
        track=f"{codec}-{kbps}k-0",
        codec=codec,
        width_px=lines * 16 // 9,
        height_px=lines,
        rate_divisor=1,
        video_range=VideoRange.PQ if hdr else VideoRange.SDR,
        average_bps=kbps * 1000,
        peak_bps=kbps * 1200,
        cap_bps=kbps * 1500,
        mean=mean,
        low=mean,
        segments=shown,
    )


def report(*video: RenditionQuality, audio: Sequence[SoundQuality] = (), **others: object) -> QualityReport:
    quality_report = QualityReport(
        title="film",
        release="0" * 20,
        made_at="2026-11-28T12:00:00+00:00",
        software="0",
        checking=Checking.SAMPLED,
        viewing=HD,
        every=3,
        grid=GRID,
        evenly=(1, 6),
        suspects=(),
        thresholds=Thresholds(),
        video=video,
        audio=tuple(audio),
        master=MasterSamples(seen=((0, 50), (250, 300))),
    )
    return replace(quality_report, **others)  # type: ignore[arg-type]


def found(quality_report: QualityReport, severity: Severity = Severity.FAILURE) -> list[str]:
    return [one.rule for one in judge(quality_report) if one.severity is severity]


def sound(result_lufs: float | None, result_dbtp: float | None = -3.0, target: float | None = -24.0) -> SoundQuality:
    return SoundQuality("aac-2.0-128k-en", target, result_lufs, result_dbtp)


def test_a_good_release_passes() -> None:
    quality_report = report(rendition(500, 80), rendition(3000, 95), audio=[sound(-24)])

    assert judge(quality_report) == ()
    assert quality_report.outcome is Outcome.PASSED


BETTER, CHEAPER = PredictedQuality(3_000_000, 95.1), PredictedQuality(2_700_000, 90)
LIFT = Lift(0, 1, 60, 80)

CASES: list[tuple[str, Callable[[], QualityReport], str, Severity]] = [
    ("mean", lambda: report(rendition(3000, 74.9)), "best rendition", Severity.FAILURE),
    ("mean, a little", lambda: report(rendition(3000, 87.9)), "best rendition", Severity.REMARK),
    (
        "worst segment",
        lambda: report(rendition(3000, 90, segment(1, 90, 90), segment(6, 54, 54))),
        "worst segment",
        Severity.FAILURE,
    ),
    (
        "one second of a long segment",
        lambda: report(rendition(3000, 90, segment(1, 90, 90, 90, 90, 90, 20))),
        "worst segment",
        Severity.FAILURE,
    ),
    ("order", lambda: report(rendition(500, 93), rendition(3000, 89.9)), "order", Severity.FAILURE),
    (
        "order, of few frames",
        lambda: report(rendition(500, 90, few(1, 90)), rendition(3000, 83, few(1, 83))),
        "order",
        Severity.FAILURE,
    ),
    (
        "order, swapped with a lower rung",
        lambda: report(
            replace(rendition(500, 95), average_bps=2_800_000), replace(rendition(3000, 85), average_bps=400_000)
        ),
        "order",
        Severity.FAILURE,
    ),
    (
        "mean of a short title, asked for",
        lambda: report(rendition(3000, 80, few(1, 80)), thresholds=Thresholds(90, 10, are_asked=True)),
        "best rendition",
        Severity.FAILURE,
    ),
    (
        "mean of a small title, asked for",
        lambda: report(rendition(200, 80, lines=180), thresholds=Thresholds(90, 10, are_asked=True)),
        "best rendition",
        Severity.FAILURE,
    ),
    ("order, a little", lambda: report(rendition(500, 93), rendition(3000, 92.4)), "order", Severity.REMARK),
    (
        "order in a second",
        lambda: report(
            rendition(500, 80, segment(1, 80, 80)), rendition(900, 81, segment(1, 90, 50)), rendition(3000, 95)
        ),
        "order",
        Severity.FAILURE,
    ),
    (
        "peak",
        lambda: report(replace(rendition(3000, 95), peak_bps=4_960_000, cap_bps=4_500_000)),
        "peak",
        Severity.FAILURE,
    ),
    (
        "peak, a little",
        lambda: report(replace(rendition(3000, 95), peak_bps=4_900_000, cap_bps=4_500_000)),
        "peak",
        Severity.REMARK,
    ),
    ("black", lambda: report(replace(rendition(3000, 95), black=((10, 23),))), "black", Severity.FAILURE),
    ("frozen", lambda: report(replace(rendition(3000, 95), frozen=((10, 60),))), "frozen", Severity.FAILURE),
    ("other", lambda: report(replace(rendition(3000, 95), other=((10, 20),))), "other picture", Severity.FAILURE),
    ("colours", lambda: report(replace(rendition(3000, 95), recoloured=((10, 23),))), "colours", Severity.FAILURE),
    ("edge", lambda: report(replace(rendition(3000, 95), lined=((10, 20),))), "edge", Severity.FAILURE),
    (
        "a single frame",
        lambda: report(replace(rendition(3000, 95), stray=((10, 11),))),
        "stray frame",
        Severity.FAILURE,
    ),
    ("early or late", lambda: report(replace(rendition(3000, 95), shifted=((0, 50),))), "time", Severity.FAILURE),
    ("loudness", lambda: report(rendition(3000, 95), audio=[sound(-26.1)]), "loudness", Severity.FAILURE),
    (
        "loudness above the target in spite of limited peaks",
        lambda: report(rendition(3000, 95), audio=[replace(sound(-20), held_by_peaks=True)]),
        "loudness",
        Severity.FAILURE,
    ),
    ("loudness, a little", lambda: report(rendition(3000, 95), audio=[sound(-22.8)]), "loudness", Severity.REMARK),
    ("true peak", lambda: report(rendition(3000, 95), audio=[sound(-24, 0.1)]), "true peak", Severity.FAILURE),
    (
        "true peak, a little",
        lambda: report(rendition(3000, 95), audio=[sound(-24, -0.5)]),
        "true peak",
        Severity.REMARK,
    ),
    (
        "nothing measured",
        lambda: report(rendition(3000, 95), replace(rendition(500, 80), mean=None, segments=())),
        "frames measured",
        Severity.FAILURE,
    ),
    (
        "too little measured",
        lambda: report(rendition(3000, 95, segment(1, 95, 95))),
        "frames measured",
        Severity.REMARK,
    ),
    (
        "looks other than predicted",
        lambda: report(replace(rendition(3000, 90), predicted=BETTER), evenly=tuple(range(1, 21))),
        "predicted",
        Severity.FAILURE,
    ),
    (
        "takes more than predicted",
        lambda: report(replace(rendition(3000, 90), predicted=CHEAPER), evenly=tuple(range(1, 21))),
        "predicted",
        Severity.REMARK,
    ),
    (
        "worse than predicted, although some chunks were encoded again",
        lambda: report(replace(rendition(3000, 90), predicted=BETTER, lifts=(LIFT,)), evenly=tuple(range(1, 21))),
        "predicted",
        Severity.FAILURE,
    ),
    (
        "HDR far below its mean",
        lambda: report(rendition(3000, 90, segment(1, 95, 95), segment(6, 74, 74), hdr=True)),
        "HDR segment",
        Severity.FAILURE,
    ),
    (
        "HDR black",
        lambda: report(replace(rendition(3000, 90, hdr=True), black=((0, 13),))),
        "black",
        Severity.FAILURE,
    ),
    (
        "HDR order",
        lambda: report(rendition(500, 93, hdr=True), rendition(3000, 80, hdr=True)),
        "order",
        Severity.FAILURE,
    ),
]


@pytest.mark.parametrize(("make", "rule", "severity"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_rule_has_its_limits(make: Callable[[], QualityReport], rule: str, severity: Severity) -> None:
    quality_report = make()

    assert rule in found(quality_report, severity)
    if severity is Severity.REMARK:
        assert found(quality_report) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: report(replace(rendition(3000, 95), black=((10, 22),))),
        lambda: report(replace(rendition(3000, 95), frozen=((10, 59),))),
        lambda: report(replace(rendition(3000, 95), other=((10, 17),))),
        lambda: report(replace(rendition(3000, 95), recoloured=((10, 22),), lined=((20, 27),))),
        # Less than half a per cent above the cap.
        lambda: report(replace(rendition(3000, 95), peak_bps=4_520_000, cap_bps=4_500_000)),
        # Silence has no loudness, and unchanged sound has no target.
        lambda: report(rendition(3000, 95), audio=[sound(None, None)]),
        lambda: report(rendition(3000, 95), audio=[sound(-40, target=None)]),
        # Peaks of unchanged sound are the master's own.
        lambda: report(rendition(3000, 95), audio=[sound(-14, 0.4, target=None)]),
        # Such quiet sound counts as silence.
        lambda: report(rendition(3000, 95), audio=[replace(sound(-40), raised_most=True)]),
        # Few loud peaks in quiet sound.
        lambda: report(rendition(3000, 95), audio=[replace(sound(-32), held_by_peaks=True)]),
        # Few segments say little about the prediction.
        lambda: report(replace(rendition(3000, 95), predicted=PredictedQuality(1_000_000, 80))),
        # A floor adds quality and bits.
        lambda: report(
            replace(rendition(3000, 95), predicted=PredictedQuality(1_000_000, 80), lifts=(LIFT,)),
            evenly=tuple(range(1, 21)),
        ),
        # HDR has no absolute limits.
        lambda: report(rendition(3000, 40, hdr=True)),
        # A rendition at half the rate is not compared with those at the full rate.
        lambda: report(replace(rendition(500, 95), rate_divisor=2), rendition(3000, 89)),
        # A codec of small pictures alone is not meant for a large screen.
        lambda: report(rendition(200, 20, lines=180)),
        # A short title has a small sample, and may be synthetic.
        lambda: report(rendition(3000, 20, few(1, 20))),
        # Nobody sees the difference, or the model can't distinguish the pictures.
        lambda: report(rendition(500, 99), rendition(3000, 94.5)),
        lambda: report(rendition(100, 16), rendition(300, 11), rendition(3000, 90)),
        # With few frames, a difference must be larger.
        lambda: report(rendition(500, 90, few(1, 90)), rendition(3000, 85, few(1, 85))),
        # Still pictures take about the same bits in all rungs.
        lambda: report(rendition(500, 90), replace(rendition(3000, 86), average_bps=515_000)),
        # A rendition of half a segment is not compared with one of a whole segment.
        lambda: report(rendition(500, 90, segment(1, 90)), rendition(3000, 60, few(1, 60)), rendition(4000, 90)),
    ],
)  # fmt: skip
def test_exceptions_and_values_within_limits_fail_nothing(make: Callable[[], QualityReport]) -> None:
    assert found(make()) == []


def test_a_fault_is_reported_once_with_its_length() -> None:
    wrong = replace(
        rendition(3000, 95), black=((0, 50),), other=((0, 50),), stray=((0, 50), (99, 100)), lined=((0, 48),)
    )

    assert [one.message for one in judge(report(wrong)) if one.severity is Severity.FAILURE] == [
        "avc-3000k is black for 2.0 s at 00:00.0, where the master is not",
        "avc-3000k shows another picture than the master for 1 frame at 00:03.9",
    ]


def test_faults_of_the_master_are_listed_and_fail_nothing() -> None:
    master = MasterSamples(black=((0, 50),), frozen=((0, 50), (250, 300)))  # black stands still, too
    quality_report = report(rendition(3000, 95), master=master)

    assert found(quality_report) == []
    assert [one.message for one in judge(quality_report)] == [
        "the master is black from 00:00.0 to 00:02.0",
        "the master stands still from 00:10.0 to 00:12.0",
    ]


def test_thresholds_move_the_rules_for_the_best_renditions() -> None:
    quality_report = report(rendition(3000, 90), thresholds=Thresholds(min_vmaf=95, min_segment=92))

    assert found(quality_report) == ["best rendition", "worst segment"]
    assert found(report(rendition(3000, 60), thresholds=Thresholds(0, 0))) == []


def test_a_rendition_without_any_score_fails_whatever_else_was_left_out() -> None:
    none = replace(rendition(2000, 95.0), segments=(), mean=None, low=None)

    quality_report = report(none, rendition(1000, 90.0), not_measured=("frames in between: one frame in 3 is scored",))

    assert found(quality_report) == ["frames measured"]


def test_failures_come_first_and_name_rendition_place_and_value() -> None:
    quality_report = report(rendition(500, 93), replace(rendition(3000, 87, codec=Codec.HEVC), black=((275, 300),)))
    shortfalls = judge(quality_report)

    assert shortfalls[0] == Shortfall(
        "black",
        Severity.FAILURE,
        "hevc-3000k is black for 1.0 s at 00:11.0, where the master is not",
        "hevc-3000k",
        275,
    )
    assert rules_broken(shortfalls) == ("black",)


def test_the_worst_segments_are_those_of_the_best_renditions_and_of_faults() -> None:
    faulty = replace(rendition(500, 60), other=((260, 280),))
    quality_report = report(faulty, rendition(3000, 95, segment(1, 95, 95), segment(4, 100, 100), segment(6, 80, 80)))
    quality_report = replace(quality_report, shortfalls=judge(quality_report))

    shown = [(one.rendition, found.number) for one, found in worst_segments(quality_report, 8)]

    assert shown == [("avc-500k", 6), ("avc-3000k", 6), ("avc-3000k", 1)]


def test_every_rule_states_its_limit_and_a_remedy() -> None:
    assert all(rule.requirement and rule.remedy for rule in RULES)
