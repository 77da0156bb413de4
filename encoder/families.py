"""Encoder options of each codec, from the descriptors in `headend.core.codecs`."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from headend.core import codecs
from headend.core.codecs import Options, Style
from headend.core.media import AudioRendition, Codec, VideoRendition

VIDEO: Mapping[Codec, Callable[[VideoRendition, Style], Options]] = {one.codec: one.options for one in codecs.VIDEO}
AUDIO: Mapping[Codec, Callable[[AudioRendition], Options]] = {one.codec: one.options for one in codecs.AUDIO}
LOUDNESS: Mapping[Codec, Callable[[str], Options]] = {
    one.codec: one.loudness_options for one in codecs.AUDIO if one.loudness_options is not None
}
"""For codecs whose streams carry their loudness: options from the dialnorm, or from its placeholder."""

TIGHTER: Mapping[str, Callable[[Mapping[str, str | int | float], Sequence[Fraction]], Options]] = {
    one.encoder: one.lower_rate for one in codecs.VIDEO
}
"""By FFmpeg's name of the encoder: options to re-encode a segment above its cap, from its last options and the ratio of
cap to rate of each earlier encode."""

FINER: Mapping[str, float] = {one.encoder: one.floor_step_crf for one in codecs.VIDEO}
"""By FFmpeg's name of the encoder: the step by which the constant rate factor is lowered if a chunk looks too bad."""

__all__ = ["AUDIO", "FINER", "LOUDNESS", "TIGHTER", "VIDEO", "Options", "Style"]
