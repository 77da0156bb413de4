"""The published part of the store: verified and cached.

Concurrent requests for an uncached file share one read and are served while it runs. Objects that are truncated or
damaged in the store are never served as complete. While the store is unreachable, cached files are still served.
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
from pathlib import PurePosixPath

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
from origin.index import KnownTrack, Outline, ReleaseIndex, Wanted, index_of
from origin.metrics import Metrics
from origin.policy import JPEG_TYPE, MPD_TYPE, PLAYLIST_TYPE, WEBVTT_TYPE
from origin.reads import WAIT_S, Document, Media, StoreReads, missing
from origin.sources import Damaged, open_source

CACHE_BYTES = 256 << 20
"""Default memory for cached files."""
BLOBS = 16_384
"""Default maximum of open files."""
INDEX_SHARE = 8
"""Track indexes get one part in this many of the cache; the index of a two-hour track takes 60 kB."""
LEAST_INDEX_BYTES = 4 << 20
"""Minimum memory for track indexes."""
OUTLINES = 50_000
"""Maximum number of tracks whose facts for token checks are cached: some 10 MB."""
RELEASES_BYTES = 32 << 20
"""Memory for release outlines: about a hundred two-hour releases."""
POINTERS = 10_000
"""Maximum number of titles whose current release is cached."""
POINTER_S = 2.0
"""How long a title's current release is cached."""
RENEWAL_S = 1.0
"""How long a client waits for a fresh value when a stale one is cached."""

_RELEASE = re.compile("[A-Za-z0-9-]{1,64}")


