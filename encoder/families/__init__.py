"""One file per codec: the encoder's options for a rendition, each with its reason.

Comes in: a rendition and how the title is encoded. Goes out: FFmpeg output options as data.
A family knows nothing of graphs, chunks or other families.
"""

from collections.abc import Callable, Mapping

from encoder.families import aac, av1, avc, dolby, hevc, opus, vp9
from encoder.families.base import Options, Style
from headend.media import AudioRendition, Codec, VideoRendition

VIDEO: Mapping[Codec, Callable[[VideoRendition, Style], Options]] = {
    Codec.AVC: avc.options,
    Codec.HEVC: hevc.options,
    Codec.AV1: av1.options,
    Codec.VP9: vp9.options,
}
AUDIO: Mapping[Codec, Callable[[AudioRendition], Options]] = {
    Codec.AAC: aac.options,
    Codec.OPUS: opus.options,
    Codec.AC3: dolby.ac3_options,
    Codec.EAC3: dolby.eac3_options,
}
LOUDNESS: Mapping[Codec, Callable[[str], Options]] = {
    Codec.AC3: dolby.loudness_options,
    Codec.EAC3: dolby.loudness_options,
}
"""Codecs whose streams tell their loudness: options by the dialnorm, or what stands for it."""

__all__ = ["AUDIO", "LOUDNESS", "VIDEO", "Options", "Style"]
