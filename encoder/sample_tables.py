"""Sample tables and edit lists of MOV and MP4, which FFmpeg does not expose.

Source: ISO/IEC 14496-12, sections 4.2 (boxes), 8.3.2 (``tkhd``), 8.5.2 (``stsd``), 8.6.1.3 (``ctts``), 8.6.6
(``elst``) and 8.7.3 (``stsz``).
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice, repeat

import av

MOST_BOXES = 100
"""How many boxes are passed over on the way to ``moov``; each is a request to the store that holds the file."""
MOST_BYTES = 256 << 20
"""The largest ``moov`` that is read: that of a day of film is a tenth of it."""

Read = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Edit:
    """An entry of a track's edit list.

    Attributes:
        duration_s: How long it lasts on the film's timeline.
        media_s: When it starts in the track's own time; None for an empty edit, which shows nothing.
        rate: How fast it plays; 0 dwells on one sample.
    """

    duration_s: Fraction
    media_s: Fraction | None
    rate: Fraction


def read_index(location: str, size_bytes: int, options: Mapping[str, str]) -> memoryview:
    """Read the body of ``moov``.

    Args:
        location: The file, as FFmpeg opens it.
        size_bytes: Its size.
        options: With which FFmpeg opens it.

    Returns:
        Nothing where there is none, or none that makes sense.

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
            return memoryview(read(start, end - start))
    return memoryview(b"")


def edits(moov: memoryview, track_id: int) -> tuple[Edit, ...]:
    """Read a track's edit list; nothing where it has none, or none that makes sense.

    Args:
        moov: As `read_index` gives it.
        track_id: Of the track.
    """
    try:
        return tuple(_edits_of(moov, track_id))
    except (struct.error, ValueError, ZeroDivisionError):
        return ()


def _edits_of(moov: memoryview, track_id: int) -> Iterator[Edit]:
    film_ticks = _timescale(_body(moov, b"mvhd"))
    for track in _tracks(moov, track_id):
        media_ticks = _timescale(_body(_body(track, b"mdia"), b"mdhd"))
        found = _body(_body(track, b"edts"), b"elst")
        if not found:
            return
        version, count = struct.unpack_from(">B3xI", found)
        shape = ">QqhH" if version else ">IihH"
        for number in range(min(count, len(found) // struct.calcsize(shape))):
            duration, media, whole, part = struct.unpack_from(shape, found, 8 + number * struct.calcsize(shape))
            media_s = None if media == -1 else Fraction(media, media_ticks)
            yield Edit(Fraction(duration, film_ticks), media_s, whole + Fraction(part, 1 << 16))


def _timescale(header: memoryview) -> int:
    """Ticks per second, of ``mvhd`` or ``mdhd``."""
    version, narrow, wide = struct.unpack_from(">B11xI4xI", header)
    return int(wide if version else narrow)


def _tracks(moov: memoryview, track_id: int) -> Iterator[memoryview]:
    for track in _bodies(moov, b"trak"):
        version, narrow_id, wide_id = struct.unpack_from(">B11xI4xI", _body(track, b"tkhd"))
        if track_id == (wide_id if version else narrow_id):
            yield track


def sample_entries(moov: memoryview, track_id: int) -> int:
    """How many descriptions a track has of its samples; with several, they change in mid-stream. 0 if that is unclear.

    Args:
        moov: As `read_index` gives it.
        track_id: Of the track.
    """
    try:
        for track in _tracks(moov, track_id):
            tables = _body(_body(_body(track, b"mdia"), b"minf"), b"stbl")
            return int(struct.unpack_from(">4xI", _body(tables, b"stsd"))[0])
    except (struct.error, ValueError):
        pass
    return 0


def composition_offsets(moov: memoryview, track_id: int, sample_bytes: Sequence[int]) -> tuple[int, ...] | None:
    """Read how much later than decoded each sample of a track is shown.

    Args:
        moov: As `read_index` gives it.
        track_id: Of the track.
        sample_bytes: Sizes of the samples that FFmpeg knows of, in decoding order.

    Returns:
        One offset for each sample, in the track's ticks; 0 where the track has none. None where the file has no such
        table, or one of other samples: edit lists may leave some out, and fragments bring more.
    """
    try:
        return _offsets_of(moov, track_id, sample_bytes)
    except (struct.error, ValueError):
        return None  # cut short, or without what must be there


def _offsets_of(moov: memoryview, track_id: int, sample_bytes: Sequence[int]) -> tuple[int, ...] | None:
    for track in _tracks(moov, track_id):
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
