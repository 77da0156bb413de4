"""Per-title ladders: exact on curves with known crossings, valid on any curves, and good on real clips."""

import json
import math
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.core.errors import ConfigError
from headend.core.media import Codec, Colour, Probe, VideoRange
from headend.core.settings import Targets
from ladders import choosing, fitting, per_title
from ladders.geometry import upright
from ladders.hull import CurvePoint, Hull, TrialPoint, estimated, hull, inverted, rate_saving
from ladders.ladder import RungRange
from ladders.loading import load
from ladders.per_title import candidates, check_renditions, fit_candidates, wanted_of
from ladders.placing import Wanted, place
from ladders.rules import check
from tests.support.makers import BT709, HDR10, make_probe

STUDIO, WEB = load("studio"), load("web")
GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "per_title.json").read_text())
CODECS = (Codec.AVC, Codec.HEVC, Codec.AV1, Codec.VP9)
SIZES = (234, 360, 432, 540, 720, 1080)
EVERY_CRF = dict.fromkeys(CODECS[:2], (20.0, 28.0, 36.0)) | dict.fromkeys(CODECS[2:], (22.0, 38.0, 54.0))


def curves(
    codec: Codec, *, hardness: float = 1.0, exponent: float = 0.75, middle: float = 34.0, sizes: tuple[int, ...] = SIZES
) -> Hull:
    """Rates halve every 6 steps of x264's scale; quality is a logistic curve under each size's own ceiling."""
    points = []
    for lines in sizes:
        area = lines * lines * 16 / 9
        ceiling = 100 * (1 - 0.6 * math.exp(-lines / 300))
        for crf in EVERY_CRF[codec]:
            scaled = crf if codec in (Codec.AVC, Codec.HEVC) else 20 + (crf - 22) / 2
            kbps = hardness * 0.12 * area**exponent * 2 ** (-(scaled - 20) / 6)
            points.append(TrialPoint(lines, crf, kbps, ceiling / (1 + math.exp((scaled - middle) / 4))))
    return hull(points)


def fixed_of(master: Probe, ladder: str = "studio") -> fitting.Fitted:
    return fitting.fit(load(ladder), master)


def a_ladder(
    hulls: Mapping[Codec, Hull], master: Probe, *, renditions: int | None = None, top_vmaf: float = 95.0
) -> per_title.PerTitleLadder:
    fixed = fixed_of(master)
    assert master.video is not None
    tried, _ = fit_candidates(STUDIO, master, master.video.frame_rate)
    wanted = wanted_of(fixed, renditions=renditions, top_vmaf=top_vmaf)
    return per_title.make_ladder(STUDIO, tried, hulls, wanted, fixed, frame_rate=master.video.frame_rate)


# --- exact --------------------------------------------------------------------------------------------------------


def test_the_top_rung_reaches_the_target_vmaf_within_half_a_point() -> None:
    # Straight lines: 1000 kb/s and VMAF 100 - crf at 720 lines, halved every 6 steps.
    points = [TrialPoint(432, crf, 500 * 2 ** (-(crf - 20) / 6), 90 - 1.2 * crf) for crf in (20.0, 28.0, 36.0)]
    points += [TrialPoint(720, crf, 1000 * 2 ** (-(crf - 20) / 6), 100 - crf) for crf in (20.0, 28.0, 36.0)]

    top = place(hull(points), Codec.AVC, Wanted(6, 50, 9000, 78))[-1]

    assert (top.lines, top.crf, round(top.vmaf, 2)) == (720, 22.5, 77.5)
    assert top.kbps == pytest.approx(1000 * 2 ** (-2.5 / 6))


