"""Parameters that change in mid-stream: the bytes of a packet in which a codec states them.

Headers are compared, not parsed, where the decoder can be asked what they mean; of sound, the few bits are read that
tell channels and sample rate.

Source: ITU-T H.264, section 7.3.2.1; ITU-T H.265, section 7.3.2; ISO/IEC 13818-2, section 6.2.2.1; SMPTE RDD 36,
section 5.1; ETSI TS 102 366, sections 4.3 and E.1.2; ISO/IEC 11172-3, section 2.4.1.3; ISO/IEC 14496-3, section
1.A.2.2.
"""

from collections.abc import Iterator

HEAD_BYTES = 4096
"""How much of a packet is looked at: parameter sets come first."""

_SETS = {"h264": (0x1F, 0, (7,)), "hevc": (0x7E, 1, (33,))}
"""Mask and shift of the type of a NAL unit, and the types of sequence parameter sets."""
_AC3_CHANNELS = ("1+1", "1.0", "2.0", "3.0", "2.1", "3.1", "2.2", "3.2")
_AC3_RATES_HZ = (48_000, 44_100, 32_000)
_MPEG_RATES_HZ = (44_100, 48_000, 32_000)
_AAC_RATES_HZ = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)


def of_picture(codec: str, head: bytes) -> bytes:
    """The header of a sequence, from a packet at which decoding can start.

    Args:
        codec: FFmpeg's name.
        head: The beginning of the packet.

    Returns:
        Bytes that differ where the parameters do; nothing where the packet states none, or for other codecs.
    """
    if codec in _SETS:
        mask, shift, types = _SETS[codec]
        return b"".join(unit for unit in _units(head) if unit and (unit[0] & mask) >> shift in types)
    if codec == "mpeg2video":
        at = head.find(b"\0\0\1\xb3")
        # Width, height, and the shape of pixels.
        return bytes((*head[at + 4 : at + 7], head[at + 7] & 0xF0)) if 0 <= at <= len(head) - 8 else b""
    if codec == "prores" and head[4:8] == b"icpf":
        return head[16:21] + head[22:25]
    return b""


def of_sound(codec: str, head: bytes) -> str:
    """Channels and sample rate of a packet, in words; nothing for codecs whose container states them once."""
    found = {"ac3": _ac3, "eac3": _ac3, "mp2": _mpeg, "mp3": _mpeg, "aac": _adts}.get(codec)
    return found(head) if found is not None and len(head) >= 8 else ""


def _units(head: bytes) -> Iterator[bytes]:
    """NAL units, after start codes or with a length of four bytes before each."""
    if head[:3] == b"\0\0\1" or head[:4] == b"\0\0\0\1":
        yield from (part.rstrip(b"\0") for part in head.split(b"\0\0\1"))
        return
    at = 0
    while at + 4 < len(head):
        length = int.from_bytes(head[at : at + 4])
        yield head[at + 4 : at + 4 + length]
        at += 4 + length


def _ac3(head: bytes) -> str:
    if head[:2] != b"\x0b\x77":
        return ""
    bits = f"{int.from_bytes(head[:8]):064b}"
    if head[5] >> 3 > 10:
        # E-AC-3: the first substream alone; others add to it.
        rate, mode, low = head[4] >> 6, int(bits[36:39], 2), bits[39]
        if bits[16:18] != "00" or bits[18:21] != "000":
            return ""
    else:
        rate, mode = head[4] >> 6, head[6] >> 5
        # Mix levels of the centre and the surrounds, or the mark of Dolby Surround, lie between.
        low = bits[51 + 2 * (mode & 1 and mode != 1) + 2 * bool(mode & 4) + 2 * (mode == 2)]
    return f"{_AC3_CHANNELS[mode]}{' and LFE' if low == '1' else ''}, {_AC3_RATES_HZ[rate]} Hz" if rate < 3 else ""


def _mpeg(head: bytes) -> str:
    rate, version = head[2] >> 2 & 3, head[1] >> 3 & 3
    if head[0] != 0xFF or head[1] < 0xE0 or rate == 3 or version == 1:
        return ""
    divisor = {3: 1, 2: 2, 0: 4}[version]
    return f"{'mono' if head[3] >> 6 == 3 else 'stereo'}, {_MPEG_RATES_HZ[rate] // divisor} Hz"


def _adts(head: bytes) -> str:
    if head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return ""  # raw frames, whose container states the rest
    rate, channels = head[2] >> 2 & 0xF, (head[2] & 1) << 2 | head[3] >> 6
    return f"channel configuration {channels}, {_AAC_RATES_HZ[rate]} Hz" if rate < len(_AAC_RATES_HZ) else ""
