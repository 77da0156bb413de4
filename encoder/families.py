"""The encoders' options for each codec, as `headend.core.codecs` describes them."""

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
"""Codecs whose streams state their loudness: options from the dialnorm, or from its placeholder."""

TIGHTER: Mapping[str, Callable[[Mapping[str, str | int | float], Sequence[Fraction]], Options]] = {
    one.encoder: one.tighter for one in codecs.VIDEO
}
"""By FFmpeg's name of the encoder: options for a segment that came out above its cap, from the options it had and from
the factors by which each earlier encode was too large."""

FINER: Mapping[str, float] = {one.encoder: one.floor_step_crf for one in codecs.VIDEO}
"""By FFmpeg's name of the encoder: how much the constant rate factor is lowered for a chunk that looks too bad."""

__all__ = ["AUDIO", "FINER", "LOUDNESS", "TIGHTER", "VIDEO", "Options", "Style"]
