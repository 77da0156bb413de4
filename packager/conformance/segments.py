"""Checks every byte of init segments and segments against the indexes."""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from zlib import crc32

from headend.core import layout
from headend.core.errors import ChunkRejected, PackagingError
from headend.core.keys import ContentKey
from headend.core.media import (
    AudioRendition,
    Codec,
    Light,
    Poster,
    Presentation,
    Segment,
    Thumbnails,
    VideoRendition,
)
from headend.core.storage.base import Store
from headend.core.timing import Grid, timescale
from packager import captions
from packager.codec_strings import codec_string
from packager.conformance.findings import ObjectCheck, get_object, missing_object
from packager.conformance.release_keys import ReleaseKeys
from packager.encrypted_tracks import init_of_period
from packager.fragments import Fragment, read_fragments
from packager.presentation import StoredTrack
from packager.reading import THREADS

BATCH = 16
"""Segments that a thread reads in sequence, since one task per segment would cost as much as its check."""

InspectSegment = Callable[[VideoRendition | AudioRendition, Light | None, Segment, bytes], Iterable[str]]
"""Decodes a segment (given as init segment and segment), and returns how it differs from the plan."""

CrossCheck = Callable[[bytes, bytes, ContentKey], Iterable[str]]
"""Decrypts a segment with another decryptor, and returns differences; takes it as stored, in the clear, and its key."""


@dataclass(frozen=True, slots=True)
class Checks:
    """How segments are checked; see `verify`.

    Attributes:
        inspect: Decodes.
        cross_check: Decrypts with another implementation.
        keys: Available keys by id.
        deep: Whether all segments are decoded.
        is_stopped: Returns whether to leave out the segments that are not yet checked.
    """

    inspect: InspectSegment
    cross_check: CrossCheck
    keys: Mapping[str, ContentKey]
    deep: bool
    is_stopped: Callable[[], bool]


def check_inits(
    store: Store,
    title: str,
    tracks: Iterable[StoredTrack],
    inits: dict[tuple[str, int], bytes],
    keys: ReleaseKeys,
) -> Iterator[ObjectCheck]:
    """Check the init segments, and add them to ``inits`` by track id and period."""
    for track in tracks:
        for period, sha256 in enumerate(track.inits_sha256, start=1):
            key = layout.track_init(title, track.id, period)
            data = get_object(store, key)
            if data is None:
                yield missing_object(key)
                continue
            inits[track.id, period] = data
            wrong = []
            if hashlib.sha256(data).hexdigest() != sha256:
                wrong.append("its bytes have changed since it was encoded (sha256 differs)")
            try:
                if keys.is_whole(track):
                    data = keys.decrypted_init(track, data, period) if not keys.lacks(track) else b""
                elif track.kid and data != init_of_period(data, keys.names[track.kids[period - 1]]):
                    wrong.append(f"it does not state the key {track.kids[period - 1]}, unlike the manifests")
                if data and codec_string(data) != track.codec_string:
                    wrong.append(f"its codec is {codec_string(data)}, but the manifests state {track.codec_string}")
            except (PackagingError, struct.error, IndexError) as error:
                wrong.append(f"it can't be read: {error}")
            yield ObjectCheck(key, len(inits[track.id, period]), tuple(wrong))


def sampled_number(track: StoredTrack) -> int:
    """The number of the segment that is decoded: different per track, so that together they cover the title."""
    return 1 + crc32(track.rendition.id.encode()) % len(track.segments)


