"""Reads what a store has: published titles, releases, tracks, and many objects in parallel."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from headend.core import documents, layout, track_index
from headend.core.errors import ConfigError, ObjectMissing, StorageError
from headend.core.media import Current, Presentation, Release
from headend.core.storage.base import Store
from headend.core.track_index import SyncRanges, TrackIndex
from packager.presentation import stored_tracks, track_from_index, with_kids, with_tracks

THREADS = 16
"""Number of concurrent requests: a store across a network takes tens of milliseconds to answer."""
Result = TypeVar("Result")
Item = TypeVar("Item")


def published_titles(store: Store, *, after: str = "", limit: int | None = None) -> tuple[str, ...]:
    """The names of published titles in alphabetical order; takes one request per thousand.

    Args:
        store: The store.
        after: Continue after this name.
        limit: Maximum number of names; None for all.
    """
    prefix = layout.published()
    start = layout.published(after) if after else ""
    infos = store.list(prefix, after=start) if limit is None else store.page(prefix, after=start, limit=limit)
    return tuple(info.key.removeprefix(prefix) for info in infos)


def read_pointer(store: Store, title: str) -> Current | None:
    """The pointer of a title; None if it was never published.

    Raises:
        StorageError: The store failed, or was written by an old version of headend.
    """
    key = layout.current(title)
    try:
        data = store.get(key)
    except ObjectMissing:
        return None
    return read_current(data, key)


def read_current(data: bytes, key: str) -> Current:
    """Parse a pointer; raises `StorageError` if it is damaged or was written by an old version of headend."""
    try:
        return documents.read(Current, data, key=key)
    except StorageError:
        if b'"kind":"Current"' in data and b'"history"' not in data:
            raise StorageError(
                f"{key} was written by an old version of headend, whose stores this version can't read: use an empty "
                "store and submit the masters again",
                key=key,
            ) from None
        raise


def current_release(store: Store, title: str) -> str:
    """The id of a title's current release.

    Raises:
        ConfigError: The title has none, or its name is invalid.
    """
    pointer = read_pointer(store, layout.check_title(title))
    if pointer is None or not pointer.release:
        raise ConfigError(f"{title!r} is not published in {store.url}; `headend titles` lists published titles")
    return pointer.release


def current_presentation(store: Store, title: str) -> Presentation:
    """The content of a title's current release.

    Raises:
        ConfigError: The title has none, or its name is invalid.
    """
    return load_presentation(store, title, current_release(store, title))


def load_presentation(store: Store, title: str, release: str) -> Presentation:
    """Read a release, including the segments from its tracks' indexes.

    Raises:
        ConfigError: There is no such release.
        ObjectMissing: One of its tracks is missing.
        StorageError: A document is damaged, or the store failed.
    """
    return with_segments(store, read_release(store, title, release).presentation)


def with_segments(store: Store, presentation: Presentation) -> Presentation:
    """Add the segments of a presentation's tracks, which release documents don't contain, from the tracks' indexes."""
    tracks = {track.id: track for track in stored_tracks(presentation)}
    indexes = dict(read_all(lambda id: read_track(store, presentation.title, id), tracks))
    return with_tracks(
        presentation, lambda track: with_kids(track_from_index(track.rendition, *indexes[track.id]), track.kids)
    )


def read_release(store: Store, title: str, release: str) -> Release:
    """Read the document of a release.

    Raises:
        ConfigError: There is no such release.
        StorageError: The document is damaged, or the store failed.
    """
    key = layout.release_document(title, release)
    try:
        return documents.read(Release, store.get(key), key=key)
    except ObjectMissing:
        raise ConfigError(
            f"{title!r} has no release {release!r} in {store.url}; `headend releases {title}` lists its releases"
        ) from None


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
