"""VP9: finds the data of frames that may be encrypted, by parsing superframes and uncompressed headers.

Source: VP9 Bitstream & Decoding Process Specification, sections 6.1, 6.2 and annex B; "VP Codec ISO Media File Format
Binding", section on Common Encryption.
"""

from headend.core.errors import PackagingError
from packager.coded.bits import Bits, Buffer, Ranges

_SYNC = 0x498342
_RGB = 7
_MAX_HEADER_BYTES = 160
"""With all fields present; a typical header has 10 to 20 bytes."""
_FEATURES = ((8, True), (6, True), (2, False), (0, False))
"""Number of bits of each segmentation feature, and whether a sign bit follows."""


class Vp9:
    """Finds the compressed header and the tiles of each frame: everything after its uncompressed header.

    Args:
        configuration: Body of ``vpcC``; not needed.
    """

    def __init__(self, configuration: bytes) -> None:
        del configuration
        self._widths: list[int] = [0] * 8

    def reset(self) -> None:
        """Reset the sizes of earlier frames."""
        self._widths = [0] * 8

    def ranges(self, sample: Buffer) -> Ranges:
        """Find the data after each frame's uncompressed header; see `packager.coded.Reader`."""
        ranges = []
        for start, end in _frames(sample):
            data = start + self._header_bytes(sample[start : min(end, start + _MAX_HEADER_BYTES)])
            if data < end:
                ranges.append((data, end))
        return ranges

    def _header_bytes(self, frame: Buffer) -> int:
        """The length of a frame's ``uncompressed_header()`` in bytes."""
        bits = Bits(frame)
        if bits.u(2) != 2:
            raise PackagingError("a VP9 frame does not begin with its marker")
        profile = bits.flag() | bits.flag() << 1
        if profile == 3:
            bits.flag()  # reserved_zero
        if bits.flag():  # show_existing_frame: the frame has no data
            return len(frame)
        is_inter, is_shown, is_resilient = bits.flag(), bits.flag(), bits.flag()
        if not is_inter:
            refreshed = 0xFF
            _expect_sync(bits)
            _skip_colour(bits, profile)
            width_px = _read_size(bits)
        else:
            intra_only = 0 if is_shown else bits.flag()
            if not is_resilient:
                bits.skip(2)  # reset_frame_context
            if intra_only:
                _expect_sync(bits)
                if profile:
                    _skip_colour(bits, profile)
                refreshed = bits.u(8)
                width_px = _read_size(bits)
            else:
                refreshed = bits.u(8)
                width_px = self._read_inter_size(bits)
                bits.flag()  # allow_high_precision_mv
                if not bits.flag():  # is_filter_switchable
                    bits.skip(2)  # raw_interpolation_filter
        if not is_resilient:
            bits.skip(2)  # refresh_frame_context, frame_parallel_decoding_mode
        bits.skip(2)  # frame_context_idx
        _skip_loop_filter(bits)
        _skip_quantization(bits)
        _skip_segmentation(bits)
        _skip_tiles(bits, width_px)
        bits.skip(16)  # header_size_in_bytes
        for slot in range(8):
            if refreshed >> slot & 1:
                self._widths[slot] = width_px
        return (bits.position + 7) // 8

    def _read_inter_size(self, bits: Bits) -> int:
        """Read the references and the size of an inter frame, which may be that of a reference; returns the width."""
        references = []
        for _ in range(3):
            references.append(bits.u(3))
            bits.flag()  # ref_frame_sign_bias
        sized_like = next((slot for slot in references if bits.flag()), None)
        width_px = _read_width(bits) if sized_like is None else self._widths[sized_like]
        _skip_render_size(bits)
        return width_px


def _frames(sample: Buffer) -> Ranges:
    """The frames of a sample: those in the superframe index at its end if there is one, else the whole sample."""
    size = len(sample)
    if not size:
        return []
    marker = sample[size - 1]
    if marker >> 5 == 6:
        count, size_bytes = (marker & 7) + 1, (marker >> 3 & 3) + 1
        index = size - (2 + size_bytes * count)
        if index >= 0 and sample[index] == marker:
            frames, start = [], 0
            for number in range(count):
                field = index + 1 + number * size_bytes
                end = start + int.from_bytes(sample[field : field + size_bytes], "little")
                if end > index:
                    raise PackagingError("a VP9 superframe is shorter than its frames")
                if end > start:
                    frames.append((start, end))
                start = end
            return frames
    return [(0, size)]


def _expect_sync(bits: Bits) -> None:
    if bits.u(24) != _SYNC:
        raise PackagingError("a VP9 frame lacks its sync code")


def _skip_colour(bits: Bits, profile: int) -> None:
    if profile >= 2:
        bits.flag()  # ten_or_twelve_bit
    if bits.u(3) != _RGB:
        bits.flag()  # color_range
        if profile & 1:
            bits.skip(3)  # subsampling_x, subsampling_y, reserved_zero
    elif profile & 1:
        bits.flag()  # reserved_zero


def _read_width(bits: Bits) -> int:
    width_px = bits.u(16) + 1
    bits.skip(16)  # frame_height_minus_1
    return width_px


def _read_size(bits: Bits) -> int:
    width_px = _read_width(bits)
    _skip_render_size(bits)
    return width_px


def _skip_render_size(bits: Bits) -> None:
    if bits.flag():  # render_and_frame_size_different
        bits.skip(32)


def _skip_loop_filter(bits: Bits) -> None:
    bits.skip(9)  # level and sharpness
    if bits.flag() and bits.flag():  # deltas are enabled and updated
        for _ in range(6):
            if bits.flag():
                bits.skip(7)


def _skip_quantization(bits: Bits) -> None:
    bits.skip(8)  # base_q_idx
    for _ in range(3):  # delta_q_y_dc, delta_q_uv_dc, delta_q_uv_ac
        if bits.flag():
            bits.skip(5)


def _skip_segmentation(bits: Bits) -> None:
    if not bits.flag():  # segmentation_enabled
        return
    if bits.flag():  # segmentation_update_map
        for _ in range(7):
            if bits.flag():
                bits.skip(8)
        if bits.flag():  # segmentation_temporal_update
            for _ in range(3):
                if bits.flag():
                    bits.skip(8)
    if bits.flag():  # segmentation_update_data
        bits.flag()  # segmentation_abs_or_delta_update
        for _ in range(8):
            for width, signed in _FEATURES:
                if bits.flag():
                    bits.skip(width + signed)


def _skip_tiles(bits: Bits, width_px: int) -> None:
    """Skip ``tile_info()``. The possible numbers of tile columns depend on the width in blocks of 64 pixels."""
    blocks = (width_px + 63) // 64
    columns_log2 = 0
    while 64 << columns_log2 < blocks:
        columns_log2 += 1
    max_columns_log2 = 1
    while blocks >> max_columns_log2 >= 4:
        max_columns_log2 += 1
    max_columns_log2 -= 1
    while columns_log2 < max_columns_log2 and bits.flag():  # increment_tile_cols_log2
        columns_log2 += 1
    if bits.flag():  # tile_rows_log2
        bits.flag()
