"""The index of a track: a compact object with everything that servers and the packager need to know about its segments.

Readers of the store (the origin, the edges, `headend verify`) fetch a track's index when the track is first requested,
and cache it: ``decode(store.get(layout.track_index(title, track)), key=...)``. It has the size and SHA-256 of each
segment, so that they are known before the segment is read, and the track's content type, height and times::

    index = track_index.decode(data, key=key)
    index.size_bytes(7), index.sha256(7)        # of segment 7, named layout.segment_name(track, 7)
    index.facts.init_bytes                      # 0: there is no init segment
    index.facts.content_type, index.facts.height_px, index.facts.codec_string

An index is written once, after all segments of its track are in the store, and never changes. So if a track has an
index, the track is complete. The index of two hours takes 44 kB; the indexes of 57 tracks take 2.5 MB.

The positions of sync frames are needed only for I-frame playlists. They are in a separate object (`encode_sync` and
`decode_sync`), so that servers don't cache them.

Format, all numbers little-endian::

    4 bytes    magic: b"HTIX", or b"HTSY" for sync frames
    uint16     version
    uint32     length of the facts
    uint32     number of segments, n
    facts      `TrackFacts` as a document of `headend.core.documents`
    n × uint32 sizes in bytes
    n × 32     SHA-256 of each segment
    uint64     start of the first segment in ticks
    runs       durations in ticks: uint32 count of runs, then (uint32 repeats, uint64 value) each
    runs       numbers of samples, in the same form
    32 bytes   SHA-256 of everything before

In the object of sync frames, the number of segments is followed by a run-length list with the number of sync frames per
segment, and then by two uint32 for each sync frame: the offset of its ``moof``, and the length up to the frame's end.
"""

import hashlib
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise

from headend.core import documents
from headend.core.errors import StorageError
from headend.core.media import Damage, Loudness, Segment

VERSION = 1
MAGIC, SYNC_MAGIC = b"HTIX", b"HTSY"
MAX_SEGMENTS = 1 << 20
"""Bounds the memory that reading a damaged index can allocate. No title has as many: 72 days in segments of 6 s."""

_HEAD = struct.Struct("<4sHII")
_RUN = struct.Struct("<IQ")
_COUNT = struct.Struct("<I")
_DIGEST_BYTES = 32
_UINT32_MAX = (1 << 32) - 1
_OMITTED = frozenset({"later_inits"})
"""Fields that are left out if they are empty, so that the bytes of indexes without key changes stay the same."""

SyncRanges = tuple[tuple[int, int], ...]
"""For each sync frame of a segment, the offset of its ``moof`` and the length up to the frame's end, in bytes."""


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """Facts about a whole track.

    Attributes:
        track: Its id, such as ``avc-1080p-6000k-3f9c2ab1d0``.
        content_type: Media type of its init segment and segments, such as ``video/mp4``.
        codec_string: RFC 6381, from the init segment's sample entry; ``wvtt`` for WebVTT files, ``jpeg`` for pictures.
        timescale: Ticks per second of the segments.
        init_bytes: Size of the init segment; 0 if there is none.
        init_sha256: Hex digest of the init segment; that of no data if there is none.
        width_px: Width of video or images; 0 for sound and text.
        height_px: Height of video or images; 0 for sound and text.
        average_bps: Average rate of all segments, rounded up.
        peak_bps: Rate of the segment with the highest rate, rounded up.
        priming_samples: Sound only: samples before the programme's first one; the init segment tells players to drop
            them.
        loudness: Sound only: the loudness before and after encoding.
        sync_sha256: Hex digest of the object with the sync frames; empty if there is none.
        damage: Damage in the master that this track conceals.
        later_inits: Hex digests of the init segments of later periods, if encryption keys change; all have the same
            size.
    """

    track: str
    content_type: str
    codec_string: str
    timescale: int
    init_bytes: int
    init_sha256: str
    width_px: int = 0
    height_px: int = 0
    average_bps: int = 0
    peak_bps: int = 0
    priming_samples: int = 0
    loudness: Loudness | None = None
    sync_sha256: str = ""
    damage: tuple[Damage, ...] = ()
    later_inits: tuple[str, ...] = ()

    @property
    def inits_sha256(self) -> tuple[str, ...]:
        """Hex digests of the init segments, one per period; empty if there are none."""
        return (self.init_sha256, *self.later_inits) if self.init_bytes else ()

    @property
    def short_side_px(self) -> int:
        """The shorter side, to which height limits apply: a portrait picture of 1080x1920 counts as 1080 lines."""
        return min(self.width_px, self.height_px)


