"""Publishing: checking that a release is complete, and then making it visible in an order that never lies.

Media playlists come before the manifests that name them, manifests before the pointer. At no instant does a visible
manifest name an object that is missing, whichever write is the last one that happens.
"""

from collections.abc import Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

from headend import documents, layout
from headend.errors import ConfigError, ObjectMissing, PackagingError
from headend.media import Codec, Current, EncodePlan, Presentation, Receipt
from headend.storage.base import Store
from packager import dash, hls, thumbnails
from packager.presentation import AnyTrack, all_tracks, assemble

THREADS = 16
"""Reads under way at a time: a store across a network answers in tens of milliseconds."""


def publish(store: Store, plan: EncodePlan) -> Presentation:
    """Check a release whose tasks are done, write its manifests and make it the title's current one.

    Publishing again is harmless: what stands there already is not written again.

    Args:
        store: Where the segments and receipts are.
        plan: What was to be made.

    Returns:
        The presentation that the manifests describe.

    Raises:
        PackagingError: Something is missing, incomplete or not on the grid; nothing has been written then.
        StorageError: The store failed; the title's current release is what it was.
    """
    title, release = plan.title, plan.release
    sizes = _sizes(store, plan)
    presentation = assemble(
        plan, read_receipts(store, plan, sizes).values(), read_inits(store, plan, sizes).__getitem__
    )
    _check_objects(presentation, sizes)
    for key, data in manifests(presentation).items():
        if sizes.get(key) != len(data) or store.get(key) != data:
            store.put(key, data)
    pointer = _current(store, title)
    if pointer is None or pointer.release != release:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        store.put(layout.current(title), documents.write(Current(release, now)))
    return presentation


def publish_part(store: Store, plan: EncodePlan, part: EncodePlan) -> Presentation:
    """Publish some renditions of a release, whose tasks are done, as a release of their own.

    What it is made of is copied within the store, so that each release is complete in itself and can be served, checked
    and removed alone. Doing it again is harmless.

    Args:
        store: Where the segments and receipts are.
        plan: The whole.
        part: Some renditions of it, the tasks that make them, and the id of their own release.

    Returns:
        The presentation that is the title's current one now.

    Raises:
        PackagingError: Something is missing, incomplete or not on the grid.
        StorageError: The store failed.
    """
    there = replace(part, release=plan.release)
    sizes = _sizes(store, there)
    receipts = read_receipts(store, there, sizes)
    presentation = assemble(there, receipts.values(), read_inits(store, there, sizes).__getitem__)
    _check_objects(presentation, sizes)
    theirs, ours = (f"{layout.release_path(plan.title, release)}/" for release in (plan.release, part.release))
    done = _sizes(store, part)
    # Receipts come last, as everywhere.
    for keys in (segment_sizes(presentation), receipts):
        places = {key: ours + key.removeprefix(theirs) for key in keys}
        missing = [key for key, place in places.items() if done.get(place) != sizes[key]]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(store.copy, missing, [places[key] for key in missing]))
    store.put_if_absent(layout.plan(part.title, part.release), documents.write(part))
    return publish(store, part)


def titles(store: Store) -> dict[str, Current]:
    """Every title that has a current release, in the order of their names."""
    found = ((title, _current(store, title)) for title in store.folders(f"{layout.TITLES}/"))
    return {title: pointer for title, pointer in found if pointer is not None}


def current_release(store: Store, title: str) -> str:
    """The id of a title's current release.

    Raises:
        ConfigError: The title has none, or its name can't be a title's.
    """
    pointer = _current(store, layout.check_title(title))
    if pointer is None:
        raise ConfigError(f"{title!r} is not published in {store.url}; `headend titles` lists what is")
    return pointer.release


def current_presentation(store: Store, title: str) -> Presentation:
    """What a title's current release holds.

    Raises:
        ConfigError: The title has none, or its name can't be a title's.
    """
    key = layout.release_document(title, current_release(store, title))
    return documents.read(Presentation, store.get(key), key=key)


