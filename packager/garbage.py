"""Garbage collection: removing releases and tracks that nothing needs.

That is releases beyond those that are kept (a release that waits to be published is), and tracks that no kept release
and no running work names. Nothing goes before its grace period is over, so that no reader can be in the middle of it: a
release counts from when it was current last, a track from when it was written last. What would go is found first and
can be shown; before it goes, holds are looked at once more under the mark of a sweep (`headend.core.holds`): a job
that begins at the same moment either keeps its tracks or waits.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from headend.core import documents, holds, layout, measured
from headend.core.errors import ConfigError, StorageError, StoreUnavailable
from headend.core.media import Current
from headend.core.storage.base import ObjectInfo, Store
from packager.lifecycle import Deleted, deleted_at, former
from packager.publishing import held_since, now, read_pointer, read_release

KEEP = 5
"""Former releases of a title that are kept, unless told otherwise."""
GRACE = timedelta(days=7)
"""Default time for which unreferenced objects are kept: longer than any cache keeps a manifest."""
DEAD = timedelta(days=7)
"""A hold of this age is of work that was killed."""
WRITTEN_WITHIN = timedelta(hours=1)
"""A release without a document is being written for so long at most; whoever writes it holds its tracks."""
THREADS = 16


@dataclass(frozen=True, slots=True)
class Garbage:
    """Objects of a title that nothing needs.

    Attributes:
        title: Catalogue entry.
        releases: Ids of the releases that go.
        tracks: Ids of the tracks that go.
        objects: Everything that goes, in the order in which it is removed.
        size_bytes: Of all that.
        waiting_bytes: Bytes of unreferenced objects whose grace period is not over.
        error: Why it can't be told what the title needs, so that nothing of it goes.
    """

    title: str
    releases: tuple[str, ...] = ()
    tracks: tuple[str, ...] = ()
    objects: tuple[str, ...] = field(default=(), repr=False)
    size_bytes: int = 0
    waiting_bytes: int = 0
    error: StorageError | None = None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was learned of masters that no title is made of any more.

    Attributes:
        masters: Names of their folders.
        objects: Everything that goes.
        size_bytes: Of all that.
    """

    masters: tuple[str, ...] = ()
    objects: tuple[str, ...] = field(default=(), repr=False)
    size_bytes: int = 0


def titles(store: Store) -> tuple[str, ...]:
    """All titles of which the store holds anything."""
    return store.folders(f"{layout.TITLES}/")


def is_there(store: Store, title: str) -> bool:
    """Whether the store holds anything of a title."""
    return bool(store.page(f"{layout.title_path(title)}/", limit=1))


def find(
    store: Store, title: str, *, keep: int = KEEP, grace: timedelta = GRACE, at: datetime | None = None
) -> Garbage:
    """Find a title's unreferenced objects. Tracks that are needed cost no listing.

    Args:
        store: Where the title is.
        title: Catalogue entry.
        keep: How many former releases are kept; the latest ones.
        grace: How long what nobody names is kept.
        at: The time; None for now.

    Raises:
        StorageError: The store failed, or a document is damaged; then nothing can be told to be garbage.
    """
    at = at or datetime.now(UTC)
    oldest = at - grace
    # What may go is listed before what is needed is read, so that nothing can come to be needed in between unseen.
    folders = store.folders(layout.tracks(title))
    by_release = _by_folder(store, layout.releases(title))
    lists = (layout.receipts(title), layout.attempts(title), layout.measurements(title))
    others = [info for prefix in lists for info in store.list(prefix)]
    reports = _by_folder(store, layout.reports(title))
    references = list(store.list(layout.references(title)))
    held, dead = holds.read(store, title, dead_after=DEAD)
    pointer = read_pointer(store, title)
    kept = _kept(store, title, by_release, pointer, {r for hold in held for r in hold.releases}, keep, oldest)
    if held:
        kept |= _made_again(store, title, by_release.keys() - kept, {t for hold in held for t in hold.tracks})
    needed = {track for hold in held for track in hold.tracks} | _named(store, title, kept, by_release, pointer, at)
    going = [release for release in by_release if release not in kept]
    objects = [_last_first(by_release[release]) for release in going]
    objects += [found for release, found in reports.items() if release in going or release not in by_release]
    tracks, waiting_bytes = [], 0
    for track in folders:
        if track in needed:
            continue
        found = list(store.list(f"{layout.track_path(title, track)}/"))
        if found and max(info.modified for info in found) < oldest:
            tracks.append(track)
            objects.append(_last_first(found))
        else:
            waiting_bytes += sum(info.size_bytes for info in found)
    # A receipt is needed as long as a job may come to finish what it began, and while one runs.
    objects.append([] if held else [info for info in others if info.modified < oldest])
    left = set(folders) - set(tracks)
    objects.append([info for info in references if info.modified < oldest and not _is_named(store, info.key, left)])
    infos = [info for group in objects for info in group]
    keys = (*(info.key for info in infos), *dead)
    return Garbage(title, tuple(going), tuple(tracks), keys, sum(info.size_bytes for info in infos), waiting_bytes)


