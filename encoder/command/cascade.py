"""The scaling cascade: each size is scaled once, from a half of the master, and converted once to each pixel format.

Every encoder gets its own copy, so its input does not depend on the other renditions in the task.

Source: FFmpeg's documentation, section "Filtergraph description".
"""

from collections.abc import Sequence
from typing import Any

from encoder import filter_graphs, timestamps
from encoder.command.source import SourcePicture
from encoder.picture.colour import bit_depth_of, is_wide, narrowed, peak_nits, tone_mapped, without_metadata
from encoder.scaling import halvings, start_of
from headend.core.media import VideoRange, VideoRendition


def cascade(frames: Any, picture: SourcePicture, renditions: Sequence[VideoRendition]) -> dict[str, Any]:
    """Build the cascade; returns the stream of each rendition, by the rendition's id."""
    streams: dict[str, Any] = {}
    divisors = sorted({r.rate_divisor for r in renditions})
    for divisor, stream in zip(divisors, filter_graphs.copies(frames, len(divisors), "split"), strict=True):
        members = [r for r in renditions if r.rate_divisor == divisor]
        if divisor > 1:
            # Keep the last frame even if the chunk ends before that frame's full duration.
            rate = timestamps.fraction(members[0].frame_rate)
            stream = stream.filter("framestep", divisor).filter("fps", rate, eof_action="pass")
        starts = [start_of(picture.size, _size(rendition)) for rendition in members]
        steps = halvings(picture.size)[: 1 + max(halvings(picture.size).index(start) for start in starts)]
        for number, half in enumerate(steps):
            if number:
                stream = scaled(stream, half, picture)
            from_half = [r for r, start in zip(members, starts, strict=True) if start == half]
            kind_of = {r.id: (_is_sdr(r), is_narrowed(r, picture)) for r in from_half}
            kinds = [[r for r in from_half if kind_of[r.id] == kind] for kind in sorted({*kind_of.values()})]
            last = number == len(steps) - 1
            branches = filter_graphs.copies(stream, len(kinds) + (not last), "split")
            for kind, copy in zip(kinds, branches, strict=False):
                streams |= _scale_to_sizes(copy, half, picture, kind, is_master=number == 0)
            stream = branches[-1]
    return streams


def _scale_to_sizes(
    stream: Any, half: tuple[int, int], picture: SourcePicture, members: Sequence[VideoRendition], *, is_master: bool
) -> dict[str, Any]:
    """Scale one half of the master to the sizes of renditions that share a range and a gamut."""
    streams: dict[str, Any] = {}
    sdr = _is_sdr(members[0])
    if sdr and picture.track.video_range is not VideoRange.SDR:
        # Once for all sizes: this costs more than scaling.
        stream = scaled(stream, half, picture) if is_master else stream
        stream = tone_mapped(stream, picture.track.video_range, peak_nits(picture.light))
        stream, is_master = without_metadata(stream), False
    elif picture.track.mastering_display or picture.track.content_light:
        # Encoders get HDR metadata as options. A decoder attaches it to some frames only, so FFmpeg would write it into
        # the headers of some chunks and not of others.
        stream = without_metadata(stream)
    if is_narrowed(members[0], picture):
        stream = narrowed(scaled(stream, half, picture) if is_master else stream, picture.working_format)
        is_master = False
    sizes = sorted({_size(r) for r in members}, reverse=True)
    for size, copy in zip(sizes, filter_graphs.copies(stream, len(sizes), "split"), strict=True):
        # A master may have any format and range; halves already have the format and range of renditions.
        sized = copy if size == half and not is_master else scaled(copy, size, picture)
        of_size = [r for r in members if _size(r) == size]
        formats = sorted({r.pixel_format for r in of_size})
        for pixel_format, source in zip(formats, filter_graphs.copies(sized, len(formats), "split"), strict=True):
            users = [r for r in of_size if r.pixel_format == pixel_format]
            converted = _as_format(source, pixel_format, picture)
            streams |= zip((r.id for r in users), filter_graphs.copies(converted, len(users), "split"), strict=True)
    return streams


def _size(rendition: VideoRendition) -> tuple[int, int]:
    return rendition.width_px, rendition.height_px


def _is_sdr(rendition: VideoRendition) -> bool:
    return rendition.video_range is VideoRange.SDR


def is_narrowed(rendition: VideoRendition, picture: SourcePicture) -> bool:
    """Whether a rendition is converted from a wide gamut to BT.709."""
    return is_wide(picture.colour) and bit_depth_of(rendition) == 8


def scaled(stream: Any, size: tuple[int, int], picture: SourcePicture) -> Any:
    """Scale frames, and convert them to limited range, square pixels and the working format."""
    options: dict[str, Any] = {
        # Each bicubic step blurs a little. On the only clip that was tried, Lanczos gave 5 VMAF more at 360 lines. zimg
        # takes about half the time of swscale, and takes the chroma location into account.
        "filter": "lanczos",
        # All renditions have limited range.
        "range": "limited",
    }
    if picture.is_rgb:
        options["matrix"] = picture.colour.matrix
    return stream.filter("zscale", *size, **options).filter("format", picture.working_format).filter("setsar", 1)


def _as_format(stream: Any, pixel_format: str, picture: SourcePicture) -> Any:
    """Convert frames to an encoder's pixel format; if the bit depth is reduced, they are dithered to avoid banding."""
    if pixel_format != picture.working_format:
        stream = stream.filter("zscale", dither="ordered")
    return stream.filter("format", pixel_format)
