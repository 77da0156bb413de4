"""Check every byte of init segments and segments against the indexes."""

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
from packager import captions, segmenting
from packager.codec_strings import codec_string
from packager.conformance.findings import ObjectCheck, get_object, missing_object
from packager.conformance.unlocking import Locks
from packager.presentation import StoredTrack
from packager.sealing import init_of_period
from packager.stock import THREADS

BATCH = 16
"""Segments that a thread reads one after the other, since a task for each would cost as much as to check it."""

InspectSegment = Callable[[VideoRendition | AudioRendition, Light | None, Segment, bytes], Iterable[str]]
"""Looks into a segment, which follows its init segment, and tells what is not as planned."""

Judge = Callable[[bytes, bytes, ContentKey], Iterable[str]]
"""Tells where another decryptor makes something else of a segment: gets it as stored, in the clear, and its key."""


@dataclass(frozen=True, slots=True)
class Checks:
    """How segments are looked into; see `verify`.

    Attributes:
        inspect: Decodes.
        judge: Decrypts.
        keys: The keys that there are, by their ids.
        deep: Whether all segments are looked into.
    """

    inspect: InspectSegment
    judge: Judge
    keys: Mapping[str, ContentKey]
    deep: bool


def check_inits(
    store: Store,
    title: str,
    tracks: Iterable[StoredTrack],
    inits: dict[tuple[str, int], bytes],
    locks: "Locks",
) -> Iterator[ObjectCheck]:
    """Check the init segments, and keep them by the tracks' ids and by period."""
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
                wrong.append("its bytes are not those that were encoded (sha256 differs)")
            try:
                if locks.is_whole(track):
                    data = locks.opened_init(track, data, period) if not locks.lacks(track) else b""
                elif track.kid and data != init_of_period(data, locks.names[track.kids[period - 1]]):
                    wrong.append(f"it does not name the key {track.kids[period - 1]} as the manifests do")
                if data and codec_string(data) != track.codec_string:
                    wrong.append(f"its codec is {codec_string(data)}, not {track.codec_string} as the manifests say")
            except (PackagingError, struct.error, IndexError) as error:
                wrong.append(f"it can't be read: {error}")
            yield ObjectCheck(key, len(inits[track.id, period]), tuple(wrong))


def sampled_number(track: StoredTrack) -> int:
    """The number of a track's segment that is decoded: another one in each, so that together they cover much."""
    return 1 + crc32(track.rendition.id.encode()) % len(track.segments)