def remove(
    store: Store, title: str, *, keep: int = KEEP, grace: timedelta = GRACE, at: datetime | None = None
) -> Garbage:
    """Remove a title's unreferenced objects, and return them; arguments and errors as for `find`."""
    with holds.sweeping(store, title):
        # Found anew under the mark: who has begun to hold something since is seen, who begins now waits.
        garbage = find(store, title, keep=keep, grace=grace, at=at)
        # A release is whole as long as its document is there, so that this goes first and nobody brings back the rest;
        # its mark goes last, and tells until then that the document is not lost.
        marks = {layout.deleted(title, release) for release in garbage.releases}
        for mark in marks:
            store.put_if_absent(mark, documents.write(Deleted(now())))
        whole = {layout.release_document(title, release) for release in garbage.releases}
        entries = (layout.MULTIVARIANT, layout.MPD, layout.INDEX)
        waves: tuple[list[str], ...] = ([], [], [])
        for key in garbage.objects:
            if key not in marks:
                waves[0 if key in whole else 1 if key.endswith(entries) else 2].append(key)
        with ThreadPoolExecutor(THREADS) as pool:
            for wave in (*waves, marks):
                list(pool.map(store.delete, wave))
        pointer = read_pointer(store, title)
        if pointer is None or not pointer.release:
            store.delete(layout.published(title))
    _forget(store, title, pointer)
    return garbage


def _forget(store: Store, title: str, pointer: Current | None) -> None:
    """Remove the last trace of a title of which nothing is left."""
    if pointer is None or pointer.release:
        return
    left = {info.key for info in store.page(f"{layout.title_path(title)}/", limit=2)}
    if left == {layout.current(title)}:
        store.delete(layout.current(title))


def _by_folder(store: Store, prefix: str) -> dict[str, list[ObjectInfo]]:
    found: dict[str, list[ObjectInfo]] = {}
    for info in store.list(prefix):
        found.setdefault(info.key[len(prefix) :].partition("/")[0], []).append(info)
    return found


def _kept(
    store: Store,
    title: str,
    by_release: dict[str, list[ObjectInfo]],
    pointer: Current | None,
    held: set[str],
    keep: int,
    oldest: datetime,
) -> set[str]:
    """The releases that stay.

    These are the current one, those that running work holds, those that wait to be published, those that are too young
    to go, and the latest former ones.
    """
    past = former(pointer)
    marked = {
        release: deleted_at(store, title, release)
        for release, found in by_release.items()
        if any(info.key == layout.deleted(title, release) for info in found)
    }
    kept = {pointer.release} if pointer and pointer.release else set()
    kept |= held & by_release.keys()
    kept |= {
        release
        for release, found in by_release.items()
        if release not in marked
        and any(info.key == layout.held(title, release) for info in found)
        and held_since(store, title, release, pointer)
    }
    for release, found in by_release.items():
        times = [info.modified for info in found]
        if release in past and past[release].until:
            times.append(datetime.fromisoformat(past[release].until))
        if marked.get(release):
            times.append(datetime.fromisoformat(marked[release]))
        if max(times) >= oldest:
            kept.add(release)
    latest = [release for release in past if release in by_release and release not in marked and release not in kept]
    return kept | set(latest[:keep])


