"""VP9 by libvpx."""

from encoder.families.base import Options, Style
from headend.media import Effort, VideoRendition

# The real-time mode gives up hidden reference frames and is four times faster than the fastest other one.
PRESETS = {Effort.DRAFT: ("realtime", 7), Effort.STANDARD: ("good", 5), Effort.HIGH: ("good", 2)}


def options(rendition: VideoRendition, style: Style) -> Options:
    """Options for one VP9 rendition."""
    deadline, speed = PRESETS[style.effort]
    return {
        "c:v": "libvpx-vp9",
        "deadline": deadline,
        "cpu-used": speed,
        # "Constrained quality": CRF holds the quality, the bit rate bounds a chunk's average, maxrate its peak.
        "crf": rendition.crf,
        "b:v": rendition.cap_bps,
        "maxrate": rendition.cap_bps,
        "bufsize": rendition.buffer_bits,
        "profile:v": rendition.profile,
        "g": style.gop_frames,
        "keyint_min": style.gop_frames,
        "threads": 1,
        "row-mt": 0,
        # Tiles let players decode large pictures on several cores; a tile is at least 256 pixels wide.
        "tile-columns": max(0, (rendition.width_px // 512).bit_length() - 1),
    }
