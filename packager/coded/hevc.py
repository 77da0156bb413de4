"""HEVC: finds slice segment data by parsing slice segment headers.

Source: ITU-T H.265, sections 7.3.1 to 7.3.6; ISO/IEC 14496-15, section 8.3.3.1 (``hvcC``).
"""

from dataclasses import dataclass

from headend.core.errors import PackagingError
from packager.coded.bits import Bits, Buffer, Ranges, Unescaped
from packager.coded.nal import header_bytes, units

NAL_HEADER_BYTES = 2
VPS, SPS, PPS = 32, 33, 34
_IDR = frozenset({19, 20})
_IRAP = range(16, 24)
_B, _P, _I = range(3)
_MAX_REFERENCES = 16


@dataclass(frozen=True, slots=True)
class _References:
    """A short-term reference picture set.

    Each entry is a picture's distance in output order, and whether the current picture may refer to it; the others are
    kept for later pictures.
    """

    before: tuple[tuple[int, bool], ...]
    after: tuple[tuple[int, bool], ...]

    @property
    def used_count(self) -> int:
        return sum(used for _, used in (*self.before, *self.after))


@dataclass(frozen=True, slots=True)
class _Sps:
    chroma: bool
    separate_planes: bool
    address_bits: int
    poc_lsb_bits: int
    references: tuple[_References, ...]
    long_term: bool
    long_term_used: tuple[bool, ...]
    temporal_mvp: bool
    sao: bool


@dataclass(frozen=True, slots=True)
class _Pps:
    sps: int
    dependent_slices: bool
    output_flag: bool
    extra_bits: int
    cabac_init: bool
    references: tuple[int, int]
    chroma_offsets: bool
    weighted: bool
    weighted_b: bool
    entry_points: bool
    filter_across: bool
    deblocking_override: bool
    deblocking_off: bool
    lists_modification: bool
    extension: bool
    chroma_offset_lists: bool


class Hevc:
    """Finds slice segment data.

    Args:
        configuration: Body of ``hvcC``.
    """

    def __init__(self, configuration: bytes) -> None:
        self._sps: dict[int, _Sps] = {}
        self._pps: dict[int, _Pps] = {}
        self._length_bytes = 1 + (configuration[21] & 3)
        offset = 23
        for _ in range(configuration[22]):
            count = int.from_bytes(configuration[offset + 1 : offset + 3], "big")
            offset += 3
            for _ in range(count):
                size = int.from_bytes(configuration[offset : offset + 2], "big")
                self._read_parameters(configuration[offset + 2 : offset + 2 + size])
                offset += 2 + size

    def reset(self) -> None:
        """Do nothing: slice headers don't depend on earlier pictures."""

    def ranges(self, sample: Buffer) -> Ranges:
        """Find the slice segment data of a sample; see `packager.coded.Reader`."""
        ranges = []
        for start, end in units(sample, self._length_bytes):
            unit_type = sample[start] >> 1 & 0x3F
            if unit_type < VPS:
                head = start + NAL_HEADER_BYTES
                data = head + header_bytes(sample, head, end, _SliceHeader(self, unit_type).read)
                if data < end:
                    ranges.append((data, end))
            elif unit_type in (SPS, PPS):
                self._read_parameters(bytes(sample[start:end]))
        return ranges

    def _read_parameters(self, unit: bytes) -> None:
        unit_type = unit[0] >> 1 & 0x3F
        if unit_type in (SPS, PPS):
            bits = Unescaped(unit[NAL_HEADER_BYTES:]).bits
            if unit_type == SPS:
                id, sps = _read_sps(bits)
                self._sps[id] = sps
            else:
                id, pps = _read_pps(bits)
                self._pps[id] = pps

    def sets(self, pps_id: int) -> tuple[_Sps, _Pps]:
        """The parameter sets of a slice segment."""
        try:
            pps = self._pps[pps_id]
            return self._sps[pps.sps], pps
        except KeyError:
            raise PackagingError(f"an HEVC slice refers to parameter set {pps_id}, which is missing") from None


# --- parameter sets -----------------------------------------------------------------------------------------------


