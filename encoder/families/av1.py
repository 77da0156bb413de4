"""AV1 by SVT-AV1, 10 bits, also for SDR: it costs little and saves banding."""

from fractions import Fraction

from encoder.families.base import Options, Style, colon_list
from headend.core.media import Effort, MasteringDisplay, VideoRendition

# Presets above 9 visibly break small pictures.
PRESETS = {Effort.DRAFT: 9, Effort.STANDARD: 6, Effort.HIGH: 4}


def options(rendition: VideoRendition, style: Style) -> Options:
    """Options for one AV1 rendition."""
    parameters: Options = {
        # One core: chunks run side by side.
        "lp": 1,
        # No sync frames at scene changes: one grid for all renditions.
        "scd": 0,
        # Sync frames are key frames, so that every GOP is closed.
        "irefresh-type": 2,
    }
    if style.mastering_display is not None:
        parameters["mastering-display"] = _mastering_display(style.mastering_display)
    if style.content_light is not None:
        light = style.content_light
        parameters["content-light"] = f"{light.max_cll_nits},{light.max_fall_nits}"
    return {
        "c:v": "libsvtav1",
        "preset": PRESETS[style.effort],
        "crf": rendition.crf,
        # With CRF these bound the peak; SVT-AV1 refuses a maximum that equals the average, which CRF does not have.
        "maxrate": rendition.cap_bps,
        "bufsize": rendition.buffer_bits,
        "g": style.gop_frames,
        "svtav1-params": colon_list(**parameters),
    }


def _mastering_display(display: MasteringDisplay) -> str:
    """ST 2086 in SVT-AV1's units: plain decimals."""

    def point(xy: tuple[Fraction, Fraction]) -> str:
        return f"({float(xy[0]):.5f},{float(xy[1]):.5f})"

    light = f"({float(display.max_nits):.4f},{float(display.min_nits):.4f})"
    colours = f"G{point(display.green_xy)}B{point(display.blue_xy)}R{point(display.red_xy)}"
    return f"{colours}WP{point(display.white_xy)}L{light}"
