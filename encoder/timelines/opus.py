"""Detect Opus packets with more streams than the header states, such as 5.1 that was joined to stereo.

In a packet of several streams, all but the last one state their length. If such a packet is decoded as one stream, the
result is noise, without an error.

Source: RFC 6716, sections 3.2 and appendix B (self-delimiting framing); RFC 7845, section 5.1.1.
"""

from encoder.timelines import samples

LASTING_PACKETS = 16
"""Minimum number of packets in a row: a packet or two of one stream may look like several streams by chance."""
_MIN_STREAMS = 3
"""5.0, 5.1 and 7.1 have three to five streams. Packets of one stream look like two streams too often."""


def describe_streams(packet: bytes, header: bytes) -> str:
    """Describe whether a packet has several streams although its header states one.

    Args:
        packet: The whole packet.
        header: Opus's header (``OpusHead``).

    Returns:
        A description; empty for headers of several streams, since decoding fails if a packet has fewer.
    """
    if len(header) < 19 or header[18] != 0:
        return ""
    return "packets of several streams" if _has_several_streams(packet) else "packets of one stream"


def _has_several_streams(packet: bytes) -> bool:
    """Whether a packet can be parsed as several streams of equal duration that fill it."""
    offset, sample_count = 0, samples.opus_samples(packet)
    for _ in range(_MIN_STREAMS - 1):
        end = _delimited_stream_end(packet, offset)
        if end is None or end >= len(packet) or samples.opus_samples(packet[end : end + 2]) != sample_count:
            return False
        offset = end
    return True


def _delimited_stream_end(packet: bytes, offset: int) -> int | None:
    """The end of a self-delimited stream; None if that is past the end of the packet."""
    try:
        code, position = packet[offset] & 3, offset + 1
        frames, padding, varies = (1, 2, 2, 0)[code], 0, code == 2
        if code == 3:
            frames, varies, padded = packet[position] & 63, bool(packet[position] & 128), packet[position] & 64
            position += 1
            while padded:
                byte = packet[position]
                position += 1
                padding += 254 if byte == 255 else byte
                padded = byte == 255
        lengths = []
        for _ in range(frames if varies else 1):
            length = packet[position]
            position += 1
            if length > 251:
                length += 4 * packet[position]
                position += 1
            lengths.append(length)
    except IndexError:
        return None
    end = position + (sum(lengths) if varies else frames * lengths[0]) + padding
    return end if end <= len(packet) else None
