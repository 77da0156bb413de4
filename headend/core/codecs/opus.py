"""Opus, encoded by libopus."""

from headend.core.codecs.base import AudioCodec, Options
from headend.core.media import AudioRendition, Codec

VORBIS_MAPPING = 1
"""Channel mapping family of more than two channels: RFC 7845, section 5.1.1.2."""


def options(rendition: AudioRendition) -> Options:
    """Options for one Opus rendition."""
    chosen: Options = {
        "c:a": "libopus",
        "b:a": rendition.bit_rate_bps,
        # Opus is tuned for a variable rate; manifests state the measured one.
        "vbr": "on",
        "application": "audio",
        "frame_duration": 20,
    }
    if rendition.channels > 2:
        chosen["mapping_family"] = VORBIS_MAPPING
    return chosen


CODEC = AudioCodec(
    codec=Codec.OPUS,
    encoder="libopus",
    # RFC 6716, section 2.1.4: frames of 20 ms, always at 48 kHz.
    frame_samples=960,
    options=options,
    sample_entry="Opus",
    configuration_box="dOps",
    # Media Source Extensions and DASH write it in lower case, unlike the sample entry.
    codec_string=lambda _: "opus",
    # Apple's HLS Authoring Specification does not include it.
    in_hls=False,
)
