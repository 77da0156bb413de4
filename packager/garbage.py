"""Garbage collection: removes releases and tracks that are no longer needed.

The latest former releases and those that wait for approval are kept; others are removed, together with tracks that no
kept release and no running command uses. Nothing is removed before its grace period is over, so that no player can
still be using it: for a release, the period starts when it was last current; for a track, when it was last written.
`find` lists the garbage without removing it. `remove` lists it again while a sweep is marked (`headend.core.holds`), so
that a job that starts at the same moment either keeps its tracks or waits.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import islice

from headend.core import documents, holds, layout, measured
from headend.core.errors import Cancelled, ConfigError, StorageError, StoreUnavailable
from headend.core.media import Current
from headend.core.storage.base import ObjectInfo, Store
from packager.lifecycle import Deleted, deleted_at, former
from packager.publishing import held_since, now
from packager.reading import read_pointer, read_release

KEEP = 5
"""Default number of former releases of a title that are kept."""
GRACE = timedelta(days=7)
"""Default grace period: longer than any cache keeps a manifest."""
DEAD_HOLD_AGE = timedelta(days=7)
"""Age after which a hold is considered to belong to a killed process."""
WRITE_TIMEOUT = timedelta(hours=1)
"""How long writing a release may take. Until then it may lack its document; its writer holds its tracks."""
THREADS = 16


@dataclass(frozen=True, slots=True)
class Garbage:
    """Objects of a title that are no longer needed.

    Attributes:
        title: Catalogue entry.
        releases: Ids of the releases to remove.
        tracks: Ids of the tracks to remove.
        objects: Keys of all objects to remove, in order of removal.
        size_bytes: Total size of these objects.
        waiting_bytes: Size of unneeded objects whose grace period is not over.
        held: Holds of running work, or of killed work until `DEAD_HOLD_AGE`; what they need is not listed.
        error: Why nothing is removed: it is unknown which objects the title needs.
    """

    title: str
    releases: tuple[str, ...] = ()
    tracks: tuple[str, ...] = ()
    objects: tuple[str, ...] = field(default=(), repr=False)
    size_bytes: int = 0
    waiting_bytes: int = 0
    held: tuple[holds.Hold, ...] = ()
    error: StorageError | None = None


@dataclass(frozen=True, slots=True)
class UnusedAnalyses:
    """Analysis results of masters that no title uses any more.

    Attributes:
        masters: Names of their folders.
        objects: Keys of all objects to remove.
        size_bytes: Total size of these objects.
    """

    masters: tuple[str, ...] = ()
    objects: tuple[str, ...] = field(default=(), repr=False)
    size_bytes: int = 0


def titles_with_objects(store: Store) -> tuple[str, ...]:
    """All titles that have objects in the store."""
    return store.folders(f"{layout.TITLES}/")


def title_exists(store: Store, title: str) -> bool:
    """Whether the store has any object of a title."""
    return bool(store.page(f"{layout.title_path(title)}/", limit=1))


def find(
    store: Store, title: str, *, keep: int = KEEP, grace: timedelta = GRACE, at: datetime | None = None
) -> Garbage:
    """Find a title's unneeded objects. Tracks that are in use are not listed.

    Args:
        store: Store of the title.
        title: Catalogue entry.
        keep: Number of former releases to keep; the latest ones.
        grace: How long unneeded objects are kept.
        at: Current time; None for the clock's.

    Raises:
        StorageError: The store failed, or a document is damaged, so that it is unknown what the title needs.
    """
    at = at or datetime.now(UTC)
    oldest = at - grace
    # Read the holds first: a job whose hold has ended by now has written its release, which is listed next.
    held, dead = holds.read(store, title, dead_after=DEAD_HOLD_AGE)
    # List the candidates before reading what is needed, so that objects needed only since then are not removed.
    present = set(store.folders(f"{layout.title_path(title)}/"))

    def listed(prefix: str) -> Iterable[ObjectInfo]:
        """List a folder of the title, without a request if it does not exist."""
        return store.list(prefix) if prefix.rstrip("/").rpartition("/")[2] in present else ()

    folders = store.folders(layout.tracks(title))
    by_release = _by_folder(listed, layout.releases(title))
    lists = (layout.receipts(title), layout.attempts(title), layout.measurements(title))
    others = [info for prefix in lists for info in listed(prefix)]
    reports = _by_folder(listed, layout.reports(title))
    references = list(listed(layout.references(title)))
    if "sweeps" in present:
        dead += holds.dead_sweeps(store, title, dead_after=DEAD_HOLD_AGE)
    held_tracks = {track for hold in held for track in hold.tracks}
    pointer = read_pointer(store, title)
    tracks_of = cache(partial(_tracks_of, store, title))
    kept = _kept(store, title, by_release, pointer, {r for hold in held for r in hold.releases}, keep, oldest)
    if held:
        kept |= {release for release in by_release.keys() - kept if _may_be_reused(tracks_of(release), held_tracks)}
    needed = held_tracks | _tracks_of_releases(title, kept, by_release, pointer, at, tracks_of)
    removable = [release for release in by_release if release not in kept]
    objects = [_last_first(by_release[release]) for release in removable]
    objects += [infos for release, infos in reports.items() if release in removable or release not in by_release]
    tracks, waiting_bytes = [], 0
    for track in folders:
        if track in needed:
            continue
        infos = list(store.list(f"{layout.track_path(title, track)}/"))
        if infos and max(info.modified for info in infos) < oldest:
            tracks.append(track)
            objects.append(_last_first(infos))
        else:
            waiting_bytes += sum(info.size_bytes for info in infos)
    # Receipts are needed while a job runs, and until their grace period is over, because a job may be resumed.
    objects.append([] if held else [info for info in others if info.modified < oldest])
    remaining = set(folders) - set(tracks)
    objects.append([info for info in references if info.modified < oldest and not _applies(store, info.key, remaining)])
    infos = [info for group in objects for info in group]
    keys = (*(info.key for info in infos), *dead)
    size_bytes = sum(info.size_bytes for info in infos)
    return Garbage(title, tuple(removable), tuple(tracks), keys, size_bytes, waiting_bytes, tuple(held))


def remove(
    store: Store,
    title: str,
    *,
    keep: int = KEEP,
    grace: timedelta = GRACE,
    at: datetime | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Garbage:
    """Remove a title's unneeded objects, and return them; arguments and errors as for `find`.

    Raises `Cancelled` once ``is_stopped``, which is called before each object, returns true. The rest of the garbage
    can be removed later.
    """
    with holds.sweeping(store, title) as sweep:

        def delete(key: str) -> None:
            if is_stopped():
                raise Cancelled(f"gc of {title} was stopped")
            sweep.check()
            store.delete(key)

        # Only now look for garbage: holds written before the sweep was marked are visible, and later ones wait.
        garbage = find(store, title, keep=keep, grace=grace, at=at)
        # A release with a document must be complete, so its document is removed first. The marker of its deletion is
        # removed last: it explains why the document is missing.
        markers = {layout.deleted(title, release) for release in garbage.releases}
        for marker in markers:
            store.put_if_absent(marker, documents.write(Deleted(now())))
        release_documents = {layout.release_document(title, release) for release in garbage.releases}
        entries = (layout.MULTIVARIANT, layout.MPD, layout.INDEX)
        waves: tuple[list[str], ...] = ([], [], [])
        for key in garbage.objects:
            if key not in markers:
                waves[0 if key in release_documents else 1 if key.endswith(entries) else 2].append(key)
        with ThreadPoolExecutor(THREADS) as pool:
            for wave in (*waves, markers):
                list(pool.map(delete, wave))
        pointer = read_pointer(store, title)
        if pointer is None or not pointer.release:
            store.delete(layout.published(title))
    _remove_pointer(store, title, pointer)
    return garbage


def _remove_pointer(store: Store, title: str, pointer: Current | None) -> None:
    """Remove a title's pointer if it is the only object left."""
    if pointer is None or pointer.release:
        return
    remaining = {info.key for info in store.page(f"{layout.title_path(title)}/", limit=2)}
    if remaining == {layout.current(title)}:
        store.delete(layout.current(title))


