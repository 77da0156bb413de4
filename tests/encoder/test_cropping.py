"""The kept part of a picture: bars are cut off only if they last throughout the film."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder import sandbox
from encoder.cropping import (
    MAX_SAMPLES,
    Borders,
    DetectedBorders,
    between_bars,
    borders_of,
    choose_samples,
    crop,
    detect_borders,
)
from encoder.probing import probe
from headend.core.errors import ConfigError, MasterError
from headend.core.media import Crop
from headend.core.settings import Cropping
from tests.support.makers import make_video_track
from tests.support.masters import make_film, master_of

HD = Crop(1920, 1080)


def borders(*, left: int = 0, right: int = 0, top: int = 138, bottom: int = 138, bright: bool = True) -> Borders:
    return Borders(left, right, top, bottom, bright)


def found(*seen: Borders) -> Crop | None:
    return between_bars(seen, HD)[0]


def no_detection(area: Crop) -> DetectedBorders:
    raise AssertionError(f"the borders of {area} must not be detected")


def test_bars_that_are_the_same_throughout_are_cut_off() -> None:
    assert found(*[borders()] * 40) == Crop(1920, 804, 0, 138)
    assert found(*[borders(left=240, right=240, top=0, bottom=0)] * 40) == Crop(1440, 1080, 240, 0)
    assert found(*[borders(left=240, right=240, top=60, bottom=60)] * 40) == Crop(1440, 960, 240, 60)


def test_a_scene_that_fills_the_frame_keeps_the_frame() -> None:
    assert found(*[borders()] * 47, borders(top=0, bottom=0)) is None


def test_text_in_a_bar_keeps_the_bars() -> None:
    assert found(*[borders()] * 46, *[borders(bottom=60)] * 2) is None


def test_dark_frames_show_no_edges_but_may_show_content_in_a_bar() -> None:
    dark = borders(top=500, bottom=300, bright=False)
    assert found(*[borders()] * 10, *[dark] * 38) == Crop(1920, 804, 0, 138)
    assert found(*[borders()] * 10, borders(top=20, bright=False)) is None


def test_edges_of_light_in_a_dark_film_are_not_bars() -> None:
    assert found(*[borders(top=100 + 9 * n, bottom=100 + 7 * n % 60) for n in range(40)]) is None


def test_nothing_is_cropped_on_too_few_samples() -> None:
    assert found(*[borders()] * 7) is None
    assert found() is None


@pytest.mark.parametrize("seen", [borders(top=10, bottom=8), borders(top=300, bottom=300)])
def test_neither_blanking_nor_the_dark_around_a_logo_is_a_bar(seen: Borders) -> None:
    assert found(*[seen] * 40) is None


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_the_cut_is_even_and_never_removes_picture(left: int, right: int, top: int, bottom: int) -> None:
    kept = found(*[borders(left=left, right=right, top=top, bottom=bottom)] * 20) or HD
    assert not (kept.width_px % 2 or kept.height_px % 2 or kept.left_px % 2 or kept.top_px % 2)
    assert kept.left_px <= left and kept.left_px + kept.width_px >= 1920 - right
    assert kept.top_px <= top and kept.top_px + kept.height_px >= 1080 - bottom
    assert kept.left_px + kept.width_px <= 1920 and kept.top_px + kept.height_px <= 1080


def test_by_default_nothing_is_analysed_or_cut_off() -> None:
    assert crop(make_video_track(), Cropping.NONE, no_detection) == (None, ())


def test_a_last_odd_line_or_column_is_left_out_as_half_its_colour_is_missing() -> None:
    kept, decisions = crop(make_video_track(width_px=321, height_px=181), Cropping.NONE, no_detection)
    assert kept == Crop(320, 180)
    assert decisions == ("odd size 321x181: the last line or column is left out",)


@pytest.mark.parametrize(
    ("pixel_format", "size"),
    [
        ("yuv410p", (160, 88)),
        ("yuv411p", (160, 90)),
        ("yuv440p", (162, 90)),
        ("yuv444p", (162, 90)),
        ("gray", (162, 90)),
    ],
)
def test_lines_and_columns_without_their_colour_are_left_out(pixel_format: str, size: tuple[int, int]) -> None:
    track = make_video_track(width_px=162, height_px=90, pixel_format=pixel_format)
    kept, decisions = crop(track, Cropping.NONE, no_detection)

    assert (kept or Crop(162, 90)) == Crop(*size)
    assert [f"in {pixel_format}: cut to {size[0]}x{size[1]}" in decision for decision in decisions] == [True] * (
        size != (162, 90)
    )


def test_a_clean_aperture_is_kept_with_even_sizes_and_searched_for_bars() -> None:
    track = make_video_track(width_px=720, height_px=576, clean_aperture=Crop(703, 575, 9, 1))
    clean = Crop(702, 574, 8, 0)
    assert crop(track, Cropping.NONE, no_detection) == (clean, ("clean aperture 702x574 at 8,0 of 720x576",))
    areas: list[Crop] = []

    def detect(area: Crop) -> DetectedBorders:
        areas.append(area)
        return DetectedBorders((borders(top=70, bottom=70),) * 20)

    kept, decisions = crop(track, Cropping.AUTO, detect)
    assert (kept, areas) == (Crop(702, 434, 8, 70), [clean])
    assert "702x434 at 8,70" in decisions[1]


def test_a_requested_crop_wins_and_must_lie_within_the_picture() -> None:
    wanted = Crop(1920, 804, 0, 138)
    assert crop(make_video_track(), wanted, no_detection) == (wanted, ("cropped to 1920x804 at 0,138, as requested",))
    with pytest.raises(ConfigError, match="1920x804 at 0,278 is not within the master's 1920x1080"):
        crop(make_video_track(), Crop(1920, 804, 0, 278), no_detection)


def test_noise_in_bars_is_dark_and_letters_are_not() -> None:
    luma = np.zeros((108, 192), np.uint16)
    luma[20:90] = 30_000
    luma[3, ::7] = 4_000
    area = Crop(192, 108)
    assert borders_of(luma, area) == Borders(0, 0, 20, 18, bright=True)
    luma[100, 80:90] = 50_000
    assert borders_of(luma, area) == Borders(0, 0, 20, 7, bright=True)
    assert borders_of(luma, Crop(192, 90, 0, 4)) == Borders(0, 0, 16, 4, bright=True)
    assert borders_of(np.zeros((108, 192), np.uint16), area) is None


def detected(path: Path) -> Sequence[Borders]:
    video = probe(master_of(path), str(path)).video
    assert video is not None
    samples = choose_samples(master_of(path), video, Crop(video.width_px, video.height_px))
    assert len(samples.pts_ticks) == min(MAX_SAMPLES, video.frame_count) == len(set(samples.pts_ticks))
    return detect_borders(samples, str(path)).borders


@pytest.mark.parametrize(
    ("codec", "pixel_format", "arguments"),
    [
        ("libx264", "yuv420p", ("-g", "40", "-bf", "3")),
        ("libx264", "yuv444p10le", ("-g", "250")),
        ("prores_ks", "yuv422p10le", ()),
        ("libx264", "yuvj420p", ("-color_range", "pc")),
    ],
)
def test_bars_are_detected_in_films_of_every_depth_and_range(
    codec: str, pixel_format: str, arguments: Sequence[str], tmp_path: Path
) -> None:
    master = make_film(
        tmp_path / "master.mov", size=(320, 130), codec=codec, pixel_format=pixel_format, codec_args=arguments,
        filters="pad=320:180:0:24", frame_count=MAX_SAMPLES,
    )  # fmt: skip
    seen = detected(master)
    assert len(seen) == MAX_SAMPLES
    assert between_bars(seen, Crop(320, 180))[0] == Crop(320, 130, 0, 24)


def test_a_film_with_too_few_readable_samples_keeps_its_bars(tmp_path: Path) -> None:
    master = make_film(
        tmp_path / "master.mov", size=(160, 60), filters="pad=160:90:0:15", frame_count=1200, noise=0,
        codec_args=("-g", "9999", "-preset", "ultrafast"),
    )  # fmt: skip
    seen = detected(master)
    assert len(seen) == 3
    assert between_bars(seen, Crop(160, 90))[0] is None


def test_the_analysis_in_another_process_gives_the_same_result(tmp_path: Path) -> None:
    master = make_film(tmp_path / "master.mov", size=(320, 130), filters="pad=320:180:0:24")
    video = probe(master_of(master), str(master)).video
    assert video is not None
    samples = choose_samples(master_of(master), video, Crop(320, 180))
    assert sandbox.detect_borders(samples, str(master)) == detect_borders(samples, str(master))
    master.write_bytes(b"no film any more")
    with pytest.raises(MasterError, match="is not a film that can be read"):
        sandbox.detect_borders(samples, str(master))
