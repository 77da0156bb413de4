"""Which titles, releases and tracks exist, from listings of the store.

Names that no listing has are refused without a read of the store, so that clients who ask for random names cost
nothing: neither a place in the queue of honest reads, nor a request that S3 bills.
"""

import time
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from headend.core import layout
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.errors import ObjectMissing, StorageError

REFRESH_S = 5.0
"""Least age of a listing that is read again because a name is not in it."""
REST_SHARE = 20
"""A listing that took long is not read again for so many times as long."""
SHOWN_S = 30.0
"""How long a listing is good enough for a page of titles."""
FOLDERS = 10_000
"""Folders of releases and of tracks that are remembered."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The names in a folder.

    Attributes:
        names: Ascending.
        known: The same, for lookups.
        read_s: When the listing began.
        took_s: How long it took.
    """

    names: tuple[str, ...]
    known: frozenset[str]
    read_s: float
    took_s: float


class Catalogue:
    """Listings of titles, and of their releases and tracks; belongs to one event loop.

    Args:
        names: Reads the names in a folder of the store; coalesces reads of the same folder.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, names: Callable[[str], Awaitable[tuple[str, ...]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._names = names
        self._clock = clock
        self._titles: Listing | None = None
        self._folders: SegmentedLRU[str, Listing] = SegmentedLRU(FOLDERS)

    async def has_title(self, title: str) -> bool:
        """Whether a title is published; a new one is seen after some seconds."""
        if self._titles is None or (title not in self._titles.known and self._is_old(self._titles)):
            try:
                self._titles = await self._read(layout.published())
            except StorageError as error:
                return _is_possible(error)
        return title in self._titles.known

    async def check(self, folder: str, name: str) -> None:
        """Raise `ObjectMissing` unless there is a folder of a release or a track; a new one is seen after some seconds.

        Args:
            folder: That of all releases, or of all tracks, of a title.
            name: The release's or track's id.
        """
        listing = self._folders.get(folder)
        if listing is None or (name not in listing.known and self._is_old(listing)):
            try:
                listing = await self._read(folder)
            except StorageError as error:
                if error.retryable:
                    raise
                return  # credentials may allow reads and no listings
            self._folders.put(folder, listing)
        if name not in listing.known:
            raise ObjectMissing(f"there is no {folder}{name}", key=f"{folder}{name}")

    async def titles_after(self, title: str, count: int) -> tuple[str, ...]:
        """The next titles in the order of their names.

        Args:
            title: The title before them; empty for the first page.
            count: How many, at most.
        """
        if self._titles is None or self._clock() - self._titles.read_s >= SHOWN_S:
            try:
                self._titles = await self._read(layout.published())
            except StorageError:
                if self._titles is None:
                    raise
        start = bisect_right(self._titles.names, title)
        return self._titles.names[start : start + count]

    def _is_old(self, listing: Listing) -> bool:
        return self._clock() - listing.read_s >= max(REFRESH_S, REST_SHARE * listing.took_s)

    async def _read(self, folder: str) -> Listing:
        started_s = self._clock()
        names = await self._names(folder)
        return Listing(names, frozenset(names), started_s, self._clock() - started_s)


def _is_possible(error: StorageError) -> bool:
    """Whether a name may exist though it can't be listed: credentials may allow reads and no listings."""
    if error.retryable:
        raise error
    return True