def _by_folder(listed: Callable[[str], Iterable[ObjectInfo]], prefix: str) -> dict[str, list[ObjectInfo]]:
    folders: dict[str, list[ObjectInfo]] = {}
    for info in listed(prefix):
        folders.setdefault(info.key[len(prefix) :].partition("/")[0], []).append(info)
    return folders


def _kept(
    store: Store,
    title: str,
    by_release: dict[str, list[ObjectInfo]],
    pointer: Current | None,
    held: set[str],
    keep: int,
    oldest: datetime,
) -> set[str]:
    """The releases to keep.

    These are the current one, held ones, those that wait for approval, those within their grace period, and the latest
    former ones.
    """
    past = former(pointer)
    deleted = {
        release: deleted_at(store, title, release)
        for release, infos in by_release.items()
        if any(info.key == layout.deleted(title, release) for info in infos)
    }
    kept = {pointer.release} if pointer and pointer.release else set()
    kept |= held & by_release.keys()
    kept |= {
        release
        for release, infos in by_release.items()
        if release not in deleted
        and any(info.key == layout.held(title, release) for info in infos)
        and held_since(store, title, release, pointer)
    }
    for release, infos in by_release.items():
        times = [info.modified for info in infos]
        if release in past and past[release].until:
            times.append(datetime.fromisoformat(past[release].until))
        if deleted.get(release):
            times.append(datetime.fromisoformat(deleted[release]))
        if max(times) >= oldest:
            kept.add(release)
    latest = [release for release in past if release in by_release and release not in deleted and release not in kept]
    return kept | set(latest[:keep])