def _made_again(store: Store, title: str, releases: set[str], held: set[str]) -> set[str]:
    """The releases that running work may be about to publish anew.

    A release is named by its bytes: a job that makes the same tracks once more finds its files there, and does not
    write them again.
    """
    found = set()
    for release in releases:
        try:
            if not read_release(store, title, release).tracks.keys() <= held:
                continue
        except ConfigError:
            pass  # partly written or partly removed: nobody can tell what it names
        found.add(release)
    return found


def _named(
    store: Store,
    title: str,
    releases: set[str],
    by_release: dict[str, list[ObjectInfo]],
    pointer: Current | None,
    at: datetime,
) -> set[str]:
    """The tracks that releases name; one that was never finished, or is partly removed, needs none.

    Raises:
        StorageError: A release that players got has no document: its tracks are not known.
    """
    named: set[str] = set()
    shown = {pointer.release, *former(pointer)} if pointer else set()
    for release in releases & by_release.keys():
        try:
            named |= read_release(store, title, release).tracks.keys()
        except ConfigError:
            marked = any(info.key == layout.deleted(title, release) for info in by_release[release])
            if (
                release in shown
                and not marked
                and max(info.modified for info in by_release[release]) < at - WRITTEN_WITHIN
            ):
                raise StorageError(
                    f"{layout.release_document(title, release)} is missing, so nobody can tell what {title!r} needs; "
                    f"submit the master again, or `headend delete {title} --release {release}`",
                    key=layout.release_document(title, release),
                ) from None
    return named


def _is_named(store: Store, key: str, tracks: set[str]) -> bool:
    """Whether what says how renditions are compared is of use for any of the tracks that stay."""
    return not tracks.isdisjoint(documents.read(measured.Reference, store.get(key), key=key).tracks)


def _last_first(found: list[ObjectInfo]) -> list[ObjectInfo]:
    return sorted(found, key=lambda info: info.key, reverse=True)


def all_garbage(
    store: Store, titles: Iterable[str], *, keep: int = KEEP, grace: timedelta = GRACE
) -> Iterator[Garbage]:
    """Find unreferenced objects of several titles at a time, in their order; what is yielded is not kept.

    Args:
        store: Where the titles are.
        titles: Catalogue entries.
        keep: How many former releases of each are kept.
        grace: How long what nobody names is kept.

    Raises:
        StoreUnavailable: The store can't be reached; other errors are told of their title.
    """

    def found(title: str) -> Garbage:
        try:
            return find(store, title, keep=keep, grace=grace)
        except StoreUnavailable:
            raise
        except StorageError as error:
            return Garbage(title, error=error)

    wanted = iter(titles)
    with ThreadPoolExecutor(THREADS) as pool:
        while batch := list(islice(wanted, 4 * THREADS)):
            yield from pool.map(found, batch)


def find_forgotten(store: Store, *, grace: timedelta = GRACE, at: datetime | None = None) -> Forgotten:
    """Find what was learned of masters that no release names, and that nobody has added to within the grace period.

    Args:
        store: Where it is.
        grace: How long it is kept in any case.
        at: The time; None for now.

    Raises:
        StorageError: The store failed, or a release's document is damaged; then nothing can be told to be forgotten.
    """
    oldest = (at or datetime.now(UTC)) - grace
    old: dict[str, list[ObjectInfo]] = {}
    for name in store.folders(f"{layout.ANALYSIS}/"):
        found = list(store.list(f"{layout.ANALYSIS}/{name}/"))
        if found and max(info.modified for info in found) < oldest:
            old[name] = found
    if old:
        for folder in _masters_in_use(store):
            old.pop(folder, None)
            if not old:
                break
    infos = [info for found in old.values() for info in found]
    return Forgotten(tuple(old), tuple(info.key for info in infos), sum(info.size_bytes for info in infos))


def forget(store: Store, forgotten: Forgotten) -> None:
    """Remove what `find_forgotten` has found. A job that needs a part of it in the meantime makes it again."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(store.delete, forgotten.objects))


def _masters_in_use(store: Store) -> Iterator[str]:
    """Names of the folders of what was learned of the masters of all releases."""
    for title in titles(store):
        for release in store.folders(layout.releases(title)):
            try:
                master = read_release(store, title, release).presentation.master
            except ConfigError:
                continue  # it is being removed
            if master is not None:
                yield layout.analysis(master.digest).rstrip("/").rpartition("/")[2]