def _read_sps(bits: Bits) -> tuple[int, _Sps]:
    bits.skip(4)  # sps_video_parameter_set_id
    sub_layers = bits.u(3)
    bits.skip(1)  # sps_temporal_id_nesting_flag
    _skip_profile(bits, sub_layers)
    id = bits.ue()
    chroma_format = bits.ue()
    separate = bits.flag() if chroma_format == 3 else 0
    width_px, height_px = bits.ue(), bits.ue()
    if bits.flag():  # conformance_window_flag
        for _ in range(4):
            bits.ue()
    bits.ue()  # bit_depth_luma_minus8
    bits.ue()  # bit_depth_chroma_minus8
    poc_lsb_bits = bits.ue() + 4
    for _ in range(sub_layers + 1 if bits.flag() else 1):  # sps_sub_layer_ordering_info_present_flag
        for _ in range(3):
            bits.ue()
    smallest_log2 = bits.ue() + 3
    block_log2 = smallest_log2 + bits.ue()
    for _ in range(4):  # transform block sizes and depths
        bits.ue()
    if bits.flag() and bits.flag():  # scaling_list_enabled_flag, sps_scaling_list_data_present_flag
        _skip_scaling_lists(bits)
    bits.flag()  # amp_enabled_flag
    sao = bits.flag()
    if bits.flag():  # pcm_enabled_flag
        bits.skip(8)
        bits.ue()
        bits.ue()
        bits.flag()
    sets: list[_References] = []
    for number in range(bits.ue()):
        sets.append(_read_references(bits, number, sets, in_slice=False))
    long_term = bits.flag()
    used = []
    if long_term:
        for _ in range(bits.ue()):
            bits.skip(poc_lsb_bits)  # lt_ref_pic_poc_lsb_sps
            used.append(bool(bits.flag()))
    temporal_mvp = bits.flag()
    blocks = -(-width_px >> block_log2) * -(-height_px >> block_log2)
    return id, _Sps(
        chroma=chroma_format != 0 and not separate,
        separate_planes=bool(separate),
        address_bits=(blocks - 1).bit_length(),
        poc_lsb_bits=poc_lsb_bits,
        references=tuple(sets),
        long_term=bool(long_term),
        long_term_used=tuple(used),
        temporal_mvp=bool(temporal_mvp),
        sao=bool(sao),
    )


def _skip_profile(bits: Bits, sub_layers: int) -> None:
    """Skip ``profile_tier_level(1, sub_layers)``."""
    bits.skip(88 + 8)
    present = [(bits.flag(), bits.flag()) for _ in range(sub_layers)]
    if sub_layers:
        bits.skip(2 * (8 - sub_layers))
    for profile, level in present:
        bits.skip(88 * profile + 8 * level)


def _skip_scaling_lists(bits: Bits) -> None:
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not bits.flag():
                bits.ue()
                continue
            if size > 1:
                bits.se()
            for _ in range(min(64, 1 << (4 + (size << 1)))):
                bits.se()


def _read_references(bits: Bits, number: int, sets: list[_References], *, in_slice: bool) -> _References:
    """Read ``st_ref_pic_set(number)``, section 7.3.7.

    Args:
        bits: The parameter set or slice header.
        number: Number of the set.
        sets: The sets read before.
        in_slice: Whether it is in a slice header.
    """
    if number and bits.flag():  # inter_ref_pic_set_prediction_flag
        return _predict_references(bits, number, sets, in_slice=in_slice)
    counts = bits.ue(), bits.ue()
    if max(counts) > _MAX_REFERENCES:
        raise PackagingError("an HEVC reference picture set has more references than the standard allows")
    before_and_after: list[tuple[tuple[int, bool], ...]] = []
    for count, sign in zip(counts, (-1, 1), strict=True):
        distance, entries = 0, []
        for _ in range(count):
            distance += sign * (bits.ue() + 1)
            entries.append((distance, bool(bits.flag())))
        before_and_after.append(tuple(entries))
    return _References(*before_and_after)


def _predict_references(bits: Bits, number: int, sets: list[_References], *, in_slice: bool) -> _References:
    """Read the rest of a set that is predicted from another one, and derive it as in section 7.4.8."""
    back = bits.ue() + 1 if in_slice else 1  # delta_idx_minus1
    sign = bits.flag()
    delta = (1 - 2 * sign) * (bits.ue() + 1)
    if back > number:
        raise PackagingError("an HEVC reference picture set is predicted from a missing one")
    other = sets[number - back]
    distances = [*(d for d, _ in other.before), *(d for d, _ in other.after)]
    used, kept = [], []
    for _ in range(len(distances) + 1):
        is_used = bits.flag()
        used.append(bool(is_used))
        kept.append(bool(is_used or bits.flag()))
    shifted = [
        (distance + delta, used[index])
        for index, distance in enumerate((*distances, 0))
        if kept[index] and distance + delta
    ]
    return _References(
        tuple(sorted((entry for entry in shifted if entry[0] < 0), key=lambda entry: -entry[0])),
        tuple(sorted((entry for entry in shifted if entry[0] > 0), key=lambda entry: entry[0])),
    )


