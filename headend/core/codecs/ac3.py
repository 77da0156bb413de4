"""AC-3, encoded by FFmpeg."""

from headend.core.codecs import dolby
from headend.core.media import Codec

CODEC = dolby.descriptor(
    Codec.AC3,
    sample_entry="ac-3",
    configuration_box="dac3",
    # ETSI TS 102 366, table 4.13 (frmsizecod).
    rates_kbps=(32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640),
)
