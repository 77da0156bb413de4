"""Opus by libopus."""

from headend.core.codecs.base import Options
from headend.core.media import AudioRendition

VORBIS_MAPPING = 1
"""Channel mapping family of more than two channels: RFC 7845, section 5.1.1.2."""


def options(rendition: AudioRendition) -> Options:
    """Options for one Opus rendition."""
    chosen: Options = {
        "c:a": "libopus",
        "b:a": rendition.bit_rate_bps,
        # Variable rate is what Opus is tuned for; the manifests state what was measured.
        "vbr": "on",
        "application": "audio",
        "frame_duration": 20,
    }
    if rendition.channels > 2:
        chosen["mapping_family"] = VORBIS_MAPPING
    return chosen
