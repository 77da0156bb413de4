"""Publishing: check that a release is complete, then make it visible, in an order that never exposes a part of it.

Media playlists come before the manifests that name them, these before the document, and that before the pointer. At no
instant does a visible manifest name an object that is missing, whichever write is the last one that happens. A release
is named by the bytes of its manifests, so that no address ever changes what it gives.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from headend import __version__
from headend.core import documents, layout
from headend.core.errors import ConfigError, ObjectMissing, PackagingError, StorageError
from headend.core.manifests import hls
from headend.core.manifests.forms import top_manifests
from headend.core.manifests.outline import outline_of
from headend.core.media import (
    AnyTrack,
    Current,
    Poster,
    Presentation,
    Protection,
    Published,
    Release,
    Scheme,
    Track,
    TrackSummary,
)
from headend.core.storage.base import Store
from packager import thumbnails
from packager.presentation import StoredTrack, from_index, stored_tracks, with_kids, with_tracks
from packager.stock import read_all, read_track

ID_CHARACTERS = 20
"""80 bits: no two releases of a title collide."""
HISTORY = 100
"""Former releases that a pointer remembers."""
MOVES = 20
"""How often a move of the pointer is retried if another process has moved it meanwhile."""
PROTECTION_FIELDS = frozenset({"kid", "later_kids", "lead_segments", "period_segments", "hdcp", "protection", "copies"})
"""Left out of outlines where they are empty, so that the ids of releases stay what they were before these existed."""
SUBMITTED = "submitted"
"""Why most releases are made."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A release that is in the store.

    Attributes:
        presentation: What its manifests describe.
        is_current: Whether it is the title's current one; not where a newer request has been published already.
        newer: The current release of a newer request, if that is why this one is not current; else empty.
        held: Whether it waits to be published.
    """

    presentation: Presentation
    is_current: bool
    newer: str = ""
    held: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """The mark of a release that waits to be published.

    Attributes:
        at: When it was made: UTC, ISO 8601.
    """

    at: str


def publish(
    store: Store, presentation: Presentation, *, submitted_at: str | None = None, reason: str = SUBMITTED
) -> Placed:
    """Check a presentation whose tracks are complete, write its release, and make it the title's current one.

    Publishing again is harmless: what stands there already is not written again.

    Args:
        store: Where the tracks are.
        presentation: What players are to see.
        submitted_at: When the request came that this release answers: UTC, ISO 8601; None for now. The pointer is not
            moved if it answers a newer one already.
        reason: Why the release is made, in a line.

    Raises:
        PackagingError: An object is missing or not of its size; nothing has been written then.
        StorageError: The store failed; the title's current release is what it was.
    """
    submitted_at = submitted_at or now()
    placed = place(store, presentation, submitted_at=submitted_at, reason=reason)
    pointer = move(store, placed.title, placed.release, submitted_at=submitted_at)
    is_current = pointer.release == placed.release
    if is_current:
        store.delete(layout.held(placed.title, placed.release))
    return Placed(placed, is_current, "" if is_current else pointer.release)


def hold(store: Store, presentation: Presentation, *, submitted_at: str, reason: str = SUBMITTED) -> Placed:
    """Check a presentation and write its release, and leave it to a person to publish it.

    Players go on to get what is current. A release that is current already stays so. Arguments and errors as for
    `publish`.
    """
    placed = place(store, presentation, submitted_at=submitted_at, reason=reason)
    pointer = read_pointer(store, placed.title)
    if pointer is not None and pointer.release == placed.release:
        return Placed(placed, is_current=True)
    store.put(layout.held(placed.title, placed.release), documents.write(Held(now())))
    return Placed(placed, is_current=False, held=True)


def held_since(store: Store, title: str, release: str, pointer: Current | None) -> str:
    """Since when a release waits to be published; empty if it does not.

    The mark of a release that has been current since is void: whoever published it was killed before removing it.
    """
    key = layout.held(title, release)
    try:
        at = documents.read(Held, store.get(key), key=key).at
    except ObjectMissing:
        return ""
    if pointer is None:
        return at
    shown = [past.published_at for past in pointer.history if past.release == release]
    if pointer.release == release or any(not _newer(at, published_at) for published_at in shown):
        return ""
    return at


def place(store: Store, presentation: Presentation, *, submitted_at: str, reason: str) -> Presentation:
    """Check a presentation and write its release, without making it current; arguments and errors as for `publish`."""
    title = presentation.title
    check_objects(store, presentation)
    files = manifests(presentation)
    poster = _poster(store, presentation.title, presentation.poster) if presentation.poster else None
    made = replace(presentation, release=release_id(files, poster))
    if poster is not None:
        # Small, and the only address of it that people and pages know.
        files = {layout.POSTER_PICTURE: poster, **files}
    folder = layout.release_path(title, made.release)
    there = {info.key: info.size_bytes for info in store.list(f"{folder}/")}
    for name, data in files.items():
        key = f"{folder}/{name}"
        if there.get(key) != len(data) or store.get(key) != data:
            store.put(key, data)
    if layout.release_document(title, made.release) not in there:
        document = Release(
            presentation=with_tracks(made, lambda track: replace(track, segments=())),
            tracks={track.id: _summary(track) for track in stored_tracks(made)},
            created_at=now(),
            submitted_at=submitted_at,
            reason=reason,
            software=__version__,
        )
        store.put(layout.release_document(title, made.release), documents.write(document))
    if layout.deleted(title, made.release) in there:
        store.delete(layout.deleted(title, made.release))
    return made


def move(store: Store, title: str, release: str, *, submitted_at: str) -> Current:
    """Make a release the title's current one, unless the current one answers a newer request.

    Args:
        store: Where the title is.
        title: Catalogue entry.
        release: Its id; empty to withdraw the title.
        submitted_at: When the request came: UTC, ISO 8601.

    Returns:
        The pointer as it is now.

    Raises:
        StorageError: The store failed, or others move the pointer all the time.
    """
    key = layout.current(title)
    for _ in range(MOVES):
        try:
            etag: str | None = store.head(key).etag
        except ObjectMissing:
            etag = None
        known = read_pointer(store, title)
        if etag is None and known is not None:
            continue  # another process has just done it
        newer = known is not None and _newer(submitted_at, known.submitted_at)
        if known is not None and not newer and (known.release == release or _newer(known.submitted_at, submitted_at)):
            return known
        if release:
            _mark(store, title)
        if known is not None and known.release == release:
            # Confirmed by a newer request, so that older ones don't move it.
            pointer = replace(known, submitted_at=submitted_at)
        else:
            at = now()
            pointer = Current(release, at, submitted_at, _history(known, at))
        if store.put_if_match(key, documents.write(pointer), etag):
            if not release:
                store.delete(layout.published(title))
            return pointer
    raise StorageError(f"{key} in {store.url} keeps being changed by other processes; try again in a moment", key=key)


def read_pointer(store: Store, title: str) -> Current | None:
    """The pointer of a title; None if it was never published.

    Raises:
        StorageError: The store failed, or was written by an older headend.
    """
    key = layout.current(title)
    try:
        data = store.get(key)
    except ObjectMissing:
        return None
    return read_current(data, key)


def read_current(data: bytes, key: str) -> Current:
    """Read a pointer; raises `StorageError` for one that is damaged, or that an older headend has written."""
    try:
        return documents.read(Current, data, key=key)
    except StorageError:
        if b'"kind":"Current"' in data and b'"history"' not in data:
            raise StorageError(
                f"{key} was written by an older headend, whose stores this one does not read: use an empty store and "
                "submit the masters again",
                key=key,
            ) from None
        raise


def titles(store: Store, *, after: str = "", limit: int | None = None) -> tuple[str, ...]:
    """The names of the published titles, in their order; costs one request for each thousand.

    Args:
        store: Where they are.
        after: The name after which to go on.
        limit: At most so many; None for all.
    """
    prefix = layout.published()
    start = layout.published(after) if after else ""
    found = store.list(prefix, after=start) if limit is None else store.page(prefix, after=start, limit=limit)
    return tuple(info.key.removeprefix(prefix) for info in found)


def current_release(store: Store, title: str) -> str:
    """The id of a title's current release.

    Raises:
        ConfigError: The title has none, or its name can't be a title's.
    """
    pointer = read_pointer(store, layout.check_title(title))
    if pointer is None or not pointer.release:
        raise ConfigError(f"{title!r} is not published in {store.url}; `headend titles` lists what is")
    return pointer.release


def current_presentation(store: Store, title: str) -> Presentation:
    """What a title's current release holds.

    Raises:
        ConfigError: The title has none, or its name can't be a title's.
    """
    return load(store, title, current_release(store, title))


def read_release(store: Store, title: str, release: str) -> Release:
    """The document of a release.

    Raises:
        ConfigError: There is no such release.
        StorageError: The document is damaged, or the store failed.
    """
    key = layout.release_document(title, release)
    try:
        return documents.read(Release, store.get(key), key=key)
    except ObjectMissing:
        raise ConfigError(
            f"{title!r} has no release {release!r} in {store.url}; `headend releases {title}` lists what there is"
        ) from None


def load(store: Store, title: str, release: str) -> Presentation:
    """Read a release back, with all that its tracks' indexes say.

    Raises:
        ConfigError: There is no such release.
        ObjectMissing: A track of it is gone.
        StorageError: A document is damaged, or the store failed.
    """
    return fill(store, read_release(store, title, release).presentation)


def fill(store: Store, presentation: Presentation) -> Presentation:
    """Give the tracks of a presentation their segments, from the indexes."""
    tracks = {track.id: track for track in stored_tracks(presentation)}
    found = dict(read_all(lambda id: read_track(store, presentation.title, id), tracks))
    return with_tracks(presentation, lambda track: with_kids(from_index(track.rendition, *found[track.id]), track.kids))


def manifests(presentation: Presentation) -> dict[str, bytes]:
    """All playlists, the outline and the manifests of a release by name, in the order in which they may be visible."""
    grid, protection = presentation.grid, presentation.protection
    files = _playlists(presentation, protection)
    textless = replace(presentation, text=())  # text is clear, so its playlists serve all forms
    if protection is not None and protection.scheme is not Scheme.AES_128:
        files |= _playlists(textless, protection, identity=True)
    for copy in presentation.copies:
        tracks = replace(textless, video=copy.video, audio=copy.audio, trick=copy.trick)
        files |= _playlists(tracks, copy.protection)
    if presentation.thumbnails is not None:
        files[layout.media_playlist_name(presentation.thumbnails.id)] = hls.image_playlist(
            presentation.thumbnails, grid
        )
        files[layout.THUMBNAIL_INDEX] = thumbnails.index(presentation.thumbnails, grid)
    outline = outline_of(presentation)
    return {
        **{name: text.encode() for name, text in files.items()},
        layout.OUTLINE: documents.write(outline, omitted=PROTECTION_FIELDS),
        **{top.name: top.render() for top in top_manifests(outline)},
    }


def _playlists(presentation: Presentation, protection: Protection | None, *, identity: bool = False) -> dict[str, str]:
    """The media and I-frame playlists of a presentation's tracks."""
    grid = presentation.grid
    played: tuple[AnyTrack, ...] = (*presentation.video, *presentation.audio, *presentation.text)
    files = {
        layout.media_playlist_name(track.id, identity=identity): hls.media_playlist(
            track, grid, protection, identity=identity
        )
        for track in played
        if hls.in_hls(track)
    }
    if hls.has_iframe_playlists(protection):
        for picture in filter(hls.in_hls, (*presentation.video, *presentation.trick)):
            name = layout.iframe_playlist_name(picture.id, identity=identity)
            files[name] = hls.iframe_playlist(picture, grid, protection, identity=identity)
    return files