def manifests(presentation: Presentation) -> dict[str, bytes]:
    """All that describes a presentation, by key, in the order in which it may become visible."""
    title, release, grid = presentation.title, presentation.release, presentation.grid
    files: dict[str, str] = {}
    played: tuple[AnyTrack, ...] = (*presentation.video, *presentation.audio, *presentation.text)
    for track in filter(hls.in_hls, played):
        files[layout.media_playlist(title, release, track.rendition.id)] = hls.media_playlist(track, grid)
    for picture in filter(hls.in_hls, (*presentation.video, *presentation.trick)):
        files[layout.iframe_playlist(title, release, picture.rendition.id)] = hls.iframe_playlist(picture, grid)
    if presentation.sheets:
        files[layout.image_playlist(title, release)] = hls.image_playlist(presentation)
        files[layout.thumbnail_index(title, release)] = thumbnails.index(presentation)
    return {
        **{key: text.encode() for key, text in files.items()},
        layout.release_document(title, release): documents.write(presentation),
        layout.multivariant(title, release): hls.multivariant(presentation).encode(),
        layout.mpd(title, release): dash.mpd(presentation),
    }


def read_receipts(store: Store, plan: EncodePlan, keys: Container[str]) -> dict[str, Receipt]:
    """The receipts of a plan's tasks by their keys, as far as these are among ``keys``."""
    wanted = [layout.receipt(plan.title, plan.release, task.id) for task in plan.tasks]
    found = _get_all(store, [key for key in wanted if key in keys])
    return {key: documents.read(Receipt, data, key=key) for key, data in found}


def read_inits(store: Store, plan: EncodePlan, keys: Container[str]) -> dict[str, bytes]:
    """The init segments of a plan's renditions by the renditions' ids.

    Raises:
        PackagingError: One is not among ``keys``.
    """
    written = (text.id for text in plan.text if text.codec is not Codec.VTT)
    ids = [*(picture.id for picture in (*plan.video, *plan.trick)), *(sound.id for sound in plan.audio), *written]
    wanted = {layout.init(plan.title, plan.release, id): id for id in ids}
    for key, id in wanted.items():
        if key not in keys:
            raise PackagingError(f"{key} is missing; {_AGAIN}", rendition=id)
    return {wanted[key]: data for key, data in _get_all(store, list(wanted))}


def segment_sizes(presentation: Presentation) -> dict[str, int]:
    """Size of every init segment, media segment and sheet of thumbnails, by key."""
    title, release = presentation.title, presentation.release
    tracks = all_tracks(presentation)
    sizes = {layout.init(title, release, track.rendition.id): track.init_bytes for track in tracks if track.init_bytes}
    for track in tracks:
        for segment in track.segments:
            sizes[layout.segment(title, release, track.rendition.id, segment.number)] = segment.size_bytes
    return sizes | {layout.sheet(title, release, sheet.number): sheet.size_bytes for sheet in presentation.sheets}


_AGAIN = "delete the release's receipts and submit the master again"


def _check_objects(presentation: Presentation, sizes: Mapping[str, int]) -> None:
    wrong = [key for key, size in segment_sizes(presentation).items() if sizes.get(key) != size]
    if wrong:
        raise PackagingError(
            f"{len(wrong)} objects are missing or not of the size in their receipt, such as {wrong[0]}; {_AGAIN}",
            objects=wrong[:20],
        )


def _sizes(store: Store, plan: EncodePlan) -> dict[str, int]:
    """Size of every object of a release, by key."""
    return {info.key: info.size_bytes for info in store.list(f"{layout.release_path(plan.title, plan.release)}/")}


def _get_all(store: Store, keys: Sequence[str]) -> list[tuple[str, bytes]]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(zip(keys, pool.map(store.get, keys), strict=True))


def _current(store: Store, title: str) -> Current | None:
    key = layout.current(title)
    try:
        return documents.read(Current, store.get(key), key=key)
    except ObjectMissing:
        return None
