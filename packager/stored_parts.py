"""Finds out which parts of a plan a store already has, and merges the parts of complete tracks.

All state is in the store: receipts list what tasks have written, and indexes describe complete tracks. An object that
is missing or has the wrong size counts as missing, even if a receipt or an index lists it.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from headend.core import documents, layout, track_index
from headend.core.errors import ObjectMissing, PackagingError
from headend.core.media import Damage, EncodedTrack, EncodePlan, Part, Receipt, Scheme
from headend.core.storage.base import Store
from packager.presentation import StoredTrack, index_of, join_chunks, renditions_of, track_from_index
from packager.reading import THREADS, read_track


@dataclass(slots=True)
class StoredParts:
    """The stored parts of a plan; grows as tasks finish.

    Attributes:
        plan: The plan.
        results: For each stored part, the result of encoding it, and the damage that it conceals.
        indexed: Complete tracks with an index, by the ids of their renditions.
        receipts: Renditions in the stored receipts, by task.
    """

    plan: EncodePlan
    results: dict[Part, tuple[EncodedTrack, tuple[Damage, ...]]] = field(default_factory=dict)
    indexed: dict[str, StoredTrack] = field(default_factory=dict)
    receipts: dict[str, frozenset[str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def done(self) -> frozenset[Part]:
        """All parts that need no work."""
        with self._lock:
            return frozenset(self.results) | {part for part in self.plan.parts if part[0] in self.indexed}

    def add(self, receipt: Receipt) -> None:
        """Add a receipt that a task has just written."""
        names = {track: rendition for rendition, track in self.plan.tracks.items()}
        with self._lock:
            self.receipts[receipt.task] = frozenset(track.rendition for track in receipt.tracks)
            for track in receipt.tracks:
                if track.track in names:
                    self.results[names[track.track], receipt.chunk] = (track, receipt.damage)

    def missing(self, renditions: Iterable[str]) -> list[Part]:
        """The parts of some renditions that are not stored."""
        done = self.done
        return [
            (rendition, chunk.number)
            for rendition in renditions
            for chunk in self.plan.chunks_of(rendition)
            if (rendition, chunk.number) not in done
        ]


def find_stored_parts(store: Store, plan: EncodePlan) -> StoredParts:
    """Find out which parts of a plan's tracks a store has.

    This checks sizes but not digests; `packager.conformance.verify` reads the data.

    Raises:
        StorageError: The store failed, or has documents of another version.
    """
    stored = StoredParts(plan)
    title = plan.title
    with ThreadPoolExecutor(THREADS) as pool:
        sizes_of = dict(
            zip(plan.tracks, pool.map(lambda id: _sizes(store, title, plan.tracks[id]), plan.tracks), strict=True)
        )
        receipts = tuple(store.keys(layout.receipts(title)))
        for receipt in pool.map(lambda key: _read_receipt(store, key), receipts):
            if receipt is not None:
                _add_receipt(stored, receipt, sizes_of)
        # A track without receipts has an index by now, if another process has just completed it.
        existing = [id for id in plan.tracks if sizes_of[id]]
        ids = [id for id in existing if layout.INDEX in sizes_of[id] or not _is_complete(stored, id)]
        for id, track in zip(ids, pool.map(lambda id: _read_index(store, plan, id), ids), strict=True):
            if track is not None:
                _add_index(stored, id, track, sizes_of[id])
    return stored


def merge_parts(store: Store, stored: StoredParts, renditions: Iterable[str]) -> dict[str, StoredTrack]:
    """Merge the parts of renditions into tracks, and write missing indexes.

    Args:
        store: Store of the segments.
        stored: The stored parts.
        renditions: Ids of renditions; all of their parts must be stored.

    Raises:
        PackagingError: A track is not complete, or does not fit the grid.
        StorageError: The store failed.
    """
    wanted = list(renditions)
    if missing := stored.missing(wanted):
        rendition, chunk = missing[0]
        raise PackagingError(
            f"{len(missing)} parts are missing, such as chunk {chunk} of {rendition}; submit the master again to make "
            "them",
            rendition=rendition,
            chunk=chunk,
        )
    fresh = [id for id in wanted if id not in stored.indexed]
    with ThreadPoolExecutor(THREADS) as pool:
        for id, track in zip(fresh, pool.map(lambda id: _merged_track(store, stored, id), fresh), strict=True):
            stored.indexed[id] = track
    return {id: stored.indexed[id] for id in wanted}


def remove_receipts(store: Store, stored: StoredParts) -> None:
    """Remove receipts whose tracks all have an index."""
    done = [task for task, renditions in stored.receipts.items() if renditions <= stored.indexed.keys()]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda task: store.delete(layout.receipt(stored.plan.title, task)), done))
    for task in done:
        del stored.receipts[task]


def _sizes(store: Store, title: str, track: str) -> dict[str, int]:
    """Sizes of all objects of a track, by name in the track's folder."""
    folder = f"{layout.track_path(title, track)}/"
    return {info.key.removeprefix(folder): info.size_bytes for info in store.list(folder)}


def _read_receipt(store: Store, key: str) -> Receipt | None:
    try:
        return documents.read(Receipt, store.get(key), key=key)
    except ObjectMissing:
        return None  # another run has just merged and removed it


