"""Reading a release back from the store and finding everything that is not as it should be.

The manifests are held against the release's name, which is their digest; the tracks' indexes against the grid; every
segment's bytes against the index; and the manifests against those that document and indexes give today.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise, zip_longest
from math import ceil
from posixpath import dirname, join, normpath
from typing import Any, cast
from xml.etree import ElementTree as Xml
from zlib import crc32

import m3u8

from headend import __version__
from headend.core import documents, layout, rates, track_index
from headend.core.documents import Noun
from headend.core.errors import ChunkRejected, ConfigError, ObjectMissing, PackagingError, StorageError
from headend.core.keys import ContentKey
from headend.core.manifests import dash
from headend.core.manifests.tracks import all_tracks
from headend.core.media import (
    AudioRendition,
    Codec,
    Damage,
    KeyName,
    Light,
    Poster,
    Presentation,
    Release,
    Schedule,
    Scheme,
    Segment,
    Thumbnails,
    VideoRendition,
)
from headend.core.media.protection import WHOLE_TITLE
from headend.core.storage.base import Store
from headend.core.timing import Grid, timescale
from headend.core.track_index import SyncRanges
from packager import captions, segmenting
from packager.codec_strings import codec_string
from packager.presentation import StoredTrack, check, from_index, stored_tracks, with_kids, with_tracks
from packager.publishing import current_release, manifests, release_id
from packager.sealing import init_of_period
from packager.stock import THREADS, read_all

BATCH = 16
"""Segments that a thread reads one after the other, since a task for each would cost as much as to check it."""

_SHOWN_BYTES = 120
_SEALED_SAMPLE_BYTES, _SEALED_GOP_BYTES = 24, 64
"""What encryption adds to a sample, and to a fragment, at most: a vector, a map of two entries, and three boxes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        object: The object's path from the store's root.
        message: What is wrong with it, in one line.
    """

    object: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What reading a release back has shown.

    Attributes:
        title: Catalogue entry.
        release: Its id.
        findings: What is wrong; nothing if the release is sound.
        objects: How many objects were read.
        bytes: How much was read of them.
        frames: How many video frames were counted, over all renditions.
        damage: What was damaged in the master and is concealed: no fault of the release.
        compared: At how many places pictures and sound were compared with the master.
        not_compared: Why that was nowhere; empty where it was somewhere.
        not_decoded: Why tracks were not looked into; empty if they were.
    """

    title: str
    release: str
    findings: tuple[Finding, ...]
    objects: int
    bytes: int
    frames: int
    damage: tuple[Damage, ...] = ()
    compared: int = 0
    not_compared: str = ""
    not_decoded: str = ""


@dataclass(frozen=True, slots=True)
class _ObjectCheck:
    """What one object's bytes have shown.

    Attributes:
        key: The object.
        size_bytes: How much was read.
        wrong: What is not as it should be.
        frames: Samples in it.
        damage: Of the release's document: what it says is concealed.
        sequences: The fragments' sequence numbers.
        sealed: Whether it could not be looked into, for lack of its key.
    """

    key: str
    size_bytes: int
    wrong: tuple[str, ...]
    frames: int = 0
    sequences: tuple[int, ...] = ()
    damage: tuple[Damage, ...] = ()
    sealed: bool = False


InspectSegment = Callable[[VideoRendition | AudioRendition, Light | None, Segment, bytes], Iterable[str]]
"""Looks into a segment, which follows its init segment, and tells what is not as planned."""
Judge = Callable[[bytes, bytes, ContentKey], Iterable[str]]
"""Tells where another decryptor makes something else of a segment: gets it as stored, in the clear, and its key."""
NO_KEYS = "its tracks are encrypted: give --keys to have them decrypted and decoded"


