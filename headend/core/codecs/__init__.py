"""Codec descriptors: one file per codec, with everything that other packages need to know about it.

A descriptor has the codec's levels and limits, and computes encoder options from a rendition and codec strings from a
decoder configuration. This package imports only the shared data types; other packages build their tables from `VIDEO`
and `AUDIO`.
"""

from headend.core.codecs import aac, ac3, av1, avc, eac3, hevc, opus, vp9
from headend.core.codecs.base import AudioCodec, ColourCodes, Level, Options, Style, VideoCodec
from headend.core.media import Codec

VIDEO: tuple[VideoCodec, ...] = (avc.CODEC, hevc.CODEC, av1.CODEC, vp9.CODEC)
"""All video codecs, in display order. Add a codec here and in `headend.core.media.Codec`."""
AUDIO: tuple[AudioCodec, ...] = (aac.CODEC, opus.CODEC, ac3.CODEC, eac3.CODEC)
"""All audio codecs, in display order."""


def media_codecs() -> tuple[VideoCodec | AudioCodec, ...]:
    """All video codecs, then all audio codecs."""
    return *VIDEO, *AUDIO


def label_of(codec: Codec) -> str:
    """A video codec's display name."""
    return next(video.label for video in VIDEO if video.codec is codec)


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
