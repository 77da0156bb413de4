"""The store's contents that clients may get: read once, verified and cached.

All reads of the store go through here. Many clients that want one cold file cause one read, and are served from it
while it goes on; a body that is cut short or damaged in the store is never served as the real one; and while the store
is away, what is in memory is still served.
"""

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Literal, TypeVar

from headend.core import documents, layout, track_index
from headend.core.caching.circuit_breaker import CircuitBreaker
from headend.core.caching.disk_cache import DiskCache
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.caching.single_flight import SingleFlight, TookTooLong, TooMany
from headend.core.caching.spilling import Spiller
from headend.core.errors import HeadendError, ObjectMissing, StorageError, StoreUnavailable
from headend.core.http.blobs import Blob, in_memory
from headend.core.http.responses import File, media_file, text_file
from headend.core.manifests.forms import TopManifest, top_manifest
from headend.core.manifests.selection import Selection, select
from headend.core.media import Current
from headend.core.storage import Store
from headend.core.storage.local import LocalStore
from origin import cmsd
from origin.catalogue import Catalogue
from origin.index import KnownTrack, Outline, ReleaseIndex, Wanted, index_of
from origin.metrics import Metrics
from origin.policy import JPEG_TYPE, MPD_TYPE, PLAYLIST_TYPE, WEBVTT_TYPE
from origin.sources import Damaged, Folder, Remote, Source, in_threads

CACHE_BYTES = 256 << 20
"""Default memory for files."""
BLOBS = 16_384
"""Default number of files that are held open."""
INDEX_SHARE = 8
"""Which part of the memory is for indexes of tracks: one of two hours takes 60 kB."""
LEAST_INDEX_BYTES = 4 << 20
"""Memory for them at least."""
OUTLINES = 50_000
"""Tracks of which all is remembered that checks of tokens need: some 10 MB."""
RELEASES_BYTES = 32 << 20
"""Memory for outlines of releases: about a hundred of two hours each."""
POINTERS = 10_000
"""Titles whose current release is remembered, and absent objects whose absence is."""
POINTER_S = 2.0
"""How long a pointer is believed."""
ABSENCE_S = 5.0
"""How long an absence is believed."""
WAIT_S = 20.0
"""How long a client waits for the store; the read goes on for clients that come back."""
RENEWAL_S = 1.0
"""How long a client waits for news of something that is known already."""
DOCUMENT_THREADS, MEDIA_THREADS = 8, 16
"""Reads of the store at a time."""
QUEUE = 256
"""Reads wanted at a time, of documents and of media; beyond, clients are asked to come back."""
QUEUE_PER_CLIENT = 128
"""The same for one client, so that it can't take all the room."""

_RELEASE = re.compile("[A-Za-z0-9-]{1,64}")

log = logging.getLogger("headend.origin")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Document:
    """A key of reads: a small object, or a listing.

    Attributes:
        kind: What is read.
        name: Which one.
    """

    kind: Literal["pointer", "release", "track", "file", "manifest", "listing", "health"]
    name: str


@dataclass(frozen=True, slots=True)
class Media:
    """A key of reads: a segment, init segment or picture.

    Attributes:
        key: Where it is in the store.
    """

    key: str