def _read_pps(bits: Bits) -> tuple[int, _Pps]:
    id, sps = bits.ue(), bits.ue()
    dependent, output_flag, extra_bits = bits.flag(), bits.flag(), bits.u(3)
    bits.flag()  # sign_data_hiding_enabled_flag
    cabac_init = bits.flag()
    references = (bits.ue() + 1, bits.ue() + 1)
    bits.se()  # init_qp_minus26
    bits.flag()  # constrained_intra_pred_flag
    transform_skip = bits.flag()
    if bits.flag():  # cu_qp_delta_enabled_flag
        bits.ue()
    bits.se()  # pps_cb_qp_offset
    bits.se()  # pps_cr_qp_offset
    chroma_offsets, weighted, weighted_b = bits.flag(), bits.flag(), bits.flag()
    bits.flag()  # transquant_bypass_enabled_flag
    tiles, wavefront = bits.flag(), bits.flag()
    if tiles:
        _skip_tiles(bits)
    filter_across = bits.flag()
    override, off = 0, 0
    if bits.flag():  # deblocking_filter_control_present_flag
        override, off = bits.flag(), bits.flag()
        if not off:
            bits.se()
            bits.se()
    if bits.flag():  # pps_scaling_list_data_present_flag
        _skip_scaling_lists(bits)
    lists_modification = bits.flag()
    bits.ue()  # log2_parallel_merge_level_minus2
    extension = bits.flag()
    offset_lists = 0
    if bits.flag():  # pps_extension_present_flag
        in_range, others = bits.flag(), bits.u(7)
        if others:
            raise PackagingError("HEVC with extensions for layers, 3D or screen content can't be encrypted")
        if in_range:
            if transform_skip:
                bits.ue()  # log2_max_transform_skip_block_size_minus2
            bits.flag()  # cross_component_prediction_enabled_flag
            offset_lists = bits.flag()
    return id, _Pps(
        sps=sps,
        dependent_slices=bool(dependent),
        output_flag=bool(output_flag),
        extra_bits=extra_bits,
        cabac_init=bool(cabac_init),
        references=references,
        chroma_offsets=bool(chroma_offsets),
        weighted=bool(weighted),
        weighted_b=bool(weighted_b),
        entry_points=bool(tiles or wavefront),
        filter_across=bool(filter_across),
        deblocking_override=bool(override),
        deblocking_off=bool(off),
        lists_modification=bool(lists_modification),
        extension=bool(extension),
        chroma_offset_lists=bool(offset_lists),
    )


def _skip_tiles(bits: Bits) -> None:
    columns, rows = bits.ue(), bits.ue()
    if not bits.flag():  # uniform_spacing_flag
        for _ in range(columns + rows):
            bits.ue()
    bits.flag()  # loop_filter_across_tiles_enabled_flag


# --- slices -------------------------------------------------------------------------------------------------------


class _SliceHeader:
    """Parses a slice segment header including ``byte_alignment`` (section 7.3.6)."""

    def __init__(self, stream: Hevc, unit_type: int) -> None:
        self._stream = stream
        self._unit_type = unit_type

    def read(self, head: Unescaped) -> None:
        bits = head.bits
        is_first = bits.flag()
        if self._unit_type in _IRAP:
            bits.flag()  # no_output_of_prior_pics_flag
        sps, pps = self._stream.sets(bits.ue())
        is_dependent = 0
        if not is_first:
            is_dependent = bits.flag() if pps.dependent_slices else 0
            bits.skip(sps.address_bits)
        if not is_dependent:
            self._read_independent(bits, sps, pps)
        if pps.entry_points and (count := bits.ue()):
            bits.skip(count * (bits.ue() + 1))
        if pps.extension:
            bits.skip(8 * bits.ue())
        bits.skip(1)  # byte_alignment(): a one, then zeros up to the end of the byte

    def _read_independent(self, bits: Bits, sps: _Sps, pps: _Pps) -> None:
        """Read the fields that dependent slice segments inherit from the previous segment."""
        bits.skip(pps.extra_bits)
        slice_type = bits.ue()
        if pps.output_flag:
            bits.flag()  # pic_output_flag
        if sps.separate_planes:
            bits.skip(2)  # colour_plane_id
        used, temporal_mvp = 0, 0
        if self._unit_type not in _IDR:
            bits.skip(sps.poc_lsb_bits)
            used = _read_used_count(bits, sps)
            temporal_mvp = bits.flag() if sps.temporal_mvp else 0
        sao = 0
        if sps.sao:
            sao = bits.flag()
            if sps.chroma:
                sao |= bits.flag()
        if slice_type in (_P, _B):
            _skip_inter(bits, sps, pps, is_b=slice_type == _B, used=used, temporal_mvp=temporal_mvp)
        bits.se()  # slice_qp_delta
        if pps.chroma_offsets:
            bits.se()
            bits.se()
        if pps.chroma_offset_lists:
            bits.flag()  # cu_chroma_qp_offset_enabled_flag
        deblocking_off = pps.deblocking_off
        if pps.deblocking_override and bits.flag():
            deblocking_off = bool(bits.flag())
            if not deblocking_off:
                bits.se()
                bits.se()
        if pps.filter_across and (sao or not deblocking_off):
            bits.flag()  # slice_loop_filter_across_slices_enabled_flag


