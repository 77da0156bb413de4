from dataclasses import replace
from fractions import Fraction
from itertools import groupby, pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headend.core.errors import MasterError
from headend.core.media import Codec, Colour, VideoRange, VideoRendition
from ladders.fitting import Fitted, fit
from ladders.ladder import FramePolicy, Ladder
from ladders.loading import load
from tests.support.makers import (
    BT709,
    HDR10,
    HLG,
    make_probe,
    make_video_track,
)

STUDIO, WEB, SMOKE = load("studio"), load("web"), load("smoke")
NTSC = (Fraction(24_000, 1001), Fraction(30_000, 1001), Fraction(60_000, 1001))


def fit_studio(
    width_px: int, height_px: int, *, fps: Fraction | int = 24, channels: int = 2, colour: Colour = BT709
) -> Fitted:
    probe = make_probe(
        width_px=width_px, height_px=height_px, frame_rate=Fraction(fps), channels=channels, colour=colour
    )
    return fit(STUDIO, probe)


def sizes(renditions: tuple[VideoRendition, ...], codec: Codec = Codec.AVC) -> list[str]:
    """Sizes of a codec, best first, each once."""
    return list(dict.fromkeys(f"{r.width_px}x{r.height_px}" for r in renditions if r.codec is codec))


def by_id(fitted: Fitted, id: str) -> VideoRendition:
    return next(rendition for rendition in fitted.video if rendition.id == id)


# --- source geometry ----------------------------------------------------------------------------------------------


def test_a_rotated_master_gets_portrait_renditions() -> None:
    fitted = fit(WEB, make_probe(width_px=1920, height_px=1080, rotation_deg=90))
    assert sizes(fitted.video) == ["1080x1920", "720x1280", "540x960", "360x640", "234x416"]
    assert fitted.video[0].id == "avc-1080p-6000k"
    assert "picture rotated by 90 degrees: 1080x1920 upright" in fitted.decisions


def test_a_master_without_picture_or_rate_is_refused() -> None:
    with pytest.raises(MasterError, match="no picture"):
        fit(WEB, replace(make_probe(), video=None))
    with pytest.raises(MasterError, match="0 frames per second"):
        fit(WEB, make_probe(), frame_rate=Fraction(0))


# --- which rungs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width_px", "height_px", "fps", "channels", "colour", "counts"),
    [
        (1280, 720, 25, 2, BT709, (53, 10)),
        (1280, 536, 24, 6, BT709, (53, 15)),
        (1280, 692, 24, 2, BT709, (53, 10)),
        (1440, 1080, 25, 2, BT709, (60, 10)),
        (1920, 800, 24, 6, BT709, (60, 15)),
        (1920, 1080, 24, 2, BT709, (60, 10)),
        (1920, 1080, 24, 6, BT709, (60, 15)),
        (2048, 858, 24, 6, BT709, (60, 15)),
        (3840, 1608, 24, 6, BT709, (67, 15)),
        (3840, 2160, 60, 6, BT709, (67, 15)),
        (3840, 2160, 24, 6, HDR10, (87, 15)),
        (4096, 2160, 24, 8, HLG, (87, 15)),
        (720, 1280, 30, 1, BT709, (53, 10)),
    ],
)
def test_studio_counts_of_common_masters(
    width_px: int, height_px: int, fps: int, channels: int, colour: Colour, counts: tuple[int, int]
) -> None:
    fitted = fit_studio(width_px, height_px, fps=fps, channels=channels, colour=colour)
    assert (len(fitted.video), len(fitted.audio)) == counts


@pytest.mark.parametrize(
    ("width_px", "height_px", "expected"),
    [
        (1920, 1080, "1920x1080 1280x720 960x540 640x360 416x234"),
        (1998, 1080, "1920x1038 1280x692 960x518 640x346 416x224"),
        (4096, 2160, "1920x1012 1280x676 960x506 640x338 416x220"),
        (1600, 900, "1600x900 1280x720 960x540 640x360 416x234"),
        (1280, 718, "1280x718 960x538 640x360 416x234"),
        (640, 480, "640x480 480x360 312x234"),
        (320, 240, "312x234"),
        (200, 112, "200x112"),
    ],
)
def test_web_sizes_of_a_matrix_of_masters(width_px: int, height_px: int, expected: str) -> None:
    assert " ".join(sizes(fit(WEB, make_probe(width_px=width_px, height_px=height_px)).video)) == expected


