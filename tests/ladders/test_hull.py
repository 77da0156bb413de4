"""The hull of trial encodes: exact on curves whose crossings are known, and on trials of real clips."""

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.core.codecs import VIDEO
from headend.core.codecs.quantizers import log_step
from headend.core.media import Codec
from ladders.hull import CurvePoint, Hull, TrialPoint, hull, inverted, monotone_cubic, rate_saving
from ladders.ladder import Ladder, RungRange
from ladders.loading import load

TRIALS = json.loads((Path(__file__).parents[1] / "data" / "trials.json").read_text())
MASTER_LINES: dict[str, int] = TRIALS["master_lines"]


def synthetic(lines: int, ceiling: float) -> list[TrialPoint]:
    """Rates halve every six steps of crf; quality falls linearly, faster for more lines."""
    return [
        TrialPoint(lines, crf, 1000 * (lines / 720) ** 1.5 * 2 ** (-(crf - 20) / 6), ceiling - crf * lines / 720)
        for crf in range(16, 44, 4)
    ]


def hull_of(clip: str, codec: str) -> Hull:
    return hull(TrialPoint(*point[2:]) for point in TRIALS["points"] if point[:2] == [clip, codec])


def test_a_curve_goes_through_its_points_and_a_rate_is_found_again() -> None:
    (curve,) = hull(synthetic(720, 110)).curves

    assert curve.at(24).kbps == pytest.approx(1000 * 2 ** (-4 / 6))
    assert curve.at(24).vmaf == pytest.approx(86)
    # Exactly exponential, so interpolation is exact.
    assert curve.at_rate(1000 * 2 ** (-5 / 6)).crf == pytest.approx(25)


def test_the_best_size_changes_where_curves_cross() -> None:
    both = hull([*synthetic(720, 110), *synthetic(360, 95)])
    # 720 lines at crf c and 360 at c - 9 take the same bits; they look the same if 110 - c = 95 - (c - 9) / 2.
    crossing = both.curves[1].at(21)

    assert both.best(crossing.kbps * 0.98).lines == 360
    assert both.best(crossing.kbps * 1.02).lines == 720
    assert both.best(crossing.kbps).vmaf == pytest.approx(89, abs=0.01)


def test_rates_of_av1_are_predicted_near_the_end_of_its_scale() -> None:
    # Slides, 720 lines: rates of encodes by rate factor. The last steps of the quantizer are much larger.
    measured = {45: 1040.0, 52: 827.0, 56: 690.0, 58: 605.0, 61: 442.0, 63: 242.0}
    tried = [TrialPoint(720, crf, measured[crf], 80 - crf / 2) for crf in (45, 56, 63)]

    def error(scale: Callable[[float], float]) -> float:
        [curve] = hull(tried, scale).curves
        return max(abs(curve.kbps(crf) / kbps - 1) for crf, kbps in measured.items())

    assert error(log_step) < 0.06
    assert error(float) > 2 * error(log_step)


AV1_ENCODES = {
    "slides, 540 lines": {
        22: (1163, 65.8), 38: (737, 65.6), 46: (568, 64.9), 54: (411, 63.3), 58: (314, 61.1), 59: (285, 60.6),
        60: (254, 58.9), 61: (221, 57.4), 62: (174, 54.2), 63: (120, 47.5),
    },
    "four cameras, 540 lines": {
        22: (4252, 91.1), 38: (1234, 86.5), 46: (839, 83.3), 54: (598, 80.0), 58: (462, 75.8), 59: (422, 74.3),
        60: (381, 72.5), 61: (339, 69.8), 62: (280, 65.8), 63: (213, 59.2),
    },
    "street, 272 lines": {
        22: (363, 88.3), 38: (143, 78.6), 46: (92.8, 71.3), 54: (62.5, 62.9), 58: (47.9, 56.1), 59: (44.3, 53.5),
        60: (39.8, 51.0), 61: (36.2, 46.9), 62: (31.0, 39.8), 63: (25.6, 32.5),
    },
}  # fmt: skip
"""Rate and VMAF of encodes by rate factor."""


