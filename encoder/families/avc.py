"""H.264 by libx264."""

from encoder.families.base import Options, Style, colon_list
from headend.core.media import Effort, VideoRendition

PRESETS = {Effort.DRAFT: "veryfast", Effort.STANDARD: "medium", Effort.HIGH: "slow"}


def options(rendition: VideoRendition, style: Style) -> Options:
    """Options for one H.264 rendition."""
    return {
        "c:v": "libx264",
        "preset": PRESETS[style.effort],
        # CRF holds the quality, maxrate and bufsize hold the peak: nothing depends on how other chunks came out.
        "crf": rendition.crf,
        "maxrate": rendition.cap_bps,
        "bufsize": rendition.buffer_bits,
        "profile:v": rendition.profile,
        # No higher than needed (Apple's HLS Authoring Specification, 1.11); also bounds the reference frames.
        "level:v": rendition.level,
        # One grid for all renditions: a sync frame every GOP and nowhere else.
        "g": style.gop_frames,
        "keyint_min": style.gop_frames,
        "sc_threshold": 0,
        # Chunks run side by side; threads inside one cost efficiency and make the result depend on their number.
        "threads": 1,
        "x264-params": colon_list(
            # Headers must not depend on the content of a chunk: the init segment is one for all.
            stitchable=1,
            open_gop=0,
        ),
    }
