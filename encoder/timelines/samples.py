"""Count the samples of a packet from its first bytes, for codecs whose packets differ in duration.

Source: RFC 6716, section 3.1 (Opus); Vorbis I specification, sections 4.2.2, 4.2.4 and 4.3.1.
"""

from collections.abc import Callable

_OPUS_TICKS = ((480, 960, 1920, 2880),) * 3 + ((480, 960),) * 2 + ((120, 240, 480, 960),) * 4
"""Samples of a frame at 48 kHz, for each configuration: SILK in three bandwidths, hybrid in two, CELT in four."""
_OPUS = tuple(samples for kind in _OPUS_TICKS for samples in kind)
_MAX_MODES = 64
_MODE_BITS = 41
"""Size of a mode in Vorbis's header: a bit for long blocks, window and transform types of 16 bits each, a mapping of
8."""

Count = Callable[[bytes], int]


def make_counter(codec: str, header: bytes) -> Count | None:
    """Make a function that takes the first bytes of each packet, in order, and returns the packet's number of samples.

    Args:
        codec: FFmpeg's name.
        header: The codec's header.

    Returns:
        The function; None for other codecs, or if the header can't be read. It returns 0 if a packet can't be read, and
        for Vorbis's first packet.
    """
    if codec == "opus":
        return opus_samples
    return _vorbis(header) if codec == "vorbis" else None


def opus_samples(head: bytes) -> int:
    """Samples at 48 kHz of an Opus packet, or of one stream in it; 0 if it can't be read."""
    if not head or (head[0] & 3 == 3 and len(head) < 2):
        return 0
    frames = (1, 2, 2, 0)[head[0] & 3] or head[1] & 63
    return _OPUS[head[0] >> 3] * frames


def _vorbis(header: bytes) -> Count | None:
    identification, setup = _xiph(header)
    long_modes = _long_modes(setup)
    if len(identification) < 29 or not long_modes:
        return None
    sizes = 1 << (identification[28] & 0xF), 1 << (identification[28] >> 4)
    number_mask = (1 << (len(long_modes) - 1).bit_length()) - 1
    previous_size = 0

    def count(head: bytes) -> int:
        nonlocal previous_size
        number = head[0] >> 1 & number_mask if head and not head[0] & 1 else len(long_modes)
        if number >= len(long_modes):
            return 0
        size = sizes[long_modes[number]]
        # Consecutive blocks overlap by half of each.
        samples, previous_size = (previous_size + size) // 4 if previous_size else 0, size
        return samples

    return count


def _xiph(header: bytes) -> tuple[bytes, bytes]:
    """The first and the third of the three headers that FFmpeg concatenates; empty if they can't be separated."""
    if header[:2] == b"\0\x1e":
        # Each is preceded by its size in 16 bits.
        parts, offset = [], 0
        while offset + 2 <= len(header):
            size = int.from_bytes(header[offset : offset + 2])
            parts.append(header[offset + 2 : offset + 2 + size])
            offset += 2 + size
        return (parts[0], parts[2]) if len(parts) == 3 else (b"", b"")
    sizes: list[int] = []
    offset = 1
    while header[:1] == b"\x02" and len(sizes) < 2 and offset < len(header):
        end = offset
        while end < len(header) - 1 and header[end] == 255:
            end += 1
        sizes.append(sum(header[offset : end + 1]))
        offset = end + 1
    return (header[offset : offset + sizes[0]], header[offset + sum(sizes) :]) if len(sizes) == 2 else (b"", b"")


def _long_modes(setup: bytes) -> tuple[int, ...]:
    """For each mode, 1 if its blocks are long, else 0. Modes are at the end of the header, followed by one set bit."""
    bits = int.from_bytes(setup, "little")
    end = bits.bit_length() - 1
    complete: tuple[int, ...] = ()
    modes: tuple[int, ...] = ()
    for number in range(1, _MAX_MODES + 1):
        start = end - number * _MODE_BITS
        # Window and transform types are all 0, and there are no more than 64 mappings.
        if start < 6 or bits >> start + 1 & 0xFFFF_FFFF or bits >> start + 33 & 0xC0:
            break
        modes = (bits >> start & 1, *modes)
        if bits >> start - 6 & 0x3F == number - 1:
            complete = modes
    return complete
