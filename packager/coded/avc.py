"""AVC: finds slice data by parsing slice headers.

Source: ITU-T H.264, sections 7.3.2 and 7.3.3; ISO/IEC 14496-15, section 5.3.3.1 (``avcC``).
"""

from dataclasses import dataclass

from headend.core.errors import PackagingError
from packager.coded.bits import Bits, Buffer, Ranges, Unescaped
from packager.coded.nal import header_bytes, units

SLICE, IDR, SPS, PPS = 1, 5, 7, 8
_PARTITIONS_AND_EXTENSIONS = frozenset({2, 3, 4, 20, 21})
_P, _B, _I, _SP, _SI = range(5)
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_MAX_REFERENCES = 32


@dataclass(frozen=True, slots=True)
class _Sps:
    chroma: bool
    separate_planes: bool
    frame_num_bits: int
    poc_type: int
    poc_lsb_bits: int
    delta_always_zero: bool
    frames_only: bool


@dataclass(frozen=True, slots=True)
class _Pps:
    sps: int
    cabac: bool
    field_poc_present: bool
    references: tuple[int, int]
    weighted: bool
    weighted_b: int
    deblocking_control: bool
    redundant_count: bool


class Avc:
    """Finds slice data.

    Args:
        configuration: Body of ``avcC``.
    """

    def __init__(self, configuration: bytes) -> None:
        self._sps: dict[int, _Sps] = {}
        self._pps: dict[int, _Pps] = {}
        self._length_bytes = 1 + (configuration[4] & 3)
        offset = 6
        for mask in (0x1F, 0xFF):
            for _ in range(configuration[offset - 1] & mask):
                size = int.from_bytes(configuration[offset : offset + 2], "big")
                self._read_parameters(configuration[offset + 2 : offset + 2 + size])
                offset += 2 + size
            offset += 1

    def reset(self) -> None:
        """Do nothing: slice headers don't depend on earlier pictures."""

    def ranges(self, sample: Buffer) -> Ranges:
        """Find the slice data of a sample; see `packager.coded.Reader`."""
        ranges = []
        for start, end in units(sample, self._length_bytes):
            header = sample[start]
            kind = header & 0x1F
            if kind in (SLICE, IDR):
                data = start + 1 + header_bytes(sample, start + 1, end, _SliceHeader(self, header).read)
                if data < end:
                    ranges.append((data, end))
            elif kind in (SPS, PPS):
                self._read_parameters(bytes(sample[start:end]))
            elif kind in _PARTITIONS_AND_EXTENSIONS:
                raise PackagingError(f"AVC with NAL units of type {kind} can't be encrypted")
        return ranges

    def _read_parameters(self, unit: bytes) -> None:
        bits = Unescaped(unit[1:]).bits
        if unit[0] & 0x1F == SPS:
            id, sps = _read_sps(bits)
            self._sps[id] = sps
        else:
            id, pps = _read_pps(bits)
            self._pps[id] = pps

    def sets(self, pps_id: int) -> tuple[_Sps, _Pps]:
        """The parameter sets of a slice."""
        try:
            pps = self._pps[pps_id]
            return self._sps[pps.sps], pps
        except KeyError:
            raise PackagingError(f"an AVC slice refers to parameter set {pps_id}, which is missing") from None


def _read_sps(bits: Bits) -> tuple[int, _Sps]:
    profile = bits.u(8)
    bits.skip(16)  # constraint flags, level_idc
    id = bits.ue()
    chroma_format, separate = 1, 0
    if profile in _HIGH_PROFILES:
        chroma_format = bits.ue()
        separate = bits.flag() if chroma_format == 3 else 0
        bits.ue()  # bit_depth_luma_minus8
        bits.ue()  # bit_depth_chroma_minus8
        bits.flag()  # qpprime_y_zero_transform_bypass_flag
        if bits.flag():  # seq_scaling_matrix_present_flag
            for number in range(8 if chroma_format != 3 else 12):
                if bits.flag():
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    frame_num_bits = bits.ue() + 4
    poc_type = bits.ue()
    poc_lsb_bits, always_zero = 0, 0
    if poc_type == 0:
        poc_lsb_bits = bits.ue() + 4
    elif poc_type == 1:
        always_zero = bits.flag()
        bits.se()  # offset_for_non_ref_pic
        bits.se()  # offset_for_top_to_bottom_field
        for _ in range(bits.ue()):
            bits.se()  # offset_for_ref_frame
    bits.ue()  # max_num_ref_frames
    bits.flag()  # gaps_in_frame_num_value_allowed_flag
    bits.ue()  # pic_width_in_mbs_minus1
    bits.ue()  # pic_height_in_map_units_minus1
    frames_only = bits.flag()
    return id, _Sps(
        chroma=chroma_format != 0 and not separate,
        separate_planes=bool(separate),
        frame_num_bits=frame_num_bits,
        poc_type=poc_type,
        poc_lsb_bits=poc_lsb_bits,
        delta_always_zero=bool(always_zero),
        frames_only=bool(frames_only),
    )


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last_scale, next_scale = 8, 8
    for _ in range(size):
        if next_scale:
            next_scale = (last_scale + bits.se()) % 256
        last_scale = next_scale or last_scale


