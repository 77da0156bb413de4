"""Read sample tables and edit lists of MOV and MP4, which FFmpeg does not expose.

Masters may be malformed: a table that is missing, truncated or inconsistent counts as absent.

Source: ISO/IEC 14496-12, sections 8.3.2 (``tkhd``), 8.5.2 (``stsd``), 8.6.1.3 (``ctts``), 8.6.6 (``elst``) and 8.7.3
(``stsz``).
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain, islice, repeat

import av

from headend.core import boxes
from headend.core.boxes import Box

MAX_BOXES = 100
"""How many boxes are looked at to find ``moov``; each takes a request if the master is in S3."""
MAX_MOOV_BYTES = 256 << 20
"""Maximum size of a ``moov`` that is read: ten times that of a 24-hour film."""
_TABLES = ("mdia", "minf", "stbl")
"""Path of the box that contains a track's sample tables."""


@dataclass(frozen=True, slots=True)
class Edit:
    """An entry of a track's edit list.

    Attributes:
        duration_s: Its duration on the film's timeline.
        media_s: When it starts in the track's own time; None for an empty edit, which shows nothing.
        rate: Playback rate; 0 holds one sample.
    """

    duration_s: Fraction
    media_s: Fraction | None
    rate: Fraction


class Movie:
    """The body of a file's ``moov``. Tracks are located once, so reading all of them takes linear time.

    Args:
        data: The body; empty if there is none.
    """

    def __init__(self, data: bytes | memoryview = b"") -> None:
        self._data = memoryview(data)
        self._header = memoryview(b"")
        self._tracks: dict[int, Box] = {}
        self.is_fragmented = False
        """Whether samples may be in fragments (``mvex``)."""
        for box in boxes.until_damage(boxes.children(self._data)):
            if box.kind == "mvhd":
                self._header = self._header or self._data[box.body : box.end]
            elif box.kind == "mvex":
                self.is_fragmented = True
            elif box.kind == "trak" and (id := self._track_id(box)) is not None:
                self._tracks.setdefault(id, box)

    def edits(self, track_id: int) -> tuple[Edit, ...]:
        """Read a track's edit list; empty if it is missing or invalid."""
        try:
            return tuple(self._edits(track_id))
        except (struct.error, ValueError, ZeroDivisionError):
            return ()

    def sample_entry_count(self, track_id: int) -> int:
        """Number of a track's sample entries; 0 if unknown. With several, the format may change mid-stream."""
        try:
            return int(struct.unpack_from(">4xI", self._track_body(track_id, *_TABLES, "stsd"))[0])
        except struct.error:
            return 0

    def composition_offsets(self, track_id: int, sample_bytes: Sequence[int]) -> tuple[int, ...] | None:
        """Read how long after its decoding time each sample of a track is presented.

        Args:
            track_id: The track's id.
            sample_bytes: Sizes of the samples that FFmpeg lists, in decoding order.

        Returns:
            One offset for each sample, in the track's ticks; all 0 if the track has no such table. None if the file's
            samples are not those that FFmpeg lists, which skips samples outside the edit list and adds those of
            fragments.
        """
        try:
            return self._offsets(track_id, sample_bytes)
        except (struct.error, ValueError):
            return None  # truncated, or a required table is missing

    def _edits(self, track_id: int) -> Iterator[Edit]:
        movie_timescale = _timescale(self._header)
        media_timescale = _timescale(self._track_body(track_id, "mdia", "mdhd"))
        edit_list = self._track_body(track_id, "edts", "elst")
        if not edit_list:
            return
        version, count = struct.unpack_from(">B3xI", edit_list)
        layout = ">QqhH" if version else ">IihH"
        for number in range(min(count, len(edit_list) // struct.calcsize(layout))):
            duration, media, whole, part = struct.unpack_from(layout, edit_list, 8 + number * struct.calcsize(layout))
            media_s = None if media == -1 else Fraction(media, media_timescale)
            yield Edit(Fraction(duration, movie_timescale), media_s, whole + Fraction(part, 1 << 16))

    def _offsets(self, track_id: int, sample_bytes: Sequence[int]) -> tuple[int, ...] | None:
        sizes = self._track_body(track_id, *_TABLES, "stsz")
        offsets = self._track_body(track_id, *_TABLES, "ctts")
        size, count = struct.unpack_from(">4xII", sizes)
        if count != len(sample_bytes):
            return None
        stored_bytes = repeat(size, count) if size else struct.unpack_from(f">{count}I", sizes, 12)
        if any(stored != listed for stored, listed in zip(stored_bytes, sample_bytes, strict=True)):
            return None
        if not offsets:
            return (0,) * len(sample_bytes)
        (runs,) = struct.unpack_from(">4xI", offsets)
        lengths: tuple[int, ...]
        values: tuple[int, ...]
        lengths, values = zip(*struct.iter_unpack(">Ii", offsets[8 : 8 + 8 * runs]), strict=True)
        return tuple(chain.from_iterable(map(repeat, values, lengths))) if sum(lengths) == count else None

    def _track_id(self, track: Box) -> int | None:
        header = self._body_in(track, "tkhd")
        try:
            version, narrow, wide = struct.unpack_from(">B11xI4xI", header)
        except struct.error:
            return None
        return int(wide if version else narrow)

    def _track_body(self, track_id: int, *path: str) -> memoryview:
        """The body of a track's first box at a path; empty if there is none."""
        track = self._tracks.get(track_id)
        return memoryview(b"") if track is None else self._body_in(track, *path)

    def _body_in(self, parent: Box, *path: str) -> memoryview:
        for kind in path:
            inside = boxes.until_damage(boxes.children(self._data, parent.body, parent.end))
            child = next((box for box in inside if box.kind == kind), None)
            if child is None:
                return memoryview(b"")
            parent = child
        return self._data[parent.body : parent.end]


def _timescale(header: memoryview) -> int:
    """Ticks per second, from ``mvhd`` or ``mdhd``."""
    version, narrow, wide = struct.unpack_from(">B11xI4xI", header)
    return int(wide if version else narrow)


def read_movie(location: str, size_bytes: int, options: Mapping[str, str]) -> Movie:
    """Read ``moov``.

    Args:
        location: The file's path or URL.
        size_bytes: Its size.
        options: FFmpeg's options to open it.

    Returns:
        The movie; one without tracks if ``moov`` is missing or invalid.

    Raises:
        av.FFmpegError: The file can't be read.
    """
    read = partial(read_part, location, size_bytes, options)
    for box in islice(boxes.until_damage(boxes.walk(read, 0, size_bytes)), MAX_BOXES):
        if box.kind == "moov" and 0 < box.end - box.body <= MAX_MOOV_BYTES:
            return Movie(read(box.body, box.end - box.body))
    return Movie()


def read_part(location: str, size_bytes: int, options: Mapping[str, str], offset: int, count: int) -> bytes:
    """Read a part of a file with FFmpeg's retries and timeouts; from S3, only this part is requested.

    Args:
        location: The file's path or URL.
        size_bytes: Its size.
        options: FFmpeg's options to open it.
        offset: First byte.
        count: Number of bytes; the end of the file may come sooner.

    Raises:
        av.FFmpegError: The file can't be read.
    """
    part = {
        "format_whitelist": "data",
        "protocol_whitelist": f"subfile,{options['protocol_whitelist']}",
        "initial_request_size": str(count),
        "raw_packet_size": str(count),
    }
    place = f"subfile,,start,{offset},end,{min(offset + count, size_bytes)},,:{location}"
    with av.open(place, format="data", options={**options, **part}) as raw:
        return b"".join(bytes(packet) for packet in raw.demux())