class Library:
    """The store, for handlers; belongs to one event loop.

    All methods raise `ObjectMissing` for what is not published, `StoreUnavailable` when the store is away or too many
    reads are wanted, and other kinds of `StorageError` when what is there can't be used. ``client`` says who wants
    something, since the reads that one client may cause are limited.

    Args:
        store: Read from threads, or by aiohttp where it is in S3.
        metrics: Where lookups and reads are counted.
        cache_bytes: Memory for files and for the indexes of tracks.
        most_blobs: How many files may be held open.
        disk: Where media is kept as well, unless the store is on this machine already.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        *,
        cache_bytes: int = CACHE_BYTES,
        most_blobs: int = BLOBS,
        disk: DiskCache | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._hits = metrics.lookups.labels("hit")
        self._clock = clock
        self._disk = disk
        self._breaker = CircuitBreaker(clock)
        self._document_threads = ThreadPoolExecutor(DOCUMENT_THREADS, thread_name_prefix="origin-documents")
        self._media_threads = ThreadPoolExecutor(MEDIA_THREADS, thread_name_prefix="origin-media")
        self._source, self._close_source = _source(store, self._media_threads, metrics)
        self._documents: SingleFlight[Document, Any] = SingleFlight(QUEUE, QUEUE_PER_CLIENT)
        self._media: SingleFlight[Media, File] = SingleFlight(QUEUE, QUEUE_PER_CLIENT)
        self._own: SingleFlight[Document, Any] = SingleFlight(QUEUE)
        self._arrivals: set[asyncio.Task[None]] = set()
        # Each file counts for its share of the descriptors at least, so that the budget bounds these as well.
        self._least_bytes = cache_bytes // most_blobs
        index_bytes = max(LEAST_INDEX_BYTES, cache_bytes // INDEX_SHARE)
        self._spiller = Spiller()
        self._files: SegmentedLRU[str, File] = SegmentedLRU(max(1, cache_bytes - index_bytes), self._evicted)
        self._releases: SegmentedLRU[Document, ReleaseIndex] = SegmentedLRU(RELEASES_BYTES)
        self._tracks: SegmentedLRU[Document, KnownTrack] = SegmentedLRU(index_bytes)
        self._outlines: SegmentedLRU[tuple[str, str], Outline] = SegmentedLRU(OUTLINES)
        self._pointers: SegmentedLRU[str, tuple[str, float]] = SegmentedLRU(POINTERS)
        self._absent: SegmentedLRU[Document | Media, float] = SegmentedLRU(POINTERS)
        self._catalogue = Catalogue(self._names, clock)
        registry = metrics.registry
        registry.gauge("cache_bytes", "Memory of cached files.", lambda: self._files.size_bytes)
        registry.gauge(
            "reads_under_way",
            "Reads of the store that clients wait for.",
            lambda: len(self._documents) + len(self._media),
        )
        if disk is not None:
            registry.gauge("disk_cache_bytes", "What the disk cache holds.", lambda: disk.size_bytes)

    async def current(self, title: str, client: str = "") -> str:
        """The id of a title's current release; the last one known while the store is away."""
        known = self._pointers.get(title)
        if known is not None and self._clock() < known[1]:
            return known[0]
        key = Document("pointer", title)
        if known is None and not await self._catalogue.has_title(title):
            raise _missing(title)

        async def look() -> str:
            release = await self._noted(key, self._in_thread(partial(self._read_pointer, layout.current(title))))
            return self._keep_pointer(title, release)

        try:
            return await self._once(
                self._documents, key, look, client=client, wait_s=WAIT_S if known is None else RENEWAL_S
            )
        except ObjectMissing:
            self._pointers.drop(title)
            raise
        except StorageError:
            if known is None:
                raise
            return self._keep_pointer(title, known[0])  # clients shall not all wait for a store that is away

    async def titles(self, after: str, count: int) -> tuple[tuple[str, ...], str | None]:
        """One page of the titles with a current release, in the order of their names; some seconds old.

        Args:
            after: The last title of the page before; empty for the first page.
            count: How many titles.

        Returns:
            The titles, and the one after which the next page starts; None at the end.
        """
        found = await self._catalogue.titles_after(after, count + 1)
        return found[:count], found[count - 1] if len(found) > count else None

    async def warm_up(self) -> None:
        """List the titles before somebody asks; what prevents that is logged."""
        with suppress(StorageError):
            await self._catalogue.titles_after("", 0)

    async def check(self) -> None:
        """Ask the store for a sign of life; raises `StorageError` if there is none."""
        key = Document("health", "")
        await self._once(self._own, key, lambda: self._noted(key, self._in_thread(self._probe)))

    def cached(self, key: str) -> File | None:
        """A file that is in memory or arriving there, by its key."""
        found = self._files.get(key)
        if found is not None:
            self.count_hit()
        return found

    def peek(self, key: str) -> File | None:
        """The same without counting it as a hit."""
        return self._files.get(key)

    def count_hit(self) -> None:
        """Count a hit."""
        self._hits.value += 1

    async def file(self, wanted: Wanted, client: str = "") -> File:
        """A file from the store; whole and verified, or arriving and verified at its end. It is kept."""
        key = wanted.key
        if wanted.track is None:
            release = await self.release(wanted.title, wanted.release or "", client)
            return await self._document(wanted, release, client)
        track = await self.track(wanted.title, wanted.track, client)
        index = track.index
        if wanted.name == layout.INDEX:  # for edges, which check what they get against it
            body = await self._in_thread(partial(track_index.encode, index))
            digest = hashlib.sha256(body).hexdigest()
            return self._keep(
                key, media_file("index", in_memory(body), digest, track.published, "application/octet-stream")
            )
        period = layout.init_period(wanted.name)
        if 0 < period <= len(index.facts.inits_sha256):
            number, kind, size = 0, "init", index.facts.init_bytes
            sha256 = bytes.fromhex(index.facts.inits_sha256[period - 1])
        else:
            digits = wanted.name.partition(".")[0]
            number = int(digits) if digits.isdecimal() else 0
            if not index.has(number) or wanted.name != layout.segment_name(wanted.track, number):
                raise _missing(key)
            kind = "sheet" if wanted.name.endswith(layout.SHEET_SUFFIX) else "segment"
            size, sha256 = index.size_bytes(number), index.sha256(number)
        content_type = index.facts.content_type
        cmsd_values = cmsd.static(index, number or None)
        flight = Media(key)
        self._metrics.lookups.inc("shared" if flight in self._media else "miss")
        return await self._once(
            self._media,
            flight,
            lambda: self._arrive(key, kind, size, sha256, track.published, content_type, cmsd_values),
            client=client,
        )

    async def close(self) -> None:
        """Let go of threads and connections; reads under way end."""
        for flights in (self._documents, self._media, self._own):
            flights.cancel()
        for task in self._arrivals:
            task.cancel()
        await self._close_source()
        for threads in (self._document_threads, self._media_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    async def manifest(
        self,
        wanted: Wanted,
        selection: Selection,
        max_height_px: int | None,
        *,
        is_above: bool = False,
        steering: str = "",
        client: str = "",
    ) -> File:
        """A manifest of a part of a release; as it was published, if nothing is left out. It is kept in memory.

        Args:
            wanted: The manifest.
            selection: What is asked for.
            max_height_px: The plan's limit, which no selection can widen.
            is_above: Whether the client has it from an address above the release, so that it names where that is.
            steering: Address of the steering server's answer for the title, which the manifest names; empty for none.
            client: The client's name or address.

        Raises:
            SelectionError: Nothing is left to play.
        """
        index = await self.release(wanted.title, wanted.release or "", client)
        top = top_manifest(index.outline, wanted.name)
        if top is None:
            raise _missing(wanted.name)
        chosen = replace(top, outline=select(top.outline, selection, max_height_px))
        if chosen == top and not is_above and not steering:
            return self.cached(wanted.key) or await self.file(wanted, client)
        # Filters that come to the same share one file, so that clients can't fill the memory with copies.
        left = hashlib.sha256(" ".join(track.id for track in chosen.outline.played()).encode()).hexdigest()
        key = f"{wanted.key}?{left}{'&above' * is_above}{'&steered' * bool(steering)}"
        if (found := self.cached(key)) is not None:
            return found
        base = f"releases/{wanted.release}/" if is_above else ""

        async def render() -> File:
            made = partial(_rendered, chosen, base, steering, index.published)
            return self._keep(key, await self._in_thread(made))

        return await self._once(self._documents, Document("manifest", key), render, client=client)

    async def release(self, title: str, release: str, client: str = "") -> ReleaseIndex:
        """What is known of a release."""
        key = Document("release", layout.outline(title, release))
        found = self._releases.get(key)
        if found is not None:
            return found
        if release != await self.current(title, client):
            await self._catalogue.check(layout.releases(title), release)

        async def look() -> ReleaseIndex:
            index = await self._noted(key, self._in_thread(partial(self._read_release, key.name)))
            self._releases.put(key, index, index.size_bytes)
            return index

        return await self._once(self._documents, key, look, client=client)

    async def track(self, title: str, track: str, client: str = "") -> KnownTrack:
        """What is known of a track, whichever releases name it."""
        key = Document("track", layout.track_index(title, track))
        found = self._tracks.get(key)
        if found is not None:
            return found
        if not await self._catalogue.has_title(title):
            raise _missing(title)
        await self._catalogue.check(layout.tracks(title), track)

        async def look() -> KnownTrack:
            known = await self._noted(key, self._in_thread(partial(self._read_track, key.name)))
            self._tracks.put(key, known, known.index.memory_bytes)
            self._outlines.put((title, track), known.outline)
            return known

        return await self._once(self._documents, key, look, client=client)

    def known_release(self, title: str, release: str) -> ReleaseIndex | None:
        """What is known of a release, if it is in memory."""
        return self._releases.get(Document("release", layout.outline(title, release)))

    def known_outline(self, title: str, track: str) -> Outline | None:
        """What checks of tokens need of a track, if it is in memory."""
        return self._outlines.get((title, track))

    async def outline(self, title: str, track: str, client: str = "") -> Outline:
        """What checks of tokens need of a track."""
        return self.known_outline(title, track) or (await self.track(title, track, client)).outline

    async def _document(self, wanted: Wanted, index: ReleaseIndex, client: str) -> File:
        key = Document("file", wanted.key)
        self._metrics.lookups.inc("shared" if key in self._documents else "miss")

        async def look() -> File:
            file = await self._noted(key, self._in_thread(partial(self._read_document, wanted, index)))
            return self._keep(wanted.key, file)

        return await self._once(self._documents, key, look, client=client)

    async def _names(self, folder: str) -> tuple[str, ...]:
        key = Document("listing", folder)
        read = partial(self._marks if folder == layout.published() else self._store.folders, folder)
        return await self._once(self._own, key, lambda: self._noted(key, self._in_thread(read)))

    def _marks(self, folder: str) -> tuple[str, ...]:
        return tuple(info.key.removeprefix(folder) for info in self._store.list(folder))

    async def _once(
        self,
        flights: "SingleFlight[Any, Result]",
        key: Document | Media,
        read: Callable[[], Coroutine[Any, Any, Result]],
        *,
        client: str = "",
        wait_s: float = WAIT_S,
    ) -> Result:
        """Read; all who want ``key`` meanwhile share the one read, which outlives each of them."""
        until = self._absent.get(key)
        if until is not None and self._clock() < until:
            self._metrics.lookups.inc("absent")
            raise _missing(str(key))
        try:
            return await flights.do(key, read, wait_s=wait_s, client=client)
        except TooMany:
            raise StoreUnavailable("too many reads are wanted at once; try again in a moment") from None
        except TookTooLong:
            raise StoreUnavailable(f"{self._store.url} does not answer; check the network", key=str(key)) from None

    async def _noted(self, key: Document | Media, reading: Coroutine[Any, Any, Result]) -> Result:
        """Read from the store, unless it is left alone, and record how that went."""
        if not self._breaker.allows():
            reading.close()
            raise StoreUnavailable(f"{self._store.url} has failed and is left alone for a moment", key=str(key))
        try:
            result = await reading
        except HeadendError as error:
            self._breaker.note(failed=error.retryable)
            self._metrics.reads.inc(_outcome(error))
            if isinstance(error, ObjectMissing):
                self._absent.put(key, self._clock() + ABSENCE_S)
            else:
                log.warning("%s", error)
            raise
        self._breaker.note(failed=False)
        self._metrics.reads.inc("ok")
        return result

    async def _in_thread(self, read: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._document_threads, read)

    def _keep(self, key: str, file: File) -> File:
        self._files.put(key, file, max(file.size_bytes, self._least_bytes))
        if key not in self._files:  # it is larger than the cache
            self._evicted(key, file)
        return file

    def _evicted(self, _: str, file: File) -> None:
        if isinstance(file.plain.body, Blob):
            self._spiller.evicted(file.plain.body)

    def _keep_pointer(self, title: str, release: str) -> str:
        self._pointers.put(title, (release, self._clock() + POINTER_S))
        return release

    async def _arrive(
        self, key: str, kind: str, size_bytes: int, sha256: bytes, published: datetime, content_type: str, told: str
    ) -> File:
        """Have a segment or init segment read; returns as soon as there is something to send."""
        begun: asyncio.Future[File] = asyncio.get_running_loop().create_future()

        def describe(blob: Blob) -> File:
            return self._keep(key, media_file(kind, blob, sha256.hex(), published, content_type, {cmsd.STATIC: told}))

        def begin(blob: Blob) -> None:
            if not begun.done():
                begun.set_result(describe(blob))

        async def arrive() -> None:
            try:
                kept = await self._fetch(key, size_bytes, sha256, begin)
            except asyncio.CancelledError:
                begun.cancel()
                raise
            except Exception as error:
                if not begun.done():
                    begun.set_exception(error)
                    return
                self._files.drop(key)  # clients that were sent a part are cut by the blob
                if not isinstance(error, HeadendError):
                    raise
            else:
                if kept is not None:
                    describe(kept)  # from now on it is sent from disk, and the memory is free

        task = asyncio.get_running_loop().create_task(arrive())
        self._arrivals.add(task)
        task.add_done_callback(self._arrivals.discard)
        return await begun

    async def _fetch(self, key: str, size_bytes: int, sha256: bytes, begun: Callable[[Blob], None]) -> Blob | None:
        """Read media from the disk cache or the store; returns what was written to the disk cache."""
        media = Media(key)
        if self._disk is None:
            await self._noted(media, self._source.fetch(key, size_bytes, sha256, begun))
            return None
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._media_threads, self._disk.open, sha256, size_bytes)
        if found is not None:
            self._metrics.lookups.inc("disk")
            begun(found)
            return None
        blob = await self._noted(media, self._source.fetch(key, size_bytes, sha256, begun))
        kept = await loop.run_in_executor(self._media_threads, self._disk.keep, sha256, blob)
        if kept is not None:
            blob.move(kept)  # slow readers hold no memory
        return kept

    def _read_pointer(self, key: str) -> str:
        release = documents.read(Current, self._store.get(key), key=key).release
        if not release:
            raise _missing(key)  # it was withdrawn
        if not _RELEASE.fullmatch(release):  # it becomes part of a header
            raise Damaged(f"{key} in {self._store.url} names no release; submit the master again", key=key)
        return release

    def _probe(self) -> None:
        with suppress(ObjectMissing):  # it answers
            self._store.head(_PROBE)

    def _read_release(self, key: str) -> ReleaseIndex:
        return index_of(self._store.get(key), self._store.head(key).modified, key)

    def _read_track(self, key: str) -> KnownTrack:
        return KnownTrack(track_index.decode(self._store.get(key), key=key), self._store.head(key).modified)

    def _read_document(self, wanted: Wanted, index: ReleaseIndex) -> File:
        body = self._store.get(wanted.key)
        if wanted.name == layout.POSTER_PICTURE:
            return media_file("poster", in_memory(body), hashlib.sha256(body).hexdigest(), index.published, JPEG_TYPE)
        types = {layout.DASH_SUFFIX: MPD_TYPE, layout.HLS_SUFFIX: PLAYLIST_TYPE, layout.TEXT_SUFFIX: WEBVTT_TYPE}
        content_type = types[PurePosixPath(wanted.name).suffix]
        is_top = wanted.name == layout.THUMBNAIL_INDEX or top_manifest(index.outline, wanted.name) is not None
        kind = "manifest" if is_top else "playlist"
        return text_file(kind, body, index.published, content_type)


