"""AAC-LC, encoded by FFmpeg."""

from collections.abc import Iterator

from headend.core.codecs.base import AudioCodec, Options
from headend.core.errors import PackagingError
from headend.core.media import AudioRendition, Codec

AAC_OBJECT_TYPE = 0x40
_STREAM, _DECODER, _DECODER_SPECIFIC = 3, 4, 5
_FIELDS_BYTES = {_STREAM: 3, _DECODER: 13}
"""Size of the fields before the nested descriptors; in MP4 files, an ES_Descriptor has none of its optional fields."""


def options(rendition: AudioRendition) -> Options:
    """Options for one AAC rendition."""
    return {
        "c:a": "aac",
        "profile:a": "aac_low",
        "b:a": rendition.bit_rate_bps,
        # The default coder adds noise bursts to pure tones, up to -13 dB at 64 kb/s per channel; this one doesn't.
        "aac_coder": "fast",
    }


def _codec_string(configuration: bytes) -> str:
    """The codec string (RFC 6381): object types from ``esds`` (ISO/IEC 14496-1, section 7.2.6)."""
    descriptors = dict(_descriptors(configuration[4:]))
    object_type = descriptors[_DECODER][0] if _DECODER in descriptors else 0
    specific = descriptors.get(_DECODER_SPECIFIC, b"")
    if object_type != AAC_OBJECT_TYPE or len(specific) < 2:
        raise PackagingError("the mp4a sample entry is not AAC: its esds box has another object type")
    audio_type = specific[0] >> 3
    if audio_type == 31:  # escape: six more bits
        audio_type = 32 + (int.from_bytes(specific[:2], "big") >> 5 & 0x3F)
    return f"mp4a.{object_type:x}.{audio_type}"


def _descriptors(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Iterate over MPEG-4 descriptors, including nested ones."""
    offset = 0
    while offset < len(data):
        tag, size, more = data[offset], 0, True
        while more:
            offset += 1
            size, more = size << 7 | data[offset] & 0x7F, bool(data[offset] & 0x80)
        body = data[offset + 1 : offset + 1 + size]
        offset += 1 + size
        yield tag, body
        if tag in _FIELDS_BYTES:
            yield from _descriptors(body[_FIELDS_BYTES[tag] :])


CODEC = AudioCodec(
    codec=Codec.AAC,
    encoder="aac",
    # ISO/IEC 14496-3, section 4.5.1.1: AAC-LC.
    frame_samples=1024,
    options=options,
    sample_entry="mp4a",
    configuration_box="esds",
    codec_string=_codec_string,
    in_hls=True,
    in_first_release=True,
    in_cenc_copy=True,
    in_aes_128=True,
)
