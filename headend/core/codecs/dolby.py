"""The common part of AC-3 and E-AC-3, according to ETSI TS 102 366."""

from headend.core.codecs.base import AudioCodec, Options
from headend.core.media import AudioRendition, Codec

FRAME_SAMPLES = 1536
"""Six blocks of 256 samples (section 4.1)."""
CHANNEL_SCHEME = "tag:dolby.com,2014:dash:audio_channel_configuration:2011"
CHANNEL_MASKS = {"2.0": "A000", "5.1": "F801"}
"""Table I.1.1: left and right; left, centre, right, both surrounds and LFE."""


def descriptor(
    codec: Codec,
    sample_entry: str,
    configuration_box: str,
    *,
    rates_kbps: tuple[int, ...] | None = None,
    surround_fallback: Codec | None = None,
) -> AudioCodec:
    """Make the descriptor of AC-3 or E-AC-3; arguments as in `AudioCodec`."""

    def options(rendition: AudioRendition) -> Options:
        return {"c:a": codec.value, "b:a": rendition.bit_rate_bps}

    return AudioCodec(
        codec=codec,
        encoder=codec.value,
        frame_samples=FRAME_SAMPLES,
        options=options,
        loudness_options=loudness_options,
        rates_kbps=rates_kbps,
        surround_fallback=surround_fallback,
        sample_entry=sample_entry,
        configuration_box=configuration_box,
        codec_string=lambda _: sample_entry,
        channel_scheme=CHANNEL_SCHEME,
        channel_values=CHANNEL_MASKS,
        in_hls=True,
        in_cenc_copy=True,
    )


def loudness_options(dialnorm: str) -> Options:
    """Options that write the loudness into the stream, so that decoders play all titles equally loud.

    Args:
        dialnorm: Loudness in dB below full scale, or its placeholder.

    Source:
        Section 4.4.2.8.
    """
    return {"dialnorm": dialnorm}
