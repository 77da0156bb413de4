"""What manifests call a codec, read from the sample entry that decoders will see.

Sources: RFC 6381 (the form); ISO/IEC 14496-15, annex E (``hvc1``); "AV1 Codec ISO Media File Format Binding", section 5
(``av01``); "VP Codec ISO Media File Format Binding" (``vp09``); ISO/IEC 14496-1, section 7.2.6 (``esds``).
"""

import struct
from collections.abc import Callable, Iterator

from headend.core.codecs import VIDEO, ColourCodes, VideoCodec
from headend.core.errors import PackagingError
from headend.core.media import Codec
from packager import boxes

SAMPLE_ENTRIES = {
    **{one.sample_entry: one.codec for one in VIDEO},
    "mp4a": Codec.AAC,
    "Opus": Codec.OPUS,
    "ac-3": Codec.AC3,
    "ec-3": Codec.EAC3,
    "wvtt": Codec.WVTT,
    "stpp": Codec.IMSC,
}
"""The sample entries that a release may hold. ``hev1`` and ``avc3`` are not among them: Apple's players refuse the
first, and both allow parameter sets to change inside a track."""


def codec_of(init: bytes) -> Codec:
    """Which codec an init segment is for.

    Raises:
        PackagingError: The sample entry is of a kind that no release may hold.
    """
    kind = boxes.sample_entry(init).kind
    if kind not in SAMPLE_ENTRIES:
        raise PackagingError(f"sample entry {kind!r} can't be published; use one of {', '.join(SAMPLE_ENTRIES)}")
    return SAMPLE_ENTRIES[kind]


def codec_string(init: bytes) -> str:
    """The value of CODECS in HLS and of ``@codecs`` in DASH.

    Args:
        init: An init segment with one track.

    Returns:
        Such as ``avc1.640028``, ``hvc1.2.4.L120.90``, ``av01.0.08M.10``, ``vp09.00.40.08``, ``mp4a.40.2``, ``opus``.

    Raises:
        PackagingError: The sample entry is of a kind that no release may hold, or its configuration box is missing or
            cut short.
    """
    codec = codec_of(init)
    try:
        return _SPELLING[codec](init)
    except (struct.error, IndexError, StopIteration) as error:
        raise PackagingError(f"the decoder configuration of the {codec} init segment is cut short") from error


def _configuration(init: bytes, kind: str) -> bytes:
    box = boxes.entry_box(init, kind)
    if box is None:
        raise PackagingError(f"the {boxes.sample_entry(init).kind} sample entry has no {kind} box")
    return bytes(init[box.body : box.end])


def _of_video(video: VideoCodec) -> Callable[[bytes], str]:
    return lambda init: video.string(_configuration(init, video.configuration_box), _colour(init))


def _colour(init: bytes) -> ColourCodes:
    """Primaries, transfer, matrix (ITU-T H.273) and full-range flag of ``colr``; BT.709 where there is none."""
    box = boxes.entry_box(init, "colr")
    if box is None or init[box.body : box.body + 4] != b"nclx":
        return 1, 1, 1, 0
    primaries, transfer, matrix, flags = struct.unpack_from(">HHHB", init, box.body + 4)
    return primaries, transfer, matrix, flags >> 7


def _aac(init: bytes) -> str:
    descriptors = dict(_descriptors(_configuration(init, "esds")[4:]))
    object_type = descriptors[_DECODER][0] if _DECODER in descriptors else 0
    specific = descriptors.get(_DECODER_SPECIFIC, b"")
    if object_type != 0x40 or len(specific) < 2:
        raise PackagingError("the mp4a sample entry is not for AAC: its esds box names another object type")
    audio_type = specific[0] >> 3
    if audio_type == 31:  # escape: six more bits
        audio_type = 32 + (int.from_bytes(specific[:2], "big") >> 5 & 0x3F)
    return f"mp4a.{object_type:x}.{audio_type}"


_STREAM, _DECODER, _DECODER_SPECIFIC = 3, 4, 5
_FIELDS_BYTES = {_STREAM: 3, _DECODER: 13}
"""Fields before the descriptors inside these two; in files, an ES_Descriptor has none of its optional fields."""


def _descriptors(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk MPEG-4 descriptors, into the two that hold others."""
    at = 0
    while at < len(data):
        tag, size, more = data[at], 0, True
        while more:
            at += 1
            size, more = size << 7 | data[at] & 0x7F, bool(data[at] & 0x80)
        body = data[at + 1 : at + 1 + size]
        at += 1 + size
        yield tag, body
        if tag in _FIELDS_BYTES:
            yield from _descriptors(body[_FIELDS_BYTES[tag] :])


_SPELLING: dict[Codec, Callable[[bytes], str]] = {
    **{one.codec: _of_video(one) for one in VIDEO},
    Codec.AAC: _aac,
    # Media Source Extensions and DASH spell these as below, whatever the case of the sample entry.
    Codec.OPUS: lambda _: "opus",
    Codec.AC3: lambda _: "ac-3",
    Codec.EAC3: lambda _: "ec-3",
    Codec.WVTT: lambda _: "wvtt",
    # W3C, TTML Profile Registry: the text profile of IMSC 1.
    Codec.IMSC: lambda _: "stpp.ttml.im1t",
}
