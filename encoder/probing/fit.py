"""Parameter sets that don't fit the pictures they stand for, as where HEVC was joined without those of its second part.

MP4 and Matroska hold parameter sets in their header, and FFmpeg's concat keeps those of the first part alone. A decoder
then takes what follows for something else, and hardly ever says so. But where a picture is read with its own parameter
sets, reading ends exactly where its data end: its last bytes matter, and bytes behind them don't. So pictures are
decoded as they are, with other last bytes, and with more bytes.

Source: ITU-T H.265, sections 7.3.1.2 (NAL units), 7.3.8.1 (``end_of_slice_segment_flag``) and 9.3.2.5 (where
arithmetic decoding ends).
"""

import hashlib
from collections.abc import Iterator, Sequence

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from encoder.timelines import parameters

CODECS = frozenset({"hevc"})
"""Codecs whose decoders take data for a picture that were never meant for it. That of H.264 reports them."""
_SLICES = range(32)
"""Types of NAL units that hold parts of pictures."""
_LENGTH_PLACE = 21
"""Where the header of HEVC in MP4 says how long the lengths of units are (ISO/IEC 14496-15, section 8.3.3.1.2)."""
_CHANGED_BYTES, _ADDED_BYTES = 16, 64


def is_testable(codec: str, header: bytes) -> bool:
    """Whether pictures are decoded with parameter sets from a header, and whether it can be seen that they fit.

    Args:
        codec: FFmpeg's name.
        header: The codec's header; those of HEVC in MP4 and Matroska begin with a version of 1.
    """
    return codec in CODECS and len(header) > _LENGTH_PLACE + 1 and header[0] == 1


def fits(header: bytes, head: Sequence[bytes]) -> bool:
    """Whether pictures fit the parameter sets of a header.

    Args:
        header: Of HEVC, for which `is_testable` is true.
        head: The packet of a keyframe, and some that follow it.

    Returns:
        Whether any of them does, since one that is damaged doesn't; also true where they bring parameter sets of their
        own.
    """
    # Reading does not depend on what other pictures look like: those that refer to a broken one fit nevertheless.
    return any(_last_fits(header, head[: count + 1]) for count in range(len(head)))


def _last_fits(header: bytes, packets: Sequence[bytes]) -> bool:
    if any(parameters.of_picture("hevc", packet[: parameters.HEAD_BYTES]) for packet in packets):
        return True
    *before, last = packets
    length_bytes = (header[_LENGTH_PLACE] & 3) + 1
    units = list(_units(last, length_bytes))
    # Of pictures with several layers, the base is what is decoded.
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

    as_it_is = shown(data)
    return as_it_is != b"" and shown(changed) != as_it_is and shown(longer) == as_it_is


def _units(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    at = 0
    while at + length_bytes < len(packet):
        start = at + length_bytes
        at = start + int.from_bytes(packet[at:start])
        yield packet[start:at]


def _digest(header: bytes, packets: Sequence[bytes]) -> bytes:
    """Of all frames that come out of a decoder; nothing where none does."""
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
    found = hashlib.blake2b()
    for frame in frames:
        for plane in frame.planes:
            found.update(memoryview(plane))
    return found.digest() if frames else b""