def test_a_master_between_two_rungs_gets_rungs_of_its_own_size() -> None:
    fitted = fit(WEB, make_probe(width_px=1600, height_px=900))
    best, _, first = fitted.video[:3]
    # 2950 kb/s at 1080 lines and factor 27, for 0.694 of the area, to the power of 0.75.
    assert (first.id, first.crf) == ("avc-1600x900-2244k", 27.0)
    # As fine as the best rung of the ladder: 5.1 steps, of which 5 halve the rate.
    assert (best.id, best.crf) == ("avc-1600x900-4551k", 21.9)
    assert best.cap_bps == pytest.approx(1.5 * best.average_bps, rel=0.01)
    assert "3 rungs of 1600x900 added for avc" in fitted.decisions


def test_the_largest_size_of_a_master_gets_rungs_up_to_the_ladders_finest_quality() -> None:
    fitted = fit(WEB, make_probe(width_px=1280, height_px=720))
    assert [(r.id, r.crf) for r in fitted.video if r.height_px == 720] == [
        ("avc-720p-3260k", 21.9), ("avc-720p-2211k", 24.7), ("avc-720p-1500k", 27.5),
    ]  # fmt: skip
    assert "2 rungs of 1280x720 added for avc" in fitted.decisions


@pytest.mark.parametrize("shape", [Fraction(16, 9), Fraction(239, 100), Fraction(4, 3), Fraction(9, 16)])
@pytest.mark.parametrize("lines", [180, 288, 400, 480, 576, 640, 720, 800, 900, 1000, 1080, 1200, 1440, 1600, 2160])
def test_rates_of_neighbours_rise_for_every_master(lines: int, shape: Fraction) -> None:
    fitted = fit_studio(2 * round(lines * shape / 2), lines, colour=HDR10)
    for (codec, _), group in groupby(fitted.video, key=lambda r: (r.codec, r.video_range)):
        halving = STUDIO.family(codec).crf_per_halving
        rates = [(r.width_px * r.height_px) ** STUDIO.area_exponent * 2 ** (-r.crf / halving) for r in group]
        averages = [r.average_bps for r in fitted.video if r.codec is codec and r.video_range is VideoRange.SDR]
        assert all(better > 1.05 * worse for better, worse in pairwise(rates)), codec
        assert all(better > worse for better, worse in pairwise(averages)), codec


def test_a_codec_whose_ladder_ends_below_the_master_gets_no_native_rung() -> None:
    assert "1920x1080" in sizes(fit_studio(2560, 1440).video, Codec.AVC)[0]
    assert sizes(fit_studio(2560, 1440).video, Codec.VP9)[0] == "2560x1440"
    assert "2 rungs of 2560x1440 added for vp9" in fit_studio(2560, 1440).decisions


def test_a_master_below_the_smallest_rung_gets_one_native_rung_of_each_codec() -> None:
    fitted = fit(SMOKE, make_probe(width_px=96, height_px=54))
    assert [(r.codec, r.width_px, r.height_px) for r in fitted.video] == [
        (codec, 96, 54) for codec in (Codec.AVC, Codec.HEVC, Codec.AV1, Codec.VP9)
    ]
    assert [r.default for r in fitted.video] == [True, False, False, False]


def test_hdr_rungs_take_the_range_of_the_master_and_are_left_out_for_others() -> None:
    for colour, expected in ((HDR10, VideoRange.PQ), (HLG, VideoRange.HLG)):
        hdr = [r for r in fit_studio(3840, 2160, colour=colour).video if r.id.endswith("-hdr")]
        assert {(r.video_range, r.pixel_format) for r in hdr} == {(expected, "yuv420p10le")}
    sdr = fit_studio(3840, 2160)
    assert {r.video_range for r in sdr.video} == {VideoRange.SDR}
    assert "SDR master: 20 rungs for HDR dropped" in sdr.decisions


def test_best_comes_first_within_a_codec_and_range() -> None:
    fitted = fit_studio(3840, 2160, colour=HDR10)
    for _, group in groupby(fitted.video, key=lambda r: (r.codec, r.video_range)):
        for better, worse in pairwise(group):
            assert (better.height_px, better.average_bps) > (worse.height_px, worse.average_bps)