def _tracks_of(store: Store, title: str, release: str) -> frozenset[str] | None:
    """Ids of a release's tracks; None if it has no document: it was never finished, or is partly removed."""
    try:
        return frozenset(read_release(store, title, release).tracks)
    except ConfigError:
        return None


def _may_be_reused(tracks: frozenset[str] | None, held: set[str]) -> bool:
    """Whether a running job may be about to publish a release with these tracks again.

    A release's id is derived from its bytes. So a job that makes the same tracks again gets the id of the old release,
    and reuses its files.
    """
    return tracks is None or tracks <= held


def _tracks_of_releases(
    title: str,
    releases: set[str],
    by_release: dict[str, list[ObjectInfo]],
    pointer: Current | None,
    at: datetime,
    tracks_of: Callable[[str], frozenset[str] | None],
) -> set[str]:
    """The tracks of some releases. A release that was never finished, or is partly removed, has none.

    Raises:
        StorageError: A published release has no document, so its tracks are unknown.
    """
    tracks: set[str] = set()
    published = {pointer.release, *former(pointer)} if pointer else set()
    for release in releases & by_release.keys():
        if (release_tracks := tracks_of(release)) is not None:
            tracks |= release_tracks
            continue
        is_deleted = any(info.key == layout.deleted(title, release) for info in by_release[release])
        is_being_written = max(info.modified for info in by_release[release]) >= at - WRITE_TIMEOUT
        if release in published and not is_deleted and not is_being_written:
            key = layout.release_document(title, release)
            raise StorageError(
                f"{key} is missing, so the tracks that {title!r} needs are unknown; submit the master again, or run "
                f"`headend delete {title} --release {release}`",
                key=key,
            )
    return tracks


def _applies(store: Store, key: str, tracks: set[str]) -> bool:
    """Whether settings for comparisons apply to any of these tracks."""
    return not tracks.isdisjoint(documents.read(measured.Reference, store.get(key), key=key).tracks)


def _last_first(infos: list[ObjectInfo]) -> list[ObjectInfo]:
    return sorted(infos, key=lambda info: info.key, reverse=True)


def all_garbage(
    store: Store, titles: Iterable[str], *, keep: int = KEEP, grace: timedelta = GRACE
) -> Iterator[Garbage]:
    """Find unneeded objects of many titles in parallel, in their order, with constant memory.

    Args:
        store: Store of the titles.
        titles: Catalogue entries.
        keep: Number of former releases of each to keep.
        grace: How long unneeded objects are kept.

    Raises:
        StoreUnavailable: The store can't be reached; other errors are reported in `Garbage.error`.
    """

    def find_one(title: str) -> Garbage:
        try:
            return find(store, title, keep=keep, grace=grace)
        except StoreUnavailable:
            raise
        except StorageError as error:
            return Garbage(title, error=error)

    remaining = iter(titles)
    with ThreadPoolExecutor(THREADS) as pool:
        while batch := list(islice(remaining, 4 * THREADS)):
            yield from pool.map(find_one, batch)


def find_unused_analyses(store: Store, *, grace: timedelta = GRACE, at: datetime | None = None) -> UnusedAnalyses:
    """Find the analyses of masters that no release uses, if nothing was added to them within the grace period.

    Args:
        store: The store.
        grace: How long they are kept after the last addition.
        at: Current time; None for the clock's.

    Raises:
        StorageError: The store failed, or a release's document is damaged, so that the masters in use are unknown.
    """
    oldest = (at or datetime.now(UTC)) - grace
    names = store.folders(f"{layout.ANALYSIS}/")
    with ThreadPoolExecutor(THREADS) as pool:
        listings = pool.map(lambda name: list(store.list(f"{layout.ANALYSIS}/{name}/")), names)
        old = {
            name: infos
            for name, infos in zip(names, listings, strict=True)
            if infos and max(info.modified for info in infos) < oldest
        }
    if old:
        for folder in _masters_in_use(store):
            old.pop(folder, None)
            if not old:
                break
    unused = [info for infos in old.values() for info in infos]
    return UnusedAnalyses(tuple(old), tuple(info.key for info in unused), sum(info.size_bytes for info in unused))


def remove_analyses(store: Store, unused: UnusedAnalyses) -> None:
    """Remove unused analyses. A job that needs one of them computes it again."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(store.delete, unused.objects))


def _masters_in_use(store: Store) -> Iterator[str]:
    """Names of the analysis folders of all releases' masters."""

    def of_title(title: str) -> list[str]:
        folders = []
        for release in store.folders(layout.releases(title)):
            try:
                master = read_release(store, title, release).presentation.master
            except ConfigError:
                continue  # it is being removed
            if master is not None:
                folders.append(layout.analysis(master.digest).rstrip("/").rpartition("/")[2])
        return folders

    with ThreadPoolExecutor(THREADS) as pool:
        for folders in pool.map(of_title, titles_with_objects(store)):
            yield from folders
