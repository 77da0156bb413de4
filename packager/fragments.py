"""Reads and writes fragments of MP4: ``moof`` and ``mdat`` boxes.

Source: ISO/IEC 14496-12, sections 8.8.5 (``mfhd``), 8.8.7 (``tfhd``), 8.8.8 (``trun``) and 8.8.12 (``tfdt``).
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from headend.core import boxes
from headend.core.errors import ChunkRejected, PlanMismatch

_TRUN_OFFSET, _TRUN_FIRST_FLAGS = 0x1, 0x4
_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_CTS = 0x100, 0x200, 0x400, 0x800
_TFHD_BASE, _TFHD_DESCRIPTION, _TFHD_DURATION, _TFHD_SIZE, _TFHD_FLAGS = 0x1, 0x2, 0x8, 0x10, 0x20
_BASE_IS_MOOF = 0x20000
_NOT_SYNC = 0x10000
_IS_SYNC_SAMPLE = 0x02000000
_IS_OTHER_SAMPLE = 0x01010000
_SAIO_BYTES, _SENC_HEADER_BYTES, _SENC_MAPS = 20, 16, 2


class Sample(NamedTuple):
    """A sample of a fragment. A tuple, since a title of two hours has more than a million.

    Attributes:
        duration_ticks: Its duration, in the track's timescale.
        size_bytes: Its size in ``mdat``.
        sync: Whether decoding can start here.
        composition_ticks: Presentation time minus decode time.
    """

    duration_ticks: int
    size_bytes: int
    sync: bool
    composition_ticks: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """A ``moof`` and its ``mdat``.

    Attributes:
        start: Offset of the ``moof`` in its buffer.
        end: Offset after the ``mdat``.
        media: Offset of the first sample.
        sequence: Sequence number from ``mfhd``.
        decode_ticks: Decode time of the first sample.
        samples: In decoding order.
        description: Index of the sample entry that describes the samples, from 1.
    """

    start: int
    end: int
    media: int
    sequence: int
    decode_ticks: int
    samples: tuple[Sample, ...]
    description: int = 1

    @property
    def duration_ticks(self) -> int:
        """Sum of the samples' durations."""
        return sum(sample.duration_ticks for sample in self.samples)


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """Decryption data of each sample of a fragment (``senc``).

    Attributes:
        rows: For each sample, its initialisation vector and its subsample map, if the scheme has them.
        has_maps: Whether rows have subsample maps.
    """

    rows: Sequence[bytes]
    has_maps: bool


def read_fragments(data: memoryview | bytes) -> Iterator[Fragment]:
    """Parse all fragments of a single-track file or segment.

    Raises:
        PackagingError: The boxes are damaged.
        ChunkRejected: A fragment describes samples outside its ``mdat``.
        PlanMismatch: A fragment does not have the form of FFmpeg's ``cmaf`` and ``default_base_moof``.
    """
    moof: boxes.Box | None = None
    for box in boxes.children(data):
        if box.kind == "moof":
            moof = box
        elif box.kind == "mdat" and moof is not None:
            with boxes.damage_as_packaging_error():
                fragment = _fragment(data, moof, box)
            yield fragment
            moof = None


def _fragment(data: memoryview | bytes, moof: boxes.Box, mdat: boxes.Box) -> Fragment:
    (sequence,) = struct.unpack_from(">I", data, boxes.find(data, "mfhd", moof).body + 4)
    traf = boxes.find(data, "traf", moof)
    tfhd = boxes.find(data, "tfhd", traf).body
    (flags,) = struct.unpack_from(">I", data, tfhd)
    offset = tfhd + 8 + (8 if flags & _TFHD_BASE else 0)
    description = 1
    if flags & _TFHD_DESCRIPTION:
        (description,) = struct.unpack_from(">I", data, offset)
        offset += 4
    defaults = {}
    for flag in (_TFHD_DURATION, _TFHD_SIZE, _TFHD_FLAGS):
        if flags & flag:
            (defaults[flag],) = struct.unpack_from(">I", data, offset)
            offset += 4
    tfdt = boxes.find(data, "tfdt", traf).body
    (decode_ticks,) = struct.unpack_from(">Q" if data[tfdt] == 1 else ">I", data, tfdt + 4)
    runs = list(boxes.find_all(data, "trun", traf))
    if len(runs) != 1 or flags & _TFHD_BASE or not flags & _BASE_IS_MOOF:
        raise PlanMismatch("the encoder's fragments do not have the form that CMAF requires")
    media, samples = _run(data, moof, runs[0], defaults, most=mdat.end - mdat.body)
    if media < mdat.body or media + sum(sample.size_bytes for sample in samples) > mdat.end:
        raise ChunkRejected("a fragment's samples lie outside of its mdat")
    return Fragment(moof.start, mdat.end, media, sequence, decode_ticks, samples, description)


