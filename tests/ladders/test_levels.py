from fractions import Fraction
from itertools import pairwise

import pytest

from headend.core.errors import ConfigError
from headend.core.media import Codec
from ladders.levels import LEVELS, smallest_level


@pytest.mark.parametrize(
    ("codec", "width_px", "height_px", "fps", "name"),
    [
        # The levels of the reference ladder, at 30 and at 60 frames per second.
        (Codec.AVC, 416, 234, 30, "1.3"),
        (Codec.AVC, 640, 360, 30, "3.0"),
        (Codec.AVC, 768, 432, 30, "3.0"),
        (Codec.AVC, 960, 540, 30, "3.1"),
        (Codec.AVC, 960, 540, 60, "3.2"),
        (Codec.AVC, 1280, 720, 30, "3.1"),
        (Codec.AVC, 1280, 720, 60, "3.2"),
        (Codec.AVC, 1920, 1080, 30, "4.0"),
        (Codec.AVC, 1920, 1080, 60, "4.2"),
        (Codec.AVC, 3840, 2160, 30, "5.1"),
        (Codec.HEVC, 640, 360, 30, "2.1"),
        (Codec.HEVC, 960, 540, 30, "3.0"),
        (Codec.HEVC, 960, 540, 60, "3.1"),
        (Codec.HEVC, 1280, 720, 30, "3.1"),
        (Codec.HEVC, 1280, 720, 60, "4.0"),
        (Codec.HEVC, 1920, 1080, 30, "4.0"),
        (Codec.HEVC, 1920, 1080, 60, "4.1"),
        (Codec.HEVC, 2560, 1440, 60, "5.0"),
        (Codec.HEVC, 3840, 2160, 30, "5.0"),
        (Codec.HEVC, 3840, 2160, 60, "5.1"),
        (Codec.AV1, 640, 360, 30, "2.1"),
        (Codec.AV1, 960, 540, 60, "3.1"),
        (Codec.AV1, 1280, 720, 60, "4.0"),
        (Codec.AV1, 1920, 1080, 60, "4.1"),
        (Codec.AV1, 3840, 2160, 60, "5.1"),
        (Codec.VP9, 640, 360, 30, "2.1"),
        (Codec.VP9, 960, 540, 60, "3.1"),
        (Codec.VP9, 1920, 1080, 30, "4.0"),
        (Codec.VP9, 3840, 2160, 60, "5.1"),
    ],
)
def test_size_and_rate_decide_the_level(codec: Codec, width_px: int, height_px: int, fps: int, name: str) -> None:
    level = smallest_level(codec, width_px, height_px, Fraction(fps))
    assert level is not None
    assert level.name == name


def test_a_portrait_picture_has_the_level_of_the_landscape_one() -> None:
    for codec in LEVELS:
        assert smallest_level(codec, 1080, 1920, Fraction(30)) == smallest_level(codec, 1920, 1080, Fraction(30))


def test_a_high_bit_rate_raises_the_level() -> None:
    level = smallest_level(Codec.HEVC, 3840, 2160, Fraction(30), 25_001)
    assert level is not None
    assert level.name == "5.1"


def test_high_profile_of_h264_has_five_quarters_of_the_table_s_rate() -> None:
    within, above = (smallest_level(Codec.AVC, 1920, 1080, Fraction(24), kbps) for kbps in (25_000, 25_001))
    assert within and above
    assert (within.name, above.name) == ("4.0", "4.1")


def test_a_very_wide_picture_needs_a_level_that_allows_its_width() -> None:
    level = smallest_level(Codec.HEVC, 8192, 64, Fraction(24))
    assert level is not None
    assert level.width_px >= 8192
    assert level.name == "5.0"


def test_a_picture_beyond_all_levels_has_none() -> None:
    assert all(smallest_level(codec, 32_768, 16_384, Fraction(60)) is None for codec in LEVELS)


def test_limits_never_fall_from_level_to_level() -> None:
    for levels in LEVELS.values():
        for lower, higher in pairwise(levels):
            assert higher.max_picture >= lower.max_picture
            assert higher.max_per_second >= lower.max_per_second
            assert higher.bit_rate_kbps >= lower.bit_rate_kbps
            assert higher.buffer_kb >= lower.buffer_kb


def test_an_audio_codec_has_no_levels() -> None:
    with pytest.raises(ConfigError, match="aac has no levels"):
        smallest_level(Codec.AAC, 16, 16, Fraction(24))
