"""Which titles, releases and tracks exist, from cached listings of the store.

A request for a name that is not in the listing gets a 404 without a read of the store. So requests for random names
neither fill the queue of reads nor cost S3 requests.
"""

import time
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from headend.core import layout
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.errors import ObjectMissing, StorageError

REFRESH_S = 5.0
"""A name that is missing in the listing causes a new listing only if the old one is at least this old."""
MIN_AGE_RATIO = 20
"""It must also be at least this many times as old as it took to read, so that slow listings are not always running."""
MAX_PAGE_AGE_S = 30.0
"""Maximum age of the listing from which pages of titles are made."""
MAX_FOLDERS = 10_000
"""Maximum number of cached listings of releases and tracks."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The names in a folder.

    Attributes:
        names: The names, ascending.
        known: The same names as a set.
        read_s: When the read of the listing started.
        took_s: How long the read took.
    """

    names: tuple[str, ...]
    known: frozenset[str]
    read_s: float
    took_s: float


class Catalogue:
    """Listings of titles, and of their releases and tracks; belongs to one event loop.

    Args:
        names: Lists the names in a folder of the store; concurrent calls for one folder share a read.
        clock: Monotonic clock, in seconds.
    """

    def __init__(
        self, names: Callable[[str], Awaitable[tuple[str, ...]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._names = names
        self._clock = clock
        self._titles: Listing | None = None
        self._folders: SegmentedLRU[str, Listing] = SegmentedLRU(MAX_FOLDERS)

    async def has_title(self, title: str) -> bool:
        """Whether a title is published; a new title may take `REFRESH_S` to appear. True if listing is not allowed."""
        if self._titles is None or (title not in self._titles.known and self._is_old(self._titles)):
            try:
                self._titles = await self._read(layout.published())
            except StorageError as error:
                if error.retryable:
                    raise
                return True  # the credentials may allow reads but not listings
        return title in self._titles.known

    async def check(self, folder: str, name: str) -> None:
        """Raise `ObjectMissing` if a release or track does not exist; a new one may take `REFRESH_S` to appear.

        Args:
            folder: Folder of a title's releases or tracks.
            name: Id of the release or track.
        """
        listing = self._folders.get(folder)
        if listing is None or (name not in listing.known and self._is_old(listing)):
            try:
                listing = await self._read(folder)
            except StorageError as error:
                if error.retryable:
                    raise
                return  # the credentials may allow reads but not listings
            self._folders.put(folder, listing)
        if name not in listing.known:
            raise ObjectMissing(f"there is no {folder}{name}", key=f"{folder}{name}")

    async def titles_after(self, title: str, count: int) -> tuple[str, ...]:
        """The next titles, in order of their names.

        Args:
            title: Last title of the previous page; empty for the first page.
            count: Maximum number of titles.
        """
        if self._titles is None or self._clock() - self._titles.read_s >= MAX_PAGE_AGE_S:
            try:
                self._titles = await self._read(layout.published())
            except StorageError:
                if self._titles is None:
                    raise
        start = bisect_right(self._titles.names, title)
        return self._titles.names[start : start + count]

    def _is_old(self, listing: Listing) -> bool:
        return self._clock() - listing.read_s >= max(REFRESH_S, MIN_AGE_RATIO * listing.took_s)

    async def _read(self, folder: str) -> Listing:
        started_s = self._clock()
        names = await self._names(folder)
        return Listing(names, frozenset(names), started_s, self._clock() - started_s)
