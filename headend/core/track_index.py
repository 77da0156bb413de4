"""The compact index of a track: all that a server or a packager must know of its segments.

Readers of the store (the origin, the edges, `headend verify`) read one object per track, when the track is first asked
for, and keep it: ``decode(store.get(layout.track_index(title, track)), key=...)``. From then on they know the size and
SHA-256 of each object of the track before they ask for it, and its content type, height and times::

    index = track_index.decode(data, key=key)
    index.size_bytes(7), index.sha256(7)        # of segment 7, named layout.segment_name(track, 7)
    index.facts.init_bytes                      # 0: this form has no init segment
    index.facts.content_type, index.facts.height_px, index.facts.codec_string

An index is written once, when all segments of its track are in the store, and never changes: an object that is there is
complete. Two hours of one track take 44 kB, those of 57 tracks 2.5 MB.

Where sync frames lie in their segments is needed for I-frame playlists alone, and is an object of its own beside it, so
that servers need not keep it: `encode_sync` and `decode_sync`.

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

In the object of sync frames, what follows the number of segments is a run-length list of how many sync frames each
segment has, and then two uint32 for each of them: the offset of its ``moof``, and the length up to the frame's end.
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
MOST_SEGMENTS = 1 << 20
"""More than any title has: 72 days in segments of 6 s. Bounds the memory that a damaged index can ask for."""

_HEAD = struct.Struct("<4sHII")
_RUN = struct.Struct("<IQ")
_COUNT = struct.Struct("<I")
_DIGEST_BYTES = 32
_UINT32_MAX = (1 << 32) - 1
_OMITTED = frozenset({"later_inits"})
"""Left out where it is empty, so that the indexes of most tracks are what they were before keys could change."""

SyncRanges = tuple[tuple[int, int], ...]
"""For each sync frame of a segment, the offset of its ``moof`` and the length up to the frame's end, in bytes."""


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """What holds for a track as a whole.

    Attributes:
        track: Its id, such as ``avc-1080p-6000k-3f9c2ab1d0``.
        content_type: Of its init segment and media segments, such as ``video/mp4``.
        codec_string: RFC 6381, from the init segment's sample entry; ``wvtt`` for files of WebVTT, ``jpeg`` for
            pictures.
        timescale: Ticks per second of the segments.
        init_bytes: Size of the init segment; 0 where the form has none.
        init_sha256: Hex digest of the init segment; that of nothing where the form has none.
        width_px: Of pictures; 0 for sound and text.
        height_px: As above.
        average_bps: Bits of all segments over their duration, rounded up.
        peak_bps: Rate of the segment with the highest, rounded up.
        priming_samples: Sound: samples before the programme's first, which the init segment tells players to drop.
        loudness: Sound: as measured and set.
        sync_sha256: Hex digest of the object that holds the sync frames; empty where there is none.
        damage: What was damaged in the master, and is concealed in this track.
        later_inits: Hex digests of the init segments of later periods, where encryption keys change; each is as large
            as the first.
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
        """Hex digests of the init segments, one for each period; empty where the form has none."""
        return (self.init_sha256, *self.later_inits) if self.init_bytes else ()

    @property
    def short_side_px(self) -> int:
        """The shorter side, which is what limits of height mean: an upright picture of 1080x1920 has 1080 lines."""
        return min(self.width_px, self.height_px)


@dataclass(frozen=True, slots=True)
class TrackIndex:
    """A track in the store. Segments are numbered from 1.

    Attributes:
        facts: What holds for the whole.
        sizes_bytes: Size of each segment.
        digests: SHA-256 of each segment, 32 bytes each, one after the other.
        bounds_ticks: Start of each segment and, last, the end of the track, in the track's timescale.
        samples: Samples of each segment; cues of a file of WebVTT; 1 for a picture.
    """

    facts: TrackFacts
    sizes_bytes: "array[int]"
    digests: bytes
    bounds_ticks: "array[int]"
    samples: "array[int]"

    @property
    def segment_count(self) -> int:
        """How many segments the track has."""
        return len(self.sizes_bytes)

    @property
    def total_bytes(self) -> int:
        """All segments and the init segments."""
        return sum(self.sizes_bytes) + self.facts.init_bytes * len(self.facts.inits_sha256)

    @property
    def memory_bytes(self) -> int:
        """About what the index takes in memory, for caches that have a budget."""
        return 1024 + 48 * self.segment_count

    def has(self, number: int) -> bool:
        """Whether there is a segment of this number."""
        return 1 <= number <= self.segment_count

    def size_bytes(self, number: int) -> int:
        """Size of a segment; `IndexError` if there is none of this number."""
        return self.sizes_bytes[self._place(number)]

    def sha256(self, number: int) -> bytes:
        """SHA-256 of a segment, 32 bytes; `IndexError` if there is none of this number."""
        place = self._place(number)
        return self.digests[place * _DIGEST_BYTES : (place + 1) * _DIGEST_BYTES]

    def start_ticks(self, number: int) -> int:
        """Decode time of a segment's first sample; `IndexError` if there is none of this number."""
        return self.bounds_ticks[self._place(number)]

    def duration_ticks(self, number: int) -> int:
        """Length of a segment; `IndexError` if there is none of this number."""
        place = self._place(number)
        return self.bounds_ticks[place + 1] - self.bounds_ticks[place]

    def segments(self, sync: Sequence[SyncRanges] = ()) -> Iterator[Segment]:
        """All segments as nouns.

        Args:
            sync: The sync frames of each segment, as `decode_sync` gives them; empty where there are none.
        """
        for place in range(self.segment_count):
            number = place + 1
            yield Segment(
                number=number,
                start_ticks=self.bounds_ticks[place],
                duration_ticks=self.bounds_ticks[number] - self.bounds_ticks[place],
                samples=self.samples[place],
                size_bytes=self.sizes_bytes[place],
                sha256=self.sha256(number).hex(),
                sync=sync[place] if sync else (),
            )

    def _place(self, number: int) -> int:
        if not self.has(number):
            raise IndexError(f"{self.facts.track} has segments 1 to {self.segment_count}, not {number}")
        return number - 1


