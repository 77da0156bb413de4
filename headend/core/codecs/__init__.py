"""One file per codec, with everything that any room asks of it.

Comes in: a rendition, a style, a decoder configuration. Goes out: levels, encoder options, codec strings and limits, as
data. It knows the shared data types only; rooms build their tables from `VIDEO` and `AUDIO`.
"""

from headend.core.codecs import aac, ac3, av1, avc, eac3, hevc, opus, vp9
from headend.core.codecs.base import AudioCodec, ColourCodes, Level, Options, Style, VideoCodec
from headend.core.media import Codec

VIDEO: tuple[VideoCodec, ...] = (avc.CODEC, hevc.CODEC, av1.CODEC, vp9.CODEC)
"""All video codecs, in the order in which people read them. Add a codec here and in `headend.core.media.Codec`."""
AUDIO: tuple[AudioCodec, ...] = (aac.CODEC, opus.CODEC, ac3.CODEC, eac3.CODEC)
"""All audio codecs, likewise."""


def media_codecs() -> tuple[VideoCodec | AudioCodec, ...]:
    """All video codecs, then all audio codecs."""
    return *VIDEO, *AUDIO


def label_of(codec: Codec) -> str:
    """What people call a video codec."""
    return next(one.label for one in VIDEO if one.codec is codec)


__all__ = [
    "AUDIO",
    "VIDEO",
    "AudioCodec",
    "ColourCodes",
    "Level",
    "Options",
    "Style",
    "VideoCodec",
    "label_of",
    "media_codecs",
]