def check_segments(
    store: Store,
    presentation: Presentation,
    tracks: Sequence[StoredTrack],
    on_progress: Callable[[int, int], None],
    inside: Callable[[StoredTrack, Segment, bytes], Iterable[str]],
    locks: "Locks",
) -> Iterator[ObjectCheck]:
    """Check the segments of all tracks, several at a time, and that their sequence numbers ascend."""
    title, grid = presentation.title, presentation.grid
    done, total = 0, sum(len(track.segments) for track in tracks)

    def examined(track: StoredTrack, segments: Sequence[Segment]) -> list[ObjectCheck]:
        gop_ticks = _gop_ticks(track, grid)
        checks = []
        for segment in segments:
            key = layout.track_segment(title, track.id, segment.number)
            if isinstance(track.rendition, Thumbnails | Poster):
                checks.append(_read_picture(store, key, segment))
            elif track.rendition.codec is Codec.VTT:
                checks.append(_read_text(store, key, segment))
            elif locks.is_whole(track) and locks.lacks(track):
                checks.append(_read_picture(store, key, segment))  # nothing of it is clear
            else:
                opened = partial(locks.unwrapped, track, segment.number)
                description = locks.description(track, segment.number)
                checks.append(_examined(store, key, segment, gop_ticks, partial(inside, track), opened, description))
        return checks

    batches = [
        (track, track.segments[first : first + BATCH])
        for track in tracks
        for first in range(0, len(track.segments), BATCH)
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        before, last_sequence = None, 0
        for (track, _), batch in zip(batches, pool.map(examined, *zip(*batches, strict=True)), strict=True):
            if track is not before:
                before, last_sequence = track, 0
            for check in batch:
                done += 1
                on_progress(done, total)
                yield check
                if check.sequences and check.sequences[0] <= last_sequence:
                    yield ObjectCheck(check.key, 0, (f"its mfhd sequence number {check.sequences[0]} does not ascend",))
                last_sequence = max((last_sequence, *check.sequences))


def _read_picture(store: Store, key: str, segment: Segment) -> ObjectCheck:
    data = get_object(store, key)
    if data is None:
        return missing_object(key)
    wrong = _not_as_encoded(data, segment)
    return ObjectCheck(key, len(data), (wrong,) if wrong else ())


def _not_as_encoded(data: bytes, said: Segment) -> str:
    """What is wrong with an object's size or digest; nothing if it is the one that was stored."""
    if len(data) != said.size_bytes:
        return f"it has {len(data)} bytes, not {said.size_bytes}"
    intact = hashlib.sha256(data).hexdigest() == said.sha256
    return "" if intact else "its bytes are not those that were encoded (sha256 differs)"


def _gop_ticks(track: StoredTrack, grid: Grid) -> int | None:
    if isinstance(track.rendition, VideoRendition):
        return grid.gop_frames * timescale(grid.frame_rate).frame_ticks
    return None


def _examined(
    store: Store,
    key: str,
    segment: Segment,
    gop_ticks: int | None,
    inside: Callable[[Segment, bytes], Iterable[str]] = lambda _segment, _data: (),
    opened: Callable[[bytes], bytes] = lambda data: data,
    description: int = 1,
) -> ObjectCheck:
    data = get_object(store, key)
    if data is None:
        return missing_object(key)
    try:
        clear = opened(data)
    except PackagingError as error:
        wrong = filter(None, (_not_as_encoded(data, segment), f"it can't be decrypted: {error.message}"))
        return ObjectCheck(key, len(data), tuple(wrong))
    if clear is data:
        check = _segment(key, data, segment, gop_ticks, description)
    elif other := _not_as_encoded(data, segment):
        check = ObjectCheck(key, len(data), (other,))
    else:
        sha256 = hashlib.sha256(clear).hexdigest()
        expected = replace(segment, size_bytes=len(clear), sha256=sha256)
        check = _segment(key, clear, expected, gop_ticks, description)
    # A damaged segment is not decoded.
    return check if check.wrong else replace(check, wrong=tuple(inside(segment, data)))


def _read_text(store: Store, key: str, segment: Segment) -> ObjectCheck:
    """A file of WebVTT is known by its digest; what is said of its cues is held against the file."""
    data = get_object(store, key)
    if data is None:
        return missing_object(key)
    wrong = []
    if hashlib.sha256(data).hexdigest() != segment.sha256:
        wrong.append("its bytes are not those that were written (sha256 differs)")
    if not data.startswith(f"{captions.HEADER}\n{captions.CLOCK}\n".encode()):
        wrong.append("it does not begin as WebVTT with a clock")
    if data.count(b" --> ") != segment.samples:
        wrong.append(f"it has {data.count(b' --> ')} cues, not {segment.samples}")
    return ObjectCheck(key, len(data), tuple(wrong))


def _segment(key: str, data: bytes, segment: Segment, gop_ticks: int | None, description: int) -> ObjectCheck:
    """Hold a segment's bytes against what is said of them; ``gop_ticks`` is None for sound."""
    other = _not_as_encoded(data, segment)
    if len(data) != segment.size_bytes:
        return ObjectCheck(key, len(data), (other,))
    wrong = [other] if other else []
    try:
        found = tuple(segmenting.fragments(data))
    except (PackagingError, ChunkRejected, struct.error, IndexError) as error:
        return ObjectCheck(key, len(data), (*wrong, f"it can't be read: {error}"))
    made = (
        ("decode time", found[0].decode_ticks if found else None, segment.start_ticks),
        ("duration", sum(fragment.duration_ticks for fragment in found), segment.duration_ticks),
        ("number of samples", sum(len(fragment.samples) for fragment in found), segment.samples),
    )
    wrong += [f"its {name} is {value}, not {expected}" for name, value, expected in made if value != expected]
    if any(one.decode_ticks + one.duration_ticks != other.decode_ticks for one, other in pairwise(found)):
        wrong.append("its decode times have a gap")
    if any(fragment.media + sum(s.size_bytes for s in fragment.samples) != fragment.end for fragment in found):
        wrong.append("its samples do not fill its mdat")
    if any(fragment.description != description for fragment in found):
        wrong.append("it is encrypted where it should be clear" if description > 1 else "its clear lead is too long")
    sequences = tuple(fragment.sequence for fragment in found)
    if any(one >= other for one, other in pairwise(sequences)):
        wrong.append("its mfhd sequence numbers do not ascend")
    if gop_ticks is not None:
        wrong += _sync_errors(found, segment, gop_ticks)
    frames = sum(len(fragment.samples) for fragment in found) if gop_ticks is not None else 0
    # Numbers of a damaged segment say nothing about its neighbours.
    return ObjectCheck(key, len(data), tuple(wrong), frames, () if other else sequences)


def _sync_errors(found: Sequence[segmenting.Fragment], segment: Segment, gop_ticks: int) -> Iterator[str]:
    """The same places in time are sync frames in every rendition if they are those of the grid in each."""
    times = []
    for fragment in found:
        at = fragment.decode_ticks
        for sample in fragment.samples:
            if sample.sync:
                times.append(at)
            at += sample.duration_ticks
    if times != list(range(segment.start_ticks, segment.start_ticks + segment.duration_ticks, gop_ticks)):
        yield "its sync frames are not where the grid has them"
    first_frames = ((f.start, f.media + f.samples[0].size_bytes - f.start) for f in found if f.samples)
    if tuple(first_frames) != segment.sync:
        yield "its sync frames do not lie in the byte ranges of the I-frame playlist"
