"""H.265 by libx265, 10 bits, also for SDR: the same rate with less banding."""

from fractions import Fraction

from encoder.families.base import Options, Style, colon_list
from headend.core.media import Effort, MasteringDisplay, VideoRange, VideoRendition

PRESETS = {Effort.DRAFT: "superfast", Effort.STANDARD: "medium", Effort.HIGH: "slow"}


def options(rendition: VideoRendition, style: Style) -> Options:
    """Options for one H.265 rendition."""
    parameters: Options = {
        # A sync frame every GOP and nowhere else; closed, so that chunks and switches need no other frames.
        "keyint": style.gop_frames,
        "min-keyint": style.gop_frames,
        "scenecut": 0,
        "open-gop": 0,
        # Sample-adaptive offset smooths: without it, 3 to 4 % fewer bits at equal VMAF, at every rate (docs/adr/0023).
        "sao": 0,
        # The level and tier that were computed; without them x265 writes what it guesses.
        "level-idc": rendition.level,
        "high-tier": 0,
        # x265's own SEI names its settings and would make init segments differ.
        "info": 0,
        # Single-threaded: chunks run side by side, and without row parallelism the bits don't depend on threads.
        "pools": "none",
        "frame-threads": 1,
        "wpp": 0,
        # Only what goes wrong; x265 writes past FFmpeg's own log level.
        "log-level": "error",
    }
    if rendition.video_range is VideoRange.PQ:
        # HDR10 is PQ with ST 2086 metadata, repeated at every sync frame so that any of them can be a start.
        parameters |= {"hdr10": 1, "hdr10-opt": 1}
    if style.mastering_display is not None:
        parameters["master-display"] = _master_display(style.mastering_display)
    if style.content_light is not None:
        light = style.content_light
        parameters["max-cll"] = f"{light.max_cll_nits},{light.max_fall_nits}"
    return {
        "c:v": "libx265",
        "preset": PRESETS[style.effort],
        "crf": rendition.crf,
        "maxrate": rendition.cap_bps,
        "bufsize": rendition.buffer_bits,
        "profile:v": rendition.profile,
        # hvc1, not FFmpeg's default hev1: Apple's players take no other (HLS Authoring Specification, 1.10).
        "tag:v": "hvc1",
        "threads": 1,
        "x265-params": colon_list(**parameters),
    }


def _master_display(display: MasteringDisplay) -> str:
    """ST 2086 in x265's units: 0.00002 for chromaticity, 0.0001 cd/m² for luminance."""

    def point(xy: tuple[Fraction, Fraction]) -> str:
        return f"({round(xy[0] * 50000)},{round(xy[1] * 50000)})"

    light = f"({round(display.max_nits * 10000)},{round(display.min_nits * 10000)})"
    colours = f"G{point(display.green_xy)}B{point(display.blue_xy)}R{point(display.red_xy)}"
    return f"{colours}WP{point(display.white_xy)}L{light}"
