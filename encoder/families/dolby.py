"""AC-3 and E-AC-3 by FFmpeg's own encoders."""

from headend.core.codecs.base import Options
from headend.core.media import AudioRendition


def ac3_options(rendition: AudioRendition) -> Options:
    """Options for one AC-3 rendition."""
    return {"c:a": "ac3", "b:a": rendition.bit_rate_bps}


def eac3_options(rendition: AudioRendition) -> Options:
    """Options for one E-AC-3 rendition."""
    return {"c:a": "eac3", "b:a": rendition.bit_rate_bps}


def loudness_options(dialnorm: str) -> Options:
    """Say how loud the stream is, in dB against full scale, so that decoders play all titles alike.

    Source:
        ETSI TS 102 366, section 4.4.2.8.
    """
    return {"dialnorm": dialnorm}
