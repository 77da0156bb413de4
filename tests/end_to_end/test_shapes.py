"""Shapes and rates of masters: their visible part, in the sizes and at the rates of the rungs."""

from fractions import Fraction
from pathlib import Path

import pytest

from headend.core.media import Crop, VideoRendition
from headend.core.settings import Cropping, StoreSettings
from packager.conformance import verify
from tests.support.frame_numbers import read_frame_number
from tests.support.jobs import Published, picture_ladder, submit_small
from tests.support.marks import repeated
from tests.support.masters import make_film, rewrap, with_clean_aperture
from tests.support.playback import frame_numbers, frames, luma_of, track_bytes


def submitted(
    master: Path, folder: Path, scheduler: str, crop: Crop | Cropping = Cropping.NONE, **seconds: Fraction
) -> Published:
    published = submit_small(
        master, StoreSettings(str(folder / "store")), scheduler, ladder=picture_ladder(), crop=crop, **seconds
    )
    assert verify(published.store, "film").findings == ()
    return published


def sizes(published: Published) -> list[tuple[int, int]]:
    """Decoded pictures that fill their frame from edge to edge and still show the whole content."""
    found = []
    for track in published.outcome.presentation.video:
        data = track_bytes(published.store, published.outcome.presentation, track)
        for number, frame in enumerate(frames(data)):
            luma = luma_of(frame)
            assert read_frame_number(luma) == number * track.rendition.rate_divisor, track.rendition.id
            # The ring around the numbers is grey; black would be the rest of a bar.
            assert min(edge.mean() for edge in (luma[0], luma[-1], luma[:, 0], luma[:, -1])) > 60, track.rendition.id
            assert (frame.width, frame.height) == (track.rendition.width_px, track.rendition.height_px)
        found.append((track.rendition.width_px, track.rendition.height_px))
    return found


def test_bars_are_cut_off_and_the_ladder_is_fitted_to_the_picture(tmp_path: Path, scheduler: str) -> None:
    master = make_film(tmp_path / "master.mov", size=(320, 130), filters="pad=320:180:0:24", frame_count=48)
    published = submitted(master, tmp_path, scheduler, Cropping.AUTO)
    assert sizes(published) == [(320, 130), (160, 66)]
    assert "black bars, the same in 48 samples → cropped to 320x130 at 0,24" in published.outcome.plan.decisions


def test_bars_are_kept_by_default(tmp_path: Path, scheduler: str) -> None:
    master = make_film(tmp_path / "master.mov", size=(320, 130), filters="pad=320:180:0:24")
    published = submitted(master, tmp_path, scheduler)
    assert [(r.width_px, r.height_px) for r in published.outcome.plan.video] == [(320, 180), (160, 90)]


def test_a_part_of_a_rotated_picture_is_given_as_it_is_stored(tmp_path: Path, scheduler: str) -> None:
    flat = make_film(tmp_path / "flat.mov", size=(180, 320), filters="pad=180:400:0:30,transpose=cclock")
    master = tmp_path / "master.mov"
    rewrap(master, flat, input_args=("-display_rotation", "-90"))
    published = submitted(master, tmp_path, scheduler, Crop(320, 180, 30, 0))
    assert sizes(published) == [(180, 320), (90, 160)]


def test_only_the_clean_aperture_is_shown(tmp_path: Path, scheduler: str) -> None:
    master = make_film(tmp_path / "master.mov", size=(320, 180), filters="pad=352:200:12:8")
    with_clean_aperture(master, (352, 200), Crop(320, 180, 12, 8))
    published = submitted(master, tmp_path, scheduler)
    assert sizes(published) == [(320, 180), (160, 90)]
    assert "clean aperture 320x180 at 12,8 of 352x200" in published.outcome.plan.decisions


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((240, 180), [(240, 180), (120, 90)]),  # 4:3
        repeated((334, 180), [(320, 172), (160, 86)]),  # 1.85
        ((430, 180), [(320, 134), (160, 66)]),  # 2.39
        repeated((346, 194), [(320, 180), (160, 90)]),
        ((7680, 4320), [(320, 180), (160, 90)]),
    ],
)
def test_every_shape_is_fitted_in(
    size: tuple[int, int], fitted: list[tuple[int, int]], tmp_path: Path, scheduler: str
) -> None:
    few = 2 if size[0] > 4000 else 12
    master = make_film(
        tmp_path / "master.mov", size=size, frame_count=few, noise=0, codec_args=("-preset", "ultrafast")
    )
    assert sizes(submitted(master, tmp_path, scheduler)) == fitted


@pytest.mark.parametrize(
    ("codec", "pixel_format", "arguments"),
    [
        ("ffv1", "yuv420p", ()),
        ("prores_ks", "yuv422p10le", ()),
        ("prores_ks", "yuv444p12le", ("-profile:v", "4444")),
        ("libx264", "yuvj444p", ("-color_range", "pc")),
    ],
)
def test_odd_sizes_of_every_sampling_depth_and_range(
    codec: str, pixel_format: str, arguments: tuple[str, ...], tmp_path: Path, scheduler: str
) -> None:
    master = make_film(
        tmp_path / "master.mkv", size=(330, 190), frame_count=12, filters="crop=321:181:4:4:exact=1",
        codec=codec, pixel_format=pixel_format, codec_args=arguments,
    )  # fmt: skip
    published = submitted(master, tmp_path, scheduler)
    assert sizes(published) == [(320, 180), (160, 90)]
    assert published.outcome.plan.video[0].pixel_format == "yuv420p"


@pytest.mark.parametrize(("rate", "divisors"), [(Fraction(50), (1, 2)), (Fraction(120), (2, 2))])
def test_high_rates_are_halved_for_low_rungs_and_above_60_for_all(
    rate: Fraction, divisors: tuple[int, int], tmp_path: Path, scheduler: str
) -> None:
    count = int(rate) + 3
    master = make_film(tmp_path / "master.mov", frame_rate=rate, frame_count=count, noise=0)
    published = submitted(master, tmp_path, scheduler)
    renditions: list[VideoRendition] = [track.rendition for track in published.outcome.presentation.video]
    assert tuple(rendition.rate_divisor for rendition in renditions) == divisors
    for track, divisor in zip(published.outcome.presentation.video, divisors, strict=True):
        data = track_bytes(published.store, published.outcome.presentation, track)
        assert frame_numbers(data) == list(range(0, count, divisor))
        assert track.rendition.frame_rate == rate / divisor
        times = [frame.time for frame in frames(data)]
        assert times == pytest.approx([float(n * divisor / rate) for n in range(len(times))])
