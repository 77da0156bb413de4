"""Read the parameters that packets state, so that changes in mid-stream are detected.

Headers of pictures are only compared; the decoder interprets them. For sound, only the bits for channels and sample
rate are read.

Source: ITU-T H.264, section 7.3.2.1; ITU-T H.265, section 7.3.2; ITU-T H.266, section 7.3.2; ISO/IEC 13818-2, sections
6.2.2.1, 6.2.2.3 and 6.2.2.4; SMPTE RDD 36, section 5.1; AV1 Bitstream & Decoding Process Specification, section 5.3;
VP9 Bitstream & Decoding Process Specification, section 6.2; RFC 6386, section 9.1 (VP8); ITU-T T.81, section B.2.2
(JPEG); ITU-T T.800, section A.5.1 (JPEG 2000); ISO/IEC 14496-2, section 6.2.3; SMPTE ST 2019-1, section 8.2. ETSI TS
102 366, sections 4.3 and E.1.2; ISO/IEC 11172-3, section 2.4.1.3; ISO/IEC 14496-3, sections 1.6.2, 1.7.3 and 1.A.2.2;
RFC 9639, section 9.1 (FLAC).
"""

from collections.abc import Callable, Iterator, Mapping

HEAD_BYTES = 4096
"""Number of bytes to read of a packet: parameter sets are at its start."""

_PARAMETER_SETS = {"h264": (0, 0x1F, 0, (7,)), "hevc": (0, 0x7E, 1, (33,)), "vvc": (1, 0xF8, 3, (15,))}
"""Where a NAL unit states its type (offset of the byte, mask, shift), and the types of sequence parameter sets."""
_AC3_CHANNELS = ("1+1", "1.0", "2.0", "3.0", "2.1", "3.1", "2.2", "3.2")
_AC3_RATES_HZ = (48_000, 44_100, 32_000)
_MPEG_RATES_HZ = (44_100, 48_000, 32_000)
_ELEMENT_TYPES = (1, 2, 3, 4, 5, 6, 29)
"""AAC object types whose frames are lists of elements: Main, LC, SSR, LTP, and those with SBR, scalability and PS."""
_AAC_RATES_HZ = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)


def picture_parameters(codec: str, head: bytes) -> bytes:
    """The sequence header in the packet of a keyframe.

    Args:
        codec: FFmpeg's name.
        head: The first bytes of the packet.

    Returns:
        Bytes that differ if the parameters do; empty if the packet states none, and for other codecs.
    """
    if codec in _PARAMETER_SETS:
        offset, mask, shift, types = _PARAMETER_SETS[codec]
        return b"".join(unit for unit in _units(head) if len(unit) > offset and (unit[offset] & mask) >> shift in types)
    parse = _PICTURES.get(codec)
    return parse(head) if parse is not None else b""


def is_stated_in_keyframes(codec: str) -> bool:
    """Whether `picture_parameters` supports a codec."""
    return codec in _PARAMETER_SETS or codec in _PICTURES


def sound_parameters(codec: str, head: bytes) -> str:
    """Describe the channels and the sample rate of a packet; empty for codecs whose container states them once."""
    parse = _SOUNDS.get(codec)
    return parse(head) if parse is not None and len(head) >= 8 else ""


def is_stated_in_packets(codec: str) -> bool:
    """Whether packets of a sound codec state their channels or sample rate."""
    return codec in _SOUNDS


def header_parameters(codec: str, header: bytes) -> str:
    """Describe the channels and the sample rate in a codec's header, which a container may replace in mid-stream.

    Only AAC's header is read, because packets of AAC in MP4 and Matroska state nothing. The result is empty for other
    codecs, and if the header can't be read.
    """
    if codec != "aac" or len(header) < 2:
        return ""
    bits = int.from_bytes(header[:2])
    kind, rate, channels = bits >> 11, bits >> 7 & 0xF, bits >> 3 & 0xF
    return f"channel configuration {channels}, {_AAC_RATES_HZ[rate]} Hz" if kind < 31 and rate < 13 else ""