def test_the_default_is_the_ladder_s_or_the_nearest_left() -> None:
    assert [r.id for r in fit_studio(1920, 1080).video if r.default] == ["avc-720p-1850k"]
    small = fit(WEB, make_probe(width_px=768, height_px=432))
    assert [r.id for r in small.video if r.default] == ["avc-768x432-1522k"]
    assert "default rung avc-720p-1500k was dropped: players start with avc-768x432-1522k" in small.decisions


# --- rates --------------------------------------------------------------------------------------------------------


def test_hevc_at_25_frames_per_second_has_four_fifths_of_its_rate_and_h264_all() -> None:
    slow = {r.id for r in fit_studio(1920, 1080, fps=25).video}
    assert {"hevc-1080p-4640k", "av1-1080p-3480k", "vp9-1080p-4192k", "avc-1080p-7800k"} <= slow
    assert "hevc-1080p-5800k" in {r.id for r in fit_studio(1920, 1080, fps=NTSC[1]).video}


def test_a_rung_above_30_frames_per_second_has_seven_fifths_of_its_rate() -> None:
    rendition = by_id(fit_studio(1920, 1080, fps=50), "avc-1080p-10920k")
    assert (rendition.average_bps, rendition.cap_bps, rendition.buffer_bits) == (10_920_000, 16_380_000, 21_840_000)
    assert rendition.level == "4.2"


def test_a_scope_picture_has_a_lower_average_under_the_same_cap() -> None:
    rendition = by_id(fit_studio(1920, 804), "avc-1080p-4809k")
    assert (rendition.width_px, rendition.height_px, rendition.cap_bps) == (1920, 804, 9_000_000)


def test_low_rungs_of_a_60p_master_take_every_second_frame() -> None:
    fitted = fit_studio(1280, 720, fps=NTSC[2])
    low, high = by_id(fitted, "avc-432p-375k"), by_id(fitted, "avc-720p-2590k")
    assert (low.rate_divisor, low.frame_rate) == (2, NTSC[1])
    assert (high.rate_divisor, high.frame_rate) == (1, NTSC[2])
    assert "59.94p: 31 rungs up to 960x540 at 29.97p, every second frame" in fitted.decisions


def test_every_rung_of_a_120p_master_takes_every_second_frame() -> None:
    fitted = fit_studio(1280, 720, fps=120)
    assert {(r.rate_divisor, r.frame_rate) for r in fitted.video} == {(2, Fraction(60))}


def test_the_grids_frame_rate_is_used_if_it_differs_from_the_masters() -> None:
    fitted = fit(WEB, make_probe(frame_rate=Fraction(25)), frame_rate=Fraction(50))
    assert [r.frame_rate for r in fitted.video] == [50, 50, 50, 25, 25, 25]


def test_frame_rates_up_to_30_are_kept() -> None:
    for fps in (*NTSC[:2], Fraction(24), Fraction(25), Fraction(30), Fraction(15)):
        assert {(r.frame_rate, r.rate_divisor) for r in fit_studio(1280, 720, fps=fps).video} == {(fps, 1)}


def test_the_cap_of_a_uhd_rung_is_lowered_to_its_level() -> None:
    fitted = fit_studio(3840, 2160, fps=30)
    rendition = by_id(fitted, "hevc-2160p-16800k")
    assert (rendition.level, rendition.cap_bps, rendition.buffer_bits) == ("5.0", 25_000_000, 25_000_000)
    assert "hevc-2160p-16800k: cap 25200 kb/s lowered to 25000, the limit of level 5.0" in fitted.decisions


def test_a_delivery_grade_master_keeps_its_rungs_and_the_decision_is_reported() -> None:
    video = make_video_track(codec="h264", width_px=1280, height_px=720, bit_rate_bps=1_205_000)
    fitted = fit(STUDIO, make_probe(video=video, channels=6))
    assert len(fitted.video) == 53
    assert any(line.startswith("master is h264 at 1205 kb/s: ") for line in fitted.decisions)
    mezzanine = fit(STUDIO, make_probe(video=replace(video, codec="prores"), channels=6))
    assert not any("kb/s: " in line for line in mezzanine.decisions)


def test_a_picture_beyond_all_levels_is_refused() -> None:
    with pytest.raises(MasterError, match="conform the master to a lower rate"):
        fit(WEB, make_probe(width_px=1280, height_px=720, frame_rate=Fraction(1_000_000)))


# --- whatever the master ------------------------------------------------------------------------------------------