def verify(
    store: Store,
    title: str,
    release: str | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    inspect: InspectSegment = lambda _rendition, _light, _segment, _data: (),
    judge: Judge = lambda _stored, _clear, _key: (),
    keys: Mapping[str, ContentKey] | None = None,
    deep: bool = False,
) -> Verdict:
    """Read a release back and check every byte of it.

    Memory holds a few segments at a time, whatever the release's size.

    Args:
        store: Where the release is.
        title: Catalogue entry.
        release: Its id; None for the current one.
        on_progress: Gets the number of segments checked and of all.
        inspect: Decodes; gets a segment of each rendition, at another place of the title in each.
        judge: Decrypts; gets the same segments of encrypted renditions.
        keys: The keys of encrypted tracks, by their ids; without them, only what is clear of these tracks is checked.
        deep: Whether it gets all of them.

    Returns:
        The verdict. What is missing or wrong in the release is a finding, never an error.

    Raises:
        ConfigError: There is no such title or release.
        StorageError: The store failed.
    """
    release = release or current_release(store, layout.check_title(title))
    folder = f"{layout.release_path(title, release)}/"
    if not any(True for _ in store.page(folder, limit=1)):
        raise ConfigError(f"{title!r} has no release {release!r} in {store.url}; `headend releases {title}` lists them")
    findings: dict[Finding, None] = {}
    damage: tuple[Damage, ...] = ()
    objects = size_bytes = frames = 0
    sealed = False
    for seen in _examine(store, title, release, on_progress, Checks(inspect, judge, keys or {}, deep)):
        sealed = sealed or seen.sealed
        findings |= {Finding(seen.key, message): None for message in seen.wrong}
        objects += seen.size_bytes > 0
        size_bytes += seen.size_bytes
        frames += seen.frames
        damage += seen.damage
    not_decoded = NO_KEYS if sealed else ""
    return Verdict(title, release, tuple(findings), objects, size_bytes, frames, damage, not_decoded=not_decoded)


def references(key: str, manifest: bytes) -> Iterator[str]:
    """Every object that a playlist or an MPD names, as paths from the store's root; an outline names none.

    Args:
        key: The manifest's own path, which its relative addresses start from.
        manifest: Its bytes.
    """
    base = dirname(key)
    if key.endswith(layout.OUTLINE):
        return
    if key.endswith(layout.DASH_SUFFIX):
        yield from (normpath(join(base, address)) for address in _addresses(Xml.fromstring(manifest)))
        return
    if key.endswith(layout.THUMBNAIL_INDEX):
        lines = manifest.decode().splitlines()
        yield from (normpath(join(base, line.partition("#")[0])) for line in lines if "#xywh=" in line)
        return
    playlist = m3u8.loads(manifest.decode())
    named = (
        *playlist.playlists,
        *playlist.iframe_playlists,
        *playlist.image_playlists,
        *playlist.media,
        *playlist.segments,
        *playlist.segment_map,
    )
    yield from (normpath(join(base, line.uri)) for line in named)


def _addresses(mpd: Xml.Element) -> Iterator[str]:
    names = {"": dash.NAMESPACE}
    periods = mpd.findall("Period", names)
    starts_us = [_microseconds(period.get("start", "")) for period in periods]
    ends_us = (*starts_us[1:], _microseconds(mpd.get("mediaPresentationDuration", "")))
    for period, start_us, end_us in zip(periods, starts_us, ends_us, strict=True):
        for adaptation_set in period.iterfind("AdaptationSet", names):
            for representation in adaptation_set.iterfind("Representation", names):
                template = representation.find("SegmentTemplate", names)
                if template is None:
                    template = adaptation_set.find("SegmentTemplate", names)
                if template is None:
                    continue
                id = representation.get("id", "")
                if template.get("duration"):
                    count = _even_count(template, end_us - start_us)
                else:
                    count = sum(1 + int(s.get("r", "0")) for s in template.iterfind("SegmentTimeline/S", names))
                    yield template.get("initialization", "").replace("$RepresentationID$", id)
                first = int(template.get("startNumber", "1"))
                for number in range(first, first + count):
                    yield template.get("media", "").replace("$RepresentationID$", id).replace("$Number$", str(number))


def _even_count(template: Xml.Element, total_us: Fraction) -> int:
    """How many segments of equal length there are (ISO/IEC 23009-1, section 5.3.9.2); times are rounded."""
    segment_us = Fraction(template.get("duration", "1")) / Fraction(template.get("timescale", "1")) * 1_000_000
    return ceil((total_us - 1) / segment_us)


def _microseconds(duration: str) -> Fraction:
    """A duration in seconds alone, as `headend.core.manifests.dash` writes it."""
    return Fraction(duration.removeprefix("PT").removesuffix("S")) * 1_000_000


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


