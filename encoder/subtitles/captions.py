"""Read CEA-608 captions from packets of video, without decoding the picture.

Byte pairs are attached to frames: in SEI messages of H.264 and HEVC, in user data of MPEG-2. They are sorted in
presentation order and written to a Scenarist file, which FFmpeg decodes to cues.

Source: ATSC A/53, part 4, section 6.2.3 (``cc_data``); ITU-T H.264, section 7.3.2.3, and H.265, section 7.3.2.4 (SEI);
ISO/IEC 13818-2, section 6.2.2.2.2 (user data); ANSI/SCTE 20, section 7; ANSI/CTA-608-E, sections 8 and C.9.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from av.packet import Packet
from av.video.stream import VideoStream

from headend.core.media import Cue

CODECS = frozenset({"h264", "hevc", "mpeg2video"})
"""Codecs that can carry captions."""
TIMEOUT_S = 16
"""How long the last text stays if nothing erases it (CTA-608-E, section C.9)."""

_ERASE_DISPLAYED = b"\x94\x2c"
_UNIT_TYPES = {"h264": (0, 0x1F, 1, frozenset({6}), range(1, 6)), "hevc": (1, 0x3F, 2, frozenset({39, 40}), range(32))}
"""Shift and mask of a NAL unit's type, bytes of its header, types of SEI, and types of slices."""
_USER_DATA = 4
"""Type of the SEI message ``user_data_registered_itu_t_t35``."""
_ATSC = (b"\xb5\x00\x31GA94\x03", b"GA94\x03")
_SCTE_20, _DVD = b"\x03", b"CC\x01\xf8"


@dataclass(frozen=True, slots=True)
class Captions:
    """The captions of one field, in presentation order.

    Attributes:
        time_base: Seconds of a tick.
        pts_ticks: Presentation time of the frame of each group of pairs, ascending.
        pairs: Groups of byte pairs with parity, in hexadecimal, four digits for each pair.
    """

    time_base: Fraction
    pts_ticks: tuple[int, ...] = ()
    pairs: tuple[str, ...] = ()


@dataclass(slots=True)
class CaptionReader:
    """Collects captions from packets of a picture in the file's order.

    Attributes:
        stream: The picture.
        found: Bytes of ``cc_data``, by the time of their frame.
    """

    stream: VideoStream
    found: dict[int, bytes] = field(default_factory=dict)
    _latest_ticks: int | None = None

    def add(self, packet: "Packet[Any]") -> bool:
        """Process a packet; returns whether it has captions, including empty ones."""
        codec = self.stream.codec_context
        data = cc_data(codec.codec.canonical_name, memoryview(packet), codec.extradata or b"")
        # The second field of a frame may have no time.
        at = packet.pts if packet.pts is not None else self._latest_ticks
        self._latest_ticks = at
        if at is not None and (pairs := _cea_608_triples(data)):
            self.found[at] = self.found.get(at, b"") + pairs
        return has_captions(data)

    def captions(self, time_base: Fraction) -> Captions:
        """The captions of the first field, or of the second one if the first has none."""
        first = {at: data for at, pairs in sorted(self.found.items()) if (data := _pairs_of_field(pairs, 0))}
        second: Mapping[int, bytes] = first or {
            at: data for at, pairs in sorted(self.found.items()) if (data := _pairs_of_field(pairs, 1))
        }
        return Captions(time_base, tuple(second), tuple(data.hex() for data in second.values()))


def has_captions(triples: bytes) -> bool:
    """Whether ``cc_data`` has CEA-608, even if empty; CEA-708 does not count."""
    return any(byte & 0b110 == 0b100 for byte in triples[::3])


def cc_data(codec: str, packet: memoryview, extradata: bytes) -> bytes:
    """The triples in a packet: a byte with the type, and two bytes of data.

    Args:
        codec: FFmpeg's name, one of `CODECS`.
        packet: The packet.
        extradata: The header of its stream, which states the format of NAL units.
    """
    if codec == "mpeg2video":
        return b"".join(_triples(data) for data in _user_data(packet))
    shift, mask, header_bytes, wanted, slices = _UNIT_TYPES[codec]
    found = []
    for unit in _units(packet, _length_bytes(codec, extradata)):
        kind = unit[0] >> shift & mask if len(unit) > header_bytes else -1
        if kind in wanted:
            message = bytes(unit[header_bytes:]).replace(b"\0\0\3", b"\0\0")
            found += [_triples(payload) for payload in _messages(message)]
        elif kind in slices:
            break
    return b"".join(found)


def to_scenarist(captions: Captions) -> bytes:
    """Write captions as a Scenarist file in which each group of pairs has its own second.

    The format's time codes can't express all times. So the n-th group gets second n, and `restore_times` converts it
    back.
    """
    groups = (*captions.pairs, _ERASE_DISPLAYED.hex())
    lines = (
        f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}:00\t"
        + " ".join(pairs[digit : digit + 4] for digit in range(0, len(pairs), 4))
        for second, pairs in enumerate(groups)
    )
    return ("Scenarist_SCC V1.0\n\n" + "\n\n".join(lines) + "\n").encode()


