"""What manifests call a codec, read from the sample entry that decoders will see.

Sources: RFC 6381 (the form); ISO/IEC 14496-15, annex E (``hvc1``); "AV1 Codec ISO Media File Format Binding", section 5
(``av01``); "VP Codec ISO Media File Format Binding" (``vp09``); ISO/IEC 14496-1, section 7.2.6 (``esds``).
"""

import struct
from collections.abc import Callable, Iterator

from headend.core.errors import PackagingError
from headend.core.media import Codec
from packager import boxes

SAMPLE_ENTRIES = {
    "avc1": Codec.AVC,
    "hvc1": Codec.HEVC,
    "av01": Codec.AV1,
    "vp09": Codec.VP9,
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


def _avc(init: bytes) -> str:
    (profile_constraints_level,) = struct.unpack_from(">x3s", _configuration(init, "avcC"))
    return f"avc1.{profile_constraints_level.hex()}"


def _hevc(init: bytes) -> str:
    profile, compatibility, constraints, level = struct.unpack_from(">xBI6sB", _configuration(init, "hvcC"))
    space = ("", "A", "B", "C")[profile >> 6]
    # Annex E wants flag 31 first, as it lies in the bitstream read backwards.
    reversed_flags = int(f"{compatibility:032b}"[::-1], 2)
    tier = "H" if profile & 0x20 else "L"
    tail = [f"{byte:X}" for byte in constraints.rstrip(b"\0")]
    return ".".join(["hvc1", f"{space}{profile & 0x1F}", f"{reversed_flags:X}", f"{tier}{level}", *tail])


def _av1(init: bytes) -> str:
    _, profile_level, flags = struct.unpack_from(">BBB", _configuration(init, "av1C"))
    tier = "H" if flags & 0x80 else "M"
    depth = 12 if flags & 0x20 else 10 if flags & 0x40 else 8
    short = f"av01.{profile_level >> 5}.{profile_level & 0x1F:02}{tier}.{depth:02}"
    subsampled = flags & 0x0C == 0x0C
    chroma = f"{flags >> 3 & 1}{flags >> 2 & 1}{flags & 3 if subsampled else 0}"
    primaries, transfer, matrix, full_range = _colour(init)
    detail = f"{flags >> 4 & 1}.{chroma}.{primaries:02}.{transfer:02}.{matrix:02}.{full_range}"
    # The optional fields come all together or not at all; these are the values that their absence stands for.
    return short if detail == "0.110.01.01.01.0" else f"{short}.{detail}"


def _vp9(init: bytes) -> str:
    profile, level, packed, *colour = struct.unpack_from(">xxxxBBBBBB", _configuration(init, "vpcC"))
    short = f"vp09.{profile:02}.{level:02}.{packed >> 4:02}"
    primaries, transfer, matrix = colour
    detail = f"{packed >> 1 & 7:02}.{primaries:02}.{transfer:02}.{matrix:02}.{packed & 1:02}"
    return short if detail == "01.01.01.01.00" else f"{short}.{detail}"


def _colour(init: bytes) -> tuple[int, int, int, int]:
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
    Codec.AVC: _avc,
    Codec.HEVC: _hevc,
    Codec.AV1: _av1,
    Codec.VP9: _vp9,
    Codec.AAC: _aac,
    # Media Source Extensions and DASH spell these as below, whatever the case of the sample entry.
    Codec.OPUS: lambda _: "opus",
    Codec.AC3: lambda _: "ac-3",
    Codec.EAC3: lambda _: "ec-3",
    Codec.WVTT: lambda _: "wvtt",
    # W3C, TTML Profile Registry: the text profile of IMSC 1.
    Codec.IMSC: lambda _: "stpp.ttml.im1t",
}
