"""One file per codec: the encoder's options for a rendition, each with its reason.

Comes in: a rendition and how the title is encoded. Goes out: FFmpeg output options as data.
A family knows nothing of graphs, chunks or other families.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from encoder.families import aac, av1, avc, dolby, hevc, opus, vp9
from encoder.families.base import Options, Style, tighter_buffer
from headend.core.media import AudioRendition, Codec, VideoRendition

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

TIGHTER: Mapping[str, Callable[[Mapping[str, str | int | float], Sequence[Fraction]], Options]] = {
    "libx264": tighter_buffer,
    "libx265": tighter_buffer,
    "libsvtav1": tighter_buffer,
    "libvpx-vp9": vp9.tighter,
}
"""By FFmpeg's name of the encoder: the options for a segment that came out above its cap, from those that it had and
from the factors by which each encode before was too large."""

FINER: Mapping[str, float] = {"libx264": 4, "libx265": 4, "libsvtav1": 8, "libvpx-vp9": 8}
"""By FFmpeg's name of the encoder: how much lower the constant rate factor is of what looks too bad."""

__all__ = ["AUDIO", "FINER", "LOUDNESS", "TIGHTER", "VIDEO", "Options", "Style"]
