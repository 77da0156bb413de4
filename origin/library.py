"""The published files of the store: read, verified and cached.

Concurrent requests for an uncached file share one read, and get its bytes while they arrive. Objects that are truncated
or damaged in the store are never served as complete. While the store is unreachable, cached files are still served.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

from headend.core import documents, layout, track_index
from headend.core.caching.disk_cache import DiskCache
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.caching.spilling import Spiller
from headend.core.errors import HeadendError, ObjectMissing, StorageError
from headend.core.http.blobs import Blob, in_memory
from headend.core.http.responses import File, media_file, text_file
from headend.core.manifests.forms import TopManifest, top_manifest
from headend.core.manifests.selection import Selection, select
from headend.core.media import Current
from headend.core.storage import Store
from origin import cmsd
from origin.catalogue import Catalogue
from origin.metrics import Metrics
from origin.policy import JPEG_TYPE, MPD_TYPE, PLAYLIST_TYPE, WEBVTT_TYPE
from origin.reads import WAIT_S, DocumentKey, MediaKey, StoreReads, missing
from origin.releases import LoadedRelease, LoadedTrack, RequestedFile, TokenFacts, load_release
from origin.sources import Damaged, open_source

CACHE_BYTES = 256 << 20
"""Default memory for cached files."""
BLOBS = 16_384
"""Default maximum number of open files."""
INDEX_SHARE = 8
"""One part in this many of the cache is for track indexes; the index of a two-hour track takes 60 kB."""
MIN_INDEX_BYTES = 4 << 20
"""Minimum memory for track indexes."""
MAX_TOKEN_FACTS = 50_000
"""Maximum number of cached `TokenFacts`; they take about 10 MB."""
RELEASES_BYTES = 32 << 20
"""Memory for releases: enough for about a hundred two-hour releases."""
MAX_POINTERS = 10_000
"""Maximum number of titles whose current release is cached."""
POINTER_S = 2.0
"""How long a title's current release is cached."""
REFRESH_WAIT_S = 1.0
"""How long a client waits for a title's current release if an expired one is cached and can be used instead."""

_RELEASE_ID = re.compile("[A-Za-z0-9-]{1,64}")


