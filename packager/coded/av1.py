"""AV1: finds the data of tiles, which may be encrypted.

The length of a frame header depends on almost every field in it, and on earlier frames: their sizes, segmentation and
global motion. So headers are parsed completely, and the state to which later frames refer is kept.

Source: AV1 Bitstream & Decoding Process Specification, sections 5.3 to 5.11 and 7.20; "AV1 Codec ISO Media File Format
Binding", section 2.3.3 (``av1C``) and 4 (Common Encryption).
"""

from dataclasses import dataclass

from headend.core.errors import PackagingError
from packager.coded.bits import Bits, Buffer, Ranges, Truncated, leb128

_SEQUENCE, _FRAME_HEADER, _TILE_GROUP, _FRAME, _REDUNDANT, _TILE_LIST = 1, 3, 4, 6, 7, 8
_KEY, _INTRA_ONLY, _SWITCH = 0, 2, 3
_ALL, _NO_REFERENCE, _REFERENCES = 0xFF, 7, 7
_SELECT = 2
_MAX_TILE_WIDTH_PX, _MAX_TILE_PX, _MAX_TILES = 4096, 4096 * 2304, 64
_FEATURE_BITS = (8, 6, 6, 6, 6, 3, 0, 0)
_SIGNED_FEATURES = 5
_IDENTITY, _TRANSLATION, _ROTATE_ZOOM, _AFFINE = range(4)
_WARP_BITS = 16
_NO_MOTION = ((0, 0, 1 << _WARP_BITS, 0, 0, 1 << _WARP_BITS),) * _REFERENCES
_NO_SEGMENTS: tuple[int | None, ...] = (None,) * 8


@dataclass(slots=True)
class _Sequence:
    reduced: bool = False
    equal_intervals: bool = False
    removal_bits: int = 0
    presentation_bits: int = 0
    has_decoder_model: bool = False
    modelled: tuple[tuple[int, bool], ...] = ()
    width_bits: int = 0
    height_bits: int = 0
    width_px: int = 0
    height_px: int = 0
    id_bits: int = 0
    delta_id_bits: int = 0
    large_blocks: bool = False
    warped_motion: bool = False
    motion_vectors: bool = False
    screen_content: int = _SELECT
    integer_vectors: int = _SELECT
    order_bits: int = 0
    superres: bool = False
    cdef: bool = False
    restoration: bool = False
    planes: int = 3
    subsampled: bool = True
    separate_uv: bool = False
    film_grain: bool = False


@dataclass(frozen=True, slots=True)
class _Saved:
    """The state of a frame to which later frames may refer."""

    upscaled_px: int
    width_px: int
    height_px: int
    kind: int
    order: int
    quantizers: tuple[int | None, ...]
    motion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class _Tiles:
    """How a frame is divided into tiles."""

    columns: int
    rows: int
    index_bits: int
    size_bytes: int


