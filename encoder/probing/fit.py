"""Detect pictures that don't fit the file's parameter sets, such as HEVC joined without those of its second part.

MP4 and Matroska hold parameter sets in their header, and FFmpeg's concat keeps only those of the first part. A decoder
then misreads the rest, mostly without an error. But with the right parameter sets, parsing ends exactly where a
picture's data end: changing its last bytes changes the picture, and appending bytes does not. So pictures are decoded
unchanged, with other last bytes, and with more bytes.

Source: ITU-T H.265, sections 7.3.1.2 (NAL units), 7.3.8.1 (``end_of_slice_segment_flag``) and 9.3.2.5 (end of
arithmetic decoding).
"""

import hashlib
from collections.abc import Iterator, Sequence

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from encoder.timelines import parameters

CODECS = frozenset({"hevc"})
"""Codecs whose decoders misread such data without an error. The one of H.264 reports it."""
_SLICES = range(32)
"""Types of NAL units that hold slices."""
_LENGTH_PLACE = 21
"""Offset of ``lengthSizeMinusOne`` in HEVC's header (ISO/IEC 14496-15, section 8.3.3.1.2)."""
_CHANGED_BYTES, _ADDED_BYTES = 16, 64


def is_testable(codec: str, header: bytes) -> bool:
    """Whether the parameter sets are in the header, and `fits` can check them.

    Args:
        codec: FFmpeg's name.
        header: The codec's header; those of HEVC in MP4 and Matroska start with version 1.
    """
    return codec in CODECS and len(header) > _LENGTH_PLACE + 1 and header[0] == 1


def fits(header: bytes, head: Sequence[bytes]) -> bool:
    """Whether pictures fit the parameter sets of a header.

    Args:
        header: HEVC's header, for which `is_testable` is true.
        head: The packet of a keyframe, and some packets after it.

    Returns:
        Whether any of them fits, since a damaged one does not; also true if they contain parameter sets of their own.
    """
    # Parsing does not depend on the content of other pictures: a picture fits even if it refers to a broken one.
    return any(_last_fits(header, head[: count + 1]) for count in range(len(head)))


def _last_fits(header: bytes, packets: Sequence[bytes]) -> bool:
    if any(parameters.of_picture("hevc", packet[: parameters.HEAD_BYTES]) for packet in packets):
        return True
    *before, last = packets
    length_bytes = (header[_LENGTH_PLACE] & 3) + 1
    units = list(_units(last, length_bytes))
    # Only the base layer is decoded.
    slices = [
        number
        for number, unit in enumerate(units)
        if len(unit) > 2 and unit[0] >> 1 & 63 in _SLICES and not unit[0] & 1 and not unit[1] >> 3
    ]
    if not slices:
        return True
    place = slices[-1]
    # Zeros at the end are padding.
    data = units[place].rstrip(b"\0\3")
    kept = max(2, len(data) - _CHANGED_BYTES)
    changed = data[:kept] + bytes((byte ^ 0x55) or 0x33 for byte in data[kept:])
    longer = data + bytes(number * 37 % 255 + 1 for number in range(_ADDED_BYTES))

    def shown(unit: bytes) -> bytes:
        whole = b"".join(len(one).to_bytes(length_bytes) + one for one in (*units[:place], unit, *units[place + 1 :]))
        return _digest(header, (*before, whole))

    unchanged = shown(data)
    return unchanged != b"" and shown(changed) != unchanged and shown(longer) == unchanged


def _units(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    at = 0
    while at + length_bytes < len(packet):
        start = at + length_bytes
        at = start + int.from_bytes(packet[at:start])
        yield packet[start:at]


def _digest(header: bytes, packets: Sequence[bytes]) -> bytes:
    """Digest of all decoded frames; empty if there is none."""
    context = av.CodecContext.create("hevc", "r")
    assert isinstance(context, VideoCodecContext)
    context.extradata = header
    context.thread_count = 1
    frames: list[VideoFrame] = []
    for packet in (*packets, None):
        try:
            frames += context.decode(None if packet is None else Packet(packet))
        except av.FFmpegError:
            continue
    digest = hashlib.blake2b()
    for frame in frames:
        for plane in frame.planes:
            digest.update(memoryview(plane))
    return digest.digest() if frames else b""