RATES = st.sampled_from([*NTSC, *(Fraction(n) for n in (12, 24, 25, 30, 48, 50, 60, 100, 120))])
RATIOS = st.sampled_from([Fraction(1), Fraction(4, 3), Fraction(16, 11), Fraction(8, 9), Fraction(5120, 5123)])
COLOURS = st.sampled_from([BT709, HDR10, HLG])


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(720, 8192), st.integers(720, 8192)),
    sar=RATIOS,
    rotation_deg=st.sampled_from([0, 90, 180, 270]),
    rate=RATES,
    channels=st.sampled_from([1, 2, 6, 8]),
    colour=COLOURS,
)
def test_any_master_of_720_lines_gets_more_than_fifty_valid_renditions(
    size: tuple[int, int], sar: Fraction, rotation_deg: int, rate: Fraction, channels: int, colour: Colour
) -> None:
    probe = make_probe(
        width_px=size[0],
        height_px=size[1],
        sample_aspect_ratio=sar,
        rotation_deg=rotation_deg,
        frame_rate=rate,
        channels=channels,
        colour=colour,
    )
    fitted = fit(STUDIO, probe)
    seen = fitted.geometry
    short_px, long_px = sorted((seen.width_px, seen.height_px))
    assume(short_px >= 720 and long_px >= 1280)
    assert len(fitted.video) + len(fitted.audio) > 50
    check_renditions(fitted)


@settings(max_examples=100, deadline=None)
@given(
    size=st.tuples(st.integers(16, 8192), st.integers(16, 8192)),
    rate=RATES,
    colour=COLOURS,
    ladder=st.sampled_from([STUDIO, WEB, SMOKE]),
)
def test_any_ladder_gives_any_master_valid_renditions(
    size: tuple[int, int], rate: Fraction, colour: Colour, ladder: Ladder
) -> None:
    assume(max(size) <= 12 * min(size))
    probe = make_probe(width_px=size[0], height_px=size[1], frame_rate=rate, colour=colour)
    check_renditions(fit(ladder, probe))


def check_renditions(fitted: Fitted) -> None:
    seen = fitted.geometry
    ids = [r.id for r in fitted.video] + [r.id for r in fitted.audio]
    assert len(ids) == len(set(ids))
    assert sum(r.default for r in fitted.video) == 1
    for r in fitted.video:
        assert r.width_px % 2 == r.height_px % 2 == 0
        assert r.width_px <= seen.width_px + 2 and r.height_px <= seen.height_px + 2
        # One side is exact and the other at most a pixel off; a native rung has both sides rounded.
        error = abs(Fraction(r.width_px, r.height_px) / seen.aspect - 1)
        assert error <= Fraction(2, min(r.width_px, r.height_px))
        if min(r.width_px, r.height_px) >= 400:
            assert error < Fraction(5, 1000)
        assert r.cap_bps > r.average_bps > 0
        assert r.buffer_bits > 0
        assert r.level
        assert 1 <= r.crf <= (51 if r.codec in (Codec.AVC, Codec.HEVC) else 63)

    def group(r: VideoRendition) -> tuple[str, int, int, Fraction, str]:
        return r.codec, r.width_px, r.height_px, r.frame_rate, r.video_range

    for _, rungs in groupby(sorted(fitted.video, key=lambda r: (group(r), r.average_bps)), key=group):
        for low, high in pairwise(rungs):
            assert high.average_bps >= 1.1 * low.average_bps
            assert high.crf < low.crf


def test_exactly_the_rungs_marked_at_most_30_take_every_second_frame() -> None:
    fitted = fit_studio(1920, 1080, fps=50)
    low = sum(r.frame_rate is FramePolicy.AT_MOST_30 and r.range == "sdr" for r in STUDIO.video)
    assert sum(r.rate_divisor == 2 for r in fitted.video) == low


@pytest.mark.parametrize(("size", "largest"), [((7680, 4320), "3840x2160"), ((8192, 4320), "3840x2026")])
def test_masters_above_the_largest_box_are_fitted_into_it(size: tuple[int, int], largest: str) -> None:
    fitted = fit_studio(*size)
    by_size = sorted(fitted.video, key=lambda rendition: rendition.width_px * rendition.height_px)
    assert f"{by_size[-1].width_px}x{by_size[-1].height_px}" == largest
    assert not [line for line in fitted.decisions if "native" in line]