class Av1:
    """Finds the data of tiles.

    Args:
        configuration: Body of ``av1C``.
    """

    def __init__(self, configuration: bytes) -> None:
        self._sequence: _Sequence | None = None
        self._saved: list[_Saved | None] = [None] * 8
        self._tiles: _Tiles | None = None
        for kind, start, end, _ in _units(configuration, 4):
            if kind == _SEQUENCE:
                self._sequence = _read_sequence(Bits(configuration[start:end]))

    def reset(self) -> None:
        """Reset the state of earlier frames, but keep the sequence header."""
        self._saved = [None] * 8
        self._tiles = None

    def ranges(self, sample: Buffer) -> Ranges:
        """Find the data of each tile of a sample; see `packager.coded.Reader`."""
        ranges: Ranges = []
        for kind, start, end, layers in _units(sample, 0):
            if kind == _SEQUENCE:
                self._sequence = _read_sequence(Bits(sample[start:end]))
            elif kind == _FRAME_HEADER:
                if self._tiles is None:
                    self._tiles = self._frame(sample, start, end, layers)[0]
            elif kind == _FRAME:
                self._tiles, header_bytes = self._frame(sample, start, end, layers)
                self._group(sample, start + header_bytes, end, ranges)
            elif kind == _TILE_GROUP:
                self._group(sample, start, end, ranges)
            elif kind == _TILE_LIST:
                raise PackagingError("AV1 with tile lists can't be encrypted")
        return ranges

    def _frame(self, sample: Buffer, start: int, end: int, layers: tuple[int, int]) -> tuple[_Tiles | None, int]:
        if self._sequence is None:
            raise PackagingError("an AV1 frame comes before its sequence header")
        header = _FrameHeader(self._sequence, self._saved, Bits(sample[start : min(end, start + 512)]), layers)
        try:
            tiles = header.read()
        except Truncated:
            header = _FrameHeader(self._sequence, self._saved, Bits(sample[start:end]), layers)
            tiles = header.read()
        for number in range(8):
            if header.refreshed >> number & 1:
                self._saved[number] = header.saved
        return tiles, (header.bits.position + 7) // 8

    def _group(self, sample: Buffer, start: int, end: int, ranges: Ranges) -> None:
        """Find the tiles of a ``tile_group_obu``, section 5.11.1."""
        tiles = self._tiles
        if tiles is None:
            raise PackagingError("AV1 tiles come before their frame's header")
        count = tiles.columns * tiles.rows
        first, last = 0, count - 1
        offset = start
        if count > 1:
            bits = Bits(sample[start : start + 4])
            if bits.flag():
                first, last = bits.u(tiles.index_bits), bits.u(tiles.index_bits)
            offset += (bits.position + 7) // 8
        for number in range(first, last + 1):
            tile_end = end
            if number < last:
                size_end = offset + tiles.size_bytes
                tile_end = size_end + int.from_bytes(sample[offset:size_end], "little") + 1
                offset = size_end
            if tile_end > end or offset >= tile_end:
                raise PackagingError("an AV1 tile does not fit into its unit")
            ranges.append((offset, tile_end))
            offset = tile_end
        if last == count - 1:
            self._tiles = None


def _units(data: Buffer, offset: int) -> "list[tuple[int, int, int, tuple[int, int]]]":
    """The open bitstream units: type, start and end of the payload, temporal and spatial layer (section 5.3)."""
    units, size = [], len(data)
    while offset < size:
        head = data[offset]
        offset += 1
        layers = (0, 0)
        if head & 4:
            if offset >= size:
                raise Truncated("an AV1 unit is cut short")
            layers = data[offset] >> 5, data[offset] >> 3 & 3
            offset += 1
        end = size
        if head & 2:
            payload, offset = leb128(data, offset)
            end = offset + payload
        if end > size:
            raise PackagingError("an AV1 unit does not fit into its sample")
        units.append((head >> 3 & 15, offset, end, layers))
        offset = end
    return units


def _read_sequence(bits: Bits) -> _Sequence:
    """Read ``sequence_header_obu``, section 5.5."""
    sequence = _Sequence()
    profile = bits.u(3)
    bits.flag()  # still_picture
    sequence.reduced = bool(bits.flag())
    if sequence.reduced:
        bits.skip(5)  # seq_level_idx
        sequence.modelled = ((0, False),)
    else:
        _read_operating_points(bits, sequence)
    sequence.width_bits, sequence.height_bits = bits.u(4) + 1, bits.u(4) + 1
    sequence.width_px, sequence.height_px = bits.u(sequence.width_bits) + 1, bits.u(sequence.height_bits) + 1
    if not sequence.reduced and bits.flag():
        sequence.delta_id_bits = bits.u(4) + 2
        sequence.id_bits = bits.u(3) + sequence.delta_id_bits + 1
    sequence.large_blocks = bool(bits.flag())
    bits.skip(2)  # enable_filter_intra, enable_intra_edge_filter
    if not sequence.reduced:
        bits.skip(2)  # enable_interintra_compound, enable_masked_compound
        sequence.warped_motion = bool(bits.flag())
        bits.flag()  # enable_dual_filter
        has_order = bits.flag()
        if has_order:
            bits.flag()  # enable_jnt_comp
            sequence.motion_vectors = bool(bits.flag())
        sequence.screen_content = _SELECT if bits.flag() else bits.flag()
        if sequence.screen_content:
            sequence.integer_vectors = _SELECT if bits.flag() else bits.flag()
        if has_order:
            sequence.order_bits = bits.u(3) + 1
    sequence.superres, sequence.cdef, sequence.restoration = bool(bits.flag()), bool(bits.flag()), bool(bits.flag())
    _read_colour(bits, sequence, profile)
    sequence.film_grain = bool(bits.flag())
    return sequence