def first_element(codec: str, head: bytes, header: bytes) -> str:
    """Describe the number of channels in the first element of an AAC packet.

    Some tools join streams and keep only the header of the first one, which is wrong for the others. The first element
    depends on the channels: stereo starts with a pair, mono and 5.1 with a single channel.

    Args:
        codec: FFmpeg's name.
        head: The first bytes of the packet.
        header: The codec's header; empty for ADTS.

    Returns:
        A description; empty for other codecs, and for packets that don't start with channels.

    Source: ISO/IEC 14496-3, section 4.4.2.1 (``id_syn_ele``).
    """
    if codec != "aac" or len(head) < 10 or (header and header[0] >> 3 not in _ELEMENT_TYPES):
        return ""
    is_adts = head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    start = (7 if head[1] & 1 else 9) if is_adts else 0
    return {0: "frames that begin with one channel", 1: "frames that begin with a pair of channels"}.get(
        head[start] >> 5, ""
    )


def _mpeg2(head: bytes) -> bytes:
    """Width, height, aspect ratio, chroma sampling, and the colour description if there is one."""
    offset = head.find(b"\0\0\1\xb3")
    if not 0 <= offset <= len(head) - 8:
        return b""
    found = bytes((*head[offset + 4 : offset + 7], head[offset + 7] & 0xF0))
    end = head.find(b"\0\0\1\0", offset)
    for extension in head[offset : end if end > offset else len(head)].split(b"\0\0\1\xb5")[1:]:
        if len(extension) > 1 and extension[0] >> 4 == 1:
            found += bytes((extension[1] & 0b110,))
        elif len(extension) > 3 and extension[0] >> 4 == 2 and extension[0] & 1:
            found += extension[1:4]
    return found


def _prores(head: bytes) -> bytes:
    return head[16:21] + head[22:25] if head[4:8] == b"icpf" else b""


def _mpeg4(head: bytes) -> bytes:
    """The headers of a visual object, with its colours, and of its layer."""
    parts = head.split(b"\0\0\1")
    return b"".join(part for part in parts if part and (part[0] == 0xB5 or 0x20 <= part[0] <= 0x2F))


def _jpeg(head: bytes) -> bytes:
    """Precision, size and sampling, after a frame's marker."""
    offset = 2
    while offset + 4 <= len(head) and head[offset] == 0xFF:
        if head[offset + 1] in (0xC0, 0xC1, 0xC2, 0xC3):
            return head[offset + 4 : offset + 2 + int.from_bytes(head[offset + 2 : offset + 4])]
        offset += 2 + int.from_bytes(head[offset + 2 : offset + 4])
    return b""


def _jpeg2000(head: bytes) -> bytes:
    offset = head.find(b"\xff\x51")
    return head[offset + 4 : offset + 2 + int.from_bytes(head[offset + 2 : offset + 4])] if offset >= 0 else b""


def _vp8(head: bytes) -> bytes:
    return head[6:10] if head[3:6] == b"\x9d\x01\x2a" else b""


def _vp9(head: bytes) -> bytes:
    """Profile, colour and size, without the bits that share a byte with the height."""
    if head[1:4] != b"\x49\x83\x42" or len(head) < 9:
        return b""
    return bytes((head[0] & 0xF0, *head[4:8], head[8] & 0xF0))


def _av1(head: bytes) -> bytes:
    """The sequence header, from the first OBUs that have a size."""
    offset = 0
    while offset < len(head) and head[offset] & 0b10:
        start = offset + 1 + (head[offset] >> 2 & 1)
        size = shift = 0
        while start < len(head) and shift < 56:
            size |= (head[start] & 0x7F) << shift
            shift, start = shift + 7, start + 1
            if not head[start - 1] & 0x80:
                break
        if head[offset] >> 3 & 0xF == 1:
            return head[start : start + size]
        offset = start + size
    return b""