class Library:
    """The store as handlers see it; belongs to one event loop.

    All methods raise `ObjectMissing` for objects that aren't published, `StoreUnavailable` if the store is unreachable
    or too many reads are pending, and other kinds of `StorageError` for objects that can't be used. ``client`` names
    the requesting client, because pending reads are limited per client.

    Args:
        store: The store: read in threads, or with aiohttp if it is in S3.
        metrics: Counts lookups and reads.
        cache_bytes: Memory for files and track indexes.
        most_blobs: Maximum number of open files.
        disk: Disk cache for media; None for none.
        clock: Monotonic clock, in seconds.
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
        self._reads = StoreReads(store, metrics, clock)
        self._source, self._close_source = open_source(store, self._reads.media_threads, metrics)
        self._arrivals: set[asyncio.Task[None]] = set()
        # Small files count as more than their size, so that the memory limit also limits the open files.
        self._least_bytes = cache_bytes // most_blobs
        index_bytes = max(LEAST_INDEX_BYTES, cache_bytes // INDEX_SHARE)
        self._spiller = Spiller()
        self._files: SegmentedLRU[str, File] = SegmentedLRU(max(1, cache_bytes - index_bytes), self._evicted)
        self._releases: SegmentedLRU[Document, ReleaseIndex] = SegmentedLRU(RELEASES_BYTES)
        self._tracks: SegmentedLRU[Document, KnownTrack] = SegmentedLRU(index_bytes)
        self._outlines: SegmentedLRU[tuple[str, str], Outline] = SegmentedLRU(OUTLINES)
        self._pointers: SegmentedLRU[str, tuple[str, float]] = SegmentedLRU(POINTERS)

        self._catalogue = Catalogue(self._names, clock)
        registry = metrics.registry
        registry.gauge("cache_bytes", "Memory of cached files.", lambda: self._files.size_bytes)
        registry.gauge("reads_under_way", "Reads of the store that clients wait for.", lambda: len(self._reads))
        if disk is not None:
            registry.gauge("disk_cache_bytes", "Size of the disk cache.", lambda: disk.size_bytes)

    async def current(self, title: str, client: str = "") -> str:
        """The id of a title's current release; the last known one while the store is unreachable."""
        known = self._pointers.get(title)
        if known is not None and self._clock() < known[1]:
            return known[0]
        key = Document("pointer", title)
        if known is None and not await self._catalogue.has_title(title):
            raise missing(title)

        async def read() -> str:
            release = await self._reads.run_in_thread(key, partial(self._read_pointer, layout.current(title)))
            return self._keep_pointer(title, release)

        try:
            return await self._reads.share(
                self._reads.documents, key, read, client=client, wait_s=WAIT_S if known is None else RENEWAL_S
            )
        except ObjectMissing:
            self._pointers.drop(title)
            raise
        except StorageError:
            if known is None:
                raise
            return self._keep_pointer(title, known[0])  # the next clients need not wait for the store

    async def titles(self, after: str, count: int) -> tuple[tuple[str, ...], str | None]:
        """One page of the published titles, in order of their names; may be some seconds old.

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
        key = Document("health", "")
        await self._reads.share(self._reads.own, key, lambda: self._reads.run_in_thread(key, self._probe))

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

    async def file(self, wanted: Wanted, client: str = "") -> File:
        """Read a file and cache it; it is complete and verified, or still arriving and verified at its end."""
        key = wanted.key
        if wanted.track is None:
            release = await self.release(wanted.title, wanted.release or "", client)
            return await self._document(wanted, release, client)
        track = await self.track(wanted.title, wanted.track, client)
        index = track.index
        if wanted.name == layout.INDEX:  # edges verify segments against it
            body = await self._reads.in_thread(partial(track_index.encode, index))
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
                raise missing(key)
            kind = "sheet" if wanted.name.endswith(layout.SHEET_SUFFIX) else "segment"
            size, sha256 = index.size_bytes(number), index.sha256(number)
        content_type = index.facts.content_type
        cmsd_values = cmsd.static(index, number or None)
        flight = Media(key)
        self._metrics.lookups.inc("shared" if flight in self._reads.media else "miss")
        return await self._reads.share(
            self._reads.media,
            flight,
            lambda: self._arrive(key, kind, size, sha256, track.published, content_type, cmsd_values),
            client=client,
        )

    async def close(self) -> None:
        """Cancel reads, and close threads and connections."""
        self._reads.cancel()
        for task in self._arrivals:
            task.cancel()
        await self._close_source()
        self._reads.close()

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
        """A filtered manifest, rendered and cached; the published file if nothing is filtered.

        Args:
            wanted: The manifest.
            selection: The client's filter.
            max_height_px: The plan's limit, which no selection can raise.
            is_above: Whether the client requested it at the title's address, so that it needs the release as base.
            steering: Address of the steering manifest for the title; empty for no steering.
            client: The client's name or address.

        Raises:
            SelectionError: The filter leaves nothing to play.
        """
        index = await self.release(wanted.title, wanted.release or "", client)
        top = top_manifest(index.outline, wanted.name)
        if top is None:
            raise missing(wanted.name)
        chosen = replace(top, outline=select(top.outline, selection, max_height_px))
        if chosen == top and not is_above and not steering:
            return self.cached(wanted.key) or await self.file(wanted, client)
        # Filters that select the same tracks share one file, so that clients can't fill the memory with copies.
        tracks = hashlib.sha256(" ".join(track.id for track in chosen.outline.played()).encode()).hexdigest()
        key = f"{wanted.key}?{tracks}{'&above' * is_above}{'&steered' * bool(steering)}"
        if (found := self.cached(key)) is not None:
            return found
        base = f"releases/{wanted.release}/" if is_above else ""

        async def render() -> File:
            render_file = partial(_rendered, chosen, base, steering, index.published)
            return self._keep(key, await self._reads.in_thread(render_file))

        return await self._reads.share(self._reads.documents, Document("manifest", key), render, client=client)

    async def release(self, title: str, release: str, client: str = "") -> ReleaseIndex:
        """Read a release's outline, or take it from the cache."""
        key = Document("release", layout.outline(title, release))
        found = self._releases.get(key)
        if found is not None:
            return found
        if release != await self.current(title, client):
            await self._catalogue.check(layout.releases(title), release)

        async def read() -> ReleaseIndex:
            index = await self._reads.run_in_thread(key, partial(self._read_release, key.name))
            self._releases.put(key, index, index.size_bytes)
            return index

        return await self._reads.share(self._reads.documents, key, read, client=client)

    async def track(self, title: str, track: str, client: str = "") -> KnownTrack:
        """Read a track's index, or take it from the cache."""
        key = Document("track", layout.track_index(title, track))
        found = self._tracks.get(key)
        if found is not None:
            return found
        if not await self._catalogue.has_title(title):
            raise missing(title)
        await self._catalogue.check(layout.tracks(title), track)

        async def read() -> KnownTrack:
            known = await self._reads.run_in_thread(key, partial(self._read_track, key.name))
            self._tracks.put(key, known, known.index.memory_bytes)
            self._outlines.put((title, track), known.outline)
            return known

        return await self._reads.share(self._reads.documents, key, read, client=client)

    def known_release(self, title: str, release: str) -> ReleaseIndex | None:
        """A release's outline if it is cached."""
        return self._releases.get(Document("release", layout.outline(title, release)))

    def known_outline(self, title: str, track: str) -> Outline | None:
        """A track's facts for token checks if they are cached."""
        return self._outlines.get((title, track))

    async def outline(self, title: str, track: str, client: str = "") -> Outline:
        """A track's facts for token checks."""
        return self.known_outline(title, track) or (await self.track(title, track, client)).outline

    async def _document(self, wanted: Wanted, index: ReleaseIndex, client: str) -> File:
        key = Document("file", wanted.key)
        self._metrics.lookups.inc("shared" if key in self._reads.documents else "miss")

        async def read() -> File:
            file = await self._reads.run_in_thread(key, partial(self._read_document, wanted, index))
            return self._keep(wanted.key, file)

        return await self._reads.share(self._reads.documents, key, read, client=client)

    async def _names(self, folder: str) -> tuple[str, ...]:
        key = Document("listing", folder)
        read = partial(self._marks if folder == layout.published() else self._store.folders, folder)
        return await self._reads.share(self._reads.own, key, lambda: self._reads.run_in_thread(key, read))

    def _marks(self, folder: str) -> tuple[str, ...]:
        return tuple(info.key.removeprefix(folder) for info in self._store.list(folder))

    def _keep(self, key: str, file: File) -> File:
        self._files.put(key, file, max(file.size_bytes, self._least_bytes))
        if key not in self._files:  # larger than the cache
            self._evicted(key, file)
        return file

    def _evicted(self, _: str, file: File) -> None:
        if isinstance(file.plain.body, Blob):
            self._spiller.evicted(file.plain.body)

    def _keep_pointer(self, title: str, release: str) -> str:
        self._pointers.put(title, (release, self._clock() + POINTER_S))
        return release

    async def _arrive(
        self,
        key: str,
        kind: str,
        size_bytes: int,
        sha256: bytes,
        published: datetime,
        content_type: str,
        cmsd_values: str,
    ) -> File:
        """Start to read a segment or init segment; returns as soon as its first bytes can be sent."""
        begun: asyncio.Future[File] = asyncio.get_running_loop().create_future()

        def describe(blob: Blob) -> File:
            headers = {cmsd.STATIC: cmsd_values}
            return self._keep(key, media_file(kind, blob, sha256.hex(), published, content_type, headers))

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
                self._files.drop(key)  # the blob disconnects clients that were already sent a part
                if not isinstance(error, HeadendError):
                    raise
            else:
                if kept is not None:
                    describe(kept)  # serve it from disk from now on, and free the memory

        task = asyncio.get_running_loop().create_task(arrive())
        self._arrivals.add(task)
        task.add_done_callback(self._arrivals.discard)
        return await begun

    async def _fetch(self, key: str, size_bytes: int, sha256: bytes, begun: Callable[[Blob], None]) -> Blob | None:
        """Read media from the disk cache or the store; returns the blob written to the disk cache, if any."""
        media = Media(key)
        if self._disk is None:
            await self._reads.run(media, self._source.fetch(key, size_bytes, sha256, begun))
            return None
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._reads.media_threads, self._disk.open, sha256, size_bytes)
        if found is not None:
            self._metrics.lookups.inc("disk")
            begun(found)
            return None
        blob = await self._reads.run(media, self._source.fetch(key, size_bytes, sha256, begun))
        kept = await loop.run_in_executor(self._reads.media_threads, self._disk.keep, sha256, blob)
        if kept is not None:
            blob.move(kept)  # slow clients are served from disk and don't pin memory
        return kept

    def _read_pointer(self, key: str) -> str:
        release = documents.read(Current, self._store.get(key), key=key).release
        if not release:
            raise missing(key)  # the title was withdrawn
        if not _RELEASE.fullmatch(release):  # it becomes part of a Location header
            raise Damaged(f"{key} in {self._store.url} names no release; submit the master again", key=key)
        return release

    def _probe(self) -> None:
        with suppress(ObjectMissing):  # the store answered
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
"""Key for health checks; no object ever has it."""


def _rendered(top: TopManifest, base: str, steering: str, published: datetime) -> File:
    return text_file("manifest", top.render(base, steering), published, MPD_TYPE if top.is_dash else PLAYLIST_TYPE)