def _read_operating_points(bits: Bits, sequence: _Sequence) -> None:
    delay_bits = 0
    if bits.flag():  # timing_info_present_flag
        bits.skip(64)
        sequence.equal_intervals = bool(bits.flag())
        if sequence.equal_intervals:
            bits.ue()  # num_ticks_per_picture_minus_1
        sequence.has_decoder_model = bool(bits.flag())
        if sequence.has_decoder_model:
            delay_bits = bits.u(5) + 1
            bits.skip(32)  # num_units_in_decoding_tick
            sequence.removal_bits, sequence.presentation_bits = bits.u(5) + 1, bits.u(5) + 1
    has_delays = bits.flag()
    points = []
    for _ in range(bits.u(5) + 1):
        layers = bits.u(12)
        if bits.u(5) > 7:  # seq_level_idx
            bits.flag()  # seq_tier
        modelled = bits.flag() if sequence.has_decoder_model else 0
        if modelled:
            bits.skip(2 * delay_bits + 1)
        if has_delays and bits.flag():
            bits.skip(4)  # initial_display_delay_minus_1
        points.append((layers, bool(modelled)))
    sequence.modelled = tuple(points)


def _read_colour(bits: Bits, sequence: _Sequence, profile: int) -> None:
    """Read ``color_config``, section 5.5.2."""
    is_high_bit_depth = bits.flag()
    is_12_bit = bits.flag() if profile == 2 and is_high_bit_depth else 0
    is_monochrome = bits.flag() if profile != 1 else 0
    is_described = bits.flag()
    colour = (bits.u(8), bits.u(8), bits.u(8)) if is_described else (2, 2, 2)
    if is_monochrome:
        bits.flag()  # color_range
        sequence.planes = 1
        return
    subsampling_x = subsampling_y = 0
    if colour != (1, 13, 0):  # sRGB
        bits.flag()  # color_range
        if profile == 0:
            subsampling_x = subsampling_y = 1
        elif profile == 2 and is_12_bit:
            subsampling_x = bits.flag()
            subsampling_y = bits.flag() if subsampling_x else 0
        elif profile == 2:
            subsampling_x = 1
        if subsampling_x and subsampling_y:
            bits.skip(2)  # chroma_sample_position
    sequence.subsampled = bool(subsampling_x and subsampling_y)
    sequence.separate_uv = bool(bits.flag())


