"""Complete a master's colour, convert HDR and wide gamuts for renditions, and reject colours that can't be converted.

Sources: ITU-T H.273 (names); ITU-R BT.2408 (reference white); Dolby Vision Streams Within the ISO Base Media File
Format, version 2.1.2, and Dolby Vision Profiles and Levels, version 1.3.3 (profiles).
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av

from headend.core.errors import MasterError
from headend.core.media import Colour, DolbyVision, Light, Master, VideoRange, VideoRendition, VideoTrack

SDR_COLOUR = Colour("bt709", "bt709", "bt709", "tv", "left")
"""Colour of tone-mapped renditions, and of 8-bit renditions of wide-gamut masters."""
WHITE_NITS = 203
"""Reference white of HDR production: ITU-R BT.2408, section 2.2."""
HLG_PEAK_NITS = 1000
"""Nominal peak of a display of HLG: ITU-R BT.2100, table 5."""
DEFAULT_PEAK_NITS = 1000
"""Assumed peak of PQ without metadata: that of the displays on which most films are graded."""
MAX_PEAK_NITS = 10_000
"""The highest value that PQ can code."""

_UNKNOWN = ("unknown", "unspecified", "reserved", "", "gbr")
"""Values that are replaced by an assumption. RGB (``gbr``) has no matrix, but its renditions need one."""
_WIDE = {"bt2020": "BT.2020", "smpte431": "DCI-P3", "smpte432": "Display P3"}
_HDR = ("smpte2084", "arib-std-b67")
_FULL_RANGE = ("gray", "ya", "mono")
"""Pixel formats without colour: full range unless tagged otherwise, as is usual for still pictures."""
_TRANSPARENT = ("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8", "ya16", "yaf", "ayuv", "vuya", "pal8")
_BASE_LAYERS = {1: "HDR10", 2: "SDR", 4: "HLG", 6: "HDR10 of a disc"}
"""Kind of base layer by Dolby Vision's ``bl_signal_compatibility_id``. With 0, only a Dolby Vision decoder can show
it."""
_OLD_PROFILES = (4, 7, 8)
"""Dolby Vision profiles that have a usable base layer even if the file does not state that, as in early files."""


def complete_colour(track: VideoTrack) -> tuple[Colour, tuple[str, ...]]:
    """Fill in the parts of a master's colour that it does not state.

    Returns:
        The colour, and a line for each assumption.

    Source:
        The usual convention for untagged material: BT.709 from 720 lines up, else BT.601 with 525 or 625 lines.
    """
    lines = min(track.width_px, track.height_px)
    primaries = "bt709" if lines >= 720 else "bt470bg" if lines == 576 else "smpte170m"
    stated, grey = track.colour, track.pixel_format.startswith(_FULL_RANGE)
    assumed = Colour(
        primaries=primaries,
        transfer="bt709" if primaries == "bt709" else "smpte170m",
        matrix="bt2020nc" if stated.primaries == "bt2020" else primaries,
        range="pc" if grey else "tv",
        chroma_location="left",
    )
    names = ("primaries", "transfer", "matrix", "range", "chroma_location")
    full = Colour(*(getattr(assumed if getattr(stated, name) in _UNKNOWN else stated, name) for name in names))
    decisions = []
    unstated = [name for name in names[:3] if getattr(stated, name) in _UNKNOWN and not (grey and name == "matrix")]
    if unstated == ["matrix"]:
        decisions.append(f"colour matrix not stated → taken as {full.matrix}")
    elif unstated:
        decisions.append(f"colour {', '.join(unstated)} not stated → taken as {primaries}")
    if grey and stated.range in _UNKNOWN:
        decisions.append("grey without a stated range → taken as full range")
    return full, tuple(decisions)


def is_wide(colour: Colour) -> bool:
    """Whether an SDR colour has a wider gamut than BT.709."""
    return colour.primaries in _WIDE and colour.transfer not in _HDR


def bit_depth_of(rendition: VideoRendition) -> int:
    """Bits of a rendition's samples."""
    return max(component.bits for component in av.VideoFormat(rendition.pixel_format).components)


def light_of(video_range: VideoRange, master: Light, *, bit_depth: int = 10) -> Light:
    """Return the colour and HDR metadata of a rendition.

    Args:
        video_range: The rendition's range.
        master: The master's light.
        bit_depth: The rendition's bit depth. Players show 8 bits as BT.709, even if the tags say otherwise.
    """
    limited = replace(master.colour, range="tv")
    if video_range is not VideoRange.SDR:
        return replace(master, colour=limited)
    hdr = master.colour.transfer in _HDR
    return Light(SDR_COLOUR if hdr or (bit_depth == 8 and is_wide(master.colour)) else limited)


