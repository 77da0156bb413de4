"""Describe the picture of a master: size, rotation, colour, HDR metadata and fields."""

import re
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from fractions import Fraction
from itertools import pairwise
from math import atan2, degrees

from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from encoder.probing import describing
from encoder.probing.formats import PictureFormat
from encoder.probing.opening import time_base_of
from encoder.probing.rates import declared_rates, frame_rate
from headend.core.errors import MasterError
from headend.core.media import (
    Change,
    Colour,
    ContentLight,
    Crop,
    DolbyVision,
    FieldOrder,
    FrameIndex,
    Master,
    MasteringDisplay,
    VideoTrack,
)

# ITU-T H.273, tables 2, 3 and 4, with FFmpeg's names. Values that are missing here are unknown to FFmpeg, too.

_PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020", 10: "smpte428",
    11: "smpte431", 12: "smpte432", 22: "ebu3213",
}  # fmt: skip
_TRANSFERS = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316",
    11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084",
    17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
_MATRICES = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc",
    10: "bt2020c", 11: "smpte2085", 12: "chroma-derived-nc", 13: "chroma-derived-c", 14: "ictcp",
    15: "ipt-c2", 16: "ycgco-re", 17: "ycgco-ro",
}  # fmt: skip
_RANGES = {1: "tv", 2: "pc"}
_CHROMA_LOCATION = re.compile(r"[(, ](left|center|topleft|top|bottomleft|bottom)[,)]")
_CROPPING = re.compile(r"Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)")
_DOLBY_RECORD = re.compile(r"DOVI configuration record:.*?\bprofile: (\d+),.*?\bcompatibility id: (\d+)")
_DOLBY_TAG = re.compile(r"\((?:dvh1|dvhe|dva1|dvav|dav1) / ")
_FIELD_ORDERS = {
    2: FieldOrder.TOP_FIRST,
    3: FieldOrder.BOTTOM_FIRST,
    4: FieldOrder.TOP_FIRST,
    5: FieldOrder.BOTTOM_FIRST,
}


def with_formats(track: VideoTrack, formats: Sequence[PictureFormat], master: Master) -> VideoTrack:
    """Describe a track by the format that it has for most of the time, and record when its format changes.

    Args:
        track: The track with the format of its first frame.
        formats: The formats in presentation order; empty if there is only one.
        master: Named in errors.

    Raises:
        MasterError: Its dynamic range changes, or it changes to or from a wide gamut.
    """
    if not formats:
        return track
    for before, after in pairwise(formats):
        was, becomes = _describe_light(before), _describe_light(after)
        if was != becomes:
            at_s = float(after.pts_ticks * track.time_base - track.start_s)
            raise MasterError(
                f"{master.url}: the picture changes from {was} to {becomes} at {at_s:.3f} s; deliver it in one of them "
                "throughout",
                at_s=at_s,
            )
    durations = Counter[tuple[object, ...]]()
    ends = (*(picture_format.pts_ticks for picture_format in formats[1:]), track.frames.pts_ticks[-1] + 1)
    for picture_format, end in zip(formats, ends, strict=True):
        durations[picture_format.properties] += end - picture_format.pts_ticks
    main = max(formats, key=lambda picture_format: durations[picture_format.properties])
    changes = (
        Change(after.pts_ticks * track.time_base, _describe_format(before), _describe_format(after))
        for before, after in pairwise(formats)
    )
    frame = main.frame
    return replace(
        track,
        width_px=frame.width,
        height_px=frame.height,
        sample_aspect_ratio=main.sample_aspect_ratio or Fraction(1),
        pixel_format=frame.format.name,
        bit_depth=max(component.bits for component in frame.format.components),
        colour=_fill_unknown(_colour(main), [*map(_colour, formats), track.colour]),
        changes=tuple(changes),
        stated_colours=tuple(dict.fromkeys(map(_colour, formats))),
    )


def _colour(picture_format: PictureFormat) -> Colour:
    frame = picture_format.frame
    return Colour(
        primaries=_name_of(_PRIMARIES, frame.color_primaries),
        transfer=_name_of(_TRANSFERS, frame.color_trc),
        matrix=_name_of(_MATRICES, frame.colorspace),
        range=_name_of(_RANGES, frame.color_range),
    )


def _fill_unknown(colour: Colour, others: Sequence[Colour]) -> Colour:
    """Replace the unknown properties of a colour by those of the first other colour that states them."""
    names = [field.name for field in fields(Colour)]
    return Colour(
        *(
            next((v for candidate in (colour, *others) if (v := getattr(candidate, name)) != "unknown"), "unknown")
            for name in names
        )
    )


def _describe_light(picture_format: PictureFormat) -> str:
    """Describe the dynamic range and the gamut, which must not change within a film."""
    colour = _colour(picture_format)
    transfer = {"smpte2084": "HDR (PQ)", "arib-std-b67": "HDR (HLG)"}.get(colour.transfer)
    if colour.matrix.startswith("bt2020") and not transfer:
        return "BT.2020"
    return transfer or {"bt2020": "BT.2020", "smpte431": "DCI-P3", "smpte432": "Display P3"}.get(
        colour.primaries, "SDR"
    )


def _describe_format(picture_format: PictureFormat) -> str:
    frame, colour = picture_format.frame, _colour(picture_format)
    shape = (
        f" with {picture_format.sample_aspect_ratio} pixels"
        if picture_format.sample_aspect_ratio not in (None, 0, 1)
        else ""
    )
    names = (colour.primaries, colour.transfer, colour.matrix, colour.range)
    stated = "/".join(dict.fromkeys(name for name in names if name != "unknown"))
    return " ".join(filter(None, (f"{frame.width}x{frame.height}{shape}", frame.format.name, stated)))