@dataclass(frozen=True, slots=True)
class _Locks:
    """What the tracks of a release are encrypted with, and the keys that there are.

    Attributes:
        names: The keys of the release, by their ids.
        keys: Those that can be opened.
        schedules: When encryption begins and keys change, by scheme.
    """

    names: Mapping[str, KeyName]
    keys: Mapping[str, ContentKey]
    schedules: Mapping[Scheme, Schedule]

    @classmethod
    def of(cls, stated: Presentation, keys: Mapping[str, ContentKey]) -> "_Locks":
        protections = [one for one in (stated.protection, *(copy.protection for copy in stated.copies)) if one]
        names = {name.kid: name for one in protections for name in one.names}
        return cls(names, keys, {one.scheme: one.schedule for one in protections})

    def lacks(self, track: StoredTrack) -> bool:
        """Whether a track can't be opened."""
        return any(kid not in self.keys for kid in track.kids)

    def schedule(self, track: StoredTrack) -> Schedule:
        """When the encryption of a track begins and its keys change."""
        name = self.names.get(track.kid)
        return self.schedules[name.scheme] if name is not None else WHOLE_TITLE

    def key(self, track: StoredTrack, number: int) -> ContentKey:
        """The key of the period of a segment."""
        return self.keys[track.kids[self.schedule(track).period(number) - 1]]

    def description(self, track: StoredTrack, number: int) -> int:
        """Which sample entry a segment must use: encrypted tracks with a clear lead have a second one for it."""
        return 2 if track.kid and self.schedule(track).is_clear(number) else 1

    def is_whole(self, track: StoredTrack) -> bool:
        """Whether segments of a track are encrypted as a whole, their boxes included."""
        return track.kid in self.names and self.names[track.kid].scheme is Scheme.AES_128

    def opened(self, track: StoredTrack, init: bytes, data: bytes, number: int) -> tuple[bytes, bytes]:
        """A track's init segment and a segment in the clear; raises `PackagingError` where they can't be decrypted."""
        if not track.kid:
            return init, data
        from packager.decrypting import decrypted

        return decrypted(init, data, self.key(track, number))

    def opened_init(self, track: StoredTrack, init: bytes, period: int) -> bytes:
        """The init segment of a period in the clear, of a track whose segments are encrypted as a whole."""
        from packager.decrypting import decrypted_whole

        return decrypted_whole(init, self.keys[track.kids[period - 1]])

    def unwrapped(self, track: StoredTrack, number: int, data: bytes) -> bytes:
        """A segment whose boxes can be read."""
        if not self.is_whole(track):
            return data
        from packager.decrypting import decrypted_whole

        return decrypted_whole(data, self.key(track, number))


def _examine(
    store: Store, title: str, release: str, on_progress: Callable[[int, int], None], checks: Checks
) -> Iterator[_ObjectCheck]:
    seen, document = _document(store, Release, layout.release_document(title, release))
    yield seen
    if document is None:
        return
    stated = document.presentation
    if (stated.title, stated.release) != (title, release):
        yield _ObjectCheck(seen.key, 0, (f"it is of {stated.title} {stated.release}",))
        return
    yield replace(seen, size_bytes=0, damage=stated.damage)
    tracks = dict(read_all(lambda track: _track(store, title, track), stored_tracks(stated)))
    for told, track in tracks.values():
        yield from told
        if track is not None:
            yield _off_grid(title, track, stated.grid)
    whole = all(track is not None for _, track in tracks.values())
    known = {track.id: track for _, track in tracks.values() if track is not None}
    presentation = with_tracks(stated, lambda track: known.get(track.id, track))
    locks = _Locks.of(stated, checks.keys)
    inits: dict[tuple[str, int], bytes] = {}
    yield from _inits(store, title, known.values(), inits, locks)
    yield from (
        _ObjectCheck(layout.track_index(title, t.id), 0, (), sealed=True) for t in known.values() if locks.lacks(t)
    )

    def inside(track: StoredTrack, segment: Segment, data: bytes) -> Iterable[str]:
        rendition = track.rendition
        init = inits.get((track.id, locks.schedule(track).period(segment.number)))
        if init is None or not isinstance(rendition, VideoRendition | AudioRendition) or locks.lacks(track):
            return ()
        if not (checks.deep or segment.number == _sample(track)):
            return ()
        if isinstance(rendition, AudioRendition) and rendition.coded_language:
            rendition = replace(rendition, language=rendition.coded_language)
        try:
            clear = b"".join(locks.opened(track, init, data, segment.number))
        except PackagingError as error:
            return (f"it can't be decrypted: {error.message}",)
        wrong = tuple(checks.inspect(rendition, stated.light, segment, clear))
        if track.kid and not locks.is_whole(track):
            wrong += tuple(checks.judge(init + data, clear, locks.key(track, segment.number)))
        return wrong

    yield from _segments(store, presentation, list(known.values()), on_progress, inside, locks)
    if whole:
        yield from _peaks(presentation)
        yield from _manifests(store, presentation, document)