@pytest.mark.parametrize("clip", AV1_ENCODES)
def test_trials_of_av1_predict_its_lowest_rates(clip: str) -> None:
    encodes = AV1_ENCODES[clip]
    [codec] = [video for video in VIDEO if video.codec is Codec.AV1]
    factors = [int(crf) for crf in (*codec.trial_crfs, codec.coarsest_trial_crf)]

    [curve] = hull((TrialPoint(540, crf, *encodes[crf]) for crf in factors), codec.crf_scale).curves

    low = [(curve.at(crf), kbps, vmaf) for crf, (kbps, vmaf) in encodes.items() if crf >= 54]
    # The last step alone is worth 4 to 8 points, so beyond the coarsest trial, predictions were off by 2 to 3.
    assert max(abs(point.vmaf - vmaf) for point, _, vmaf in low) < 1.5
    assert max(abs(point.kbps / kbps - 1) for point, kbps, _ in low) < 0.04


def test_a_hull_needs_two_trials_of_a_size() -> None:
    with pytest.raises(ValueError, match="two trials"):
        hull([TrialPoint(720, 20, 1000, 90), TrialPoint(360, 20, 400, 80)])


def monotone(points: list[TrialPoint]) -> list[TrialPoint]:
    """Return the same trials, with rates and quality that fall as the factor rises."""
    rising = []
    for lines in {point.lines for point in points}:
        group = {point.crf: point for point in points if point.lines == lines}
        rates, scores = (
            sorted(values, reverse=True)
            for values in ([p.kbps for p in group.values()], [p.vmaf for p in group.values()])
        )
        rising += [
            TrialPoint(lines, crf, kbps, vmaf) for crf, kbps, vmaf in zip(sorted(group), rates, scores, strict=True)
        ]
    return rising


trials = st.lists(
    st.builds(TrialPoint, st.sampled_from([234, 360, 720]), st.integers(18, 40), st.floats(50, 9000), st.floats(5, 99)),
    min_size=2, max_size=30,
).filter(lambda points: any(a.lines == b.lines and a.crf != b.crf for a in points for b in points))  # fmt: skip


@given(trials.map(monotone), st.data())
def test_the_order_of_trials_does_not_matter(points: list[TrialPoint], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(points))

    assert [hull(points).best(rate) for rate in (80, 900, 5000)] == [
        hull(shuffled).best(rate) for rate in (80, 900, 5000)
    ]


@given(st.floats(0.25, 4), st.floats(60, 1500))
def test_rates_that_are_scaled_shift_the_hull_and_change_no_size(scale: float, rate: float) -> None:
    points = [*synthetic(720, 110), *synthetic(360, 95)]
    scaled = [TrialPoint(p.lines, p.crf, scale * p.kbps, p.vmaf) for p in points]

    before, after = hull(points).best(rate), hull(scaled).best(scale * rate)

    assert after.vmaf == pytest.approx(before.vmaf, abs=1e-3)
    # If two sizes are equally good, rounding may choose either.
    as_good = hull([point for point in points if point.lines == after.lines]).best(rate)
    assert as_good.vmaf == pytest.approx(before.vmaf, abs=1e-3)


@given(st.lists(st.tuples(st.floats(0.5, 5), st.floats(0, 9)), min_size=2, max_size=9))
def test_curves_through_rising_points_never_fall(steps: list[tuple[float, float]]) -> None:
    xs, ys = [0.0], [0.0]
    for across, up in steps:
        xs.append(xs[-1] + across)
        ys.append(ys[-1] + up)
    curve = monotone_cubic(xs, ys)
    values = [curve(xs[-1] * n / 100) for n in range(101)]

    assert [curve(x) for x in xs] == pytest.approx(ys)
    assert all(b >= a - 1e-9 for a, b in pairwise(values))


def test_curves_end_with_the_slope_of_the_parabola_through_their_last_points() -> None:
    # Of a parabola through three points, the curve has the tangent at its ends, and goes on by it.
    xs = [0.0, 8.0, 16.0]
    curve = monotone_cubic(xs, [90 - 0.1 * x * x for x in xs])

    assert curve(17) == pytest.approx(90 - 0.1 * 16 * 16 - 3.2)
    # Where it is level at an end, it still goes on.
    assert curve(-4) > 90