def check_segments(
    store: Store,
    presentation: Presentation,
    tracks: Sequence[StoredTrack],
    on_progress: Callable[[int, int], None],
    inspect: Callable[[StoredTrack, Segment, bytes], Iterable[str]],
    keys: ReleaseKeys,
    is_stopped: Callable[[], bool],
) -> Iterator[ObjectCheck]:
    """Check the segments of all tracks, in several threads, and that their sequence numbers increase.

    Those that have not begun when ``is_stopped`` returns true are left out.
    """
    title, grid = presentation.title, presentation.grid
    done, total = 0, sum(len(track.segments) for track in tracks)

    def check_batch(track: StoredTrack, segments: Sequence[Segment]) -> list[ObjectCheck]:
        gop_ticks = _gop_ticks(track, grid)
        checks = []
        for segment in segments:
            if is_stopped():
                break
            key = layout.track_segment(title, track.id, segment.number)
            if isinstance(track.rendition, Thumbnails | Poster):
                checks.append(_check_digest(store, key, segment))
            elif track.rendition.codec is Codec.VTT:
                checks.append(_check_text(store, key, segment))
            elif keys.is_whole(track) and keys.lacks(track):
                checks.append(_check_digest(store, key, segment))  # nothing in it is readable
            else:
                unwrap = partial(keys.unwrapped, track, segment.number)
                description = keys.description(track, segment.number)
                checks.append(
                    _check_media(store, key, segment, gop_ticks, partial(inspect, track), unwrap, description)
                )
        return checks

    batches = [
        (track, track.segments[first : first + BATCH])
        for track in tracks
        for first in range(0, len(track.segments), BATCH)
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        before, last_sequence = None, 0
        for (track, _), batch in zip(batches, pool.map(check_batch, *zip(*batches, strict=True)), strict=True):
            if track is not before:
                before, last_sequence = track, 0
            for check in batch:
                done += 1
                on_progress(done, total)
                yield check
                if check.sequences and check.sequences[0] <= last_sequence:
                    yield ObjectCheck(
                        check.key, 0, (f"its mfhd sequence number {check.sequences[0]} does not increase",)
                    )
                last_sequence = max((last_sequence, *check.sequences))


def _check_digest(store: Store, key: str, segment: Segment) -> ObjectCheck:
    data = get_object(store, key)
    if data is None:
        return missing_object(key)
    wrong = _difference(data, segment)
    return ObjectCheck(key, len(data), (wrong,) if wrong else ())


def _difference(data: bytes, segment: Segment) -> str:
    """How an object's size or digest differs from the index; empty if it does not."""
    if len(data) != segment.size_bytes:
        return f"it has {len(data)} bytes, not {segment.size_bytes}"
    intact = hashlib.sha256(data).hexdigest() == segment.sha256
    return "" if intact else "its bytes have changed since it was encoded (sha256 differs)"


def _gop_ticks(track: StoredTrack, grid: Grid) -> int | None:
    if isinstance(track.rendition, VideoRendition):
        return grid.gop_frames * timescale(grid.frame_rate).frame_ticks
    return None


def _check_media(
    store: Store,
    key: str,
    segment: Segment,
    gop_ticks: int | None,
    inspect: Callable[[Segment, bytes], Iterable[str]] = lambda _segment, _data: (),
    unwrap: Callable[[bytes], bytes] = lambda data: data,
    description: int = 1,
) -> ObjectCheck:
    data = get_object(store, key)
    if data is None:
        return missing_object(key)
    try:
        clear = unwrap(data)
    except PackagingError as error:
        wrong = filter(None, (_difference(data, segment), f"it can't be decrypted: {error.message}"))
        return ObjectCheck(key, len(data), tuple(wrong))
    if clear is data:
        check = _segment(key, data, segment, gop_ticks, description)
    elif difference := _difference(data, segment):
        check = ObjectCheck(key, len(data), (difference,))
    else:
        sha256 = hashlib.sha256(clear).hexdigest()
        expected = replace(segment, size_bytes=len(clear), sha256=sha256)
        check = _segment(key, clear, expected, gop_ticks, description)
    # Damaged segments are not decoded.
    return check if check.wrong else replace(check, wrong=tuple(inspect(segment, data)))


def _check_text(store: Store, key: str, segment: Segment) -> ObjectCheck:
    """Check a WebVTT file: its digest, its header, and its number of cues."""
    data = get_object(store, key)
    if data is None:
        return missing_object(key)
    wrong = []
    if hashlib.sha256(data).hexdigest() != segment.sha256:
        wrong.append("its bytes have changed since it was written (sha256 differs)")
    if not data.startswith(f"{captions.HEADER}\n{captions.CLOCK}\n".encode()):
        wrong.append("it does not begin with a WebVTT header and a timestamp map")
    if data.count(b" --> ") != segment.samples:
        wrong.append(f"it has {data.count(b' --> ')} cues, not {segment.samples}")
    return ObjectCheck(key, len(data), tuple(wrong))


def _segment(key: str, data: bytes, segment: Segment, gop_ticks: int | None, description: int) -> ObjectCheck:
    """Check a segment's bytes against its index entry; ``gop_ticks`` is None for sound."""
    difference = _difference(data, segment)
    if len(data) != segment.size_bytes:
        return ObjectCheck(key, len(data), (difference,))
    wrong = [difference] if difference else []
    try:
        fragments = tuple(read_fragments(data))
    except (PackagingError, ChunkRejected, struct.error, IndexError) as error:
        return ObjectCheck(key, len(data), (*wrong, f"it can't be read: {error}"))
    values = (
        ("decode time", fragments[0].decode_ticks if fragments else None, segment.start_ticks),
        ("duration", sum(fragment.duration_ticks for fragment in fragments), segment.duration_ticks),
        ("number of samples", sum(len(fragment.samples) for fragment in fragments), segment.samples),
    )
    wrong += [f"its {name} is {value}, not {expected}" for name, value, expected in values if value != expected]
    if any(left.decode_ticks + left.duration_ticks != right.decode_ticks for left, right in pairwise(fragments)):
        wrong.append("its decode times have a gap")
    if any(fragment.media + sum(s.size_bytes for s in fragment.samples) != fragment.end for fragment in fragments):
        wrong.append("its samples do not fill its mdat")
    if any(fragment.description != description for fragment in fragments):
        wrong.append("it is encrypted but should be clear" if description > 1 else "its clear lead is too long")
    sequences = tuple(fragment.sequence for fragment in fragments)
    if any(left >= right for left, right in pairwise(sequences)):
        wrong.append("its mfhd sequence numbers do not increase")
    if gop_ticks is not None:
        wrong += _sync_errors(fragments, segment, gop_ticks)
    frames = sum(len(fragment.samples) for fragment in fragments) if gop_ticks is not None else 0
    # A damaged segment's sequence numbers must not cause findings about its neighbours.
    return ObjectCheck(key, len(data), tuple(wrong), frames, () if difference else sequences)


def _sync_errors(fragments: Sequence[Fragment], segment: Segment, gop_ticks: int) -> Iterator[str]:
    """Check sync frames against the grid; if each rendition follows it, all have sync frames at the same times."""
    times = []
    for fragment in fragments:
        at = fragment.decode_ticks
        for sample in fragment.samples:
            if sample.sync:
                times.append(at)
            at += sample.duration_ticks
    if times != list(range(segment.start_ticks, segment.start_ticks + segment.duration_ticks, gop_ticks)):
        yield "its sync frames are not on the grid"
    first_frames = ((f.start, f.media + f.samples[0].size_bytes - f.start) for f in fragments if f.samples)
    if tuple(first_frames) != segment.sync:
        yield "its sync frames are not at the byte ranges of the I-frame playlist"