def _run(
    data: memoryview | bytes, moof: boxes.Box, trun: boxes.Box, defaults: dict[int, int], *, most: int
) -> tuple[int, tuple[Sample, ...]]:
    version_flags, count = struct.unpack_from(">II", data, trun.body)
    flags = version_flags & 0xFFFFFF
    entry = trun.body + 8
    if not flags & _TRUN_OFFSET:
        raise PlanMismatch("a fragment does not state the offset of its samples")
    (offset,) = struct.unpack_from(">i", data, entry)
    entry += 4
    first_flags = None
    if flags & _TRUN_FIRST_FLAGS:
        (first_flags,) = struct.unpack_from(">I", data, entry)
        entry += 4
    fields = [f for f in (_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_CTS) if flags & f]
    row = struct.Struct(">" + "".join("i" if f == _TRUN_CTS and version_flags >> 24 else "I" for f in fields))
    if entry + count * row.size > trun.end or count > most:
        raise ChunkRejected("a fragment describes more samples than its boxes can hold")
    rows = row.iter_unpack(data[entry : entry + count * row.size]) if fields else ()
    columns = dict(zip(fields, zip(*rows, strict=True), strict=False))

    def column(field: int, default: int) -> Sequence[int]:
        values: Sequence[int] = columns.get(field, (default,) * count)
        return values

    sample_flags = list(column(_TRUN_FLAGS, defaults.get(_TFHD_FLAGS, 0)))
    if first_flags is not None and count:
        sample_flags[0] = first_flags
    samples = zip(
        column(_TRUN_DURATION, defaults.get(_TFHD_DURATION, 0)),
        column(_TRUN_SIZE, defaults.get(_TFHD_SIZE, 0)),
        [not each & _NOT_SYNC for each in sample_flags],
        column(_TRUN_CTS, 0),
        strict=True,
    )
    return moof.start + offset, tuple(map(Sample._make, samples))


def sync_ranges(bodies: Sequence[bytes], gops: Sequence[Fragment]) -> Iterator[tuple[int, int]]:
    """For each GOP, the offset of its ``moof`` in the segment, and the length to the end of its first frame."""
    offset = 0
    for body, gop in zip(bodies, gops, strict=True):
        media_bytes = sum(sample.size_bytes for sample in gop.samples)
        yield offset, len(body) - media_bytes + gop.samples[0].size_bytes
        offset += len(body)


def fragment_bytes(
    sequence: int,
    decode_ticks: int,
    samples: Sequence[Sample],
    media: bytes | bytearray | memoryview,
    auxiliary: Auxiliary | None = None,
    *,
    description: int = 1,
) -> bytes:
    """Write a ``moof`` and its ``mdat``.

    The first sample must be a sync sample; the other samples must be either all or none sync samples.

    Args:
        sequence: Sequence number (``mfhd``).
        decode_ticks: Decode time of the first sample.
        samples: In decoding order.
        media: Their data.
        auxiliary: Decryption data of the samples; None if they are clear or need no such data.
        description: Index of the sample entry that describes them, from 1.
    """
    frame = samples[0].duration_ticks
    others = _IS_SYNC_SAMPLE if all(sample.sync for sample in samples) else _IS_OTHER_SAMPLE
    flags = _TRUN_OFFSET | _TRUN_FIRST_FLAGS | _TRUN_SIZE
    if any(sample.duration_ticks != frame for sample in samples):
        flags |= _TRUN_DURATION
    if any(sample.composition_ticks for sample in samples):
        flags |= _TRUN_CTS
    values: list[int] = []
    for sample in samples:
        values += (sample.duration_ticks,) if flags & _TRUN_DURATION else ()
        values.append(sample.size_bytes)
        values += (sample.composition_ticks,) if flags & _TRUN_CTS else ()
    rows = struct.pack(f">{len(values)}I", *values)
    mfhd = boxes.box(b"mfhd", struct.pack(">II", 0, sequence))
    # Every traf repeats the defaults, so that a segment needs nothing but its init segment (CMAF, 7.5.16).
    tfhd_flags = _BASE_IS_MOOF | _TFHD_DESCRIPTION | _TFHD_DURATION | _TFHD_FLAGS
    tfhd = boxes.box(b"tfhd", struct.pack(">IIIII", tfhd_flags, 1, description, frame, others))
    tfdt = boxes.box(b"tfdt", struct.pack(">IQ", 1 << 24, decode_ticks))
    trun_bytes = 24 + len(rows)
    extra_at = 8 + len(mfhd) + 8 + len(tfhd) + len(tfdt) + trun_bytes
    extra = _auxiliary_boxes(auxiliary, extra_at) if auxiliary is not None else b""
    offset = extra_at + len(extra) + 8
    trun = boxes.box(b"trun", struct.pack(">IIII", flags, len(samples), offset, _IS_SYNC_SAMPLE) + rows)
    return b"".join(
        (
            boxes.box(b"moof", mfhd + boxes.box(b"traf", tfhd + tfdt + trun + extra)),
            struct.pack(">I4s", 8 + len(media), b"mdat"),
            media,
        )
    )


def _auxiliary_boxes(auxiliary: Auxiliary, offset: int) -> bytes:
    """``saiz``, ``saio`` and ``senc``, at an offset from their ``moof``.

    Source: ISO/IEC 14496-12, sections 8.7.8 and 8.7.9; ISO/IEC 23001-7, section 7.2.
    """
    sizes = bytes(map(len, auxiliary.rows))
    same = sizes[0] if len(set(sizes)) == 1 else 0
    saiz = boxes.box(b"saiz", struct.pack(">IBI", 0, same, len(sizes)) + (b"" if same else sizes))
    senc_at = offset + len(saiz) + _SAIO_BYTES
    saio = boxes.box(b"saio", struct.pack(">III", 0, 1, senc_at + _SENC_HEADER_BYTES))
    flags = _SENC_MAPS if auxiliary.has_maps else 0
    senc = boxes.box(b"senc", struct.pack(">II", flags, len(sizes)) + b"".join(auxiliary.rows))
    return saiz + saio + senc
