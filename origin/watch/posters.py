"""A picture that stands for a title, taken from the title itself."""

import io
from collections.abc import Iterator
from fractions import Fraction

import av
from av.video.reformatter import ColorRange, Colorspace

from headend.media import Presentation, Segment, Track, VideoRange, VideoRendition

HEIGHT_PX = 720
"""Enough for a page; sharp on most screens."""
PLACES = (1 / 6, 1 / 3, 1 / 2)
"""How far into a title pictures are looked at: past logos, before the end is given away."""


def source(presentation: Presentation) -> tuple[Track[VideoRendition], tuple[Segment, ...]]:
    """Choose from what to draw a poster: a rendition, and some of its segments.

    The smallest that is large enough, in the codec that the release lists first: cheap to read and to decode.
    """
    standard = [track for track in presentation.video if track.rendition.video_range is VideoRange.SDR]
    tracks = standard or list(presentation.video)
    large = [track for track in tracks if track.rendition.height_px >= HEIGHT_PX]
    best = max(tracks, key=lambda track: track.rendition.height_px)
    track = min(large, key=lambda track: track.rendition.height_px) if large else best
    numbers = sorted({int(len(track.segments) * place) for place in PLACES})
    return track, tuple(track.segments[number] for number in numbers)


def draw(tracks: Iterator[bytes]) -> bytes:
    """Draw the first frame of each, and keep what shows most: a black or blurred one makes the smallest JPEG.

    Args:
        tracks: An init segment and a media segment each.
    """
    return max((_jpeg(data) for data in tracks), key=len)


def _jpeg(data: bytes) -> bytes:
    with av.open(io.BytesIO(data), "r") as container:
        frame = next(container.decode(video=0))
    # JFIF knows only the matrix of BT.601 in full range.
    still = frame.reformat(format="yuvj420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG)
    encoder = av.VideoCodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = still.width, still.height, "yuvj420p"
    encoder.time_base = Fraction(1)
    encoder.qmin = encoder.qmax = 4
    still.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(still), *encoder.encode(None)])
