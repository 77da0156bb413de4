"""Renditions for benchmarks, made from the rungs of the studio ladder."""

from collections.abc import Mapping
from fractions import Fraction

from encoder.families import VIDEO, Style
from headend.core.codecs import Options
from headend.core.media import Codec, Colour, Effort, VideoRange, VideoRendition
from ladders import loading
from ladders.ladder import RungRange, VideoRung
from ladders.levels import smallest_level

COLOUR = Colour("bt709", "bt709", "bt709", "tv", "left")
"""Colour of all clips."""


def pixel_format_of(codec: Codec) -> str:
    """Return the pixel format in which the studio ladder encodes a codec."""
    family = next(one for one in loading.load("studio").families if one.codec is codec)
    return "yuv420p10le" if family.bit_depth == 10 else "yuv420p"


def rendition(codec: Codec, size_px: tuple[int, int], frame_rate: Fraction, crf: float | None = None) -> VideoRendition:
    """Return a rendition from the studio ladder's best rung near a size.

    Args:
        codec: A video codec.
        size_px: Width and height.
        frame_rate: Frames per second.
        crf: Constant rate factor; None for the rung's own.
    """
    studio = loading.load("studio")
    rungs = [one for one in studio.video if one.codec is codec and one.range is RungRange.SDR]
    rung: VideoRung = min(rungs, key=lambda one: (abs(one.height_px - size_px[1]), -one.average_kbps))
    level = smallest_level(codec, *size_px, frame_rate, rung.cap_kbps)
    assert level is not None
    return VideoRendition(
        id=f"{codec}-{size_px[1]}p",
        codec=codec,
        width_px=size_px[0],
        height_px=size_px[1],
        frame_rate=frame_rate,
        rate_divisor=1,
        average_bps=rung.average_kbps * 1000,
        cap_bps=rung.cap_kbps * 1000,
        buffer_bits=rung.buffer_kb * 1000,
        crf=rung.crf if crf is None else crf,
        profile=next(one for one in studio.families if one.codec is codec).profile,
        level=level.name,
        pixel_format=pixel_format_of(codec),
        video_range=VideoRange.SDR,
    )


def options(rendition: VideoRendition, effort: Effort, gop_frames: int) -> Options:
    """Return headend's encoder options for a rendition."""
    return VIDEO[rendition.codec](rendition, Style(effort, gop_frames, COLOUR))


def words(options: Mapping[str, str | int | float]) -> list[str]:
    """Return options as command-line arguments."""
    return [word for name, value in options.items() for word in (f"-{name}", str(value))]
