"""How quality is judged: the screen that a picture is seen on, and the model of who looks at it."""

from dataclasses import dataclass
from fractions import Fraction

HD_LINES = 1440
"""Masters with more lines are judged on a screen of 2160 lines."""
STANDARD_RATE = 40
"""Frames per second above which the model for high frame rates is taken."""


@dataclass(frozen=True, slots=True)
class Viewing:
    """A screen, and the model of viewers in front of it.

    Attributes:
        name: For people, such as ``hd``.
        model: VMAF's name of the model, with its version.
        width_px: Width of the screen; pictures fill it as far as their shape allows.
        height_px: Its height.
    """

    name: str
    model: str
    width_px: int
    height_px: int


HD = Viewing("hd", "vmaf_v1.0.16_3d0h", 1920, 1080)
"""1080 lines, seen from three times the screen's height."""
HD_HIGH_RATE = Viewing("hd-hfr", "vmaf_v1.0.16_hfr_3d0h", 1920, 1080)
UHD = Viewing("uhd", "vmaf_v1.0.16_1d5h_2160", 3840, 2160)
"""2160 lines, seen from one and a half times the screen's height."""
UHD_HIGH_RATE = Viewing("uhd-hfr", "vmaf_v1.0.16_hfr_1d5h_2160", 3840, 2160)


def viewing_of(width_px: int, height_px: int, frame_rate: Fraction) -> Viewing:
    """Choose the screen for a master. A smaller one is enlarged, as televisions do: at its own size, scores flatter.

    Args:
        width_px: Width of the upright picture.
        height_px: Its height.
        frame_rate: Frames per second.
    """
    if min(width_px, height_px) > HD_LINES:
        return UHD_HIGH_RATE if frame_rate > STANDARD_RATE else UHD
    return HD_HIGH_RATE if frame_rate > STANDARD_RATE else HD
