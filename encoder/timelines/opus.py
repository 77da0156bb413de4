"""Packets of Opus that hold more streams than their header says, as where 5.1 was joined to stereo.

A packet of several streams has all but the last with a length of its own. Taken for one stream, it still decodes: to
noise.

Source: RFC 6716, sections 3.2 and appendix B (self-delimiting framing); RFC 7845, section 5.1.1.
"""

from encoder.timelines import samples

LASTING_PACKETS = 16
"""What is one stream may look like several by chance, for a packet or two."""
_LEAST_STREAMS = 3
"""5.0, 5.1 and 7.1 have three to five. Less are found in one stream too often."""


def streams(packet: bytes, header: bytes) -> str:
    """Whether a packet holds several streams where its header promises one, in words.

    Args:
        packet: All of it.
        header: The header of Opus (``OpusHead``).

    Returns:
        Nothing for headers of several streams: a packet of fewer fails to decode.
    """
    if len(header) < 19 or header[18] != 0:
        return ""
    return "packets of several streams" if _is_several(packet) else "packets of one stream"


def _is_several(packet: bytes) -> bool:
    """Whether it can be read as streams that last alike and fill the packet."""
    at, lasts = 0, samples.of_opus(packet)
    for _ in range(_LEAST_STREAMS - 1):
        end = _end_of_delimited(packet, at)
        if end is None or end >= len(packet) or samples.of_opus(packet[end : end + 2]) != lasts:
            return False
        at = end
    return True


def _end_of_delimited(packet: bytes, at: int) -> int | None:
    """Where a stream ends that states the length of its last frame, too; None where that is behind the packet."""
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
