"""One file per video codec, with everything that any room asks of it.

Comes in: a rendition, a style, a decoder configuration. Goes out: levels, encoder options, codec strings and limits, as
data. It knows the shared data types only; rooms build their tables from `VIDEO`.
"""

from headend.core.codecs import av1, avc, hevc, vp9
from headend.core.codecs.base import ColourCodes, Level, Options, Style, VideoCodec

VIDEO: tuple[VideoCodec, ...] = (avc.CODEC, hevc.CODEC, av1.CODEC, vp9.CODEC)
"""All of them, in the order in which people read them. A new codec is added here and in `headend.core.media.Codec`."""

__all__ = ["VIDEO", "ColourCodes", "Level", "Options", "Style", "VideoCodec"]
