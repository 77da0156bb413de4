"""Pictures are converted to square pixels, rotated upright and fitted into boxes."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.core.errors import MasterError
from ladders.geometry import fit_box, upright
from tests.support.makers import make_video_track

BOXES = ((3840, 2160), (2560, 1440), (1920, 1080), (1280, 720), (960, 540), (768, 432), (640, 360), (416, 234))


@pytest.mark.parametrize(
    ("aspect", "expected"),
    [
        (Fraction(16, 9), "3840x2160 2560x1440 1920x1080 1280x720 960x540 768x432 640x360 416x234"),
        (Fraction(3840, 1608), "3840x1608 2560x1072 1920x804 1280x536 960x402 768x322 640x268 416x174"),
        (Fraction(3840, 2076), "3840x2076 2560x1384 1920x1038 1280x692 960x520 768x416 640x346 416x224"),
        (Fraction(4, 3), "2880x2160 1920x1440 1440x1080 960x720 720x540 576x432 480x360 312x234"),
        (Fraction(9, 16), "2160x3840 1440x2560 1080x1920 720x1280 540x960 432x768 360x640 234x416"),
    ],
)
def test_pictures_fit_into_boxes_as_the_reference_table_says(aspect: Fraction, expected: str) -> None:
    assert " ".join("{}x{}".format(*fit_box(aspect, *box)) for box in BOXES) == expected


@given(st.fractions(Fraction(1, 12), 12, max_denominator=8192), st.sampled_from(BOXES))
def test_a_fitted_picture_is_even_inside_its_box_and_at_most_a_pixel_off(
    aspect: Fraction, box: tuple[int, int]
) -> None:
    width_px, height_px = fit_box(aspect, *box)
    box_width, box_height = box if aspect >= 1 else box[::-1]
    assert width_px % 2 == height_px % 2 == 0
    assert width_px <= box_width and height_px <= box_height
    assert width_px == box_width or height_px == box_height
    assert min(abs(width_px - height_px * aspect), abs(height_px - width_px / aspect)) <= 1


@pytest.mark.parametrize(
    ("coded", "sar", "rotation_deg", "square", "seen"),
    [
        ((720, 576), Fraction(16, 11), 0, (1048, 576), (1048, 576)),
        ((720, 480), Fraction(8, 9), 0, (640, 480), (640, 480)),
        ((1440, 1080), Fraction(4, 3), 0, (1920, 1080), (1920, 1080)),
        ((1920, 1080), Fraction(5120, 5123), 0, (1918, 1080), (1918, 1080)),
        ((1920, 1080), Fraction(1), 90, (1920, 1080), (1080, 1920)),
        ((1920, 1080), Fraction(1), 180, (1920, 1080), (1920, 1080)),
        ((1440, 1080), Fraction(4, 3), 270, (1920, 1080), (1080, 1920)),
        ((1279, 719), Fraction(1), 0, (1280, 720), (1280, 720)),
    ],
)
def test_a_master_is_fitted_with_square_pixels_and_upright(
    coded: tuple[int, int], sar: Fraction, rotation_deg: int, square: tuple[int, int], seen: tuple[int, int]
) -> None:
    track = make_video_track(width_px=coded[0], height_px=coded[1], sample_aspect_ratio=sar, rotation_deg=rotation_deg)
    geometry = upright(track)
    assert (geometry.square_width_px, geometry.square_height_px) == square
    assert (geometry.width_px, geometry.height_px) == seen


@pytest.mark.parametrize(
    "broken", [{"width_px": 0}, {"sample_aspect_ratio": Fraction(0)}, {"rotation_deg": 45}, {"height_px": -2}]
)
def test_a_picture_that_can_not_be_shown_is_refused(broken: dict[str, int]) -> None:
    with pytest.raises(MasterError, match="can't be displayed"):
        upright(replace(make_video_track(), **broken))  # type: ignore[arg-type]
