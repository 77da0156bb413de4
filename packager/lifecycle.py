"""Operations on the releases of a title: list, make current, withdraw, delete, and repackage.

They change pointers and manifests, never tracks. Deleted releases are only marked; `packager.garbage` removes them when
no player can need them any more.
"""

from dataclasses import dataclass

from headend import __version__
from headend.core import documents, holds, layout, measured
from headend.core.errors import ConfigError, ObjectMissing, QualityRefused
from headend.core.media import Current, Published, Release
from headend.core.media.quality_reports import Override
from headend.core.storage.base import Store
from packager.publishing import PublishResult, check_objects, held_since, now, publish, set_current
from packager.reading import load_presentation, read_all, read_pointer, read_release


@dataclass(frozen=True, slots=True)
class Deleted:
    """The marker of a deleted release.

    Attributes:
        at: Time of deletion: UTC, ISO 8601.
    """

    at: str


@dataclass(frozen=True, slots=True)
class ListedRelease:
    """A release in a list for the user.

    Attributes:
        release: Its id.
        created_at: UTC, ISO 8601.
        reason: Why it was made.
        tracks: Number of its tracks.
        size_bytes: Total size of these tracks.
        is_current: Whether players get it.
        until: When it was last current, UTC, ISO 8601; empty if it is current or never was.
        deleted_at: When it was deleted; empty if it was not.
        held_since: Since when it has been waiting for approval; empty if it isn't.
    """

    release: str
    created_at: str
    reason: str
    tracks: int
    size_bytes: int
    is_current: bool
    until: str
    deleted_at: str
    held_since: str = ""


def releases(store: Store, title: str) -> tuple[ListedRelease, ...]:
    """All releases of a title, the newest first.

    Raises:
        ConfigError: The title has none, or its name is invalid.
        StorageError: The store failed, or a document is damaged.
    """
    names = store.folders(layout.releases(layout.check_title(title)))
    if not names:
        raise ConfigError(f"{title!r} has no release in {store.url}; `headend titles` lists the titles")
    pointer = read_pointer(store, title)
    listed = [
        _listed(
            release,
            document,
            deleted_at(store, title, release),
            held_since(store, title, release, pointer),
            pointer,
        )
        for release, document in read_all(lambda name: _document(store, title, name), names)
        if document is not None
    ]
    return tuple(sorted(listed, key=lambda row: row.created_at, reverse=True))


def make_current(store: Store, title: str, release: str, *, despite_quality: Override | None = None) -> Current:
    """Make an existing release the current one, for example to roll back to a former release.

    Args:
        store: Store of the title.
        title: Catalogue entry.
        release: Its id.
        despite_quality: Who publishes the release although it fails the quality rules; recorded in its report. None
            refuses to publish such a release.

    Returns:
        The new pointer.

    Raises:
        QualityRefused: It fails the quality rules.
        ConfigError: There is no such release.
        PackagingError: Some of its objects are missing.
        StorageError: The store failed.
    """
    layout.check_title(title)
    tracks = read_release(store, title, release).tracks
    report = measured.read_report(store, title, release)
    refusing = report if report is not None and report.failures and not report.overrides else None
    if refusing is not None and despite_quality is None:
        raise QualityRefused(
            f"release {release} of {title!r} fails the quality rules: {refusing.failures[0].message}. See "
            f"'headend quality {title} {release}'; --despite-quality publishes it nevertheless",
            title=title,
            release=release,
        )
    with holds.held(store, title, tracks=tracks, releases=[release], reason="publish"):
        try:
            check_objects(store, load_presentation(store, title, release))
        except ObjectMissing as error:
            raise ConfigError(
                f"release {release!r} of {title!r} lacks a track: {error.message}; submit the master again"
            ) from None
        if refusing is not None and despite_quality is not None:
            measured.override(store, refusing, despite_quality)
        store.delete(layout.deleted(title, release))
        pointer = set_current(store, title, release, submitted_at=now())
        store.delete(layout.held(title, release))
        return pointer


def withdraw(store: Store, title: str) -> Current:
    """Unpublish a title. Its releases stay and can be published again.

    Raises:
        ConfigError: It is not published.
    """
    pointer = read_pointer(store, layout.check_title(title))
    if pointer is None or not pointer.release:
        raise ConfigError(f"{title!r} is not published in {store.url}; `headend titles` lists published titles")
    return set_current(store, title, "", submitted_at=now())


def delete(store: Store, title: str, release: str | None = None) -> tuple[str, ...]:
    """Mark a release as deleted; without a release, withdraw the title and mark all its releases.

    After the grace period, ``headend gc`` removes marked releases, and the tracks that no other release uses.

    Returns:
        Ids of the newly marked releases.

    Raises:
        ConfigError: There is no such title or release, or the release is the current one.
    """
    names = store.folders(layout.releases(layout.check_title(title)))
    pointer = read_pointer(store, title)
    if release is None:
        if pointer is not None and pointer.release:
            set_current(store, title, "", submitted_at=now())
        wanted = names
    else:
        if pointer is not None and pointer.release == release:
            raise ConfigError(
                f"release {release!r} is the current one of {title!r}: publish another one first, or run "
                f"`headend unpublish {title}`"
            )
        wanted = tuple(name for name in names if name == release)
    if not wanted:
        missing = "release" if release is None else f"release {release!r}"
        raise ConfigError(f"{title!r} has no {missing} in {store.url}; `headend titles` lists the titles")
    marker = documents.write(Deleted(now()))
    return tuple(name for name in wanted if store.put_if_absent(layout.deleted(title, name), marker))


def repackage(store: Store, title: str, release: str | None = None) -> PublishResult:
    """Write a release's manifests again with this version of headend, for the same tracks.

    Args:
        store: Store of the title.
        title: Catalogue entry.
        release: Id of the release; None for the current one. The new release becomes current.

    Raises:
        ConfigError: The title is not published.
        PackagingError: Objects are missing.
    """
    pointer = read_pointer(store, layout.check_title(title))
    chosen = release or (pointer.release if pointer else "")
    if not chosen:
        raise ConfigError(f"{title!r} is not published in {store.url}; `headend titles` lists published titles")
    tracks = read_release(store, title, chosen).tracks
    with holds.held(store, title, tracks=tracks, releases=[chosen], reason="repackage"):
        return publish(store, load_presentation(store, title, chosen), reason=f"repackaged by headend {__version__}")


def deleted_at(store: Store, title: str, release: str) -> str:
    """When a release was deleted; empty if it is kept."""
    key = layout.deleted(title, release)
    try:
        return documents.read(Deleted, store.get(key), key=key).at
    except ObjectMissing:
        return ""


def former(pointer: Current | None) -> dict[str, Published]:
    """Former releases by id, each with the latest period in which it was current."""
    by_release: dict[str, Published] = {}
    for past in pointer.history if pointer else ():
        by_release.setdefault(past.release, past)
    return by_release


def _document(store: Store, title: str, release: str) -> Release | None:
    try:
        return read_release(store, title, release)
    except ConfigError:
        return None  # being written, or being removed


def _listed(release: str, document: Release, deleted: str, held: str, pointer: Current | None) -> ListedRelease:
    is_current = pointer is not None and pointer.release == release
    past = former(pointer).get(release)
    return ListedRelease(
        release=release,
        created_at=document.created_at,
        reason=document.reason,
        tracks=len(document.tracks),
        size_bytes=sum(track.size_bytes for track in document.tracks.values()),
        is_current=is_current,
        until="" if is_current or past is None else past.until,
        deleted_at=deleted,
        held_since="" if deleted else held,
    )
