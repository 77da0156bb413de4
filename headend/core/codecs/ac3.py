"""AC-3, encoded by FFmpeg."""

from headend.core.codecs import dolby
from headend.core.codecs.base import AudioCodec, Options
from headend.core.media import AudioRendition, Codec


def options(rendition: AudioRendition) -> Options:
    """Options for one AC-3 rendition."""
    return {"c:a": "ac3", "b:a": rendition.bit_rate_bps}


CODEC = AudioCodec(
    codec=Codec.AC3,
    encoder="ac3",
    frame_samples=dolby.FRAME_SAMPLES,
    options=options,
    loudness_options=dolby.loudness_options,
    # ETSI TS 102 366, table 4.13 (frmsizecod).
    rates_kbps=(32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640),
    sample_entry="ac-3",
    configuration_box="dac3",
    string=lambda _: "ac-3",
    channel_scheme=dolby.CHANNEL_SCHEME,
    channel_values=dolby.CHANNEL_MASKS,
    in_hls=True,
    in_cenc_copy=True,
)
