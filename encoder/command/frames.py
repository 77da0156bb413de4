"""The first part of every graph: a chunk's frames, cut from the master and put on the grid."""

from typing import Any

from encoder import timestamps
from encoder.command.source import SourcePicture
from headend.core.timing import Chunk

_CONVERTED = {"primaries": "primaries", "transfer": "transfer", "matrix": "color_matrix", "range": "range"}
"""What is converted where it changes: attributes of `Colour`, and the names of options of FFmpeg's ``scale``."""


def chunk_frames(stream: Any, picture: SourcePicture, chunk: Chunk) -> Any:
    """Cut a chunk's frames, turn them upright, time them on the grid from 0 and tag them with the master's colour."""
    pts = picture.track.frames.pts_ticks
    if not picture.track.changes:
        stream = _guarded(stream, picture)
    bounds: dict[str, int] = {}
    first, end = picture.conformed.source_range(chunk.first_frame, chunk.end_frame)
    # A frame that is missing at a chunk's start is replaced by the last one before it, so that one is kept.
    if first > 0 and not picture.conformed.mended:
        # Half-way to the frame before: a tool that rounds a time differently still keeps the same frames.
        bounds["start_pts"] = (pts[first - 1] + pts[first]) // 2 + 1
    if end < len(pts):
        bounds["end_pts"] = (pts[end - 1] + pts[end]) // 2 + 1
    if bounds:
        stream = stream.filter("trim", **bounds)
    if picture.track.changes:
        stream = _unified(stream, picture)
    if picture.track.captions:
        # Captions are delivered as text; players would offer those in the picture a second time.
        stream = stream.filter("sidedata", mode="delete", type="A53_CC")
    stream = picture.conformed.apply(stream, chunk.first_frame, chunk.end_frame)
    if picture.track.mirrored:
        stream = stream.filter("hflip")
    turns = {90: ("clock",), 180: ("clock", "clock"), 270: ("cclock",)}
    for direction in turns.get(picture.track.rotation_deg, ()):
        stream = stream.filter("transpose", direction)
    if picture.track.rotation_deg or picture.track.mirrored:
        # Copied into a rendition's header, the matrix would make players turn the picture once more.
        stream = stream.filter("sidedata", mode="delete", type="DISPLAYMATRIX")
    if picture.track.pixel_format.startswith("xyz"):
        # zimg does not know digital cinema's XYZ.
        stream = stream.filter("format", "gbrp12le")
    # RGB has no matrix yet, and always full range.
    known = {"range": "pc"} if picture.is_rgb else {"colorspace": picture.colour.matrix, "range": picture.colour.range}
    return stream.filter(
        "setparams",
        # Frames are progressive by now; stale flags would have them scaled field by field.
        field_mode="prog",
        color_primaries=picture.colour.primaries,
        color_trc=picture.colour.transfer,
        **known,
    )


def _guarded(stream: Any, picture: SourcePicture) -> Any:
    """Make FFmpeg fail if frames have another size than the plan says.

    Later filters would scale them to the renditions' size without a word. ``setsar`` changes no sample, and refuses a
    negative ratio when the graph is configured. Frames that change later are dropped, see `source.seek_options`.
    """
    track = picture.track
    return stream.filter("setsar", f"if(eq(w,{track.width_px})*eq(h,{track.height_px}),sar,-1)", max=1 << 16)


def _unified(stream: Any, picture: SourcePicture) -> Any:
    """Bring frames whose format changes in mid-stream to the title's format; those of another shape get bars."""
    track, colour = picture.track, picture.colour
    width, height, shape = track.width_px, track.height_px, timestamps.fraction(track.sample_aspect_ratio)
    # Ratio of a frame's aspect ratio to the title's; rounding of sizes changes it by up to 3 %.
    relative = f"(dar/({width}/{height}*{shape}))"
    alike = f"lt(abs({relative}-1),0.03)"
    # FFmpeg takes frames that state nothing for BT.601. So it converts only what frames state differently.
    known = {
        f"out_{option}": getattr(colour, name)
        for name, option in _CONVERTED.items()
        if len({getattr(one, name) for one in track.stated_colours} - {"unknown"}) > 1 and not picture.is_rgb
    }
    return (
        stream.filter(
            "scale",
            f"if({alike}+gte({relative},1),{width},2*round({width}*{relative}/2))",
            f"if({alike}+lte({relative},1),{height},2*round({height}/{relative}/2))",
            eval="frame",
            flags="bicubic",
            **known,
        )
        .filter("pad", width, height, "(ow-iw)/2", "(oh-ih)/2", eval="frame")
        .filter("format", track.pixel_format)
        .filter("setsar", shape)
    )
