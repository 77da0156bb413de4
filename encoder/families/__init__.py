"""The encoder's options for each codec: video from `headend.core.codecs`, sound from one file per codec here.

Comes in: a rendition and how the title is encoded. Goes out: FFmpeg output options as data.
A family knows nothing of graphs, chunks or other families.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from encoder.families import aac, dolby, opus
from headend.core import codecs
from headend.core.codecs import Options, Style
from headend.core.media import AudioRendition, Codec, VideoRendition

VIDEO: Mapping[Codec, Callable[[VideoRendition, Style], Options]] = {one.codec: one.options for one in codecs.VIDEO}
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
    one.encoder: one.tighter for one in codecs.VIDEO
}
"""By FFmpeg's name of the encoder: the options for a segment that came out above its cap, from those that it had and
from the factors by which each encode before was too large."""

FINER: Mapping[str, float] = {one.encoder: one.floor_step_crf for one in codecs.VIDEO}
"""By FFmpeg's name of the encoder: how much lower the constant rate factor is of what looks too bad."""

__all__ = ["AUDIO", "FINER", "LOUDNESS", "TIGHTER", "VIDEO", "Options", "Style"]
