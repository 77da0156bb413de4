"""Encrypting a clear release: encrypt its tracks and publish a release of them, without encoding anything.

The tracks have the same ids and bytes as if the title had been encrypted while it was encoded.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, cast

from headend.app import content_keys
from headend.core import holds, layout, track_index
from headend.core.errors import ConfigError, PackagingError
from headend.core.keys import ContentKey
from headend.core.media import AnyTrack, Effort, EncodePlan, Master, Presentation, Segment
from headend.core.media.protection import TrackEncryption
from headend.core.settings import ProtectionSettings, StoreSettings
from headend.core.storage import Store, open_store
from packager import encrypted_tracks
from packager.fragments import Fragment, read_fragments, sync_ranges
from packager.presentation import StoredTrack, assemble, index_of, track_from_index
from packager.protecting import protection_of
from packager.publishing import PublishResult, publish
from packager.reading import current_release, load_presentation, read_track
from packager.segmenting.protection import Protect, Protector

TRACKS = 4
"""Tracks that are encrypted in parallel, to hide the latency of the store."""
REPORT_EVERY_S = 10.0
_NO_MASTER = Master("", 0, "", "")


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of encrypting.

    Attributes:
        done_bytes: Clear bytes that are encrypted and stored.
        total_bytes: Clear bytes in all.
    """

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Encrypted:
    """The result of encrypting a release.

    Attributes:
        published: The encrypted release.
        tracks: Number of encrypted tracks.
        reused_tracks: Number of these that were already in the store.
        written_bytes: Bytes written for the others.
        cpu_s: CPU seconds of this process.
        wall_s: Duration in seconds.
    """

    published: PublishResult
    tracks: int
    reused_tracks: int
    written_bytes: int
    cpu_s: float
    wall_s: float