class _FrameHeader:
    """Parses ``uncompressed_header`` (section 5.9) to its last bit.

    Attributes:
        bits: Reader at the current position.
        refreshed: Bit mask of the saved frames that this one replaces.
        saved: State that replaces them.
    """

    def __init__(self, sequence: _Sequence, saved: list[_Saved | None], bits: Bits, layers: tuple[int, int]) -> None:
        self.bits = bits
        self.refreshed = 0
        self.saved: _Saved | None = None
        self._sequence, self._references, self._layers = sequence, list(saved), layers
        self._kind = _KEY
        self._is_intra = self._shown = True
        self._showable = False
        self._order = 0
        self._used: list[int] = []
        self._upscaled_px = self._width_px = self._height_px = 0
        self._override_size = False
        self._fine_vectors = False
        self._block_copy = False
        self._quantizer = 0
        self._lossless_deltas = True
        self._quantizers: tuple[int | None, ...] = _NO_SEGMENTS

    def read(self) -> _Tiles | None:
        """Parse the header; returns the tiles, or None if an earlier frame is shown again."""
        bits, sequence = self.bits, self._sequence
        if not sequence.reduced and bits.flag():  # show_existing_frame
            self._show_existing()
            return None
        resilient = self._read_frame_type()
        disable_cdf_update = bits.flag()
        screen_content = bits.flag() if sequence.screen_content == _SELECT else sequence.screen_content
        integer_vectors = 0
        if screen_content:
            integer_vectors = bits.flag() if sequence.integer_vectors == _SELECT else sequence.integer_vectors
        bits.skip(sequence.id_bits)  # current_frame_id
        if self._kind == _SWITCH:
            self._override_size = True
        elif not sequence.reduced:
            self._override_size = bool(bits.flag())
        self._order = bits.u(sequence.order_bits)
        primary = _NO_REFERENCE if self._is_intra or resilient else bits.u(3)
        if sequence.has_decoder_model and bits.flag():  # buffer_removal_time_present_flag
            self._skip_removal_times()
        self.refreshed = _ALL if self._kind == _SWITCH or (self._kind == _KEY and self._shown) else bits.u(8)
        if (not self._is_intra or self.refreshed != _ALL) and resilient and sequence.order_bits:
            # ref_order_hint: differs from the saved frames only if frames were lost, never in an encoder's output.
            bits.skip(8 * sequence.order_bits)
        if self._is_intra:
            self._read_size()
            self._skip_render_size()
            if screen_content and self._upscaled_px == self._width_px:
                self._block_copy = bool(bits.flag())
        else:
            self._read_inter(resilient=resilient, integer_vectors=integer_vectors)
        if not (sequence.reduced or disable_cdf_update):
            bits.flag()  # disable_frame_end_update_cdf
        past = None if primary == _NO_REFERENCE else self._reference(self._used[primary])
        tiles = self._read_tiles()
        self._read_quantization()
        self._read_segmentation(past)
        self._read_deltas()
        self._skip_filters()
        reference_select = 0 if self._is_intra else bits.flag()
        if reference_select and sequence.order_bits and self._may_skip():
            bits.flag()  # skip_mode_present
        if not (self._is_intra or resilient) and sequence.warped_motion:
            bits.flag()  # allow_warped_motion
        bits.flag()  # reduced_tx_set
        motion = self._read_motion(past.motion if past else _NO_MOTION)
        if sequence.film_grain and (self._shown or self._showable):
            self._skip_film_grain()
        self.saved = _Saved(
            self._upscaled_px, self._width_px, self._height_px, self._kind, self._order, self._quantizers, motion
        )
        return tiles

    def _read_frame_type(self) -> int:
        """Read the frame's type, and whether it is shown; returns ``error_resilient_mode``."""
        bits, resilient = self.bits, 1
        if not self._sequence.reduced:
            self._kind = bits.u(2)
            self._is_intra = self._kind in (_KEY, _INTRA_ONLY)
            self._shown = bool(bits.flag())
            if self._shown:
                self._skip_presentation_time()
                self._showable = self._kind != _KEY
            else:
                self._showable = bool(bits.flag())
            if not (self._kind == _SWITCH or (self._kind == _KEY and self._shown)):
                resilient = bits.flag()
        if self._kind == _KEY and self._shown:
            self._references = [None] * 8
        return resilient

    def _show_existing(self) -> None:
        bits = self.bits
        shown = bits.u(3)
        self._skip_presentation_time()
        bits.skip(self._sequence.id_bits)
        self.saved = self._reference(shown)
        if self.saved.kind == _KEY:
            self.refreshed = _ALL

    def _reference(self, number: int) -> _Saved:
        saved = self._references[number]
        if saved is None:
            raise PackagingError("an AV1 frame refers to a missing frame")
        return saved

    def _skip_presentation_time(self) -> None:
        sequence = self._sequence
        if sequence.has_decoder_model and not sequence.equal_intervals:
            self.bits.skip(sequence.presentation_bits)

    def _skip_removal_times(self) -> None:
        temporal, spatial = self._layers
        for layers, modelled in self._sequence.modelled:
            if modelled and (not layers or (layers >> temporal & 1 and layers >> (spatial + 8) & 1)):
                self.bits.skip(self._sequence.removal_bits)

    # --- sizes ----------------------------------------------------------------------------------------------------

    def _read_size(self) -> None:
        bits, sequence = self.bits, self._sequence
        if self._override_size:
            self._upscaled_px, self._height_px = bits.u(sequence.width_bits) + 1, bits.u(sequence.height_bits) + 1
        else:
            self._upscaled_px, self._height_px = sequence.width_px, sequence.height_px
        self._read_superres()

    def _read_superres(self) -> None:
        bits = self.bits
        denominator = bits.u(3) + 9 if self._sequence.superres and bits.flag() else 8
        self._width_px = (self._upscaled_px * 8 + denominator // 2) // denominator

    def _skip_render_size(self) -> None:
        if self.bits.flag():  # render_and_frame_size_different
            self.bits.skip(32)

    def _read_inter(self, *, resilient: int, integer_vectors: int) -> None:
        bits, sequence = self.bits, self._sequence
        if sequence.order_bits and bits.flag():  # frame_refs_short_signaling
            raise PackagingError("AV1 with inferred references can't be encrypted")
        for _ in range(_REFERENCES):
            self._used.append(bits.u(3))
            bits.skip(sequence.delta_id_bits)
        if self._override_size and not resilient:
            sized_like = next((number for number in self._used if bits.flag()), None)  # found_ref
            if sized_like is None:
                self._read_size()
                self._skip_render_size()
            else:
                reference = self._reference(sized_like)
                self._upscaled_px, self._height_px = reference.upscaled_px, reference.height_px
                self._read_superres()
        else:
            self._read_size()
            self._skip_render_size()
        self._fine_vectors = False if integer_vectors else bool(bits.flag())
        if not bits.flag():  # is_filter_switchable
            bits.skip(2)  # interpolation_filter
        bits.flag()  # is_motion_mode_switchable
        if not resilient and sequence.motion_vectors:
            bits.flag()  # use_ref_frame_mvs

    def _read_tiles(self) -> _Tiles:
        """Read ``tile_info``, section 5.9.15."""
        bits = self.bits
        shift = 5 if self._sequence.large_blocks else 4
        block_columns, block_rows = (
            2 * (side_px + 7 >> 3) + (1 << shift) - 1 >> shift for side_px in (self._width_px, self._height_px)
        )
        block_log2 = shift + 2
        max_width = _MAX_TILE_WIDTH_PX >> block_log2
        min_columns_log2 = _log2(max_width, block_columns)
        min_log2 = max(min_columns_log2, _log2(_MAX_TILE_PX >> 2 * block_log2, block_columns * block_rows))
        if bits.flag():  # uniform_tile_spacing_flag
            columns_log2 = self._read_increments(min_columns_log2, _log2(1, min(block_columns, _MAX_TILES)))
            max_rows_log2 = _log2(1, min(block_rows, _MAX_TILES))
            rows_log2 = self._read_increments(max(min_log2 - columns_log2, 0), max_rows_log2)
            columns, rows = _count(block_columns, columns_log2), _count(block_rows, rows_log2)
        else:
            columns, widest = self._read_spans(block_columns, max_width)
            area = block_columns * block_rows >> (min_log2 + 1) if min_log2 else block_columns * block_rows
            rows, _ = self._read_spans(block_rows, max(area // widest, 1))
            columns_log2, rows_log2 = _log2(1, columns), _log2(1, rows)
        size_bytes = 0
        if columns_log2 or rows_log2:
            bits.skip(columns_log2 + rows_log2)  # context_update_tile_id
            size_bytes = bits.u(2) + 1
        return _Tiles(columns, rows, columns_log2 + rows_log2, size_bytes)

    def _read_increments(self, value: int, maximum: int) -> int:
        while value < maximum and self.bits.flag():
            value += 1
        return value

    def _read_spans(self, blocks: int, max_span: int) -> tuple[int, int]:
        """Read the sizes of tiles in one direction; returns their number and the largest size, in blocks."""
        count = offset = largest = 0
        while offset < blocks:
            span = self.bits.ns(min(blocks - offset, max_span)) + 1
            largest = max(largest, span)
            offset += span
            count += 1
        return count, largest

    # --- quantization and filters ---------------------------------------------------------------------------------

    def _read_quantization(self) -> None:
        bits, sequence = self.bits, self._sequence
        self._quantizer = bits.u(8)
        deltas = [self._read_delta()]
        if sequence.planes > 1:
            differ = bits.flag() if sequence.separate_uv else 0
            deltas += [self._read_delta() for _ in range(4 if differ else 2)]
        self._lossless_deltas = not any(deltas)
        if bits.flag():  # using_qmatrix
            bits.skip(12 if sequence.separate_uv else 8)

    def _read_delta(self) -> int:
        return self.bits.su(7) if self.bits.flag() else 0

    def _read_segmentation(self, past: _Saved | None) -> None:
        bits = self.bits
        if not bits.flag():  # segmentation_enabled
            return
        updates_data = 1
        if past is not None:
            if bits.flag():  # segmentation_update_map
                bits.flag()  # segmentation_temporal_update
            updates_data = bits.flag()
        if not updates_data:
            self._quantizers = past.quantizers if past else _NO_SEGMENTS
            return
        quantizers: list[int | None] = []
        for _ in range(8):
            quantizers.append(None)
            for feature, width in enumerate(_FEATURE_BITS):
                if bits.flag():
                    value = bits.su(1 + width) if feature < _SIGNED_FEATURES else bits.u(width)
                    if feature == 0:
                        quantizers[-1] = value
        self._quantizers = tuple(quantizers)

    def _read_deltas(self) -> None:
        bits = self.bits
        if self._quantizer and bits.flag():  # delta_q_present
            bits.skip(2)
            if not self._block_copy and bits.flag():  # delta_lf_present
                bits.skip(3)

    def _is_lossless(self) -> bool:
        if not self._lossless_deltas:
            return False
        return not any(min(255, max(0, self._quantizer + (delta or 0))) for delta in self._quantizers)

    def _skip_filters(self) -> None:
        """Skip the loop filters and ``tx_mode_select``."""
        lossless = self._is_lossless()
        if not (lossless or self._block_copy):
            self._skip_deblocking_and_cdef()
        has_restoration = not ((lossless and self._width_px == self._upscaled_px) or self._block_copy)
        if has_restoration and self._sequence.restoration:
            self._skip_restoration()
        if not lossless:
            self.bits.flag()  # tx_mode_select

    def _skip_deblocking_and_cdef(self) -> None:
        bits, has_chroma = self.bits, self._sequence.planes > 1
        levels = bits.u(12)
        if has_chroma and levels:
            bits.skip(12)
        bits.skip(3)  # loop_filter_sharpness
        if bits.flag() and bits.flag():  # loop_filter_delta_enabled, loop_filter_delta_update
            for _ in range(10):
                if bits.flag():
                    bits.skip(7)
        if self._sequence.cdef:
            bits.skip(2)  # cdef_damping_minus_3
            bits.skip((12 if has_chroma else 6) << bits.u(2))

    def _skip_restoration(self) -> None:
        bits, sequence = self.bits, self._sequence
        types = [bits.u(2) for _ in range(sequence.planes)]
        if any(types):
            if bits.flag() and not sequence.large_blocks:  # lr_unit_shift
                bits.flag()  # lr_unit_extra_shift
            if sequence.subsampled and any(types[1:]):
                bits.flag()  # lr_uv_shift

    # --- prediction -----------------------------------------------------------------------------------------------

    def _may_skip(self) -> bool:
        """Whether there are two references for skip mode (section 5.9.22)."""
        distances = [self._distance(self._reference(number).order) for number in self._used]
        before = [distance for distance in distances if distance < 0]
        if not before:
            return False
        return any(distance > 0 for distance in distances) or len(set(before)) > 1

    def _distance(self, order: int) -> int:
        half = 1 << (self._sequence.order_bits - 1)
        return ((order - self._order) & (2 * half - 1) ^ half) - half

    def _read_motion(self, past: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        """Read ``global_motion_params``, section 5.9.24."""
        if self._is_intra:
            return _NO_MOTION
        bits = self.bits
        motion = []
        for number in range(_REFERENCES):
            kind = _IDENTITY
            if bits.flag():
                kind = _ROTATE_ZOOM if bits.flag() else _TRANSLATION if bits.flag() else _AFFINE
            values = list(_NO_MOTION[0])
            if kind >= _ROTATE_ZOOM:
                for index in (2, 3, 4, 5) if kind == _AFFINE else (2, 3):
                    values[index] = self._read_parameter(kind, index, past[number][index])
                if kind == _ROTATE_ZOOM:
                    values[4], values[5] = -values[3], values[2]
            if kind >= _TRANSLATION:
                for index in (0, 1):
                    values[index] = self._read_parameter(kind, index, past[number][index])
            motion.append(tuple(values))
        return tuple(motion)

    def _read_parameter(self, kind: int, index: int, past: int) -> int:
        """Read parameter ``index`` of a global motion, relative to its value in an earlier frame."""
        width, precision = 12, 15
        if index < 2:
            coarse = 0 if self._fine_vectors else 1
            width, precision = (9 - coarse, 3 - coarse) if kind == _TRANSLATION else (12, 6)
        difference = _WARP_BITS - precision
        is_scale = index in (2, 5)
        reference = (past >> difference) - (1 << precision if is_scale else 0)
        limit = 1 << width
        value = self._read_recentred(2 * limit + 1, reference + limit) - limit
        return (value << difference) + (1 << _WARP_BITS if is_scale else 0)

    def _read_recentred(self, values: int, reference: int) -> int:
        code = self._read_subexp(values)
        if reference << 1 <= values:
            return _recentred(reference, code)
        return values - 1 - _recentred(values - 1 - reference, code)

    def _read_subexp(self, values: int) -> int:
        bits, offset, step = self.bits, 0, 0
        while True:
            width = 3 + step - 1 if step else 3
            if values <= offset + 3 * (1 << width):
                return bits.ns(values - offset) + offset
            if not bits.flag():
                return bits.u(width) + offset
            step += 1
            offset += 1 << width

    def _skip_film_grain(self) -> None:
        """Skip ``film_grain_params``, section 5.9.30."""
        bits, sequence = self.bits, self._sequence
        if not bits.flag():  # apply_grain
            return
        bits.skip(16)  # grain_seed
        if not self._is_intra and self._kind != _SWITCH and not bits.flag():  # update_grain
            bits.skip(3)  # film_grain_params_ref_idx
            return
        luma_points = bits.u(4)
        bits.skip(16 * luma_points)
        from_luma = bits.flag() if sequence.planes > 1 else 0
        chroma_points = [0, 0]
        if sequence.planes > 1 and not from_luma and not (sequence.subsampled and not luma_points):
            for plane in range(2):
                chroma_points[plane] = bits.u(4)
                bits.skip(16 * chroma_points[plane])
        bits.skip(2)  # grain_scaling_minus_8
        lag = bits.u(2)
        coefficients = 2 * lag * (lag + 1)
        if luma_points:
            bits.skip(8 * coefficients)
            coefficients += 1
        for points in chroma_points:
            if from_luma or points:
                bits.skip(8 * coefficients)
        bits.skip(4)  # ar_coeff_shift_minus_6, grain_scale_shift
        for points in chroma_points:
            if points:
                bits.skip(25)  # multipliers and offset
        bits.skip(2)  # overlap_flag, clip_to_restricted_range


def _recentred(reference: int, code: int) -> int:
    if code > 2 * reference:
        return code
    return reference - (code + 1 >> 1) if code & 1 else reference + (code >> 1)


def _log2(unit: int, target: int) -> int:
    """The smallest ``k`` with ``unit << k >= target``."""
    log2 = 0
    while unit << log2 < target:
        log2 += 1
    return log2


def _count(blocks: int, log2: int) -> int:
    """The number of tiles of equal size, apart from the last one, if there are to be at most ``1 << log2``."""
    span = blocks + (1 << log2) - 1 >> log2
    return -(-blocks // span)
