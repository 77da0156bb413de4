"""What FFmpeg keeps to itself of a MOV or MP4 file's index: how much later than decoded each sample is shown.

Source: ISO/IEC 14496-12, sections 4.2 (boxes), 8.3.2 (``tkhd``), 8.6.1.3 (``ctts``) and 8.7.3 (``stsz``).
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice, repeat

import av

MOST_BOXES = 100
"""How many boxes are passed over on the way to ``moov``; each is a request to the store that holds the file."""
MOST_BYTES = 256 << 20
"""The largest ``moov`` that is read: that of a day of film is a tenth of it."""

Read = Callable[[int, int], bytes]


def composition_offsets(
    location: str, size_bytes: int, options: Mapping[str, str], track_id: int, sample_bytes: Sequence[int]
) -> tuple[int, ...] | None:
    """Read how much later than decoded each sample of a track is shown.

    Args:
        location: The file, as FFmpeg opens it.
        size_bytes: Its size.
        options: With which FFmpeg opens it.
        track_id: Of the track.
        sample_bytes: Sizes of the samples that FFmpeg knows of, in decoding order.

    Returns:
        One offset for each sample, in the track's ticks; 0 where the track has none. None where the file has no such
        table, or one of other samples: edit lists may leave some out, and fragments bring more.

    Raises:
        av.FFmpegError: The file can't be read.
    """

    def read(at: int, count: int) -> bytes:
        # FFmpeg's own way to a part of a file, with its retries and timeouts; a store sends no more than is wanted.
        part = {
            "format_whitelist": "data",
            "protocol_whitelist": f"subfile,{options['protocol_whitelist']}",
            "initial_request_size": str(count),
            "raw_packet_size": str(count),
        }
        place = f"subfile,,start,{at},end,{min(at + count, size_bytes)},,:{location}"
        with av.open(place, format="data", options={**options, **part}) as raw:
            return b"".join(bytes(packet) for packet in raw.demux())

    for kind, start, end in islice(_boxes(read, size_bytes), MOST_BOXES):
        if kind == b"moov" and 0 < end - start <= MOST_BYTES:
            try:
                return _offsets_of(memoryview(read(start, end - start)), track_id, sample_bytes)
            except (struct.error, ValueError):
                return None  # cut short, or without what must be there
    return None


def _offsets_of(moov: memoryview, track_id: int, sample_bytes: Sequence[int]) -> tuple[int, ...] | None:
    for track in _bodies(moov, b"trak"):
        header = _body(track, b"tkhd")
        version, narrow_id, wide_id = struct.unpack_from(">B11xI4xI", header)
        if track_id != (wide_id if version else narrow_id):
            continue
        tables = _body(_body(_body(track, b"mdia"), b"minf"), b"stbl")
        sizes, offsets = _body(tables, b"stsz"), _body(tables, b"ctts")
        size, count = struct.unpack_from(">4xII", sizes)
        if count != len(sample_bytes):
            return None
        each = repeat(size, count) if size else struct.unpack_from(f">{count}I", sizes, 12)
        if any(here != there for here, there in zip(each, sample_bytes, strict=True)):
            return None
        if not offsets:
            return (0,) * len(sample_bytes)
        (runs,) = struct.unpack_from(">4xI", offsets)
        lengths: tuple[int, ...]
        values: tuple[int, ...]
        lengths, values = zip(*struct.iter_unpack(">Ii", offsets[8 : 8 + 8 * runs]), strict=True)
        return tuple(chain.from_iterable(map(repeat, values, lengths))) if sum(lengths) == count else None
    return None


def _body(parent: memoryview, kind: bytes) -> memoryview:
    """The first box of a kind, or nothing."""
    return next(_bodies(parent, kind), memoryview(b""))


def _bodies(parent: memoryview, kind: bytes) -> Iterator[memoryview]:
    found = _boxes(lambda at, count: bytes(parent[at : at + count]), len(parent))
    return (parent[start:end] for name, start, end in found if name == kind)


def _boxes(read: Read, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the body of each box from the start on, until one does not fit."""
    at = 0
    while at + 8 <= end:
        header = read(at, 16)
        size, kind = struct.unpack_from(">I4s", header)
        start = at + (16 if size == 1 else 8)
        if size == 1:
            (size,) = struct.unpack_from(">Q", header, 8)
        stop = at + size if size else end
        if not start <= stop <= end:
            return
        yield kind, start, stop
        at = stop
