"""Publishing: checks that a release is complete, writes its manifests, and makes it the current release of its title.

Media playlists are written first, then the manifests that refer to them, the release document, and the pointer last. So
if the process is killed at any point, no visible manifest refers to a missing object. A release's id is derived from
the bytes of its manifests, so that the content of a URL never changes.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from headend import __version__
from headend.core import documents, layout
from headend.core.errors import ObjectMissing, PackagingError, StorageError
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
from packager.presentation import StoredTrack, stored_tracks, with_tracks
from packager.reading import read_all, read_pointer

ID_CHARACTERS = 20
"""Length of a release's id in hexadecimal digits: 80 bits, so that the ids of a title don't collide."""
MAX_HISTORY = 100
"""Maximum number of former releases that a pointer lists."""
SETTLE_S = 0.1
"""When the pointer is read again on S3: after longer than another process takes between reading and writing it."""
MAX_ATTEMPTS = 20
"""How many times to try to change the pointer while other processes change it."""
PROTECTION_FIELDS = frozenset({"kid", "later_kids", "lead_segments", "period_segments", "hdcp", "protection", "copies"})
"""Fields that are left out of outlines if empty, so that ids of older releases don't change."""
SUBMITTED = "submitted"
"""Default reason of a release."""


@dataclass(frozen=True, slots=True)
class PublishResult:
    """A release that was written, and whether players get it.

    Attributes:
        presentation: The content of its manifests.
        is_current: Whether it is now the title's current release.
        newer: Id of the current release if it answers a newer request, so that this one did not become current; else
            empty.
        held: Whether it waits for approval.
    """

    presentation: Presentation
    is_current: bool
    newer: str = ""
    held: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """The marker of a release that waits for approval.

    Attributes:
        at: When the release was made: UTC, ISO 8601.
    """

    at: str


def publish(
    store: Store, presentation: Presentation, *, submitted_at: str | None = None, reason: str = SUBMITTED
) -> PublishResult:
    """Check that a presentation's tracks are complete, write its release, and make it the title's current one.

    Publishing is idempotent: an object that already has the same content is not written again.

    Args:
        store: Store of the tracks.
        presentation: The content of the release.
        submitted_at: When the request for this release was submitted: UTC, ISO 8601; None for now. If the current
            release answers a newer request, the pointer is not changed.
        reason: Why the release is made, in one line.

    Raises:
        PackagingError: An object is missing or has the wrong size; nothing has been written.
        StorageError: The store failed; the title's current release is unchanged.
    """
    submitted_at = submitted_at or now()
    release = write_release(store, presentation, submitted_at=submitted_at, reason=reason)
    pointer = set_current(store, release.title, release.release, submitted_at=submitted_at)
    is_current = pointer.release == release.release
    if is_current:
        store.delete(layout.held(release.title, release.release))
    return PublishResult(release, is_current, "" if is_current else pointer.release)


def hold(store: Store, presentation: Presentation, *, submitted_at: str, reason: str = SUBMITTED) -> PublishResult:
    """Check a presentation and write its release, but leave publishing to a person.

    The current release stays current. Arguments and errors as for `publish`.
    """
    release = write_release(store, presentation, submitted_at=submitted_at, reason=reason)
    pointer = read_pointer(store, release.title)
    if pointer is not None and pointer.release == release.release:
        return PublishResult(release, is_current=True)
    store.put(layout.held(release.title, release.release), documents.write(Held(now())))
    return PublishResult(release, is_current=False, held=True)


def held_since(store: Store, title: str, release: str, pointer: Current | None) -> str:
    """Since when a release has been waiting for approval; empty if it isn't.

    A marker that is older than the release's publication is ignored: its publisher was killed before removing it.
    """
    key = layout.held(title, release)
    try:
        at = documents.read(Held, store.get(key), key=key).at
    except ObjectMissing:
        return ""
    if pointer is None:
        return at
    times = [past.published_at for past in pointer.history if past.release == release]
    if pointer.release == release or any(not _is_newer(at, time) for time in times):
        return ""
    return at


def write_release(store: Store, presentation: Presentation, *, submitted_at: str, reason: str) -> Presentation:
    """Check a presentation and write its release without making it current; arguments and errors as for `publish`."""
    title = presentation.title
    check_objects(store, presentation)
    files = manifests(presentation)
    poster = _poster_picture(store, presentation.title, presentation.poster) if presentation.poster else None
    release = replace(presentation, release=release_id(files, poster))
    if poster is not None:
        # Candidates are stored as a track; the chosen one is copied into the release, where its address is simple.
        files = {layout.POSTER_PICTURE: poster, **files}
    folder = layout.release_path(title, release.release)
    existing = {info.key: info.size_bytes for info in store.list(f"{folder}/")}
    for name, data in files.items():
        key = f"{folder}/{name}"
        if existing.get(key) != len(data) or store.get(key) != data:
            store.put(key, data)
    if layout.release_document(title, release.release) not in existing:
        document = Release(
            presentation=with_tracks(release, lambda track: replace(track, segments=())),
            tracks={track.id: _summary(track) for track in stored_tracks(release)},
            created_at=now(),
            submitted_at=submitted_at,
            reason=reason,
            software=__version__,
        )
        store.put(layout.release_document(title, release.release), documents.write(document))
    if layout.deleted(title, release.release) in existing:
        store.delete(layout.deleted(title, release.release))
    return release