_PROBE = "health"
"""A key that is asked for to see whether the store answers; nothing is ever stored there."""


def _source(
    store: Store, threads: ThreadPoolExecutor, metrics: Metrics
) -> tuple[Source, Callable[[], Awaitable[None]]]:
    """The best way to read media from a store, and what ends it."""

    async def nothing() -> None:
        pass

    if isinstance(store, LocalStore):
        return Folder(store, threads), nothing
    if store.url.startswith("s3://"):
        from headend.core.storage.s3 import S3Store
        from origin.bucket import Bucket

        if isinstance(store, S3Store):
            bucket = Bucket(store, threads, metrics.retries.inc)
            return Remote(store, bucket.pieces), bucket.close
    return Remote(store, in_threads(store, threads)), nothing


def _rendered(top: TopManifest, base: str, steering: str, published: datetime) -> File:
    return text_file("manifest", top.render(base, steering), published, MPD_TYPE if top.is_dash else PLAYLIST_TYPE)


def _missing(name: str) -> ObjectMissing:
    return ObjectMissing(f"there is no {name}", key=name)


def _outcome(error: HeadendError) -> str:
    if isinstance(error, ObjectMissing):
        return "missing"
    if isinstance(error, Damaged):
        return "damaged"
    return "unavailable" if error.retryable else "refused"
