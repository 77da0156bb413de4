"""What the store holds, as far as the world may see it: read once, checked, and remembered.

All reads of the store go through here. Many clients that want one cold file cause one read; a file is checked against
the release before its first byte goes out, so that a body cut short or damaged in the store is never passed off as
the real one; and while the store is away, what is in memory is served on.
"""

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar, cast

from aiohttp import hdrs

from headend import documents, layout
from headend.errors import HeadendError, ObjectMissing, StorageError, StoreUnavailable
from headend.media import AudioRendition, Current, Presentation, VideoRendition
from headend.storage import Store
from origin.answers import MPD_TYPE, PLAYLIST_TYPE, File, manifest_file, media_file
from origin.caching import Shelf
from origin.metrics import Metrics
from origin.reducing import reduced, with_base

CACHE_BYTES = 256 << 20
"""Memory for files, unless told otherwise."""
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
FAILURES = 5
"""So many failures in a row, and the store is left alone for a while."""
REST_S = 2.0
"""How long the store is left alone until one read tries it."""

POSTER = "poster.jpg"
"""The name of a release's poster, which is drawn when somebody wants it."""

_SEGMENT_BYTES_IN_MEMORY = 160
_READY_KEY = layout.current("ready")

_RELEASE = re.compile("[A-Za-z0-9-]{1,64}")

log = logging.getLogger("headend.origin")
Result = TypeVar("Result")


class Damaged(StorageError):
    """An object is not what its release says."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of a release.

    Attributes:
        title: Catalogue entry.
        release: Its id.
        rendition: None for files of the release itself.
        name: The file's name.
    """

    title: str
    release: str
    rendition: str | None
    name: str

    @property
    def key(self) -> str:
        """Where it is in the store."""
        if self.rendition is None:
            return f"{layout.release_path(self.title, self.release)}/{self.name}"
        return f"{layout.rendition_path(self.title, self.release, self.rendition)}/{self.name}"


@dataclass(frozen=True, slots=True)
class RenditionIndex:
    """What a release says of a rendition.

    Attributes:
        content_type: Of its init segment and media segments.
        init_bytes: Size of the init segment.
        segments: SHA-256 and size of each media segment, in order.
        height_px: Of pictures, the shorter side, so that upright ones count as what they are; 0 for sound.
    """

    content_type: str
    init_bytes: int
    segments: tuple[tuple[bytes, int], ...]
    height_px: int = 0


@dataclass(frozen=True, slots=True)
class ReleaseIndex:
    """What the origin keeps of a release's document.

    Attributes:
        published: When the document was written: the date of all files of the release, which never change.
        renditions: By id.
        segment_s: Length of a segment.
    """

    published: datetime
    renditions: dict[str, RenditionIndex]
    segment_s: float

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        return _SEGMENT_BYTES_IN_MEMORY * sum(len(r.segments) + 2 for r in self.renditions.values())