def set_current(store: Store, title: str, release: str, *, submitted_at: str) -> Current:
    """Make a release the title's current one, unless the current one answers a newer request.

    Args:
        store: Store of the title.
        title: Catalogue entry.
        release: The release's id; empty to withdraw the title.
        submitted_at: When the request was submitted: UTC, ISO 8601.

    Returns:
        The resulting pointer.

    Raises:
        StorageError: The store failed, or other processes keep changing the pointer.
    """
    key = layout.current(title)
    for _ in range(MAX_ATTEMPTS):
        try:
            etag: str | None = store.head(key).etag
        except ObjectMissing:
            etag = None
        current = read_pointer(store, title)
        if etag is None and current is not None:
            continue  # another process has just created it
        is_newer = current is not None and _is_newer(submitted_at, current.submitted_at)
        is_older = current is not None and _is_newer(current.submitted_at, submitted_at)
        if current is not None and not is_newer and (is_older or current.release == release):
            return current
        if release:
            _list_title(store, title)
        if current is not None and current.release == release:
            # Record the newer request, so that older requests can't change the pointer any more.
            pointer = replace(current, submitted_at=submitted_at)
        else:
            at = now()
            pointer = Current(release, at, submitted_at, _history(current, at))
        if store.put_if_match(key, documents.write(pointer), etag):
            if _is_overtaken(store, title, submitted_at):
                continue
            if not release:
                store.delete(layout.published(title))
            return pointer
    raise StorageError(f"{key} in {store.url} keeps being changed by other processes; try again in a moment", key=key)


def _is_overtaken(store: Store, title: str, submitted_at: str) -> bool:
    """Whether an older request has replaced a pointer that was just written.

    That happens on S3 servers that ignore conditions, if the older request read the pointer before and wrote it after.
    """
    if not store.url.startswith("s3://"):
        return False
    time.sleep(SETTLE_S)
    current = read_pointer(store, title)
    return current is not None and _is_newer(submitted_at, current.submitted_at)


def manifests(presentation: Presentation) -> dict[str, bytes]:
    """All playlists, the outline and the manifests of a release by name, in the order in which they are written."""
    grid, protection = presentation.grid, presentation.protection
    files = _playlists(presentation, protection)
    # Text is never encrypted, so all manifests share its playlists.
    without_text = replace(presentation, text=())
    if protection is not None and protection.scheme is not Scheme.AES_128:
        files |= _playlists(without_text, protection, identity=True)
    for copy in presentation.copies:
        tracks = replace(without_text, video=copy.video, audio=copy.audio, trick=copy.trick)
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
    """The media and I-frame playlists of a presentation's tracks; for ``identity``, see `hls.multivariant`."""
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


def planned_id(store: Store, presentation: Presentation) -> str:
    """Compute the id that a presentation's release would get, without writing anything."""
    poster = _poster_picture(store, presentation.title, presentation.poster) if presentation.poster else None
    return release_id(manifests(presentation), poster)


def release_id(files: Mapping[str, bytes], poster: bytes | None = None) -> str:
    """Derive a release's id from the bytes of its manifests and its poster."""
    digest = hashlib.sha256()
    for name, data in sorted({**files, layout.POSTER_PICTURE: poster or b""}.items()):
        digest.update(f"{name} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()[:ID_CHARACTERS]


def check_objects(store: Store, presentation: Presentation) -> None:
    """Check that all media of a presentation is in the store; raises `PackagingError` if not."""
    title, tracks = presentation.title, stored_tracks(presentation)
    wrong: list[str] = []
    for track, sizes in read_all(lambda track: _sizes(store, title, track.id), tracks):
        wrong += [key for key, size in object_sizes(title, [track]).items() if sizes.get(key) != size]
    if wrong:
        raise PackagingError(
            f"{len(wrong)} objects are missing or have the wrong size, such as {wrong[0]}; submit the master again to "
            "make them",
            objects=wrong[:20],
        )


def object_sizes(title: str, tracks: Iterable[StoredTrack]) -> dict[str, int]:
    """Sizes of all init segments, media segments and images of some tracks, by key."""
    sizes: dict[str, int] = {}
    for track in tracks:
        for period, _ in enumerate(track.inits_sha256, start=1):
            sizes[layout.track_init(title, track.id, period)] = track.init_bytes
        for segment in track.segments:
            sizes[layout.track_segment(title, track.id, segment.number)] = segment.size_bytes
    return sizes


def now() -> str:
    """The current time in the form for documents: UTC, ISO 8601, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _sizes(store: Store, title: str, track: str) -> dict[str, int]:
    return {info.key: info.size_bytes for info in store.list(f"{layout.track_path(title, track)}/")}


def _summary(track: StoredTrack) -> TrackSummary:
    return TrackSummary(len(track.segments), track.total_bytes, track.average_bps, track.peak_bps)


def _poster_picture(store: Store, title: str, candidates: Track[Poster]) -> bytes:
    """The candidate with the most detail, which is the largest JPEG: black or blurred pictures compress better."""
    best = max(candidates.segments, key=lambda segment: segment.size_bytes)
    return store.get(layout.track_segment(title, candidates.id, best.number))


def _list_title(store: Store, title: str) -> None:
    """Add a title to the list of titles, before its pointer is written, so that the list has every published title."""
    store.put_if_absent(layout.published(title), b"")


def _is_newer(submitted_at: str, other: str) -> bool:
    """Whether a request was submitted later than another; false if either time is unknown."""
    if not submitted_at or not other:
        return False
    return datetime.fromisoformat(submitted_at) > datetime.fromisoformat(other)


def _history(current: Current | None, until: str) -> tuple[Published, ...]:
    if current is None:
        return ()
    latest = (Published(current.release, current.published_at, current.submitted_at, until),) if current.release else ()
    return (*latest, *current.history)[:MAX_HISTORY]