def index_of(facts: TrackFacts, segments: Sequence[Segment]) -> TrackIndex:
    """Make the index of a track from its segments.

    Args:
        facts: What holds for the whole.
        segments: All of them, in order, numbered from 1 and without gaps in time.

    Raises:
        ValueError: Segments are missing, out of order, or leave a gap; or there are too many to index.
    """
    if not 0 < len(segments) <= MOST_SEGMENTS:
        raise ValueError(f"{facts.track}: {len(segments)} segments can't be indexed")
    at = segments[0].start_ticks
    for number, segment in enumerate(segments, start=1):
        if (segment.number, segment.start_ticks) != (number, at):
            raise ValueError(f"{facts.track}: segment {segment.number} does not follow the one before it")
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
    """Write an index. Equal indexes give equal bytes."""
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
    """Read an index.

    Args:
        data: The object.
        key: Where it came from, for the error.

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
    """Write where the sync frames of each segment lie."""
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
    """Read where the sync frames of each segment lie.

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
    """Takes an object apart from its front; nothing is believed before the digest at its end."""

    def __init__(self, data: bytes, magic: bytes, key: str) -> None:
        self._key = key
        if len(data) < _HEAD.size + _DIGEST_BYTES or data[:4] != magic:
            raise self.damaged("it is not one, or cut short")
        _, version, self.facts_bytes, self.segments = _HEAD.unpack_from(data)
        if version != VERSION:
            raise StorageError(
                f"{key} is of version {version}, this headend reads version {VERSION}; use the headend that wrote it",
                key=key,
            )
        self._body = memoryview(data)[:-_DIGEST_BYTES]
        if hashlib.sha256(self._body).digest() != data[-_DIGEST_BYTES:]:
            raise self.damaged("its bytes are not those that were written")
        if not 0 < self.segments <= MOST_SEGMENTS:
            raise self.damaged(f"it can't have {self.segments} segments")
        self._at = _HEAD.size

    def take(self, size: int) -> memoryview:
        part = self._body[self._at : self._at + size]
        if len(part) < size:
            raise self.damaged("it is cut short")
        self._at += size
        return part

    def runs(self, wanted: int) -> list[int]:
        """Read a run-length list of exactly so many values."""
        (count,) = _COUNT.unpack(self.take(_COUNT.size))
        values: list[int] = []
        for repeats, value in _RUN.iter_unpack(self.take(count * _RUN.size)):
            if not 0 < repeats <= wanted - len(values):
                break
            values += [value] * repeats
        if len(values) != wanted:
            raise self.damaged("its lists have different lengths")
        return values

    def end(self) -> None:
        if self._at != len(self._body):
            raise self.damaged("it is longer than it says")

    def damaged(self, why: str) -> StorageError:
        return StorageError(
            f"{self._key} is no sound index of a track: {why}; delete it and submit the master again", key=self._key
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
