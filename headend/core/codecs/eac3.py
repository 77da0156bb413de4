"""E-AC-3, encoded by FFmpeg."""

from headend.core.codecs import dolby
from headend.core.media import Codec

CODEC = dolby.descriptor(Codec.EAC3, sample_entry="ec-3", configuration_box="dec3", surround_fallback=Codec.AC3)
