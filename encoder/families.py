"""Encoder options of each codec, from the descriptors in `headend.core.codecs`."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from headend.core import codecs
from headend.core.codecs import Options, Style
from headend.core.media import AudioRendition, Codec, VideoRendition

VIDEO: Mapping[Codec, Callable[[VideoRendition, Style], Options]] = {
    codec.codec: codec.options for codec in codecs.VIDEO
}
AUDIO: Mapping[Codec, Callable[[AudioRendition], Options]] = {codec.codec: codec.options for codec in codecs.AUDIO}
LOUDNESS: Mapping[Codec, Callable[[str], Options]] = {
    codec.codec: codec.loudness_options for codec in codecs.AUDIO if codec.loudness_options is not None
}
"""For codecs whose streams state their loudness: a function that returns the options. Argument: the dialnorm, or its
placeholder."""

TIGHTER: Mapping[str, Callable[[Mapping[str, str | int | float], Sequence[Fraction]], Options]] = {
    codec.encoder: codec.lower_rate for codec in codecs.VIDEO
}
"""By FFmpeg's name of the encoder: a function that returns the options to encode a segment again that exceeded its cap.
Arguments: the options of the last encode, and the ratio of cap to rate of each earlier encode."""

FINER: Mapping[str, float] = {codec.encoder: codec.floor_step_crf for codec in codecs.VIDEO}
"""By FFmpeg's name of the encoder: how much the constant rate factor is lowered if a chunk is below the quality
floor."""

__all__ = ["AUDIO", "FINER", "LOUDNESS", "TIGHTER", "VIDEO", "Options", "Style"]
