"""Detect Opus packets with more streams than the header states, such as 5.1 that was joined to stereo.

In a packet of several streams, all but the last one state their length. Decoded as one stream, such a packet gives
noise without an error.

Source: RFC 6716, sections 3.2 and appendix B (self-delimiting framing); RFC 7845, section 5.1.1.
"""

from encoder.timelines import samples

LASTING_PACKETS = 16
"""Minimum number of packets in a row: a packet or two of one stream may look like several streams by chance."""
_LEAST_STREAMS = 3
"""5.0, 5.1 and 7.1 have three to five streams. Two are found in packets of one stream too often."""


def streams(packet: bytes, header: bytes) -> str:
    """Describe whether a packet has several streams although its header states one.

    Args:
        packet: The whole packet.
        header: Opus's header (``OpusHead``).

    Returns:
        A description; empty for headers of several streams, since decoding fails if a packet has fewer.
    """
    if len(header) < 19 or header[18] != 0:
        return ""
    return "packets of several streams" if _is_several(packet) else "packets of one stream"


def _is_several(packet: bytes) -> bool:
    """Whether a packet can be parsed as several streams of equal duration that fill it."""
    at, lasts = 0, samples.of_opus(packet)
    for _ in range(_LEAST_STREAMS - 1):
        end = _end_of_delimited(packet, at)
        if end is None or end >= len(packet) or samples.of_opus(packet[end : end + 2]) != lasts:
            return False
        at = end
    return True


def _end_of_delimited(packet: bytes, at: int) -> int | None:
    """The end of a self-delimited stream; None if that is past the end of the packet."""
    try:
        code, place = packet[at] & 3, at + 1
        frames, padding, varies = (1, 2, 2, 0)[code], 0, code == 2
        if code == 3:
            frames, varies, padded = packet[place] & 63, bool(packet[place] & 128), packet[place] & 64
            place += 1
            while padded:
                byte = packet[place]
                place += 1
                padding += 254 if byte == 255 else byte
                padded = byte == 255
        lengths = []
        for _ in range(frames if varies else 1):
            length = packet[place]
            place += 1
            if length > 251:
                length += 4 * packet[place]
                place += 1
            lengths.append(length)
    except IndexError:
        return None
    end = place + (sum(lengths) if varies else frames * lengths[0]) + padding
    return end if end <= len(packet) else None
