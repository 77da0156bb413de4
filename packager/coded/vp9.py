"""VP9: finds coded data by parsing superframes and uncompressed headers.

Source: VP9 Bitstream & Decoding Process Specification, sections 6.1, 6.2 and annex B; "VP Codec ISO Media File Format
Binding", section on Common Encryption.
"""

from headend.core.errors import PackagingError
from packager.coded.bits import Bits, Buffer, Ranges

_SYNC = 0x498342
_RGB = 7
_LONGEST_HEADER_BYTES = 160
"""With all fields present; a typical header has 10 to 20 bytes."""
_FEATURES = ((8, True), (6, True), (2, False), (0, False))
"""Bits of each segmentation feature, and whether a sign follows."""


class Vp9:
    """Finds the compressed headers and tiles of frames.

    Args:
        configuration: Body of ``vpcC``; not needed.
    """

    def __init__(self, configuration: bytes) -> None:
        del configuration
        self._widths: list[int] = [0] * 8

    def start(self) -> None:
        """Reset the sizes of earlier frames."""
        self._widths = [0] * 8

    def ranges(self, sample: Buffer) -> Ranges:
        """Find the data after each frame's uncompressed header; see `packager.coded.Reader`."""
        ranges = []
        for start, end in _frames(sample):
            data = start + self._header_bytes(sample[start : min(end, start + _LONGEST_HEADER_BYTES)])
            if data < end:
                ranges.append((data, end))
        return ranges

    def _header_bytes(self, frame: Buffer) -> int:
        bits = Bits(frame)
        if bits.u(2) != 2:
            raise PackagingError("a VP9 frame does not begin with its marker")
        profile = bits.flag() | bits.flag() << 1
        if profile == 3:
            bits.flag()
        if bits.flag():  # an earlier frame is shown again
            return len(frame)
        is_inter, shown, resilient = bits.flag(), bits.flag(), bits.flag()
        if not is_inter:
            refreshed = 0xFF
            _expect_sync(bits)
            _skip_colour(bits, profile)
            width_px = _read_size(bits)
        else:
            intra_only = 0 if shown else bits.flag()
            if not resilient:
                bits.skip(2)
            if intra_only:
                _expect_sync(bits)
                if profile:
                    _skip_colour(bits, profile)
                refreshed = bits.u(8)
                width_px = _read_size(bits)
            else:
                refreshed = bits.u(8)
                references = []
                for _ in range(3):
                    references.append(bits.u(3))
                    bits.flag()
                same = next((number for number in references if bits.flag()), None)
                width_px = _read_width(bits) if same is None else self._widths[same]
                _skip_render_size(bits)
                bits.flag()
                if not bits.flag():
                    bits.skip(2)
        if not resilient:
            bits.skip(2)
        bits.skip(2)
        _skip_loop_filter(bits)
        bits.skip(8)
        for _ in range(3):
            if bits.flag():
                bits.skip(5)
        _skip_segmentation(bits)
        _skip_tiles(bits, width_px)
        bits.skip(16)
        for number in range(8):
            if refreshed >> number & 1:
                self._widths[number] = width_px
        return (bits.position + 7) // 8


def _frames(sample: Buffer) -> Ranges:
    """The frames of a sample: those in the index of a superframe, or a single one."""
    size = len(sample)
    if not size:
        return []
    marker = sample[size - 1]
    if marker >> 5 == 6:
        count, width = (marker & 7) + 1, (marker >> 3 & 3) + 1
        index = size - (2 + width * count)
        if index >= 0 and sample[index] == marker:
            frames, at = [], 0
            for number in range(count):
                first = index + 1 + number * width
                end = at + int.from_bytes(sample[first : first + width], "little")
                if end > index:
                    raise PackagingError("a VP9 superframe is shorter than its frames")
                if end > at:
                    frames.append((at, end))
                at = end
            return frames
    return [(0, size)]


def _expect_sync(bits: Bits) -> None:
    if bits.u(24) != _SYNC:
        raise PackagingError("a VP9 frame lacks its sync code")


def _skip_colour(bits: Bits, profile: int) -> None:
    if profile >= 2:
        bits.flag()
    if bits.u(3) != _RGB:
        bits.flag()
        if profile & 1:
            bits.skip(3)
    elif profile & 1:
        bits.flag()


def _read_width(bits: Bits) -> int:
    width_px = bits.u(16) + 1
    bits.skip(16)
    return width_px


def _read_size(bits: Bits) -> int:
    width_px = _read_width(bits)
    _skip_render_size(bits)
    return width_px


def _skip_render_size(bits: Bits) -> None:
    if bits.flag():
        bits.skip(32)


def _skip_loop_filter(bits: Bits) -> None:
    bits.skip(9)
    if bits.flag() and bits.flag():
        for _ in range(6):
            if bits.flag():
                bits.skip(7)


def _skip_segmentation(bits: Bits) -> None:
    if not bits.flag():
        return
    if bits.flag():
        for _ in range(7):
            if bits.flag():
                bits.skip(8)
        if bits.flag():
            for _ in range(3):
                if bits.flag():
                    bits.skip(8)
    if bits.flag():
        bits.flag()
        for _ in range(8):
            for width, signed in _FEATURES:
                if bits.flag():
                    bits.skip(width + signed)


def _skip_tiles(bits: Bits, width_px: int) -> None:
    """``tile_info``: the range of tile columns depends on the width in blocks of 64 pixels."""
    blocks = (width_px + 63) // 64
    least = 0
    while 64 << least < blocks:
        least += 1
    most = 1
    while blocks >> most >= 4:
        most += 1
    most -= 1
    while least < most and bits.flag():
        least += 1
    if bits.flag():
        bits.flag()
