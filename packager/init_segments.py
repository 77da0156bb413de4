"""Changes to the encoder's init segments: level, edit list and loudness.

Source: ISO/IEC 14496-12, section 8.6.6 (``elst``); ISO/IEC 23000-19, section 7.5.13 (offset edit lists).
"""

import struct

from headend.core import boxes
from headend.core.errors import PlanMismatch

_PROGRAM_LOUDNESS, _BS_1770, _UNVERIFIED, _ACCURATE = 1, 2, 1, 3
"""Method, system and reliability of a loudness measurement: ISO/IEC 23003-4, annex A."""


def with_vp9_level(init: bytes, level: str) -> bytes:
    """Set the level in ``vpcC`` (VP Codec ISO Media File Format Binding, section 2.2)."""
    config = boxes.entry_box(init, "vpcC")
    if config is None:
        raise PlanMismatch("a VP9 init segment without vpcC")
    at = config.body + 5  # after version, flags and profile
    return init[:at] + bytes([round(float(level) * 10)]) + init[at + 1 :]


def priming(init: bytes) -> int:
    """Samples that the init segment's edit list skips."""
    for elst in boxes.find_all(init, "moov/trak/edts/elst"):
        wide = init[elst.body] == 1
        (media_time,) = struct.unpack_from(">q" if wide else ">i", init, elst.body + (16 if wide else 12))
        return max(0, int(media_time))
    return 0


def with_offset_edit(init: bytes, media_ticks: int) -> bytes:
    """Add an edit list that starts presentation at ``media_ticks``; there must be no edit list yet."""
    trak = boxes.find(init, "moov/trak")
    if any(boxes.find_all(init, "edts", trak)):
        raise PlanMismatch("the encoder wrote an edit list")
    edts = boxes.box(b"edts", boxes.box(b"elst", struct.pack(">IIIiI", 0, 1, 0, media_ticks, 1 << 16)))
    return _in_track(init, edts, at=boxes.find(init, "tkhd", trak).end)


def with_loudness(init: bytes, integrated_lufs: float, true_peak_dbtp: float | None) -> bytes:
    """State the loudness of the whole track (``ludt``), so that players can match titles from different sources.

    Source:
        ISO/IEC 14496-12, section 12.2.7; ISO/IEC 23003-4, annex A. The peak is in steps of 1/32 dB below 20 dBTP, 0 if
        unknown; loudness is in steps of 1/4 LU above -57.75 LKFS.
    """
    peak = 0 if true_peak_dbtp is None else min(0x7FF, max(1, round(32 * (20 - true_peak_dbtp))))
    value = min(0xFF, max(0, round(4 * (integrated_lufs + 57.75))))
    tlou = struct.pack(
        ">IHBBBBBBBB",
        0,  # version and flags
        0,  # of the track itself: no downmix, no dynamic range control
        0,  # no sample peak (12 bits) …
        peak >> 8,  # … and a true peak (12 bits)
        peak & 0xFF,
        _BS_1770 << 4 | _UNVERIFIED,  # of the peak: coding changes it slightly
        1,  # one measurement:
        _PROGRAM_LOUDNESS,
        value,
        _BS_1770 << 4 | _ACCURATE,
    )
    if any(boxes.find_all(init, "moov/trak/udta")):
        raise PlanMismatch("the encoder wrote user data")
    udta = boxes.box(b"udta", boxes.box(b"ludt", boxes.box(b"tlou", tlou)))
    return _in_track(init, udta, at=boxes.find(init, "moov/trak").end)


def _in_track(init: bytes, box: bytes, *, at: int) -> bytes:
    """Insert a box into the only track, at an offset between two of its boxes."""
    grown = bytearray(init[:at] + box + init[at:])
    for parent in (boxes.find(init, "moov"), boxes.find(init, "moov/trak")):
        struct.pack_into(">I", grown, parent.start, parent.end - parent.start + len(box))
    return bytes(grown)