def preview(store: Store, presentation: Presentation) -> str:
    """The id that a release of a presentation would have; nothing is written."""
    poster = _poster(store, presentation.title, presentation.poster) if presentation.poster else None
    return release_id(manifests(presentation), poster)


def release_id(files: Mapping[str, bytes], poster: bytes | None = None) -> str:
    """Name a release by the bytes of its manifests, and of its poster."""
    digest = hashlib.sha256()
    for name, data in sorted({**files, layout.POSTER_PICTURE: poster or b""}.items()):
        digest.update(f"{name} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()[:ID_CHARACTERS]


def check_objects(store: Store, presentation: Presentation) -> None:
    """Make sure that all media of a presentation is in the store; raises `PackagingError` if not."""
    title, tracks = presentation.title, stored_tracks(presentation)
    wrong: list[str] = []
    for track, sizes in read_all(lambda track: _sizes(store, title, track.id), tracks):
        wrong += [key for key, size in object_sizes(title, [track]).items() if sizes.get(key) != size]
    if wrong:
        raise PackagingError(
            f"{len(wrong)} objects are missing or not of their size, such as {wrong[0]}; submit the master again to "
            "have them made",
            objects=wrong[:20],
        )


def object_sizes(title: str, tracks: Iterable[StoredTrack]) -> dict[str, int]:
    """Size of every init segment, media segment and picture of some tracks, by key."""
    sizes: dict[str, int] = {}
    for track in tracks:
        for period, _ in enumerate(track.inits_sha256, start=1):
            sizes[layout.track_init(title, track.id, period)] = track.init_bytes
        for segment in track.segments:
            sizes[layout.track_segment(title, track.id, segment.number)] = segment.size_bytes
    return sizes


def now() -> str:
    """The time, as documents write it: UTC, ISO 8601, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _sizes(store: Store, title: str, track: str) -> dict[str, int]:
    return {info.key: info.size_bytes for info in store.list(f"{layout.track_path(title, track)}/")}


def _summary(track: StoredTrack) -> TrackSummary:
    return TrackSummary(len(track.segments), track.total_bytes, track.average_bps, track.peak_bps)


def _poster(store: Store, title: str, candidates: Track[Poster]) -> bytes:
    """The candidate that shows most: a black or blurred one makes the smallest JPEG."""
    best = max(candidates.segments, key=lambda segment: segment.size_bytes)
    return store.get(layout.track_segment(title, candidates.id, best.number))


def _mark(store: Store, title: str) -> None:
    """Have the title listed; before the pointer, so that no published title is missing there."""
    store.put_if_absent(layout.published(title), b"")


def _newer(known: str, asked: str) -> bool:
    """Whether one time of submission is after another; times of one form compare as text, others are parsed."""
    if not known or not asked:
        return False
    return datetime.fromisoformat(known) > datetime.fromisoformat(asked)


def _history(known: Current | None, until: str) -> tuple[Published, ...]:
    if known is None:
        return ()
    latest = (Published(known.release, known.published_at, known.submitted_at, until),) if known.release else ()
    return (*latest, *known.history)[:HISTORY]
