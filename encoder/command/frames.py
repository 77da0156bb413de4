"""The first part of every graph: cut a chunk's frames out of the master, and put them on the grid."""

from typing import Any

from encoder import timestamps
from encoder.command.source import SourcePicture
from headend.core.timing import Chunk

_CONVERTED = {"primaries": "primaries", "transfer": "transfer", "matrix": "color_matrix", "range": "range"}
"""Properties that are converted if they change: attributes of `Colour`, and options of FFmpeg's ``scale``."""


def chunk_frames(stream: Any, picture: SourcePicture, chunk: Chunk) -> Any:
    """Cut out a chunk's frames, put them on the grid with times from 0, rotate them and tag them with their colour."""
    pts = picture.track.frames.pts_ticks
    if not picture.track.changes:
        stream = _reject_other_sizes(stream, picture)
    bounds: dict[str, int] = {}
    first, end = picture.conformed.source_range(chunk.first_frame, chunk.end_frame)
    if picture.track.frames.is_counted:
        bounds = {"start_frame": first, "end_frame": end}
    # A damaged frame at a chunk's start is replaced by the last one before it, so earlier frames are kept then.
    elif first > 0 and not picture.conformed.conceal:
        # Half-way to the frame before, so that rounding of times does not matter.
        bounds["start_pts"] = (pts[first - 1] + pts[first]) // 2 + 1
    if end < len(pts) and not picture.track.frames.is_counted:
        bounds["end_pts"] = (pts[end - 1] + pts[end]) // 2 + 1
    if bounds:
        stream = stream.filter("trim", **bounds)
    if picture.track.changes:
        stream = _as_one_format(stream, picture)
    if picture.track.captions:
        # Captions are delivered as text; if they were in the picture, too, players would offer them twice.
        stream = stream.filter("sidedata", mode="delete", type="A53_CC")
    stream = picture.conformed.apply(stream, chunk.first_frame, chunk.end_frame)
    if picture.track.mirrored:
        stream = stream.filter("hflip")
    turns = {90: ("clock",), 180: ("clock", "clock"), 270: ("cclock",)}
    for direction in turns.get(picture.track.rotation_deg, ()):
        stream = stream.filter("transpose", direction)
    if picture.track.rotation_deg or picture.track.mirrored:
        # If the matrix were copied into a rendition's header, players would rotate the picture again.
        stream = stream.filter("sidedata", mode="delete", type="DISPLAYMATRIX")
    if picture.track.pixel_format.startswith("xyz"):
        # zimg does not know digital cinema's XYZ.
        stream = stream.filter("format", "gbrp12le")
    # RGB has no matrix yet, and always has full range.
    tags = {"range": "pc"} if picture.is_rgb else {"colorspace": picture.colour.matrix, "range": picture.colour.range}
    return stream.filter(
        "setparams",
        # Frames are progressive now; with the master's flags, they would be scaled field by field.
        field_mode="prog",
        color_primaries=picture.colour.primaries,
        color_trc=picture.colour.transfer,
        **tags,
    )


def _reject_other_sizes(stream: Any, picture: SourcePicture) -> Any:
    """Make FFmpeg fail if frames have another size than the plan says.

    Without this, they would be scaled to the renditions' size. ``setsar`` does not change the picture, but fails if the
    ratio is negative when the graph is configured. Frames that differ later are dropped: see `source.seek_options`.
    """
    track = picture.track
    return stream.filter("setsar", f"if(eq(w,{track.width_px})*eq(h,{track.height_px}),sar,-1)", max=1 << 16)


def _as_one_format(stream: Any, picture: SourcePicture) -> Any:
    """Convert frames whose format changes in mid-stream to the title's format; other aspect ratios get bars."""
    track, colour = picture.track, picture.colour
    width, height = track.width_px, track.height_px
    pixel_aspect = timestamps.fraction(track.sample_aspect_ratio)
    # Ratio of a frame's aspect ratio to the title's; rounding of sizes changes it by up to 3 %.
    relative = f"(dar/({width}/{height}*{pixel_aspect}))"
    same_shape = f"lt(abs({relative}-1),0.03)"
    # FFmpeg assumes BT.601 for frames that state nothing. So only properties that frames state differently are
    # converted.
    converted = {
        f"out_{option}": getattr(colour, name)
        for name, option in _CONVERTED.items()
        if len({getattr(stated, name) for stated in track.stated_colours} - {"unknown"}) > 1 and not picture.is_rgb
    }
    return (
        stream.filter(
            "scale",
            f"if({same_shape}+gte({relative},1),{width},2*round({width}*{relative}/2))",
            f"if({same_shape}+lte({relative},1),{height},2*round({height}/{relative}/2))",
            eval="frame",
            flags="bicubic",
            **converted,
        )
        .filter("pad", width, height, "(ow-iw)/2", "(oh-ih)/2", eval="frame")
        .filter("format", track.pixel_format)
        .filter("setsar", pixel_aspect)
    )
