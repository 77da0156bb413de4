"""Verification: reads a release back from the store and reports everything that is wrong with it.

Each module checks one kind of object, and yields an `ObjectCheck` for each object. `verify` combines these into a
`Verdict`. This package repairs nothing and starts no encoder; functions that decode segments are passed to it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from headend.core import layout
from headend.core.errors import ConfigError, PackagingError
from headend.core.keys import ContentKey
from headend.core.media import (
    AudioRendition,
    Damage,
    Release,
    Segment,
    VideoRendition,
)
from headend.core.storage.base import Store
from packager.conformance.findings import NO_KEYS, Finding, ObjectCheck, Verdict, read_document
from packager.conformance.indexes import check_grid, check_track
from packager.conformance.manifests import check_manifests, references
from packager.conformance.peaks import check_peaks
from packager.conformance.release_keys import ReleaseKeys
from packager.conformance.segments import (
    Checks,
    CrossCheck,
    InspectSegment,
    check_inits,
    check_segments,
    sampled_number,
)
from packager.presentation import StoredTrack, stored_tracks, with_tracks
from packager.reading import current_release, read_all


def verify(
    store: Store,
    title: str,
    release: str | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    inspect: InspectSegment = lambda _rendition, _light, _segment, _data: (),
    cross_check: CrossCheck = lambda _stored, _clear, _key: (),
    keys: Mapping[str, ContentKey] | None = None,
    deep: bool = False,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Verdict:
    """Read a release back and check every byte of it.

    Only a few segments are in memory at a time, whatever the release's size.

    Args:
        store: Store of the release.
        title: Catalogue entry.
        release: Its id; None for the current one.
        on_progress: Called with the number of checked segments and of all.
        inspect: Decodes one segment of each rendition, from different parts of the title.
        cross_check: Decrypts the same segments with another implementation, if they are encrypted.
        keys: Keys of encrypted tracks by id; without them, only the clear parts of these tracks are checked.
        deep: Whether to inspect and cross_check all segments.
        is_stopped: Returns whether to leave out the segments that are not yet checked; called in other threads.

    Returns:
        The verdict. Missing or wrong data in the release is a finding, never an error.

    Raises:
        ConfigError: There is no such title or release.
        StorageError: The store failed.
    """
    release = release or current_release(store, layout.check_title(title))
    folder = f"{layout.release_path(title, release)}/"
    if not any(True for _ in store.page(folder, limit=1)):
        raise ConfigError(f"{title!r} has no release {release!r} in {store.url}; `headend releases {title}` lists them")
    findings: dict[Finding, None] = {}
    damage: tuple[Damage, ...] = ()
    objects = size_bytes = frames = 0
    lacks_keys = False
    checks = Checks(inspect, cross_check, keys or {}, deep, is_stopped)
    for check in _examine(store, title, release, on_progress, checks):
        lacks_keys = lacks_keys or check.lacks_keys
        findings |= {Finding(check.key, message): None for message in check.wrong}
        objects += check.size_bytes > 0
        size_bytes += check.size_bytes
        frames += check.frames
        damage += check.damage
    not_decoded = NO_KEYS if lacks_keys else ""
    return Verdict(title, release, tuple(findings), objects, size_bytes, frames, damage, not_decoded=not_decoded)


def _examine(
    store: Store, title: str, release: str, on_progress: Callable[[int, int], None], checks: Checks
) -> Iterator[ObjectCheck]:
    check, document = read_document(store, Release, layout.release_document(title, release))
    yield check
    if document is None:
        return
    stated = document.presentation
    if (stated.title, stated.release) != (title, release):
        yield ObjectCheck(check.key, 0, (f"the document is that of {stated.title} {stated.release}",))
        return
    yield replace(check, size_bytes=0, damage=stated.damage)
    tracks = dict(read_all(lambda track: check_track(store, title, track), stored_tracks(stated)))
    for index_checks, track in tracks.values():
        yield from index_checks
        if track is not None:
            yield check_grid(title, track, stated.grid)
    is_complete = all(track is not None for _, track in tracks.values())
    known = {track.id: track for _, track in tracks.values() if track is not None}
    presentation = with_tracks(stated, lambda track: known.get(track.id, track))
    keys = ReleaseKeys.of(stated, checks.keys)
    inits: dict[tuple[str, int], bytes] = {}
    yield from check_inits(store, title, known.values(), inits, keys)
    yield from (
        ObjectCheck(layout.track_index(title, t.id), 0, (), lacks_keys=True) for t in known.values() if keys.lacks(t)
    )

    def inspect(track: StoredTrack, segment: Segment, data: bytes) -> Iterable[str]:
        rendition = track.rendition
        init = inits.get((track.id, keys.schedule(track).period(segment.number)))
        if init is None or not isinstance(rendition, VideoRendition | AudioRendition) or keys.lacks(track):
            return ()
        if not (checks.deep or segment.number == sampled_number(track)):
            return ()
        if isinstance(rendition, AudioRendition) and rendition.coded_language:
            rendition = replace(rendition, language=rendition.coded_language)
        try:
            clear = b"".join(keys.decrypted(track, init, data, segment.number))
        except PackagingError as error:
            return (f"it can't be decrypted: {error.message}",)
        wrong = tuple(checks.inspect(rendition, stated.light, segment, clear))
        if track.kid and not keys.is_whole(track):
            wrong += tuple(checks.cross_check(init + data, clear, keys.key(track, segment.number)))
        return wrong

    yield from check_segments(store, presentation, list(known.values()), on_progress, inspect, keys, checks.is_stopped)
    if is_complete:
        yield from check_peaks(presentation)
        yield from check_manifests(store, presentation, document)


__all__ = ["NO_KEYS", "CrossCheck", "Finding", "InspectSegment", "Verdict", "references", "verify"]