def _add_receipt(stored: StoredParts, receipt: Receipt, sizes_of: Mapping[str, Mapping[str, int]]) -> None:
    names = {track: rendition for rendition, track in stored.plan.tracks.items()}
    planned = [track for track in receipt.tracks if track.track in names]
    if planned:
        stored.receipts[receipt.task] = frozenset(names.get(t.track, f"other plan: {t.track}") for t in receipt.tracks)
    for track in planned:
        rendition = names[track.track]
        if all(sizes_of[rendition].get(name) == size for name, size in _objects(track, receipt.chunk)):
            stored.results[rendition, receipt.chunk] = (track, receipt.damage)


def _objects(track: EncodedTrack, chunk: int) -> Iterator[tuple[str, int]]:
    for part in track.segments:
        yield layout.segment_name(track.track, part.number), part.size_bytes
    if track.init_bytes and chunk == 0:
        for period in range(1, 2 + len(track.later_inits)):
            yield layout.init_name(period), track.init_bytes


def _is_complete(stored: StoredParts, rendition: str) -> bool:
    return all((rendition, chunk.number) in stored.results for chunk in stored.plan.chunks_of(rendition))


def _read_index(store: Store, plan: EncodePlan, rendition: str) -> StoredTrack | None:
    try:
        index, sync = read_track(store, plan.title, plan.tracks[rendition])
        track: StoredTrack = track_from_index(renditions_of(plan)[rendition], index, sync)
    except ObjectMissing:
        return None
    return track


def _add_index(stored: StoredParts, rendition: str, track: StoredTrack, sizes: Mapping[str, int]) -> None:
    """Add a track that an earlier run has completed. If objects have been lost since, add only its complete chunks."""
    lost = {s.number for s in track.segments if sizes.get(layout.segment_name(track.id, s.number)) != s.size_bytes}
    inits = (layout.init_name(period) for period, _ in enumerate(track.inits_sha256, start=1))
    no_init = any(sizes.get(name) != track.init_bytes for name in inits)
    if not lost and not no_init:
        stored.indexed[rendition] = track
        return
    for chunk, numbers in _numbers(stored.plan, rendition, track):
        if lost.isdisjoint(numbers) and not (no_init and chunk == 0):
            kept = tuple(s for s in track.segments if s.number in numbers)
            part = EncodedTrack(
                rendition=rendition,
                init_sha256=track.init_sha256,
                init_bytes=track.init_bytes,
                timescale=track.timescale,
                priming_samples=track.priming_samples,
                average_bps=track.average_bps,
                peak_bps=track.peak_bps,
                segments=kept,
                loudness=track.loudness,
                track=track.id,
                codec_string=track.codec_string if _is_whole(stored.plan, rendition) else "",
                later_inits=track.later_inits,
            )
            stored.results.setdefault((rendition, chunk), (part, track.damage))


def _is_whole(plan: EncodePlan, rendition: str) -> bool:
    """Whether a track is encrypted as a whole, including its init segment."""
    return rendition in plan.sealings and plan.sealings[rendition].scheme is Scheme.AES_128


def _numbers(plan: EncodePlan, rendition: str, track: StoredTrack) -> Iterator[tuple[int, frozenset[int]]]:
    """The segment numbers of each chunk of a track."""
    chunks = plan.chunks_of(rendition)
    for index, chunk in enumerate(chunks):
        if plan.thumbnails is not None and rendition == plan.thumbnails.id:
            numbers: Iterable[int] = plan.thumbnails.sheet_numbers(chunk.first_frame, chunk.end_frame)
        elif plan.poster is not None and rendition == plan.poster.id:
            numbers = plan.poster.numbers(chunk.first_frame, chunk.end_frame)
        else:
            is_last = index == len(chunks) - 1
            end = len(track.segments) + 1 if is_last else chunks[index + 1].first_segment
            numbers = range(chunk.first_segment, end)
        yield chunk.number, frozenset(numbers)


def _merged_track(store: Store, stored: StoredParts, rendition: str) -> StoredTrack:
    plan, title, id = stored.plan, stored.plan.title, stored.plan.tracks[rendition]
    chunks = plan.chunks_of(rendition)
    results = [(chunk, *stored.results[rendition, chunk.number]) for chunk in chunks]
    init = _init(store, title, id, rendition) if results[0][1].init_bytes else b""
    track: StoredTrack = join_chunks(
        id,
        renditions_of(plan)[rendition],
        [(chunk, part) for chunk, part, _ in results],
        init,
        plan.grid,
        damage=[damage for *_, concealed in results for damage in concealed],
    )
    index, sync = index_of(track)
    if sync:
        _put_once(store, layout.track_sync(title, id), sync)
    _put_once(store, layout.track_index(title, id), track_index.encode(index))
    return track


def _init(store: Store, title: str, track: str, rendition: str) -> bytes:
    try:
        return store.get(layout.track_init(title, track))
    except ObjectMissing:
        raise PackagingError(
            f"{layout.track_init(title, track)} is missing; submit the master again to make it",
            rendition=rendition,
        ) from None


def _put_once(store: Store, key: str, data: bytes) -> None:
    """Write an object unless it exists with the same content."""
    try:
        if store.get(key) == data:
            return
    except ObjectMissing:
        pass
    store.put(key, data)