def encrypt(
    settings: StoreSettings,
    title: str,
    protection: ProtectionSettings,
    *,
    release: str | None = None,
    dry_run: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Encrypted:
    """Make an encrypted release of a clear one, and make it current.

    If the call is killed, nothing is visible; repeating it makes what is missing.

    Args:
        settings: The store.
        title: Catalogue entry.
        protection: How it is encrypted.
        release: The clear release; None for the current one.
        dry_run: Whether to write nothing; then the presentation is the clear one.
        on_progress: Called every few seconds with the progress.

    Raises:
        ConfigError: There is no such release, it is encrypted already, or a key is missing or wrong.
        PackagingError: A track is damaged, or can't be encrypted.
        StorageError: The store failed, or the key source can't be reached.
    """
    started_s, cpu_started_s = time.monotonic(), time.process_time()
    store = open_store(settings)
    release = release or current_release(store, layout.check_title(title))
    clear = load_presentation(store, title, release)
    if clear.protection is not None:
        raise ConfigError(
            f"release {release} of {title!r} is encrypted already: name a clear one with --release, or submit the "
            "master again"
        )
    plan = _plan(clear)
    plan = encrypted_tracks.with_encrypted_tracks(plan, content_keys.scopes(protection, plan))
    encrypted_tracks.check_vectors(plan, store.folders(layout.tracks(title)))
    names = {name.kid: name for scheme_protection in plan.protection for name in scheme_protection.names}
    keys = content_keys.opened(protection.keys, title, tuple(names.values()))
    coded: tuple[AnyTrack, ...] = (*clear.video, *clear.trick, *clear.audio)
    sources = {track.rendition.id: track for track in coded}
    with holds.held(
        store,
        title,
        tracks=[*(track.id for track in sources.values()), *plan.tracks.values()],
        releases=[release],
        reason="protect",
    ):
        stored = {
            name: track
            for name, encryption in plan.sealings.items()
            if (track := _stored(store, title, plan.tracks[name], sources[encryption.rendition])) is not None
        }
        missing = {name: encryption for name, encryption in plan.sealings.items() if name not in stored}
        if dry_run:
            nothing = PublishResult(replace(clear, release=""), is_current=False)
            return Encrypted(nothing, len(plan.sealings), len(stored), 0, 0.0, time.monotonic() - started_s)
        encrypted = _make(store, plan, sources, missing, keys, on_progress)
        published = publish(store, _presentation(clear, plan, {**stored, **encrypted}), reason=_reason(protection))
    return Encrypted(
        published=published,
        tracks=len(plan.sealings),
        reused_tracks=len(stored),
        written_bytes=sum(track.total_bytes for track in encrypted.values()),
        cpu_s=time.process_time() - cpu_started_s,
        wall_s=time.monotonic() - started_s,
    )


def _make(
    store: Store,
    plan: EncodePlan,
    sources: Mapping[str, AnyTrack],
    missing: Mapping[str, TrackEncryption],
    keys: Mapping[str, ContentKey],
    on_progress: Callable[[Progress], None],
) -> dict[str, StoredTrack]:
    """Encrypt the tracks that the store lacks, several at once."""
    total_bytes = sum(sources[encryption.rendition].total_bytes for encryption in missing.values())
    progress = _ProgressReporter(on_progress, total_bytes)
    kids = {protection.scheme: encrypted_tracks.kids_of(plan.title, protection) for protection in plan.protection}
    schedules = {protection.scheme: protection.schedule for protection in plan.protection}

    def make(name: str, encryption: TrackEncryption) -> StoredTrack:
        protect = protection_of(
            [keys[kid] for kid in encryption.kids],
            kids=kids[encryption.scheme],
            salt=encrypted_tracks.salt_of(plan.tracks[name]),
            schedule=schedules[encryption.scheme],
        )
        clear = sources[encryption.rendition]
        return encrypted(store, plan.title, clear, plan.tracks[name], protect, progress.add)

    with ThreadPoolExecutor(TRACKS) as pool:
        return dict(zip(missing, pool.map(make, missing, missing.values()), strict=True))


def _reason(protection: ProtectionSettings) -> str:
    return f"encrypted in {' and '.join(protection.schemes)}"


def _plan(clear: Presentation) -> EncodePlan:
    """Return a plan with the clear tracks of a release."""
    coded: tuple[AnyTrack, ...] = (*clear.video, *clear.trick, *clear.audio)
    return EncodePlan(
        title=clear.title,
        master=clear.master or _NO_MASTER,
        ladder="",
        effort=Effort.STANDARD,
        tool="",
        grid=clear.grid,
        decisions=(),
        video=tuple(track.rendition for track in clear.video),
        audio=tuple(track.rendition for track in clear.audio),
        tasks=(),
        trick=tuple(track.rendition for track in clear.trick),
        tracks={track.rendition.id: track.id for track in coded},
    )


def _presentation(clear: Presentation, plan: EncodePlan, tracks: Mapping[str, StoredTrack]) -> Presentation:
    """Return the clear release with its tracks replaced by encrypted ones."""
    encrypted = assemble(plan, tracks)
    return replace(
        clear,
        release="",
        video=encrypted.video,
        audio=encrypted.audio,
        trick=encrypted.trick,
        protection=encrypted.protection,
        copies=encrypted.copies,
    )


def _stored(store: Store, title: str, id: str, clear: AnyTrack) -> StoredTrack | None:
    """Read an encrypted track from the store; None if any of its objects is missing."""
    sizes = {info.key: info.size_bytes for info in store.list(f"{layout.track_path(title, id)}/")}
    if layout.track_index(title, id) not in sizes:
        return None
    track: StoredTrack = track_from_index(cast(Any, clear.rendition), *read_track(store, title, id))
    wanted = {layout.track_segment(title, id, segment.number): segment.size_bytes for segment in track.segments}
    for period, _ in enumerate(track.inits_sha256, start=1):
        wanted[layout.track_init(title, id, period)] = track.init_bytes
    return track if all(sizes.get(key) == size for key, size in wanted.items()) else None


def encrypted(
    store: Store,
    title: str,
    clear: AnyTrack,
    id: str,
    protect: Protect,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> StoredTrack:
    """Encrypt a clear track, and write its index last.

    Args:
        store: The store.
        title: Catalogue entry.
        clear: The clear track.
        id: Id of the encrypted track.
        protect: How it is encrypted.
        on_bytes: Called with the number of clear bytes encrypted since the last call.

    Raises:
        PackagingError: The clear track is damaged, or can't be encrypted.
        StorageError: The store failed.
    """
    protector = protect(_read(store, layout.track_init(title, clear.id), clear.init_bytes, clear.init_sha256))
    for period, init in enumerate((protector.init, *protector.later_inits), start=1):
        store.put(layout.track_init(title, id, period), init)
    first = 0
    segments: list[Segment] = []
    for segment in clear.segments:
        body = _read(store, layout.track_segment(title, clear.id, segment.number), segment.size_bytes, segment.sha256)
        found = list(read_fragments(body))
        parts = list(_encrypted_fragments(body, found, protector, first, segment.number))
        sealed = protector.segment(b"".join(parts), segment.number)
        store.put(layout.track_segment(title, id, segment.number), sealed)
        sync = tuple(sync_ranges(parts, found)) if segment.sync else ()
        segments.append(replace(segment, size_bytes=len(sealed), sha256=hashlib.sha256(sealed).hexdigest(), sync=sync))
        first += segment.samples
        on_bytes(len(body))
    track: StoredTrack = replace(
        clear,
        id=id,
        init_bytes=len(protector.init),
        init_sha256=hashlib.sha256(protector.init).hexdigest(),
        segments=tuple(segments),
        later_inits=tuple(hashlib.sha256(init).hexdigest() for init in protector.later_inits),
    )
    index, sync_object = index_of(track)
    if sync_object:
        store.put(layout.track_sync(title, id), sync_object)
    store.put(layout.track_index(title, id), track_index.encode(index))
    return track


def _encrypted_fragments(
    body: bytes, found: Sequence[Fragment], protector: Protector, first: int, number: int
) -> Iterator[bytes]:
    for fragment in found:
        media = memoryview(body)[
            fragment.media : fragment.media + sum(sample.size_bytes for sample in fragment.samples)
        ]
        yield protector.fragment(
            fragment.sequence, fragment.decode_ticks, fragment.samples, media, first=first, segment=number
        )
        first += len(fragment.samples)


def _read(store: Store, key: str, size_bytes: int, sha256: str) -> bytes:
    """Read a clear object and check it, since damage must not be encrypted."""
    data = store.get(key)
    if len(data) != size_bytes or hashlib.sha256(data).hexdigest() != sha256:
        raise PackagingError(f"{key} is damaged: submit the master again to replace it", key=key)
    return data


class _ProgressReporter:
    """Reports every few seconds how much is encrypted."""

    def __init__(self, on_progress: Callable[[Progress], None], total_bytes: int) -> None:
        self._on_progress = on_progress
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._reported_s = time.monotonic()
        self._lock = threading.Lock()

    def add(self, size_bytes: int) -> None:
        with self._lock:
            self._done_bytes += size_bytes
            if time.monotonic() - self._reported_s >= REPORT_EVERY_S:
                self._reported_s = time.monotonic()
                self._on_progress(Progress(self._done_bytes, self._total_bytes))