class Library:
    """Reads and caches the store's published files; belongs to one event loop.

    All methods raise `ObjectMissing` for objects that aren't published, `StoreUnavailable` if the store is unreachable
    or too many reads are pending, and other kinds of `StorageError` for objects that can't be used. ``client`` is the
    requesting client's name or address, because pending reads are limited per client; empty for the origin itself.

    Args:
        store: The store: read in threads, or with aiohttp if it is in S3.
        metrics: Counts lookups and reads.
        cache_bytes: Memory for files and track indexes.
        max_blobs: Maximum number of open files.
        disk: Disk cache for media; None for none.
        clock: Monotonic clock, in seconds.
    """

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        *,
        cache_bytes: int = CACHE_BYTES,
        max_blobs: int = BLOBS,
        disk: DiskCache | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._hits = metrics.lookups.labels("hit")
        self._clock = clock
        self._disk = disk
        self._reads = StoreReads(store, metrics, clock)
        self._source, self._close_source = open_source(store, self._reads.media_threads, metrics)
        self._media_tasks: set[asyncio.Task[None]] = set()
        # Each file counts as at least this size, so that the memory limit also limits the number of open files.
        self._min_file_bytes = cache_bytes // max_blobs
        index_bytes = max(MIN_INDEX_BYTES, cache_bytes // INDEX_SHARE)
        self._spiller = Spiller()
        self._files: SegmentedLRU[str, File] = SegmentedLRU(max(1, cache_bytes - index_bytes), self._evicted)
        self._releases: SegmentedLRU[DocumentKey, LoadedRelease] = SegmentedLRU(RELEASES_BYTES)
        self._tracks: SegmentedLRU[DocumentKey, LoadedTrack] = SegmentedLRU(index_bytes)
        self._token_facts: SegmentedLRU[tuple[str, str], TokenFacts] = SegmentedLRU(MAX_TOKEN_FACTS)
        self._pointers: SegmentedLRU[str, tuple[str, float]] = SegmentedLRU(MAX_POINTERS)
        self._catalogue = Catalogue(self._list_folder, clock)
        registry = metrics.registry
        registry.gauge("cache_bytes", "Memory of cached files.", lambda: self._files.size_bytes)
        registry.gauge("reads_under_way", "Reads of the store that clients wait for.", lambda: len(self._reads))
        if disk is not None:
            registry.gauge("disk_cache_bytes", "Size of the disk cache.", lambda: disk.size_bytes)

    async def current(self, title: str, client: str = "") -> str:
        """The id of a title's current release; the last known one while the store is unreachable."""
        cached = self._pointers.get(title)
        if cached is not None and self._clock() < cached[1]:
            return cached[0]
        key = DocumentKey("pointer", title)
        if cached is None and not await self._catalogue.has_title(title):
            raise missing(title)

        async def read() -> str:
            release = await self._reads.run_in_thread(key, partial(self._read_pointer, layout.current(title)))
            return self._cache_pointer(title, release)

        wait_s = WAIT_S if cached is None else REFRESH_WAIT_S
        try:
            return await self._reads.coalesce(self._reads.documents, key, read, client=client, wait_s=wait_s)
        except ObjectMissing:
            self._pointers.drop(title)
            raise
        except StorageError:
            if cached is None:
                raise
            return self._cache_pointer(title, cached[0])  # for `POINTER_S`, other clients don't wait for the store

    async def titles(self, after: str, count: int) -> tuple[tuple[str, ...], str | None]:
        """One page of the published titles, in order of their names; may be up to half a minute old.

        Args:
            after: Last title of the previous page; empty for the first page.
            count: Maximum number of titles.

        Returns:
            The titles, and ``after`` of the next page; None on the last page.
        """
        found = await self._catalogue.titles_after(after, count + 1)
        return found[:count], found[count - 1] if len(found) > count else None

    async def warm_up(self) -> None:
        """List the titles before the first request; failures are logged."""
        with suppress(StorageError):
            await self._catalogue.titles_after("", 0)

    async def check(self) -> None:
        """Check that the store answers; raises `StorageError` if it does not."""
        key = DocumentKey("health", "")
        await self._reads.coalesce(self._reads.internal, key, lambda: self._reads.run_in_thread(key, self._probe))

    def cached(self, key: str) -> File | None:
        """A file that is in memory or being read into memory, by its key."""
        found = self._files.get(key)
        if found is not None:
            self.count_hit()
        return found

    def peek(self, key: str) -> File | None:
        """Like `cached`, but does not count a hit."""
        return self._files.get(key)

    def count_hit(self) -> None:
        """Count a hit."""
        self._hits.value += 1

    async def file(self, requested: RequestedFile, client: str = "") -> File:
        """Read a file and cache it.

        A segment, init segment or sheet may still be arriving; it is verified at its end, against its track's index.
        """
        key = requested.key
        if requested.track is None:
            release = await self.release(requested.title, requested.release or "", client)
            return await self._release_file(requested, release, client)
        track = await self.track(requested.title, requested.track, client)
        index = track.index
        if requested.name == layout.INDEX:  # edges verify segments against it
            body = await self._reads.in_thread(partial(track_index.encode, index))
            digest = hashlib.sha256(body).hexdigest()
            return self._cache(
                key, media_file("index", in_memory(body), digest, track.published, "application/octet-stream")
            )
        period = layout.init_period(requested.name)
        if 0 < period <= len(index.facts.inits_sha256):
            number, kind, size = 0, "init", index.facts.init_bytes
            sha256 = bytes.fromhex(index.facts.inits_sha256[period - 1])
        else:
            digits = requested.name.partition(".")[0]
            number = int(digits) if digits.isdecimal() else 0
            if not index.has(number) or requested.name != layout.segment_name(requested.track, number):
                raise missing(key)
            kind = "sheet" if requested.name.endswith(layout.SHEET_SUFFIX) else "segment"
            size, sha256 = index.size_bytes(number), index.sha256(number)
        content_type = index.facts.content_type
        cmsd_values = cmsd.static(index, number or None)
        media_key = MediaKey(key)
        self._metrics.lookups.inc("shared" if media_key in self._reads.media else "miss")
        return await self._reads.coalesce(
            self._reads.media,
            media_key,
            lambda: self._start_media(key, kind, size, sha256, track.published, content_type, cmsd_values),
            client=client,
        )

    async def close(self) -> None:
        """Cancel reads, and close threads and connections."""
        self._reads.cancel()
        for task in self._media_tasks:
            task.cancel()
        await self._close_source()
        self._reads.close()

    async def manifest(
        self,
        requested: RequestedFile,
        selection: Selection,
        max_height_px: int | None,
        *,
        at_entry_point: bool = False,
        steering: str = "",
        client: str = "",
    ) -> File:
        """A filtered manifest, rendered and cached; the published file if the filter changes nothing.

        Args:
            requested: The manifest.
            selection: The client's filter.
            max_height_px: The plan's height limit, which no filter can raise; None for no limit.
            at_entry_point: Whether the client requested it at the title's address, so that it needs a base URL.
            steering: Address of the title's steering manifest; empty for no steering.
            client: The client's name or address.

        Raises:
            SelectionError: The filter leaves nothing to play.
        """
        release = await self.release(requested.title, requested.release or "", client)
        published = top_manifest(release.outline, requested.name)
        if published is None:
            raise missing(requested.name)
        filtered = replace(published, outline=select(published.outline, selection, max_height_px))
        if filtered == published and not at_entry_point and not steering:
            return self.cached(requested.key) or await self.file(requested, client)
        # Filters that select the same tracks share one file, so that clients can't fill the memory with copies.
        tracks = hashlib.sha256(" ".join(track.id for track in filtered.outline.played()).encode()).hexdigest()
        key = f"{requested.key}?{tracks}{'&entry' * at_entry_point}{'&steered' * bool(steering)}"
        if (found := self.cached(key)) is not None:
            return found
        base = f"releases/{requested.release}/" if at_entry_point else ""

        async def render() -> File:
            render_file = partial(_render, filtered, base, steering, release.published)
            return self._cache(key, await self._reads.in_thread(render_file))

        return await self._reads.coalesce(self._reads.documents, DocumentKey("manifest", key), render, client=client)

    async def release(self, title: str, release: str, client: str = "") -> LoadedRelease:
        """A release, from the cache or the store."""
        key = DocumentKey("release", layout.outline(title, release))
        found = self._releases.get(key)
        if found is not None:
            return found
        if release != await self.current(title, client):
            await self._catalogue.check(layout.releases(title), release)

        async def read() -> LoadedRelease:
            loaded = await self._reads.run_in_thread(key, partial(self._read_release, key.name))
            self._releases.put(key, loaded, loaded.size_bytes)
            return loaded

        return await self._reads.coalesce(self._reads.documents, key, read, client=client)

    async def track(self, title: str, track: str, client: str = "") -> LoadedTrack:
        """A track, from the cache or the store."""
        key = DocumentKey("track", layout.track_index(title, track))
        found = self._tracks.get(key)
        if found is not None:
            return found
        if not await self._catalogue.has_title(title):
            raise missing(title)
        await self._catalogue.check(layout.tracks(title), track)

        async def read() -> LoadedTrack:
            loaded = await self._reads.run_in_thread(key, partial(self._read_track, key.name))
            self._tracks.put(key, loaded, loaded.index.memory_bytes)
            self._token_facts.put((title, track), loaded.token_facts)
            return loaded

        return await self._reads.coalesce(self._reads.documents, key, read, client=client)

    def cached_release(self, title: str, release: str) -> LoadedRelease | None:
        """A release if it is cached; otherwise None."""
        return self._releases.get(DocumentKey("release", layout.outline(title, release)))

    def cached_token_facts(self, title: str, track: str) -> TokenFacts | None:
        """What token checks need to know about a track, if it is cached; otherwise None."""
        return self._token_facts.get((title, track))

    async def token_facts(self, title: str, track: str, client: str = "") -> TokenFacts:
        """What token checks need to know about a track, from the cache or the store."""
        return self.cached_token_facts(title, track) or (await self.track(title, track, client)).token_facts

    async def _release_file(self, requested: RequestedFile, release: LoadedRelease, client: str) -> File:
        key = DocumentKey("file", requested.key)
        self._metrics.lookups.inc("shared" if key in self._reads.documents else "miss")

        async def read() -> File:
            file = await self._reads.run_in_thread(key, partial(self._read_release_file, requested, release))
            return self._cache(requested.key, file)

        return await self._reads.coalesce(self._reads.documents, key, read, client=client)

    async def _list_folder(self, folder: str) -> tuple[str, ...]:
        key = DocumentKey("listing", folder)
        read = partial(self._published_titles if folder == layout.published() else self._store.folders, folder)
        return await self._reads.coalesce(self._reads.internal, key, lambda: self._reads.run_in_thread(key, read))

    def _published_titles(self, folder: str) -> tuple[str, ...]:
        return tuple(info.key.removeprefix(folder) for info in self._store.list(folder))

    def _cache(self, key: str, file: File) -> File:
        self._files.put(key, file, max(file.size_bytes, self._min_file_bytes))
        if key not in self._files:  # larger than the cache
            self._evicted(key, file)
        return file

    def _evicted(self, _: str, file: File) -> None:
        if isinstance(file.plain.body, Blob):
            self._spiller.evicted(file.plain.body)

    def _cache_pointer(self, title: str, release: str) -> str:
        self._pointers.put(title, (release, self._clock() + POINTER_S))
        return release

    async def _start_media(
        self,
        key: str,
        kind: str,
        size_bytes: int,
        sha256: bytes,
        published: datetime,
        content_type: str,
        cmsd_values: str,
    ) -> File:
        """Start to read a segment, init segment or sheet; returns as soon as its first bytes can be sent."""
        started: asyncio.Future[File] = asyncio.get_running_loop().create_future()

        def cache(blob: Blob) -> File:
            headers = {cmsd.STATIC: cmsd_values}
            return self._cache(key, media_file(kind, blob, sha256.hex(), published, content_type, headers))

        def on_data(blob: Blob) -> None:
            if not started.done():
                started.set_result(cache(blob))

        async def fetch() -> None:
            try:
                on_disk = await self._fetch(key, size_bytes, sha256, on_data)
            except asyncio.CancelledError:
                started.cancel()
                raise
            except Exception as error:
                if not started.done():
                    started.set_exception(error)
                    return
                self._files.drop(key)  # the blob disconnects clients that were already sent a part
                if not isinstance(error, HeadendError):
                    raise
            else:
                if on_disk is not None:
                    cache(on_disk)  # serve it from disk from now on, and free the memory

        task = asyncio.get_running_loop().create_task(fetch())
        self._media_tasks.add(task)
        task.add_done_callback(self._media_tasks.discard)
        return await started

    async def _fetch(self, key: str, size_bytes: int, sha256: bytes, on_data: Callable[[Blob], None]) -> Blob | None:
        """Read media from the disk cache or the store; returns the blob if it was just written to the disk cache."""
        media_key = MediaKey(key)
        if self._disk is None:
            await self._reads.run(media_key, self._source.fetch(key, size_bytes, sha256, on_data))
            return None
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._reads.media_threads, self._disk.open, sha256, size_bytes)
        if found is not None:
            self._metrics.lookups.inc("disk")
            on_data(found)
            return None
        blob = await self._reads.run(media_key, self._source.fetch(key, size_bytes, sha256, on_data))
        on_disk = await loop.run_in_executor(self._reads.media_threads, self._disk.keep, sha256, blob)
        if on_disk is not None:
            blob.switch_to(on_disk)  # slow clients are served from disk and don't pin memory
        return on_disk

    def _read_pointer(self, key: str) -> str:
        release = documents.read(Current, self._store.get(key), key=key).release
        if not release:
            raise missing(key)  # the title was withdrawn
        if not _RELEASE_ID.fullmatch(release):  # it becomes part of a Location header
            raise Damaged(f"{key} in {self._store.url} is damaged; submit the master again", key=key)
        return release

    def _probe(self) -> None:
        with suppress(ObjectMissing):  # the store answered
            self._store.head(_PROBE)

    def _read_release(self, key: str) -> LoadedRelease:
        return load_release(self._store.get(key), self._store.head(key).modified, key)

    def _read_track(self, key: str) -> LoadedTrack:
        return LoadedTrack(track_index.decode(self._store.get(key), key=key), self._store.head(key).modified)

    def _read_release_file(self, requested: RequestedFile, release: LoadedRelease) -> File:
        body = self._store.get(requested.key)
        if requested.name == layout.POSTER_PICTURE:
            return media_file("poster", in_memory(body), hashlib.sha256(body).hexdigest(), release.published, JPEG_TYPE)
        if requested.name == layout.THUMBNAIL_INDEX:
            return text_file("thumbnails", body, release.published, WEBVTT_TYPE)
        content_type = MPD_TYPE if requested.name.endswith(layout.DASH_SUFFIX) else PLAYLIST_TYPE
        kind = "playlist" if top_manifest(release.outline, requested.name) is None else "manifest"
        return text_file(kind, body, release.published, content_type)


_PROBE = "health"
"""Key that health checks ask for; no object has it."""


def _render(top: TopManifest, base: str, steering: str, published: datetime) -> File:
    return text_file("manifest", top.render(base, steering), published, MPD_TYPE if top.is_dash else PLAYLIST_TYPE)
