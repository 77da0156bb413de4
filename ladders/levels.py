"""Levels: the smallest level that allows a rendition.

The tables are from the standards, reduced to what limits a ladder: picture size, sample rate, bit rate and buffer. With
a level that is too low, hardware decoders stall; with one that is too high, players reject what they could play (Apple,
HLS Authoring Specification, 1.11: signal no higher level than needed).
"""

from fractions import Fraction

from headend.core.codecs import VIDEO, Level
from headend.core.errors import ConfigError
from headend.core.media import Codec
from headend.core.timing import ceil_div

LEVELS: dict[Codec, tuple[Level, ...]] = {video.codec: video.levels for video in VIDEO}
_CODECS = {video.codec: video for video in VIDEO}


def smallest_level(
    codec: Codec, width_px: int, height_px: int, frame_rate: Fraction, bit_rate_kbps: int = 0
) -> Level | None:
    """Find the smallest level that allows a rendition.

    Args:
        codec: A video codec.
        width_px: Width of the picture.
        height_px: Height of the picture.
        frame_rate: Frames per second.
        bit_rate_kbps: Highest rate; 0 considers only size and frame rate.

    Returns:
        The level; None if no level allows it.

    Raises:
        ConfigError: ``codec`` is not a video codec.
    """
    if codec not in LEVELS:
        raise ConfigError(f"{codec} has no levels; use one of {', '.join(LEVELS)}")
    block_px, counts_blocks = _CODECS[codec].block_px, _CODECS[codec].counts_blocks
    columns, rows = ceil_div(width_px, block_px), ceil_div(height_px, block_px)
    picture = columns * rows * (1 if counts_blocks else block_px**2)
    return next(
        (
            level
            for level in LEVELS[codec]
            if picture <= level.max_picture
            and picture * frame_rate <= level.max_per_second
            and columns * block_px <= level.width_px
            and rows * block_px <= level.height_px
            and bit_rate_kbps <= level.bit_rate_kbps
        ),
        None,
    )