def _track(store: Store, title: str, stated: StoredTrack) -> tuple[list[_ObjectCheck], StoredTrack | None]:
    """A track as its index describes it, with the labels of the release; None where the index can't be read."""
    key = layout.track_index(title, stated.id)
    data = _get(store, key)
    if data is None:
        return [_missing(key)], None
    seen = [_ObjectCheck(key, len(data), ())]
    try:
        index = track_index.decode(data, key=key)
    except StorageError as error:
        return [_ObjectCheck(key, len(data), (error.message,))], None
    if index.facts.track != stated.id:
        return [_ObjectCheck(key, len(data), (f"it is of {index.facts.track}",))], None
    sync: tuple[SyncRanges, ...] = ()
    if index.facts.sync_sha256:
        key = layout.track_sync(title, stated.id)
        data = _get(store, key)
        if data is None:
            return [*seen, _missing(key)], None
        try:
            sync = track_index.decode_sync(data, key=key)
        except StorageError as error:
            return [*seen, _ObjectCheck(key, len(data), (error.message,))], None
        other = hashlib.sha256(data).hexdigest() != index.facts.sync_sha256
        seen.append(_ObjectCheck(key, len(data), ("it is not the one that the index names",) if other else ()))
    try:
        track: StoredTrack = with_kids(from_index(cast(Any, stated.rendition), index, sync), stated.kids)
    except StorageError as error:
        return [*seen, _ObjectCheck(key, 0, (error.message,))], None
    return seen, track


def _off_grid(title: str, track: StoredTrack, grid: Grid) -> _ObjectCheck:
    """Hold an index against the grid."""
    key = layout.track_index(title, track.id)
    try:
        check(cast(Any, track), grid)
    except PackagingError as error:
        number = error.facts.get("segment")
        named = layout.track_segment(title, track.id, number) if isinstance(number, int) else key
        return _ObjectCheck(named, 0, (error.message,))
    return _ObjectCheck(key, 0, ())


def _document(store: Store, kind: type[Noun], key: str) -> tuple[_ObjectCheck, Noun | None]:
    data = _get(store, key)
    if data is None:
        return _missing(key), None
    try:
        return _ObjectCheck(key, len(data), ()), documents.read(kind, data, key=key)
    except StorageError as error:
        return _ObjectCheck(key, len(data), (error.message,)), None


def _get(store: Store, key: str) -> bytes | None:
    try:
        return store.get(key)
    except ObjectMissing:
        return None


def _missing(key: str) -> _ObjectCheck:
    return _ObjectCheck(key, 0, ("it is missing",))


# --- segments -----------------------------------------------------------------------------------------------------


def _inits(
    store: Store,
    title: str,
    tracks: Iterable[StoredTrack],
    inits: dict[tuple[str, int], bytes],
    locks: "_Locks",
) -> Iterator[_ObjectCheck]:
    """Check the init segments, and keep them by the tracks' ids and by period."""
    for track in tracks:
        for period, sha256 in enumerate(track.inits_sha256, start=1):
            key = layout.track_init(title, track.id, period)
            data = _get(store, key)
            if data is None:
                yield _missing(key)
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
            yield _ObjectCheck(key, len(inits[track.id, period]), tuple(wrong))


def _sample(track: StoredTrack) -> int:
    """The number of a track's segment that is decoded: another one in each, so that together they cover much."""
    return 1 + crc32(track.rendition.id.encode()) % len(track.segments)