def _read_used_count(bits: Bits, sps: _Sps) -> int:
    """Read the slice's reference picture sets; returns the number of pictures to which the slice may refer."""
    if not bits.flag():  # short_term_ref_pic_set_sps_flag
        used = _read_own_used_count(bits, sps)
    else:
        count = len(sps.references)
        used = sps.references[bits.u((count - 1).bit_length()) if count > 1 else 0].used_count
    if sps.long_term:
        known = len(sps.long_term_used)
        from_sps = bits.ue() if known else 0
        for number in range(from_sps + bits.ue()):
            if number < from_sps:
                used += sps.long_term_used[bits.u((known - 1).bit_length()) if known > 1 else 0]
            else:
                bits.skip(sps.poc_lsb_bits)
                used += bits.flag()
            if bits.flag():  # delta_poc_msb_present_flag
                bits.ue()
    return used


def _read_own_used_count(bits: Bits, sps: _Sps) -> int:
    """Read a short-term reference picture set in the slice header; returns the number of pictures that may be used.

    Almost every slice has such a set, so this does not build a `_References` for it.
    """
    start = bits.left
    if sps.references and bits.flag():
        bits.left = start
        return _read_references(bits, len(sps.references), list(sps.references), in_slice=True).used_count
    before, after = bits.ue(), bits.ue()
    if max(before, after) > _MAX_REFERENCES:
        raise PackagingError("an HEVC reference picture set has more references than the standard allows")
    used = 0
    for _ in range(before + after):
        bits.ue()
        used += bits.flag()
    return used


def _skip_inter(bits: Bits, sps: _Sps, pps: _Pps, *, is_b: bool, used: int, temporal_mvp: int) -> None:
    references = list(pps.references)
    if bits.flag():  # num_ref_idx_active_override_flag
        references[0] = bits.ue() + 1
        if is_b:
            references[1] = bits.ue() + 1
    if max(references) > _MAX_REFERENCES:
        raise PackagingError("an HEVC slice has more references than the standard allows")
    lists = references if is_b else references[:1]
    if pps.lists_modification and used > 1:
        width = (used - 1).bit_length()
        for count in lists:
            if bits.flag():
                bits.skip(width * count)
    if is_b:
        bits.flag()  # mvd_l1_zero_flag
    if pps.cabac_init:
        bits.flag()  # cabac_init_flag
    if temporal_mvp:
        collocated_list = 0 if not is_b or bits.flag() else 1
        if references[collocated_list] > 1:
            bits.ue()  # collocated_ref_idx
    if (pps.weighted and not is_b) or (pps.weighted_b and is_b):
        _skip_weights(bits, lists, chroma=sps.chroma)
    bits.ue()  # five_minus_max_num_merge_cand


def _skip_weights(bits: Bits, lists: list[int], *, chroma: bool) -> None:
    """Skip ``pred_weight_table()``; ``lists`` has the number of references in each list."""
    bits.ue()  # luma_log2_weight_denom
    if chroma:
        bits.se()  # delta_chroma_log2_weight_denom
    for count in lists:
        luma_flags = [bits.flag() for _ in range(count)]
        chroma_flags = [bits.flag() if chroma else 0 for _ in range(count)]
        for has_luma, has_chroma in zip(luma_flags, chroma_flags, strict=True):
            for _ in range(2 * has_luma + 4 * has_chroma):
                bits.se()