def test_rates_follow_in_equal_ratios_and_sizes_change_where_the_curves_cross() -> None:
    points = [TrialPoint(432, crf, 250 * 2 ** (-(crf - 20) / 6), 66 - (crf - 20)) for crf in (20.0, 28.0, 36.0)]
    points += [TrialPoint(720, crf, 1000 * 2 ** (-(crf - 20) / 6), 80 - 1.5 * (crf - 20)) for crf in (20.0, 28.0, 36.0)]
    # At r kb/s, 432 lines look like 66 - 6 log2(250 / r), 720 lines like 80 - 9 log2(1000 / r): equal at 160.
    crossing = 2 ** ((80 - 66 + 6 * math.log2(250) - 9 * math.log2(1000)) / -3)
    assert crossing == pytest.approx(630, abs=1)

    rungs = place(hull(points), Codec.AVC, Wanted(9, 62.5, 1000, 99))

    ratios = [b.kbps / a.kbps for a, b in pairwise(rungs)]
    assert ratios == pytest.approx([math.sqrt(2)] * 8, rel=0.02)
    # 432 lines have no trial above 315 kb/s, 720 lines none below 125: between them, and only there, both are known.
    assert [point.lines for point in rungs] == [432] * 5 + [720] * 4


def test_a_title_that_never_reaches_the_target_ends_at_the_presets_highest_rate() -> None:
    grain = curves(Codec.AVC, hardness=8, middle=22)

    top = place(grain, Codec.AVC, Wanted(14, 85, 4500, 95))[-1]

    assert top.vmaf < 95
    assert top.kbps == pytest.approx(4500, rel=0.03)


def test_the_top_rung_is_at_the_rate_whose_doubling_gains_nothing() -> None:
    flat = [
        TrialPoint(432, crf, 400 * 2 ** (-(crf - 20) / 6), vmaf)
        for crf, vmaf in ((20.0, 80.1), (28.0, 80.0), (36.0, 60.0))
    ]

    top = place(hull(flat), Codec.AVC, Wanted(8, 20, 4000, 95))[-1]

    assert top.crf > 25
    assert top.vmaf > 78


def test_a_narrow_range_moves_the_bottom_down_until_rungs_are_apart() -> None:
    easy = curves(Codec.AVC, hardness=0.05, middle=46)

    rungs = place(easy, Codec.AVC, Wanted(14, 500, 6000, 95))

    assert all(round(b.kbps) >= 1.119 * round(a.kbps) for a, b in pairwise(rungs))
    assert all(b.vmaf >= a.vmaf + 0.5 for a, b in pairwise(rungs))
    assert rungs[0].kbps < 500


def test_av1_and_vp9_get_whole_factors() -> None:
    for codec in (Codec.AV1, Codec.VP9):
        assert all(point.crf.is_integer() for point in place(curves(codec), codec, Wanted(13, 80, 5000, 95)))


def test_the_lowest_rung_is_small_even_if_a_larger_size_looks_better() -> None:
    # Text: the largest size looks best at every rate.
    points = [
        TrialPoint(lines, crf, 100 * 2 ** (-(crf - 20) / 6) * (lines / 234) ** 0.2, lines / 11 - (crf - 20) / 4)
        for lines in SIZES
        for crf in (20.0, 28.0, 36.0)
    ]

    rungs = place(hull(points), Codec.AVC, Wanted(6, 10, 900, 97))

    assert rungs[0].lines <= 432
    assert rungs[-1].lines == 1080


# --- whole ladders ------------------------------------------------------------------------------------------------


def a_master(width_px: int, height_px: int, fps: Fraction = Fraction(25), colour: Colour = BT709) -> Probe:
    return make_probe(width_px=width_px, height_px=height_px, frame_rate=fps, colour=colour)


MASTERS = {
    "1080p25": a_master(1920, 1080),
    "720p": a_master(1280, 720),
    "2160p60": a_master(3840, 2160, Fraction(60)),
    "scope": a_master(1920, 800),
    "portrait": a_master(1080, 1920),
    "four-by-three": a_master(1440, 1080),
    "576i": a_master(720, 576),
    "small": a_master(640, 272),
    "small portrait": a_master(360, 640),
    "tiny": a_master(160, 120),
}