def restore_times(cues: tuple[Cue, ...], captions: Captions) -> tuple[Cue, ...]:
    """Convert cues that were read from `to_scenarist` back to the master's time."""
    last = captions.pts_ticks[-1] * captions.time_base if captions.pts_ticks else Fraction(0)
    times_ms = [round(at * captions.time_base * 1000) for at in captions.pts_ticks]
    times_ms.append(round((last + TIMEOUT_S) * 1000))
    last_group = len(times_ms) - 1
    return tuple(
        replace(cue, start_ms=times_ms[min(last_group, round(cue.start_ms / 1000))], end_ms=end)
        for cue in cues
        if times_ms[min(last_group, round(cue.start_ms / 1000))]
        < (end := times_ms[min(last_group, round(cue.end_ms / 1000))])
    )


def _cea_608_triples(data: bytes) -> bytes:
    """The valid, non-empty triples of CEA-608."""
    triples = (data[at : at + 3] for at in range(0, len(data) - 2, 3))
    return b"".join(triple for triple in triples if triple[0] & 0b110 == 0b100 and (triple[1] | triple[2]) & 0x7F)


def _pairs_of_field(triples: bytes, number: int) -> bytes:
    return b"".join(triples[at + 1 : at + 3] for at in range(0, len(triples), 3) if triples[at] & 1 == number)


def _length_bytes(codec: str, extradata: bytes) -> int:
    """Number of bytes of a NAL unit's length; 0 if there are start codes instead."""
    at = {"h264": 4, "hevc": 21}[codec]
    return (extradata[at] & 3) + 1 if len(extradata) > at and extradata[0] == 1 else 0


def _units(packet: memoryview, length_bytes: int) -> Iterator[memoryview]:
    if length_bytes:
        at = 0
        while at + length_bytes < len(packet):
            start = at + length_bytes
            at = start + int.from_bytes(packet[at:start])
            yield packet[start:at]
        return
    for start, end in _between_start_codes(packet):
        yield packet[start:end]


def _between_start_codes(packet: memoryview) -> Iterator[tuple[int, int]]:
    """Start and end of the data between start codes."""
    data = packet.tobytes()
    at = data.find(b"\0\0\1")
    while at >= 0:
        following = data.find(b"\0\0\1", at + 3)
        yield at + 3, following if following >= 0 else len(data)
        at = following


def _messages(data: bytes) -> Iterator[bytes]:
    """Payloads of registered user data in an SEI unit."""
    at = 0
    while at + 2 < len(data):
        sizes = []
        for _ in range(2):
            value = 0
            while at < len(data) and data[at] == 0xFF:
                value, at = value + 255, at + 1
            if at >= len(data):
                return
            sizes.append(value + data[at])
            at += 1
        kind, size = sizes
        if kind == _USER_DATA:
            yield data[at : at + size]
        at += size


def _user_data(packet: memoryview) -> Iterator[bytes]:
    """User data of an MPEG-2 picture, which come before its slices."""
    for start, end in _between_start_codes(packet):
        code = packet[start] if start < len(packet) else 0
        if code == 0xB2:
            yield bytes(packet[start + 1 : end])
        elif 0x01 <= code <= 0xAF:
            return


def _triples(data: bytes) -> bytes:
    for mark in _ATSC:
        if data.startswith(mark):
            at = len(mark)
            # process_cc_data_flag and the count; em_data is between the count and the triples.
            if len(data) <= at + 1 or not data[at] & 0x40:
                return b""
            triples = data[at + 2 : at + 2 + 3 * (data[at] & 0x1F)]
            return triples[: len(triples) // 3 * 3]
    if data.startswith(_DVD) and len(data) > 5:
        return _dvd(data)
    if data.startswith(_SCTE_20) and len(data) > 2 and data[1] & 0x7F == 1:
        return _scte_20(data)
    return b""


def _dvd(data: bytes) -> bytes:
    """Line 21 of DVDs: all pairs of a GOP are in its header, each after 0xFF (first field) or 0xFE (second)."""
    kinds = {0xFF: 0xFC, 0xFE: 0xFD}
    triples = bytearray()
    for at in range(5, len(data) - 2, 3):
        if data[at] not in kinds:
            break
        triples += bytes((kinds[data[at]], data[at + 1], data[at + 2]))
    return bytes(triples)


def _scte_20(data: bytes) -> bytes:
    bits = f"{int.from_bytes(data[2:]):0{8 * (len(data) - 2)}b}"
    triples = bytearray()
    for at in range(5, min(len(bits) - 25, 5 + 26 * int(bits[:5], 2)), 26):
        # Priority (2), field (2), line (5), the pair with its bits reversed (16), a marker.
        number = int(bits[at + 2 : at + 4], 2)
        pair = (int(bits[at + place : at + place + 8][::-1], 2) for place in (9, 17))
        triples += bytes((0xFD if number == 2 else 0xFC, *pair))
    return bytes(triples)