@dataclass(frozen=True, slots=True)
class TrackIndex:
    """A track in the store. Segments are numbered from 1.

    Attributes:
        facts: Facts about the whole track.
        sizes_bytes: Size of each segment.
        digests: SHA-256 of each segment, 32 bytes each, concatenated.
        bounds_ticks: Start of each segment and, last, the end of the track, in the track's timescale.
        samples: Number of samples of each segment; cues of a WebVTT file; 1 for a picture.
    """

    facts: TrackFacts
    sizes_bytes: "array[int]"
    digests: bytes
    bounds_ticks: "array[int]"
    samples: "array[int]"

    @property
    def segment_count(self) -> int:
        """Number of segments."""
        return len(self.sizes_bytes)

    @property
    def total_bytes(self) -> int:
        """Size of all segments and init segments."""
        return sum(self.sizes_bytes) + self.facts.init_bytes * len(self.facts.inits_sha256)

    @property
    def memory_bytes(self) -> int:
        """Approximate memory that the index uses, for caches with a budget."""
        return 1024 + 48 * self.segment_count

    def has(self, number: int) -> bool:
        """Whether there is a segment with this number."""
        return 1 <= number <= self.segment_count

    def size_bytes(self, number: int) -> int:
        """Size of a segment; `IndexError` if there is none with this number."""
        return self.sizes_bytes[self._position(number)]

    def sha256(self, number: int) -> bytes:
        """SHA-256 of a segment, 32 bytes; `IndexError` if there is none with this number."""
        start = self._position(number) * _DIGEST_BYTES
        return self.digests[start : start + _DIGEST_BYTES]

    def start_ticks(self, number: int) -> int:
        """Decode time of a segment's first sample; `IndexError` if there is none with this number."""
        return self.bounds_ticks[self._position(number)]

    def duration_ticks(self, number: int) -> int:
        """Duration of a segment; `IndexError` if there is none with this number."""
        position = self._position(number)
        return self.bounds_ticks[position + 1] - self.bounds_ticks[position]

    def segments(self, sync: Sequence[SyncRanges] = ()) -> Iterator[Segment]:
        """All segments as `Segment`.

        Args:
            sync: The sync frames of each segment, from `decode_sync`; empty if there are none.
        """
        for position in range(self.segment_count):
            number = position + 1
            yield Segment(
                number=number,
                start_ticks=self.bounds_ticks[position],
                duration_ticks=self.bounds_ticks[number] - self.bounds_ticks[position],
                samples=self.samples[position],
                size_bytes=self.sizes_bytes[position],
                sha256=self.sha256(number).hex(),
                sync=sync[position] if sync else (),
            )

    def _position(self, number: int) -> int:
        if not self.has(number):
            raise IndexError(f"{self.facts.track} has segments 1 to {self.segment_count}, not {number}")
        return number - 1


def index_of(facts: TrackFacts, segments: Sequence[Segment]) -> TrackIndex:
    """Make the index of a track from its segments.

    Args:
        facts: Facts about the whole track.
        segments: All segments in order, numbered from 1 and without gaps in time.

    Raises:
        ValueError: Segments are missing, out of order, or leave a gap; or there are too many.
    """
    if not 0 < len(segments) <= MAX_SEGMENTS:
        raise ValueError(f"{facts.track}: {len(segments)} segments can't be indexed")
    at = segments[0].start_ticks
    for number, segment in enumerate(segments, start=1):
        if (segment.number, segment.start_ticks) != (number, at):
            raise ValueError(f"{facts.track}: segment {segment.number} does not follow the previous one")
        at += segment.duration_ticks
    durations = (segment.duration_ticks for segment in segments)
    return TrackIndex(
        facts=facts,
        sizes_bytes=array("I", (segment.size_bytes for segment in segments)),
        digests=b"".join(bytes.fromhex(segment.sha256) for segment in segments),
        bounds_ticks=array("Q", accumulate(durations, initial=segments[0].start_ticks)),
        samples=array("I", (segment.samples for segment in segments)),
    )


def encode(index: TrackIndex) -> bytes:
    """Encode an index. Equal indexes give equal bytes."""
    facts = documents.write(index.facts, omitted=_OMITTED)
    starts = index.bounds_ticks
    durations = (end - start for start, end in pairwise(starts))
    body = b"".join(
        (
            _HEAD.pack(MAGIC, VERSION, len(facts), index.segment_count),
            facts,
            _little_endian(index.sizes_bytes),
            index.digests,
            struct.pack("<Q", starts[0]),
            _runs(durations),
            _runs(index.samples),
        )
    )
    return body + hashlib.sha256(body).digest()