@pytest.mark.parametrize("name", MASTERS)
def test_the_ladder_of_any_master_passes_all_rules_and_fits_it(name: str) -> None:
    master = MASTERS[name]
    assert master.video is not None
    tried, renditions = fit_candidates(STUDIO, master, master.video.frame_rate)
    sizes = tuple(dict.fromkeys(rung.height_px for rung in tried.video))
    hulls = {
        codec: curves(codec, sizes=tuple(r.height_px for r in tried.video if r.codec is codec)) for codec in CODECS
    }

    ladder = a_ladder(hulls, master)
    fitted = fitting.fit(ladder.ladder, master)

    assert [finding for finding in check(ladder.ladder) if not finding.advice] == []
    assert len(renditions) == len(tried.video) >= len(sizes)
    assert len(fitted.video) == len([r for r in ladder.ladder.video if r.range is RungRange.SDR])
    # Fitting applies no factor again: the placed rungs are encoded.
    by_crf = {(point.crf, round(point.kbps)) for points in ladder.points.values() for point in points}
    assert {(r.crf, r.average_bps // 1000) for r in fitted.video} == by_crf
    assert sum(r.default for r in fitted.video) == 1
    # Sync frames of static pictures need the room; lower caps are due to levels, or are for phones.
    placed = [rung for rung in ladder.ladder.video if rung.range is RungRange.SDR]
    assert all(rung.cap_kbps == 2 * rung.average_kbps or rung.cap_kbps == 128 for rung in placed)


@pytest.mark.parametrize("name", ["1080p25", "720p", "2160p60", "scope"])
def test_every_master_from_720_lines_gets_more_than_fifty_renditions(name: str) -> None:
    master = MASTERS[name]
    assert master.video is not None
    tried, _ = fit_candidates(STUDIO, master, master.video.frame_rate)
    hulls = {
        codec: curves(codec, sizes=tuple(r.height_px for r in tried.video if r.codec is codec)) for codec in CODECS
    }

    assert len(fitting.fit(a_ladder(hulls, master).ladder, master).video) > 50


def test_requested_renditions_are_divided_evenly_among_codecs() -> None:
    master = MASTERS["1080p25"]
    ladder = a_ladder({codec: curves(codec) for codec in CODECS}, master, renditions=22)

    assert [len(ladder.points[codec]) for codec in CODECS] == [6, 6, 5, 5]


def test_too_few_renditions_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 12"):
        check_renditions(STUDIO, Targets(renditions=11))
    check_renditions(WEB, Targets(renditions=3))


def test_a_title_whose_trials_all_look_the_same_keeps_the_patterns_rungs() -> None:
    black = hull(TrialPoint(lines, crf, 2.0, 100.0) for lines in SIZES for crf in (20.0, 28.0, 36.0))
    master = MASTERS["1080p25"]

    ladder = a_ladder(dict.fromkeys(CODECS, black), master)

    assert [finding for finding in check(ladder.ladder) if not finding.advice] == []
    assert len(fitting.fit(ladder.ladder, master).video) == len(fixed_of(master).video)
    assert sum("the rungs of studio are kept" in line for line in ladder.decisions) == 4


def on_the_pattern(master: Probe, codec: Codec) -> Hull:
    """Return a hull on which each size is best next to the rate factors that the pattern has for it."""
    fixed = [r for r in fixed_of(master).video if r.codec is codec and not r.id.endswith("-hdr")]
    points = []
    for lines in SIZES[:-1]:
        crfs = [r.crf for r in fixed if r.height_px == lines]
        middle = sum(crfs) / len(crfs)
        for crf in EVERY_CRF[codec]:
            kbps = 0.02 * lines**1.5 * 2 ** (-(crf - 28) / 6)
            points.append(TrialPoint(lines, crf, kbps, 30 * math.log10(kbps) - 0.02 * (crf - middle) ** 2))
    return hull(points)


def test_a_codec_with_good_rungs_keeps_them_and_the_plan_says_so() -> None:
    master = MASTERS["720p"]
    hulls = {codec: curves(codec) for codec in CODECS} | {Codec.AVC: on_the_pattern(master, Codec.AVC)}

    ladder = a_ladder(hulls, master)

    assert ladder.points[Codec.AVC] == ()
    [line] = [line for line in ladder.decisions if line.startswith("avc")]
    assert "of the bits at equal VMAF, so the rungs of studio are kept" in line

    def crfs(fitted: fitting.Fitted) -> list[tuple[str, float]]:
        return [(r.id, r.crf) for r in fitted.video if r.codec is Codec.AVC]

    assert crfs(fitting.fit(ladder.ladder, master)) == crfs(fixed_of(master))
    assert [finding for finding in check(ladder.ladder) if not finding.advice] == []


def test_rungs_are_placed_anew_if_another_number_is_requested() -> None:
    master = MASTERS["720p"]
    hulls = {codec: curves(codec) for codec in CODECS} | {Codec.AVC: on_the_pattern(master, Codec.AVC)}

    assert len(a_ladder(hulls, master, renditions=32).points[Codec.AVC]) == 8


def test_rungs_are_placed_anew_if_the_patterns_exceed_the_target_vmaf() -> None:
    master = MASTERS["720p"]
    hulls = {codec: curves(codec) for codec in CODECS} | {Codec.AVC: on_the_pattern(master, Codec.AVC)}
    highest = max(point.vmaf for point in pattern_of(hulls, master, Codec.AVC))

    ladder = a_ladder(hulls, master, top_vmaf=highest - 3)

    assert ladder.points[Codec.AVC][-1].vmaf == pytest.approx(highest - 3.5, abs=0.3)


def pattern_of(hulls: Mapping[Codec, Hull], master: Probe, codec: Codec) -> tuple[CurvePoint, ...]:
    assert master.video is not None
    tried, _ = fit_candidates(STUDIO, master, master.video.frame_rate)
    return per_title.of_pattern(tried, hulls[codec], fixed_of(master), codec)


@pytest.mark.parametrize("name", ["720p", "scope", "portrait", "four-by-three"])
def test_the_pattern_is_predicted_by_the_boxes_that_its_rungs_fill(name: str) -> None:
    # A picture of 2.4:1 that is 218 lines high fills the box of 288 lines, and hulls count in boxes.
    points = pattern_of({Codec.AVC: curves(Codec.AVC)}, MASTERS[name], Codec.AVC)

    wanted = {234, 288, 360, 432, 480, 540, 720} | ({1080} if name != "720p" else set())
    # Sizes are even numbers, so a side may be off by one.
    assert {min(wanted, key=lambda lines: abs(lines - point.lines)) for point in points} == wanted
    assert all(min(abs(lines - point.lines) for lines in wanted) <= 1 for point in points)


def test_hdr_rungs_keep_the_rates_of_the_pattern() -> None:
    master = a_master(1920, 1080, colour=HDR10)
    assert master.video is not None and master.video.video_range is VideoRange.PQ

    renditions = fitting.fit(a_ladder({codec: curves(codec) for codec in CODECS}, master).ladder, master)
    before = fixed_of(master)

    def hdr(fitted: fitting.Fitted) -> list[tuple[str, float, int]]:
        return [(r.id, r.crf, r.cap_bps) for r in fitted.video if r.id.endswith("-hdr")]

    assert hdr(renditions) == hdr(before) != []


def test_candidates_are_no_larger_than_the_pattern_and_the_master() -> None:
    def lines(name: str, ladder: str, codec: Codec) -> list[int]:
        track = MASTERS[name].video
        assert track is not None
        return [r.height_px for r in candidates(load(ladder), upright(track)).video if r.codec is codec]

    assert lines("2160p60", "studio", Codec.AVC) == [234, 288, 360, 432, 540, 720, 1080]
    assert lines("2160p60", "studio", Codec.AV1) == [234, 288, 360, 432, 540, 720, 1080, 1440, 2160]
    assert lines("720p", "web", Codec.AVC) == [234, 288, 360, 432, 540, 720]
    assert lines("576i", "studio", Codec.AVC) == [234, 288, 360, 432, 540]
    assert lines("small", "studio", Codec.AVC) == [180, 234, 288, 360]
    assert lines("tiny", "studio", Codec.AVC) == [120]


# --- properties ---------------------------------------------------------------------------------------------------

shapes = st.builds(
    curves,
    st.sampled_from(CODECS),
    hardness=st.floats(0.02, 20),
    exponent=st.floats(0.5, 0.9),
    middle=st.floats(20, 46),
    sizes=st.sets(st.sampled_from(SIZES), min_size=1).map(lambda sizes: tuple(sorted(sizes))),
)


@settings(max_examples=25, deadline=None)
@given(shapes, st.integers(3, 16), st.floats(80, 97))
def test_rungs_rise_in_rate_quality_and_size_and_lie_apart(found: Hull, count: int, top_vmaf: float) -> None:
    rungs = place(found, Codec.AVC, Wanted(count, 85, 7800, top_vmaf))

    assert len(rungs) <= count
    assert not inverted(rungs)
    for a, b in pairwise(rungs):
        assert b.lines >= a.lines
        assert b.vmaf >= a.vmaf + 0.5
        assert round(b.kbps) >= 1.1 * round(a.kbps)
    assert all(18 <= point.crf <= 51 for point in rungs)
    if rungs:
        assert rungs[-1].kbps >= 2 * rungs[0].kbps


@settings(max_examples=10, deadline=None)
@given(st.floats(0.3, 3), st.floats(0.5, 0.9))
def test_rates_that_are_scaled_change_no_size(scale: float, exponent: float) -> None:
    # High rates, so that rounding averages to whole kb/s does not matter.
    before, after = (
        place(
            curves(Codec.AVC, exponent=exponent, hardness=1000 * factor),
            Codec.AVC,
            Wanted(8, 100_000 * factor, 3_000_000 * factor, 90),
        )
        for factor in (1.0, scale)
    )

    assert [point.lines for point in before] == [point.lines for point in after]
    # Factors go in steps of 0.1.
    assert [point.crf for point in before] == pytest.approx([point.crf for point in after], abs=0.21)


@settings(max_examples=10, deadline=None)
@given(shapes)
def test_a_size_that_is_worse_everywhere_changes_nothing(found: Hull) -> None:
    wanted = Wanted(8, 85, 5000, 92)
    largest = found.curves[-1]
    worse = [
        TrialPoint(largest.lines + 200, crf, 3 * largest.at(crf).kbps, largest.at(crf).vmaf - 25)
        for crf in largest.crfs
    ]
    known = [
        TrialPoint(curve.lines, crf, curve.at(crf).kbps, curve.at(crf).vmaf)
        for curve in found.curves
        for crf in curve.crfs
    ]

    more = place(hull([*known, *worse]), Codec.AVC, wanted)

    if more and more[-1].lines == largest.lines:
        assert more == place(hull(known), Codec.AVC, wanted)


# --- real clips ---------------------------------------------------------------------------------------------------

# Bits at equal VMAF, in per cent, of encoded rungs that were predicted along the hull, against the former studio
# ladder.
TABLE = {"bbb": -10.4, "grain": -10.2, "dark": -0.7, "composite": -20.4, "text": -38.5}


def golden(kind: str, clip: str) -> list[CurvePoint]:
    return [CurvePoint(*point[2:]) for point in GOLDEN["points"] if point[:2] == [kind, clip]]


@pytest.mark.parametrize("clip", TABLE)
def test_ladders_of_real_clips_save_as_many_bits_as_their_encodes_show(clip: str) -> None:
    tried = hull(TrialPoint(*point[2:]) for point in GOLDEN["points"] if point[:2] == ["grid", clip])
    studio = golden("studio", clip)
    top_kbps = 7800 if clip in ("composite", "text") else 4500

    rungs = place(tried, Codec.AVC, Wanted(len(studio), 75, top_kbps, 95))

    assert 100 * rate_saving(golden("pertitle", clip), studio) == pytest.approx(TABLE[clip], abs=0.5)
    assert 100 * rate_saving(rungs, studio) <= TABLE[clip] + 0.5
    assert len(rungs) == len(studio)
    assert not inverted(rungs)


# The former rungs end at a VMAF of 96.8, 95.5 and 73.6. If that is close to 95, there is less to save.
@pytest.mark.parametrize(
    ("clip", "highest_kbps", "most"), [("bbb", 4500, 0.7), ("composite", 7800, 0.82), ("text", 7800, 0.4)]
)
def test_if_a_vmaf_of_95_is_reached_the_top_rung_takes_fewer_bits(clip: str, highest_kbps: float, most: float) -> None:
    tried = hull(TrialPoint(*point[2:]) for point in GOLDEN["points"] if point[:2] == ["grid", clip])
    studio = golden("studio", clip)

    top = place(tried, Codec.AVC, Wanted(len(studio), 75, highest_kbps, 95))[-1]

    assert 94.5 <= top.vmaf <= 94.6
    assert top.kbps <= most * max(point.kbps for point in studio)


TRIALS = json.loads((Path(__file__).parents[1] / "data" / "trials.json").read_text())
FEW = {Codec.AVC: (22, 30, 38), Codec.HEVC: (20, 28, 36), Codec.AV1: (22, 38, 54, 62)}
KNOWN = {
    Codec.AVC: ("bbb", "grain", "dark", "composite", "text"),
    Codec.HEVC: ("bbb", "grain"),
    Codec.AV1: ("bbb", "grain", "dark", "composite"),
}
"""Clips of which more is known than an analysis tries: what it predicts can be held against it."""


def saving_of(codec: Codec, clip: str) -> float:
    """What a title's rungs by few trials save over the preset's, by all that is known of the clip."""

    def points(crfs: tuple[int, ...] | None) -> Hull:
        known = (TrialPoint(*point[2:]) for point in TRIALS["points"] if point[:2] == [clip, codec])
        return hull((point for point in known if crfs is None or point.crf in crfs), per_title.CRF_SCALE[codec])

    lines = TRIALS["master_lines"][clip]
    master = a_master(lines * 16 // 9, lines)
    assert master.video is not None
    pattern = choosing.select(STUDIO, codecs=[codec.value])
    fixed = fitting.fit(pattern, master)
    tried, _ = fit_candidates(pattern, master, master.video.frame_rate)
    wanted = wanted_of(fixed, renditions=None, top_vmaf=95)
    ladder = per_title.make_ladder(
        pattern, tried, {codec: points(FEW[codec])}, wanted, fixed, frame_rate=master.video.frame_rate
    )
    rungs = [estimated(points(None), point.lines, point.crf, math.inf) for point in ladder.points[codec]]
    assert not inverted(rungs)
    return rate_saving(rungs, per_title.of_pattern(tried, points(None), fixed, codec)) if rungs else 0.0


@pytest.mark.parametrize(("codec", "wanted"), [(Codec.AVC, -0.03), (Codec.HEVC, -0.02), (Codec.AV1, -0.02)])
def test_titles_take_fewer_bits_than_with_the_preset_and_none_takes_more(codec: Codec, wanted: float) -> None:
    savings = [saving_of(codec, clip) for clip in KNOWN[codec]]

    assert max(savings) <= 0.01
    assert math.exp(sum(math.log1p(saving) for saving in savings) / len(savings)) - 1 <= wanted


def test_a_rung_of_a_size_that_was_not_tried_is_estimated_between_its_neighbours() -> None:
    found = curves(Codec.AVC)
    of_540, of_720 = found.curves[3].at(25), found.curves[4].at(25)

    between = estimated(found, 620, 25, 10_000)

    assert of_540.kbps < between.kbps < of_720.kbps
    assert of_540.vmaf < between.vmaf < of_720.vmaf
    # Quality rises ever more slowly with size, so what lies between is above the straight line.
    share = math.log(620 / 540) / math.log(720 / 540)
    assert between.vmaf > of_540.vmaf + share * (of_720.vmaf - of_540.vmaf)
    assert estimated(found, 540, 25, 10_000).kbps == pytest.approx(of_540.kbps)
    held = estimated(found, 540, 25, 0.5 * of_540.kbps)
    assert held.kbps == pytest.approx(0.5 * of_540.kbps, rel=0.001)
    assert held.vmaf < of_540.vmaf