def test_half_the_rate_at_equal_quality_is_a_saving_of_half() -> None:
    ladder = [CurvePoint(720, 30 - n, 100 * 2**n, 50 + 10 * n) for n in range(5)]
    halved = [CurvePoint(720, s.crf, s.kbps / 2, s.vmaf) for s in ladder]

    assert rate_saving(halved, ladder) == pytest.approx(-0.5)
    assert rate_saving(ladder, halved) == pytest.approx(1.0)


def test_rungs_that_a_cheaper_one_beats_are_ignored() -> None:
    ladder = [CurvePoint(720, 30 - n, 100 * 2**n, 50 + 10 * n) for n in range(5)]

    assert rate_saving([*ladder, CurvePoint(360, 20, 350, 55)], ladder) == pytest.approx(0)


def test_ladders_without_quality_in_common_are_not_compared() -> None:
    assert (
        rate_saving(
            [CurvePoint(1, 1, 1, 10), CurvePoint(1, 1, 2, 20)], [CurvePoint(1, 1, 1, 30), CurvePoint(1, 1, 2, 40)]
        )
        == 0
    )


def test_neighbours_that_cost_more_and_look_worse_are_inverted() -> None:
    low, high, worse = CurvePoint(360, 30, 100, 60), CurvePoint(540, 30, 200, 80), CurvePoint(720, 40, 300, 79)

    assert inverted([low, high, worse]) == [(high, worse)]
    assert inverted([low, high, worse], tolerance=2) == []
    assert inverted([high, low]) == [(high, low)]


# --- the presets on clips -----------------------------------------------------------------------------------------


def played(ladder: Ladder, codec: Codec, clip: str) -> list[CurvePoint]:
    """Rate and quality of the rungs on a clip, from its trials: sizes between are interpolated, and caps apply."""
    curves = {curve.lines: curve for curve in hull_of(clip, codec).curves}
    factor = ladder.family(codec).at_most_25p
    points = []
    for rung in ladder.video:
        lines = rung.height_px
        if rung.codec is not codec or rung.range is not RungRange.SDR or lines > MASTER_LINES[clip] or lines < 234:
            continue
        below, above = max(n for n in curves if n <= lines), min(n for n in curves if n >= lines)
        share = math.log(lines / below) / math.log(above / below) if above > below else 0.0
        low, high = curves[below].at(rung.crf), curves[above].at(rung.crf)
        kbps = math.exp((1 - share) * math.log(low.kbps) + share * math.log(high.kbps))
        vmaf = (1 - share) * low.vmaf + share * high.vmaf
        if kbps > rung.cap_kbps * factor and lines in curves:
            capped = curves[lines].at_rate(rung.cap_kbps * factor)
            kbps, vmaf = capped.kbps, capped.vmaf
        points.append(CurvePoint(lines, rung.crf, kbps, vmaf))
    return points


CLIPS = [(Codec(codec), clip) for clip, codec in sorted({(p[0], p[1]) for p in TRIALS["points"]})]


@pytest.mark.parametrize(("codec", "clip"), [pair for pair in CLIPS if pair[0] is not Codec.HEVC and pair[1] != "cars"])
def test_neighbours_of_the_presets_are_not_inverted_on_real_clips(codec: Codec, clip: str) -> None:
    points = played(load("studio"), codec, clip)

    assert len(points) >= 9
    assert inverted(points, tolerance=0.5) == []


@pytest.mark.parametrize(
    ("clip", "most"), [("bbb", 0.03), ("grain", 0.06), ("composite", 0.05), ("text", 0.2), ("dark", 0.15)]
)
def test_h264_is_near_the_hull_of_real_clips(clip: str, most: float) -> None:
    points = played(load("studio"), Codec.AVC, clip)
    best = hull_of(clip, "avc")
    ideal = [best.best(points[0].kbps * (points[-1].kbps / points[0].kbps) ** (n / 20)) for n in range(21)]

    assert rate_saving(points, ideal) < most
