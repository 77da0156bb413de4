"""Checks tracks' indexes against their digests and against the grid."""

import hashlib
from typing import Any, cast

from headend.core import layout, track_index
from headend.core.errors import PackagingError, StorageError
from headend.core.storage.base import Store
from headend.core.timing import Grid
from headend.core.track_index import SyncRanges
from packager.conformance.findings import ObjectCheck, get_object, missing_object
from packager.presentation import StoredTrack, check, track_from_index, with_kids


def check_track(store: Store, title: str, stated: StoredTrack) -> tuple[list[ObjectCheck], StoredTrack | None]:
    """Read a track from its index, and check the index; the track is None if that fails.

    Args:
        store: Store of the track.
        title: Catalogue entry.
        stated: The track as the release document states it, without segments.
    """
    key = layout.track_index(title, stated.id)
    data = get_object(store, key)
    if data is None:
        return [missing_object(key)], None
    checks = [ObjectCheck(key, len(data), ())]
    try:
        index = track_index.decode(data, key=key)
    except StorageError as error:
        return [ObjectCheck(key, len(data), (error.message,))], None
    if index.facts.track != stated.id:
        return [ObjectCheck(key, len(data), (f"the index is that of {index.facts.track}",))], None
    sync: tuple[SyncRanges, ...] = ()
    if index.facts.sync_sha256:
        key = layout.track_sync(title, stated.id)
        data = get_object(store, key)
        if data is None:
            return [*checks, missing_object(key)], None
        try:
            sync = track_index.decode_sync(data, key=key)
        except StorageError as error:
            return [*checks, ObjectCheck(key, len(data), (error.message,))], None
        differs = hashlib.sha256(data).hexdigest() != index.facts.sync_sha256
        checks.append(ObjectCheck(key, len(data), ("its digest differs from that in the index",) if differs else ()))
    try:
        track: StoredTrack = with_kids(track_from_index(cast(Any, stated.rendition), index, sync), stated.kids)
    except StorageError as error:
        return [*checks, ObjectCheck(key, 0, (error.message,))], None
    return checks, track


def check_grid(title: str, track: StoredTrack, grid: Grid) -> ObjectCheck:
    """Check an index against the grid."""
    key = layout.track_index(title, track.id)
    try:
        check(cast(Any, track), grid)
    except PackagingError as error:
        number = error.facts.get("segment")
        faulty_key = layout.track_segment(title, track.id, number) if isinstance(number, int) else key
        return ObjectCheck(faulty_key, 0, (error.message,))
    return ObjectCheck(key, 0, ())