def _segments(
    store: Store,
    presentation: Presentation,
    tracks: Sequence[StoredTrack],
    on_progress: Callable[[int, int], None],
    inside: Callable[[StoredTrack, Segment, bytes], Iterable[str]],
    locks: "_Locks",
) -> Iterator[_ObjectCheck]:
    title, grid = presentation.title, presentation.grid
    done, total = 0, sum(len(track.segments) for track in tracks)

    def examined(track: StoredTrack, segments: Sequence[Segment]) -> list[_ObjectCheck]:
        gop_ticks = _gop_ticks(track, grid)
        seen = []
        for segment in segments:
            key = layout.track_segment(title, track.id, segment.number)
            if isinstance(track.rendition, Thumbnails | Poster):
                seen.append(_read_picture(store, key, segment))
            elif track.rendition.codec is Codec.VTT:
                seen.append(_read_text(store, key, segment))
            elif locks.is_whole(track) and locks.lacks(track):
                seen.append(_read_picture(store, key, segment))  # nothing of it is clear
            else:
                opened = partial(locks.unwrapped, track, segment.number)
                description = locks.description(track, segment.number)
                seen.append(_examined(store, key, segment, gop_ticks, partial(inside, track), opened, description))
        return seen

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
            for seen in batch:
                done += 1
                on_progress(done, total)
                yield seen
                if seen.sequences and seen.sequences[0] <= last_sequence:
                    yield _ObjectCheck(seen.key, 0, (f"its mfhd sequence number {seen.sequences[0]} does not ascend",))
                last_sequence = max((last_sequence, *seen.sequences))


def _peaks(presentation: Presentation) -> Iterator[_ObjectCheck]:
    """The renditions whose rate exceeds their cap by more than is allowed, at the worst place of each."""
    grid = presentation.grid
    for track in (*presentation.video, *presentation.trick):
        rendition, segments = track.rendition, track.segments
        bound = rates.Bound(rendition.cap_bps, rendition.buffer_bits, grid.segment_frames / grid.frame_rate)
        # Caps are kept by what is encoded; its encryption comes on top.
        extra = (_SEALED_SAMPLE_BYTES, _SEALED_GOP_BYTES) if track.kid else (0, 0)
        sizes = [s.size_bytes - extra[0] * s.samples - extra[1] * len(s.sync) for s in segments]
        durations = [s.duration_ticks for s in segments]
        worst = max(rates.windows(sizes, durations, track.timescale, bound), key=lambda window: window.rate_bps)
        if worst.rate_bps > bound.limit_bps:
            yield _ObjectCheck(
                layout.track_segment(presentation.title, track.id, segments[worst.first].number),
                0,
                (
                    f"{worst.rate_bps // 1000} kb/s from here over {worst.end - worst.first} segment(s), more than "
                    f"{float(rates.LIMIT):g} times the rendition's cap of {rendition.cap_bps // 1000} kb/s",
                ),
            )


def _read_picture(store: Store, key: str, segment: Segment) -> _ObjectCheck:
    data = _get(store, key)
    if data is None:
        return _missing(key)
    wrong = _not_as_encoded(data, segment)
    return _ObjectCheck(key, len(data), (wrong,) if wrong else ())


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
) -> _ObjectCheck:
    data = _get(store, key)
    if data is None:
        return _missing(key)
    try:
        clear = opened(data)
    except PackagingError as error:
        wrong = filter(None, (_not_as_encoded(data, segment), f"it can't be decrypted: {error.message}"))
        return _ObjectCheck(key, len(data), tuple(wrong))
    if clear is data:
        seen = _segment(key, data, segment, gop_ticks, description)
    elif other := _not_as_encoded(data, segment):
        seen = _ObjectCheck(key, len(data), (other,))
    else:
        sha256 = hashlib.sha256(clear).hexdigest()
        said = replace(segment, size_bytes=len(clear), sha256=sha256)
        seen = _segment(key, clear, said, gop_ticks, description)
    # A damaged segment is not decoded.
    return seen if seen.wrong else replace(seen, wrong=tuple(inside(segment, data)))


def _read_text(store: Store, key: str, segment: Segment) -> _ObjectCheck:
    """A file of WebVTT is known by its digest; what is said of its cues is held against the file."""
    data = _get(store, key)
    if data is None:
        return _missing(key)
    wrong = []
    if hashlib.sha256(data).hexdigest() != segment.sha256:
        wrong.append("its bytes are not those that were written (sha256 differs)")
    if not data.startswith(f"{captions.HEADER}\n{captions.CLOCK}\n".encode()):
        wrong.append("it does not begin as WebVTT with a clock")
    if data.count(b" --> ") != segment.samples:
        wrong.append(f"it has {data.count(b' --> ')} cues, not {segment.samples}")
    return _ObjectCheck(key, len(data), tuple(wrong))


