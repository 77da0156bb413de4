"""Reads tracks, and many objects in parallel."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from headend.core import layout, track_index
from headend.core.storage.base import Store
from headend.core.track_index import SyncRanges, TrackIndex

THREADS = 16
"""Number of concurrent requests: a store across a network takes tens of milliseconds to answer."""
Result = TypeVar("Result")
Item = TypeVar("Item")


def read_track(store: Store, title: str, track: str) -> tuple[TrackIndex, tuple[SyncRanges, ...]]:
    """Read the index of a complete track, and its sync frames if it has any.

    Raises:
        ObjectMissing: The track is not complete.
        StorageError: Its index is damaged, or the store failed.
    """
    key = layout.track_index(title, track)
    index = track_index.decode(store.get(key), key=key)
    if not index.facts.sync_sha256:
        return index, ()
    key = layout.track_sync(title, track)
    return index, track_index.decode_sync(store.get(key), key=key)


def read_all(
    read: Callable[[Item], Result], items: Iterable[Item], *, threads: int = THREADS
) -> list[tuple[Item, Result]]:
    """Apply ``read`` to several items in parallel; results are in their order."""
    wanted = list(items)
    with ThreadPoolExecutor(threads) as pool:
        return list(zip(wanted, pool.map(read, wanted), strict=True))
