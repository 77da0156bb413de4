"""Detect pictures that don't fit the file's parameter sets, such as HEVC joined without those of its second part.

MP4 and Matroska have parameter sets in their header. If files are joined with FFmpeg's concat, only those of the first
file are kept, and a decoder misreads the rest, mostly without an error. But with the right parameter sets, a decoder
reads exactly to the end of a picture's data: if the last bytes are changed, the picture changes; if bytes are appended,
it does not. So pictures are decoded three times: unchanged, with other last bytes, and with additional bytes.

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
"""Codecs whose decoders misread such data without an error. The decoder of H.264 reports errors."""
_SLICES = range(32)
"""Types of NAL units that hold slices."""
_LENGTH_OFFSET = 21
"""Offset of ``lengthSizeMinusOne`` in HEVC's header (ISO/IEC 14496-15, section 8.3.3.1.2)."""
_CHANGED_BYTES, _ADDED_BYTES = 16, 64


def is_testable(codec: str, header: bytes) -> bool:
    """Whether the parameter sets are in the header, and `fits` can check them.

    Args:
        codec: FFmpeg's name.
        header: The codec's header; those of HEVC in MP4 and Matroska start with version 1.
    """
    return codec in CODECS and len(header) > _LENGTH_OFFSET + 1 and header[0] == 1


def fits(header: bytes, head: Sequence[bytes]) -> bool:
    """Whether pictures fit the parameter sets of a header.

    Args:
        header: HEVC's header, for which `is_testable` is true.
        head: The packet of a keyframe, and some packets after it.

    Returns:
        Whether at least one picture fits, since damaged ones don't; also true if they contain parameter sets.
    """
    # How a picture is parsed does not depend on other pictures: it fits even if its reference pictures are broken.
    return any(_last_fits(header, head[: count + 1]) for count in range(len(head)))


def _last_fits(header: bytes, packets: Sequence[bytes]) -> bool:
    if any(parameters.picture_parameters("hevc", packet[: parameters.HEAD_BYTES]) for packet in packets):
        return True
    *before, last = packets
    length_bytes = (header[_LENGTH_OFFSET] & 3) + 1
    units = list(_units(last, length_bytes))
    # Only the base layer is decoded.
    slices = [
        number
        for number, unit in enumerate(units)
        if len(unit) > 2 and unit[0] >> 1 & 63 in _SLICES and not unit[0] & 1 and not unit[1] >> 3
    ]
    if not slices:
        return True
    last_slice = slices[-1]
    # Zeros at the end are padding.
    data = units[last_slice].rstrip(b"\0\3")
    split = max(2, len(data) - _CHANGED_BYTES)
    changed = data[:split] + bytes((byte ^ 0x55) or 0x33 for byte in data[split:])
    longer = data + bytes(number * 37 % 255 + 1 for number in range(_ADDED_BYTES))

    def decode_with(unit: bytes) -> bytes:
        packet = b"".join(
            len(nal_unit).to_bytes(length_bytes) + nal_unit
            for nal_unit in (*units[:last_slice], unit, *units[last_slice + 1 :])
        )
        return _digest(header, (*before, packet))

    unchanged = decode_with(data)
    return unchanged != b"" and decode_with(changed) != unchanged and decode_with(longer) == unchanged


def _units(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    offset = 0
    while offset + length_bytes < len(packet):
        start = offset + length_bytes
        offset = start + int.from_bytes(packet[offset:start])
        yield packet[start:offset]


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