def _dnxhd(head: bytes) -> bytes:
    return head[0x18:0x1C] + head[0x28:0x2C] if head[:3] == b"\0\0\2" else b""


_PICTURES: Mapping[str, Callable[[bytes], bytes]] = {
    "mpeg2video": _mpeg2,
    "prores": _prores,
    "mpeg4": _mpeg4,
    "mjpeg": _jpeg,
    "jpeg2000": _jpeg2000,
    "vp8": _vp8,
    "vp9": _vp9,
    "av1": _av1,
    "dnxhd": _dnxhd,
}


def _units(head: bytes) -> Iterator[bytes]:
    """NAL units, separated by start codes or by lengths of four bytes."""
    if head[:3] == b"\0\0\1" or head[:4] == b"\0\0\0\1":
        yield from (part.rstrip(b"\0") for part in head.split(b"\0\0\1"))
        return
    offset = 0
    while offset + 4 < len(head):
        length = int.from_bytes(head[offset : offset + 4])
        yield head[offset + 4 : offset + 4 + length]
        offset += 4 + length


def _ac3(head: bytes) -> str:
    if head[:2] != b"\x0b\x77":
        return ""
    bits = f"{int.from_bytes(head[:8]):064b}"
    if head[5] >> 3 > 10:
        # E-AC-3: only the first independent substream, since others add to it.
        rate, mode, low = head[4] >> 6, int(bits[36:39], 2), bits[39]
        if bits[16:18] != "00" or bits[18:21] != "000":
            return ""
    else:
        rate, mode = head[4] >> 6, head[6] >> 5
        # Skip the mix levels of centre and surrounds, or the Dolby Surround flag.
        low = bits[51 + 2 * (mode & 1 and mode != 1) + 2 * bool(mode & 4) + 2 * (mode == 2)]
    return f"{_AC3_CHANNELS[mode]}{' and LFE' if low == '1' else ''}, {_AC3_RATES_HZ[rate]} Hz" if rate < 3 else ""


def _mpeg(head: bytes) -> str:
    rate, version = head[2] >> 2 & 3, head[1] >> 3 & 3
    if head[0] != 0xFF or head[1] < 0xE0 or rate == 3 or version == 1:
        return ""
    divisor = {3: 1, 2: 2, 0: 4}[version]
    return f"{'mono' if head[3] >> 6 == 3 else 'stereo'}, {_MPEG_RATES_HZ[rate] // divisor} Hz"


def _flac(head: bytes) -> str:
    """Empty if the frame refers to the header."""
    rates_hz = (0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
    rate, channels = head[2] & 0xF, head[3] >> 4
    if head[0] != 0xFF or head[1] & 0xFE != 0xF8 or not 0 < rate < len(rates_hz) or channels > 10:
        return ""
    return f"{channels + 1 if channels < 8 else 2} channels, {rates_hz[rate]} Hz"


def _latm(head: bytes) -> str:
    """Empty if the frame refers to the previous one."""
    if head[0] != 0x56 or head[1] & 0xE0 != 0xE0 or head[3] & 0b1100_0000:
        return ""
    return header_parameters("aac", head[5:])


def _adts(head: bytes) -> str:
    if head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return ""  # raw frames, whose container states the rest
    rate, channels = head[2] >> 2 & 0xF, (head[2] & 1) << 2 | head[3] >> 6
    return f"channel configuration {channels}, {_AAC_RATES_HZ[rate]} Hz" if rate < len(_AAC_RATES_HZ) else ""


_SOUNDS: Mapping[str, Callable[[bytes], str]] = {
    "ac3": _ac3,
    "eac3": _ac3,
    "mp2": _mpeg,
    "mp3": _mpeg,
    "aac": _adts,
    "aac_latm": _latm,
    "flac": _flac,
}