def _read_pps(bits: Bits) -> tuple[int, _Pps]:
    id, sps = bits.ue(), bits.ue()
    cabac, field_poc = bits.flag(), bits.flag()
    if bits.ue():
        raise PackagingError("AVC with slice groups can't be encrypted")
    references = (bits.ue() + 1, bits.ue() + 1)
    weighted, weighted_b = bits.flag(), bits.u(2)
    bits.se()  # pic_init_qp_minus26
    bits.se()  # pic_init_qs_minus26
    bits.se()  # chroma_qp_index_offset
    deblocking = bits.flag()
    bits.flag()  # constrained_intra_pred_flag
    redundant = bits.flag()
    return id, _Pps(
        sps, bool(cabac), bool(field_poc), references, bool(weighted), weighted_b, bool(deblocking), bool(redundant)
    )


class _SliceHeader:
    """Parses a slice header to its last bit (section 7.3.3)."""

    def __init__(self, stream: Avc, nal_header: int) -> None:
        self._stream = stream
        self._is_idr = nal_header & 0x1F == IDR
        self._is_reference = bool(nal_header & 0x60)

    def read(self, head: Unescaped) -> None:
        bits = head.bits
        bits.ue()  # first_mb_in_slice
        slice_type = bits.ue() % 5
        sps, pps = self._stream.sets(bits.ue())
        if sps.separate_planes:
            bits.skip(2)  # colour_plane_id
        bits.skip(sps.frame_num_bits)
        is_field = 0
        if not sps.frames_only:
            is_field = bits.flag()
            if is_field:
                bits.flag()  # bottom_field_flag
        if self._is_idr:
            bits.ue()  # idr_pic_id
        _skip_picture_order(bits, sps, pps, is_field)
        if pps.redundant_count:
            bits.ue()  # redundant_pic_cnt
        if slice_type == _B:
            bits.flag()  # direct_spatial_mv_pred_flag
        if slice_type in (_P, _SP, _B):
            references = list(pps.references)
            if bits.flag():  # num_ref_idx_active_override_flag
                references[0] = bits.ue() + 1
                if slice_type == _B:
                    references[1] = bits.ue() + 1
            lists = 2 if slice_type == _B else 1
            for _ in range(lists):
                _skip_list_modification(bits)
            if (pps.weighted and slice_type != _B) or (pps.weighted_b == 1 and slice_type == _B):
                _skip_weights(bits, references[:lists], chroma=sps.chroma)
        if self._is_reference:
            _skip_reference_marking(bits, is_idr=self._is_idr)
        if pps.cabac and slice_type not in (_I, _SI):
            bits.ue()  # cabac_init_idc
        bits.se()  # slice_qp_delta
        if slice_type in (_SP, _SI):
            if slice_type == _SP:
                bits.flag()  # sp_for_switch_flag
            bits.se()  # slice_qs_delta
        if pps.deblocking_control and bits.ue() != 1:  # disable_deblocking_filter_idc
            bits.se()
            bits.se()


def _skip_picture_order(bits: Bits, sps: _Sps, pps: _Pps, is_field: int) -> None:
    if sps.poc_type == 0:
        bits.skip(sps.poc_lsb_bits)
        if pps.field_poc_present and not is_field:
            bits.se()  # delta_pic_order_cnt_bottom
    elif sps.poc_type == 1 and not sps.delta_always_zero:
        bits.se()
        if pps.field_poc_present and not is_field:
            bits.se()


def _skip_list_modification(bits: Bits) -> None:
    if bits.flag():
        while bits.ue() != 3:  # modification_of_pic_nums_idc
            bits.ue()


def _skip_weights(bits: Bits, references: list[int], *, chroma: bool) -> None:
    if max(references) > _MAX_REFERENCES:
        raise PackagingError("an AVC slice has more references than the standard allows")
    bits.ue()  # luma_log2_weight_denom
    if chroma:
        bits.ue()  # chroma_log2_weight_denom
    for count in references:
        for _ in range(count):
            if bits.flag():
                bits.se()
                bits.se()
            if chroma and bits.flag():
                for _ in range(4):
                    bits.se()


def _skip_reference_marking(bits: Bits, *, is_idr: bool) -> None:
    if is_idr:
        bits.skip(2)  # no_output_of_prior_pics_flag, long_term_reference_flag
    elif bits.flag():  # adaptive_ref_pic_marking_mode_flag
        while operation := bits.ue():  # memory_management_control_operation
            if operation != 5:
                bits.ue()
            if operation == 3:
                bits.ue()