def decode(data: bytes, *, key: str = "a track's index") -> TrackIndex:
    """Decode an index.

    Args:
        data: The object.
        key: The object's key, for errors.

    Raises:
        StorageError: It is of another version, cut short, or damaged.
    """
    reader = _Reader(data, MAGIC, key)
    facts = documents.read(TrackFacts, bytes(reader.take(reader.facts_bytes)), key=key)
    count = reader.segments
    sizes = _from_little_endian(reader.take(4 * count))
    digests = bytes(reader.take(_DIGEST_BYTES * count))
    (start,) = struct.unpack("<Q", reader.take(8))
    durations, samples = reader.runs(count), reader.runs(count)
    reader.end()
    if start + sum(durations) >= 1 << 64 or max(samples) > _UINT32_MAX:
        raise reader.damaged("its times are out of range")
    return TrackIndex(facts, sizes, digests, array("Q", accumulate(durations, initial=start)), array("I", samples))


def encode_sync(sync: Sequence[SyncRanges]) -> bytes:
    """Encode the positions of each segment's sync frames."""
    numbers = array("I", (number for segment in sync for pair in segment for number in pair))
    body = b"".join(
        (
            _HEAD.pack(SYNC_MAGIC, VERSION, 0, len(sync)),
            _runs(len(segment) for segment in sync),
            _little_endian(numbers),
        )
    )
    return body + hashlib.sha256(body).digest()


def decode_sync(data: bytes, *, key: str = "a track's sync frames") -> tuple[SyncRanges, ...]:
    """Decode the positions of each segment's sync frames.

    Raises:
        StorageError: As for `decode`.
    """
    reader = _Reader(data, SYNC_MAGIC, key)
    counts = reader.runs(reader.segments)
    numbers = _from_little_endian(reader.take(8 * sum(counts)))
    reader.end()
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    ends = accumulate(counts)
    return tuple(tuple(pairs[end - count : end]) for count, end in zip(counts, ends, strict=True))


class _Reader:
    """Parses an object from its start, after checking the digest at its end."""

    def __init__(self, data: bytes, magic: bytes, key: str) -> None:
        self._key = key
        if len(data) < _HEAD.size + _DIGEST_BYTES or data[:4] != magic:
            raise self.damaged("it has another format, or is cut short")
        _, version, self.facts_bytes, self.segments = _HEAD.unpack_from(data)
        if version != VERSION:
            raise StorageError(
                f"{key} has version {version}, but this version of headend reads only {VERSION}; use the one "
                "that wrote it",
                key=key,
            )
        self._body = memoryview(data)[:-_DIGEST_BYTES]
        if hashlib.sha256(self._body).digest() != data[-_DIGEST_BYTES:]:
            raise self.damaged("its digest does not match")
        if not 0 < self.segments <= MAX_SEGMENTS:
            raise self.damaged(f"it can't have {self.segments} segments")
        self._at = _HEAD.size

    def take(self, size: int) -> memoryview:
        part = self._body[self._at : self._at + size]
        if len(part) < size:
            raise self.damaged("it is cut short")
        self._at += size
        return part

    def runs(self, expected: int) -> list[int]:
        """Read a run-length list with the expected number of values."""
        (count,) = _COUNT.unpack(self.take(_COUNT.size))
        values: list[int] = []
        for repeats, value in _RUN.iter_unpack(self.take(count * _RUN.size)):
            if not 0 < repeats <= expected - len(values):
                break
            values += [value] * repeats
        if len(values) != expected:
            raise self.damaged("its lists have different lengths")
        return values

    def end(self) -> None:
        if self._at != len(self._body):
            raise self.damaged("it has extra bytes at its end")

    def damaged(self, why: str) -> StorageError:
        return StorageError(
            f"{self._key} is not a valid index of a track: {why}; delete it and submit the master again", key=self._key
        )


def _runs(values: Iterable[int]) -> bytes:
    runs = [(sum(1 for _ in run), value) for value, run in groupby(values)]
    return _COUNT.pack(len(runs)) + b"".join(_RUN.pack(*run) for run in runs)


def _little_endian(numbers: "array[int]") -> bytes:
    if sys.byteorder == "little":
        return numbers.tobytes()
    swapped = array(numbers.typecode, numbers)
    swapped.byteswap()
    return swapped.tobytes()


def _from_little_endian(data: memoryview) -> "array[int]":
    numbers = array("I")
    numbers.frombytes(data)
    if sys.byteorder != "little":
        numbers.byteswap()
    return numbers
