"""The geometry of a picture: how the coded one becomes the displayed one, and its size in a box."""

import math
from dataclasses import dataclass
from fractions import Fraction

from headend.core.errors import MasterError
from headend.core.media import VideoTrack


@dataclass(frozen=True, slots=True)
class Geometry:
    """Conversion of the coded picture to the displayed one: scale to square pixels, then rotate.

    Attributes:
        square_width_px: Width with square pixels, before rotation; even.
        square_height_px: Height with square pixels, before rotation; even.
        rotation_deg: Clockwise rotation: 0, 90, 180 or 270.
        aspect: Aspect ratio of the upright picture, exact.
    """

    square_width_px: int
    square_height_px: int
    rotation_deg: int
    aspect: Fraction

    @property
    def width_px(self) -> int:
        """Width of the upright picture: the effective size of the master."""
        return self.square_height_px if self.rotation_deg in (90, 270) else self.square_width_px

    @property
    def height_px(self) -> int:
        """Height of the upright picture."""
        return self.square_width_px if self.rotation_deg in (90, 270) else self.square_height_px


def upright(track: VideoTrack) -> Geometry:
    """Compute how a coded picture becomes the displayed one, and its displayed size.

    The height is kept and the width follows the pixel shape: 720x576 with 16:11 pixels is 1048x576.

    Raises:
        MasterError: A size or the pixel shape is not above 0, or the rotation is not a multiple of 90 degrees.
    """
    sides = (track.width_px, track.height_px, track.sample_aspect_ratio.numerator)
    if min(sides) <= 0 or track.rotation_deg not in (0, 90, 180, 270):
        raise MasterError(
            f"a picture of {track.width_px}x{track.height_px} with {track.sample_aspect_ratio} pixels, rotated by "
            f"{track.rotation_deg} degrees, can't be displayed; repair the master's headers"
        )
    width_px = track.width_px * track.sample_aspect_ratio
    aspect = width_px / track.height_px
    return Geometry(
        square_width_px=_even(width_px),
        square_height_px=_even(Fraction(track.height_px)),
        rotation_deg=track.rotation_deg,
        aspect=1 / aspect if track.rotation_deg in (90, 270) else aspect,
    )


def fit_box(aspect: Fraction, width_px: int, height_px: int) -> tuple[int, int]:
    """Fit a picture into a box; for a portrait picture, the box is rotated.

    One side is the box's; the other is the nearest even number, so it is off by at most 1 px.

    Args:
        aspect: Aspect ratio of the picture, above 0.
        width_px: Width of the box, even.
        height_px: Height of the box, even, at most the width.

    Returns:
        Width and height, both even, at least 2, inside the box.
    """
    if aspect < 1:
        width_px, height_px = height_px, width_px
    if aspect * height_px >= width_px:
        return width_px, _even(width_px / aspect)
    return _even(height_px * aspect), height_px


def _even(length: Fraction) -> int:
    """The nearest even number, at least 2; ties round up."""
    return max(2, 2 * math.floor(length / 2 + Fraction(1, 2)))
