"""What the store holds, as far as the world may see it: read once, checked, and remembered.

All reads of the store go through here. Many clients that want one cold file cause one read, and are sent to from it
while it goes on; a body cut short or damaged in the store is never passed off as the real one; and while the store is
away, what is in memory is served on.
"""

import asyncio
import hashlib
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, TypeVar, cast

from aiohttp import hdrs

from headend import documents, layout
from headend.errors import HeadendError, ObjectMissing, StorageError, StoreUnavailable
from headend.media import Current, Presentation
from headend.storage import Store
from headend.storage.local import LocalStore
from origin.answers import MPD_TYPE, PLAYLIST_TYPE, WEBVTT_TYPE, File, Representation, media_file, text_file
from origin.blobs import Blob, in_memory
from origin.caching import Shelf
from origin.disk_cache import DiskCache
from origin.index import POSTER, ReleaseIndex, Wanted, index_of
from origin.metrics import Metrics
from origin.reducing import reduced, with_base
from origin.restraint import Breaker
from origin.sources import Arriving, Damaged, Folder, Source, in_threads

CACHE_BYTES = 256 << 20
"""Memory for files, unless told otherwise."""
BLOBS = 16_384
"""Files that are held open, unless told otherwise."""
INDEX_BYTES = 64 << 20
"""Memory for what is known of releases: some hundred two-hour titles."""
POINTERS = 10_000
"""Titles whose current release is remembered, and absent things whose absence is."""
POINTER_S = 2.0
"""How long a pointer is believed without a look."""
ABSENCE_S = 5.0
"""How long an absence is believed without a look."""
LISTING_S = 30.0
"""How long a list of titles is shown; making one asks the store once for each title."""
WAIT_S = 20.0
"""How long a client waits for the store; the read goes on for those who come back."""
RENEWAL_S = 1.0
"""How long a client waits for news of something that is known already."""
THREADS = 16
"""Reads under way at a time."""
QUEUE = 256
"""Reads wanted at a time; beyond, clients are asked to come back, which bounds the memory of a burst."""

_READY_KEY = layout.current("ready")

_RELEASE = re.compile("[A-Za-z0-9-]{1,64}")

log = logging.getLogger("headend.origin")
Result = TypeVar("Result")