class Breaker:
    """Leaves a failing store alone, but for one try now and then.

    Without it each request would wait for the store's own retries, and all threads with it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._closed_from = 0.0

    def allows(self) -> bool:
        """Whether the store may be asked; after a rest, true for one caller per `REST_S`."""
        if self._failures < FAILURES:
            return True
        if self._clock() < self._closed_from:
            return False
        self._closed_from = self._clock() + REST_S
        return True

    def note(self, *, failed: bool) -> None:
        """Note how a read ended; that something is missing is no failure."""
        self._failures = self._failures + 1 if failed else 0
        if failed:
            self._closed_from = self._clock() + REST_S


class Library:
    """The store, for handlers; belongs to one event loop.

    All methods raise `ObjectMissing` for what is not published, `StoreUnavailable` when the store is away or too many
    reads are wanted, and other kinds of `StorageError` when what is there can't be used.

    Args:
        store: Read from `THREADS` threads.
        metrics: Where lookups and reads are counted.
        cache_bytes: Memory for files.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        *,
        cache_bytes: int = CACHE_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._breaker = Breaker(clock)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="origin-store")
        self._flights: dict[str, asyncio.Task[Any]] = {}
        self._files: Shelf[File] = Shelf(cache_bytes)
        self._releases: Shelf[ReleaseIndex] = Shelf(INDEX_BYTES)
        self._timed: Shelf[tuple[Any, float]] = Shelf(POINTERS)
        self._absent: Shelf[float] = Shelf(POINTERS)
        metrics.watch("cache_bytes", "Memory that files take.", lambda: self._files.size_bytes)
        metrics.watch("reads_under_way", "Reads of the store that clients wait for.", lambda: len(self._flights))

    async def current(self, title: str) -> str:
        """The id of a title's current release; the last one known while the store is away."""
        key = layout.current(title)
        return await self._timely(key, POINTER_S, partial(self._read_pointer, key))

    async def titles(self) -> tuple[str, ...]:
        """Every title with a current release, in the order of their names; some seconds old."""
        return await self._timely("", LISTING_S, self._list_titles)

    async def check(self) -> None:
        """Ask the store for a sign of life; raises `StorageError` if there is none."""
        await self._once("ready", partial(self._exists, _READY_KEY))

    def remembered(self, key: str) -> File | None:
        """A file that is in memory, by its key."""
        found = self._files.get(key)
        if found is not None:
            self._metrics.looked_up("hit")
        return found

    async def file(self, wanted: Wanted) -> File:
        """A file of a release, from the store, whole and checked; kept in memory."""
        key = wanted.key
        self._metrics.looked_up("shared" if key in self._flights else "miss")
        index = await self.release(wanted.title, wanted.release)
        if wanted.rendition is not None and wanted.rendition not in index.renditions:
            raise _missing(key)
        rendition = None if wanted.rendition is None else index.renditions[wanted.rendition]
        if rendition is not None and wanted.name.endswith(layout.SEGMENT_SUFFIX):
            number = int(wanted.name.removesuffix(layout.SEGMENT_SUFFIX))
            if not 1 <= number <= len(rendition.segments):
                raise _missing(key)
            sha256, size = rendition.segments[number - 1]
            read = partial(self._read_media, key, index, rendition, size, sha256)
        elif rendition is not None and wanted.name == layout.INIT:
            read = partial(self._read_media, key, index, rendition, rendition.init_bytes, None)
        elif wanted.name == POSTER:
            read = partial(self._draw_poster, wanted, index)
        else:
            read = partial(self._read_manifest, key, index)

        def keep(file: File) -> None:
            self._files.put(key, file, file.size_bytes)

        return await self._once(key, read, keep)

    def close(self) -> None:
        """Let go of the threads; reads under way end by themselves."""
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
        made = await asyncio.get_running_loop().run_in_executor(
            self._threads,
            lambda: manifest_file(
                reduced(wanted.name, whole.body, withheld), index.published, whole.headers[hdrs.CONTENT_TYPE]
            ),
        )
        self._files.put(key, made, made.size_bytes)
        return made

    async def based_mpd(self, wanted: Wanted, max_height_px: int | None) -> File:
        """A release's MPD for an address above the release, with the base that leads there; kept in memory."""
        if max_height_px is None:
            whole = (self.remembered(wanted.key) or await self.file(wanted)).plain
        else:
            whole = (await self.reduced_manifest(wanted, max_height_px)).plain
        key = f"{wanted.key}?based={whole.etag}"
        if (found := self.remembered(key)) is not None:
            return found
        made = await asyncio.get_running_loop().run_in_executor(
            self._threads,
            lambda: manifest_file(
                with_base(whole.body, f"{wanted.release}/"), whole.modified, whole.headers[hdrs.CONTENT_TYPE]
            ),
        )
        self._files.put(key, made, made.size_bytes)
        return made

    async def release(self, title: str, release: str) -> ReleaseIndex:
        """What is known of a release."""
        key = layout.release_document(title, release)
        found = self._releases.get(key)
        if found is not None:
            return found

        def keep(index: ReleaseIndex) -> None:
            self._releases.put(key, index, index.size_bytes)

        return await self._once(key, partial(self._read_release, key), keep)

    async def _timely(self, key: str, fresh_s: float, read: Callable[[], Result]) -> Result:
        """What ``read`` gives, at most ``fresh_s`` old; the last that it gave, whatever its age, while it fails."""
        known = self._timed.get(key)
        if known is not None and self._clock() < known[1]:
            return cast(Result, known[0])

        def keep(result: Result) -> None:
            self._timed.put(key, (result, self._clock() + fresh_s))

        try:
            return await self._once(key, read, keep, wait_s=WAIT_S if known is None else RENEWAL_S)
        except ObjectMissing:
            self._timed.drop(key)
            raise
        except StorageError:
            if known is None:
                raise
            keep(cast(Result, known[0]))  # not every client shall wait for a store that is away
            return cast(Result, known[0])

    async def _once(
        self,
        key: str,
        read: Callable[[], Result],
        keep: Callable[[Result], None] = lambda _: None,
        *,
        wait_s: float = WAIT_S,
    ) -> Result:
        """Read in a thread; all who want ``key`` meanwhile share the one read, which outlives each of them."""
        until = self._absent.get(key)
        if until is not None and self._clock() < until:
            self._metrics.looked_up("absent")
            raise _missing(key)
        flight = self._flights.get(key)
        if flight is None:
            if len(self._flights) >= QUEUE:
                raise StoreUnavailable("too many reads are wanted at once; try again in a moment")
            flight = asyncio.get_running_loop().create_task(self._fly(key, read, keep))
            self._flights[key] = flight
            flight.add_done_callback(partial(self._landed, key))
        try:
            return cast(Result, await asyncio.wait_for(asyncio.shield(flight), wait_s))
        except TimeoutError:
            raise StoreUnavailable(f"{self._store.url} does not answer; check the network", key=key) from None

    async def _fly(self, key: str, read: Callable[[], Result], keep: Callable[[Result], None]) -> Result:
        if not self._breaker.allows():
            raise StoreUnavailable(f"{self._store.url} has failed and is left alone for a moment", key=key)
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._threads, read)
        except HeadendError as error:
            self._breaker.note(failed=error.retryable)
            self._metrics.read(_outcome(error))
            if isinstance(error, ObjectMissing):
                self._absent.put(key, self._clock() + ABSENCE_S)
            else:
                log.warning("%s", error)
            raise
        self._breaker.note(failed=False)
        self._metrics.read("ok")
        keep(result)
        return result

    def _landed(self, key: str, flight: "asyncio.Task[Any]") -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # all who wanted to know may have left

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
        return ReleaseIndex(
            self._store.head(key).modified,
            {
                track.rendition.id: RenditionIndex(
                    f"{kind}/mp4",
                    track.init_bytes,
                    tuple((bytes.fromhex(s.sha256), s.size_bytes) for s in track.segments),
                    _height_px(track.rendition),
                )
                for kind, tracks in (("video", presentation.video), ("audio", presentation.audio))
                for track in tracks
            },
            float(presentation.grid.segment_frames / presentation.grid.frame_rate),
        )

    def _read_media(
        self, key: str, index: ReleaseIndex, rendition: RenditionIndex, size: int, sha256: bytes | None
    ) -> File:
        body = self._store.get(key)
        found = hashlib.sha256(body).digest()
        if len(body) != size or (sha256 is not None and found != sha256):
            raise Damaged(f"{key} in {self._store.url} is not what its release says; submit the master again", key=key)
        return media_file(body, found.hex(), index.published, rendition.content_type)

    def _draw_poster(self, wanted: Wanted, index: ReleaseIndex) -> File:
        from origin.watch import posters  # a decoder is a lot to load for who serves no pages

        key = layout.release_document(wanted.title, wanted.release)
        presentation = documents.read(Presentation, self._store.get(key), key=key)
        track, segments = posters.source(presentation)

        def read(name: str) -> bytes:
            return self._store.get(Wanted(wanted.title, wanted.release, track.rendition.id, name).key)

        init = read(layout.INIT)
        body = posters.draw(init + read(f"{segment.number}{layout.SEGMENT_SUFFIX}") for segment in segments)
        return media_file(body, hashlib.sha256(body).hexdigest(), index.published, "image/jpeg")

    def _read_manifest(self, key: str, index: ReleaseIndex) -> File:
        content_type = MPD_TYPE if key.endswith(layout.MPD) else PLAYLIST_TYPE
        return manifest_file(self._store.get(key), index.published, content_type)


def _height_px(rendition: VideoRendition | AudioRendition) -> int:
    return min(rendition.width_px, rendition.height_px) if isinstance(rendition, VideoRendition) else 0


def _missing(key: str) -> ObjectMissing:
    return ObjectMissing(f"there is no {key}", key=key)


def _outcome(error: HeadendError) -> str:
    if isinstance(error, ObjectMissing):
        return "missing"
    if isinstance(error, Damaged):
        return "damaged"
    return "unavailable" if error.retryable else "refused"