def video_track(container: InputContainer, picture: VideoStream, first: VideoFrame, frames: FrameIndex) -> VideoTrack:
    """Describe the picture of a master.

    Args:
        container: The open master.
        picture: Its stream.
        first: The first decoded frame, which has more information than the header.
        frames: The frame index.
    """
    context = picture.codec_context
    description = describing.of_stream(describing.describe(container), picture.index)
    rotation_deg, mirrored = orientation(_side_data(first, "DISPLAYMATRIX"))
    rate, constant = frame_rate(frames.pts_ticks, time_base_of(picture), *declared_rates(picture))
    return VideoTrack(
        index=picture.index,
        codec=context.codec.canonical_name,
        profile=picture.profile or "",
        width_px=first.width,
        height_px=first.height,
        sample_aspect_ratio=picture.sample_aspect_ratio or Fraction(1),
        rotation_deg=rotation_deg,
        mirrored=mirrored,
        pixel_format=first.format.name,
        bit_depth=max(component.bits for component in first.format.components),
        colour=Colour(
            primaries=_name_of(_PRIMARIES, context.color_primaries, first.color_primaries),
            transfer=_name_of(_TRANSFERS, context.color_trc, first.color_trc),
            matrix=_name_of(_MATRICES, context.colorspace, first.colorspace),
            range=_name_of(_RANGES, context.color_range, first.color_range),
            chroma_location=_chroma_location(description),
        ),
        mastering_display=_mastering_display(first),
        content_light=_content_light(first),
        field_order=_field_order(context.field_order, first),
        time_base=time_base_of(picture),
        frame_rate=rate,
        constant_rate=constant,
        intra_only=len(frames.keyframes) == len(frames.pts_ticks),
        bit_rate_bps=picture.bit_rate or 0,
        frames=frames,
        clean_aperture=_clean_aperture(description, first),
        dolby_vision=_dolby_vision(description, first),
    )


def orientation(matrix: bytes | None) -> tuple[int, bool]:
    """Convert a display matrix to a rotation.

    Args:
        matrix: libavutil's ``AV_FRAME_DATA_DISPLAYMATRIX``: nine numbers, row by row; None for none.

    Returns:
        The clockwise rotation in degrees, a multiple of 90, and whether the picture is mirrored horizontally before the
        rotation.

    Source:
        ISO/IEC 14496-12, section 8.3.2: ``(x, y, 1)`` times the matrix is the position of a pixel.
    """
    if matrix is None or len(matrix) < 36:
        return 0, False
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return round(degrees(atan2(b, a)) / 90) % 4 * 90, mirrored


def _side_data(frame: VideoFrame, kind: str) -> bytes | None:
    data = frame.side_data.get(kind)
    return bytes(data) if isinstance(data, SideData) else None


def _dolby_vision(description: str, first: VideoFrame) -> DolbyVision | None:
    """The container's configuration record; profile 0 if there is Dolby Vision without a record."""
    if found := _DOLBY_RECORD.search(description):
        return DolbyVision(int(found[1]), int(found[2]))
    if _DOLBY_TAG.search(description.partition("\n")[0]) or _side_data(first, "DOVI_METADATA") is not None:
        return DolbyVision(0, 0)
    return None


def _name_of(names: dict[int, str], *values: int) -> str:
    return next((names[value] for value in values if value in names), "unknown")


def _field_order(declared: int, first: VideoFrame) -> FieldOrder:
    if declared in _FIELD_ORDERS:
        return _FIELD_ORDERS[declared]
    # MXF declares interlaced ProRes as progressive, but its frames are flagged as interlaced. PyAV does not expose
    # which field is first; FFmpeg's deinterlacers assume the top field.
    return FieldOrder.TOP_FIRST if first.interlaced_frame else FieldOrder.PROGRESSIVE


def _mastering_display(frame: VideoFrame) -> MasteringDisplay | None:
    """Read libavutil's ``AVMasteringDisplayMetadata``: ten rationals and two flags."""
    data = frame.side_data.get("MASTERING_DISPLAY_METADATA")
    if not isinstance(data, SideData):
        return None
    *numbers, has_primaries, has_luminance = struct.unpack_from("=22i", bytes(data))
    if not (has_primaries and has_luminance) or 0 in numbers[1::2]:
        return None
    red_x, red_y, green_x, green_y, blue_x, blue_y, white_x, white_y, darkest, brightest = (
        Fraction(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)
    )
    return MasteringDisplay(
        (red_x, red_y), (green_x, green_y), (blue_x, blue_y), (white_x, white_y), darkest, brightest
    )


def _content_light(frame: VideoFrame) -> ContentLight | None:
    data = frame.side_data.get("CONTENT_LIGHT_LEVEL")
    if not isinstance(data, SideData):
        return None
    levels = ContentLight(*struct.unpack_from("=2I", bytes(data)))
    return levels if levels.max_cll_nits or levels.max_fall_nits else None


def _chroma_location(description: str) -> str:
    """The position of chroma samples."""
    found = _CHROMA_LOCATION.search(description.partition("\n")[0])
    return found[1] if found else "unknown"


def _clean_aperture(description: str, first: VideoFrame) -> Crop | None:
    """The clean aperture by QuickTime's ``clap`` or Matroska's ``PixelCrop…``.

    Source:
        ISO/IEC 14496-12, section 12.1.4; RFC 9559, section 5.1.4.1.28.8.
    """
    found = _CROPPING.search(description)
    if found is None:
        return None
    left, right, top, bottom = map(int, found.groups())
    width_px, height_px = first.width - left - right, first.height - top - bottom
    return Crop(width_px, height_px, left, top) if min(width_px, height_px) > 0 else None
