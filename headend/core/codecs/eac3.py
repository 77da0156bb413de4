"""E-AC-3, encoded by FFmpeg."""

from headend.core.codecs import dolby
from headend.core.codecs.base import AudioCodec, Options
from headend.core.media import AudioRendition, Codec


def options(rendition: AudioRendition) -> Options:
    """Options for one E-AC-3 rendition."""
    return {"c:a": "eac3", "b:a": rendition.bit_rate_bps}


CODEC = AudioCodec(
    codec=Codec.EAC3,
    encoder="eac3",
    frame_samples=dolby.FRAME_SAMPLES,
    options=options,
    loudness_options=dolby.loudness_options,
    surround_fallback=Codec.AC3,
    sample_entry="ec-3",
    configuration_box="dec3",
    string=lambda _: "ec-3",
    channel_scheme=dolby.CHANNEL_SCHEME,
    channel_values=dolby.CHANNEL_MASKS,
    in_hls=True,
    in_cenc_copy=True,
)