def peak_nits(light: Light) -> Fraction:
    """The peak luminance of an HDR master in cd/m², from its metadata or assumed; tone mapping maps it to white."""
    if light.colour.transfer == "arib-std-b67":
        return Fraction(HLG_PEAK_NITS)
    stated = Fraction(0)
    if light.content_light is not None:
        stated = Fraction(light.content_light.max_cll_nits)
    if not stated and light.mastering_display is not None:
        stated = light.mastering_display.max_nits
    return min(max(stated or Fraction(DEFAULT_PEAK_NITS), Fraction(WHITE_NITS)), Fraction(MAX_PEAK_NITS))


def check(master: Master, track: VideoTrack) -> None:
    """Reject a picture that only a Dolby Vision decoder can show.

    Raises:
        MasterError: The picture has no usable base layer.
    """
    dolby = track.dolby_vision
    if dolby is not None and not _has_base_layer(dolby, track):
        profile = f"profile {dolby.profile}" if dolby.profile else "of a profile that it does not state"
        raise MasterError(
            f"{master.url} is Dolby Vision {profile}, whose colours (IPT-PQ-c2) need a Dolby Vision decoder; "
            "deliver profile 8.1, HDR10 or SDR"
        )


def describe(track: VideoTrack, colour: Colour) -> Iterator[str]:
    """Describe the decisions about colours, a line for each.

    Args:
        track: The master's picture.
        colour: Its complete colour.
    """
    if (dolby := track.dolby_vision) is not None:
        base = _BASE_LAYERS.get(dolby.compatibility, "as tagged")
        yield f"Dolby Vision profile {dolby} → its base layer ({base}); the Dolby Vision metadata are dropped"
    if has_alpha(track.pixel_format):
        yield f"picture has transparency ({track.pixel_format}) → dropped; all pixels are shown opaque"
    if is_wide(colour):
        yield f"{_WIDE[colour.primaries]} in SDR → kept in renditions of 10 bits, converted to BT.709 in those of 8"
    if colour.transfer in _HDR:
        peak = peak_nits(Light(colour, track.mastering_display, track.content_light))
        yield f"HDR → in SDR renditions, {float(peak):g} cd/m² become white, {WHITE_NITS} cd/m² nearly so"


def has_alpha(pixel_format: str) -> bool:
    """Whether a pixel format has an alpha channel."""
    return pixel_format.startswith(_TRANSPARENT)


def tone_mapped(stream: Any, video_range: VideoRange, peak: Fraction = Fraction(DEFAULT_PEAK_NITS)) -> Any:
    """Convert PQ or HLG to SDR: linear light, BT.709 primaries, a curve that keeps mid-tones, then BT.709's transfer.

    Args:
        stream: Frames that are tagged with their colour, as a stream of ffmpeg-python.
        video_range: Their range.
        peak: The luminance that becomes white, in cd/m². It is the same for all frames; metadata of single frames is
            ignored.
    """
    # HLG's system gamma applies to luminance (ITU-R BT.2100, table 5). By default, zimg applies it to each channel,
    # which is faster, but the error on a patch is 3.5 CIEDE2000 instead of 0.2. PQ has no such gamma.
    exact = {"agamma": 0} if video_range is VideoRange.HLG else {}
    return (
        stream.filter("zscale", transfer="linear", npl=WHITE_NITS, **exact)
        .filter("format", "gbrpf32le")
        .filter("zscale", primaries="bt709")
        # Mobius keeps everything below the knee unchanged and rolls off highlights.
        .filter("tonemap", "mobius", desat=0, peak=f"{float(peak / WHITE_NITS):.6f}")
        .filter("zscale", transfer="bt709", matrix="bt709", range="limited")
        .filter("format", "yuv420p10le")
    )


def narrowed(stream: Any, working_format: str) -> Any:
    """Convert a wide gamut in SDR to BT.709; colours outside it are clipped."""
    return stream.filter("zscale", primaries="bt709", transfer="bt709", matrix="bt709", range="limited").filter(
        "format", working_format
    )


def without_metadata(stream: Any) -> Any:
    """Remove HDR metadata from frames: HDR encoders get it as options, and for SDR it is wrong."""
    return stream.filter("sidedata", mode="delete", type="MASTERING_DISPLAY_METADATA").filter(
        "sidedata", mode="delete", type="CONTENT_LIGHT_LEVEL"
    )


def _has_base_layer(dolby: DolbyVision, track: VideoTrack) -> bool:
    if dolby.compatibility in _BASE_LAYERS or dolby.profile in _OLD_PROFILES:
        return True
    return dolby.profile == 0 and track.colour.transfer not in _UNKNOWN