class Library:
    """The store, for handlers; belongs to one event loop.

    All methods raise `ObjectMissing` for what is not published, `StoreUnavailable` when the store is away or too many
    reads are wanted, and other kinds of `StorageError` when what is there can't be used.

    Args:
        store: Read from `THREADS` threads, or by aiohttp where it is in S3.
        metrics: Where lookups and reads are counted.
        cache_bytes: Memory for files.
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
        self._hits = metrics.lookups.of("hit")
        self._clock = clock
        self._disk = disk
        self._breaker = Breaker(clock)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="origin-store")
        self._source, self._close_source = _source(store, self._threads, metrics)
        self._flights: dict[str, asyncio.Task[Any]] = {}
        self._arrivals: set[asyncio.Task[None]] = set()
        # A file takes its share of the descriptors at least, so that the budget bounds these as well.
        self._least_bytes = cache_bytes // most_blobs
        self._files: Shelf[File] = Shelf(cache_bytes)
        self._releases: Shelf[ReleaseIndex] = Shelf(INDEX_BYTES)
        self._timed: Shelf[tuple[Any, float]] = Shelf(POINTERS)
        self._absent: Shelf[float] = Shelf(POINTERS)
        metrics.watch("cache_bytes", "Memory that files take.", lambda: self._files.size_bytes)
        metrics.watch("reads_under_way", "Reads of the store that clients wait for.", lambda: len(self._flights))
        if disk is not None:
            metrics.watch("disk_cache_bytes", "What the disk cache holds.", lambda: disk.size_bytes)

    async def current(self, title: str) -> str:
        """The id of a title's current release; the last one known while the store is away."""
        key = layout.current(title)
        return await self._timely(key, POINTER_S, partial(self._read_pointer, key))

    async def titles(self) -> tuple[str, ...]:
        """Every title with a current release, in the order of their names; some seconds old."""
        return await self._timely("", LISTING_S, self._list_titles)

    async def check(self) -> None:
        """Ask the store for a sign of life; raises `StorageError` if there is none."""
        await self._once(
            _READY_KEY, lambda: self._noted(_READY_KEY, self._in_thread(partial(self._exists, _READY_KEY)))
        )

    def remembered(self, key: str) -> File | None:
        """A file that is in memory or arriving there, by its key."""
        found = self._files.get(key)
        if found is not None:
            self._hits.value += 1
        return found

    async def file(self, wanted: Wanted) -> File:
        """A file of a release, from the store; whole and checked, or arriving and checked at its end. It is kept."""
        key = wanted.key
        self._metrics.lookups.inc("shared" if key in self._flights else "miss")
        index = await self.release(wanted.title, wanted.release)
        if wanted.rendition is None:
            read = self._draw_poster if wanted.name == POSTER else self._read_manifest
            return await self._once(key, lambda: self._kept(key, partial(read, wanted, index)))
        rendition = index.renditions.get(wanted.rendition)
        if rendition is None:
            raise _missing(key)
        if wanted.name == layout.INIT and rendition.init_bytes:
            size, sha256 = rendition.init_bytes, None
        elif wanted.name.endswith((layout.SEGMENT_SUFFIX, layout.TEXT_SUFFIX, layout.SHEET_SUFFIX)):
            number = int(wanted.name.partition(".")[0])
            if wanted.name != layout.segment_name(wanted.rendition, number) or number > len(rendition.segments):
                raise _missing(key)
            sha256, size = rendition.segments[number - 1]
        else:
            return await self._once(key, lambda: self._kept(key, partial(self._read_manifest, wanted, index)))
        kind = rendition.content_type
        return await self._once(key, lambda: self._arrive(key, size, sha256, index.published, kind))

    async def close(self) -> None:
        """Let go of threads and connections; reads under way end."""
        for task in (*self._flights.values(), *self._arrivals):
            task.cancel()
        await self._close_source()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def reduced_manifest(self, wanted: Wanted, max_height_px: int) -> File:
        """A manifest without the renditions above a height, from what was published; kept in memory."""
        index = await self.release(wanted.title, wanted.release)
        withheld = frozenset(id for id, known in index.renditions.items() if known.height_px > max_height_px)
        if not withheld:
            return await self.file(wanted)
        # All heights that come to the same share one file, so that tokens can't fill the memory with copies.
        highest = max((known.height_px for id, known in index.renditions.items() if id not in withheld), default=0)
        key = f"{wanted.key}?{highest}"
        if (found := self.remembered(key)) is not None:
            return found
        whole = (await self.file(wanted)).plain
        return await self._made(key, whole, lambda manifest: reduced(wanted.name, manifest, withheld))

    async def based_mpd(self, wanted: Wanted, max_height_px: int | None) -> File:
        """A release's MPD for an address above the release, with the base that leads there; kept in memory."""
        if max_height_px is None:
            whole = (self.remembered(wanted.key) or await self.file(wanted)).plain
        else:
            whole = (await self.reduced_manifest(wanted, max_height_px)).plain
        key = f"{wanted.key}?based={whole.etag}"
        if (found := self.remembered(key)) is not None:
            return found
        return await self._made(key, whole, lambda manifest: with_base(manifest, f"{wanted.release}/"))

    async def release(self, title: str, release: str) -> ReleaseIndex:
        """What is known of a release."""
        key = layout.release_document(title, release)
        found = self._releases.get(key)
        if found is not None:
            return found

        async def look() -> ReleaseIndex:
            index = await self._noted(key, self._in_thread(partial(self._read_release, key)))
            self._releases.put(key, index, index.size_bytes)
            return index

        return await self._once(key, look)

    async def _timely(self, key: str, fresh_s: float, read: Callable[[], Result]) -> Result:
        """What ``read`` gives, at most ``fresh_s`` old; the last that it gave, whatever its age, while it fails."""
        known = self._timed.get(key)
        if known is not None and self._clock() < known[1]:
            return cast(Result, known[0])

        def keep(result: Result) -> Result:
            self._timed.put(key, (result, self._clock() + fresh_s))
            return result

        async def look() -> Result:
            return keep(await self._noted(key, self._in_thread(read)))

        try:
            return await self._once(key, look, wait_s=WAIT_S if known is None else RENEWAL_S)
        except ObjectMissing:
            self._timed.drop(key)
            raise
        except StorageError:
            if known is None:
                raise
            return keep(cast(Result, known[0]))  # not every client shall wait for a store that is away

    async def _once(
        self, key: str, read: Callable[[], Coroutine[Any, Any, Result]], *, wait_s: float = WAIT_S
    ) -> Result:
        """Read; all who want ``key`` meanwhile share the one read, which outlives each of them."""
        until = self._absent.get(key)
        if until is not None and self._clock() < until:
            self._metrics.lookups.inc("absent")
            raise _missing(key)
        flight = self._flights.get(key)
        if flight is None:
            if max(len(self._flights), len(self._arrivals)) >= QUEUE:
                raise StoreUnavailable("too many reads are wanted at once; try again in a moment")
            flight = asyncio.get_running_loop().create_task(read())
            self._flights[key] = flight
            flight.add_done_callback(partial(self._landed, key))
        try:
            return cast(Result, await asyncio.wait_for(asyncio.shield(flight), wait_s))
        except TimeoutError:
            raise StoreUnavailable(f"{self._store.url} does not answer; check the network", key=key) from None

    async def _noted(self, key: str, reading: Coroutine[Any, Any, Result]) -> Result:
        """Read from the store, unless it is left alone, and note how that went."""
        if not self._breaker.allows():
            reading.close()
            raise StoreUnavailable(f"{self._store.url} has failed and is left alone for a moment", key=key)
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
        return await asyncio.get_running_loop().run_in_executor(self._threads, read)

    def _landed(self, key: str, flight: "asyncio.Task[Any]") -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # all who wanted to know may have left

    async def _kept(self, key: str, read: Callable[[], File]) -> File:
        """Read a file in a thread, and keep it."""
        return self._keep(key, await self._noted(key, self._in_thread(read)))

    async def _made(self, key: str, whole: Representation, make: Callable[[bytes], bytes]) -> File:
        """Make a manifest from another one in a thread, and keep it."""
        kind, content_type = "manifest", whole.whole.headers[hdrs.CONTENT_TYPE]
        return self._keep(
            key,
            await self._in_thread(lambda: text_file(kind, make(whole.read()), whole.modified, content_type)),
        )

    def _keep(self, key: str, file: File) -> File:
        self._files.put(key, file, max(file.size_bytes, self._least_bytes))
        return file

    async def _arrive(
        self, key: str, size_bytes: int, sha256: bytes | None, published: datetime, content_type: str
    ) -> File:
        """Have a segment or init segment read; returns as soon as there is something to send."""
        begun: asyncio.Future[File] = asyncio.get_running_loop().create_future()

        def describe(blob: Blob) -> File:
            digest = sha256 or hashlib.sha256(os.pread(blob.fd, size_bytes, 0)).digest()
            kind = "init" if sha256 is None else "segment"
            return self._keep(key, media_file(kind, blob, digest.hex(), published, content_type))

        def begin(blob: Blob) -> None:
            if not begun.done() and (sha256 is not None or blob.is_whole):
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
                    describe(kept)  # from now on the disk's pages are sent, and memory is free for others

        task = asyncio.get_running_loop().create_task(arrive())
        self._arrivals.add(task)
        task.add_done_callback(self._arrivals.discard)
        return await begun

    async def _fetch(
        self, key: str, size_bytes: int, sha256: bytes | None, begun: Callable[[Blob], None]
    ) -> Blob | None:
        """Read media from the disk cache or the store; returns what has come to lie in the disk cache thereby."""
        if self._disk is None or sha256 is None:
            await self._noted(key, self._source.fetch(key, size_bytes, sha256, begun))
            return None
        found = await self._in_thread(partial(self._disk.open, sha256, size_bytes))
        if found is not None:
            self._metrics.lookups.inc("disk")
            begun(found)
            return None
        blob = await self._noted(key, self._source.fetch(key, size_bytes, sha256, begun))
        kept = await self._in_thread(partial(self._disk.keep, sha256, blob))
        if kept is not None:
            blob.move(kept)  # clients that read slowly hold no memory
        return kept

    def _read_pointer(self, key: str) -> str:
        release = documents.read(Current, self._store.get(key), key=key).release
        if not _RELEASE.fullmatch(release):  # it becomes part of a header
            raise Damaged(f"{key} in {self._store.url} names no release; submit the master again", key=key)
        return release

    def _list_titles(self) -> tuple[str, ...]:
        named = self._store.folders(f"{layout.TITLES}/")
        return tuple(title for title in named if self._exists(layout.current(title)))

    def _exists(self, key: str) -> bool:
        try:
            self._store.head(key)
        except ObjectMissing:
            return False
        return True

    def _read_release(self, key: str) -> ReleaseIndex:
        presentation = documents.read(Presentation, self._store.get(key), key=key)
        return index_of(presentation, self._store.head(key).modified)

    def _draw_poster(self, wanted: Wanted, index: ReleaseIndex) -> File:
        from origin.watch import posters  # a decoder is a lot to load for who serves no pages

        key = layout.release_document(wanted.title, wanted.release)
        presentation = documents.read(Presentation, self._store.get(key), key=key)
        track, segments = posters.source(presentation)

        def read(name: str) -> bytes:
            return self._store.get(Wanted(wanted.title, wanted.release, track.rendition.id, name).key)

        init = read(layout.INIT)
        body = posters.draw(init + read(f"{segment.number}{layout.SEGMENT_SUFFIX}") for segment in segments)
        digest = hashlib.sha256(body).hexdigest()
        return media_file("poster", in_memory(body), digest, index.published, "image/jpeg")

    def _read_manifest(self, wanted: Wanted, index: ReleaseIndex) -> File:
        content_type = {layout.MPD: MPD_TYPE, layout.THUMBNAIL_INDEX: WEBVTT_TYPE}.get(wanted.name, PLAYLIST_TYPE)
        kind = "manifest" if wanted.rendition is None else "playlist"
        return text_file(kind, self._store.get(wanted.key), index.published, content_type)


def _source(
    store: Store, threads: ThreadPoolExecutor, metrics: Metrics
) -> tuple[Source, Callable[[], Awaitable[None]]]:
    """The best way to read media from a store, and what ends it."""

    async def nothing() -> None:
        pass

    if isinstance(store, LocalStore):
        return Folder(store, threads), nothing
    if store.url.startswith("s3://"):
        from headend.storage.s3 import S3Store
        from origin.bucket import Bucket

        if isinstance(store, S3Store):
            bucket = Bucket(store, threads, metrics.retries.inc)
            return Arriving(store, bucket.pieces), bucket.close
    return Arriving(store, in_threads(store, threads)), nothing


def _missing(key: str) -> ObjectMissing:
    return ObjectMissing(f"there is no {key}", key=key)


def _outcome(error: HeadendError) -> str:
    if isinstance(error, ObjectMissing):
        return "missing"
    if isinstance(error, Damaged):
        return "damaged"
    return "unavailable" if error.retryable else "refused"
