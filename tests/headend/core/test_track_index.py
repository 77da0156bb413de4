"""A track's index survives a round trip, and damaged indexes are refused."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.core import track_index
from headend.core.errors import StorageError
from headend.core.media import Loudness, Segment
from headend.core.track_index import SyncRanges, TrackFacts, TrackIndex

FACTS = TrackFacts(
    track="avc-1080p-6000k-3f9c2ab1d0",
    content_type="video/mp4",
    codec_string="avc1.640028",
    timescale=24000,
    init_bytes=800,
    init_sha256=hashlib.sha256(b"init").hexdigest(),
    width_px=1920,
    height_px=1080,
    average_bps=5_000_000,
    peak_bps=6_000_000,
)
uint32 = st.integers(0, (1 << 32) - 1)
sync_ranges = st.lists(st.tuples(uint32, uint32), max_size=3).map(tuple)


@st.composite
def segments(draw: st.DrawFn) -> list[Segment]:
    shapes = draw(st.lists(st.tuples(st.integers(1, 1 << 40), uint32, uint32, sync_ranges), min_size=1, max_size=40))
    at = draw(st.integers(0, 1 << 40))
    drawn = []
    for number, (duration, samples, size, sync) in enumerate(shapes, start=1):
        digest = hashlib.sha256(b"%d" % number).hexdigest()
        drawn.append(Segment(number, at, duration, samples, size, digest, sync))
        at += duration
    return drawn


def of_two_hours() -> TrackIndex:
    return track_index.index_of(
        FACTS,
        [
            Segment(n, (n - 1) * 144_144, 144_144, 144, 4_000_000 + n, hashlib.sha256(b"%d" % n).hexdigest())
            for n in range(1, 1200)
        ]
        + [Segment(1200, 1199 * 144_144, 40_040, 40, 999_999, hashlib.sha256(b"last").hexdigest())],
    )


TWO_HOURS = of_two_hours()
ENCODED = track_index.encode(TWO_HOURS)
places = st.integers(0, len(ENCODED) - 1)


@given(segments())
def test_an_index_round_trips(drawn: list[Segment]) -> None:
    index = track_index.index_of(FACTS, drawn)
    read = track_index.decode(track_index.encode(index))
    assert read == index
    sync = track_index.decode_sync(track_index.encode_sync([segment.sync for segment in drawn]))
    assert list(read.segments(sync)) == drawn
    for segment in drawn:
        assert read.size_bytes(segment.number) == segment.size_bytes
        assert read.sha256(segment.number).hex() == segment.sha256
        assert read.start_ticks(segment.number) == segment.start_ticks
        assert read.duration_ticks(segment.number) == segment.duration_ticks


def test_loudness_is_kept() -> None:
    loudness = Loudness("2.0", -23.1, 5.0, -1.2, -0.9, False, -24.0, -2.1, -24)
    index = track_index.index_of(replace(FACTS, loudness=loudness), [Segment(1, 0, 1, 1, 1, "00" * 32)])
    assert track_index.decode(track_index.encode(index)).facts.loudness == loudness


def test_two_hours_of_a_track_take_44_kilobytes() -> None:
    assert len(ENCODED) < 44_500


@pytest.mark.parametrize("number", [0, -1, 1201])
def test_a_missing_number_is_an_index_error(number: int) -> None:
    index = TWO_HOURS
    assert not index.has(number)
    for read in (index.size_bytes, index.sha256, index.start_ticks, index.duration_ticks):
        with pytest.raises(IndexError, match="has segments 1 to 1200"):
            read(number)


@given(places, st.integers(1, 255))
def test_any_changed_byte_is_found(place: int, change: int) -> None:
    data = bytearray(ENCODED)
    data[place] ^= change
    with pytest.raises(StorageError, match="titles/film"):
        track_index.decode(bytes(data), key="titles/film/tracks/t/index")


@given(places)
def test_a_truncated_index_is_refused(length: int) -> None:
    data = ENCODED[:length]
    with pytest.raises(StorageError):
        track_index.decode(data)
    with pytest.raises(StorageError):
        track_index.decode_sync(data)


@given(st.binary(max_size=300), st.booleans(), uint32, uint32)
def test_hostile_bytes_with_a_right_digest_are_refused(
    body: bytes, is_sync: bool, facts_bytes: int, count: int
) -> None:
    magic = track_index.SYNC_MAGIC if is_sync else track_index.MAGIC
    head = magic + b"\1\0" + facts_bytes.to_bytes(4, "little") + count.to_bytes(4, "little") + body
    data = head + hashlib.sha256(head).digest()
    with pytest.raises(StorageError):
        track_index.decode(data)
    try:
        sync: tuple[SyncRanges, ...] = track_index.decode_sync(data)
    except StorageError:
        return
    assert len(sync) == count  # an object of a few bytes that happens to be valid


def test_another_version_is_reported_as_such() -> None:
    data = bytearray(ENCODED)
    data[4] = 9
    with pytest.raises(StorageError, match="version 9"):
        track_index.decode(bytes(data))


@pytest.mark.parametrize("places", [(1, 3), (2,), (1, 1), ()])
def test_segments_with_a_gap_are_not_indexed(places: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="avc-1080p"):
        track_index.index_of(FACTS, [Segment(n, n - 1, 1, 1, 1, "00" * 32) for n in places])
