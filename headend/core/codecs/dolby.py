"""The common part of AC-3 and E-AC-3: ETSI TS 102 366."""

from headend.core.codecs.base import Options

FRAME_SAMPLES = 1536
"""Six blocks of 256 samples: section 4.1."""
CHANNEL_SCHEME = "tag:dolby.com,2014:dash:audio_channel_configuration:2011"
CHANNEL_MASKS = {"2.0": "A000", "5.1": "F801"}
"""Table I.1.1: left and right; left, centre, right, both surrounds and LFE."""


def loudness_options(dialnorm: str) -> Options:
    """Write the loudness into the stream, in dB below full scale, so that decoders play all titles equally loud.

    Source:
        Section 4.4.2.8.
    """
    return {"dialnorm": dialnorm}