def _segment(key: str, data: bytes, segment: Segment, gop_ticks: int | None, description: int) -> _ObjectCheck:
    """Hold a segment's bytes against what is said of them; ``gop_ticks`` is None for sound."""
    other = _not_as_encoded(data, segment)
    if len(data) != segment.size_bytes:
        return _ObjectCheck(key, len(data), (other,))
    wrong = [other] if other else []
    try:
        found = tuple(segmenting.fragments(data))
    except (PackagingError, ChunkRejected, struct.error, IndexError) as error:
        return _ObjectCheck(key, len(data), (*wrong, f"it can't be read: {error}"))
    made = (
        ("decode time", found[0].decode_ticks if found else None, segment.start_ticks),
        ("duration", sum(fragment.duration_ticks for fragment in found), segment.duration_ticks),
        ("number of samples", sum(len(fragment.samples) for fragment in found), segment.samples),
    )
    wrong += [f"its {name} is {value}, not {said}" for name, value, said in made if value != said]
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
    return _ObjectCheck(key, len(data), tuple(wrong), frames, () if other else sequences)


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


# --- manifests ----------------------------------------------------------------------------------------------------


def _manifests(store: Store, presentation: Presentation, document: Release) -> Iterator[_ObjectCheck]:
    """Hold the stored manifests against the release's name, and against those that this headend would write."""
    title, release = presentation.title, presentation.release
    folder = layout.release_path(title, release)
    try:
        wanted = manifests(presentation)
    except (ArithmeticError, ValueError, LookupError) as error:
        yield _ObjectCheck(layout.release_document(title, release), 0, (f"no manifest can be made of it: {error}",))
        return
    if presentation.poster is not None:
        wanted = {**wanted, layout.POSTER_PICTURE: b""}
    stored = {name: _get(store, f"{folder}/{name}") for name in wanted}
    there = {name: data for name, data in stored.items() if data is not None}
    keys = {f"{folder}/{name}" for name in there} | _keys(store, presentation)
    same = document.software == __version__
    for name in wanted:
        key = f"{folder}/{name}"
        if name not in there:
            yield _missing(key)
        elif name == layout.POSTER_PICTURE:
            yield _ObjectCheck(key, len(there[name]), ())
        elif same and there[name] != wanted[name]:
            yield _ObjectCheck(key, len(there[name]), (_first_difference(there[name], wanted[name]),))
        else:
            missing = [named for named in dict.fromkeys(references(key, there[name])) if named not in keys]
            yield _ObjectCheck(key, len(there[name]), tuple(f"it names {named}, which is missing" for named in missing))
    poster = there.pop(layout.POSTER_PICTURE, None)
    complete = len(there) + (poster is not None) == len(wanted)
    # Where a line can be told, that says more.
    told = same and any(there[name] != wanted[name] for name in there)
    if complete and not told and release_id(there, poster) != release:
        yield _ObjectCheck(folder, 0, ("its manifests are not those that gave the release its name",))
    yield _ObjectCheck(
        f"{folder}/{layout.MULTIVARIANT}", 0, tuple(_low_bandwidths(wanted[layout.MULTIVARIANT].decode(), presentation))
    )


def _keys(store: Store, presentation: Presentation) -> set[str]:
    """The keys of all objects of a presentation's tracks."""
    folders = [f"{layout.track_path(presentation.title, track.id)}/" for track in stored_tracks(presentation)]
    listed = read_all(lambda folder: [info.key for info in store.list(folder)], folders)
    return {key for _, keys in listed for key in keys}


def _first_difference(stored: bytes, wanted: bytes) -> str:
    pairs = zip_longest(stored.splitlines(), wanted.splitlines(), fillvalue=b"")
    for number, (line, other) in enumerate(pairs, start=1):
        if line != other:
            return f"line {number} is {_shown(line)}, not {_shown(other)}"
    return "its line ends are not as they were written"


def _shown(line: bytes) -> str:
    return repr(line[:_SHOWN_BYTES].decode(errors="replace"))


def _low_bandwidths(multivariant: str, presentation: Presentation) -> Iterator[str]:
    """Variants that promise less than a player may meet: held against segment sizes, with another parser."""
    peaks = {layout.media_playlist_name(t.id): max(t.segment_bps()) for t in all_tracks(presentation)}
    playlist = m3u8.loads(multivariant)
    for variant in playlist.playlists:
        members = [media.uri for media in playlist.media if media.group_id == variant.stream_info.audio]
        measured = peaks[variant.uri] + max((peaks[uri] for uri in members), default=0)
        if variant.stream_info.bandwidth < measured:
            yield f"BANDWIDTH of {variant.uri} is {variant.stream_info.bandwidth}, but {measured:.0f} was measured"
